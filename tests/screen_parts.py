"""Small parts for tests of screens, and the command line with them as a process of its own.

python tests/screen_parts.py ARGUMENTS...
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import FakeGenerator, fake_parts

from invdesign.crystal import Crystal
from invdesign.engine.parts import Parts
from invdesign.query import Query
from invdesign.records import Conditions, Failure

DELAY = "SCREEN_PARTS_DELAY"
"""Seconds that a generator takes for one share of a shard, in the environment."""


class SlowGenerator(FakeGenerator):
    """Takes its time, and breaks down where it is asked for thirteen."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        time.sleep(float(os.environ.get(DELAY, "0")))
        if n == 13:
            raise RuntimeError("thirteen")
        yield from super().propose(n, rng, conditions)


class NoGene(FakeGenerator):
    """Hands over crystals without their genes."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        for item in super().propose(n, rng, conditions):
            yield item if isinstance(item, Failure) else replace(item, gene=None)


def parts(query: Query) -> Parts:
    """Two generators, a gate that some formulas have no answer of, two checks."""
    return replace(fake_parts(), generators={"vae": SlowGenerator(), "random": SlowGenerator()})


def bare_parts(query: Query) -> Parts:
    """The same with generators that know no genes."""
    return replace(fake_parts(), generators={"vae": NoGene()})


class Here:
    """An executor of this process, that answers in any order and may stop for good."""

    def __init__(self, backwards: bool = False, most: int | None = None) -> None:
        self.backwards, self.most, self.items = backwards, most, list[Any]()

    def pool(self, target: str, settings: Any, timeout: float) -> Here:
        from invdesign.workers import load_function

        self.answer = load_function(target)(settings)
        return self

    def imap(self, items: Any) -> Iterator[tuple[int, Any]]:
        from invdesign.workers import Lost

        order = list(enumerate(items))
        for index, item in reversed(order) if self.backwards else order:
            if self.most is not None and len(self.items) == self.most:
                raise KeyboardInterrupt
            self.items.append(item)
            try:
                answer = self.answer(item)
            except Exception as error:
                answer = Lost(f"{type(error).__name__}: {error}")
            yield index, answer

    def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    from invdesign.app import screen
    from invdesign.cli import main

    screen.MAKER = "screen_parts:parts"
    main(sys.argv[1:])
