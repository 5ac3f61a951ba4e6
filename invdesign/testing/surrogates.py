"""What a surrogate promises."""

from __future__ import annotations

import math

import numpy as np

from invdesign.protocols import Surrogate
from invdesign.records import Estimate
from invdesign.testing.crystals import all_crystals, good_crystals
from invdesign.testing.outcome import Outcome, broken_if, outcomes


def check_surrogate(surrogate: Surrogate) -> list[Outcome]:
    """Whether a surrogate answers in order, one by one as in a batch, with sound uncertainties."""
    return outcomes(
        {
            "no crystals give no estimates": lambda: broken_if(
                list(surrogate.predict([])) != [], "predict([]) is not []"
            ),
            "one Estimate per crystal": lambda: _estimates(surrogate),
            "predicts something for every known crystal": lambda: _delivers(surrogate),
            "the order and the company do not matter": lambda: _independent(surrogate),
            "values are finite, with std >= 0 and low <= mean <= high": lambda: _sound(surrogate),
            "a crystal it cannot read is a failed estimate, not an exception": lambda: _broken(surrogate),
        }
    )


def _estimates(surrogate: Surrogate) -> str:
    answers = surrogate.predict(good_crystals())
    strange = [type(a).__name__ for a in answers if not isinstance(a, Estimate)]
    wanted = len(good_crystals())
    return broken_if(len(answers) != wanted, f"{len(answers)} estimates for {wanted} crystals") or broken_if(
        bool(strange), f"answered {strange}"
    )


def _delivers(surrogate: Surrogate) -> str:
    for crystal, estimate in zip(good_crystals(), surrogate.predict(good_crystals()), strict=False):
        if estimate.failure or not estimate.values:
            return f"no value for {crystal.numbers.tolist()}: {estimate.failure or 'no reason given'}"
    return ""


def _independent(surrogate: Surrogate) -> str:
    crystals = good_crystals()
    together, backwards = surrogate.predict(crystals), surrogate.predict(crystals[::-1])[::-1]
    alone = [surrogate.predict([crystal])[0] for crystal in crystals]
    for crystal, *answers in zip(crystals, together, backwards, alone, strict=True):
        if len({frozenset(answer.values) for answer in answers}) != 1:
            return f"other properties of {crystal.numbers.tolist()} in other company"
        for name in answers[0].values:
            means = [answer.values[name].mean for answer in answers]
            if not np.allclose(means, means[0], rtol=1e-3, atol=1e-4, equal_nan=True):
                return f"{name} of {crystal.numbers.tolist()} is {means}"
    return ""


def _sound(surrogate: Surrogate) -> str:
    for estimate in surrogate.predict(good_crystals()):
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
        if crystal not in good_crystals() and any(not math.isfinite(v.mean) for v in answer.values.values()):
            return f"{crystal.source}: a value that is not finite"
    return ""
