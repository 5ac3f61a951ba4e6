"""Queries of the benchmark of searches, each a YAML file."""
