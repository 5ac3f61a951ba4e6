"""Search among candidates: Wyckoff genes are varied by chemically sensible moves and kept in niches by fitness."""
