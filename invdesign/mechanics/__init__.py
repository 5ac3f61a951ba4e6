"""Elastic tensors, and what follows from moduli, density and composition."""
