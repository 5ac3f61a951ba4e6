"""Why a gate predicts what it predicts: what elements, sites and features add, and the nearest known crystals.

A value is explained by two sums that both end at it. By sites: what the same crystal has with usual substitutes on
all sites, plus a contribution of each orbit (`substitutes`). By features: the training mean, plus what the orbits'
surroundings say with average features, plus a contribution of each family of features (`gradients`). Numbers are
in log10 for properties that are modelled so (moduli), otherwise in the property's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.elements import symbol
from invdesign.errors import InputError
from invdesign.properties import get_property
from invdesign.records import Estimate
from invdesign.surrogates.explain.gradients import ByFeature, by_feature
from invdesign.surrogates.explain.nearest import Neighbour, labelled_for, positions, usual_distance
from invdesign.surrogates.explain.substitutes import DRAWS, Chains, Contribution, by_orbit
from invdesign.surrogates.inputs.cells import read_cells
from invdesign.surrogates.inputs.dataset import graphs_of_genes
from invdesign.surrogates.model import Model
from invdesign.surrogates.scales import shown

NEAREST = 3
"""Known crystals that are named."""


@dataclass(frozen=True)
class Site:
    """An orbit of the crystal and what it contributes.

    Attributes:
        element: symbol.
        wyckoff: multiplicity and letter, e.g. `4a`.
        contribution: of all its atoms together.
    """

    element: str
    wyckoff: str
    contribution: Contribution


@dataclass(frozen=True)
class Reasons:
    """Why one property has its value: two sums that both end at the gate's value.

    `value = substitutes + elements = average + surroundings + features`; reported was `value + second_stage`.

    Attributes:
        log10: whether all numbers are log10 of the property's unit, and not in the unit itself.
        value: the gate's.
        second_stage: what the second stage reported, less `value`; 0 for the gate itself.
        substitutes: mean value of the same crystal with usual substitutes on all sites.
        elements: by symbol.
        sites: in the order of the gene.
        average: training mean of the property.
        surroundings: what the elements' places and neighbours say, with average features.
        features: by family of features.
    """

    log10: bool
    value: float
    second_stage: float
    substitutes: float
    elements: Mapping[str, Contribution]
    sites: tuple[Site, ...]
    average: float
    surroundings: float
    features: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Why a crystal is predicted as it is.

    Attributes:
        estimate: what is explained.
        reasons: by property.
        nearest: known crystals that the gate finds most alike, nearest first.
        failure: why there is no explanation, in which case the others are empty.
    """

    estimate: Estimate
    reasons: Mapping[str, Reasons]
    nearest: tuple[Neighbour, ...]
    failure: str = ""


def explain(
    model: Model, crystals: Sequence[Crystal], estimates: Sequence[Estimate] | None = None, draws: int = DRAWS
) -> list[Explanation]:
    """Explain the estimates of a gate, or those of a second stage through its gate.

    Args:
        model: the gate.
        crystals: what was predicted.
        estimates: what was reported for them (None: the gate's own).
        draws: chains of substitutes; even.

    Returns:
        One explanation per crystal, in the same order; it does not depend on the other crystals.

    Raises:
        InputError: if the model reads a potential's features.
    """
    if model.shape.extra:
        raise InputError("model to explain", model.stage, "a gate: the second stage is explained through its gate")
    cells, failures = read_cells(crystals)
    found = iter(_explained(model, cells, draws) if cells else ())
    out = []
    for k, why in enumerate(failures):
        if why:
            out.append(Explanation(Estimate({}, failure=why), {}, (), why))
        else:
            explanation = next(found)
            out.append(explanation if estimates is None else _of(explanation, estimates[k]))
    return out


def _explained(model: Model, cells: Sequence[Crystal], draws: int) -> list[Explanation]:
    """The gate's own estimates of cells that can be read, explained."""
    genes = [c.gene for c in cells if c.gene is not None]
    graphs = graphs_of_genes(genes, cells)
    raw = model.raw(graphs)
    values, features = shown(model.properties, raw.mean), by_feature(model, graphs)
    nearest = labelled_for(model).nearest(positions(model, raw.columns), usual_distance(model), NEAREST)
    return [
        Explanation(
            estimate, _reasons(model, gene, values[i], by_orbit(model, gene, values[i], draws), features, i), near
        )
        for i, (gene, estimate, near) in enumerate(zip(genes, model.estimates(graphs), nearest, strict=True))
    ]


def _reasons(
    model: Model, gene: Gene, value: FloatArray, chains: Chains, features: ByFeature, i: int
) -> dict[str, Reasons]:
    """Of all properties of the crystal number `i`."""
    labels = [wyckoff_table().label(gene.space_group, w) for w in gene.wyckoffs]
    numbers = np.array(gene.numbers)
    return {
        name: Reasons(
            log10=get_property(name).log,
            value=float(value[j]),
            second_stage=0.0,
            substitutes=float(chains.start[:, j].mean()),
            elements={
                symbol(z): chains.contribution(np.flatnonzero(numbers == z), j)
                for z in dict.fromkeys(gene.numbers)
            },
            sites=tuple(
                Site(symbol(z), label, chains.contribution(np.array([k]), j))
                for k, (z, label) in enumerate(zip(gene.numbers, labels, strict=True))
            ),
            average=float(features.average[j]),
            surroundings=float(features.plain[i, j] - features.average[j]),
            features=dict(zip(features.families, features.values[i, j].tolist(), strict=True)),
        )
        for j, name in enumerate(model.properties)
    }


def _of(explanation: Explanation, estimate: Estimate) -> Explanation:
    """The explanation of another estimate of the crystal: what it adds to the gate's is the second stage's."""
    reasons = {}
    for name, why in explanation.reasons.items():
        value = estimate.values.get(name)
        if value is not None and value.source.startswith("surrogate"):
            told = float(np.log10(value.mean)) if why.log10 else value.mean
            reasons[name] = replace(why, second_stage=told - why.value)
    return replace(explanation, estimate=estimate, reasons=reasons)
