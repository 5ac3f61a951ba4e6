"""Component definitions for mechanical selection."""
