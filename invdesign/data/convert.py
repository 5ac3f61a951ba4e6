"""The two ends: crystals from and to pymatgen, ASE, OPTIMADE and table rows.

What comes in is checked here, once: three-dimensional, ordered, every site one real element, a cell with a volume.
Anything else raises :class:`~invdesign.errors.StructureReadError` with the reason, because a site half occupied
or a species unknown has no honest single answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.distances import cell_fault
from invdesign.data.limits import MOST_ATOMS
from invdesign.elements import SYMBOLS, atomic_number
from invdesign.errors import InvdesignError, StructureReadError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import IStructure, Structure

OCCUPANCY_TOLERANCE = 1e-3 + 1e-9
"""How far an occupancy may be from 1: as printed, 0.999 and 1.001."""
_ISOTOPES = ("D", "T")
_SMALLEST_CELL = 1.0
"""Å³: hardly the volume of a proton's neighbourhood; anything below is a broken lattice."""
_LARGEST_CELL_EDGE = 1000.0
_LONGEST_LIST = 2**20


def to_pymatgen(crystal: Crystal) -> Structure:
    """The same cell as a pymatgen `Structure`; sites keep their order and coordinates."""
    from pymatgen.core import Lattice, Structure

    species = [SYMBOLS[z - 1] for z in crystal.numbers.tolist()]
    return Structure(Lattice(crystal.lattice), species, crystal.frac_coords)


def from_pymatgen(structure: Structure | IStructure, source: str = "") -> Crystal:
    """Take the cell of a pymatgen `Structure` over; oxidation states, spins and other decoration are dropped.

    A site shared by several ions of one element (Fe2+ and Fe3+) is that element.

    Raises:
        StructureReadError: if a site is shared by elements or partially occupied, is no element, or the cell is
            flat, or if it is a molecule.
    """
    if not hasattr(structure, "lattice"):
        raise StructureReadError("a molecule, not a crystal: it has no lattice")
    if not all(structure.lattice.pbc):
        raise StructureReadError("not periodic in three directions")
    numbers = [_site_number(site, index) for index, site in enumerate(structure)]
    return checked(structure.lattice.matrix, numbers, structure.frac_coords, source)


def to_ase(crystal: Crystal) -> Atoms:
    """The same cell as periodic ASE `Atoms`; atoms keep their order and coordinates."""
    from ase import Atoms

    atoms = Atoms(numbers=crystal.numbers, cell=crystal.lattice, pbc=True)
    atoms.set_scaled_positions(crystal.frac_coords)
    return atoms


def from_ase(atoms: Atoms, source: str = "") -> Crystal:
    """Take the cell of ASE `Atoms` over; constraints, calculators and momenta are dropped.

    Raises:
        StructureReadError: if it is not periodic in three directions, has partial occupancies, an atom that is
            no element, or a flat cell.
    """
    if not all(atoms.pbc):
        raise StructureReadError("not periodic in three directions")
    for occupants in (atoms.info.get("occupancy") or {}).values():
        check_occupants(occupants, "of the cell")
    lattice = lattice_of(atoms.cell.array)
    return checked(lattice, atoms.numbers, atoms.get_scaled_positions(wrap=False), source)


def from_optimade(entry: Mapping[str, Any], source: str = "") -> Crystal:
    """A crystal from one entry of an OPTIMADE `structures` answer (an object with `attributes`).

    Raises:
        StructureReadError: if a part that the OPTIMADE specification lets a provider leave out is missing, or if
            the structure is disordered, not three-dimensional, or has unknown species.
    """
    attributes = entry.get("attributes", entry)
    features = attributes.get("structure_features") or ()
    if "assemblies" in features:
        raise StructureReadError("disordered: assemblies of alternative sites")
    if "implicit_atoms" in features:
        raise StructureReadError("atoms without positions (structure_features: implicit_atoms)")
    if list(attributes.get("dimension_types") or (1, 1, 1)) != [1, 1, 1]:
        raise StructureReadError("not periodic in three directions")
    parts = [attributes.get(k) for k in ("lattice_vectors", "cartesian_site_positions", "species_at_sites")]
    if any(part is None for part in parts):
        raise StructureReadError("the provider left lattice, positions or species out")
    lattice, positions, names = parts
    elements = {s["name"]: _optimade_species(s) for s in attributes.get("species") or ()}
    numbers = [elements[n] if n in elements else element_number(n) for n in names]
    matrix = lattice_of(lattice)
    coords = np.asarray(positions, dtype=float).reshape(-1, 3) @ np.linalg.inv(matrix)
    return checked(matrix, numbers, coords, source)


