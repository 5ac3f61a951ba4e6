"""The Gaussian process of the second stage and the potentials' features that it reads."""

from dataclasses import replace

import numpy as np
import pytest
from test_surrogates import textbook

from invdesign import potentials
from invdesign.surrogates import load_relaxed
from invdesign.surrogates.model import load_model, save_model
from invdesign.surrogates.potential_features import CHGNET_FEATURES, N_FEATURES, formation_energies
from invdesign.surrogates.potential_process import DISAGREEMENT, fit
from invdesign.surrogates.sevennet_features import MOST_SITES, SevenNetFeatures


@pytest.fixture(scope="module")
def sevennet():
    return SevenNetFeatures()


def test_energy_is_that_of_the_calculator(sevennet):
    """Without forces and many cells in one call, the potential says the same."""
    cells = [textbook()[name] for name in ("TiC", "GaAs", "W")]
    values, reasons = sevennet.compute(cells)
    assert not any(reasons) and np.isfinite(values).all()
    calculator = potentials.load("sevennet-0")
    for cell, row in zip(cells, values, strict=True):
        assert row[0] == pytest.approx(potentials.energy_of(cell, calculator), abs=2e-5)
        assert row[2] <= row[0] <= row[3]


def test_features_belong_to_the_crystal_not_to_its_cell(sevennet):
    salt = textbook()["NaCl"]
    turned = replace(salt, lattice=salt.lattice @ rotation(0.7), frac_coords=(salt.frac_coords + 0.31) % 1.0)
    first, second = sevennet.compute([salt, turned])[0]
    assert second == pytest.approx(first, abs=2e-4)


def rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def test_what_sevennet_cannot_read_has_a_reason(sevennet):
    salt = textbook()["NaCl"]
    copies = MOST_SITES // salt.n_sites + 1
    large = replace(
        salt,
        lattice=salt.lattice * np.array([[copies], [1], [1]]),
        numbers=np.tile(salt.numbers, copies),
        frac_coords=np.concatenate(
            [(salt.frac_coords + np.array([k, 0, 0])) / [copies, 1, 1] for k in range(copies)]
        ),
    )
    foreign = replace(salt, numbers=np.where(salt.numbers == 11, 103, salt.numbers))
    values, reasons = sevennet.compute([large, salt, foreign])
    assert "sites" in reasons[0] and "103" in reasons[2] and not reasons[1]
    assert np.isnan(values[[0, 2]]).all() and np.isfinite(values[1]).all()


def test_formation_energies_of_both_potentials():
    """Rock salt as its scale has it: -2.1 eV/atom from SevenNet-0's energy; an unknown energy stays unknown."""
    salt = textbook()["NaCl"]
    energy = potentials.energy_of(salt, potentials.load("sevennet-0"))
    found = formation_energies([salt], np.array([[np.nan, energy]], dtype=np.float32))
    assert np.isnan(found[0, 0])
    assert found[0, 1] == pytest.approx(-2.1, abs=0.1)


@pytest.fixture(scope="module")
def learned():
    """A process of a smooth function of two groups of inputs, and of an energy that the anchors nearly know."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((700, 8)).astype(np.float32)
    inputs[:, 7] = inputs[:, 6]  # the potentials agree
    smooth = np.sin(inputs[:, 0]) + 0.5 * inputs[:, 2]
    energy = inputs[:, -2:].mean(axis=1) + 0.1 * inputs[:, 1]
    targets = np.stack([smooth, energy], axis=1).astype(np.float64)
    targets[3, 0] += 6.0  # a failed calculation
    groups = {"a": (slice(0, 4), 4, 0.4), "b": (slice(4, 8), 4, 0.05)}
    process = fit(("shear_modulus", "formation_energy"), inputs[:500], targets[:500], groups, 0.01)
    return process, inputs, targets


def test_process_predicts_and_knows_its_errors(learned):
    process, inputs, targets = learned
    mean, error = process.answers(inputs[500:, :5], inputs[500:, 5:])
    off = np.abs(mean - targets[500:])
    assert (off.mean(axis=0) < [0.2, 0.03]).all()
    assert np.median(error, axis=0) == pytest.approx(np.median(off, axis=0), rel=0.6)


def test_one_failed_label_does_no_harm(learned):
    process, inputs, targets = learned
    at = process.answers(inputs[3:4, :5], inputs[3:4, 5:])[0][0, 0]
    assert abs(at - (targets[3, 0] - 6.0)) < 1.0


def test_far_away_the_anchors_are_believed(learned):
    process, inputs, _ = learned
    far = inputs[:1] + np.array([40, -40, 40, -40, 40, -40, 0, 0], dtype=np.float32)
    mean, error = process.answers(far[:, :5], far[:, 5:])
    assert mean[0, 1] == pytest.approx(far[0, -2:].mean() + process.offset[1], abs=0.05)
    assert error[0] == pytest.approx(np.exp(process.error_offset), rel=0.3)


def test_where_the_potentials_disagree_the_energy_is_less_sure(learned):
    process, inputs, _ = learned
    apart = inputs[600:601] + np.array([0, 0, 0, 0, 0, 0, -0.2, 0.2], dtype=np.float32)
    (near, far) = (process.answers(row[:, :5], row[:, 5:])[1][0] for row in (inputs[600:601], apart))
    assert near[1] < 0.01
    assert far[1] == pytest.approx(DISAGREEMENT * 0.4, rel=0.1)


def test_unknown_inputs_give_no_answer(learned):
    process, inputs, _ = learned
    gap = inputs[:2].copy()
    gap[0, 6] = np.nan
    mean, error = process.answers(gap[:, :5], gap[:, 5:])
    assert np.isnan(mean[0]).all() and np.isnan(error[0]).all() and np.isfinite(mean[1]).all()


def test_second_stage_with_its_process(tmp_path):
    """It survives writing; without SevenNet's features the networks answer alone."""
    relaxed, cells = load_relaxed(), [textbook()[name] for name in ("TiC", "MgO")]
    model = relaxed.model
    assert model.process is not None and model.process_shares is not None
    save_model(model, tmp_path / "again.safetensors")
    again = replace(relaxed, model=load_model(tmp_path / "again.safetensors", model.base))
    alone = replace(relaxed, model=replace(model, process=None))
    blind = replace(relaxed, potential=Blind(relaxed.potential))
    found = [stage.predict(cells) for stage in (relaxed, again, alone, blind)]
    energies = [[e.values["formation_energy"].mean for e in row] for row in found]
    assert energies[1] == pytest.approx(energies[0], abs=1e-4)
    assert energies[3] == pytest.approx(energies[2], abs=1e-4)
    assert np.abs(np.subtract(energies[0], energies[2])).max() > 1e-3
    assert energies[0] == pytest.approx([-0.81, -3.04], abs=0.08)


class Blind:
    """A pair of potentials whose second one reads nothing."""

    def __init__(self, potential):
        self.potential = potential

    def compute(self, crystals):
        values, reasons = self.potential.compute(crystals)
        assert values.shape[1] == N_FEATURES
        values[:, CHGNET_FEATURES:] = np.nan
        return values, reasons
