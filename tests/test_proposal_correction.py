"""The gate's correction: what it learns, what it says far from it, and that it belongs to one gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.errors import ReferenceMissingError, TrainingError
from invdesign.surrogates import load_gate
from invdesign.surrogates.gate import GateSurrogate
from invdesign.surrogates.inputs.cells import read_graphs
from invdesign.surrogates.model import Raw
from invdesign.surrogates.proposal_correction import (
    CUTS,
    ENERGY,
    CorrectedGate,
    Correction,
    ProposalCorrection,
    learned,
    views,
)


@pytest.fixture(scope="module")
def gate() -> GateSurrogate:
    return load_gate()


@pytest.fixture(scope="module")
def salts() -> list[Crystal]:
    """Rock salts and caesium chlorides of many elements and sizes."""
    pairs = [(a, b) for a in (3, 11, 12, 19, 20, 22, 23, 40, 41, 57) for b in (6, 7, 8, 9, 16, 17, 35)]
    return decode(
        [Gene(g, (0, 1), p, (), (4.0 + 0.1 * (k % 9),)) for g in (225, 221) for k, p in enumerate(pairs)]
    )


def seen_by(gate: GateSurrogate, crystals: list[Crystal]) -> tuple[Raw, np.ndarray]:  # type: ignore[type-arg]
    graphs, _ = read_graphs(crystals)
    assert graphs is not None
    raw = gate.model.raw(graphs)
    return raw, views(raw, gate.model.memory)


@pytest.fixture(scope="module")
def correction(gate: GateSurrogate, salts: list[Crystal]) -> ProposalCorrection:
    """Caesium chlorides disappoint: 0.5 eV/atom above what the gate says, and softer by a factor of two."""
    _, seen = seen_by(gate, salts)
    disappoints = np.array([c.gene is not None and c.gene.space_group == 221 for c in salts])
    softer = np.where(disappoints, -0.3, 0.0)
    softer[::7] = np.nan
    return learned(seen, {ENERGY: np.where(disappoints, 0.5, 0.0), "bulk_modulus": softer}, gate.model)


@pytest.fixture(scope="module")
def energy(correction: ProposalCorrection) -> Correction:
    return correction.corrections[ENERGY]


def test_it_learns_which_kind_disappoints(
    gate: GateSurrogate, salts: list[Crystal], correction: ProposalCorrection
) -> None:
    others = decode([Gene(g, (0, 1), (z, 8), (), (4.3,)) for g in (225, 221) for z in (21, 25, 30, 38, 56)])
    _, seen = seen_by(gate, others)
    mean, std = correction.corrections[ENERGY].residual(seen)
    assert (mean[:5] < 0.15).all() and (mean[5:] > 0.35).all()
    assert (std > 0).all()
    softer, _ = correction.corrections["bulk_modulus"].residual(seen)
    assert (softer[:5] > -0.1).all() and (softer[5:] < -0.2).all()


def test_far_from_everything_it_answers_with_the_mean_and_a_wide_spread(energy: Correction) -> None:
    far = energy.centre + 1e3 * energy.scale
    mean, std = energy.residual(far[None])
    assert mean[0] == pytest.approx(energy.offset, abs=1e-6)
    assert std[0] == pytest.approx(np.hypot(energy.amplitude, energy.noise), rel=1e-6)
    near = energy.centre + energy.scale * energy.points[:1]
    assert energy.residual(near)[1][0] < std[0]


def test_residuals_are_cut(gate: GateSurrogate, salts: list[Crystal]) -> None:
    _, seen = seen_by(gate, salts)
    found = learned(seen, {ENERGY: np.full(len(seen), 7.0)}, gate.model)
    assert found.corrections[ENERGY].offset == pytest.approx(CUTS[ENERGY][1])


def test_estimates_move_by_the_residual(
    gate: GateSurrogate, salts: list[Crystal], correction: ProposalCorrection, tmp_path: Path
) -> None:
    correction.save(tmp_path / "e.safetensors")
    broken = Crystal(np.eye(3) * 30, [11], [[0, 0, 0]])
    crystals = [salts[0], broken, salts[-1]]
    found = CorrectedGate(gate.model, ProposalCorrection.load(tmp_path / "e.safetensors")).predict(crystals)
    plain = gate.predict(crystals)
    seen = seen_by(gate, [salts[0], salts[-1]])[1]
    mean, std = correction.corrections[ENERGY].residual(seen)
    stiffer, _ = correction.corrections["bulk_modulus"].residual(seen)
    assert found[1].failure == plain[1].failure != ""
    for k, row in enumerate((0, 2)):
        moved = found[row].values["formation_energy"]
        assert moved.mean - plain[row].values["formation_energy"].mean == pytest.approx(mean[k], abs=1e-3)
        assert moved.std == pytest.approx(std[k], rel=1e-3)
        assert "energy_above_hull" not in found[row].values
        stiff, said = found[row].values["bulk_modulus"], plain[row].values["bulk_modulus"]
        assert stiff.mean == pytest.approx(said.mean * 10.0 ** stiffer[k], rel=1e-3)
        assert stiff.low is not None and stiff.high is not None and 0 < stiff.low < stiff.mean < stiff.high
        assert found[row].values["shear_modulus"] == plain[row].values["shear_modulus"]


def test_another_gate_and_broken_files_are_refused(
    gate: GateSurrogate, correction: ProposalCorrection, tmp_path: Path
) -> None:
    other = ProposalCorrection(**{**vars(correction), "gate": "0" * 16})
    with pytest.raises(ReferenceMissingError, match="another gate"):
        CorrectedGate(gate.model, other)
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        ProposalCorrection.load(tmp_path / "bad.safetensors")
    with pytest.raises(TrainingError, match="too few"):
        learned(np.zeros((5, 34)), {ENERGY: np.zeros(5)}, gate.model)
