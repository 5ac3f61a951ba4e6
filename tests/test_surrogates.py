"""The shipped surrogates on textbook crystals, their invariances, failures and intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.elements import atomic_number
from invdesign.errors import ReferenceMissingError
from invdesign.protocols import Surrogate
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.calibrate import UNSEEN
from invdesign.surrogates.gate import GateSurrogate
from invdesign.surrogates.inputs.potential_features import N_FEATURES
from invdesign.surrogates.inputs.response import N_RESPONSE
from invdesign.surrogates.model import OOD_PERCENTILE, save_model
from invdesign.tables import path_of
from invdesign.uncertainty import log10_std

FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
MODULI = {"diamond": 435, "Si": 89, "MgO": 152, "TiC": 252, "Al": 77, "W": 304, "NaCl": 24, "GaAs": 61, "Cu": 139}
"""Bulk moduli of PBE calculations, GPa (M. de Jong et al., Sci. Data 2, 150009 (2015) and its successors)."""


def crystal(lattice: np.ndarray, symbols: str, coords: list[list[float]]) -> Crystal:
    return Crystal(lattice, np.array([atomic_number(s) for s in symbols.split()]), np.array(coords))


def textbook() -> dict[str, Crystal]:
    zinc_blende = [[0, 0, 0], [0.25, 0.25, 0.25]]
    rock_salt = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return {
        "diamond": crystal(3.57 * FCC, "C C", zinc_blende),
        "Si": crystal(5.47 * FCC, "Si Si", zinc_blende),
        "GaAs": crystal(5.75 * FCC, "Ga As", zinc_blende),
        "MgO": crystal(4.25 * FCC, "Mg O", rock_salt),
        "TiC": crystal(4.33 * FCC, "Ti C", rock_salt),
        "NaCl": crystal(5.69 * FCC, "Na Cl", rock_salt),
        "Al": crystal(4.04 * FCC, "Al", [[0, 0, 0]]),
        "Cu": crystal(3.62 * FCC, "Cu", [[0, 0, 0]]),
        "W": crystal(3.18 * BCC, "W", [[0, 0, 0]]),
    }


@pytest.fixture(scope="module")
def gate() -> GateSurrogate:
    return load_gate()


@pytest.fixture(scope="module")
def known(gate):
    return dict(zip(textbook(), gate.predict(list(textbook().values())), strict=True))


def test_is_a_surrogate(gate):
    assert isinstance(gate, Surrogate)


@pytest.mark.parametrize("name", MODULI)
def test_bulk_modulus_of_textbook_crystals(known, name):
    value = known[name].values["bulk_modulus"]
    assert value.mean == pytest.approx(MODULI[name], rel=0.25)  # the surrogate's own 90 % interval is that wide
    assert value.low < value.mean < value.high


def test_stiff_and_soft_are_told_apart(known):
    shear = {name: estimate.values["shear_modulus"].mean for name, estimate in known.items()}
    assert shear["diamond"] > 300 > shear["TiC"] > 120 > shear["Si"] > shear["NaCl"]
    assert shear["W"] > shear["Cu"] > shear["NaCl"]


def test_gaps_and_energies_of_textbook_crystals(known):
    gap = {name: estimate.values["band_gap"].mean for name, estimate in known.items()}
    energy = {name: estimate.values["formation_energy"].mean for name, estimate in known.items()}
    assert gap["NaCl"] > 4 and gap["MgO"] > 3.5 and gap["diamond"] > 2
    assert max(gap["Al"], gap["Cu"], gap["W"], gap["TiC"]) < 0.3
    assert energy["MgO"] == pytest.approx(-3.0, abs=0.25)
    assert energy["NaCl"] == pytest.approx(-2.1, abs=0.25)
    assert energy["Al"] == pytest.approx(0.0, abs=0.15)


def test_values_carry_units_of_trust(known):
    for estimate in known.values():
        assert set(estimate.values) == {
            "bulk_modulus", "shear_modulus", "formation_energy", "energy_above_hull", "band_gap",
        }  # fmt: skip
        for value in estimate.values.values():
            assert value.source == "surrogate:gate"
            assert value.std > 0 and value.low <= value.mean <= value.high
        assert not estimate.out_of_distribution and 0 <= estimate.distance <= 1


def assert_same(first, second):
    assert first.values.keys() == second.values.keys()
    assert first.distance == pytest.approx(second.distance, abs=2e-3)
    for name, value in first.values.items():
        other = second.values[name]
        assert (value.mean, value.std) == pytest.approx((other.mean, other.std), rel=1e-3, abs=1e-4)


def test_one_at_a_time_is_the_same_as_all_at_once(gate, known):
    for name, cell in textbook().items():
        assert_same(gate.predict([cell])[0], known[name])


def test_order_does_not_matter(gate, known):
    backwards = dict(reversed(textbook().items()))
    for name, estimate in zip(backwards, gate.predict(list(backwards.values())), strict=True):
        assert_same(estimate, known[name])


def test_supercell_and_shifted_origin_are_the_same_crystal(gate, known):
    salt = textbook()["NaCl"]
    double = Crystal(
        salt.lattice * [[2], [1], [1]],
        np.tile(salt.numbers, 2),
        np.concatenate([salt.frac_coords * [0.5, 1, 1], salt.frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]) + 0.13,
    )
    assert_same(gate.predict([double])[0], known["NaCl"])


def test_a_crystal_with_its_gene_needs_no_search(gate, known):
    genes = [encode(cell) for cell in textbook().values()]
    for name, estimate in zip(textbook(), gate.predict(decode(genes)), strict=True):
        assert_same(estimate, known[name])


def test_failures_stand_in_their_rows(gate, known):
    salt = textbook()["NaCl"]
    squashed = replace(salt, lattice=salt.lattice * 0.3)
    heavy = replace(salt, numbers=np.array([11, 110]))
    found = gate.predict([squashed, salt, heavy])
    assert [bool(e.failure) for e in found] == [True, False, True]
    assert not found[0].values and not found[2].values
    assert "Å³" in found[0].failure and "103" in found[2].failure
    assert_same(found[1], known["NaCl"])


def test_a_gene_of_another_crystal_is_not_believed(gate, known):
    salt = textbook()["NaCl"]
    gene = encode(salt)
    other = replace(salt, gene=encode(textbook()["TiC"]))
    expanded = replace(salt, gene=replace(gene, free_lattice=(6.2,)))
    broken = replace(salt, gene=replace(gene, free_coords=(0.1, 0.2)))
    for estimate in gate.predict([other, expanded, broken]):
        assert_same(estimate, known["NaCl"])


@pytest.fixture(scope="module")
def relaxed():
    return load_relaxed()


def test_relaxed_stage_on_textbook_crystals(relaxed):
    cells = textbook()
    found = dict(zip(cells, relaxed.predict(list(cells.values())), strict=True))
    for name, modulus in MODULI.items():
        value = found[name].values["bulk_modulus"]
        assert value.mean == pytest.approx(modulus, rel=0.2)
        assert value.source == "surrogate:relaxed" and value.low < value.mean < value.high
    shear = {name: estimate.values["shear_modulus"].mean for name, estimate in found.items()}
    assert shear["diamond"] > 350 > shear["TiC"] > 120 > shear["NaCl"]
    assert_same(relaxed.predict([cells["MgO"]])[0], found["MgO"])


def test_relaxed_stage_works_without_the_potential(relaxed, monkeypatch):
    """What the potential cannot read is predicted without it, a little worse."""
    silent = np.full((1, N_FEATURES + N_RESPONSE), np.nan, dtype=np.float32)
    monkeypatch.setattr(type(relaxed.potentials), "compute", lambda self, crystals: silent)
    value = relaxed.predict([textbook()["MgO"]])[0].values["bulk_modulus"]
    assert value.mean == pytest.approx(MODULI["MgO"], rel=0.3)


def test_relaxed_stage_keeps_failures_in_their_rows(relaxed):
    salt = textbook()["NaCl"]
    found = relaxed.predict([replace(salt, lattice=salt.lattice * 0.3), salt])
    assert found[0].failure and not found[1].failure


def test_weights_of_another_gate_are_refused(tmp_path, gate):
    altered = replace(gate.model, members=gate.model.members[::-1] + gate.model.members)
    save_model(altered, tmp_path / "gate.safetensors")
    weights = str(path_of("surrogate_relaxed.safetensors"))
    with pytest.raises(ReferenceMissingError, match="another gate"):
        load_relaxed(weights, tmp_path / "gate.safetensors")


def test_nothing_in_nothing_out(gate):
    assert gate.predict([]) == []


def test_what_was_never_seen_is_marked(gate):
    astatine = replace(textbook()["NaCl"], numbers=np.array([11, 85]))
    found = gate.predict([astatine])[0]
    assert found.out_of_distribution


def test_distance_grows_away_from_known_crystals(gate, known):
    strange = Gene(225, (0, 1, 2), (55, 9, 79), (), (4.4,))
    found = gate.predict(decode([strange]))[0]
    assert found.distance > max(e.distance for e in known.values())


def test_calibration_that_is_stored(gate):
    """The figures of the unseen test part, written when the weights were made."""
    for figures in gate.model.notes["test"].values():
        for name in ("bulk_modulus", "shear_modulus", "formation_energy", "band_gap"):
            assert 0.86 <= figures[name]["coverage_90"] <= 0.94
            assert figures[name]["mae"] < 0.6 * figures[name]["baseline_mae"]
        assert figures["bulk_modulus"]["mae"] <= 0.085
        assert figures["shear_modulus"]["mae"] <= 0.120


def test_intervals_hold_where_it_matters(gate, relaxed):
    """By fifths of the moduli, for metals and insulators, far from the training data."""
    for model in (gate.model, relaxed.model):
        for figures in model.notes["test"].values():
            assert max(table["miscalibration_area"] for table in figures.values()) <= 0.03
            assert min(table["coverage_90_farthest_tenth"] for table in figures.values()) >= 0.85
            for name in ("bulk_modulus", "shear_modulus"):
                assert figures[name]["coverage_90_least_quintile"] >= 0.84
            for name in ("band_gap", "energy_above_hull"):
                assert min(figures[name]["coverage_90_zero"], figures[name]["coverage_90_not_zero"]) >= 0.87


def test_metals_are_told_from_insulators(known, gate):
    chance = {name: estimate.metal_probability for name, estimate in known.items()}
    assert min(chance[name] for name in ("Al", "Cu", "W", "TiC")) > 0.7
    assert max(chance[name] for name in ("diamond", "MgO", "NaCl")) < 0.2
    assert known["MgO"].values["band_gap"].low > 2.0 and known["W"].values["band_gap"].high < 1.0
    assert np.isnan(gate.predict([replace(textbook()["W"], numbers=np.array([110]))])[0].metal_probability)


def test_weights_of_before_have_intervals_with_equal_arms(tmp_path, gate):
    """A file with the calibration of earlier versions is read, and has no probability of a metal."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    save_model(gate.model, tmp_path / "new.safetensors")
    with safe_open(str(tmp_path / "new.safetensors"), framework="pt") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key in [k for k in tensors if k.endswith(".high_factor")]:
        stem = key.removesuffix("high_factor")
        tensors[f"{stem}value_factor"] = tensors.pop(key)
        tensors[f"{stem}std_factor"] = tensors[f"{stem}std_factor"] / tensors[f"{stem}value_factor"]
        del tensors[f"{stem}low_factor"]
    save_file(
        {k: v for k, v in tensors.items() if not k.startswith("mass.")}, tmp_path / "old.safetensors", header
    )
    found = load_gate(tmp_path / "old.safetensors").predict([textbook()["TiC"]])[0]
    value, other = found.values["bulk_modulus"], gate.predict([textbook()["TiC"]])[0].values["bulk_modulus"]
    assert np.isnan(found.metal_probability)
    assert value.std == pytest.approx(other.std, rel=1e-3)
    assert value.mean**2 == pytest.approx(value.low * value.high, rel=1e-3)  # equal arms of log10


