"""Dynamic stability: saddle points are found and followed, minima are left alone, and a run lists what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_parts import FakeRelaxer, cubic, fake_parts

from invdesign import build
from invdesign.app.design import result_of
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.elements import atomic_numbers
from invdesign.engine.campaign import Campaign, Sizes
from invdesign.engine.ledger import Ledger
from invdesign.engine.listing import listing
from invdesign.engine.stored import stored_rows
from invdesign.errors import InputError
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.query import Query
from invdesign.records import Candidate, Evaluation, Failure, Relaxation, Shaken, Status, Value, Verdict
from invdesign.relaxation.dynamics import ShakenOne, ShakeSettings, disturbed, shake_one, supercell
from invdesign.relaxation.minimise import Relaxed, RelaxSettings
from invdesign.relaxation.relaxer import PotentialRelaxer, relax_one
from invdesign.validators.dynamics import Dynamics

EMT = "ase.calculators.emt:EMT"
METALS = ["Ni", "Cu", "Au"]
ZEROS = dict.fromkeys(METALS, 0.0)
SCALE = EnergyScale("emt", ZEROS, {}, 0.01, ZEROS, ZEROS, 1.6)
FCC = np.ones((3, 3)) - np.eye(3)
BCC = np.ones((3, 3)) - 2.0 * np.eye(3)


def shaken(crystal: Crystal, potential: str = EMT) -> tuple[Relaxed, ShakenOne]:
    """A crystal relaxed within its space group, and what shaking shows."""
    calculator = potentials.load(potential)

    def again(start: Crystal, settings: RelaxSettings) -> Relaxed | Failure:
        return relax_one(start, [calculator], settings)

    first = again(crystal, RelaxSettings())
    assert isinstance(first, Relaxed), first
    found = shake_one(first.crystal, calculator, again)
    assert isinstance(found, ShakenOne), found
    return first, found


def cubic_copper(z: int = 29) -> Crystal:
    """A body-centred metal that should be close-packed: its symmetry holds it on a saddle point."""
    return Crystal(BCC * 1.45, [z], [[0, 0, 0]], source="bcc")


def test_a_minimum_comes_back() -> None:
    first, found = shaken(Crystal(FCC * 1.8, [29], [[0, 0, 0]]))
    assert found.verdict.status is Status.PASS and found.child is None
    assert abs(found.gain) < 0.001 and found.verdict.value == found.gain
    assert found.n_atoms == 8 and 1 <= found.steps <= 3
    assert first.crystal.n_sites == 1


@pytest.mark.parametrize(("z", "group"), [(29, 194), (28, 194)])  # hexagonal lies below cubic with EMT
def test_a_saddle_point_is_followed_to_what_it_becomes(z: int, group: int) -> None:
    first, found = shaken(cubic_copper(z))
    child = found.child
    assert found.verdict.status is Status.FAIL and child is not None
    assert space_group(first.crystal) == 229 and space_group(child.crystal, 0.01) == group
    assert child.crystal.gene is not None and child.crystal.gene.space_group == group
    assert found.gain == pytest.approx(first.energy_per_atom - child.energy_per_atom, abs=1e-6)
    assert found.gain > 0.01 and f"({group})" in found.verdict.reason and "meV/atom" in found.verdict.reason
    # what it has become is a minimum
    _, again = shaken(child.crystal)
    assert again.verdict.status is Status.PASS


def test_the_same_crystal_gets_the_same_answer_in_any_number_of_processes() -> None:
    crystals = [Crystal(FCC * 1.8, [29], [[0, 0, 0]]), cubic_copper(), Crystal(FCC * 2.04, [79], [[0] * 3])]
    answers = []
    for workers in (1, 2):
        with PotentialRelaxer(EMT, workers=workers, scale=SCALE) as relaxer:
            relaxed = [r.crystal for r in relaxer.relax(crystals) if isinstance(r, Relaxation)]
            found = dict(relaxer.shake_iter(relaxed))
        answers.append([found[k] for k in range(3)])
    one, two = answers
    for a, b in zip(one, two, strict=True):
        assert isinstance(a, Shaken) and isinstance(b, Shaken)
        assert (a.gain, a.verdict, a.steps) == (b.gain, b.verdict, b.steps)
    assert isinstance(one[1], Shaken) and one[1].child is not None
    assert one[1].child.formation_energy is not None and one[1].child.potential


def test_what_is_not_relaxed_is_not_judged() -> None:
    calculator = potentials.load(EMT)
    found = shake_one(Crystal(BCC * 1.3, [29], [[0] * 3]), calculator, lambda *_: Failure("relax", ""))
    assert isinstance(found, Failure) and "not relaxed with this potential: a stress" in found.reason
    argon = shake_one(Crystal(FCC * 2.0, [18], [[0, 0, 0]]), calculator, lambda *_: Failure("relax", ""))
    assert isinstance(argon, Failure) and argon.stage == "dynamics"


def test_a_child_that_cannot_be_relaxed_leaves_a_failure_without_child() -> None:
    calculator = potentials.load(EMT)
    first = relax_one(cubic_copper(), [calculator], RelaxSettings())
    assert isinstance(first, Relaxed)
    found = shake_one(first.crystal, calculator, lambda *_: Failure("relax", "out of order"))
    assert isinstance(found, ShakenOne) and found.child is None
    assert found.verdict.status is Status.FAIL and "gains" in found.verdict.reason


def test_short_vectors_are_doubled_as_far_as_the_atoms_allow() -> None:
    salt = Crystal(FCC * 2.8, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert supercell(salt).n_sites == 16
    assert supercell(salt, ShakeSettings(max_atoms=9)).n_sites == 8
    assert supercell(salt, ShakeSettings(shortest=2.0)).n_sites == 2
    large = supercell(salt)
    assert large.volume == pytest.approx(8 * salt.volume)
    assert space_group(large) == 225


def test_the_disturbance_is_the_seeds() -> None:
    large = supercell(Crystal(FCC * 2.8, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    one, two, other = disturbed(large), disturbed(large), disturbed(large, ShakeSettings(seed=1))
    assert (one.frac_coords == two.frac_coords).all() and (one.lattice == two.lattice).all()
    assert not np.allclose(one.frac_coords, other.frac_coords)
    moved = (one.frac_coords - large.frac_coords) @ one.lattice
    assert 0.02 < moved.std() < 0.08
    with pytest.raises(InputError, match="shake"):
        ShakeSettings(shake=0.0)


# the list of a run

SIZES = Sizes(rounds=2, requests=2, least=1)
WISHES = {
    "targets": ["bulk_modulus>=80"],
    "n": 8,
    "relaxations": 60,
    "max_energy_above_hull": 0.3,
    "search": "none",
}


class Shaking(FakeRelaxer):
    """Shakes: crystals of one element are lost, of another become caesium chloride, the others rest."""

    def __init__(self, lost: int = 0, saddle: int = 0, dies_after: int | None = None) -> None:
        super().__init__()
        self.lost, self.saddle, self.dies_after = lost, saddle, dies_after
        self.asked: list[str] = []

    def shake_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Shaken | Failure]]:
        for index in sorted(range(len(crystals)), key=lambda i: (i % 3, i)):
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(reduced_formula(crystals[index].numbers))
            yield index, self._shaken(crystals[index])

    def _shaken(self, crystal: Crystal) -> Shaken:
        if self.lost in crystal.numbers:
            return Shaken(Verdict("dynamics", Status.FAIL, "gains 50 meV/atom", 0.05), 0.05, None, 16, 9, 1.0)
        if self.saddle in crystal.numbers:
            a = crystal.volume ** (1 / 3)
            after = cubic(221, int(crystal.numbers[0]), int(crystal.numbers[1]), a)
            energy = Value(-0.9, 0.03)
            child = Relaxation(after, -6.0, energy, 0.01, 9, True, 0.5, 0.2, 0.01, "fake 1")
            verdict = Verdict("dynamics", Status.FAIL, "gains 24 meV/atom, becomes Pm-3m (221)", 0.024)
            return Shaken(verdict, 0.024, child, 16, 9, 1.0)
        return Shaken(Verdict("dynamics", Status.PASS, "", 0.0), 0.0, None, 16, 9, 1.0)


def campaign(relaxer: FakeRelaxer, ledger: Path | None = None, **wishes: object) -> Campaign:
    parts = replace(fake_parts(), relaxer=relaxer)
    made = Campaign({**WISHES, **wishes}, 0, parts, ledger, sizes=SIZES)
    for _ in made:
        pass
    return made


def commonest() -> int:
    """The element that most of the listed crystals of the plain run have."""
    listed = listing(campaign(FakeRelaxer())).selection.rows
    assert len(listed) == 8
    numbers = np.concatenate([row.crystal.numbers for row in listed])
    return int(np.bincount(numbers).argmax())


def test_every_listed_row_is_judged_and_another_takes_the_place_of_one_that_fails() -> None:
    lost = commonest()
    relaxer = Shaking(lost=lost)
    found = listing(campaign(relaxer))
    assert found.selection.rows
    for row in found.selection.rows:
        assert lost not in row.crystal.numbers and row.verdicts["dynamics"].status is Status.PASS
    assert found.selection.rejected["dynamics failed"] >= 1
    stage = found.funnel.stages["dynamics"]
    assert stage.entered == len(relaxer.asked) == stage.passed + stage.rejected["dynamics"]
    assert stage.seconds == stage.entered * 1.0
    # only what was to be listed is shaken
    assert len(relaxer.asked) < sum(row.relaxation is not None for row in found.rows)


def test_a_child_takes_the_place_of_its_saddle_point_and_is_placed_again() -> None:
    saddle = commonest()
    run = campaign(Shaking(saddle=saddle))
    found = listing(run)
    before = {row.candidate.id: row for row in run.rows}
    children = [row for row in found.rows if row.relaxation is not before[row.candidate.id].relaxation]
    assert children
    for row in children:
        old = before[row.candidate.id]
        assert row.relaxation is not None and row.energy_above_hull is not None and row.estimate is not None
        assert row.crystal.gene is not None and row.crystal.gene.space_group == 221
        assert row.energy_above_hull.mean == pytest.approx(0.1)  # -0.9 eV/atom, the hull at -1
        assert "becomes Pm-3m (221)" in row.relaxation.note
        assert row.verdicts["dynamics"].status is Status.PASS and "saddle point" in row.verdicts["dynamics"].reason
        assert row.candidate is old.candidate
        assert row.estimate.values["formation_energy"].mean == pytest.approx(-0.9)
        assert row.score != old.score
    listed = {row.candidate.id: row.relaxation for row in found.selection.rows}
    mine = [row for row in children if row.candidate.id in listed]
    assert mine and all(listed[row.candidate.id] is row.relaxation for row in mine)
    assert [r.relaxation for r in run.rows] == [before[r.candidate.id].relaxation for r in run.rows]


def test_without_dynamics_nothing_is_shaken() -> None:
    relaxer = Shaking(lost=commonest())
    found = listing(campaign(relaxer, dynamics=False))
    assert relaxer.asked == [] and found.funnel.stages == {}
    assert all("dynamics" not in row.verdicts for row in found.rows)
    plain = listing(campaign(FakeRelaxer()))
    ids = [row.candidate.id for row in plain.selection.rows]
    assert [row.candidate.id for row in found.selection.rows] == ids
    with pytest.raises(InputError, match="dynamics"):
        Query(dynamics="yes")  # type: ignore[arg-type]


def seen(rows: Sequence[Evaluation]) -> list[tuple[object, ...]]:
    return [(r.candidate.id, r.score, r.verdicts, r.relaxation and r.relaxation.energy_per_atom) for r in rows]


def test_a_run_stopped_while_it_shakes_goes_on_with_what_is_recorded(tmp_path: Path) -> None:
    saddle = commonest()
    whole = listing(campaign(Shaking(saddle=saddle)))
    path = tmp_path / "ledger.sqlite"
    first = campaign(Shaking(saddle=saddle, dies_after=3), path)
    with pytest.raises(KeyboardInterrupt):
        listing(first)
    first.close()
    second = Shaking(saddle=saddle)
    run = campaign(second, path)
    found = listing(run)
    run.close()
    assert seen(found.selection.rows) == seen(whole.selection.rows)
    assert len(second.asked) == whole.funnel.stages["dynamics"].entered - 3
    third = Shaking(saddle=saddle, dies_after=0)
    run = campaign(third, path)
    assert seen(listing(run).selection.rows) == seen(whole.selection.rows)
    assert listing(run).funnel == whole.funnel
    run.close()


def test_readers_of_the_ledger_see_the_child(tmp_path: Path) -> None:
    saddle, path = commonest(), tmp_path / "ledger.sqlite"
    run = campaign(Shaking(saddle=saddle), path)
    found = {row.candidate.id: row for row in listing(run).rows}
    run.close()
    with Ledger.read(path) as ledger:
        rows = stored_rows(ledger)
    judged = [row for row in rows if "dynamics" in row.verdicts]
    assert any(row.relaxation and row.relaxation.note for row in judged)
    for row in judged:
        assert row.relaxation is not None
        assert row.relaxation.energy_per_atom == found[row.candidate.id].relaxation.energy_per_atom  # type: ignore[union-attr]
        assert row.verdicts == found[row.candidate.id].verdicts


def test_the_result_of_a_run_counts_the_stage() -> None:
    result = result_of(campaign(Shaking(lost=commonest()), generator="random"))
    counts = result.record["funnel"]["dynamics"]
    assert counts["entered"] == counts["passed"] + sum(counts["rejected"].values()) > 0
    chosen = result.record["selection"]
    assert chosen["entered"] == chosen["passed"] + sum(chosen["rejected"].values())
    assert chosen["rejected"]["dynamics failed"] >= 1


# the validator


def given(crystal: Crystal) -> Evaluation:
    return Evaluation(Candidate("a", crystal, "", "given"))


def test_the_validator_relaxes_what_nobody_has_relaxed_and_shakes_it() -> None:
    with PotentialRelaxer(EMT, workers=1, scale=SCALE) as relaxer:
        judge = Dynamics(relaxer)
        assert judge.check(given(Crystal(FCC * 1.8, [29], [[0, 0, 0]]))).status is Status.PASS
        assert "becomes P63/mmc (194)" in judge.check(given(cubic_copper())).reason
        unknown = judge.check(given(Crystal(FCC * 2.0, [18], [[0, 0, 0]])))
        assert unknown.status is Status.UNKNOWN and "cannot be relaxed" in unknown.reason
    assert Dynamics().check(given(cubic_copper())).status is Status.UNKNOWN


def test_the_validator_is_there_by_name_and_judges_no_proposal() -> None:
    assert build.validator_names(["listing"]) == ["dynamics"]
    assert "dynamics" not in build.validator_names(["screen", "inspection", "check", "uniqueness"])
    assert isinstance(build.validator("dynamics", known=fake_parts().reference), Dynamics)


# the default potential


def perovskite(a: str, b: str, edge: float) -> Crystal:
    numbers = atomic_numbers([a, b, "O"])
    big, small, oxygen = (next(z for z in numbers if z in atomic_numbers([s])) for s in (a, b, "O"))
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal(np.eye(3) * edge, [big, small, oxygen, oxygen, oxygen], places, source=f"{a}{b}O3")


@pytest.mark.slow
@pytest.mark.parametrize("crystal", [
    Crystal(FCC * 2.715, [14, 14], [[0, 0, 0], [0.25, 0.25, 0.25]], source="Si"),
    Crystal(FCC * 2.105, [12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], source="MgO"),
    Crystal(FCC * 2.82, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], source="NaCl"),
], ids=lambda c: c.source)  # fmt: skip
def test_stable_textbook_crystals_come_back(crystal: Crystal) -> None:
    _, found = shaken(crystal, potentials.DEFAULT)
    assert found.verdict == Verdict("dynamics", Status.PASS, "", found.gain) and abs(found.gain) < 0.001


@pytest.mark.slow
def test_cubic_lead_titanate_is_caught() -> None:
    first, found = shaken(perovskite("Pb", "Ti", 3.95), potentials.DEFAULT)
    assert space_group(first.crystal) == 221
    assert found.verdict.status is Status.FAIL and found.gain > 0.01
    assert found.child is not None and space_group(found.child.crystal) != 221
