"""Surrogates of custom properties, learned from a user's own labels on top of the gate."""
