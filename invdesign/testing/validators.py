"""What a validator promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invdesign.protocols import Validator
from invdesign.records import Candidate, Evaluation, Relaxation, Status, Value, Verdict
from invdesign.testing.crystals import all_crystals, good_crystals
from invdesign.testing.outcome import Outcome, broken_if, outcomes

Answers = Sequence[tuple[Evaluation, Verdict]]


def check_validator(validator: Validator) -> list[Outcome]:
    """Whether a validator answers for every crystal, good or broken, as proposed and relaxed, always the same."""
    name = getattr(validator, "name", "")
    tried = [(row, _asked(validator, row)) for row in evaluations()]
    answers = [(row, found) for row, found in tried if not isinstance(found, Exception)]
    return outcomes(
        {
            "has a name": lambda: broken_if(not name, "`name` is missing or empty"),
            "answers every crystal with a Verdict of its name": lambda: _answers(name, answers),
            "never raises, not even for a broken crystal": lambda: _calm(tried),
            "says why, for FAIL and UNKNOWN": lambda: _reasons(answers),
            "gives the same answer twice": lambda: _pure(validator, answers),
            "decides on some crystal": lambda: _decides(answers),
        }
    )


def evaluations() -> list[Evaluation]:
    """Every crystal as proposed, and relaxed at 0.02 eV/atom above the hull."""
    proposed = [Evaluation(Candidate(f"contract-{k}", c, "", "contract")) for k, c in enumerate(all_crystals())]
    return proposed + [_relaxed(row) for row in proposed]


def _relaxed(row: Evaluation) -> Evaluation:
    relaxation = Relaxation(row.crystal, -6.0, Value(-1.0, 0.03), 0.01, 9, True, 1.0, 0.0, 0.0, "contract")
    candidate = replace(row.candidate, id=f"{row.candidate.id}-relaxed")
    return replace(row, candidate=candidate, relaxation=relaxation, energy_above_hull=Value(0.02, 0.03))


def _asked(validator: Validator, row: Evaluation) -> Verdict | Exception:
    """The answer to a row, or what it raises."""
    try:
        return validator.check(row)
    except Exception as error:  # that it never does is one of the promises
        return error


def _answers(name: str, answers: Answers) -> str:
    for _, verdict in answers:
        if not isinstance(verdict, Verdict):
            return f"answered {type(verdict).__name__}"
        if verdict.name != name:
            return f"a verdict named {verdict.name!r} from {name!r}"
    return ""


def _calm(tried: Sequence[tuple[Evaluation, Verdict | Exception]]) -> str:
    for row, found in tried:
        if isinstance(found, Exception):
            return f"{type(found).__name__} for {_what(row)}: {found}"
    return ""


def _reasons(answers: Answers) -> str:
    for row, verdict in answers:
        if verdict.status is not Status.PASS and not verdict.reason:
            return f"{verdict.status.value} without a reason for {_what(row)}"
    return ""


def _pure(validator: Validator, answers: Answers) -> str:
    """Asked again after all others, and once more at once."""
    for row, before in answers:
        for after in (_asked(validator, row), _asked(validator, row)):
            if after != before:
                return f"{before.status.value}, then {getattr(after, 'status', after)} for {_what(row)}"
    return ""


def _decides(answers: Answers) -> str:
    good = {id(crystal) for crystal in good_crystals()}
    found = [verdict.status for row, verdict in answers if id(row.candidate.crystal) in good]
    return broken_if(set(found) <= {Status.UNKNOWN}, f"only unknown in {len(found)} verdicts on known crystals")


def _what(row: Evaluation) -> str:
    return row.crystal.source if row.crystal.source != "contract" else row.candidate.id
