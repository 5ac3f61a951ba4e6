"""The best of very many candidates, and a random sample of them, in memory that does not grow with their number.

Both depend on the candidates alone, not on the order in which they come.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import total_ordering
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]


@total_ordering
@dataclass(frozen=True, eq=False)
class Entry:
    """A candidate of the list. The smaller of two is the worse: of a lower chance, or of a later id.

    Attributes:
        log_chance: what the list is ordered by.
        id: decides between equal ones.
        key: of its protostructure.
        row: whatever else is known of it.
    """

    log_chance: float
    id: str
    key: int
    row: Row = field(default_factory=dict)

    def __lt__(self, other: Entry) -> bool:
        return (self.log_chance, other.id) < (other.log_chance, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.log_chance, self.id) == (other.log_chance, other.id)

    def __hash__(self) -> int:
        return hash((self.log_chance, self.id))


class Shortlist:
    """The best candidates of different protostructures; of each protostructure the best candidate.

    Exact: the bar that a new protostructure has to clear only ever rises, so that nothing that was let go would
    have stayed.
    """

    def __init__(self, most: int) -> None:
        """Make an empty list.

        Args:
            most: length of the list.
        """
        self.most = most
        self._heap: list[Entry] = []
        self._by_key: dict[int, Entry] = {}

    def __len__(self) -> int:
        """Candidates on the list."""
        return len(self._by_key)

    @property
    def bar(self) -> float:
        """The chance that a candidate has to reach, as a logarithm."""
        if len(self._by_key) < self.most:
            return -np.inf
        self._settle()
        return self._heap[0].log_chance

    def accepts(self, entry: Entry) -> bool:
        """Whether a candidate belongs on the list, by those that were offered so far."""
        before = self._by_key.get(entry.key)
        if before is not None:
            return before < entry
        if len(self._by_key) < self.most:
            return True
        self._settle()
        return self._heap[0] < entry

    def offer(self, entry: Entry) -> None:
        """Take a candidate onto the list, if it belongs there."""
        if not self.accepts(entry):
            return
        self._by_key[entry.key] = entry
        heapq.heappush(self._heap, entry)
        self._settle()
        if len(self._by_key) > self.most:
            worst = heapq.heappop(self._heap)
            del self._by_key[worst.key]
        if len(self._heap) > 2 * self.most + 16:  # those that a better one of their protostructure has replaced
            self._heap = list(self._by_key.values())
            heapq.heapify(self._heap)

    def _settle(self) -> None:
        """Drop replaced entries from the top of the heap."""
        while self._heap and self._by_key.get(self._heap[0].key) is not self._heap[0]:
            heapq.heappop(self._heap)

    def offer_many(
        self,
        log_chance: NDArray[np.float64],
        ids: Callable[[int], str],
        keys: NDArray[np.int64],
        row: Callable[[int], Row],
    ) -> None:
        """Offer candidates in arrays; `row` is called for those alone that enter.

        Args:
            log_chance: (n,) NaN for those that have none.
            ids: of a candidate, by its place.
            keys: (n,) of their protostructures.
            row: what else is known of a candidate, by its place.
        """
        for i in np.flatnonzero(log_chance >= self.bar).tolist():
            entry = Entry(float(log_chance[i]), ids(i), int(keys[i]))
            if self.accepts(entry):
                self.offer(replace(entry, row=row(i)))

    def best(self) -> list[Entry]:
        """The list, best first."""
        return sorted(self._by_key.values(), reverse=True)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.best())


def lot(seed: int, name: str) -> int:
    """A random number of 64 bits that a candidate draws; the same on every machine."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")


class Sample:
    """Candidates with the smallest lots: a random sample in which each is as likely as any other."""

    def __init__(self, most: int, seed: int) -> None:
        """Make an empty sample.

        Args:
            most: its size.
            seed: of the lots.
        """
        self.most, self.seed = most, seed
        self._heap: list[tuple[int, str, Row]] = []

    def offer_many(self, ids: list[str], row: Callable[[int], Row]) -> None:
        """Let candidates draw their lots.

        Args:
            ids: theirs.
            row: what is known of a candidate, by its place; called for those alone that may enter.
        """
        for i, name in enumerate(ids):
            mine = -lot(self.seed, name)
            if len(self._heap) < self.most:
                heapq.heappush(self._heap, (mine, name, row(i)))
            elif self._heap and (mine, name) > self._heap[0][:2]:
                heapq.heapreplace(self._heap, (mine, name, row(i)))

    def without(self, ids: set[str], most: int) -> list[Row]:
        """A random sample of all that have not one of these ids, in the order of their lots.

        Args:
            ids: of those left out, at most as many as the sample is larger than `most`.
            most: its size.
        """
        order = sorted(self._heap, key=lambda item: (-item[0], item[1]))
        return [row for _, name, row in order if name not in ids][:most]
