"""Ways to do the same, timed in turns: CPU seconds, memory, and whether they find the same."""

from __future__ import annotations

import gc
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

OURS = "invdesign"
"""The name of the package's own way."""
SMALL_SHARE = 4
"""The cost at a size is compared with that at a fourth of it."""
CELLS, SMALL_CELLS, LARGE_CELLS = (2, 20), (2, 4), (12, 20)
"""Atoms in the primitive cells of the items: of all, and of the two sets whose cost is compared."""


@dataclass(frozen=True)
class Way:
    """One way to treat the items of a stage.

    Attributes:
        name: as in the table.
        run: takes what `prepare` made and returns the results; this is what is timed.
        prepare: takes the items and makes what the way starts from; not timed.
        needs: modules that must be importable.
        hint: what to install where they are not.
        share: part of the items that it is given, because it is slow; the cost is compared for one item.
    """

    name: str
    run: Callable[[Any], Any]
    prepare: Callable[[Any], Any] = lambda items: items
    needs: tuple[str, ...] = ()
    hint: str = ""
    share: float = 1.0

    @property
    def is_installed(self) -> bool:
        """Whether the modules that it needs are there."""
        return all(_importable(name) for name in self.needs)

    def part(self, items: Sequence[Any]) -> Sequence[Any]:
        """The items that it is given."""
        return items[: max(1, round(self.share * len(items)))]


@dataclass(frozen=True)
class Equality:
    """Whether two ways found the same.

    Attributes:
        what: was compared, with its unit.
        value: how far they are apart, or the share that is equal.
        limit: that it must not exceed, or must reach.
        holds: whether it does.
    """

    what: str
    value: float
    limit: float
    holds: bool


def at_most(what: str, value: float, limit: float) -> Equality:
    """A difference that must not exceed a tolerance."""
    return Equality(what, float(value), limit, bool(value <= limit))


def at_least(what: str, value: float, limit: float) -> Equality:
    """A share that must reach a limit."""
    return Equality(what, float(value), limit, bool(value >= limit))


@dataclass(frozen=True)
class Stage:
    """Something that a run spends time on.

    Attributes:
        name: of the stage.
        items: what one item is, in the plural.
        draw: makes items, of a number, a range of atoms in the primitive cell and a source of randomness.
        ways: the package's own first.
        agree: compares results of the first way with those of another; the results are of equally many items.
        size: number of items.
        quick: the same for a quick look.
        by_sites: number of items of each set of small and of large cells; 0: not compared.
    """

    name: str
    items: str
    draw: Callable[[int, tuple[int, int], np.random.Generator], Sequence[Any]]
    ways: tuple[Way, ...]
    agree: Callable[[Sequence[Any], Any, Any], list[Equality]]
    size: int
    quick: int
    by_sites: int = 0


@dataclass(frozen=True)
class Spent:
    """What one call took.

    Attributes:
        items: that it was given.
        cpu: seconds of this process and of the processes that it has waited for.
        wall: seconds.
        memory: by how much the resident memory rose at its peak, MB; NaN where the system does not say.
    """

    items: int
    cpu: float
    wall: float
    memory: float


