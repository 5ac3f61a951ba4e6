"""The parts of the surrogates: neighbours, features, calibration, scales, training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, encode
from invdesign.errors import InputError, TrainingError
from invdesign.surrogates.calibrate import (
    best_std,
    conformal_quantile,
    coverage,
    fit_calibration,
    fit_point_mass,
    miscalibration_area,
    pit_area,
)
from invdesign.surrogates.fitting.train import Settings, fit, training_data
from invdesign.surrogates.gate import GateSurrogate
from invdesign.surrogates.inputs.dataset import (
    Labelled,
    clean_labels,
    encode_rows,
    graphs_of_genes,
    perturb,
    read_labelled,
    select,
)
from invdesign.surrogates.inputs.features import crystal_features, feature_names
from invdesign.surrogates.inputs.graphs import REACH, batch_of_genes, neighbours
from invdesign.surrogates.inputs.store import join, load_genes, save_genes
from invdesign.surrogates.model import load_model, save_model
from invdesign.surrogates.scales import from_scale, std_from_scale, to_scale

ROCK_SALT = Gene(225, (0, 1), (11, 17), (), (5.69,))
PEROVSKITE = Gene(221, (0, 1, 3), (56, 22, 8), (), (4.03,))
RUTILE = Gene(136, (0, 5), (22, 8), (0.305,), (4.65, 2.97))
GRAPHITE = Gene(194, (1, 2), (6, 6), (), (2.47, 8.0))
TRIGONAL = Gene(166, (2, 2), (83, 34), (0.4, 0.21), (4.14, 28.6))
GENES = [ROCK_SALT, PEROVSKITE, RUTILE, GRAPHITE, TRIGONAL]


def brute_force(crystal: Crystal, site: int, reach: float) -> np.ndarray:
    """Sorted distances from a site to all atoms within `reach`, over a box of images that surely holds them."""
    n = int(np.ceil(reach / np.abs(1 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)).min())) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    apart = (crystal.frac_coords - crystal.frac_coords[site])[:, None, :] + grid
    length = np.linalg.norm(apart @ crystal.lattice, axis=-1).ravel()
    return np.sort(length[(length > 1e-6) & (length < reach)])


@pytest.mark.parametrize("gene", GENES)
def test_neighbours_are_those_of_a_full_search(gene):
    crystal = decode([gene])[0]
    batch = batch_of_genes([PEROVSKITE, gene, ROCK_SALT])
    near = neighbours(batch)
    reach = REACH * np.cbrt(crystal.volume / crystal.n_sites)
    for orbit in np.flatnonzero(batch.orbit_owner == 1):
        first = np.searchsorted(batch.atom_orbit, orbit) - batch.n_sites[0]
        expected = brute_force(crystal, first, reach)[:12]
        found = near.distance[orbit][np.isfinite(near.distance[orbit])]
        assert found == pytest.approx(expected, abs=2e-4)
        assert set(batch.orbit_owner[near.orbit[orbit]]) == {1}


def test_neighbours_of_rock_salt_are_the_other_element():
    batch = batch_of_genes([ROCK_SALT])
    near = neighbours(batch)
    assert near.distance[0, :6] == pytest.approx(np.full(6, 5.69 / 2), abs=1e-4)
    assert near.distance[0, 6:] == pytest.approx(np.full(6, 5.69 / np.sqrt(2)), abs=1e-4)
    assert batch.orbit_number[near.orbit[0]].tolist() == [17] * 6 + [11] * 6


def test_features_have_names_and_do_not_depend_on_the_batch():
    alone = [graphs_of_genes([g]).features[0] for g in GENES]
    together = graphs_of_genes(GENES).features
    assert together.shape == (len(GENES), len(feature_names()))
    assert len(set(feature_names())) == len(feature_names())
    assert together == pytest.approx(np.stack(alone), rel=1e-5, abs=1e-5)
    assert np.isfinite(together).all()


def test_features_against_hand_arithmetic():
    found = dict(zip(feature_names(), graphs_of_genes([PEROVSKITE]).features[0], strict=True))
    table = element_features()
    en = table.column("en_pauling")
    assert found["fraction_8"] == pytest.approx(0.6)
    assert found["mean_en_pauling"] == pytest.approx((en[56] + en[22] + 3 * en[8]) / 5, rel=1e-5)
    assert found["most_en_pauling"] == pytest.approx(en[8])
    assert np.exp(found["log_volume_per_atom"]) == pytest.approx(4.03**3 / 5, rel=1e-5)
    assert np.exp(found["log_density"]) == pytest.approx(233.19 * 1.66054 / 4.03**3, rel=1e-3)
    assert found["system_cubic"] == 1.0 and found["n_elements"] == 3


def test_features_refuse_unknown_elements():
    batch = batch_of_genes([replace(ROCK_SALT, numbers=(11, 117))])
    with pytest.raises(ValueError, match="103"):
        crystal_features(batch, neighbours(batch))


def test_joined_and_selected_graphs_are_the_same():
    whole = graphs_of_genes(GENES)
    joined = join([graphs_of_genes(GENES[:2]), graphs_of_genes(GENES[2:])])
    some = select(whole, np.array([1, 3]))
    alone = graphs_of_genes([GENES[1], GENES[3]])
    for one, other in ((whole, joined), (some, alone)):
        for part in ("batch", "near"):
            for key, value in vars(getattr(one, part)).items():
                assert np.array_equal(value, getattr(getattr(other, part), key)), key


def test_genes_survive_storage(tmp_path):
    save_genes([*GENES, None], tmp_path / "genes.npz")
    assert load_genes(tmp_path / "genes.npz") == [*GENES, None]


def test_perturbed_genes_keep_their_symmetry_and_differ():
    noisy = perturb(GENES * 20, np.random.default_rng(0))
    volumes = np.array([c.volume for c in decode(noisy)]) / np.array([c.volume for c in decode(GENES * 20)])
    assert [g.wyckoff_sequence for g in noisy] == [g.wyckoff_sequence for g in GENES * 20]
    assert 0.03 < np.log(volumes).std() < 0.15
    assert noisy == perturb(GENES * 20, np.random.default_rng(0))


def test_labels_are_cleaned_by_rule():
    labels = {
        "bulk_modulus": np.array([100.0, 1.0, 100.0, 900.0, 50.0]),
        "shear_modulus": np.array([50.0, 50.0, 1.0, 50.0, 49.0]),
        "formation_energy": np.array([-1.0, -9.0, 0.0, 0.0, 0.0]),
        "energy_above_hull": np.array([0.1, -0.01, 0.0, 0.0, np.nan]),
    }
    cleaned, dropped = clean_labels(labels)
    assert np.isfinite(cleaned["bulk_modulus"]).tolist() == [True, False, False, False, True]
    assert np.isnan(cleaned["formation_energy"][1]) and cleaned["energy_above_hull"][1] == 0.0
    assert sum(dropped.values()) >= 4


def test_reading_names_the_missing_column(tmp_path):
    import pandas as pd

    pd.DataFrame({"atomic_numbers": [[1]]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="frac_coords"):
        read_labelled(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["bulk_modulus", "energy_above_hull", "band_gap", "formation_energy"])
def test_scales_go_there_and_back(name):
    values = np.array([0.02, 0.5, 3.0])
    assert from_scale(name, to_scale(name, values)) == pytest.approx(values)
    step = 1e-5
    at = to_scale(name, values)
    rise = from_scale(name, at + step) - from_scale(name, at)
    assert rise == pytest.approx(std_from_scale(name, at, np.full(3, step)), rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_conformal_intervals_cover_new_draws(seed, wrong_scale):
    """Whatever the raw spread is wrong by, intervals cover 90 %."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.5, 2.0, 4000)
    predicted, distance = rng.normal(size=4000), rng.uniform(size=4000)
    truth = predicted + wrong_scale * spread * rng.standard_t(4, size=4000)
    fitted = fit_calibration(predicted[:2000], spread[:2000], distance[:2000], truth[:2000])
    new = predicted[2000:], spread[2000:], distance[2000:]
    low, high = fitted.interval(*new)
    assert 0.86 < coverage(low, high, truth[2000:]) < 0.94  # binomial error of 2,000 draws and of the fit
    assert miscalibration_area(predicted[2000:], fitted.std(*new), truth[2000:]) < 0.04


