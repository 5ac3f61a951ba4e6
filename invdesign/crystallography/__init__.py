"""Space groups, Wyckoff genes, prototypes, distances, structure matching and CIF text."""
