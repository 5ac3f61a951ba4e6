"""Configuration that the package ships."""
