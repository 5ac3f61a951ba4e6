"""Learn how common oxidation states are, from compositions alone, by expectation and maximisation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np

from invdesign.chemistry.charge_states import ANY, Charges, ChargeStates, listed_states, pauling_splits
from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.oxidation import metals, mixed_valent
from invdesign.crystal import FloatArray
from invdesign.progress import Progress, quiet

Composition: TypeAlias = tuple[tuple[int, int], ...]
"""Atomic number and count of every element, reduced."""
Option: TypeAlias = tuple[int, float, tuple[tuple[int, int], ...]]
ROUNDS = 8
PRIOR, PRIOR_OF_ANION, PRIOR_OF_MIXED = 0.3, 5.0, 10.0
"""Weight of what is assumed beforehand, in compositions: of each state of an element, of the shares over all
anions in those of one anion, and of `MIXED` in how often an element is mixed-valent."""
MIXED = 0.3
"""How often an element is mixed-valent, before anything is known of it."""


def is_judged(composition: Composition) -> bool:
    """Whether charges say anything of a composition: several elements, a non-metal, and states known for all."""
    elements = {number for number, _ in composition}
    return len(elements) > 1 and not elements <= metals() and elements <= listed_states().keys()


def learn(compositions: Iterable[Composition], progress: Progress = quiet) -> ChargeStates:
    """The shares that make known compositions most likely.

    Args:
        compositions: of compounds that exist; those that charges say nothing of are left out.
        progress: is told how far it has come.
    """
    known = [each for each in compositions if is_judged(each)]
    found = _maximised(_Counts())
    for done in range(ROUNDS):
        progress("learn charges", done, ROUNDS)
        counts = _Counts()
        for composition in known:
            counts.add(composition, posterior(found, dict(composition)))
        found = _maximised(counts)
    return found


class _Counts:
    """Expected numbers of compositions, by what an element has in them."""

    def __init__(self) -> None:
        self.states: defaultdict[tuple[int, int], defaultdict[int, float]] = defaultdict(
            lambda: defaultdict(float)
        )
        self.mixed: defaultdict[int, float] = defaultdict(float)
        self.several: defaultdict[int, float] = defaultdict(float)

    def add(self, composition: Composition, weights: Iterable[tuple[float, int, Charges]]) -> None:
        """Count what one composition says: weights of (element, its states)."""
        counts = dict(composition)
        anion = max(counts, key=pauling().__getitem__)
        for weight, number, ((_, states),) in weights:
            for state, _ in states:
                for key in ((number, anion), (number, ANY)):
                    self.states[key][state] += weight / len(states)
            if number in mixed_valent() and counts[number] > 1:
                self.several[number] += weight
                self.mixed[number] += weight * (len(states) > 1)


def _maximised(counts: _Counts) -> ChargeStates:
    keys: list[tuple[int, int, int]] = []
    shares: list[float] = []
    for number, listed in sorted(listed_states().items()):
        seen = counts.states[number, ANY]
        whole = sum(seen.values()) + PRIOR * len(listed)
        overall = {state: (seen[state] + PRIOR) / whole for state in listed}
        for anion in sorted({other for own, other in counts.states if own == number} | {ANY}):
            here = counts.states[number, anion]
            prior = 0.0 if anion == ANY else PRIOR_OF_ANION
            for state in listed:
                keys.append((number, anion, state))
                mixture = (here[state] + prior * overall[state]) / (sum(here.values()) + prior) if prior else 0.0
                shares.append(mixture or overall[state])
    mixed = [
        (counts.mixed[number] + MIXED * PRIOR_OF_MIXED) / (counts.several[number] + PRIOR_OF_MIXED)
        for number in range(len(pauling()))
    ]
    return ChargeStates(np.array(keys, dtype=np.int16), np.log(shares), np.log(mixed))


def posterior(
    states: ChargeStates, composition: Mapping[int, int], least: float = 1e-3
) -> Iterator[tuple[float, int, Charges]]:
    """How likely each element has which oxidation states, given that all charges of a composition sum to zero.

    The sums over all sets of charges are products of polynomials whose exponents are charges.

    Args:
        states: shares to go by.
        composition: atomic number to count.
        least: what is less likely is left out.

    Yields:
        Probability, atomic number, and the states of this element alone.
    """
    found: list[tuple[float, int, Charges]] = []
    for signs in pauling_splits(composition):
        options = [list(states.options(z, n, signs, True)) for z, n in composition.items()]
        if not all(options):
            continue
        polynomials = [_polynomial(each) for each in options]
        for rank, number in enumerate(composition):
            others, lowest = reduce(_product, (p for r, p in enumerate(polynomials) if r != rank))
            for total, share, charges in options[rank]:
                at = -total - lowest
                if 0 <= at < len(others) and (weight := others[at] * np.exp(share)) > 0.0:
                    found.append((float(weight), number, ((number, charges),)))
    whole = sum(weight for weight, _, _ in found) / len(composition)
    return ((weight / whole, number, charges) for weight, number, charges in found if weight > least * whole)


def _polynomial(options: Sequence[Option]) -> tuple[FloatArray, int]:
    """Weights by total charge, and the lowest charge."""
    totals = np.array([total for total, _, _ in options])
    lowest = int(totals.min())
    weights = np.zeros(int(totals.max()) - lowest + 1)
    np.add.at(weights, totals - lowest, np.exp([share for _, share, _ in options]))
    return weights, lowest


def _product(one: tuple[FloatArray, int], two: tuple[FloatArray, int]) -> tuple[FloatArray, int]:
    return np.convolve(one[0], two[0]), one[1] + two[1]
