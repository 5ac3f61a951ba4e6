"""Wyckoff genes: the way there and back, equivalent choices, and what must be refused."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import (
    canonical,
    decode,
    decode_conventional,
    encode,
    encode_many,
    equivalents,
    free_coordinates,
    free_from_lattice,
    lattice_from_free,
    primitive_sites,
    protostructure,
)
from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table
from invdesign.data.convert import from_pymatgen, to_pymatgen

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.916, 5.405), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)
CORUNDUM = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.759, 12.991), ["Al", "O"], [[0, 0, 0.3522], [0.3064, 0, 0.25]]
)


@pytest.mark.parametrize(
    ("structure", "number", "sites", "free"),
    [(ROCKSALT, 225, 2, 0), (RUTILE, 136, 6, 1), (QUARTZ, 154, 9, 4), (CORUNDUM, 167, 10, 2)],
)
def test_textbook_crystals_return(structure, number, sites, free):
    gene = encode(from_pymatgen(structure))
    assert gene.space_group == number
    assert primitive_sites(gene) == sites
    assert len(gene.free_coords) == free
    back = decode([gene])[0]
    assert back.gene == gene
    assert back.n_sites == sites
    assert space_group(back, 1e-3) == number
    assert StructureMatcher(ltol=1e-3, stol=2e-3, angle_tol=0.1).fit(structure, to_pymatgen(back))


def test_rutile_numbers():
    gene = encode(from_pymatgen(RUTILE))
    table = wyckoff_table()
    labels = {table.label(136, w): z for w, z in zip(gene.wyckoffs, gene.numbers, strict=True)}
    assert labels in ({"2a": 22, "4f": 8}, {"2b": 22, "4f": 8})
    assert gene.free_coords[0] == pytest.approx(0.305, abs=1e-3) or gene.free_coords[0] == pytest.approx(
        0.195, abs=1e-3
    )
    assert gene.free_lattice == pytest.approx((4.594, 2.959), abs=1e-4)


@pytest.mark.parametrize("number", range(1, 231))
def test_every_group_builds_its_own_symmetry(number):
    """Three general orbits in a generic cell of any group must be found again as that group."""
    table, rng = wyckoff_table(), np.random.default_rng(number)
    last = table.count(number) - 1
    generic = np.array([9.1, 10.9, 13.3, 83.0, 98.0, 105.0])  # room for 3 × 192 atoms

    gene = Gene(
        number,
        (last, last, last),
        (29, 30, 31),
        tuple(rng.uniform(0.03, 0.23, 9).tolist()),
        tuple(generic[list(FREE_LATTICE[lattice_family(number)])].tolist()),
    )
    crystal = decode([gene])[0]
    assert crystal.n_sites == primitive_sites(gene)
    assert space_group(crystal, 1e-4) == number
    assert encode(crystal, symprec=1e-4).space_group == number
    conventional = decode_conventional(gene)
    assert conventional.n_sites / crystal.n_sites == pytest.approx(conventional.volume / crystal.volume)


@given(st.integers(1, 230), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_equivalent_genes_are_the_same_crystal(number, random):
    table = wyckoff_table()
    wyckoffs = sorted(random.choices(range(table.count(number)), k=2))
    if wyckoffs[0] == wyckoffs[1]:
        wyckoffs = wyckoffs[:1]
    freedom = sum(int(table.freedom[table.index(number, w)]) for w in wyckoffs)
    free = tuple(round(random.uniform(0.02, 0.98), 4) for _ in range(freedom))
    generic = np.array([9.1, 10.3, 11.9, 81.0, 97.0, 106.0])
    lattice = tuple(generic[list(FREE_LATTICE[lattice_family(number)])].tolist())
    gene = Gene(number, tuple(wyckoffs), tuple(range(3, 3 + len(wyckoffs))), free, lattice)
    found = equivalents(gene)
    assert found[0].wyckoff_sequence == gene.wyckoff_sequence
    assert {protostructure(g) for g in found} == {protostructure(gene)}
    assert canonical(gene).wyckoff_sequence == protostructure(gene)
    crystals = decode([gene, random.choice(found)])
    distances = [np.sort(_distances(c)) for c in crystals]
    np.testing.assert_allclose(distances[0], distances[1], atol=2e-4)


def _distances(crystal: Crystal) -> np.ndarray:
    shifts = np.stack(np.meshgrid(*[range(-1, 2)] * 3), -1).reshape(-1, 3)
    delta = crystal.frac_coords[:, None] - crystal.frac_coords[None]
    delta -= np.round(delta)
    return np.linalg.norm((delta[:, :, None] + shifts) @ crystal.lattice, axis=-1).min(-1).ravel()


def test_swapped_rocksalt_has_one_key():
    one = Gene(225, (0, 1), (12, 8), (), (4.2,))
    other = Gene(225, (0, 1), (8, 12), (), (4.2,))
    assert one.wyckoff_sequence != other.wyckoff_sequence
    assert protostructure(one) == protostructure(other)
    assert protostructure(one) != protostructure(Gene(225, (0, 1), (12, 16), (), (4.2,)))


def test_supercell_gives_the_same_gene():
    gene = encode(from_pymatgen(RUTILE))
    assert protostructure(encode(from_pymatgen(RUTILE * (2, 1, 1)))) == protostructure(gene)


def test_a_broken_symmetry_is_another_gene():
    moved = RUTILE.copy()
    moved.translate_sites([0], [0.08, 0.03, 0.05])
    assert encode(from_pymatgen(moved)).space_group != 136


@pytest.mark.parametrize("number", [1, 5, 20, 80, 150, 200])
def test_lattice_round_trip(number):
    generic = np.array([9.1, 10.9, 13.3, 83.0, 98.0, 105.0])  # room for 3 × 192 atoms
    free = tuple(generic[list(FREE_LATTICE[lattice_family(number)])].tolist())
    assert free_from_lattice(number, lattice_from_free(number, free)) == pytest.approx(free)


def test_inconsistent_genes_are_refused():
    with pytest.raises(ValueError, match="free coordinates"):
        decode([Gene(136, (0, 5), (22, 8), (), (4.6, 3.0))])
    with pytest.raises(ValueError, match="lattice parameters"):
        decode([Gene(225, (0, 1), (12, 8), (), (4.2, 4.3))])
    with pytest.raises(ValueError, match="no Wyckoff position"):
        decode([Gene(1, (3,), (12,), (0.1, 0.2, 0.3), (4, 4, 4, 90, 90, 90))])
    with pytest.raises(ValueError, match="volume"):
        decode([Gene(1, (0,), (12,), (0.1, 0.2, 0.3), (4, 4, 4, 10, 90, 170))])


def test_decoding_a_batch_equals_decoding_one_by_one():
    genes = [encode(from_pymatgen(s)) for s in (ROCKSALT, RUTILE, QUARTZ, CORUNDUM)]
    for together, gene in zip(decode(genes), genes, strict=True):
        alone = decode([gene])[0]
        np.testing.assert_array_equal(together.frac_coords, alone.frac_coords)
        np.testing.assert_array_equal(together.lattice, alone.lattice)
    assert decode([]) == []


def test_many_at_once_are_as_one_by_one_and_one_bad_crystal_spoils_no_other():
    crystals = [from_pymatgen(s) for s in (ROCKSALT, RUTILE, QUARTZ)]
    twins = Crystal(np.eye(3) * 4, np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]]))
    found = encode_many([crystals[0], twins, *crystals[1:]])
    assert isinstance(found[1], str) and "0.1 Å" in found[1]
    assert [found[0], *found[2:]] == [encode(c) for c in crystals]
    with pytest.raises(ValueError, match=re.escape(found[1])):
        encode(twins)


@pytest.mark.parametrize("number", [1, 14, 62, 139, 166, 194, 225, 227])
def test_free_coordinates_put_the_orbit_where_the_point_is(number):
    table, rng = wyckoff_table(), np.random.default_rng(number)
    positions = np.arange(*table.group_start[number - 1 : number + 1])
    lattices = np.broadcast_to(np.diag([6.1, 7.3, 8.9]), (len(positions), 3, 3))
    wanted = rng.uniform(0.05, 0.2, (len(positions), 3)) * (np.arange(3) < table.freedom[positions, None])
    last = table.map_start[positions] + table.multiplicity[positions] - 1  # any point of the orbit
    points = np.einsum("kij,kj->ki", table.rotation[last], wanted) + table.translation[last]
    free, error = free_coordinates(positions, points, lattices)
    assert error.max() < 1e-9
    start, count = table.map_start[positions], table.multiplicity[positions]
    for k, point in enumerate(points):
        maps = slice(start[k], start[k] + count[k])
        away = table.rotation[maps] @ free[k] + table.translation[maps] - point
        assert np.abs(away - np.round(away)).max(axis=1).min() < 1e-5
        tried = np.mod(np.einsum("kij,kj->ki", table.left_inverse[maps], point - table.translation[maps]), 1.0)
        back = np.einsum("kij,kj->ki", table.rotation[maps], tried) + table.translation[maps] - point
        good = np.abs(back - np.round(back)).max(axis=1) < 1e-9
        size = int(table.freedom[positions[k]])
        assert tuple(free[k, :size]) == pytest.approx(
            min(map(tuple, np.round(np.mod(tried[good][:, :size] + 1e-9, 1.0), 6))), abs=2e-6
        )


def test_a_point_off_its_position_is_told_by_how_far():
    mirror = wyckoff_table().index(6, 0)  # x, 0, z
    free, error = free_coordinates(np.array([mirror]), np.array([[0.3, 0.02, 0.4]]), np.eye(3)[None] * 10)
    assert free[0, :2].tolist() == [0.3, 0.4]
    assert error[0] == pytest.approx(0.2)
