"""Powder diffraction pattern of a crystal, as a laboratory diffractometer would show it."""

from __future__ import annotations

from typing import Any

from invdesign.crystal import Crystal

WAVELENGTH = "CuKa"
RANGE = (10.0, 90.0)
"""Diffraction angle 2θ, degrees."""
LEAST = 0.5
"""Weaker lines are left out, percent of the strongest."""


def powder_pattern(crystal: Crystal) -> dict[str, Any]:
    """Lines of the powder pattern for Cu Kα by pymatgen: perfect crystal at rest, no texture, no absorption.

    Returns:
        `angle` 2θ in degrees, `intensity` in percent of the strongest line, `label` with the Miller indices;
        empty lists where the calculator gives up.
    """
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    from invdesign.data.convert import to_pymatgen

    try:
        pattern = XRDCalculator(WAVELENGTH).get_pattern(to_pymatgen(crystal), two_theta_range=RANGE)
    except (ValueError, KeyError, ZeroDivisionError):  # an element without scattering factors
        return {"angle": [], "intensity": [], "label": []}
    lines = [
        (round(float(x), 2), round(float(y), 1), _label(families))
        for x, y, families in zip(pattern.x, pattern.y, pattern.hkls, strict=True)
        if y >= LEAST
    ]
    return {
        "angle": [line[0] for line in lines],
        "intensity": [line[1] for line in lines],
        "label": [line[2] for line in lines],
    }


def _label(families: list[dict[str, Any]]) -> str:
    """Miller indices of the families that fall together, at most three of them."""
    names = ["".join(_index(i) for i in family["hkl"]) for family in families[:3]]
    return ", ".join(names) + (", …" if len(families) > 3 else "")


def _index(i: int) -> str:
    return f"{abs(i)}\u0305" if i < 0 else str(i)
