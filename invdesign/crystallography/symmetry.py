"""Symmetry of a crystal: every call of spglib, the referee of everything that moyo or a generator claims."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray


def space_group(crystal: Crystal, symprec: float = 0.1, angle_tolerance: float = -1.0) -> int | None:
    """Space group number that spglib finds, or None where it finds none.

    Args:
        crystal: any cell.
        symprec: distance tolerance, Å.
        angle_tolerance: degrees; -1 for spglib's own.
    """
    found = _ask("get_spacegroup", crystal, symprec=symprec, angle_tolerance=angle_tolerance)
    return int(found.split("(")[1].rstrip(")")) if found else None


def operations(crystal: Crystal, symprec: float) -> tuple[IntArray, FloatArray]:
    """Rotations (n, 3, 3) and translations (n, 3) of the space group in the crystal's own cell.

    Raises:
        ValueError: if spglib finds none.
    """
    found = _ask("get_symmetry", crystal, symprec=symprec)
    if not found:
        raise ValueError("spglib finds no symmetry")
    rotations, translations = found["rotations"], found["translations"]
    return np.asarray(rotations, dtype=np.int64), np.asarray(translations, dtype=np.float64)


def orbits(crystal: Crystal, symprec: float) -> tuple[int, IntArray] | None:
    """Space group number, and for each atom the first atom of its orbit; None if spglib finds no symmetry."""
    data = _ask("get_symmetry_dataset", crystal, symprec=symprec)
    return None if data is None else (int(data.number), np.asarray(data.crystallographic_orbits, dtype=np.int64))


def quick_space_group(crystal: Crystal, symprec: float = 0.1) -> int | None:
    """Space group number by moyo, ten times faster than spglib and nearly always the same; None where none."""
    try:
        return int(moyo_dataset(crystal, symprec).number)
    except ValueError:
        return None


def moyo_dataset(crystal: Crystal, symprec: float) -> Any:
    """Moyo's account of the symmetry of a crystal, in the standard setting of the International Tables.

    Raises:
        ValueError: if no symmetry can be found.
    """
    import moyopy

    log = logging.getLogger("moyo")
    if log.level != logging.ERROR:  # it warns of every cell that is not primitive; to set this costs time
        log.setLevel(logging.ERROR)
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.numbers.tolist())
    try:
        return moyopy.MoyoDataset(cell, symprec=symprec, setting=moyopy.Setting.standard())
    except Exception as error:  # moyopy raises bare exceptions of its own
        raise ValueError(f"no symmetry found at {symprec} Å: {error}") from None


def primitive(crystal: Crystal, symprec: float = 1e-3) -> Crystal:
    """A primitive cell of the crystal, not rotated or symmetrised; the crystal itself if spglib finds none."""
    found = _ask("find_primitive", crystal, symprec=symprec)
    if found is None:
        return crystal
    lattice, coords, numbers = found
    return Crystal(np.asarray(lattice), np.asarray(numbers), np.asarray(coords), crystal.gene, crystal.source)


def _ask(function: str, crystal: Crystal, **options: float) -> Any:
    """What a function of spglib finds, or None where it finds nothing."""
    import spglib

    cell = (crystal.lattice, crystal.frac_coords, crystal.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(spglib, function)(cell, **options)
        except Exception:  # spglib's exception classes differ between releases
            return None
