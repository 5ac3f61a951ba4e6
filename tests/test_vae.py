"""The autoencoder: densities, masks, sampling under conditions, saving, and training with resumption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import primitive_sites, protostructure, protostructure_hash
from invdesign.errors import InputError, ReferenceMissingError, TrainingError
from invdesign.generators.conditions import CONDITION_PROPERTIES, Scaling
from invdesign.generators.geneset import (
    fit_element_volumes,
    lattice_features,
    lattice_from_features,
    suggested_volume,
    to_batch,
)
from invdesign.generators.model import GeneVAE
from invdesign.generators.network import NetworkConfig, mixture_log_density, von_mises_log_density
from invdesign.generators.sampler import SamplingConfig
from invdesign.generators.train import (
    TrainConfig,
    config_from,
    make_training_set,
    random_conditions,
    train_vae,
)
from invdesign.generators.vae import VAEGenerator
from invdesign.records import Conditions, Failure

SMALL = NetworkConfig(width=32, heads=2, encoder_layers=1, sequence_layers=1, geometry_layers=1, latent=4)
P = len(CONDITION_PROPERTIES)


def rocksalts() -> list[Gene]:
    return [
        Gene(225, (0, 1), (a, b), (), (4.0 + 0.1 * k,)) for k, a in enumerate((3, 11, 12, 20)) for b in (8, 9, 16)
    ]


def rutiles() -> list[Gene]:
    return [Gene(136, (0, 5), (z, 8), (0.3 + 0.001 * z / 10,), (4.6, 3.0)) for z in range(21, 31)]


@pytest.fixture(scope="module")
def generator() -> VAEGenerator:
    torch.manual_seed(0)
    volume = np.full(104, 12.0)
    volume[[0, 86, 87, 88]] = 0.0
    return VAEGenerator(GeneVAE(SMALL), Scaling(np.zeros(P), np.ones(P)), volume)


def crystals(generator: VAEGenerator, n: int, conditions: Conditions, seed: int = 0) -> list[Crystal]:
    items = list(generator.propose(n, np.random.default_rng(seed), conditions))
    assert len(items) == n
    return [item for item in items if isinstance(item, Crystal)]


def test_the_lattice_density_integrates_to_one():
    grid = torch.linspace(-6, 6, 4001)
    value = torch.zeros(4001, 6)
    value[:, 2] = grid
    weight = torch.tensor([[0.3, 0.7]]).log().expand(4001, 2)
    mean = torch.tensor([-1.0, 0.5])[None, :, None].expand(4001, 2, 6)
    deviation = torch.tensor([0.3, 0.8]).log()[None, :, None].expand(4001, 2, 6)
    mask = torch.zeros(4001, 6, dtype=torch.bool)
    mask[:, 2] = True
    density = mixture_log_density(value, weight, mean, deviation, mask).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("sharp", [0.1, 5.0, 400.0, 2e4])
def test_the_coordinate_density_integrates_to_one_turn(sharp):
    grid = torch.linspace(0, 1, 20001, dtype=torch.float64)
    weight = torch.tensor([0.4, 0.6], dtype=torch.float64).log().expand(20001, 2)
    centre = torch.tensor([0.01, 0.7], dtype=torch.float64).expand(20001, 2)
    density = von_mises_log_density(grid, weight, centre, torch.full((20001, 2), sharp, dtype=torch.float64)).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    "gene",
    [
        Gene(1, (0,), (12,), (0.0, 0.0, 0.0), (3.1, 4.2, 5.3, 81.0, 97.0, 112.0)),
        Gene(14, (0,), (12,), (), (5.1, 6.2, 7.3, 104.0)),
        Gene(62, (2,), (12,), (0.1, 0.2), (5.1, 6.2, 7.3)),
        Gene(139, (0,), (12,), (), (4.1, 11.0)),
        Gene(166, (0,), (12,), (), (4.1, 20.0)),
        Gene(194, (0,), (12,), (), (3.1, 5.0)),
        Gene(227, (0,), (12,), (), (5.43,)),
    ],
)
def test_lattice_features_return(gene):
    volume = np.full(104, 11.0)
    features, _ = lattice_features([gene], volume)
    back = lattice_from_features(gene.space_group, features[0], suggested_volume(gene, volume)[0])
    assert back == pytest.approx(gene.free_lattice)


def test_element_volumes_explain_their_own_crystals():
    genes = rocksalts()
    volume = fit_element_volumes(genes, ridge=1e-6)
    features, _ = lattice_features(genes, volume)
    assert np.abs(features[:, 0]).max() < 0.2
    assert np.abs(lattice_features(genes, np.full(104, 12.0))[0][:, 0]).max() > 0.2


def test_same_seed_same_crystals_and_other_seed_others(generator):
    one, two, other = (crystals(generator, 8, Conditions(), seed) for seed in (1, 1, 2))
    assert [c.gene for c in one] == [c.gene for c in two]
    assert [c.gene for c in one] != [c.gene for c in other]


def test_every_sample_is_the_crystal_its_gene_says(generator):
    from invdesign.crystallography.symmetry import space_group

    for crystal in crystals(generator, 12, Conditions(max_sites=8)):
        assert crystal.gene is not None
        assert crystal.n_sites == primitive_sites(crystal.gene) <= 8
        assert space_group(crystal, 0.05) == crystal.gene.space_group


def test_samples_of_one_call_are_distinct(generator):
    found = crystals(generator, 15, Conditions(max_sites=6))
    assert len({protostructure(c.gene) for c in found if c.gene}) == len(found)


def test_genes_of_the_training_set_are_not_yielded(generator):
    free = crystals(generator, 6, Conditions(max_sites=4))
    seen = frozenset(protostructure_hash(protostructure(c.gene)) for c in free[:3] if c.gene)
    trained = VAEGenerator(generator.model, generator.scaling, generator.element_volume, trained_on=seen)
    assert [c.gene for c in crystals(trained, 6, Conditions(max_sites=4))][:3] == [c.gene for c in free[3:]]
    assert trained.counts["known"] == 3
    trained.sampling = SamplingConfig(skip_known=False)
    assert [c.gene for c in crystals(trained, 6, Conditions(max_sites=4))] == [c.gene for c in free]


def test_hard_conditions_hold(generator):
    conditions = Conditions(
        space_groups=frozenset([225, 221]), allowed=frozenset([22, 5, 7]), required=frozenset([22]), max_sites=10
    )
    for crystal in crystals(generator, 6, conditions):
        assert crystal.gene is not None and crystal.gene.space_group in (225, 221)
        assert 22 in crystal.numbers and set(crystal.numbers.tolist()) <= {22, 5, 7}
    for crystal in crystals(generator, 6, Conditions(forbidden=frozenset([27, 8]), n_sites=6)):
        assert crystal.n_sites == 6 and not {27, 8} & set(crystal.numbers.tolist())


def test_what_cannot_be_generated_is_a_failure_not_a_hang(generator):
    conditions = Conditions(space_groups=frozenset([225]), allowed=frozenset([6]), max_sites=1)
    items = list(generator.propose(5, np.random.default_rng(0), conditions))
    assert len(items) == 5
    assert all(isinstance(i, Failure) and "draws" in i.reason for i in items[1:])


def test_impossible_conditions_are_refused(generator):
    with pytest.raises(InputError, match="elements"):
        next(generator.propose(1, np.random.default_rng(0), Conditions(required=frozenset([86]))))
    with pytest.raises(InputError, match="condition"):
        next(generator.propose(1, np.random.default_rng(0), Conditions(properties={"colour": 1.0})))


def test_conditions_and_guidance_change_the_outcome(generator):
    plain = [c.gene for c in crystals(generator, 5, Conditions())]
    wanted = Conditions(properties={"bulk_modulus": 300.0}, guidance=1.0)
    assert [c.gene for c in crystals(generator, 5, wanted)] != plain
    assert [c.gene for c in crystals(generator, 5, replace(wanted, guidance=4.0))] != [
        c.gene for c in crystals(generator, 5, wanted)
    ]


def test_saved_weights_give_the_same_crystals(generator, tmp_path):
    path = tmp_path / "w.safetensors"
    generator.save(path, {"note": "test"})
    again = VAEGenerator.load(path)
    conditions = Conditions(properties={"density": 5.0})
    assert [c.gene for c in crystals(generator, 5, conditions)] == [c.gene for c in crystals(again, 5, conditions)]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReferenceMissingError, match="cannot be read"):
        VAEGenerator.load(path)


def test_training_conditions_never_lie():
    batch = to_batch(rocksalts(), np.full((12, P), np.nan), np.full(104, 12.0))
    batch = replace(batch, labels=torch.where(torch.arange(P) == 0, 1.5, float("nan")).expand(12, P))
    for _ in range(30):
        c = random_conditions(batch, TrainConfig())
        assert not c.present[:, 1:].any()
        for row in range(12):
            mine = set(batch.number[row].tolist())
            assert set(c.required[row].nonzero()[:, 0].tolist()) <= mine
            assert not c.restricted[row] or mine <= set(c.allowed[row].nonzero()[:, 0].tolist())


def test_the_loss_falls_and_a_stopped_training_goes_on(tmp_path):
    genes = rocksalts() * 6 + rutiles() * 6
    labels = {"bulk_modulus": np.linspace(20, 200, len(genes))}
    split = ["valid" if k % 6 == 0 else "train" for k in range(len(genes))]
    data = make_training_set(genes, labels, split)
    config = TrainConfig(epochs=2, batch=32, check_every=1, check_samples=8, patience=99, rate=5e-3, network=SMALL)
    out = tmp_path / "vae.safetensors"
    train_vae(data, config, out, tmp_path / "ckpt")
    assert VAEGenerator.load(out).latent_dimensions == 4
    train_vae(data, replace(config, epochs=12), out, tmp_path / "ckpt")
    logs = sorted((tmp_path / "ckpt" / "logs").glob("*/metrics.csv"), key=lambda p: p.stat().st_mtime)
    first, last = (_column(p, "valid/nll") for p in (logs[0], logs[-1]))
    assert len(first) + len(last) == 12  # the second call did not start over
    assert last[-1] < first[0] - 5


def _column(path: Path, name: str) -> list[float]:
    lines = [line.split(",") for line in path.read_text().splitlines()]
    index = lines[0].index(name)
    return [float(row[index]) for row in lines[1:] if row[index]]


def test_training_needs_both_splits_and_known_settings():
    with pytest.raises(TrainingError, match="valid split"):
        make_training_set(rocksalts(), {}, ["train"] * 12)
    with pytest.raises(InputError, match="epoch_count"):
        config_from({"epoch_count": 3})
    assert config_from({"epochs": 3, "network": {"width": 64}}).network.width == 64


def test_stepping_through_orbits_equals_reading_them_at_once(generator):
    genes = (
        rutiles()
        + rocksalts()
        + [Gene(62, (2, 2, 2), (20, 22, 8), (0.1, 0.2, 0.5, 0.6, 0.3, 0.9), (5.0, 6.0, 7.0))]
    )
    batch = to_batch(genes, np.full((len(genes), P), np.nan), generator.element_volume)
    geometry, context = generator.model.geometry, torch.randn(len(genes), SMALL.width)
    with torch.no_grad():
        whole, places = geometry.hidden(context, batch), geometry.places(context, batch)
        real, memories = geometry.read(context, batch)
        for orbit in range(batch.number.shape[1]):
            step = geometry.next(places[:, orbit], real, memories)
            here = batch.mask[:, orbit]
            torch.testing.assert_close(step[here], whole[here, orbit], atol=1e-5, rtol=1e-4)
