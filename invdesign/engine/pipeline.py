"""The stages between a request and a scored crystal, as functions on lists of evaluations.

    propose -> screen -> predict -> acquire -> inspect -> select -> relax -> place -> check -> unique -> estimate
    -> score

Every stage returns as many rows as it was given, in the same order: it marks rows and never drops one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import protostructure
from invdesign.elements import atomic_numbers, symbol
from invdesign.engine.funnel import StageCount, below, target_probability
from invdesign.errors import ReferenceMissingError
from invdesign.protocols import Generator, Reference, Relaxer, Surrogate, Validator
from invdesign.query import Query, Target
from invdesign.records import (
    Candidate,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Status,
    Value,
    Verdict,
)

Derive = Callable[[Estimate, Crystal], Estimate]
Desirability = Callable[[Sequence[Evaluation]], Sequence[float] | FloatArray]
"""A desirability from 0 to 1 of each row's `estimate`, of what bounds cannot say: a component's indices."""
HULL_CORRELATION = 0.8
"""Correlation of the errors of a gate's two ways to the energy above hull."""
LENIENT = frozenset({"charge_balance", "disorder"})
"""Validators whose UNKNOWN does not keep a row from the final list."""


@runtime_checkable
class EachRelaxer(Protocol):
    """A relaxer that hands results over one by one, in any order, so that each can be recorded at once."""

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        """Yield (index, result) for every crystal as it is done."""
        ...


@dataclass(frozen=True)
class Parts:
    """Everything that the engine is handed.

    Attributes:
        generators: generators by name; a request names one of them.
        gate: predicts properties of unrelaxed crystals, thousands a second.
        surrogate: predicts properties of relaxed crystals.
        screens: checks of every proposal that take well below a millisecond, cheapest first.
        inspections: dearer checks, of the proposals that the gate finds most promising.
        relaxer: relaxes, and puts energies on the reference's scale; an `EachRelaxer` is used as such.
        reference: the hull and the known crystals.
        checks: checks of relaxed crystals.
        unique: remembers every row it was asked about and fails a crystal that it has seen.
        derive: adds derived mechanical properties to an estimate of a crystal.
        provenance: names and versions of models and potential; a ledger refuses others.
    """

    generators: Mapping[str, Generator]
    gate: Surrogate
    surrogate: Surrogate
    screens: tuple[Validator, ...]
    relaxer: Relaxer
    reference: Reference
    checks: tuple[Validator, ...]
    unique: Validator
    derive: Derive
    provenance: Mapping[str, str] = field(default_factory=dict)
    inspections: tuple[Validator, ...] = ()


class MatchesQuery:
    """Validator: the proposal has the elements, the space group and the size that the query asks for."""

    name = "asked"

    def __init__(self, query: Query) -> None:
        self.query = query
        self._allowed = atomic_numbers(query.allowed_elements)
        self._required = atomic_numbers(query.required)

    def check(self, row: Evaluation) -> Verdict:
        """Compare the best structure there is with the query: a relaxation can raise the symmetry."""
        reason = self._objection(row.crystal)
        return Verdict(self.name, Status.FAIL if reason else Status.PASS, reason)

    def _objection(self, crystal: Crystal) -> str:
        present = set(crystal.numbers.tolist())
        foreign = present - self._allowed
        missing = self._required - present
        groups, gene = self.query.space_groups, crystal.gene
        if foreign:
            return "element not allowed: " + ", ".join(symbol(z) for z in sorted(foreign))
        if missing:
            return "element missing: " + ", ".join(symbol(z) for z in sorted(missing))
        if crystal.n_sites > self.query.max_sites:
            return f"{crystal.n_sites} sites, more than {self.query.max_sites}"
        if groups is not None and gene is not None and gene.space_group not in groups:
            return f"space group {gene.space_group} not asked for"
        return ""


