"""What a generator promises."""

from __future__ import annotations

import numpy as np

from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.protocols import Generator
from invdesign.records import Conditions, Failure
from invdesign.testing.crystals import identical
from invdesign.testing.outcome import Outcome, broken_if, outcomes

LEAST_SHARE = 0.25
"""Share of its items that must be crystals where every crystal is welcome."""
FREE = Conditions()
NARROW = Conditions(allowed=frozenset({5, 6, 7, 22, 72}), forbidden=frozenset({72}), max_sites=10)
NEEDED = Conditions(required=frozenset({12}), allowed=frozenset({8, 9, 12, 13, 17}))
CUBIC = Conditions(space_groups=frozenset({225}))


def check_generator(generator: Generator, n: int = 24) -> list[Outcome]:
    """Whether a generator yields what it is asked for.

    Args:
        generator: the part.
        n: items to draw for each promise.
    """
    return outcomes(
        {
            "yields exactly n items, each a Crystal or a Failure": lambda: _draws(generator, n),
            "delivers: a quarter of its items at least are crystals": lambda: _delivers(generator, n),
            "the same seed gives the same crystals": lambda: _repeats(generator, n),
            "another seed gives other crystals": lambda: _varies(generator, n),
            "every crystal carries a gene that decodes to it": lambda: _genes(generator, n),
            "a failure names its reason": lambda: _failures(generator, n),
            "keeps to the allowed elements": lambda: _elements(generator, n),
            "keeps to the size": lambda: _sizes(generator, n),
            "holds the elements that must be there": lambda: _required(generator, n),
            "keeps to the space group asked for": lambda: _groups(generator, n),
        }
    )


class NothingError(Exception):
    """There is no crystal on which a promise could be seen kept."""


def _draw(generator: Generator, n: int, conditions: Conditions, seed: int = 0) -> list[Crystal | Failure]:
    return list(generator.propose(n, np.random.default_rng(seed), conditions))


def _crystals(generator: Generator, n: int, conditions: Conditions, seed: int = 0) -> dict[int, Crystal]:
    """The crystals among `n` items, by their place.

    Raises:
        NothingError: if there is none.
    """
    items = _draw(generator, n, conditions, seed)
    found = {k: item for k, item in enumerate(items) if isinstance(item, Crystal)}
    if not found:
        raise NothingError(f"no crystal among {len(items)} items")
    return found


def _draws(generator: Generator, n: int) -> str:
    for wanted in (n, 1, 0):
        items = _draw(generator, wanted, FREE)
        strange = [type(item).__name__ for item in items if not isinstance(item, Crystal | Failure)]
        if strange:
            return f"yielded {strange[0]}"
        if len(items) != wanted:
            return f"{len(items)} items for n = {wanted}"
    return ""


def _delivers(generator: Generator, n: int) -> str:
    found = _crystals(generator, n, FREE)
    return broken_if(len(found) < LEAST_SHARE * n, f"{len(found)} crystals among {n} items")


def _repeats(generator: Generator, n: int) -> str:
    """Also with another state of NumPy's global random numbers, which no part may use."""
    before = np.random.get_state()
    try:
        np.random.seed(1)
        first = _crystals(generator, n, FREE)
        np.random.seed(2)
        second = _crystals(generator, n, FREE)
    finally:
        np.random.set_state(before)
    if first.keys() != second.keys():
        return f"{len(first)} crystals, then {len(second)}, on other places"
    differ = [k for k in first if not _same(first[k], second[k])]
    return broken_if(bool(differ), f"item {(differ or [0])[0]} differs")


def _same(a: Crystal, b: Crystal) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.lattice, b.lattice)
        and np.array_equal(a.frac_coords, b.frac_coords)
    )


def _varies(generator: Generator, n: int) -> str:
    first, second = (list(_crystals(generator, n, FREE, seed).values()) for seed in (0, 1))
    alike = len(first) == len(second) and all(map(_same, first, second))
    return broken_if(alike, "two seeds gave the same crystals")


def _genes(generator: Generator, n: int) -> str:
    for k, crystal in _crystals(generator, n, FREE).items():
        if crystal.gene is None:
            return f"item {k} has no gene"
        if not identical(decode([crystal.gene])[0], crystal):
            return f"the gene of item {k} decodes to another crystal"
    return ""


def _failures(generator: Generator, n: int) -> str:
    items = [item for c in (FREE, NARROW, CUBIC) for item in _draw(generator, n, c)]
    nameless = [item for item in items if isinstance(item, Failure) and not (item.reason and item.stage)]
    return broken_if(bool(nameless), f"{nameless[:1]} among {len(items)} items")


def _elements(generator: Generator, n: int) -> str:
    allowed = (NARROW.allowed or frozenset()) - NARROW.forbidden
    for k, crystal in _crystals(generator, n, NARROW).items():
        if foreign := set(crystal.numbers.tolist()) - allowed:
            return f"item {k} holds the atomic numbers {sorted(foreign)}, which were not allowed"
    return ""


def _sizes(generator: Generator, n: int) -> str:
    for k, crystal in _crystals(generator, n, NARROW).items():
        if crystal.n_sites > NARROW.max_sites:
            return f"item {k} has {crystal.n_sites} sites, more than {NARROW.max_sites}"
    return ""


def _required(generator: Generator, n: int) -> str:
    for k, crystal in _crystals(generator, n, NEEDED).items():
        if lacking := NEEDED.required - set(crystal.numbers.tolist()):
            return f"item {k} lacks the atomic numbers {sorted(lacking)}, which were required"
    return ""


def _groups(generator: Generator, n: int) -> str:
    wanted = CUBIC.space_groups or frozenset()
    for k, crystal in _crystals(generator, n, CUBIC).items():
        if crystal.gene is None or crystal.gene.space_group not in wanted:
            return f"item {k} has space group {crystal.gene and crystal.gene.space_group}"
    return ""
