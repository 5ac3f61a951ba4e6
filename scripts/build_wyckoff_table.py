"""Make `invdesign/tables/wyckoff.npz`: every Wyckoff position of the 230 groups as affine maps.

The standard setting (International Tables: unique axis b, hexagonal axes, origin choice 2) is that of PyXtal's
tables, which are used here once and are no dependency of the package. Each orbit's points are R u + t with the
free coordinates u of that position; the maps that fill one primitive cell stand first.

Run: python scripts/build_wyckoff_table.py [--out FOLDER]
"""

from __future__ import annotations

import itertools
from importlib.metadata import version

import moyopy
import numpy as np
from pyxtal.symmetry import Group

from invdesign.training.rebuild import begin, options, run
from invdesign.training.sheet import Sheet

ABOUT = """The 1,731 Wyckoff positions of the 230 space groups as affine maps: each orbit's points are R u + t with
the free coordinates u of its position.

`rotation`, `translation` (24ths of the cell edge) and `left_inverse` (reads u from a point) of every map, those
that fill one primitive cell first; `map_start` by position; `multiplicity`, `primitive_multiplicity`, `freedom`,
`site_symmetry` (index into `site_symmetry_names`) and `letter` of every position; `group_start` by group;
`normalizer_linear`, `normalizer_shift` (24ths), `normalizer_permutation` and `normalizer_start`: the ways in which
a group's normalizer relabels its positions; `primitive_cell` (sixths). Standard setting: unique axis b, hexagonal
axes, origin choice 2."""

PRIMITIVE = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3.0,
}


def left_inverse(matrix: np.ndarray) -> np.ndarray:
    """(dof, 3) matrix S with S R = 1 that reads each free coordinate from one row with a unit entry."""
    dof = matrix.shape[1]
    for rows in itertools.permutations(range(3), dof):
        block = matrix[list(rows)]
        if abs(abs(np.linalg.det(block)) - 1.0) < 1e-9:
            inverse = np.zeros((dof, 3))
            inverse[:, list(rows)] = np.linalg.inv(block)
            return inverse
    raise ValueError(f"no unit pivot in {matrix}")


