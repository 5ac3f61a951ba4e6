"""Crystal to Wyckoff gene and back.

`encode` finds the gene of a crystal (symmetry by moyo); `decode` builds crystals from genes, thousands a second.
The crystals that come back are primitive cells that carry their gene; `decode_conventional` gives the
conventional cell of the standard setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.crystal import Crystal, FloatArray, Gene, IntArray
from invdesign.crystallography.symmetry import moyo_dataset
from invdesign.crystallography.wyckoff import FREE_LATTICE, WyckoffTable, lattice_family, wyckoff_table

SYMPREC = 0.1
"""Tolerance (Å) at which crystals are symmetrised, as in the Materials Project labels."""

STRAY = 0.5
"""An atom that is farther (Å) from its Wyckoff position does not belong to it."""


def encode(crystal: Crystal, symprec: float = SYMPREC) -> Gene:
    """Reduce a crystal to its Wyckoff gene.

    Args:
        crystal: any cell of the crystal.
        symprec: distance tolerance, Å. Atoms closer than this to a symmetric place are put there.

    Raises:
        ValueError: if no symmetry can be found or the orbits do not fit their Wyckoff positions.
    """
    (found,) = encode_many([crystal], symprec)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def encode_many(crystals: Sequence[Crystal], symprec: float = SYMPREC) -> list[Gene | str]:
    """The gene of every crystal, or why it has none; see `encode`. Faster than one by one."""
    found = [_standard(crystal, symprec) for crystal in crystals]
    sound = [row for row in found if isinstance(row, _Standard)]
    genes = iter(_genes(sound))
    return [row if isinstance(row, str) else next(genes) for row in found]


@dataclass(frozen=True, eq=False)
class _Standard:
    """A crystal in the standard setting.

    Attributes:
        number: space group.
        lattice: (3, 3) conventional vectors, Å.
        positions: (k,) index in the table of Wyckoff positions, for each orbit.
        numbers: atomic number of each orbit.
        points: (k, 3) a point of each orbit in conventional coordinates.
    """

    number: int
    lattice: FloatArray
    positions: list[int]
    numbers: list[int]
    points: FloatArray


def _standard(crystal: Crystal, symprec: float) -> _Standard | str:
    """The crystal in the standard setting, or why that cannot be."""
    try:
        data = moyo_dataset(crystal, symprec)
    except ValueError as error:
        return str(error)
    table, number = wyckoff_table(), int(data.number)
    first = int(table.group_start[number - 1])
    letters = table.letter[first : int(table.group_start[number])]
    members, wyckoffs = data.orbits, data.wyckoffs
    source: dict[int, int] = {}
    for origin, site in enumerate(data.mapping_std_prim):
        source.setdefault(site, origin)
    orbits: dict[tuple[int, str], list[int]] = {}
    for site in range(len(data.prim_std_cell.positions)):
        origin = source[site]
        orbits.setdefault((members[origin], wyckoffs[origin]), []).append(site)
    positions = []
    for (_, letter), sites in orbits.items():
        positions.append(first + letters.index(letter))
        if len(sites) != table.primitive_multiplicity[positions[-1]]:
            return f"orbit of {len(sites)} atoms on {letter} of group {number}"
    lattice = np.asarray(data.std_cell.basis, dtype=np.float64).reshape(3, 3)
    primitive = np.asarray(data.prim_std_cell.basis, dtype=np.float64).reshape(3, 3)
    chosen = [sites[0] for sites in orbits.values()]
    points = np.asarray(data.prim_std_cell.positions)[chosen] @ primitive @ np.linalg.inv(lattice)
    numbers = data.prim_std_cell.numbers
    return _Standard(number, lattice, positions, [int(numbers[site]) for site in chosen], points)


def _genes(found: Sequence[_Standard]) -> list[Gene | str]:
    """The genes of crystals in the standard setting, or why there is none."""
    if not found:
        return []
    table = wyckoff_table()
    sizes = [len(row.positions) for row in found]
    positions = np.array([p for row in found for p in row.positions], dtype=np.int64)
    lattices = np.repeat(np.stack([row.lattice for row in found]), sizes, axis=0)
    free, error = free_coordinates(positions, np.concatenate([row.points for row in found]), lattices)
    coords = [tuple(row[:n]) for row, n in zip(free.tolist(), table.freedom[positions].tolist(), strict=True)]
    genes: list[Gene | str] = []
    start = 0
    for row, size in zip(found, sizes, strict=True):
        orbits = range(start, start + size)
        start += size
        stray = next((k for k in orbits if error[k] > STRAY), None)
        if stray is not None:
            genes.append(f"no point of Wyckoff position {table.letter[positions[stray]]} within {STRAY} Å")
            continue
        first = int(table.group_start[row.number - 1])
        rows = sorted(
            (row.positions[k - orbits.start] - first, row.numbers[k - orbits.start], coords[k]) for k in orbits
        )
        genes.append(
            Gene(
                space_group=row.number,
                wyckoffs=tuple(r[0] for r in rows),
                numbers=tuple(r[1] for r in rows),
                free_coords=tuple(u for r in rows for u in r[2]),
                free_lattice=free_from_lattice(row.number, row.lattice),
            )
        )
    return genes


def free_coordinates(
    positions: IntArray, points: FloatArray, lattices: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Free coordinates that put a point of each orbit at a place: of all equivalent ones the smallest.

    Args:
        positions: (m,) index of each orbit in the table of Wyckoff positions.
        points: (m, 3) conventional coordinates.
        lattices: (m, 3, 3) conventional lattices (rows, Å).

    Returns:
        (m, 3) free coordinates, zero beyond the freedom of the position, and (m,) how far (Å) the place is off.
    """
    table = wyckoff_table()
    counts = table.multiplicity[positions].astype(np.int64)
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(positions)), counts)
    maps = np.arange(len(owner)) + np.repeat(table.map_start[positions] - starts, counts)
    offset = points[owner] - table.translation[maps]
    free = np.mod((table.left_inverse[maps] @ offset[:, :, None])[:, :, 0], 1.0)
    free[free > 1.0 - 1e-6] = 0.0
    residual = offset - (table.rotation[maps] @ free[:, :, None])[:, :, 0]
    residual -= np.round(residual)
    error = np.linalg.norm((residual[:, None, :] @ lattices[owner])[:, 0], axis=1)
    best = np.minimum.reduceat(error, starts)
    free = np.round(free, 6) * (np.arange(3) < table.freedom[positions][owner, None])
    near = np.flatnonzero(error < best[owner] + 1e-3)
    order = near[np.lexsort((*free[near].T[::-1], owner[near]))]
    chosen = order[np.searchsorted(owner[order], np.arange(len(positions)))]
    return free[chosen], best


