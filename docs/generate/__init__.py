"""What the documentation is made of besides its text: pages from the code, figures from the records."""
