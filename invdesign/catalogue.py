"""What the tables of generators and validators say of each part: where it is, and what it takes to use it.

The tables stand in `invdesign.generators` and `invdesign.validators`. A part from outside says the same by
attributes of its class: `conditioned_on` of a generator (without: every property), `stages` and `needs` of a
validator.
"""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("screen", "inspection", "check", "uniqueness")
"""When a validator judges: every proposal; the most promising proposals; every relaxed crystal; and, of relaxed
crystals that nothing has rejected, whether they came before."""
NEEDS = ("reference", "limit")
"""What a validator may ask to be made with, as keyword arguments: the reference of known crystals and their hull,
and the query's limit above the hull (eV/atom)."""


@dataclass(frozen=True)
class GeneratorPart:
    """A generator in its table.

    Attributes:
        where: `module:class`.
        about: one line for a list.
        conditioned_on: properties whose wanted values it makes use of; elements, symmetry and size every generator
            keeps to.
    """

    where: str
    about: str
    conditioned_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValidatorPart:
    """A validator in its table.

    Attributes:
        where: `module:class`.
        about: one line for a list.
        stages: when it judges, of `STAGES`.
        needs: what it is made with, of `NEEDS`.
    """

    where: str
    about: str
    stages: tuple[str, ...] = ("check",)
    needs: tuple[str, ...] = ()
