"""How common the charges are that make a composition neutral: shares of oxidation states in known compounds.

Nearly every stoichiometry is neutral with *some* oxidation states of long lists (O 1-, Fe 6+, mixed valence). Here
a set of charges is as likely as the product of its elements' shares: how often the element has that oxidation
state in compounds of the same anion, the most electronegative element, among those known from experiment. Atoms of
an element that can be mixed-valent may have two oxidation states; then the geometric mean of their shares counts,
times how often the element is mixed-valent. Nobody says which charges a known compound has: the shares are learnt
by expectation and maximisation (Dempster et al., J. R. Stat. Soc. B 39, 1 (1977);
`scripts/build_charge_states.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import TypeAlias

import numpy as np

from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.oxidation import mixed_valent, oxidation_states
from invdesign.crystal import FloatArray, IntArray
from invdesign.elements import SYMBOLS
from invdesign.tables import read_arrays

TABLE = "charge_states.npz"
ANY = 0
"""In place of an anion: shares of an element in compounds of all anions."""
Charges: TypeAlias = tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
"""Of every element its atomic number, and oxidation states with the number of atoms that have them."""


@dataclass(frozen=True, eq=False)
class ChargeStates:
    """The table.

    Attributes:
        keys: (n, 3) atomic numbers of an element and of an anion (`ANY`: all), and an oxidation state.
        log_share: (n,) natural log of the share of the state.
        log_mixed: (119,) natural log of how often the element of an atomic number is mixed-valent.
    """

    keys: IntArray
    log_share: FloatArray
    log_mixed: FloatArray

    @cached_property
    def _shares(self) -> dict[tuple[int, int], dict[int, float]]:
        shares: dict[tuple[int, int], dict[int, float]] = {}
        for (number, anion, state), share in zip(self.keys.tolist(), self.log_share.tolist(), strict=True):
            shares.setdefault((number, anion), {})[state] = share
        return shares

    def share(self, number: int, anion: int) -> Mapping[int, float]:
        """Natural log of the share of each oxidation state of an element in compounds of an anion."""
        return self._shares.get((number, anion)) or self._shares.get((number, ANY), {})

    def most_likely(
        self, composition: Mapping[int, int], mixed_valence: bool = True
    ) -> tuple[float, Charges] | None:
        """The most likely charges that sum to zero, every cation below every anion in electronegativity (Pauling).

        Args:
            composition: atomic number to count.
            mixed_valence: whether atoms of an element that can be mixed-valent may have two oxidation states.

        Returns:
            The natural log of their likelihood and the charges; None if there are none.
        """
        found: list[tuple[float, Charges]] = []
        for signs in pauling_splits(composition):
            reached: dict[int, tuple[float, Charges]] = {0: (0.0, ())}
            for number, count in composition.items():
                options = list(self.options(number, count, signs, mixed_valence))
                sums: dict[int, tuple[float, Charges]] = {}
                for before, (likelihood, charges) in reached.items():
                    for total, share, states in options:
                        known = sums.get(before + total)
                        if known is None or known[0] < likelihood + share:
                            sums[before + total] = likelihood + share, (*charges, (number, states))
                reached = sums
            if 0 in reached:
                found.append(reached[0])
        return max(found, key=lambda each: each[0], default=None)

    def options(
        self, number: int, count: int, signs: Mapping[int, int], mixed_valence: bool
    ) -> Iterator[tuple[int, float, tuple[tuple[int, int], ...]]]:
        """Total charge, log likelihood and oxidation states that the atoms of an element can have.

        Args:
            number: atomic number.
            count: of its atoms.
            signs: of the charges of all elements, from `pauling_splits`.
            mixed_valence: whether they may have two oxidation states.
        """
        share = self.share(number, max(signs, key=pauling().__getitem__))
        states = sorted(q for q in share if q * signs[number] > 0)
        for state in states:
            yield state * count, share[state], ((state, count),)
        if mixed_valence and number in mixed_valent():
            rare = float(self.log_mixed[number])
            for one, two in combinations(states, 2):
                likelihood = rare + (share[one] + share[two]) / 2.0
                for n in range(1, count):
                    yield one * n + two * (count - n), likelihood, ((one, n), (two, count - n))


def pauling_splits(composition: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """The signs of the elements' charges that obey Pauling's rule: +1 below an electronegativity, -1 above."""
    electronegativity = pauling()
    order = sorted(composition, key=electronegativity.__getitem__)
    for split in range(1, len(order)):
        if electronegativity[order[split - 1]] < electronegativity[order[split]]:
            yield {number: 1 if rank < split else -1 for rank, number in enumerate(order)}


@cache
def listed_states() -> dict[int, tuple[int, ...]]:
    """Non-zero oxidation states by atomic number, for elements that also have an electronegativity."""
    return {number: found for number, found in oxidation_states().items() if np.isfinite(pauling()[number])}


@cache
def load_charge_states() -> ChargeStates:
    """The shipped table.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    return ChargeStates(**read_arrays(TABLE))


def in_words(charges: Charges) -> str:
    """Such as "Fe 2+ and 3+, O 2-", cations first."""
    order = sorted(charges, key=lambda each: each[1][0][0] < 0)
    signed = [(number, [f"{abs(q)}{'+' if q > 0 else '-'}" for q, _ in states]) for number, states in order]
    return ", ".join(f"{SYMBOLS[number - 1]} {' and '.join(words)}" for number, words in signed)
