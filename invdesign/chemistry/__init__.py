"""Compositions, and data and features of the elements."""