def maps_of(position: object, primitive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """R (m, 3, 3 padded), t (m, 3), S (m, 3, 3 padded), degrees of freedom, and the count in a primitive cell."""
    affine = np.array([op.affine_matrix for op in position.ops])
    used = np.flatnonzero(np.abs(affine[0, :3, :3]).sum(axis=0) > 1e-9)
    rotations, shifts = affine[:, :3, :3][:, :, used], affine[:, :3, 3]
    to_primitive = np.linalg.inv(primitive)
    seen: list[tuple] = []
    first, rest = [], []
    for k in range(len(affine)):
        key_shift = np.mod(np.round(shifts[k] @ to_primitive, 6) + 1e-9, 1.0)
        key = (*np.round(rotations[k].ravel(), 6), *np.round(key_shift, 4))
        (rest if key in seen else first).append(k)
        seen.append(key)
    order = first + rest
    padded = np.zeros((len(affine), 3, 3))
    inverse = np.zeros((len(affine), 3, 3))
    padded[:, :, : len(used)] = rotations
    for k in range(len(affine)):
        if len(used):
            inverse[k, : len(used)] = left_inverse(rotations[k])
    return padded[order], shifts[order], inverse[order], len(used), len(first)


def crowded_cell(number: int, rotations: list, shifts: list, rng: np.random.Generator) -> moyopy.Cell:
    """A crystal in a generic cell: every Wyckoff position holds an element of its own, the general one three."""
    from invdesign.crystallography.genes import lattice_from_free
    from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family

    generic = np.array([9.1, 10.3, 11.9, 81.0, 97.0, 106.0])
    lattice = lattice_from_free(number, generic[list(FREE_LATTICE[lattice_family(number)])])
    positions, numbers = [], []
    general = len(rotations) - 1
    for k, place in enumerate([*range(general), general, general, general]):
        rotation, shift = rotations[place], shifts[place]
        points = rotation @ rng.uniform(0.05, 0.45, 3) + shift
        positions.extend(points.tolist())
        numbers.extend([k + 1] * len(points))
    return moyopy.Cell(lattice.tolist(), positions, numbers)


def normalizer(number: int, rotations: list, shifts: list, letters: list[str]) -> list[tuple]:
    """(P, p, permutation) for every way in which the group's normalizer relabels its Wyckoff positions."""
    rng = np.random.default_rng(number)
    cell = crowded_cell(number, rotations, shifts, rng)
    data = moyopy.MoyoDataset(cell, symprec=1e-4, setting=moyopy.Setting.standard())
    if data.number != number:
        raise ValueError(f"the crowded cell of group {number} has group {data.number}")
    found = data.normalizer_wyckoff_positions()
    home = [w.letter for w in found.wyckoffs]
    result = []
    for transformation, sequence in found.coset_representatives:
        plain = transformation.as_dict()
        moved = dict(zip(home, (w.letter for w in sequence), strict=True))
        permutation = [letters.index(moved[letter]) for letter in letters]
        result.append((np.array(plain["linear"]), np.array(plain["origin_shift"]), permutation))
    return result


def build() -> dict[str, np.ndarray]:
    """All arrays of the table."""
    change: dict[str, list] = {"P": [], "p": [], "permutation": [], "start": [0]}
    rows: dict[str, list] = {k: [] for k in ("R", "t", "S", "start", "mult", "prim", "dof", "site", "letter")}
    group_start, primitive_cells = [0], []
    n_ops = 0
    for number in range(1, 231):
        group = Group(number)
        letter = moyopy.SpaceGroupType(number).hm_short[0]
        primitive = PRIMITIVE[letter]
        primitive_cells.append(primitive)
        positions = sorted((group[i] for i in range(len(group))), key=lambda w: (w.letter == "A", w.letter))
        for position in positions:
            rotation, shift, inverse, dof, prim = maps_of(position, primitive)
            expected = round(len(rotation) * abs(np.linalg.det(primitive)))
            if prim != expected or dof != position.get_dof():
                raise ValueError(f"group {number} {position.letter}: {prim} of {expected}, dof {dof}")
            position.get_site_symmetry()
            rows["R"].append(rotation)
            rows["t"].append(shift)
            rows["S"].append(inverse)
            rows["start"].append(n_ops)
            rows["mult"].append(len(rotation))
            rows["prim"].append(prim)
            rows["dof"].append(dof)
            rows["site"].append(position.site_symm.replace(" ", ""))
            rows["letter"].append(position.letter)
            n_ops += len(rotation)
        first = group_start[-1]
        group_start.append(len(rows["dof"]))
        for linear, shift, permutation in normalizer(
            number, rows["R"][first:], rows["t"][first:], rows["letter"][first:]
        ):
            change["P"].append(linear)
            change["p"].append(shift)
            change["permutation"].append(permutation + [0] * (27 - len(permutation)))
        change["start"].append(len(change["P"]))
    sites = sorted(set(rows["site"]))
    return {
        "rotation": np.concatenate(rows["R"]).astype(np.int8),
        "translation": np.round(np.concatenate(rows["t"]) * 24).astype(np.int8),
        "left_inverse": np.concatenate(rows["S"]).astype(np.int8),
        "map_start": np.array(rows["start"], dtype=np.int32),
        "multiplicity": np.array(rows["mult"], dtype=np.int16),
        "primitive_multiplicity": np.array(rows["prim"], dtype=np.int16),
        "freedom": np.array(rows["dof"], dtype=np.int8),
        "site_symmetry": np.array([sites.index(s) for s in rows["site"]], dtype=np.int16),
        "site_symmetry_names": np.array(sites),
        "letter": np.array(rows["letter"]),
        "group_start": np.array(group_start, dtype=np.int32),
        "normalizer_linear": np.array(change["P"]).astype(np.int8),
        "normalizer_shift": np.round(np.array(change["p"]) * 24).astype(np.int8),
        "normalizer_permutation": np.array(change["permutation"], dtype=np.int8),
        "normalizer_start": np.array(change["start"], dtype=np.int32),
        "primitive_cell": np.round(np.array(primitive_cells) * 6).astype(np.int8),
    }


def main() -> None:
    """Build, check that the integer storage is exact, and save."""
    given = begin(options(__doc__, data=False))
    out = given.out / "wyckoff.npz"
    table = build()
    np.savez_compressed(out, **table)
    Sheet(
        about=ABOUT,
        script="python scripts/build_wyckoff_table.py",
        data=f"tables of PyXtal {version('pyxtal')}, normalizers of moyopy {version('moyopy')}; no file",
        split="nothing is held out: nothing is learned",
        seed="space group number, of the test crystal by which a group's normalizer is found; the result has no "
        "random part",
        metrics=f"{len(table['freedom']):,} positions, {len(table['rotation']):,} maps; multiplicities and "
        "degrees of freedom are checked against PyXtal's while building",
        commit=given.commit,
        licence="International Tables for Crystallography A, through PyXtal (S. Fredericks et al., Comput. Phys. "
        "Commun. 261, 107810 (2021), MIT licence).",
    ).write(out)
    print(f"{len(table['freedom'])} Wyckoff positions, {len(table['rotation'])} maps -> {out}")


if __name__ == "__main__":
    run(main)