def free_from_lattice(space_group: int, lattice: FloatArray) -> tuple[float, ...]:
    """The free lattice parameters of a conventional lattice (rows, Å), averaged where symmetry equates them."""
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    family = lattice_family(space_group)
    if family == "cubic":
        lengths = np.full(3, np.prod(lengths) ** (1 / 3))
    elif family in ("tetragonal", "hexagonal"):
        lengths = np.array([np.sqrt(lengths[0] * lengths[1])] * 2 + [lengths[2]])
    parameters = np.concatenate([lengths, angles])
    return tuple(round(float(parameters[k]), 6) for k in FREE_LATTICE[family])


def lattice_from_free(space_group: int, free_lattice: Sequence[float]) -> FloatArray:
    """(3, 3) conventional lattice (rows, Å) from the free lattice parameters.

    Raises:
        ValueError: if their number or their values give no cell.
    """
    family = lattice_family(space_group)
    if len(free_lattice) != len(FREE_LATTICE[family]):
        raise ValueError(f"group {space_group} has {len(FREE_LATTICE[family])} free lattice parameters")
    lattice: FloatArray = lattices_from_parameters(_full_parameters(family, free_lattice)[None])[0]
    return lattice


def _full_parameters(family: str, free: Sequence[float]) -> FloatArray:
    """The six lattice parameters of a family from its free ones."""
    full = np.array([0.0, 0.0, 0.0, 90.0, 90.0, 120.0 if family == "hexagonal" else 90.0])
    full[list(FREE_LATTICE[family])] = free
    if family == "cubic":
        full[1:3] = full[0]
    elif family in ("tetragonal", "hexagonal"):
        full[1] = full[0]
    return full


