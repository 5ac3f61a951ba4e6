"""Teaching a model of genes what is wanted: rewards of what it writes, and the policy gradient to them.

A gene is discrete, so no gradient passes from a reward through it. The score function estimator (REINFORCE,
Williams, Machine Learning 8, 229 (1992)) needs only the likelihood of what was written, in exactly the choices
that the sampler has, and a baseline: here the mean of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invdesign.crystal import Crystal, FloatArray
from invdesign.generators.geneset import MAX_Z, GeneBatch
from invdesign.generators.model import GeneModel, Limits, SequenceSampler
from invdesign.generators.network import ConditionTensors
from invdesign.generators.sampler import GeneSampler

Reward = Callable[[Sequence[Crystal], FloatArray], FloatArray]
"""(n,) how good crystals are, in nats: a log probability, say. The second argument are the (n, p) values of
`CONDITION_PROPERTIES` that they were asked to have, in their own units, NaN where nothing was asked."""
WORST = -6.0
"""Reward of what is no crystal, or one of the training set."""
LEAST_SPREAD = 0.5
"""Standard deviation of the rewards of a batch below which differences are not blown up."""


def rows_of(conditions: ConditionTensors, index: Tensor) -> ConditionTensors:
    """The chosen rows of conditions."""
    return ConditionTensors(*(t[index] for t in conditions))


@dataclass(frozen=True)
class Written:
    """Skeletons that a model has written.

    Attributes:
        batch: the complete ones.
        kept: which rows of the conditions they are of.
        conditions: these rows.
        noise: (b, latent) that they were written from.
    """

    batch: GeneBatch
    kept: Tensor
    conditions: ConditionTensors
    noise: Tensor


@torch.no_grad()
def write(model: GeneModel, conditions: ConditionTensors, max_sites: int) -> Written:
    """One try at a Wyckoff sequence for each row of the conditions, at temperature 1 and without guidance."""
    elements = torch.arange(MAX_Z) > 0
    limits = Limits(torch.ones(230, dtype=torch.bool), elements, torch.zeros_like(elements), max_sites)
    embedded = model.condition(conditions)
    noise = torch.randn(len(embedded), model.config.latent)
    sampler = SequenceSampler(model.sequence, limits, 1.0, 1.0)
    rows, complete = sampler.draw(model.latents(embedded, noise), embedded, embedded, _seeded())
    kept = complete.nonzero()[:, 0]
    return Written(rows.take(kept), kept, rows_of(conditions, kept), noise[kept])


def log_likelihood(model: GeneModel, written: Written, max_sites: int) -> Tensor:
    """(b,) log likelihood of written Wyckoff sequences given their noise, among the sampler's choices."""
    embedded = model.condition(written.conditions)
    z = model.latents(embedded, written.noise)
    losses = model.sequence_losses(z, written.batch, embedded, max_sites)
    return -(losses["group"] + losses["position"] + losses["element"])


@torch.no_grad()
def rewards(generator: GeneSampler[Any], written: Written, reward: Reward) -> Tensor:
    """(b,) rewards of Wyckoff sequences with one draw of geometry; genes of the training set are worst."""
    model = generator.model
    z = model.latents(model.condition(written.conditions), written.noise)
    context = model.geometry.context(z, model.geometry_condition(written.conditions))
    crystals = generator.crystals(written.batch, context, _seeded())
    new = {i: c for i, c in enumerate(crystals) if c is not None and not generator.is_known(c)}
    asked = written.conditions.values.masked_fill(~written.conditions.present, float("nan"))[list(new)]
    values = reward(list(new.values()), generator.scaling.inverse(asked.double().numpy()))
    found = torch.full((len(crystals),), WORST)
    found[list(new)] = torch.from_numpy(np.maximum(values, WORST)).float()
    return found


def policy_loss(likelihood: Tensor, reward: Tensor) -> Tensor:
    """Its gradient is that of the expected reward above the mean of the batch, in units of the spread."""
    advantage = (reward - reward.mean()) / reward.std().clamp(min=LEAST_SPREAD)
    return -(advantage * likelihood).mean()


def _seeded() -> torch.Generator:
    """A generator seeded by the global one."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, ()).item()))
