"""Whether anything like what a query asks for is known: asked of known crystals before relaxations are spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers
from invdesign.crystallography.genes import decode
from invdesign.elements import atomic_numbers
from invdesign.engine.wishes import MatchesQuery, completed
from invdesign.evolution.joint import property_samples
from invdesign.mechanics.quantities import OF_ELEMENTS
from invdesign.numbers import significant
from invdesign.properties import LOAD, SHIPPED
from invdesign.query import Query
from invdesign.reference.known import KnownCrystals
from invdesign.reference.local import load_known
from invdesign.reference.properties import NAMES, KnownProperties, load_properties
from invdesign.surrogates.hardness import log_hardness
from invdesign.target import Target

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

FAR = 0.3
"""Distance from which on the nearest known crystal is far from a query: it would have to move by as much of the
spread of a property among the known crystals."""
MOST = 20_000
"""Known crystals that are looked at: of more, every second, third, … one."""
LEAST = 30
"""Known crystals below which they say little, and crystals of all elements, symmetries and sizes are asked."""
HIGHEST = 0.2
"""Known crystals farther above the hull (eV/atom) are no evidence: many were never made, some of their computed
values are wrong."""
MODULI = ("bulk_modulus", "shear_modulus")
SHOWN = 5
CHUNK = 2000


@dataclass(frozen=True)
class Near:
    """A known crystal that meets a query, or comes near.

    Attributes:
        id: its Materials Project id.
        formula: reduced formula.
        space_group: number.
        values: of the targets' properties, in their units.
        energy_above_hull: eV/atom; NaN where it is not known.
        distance: largest shortfall of a target over the spread of the property among the crystals looked at; 0 if
            every target is met.
    """

    id: str
    formula: str
    space_group: int
    values: Mapping[str, float]
    energy_above_hull: float
    distance: float


@dataclass(frozen=True)
class Feasibility:
    """What the known crystals say of a query.

    Attributes:
        judged: known crystals that were looked at: with the elements, symmetry and size asked for, and computed
            values of everything that the targets name.
        widened: whether these were few, so that crystals of all elements, symmetries and sizes were looked at.
        each: by target, how many of these meet it.
        all: how many meet every target.
        stable: how many of these lie within the limit above the hull.
        nearest: those that meet every target, or come nearest, best first.
        unjudged: targets on properties of which no value of a known crystal is at hand.
    """

    judged: int
    widened: bool = False
    each: Mapping[str, int] = field(default_factory=dict)
    all: int = 0
    stable: int = 0
    nearest: tuple[Near, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def far(self) -> bool:
        """Whether no known crystals are anywhere near; of one alone the computed values may be wrong."""
        return self.all == 0 and bool(self.nearest) and self.nearest[:3][-1].distance > FAR

    def lines(self) -> list[str]:
        """What was found, in words."""
        where = "known crystals" if self.widened else "known crystals with such elements, symmetry and size"
        if not self.each:
            return [f"{self.judged:,} {where}"]
        counts = ", ".join(f"{count:,} meet {target}" for target, count in self.each.items())
        every = f", {self.all:,} meet all" if len(self.each) > 1 else ""
        out = [f"of {self.judged:,} {where} (those with computed values) {counts}{every}, {self.stable:,} stable"]
        if self.nearest:
            head = "known already" if self.all else "nearest"
            out.append(f"{head}: {'; '.join(map(_in_words, self.nearest))}")
        if self.unjudged:
            out.append(f"no known values to judge {', '.join(self.unjudged)} by")
        return out

    def warning(self) -> str:
        """One line where no known crystal is anywhere near; empty otherwise."""
        if not self.far:
            return ""
        alone = ", ".join(f"{count:,} meet {target}" for target, count in self.each.items())
        near = _in_words(self.nearest[0])
        return f"none of {self.judged:,} known crystals comes near what is asked for ({alone}); nearest is {near}"


def _in_words(near: Near) -> str:
    values = ", ".join(
        f"{SHIPPED[name].symbol} {significant(value)} {SHIPPED[name].unit}".rstrip()
        for name, value in near.values.items()
    )
    return f"{near.formula} ({near.id}, {near.space_group}: {values})"


def feasibility(query: Query) -> Feasibility:
    """What the known crystals say of a query, by values that were computed by density functional theory.

    Derived properties follow from computed moduli by the formulas that predictions use. Extremes (`name=max`) and
    custom properties are not judged.

    Args:
        query: what is asked.

    Raises:
        InputError, ConflictError: as `invdesign.engine.wishes.completed`.
        ReferenceMissingError: if a table cannot be read.
    """
    query = completed(query)
    known, table = load_known(), load_properties()
    bounds = [t for t in query.targets if not t.goal]
    targets = [t for t in bounds if t.name in SHIPPED]
    unjudged = tuple(str(t) for t in bounds if t not in targets)
    evidence = _evidence(targets, table)
    rows = _with_wishes(query, known, evidence)
    if not targets:
        return Feasibility(len(rows), unjudged=unjudged)
    found = _judged(targets, rows, known, table, query)
    if found.all == 0 and len(rows) < LEAST:
        found = replace(_judged(targets, _some(evidence), known, table, query), widened=True)
    return replace(found, unjudged=unjudged)


def known_values(name: str, most: int = 4000, load: float = LOAD) -> Array:
    """Values of a property of known crystals not too far above the hull, from what was computed of them.

    Args:
        name: of a shipped property.
        most: crystals that are looked at: of more, every second, third, … one.
        load: of the Vickers hardness, N.

    Returns:
        (n,) finite values in the property's unit.

    Raises:
        InputError: if there is no such property.
        ReferenceMissingError: if a table cannot be read.
    """
    known, table = load_known(), load_properties()
    rows = _evidence([Target(name, goal="max")], table)
    values = _values([name], rows[:: max(1, math.ceil(len(rows) / most))], known, table, load)[name]
    return values[np.isfinite(values)]


def _evidence(targets: Sequence[Target], table: KnownProperties) -> Rows:
    """Known crystals with computed values of all that the targets follow from, not too far above the hull."""
    needed = sorted(set().union(*(_needed(t.name) for t in targets)))
    computed = table.sound[:, [NAMES.index(name) for name in needed]].all(axis=1)
    return np.flatnonzero(computed & ~(table.column("energy_above_hull") > HIGHEST))


def _some(rows: Rows) -> Rows:
    return rows[:: max(1, math.ceil(len(rows) / MOST))]


def _needed(name: str) -> set[str]:
    """Computed values that a property follows from."""
    if name in NAMES:
        return {name}
    return set() if name == "density" or name in OF_ELEMENTS else set(MODULI)


def _with_wishes(query: Query, known: KnownCrystals, rows: Rows) -> Rows:
    """Those of some known crystals that have the elements, symmetry and size asked for."""
    allowed = np.zeros(119, dtype=bool)
    allowed[sorted(atomic_numbers(query.allowed_elements))] = True
    least, most = query.site_range
    mask = (known.foreign_elements(allowed) == 0) & (known.sites >= least) & (known.sites <= most)
    groups = query.space_groups
    if query.wanted_prototype is not None:
        groups = frozenset([query.wanted_prototype.space_group])
    if groups is not None:
        mask &= np.isin(known.space_groups, sorted(groups))
    rows = _some(rows[mask[rows]])
    if not (query.required_elements or query.stoichiometry or query.n_elements or query.wanted_prototype):
        return rows
    check, kept = MatchesQuery(query), list[int]()
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK].tolist()
        crystals = decode([known[row].gene for row in part])
        kept += [row for row, crystal in zip(part, crystals, strict=True) if not check.objection(crystal)]
    return np.array(kept, dtype=np.int64)


def _values(
    names: Sequence[str], rows: Rows, known: KnownCrystals, table: KnownProperties, load: float
) -> dict[str, Array]:
    """(n,) values of each property, in its unit."""
    plain = [name for name in names if name in NAMES]
    found = {name: table.column(name)[rows] for name in plain}
    found = {name: 10.0**column if SHIPPED[name].log else column for name, column in found.items()}
    derived = frozenset(names) - found.keys()
    parts: dict[str, list[Array]] = {name: [] for name in derived}
    hardness = partial(log_hardness, load=load)
    for start in range(0, len(rows) if derived else 0, CHUNK):
        part = rows[start : start + CHUNK]
        answers = Answers(NAMES, table.values[part], np.zeros((len(part), len(NAMES))))
        crystals = decode([known[int(row)].gene for row in part])
        samples = property_samples(answers, crystals, derived, hardness)
        for name in derived:
            parts[name].append(samples[name][:, 0] if name in samples else np.full(len(part), np.nan))
    return found | {name: np.concatenate(columns) for name, columns in parts.items()}


def _judged(
    targets: Sequence[Target], rows: Rows, known: KnownCrystals, table: KnownProperties, query: Query
) -> Feasibility:
    """Counts and the nearest crystals, from the values of the crystals that can be judged."""
    if not len(rows):
        return Feasibility(0, each={str(target): 0 for target in targets})
    values = _values([t.name for t in targets], rows, known, table, query.hardness_load)
    short = np.array([_shortfall(target, values[target.name]) for target in targets])
    met, distance = short == 0.0, short.max(axis=0)
    hull = table.column("energy_above_hull")[rows]
    stable = hull <= query.max_energy_above_hull
    usable = np.flatnonzero(np.isfinite(distance))
    order = usable[np.lexsort((rows[usable], np.nan_to_num(hull[usable], nan=9.0), distance[usable]))]
    every = met.all(axis=0)
    nearest = [
        Near(
            known.id(int(rows[i])),
            known[int(rows[i])].formula,
            int(known.space_groups[rows[i]]),
            {t.name: float(values[t.name][i]) for t in targets},
            float(hull[i]),
            float(distance[i]),
        )
        for i in order[:SHOWN]
    ]
    return Feasibility(
        judged=len(rows),
        each={str(t): int(m.sum()) for t, m in zip(targets, met, strict=True)},
        all=int(every.sum()),
        stable=int((every & stable).sum()),
        nearest=tuple(nearest),
    )


def _shortfall(target: Target, values: Array) -> Array:
    """(n,) how far each value is from the bounds, over the spread of all values; NaN where there is none."""
    scaled = np.log10(np.maximum(values, 1e-12)) if target.prop.log else values
    spread = max(float(np.nanstd(scaled)), 1e-6)
    short = np.zeros(len(values))
    for bound, sign in ((target.low, 1.0), (target.high, -1.0)):
        if bound is not None:
            edge = math.log10(max(bound, 1e-12)) if target.prop.log else bound
            short = np.maximum(short, sign * (edge - scaled) / spread)
    return np.where(np.isfinite(scaled), short, np.nan)