def test_intervals_widen_where_errors_do():
    rng = np.random.default_rng(1)
    predicted, distance = rng.uniform(0, 1, 6000), rng.uniform(size=6000)
    truth = predicted + np.where(predicted > 0.8, 5.0, 1.0) * np.where(distance > 0.95, 3.0, 1.0) * rng.normal(
        size=6000
    )
    fitted = fit_calibration(predicted, np.ones(6000), distance, truth)
    low, high = fitted.interval(np.array([0.1, 0.9, 0.1]), np.ones(3), np.array([0.1, 0.1, 0.99]))
    width = high - low
    assert width[1] > 3 * width[0] and width[2] > 2 * width[0]
    assert (np.diff(fitted.distance_factor) >= 0).all()


def test_ends_lean_where_errors_do():
    """Errors to one side only give an interval to that side, and every fifth of the truths is covered."""
    rng = np.random.default_rng(2)
    predicted, one = rng.normal(size=6000), np.ones(6000)
    truth = predicted + rng.exponential(size=6000)
    fitted = fit_calibration(predicted, one, rng.uniform(size=6000), truth)
    low, high = fitted.interval(predicted, one, np.zeros(6000))
    assert (low <= predicted).all() and (high - predicted).mean() > 20 * (predicted - low).mean()
    assert coverage(low, high, truth) > 0.88


