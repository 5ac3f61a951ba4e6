"""Contract tests of parts: good ones keep every promise, and each promise is seen broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fake_parts import FakeGenerator, FakeSurrogate

from invdesign import build
from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.records import Conditions, Estimate, Evaluation, Failure, Status, Value, Verdict
from invdesign.testing import check_generator, check_surrogate, check_validator, family_of, good_crystals


class Moody:
    """A validator that changes its mind."""

    name = "moody"

    def __init__(self) -> None:
        self.calls = 0

    def check(self, row: Evaluation) -> Verdict:
        self.calls += 1
        return Verdict(self.name, Status.PASS if self.calls % 2 else Status.FAIL, "a mood")


class Touchy(Moody):
    """A validator that raises for an overlap and gives no reasons."""

    def check(self, row: Evaluation) -> Verdict:
        if row.crystal.source.startswith("two atoms"):
            raise ValueError("overlap")
        return Verdict("other", Status.UNKNOWN)


class Deaf:
    """A generator that ignores n, seed and conditions, and gives no genes."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        yield from (replace(c, gene=None) for c in good_crystals())
        yield Failure("generate", "")


class Lucky:
    """A surrogate whose answers depend on the company and leave their interval."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        return [Estimate({"bulk_modulus": Value(100.0 + len(crystals), -1.0, 120.0, 90.0)}) for _ in crystals]


def broken(outcomes: Sequence[object]) -> list[str]:
    return [str(o).split(":")[0] for o in outcomes if str(o).startswith("FAIL")]


def test_shipped_validators_keep_every_promise() -> None:
    from invdesign.validators import VALIDATORS

    for name in VALIDATORS:
        outcomes = check_validator(build.validator(name))
        assert broken(outcomes) == [], name


def test_good_parts_keep_every_promise() -> None:
    assert [o for o in broken(check_generator(FakeGenerator())) if "allowed elements" not in o] == []
    certain = FakeSurrogate("always")
    problems = [o for o in check_surrogate(certain) if o.problem]
    assert all("cannot be read" in o.problem for o in problems)


def test_every_promise_of_a_validator_can_be_broken() -> None:
    assert broken(check_validator(Moody())) == ["FAIL  gives the same answer twice"]
    assert broken(check_validator(Touchy())) == [
        "FAIL  answers every crystal with a Verdict of its name",
        "FAIL  never raises, not even for a broken crystal",
        "FAIL  says why, for FAIL and UNKNOWN",
        "FAIL  gives the same answer twice",
    ]


def test_every_promise_of_a_generator_can_be_broken() -> None:
    problems = broken(check_generator(Deaf()))
    assert "FAIL  yields exactly n items, each a Crystal or a Failure" in problems
    assert "FAIL  another seed gives other crystals" in problems
    assert "FAIL  every crystal carries a gene that decodes to it" in problems
    assert "FAIL  a failure names its reason" in problems
    assert "FAIL  keeps to the allowed elements and the size" in problems
    assert "FAIL  keeps to the space group asked for" in problems


def test_every_promise_of_a_surrogate_can_be_broken() -> None:
    problems = broken(check_surrogate(Lucky()))
    assert "FAIL  the order and the company do not matter" in problems
    assert "FAIL  values are finite, with std >= 0 and low <= mean <= high" in problems


def test_a_part_is_known_by_its_verb() -> None:
    assert [family_of(p) for p in (Deaf(), Moody(), Lucky())] == ["generator", "validator", "surrogate"]
    with pytest.raises(InputError, match="propose, check or predict"):
        family_of(object())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["generator", "surrogate"])
def test_shipped_models_keep_every_promise(family: str) -> None:
    from invdesign.app.models import check

    names = build.generator_names() if family == "generator" else tuple(build.SURROGATES)
    for name in names:
        assert [str(o) for o in check(name) if o.problem] == [], name
