"""The assets of the local page."""