def from_row(row: Mapping[str, Any], source: str | None = None) -> Crystal:
    """A crystal from a table row with `lattice_parameters`, `atomic_numbers` and `frac_coords`.

    Args:
        row: a mapping or a pandas row. `lattice_parameters` are a, b, c (Å), alpha, beta, gamma (degrees);
            in their place `lattice` may hold the nine numbers of the (3, 3) lattice vectors. `frac_coords` has
            3 n_sites numbers, flat or nested. Lists may be text, as they are in CSV.
        source: defaults to the row's `material_id`.

    Raises:
        StructureReadError: if a field is missing, has the wrong length, or describes no cell.
    """
    if source is None:
        source = str(row.get("material_id") or "")
    if row.get("lattice_parameters") is not None:
        lattice = lattice_from_parameters(numbers_of(row["lattice_parameters"], "lattice_parameters"))
    else:
        lattice = lattice_of(numbers_of(row.get("lattice"), "lattice_parameters"))
    numbers = numbers_of(row.get("atomic_numbers"), "atomic_numbers")
    coords = numbers_of(row.get("frac_coords"), "frac_coords")
    if len(coords) != 3 * len(numbers):
        raise StructureReadError(f"frac_coords has {len(coords)} numbers for {len(numbers)} atoms")
    if (numbers != np.rint(numbers)).any():
        raise StructureReadError("atomic_numbers are not whole numbers")
    return checked(lattice, numbers.astype(np.int64), coords.reshape(-1, 3), source)


def lattice_from_parameters(parameters: npt.ArrayLike) -> FloatArray:
    """Lattice vectors from lengths and angles, in pymatgen's orientation (c along z, a in the xz plane).

    Args:
        parameters: a, b, c (Å), alpha, beta, gamma (degrees).

    Returns:
        (3, 3) rows, Å.

    Raises:
        StructureReadError: if there are not six, a length is not positive, or no cell has such angles.
    """
    values = np.asarray(parameters, dtype=float).reshape(-1)
    if len(values) != 6:
        raise StructureReadError(f"lattice_parameters has {len(values)} numbers, not 6")
    a, b, c = values[:3]
    if (
        not np.isfinite(values).all()
        or min(a, b, c) <= 0
        or not (values[3:] > 0).all()
        or (values[3:] >= 180).any()
    ):
        raise StructureReadError(f"lattice parameters {_listed(values)} describe no cell")
    cos_a, cos_b, cos_g = np.cos(np.radians(values[3:]))
    sin_a, sin_b, _ = np.sin(np.radians(values[3:]))
    cos_star = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if abs(cos_star) >= 1.0:
        raise StructureReadError(f"no cell has the angles {_listed(values[3:])}")
    sin_star = math.sqrt(1.0 - cos_star * cos_star)
    return np.array(
        [
            [a * sin_b, 0.0, a * cos_b],
            [-b * sin_a * cos_star, b * sin_a * sin_star, b * cos_a],
            [0.0, 0.0, c],
        ]
    )