def propose(request: Request, generator: Generator) -> tuple[list[Evaluation], list[Failure]]:
    """Ask a generator for the crystals of a request.

    Returns:
        One row per crystal, and one failure per item that could not be made, its `item` being the id that the
        candidate would have had. Ids are `<request id>-<index>`.
    """
    rng = np.random.default_rng(request.seed)
    rows: list[Evaluation] = []
    failures: list[Failure] = []
    items = generator.propose(request.n, rng, request.conditions)
    for index, item in enumerate(islice(items, request.n)):
        name = f"{request.id}-{index:05d}"
        if isinstance(item, Failure):
            failures.append(replace(item, item=name))
        else:
            rows.append(Evaluation(Candidate(name, item, request.id, request.generator)))
    return rows, failures


def screen(rows: Sequence[Evaluation], validators: Sequence[Validator]) -> list[Evaluation]:
    """Judge every row that has not failed, in the order of the validators, up to a row's first FAIL.

    So a later validator's counts refer to the rows that reached it. A validator that raises fails the row
    with stage `screen`.
    """
    return [_judge(row, validators, stop=True) for row in rows]


def check(rows: Sequence[Evaluation], validators: Sequence[Validator]) -> list[Evaluation]:
    """Judge every relaxed row that has not failed by every validator, replacing earlier verdicts."""
    return [row if row.relaxation is None else _judge(row, validators, stop=False) for row in rows]


def unique(rows: Sequence[Evaluation], validator: Validator) -> list[Evaluation]:
    """Judge uniqueness, only of relaxed rows that nothing has rejected: a reject must not shadow a good one."""
    return [row if row.relaxation is None else _judge(row, [validator], stop=False) for row in rows]


def _judge(row: Evaluation, validators: Sequence[Validator], stop: bool) -> Evaluation:
    if row.failed:
        return row
    verdicts = dict(row.verdicts)
    for validator in validators:
        try:
            verdict = validator.check(row)
        except ReferenceMissingError:  # without it no row can be judged
            raise
        except Exception as error:  # one bad row must not end the run, and must not look good either
            reason = f"{validator.name}: {type(error).__name__}: {error}"
            return replace(row, verdicts=verdicts, failure=Failure("check", reason, row.candidate.id))
        verdicts[verdict.name] = verdict
        if stop and verdict.status is Status.FAIL:
            break
    return replace(row, verdicts=verdicts)


def predict(
    rows: Sequence[Evaluation],
    surrogate: Surrogate,
    reference: Reference,
    derive: Derive | None = None,
) -> list[Evaluation]:
    """Fill `gate` of every row that has not failed, from the proposed crystal, in one batch.

    The energy above hull is completed from the formation energy and the reference's hull. `derive` adds derived
    properties; leave it out where no target needs them.
    """
    wanted = [i for i, row in enumerate(rows) if not row.failed]
    estimates = surrogate.predict([rows[i].candidate.crystal for i in wanted]) if wanted else []
    out = list(rows)
    for i, found in zip(wanted, estimates, strict=True):
        out[i] = _predicted(rows[i], "gate", _with_hull(found, rows[i].candidate.crystal, reference), derive)
    return out


def _with_hull(found: Estimate, crystal: Crystal, reference: Reference) -> Estimate:
    """The estimate with an energy above hull that makes use of the reference's hull.

    A surrogate's own energy above hull has learned that known crystals lie near the hull, and believes the same
    of unknown ones; its formation energy minus the hull has not, but scatters more. So the two are averaged
    where both are there: on 4,000 held-out known crystals the mean tells those within 0.1 eV/atom with a log
    loss of 0.311, against 0.341 and 0.380 for either alone.
    """
    energy, own = found.values.get("formation_energy"), found.values.get("energy_above_hull")
    distance = None if energy is None else reference.energy_above_hull(crystal, energy)
    if distance is None:
        return found
    if own is not None:
        distance = _mean(own, distance)
    return replace(found, values={**found.values, "energy_above_hull": distance})


def _mean(a: Value, b: Value) -> Value:
    """The mean of two estimates of one quantity whose errors are correlated."""
    spread = 0.5 * math.sqrt(a.std**2 + b.std**2 + 2.0 * HULL_CORRELATION * a.std * b.std)
    return Value(0.5 * (a.mean + b.mean), spread, source=f"mean of {a.source} and {b.source} less the hull")


