"""Wyckoff genes: crystal to gene and back."""