def test_new_structure_types_are_marked_and_their_intervals_wider(gate):
    """As if no rock salt had been trained on."""
    model, crystals = gate.model, [textbook()["TiC"], textbook()["GaAs"]]
    keys = gene_prototypes([encode(c) for c in crystals])
    assert not model.memory.is_new(keys).any()
    memory = replace(model.memory, prototypes=np.setdiff1d(model.memory.prototypes, keys[:1]))
    wider = np.full(len(model.properties), 2.0, dtype=np.float32)
    blind = GateSurrogate(replace(model, memory=memory, new_prototype=wider))
    before, after = gate.predict(crystals), blind.predict(crystals)
    assert after[0].out_of_distribution and "structure type" in after[0].ood_reason
    assert not after[1].out_of_distribution and after[1].ood_reason == ""
    old, new = before[0].values["bulk_modulus"], after[0].values["bulk_modulus"]
    assert new.mean == old.mean
    assert np.log(new.high / new.low) == pytest.approx(2.0 * np.log(old.high / old.low), rel=1e-3)
    assert after[1].values == before[1].values


def test_weights_without_structure_types_mark_none(gate):
    memory = replace(gate.model.memory, prototypes=np.zeros(0, dtype=np.int64))
    assert not memory.is_new(np.array([1, 2], dtype=np.int64)).any()


