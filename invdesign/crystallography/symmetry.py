"""Symmetry of a crystal: every call of spglib, the referee of everything that moyo or a generator claims."""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import cell_fault, reduce_lattice

_MARGIN = 0.9
_NEIGHBOURS = np.indices((3, 3, 3)).reshape(3, -1).T - 1


def space_group(crystal: Crystal, symprec: float = 0.1, angle_tolerance: float = -1.0) -> int | None:
    """Space group number that spglib finds, or None where it finds none or the cell cannot be a crystal's.

    Args:
        crystal: any cell.
        symprec: distance tolerance, Å.
        angle_tolerance: degrees; -1 for spglib's own.
    """
    if cell_fault(crystal.lattice, crystal.n_sites):
        return None
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


def group_of_operations(rotations: IntArray, translations: FloatArray) -> int | None:
    """Number of the space group that operations make in any setting, or None where spglib cannot tell.

    Args:
        rotations: (n, 3, 3).
        translations: (n, 3), fractional.
    """
    import spglib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spglib.get_spacegroup_type_from_symmetry(rotations, translations)
    except Exception:  # spglib's exception classes differ between releases
        return None
    return None if found is None else int(found.number)


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

    Where the tolerance would let the shortest translation shear the cell (a needle), a smaller one is used.

    Raises:
        ValueError: if no crystal can have such a cell, or no symmetry can be found.
    """
    import moyopy

    symprec = _safe_tolerance(crystal, symprec)
    log = logging.getLogger("moyo")
    if log.level != logging.ERROR:  # it warns of every cell that is not primitive; to set this costs time
        log.setLevel(logging.ERROR)
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.numbers.tolist())
    try:
        return moyopy.MoyoDataset(cell, symprec=symprec, setting=moyopy.Setting.standard())
    except Exception as error:  # moyopy raises bare exceptions of its own
        raise ValueError(f"no symmetry found at {symprec} Å: {error}") from None


def _safe_tolerance(crystal: Crystal, symprec: float) -> float:
    """The largest tolerance up to `symprec` with which moyo's search ends.

    A shear that adds the shortest translation a to a long edge c changes the edge's length by a²/2c. If the
    tolerance is larger, the shear passes for an operation of the lattice; no finite group has it, and the
    search for one takes all memory that there is.

    Raises:
        ValueError: if no crystal can have such a cell.
    """
    lattice, transform = reduce_lattice(crystal.lattice)
    if fault := cell_fault(lattice, crystal.n_sites, is_reduced=True):
        raise ValueError(fault)
    edges = np.linalg.norm(lattice, axis=1)
    shortest = min(edges.min(), _shortest_translation(crystal, lattice, transform, symprec))
    if shortest < 2.0 * symprec:
        raise ValueError(
            f"the crystal repeats after {shortest:.2g} Å, less than twice the tolerance of {symprec:g} Å"
        )
    return float(min(symprec, _MARGIN * shortest**2 / (2.0 * edges.max())))


def _shortest_translation(crystal: Crystal, lattice: FloatArray, transform: IntArray, symprec: float) -> float:
    """Length of the shortest translation within the cell that could shear it, Å; infinite if there is none."""
    numbers = crystal.numbers.tolist()
    rarest = min(set(numbers), key=numbers.count)
    is_own = crystal.numbers == rarest
    if is_own.sum() == 1:
        return math.inf
    coords = crystal.frac_coords @ np.linalg.inv(transform)
    own = coords[is_own]  # a translation takes an atom of the rarest element to another one
    moves = own[1:] - own[0]
    moves = ((moves - np.rint(moves))[:, None] + _NEIGHBOURS).reshape(-1, 3)
    vectors = moves @ lattice
    squared = (vectors * vectors).sum(axis=1)
    most = 2.0 * symprec * math.sqrt((lattice * lattice).sum(axis=1).max()) / _MARGIN
    near = np.flatnonzero(squared < most)
    for k in near[squared[near].argsort()]:
        if _is_translation(moves[k], coords, crystal.numbers, lattice, symprec):
            return math.sqrt(squared[k])
    return math.inf


def _is_translation(
    move: FloatArray, coords: FloatArray, numbers: IntArray, lattice: FloatArray, symprec: float
) -> bool:
    """Whether a shift takes every atom near one of its element."""
    delta = coords + move - coords[:, None]
    distances = np.linalg.norm((delta - np.rint(delta)) @ lattice, axis=2)
    return bool(np.where(numbers[:, None] == numbers, distances, np.inf).min(axis=0).max() < 2.0 * symprec)


def primitive(crystal: Crystal, symprec: float = 1e-3) -> Crystal:
    """A primitive cell of the crystal, not rotated or symmetrised; the crystal itself if spglib finds none."""
    found = _ask("find_primitive", crystal, symprec=symprec)
    if found is None:
        return crystal
    lattice, coords, numbers = found
    return Crystal(np.asarray(lattice), np.asarray(numbers), np.asarray(coords), crystal.gene, crystal.source)


def conventional(crystal: Crystal, symprec: float = 1e-3) -> Crystal:
    """The conventional cell, not rotated or symmetrised; the crystal itself if spglib finds none."""
    found = _ask("standardize_cell", crystal, symprec=symprec, to_primitive=False, no_idealize=True)
    if found is None:
        return crystal
    lattice, coords, numbers = found
    return Crystal(np.asarray(lattice), np.asarray(numbers), np.asarray(coords), None, crystal.source)


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
