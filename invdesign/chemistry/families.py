"""Families of inorganic compounds by the anion that names them: oxide, nitride, boride, intermetallic, …"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from invdesign.chemistry.electronegativity import pauling

_NAMES = {
    1: "hydride", 5: "boride", 6: "carbide", 7: "nitride", 8: "oxide", 9: "fluoride", 14: "silicide",
    15: "phosphide", 16: "sulfide", 17: "chloride", 32: "germanide", 33: "arsenide", 34: "selenide",
    35: "bromide", 51: "antimonide", 52: "telluride", 53: "iodide",
}  # fmt: skip
"""The family of compounds whose most electronegative element this is, by atomic number."""


def anion_class(numbers: Iterable[int]) -> str:
    """The family that a chemist would name: by the most electronegative element, where that is a non-metal.

    A compound of metals alone is an `intermetallic`, a single element an `element`.

    Args:
        numbers: atomic numbers, in any order.
    """
    return _class_of(tuple(sorted(set(numbers))))


@lru_cache(maxsize=65_536)
def _class_of(elements: tuple[int, ...]) -> str:
    if len(elements) == 1:
        return "element"
    electronegativity = pauling()
    anions = [z for z in elements if z in _NAMES]
    if not anions:
        return "intermetallic"
    return _NAMES[max(anions, key=lambda z: (float(electronegativity[z]), z))]
