"""Relaxation that keeps the symmetry, and elastic tensors, both by an interatomic potential."""
