"""The functions behind the command line: each takes plain arguments and returns a table or a result."""
