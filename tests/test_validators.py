"""Each validator passes a crystal that is right and fails one that is wrong; what it cannot tell is UNKNOWN."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from invdesign import build
from invdesign.chemistry.charge_states import load_charge_states
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.crystallography.symmetry import quick_space_group
from invdesign.data.convert import lattice_from_parameters
from invdesign.elements import atomic_number
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.protocols import Validator
from invdesign.records import Candidate, Evaluation, Relaxation, Status, Value
from invdesign.reference.disorder import Ordering, interchangeable, possible_disorder
from invdesign.validators import VALIDATORS
from invdesign.validators.charge_balance import ChargeBalance
from invdesign.validators.disorder import Disorder
from invdesign.validators.distances import Distances
from invdesign.validators.dynamics import Dynamics
from invdesign.validators.novelty import Novelty
from invdesign.validators.stability import GAP, Stability
from invdesign.validators.symmetry import Symmetry
from invdesign.validators.uniqueness import Uniqueness, first_equals

FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def rock_salt(first: str = "Na", second: str = "Cl", a: float = 5.64) -> Crystal:
    numbers = [atomic_number(first), atomic_number(second)]
    gene = Gene(225, (0, 1), tuple(numbers), (), (a,))
    return Crystal(a * FCC, np.array(numbers), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]), gene)


def formula(text: str) -> Crystal:
    """Any geometry with this composition, e.g. `Fe3 O4`."""
    numbers = []
    for part in text.split():
        name = part.rstrip("0123456789")
        numbers += [atomic_number(name)] * int(part[len(name) :] or 1)
    coords = np.random.default_rng(0).random((len(numbers), 3))
    return Crystal(np.eye(3) * 3.0 * len(numbers) ** (1 / 3), np.array(numbers), coords)


def row(crystal: Crystal, name: str = "a", relaxed: Crystal | None = None) -> Evaluation:
    relaxation = None
    if relaxed is not None:
        relaxation = Relaxation(relaxed, -3.0, Value(-1.0, 0.05), 0.01, 10, True, 1.0, 0.0, 0.0, "test")
    return Evaluation(Candidate(name, crystal, "r", "test"), relaxation=relaxation)


class FakeReference:
    """Knows rock salt of one pair of elements, or nothing."""

    def __init__(self, known: Crystal | None) -> None:
        self._known = known

    def energy_above_hull(self, crystal: Crystal, formation_energy: Value) -> Value | None:
        return None

    def match(self, crystal: Crystal) -> str | None:
        if not np.isfinite(crystal.lattice).all() or crystal.volume < 1e-6:
            raise ValueError("the cell cannot be reduced")
        same = self._known is not None and sorted(crystal.numbers) == sorted(self._known.numbers)
        return "mp-22862" if same else None

    def polytype(self, crystal: Crystal) -> str | None:
        return self.match(crystal)

    def possible_disorder(self, crystal: Crystal) -> Ordering | None:
        ordering = possible_disorder(crystal)
        return ordering and replace(ordering, known="mp-1" if self._known else None)


def built() -> list[Validator]:
    made = [build.validator(name, FakeReference(None)) for name in VALIDATORS if name != "dynamics"]
    return [*made, Dynamics()]  # without the default potential: see test_dynamics.py


@pytest.mark.parametrize("validator", built(), ids=list(VALIDATORS))
def test_every_validator_keeps_the_protocol_and_never_raises(validator: Validator) -> None:
    assert isinstance(validator, Validator)
    assert VALIDATORS.keys() >= {validator.name}
    flat = Crystal(np.diag([3.0, 3.0, 1e-9]), np.array([11, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    heap = Crystal(np.eye(3) * 3.0, np.full(4, 118), np.zeros((4, 3)))
    for crystal in (rock_salt(), flat, heap):
        verdict = validator.check(row(crystal))
        assert verdict.name == validator.name
        assert verdict.status is Status.PASS or verdict.reason


def test_names_in_the_table_are_the_validators_own() -> None:
    assert [validator.name for validator in built()] == list(VALIDATORS)


# distances


def test_distances_pass_salt_with_its_ratio() -> None:
    verdict = Distances().check(row(rock_salt()))
    assert verdict.status is Status.PASS
    assert verdict.value == pytest.approx(2.82 / (1.66 + 1.02))


@pytest.mark.parametrize(
    ("crystal", "words"),
    [
        (rock_salt(a=2.9), "covalent radii"),
        (rock_salt(a=18.0), "times the volume"),
        (replace(rock_salt(), lattice=np.diag([4.0, 4.0, 400.0])), "reduced cell"),
        (replace(rock_salt(), lattice=np.diag([5.0, 5.0, 1e-6])), "flat"),
        (replace(rock_salt(), lattice=np.diag([9.0, 9.0, 1.0])), "at least 1.5"),
    ],
)
def test_distances_fail_what_cannot_be_a_crystal(crystal: Crystal, words: str) -> None:
    verdict = Distances().check(row(crystal))
    assert verdict.status is Status.FAIL
    assert words in verdict.reason


def test_distances_do_not_judge_elements_without_radius() -> None:
    assert Distances().check(row(rock_salt("Na", "Og"))).status is Status.UNKNOWN


# charge balance


@pytest.mark.parametrize(
    "text", ["Na Cl", "Al2 O3", "Fe3 O4", "Pb3 O4", "Pr6 O11", "Ti N", "Ca3 P2 O8", "Li1 Co2 O4", "Nb12 O29"]
)
def test_charge_balance_passes_salts_and_mixed_valence(text: str) -> None:
    assert ChargeBalance().check(row(formula(text))).status is Status.PASS


@pytest.mark.parametrize("text", ["Na2 Cl", "Na Cl2", "Al O", "Mg Cl3", "Na3 F2", "Cs2 F"])
def test_charge_balance_fails_what_does_not_balance(text: str) -> None:
    assert ChargeBalance().check(row(formula(text))).status is Status.FAIL


@pytest.mark.parametrize(
    ("text", "words"),
    [("Ni Al", "intermetallic"), ("Fe", "element"), ("Xe F3", ""), ("He O", "no known"), ("Mg5 Si6", "silicide")],
)
def test_charge_balance_says_where_it_does_not_apply(text: str, words: str) -> None:
    verdict = ChargeBalance().check(row(formula(text)))
    expected = Status.FAIL if text == "Xe F3" else Status.UNKNOWN
    assert verdict.status is expected
    assert words in verdict.reason


def test_magnetite_needs_mixed_valence() -> None:
    assert ChargeBalance(mixed_valence=False).check(row(formula("Fe3 O4"))).status is Status.FAIL


def test_a_supercell_and_its_unit_cell_get_one_answer() -> None:
    assert ChargeBalance().check(row(formula("Li2 Co4 O8"))) == ChargeBalance().check(row(formula("Li1 Co2 O4")))


def test_charge_balance_agrees_with_smact() -> None:
    from smact.screening import smact_validity

    rng, chosen = np.random.default_rng(0), [3, 8, 9, 12, 14, 16, 22, 26, 29, 38, 41, 50, 53, 57, 7, 6]
    answers = []
    for _ in range(300):
        elements = rng.choice(chosen, size=rng.integers(2, 5), replace=False)
        counts = {int(z): int(n) for z, n in zip(elements, rng.integers(1, 7, len(elements)), strict=True)}
        divisor = math.gcd(*counts.values())
        counts = {z: n // divisor for z, n in counts.items()}
        from pymatgen.core import Composition, Element

        composition = Composition({Element.from_Z(z): n for z, n in counts.items()})
        answers.append(load_charge_states().most_likely(counts, mixed_valence=False) is not None)
        assert answers[-1] == smact_validity(composition, include_alloys=False), composition
    assert 30 < sum(answers) < 270


# symmetry


def test_symmetry_passes_the_group_that_was_asked_for() -> None:
    verdict = Symmetry().check(row(rock_salt()))
    assert verdict.status is Status.PASS
    assert verdict.value == 225


def test_symmetry_may_rise_by_relaxation() -> None:
    start = rock_salt()
    gene = Gene(216, (0, 1), (11, 17), (), (5.64,))
    verdict = Symmetry().check(row(replace(start, gene=gene), relaxed=start))
    assert verdict.status is Status.PASS and "rose from 216 to 225" in verdict.reason
    blende = decode([Gene(216, (0, 2), (11, 17), (), (5.64,))])[0]
    fallen = Symmetry().check(row(start, relaxed=blende))
    assert fallen.status is Status.FAIL


def test_symmetry_fails_another_group_and_a_broken_relaxation() -> None:
    wrong = replace(rock_salt(), gene=Gene(166, (0, 1), (11, 17), (), (4.0, 10.0)))
    assert Symmetry().check(row(wrong)).status is Status.FAIL
    coords = np.array([[0.0, 0.0, 0.0], [0.55, 0.5, 0.5]])
    broken = Symmetry().check(row(rock_salt(), relaxed=replace(rock_salt(), frac_coords=coords)))
    assert broken.status is Status.FAIL
    assert "after relaxation" in broken.reason


def test_symmetry_that_depends_on_the_tolerance_is_unknown() -> None:
    coords = np.array([[0.0, 0.0, 0.0], [0.505, 0.5, 0.5]])
    assert Symmetry().check(row(replace(rock_salt(), frac_coords=coords))).status is Status.UNKNOWN


def test_symmetry_that_nobody_asked_for_passes_if_it_stands() -> None:
    verdict = Symmetry().check(row(replace(rock_salt(), gene=None)))
    assert (verdict.status, verdict.reason, verdict.value) == (Status.PASS, "", 225.0)
    coords = rock_salt().frac_coords.copy()
    coords[0] += 0.005
    verdict = Symmetry().check(row(replace(rock_salt(), gene=None, frac_coords=coords)))
    assert verdict.status is Status.UNKNOWN
    assert verdict.reason.startswith("found 225 at 0.1 Å, ")


def test_symmetry_where_spglib_and_moyo_differ() -> None:
    """Near the face-centred cubic lattice moyo finds 225 within 0.1 Å, spglib 152; spglib is the referee."""
    lattice = lattice_from_parameters([4.3, 4.3, 10.53, 90, 90, 120])
    x = 0.345
    coords = [[x, 0, 1 / 3], [0, x, 2 / 3], [-x, -x, 0]]
    crystal = Crystal(lattice, np.full(3, 38), np.array(coords))
    assert quick_space_group(crystal) != 152
    verdict = Symmetry().check(row(crystal))
    assert (verdict.status, verdict.value) == (Status.PASS, 152.0)


# novelty


def test_novelty_fails_the_known_and_passes_the_new() -> None:
    judge = Novelty(FakeReference(rock_salt()))
    known = judge.check(row(rock_salt()))
    assert (known.status, known.reason) == (Status.FAIL, "known as mp-22862")
    assert judge.check(row(rock_salt("K", "Cl"))).status is Status.PASS


def test_novelty_that_cannot_compare_is_unknown() -> None:
    flat = replace(rock_salt(), lattice=np.diag([1.0, 1.0, 1e-9]))
    assert Novelty(FakeReference(None)).check(row(flat)).status is Status.UNKNOWN


def test_novelty_is_unknown_where_a_phase_is_known_without_its_structure() -> None:
    from invdesign.reference.local import LocalReference

    judge = Novelty(LocalReference())
    fcc = 3.8 * (np.ones((3, 3)) - np.eye(3))
    antifluorite = Crystal(fcc, np.array([81, 81, 52]), np.array([[0.25] * 3, [0.75] * 3, [0.0] * 3]))
    on_hull = judge.check(row(antifluorite))  # Tl2Te is on the hull; none of its crystals is in the table
    assert (on_hull.status, on_hull.reason) == (
        Status.UNKNOWN,
        "known formula, its structure is not in the package",
    )
    assert judge.check(row(rock_salt("Na", "Te", 6.3))).status is Status.UNKNOWN  # known above the hull
    assert judge.check(row(rock_salt("Ti", "N", 4.24))).status is Status.FAIL
    assert judge.check(row(rock_salt("W", "Cl", 5.5))).status is Status.PASS


def test_crystals_that_serve_as_reference_only_are_known_and_no_parents() -> None:
    """Rock salt MgO is one of them: known by its structure, and never a start for new crystals."""
    from invdesign.reference.local import LocalReference, load_known

    verdict = Novelty(LocalReference()).check(row(rock_salt("Mg", "O", 4.21)))
    assert (verdict.status, verdict.reason) == (Status.FAIL, "known as mp-1265")
    known = load_known()
    (found,) = [known[r] for r in known.rows_of_formula("MgO") if known.id(r) == "mp-1265"]
    assert found.held_out and found.gene.space_group == 225 and int(known.held_out.sum()) == 5636


class MadeReference(FakeReference):
    """Knows a recipe for everything."""

    def recipe_without_crystal(self, numbers: object) -> str | None:
        return "10.1000/made"


def test_what_somebody_has_made_is_not_called_new() -> None:
    verdict = Novelty(MadeReference(None)).check(row(rock_salt()))
    assert verdict.status is Status.UNKNOWN
    assert "a recipe for this formula is published (doi:10.1000/made)" in verdict.reason
    assert Novelty(MadeReference(rock_salt())).check(row(rock_salt())).status is Status.FAIL


def test_no_reference_is_an_error_and_never_a_pass() -> None:
    for family in (Novelty, Disorder):
        with pytest.raises(ReferenceMissingError):
            family(None)  # type: ignore[arg-type]


# disorder


def rutile(metals: tuple[str, str]) -> Crystal:
    """Rutile with two metals on its one metal site, ordered: Pmnm-like, from the gene of P1."""
    a, c, u = 4.6, 3.0, 0.305
    numbers = [atomic_number(m) for m in metals] + [8] * 4
    oxygen = [[u, u, 0.0], [-u, -u, 0.0], [0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
    return Crystal(np.diag([a, a, c]), np.array(numbers), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5], *oxygen]))


def spinel() -> Crystal:
    """MgAl2O4: Mg at 8a, Al at 16d, O at 32e."""
    return decode([Gene(227, (0, 3, 4), (12, 13, 8), (0.2624,), (8.08,))])[0]


def test_disorder_flags_an_ordered_rutile_of_similar_metals() -> None:
    crystal = rutile(("Ta", "Cr"))
    ordering = possible_disorder(crystal)
    assert ordering is not None
    assert ordering.elements == (("Cr", "Ta"),)
    assert ordering.parent == 136
    assert Disorder(FakeReference(crystal)).check(row(crystal)).status is Status.FAIL
    assert Disorder(FakeReference(None)).check(row(crystal)).status is Status.UNKNOWN


@pytest.mark.parametrize("crystal", [rutile(("Ti", "Ti")), rutile(("Ba", "Mn")), rock_salt(), spinel()])
def test_disorder_passes_where_no_similar_elements_share_a_site(crystal: Crystal) -> None:
    assert Disorder(FakeReference(None)).check(row(crystal)).status is Status.PASS


def test_ionic_radii_do_not_count_in_an_intermetallic() -> None:
    assert not interchangeable(atomic_number("Cu"), atomic_number("In"), intermetallic=True)
    assert interchangeable(atomic_number("Cu"), atomic_number("Au"), intermetallic=True)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("Ta", "Cr", True), ("Ti", "V", True), ("W", "Mo", True), ("C", "N", True), ("Cl", "Br", True),
        ("Fe", "Ni", True), ("Na", "Cl", False), ("Ba", "Ti", False), ("Na", "K", False), ("Ti", "C", False),
        ("O", "S", False), ("Sb", "Bi", True), ("Fe", "P", False), ("Cu", "In", True),
        ("H", "F", False), ("He", "O", False),
    ],
)  # fmt: skip
def test_interchangeable_elements(first: str, second: str, expected: bool) -> None:
    pair = atomic_number(first), atomic_number(second)
    assert interchangeable(*pair) is interchangeable(*pair[::-1]) is expected


# stability


def test_stability_follows_the_limit() -> None:
    judge = Stability(limit=0.1)
    below = replace(row(rock_salt()), energy_above_hull=Value(0.09, 0.05))
    above = replace(row(rock_salt()), energy_above_hull=Value(0.11, 0.05))
    assert judge.check(below).status is Status.PASS
    assert judge.check(above).status is Status.FAIL
    assert judge.check(replace(below, energy_above_hull=Value(0.1, 0.0))).status is Status.PASS
    assert Stability(limit=0.1, confidence=0.9).check(below).status is Status.FAIL


def test_stability_without_energy_or_too_good_is_unknown() -> None:
    for energy in (None, Value(float("nan"), 0.1), Value(-1.0, 0.05)):
        verdict = Stability().check(replace(row(rock_salt()), energy_above_hull=energy))
        assert verdict.status is Status.UNKNOWN


class CountingReference(FakeReference):
    """Knows how many phases there are of the elements."""

    def __init__(self, phases: int) -> None:
        super().__init__(None)
        self.phases = phases

    def phases_of_system(self, numbers: object) -> int:
        return self.phases


@pytest.mark.parametrize(
    ("energy", "phases", "words"),
    [
        (-0.18, 0, "0.180 eV/atom below a hull without any known phase of all its elements"),
        (-0.06, 0, "0.060 eV/atom below a hull without any known phase of all its elements"),
        (-0.18, 1, "0.180 eV/atom below the hull of 1 known phase of its elements"),
        (-0.12, 7, "0.120 eV/atom below the hull of 7 known phases of its elements"),
        (-0.06, 7, ""),
        (-0.04, 0, ""),
        (0.05, 0, ""),
    ],
)
def test_far_below_the_hull_is_a_warning(energy: float, phases: int, words: str) -> None:
    judge = Stability(reference=CountingReference(phases))
    verdict = judge.check(replace(row(rock_salt()), energy_above_hull=Value(energy, 0.03)))
    assert verdict.status is Status.PASS and verdict.value == energy
    assert verdict.reason == (f"{words}: {GAP}" if words else "")


def test_far_below_the_hull_is_a_warning_without_a_count_too() -> None:
    verdict = Stability().check(replace(row(rock_salt()), energy_above_hull=Value(-0.2, 0.03)))
    assert verdict.reason.startswith("0.200 eV/atom below the hull: more likely a gap in the reference")


def test_stability_refuses_impossible_settings() -> None:
    with pytest.raises(InputError, match="confidence"):
        Stability(confidence=1.0)
    with pytest.raises(InputError, match="floor"):
        Stability(limit=-0.5)


# uniqueness


def supercell(crystal: Crystal) -> Crystal:
    """The same crystal in a doubled, shifted cell."""
    lattice = crystal.lattice * np.array([[2.0], [1.0], [1.0]])
    coords = np.concatenate([crystal.frac_coords, crystal.frac_coords + np.eye(3)[0]]) / [2.0, 1.0, 1.0] + 0.1
    return Crystal(lattice, np.tile(crystal.numbers, 2), coords)


def test_uniqueness_fails_the_second_of_a_kind_only() -> None:
    judge = Uniqueness()
    assert judge.check(row(rock_salt(), "a")).status is Status.PASS
    assert judge.check(row(rock_salt("K"), "b")).status is Status.PASS
    twin = judge.check(row(supercell(rock_salt()), "c"))
    assert (twin.status, twin.reason) == (Status.FAIL, "the same as a")
    assert judge.check(row(rock_salt(), "a")).status is Status.PASS
    judge.reset()
    assert judge.check(row(supercell(rock_salt()), "c")).status is Status.PASS


def test_uniqueness_tells_polymorphs_apart() -> None:
    caesium = Crystal(np.eye(3) * 3.5, np.array([11, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    assert first_equals([rock_salt(), caesium, supercell(rock_salt()), caesium]) == [None, None, 0, 1]


def test_relaxed_crystals_are_compared_with_relaxed_ones() -> None:
    judge = Uniqueness()
    assert judge.check(row(rock_salt(), "a")).status is Status.PASS
    assert judge.check(row(rock_salt(a=9.0), "b", relaxed=rock_salt())).status is Status.PASS
    assert judge.check(row(rock_salt(), "a", relaxed=rock_salt())).status is Status.FAIL
