"""Contract tests for parts, shipped so that one of your own is tested by one call.

    from invdesign.testing import check_generator
    for outcome in check_generator(MyGenerator()):
        print(outcome)

or `invdesign check mypackage.module:MyGenerator`. Each outcome is one promise of `invdesign.protocols`, kept or
broken with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from invdesign.build import VERBS
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.errors import InputError
from invdesign.protocols import Generator, Surrogate, Validator
from invdesign.records import Candidate, Conditions, Estimate, Evaluation, Failure, Status, Verdict


@dataclass(frozen=True)
class Outcome:
    """One promise.

    Attributes:
        promise: what the part promises.
        problem: how it broke the promise; empty if it kept it.
    """

    promise: str
    problem: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"FAIL  {self.promise}: {self.problem}" if self.problem else f"ok    {self.promise}"


def check_generator(generator: Generator, n: int = 8) -> list[Outcome]:
    """Whether a generator yields what it is asked for.

    Args:
        generator: the part.
        n: crystals to draw for each promise.
    """
    free = Conditions()
    narrow = Conditions(allowed=frozenset({5, 6, 7, 22, 72}), forbidden=frozenset({72}), max_sites=10)
    cubic = Conditions(space_groups=frozenset({225}))
    return _outcomes(
        {
            "yields exactly n items, each a Crystal or a Failure": lambda: _draws(generator, n, free),
            "the same seed gives the same crystals": lambda: _repeats(generator, n, free),
            "another seed gives other crystals": lambda: _varies(generator, n, free),
            "every crystal carries a gene that decodes to it": lambda: _genes(generator, n, free),
            "a failure names its reason": lambda: _failures(generator, n, narrow),
            "keeps to the allowed elements and the size": lambda: _elements(generator, n, narrow),
            "keeps to the space group asked for": lambda: _groups(generator, n, cubic),
        }
    )


def check_validator(validator: Validator) -> list[Outcome]:
    """Whether a validator answers for every crystal, good or broken, and always the same."""
    rows = [Evaluation(Candidate(f"contract-{k}", c, "", "contract")) for k, c in enumerate(all_crystals())]
    return _outcomes(
        {
            "has a name": lambda: _if(not getattr(validator, "name", ""), "`name` is missing or empty"),
            "answers every crystal with a Verdict of its name": lambda: _answers(validator, rows),
            "never raises, not even for a broken crystal": lambda: _calm(validator, rows),
            "says why, for FAIL and UNKNOWN": lambda: _reasons(validator, rows),
            "gives the same answer twice": lambda: _pure(validator, rows),
        }
    )


def check_surrogate(surrogate: Surrogate) -> list[Outcome]:
    """Whether a surrogate answers in order, one by one as in a batch, with sound uncertainties."""
    return _outcomes(
        {
            "no crystals give no estimates": lambda: _if(
                list(surrogate.predict([])) != [], "predict([]) is not []"
            ),
            "one Estimate per crystal": lambda: _estimates(surrogate),
            "the order and the company do not matter": lambda: _independent(surrogate),
            "values are finite, with std >= 0 and low <= mean <= high": lambda: _sound(surrogate),
            "a crystal it cannot read is a failed estimate, not an exception": lambda: _broken(surrogate),
        }
    )


CONTRACTS: dict[str, Callable[[Any], list[Outcome]]] = {
    "generator": check_generator,
    "validator": check_validator,
    "surrogate": check_surrogate,
}
"""Family to contract."""


def contract(family: str) -> Callable[[Any], list[Outcome]]:
    """The contract of a family.

    Raises:
        InputError: if there is no such family.
    """
    if family not in CONTRACTS:
        raise InputError("family", family, CONTRACTS)
    return CONTRACTS[family]


def family_of(part: object) -> str:
    """The family of a part, by the verb that it has.

    Raises:
        InputError: if it has none of them.
    """
    for family, verb in VERBS.items():
        if callable(getattr(part, verb, None)):
            return family
    raise InputError("part", type(part).__name__, "a class with propose, check or predict")


@cache
def good_crystals() -> tuple[Crystal, ...]:
    """Rock salt MgO, CsCl, TiB2, perovskite SrTiO3, copper and silica glass's ordered cousin, alpha quartz."""
    genes = [
        Gene(225, (0, 1), (12, 8), (), (4.21,)),
        Gene(221, (0, 1), (55, 17), (), (4.12,)),
        Gene(191, (0, 3), (22, 5), (), (3.03, 3.23)),
        Gene(221, (0, 1, 2), (38, 22, 8), (), (3.905,)),
        Gene(225, (0,), (29,), (), (3.615,)),
        Gene(152, (0, 2), (14, 8), (0.47, 0.413, 0.267, 0.786), (4.913, 5.405)),
    ]
    return tuple(decode(genes, "contract"))


