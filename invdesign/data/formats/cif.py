"""CIF files: gemmi takes the text apart; the layer here takes each block's cell, symmetry and sites at their word.

A block says its cell, the operations or the name of its space group, and one site for each orbit. What is
missing has the default of the CIF dictionary (occupancy 1, angles of 90 degrees where the symmetry asks for
them) or is refused by its tag; coordinates are exact to the digits printed. A formula that is stated must be
that of the atoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.settings import Setting
from invdesign.data.convert import checked, lattice_from_parameters
from invdesign.data.formats.cif_atoms import Site, Stated, atoms_of, formula_of, has_formula
from invdesign.data.formats.cif_elements import LABEL_TAG, TYPE_TAG, elements_of
from invdesign.data.formats.cif_symmetry import symmetry_of
from invdesign.data.formats.cif_tags import Tags, column, given, number_of, tags_of
from invdesign.data.formats.cif_text import blocks_of
from invdesign.data.items import Item, attempt
from invdesign.data.limits import MOST_ATOMS
from invdesign.errors import StructureReadError

if TYPE_CHECKING:
    from gemmi import cif

_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_POSITION = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_CARTESIAN = "_atom_site_Cartn_x"
_OCCUPANCY, _HYDROGENS, _FLAG = "_atom_site_occupancy", "_atom_site_attached_hydrogens", "_atom_site_calc_flag"
_MULTIPLICITY = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
_FORMULA, _UNITS, _DENSITY = "_chemical_formula_sum", "_cell_formula_units_Z", "_exptl_crystal_density_diffrn"
_GROUP, _ASSEMBLY = "_atom_site_disorder_group", "_atom_site_disorder_assembly"
_MODULATED = (
    "_cell_modulation_dimension", "_space_group_ssg_name", "_space_group_symop_ssg_operation_algebraic",
    "_space_group_symop_magn_ssg_operation_algebraic", "_cell_wave_vector_x", "_cell_wave_vector_seq_id",
)  # fmt: skip
_NUDGE = 3.0
"""Degrees by which an angle that is missing is changed to see whether the symmetry asks for it."""


def read_cif(text: str, source: str) -> Iterator[Item]:
    """Every data block with atoms; blocks without (publication data, powder patterns) are passed over.

    Raises:
        StructureReadError: if no block has atoms.
    """
    blocks = blocks_of(text)
    for index, block in enumerate(blocks):
        name = source if len(blocks) == 1 else f"{source}#{index}"
        yield attempt(lambda b=block, n=name: _crystal(b, n), name)  # type: ignore[misc]


def _crystal(block: cif.Block | StructureReadError, source: str) -> Crystal:
    if isinstance(block, StructureReadError):
        raise block
    tags = tags_of(block)
    for tag in _MODULATED:
        if given(tags, tag) is not None:
            raise StructureReadError(f"a modulated structure ({tag})")
    stated = _stated(tags)
    sites = _sites(tags, stated)
    lattice, missing = _lattice(tags)
    atoms = atoms_of(symmetry_of(tags, lattice), sites, lattice, stated)
    _check_angles(missing, atoms.setting, lattice)
    if not has_formula(atoms, stated.formula):
        both = f"{atoms}, {_FORMULA} {given(tags, _FORMULA)!r}"
        raise StructureReadError(f"the atoms do not add up to the formula that the CIF states: {both}")
    return checked(lattice, atoms.numbers, atoms.coords, source)


def _stated(tags: Tags) -> Stated:
    units, density = given(tags, _UNITS), given(tags, _DENSITY)
    try:
        weight = number_of(density)[0] if density else None
    except ValueError:
        weight = None
    is_count = units is not None and units.isdecimal() and len(units) < 5
    return Stated(formula_of(given(tags, _FORMULA)), int(units or 0) if is_count else None, weight)


def _lattice(tags: Tags) -> tuple[FloatArray, list[int]]:
    """The lattice, and which angles the file does not state (they are taken as 90 degrees)."""
    lengths, angles, missing = [], [], []
    for tag in _LENGTHS:
        value = given(tags, tag)
        if value is None:
            raise StructureReadError(f"{tag} is missing")
        lengths.append(_number(tag, value)[0])
    for k, tag in enumerate(_ANGLES):
        value = given(tags, tag)
        if value is None:
            missing.append(k)
        angles.append(90.0 if value is None else _number(tag, value)[0])
    return lattice_from_parameters([*lengths, *angles]), missing


def _check_angles(missing: Sequence[int], setting: Setting, lattice: FloatArray) -> None:
    """A missing angle is 90 degrees only if the symmetry does not let it be anything else."""
    for k in missing:
        parameters = list(Crystal(lattice, np.ones(1, dtype=np.int64), np.zeros((1, 3))).lattice_parameters)
        parameters[3 + k] += _NUDGE
        if setting.misfit(lattice_from_parameters(parameters)) < 0.01:
            raise StructureReadError(f"{_ANGLES[k]} is missing")


def _number(tag: str, value: str) -> tuple[float, float]:
    try:
        return number_of(value)
    except ValueError:
        raise StructureReadError(f"{tag} {value[:40]!r} is not a number") from None


def _sites(tags: Tags, stated: Stated) -> list[Site]:
    for tag in _POSITION:
        if not column(tags, tag):
            if column(tags, _CARTESIAN):
                raise StructureReadError(
                    f"the positions are Cartesian ({_CARTESIAN}); fractional ones are needed ({tag})"
                )
            raise StructureReadError(f"{tag} is missing")
    rows = len(column(tags, _POSITION[0]))
    if rows > MOST_ATOMS:
        raise StructureReadError(f"{rows} sites; at most {MOST_ATOMS}")
    labels, types = _column(tags, LABEL_TAG, rows), _column(tags, TYPE_TAG, rows)
    names = [label or f"number {k + 1}" for k, label in enumerate(labels)]
    tag = next((tag for tag in _MULTIPLICITY if column(tags, tag)), _MULTIPLICITY[0])
    parts = [names, labels, types, *(_column(tags, t, rows) for t in (*_POSITION, _OCCUPANCY, tag))]
    _check_alternatives(tags, names)
    is_atom = _check_flags(tags, names, bool(stated.formula))
    kept = [row for row, keep in zip(zip(*parts, strict=True), is_atom, strict=True) if keep]
    if not kept:
        raise StructureReadError("no atoms")
    numbers = elements_of([row[1] for row in kept], [row[2] for row in kept], stated.formula)
    return [_site(row[0], z, row[3:6], *row[6:]) for row, z in zip(kept, numbers, strict=True)]


def _column(tags: Tags, tag: str, rows: int) -> Sequence[str | None]:
    values = column(tags, tag)
    if len(values) not in (0, rows):
        raise StructureReadError(f"{tag} has {len(values)} values for {rows} sites")
    return values or [None] * rows


def _check_alternatives(tags: Tags, names: Sequence[str]) -> None:
    """Sites of different groups of one assembly are never there together, whatever their occupancy."""
    first: dict[str | None, tuple[str, str]] = {}
    groups, assemblies = _column(tags, _GROUP, len(names)), _column(tags, _ASSEMBLY, len(names))
    for name, group, assembly in zip(names, groups, assemblies, strict=True):
        if group in (None, "0"):
            continue
        other, known = first.setdefault(assembly, (name, str(group)))
        if known != group:
            raise StructureReadError(
                f"disordered: sites {other} and {name} are alternatives ({_GROUP} {known!r} and {group!r})"
            )


def _check_flags(tags: Tags, names: Sequence[str], can_leave_out: bool) -> list[bool]:
    """Which rows are atoms: dummies and empty places are left out where a stated formula vouches for the rest."""
    flags, hydrogens = _column(tags, _FLAG, len(names)), _column(tags, _HYDROGENS, len(names))
    is_atom = []
    for name, flag, attached, share in zip(
        names, flags, hydrogens, _column(tags, _OCCUPANCY, len(names)), strict=True
    ):
        is_dummy = bool(flag) and str(flag).lower() == "dum"
        if is_dummy and not can_leave_out:
            raise StructureReadError(f"site {name} is a dummy ({_FLAG} {flag!r})")
        if attached and _number(_HYDROGENS, attached)[0] != 0.0:
            raise StructureReadError(f"site {name} has {attached} hydrogen atoms without positions ({_HYDROGENS})")
        is_empty = share is not None and can_leave_out and _number(_OCCUPANCY, share)[0] == 0.0
        is_atom.append(not (is_dummy or is_empty))
    return is_atom


def _site(
    name: str, number: int, position: Sequence[str | None], occupancy: str | None, multiplicity: str | None
) -> Site:
    values = []
    for tag, value in zip(_POSITION, position, strict=True):
        if value is None:
            raise StructureReadError(f"site {name} is an atom without a position ({tag} is not known)")
        values.append(_number(tag, value))
    share = 1.0 if occupancy is None else _number(_OCCUPANCY, occupancy)[0]
    stated = int(multiplicity) if multiplicity and multiplicity.isdecimal() and len(multiplicity) < 5 else None
    return Site(name, number, np.array([v for v, _ in values]), np.array([s for _, s in values]), share, stated)
