"""What must not change when a crystal is written down in another way, or a formula in another frame."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import crystals, equal_forms, genes, unimodular
from strategies.crystals import Form, bare, in_cell, permuted, rotations, translated

from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.distances import (
    covalent_volume_ratio,
    reduce_lattice,
    shortest_distance,
    shortest_ratio,
)
from invdesign.crystallography.genes import decode, encode, equivalents, protostructure
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import space_group
from invdesign.mechanics.derive import density
from invdesign.mechanics.tensors import WEIGHT, from_mandel, summarise, to_mandel
from invdesign.records import Candidate, Evaluation, Status, Value
from invdesign.reference.hull import Hull
from invdesign.reference.local import LocalReference, load_hull
from invdesign.surrogates.inputs.cells import MOST_VOLUME
from invdesign.testing.crystals import identical
from invdesign.validators.uniqueness import Uniqueness

few = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
some = settings(few, max_examples=40)
SYMMETRIC = st.integers(16, 230)


def clearly(crystal: Crystal) -> Gene:
    """The gene of a crystal whose symmetry does not depend on the tolerance."""
    wanted = {space_group(crystal, tolerance) for tolerance in (0.001, 0.01, 0.1, 0.2)}
    assume(len(wanted) == 1)
    return encode(crystal)


# the strategies themselves


@some
@given(genes())
def test_genes_are_what_they_promise(gene: Gene) -> None:
    (crystal,) = decode([gene])
    assert crystal.n_sites <= 24 and shortest_distance(crystal) >= 0.9


@some
@given(crystals(with_gene=False), equal_forms())
def test_equal_forms_are_the_same_crystal_for_an_outside_referee(crystal: Crystal, form: Form) -> None:
    assert identical(crystal, form.apply(crystal))


@given(unimodular())
def test_cell_choices_have_the_same_volume(matrix: np.ndarray) -> None:
    assert round(float(np.linalg.det(matrix))) == 1


# crystals


@some
@given(crystals(with_gene=False), equal_forms())
def test_density(crystal: Crystal, form: Form) -> None:
    assert density(form.apply(crystal)) == pytest.approx(density(crystal), rel=1e-9)


@some
@given(crystals(with_gene=False), equal_forms())
def test_distances(crystal: Crystal, form: Form) -> None:
    other = form.apply(crystal)
    assert shortest_distance(other) == pytest.approx(shortest_distance(crystal), rel=1e-6)
    assert shortest_ratio(other) == pytest.approx(shortest_ratio(crystal), rel=1e-6)
    assert covalent_volume_ratio(other) == pytest.approx(covalent_volume_ratio(crystal), rel=1e-9)


@some
@given(crystals(with_gene=False), unimodular(steps=6, most=3))
def test_a_reduced_lattice_depends_on_the_lattice_alone(crystal: Crystal, matrix: np.ndarray) -> None:
    one, other = (
        np.linalg.norm(reduce_lattice(a)[0], axis=1) for a in (crystal.lattice, matrix @ crystal.lattice)
    )
    assert other == pytest.approx(one, rel=1e-6)
    short, transform = reduce_lattice(crystal.lattice)
    assert transform @ crystal.lattice == pytest.approx(short)
    assert abs(round(float(np.linalg.det(transform)))) == 1


@few
@given(crystals(with_gene=False, groups=SYMMETRIC), equal_forms())
def test_genes(crystal: Crystal, form: Form) -> None:
    gene = clearly(crystal)
    found = encode(form.apply(crystal))
    assert found.space_group == gene.space_group
    assert protostructure(found) == protostructure(gene)
    assert identical(decode([found])[0], crystal)


@few
@given(genes(groups=SYMMETRIC), st.data())
def test_origins(gene: Gene, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from(equivalents(gene)))
    one, two = decode([gene, other])
    assert protostructure(other) == protostructure(gene)
    assert density(one) == pytest.approx(density(two))
    assert shortest_distance(one) == pytest.approx(shortest_distance(two), abs=1e-3)


@few
@given(crystals(with_gene=False), equal_forms())
def test_matching(crystal: Crystal, form: Form) -> None:
    assert same(reduced(crystal), reduced(form.apply(crystal)))
    numbers = np.where(crystal.numbers == crystal.numbers[0], 79, crystal.numbers)
    other = Crystal(crystal.lattice, numbers, crystal.frac_coords)
    assert not same(reduced(crystal), reduced(form.apply(other)))


@few
@given(crystals(with_gene=False), equal_forms())
def test_uniqueness(crystal: Crystal, form: Form) -> None:
    judge = Uniqueness()
    first, again = (Evaluation(Candidate(str(k), c, "", "")) for k, c in enumerate((crystal, form.apply(crystal))))
    assert [judge.check(row).status for row in (first, again)] == [Status.PASS, Status.FAIL]


@few
@given(st.integers(0, 2**31), equal_forms())
def test_recognition_of_known_crystals(seed: int, form: Form) -> None:
    known = LocalReference()
    table = list(_small_known())
    crystal = bare(table[seed % len(table)])
    found = known.match(crystal)
    assert found is not None
    assert known.match(form.apply(crystal)) == found


@cache
def _small_known() -> tuple[Crystal, ...]:
    from invdesign.reference.local import load_known

    known = load_known()
    rows = np.random.default_rng(0).integers(0, len(known), 200)
    found = (known.crystal(int(row)) for row in rows)
    return tuple(crystal for crystal in found if crystal.n_sites <= 12)


@settings(few, max_examples=6)
@given(crystals(with_gene=False, groups=SYMMETRIC, least_distance=1.4), equal_forms())
def test_prediction_by_the_gate(crystal: Crystal, form: Form) -> None:
    from invdesign.surrogates import load_gate

    clearly(crystal)
    assume(crystal.volume / crystal.n_sites <= MOST_VOLUME)
    one, other = load_gate().predict([crystal, form.apply(crystal)])
    assert (one.failure, other.failure) == ("", "")
    for name, value in one.values.items():
        assert other.values[name].mean == pytest.approx(value.mean, rel=2e-3, abs=2e-3), name
        assert other.values[name].std == pytest.approx(value.std, rel=2e-3, abs=2e-3), name


# the hull


@some
@given(st.lists(st.sampled_from([3, 8, 12, 14, 22, 26]), min_size=1, max_size=8), st.integers(1, 4), st.randoms())
def test_the_hull_at_a_composition(numbers: list[int], times: int, random: object) -> None:
    larger = numbers * times
    random.shuffle(larger)  # type: ignore[attr-defined]
    hull = load_hull()
    one, other = hull.mixture(numbers), hull.mixture(larger)
    assert one is not None and other is not None
    assert other.energy == pytest.approx(one.energy, abs=1e-9)
    assert sum(one.fractions) == pytest.approx(1.0)


@some
@given(st.floats(-3.0, 3.0), st.floats(-1.0, 1.0), st.floats(0.0, 0.3))
def test_a_higher_energy_lies_as_much_higher_above_the_hull(energy: float, more: float, std: float) -> None:
    crystal = decode([Gene(225, (0, 1), (12, 8), (), (4.2,))])[0]
    low, high = (LocalReference().energy_above_hull(crystal, Value(e, std)) for e in (energy, energy + more))
    assert low is not None and high is not None
    assert high.mean - low.mean == pytest.approx(more, abs=1e-9)
    assert low.std == std


@st.composite
def phase_tables(draw: st.DrawFn) -> list[tuple[dict[int, int], float]]:
    """Elements at zero and compounds of three elements around it."""
    counts = st.dictionaries(st.sampled_from([3, 8, 26]), st.integers(1, 4), min_size=2, max_size=3)
    compounds = draw(st.lists(st.tuples(counts, st.floats(-3.0, 1.0)), max_size=6))
    return [({z: 1}, 0.0) for z in (3, 8, 26)] + compounds


def hull_of(table: list[tuple[dict[int, int], float]]) -> Hull:
    return Hull([str(c) for c, _ in table], [c for c, _ in table], [e for _, e in table])


def energy_at(hull: Hull, numbers: list[int]) -> float:
    found = hull.mixture(numbers)
    assert found is not None
    return found.energy


compositions = st.lists(st.sampled_from([3, 8, 26]), min_size=1, max_size=6)


@some
@given(phase_tables(), compositions, compositions)
def test_the_hull_is_convex(table: list[tuple[dict[int, int], float]], one: list[int], other: list[int]) -> None:
    hull = hull_of(table)
    share = len(one) / len(one + other)
    straight = share * energy_at(hull, one) + (1.0 - share) * energy_at(hull, other)
    assert energy_at(hull, one + other) <= straight + 1e-8


@some
@given(phase_tables(), phase_tables(), compositions)
def test_more_phases_never_raise_the_hull(table: list, more: list, numbers: list[int]) -> None:
    assert energy_at(hull_of(table + more), numbers) <= energy_at(hull_of(table), numbers) + 1e-8


@some
@given(phase_tables())
def test_no_phase_lies_below_the_hull(table: list[tuple[dict[int, int], float]]) -> None:
    hull = hull_of(table)
    for composition, energy in table:
        numbers = [z for z, n in composition.items() for _ in range(n)]
        assert integer_composition(numbers)
        assert energy_at(hull, numbers) <= energy + 1e-8


# elastic tensors

MANDEL = np.outer(WEIGHT, WEIGHT)


@st.composite
def stiffnesses(draw: st.DrawFn) -> np.ndarray:
    """(6, 6) Voigt stiffness of a stable crystal, GPa: any positive definite one."""
    entries = np.array(draw(st.lists(st.floats(-6.0, 6.0), min_size=36, max_size=36))).reshape(6, 6)
    return (entries @ entries.T + 20.0 * np.eye(6)) / MANDEL


def turned(stiffness: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The stiffness in a rotated frame: C' = R C Rᵀ in Mandel's notation."""
    turn = to_mandel(rotation @ from_mandel(np.eye(6)) @ rotation.T).T
    return (turn @ (stiffness * MANDEL) @ turn.T) / MANDEL


