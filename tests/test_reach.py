"""What a potential cannot hold together: found, brought nearer, and never called converged."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Relaxation
from invdesign.relaxation.minimise import RelaxSettings
from invdesign.relaxation.reach import brought_together, parts, reach_of
from invdesign.relaxation.relaxer import PotentialRelaxer, relax_one

BCC, FCC = np.ones((3, 3)) / 2 - np.eye(3), (np.ones((3, 3)) - np.eye(3)) / 2


def caesium(a: float) -> Crystal:
    return Crystal(a * BCC, [55], [[0, 0, 0]], source=f"Cs {a}")


def graphite(c: float) -> Crystal:
    return Crystal([[2.46, 0, 0], [-1.23, 2.1304, 0], [0, 0, c]], [6, 6], [[0, 0, 0], [1 / 3, 2 / 3, 0]])


def nitrogen(a: float) -> Crystal:
    return Crystal(np.eye(3) * a, [7, 7], [[0, 0, -0.55 / a], [0, 0, 0.55 / a]])


def chain(a: float) -> Crystal:
    return Crystal(np.diag([a, a, 2.5]), [14], [[0, 0, 0]])


APART = [
    (caesium(6.14), "atoms or molecules"),
    (nitrogen(12.0), "atoms or molecules"),
    (chain(12.0), "chains"),
    (graphite(20.0), "layers"),
]


@pytest.mark.parametrize(("crystal", "kind"), APART, ids=[kind for _, kind in APART])
def test_parts_are_recognised_and_brought_together(crystal: Crystal, kind: str) -> None:
    found = parts(crystal, 5.0)
    assert (found.whole, found.kind) == (False, kind)
    near = brought_together(crystal, 5.0)
    assert near is not None and parts(near, 5.0).whole
    assert space_group(near, 0.01) == space_group(crystal, 0.01)
    assert near.volume < crystal.volume


def test_parts_keep_their_shape() -> None:
    molecule, sheet = brought_together(nitrogen(12.0), 5.0), brought_together(graphite(20.0), 5.0)
    assert molecule is not None and sheet is not None
    bond = (molecule.frac_coords[1] - molecule.frac_coords[0]) @ molecule.lattice
    assert np.linalg.norm(bond) == pytest.approx(1.1)
    assert np.linalg.norm(sheet.lattice, axis=1)[:2] == pytest.approx([2.46, 2.46], abs=1e-3)
    assert 3.0 < sheet.lattice[2, 2] < 5.0


@pytest.mark.parametrize(
    "crystal", [caesium(5.7), graphite(3.35), nitrogen(4.5), Crystal(5.3 * FCC, [18], [[0, 0, 0]])]
)
def test_crystals_within_reach_are_whole(crystal: Crystal) -> None:
    assert parts(crystal, 5.0).whole


def test_the_answer_does_not_depend_on_the_cell() -> None:
    for crystal, kind in APART:
        shear = np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]])
        other = Crystal(shear @ crystal.lattice, crystal.numbers, crystal.frac_coords @ np.linalg.inv(shear) + 0.4)
        assert parts(other, 5.0).kind == kind
    two = Crystal(np.diag([12.0, 12.0, 5.0]), [14, 14], [[0, 0, 0], [0, 0, 0.5]])
    assert parts(two, 5.0).kind == "chains" and len(parts(two, 5.0).cycles) == 1


def test_reaches_of_the_shipped_potentials() -> None:
    assert reach_of(potentials.load("sevennet-0")) == 5.0
    assert reach_of(potentials.load("ase.calculators.emt:EMT")) is None


def test_caesium_is_not_converged_at_any_size() -> None:
    """SevenNet sees no neighbour at caesium's true distance of 5.3 Å, and pushes nearer ones apart."""
    starts = [caesium(a) for a in (5.5, 6.14, 7.5)]
    with PotentialRelaxer("sevennet-0", workers=1) as relaxer:
        found = relaxer.relax(starts)
    for result in found:
        assert isinstance(result, Relaxation)
        assert not result.converged and result.formation_energy is None
        assert "farther apart than the reach of the potential (5 Å)" in result.note


def test_separate_layers_are_put_together_and_relaxed() -> None:
    """Sheets of boron nitride 10 Å apart end as layers at the distance of the potential."""
    sheets = Crystal([[2.51, 0, 0], [-1.255, 2.1737, 0], [0, 0, 20.0]], [5, 7, 5, 7],
                     [[0, 0, 0], [1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.5], [0, 0, 0.5]])  # fmt: skip
    with PotentialRelaxer("sevennet-0", workers=1) as relaxer:
        (found,) = relaxer.relax([sheets])
    assert isinstance(found, Relaxation)
    assert found.steps > 3 and found.volume_change < -0.4
    assert parts(found.crystal, 5.0).whole or not found.converged


def test_a_potential_without_a_known_reach_is_caught_by_its_silence() -> None:
    far = Crystal(FCC * 16.0, [29], [[0, 0, 0]])
    emt = potentials.load("ase.calculators.emt:EMT")
    found = relax_one(far, [emt], RelaxSettings())
    assert not isinstance(found, Failure)
    assert not found.converged and "no forces" in found.note