def lattices_from_parameters(parameters: FloatArray) -> FloatArray:
    """(n, 3, 3) lattices from (n, 6) parameters a, b, c (Å), alpha, beta, gamma (degrees); a along x, b in xy.

    Raises:
        ValueError: if the lengths are not positive or the angles span no volume.
    """
    lengths, cosines = parameters[:, :3], np.cos(np.radians(parameters[:, 3:]))
    sin_gamma = np.sqrt(np.clip(1.0 - cosines[:, 2] ** 2, 1e-12, None))
    cx, cy = cosines[:, 1], (cosines[:, 0] - cosines[:, 1] * cosines[:, 2]) / sin_gamma
    cz2 = 1.0 - cx**2 - cy**2
    if (lengths <= 0).any() or (cz2 <= 1e-8).any() or not np.isfinite(parameters).all():
        raise ValueError("lattice parameters do not span a volume")
    lattice = np.zeros((len(parameters), 3, 3))
    lattice[:, 0, 0] = lengths[:, 0]
    lattice[:, 1, 0] = lengths[:, 1] * cosines[:, 2]
    lattice[:, 1, 1] = lengths[:, 1] * sin_gamma
    lattice[:, 2] = lengths[:, 2:3] * np.stack([cx, cy, np.sqrt(np.clip(cz2, 1e-12, None))], axis=1)
    lattice[np.abs(lattice) < 1e-12] = 0.0
    return lattice


def equivalents(gene: Gene) -> list[Gene]:
    """All genes of the same crystal that differ by the choice of origin or axes; the first is the gene itself.

    They come from the Euclidean normalizer of the space group (for a generic cell of its lattice family).
    """
    table = wyckoff_table()
    lattice = lattice_from_free(gene.space_group, gene.free_lattice)
    first = int(table.group_start[gene.space_group - 1])
    changes = slice(*(int(k) for k in table.normalizer_start[gene.space_group - 1 : gene.space_group + 1]))
    points, offset = [], 0
    for wyckoff in gene.wyckoffs:
        start, freedom = int(table.map_start[first + wyckoff]), int(table.freedom[first + wyckoff])
        free = np.array(gene.free_coords[offset : offset + freedom])
        points.append(table.rotation[start][:, :freedom] @ free + table.translation[start])
        offset += freedom
    moved = table.normalizer_permutation[changes][:, list(gene.wyckoffs)]
    placed = np.einsum("cij,kj->cki", table.normalizer_linear[changes], points)
    placed += table.normalizer_shift[changes][:, None]
    lattices = np.broadcast_to(lattice, (moved.size, 3, 3))
    free, error = free_coordinates((first + moved).ravel(), placed.reshape(-1, 3), lattices)
    if (error > 0.05).any():
        raise ValueError(f"the normalizer of group {gene.space_group} does not keep its Wyckoff positions")
    freedom = table.freedom[first + moved].tolist()
    return [
        _with_orbits(gene, zip(row, gene.numbers, coords, free_of, strict=True))
        for row, coords, free_of in zip(
            moved.tolist(), free.reshape(*moved.shape, 3).tolist(), freedom, strict=True
        )
    ]


def _with_orbits(gene: Gene, orbits: Iterable[tuple[int, int, list[float], int]]) -> Gene:
    """The gene with other positions, elements and coordinates (those beyond the freedom are left out)."""
    rows = sorted((wyckoff, number, coords[:freedom]) for wyckoff, number, coords, freedom in orbits)
    coords = tuple(u for row in rows for u in row[2])
    return replace(gene, wyckoffs=tuple(r[0] for r in rows), numbers=tuple(r[1] for r in rows), free_coords=coords)


def canonical(gene: Gene) -> Gene:
    """The one gene that stands for all equivalent ones: smallest protostructure, then smallest coordinates."""
    return min(equivalents(gene), key=lambda g: (g.wyckoff_sequence, g.free_coords))


def protostructure(gene: Gene) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The protostructure of `canonical(gene)`, without the coordinates: the key for *same gene*; microseconds."""
    table = wyckoff_table()
    first, last = table.normalizer_start[gene.space_group - 1 : gene.space_group + 1]
    moved = table.normalizer_permutation[first:last, list(gene.wyckoffs)].tolist()
    return gene.space_group, min(tuple(sorted(zip(row, gene.numbers, strict=True))) for row in moved)


def protostructure_hash(key: object) -> int:
    """64 bits that stand for a `protostructure`, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big", signed=True)