def estimate(rows: Sequence[Evaluation], surrogate: Surrogate, derive: Derive) -> list[Evaluation]:
    """Fill `estimate` of every relaxed row that has not failed, from the relaxed crystal.

    The potential's formation energy and the distance to the hull replace the surrogate's: each value names
    its source.
    """
    wanted = [i for i, row in enumerate(rows) if row.relaxation is not None and not row.failed]
    estimates = surrogate.predict([rows[i].crystal for i in wanted]) if wanted else []
    out = list(rows)
    for i, found in zip(wanted, estimates, strict=True):
        out[i] = _predicted(rows[i], "estimate", _with_energies(found, rows[i]), derive)
    return out


def _with_energies(found: Estimate, row: Evaluation) -> Estimate:
    if found.failure or row.relaxation is None:
        return found
    values = dict(found.values)
    values["formation_energy"] = row.relaxation.formation_energy
    if row.energy_above_hull is not None:
        values["energy_above_hull"] = row.energy_above_hull
    return replace(found, values=values)


def _predicted(row: Evaluation, where: str, found: Estimate, derive: Derive | None) -> Evaluation:
    if not found.failure and derive is not None:
        try:
            found = derive(found, row.crystal)
        except (ValueError, ArithmeticError) as error:
            found = Estimate({}, failure=f"derived properties: {error}")
    failure = Failure(where, found.failure, row.candidate.id) if found.failure else row.failure
    if where == "gate":
        return replace(row, gate=found, failure=failure)
    return replace(row, estimate=found, failure=failure)


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


def relax(
    crystals: Sequence[Crystal], relaxer: Relaxer | EachRelaxer
) -> Iterator[tuple[int, Relaxation | Failure]]:
    """Relax, yielding (index, result) as each is done, in any order."""
    if isinstance(relaxer, EachRelaxer):
        yield from relaxer.relax_iter(crystals)
        return
    for index, crystal in enumerate(crystals):
        (result,) = relaxer.relax([crystal])
        yield index, result


def relaxed(row: Evaluation, result: Relaxation | Failure) -> Evaluation:
    """The row with the result of its relaxation."""
    if isinstance(result, Failure):
        return replace(row, failure=replace(result, item=row.candidate.id))
    return replace(row, relaxation=result)


def place(rows: Sequence[Evaluation], reference: Reference) -> list[Evaluation]:
    """Fill `energy_above_hull` of every relaxed row; it stays None where the reference has no hull."""
    return [
        row
        if row.relaxation is None or row.failed
        else replace(
            row,
            energy_above_hull=reference.energy_above_hull(row.crystal, row.relaxation.formation_energy),
        )
        for row in rows
    ]


def score(
    rows: Sequence[Evaluation], targets: Sequence[Target], limit: float, desirability: Desirability | None = None
) -> list[Evaluation]:
    """Fill `score` of every relaxed row.

    It is the probability that the targets hold times the probability that the energy above hull is at most
    `limit`, times the desirability; 0 for a row that failed.
    """
    sound = [i for i, r in enumerate(rows) if r.relaxation is not None and r.estimate is not None and not r.failed]
    desirabilities = [1.0] * len(sound) if desirability is None else desirability([rows[i] for i in sound])
    out = [row if row.relaxation is None else replace(row, score=0.0) for row in rows]
    for i, worth in zip(sound, desirabilities, strict=True):
        chance = target_probability(targets, rows[i].estimate) * below(limit, rows[i].energy_above_hull)
        out[i] = replace(rows[i], score=chance * float(worth))
    return out


def count(before: Sequence[Evaluation], after: Sequence[Evaluation], seconds: float = 0.0) -> StageCount:
    """What a stage did: how many rows that had not failed it was given, how many of them it let through."""
    entered = [(a, b) for a, b in zip(before, after, strict=True) if not a.failed]
    reasons = Counter(why for _, row in entered if (why := rejection(row)))
    return StageCount(len(entered), len(entered) - reasons.total(), dict(reasons), seconds)


def rejection(row: Evaluation) -> str:
    """Why a row is out: its stage of failure or the first validator that said FAIL; empty if it is not."""
    if row.failure is not None:
        return f"failed: {row.failure.stage}"
    return next((v.name for v in row.verdicts.values() if v.status is Status.FAIL), "")