def test_intervals_are_wider_where_an_element_was_not_seen(gate):
    """As if titanium had not been trained on: by the factors that leaving elements out has shown."""
    model = gate.model
    counts = model.memory.element_counts.copy()
    counts[22] = 0.0
    blind = GateSurrogate(replace(model, memory=replace(model.memory, element_counts=counts)))
    before, after = (s.predict([textbook()["TiC"]])[0] for s in (gate, blind))
    assert after.out_of_distribution and not before.out_of_distribution
    for name in ("bulk_modulus", "shear_modulus"):
        old, new = before.values[name], after.values[name]
        assert new.mean == old.mean
        assert np.log(new.high / new.low) == pytest.approx(UNSEEN[name] * np.log(old.high / old.low), rel=1e-3)
        assert log10_std(new) == pytest.approx(UNSEEN[name] * log10_std(old), rel=1e-6)


def test_the_factors_of_unseen_elements_are_the_measured_ones():
    path = Path(__file__).parent.parent / "benchmarks" / "results" / "surrogate_shift.json"
    needed = json.loads(path.read_text())["summary"]["needed"]
    assert pytest.approx(needed, abs=0.06) == UNSEEN


def test_percentile_goes_beyond_one(gate):
    memory = gate.model.memory
    far = np.array([memory.distances[0] / 2, memory.distances[-1] * 3])
    near, beyond = memory.percentile(far)
    assert near == 0.0 and beyond == pytest.approx(3.0)
    assert beyond > OOD_PERCENTILE


def test_missing_weights_are_an_error(tmp_path):
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        load_gate(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights here")
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        load_relaxed(tmp_path / "bad.safetensors")
