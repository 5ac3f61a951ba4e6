"""Learning the gate's errors from the run's own relaxations."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import cubic

from invdesign.engine.online_correction import LEAST, fit_correction
from invdesign.records import Candidate, Estimate, Evaluation, Failure, Value

FLUORINE, OXYGEN = 9, 8


def relaxed(i: int, anion: int, error: float, k_factor: float = 1.0) -> Evaluation:
    """A row whose energy above hull turns out `error` higher than the gate thought, its K `k_factor` times."""
    crystal = cubic(225, 11 + i % 10, anion, 4.0)
    gate = Estimate({"energy_above_hull": Value(0.05, 0.1), "bulk_modulus": Value(100.0, 20.0)})
    found = Estimate({"bulk_modulus": Value(100.0 * k_factor, 5.0)})
    return Evaluation(
        Candidate(f"r-{i}", crystal, "r", "vae"),
        gate=gate,
        estimate=found,
        energy_above_hull=Value(0.05 + error, 0.02),
        selected=True,
    )


def rows(n: int = 40) -> list[Evaluation]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(n):
        anion = FLUORINE if i % 2 else OXYGEN
        out.append(relaxed(i, anion, (0.3 if anion == FLUORINE else 0.0) + 0.02 * rng.normal(), 1.2))
    return out


def corrected(trained: list[Evaluation], anion: int) -> Estimate:
    correct = fit_correction(trained)
    assert correct is not None
    probe = relaxed(99, anion, 0.0)
    assert probe.gate is not None
    return correct(probe.gate, probe.candidate.crystal)


def test_it_believes_fluorides_less_after_fluorides_disappointed() -> None:
    fluoride = corrected(rows(), FLUORINE).values["energy_above_hull"]
    oxide = corrected(rows(), OXYGEN).values["energy_above_hull"]
    assert fluoride.mean - 0.05 > 0.15
    assert abs(oxide.mean - 0.05) < 0.12
    assert fluoride.mean - oxide.mean > 0.12


def test_log_properties_are_shifted_by_a_factor() -> None:
    found = corrected(rows(), OXYGEN).values["bulk_modulus"]
    assert found.mean == pytest.approx(120.0, rel=0.05)
    assert 0.0 < found.std < 30.0


def test_scatter_widens_what_the_gate_is_sure_of() -> None:
    rng = np.random.default_rng(1)
    wild = [relaxed(i, OXYGEN, 0.3 * rng.normal()) for i in range(60)]
    tame = [relaxed(i, OXYGEN, 0.01 * rng.normal()) for i in range(60)]
    assert corrected(wild, OXYGEN).values["energy_above_hull"].std > 0.2
    assert corrected(tame, OXYGEN).values["energy_above_hull"].std < 0.1


def test_few_rows_and_failed_rows_teach_nothing() -> None:
    assert fit_correction([]) is None
    assert fit_correction(rows(LEAST - 1)) is None
    failed = [
        replace(row, energy_above_hull=None, estimate=None, failure=Failure("relax", "x")) for row in rows(40)
    ]
    assert fit_correction(failed) is None


def test_what_the_gate_does_not_say_is_not_made_up() -> None:
    correct = fit_correction(rows())
    assert correct is not None
    found = correct(Estimate({"band_gap": Value(1.0, 0.1)}), cubic(225, 22, 7, 4.0))
    assert dict(found.values) == {"band_gap": Value(1.0, 0.1)}
