"""Which proposals deserve a relaxation: acquisition values, and a choice with caps that keep a round diverse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystallography.genes import protostructure
from invdesign.engine.parts import Desirability
from invdesign.evolution.judge import Judge, Judged
from invdesign.properties import get_property
from invdesign.records import Estimate, Evaluation, Status, Value
from invdesign.selection.targets import below


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
            stable[k] = below(limit, value)
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
                values[name] = (
                    log10_value(mean, std) if get_property(name).log else Value(mean, std, source="gate")
                )
        out.append(Estimate(values))
    return out


def log10_value(mean: float, std: float) -> Value:
    """A value whose log10 is normally distributed."""
    centre, arm = 10.0**mean, 10.0 ** (1.6448536269514722 * std)
    return Value(centre, centre * float(np.sinh(std * np.log(10.0))), centre / arm, centre * arm, "gate")


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
