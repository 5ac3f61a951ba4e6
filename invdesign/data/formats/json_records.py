"""Crystals in JSON: lattice, species and coordinates are taken, everything else is left alone.

No class that a file names is built and no module imported. Known are the forms of pymatgen, OPTIMADE, JARVIS,
ASE and moyo, the rows of `invdesign` tables, and entries that hold one of these or a CIF or POSCAR as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.data.convert import (
    check_occupants,
    checked,
    element_number,
    from_optimade,
    from_row,
    lattice_from_parameters,
    lattice_of,
)
from invdesign.data.formats.cif import read_cif
from invdesign.data.formats.poscar import read_poscar
from invdesign.data.items import first_crystal
from invdesign.data.limits import LARGEST_TEXT, MOST_ATOMS, check_size
from invdesign.errors import StructureReadError

Record = Mapping[str, Any]

MOST_VALUES = 5_000_000
"""Most values in one document: in memory a value takes some fifty bytes, whatever it takes in the file."""
_HOLDERS = ("structure", "atoms", "cif", "poscar", "final_structure", "initial_structure")
_CIF = re.compile(r"^[ \t]*(?:data_|_cell[_.]length_a)", re.MULTILINE | re.IGNORECASE)
_SHORTEST_POSCAR = 6
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")


def from_record(record: Any, source: str) -> Crystal:
    """The crystal in a JSON record: a structure, an entry that holds one, or text in a known format.

    Raises:
        StructureReadError: if there is none, or it is not one that can be read.
    """
    if isinstance(record, str):
        return _from_text(record, source)
    if not isinstance(record, dict):
        raise StructureReadError(f"a {type(record).__name__} in place of a structure")
    reader = _reader(record)
    if reader is not None:
        return reader(record, source)
    for key in _HOLDERS:
        if record.get(key) is not None:
            return from_record(record[key], source)
    if "sites" in record:
        raise StructureReadError("a molecule, not a crystal: it has no lattice")
    raise StructureReadError("no structure in this entry")


def is_crystal_like(record: object) -> bool:
    """Whether a record looks like a crystal, sound or not."""
    if isinstance(record, str):
        return bool(_CIF.search(record))
    if not isinstance(record, dict):
        return False
    return _reader(record) is not None or any(_is_held(record.get(key)) for key in _HOLDERS)


def _is_held(value: object) -> bool:
    if isinstance(value, str) and (value.lstrip()[:1] == "{" or value.count("\n") > _SHORTEST_POSCAR):
        return True
    return is_crystal_like(value)


def loaded(text: str) -> Any:
    """A JSON document.

    Raises:
        StructureReadError: if it is too large or nested too deeply.
        ValueError: if it is not JSON.
    """
    check_size(len(text), LARGEST_TEXT)
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise StructureReadError(
            f"more than {MOST_VALUES} values in one JSON document; write one document a line (.jsonl)"
        )
    try:
        return json.loads(text)
    except RecursionError:
        raise StructureReadError("JSON nested too deeply") from None


def _from_text(text: str, source: str) -> Crystal:
    """The one structure in a text: JSON, CIF or POSCAR, told apart by how they begin."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        document = loaded(text.lstrip("\ufeff"))
        if isinstance(document, list):
            if len(document) != 1:
                raise StructureReadError(f"{len(document)} structures in one cell")
            document = document[0]
        return from_record(document, source)
    return first_crystal(read_cif(text, source) if _CIF.search(text) else read_poscar(text, source))


def _reader(record: Record) -> Callable[[Record, str], Crystal] | None:
    attributes = record.get("attributes")
    if isinstance(attributes, dict) and (record.get("type") == "structures" or "lattice_vectors" in attributes):
        return from_optimade
    return next((reader for keys, reader in _FORMS if keys <= record.keys()), None)


def _from_pymatgen(record: Record, source: str) -> Crystal:
    lattice = record["lattice"]
    sites = record["sites"]
    if not isinstance(lattice, dict) or not isinstance(sites, list):
        raise StructureReadError("lattice and sites are not those of a pymatgen structure")
    if not all(lattice.get("pbc") or (True,)):
        raise StructureReadError("not periodic in three directions")
    _check_count(sites)
    if lattice.get("matrix") is not None:
        matrix = lattice_of(lattice["matrix"])
    else:
        matrix = lattice_from_parameters([lattice.get(key, np.nan) for key in _PARAMETERS])
    inverse = np.linalg.inv(matrix)
    numbers = [_occupant(site, k) for k, site in enumerate(sites)]
    coords = [
        _vector(site["abc"], k) if site.get("abc") is not None else _vector(site.get("xyz"), k) @ inverse
        for k, site in enumerate(sites)
    ]
    return checked(matrix, numbers, np.array(coords), source)


