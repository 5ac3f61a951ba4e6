"""What a record says: figures from the results of a benchmark, and their tables in Markdown."""