def numbers_of(value: object, name: str) -> FloatArray:
    """The numbers in a table cell, flat: an array, a (nested) list, or either of them printed as text.

    Raises:
        StructureReadError: if it is empty, holds anything but numbers, or was printed with an ellipsis.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise StructureReadError(f"{name} is missing")
    try:
        if isinstance(value, str):
            value = _parsed(value, name)
        flat = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in _items(value)] or [np.empty(0)])
    except (TypeError, ValueError):
        raise StructureReadError(f"{name} holds something that is not a number") from None
    if not len(flat):
        raise StructureReadError(f"{name} is empty")
    return flat


def _items(value: object) -> Sequence[object]:
    if isinstance(value, np.ndarray):
        return list(value.reshape(-1)) if value.dtype == object else [value]
    if isinstance(value, (list, tuple)):
        return value if value and isinstance(value[0], (list, tuple, np.ndarray)) else [value]
    raise TypeError(type(value).__name__)


def _parsed(text: str, name: str) -> list[float]:
    if "..." in text:
        raise StructureReadError(f"{name} was printed with an ellipsis, numbers are lost")
    if len(text) > _LONGEST_LIST:
        raise StructureReadError(f"{name} is a text of {len(text)} characters, at most {_LONGEST_LIST}")
    return [float(part) for part in re.sub(r"[\[\](),;]|array|dtype=\w{1,20}", " ", text).split()]


def _listed(values: FloatArray) -> str:
    return ", ".join(f"{v:g}" for v in values)


def _site_number(site: Any, index: int) -> int:
    amounts: dict[str, float] = {}
    for species, amount in site.species.items():
        amounts[species.symbol] = amounts.get(species.symbol, 0.0) + float(amount)
    return element_number(check_occupants(amounts, str(index + 1)))


def _optimade_species(species: Mapping[str, Any]) -> int:
    if any(species.get("nattached") or ()) or any(species.get("attached") or ()):
        raise StructureReadError(f"species {species['name']!r} has atoms attached without positions")
    shares = species.get("concentration") or [1.0] * len(species["chemical_symbols"])
    amounts: dict[str, float] = {}
    for name, share in zip(species["chemical_symbols"], shares, strict=True):
        amounts[name] = amounts.get(name, 0.0) + share
    return element_number(check_occupants(amounts, repr(species["name"])))


def check_occupants(amounts: Mapping[str, float], where: str) -> str:
    """The one occupant of a site; isotopes of hydrogen are one element, and one of which there is nothing is
    left out.

    Raises:
        StructureReadError: if there are several, none, or a part of one, or an amount is no number.
    """
    shares: dict[str, float] = {}
    for name, amount in amounts.items():
        if not isinstance(amount, (int, float)):
            raise StructureReadError(f"site {where}: the occupancy {str(amount)[:40]!r} is not a number")
        if amount != 0:
            element = "H" if name in _ISOTOPES else name
            shares[element] = shares.get(element, 0.0) + amount
    if len(shares) != 1:
        raise StructureReadError(f"disordered: site {where} is shared by {', '.join(shares) or 'nothing'}")
    (name, amount), *_ = shares.items()
    if not abs(amount - 1.0) <= OCCUPANCY_TOLERANCE:
        raise StructureReadError(f"disordered: site {where} is occupied by {amount:g} {name}")
    return name


def element_number(name: object) -> int:
    """Atomic number of a symbol; deuterium and tritium are hydrogen.

    Raises:
        StructureReadError: if it is no element.
    """
    try:
        return 1 if name in _ISOTOPES else atomic_number(str(name))
    except InvdesignError:
        raise StructureReadError(f"{str(name)[:40]!r} is not an element") from None


def lattice_of(vectors: npt.ArrayLike) -> FloatArray:
    """The (3, 3) lattice vectors as rows, Å.

    Raises:
        StructureReadError: if they are not nine finite numbers, or no cell of a crystal.
    """
    try:
        matrix = np.asarray(vectors, dtype=float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.size != 9 or not np.isfinite(matrix).all():
        raise StructureReadError("the lattice is not three vectors of three numbers")
    matrix = matrix.reshape(3, 3)
    if np.abs(matrix).max() > _LARGEST_CELL_EDGE or np.linalg.norm(matrix, axis=1).max() > _LARGEST_CELL_EDGE:
        raise StructureReadError(f"a cell edge is longer than {_LARGEST_CELL_EDGE:g} Å")
    volume = abs(float(np.linalg.det(matrix)))
    if volume < _SMALLEST_CELL:
        raise StructureReadError(f"the cell has a volume of {volume:.3g} Å³")
    return matrix


def checked(lattice: npt.ArrayLike, numbers: npt.ArrayLike, coords: npt.ArrayLike, source: str = "") -> Crystal:
    """A crystal of parts from outside.

    Args:
        lattice: nine numbers, the lattice vectors one after the other, Å.
        numbers: (n,) atomic numbers.
        coords: (n, 3) fractional coordinates.
        source: the crystal's name.

    Raises:
        StructureReadError: if they do not belong together, an element does not exist, there are too many atoms,
            or the cell cannot be one of a crystal."""
    elements = np.asarray(numbers, dtype=np.int64).reshape(-1)
    for z in elements[(elements < 1) | (elements > len(SYMBOLS))][:1].tolist():
        raise StructureReadError(f"atomic number {z} is not an element")
    if len(elements) > MOST_ATOMS:
        raise StructureReadError(f"{len(elements)} atoms in the cell, at most {MOST_ATOMS}")
    matrix = lattice_of(lattice)
    if fault := cell_fault(matrix, len(elements)):
        raise StructureReadError(fault)
    try:
        return Crystal(matrix, elements, np.asarray(coords, dtype=float), source=source)
    except ValueError as error:
        raise StructureReadError(str(error)) from None