def _occupant(site: Any, index: int) -> int:
    """Atomic number of a pymatgen site; several ions of one element are that element."""
    species = site.get("species") if isinstance(site, dict) else None
    if not isinstance(species, list) or not all(isinstance(s, dict) and "element" in s for s in species):
        raise StructureReadError(f"site {index + 1} names no element")
    amounts: dict[str, float] = {}
    for one in species:
        name = str(one["element"])
        amounts[name] = amounts.get(name, 0.0) + _share(one.get("occu", 1.0), index)
    return element_number(check_occupants(amounts, str(index + 1)))


def _share(value: Any, index: int) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise StructureReadError(f"site {index + 1}: the occupancy {str(value)[:40]!r} is not a number") from None


def _vector(value: Any, index: int) -> FloatArray:
    vector = np.asarray(value, dtype=float)
    if vector.shape != (3,):
        raise StructureReadError(f"site {index + 1} has no position of three numbers")
    return vector


def _from_jarvis(record: Record, source: str) -> Crystal:
    names, matrix = record["elements"], lattice_of(record["lattice_mat"])
    _check_count(names)
    coords = _positions(record["coords"], len(names))
    if _is_true(record.get("cartesian") or False):
        coords = coords @ np.linalg.inv(matrix)
    return checked(matrix, [element_number(name) for name in names], coords, source)


def _is_true(value: object) -> bool:
    """A truth value of JSON, or the same printed by Python."""
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise StructureReadError(f"cartesian: {str(value)[:40]!r} is neither true nor false")
    return str(value).lower() in ("true", "1")


def _from_ase(record: Record, source: str) -> Crystal:
    """A crystal from ASE's `Atoms`, a row of its JSON database, or `Atoms.todict`."""
    cell = record["cell"]
    matrix = _array(cell["array"] if isinstance(cell, dict) and "array" in cell else cell)
    if not np.all(_array(record.get("pbc", True))):
        raise StructureReadError("not periodic in three directions")
    info = record.get("info")
    occupancy = info.get("occupancy") if isinstance(info, dict) else None
    for shares in occupancy.values() if isinstance(occupancy, dict) else ():
        check_occupants(shares, "of the cell")
    matrix = lattice_of(np.diag(matrix) if matrix.size == 3 else matrix)
    numbers = _whole(_array(record["numbers"]))
    return checked(
        matrix, numbers, _positions(_array(record["positions"]), len(numbers)) @ np.linalg.inv(matrix), source
    )


def _array(value: Any) -> FloatArray:
    """An array as ASE writes it (`__ndarray__`: shape, type, flat data), or as lists."""
    if isinstance(value, dict):
        packed = value.get("__ndarray__")
        if not isinstance(packed, list) or len(packed) != 3:
            raise StructureReadError("an array that cannot be read")
        shape, _, data = packed
        return np.asarray(data, dtype=float).reshape([int(k) for k in shape])
    return np.asarray(value, dtype=float)


def _from_moyo(record: Record, source: str) -> Crystal:
    lattice: Any = record["lattice"]
    basis: Any = lattice.get("basis") if isinstance(lattice, dict) else lattice
    matrix = lattice_of(basis)
    numbers = _whole(np.asarray(record["numbers"], dtype=float))
    return checked(matrix, numbers, _positions(record["positions"], len(numbers)), source)


def _whole(numbers: FloatArray) -> FloatArray:
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any():
        raise StructureReadError("the atomic numbers are not whole numbers")
    _check_count(numbers)
    return numbers.astype(np.int64)


def _positions(value: Any, count: int) -> FloatArray:
    positions = np.asarray(value, dtype=float)
    if positions.shape != (count, 3):
        raise StructureReadError(f"{count} atoms, but not as many positions of three numbers")
    return positions


def _check_count(sites: Any) -> None:
    if not isinstance(sites, (list, np.ndarray)) or not 0 < len(sites) <= MOST_ATOMS:
        count = len(sites) if isinstance(sites, (list, np.ndarray)) else "no list of"
        raise StructureReadError(f"{count} atoms, 1 to {MOST_ATOMS} can be read")


_FORMS: Sequence[tuple[frozenset[str], Callable[[Record, str], Crystal]]] = (
    (frozenset(("lattice", "sites")), _from_pymatgen),
    (frozenset(("lattice_mat", "coords", "elements")), _from_jarvis),
    (frozenset(("cell", "positions", "numbers")), _from_ase),
    (frozenset(("lattice", "positions", "numbers")), _from_moyo),
    (frozenset(("lattice_vectors", "cartesian_site_positions", "species_at_sites")), from_optimade),
    (frozenset(("lattice_parameters", "atomic_numbers", "frac_coords")), from_row),
    (frozenset(("lattice", "atomic_numbers", "frac_coords")), from_row),
)
"""The keys that tell a form, and what reads it."""