@dataclass(frozen=True)
class WayResult:
    """What was measured of one way.

    Attributes:
        name: of the way.
        repeats: at the full size.
        small: at a fourth of the size; nothing where that is less than one item.
        equal: what its results were compared by with those of the first way.
        note: why there is nothing, where there is nothing.
    """

    name: str
    repeats: tuple[Spent, ...] = ()
    small: tuple[Spent, ...] = ()
    equal: tuple[Equality, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class StageResult:
    """What was measured of a stage.

    Attributes:
        items: what one item is.
        ways: in the order of the stage.
        sites: mean number of atoms in the small and in the large cells.
        by_sites: CPU seconds for one item of each, by way.
        load: the machine's load averages over 1, 5 and 15 minutes at the start.
    """

    items: str
    ways: tuple[WayResult, ...]
    sites: tuple[float, ...] = ()
    by_sites: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    load: tuple[float, ...] = ()


def measure(stage: Stage, n: int, seed: int, repeats: int) -> StageResult:
    """Time all ways of a stage in turns, and compare what they find.

    Every repeat has items of its own, so that nothing is remembered from one to the next.

    Args:
        stage: with its ways.
        n: number of items.
        seed: of the items.
        repeats: of every way.
    """
    rng = np.random.default_rng(seed)
    load = tuple(round(each, 2) for each in os.getloadavg()) if hasattr(os, "getloadavg") else ()
    turns = [way for way in stage.ways if way.is_installed]
    notes = {way.name: f"not installed: {way.hint}" for way in stage.ways if not way.is_installed}
    found: list[_Found] = []
    _turn(turns, stage.draw(min(n, 2), CELLS, rng), notes)  # what is loaded or compiled once
    for repeat in range(repeats):
        ways = turns[::-1] if repeat % 2 else turns
        small = _turn(ways, stage.draw(n // SMALL_SHARE, CELLS, rng), notes) if n >= SMALL_SHARE else {}
        items = stage.draw(n, CELLS, rng)
        found.append(_Found(items if not repeat else (), small, _turn(ways, items, notes, keep=not repeat)))
    sites, by_sites = _by_sites(stage, [way for way in turns if way.name not in notes][:2], rng)
    measured = tuple(_result(stage, way, found, notes) for way in stage.ways)
    return StageResult(stage.items, measured, sites, by_sites, load)


@dataclass(frozen=True)
class _Found:
    """One repeat: its items where results were kept, and results and costs at both sizes by way."""

    items: Sequence[Any]
    small: Mapping[str, tuple[Any, Spent]]
    full: Mapping[str, tuple[Any, Spent]]


def _turn(
    ways: Sequence[Way], items: Sequence[Any], notes: dict[str, str], keep: bool = False
) -> dict[str, tuple[Any, Spent]]:
    """Results (None unless they are kept) and costs of each way; a way that fails is noted and left out after."""
    found = {}
    for way in ways:
        if way.name in notes:
            continue
        try:
            answer, cost = timed(way, items)
            found[way.name] = answer if keep else None, cost
        except Exception as error:  # a package of others may raise anything; the way is the row
            notes[way.name] = f"failed: {shorten(f'{type(error).__name__}: {error}', 160)}"
    return found


def _result(stage: Stage, way: Way, found: Sequence[_Found], notes: Mapping[str, str]) -> WayResult:
    """What there is to say of one way."""
    if way.name in notes:
        return WayResult(way.name, note=notes[way.name])
    first, start = stage.ways[0].name, found[0]
    equal: list[Equality] = []
    if way.name != first and first not in notes:
        equal = stage.agree(way.part(start.items), start.full[first][0], start.full[way.name][0])
    full = tuple(repeat.full[way.name][1] for repeat in found)
    small = tuple(repeat.small[way.name][1] for repeat in found if repeat.small)
    return WayResult(way.name, full, small, tuple(equal))


def timed(way: Way, items: Sequence[Any]) -> tuple[Any, Spent]:
    """The results of a way for its part of the items, and what they took."""
    part = way.part(items)
    prepared = way.prepare(part)
    gc.collect()
    before = _restart_peak()
    cpu, wall = cpu_seconds(), time.perf_counter()
    answer = way.run(prepared)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return answer, Spent(len(part), cpu, wall, _peak() - before)


def cpu_seconds() -> float:
    """CPU seconds of this process and of the processes that it has waited for."""
    waited = os.times()
    return time.process_time() + waited.children_user + waited.children_system


def _by_sites(
    stage: Stage, ways: Sequence[Way], rng: np.random.Generator
) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Mean atoms of small and of large cells, and CPU seconds for one item of each, by way."""
    if not stage.by_sites or not ways:
        return (), {}
    sets = [stage.draw(stage.by_sites, cells, rng) for cells in (SMALL_CELLS, LARGE_CELLS)]
    found = {way.name: tuple(_each(timed(way, items)[1]) for items in sets) for way in ways}
    return tuple(float(np.mean([item.n_sites for item in items])) for items in sets), found


def _each(cost: Spent) -> float:
    return cost.cpu / cost.items


def _restart_peak() -> float:
    """Forget the largest resident memory so far (Linux); returns the resident memory now, MB, or NaN."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return float("nan")


def _peak() -> float:
    """The largest resident memory since `_restart_peak`, MB; NaN where the system does not say."""
    try:
        return _status("VmHWM")
    except OSError:
        return float("nan")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
