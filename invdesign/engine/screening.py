"""Which proposals deserve a relaxation: acquisition values, and a choice with caps that keep a round diverse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystallography.genes import protostructure
from invdesign.engine.parts import Derive, Desirability
from invdesign.query import Target
from invdesign.records import Evaluation, Status
from invdesign.selection.targets import below, target_probability


@dataclass(frozen=True)
class GatePolicy:
    """How the gate spreads a budget of relaxations.

    Attributes:
        per_formula: most rows of one reduced formula in a round.
        per_system: most rows of one chemical system, as a share of the round.
        per_prototype: most rows of one prototype (space group and occupied positions), as a share.
        explore: share of the round that is drawn at random among the promising rest.
    """

    per_formula: int = 2
    per_system: float = 0.1
    per_prototype: float = 0.2
    explore: float = 0.1


POLICY = GatePolicy()


def acquire(
    rows: Sequence[Evaluation],
    targets: Sequence[Target],
    limit: float,
    correct: Derive | None = None,
    desirability: Desirability | None = None,
) -> list[Evaluation]:
    """Fill `acquisition` of every row that has not failed.

    It is the probability that the targets hold times the probability that the energy above hull is at most
    `limit`, both from the gate's estimate, times the desirability.

    Args:
        rows: gated rows.
        targets: what is wished for.
        limit: eV/atom.
        correct: takes the gate's estimate of a crystal to what earlier rounds make of it.
        desirability: multiplies the chances.
    """
    wanted = [i for i, row in enumerate(rows) if not row.failed and row.gate is not None]
    judged = [_believed(rows[i], correct) for i in wanted]
    desirabilities = [1.0] * len(wanted) if desirability is None else desirability(judged)
    out = list(rows)
    for i, row, worth in zip(wanted, judged, desirabilities, strict=True):
        assert row.estimate is not None
        stable = below(limit, row.estimate.values.get("energy_above_hull"))
        chance = target_probability(targets, row.estimate) * stable
        out[i] = replace(rows[i], acquisition=chance * float(worth))
    return out


def _believed(row: Evaluation, correct: Derive | None) -> Evaluation:
    """The row with what is believed of it before relaxation in place of its estimate."""
    assert row.gate is not None
    found = row.gate if correct is None else correct(row.gate, row.candidate.crystal)
    return replace(row, estimate=found)


def select(
    rows: Sequence[Evaluation],
    k: int,
    relaxed: Iterable[Evaluation],
    rng: np.random.Generator,
    policy: GatePolicy = POLICY,
) -> tuple[list[Evaluation], dict[str, int]]:
    """Mark the `k` rows that are worth a relaxation.

    Greedy by acquisition under caps per formula, chemical system and prototype; a share is drawn at random
    from the promising rest. Where the caps leave places free they are doubled until the places or the rows
    are used up. A gene protostructure is relaxed once in a run, a row of unknown novelty never: it could not be
    listed.

    Args:
        rows: rows with their acquisition.
        k: number of relaxations to spend.
        relaxed: rows selected in earlier rounds.
        rng: for the exploring share.
        policy: the caps.

    Returns:
        All rows, those chosen marked `selected`, and the counts of those not chosen by reason.
    """
    order, reasons = _ranked(rows, relaxed)
    chosen = _fill(order, k, rng, policy)
    reasons |= {row.candidate.id: "lower priority" for row in order if row.candidate.id not in chosen}
    out = [replace(row, selected=True) if row.candidate.id in chosen else row for row in rows]
    return out, dict(Counter(reasons.values()))


def promising(
    rows: Sequence[Evaluation], most: int, relaxed: Iterable[Evaluation]
) -> tuple[list[Evaluation], dict[str, int]]:
    """The rows that are worth a closer look, best first: at most `most`, each gene protostructure once.

    Args:
        rows: rows with their acquisition.
        most: how many to look at.
        relaxed: rows selected in earlier rounds.

    Returns:
        The rows, and the counts of those left out by reason.
    """
    order, reasons = _ranked(rows, relaxed)
    reasons |= {row.candidate.id: "lower priority" for row in order[most:]}
    return order[:most], dict(Counter(reasons.values()))


def _ranked(rows: Sequence[Evaluation], relaxed: Iterable[Evaluation]) -> tuple[list[Evaluation], dict[str, str]]:
    """Rows that may be relaxed, best first, and why the others that have not failed may not, by id."""
    seen = {_protostructure(row) for row in relaxed}
    reasons: dict[str, str] = {}
    order = []
    for row in sorted(rows, key=lambda r: (-_priority(r), r.candidate.id)):
        if row.failed or row.gate is None:
            continue
        if not _priority(row) > 0.0:
            reasons[row.candidate.id] = "no chance of being on target and stable"
        elif _undecidable(row):
            reasons[row.candidate.id] = "novelty unknown"
        elif (key := _protostructure(row)) in seen:
            reasons[row.candidate.id] = "same gene as one already chosen"
        else:
            seen.add(key)
            order.append(row)
    return order, reasons


def _undecidable(row: Evaluation) -> bool:
    """Whether its formula is known without a structure: no relaxation can tell that it is new."""
    novelty = row.verdicts.get("novelty")
    return novelty is not None and novelty.status is Status.UNKNOWN


def _priority(row: Evaluation) -> float:
    return row.acquisition if row.acquisition == row.acquisition else -1.0


def _fill(order: Sequence[Evaluation], k: int, rng: np.random.Generator, policy: GatePolicy) -> set[str]:
    tally, chosen, scale = Counter[tuple[str, object]](), set[str](), 1
    k = min(k, len(order))
    _take(order, k - round(policy.explore * k), k, scale, policy, tally, chosen)
    _take(_shuffled(order, 20 * k, rng), k, k, scale, policy, tally, chosen)
    while len(chosen) < k:
        scale *= 2
        _take(order, k, k, scale, policy, tally, chosen)
    return chosen


def _take(
    order: Iterable[Evaluation],
    until: int,
    k: int,
    scale: int,
    policy: GatePolicy,
    tally: Counter[tuple[str, object]],
    chosen: set[str],
) -> None:
    caps = {
        "formula": scale * policy.per_formula,
        "system": scale * max(1, round(policy.per_system * k)),
        "prototype": scale * max(1, round(policy.per_prototype * k)),
    }
    for row in order:
        if len(chosen) >= until:
            return
        keys = _kinds(row)
        if row.candidate.id not in chosen and all(tally[key] < caps[key[0]] for key in keys):
            chosen.add(row.candidate.id)
            tally.update(keys)


def _kinds(row: Evaluation) -> list[tuple[str, object]]:
    crystal = row.candidate.crystal
    kinds: list[tuple[str, object]] = [
        ("formula", reduced_formula(crystal.numbers)),
        ("system", chemical_system(crystal.numbers)),
    ]
    if crystal.gene is not None:
        kinds.append(("prototype", (crystal.gene.space_group, tuple(sorted(crystal.gene.wyckoffs)))))
    return kinds


def _shuffled(order: Sequence[Evaluation], most: int, rng: np.random.Generator) -> list[Evaluation]:
    """The promising rest in random order, likelier first: exponential races with rates sqrt(acquisition)."""
    head = order[:most]
    clocks = rng.exponential(size=len(head)) / np.sqrt([row.acquisition for row in head])
    return [head[i] for i in np.argsort(clocks, kind="stable")]


def _protostructure(row: Evaluation) -> object:
    gene = row.candidate.crystal.gene
    return row.candidate.id if gene is None else protostructure(gene)
