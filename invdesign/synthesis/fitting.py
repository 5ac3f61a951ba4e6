"""Training of the networks that suggest precursors and conditions, from a list of recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.synthesis.formulas import parse_formula, precursor_key
from invdesign.synthesis.precursors import CLIP, PrecursorModel, inputs
from invdesign.synthesis.recipe import Recipe


@dataclass(frozen=True)
class Settings:
    """How the networks are trained.

    Attributes:
        members: networks of the ensemble, each from its own seed.
        epochs: passes over the recipes.
        batch: recipes per step.
        hidden: width of the two hidden layers.
        query: length of the vectors of precursors.
        styles: styles of the mixture.
        learning_rate: largest, of one cycle.
        weight_decay: of AdamW.
        dropout: share of hidden units left out in training.
        least: a precursor is known to the model if at least so many recipes use it.
        seed: of the first member.
    """

    members: int = 2
    epochs: int = 14
    batch: int = 256
    hidden: int = 192
    query: int = 48
    styles: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    dropout: float = 0.2
    least: int = 2
    seed: int = 0


def vocabulary_of(recipes: Sequence[Recipe], least: int) -> tuple[str, ...]:
    """The precursors of at least some recipes, most common first, one spelling of each."""
    names: dict[Any, Counter[str]] = {}
    for name in (name for recipe in recipes for name in recipe.precursors):
        names.setdefault(precursor_key(parse_formula(name)), Counter())[name] += 1
    counted = sorted((-sum(texts.values()), texts.most_common(1)[0][0]) for texts in names.values())
    return tuple(name for count, name in counted if -count >= least)


@dataclass(frozen=True, eq=False)
class _Choices:
    """Every (recipe, element, precursor) of the training set, ordered by recipe.

    Attributes:
        start: (n + 1,) first row of each recipe.
        element: (rows,) index of the element.
        place: (rows,) place of the precursor among those that hold the element.
        weight: (rows,) one over the precursors of the recipe that hold the element.
        holders: (elements, most) precursors by element, filled up with -1.
    """

    start: Any
    element: Any
    place: Any
    weight: Any
    holders: Any


def _choices(recipes: Sequence[Recipe], model: PrecursorModel) -> _Choices:
    elements = sorted(model.holders)
    places = {name: {int(i): j for j, i in enumerate(model.holders[name])} for name in elements}
    most = max(len(rows) for rows in model.holders.values())
    holders = np.full((len(elements), most), -1)
    for row, name in zip(holders, elements, strict=True):
        row[: len(model.holders[name])] = model.holders[name]
    found: list[tuple[int, int, float]] = []
    start = [0]
    for recipe in recipes:
        known = [model.index.get(precursor_key(parse_formula(name)), -1) for name in recipe.precursors]
        for name in sorted(recipe.sources & set(elements)):
            held = [places[name][i] for i in known if i in places[name]]
            found += [(elements.index(name), place, 1.0 / len(held)) for place in held]
        start.append(len(found))
    element, place, weight = (np.array(column) for column in zip(*found, strict=True))
    return _Choices(np.array(start), element, place, weight, holders)


def fit_precursors(recipes: Sequence[Recipe], settings: Settings | None = None) -> PrecursorModel:
    """Train the ensemble that suggests precursors.

    Args:
        recipes: with targets and precursors.
        settings: of the training.
    """
    settings = settings or Settings()
    vocabulary = vocabulary_of(recipes, settings.least)
    rows = inputs([recipe.amounts for recipe in recipes], [recipe.method for recipe in recipes])
    scaling = {"mean": rows.mean(axis=0), "scale": rows.std(axis=0) + 1e-3}
    rows = np.clip((rows - scaling["mean"]) / scaling["scale"], -CLIP, CLIP)
    empty = PrecursorModel(vocabulary, {})
    choices = _choices(recipes, empty)
    counts = Counter(empty.index.get(precursor_key(parse_formula(n)), -1) for r in recipes for n in r.precursors)
    prior = np.log([max(counts[i], 1) for i in range(len(vocabulary))])
    members = [_member(rows, choices, prior, settings, settings.seed + k) for k in range(settings.members)]
    return PrecursorModel(vocabulary, scaling | _stacked(members))


def _stacked(members: Sequence[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.stack([member[name] for member in members]) for name in members[0]}


def _member(
    rows: FloatArray, choices: _Choices, prior: FloatArray, settings: Settings, seed: int
) -> dict[str, FloatArray]:
    """One network: its arrays as `PrecursorModel.weights` names them."""
    import torch

    torch.manual_seed(seed)
    body = _body(rows.shape[1], settings)
    query = torch.nn.Linear(settings.hidden, settings.query)
    shares = torch.nn.Linear(settings.hidden, settings.styles)
    vectors = torch.nn.Parameter(0.05 * torch.randn(len(prior), settings.query))
    bias = torch.nn.Parameter(torch.tensor(prior, dtype=torch.float32))
    styles = torch.nn.Parameter(0.3 * torch.randn(settings.styles, len(prior)))
    holders = torch.tensor(choices.holders)

    def loss(batch: Any, x: Any) -> Any:
        hidden = body(x)
        scores = query(hidden) @ vectors.T + bias
        counts = choices.start[batch + 1] - choices.start[batch]
        owner = torch.tensor(np.repeat(np.arange(len(batch)), counts))
        picked = np.concatenate([np.arange(choices.start[r], choices.start[r + 1]) for r in batch])
        held = holders[torch.tensor(choices.element[picked])]
        absent, held = held < 0, held.clamp_min(0)
        place = torch.tensor(choices.place[picked])[:, None, None]
        here = scores[owner].gather(1, held)[:, None] + styles.T[held].transpose(1, 2)
        log = torch.log_softmax(here.masked_fill(absent[:, None], -1e9), dim=2)
        chosen = log.gather(2, place.expand(-1, settings.styles, 1))[:, :, 0]
        weight = torch.tensor(choices.weight[picked], dtype=torch.float32)
        joint = torch.zeros(len(batch), settings.styles).index_add(0, owner, chosen * weight[:, None])
        return -torch.logsumexp(joint + torch.log_softmax(shares(hidden), dim=1), dim=1).mean()

    parameters = [*body.parameters(), *query.parameters(), *shares.parameters(), vectors, bias, styles]
    train(loss, parameters, rows, settings, seed)
    arrays = {"wq": query.weight.T, "bq": query.bias, "wz": shares.weight.T, "bz": shares.bias,
              "vectors": vectors, "bias": bias, "styles": styles} | _body_arrays(body)  # fmt: skip
    return {name: value.detach().numpy().astype(np.float64) for name, value in arrays.items()}


def _body(width: int, settings: Settings) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, settings.hidden), nn.ReLU(), nn.Dropout(settings.dropout),
        nn.Linear(settings.hidden, settings.hidden), nn.ReLU(), nn.Dropout(settings.dropout),
    )  # fmt: skip


def _body_arrays(body: Any) -> dict[str, Any]:
    first, second = body[0], body[3]
    return {"w1": first.weight.T, "b1": first.bias, "w2": second.weight.T, "b2": second.bias}


def train(loss: Any, parameters: Sequence[Any], rows: FloatArray, settings: Settings, seed: int) -> None:
    """Minimise a loss over batches of rows by AdamW with one cycle of the learning rate.

    Args:
        loss: of (row numbers, their inputs as a tensor).
        parameters: what is trained.
        rows: (n, d) inputs.
        settings: of the training.
        seed: of the order of the batches.
    """
    import torch

    random = np.random.default_rng(seed)
    data = torch.tensor(rows, dtype=torch.float32)
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(rows) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps)
    for _ in range(settings.epochs):
        order = random.permutation(len(rows))
        for first in range(0, len(rows), settings.batch):
            batch = order[first : first + settings.batch]
            optimiser.zero_grad()
            loss(batch, data[torch.tensor(batch)]).backward()
            optimiser.step()
            schedule.step()
