"""Generators of crystals: one file each, one line each in the table.

A generator has `propose(n, rng, conditions) -> Iterator[Crystal | Failure]` and, where it has weights, a class
method `load()`. To add one, write a file and add its line.
"""

from __future__ import annotations

GENERATORS: dict[str, str] = {
    "vae": "invdesign.generators.vae:VAEGenerator",
    "gan": "invdesign.generators.gan:GANGenerator",
    "substitution": "invdesign.generators.substitution:SubstitutionGenerator",
    "random": "invdesign.generators.random_genes:RandomGenerator",
}
"""Name to `module:class`."""