@some
@given(stiffnesses(), rotations())
def test_averages_do_not_depend_on_the_frame(stiffness: np.ndarray, rotation: np.ndarray) -> None:
    one, other = summarise(stiffness), summarise(turned(stiffness, rotation))
    for name in ("bulk_voigt", "bulk_reuss", "bulk_hill", "shear_voigt", "shear_reuss", "shear_hill"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-8), name
    assert other.eigenvalues == pytest.approx(one.eigenvalues, rel=1e-8)
    assert other.universal_anisotropy == pytest.approx(one.universal_anisotropy, rel=1e-6, abs=1e-8)


@some
@given(stiffnesses(), st.floats(0.1, 10.0))
def test_averages_are_bounded_and_scale(stiffness: np.ndarray, factor: float) -> None:
    found, larger = summarise(stiffness), summarise(factor * stiffness)
    assert found.bulk_reuss <= found.bulk_hill * (1 + 1e-12) and found.bulk_hill <= found.bulk_voigt * (1 + 1e-12)
    assert found.shear_reuss <= found.shear_hill * (1 + 1e-12) and found.shear_hill <= found.shear_voigt * (
        1 + 1e-12
    )
    assert larger.shear_hill == pytest.approx(factor * found.shear_hill)
    assert larger.universal_anisotropy == pytest.approx(found.universal_anisotropy, abs=1e-8)


@some
@given(stiffnesses(), st.floats(-5.0, 5.0).filter(lambda x: abs(x) > 0.01))
def test_a_crystal_is_stable_while_its_smallest_eigenvalue_is_positive(stiffness: np.ndarray, left: float) -> None:
    least = summarise(stiffness).eigenvalues[0]
    shifted = summarise(stiffness - (least - left) * np.eye(6) / MANDEL)
    assert shifted.eigenvalues[0] == pytest.approx(left, abs=1e-6)
    assert shifted.stable == (left > 0.0)


# the strategies' own changes, by hand


def test_changes_of_a_crystal_by_hand() -> None:
    crystal = decode([Gene(221, (0, 1), (55, 17), (), (4.0,))])[0]
    assert permuted(crystal, [1, 0]).numbers.tolist() == crystal.numbers[::-1].tolist()
    assert translated(crystal, [0.25, 0, 0]).frac_coords[0].tolist() == [0.25, 0.0, 0.0]
    double = in_cell(crystal, np.diag([2, 1, 1]))
    assert double.n_sites == 4 and double.volume == pytest.approx(128.0)
    assert sorted(double.frac_coords[:, 0].tolist()) == [0.0, 0.25, 0.5, 0.75]
