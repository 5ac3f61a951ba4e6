"""Which proposals deserve a relaxation: chances to be on target and stable, and a choice by expected gain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.crystallography.genes import protostructure
from invdesign.engine.parts import Desirability
from invdesign.evolution.judge import Judge, Judged
from invdesign.records import Estimate, Evaluation, Status, Value
from invdesign.selection.diversity import families
from invdesign.uncertainty import log_normal, probability_below


@dataclass(frozen=True)
class GatePolicy:
    """How a budget of relaxations is spread.

    A family (anion class, structure type, chemical system, formula) in which candidates were found already, or are
    expected from what has just been chosen, counts for less: with as many hits as its share of the list, one more
    is worth half.

    Attributes:
        anion_class: share of the wanted list for one anion class.
        structure_type: share for one structure type (at least one).
        chemical_system: share for one chemical system (at least one).
        formula: share for one reduced formula (at least one).
        chosen: hits that a chosen row counts for at least: its kin would fail or succeed with it.
        explore: share of a round that is drawn at random among the promising rest.
    """

    anion_class: float = 0.25
    structure_type: float = 0.1
    chemical_system: float = 0.1
    formula: float = 0.05
    chosen: float = 0.25
    explore: float = 0.1


POLICY = GatePolicy()
Kind = tuple[str, str]
"""A family: what it is told by, and its name."""
LEAST = 1e-300
"""The smallest acquisition of a crystal of which all is known: however far it is from a target, it keeps its
place."""


def acquire(
    rows: Sequence[Evaluation],
    judge: Judge,
    limit: float,
    desirability: Desirability | None = None,
) -> list[Evaluation]:
    """Fill `acquisition` of every row that has not failed.

    It is the chance that the targets hold times the chance that the energy above hull is at most `limit`, times
    the desirability. Properties are those of the gate as the judge corrects them; the energy is that of the first
    look where there was one.

    Args:
        rows: gated rows.
        judge: the gate with the targets.
        limit: eV/atom.
        desirability: multiplies the chances.
    """
    wanted = [i for i, row in enumerate(rows) if not row.failed and row.gate is not None]
    crystals = [rows[i].candidate.crystal for i in wanted]
    judged = judge.judge(crystals)
    stable = np.exp(judged.log_stable)
    looked = [k for k, i in enumerate(wanted) if rows[i].probe is not None]
    if looked:
        hull = judge.hull_energies([crystals[k] for k in looked])
        for k, base in zip(looked, hull, strict=True):
            probe = rows[wanted[k]].probe
            assert probe is not None
            value = replace(probe.formation_energy, mean=probe.formation_energy.mean - float(base))
            stable[k] = probability_below(limit, value)
    known = np.isfinite(judged.log_target) & np.isfinite(stable)
    chances = np.where(known, np.maximum(np.exp(judged.log_target) * np.nan_to_num(stable), LEAST), 0.0)
    if desirability is not None:
        believed = [replace(rows[i], estimate=e) for i, e in zip(wanted, estimates_of(judged), strict=True)]
        chances = chances * np.asarray(desirability(believed), dtype=np.float64)
    out = list(rows)
    for i, chance in zip(wanted, chances.tolist(), strict=True):
        out[i] = replace(rows[i], acquisition=chance if chance == chance else 0.0)
    return out


def estimates_of(judged: Judged) -> list[Estimate]:
    """What is believed of crystals as estimates, for what asks crystal by crystal."""
    answers = judged.answers
    out = []
    for i in range(len(answers)):
        values = {}
        for j, name in enumerate(answers.names):
            mean, std = float(answers.mean[i, j]), float(answers.std[i, j])
            if np.isfinite(mean) and np.isfinite(std):
                log = answers.is_log(name)
                values[name] = log_normal(10.0**mean, std, "gate") if log else Value(mean, std, source="gate")
        out.append(Estimate(values))
    return out


def select(
    rows: Sequence[Evaluation],
    k: int,
    before: Sequence[Evaluation],
    rng: np.random.Generator,
    wanted: int = 20,
    policy: GatePolicy = POLICY,
) -> tuple[list[Evaluation], dict[str, int]]:
    """Mark the `k` rows that are worth a relaxation.

    Greedy by expected gain, see `GatePolicy`; a share is drawn at random from the promising rest. A protostructure
    is relaxed once in a run, a row of unknown novelty never: it could not be listed.

    Args:
        rows: rows with their acquisition.
        k: number of relaxations to spend.
        before: rows selected in earlier rounds; those that were found count against their families.
        rng: for the exploring share.
        wanted: candidates that the query asks for.
        policy: how the budget is spread.

    Returns:
        All rows, those chosen marked `selected`, and the counts of those not chosen by reason.
    """
    order, reasons = _ranked(rows, before)
    k = min(k, len(order))
    first = by_gain(order, k - round(policy.explore * k), _hits(before), wanted, policy)
    chosen = {row.candidate.id for row in first}
    left = [row for row in order if row.candidate.id not in chosen]
    chosen |= {row.candidate.id for row in _shuffled(left, 20 * k, rng)[: k - len(chosen)]}
    reasons |= {row.candidate.id: "lower priority" for row in order if row.candidate.id not in chosen}
    out = [replace(row, selected=True) if row.candidate.id in chosen else row for row in rows]
    return out, dict(Counter(reasons.values()))


def promising(
    rows: Sequence[Evaluation],
    most: int,
    before: Sequence[Evaluation],
    wanted: int = 20,
    policy: GatePolicy = POLICY,
) -> tuple[list[Evaluation], dict[str, int]]:
    """The rows worth a closer look, largest expected gain first: at most `most`, each protostructure once.

    Args:
        rows: rows with their acquisition.
        most: how many to look at.
        before: rows selected in earlier rounds.
        wanted: candidates that the query asks for.
        policy: how a budget is spread.

    Returns:
        The rows, and the counts of those left out by reason.
    """
    order, reasons = _ranked(rows, before)
    top = by_gain(order, most, _hits(before), wanted, replace(policy, chosen=0.1 * policy.chosen))
    kept = {row.candidate.id for row in top}
    reasons |= {row.candidate.id: "lower priority" for row in order if row.candidate.id not in kept}
    return top, dict(Counter(reasons.values()))


def by_gain(
    rows: Sequence[Evaluation], k: int, hits: Mapping[Kind, float], wanted: int, policy: GatePolicy
) -> list[Evaluation]:
    """The `k` rows of the largest expected gain, in the order of their choice.

    Args:
        rows: with their acquisition, in the order that decides between equal ones.
        k: number of rows to choose.
        hits: candidates found already, by family.
        wanted: candidates that the query asks for.
        policy: shares of the families.
    """
    names: dict[Kind, int] = {}
    codes = np.array([[names.setdefault(kind, len(names)) for kind in kinds(row)] for row in rows], dtype=np.int64)
    shares = (policy.anion_class, policy.structure_type, policy.chemical_system, policy.formula)
    room = np.array([max(1.0, share * wanted) for share in shares])
    count = np.array([hits.get(kind, 0.0) for kind in names])
    value = np.array([row.acquisition for row in rows])
    free = np.ones(len(rows), dtype=bool)
    chosen: list[Evaluation] = []
    for _ in range(min(k, len(rows))):
        discount = 1.0 / (1.0 + count[codes] / room)
        gain = np.where(free, np.log(value) + np.log(discount).sum(axis=1), -np.inf)
        best = int(gain.argmax())
        free[best] = False
        count[codes[best]] += max(policy.chosen, float(value[best]))
        chosen.append(rows[best])
    return chosen


def kinds(row: Evaluation) -> tuple[Kind, ...]:
    """The families of a row: anion class, structure type, chemical system and formula, each with its label."""
    found = families(row.candidate.crystal)
    return (
        ("class", found.anion_class),
        ("type", found.structure_type),
        ("system", found.chemical_system),
        ("formula", found.formula),
    )


def _hits(before: Iterable[Evaluation]) -> dict[Kind, float]:
    """Candidates that were found in earlier rounds, by family: rows that nothing has rejected, by their score."""
    hits: Counter[Kind] = Counter()
    for row in before:
        if row.relaxation is not None and not row.failed and row.score == row.score:
            for kind in kinds(row):
                hits[kind] += row.score  # type: ignore[assignment]
    return dict(hits)


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


def _shuffled(order: Sequence[Evaluation], most: int, rng: np.random.Generator) -> list[Evaluation]:
    """The promising rest in random order, likelier first: exponential races with rates sqrt(acquisition)."""
    head = order[:most]
    clocks = rng.exponential(size=len(head)) / np.sqrt([row.acquisition for row in head])
    return [head[i] for i in np.argsort(clocks, kind="stable")]


def _protostructure(row: Evaluation) -> object:
    gene = row.candidate.crystal.gene
    return row.candidate.id if gene is None else protostructure(gene)
