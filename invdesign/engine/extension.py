"""Relaxations that are added to a finished run: how they are recorded, and how they are shared among rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Extension:
    """Relaxations that were added to a finished run.

    Attributes:
        round: the first round that they pay for.
        relaxations: how many were added.
        spent: relaxations that the run had spent before.
        feedback: number of the last values that had come back by then (0: none): what came back later is not used
            by the search of these rounds, so that a run that is resumed searches as it did.
    """

    round: int
    relaxations: int
    spent: int
    feedback: int = 0


@dataclass(frozen=True)
class Budget:
    """The part of a run's budget that a round is paid from.

    Attributes:
        first: its first round.
        rounds: how many rounds share it.
        relaxations: how many it has.
        spent: relaxations that the run had spent before.
        goes_on: whether it is known that further relaxations were added after it.
        extension: the extension that it is, or None for what the query asks for.
    """

    first: int
    rounds: int
    relaxations: int
    spent: int
    goes_on: bool
    extension: Extension | None

    def is_spent(self, number: int, selected: int) -> bool:
        """Whether nothing is left.

        Args:
            number: of the next round.
            selected: relaxations of the run so far.
        """
        return number >= self.first + self.rounds or selected - self.spent >= self.relaxations

    def of_round(self, number: int, selected: int) -> int:
        """Relaxations of a round: what is left, shared evenly among the rounds that are left."""
        left = self.relaxations - (selected - self.spent)
        return math.ceil(left / (self.first + self.rounds - number))


def budget_of(
    number: int, rounds_of: Callable[[int], int], relaxations: int, extensions: Sequence[Extension]
) -> Budget:
    """The budget that a round is paid from.

    Args:
        number: of the round.
        rounds_of: number of rounds that share a number of relaxations.
        relaxations: that the query asks for.
        extensions: in the order in which they were added.
    """
    begun = [e for e in extensions if e.round <= number]
    more = len(begun) < len(extensions)
    if not begun:
        return Budget(0, rounds_of(relaxations), relaxations, 0, more, None)
    last = begun[-1]
    return Budget(last.round, rounds_of(last.relaxations), last.relaxations, last.spent, more, last)
