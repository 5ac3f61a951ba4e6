"""Crystals in: reading, cleaning, splitting, live sources, conversion to and from other libraries."""
