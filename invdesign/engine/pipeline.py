"""The stages between a request and a scored crystal, as functions on lists of evaluations.

    propose -> screen -> predict -> acquire -> inspect -> select -> relax -> place -> check -> unique -> estimate
    -> score

Every stage returns as many rows as it was given, in the same order: it marks rows and never drops one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from invdesign.crystal import Crystal
from invdesign.engine.funnel import StageCount
from invdesign.engine.parts import Derive, Desirability, EachRelaxer
from invdesign.errors import ReferenceMissingError
from invdesign.protocols import Generator, Reference, Relaxer, Surrogate, Validator
from invdesign.query import Target
from invdesign.records import (
    Candidate,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Status,
    Value,
)
from invdesign.selection.targets import target_probability
from invdesign.uncertainty import probability_below

HULL_CORRELATION = 0.8
"""Correlation of the errors of a gate's two ways to the energy above hull."""
LENIENT = frozenset({"charge_balance", "disorder", "dynamics"})
"""Validators whose UNKNOWN does not keep a row from the final list."""


def propose(request: Request, generator: Generator) -> tuple[list[Evaluation], list[Failure]]:
    """Ask a generator for the crystals of a request.

    Returns:
        One row per crystal, and one failure per item that could not be made, its `item` being the id that the
        candidate would have had. Ids are `<request id>-<index>`.
    """
    rows: list[Evaluation] = []
    failures: list[Failure] = []
    for item in proposals(request, generator):
        if isinstance(item, Failure):
            failures.append(item)
        else:
            rows.append(item)
    return rows, failures


def proposals(request: Request, generator: Generator) -> Iterator[Evaluation | Failure]:
    """What `propose` returns, one by one as the generator makes them."""
    rng = np.random.default_rng(request.seed)
    items = generator.propose(request.n, rng, request.conditions)
    for index, item in enumerate(islice(items, request.n)):
        name = f"{request.id}-{index:05d}"
        if isinstance(item, Failure):
            yield replace(item, item=name)
        else:
            yield Evaluation(Candidate(name, item, request.id, request.generator))


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
    if row.relaxation.formation_energy is not None:
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
    """Fill `energy_above_hull` of relaxed rows; it stays None without a formation energy or a hull."""
    return [row if row.failed else _placed(row, reference) for row in rows]


def _placed(row: Evaluation, reference: Reference) -> Evaluation:
    energy = None if row.relaxation is None else row.relaxation.formation_energy
    if energy is None:
        return row
    return replace(row, energy_above_hull=reference.energy_above_hull(row.crystal, energy))


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
        stable = probability_below(limit, rows[i].energy_above_hull)
        chance = target_probability(targets, rows[i].estimate) * stable
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
