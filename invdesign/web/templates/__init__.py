"""The templates of the local page."""
