"""The adversarial generator: where it starts, what it learns, and that a stopped training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import protostructure, protostructure_hash
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.generators.conditions import CONDITION_PROPERTIES, Scaling
from invdesign.generators.gan import GANGenerator, GeneCritic, GeneGAN
from invdesign.generators.geneset import to_batch
from invdesign.generators.model import GeneVAE, lawful_choices
from invdesign.generators.network import ConditionTensors, NetworkConfig
from invdesign.generators.reward import WORST, log_likelihood, policy_loss, rewards, write
from invdesign.generators.train import TrainConfig, TrainingSet, make_training_set, random_conditions, rarity
from invdesign.generators.train_gan import (
    AdversarialConfig,
    LightningGAN,
    configs_from,
    from_autoencoder,
    train_gan,
)
from invdesign.generators.vae import VAEGenerator
from invdesign.records import Conditions, Value
from invdesign.training.recipes import misfit

P = len(CONDITION_PROPERTIES)
SMALL = NetworkConfig(
    width=32, heads=2, encoder_layers=1, sequence_layers=1, geometry_layers=1, latent=4, properties=P
)


def rocksalts() -> list[Gene]:
    return [Gene(225, (0, 1), (z, 8), (), (4.0 + 0.02 * z,)) for z in range(19, 31)]


def rutiles() -> list[Gene]:
    return [Gene(136, (0, 5), (z, 8), (0.3 + 0.001 * z / 10,), (4.6, 3.0)) for z in range(21, 31)]


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    genes = rocksalts() * 3 + rutiles() * 3
    split = ["valid" if k % 6 == 0 else "train" for k in range(len(genes))]
    return make_training_set(genes, {"bulk_modulus": np.linspace(20, 200, len(genes))}, split)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, data: TrainingSet) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "vae.safetensors"
    VAEGenerator(GeneVAE(SMALL), data.scaling, data.element_volume).save(path, {})
    return path


def anything(n: int) -> ConditionTensors:
    zero = torch.zeros(n, 104, dtype=torch.bool)
    return ConditionTensors(torch.zeros(n, P), torch.zeros(n, P, dtype=torch.bool), zero, zero, torch.zeros(n) > 0)


def test_it_starts_as_the_decoders_of_the_autoencoder(start: Path) -> None:
    vae = VAEGenerator.read(start).model
    gan = from_autoencoder(vae)
    noise, condition = torch.randn(5, 4), gan.condition(anything(5))
    torch.testing.assert_close(gan.latents(condition, noise), vae.latents(vae.condition(anything(5)), noise))


def test_samples_come_from_its_own_mapping(start: Path) -> None:
    """Another mapping, other crystals: the samples are the generator network's, not the autoencoder's prior."""
    vae = VAEGenerator.read(start)
    samples = []
    for shift in (0.0, 30.0):
        gan = from_autoencoder(vae.model)
        torch.nn.init.constant_(gan.mapping[-1].bias, shift)
        generator = GANGenerator(gan, vae.scaling, vae.element_volume)
        items = generator.propose(6, np.random.default_rng(0), Conditions())
        samples.append([c.gene for c in items if isinstance(c, Crystal)])
    assert len(samples[0]) == 6
    assert samples[0] != samples[1]


def test_the_gene_critic_learns_to_tell_two_families_apart(data: TrainingSet) -> None:
    torch.manual_seed(0)
    critic = GeneCritic(SMALL, dropout=0.0)
    labels = np.full((12, P), np.nan)
    real = to_batch(rocksalts(), labels, data.element_volume)
    fake = to_batch(rutiles() + rutiles()[:2], labels, data.element_volume)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(40):
        loss = torch.nn.functional.softplus(critic(fake, anything(12)) - critic(real, anything(12))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert float(critic(real, anything(12)).min()) > float(critic(fake, anything(12)).max())


@pytest.mark.parametrize("critic", ["gene", "latent"])
def test_the_generator_follows_its_critic(critic: str, start: Path, data: TrainingSet) -> None:
    """Only the networks of the chosen way move, and the starting weights never do."""
    torch.manual_seed(0)
    config = AdversarialConfig(critic=critic, steps=3, warmup=1, batch=32, critic_steps=1, rate=1e-3)
    module = LightningGAN(config, VAEGenerator.read(start).model)
    before = {k: v.clone() for k, v in module.gan.state_dict().items()}
    anchor = {k: v.clone() for k, v in module.vae.state_dict().items()}
    optimizers, _ = module.configure_optimizers()
    module.optimizers = lambda: optimizers  # type: ignore[assignment, method-assign, return-value]
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[assignment, method-assign]
    step = module._gene_step if critic == "gene" else module._latent_step
    for _ in range(3):
        module.step += 1
        batch = data.train.take(torch.arange(32))
        terms = step(batch, random_conditions(batch, TrainConfig()))
        assert all(bool(v.isfinite()) for v in terms.values())
    after = module.gan.state_dict()
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert "mapping" in moved and "geometry" not in moved
    assert ("sequence" in moved) == (critic == "gene")
    assert all(torch.equal(anchor[k], v) for k, v in module.vae.state_dict().items())


def test_a_stopped_training_goes_on_and_its_weights_can_be_read(
    start: Path, data: TrainingSet, tmp_path: Path
) -> None:
    config = AdversarialConfig(steps=4, warmup=1, batch=32, check_every=2, check_samples=8)
    out = tmp_path / "gan.safetensors"
    first = train_gan(data, config, start, out, tmp_path / "ckpt")
    assert [check["step"] for check in first] == [2, 4]
    again = train_gan(data, replace(config, steps=6), start, out, tmp_path / "ckpt")
    assert [check["step"] for check in again] == [2, 4, 6]
    generator = GANGenerator.load(out)
    items = list(generator.propose(5, np.random.default_rng(1), Conditions(space_groups=(225,))))
    assert all(item.gene.space_group == 225 for item in items if isinstance(item, Crystal))
    with pytest.raises(ReferenceMissingError, match="weights of gan"):
        GANGenerator.load(start)


def test_the_same_seed_gives_the_same_crystals() -> None:
    torch.manual_seed(1)
    generator = GANGenerator(GeneGAN(SMALL), Scaling(np.zeros(P), np.ones(P)), np.full(104, 12.0))
    runs = [
        [c.gene for c in generator.propose(5, np.random.default_rng(3), Conditions()) if isinstance(c, Crystal)]
        for _ in range(2)
    ]
    assert runs[0] and runs[0] == runs[1]


def test_the_likelihood_is_that_of_the_sampler(start: Path) -> None:
    """What it writes is lawful, and lawful choices make up all of its probability."""
    torch.manual_seed(2)
    model = VAEGenerator.read(start).model
    written = write(model, anything(64), 12)
    batch = written.batch
    positions, elements = lawful_choices(batch, 12)
    for row in range(len(batch)):
        n = int(batch.length[row])
        assert positions[row, torch.arange(n), batch.wyckoff[row, :n]].all()
        assert positions[row, n, -1]
        assert elements[row, torch.arange(n), batch.number[row, :n]].all()
    condition = model.condition(written.conditions)
    free = model.sequence_losses(model.latents(condition, written.noise), batch, condition)
    more = log_likelihood(model, written, 12) + free["group"] + free["position"] + free["element"]
    assert (more > -1e-4).all()
    assert (more > 0.1).any()


def test_merits_are_of_the_crystals_and_known_genes_are_worst(start: Path) -> None:
    torch.manual_seed(3)
    generator = VAEGenerator.read(start)
    written = write(generator.model, anything(40), 12)
    seen: list[Crystal] = []

    def light(crystals: Sequence[Crystal], asked: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        assert asked.shape == (len(crystals), len(CONDITION_PROPERTIES))
        seen.extend(crystals)
        return np.array([-float(c.numbers.max()) / 100 for c in crystals])

    found = rewards(generator, written, light)
    assert len(found) == len(written.batch)
    top = written.batch.number.max(dim=1).values
    judged = found > WORST
    assert judged.any()
    torch.testing.assert_close(found[judged], -top[judged] / 100.0)
    known = VAEGenerator(
        generator.model,
        generator.scaling,
        generator.element_volume,
        trained_on=frozenset(protostructure_hash(protostructure(c.gene)) for c in seen if c.gene),
    )
    assert (rewards(known, written, light) == WORST).all()


def test_misfit_is_zero_where_nothing_is_asked_and_grows_with_the_difference() -> None:
    def predicted(k: float, gap: float) -> dict[str, Value]:
        return {"bulk_modulus": Value(k, 1.0, k, k, ""), "band_gap": Value(gap, 1.0, gap, gap, "")}

    asked = np.full((4, len(CONDITION_PROPERTIES)), np.nan)
    asked[1:, CONDITION_PROPERTIES.index("bulk_modulus")] = 100.0
    asked[3, CONDITION_PROPERTIES.index("band_gap")] = 2.0
    cost = misfit([predicted(100, 0), predicted(100, 0), predicted(100 * 10**0.1, 0), predicted(100, 2.4)], asked)
    np.testing.assert_allclose(cost, [0.0, 0.0, np.log(1.5), np.log(1.5)], atol=1e-9)


def test_rare_conditions_get_the_same_share_of_draws() -> None:
    labels = torch.cat([torch.linspace(0.0, 0.1, 900), torch.full((100,), 2.0), torch.tensor([float("nan")])])[
        :, None
    ]
    weights = rarity(labels, bins=2)
    assert float(weights[-1]) == 0.0
    torch.testing.assert_close(weights[:900].sum(), weights[900:1000].sum())


def test_scaled_conditions_return() -> None:
    values = np.array([[250.0, 150.0, -1.0, 0.05, 2.0, 5.0, 8.0], [10.0, 5.0, 0.1, 0.0, 0.0, 3.0, np.nan]])
    scaling = Scaling.fit(values)
    np.testing.assert_allclose(scaling.inverse(scaling.transform(values)), values)


def test_the_policy_gradient_raises_what_is_better_than_average() -> None:
    likelihood = torch.zeros(4, requires_grad=True)
    policy_loss(likelihood, torch.tensor([1.0, 0.0, 0.0, -1.0])).backward()
    assert likelihood.grad is not None
    assert (likelihood.grad[0] < 0) and (likelihood.grad[3] > 0)
    assert float(likelihood.grad.sum()) == pytest.approx(0.0, abs=1e-6)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="magic"):
        AdversarialConfig(critic="magic")
    with pytest.raises(InputError, match="step_count"):
        configs_from({"step_count": 3})
    adversarial, pretraining = configs_from({"steps": 3, "pretraining": {"epochs": 2}})
    assert (adversarial.steps, pretraining.epochs) == (3, 2)
