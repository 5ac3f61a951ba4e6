"""Generators of crystals: one file each, one line each in the table.

A generator has `propose(n, rng, conditions) -> Iterator[Crystal | Failure]` and, where it has weights, a class
method `load()`. To add one, write a file and add its line.
"""

from __future__ import annotations

from invdesign.catalogue import GeneratorPart
from invdesign.generators.conditions import CONDITION_PROPERTIES
from invdesign.properties import PROPERTIES

_PROPERTIES = tuple(name for name in CONDITION_PROPERTIES if name in PROPERTIES)

GENERATORS: dict[str, GeneratorPart] = {
    "vae": GeneratorPart(
        "invdesign.generators.vae:VAEGenerator", "conditional variational autoencoder", _PROPERTIES
    ),
    "gan": GeneratorPart(
        "invdesign.generators.gan:GANGenerator", "conditional generative adversarial network", _PROPERTIES
    ),
    "substitution": GeneratorPart(
        "invdesign.generators.substitution:SubstitutionGenerator", "like elements exchanged in known crystals"
    ),
    "random": GeneratorPart("invdesign.generators.random_genes:RandomGenerator", "random Wyckoff genes"),
}
"""Name to part, in the order of lists."""
