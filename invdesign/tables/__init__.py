"""Tables that the package ships; each is made by a script in `scripts/`."""