def test_the_best_std_of_normal_errors_is_their_own():
    assert best_std(np.random.default_rng(3).normal(0, 2.5, 20_000)) == pytest.approx(2.5, rel=0.03)


def gaps(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Predicted gaps, spreads, distances and true gaps; metals are surer the lower the prediction."""
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(n) < 0.5, rng.exponential(0.1, n), rng.uniform(0.0, 5.0, n))
    spread = 0.1 + 0.1 * predicted
    metal = rng.random(n) < 1.0 / (1.0 + np.exp(4.0 * (predicted - 0.5)))
    truth = np.where(metal, 0.0, np.abs(predicted + spread * rng.normal(size=n)) + 1e-3)
    return predicted, spread, rng.uniform(size=n), truth


def test_zero_gaps_have_a_probability_and_both_classes_are_covered():
    mass = fit_point_mass(*gaps(8000, 0))
    assert mass is not None
    predicted, spread, distance, truth = gaps(8000, 1)
    chance, metal = mass.zero_probability(predicted, spread), truth == 0.0
    for least, most in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        rows = (chance >= least) & (chance < most)
        assert metal[rows].mean() == pytest.approx(chance[rows].mean(), abs=0.05)
    low, high = mass.interval(predicted, spread, distance)
    assert (low >= 0).all() and (low <= high).all()
    assert coverage(low[metal], high[metal], truth[metal]) > 0.88
    assert coverage(low[~metal], high[~metal], truth[~metal]) == pytest.approx(0.9, abs=0.02)
    assert pit_area(mass.pit(predicted, spread, distance, truth)) < 0.02
    assert pit_area(mass.pit(predicted, spread, distance, truth + 2.0 * ~metal)) > 0.1  # wrong gaps are noticed


def test_ends_at_zero_do_not_make_intervals_too_wide():
    """Lower ends are cut at zero and hold more than their share of small values, so upper ones hold less."""

    def energies(seed: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(seed)
        predicted, zero = rng.uniform(0.0, 0.6, 8000), rng.random(8000) < 0.3
        truth = np.where(zero, 0.0, np.abs(predicted + 0.4 * rng.normal(size=8000)) + 1e-3)
        return predicted, np.full(8000, 0.4), rng.uniform(size=8000), truth

    mass = fit_point_mass(*energies(0))
    assert mass is not None
    *answers, truth = energies(1)
    low, high = mass.interval(*answers)
    assert coverage(low, high, truth, truth > 0) == pytest.approx(0.9, abs=0.02)


def test_a_property_without_zeros_has_no_mass_there():
    predicted, spread, distance, truth = gaps(2000, 0)
    assert fit_point_mass(predicted, spread, distance, truth + 0.1) is None
    assert fit_point_mass(predicted, spread, distance, np.full(2000, np.nan)) is None


def test_conformal_quantile_by_hand():
    assert conformal_quantile(np.arange(1.0, 10.0)) == 9.0  # rank ceil(10 × 0.9) = 9
    assert conformal_quantile(np.arange(1.0, 101.0)) == 91.0


def test_miscalibration_area_knows_good_from_bad():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    zeros = np.zeros_like(truth)
    assert miscalibration_area(zeros, np.ones_like(truth), truth) < 0.01
    assert miscalibration_area(zeros, np.full_like(truth, 3.0), truth) > 0.15


def labelled_toy(n: int = 800) -> Labelled:
    """Rock salts of many pairs of elements whose bulk modulus is a function of the volume."""
    rng = np.random.default_rng(0)
    pairs = [tuple(int(z) for z in rng.choice(np.arange(3, 80), 2, replace=False)) for _ in range(n)]
    genes = [
        Gene(225, (0, 1), pair, (), (float(a),)) for pair, a in zip(pairs, rng.uniform(4, 6.5, n), strict=True)
    ]
    volume = np.array([c.volume / 2 for c in decode(genes)])
    unknown = np.full(n, np.nan)
    bulk = 4000.0 / volume
    return Labelled(
        [str(i) for i in range(n)],
        genes,
        ["-".join(map(str, sorted(pair))) for pair in pairs],
        {
            "bulk_modulus": bulk,
            "shear_modulus": unknown,
            "formation_energy": unknown,
            "energy_above_hull": unknown,
            "band_gap": unknown,
        },
        {},
    )


def test_training_learns_and_survives_storage(tmp_path):
    labelled = labelled_toy()
    data = training_data(labelled, [graphs_of_genes(labelled.genes)])
    lines: list[str] = []
    small = {"width": 8, "layers": 1, "hidden": 32}
    chosen = Settings(members=2, epochs=4, batch=32, learning_rate=4e-3, modulus_repeats=1, **small)
    model = fit("gate", data, chosen, progress=lines.append)
    assert model.properties == ("bulk_modulus",) and len(lines) == 8
    save_model(model, tmp_path / "gate.safetensors")
    surrogate = GateSurrogate(load_model(tmp_path / "gate.safetensors"))
    test = data.rows("test")
    truth = labelled.labels["bulk_modulus"][test]
    values = [e.values["bulk_modulus"] for e in surrogate.predict(decode([labelled.genes[i] for i in test]))]
    error = np.abs(np.log10([v.mean for v in values]) - np.log10(truth))
    assert error.mean() < 0.4 * np.abs(np.log10(truth) - np.median(np.log10(truth))).mean()
    assert coverage(np.array([v.low for v in values]), np.array([v.high for v in values]), truth) > 0.8


def test_training_needs_labels():
    labelled = labelled_toy(60)
    empty = replace(labelled, labels={k: np.full(60, np.nan) for k in labelled.labels})
    with pytest.raises(TrainingError, match="labels"):
        fit("gate", training_data(empty, [graphs_of_genes(labelled.genes)]), Settings(members=1, epochs=1))


def test_encode_and_decode_give_the_same_features():
    again = [encode(c) for c in decode(GENES)]
    assert graphs_of_genes(again).features == pytest.approx(graphs_of_genes(GENES).features, rel=1e-4, abs=1e-4)


def test_rows_that_are_no_crystals_have_no_gene() -> None:
    import pandas as pd

    cell = decode([GENES[0]])[0]
    row = {
        "lattice_parameters": np.array(cell.lattice_parameters),
        "atomic_numbers": cell.numbers,
        "frac_coords": cell.frac_coords.ravel(),
    }
    broken = row | {"frac_coords": np.full(3 * cell.n_sites, np.nan)}
    found = encode_rows(pd.DataFrame([broken, row]))
    assert found[0] is None
    assert found[1] is not None and found[1].space_group == GENES[0].space_group