@cache
def broken_crystals() -> tuple[Crystal, ...]:
    """Two atoms on one place, a crushed cell, a nearly flat cell, a lone noble gas, an element without data."""
    cube = np.eye(3)
    return (
        Crystal(4.0 * cube, np.array([11, 17]), np.zeros((2, 3)), source="two atoms on one place"),
        Crystal(0.8 * cube, np.array([74]), np.zeros((1, 3)), source="crushed"),
        Crystal(np.diag([5.0, 5.0, 1e-3]), np.array([6]), np.zeros((1, 3)), source="flat"),
        Crystal(60.0 * cube, np.array([2]), np.zeros((1, 3)), source="a lone noble gas"),
        Crystal(4.0 * cube, np.array([118, 8]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), source="oganesson"),
    )


def all_crystals() -> tuple[Crystal, ...]:
    """Good and broken ones."""
    return (*good_crystals(), *broken_crystals())


def _outcomes(promises: dict[str, Callable[[], str]]) -> list[Outcome]:
    """Try every promise; an exception breaks it."""
    found = []
    for promise, test in promises.items():
        try:
            problem = test()
        except Exception as error:  # whatever a foreign part does is an outcome of its test
            problem = f"{type(error).__name__}: {error}"
        found.append(Outcome(promise, problem))
    return found


def _if(broken: bool, problem: str) -> str:
    return problem if broken else ""


def _draw(generator: Generator, n: int, conditions: Conditions, seed: int = 0) -> list[Crystal | Failure]:
    return list(generator.propose(n, np.random.default_rng(seed), conditions))


def _crystals(items: Iterable[Crystal | Failure]) -> Iterator[Crystal]:
    return (item for item in items if isinstance(item, Crystal))


def _draws(generator: Generator, n: int, conditions: Conditions) -> str:
    items = _draw(generator, n, conditions)
    strange = [type(item).__name__ for item in items if not isinstance(item, Crystal | Failure)]
    return _if(len(items) != n, f"{len(items)} items for n = {n}") or _if(bool(strange), f"yielded {strange}")


def _repeats(generator: Generator, n: int, conditions: Conditions) -> str:
    first, second = (_draw(generator, n, conditions) for _ in range(2))
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        same = _same(a, b) if isinstance(a, Crystal) and isinstance(b, Crystal) else a == b
        if not same:
            return f"item {k} differs"
    return ""


def _same(a: Crystal, b: Crystal) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.lattice, b.lattice)
        and np.array_equal(a.frac_coords, b.frac_coords)
    )


def _varies(generator: Generator, n: int, conditions: Conditions) -> str:
    first, second = (list(_crystals(_draw(generator, n, conditions, seed))) for seed in (0, 1))
    alike = len(first) == len(second) and all(map(_same, first, second))
    return _if(alike and bool(first), "two seeds gave the same crystals")


def _genes(generator: Generator, n: int, conditions: Conditions) -> str:
    for k, crystal in enumerate(_crystals(_draw(generator, n, conditions))):
        if crystal.gene is None:
            return f"item {k} has no gene"
        if sorted(decode([crystal.gene])[0].numbers) != sorted(crystal.numbers):
            return f"the gene of item {k} decodes to another crystal"
    return ""


def _failures(generator: Generator, n: int, conditions: Conditions) -> str:
    items = [item for item in _draw(generator, n, conditions) if isinstance(item, Failure)]
    return _if(any(not item.reason for item in items), "a failure without a reason")


