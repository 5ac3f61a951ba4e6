"""Validators of crystals: one file each, one line each in the table."""
