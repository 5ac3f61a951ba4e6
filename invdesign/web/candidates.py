"""Candidates of finished runs: filtered and sorted, side by side, and two runs against each other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from invdesign.elements import SYMBOLS
from invdesign.errors import InputError
from invdesign.numbers import heading, with_error
from invdesign.properties import SHIPPED
from invdesign.report import markup
from invdesign.report.candidates import Row, Run, number, read_record, read_table, run_of, true
from invdesign.report.export import FULL, LEAN
from invdesign.report.listing import Shown, columns, verdicts
from invdesign.web.folder import Runs

MOST_COMPARED = 6
"""Candidates side by side, at most."""
_ELEMENT = re.compile(r"[A-Z][a-z]?")
WORDS = (
    ("structure type", "structure_type"),
    ("proposed by", "generator"),
    ("why it stands there", "reason"),
    ("verdict", "verdict"),
    ("decomposes into", "decomposes_into"),
    ("nearest known", "nearest"),
)
"""What is said of candidates side by side: name, and column of the table."""
FACTS = (
    ("asked", "query_in_words"),
    ("outcome", "summary"),
    ("variety", "variety"),
    ("component", "component"),
    ("relaxations", "relaxations"),
    ("seconds of computing", "seconds"),
    ("seed", "seed"),
)
"""What is said of two runs: name, and key of `run.json`."""
FLAGS = {"target": "meets_targets", "front": "pareto", "near": "out_of_distribution"}


@dataclass(frozen=True)
class Wanted:
    """Which candidates are shown.

    Attributes:
        find: words: symbols of elements, a formula, a family.
        flags: keys of `FLAGS` that must hold.
        bounds: least and largest value by column.
        sort: column to sort by; empty: as they are ranked.
        falling: whether the largest comes first.
    """

    find: str = ""
    flags: frozenset[str] = frozenset()
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    sort: str = ""
    falling: bool = True

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """From the query of an address.

        Raises:
            InputError: if a bound is no number.
        """
        bounds: dict[str, tuple[float | None, float | None]] = {}
        for key, text in query.items():
            name, _, end = key.rpartition(":")
            if name and end in ("min", "max") and text.strip():
                low, high = bounds.get(name, (None, None))
                value = _bound(f"{name} {'at least' if end == 'min' else 'at most'}", text)
                bounds[name] = (value, high) if end == "min" else (low, value)
        return cls(
            query.get("find", "").strip(),
            frozenset(flag for flag in FLAGS if query.get(flag)),
            bounds,
            query.get("sort", ""),
            query.get("order", "falling") != "rising",
        )

    def passes(self, row: Row) -> bool:
        """Whether a candidate is shown."""
        if not all(_found(word, row) for word in self.find.split()):
            return False
        for flag in self.flags:
            if true(row.get(FLAGS[flag])) == (flag == "near"):
                return False
        for name, (low, high) in self.bounds.items():
            value = number(row.get(name))
            if value is None or (low is not None and value < low) or (high is not None and value > high):
                return False
        return True

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are shown, in their order."""
        kept = [row for row in rows if self.passes(row)]
        if not self.sort:
            return kept
        told = [row for row in kept if row.get(self.sort) is not None]
        told.sort(key=lambda row: _key(row[self.sort]), reverse=self.falling)
        return [*told, *(row for row in kept if row.get(self.sort) is None)]