def _elements(generator: Generator, n: int, conditions: Conditions) -> str:
    allowed = (conditions.allowed or frozenset()) - conditions.forbidden
    for k, crystal in enumerate(_crystals(_draw(generator, n, conditions))):
        if foreign := set(crystal.numbers.tolist()) - allowed:
            return f"item {k} holds the atomic numbers {sorted(foreign)}, which were not allowed"
        if crystal.n_sites > conditions.max_sites:
            return f"item {k} has {crystal.n_sites} sites, more than {conditions.max_sites}"
    return ""


def _groups(generator: Generator, n: int, conditions: Conditions) -> str:
    wanted = conditions.space_groups or frozenset()
    for k, crystal in enumerate(_crystals(_draw(generator, n, conditions))):
        if crystal.gene is None or crystal.gene.space_group not in wanted:
            return f"item {k} has space group {crystal.gene and crystal.gene.space_group}"
    return ""


def _answers(validator: Validator, rows: Sequence[Evaluation]) -> str:
    for row in rows[: len(good_crystals())]:
        verdict = validator.check(row)
        if not isinstance(verdict, Verdict):
            return f"answered {type(verdict).__name__}"
        if verdict.name != validator.name:
            return f"a verdict named {verdict.name!r} from {validator.name!r}"
    return ""


def _calm(validator: Validator, rows: Sequence[Evaluation]) -> str:
    for row in rows:
        try:
            validator.check(row)
        except Exception as error:  # that is the promise under test
            what = row.crystal.source if row.crystal.source != "contract" else row.candidate.id
            return f"{type(error).__name__} for {what}: {error}"
    return ""


def _reasons(validator: Validator, rows: Sequence[Evaluation]) -> str:
    for row in rows:
        verdict = validator.check(row)
        if verdict.status is not Status.PASS and not verdict.reason:
            return f"{verdict.status.value} without a reason for {row.crystal.source}"
    return ""


def _pure(validator: Validator, rows: Sequence[Evaluation]) -> str:
    for row in rows:
        first, second = validator.check(row), validator.check(row)
        if first.status is not second.status or first.reason != second.reason:
            return f"{first.status.value}, then {second.status.value} for {row.crystal.source}"
    return ""


def _estimates(surrogate: Surrogate) -> str:
    answers = surrogate.predict(good_crystals())
    strange = [type(a).__name__ for a in answers if not isinstance(a, Estimate)]
    wanted = len(good_crystals())
    return _if(len(answers) != wanted, f"{len(answers)} estimates for {wanted} crystals") or _if(
        bool(strange), f"answered {strange}"
    )


def _independent(surrogate: Surrogate) -> str:
    crystals = good_crystals()
    together, backwards = surrogate.predict(crystals), surrogate.predict(crystals[::-1])[::-1]
    alone = [surrogate.predict([crystal])[0] for crystal in crystals]
    for crystal, *answers in zip(crystals, together, backwards, alone, strict=True):
        for name in answers[0].values:
            means = [answer.values[name].mean for answer in answers]
            if not np.allclose(means, means[0], rtol=1e-3, atol=1e-4):
                return f"{name} of {crystal.source} is {means}"
    return ""


def _sound(surrogate: Surrogate) -> str:
    for estimate in surrogate.predict(good_crystals()):
        if estimate.failure:
            return f"no estimate for a good crystal: {estimate.failure}"
        for name, value in estimate.values.items():
            if not (math.isfinite(value.mean) and math.isfinite(value.std) and value.std >= 0.0):
                return f"{name} is {value.mean} with std {value.std}"
            low = value.mean if value.low is None else value.low
            high = value.mean if value.high is None else value.high
            if not low <= value.mean <= high:
                return f"{name}: {value.mean} is not between {low} and {high}"
    return ""


def _broken(surrogate: Surrogate) -> str:
    answers = surrogate.predict(all_crystals())
    if len(answers) != len(all_crystals()):
        return f"{len(answers)} estimates for {len(all_crystals())} crystals"
    for crystal, answer in zip(all_crystals(), answers, strict=True):
        if answer.failure and answer.values:
            return f"{crystal.source}: a failure with values"
        if any(not math.isfinite(v.mean) for v in answer.values.values()):
            return f"{crystal.source}: a value that is not finite"
    return ""