def decode(genes: Sequence[Gene], source: str = "") -> list[Crystal]:
    """Build the primitive cells of genes, in one vectorised pass.

    Returns:
        one crystal per gene, in the same order, with `gene` and `source` set.

    Raises:
        ValueError: if a gene is inconsistent (counts of coordinates or lattice parameters, unknown position).
    """
    if not genes:
        return []
    table = wyckoff_table()
    groups = np.array([g.space_group for g in genes])
    conventional = lattices_from_parameters(np.array([_checked_parameters(g) for g in genes]))
    primitive = table.primitive_cell[groups - 1]
    lattices = primitive @ conventional
    owner, maps, points = _points(genes, table, table.primitive_multiplicity)
    inverse = np.linalg.inv(primitive)
    coords = np.mod(np.einsum("pj,pjk->pk", points, inverse[owner]), 1.0)
    coords[coords > 1.0 - 1e-9] = 0.0
    bounds = np.searchsorted(owner, np.arange(len(genes) + 1))
    for array in (lattices, maps, coords):
        array.setflags(write=False)  # crystals share them without a copy
    return [
        Crystal(lattices[i], maps[bounds[i] : bounds[i + 1]], coords[bounds[i] : bounds[i + 1]], gene, source)
        for i, gene in enumerate(genes)
    ]


def decode_conventional(gene: Gene, source: str = "") -> Crystal:
    """The conventional cell of a gene in the standard setting; same errors as `decode`."""
    table = wyckoff_table()
    lattice = lattices_from_parameters(_checked_parameters(gene)[None])[0]
    _, numbers, points = _points([gene], table, table.multiplicity)
    coords = np.mod(points, 1.0)
    coords[coords > 1.0 - 1e-9] = 0.0
    return Crystal(lattice, numbers, coords, gene, source)


def _checked_parameters(gene: Gene) -> FloatArray:
    family = lattice_family(gene.space_group)
    if len(gene.free_lattice) != len(FREE_LATTICE[family]):
        raise ValueError(f"gene of group {gene.space_group} has {len(gene.free_lattice)} lattice parameters")
    return _full_parameters(family, gene.free_lattice)


def _points(genes: Sequence[Gene], table: WyckoffTable, counts: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Owner gene, atomic number and conventional coordinates of every atom of every gene."""
    positions = np.array([table.index(g.space_group, w) for g in genes for w in g.wyckoffs], dtype=np.int64)
    numbers = np.array([z for g in genes for z in g.numbers], dtype=np.int64)
    owner = np.repeat(np.arange(len(genes)), [len(g.wyckoffs) for g in genes])
    if len(numbers) != len(positions):
        raise ValueError("a gene has not one element for each orbit")
    freedom = table.freedom[positions]
    needed = np.bincount(owner, weights=freedom, minlength=len(genes)).astype(int)
    given = np.array([len(g.free_coords) for g in genes])
    if (needed != given).any():
        bad = int(np.flatnonzero(needed != given)[0])
        raise ValueError(f"gene {bad} has {given[bad]} free coordinates and needs {needed[bad]}")
    free = np.zeros((len(positions), 3))
    column = np.arange(3)[None, :] < freedom[:, None]
    free[column] = np.array([u for g in genes for u in g.free_coords])
    n = counts[positions]
    orbit = np.repeat(np.arange(len(positions)), n)
    within = np.arange(len(orbit)) - np.repeat(np.cumsum(n) - n, n)
    maps = table.map_start[positions][orbit] + within
    points = np.einsum("pij,pj->pi", table.rotation[maps], free[orbit]) + table.translation[maps]
    return owner[orbit], numbers[orbit], points


def primitive_sites(gene: Gene) -> int:
    """Number of atoms in the primitive cell of a gene."""
    table = wyckoff_table()
    return int(sum(table.primitive_multiplicity[table.index(gene.space_group, w)] for w in gene.wyckoffs))


def conventional_sites(gene: Gene) -> int:
    """Number of atoms in the conventional cell of a gene."""
    table = wyckoff_table()
    return int(sum(table.multiplicity[table.index(gene.space_group, w)] for w in gene.wyckoffs))


def site_counts(crystal: Crystal, symprec: float = 0.1) -> tuple[int, int]:
    """Numbers of atoms in the primitive and in the conventional cell; those of the cell as it is without symmetry.

    Args:
        crystal: any cell; its gene is believed if it has one.
        symprec: distance tolerance, Å, for a crystal without a gene.
    """
    if crystal.gene is not None:
        return primitive_sites(crystal.gene), conventional_sites(crystal.gene)
    try:
        found = moyo_dataset(crystal, symprec)
    except ValueError:
        return crystal.n_sites, crystal.n_sites
    return len(found.prim_std_cell.numbers), len(found.std_cell.numbers)
