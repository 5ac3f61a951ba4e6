"""Verdicts on textbook crystals: all are sound, none is new, in whatever cell and handedness they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_textbook_crystals import CRYSTALS, built

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import primitive
from invdesign.records import Candidate, Evaluation, Status
from invdesign.reference.local import LocalReference
from invdesign.validators.distances import Distances
from invdesign.validators.novelty import Novelty
from invdesign.validators.symmetry import Symmetry

REFERENCE = LocalReference()


def row(crystal: Crystal) -> Evaluation:
    return Evaluation(Candidate("x", crystal, "", "test"))


@pytest.mark.parametrize("name", CRYSTALS)
def test_well_known_crystals_are_sound_and_not_new(name: str) -> None:
    found = row(built(name))
    assert Distances().check(found).status is Status.PASS
    assert Symmetry().check(found).status is Status.PASS
    assert Novelty(REFERENCE).check(found).status is not Status.PASS


DISGUISED = ("halite", "corundum", "rutile", "spinel", "fluorite", "forsterite", "NiAs", "diamond")


def disguises(crystal: Crystal) -> dict[str, Crystal]:
    """The same crystal in other cells, places, orders and handedness."""
    rng = np.random.default_rng(0)
    double = np.diag([2, 1, 1])
    coords = np.concatenate([crystal.frac_coords, crystal.frac_coords + np.array([1.0, 0, 0])]) @ np.linalg.inv(
        double
    )
    skew = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])
    order = rng.permutation(crystal.n_sites)
    return {
        "primitive": primitive(crystal),
        "doubled": Crystal(double @ crystal.lattice, np.tile(crystal.numbers, 2), coords),
        "shifted": replace(crystal, frac_coords=crystal.frac_coords + np.array([0.123, 0.456, -2.789]), gene=None),
        "skewed": Crystal(skew @ crystal.lattice, crystal.numbers, crystal.frac_coords @ np.linalg.inv(skew)),
        "mirrored": Crystal(-crystal.lattice, crystal.numbers, crystal.frac_coords),
        "reordered": Crystal(crystal.lattice, crystal.numbers[order], crystal.frac_coords[order]),
        "larger by 1 %": Crystal(crystal.lattice * 1.01, crystal.numbers, crystal.frac_coords),
    }


@pytest.mark.parametrize("name", DISGUISED)
def test_a_disguise_is_seen_through(name: str) -> None:
    plain = built(name)
    known = REFERENCE.match(plain)
    assert known is not None
    for kind, other in disguises(plain).items():
        assert REFERENCE.match(other) == known, kind


def test_what_is_not_known_is_new_or_cannot_be_told() -> None:
    rock_salt = built("halite")
    xenon = replace(rock_salt, numbers=np.where(rock_salt.numbers == 11, 54, 49), gene=None)
    assert Novelty(REFERENCE).check(row(xenon)).status is Status.PASS
    verdict = Novelty(REFERENCE).check(row(built("polonium")))
    assert verdict.status is Status.UNKNOWN and "no crystal with Po is among the known ones" in verdict.reason


@pytest.mark.parametrize("name", ["halite", "corundum", "iron", "TiB2", "calcite"])
def test_a_cell_of_half_the_edges_has_overlapping_atoms(name: str) -> None:
    crystal = built(name)
    squeezed = Crystal(crystal.lattice * 0.5, crystal.numbers, crystal.frac_coords)
    assert Distances().check(row(squeezed)).status is Status.FAIL