def _bound(what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(what, text, "a number")
    return value


def _key(value: object) -> tuple[int, float, str]:
    found = number(value)
    return (1, 0.0, str(value)) if found is None else (0, found, "")


def _found(word: str, row: Row) -> bool:
    formula = str(row.get("formula", ""))
    if word in SYMBOLS:
        return word in _ELEMENT.findall(formula)
    about = " ".join(str(row.get(key, "")) for key in ("formula", "anion_class", "structure_type", "id"))
    return word.lower() in about.lower()


@dataclass(frozen=True)
class Line:
    """One candidate of a list.

    Attributes:
        id: of the candidate.
        place: in the list of the run.
        file: path of its CIF.
        formula: HTML.
        group: its space group, HTML.
        cells: a value for each column, HTML.
        checks: verdicts that did not pass, in words.
        on_target: whether every mean is on target.
    """

    id: str
    place: int
    file: str
    formula: str
    group: str
    cells: tuple[str, ...]
    checks: str
    on_target: bool


def run(folder: Path) -> Run:
    """The candidates of a finished run.

    Raises:
        InputError: if the run has no list yet.
    """
    path = folder / (FULL if (folder / FULL).is_file() else LEAN)
    try:
        stamp = (path.stat().st_mtime_ns, (folder / "run.json").stat().st_mtime_ns)
    except OSError:
        allowed = "one that is finished: candidates are listed at the end of a run"
        raise InputError("run", folder.name, allowed) from None
    return _run(folder, stamp)


@lru_cache(maxsize=16)
def _run(folder: Path, stamp: object) -> Run:
    del stamp
    return run_of(read_table(folder), read_record(folder))


def shown(found: Run) -> list[Shown]:
    """The columns of values of a list, as in the report."""
    return columns(found) if found.rows else []


def lines(found: Run, rows: Sequence[Row], heads: Sequence[Shown]) -> list[Line]:
    """Rows as they are shown."""
    return [_line(found, row, heads) for row in rows]


def _line(found: Run, row: Row, heads: Sequence[Shown]) -> Line:
    failed = [
        f"{name.replace('_', ' ')}: {status.value}" for name, status, _ in verdicts(row) if status.value != "pass"
    ]
    return Line(
        str(row.get("id", "")),
        int(number(row.get("rank")) or found.rows.index(row) + 1),
        str(row.get("file", "")),
        markup.formula(str(row.get("formula", "?"))),
        markup.group_of(row),
        tuple(markup.value(number(row.get(c.key)), number(row.get(f"{c.key}_std"))) for c in heads),
        "; ".join(failed),
        true(row.get("meets_targets")),
    )


def of_ids(found: Run, ids: Sequence[str]) -> list[Row]:
    """The rows of some candidates.

    Raises:
        InputError: for an id that the run has not.
    """
    by_id = {str(row.get("id")): row for row in found.rows}
    for each in ids:
        if each not in by_id:
            raise InputError("candidate", each, list(by_id))
    return [by_id[each] for each in ids]


def side_by_side(runs: Runs, keys: Sequence[str]) -> dict[str, Any]:
    """Candidates of one or several runs against each other.

    Args:
        runs: the folder of runs.
        keys: `run/id` of each.

    Returns:
        `heads`, one for each candidate, and `lines`: a name and a text for each candidate.

    Raises:
        InputError: if there are less than two or too many, or one is not there.
    """
    chosen = list(dict.fromkeys(keys))
    if not 2 <= len(chosen) <= MOST_COMPARED:
        raise InputError("candidates to compare", len(chosen), f"2 to {MOST_COMPARED}: tick them in the list")
    heads, rows = [], []
    for key in chosen:
        name, _, candidate = key.partition("/")
        found = run(runs.run(name))
        (row,) = of_ids(found, [candidate])
        rows.append(row)
        heads.append({"run": name, "line": _line(found, row, ())})
    names = [name for name in SHIPPED if any(number(row.get(name)) is not None for row in rows)]
    table = [("score", [_number(row, "score") for row in rows])]
    table += [(heading(name), [_number(row, name) for row in rows]) for name in names]
    for label, key in WORDS:
        if any(row.get(key) for row in rows):
            table.append((label, [str(row.get(key) or "–") for row in rows]))
    checks = ["; ".join(f"{n.replace('_', ' ')} {s.value}" for n, s, _ in verdicts(row)) or "–" for row in rows]
    return {"heads": heads, "lines": [*table, ("checks", checks)]}


def _number(row: Row, name: str) -> str:
    mean, std = number(row.get(name)), number(row.get(f"{name}_std"))
    return "–" if mean is None else with_error(mean, std if std is not None else math.nan)


def two_runs(runs: Runs, names: Sequence[str]) -> dict[str, Any]:
    """Two runs against each other.

    Returns:
        `heads`, the names; `lines`, a name and a text for each run; `shared`, formulas that both have found with
        their places.

    Raises:
        InputError: if these are not two finished runs.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise InputError("runs to compare", ", ".join(names), "two different runs: tick them in the list")
    found = [run(runs.run(name)) for name in names]
    places = [{str(row.get("formula")): k for k, row in reversed([*enumerate(r.rows, 1)])} for r in found]
    shared = [(formula, places[0][formula], places[1][formula]) for formula in places[0] if formula in places[1]]
    table = [(label, [_text(r.record.get(key)) for r in found]) for label, key in FACTS]
    table.append(("versions", [_text((r.record.get("versions") or {}).get("invdesign")) for r in found]))
    for k in range(3):
        best = [_best(r.rows[k], r) if k < len(r.rows) else "–" for r in found]
        table.append((f"place {k + 1}", best))
    return {"heads": list(names), "lines": table, "shared": shared}


def _best(row: Row, found: Run) -> str:
    names = [t.name for t in found.targets] or ["bulk_modulus", "shear_modulus"]
    values = [f"{SHIPPED[n].symbol} {_number(row, n)}" for n in names if n in SHIPPED and row.get(n) is not None]
    return f"{row.get('formula')} ({row.get('space_group')}): {', '.join(values)}"


def _text(value: object) -> str:
    return "–" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
