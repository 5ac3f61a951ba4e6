"""What a design run found, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.progress import Progress, quiet
from invdesign.properties import get_property
from invdesign.query import Query, Target
from invdesign.records import Estimate, Evaluation
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from invdesign.crystal import Crystal
    from invdesign.engine.drift import Drift
    from invdesign.engine.funnel import Funnel
    from invdesign.reference.local import LocalReference
    from invdesign.selection.ranking import Selection


EXPLAINED = 100
"""Candidates at the head of a list whose predictions are explained."""


@dataclass(frozen=True)
class Result:
    """What a design run found.

    Attributes:
        query: what was asked.
        seed: of the run.
        selection: the ranked list with its reasons.
        funnel: counts at every stage.
        seconds: computing time of all rounds, wall clock.
        folder: the run folder, or None.
        files: paths of the CIF files within the folder, best first; empty without a folder.
        targets: of the query and its component.
        drift: how the relaxed crystals differ from the training data of the surrogates, and how large errors are
            where values came back.
    """

    query: Query
    seed: int
    selection: Selection
    funnel: Funnel
    seconds: float
    folder: Path | None = None
    files: tuple[str, ...] = ()
    targets: tuple[Target, ...] = field(default=())
    drift: Drift | None = None

    @property
    def rows(self) -> list[Evaluation]:
        """The candidates with everything known of them, best first."""
        return self.selection.rows

    @property
    def structures(self) -> list[Structure]:
        """The relaxed crystals as pymatgen structures, best first."""
        return export.structures(row.crystal for row in self.rows)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per candidate, best first: the columns of `candidates.csv`."""
        return ranked_table(self.selection, self.targets, self.files)

    def summary(self) -> str:
        """The table's most telling columns and how the run went, as text."""
        lines = [_text_table(self.table, self.query)] if len(self.rows) else []
        lines.append(self.selection.shortfall or f"{len(self.rows)} candidates")
        if self.folder is not None:
            lines.append(f"wrote {self.folder / 'candidates.csv'}, cif/, run.json, report.html")
        if self.drift is not None and self.drift.errors:
            lines += self.drift.lines()
        return "\n".join(lines)


def explained(
    crystals: Sequence[Crystal], estimates: Sequence[Estimate], progress: Progress, batch: int = 32
) -> list[export.Row]:
    """Columns that explain estimates."""
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.explain.explanation import explain

    gate = load_gate().model
    out: list[export.Row] = []
    for start in range(0, len(crystals), batch):
        part = slice(start, start + batch)
        out += map(export.explanation_columns, explain(gate, crystals[part], estimates[part]))
        progress("explain", len(out), len(crystals))
    return out


def ranked_table(selection: Selection, targets: Sequence[Target], files: Sequence[str]) -> pd.DataFrame:
    """The ranked list as a table: the columns of `candidates.csv`."""
    return export.frame(ranked_rows(selection, targets, files))


def ranked_rows(selection: Selection, targets: Sequence[Target], files: Sequence[str]) -> list[export.Row]:
    """The ranked list as rows, with what each candidate competes with, and why the best are predicted so."""
    from invdesign.engine.funnel import meets_targets

    known = build.reference()
    best = [item.row for item in selection.ranked[:EXPLAINED]]
    reasons = explained([row.crystal for row in best], [row.estimate or Estimate({}) for row in best], quiet)
    rows = []
    for place, item in enumerate(selection.ranked):
        row = {"file": files[place]} if files else {}
        row |= export.ranked_columns(item, meets_targets(item.row, targets))
        row |= _rivals(item.row.crystal, known)
        row |= reasons[place] if place < len(reasons) else {}
        rows.append(row)
    return rows


COMPUTED = "this formula was computed elsewhere (OQMD), structure not compared"
"""Remark on a formula of the OQMD."""


def _rivals(crystal: Crystal, known: LocalReference) -> export.Row:
    """What the crystal would decompose into, and whether its formula is known with another structure."""
    phases = known.decomposition(crystal.numbers)
    return {
        "decomposes_into": " + ".join(f"{share:.2f} {formula}" for formula, share in phases),
        "known_phases": known.phases_of_system(crystal.numbers),
        "formula_known": known.known_formula(crystal.numbers),
        "remark": COMPUTED if known.computed_elsewhere(crystal.numbers) else "",
    }


def _text_table(table: pd.DataFrame, query: Query) -> str:
    """Rank, formula, group, score, the targets' properties and the distance to the hull, in aligned columns."""
    names = dict.fromkeys([*(t.name for t in query.targets), "energy_above_hull"])
    shown = [name for name in names if name in table]
    head = ["rank", "formula", "space_group", "score", *shown, "file"]
    lines = [head]
    for row in table.to_dict("records"):
        values = [_with_error(row, name) for name in shown]
        fixed = [str(row["rank"]), str(row["formula"]), str(row["space_group"]), f"{row['score']:.3f}"]
        lines.append([*fixed, *values, str(row.get("file", ""))])
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _with_error(row: Mapping[Any, Any], name: str) -> str:
    digits = 3 if get_property(name).unit == "eV/atom" else 1
    return f"{row[name]:.{digits}f} ± {row[name + '_std']:.{digits}f}"
