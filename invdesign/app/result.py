"""What a design run found: the ranked candidates, their table, and their structures for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from invdesign import build
from invdesign.app.tables import write_run
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.display import html_table
from invdesign.progress import Progress, quiet
from invdesign.properties import Property
from invdesign.query import Query
from invdesign.records import Estimate, Evaluation, Value
from invdesign.report import export
from invdesign.selection.desirability import with_hull
from invdesign.selection.targets import meets_targets
from invdesign.target import Target

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms
    from pymatgen.core import Structure

    from invdesign.app.outcome import Outcome
    from invdesign.engine.drift import Drift
    from invdesign.engine.funnel import Funnel
    from invdesign.reference.local import LocalReference
    from invdesign.selection.ranking import Ranked, Selection


EXPLAINED = 100
"""Candidates at the head of a list whose predictions are explained."""


@dataclass(frozen=True, repr=False, eq=False)
class Found:
    """One candidate of a list.

    Attributes:
        item: its place with everything known of it.
        targets: of the query and its component.
        file: path of its CIF within the run folder; empty without a folder.
    """

    item: Ranked
    targets: tuple[Target, ...] = ()
    file: str = ""

    @property
    def rank(self) -> int:
        """Its place; 1 is best."""
        return self.item.rank

    @property
    def id(self) -> str:
        """Its id within the run."""
        return self.item.row.candidate.id

    @property
    def crystal(self) -> Crystal:
        """The relaxed crystal."""
        return self.item.row.crystal

    @cached_property
    def formula(self) -> str:
        """Its reduced formula."""
        return reduced_formula(self.crystal.numbers)

    @cached_property
    def space_group(self) -> int | None:
        """Its space group at 0.1 Å; None if none can be found."""
        return space_group(self.crystal)

    @property
    def values(self) -> Mapping[str, Value]:
        """Every property by name, with its uncertainty; the energy above hull is the relaxed one."""
        estimate = with_hull(self.item.row)
        return {} if estimate is None else estimate.values

    @property
    def on_target(self) -> bool:
        """Whether every mean is on target."""
        return meets_targets(self.item.row, self.targets)

    @property
    def reason(self) -> str:
        """Why it stands where it stands."""
        return self.item.reason

    @property
    def about(self) -> dict[str, Any]:
        """Id, place and properties with their standard deviations: what structures carry to other programs."""
        head = {"id": self.id, "rank": self.rank, "formula": self.formula, "score": self.item.score}
        means = {name: value.mean for name, value in self.values.items()}
        return head | {"on_target": self.on_target} | means | {f"{n}_std": v.std for n, v in self.values.items()}

    @property
    def structure(self) -> Structure:
        """A pymatgen structure; `Structure.properties` holds `about`."""
        (structure,) = export.structures([self.crystal])
        structure.properties = self.about
        return structure

    @property
    def atoms(self) -> Atoms:
        """ASE atoms; `Atoms.info` holds `about`."""
        from invdesign.data.convert import to_ase

        atoms = to_ase(self.crystal)
        atoms.info.update(self.about)
        return atoms

    def __repr__(self) -> str:
        """Place, formula, space group and the targets' properties."""
        names = dict.fromkeys([*(t.name for t in self.targets), "energy_above_hull"])
        known = {t.name: t.prop for t in self.targets}
        shown = [_in_words(n, self.values[n], known) for n in names if n in self.values]
        return (
            f"<{self.rank}. {self.formula} ({self.space_group}): {', '.join(shown)}; score {self.item.score:.3f}>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self)[1:-1])}</p>"


@dataclass(frozen=True, repr=False, eq=False)
class Result(Sequence[Found]):
    """What a design run found: a sequence of candidates, best first.

    Attributes:
        query: what was asked.
        seed: of the run.
        selection: the ranked list with its reasons.
        outcome: how many are on target, stable and new, and what came nearest.
        funnel: counts at every stage.
        seconds: computing time of all rounds, wall clock.
        record: the contents of `run.json`.
        folder: the run folder, or None.
        files: paths of the CIF files within the folder, best first; empty without a folder.
        targets: of the query and its component.
        drift: how the relaxed crystals differ from the training data of the surrogates, and how large errors are
            where values came back.
    """

    query: Query
    seed: int
    selection: Selection
    outcome: Outcome
    funnel: Funnel
    seconds: float
    record: Mapping[str, Any]
    folder: Path | None = None
    files: tuple[str, ...] = ()
    targets: tuple[Target, ...] = field(default=())
    drift: Drift | None = None

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.selection.ranked)

    @overload
    def __getitem__(self, place: int) -> Found: ...

    @overload
    def __getitem__(self, place: slice) -> list[Found]: ...

    def __getitem__(self, place: int | slice) -> Found | list[Found]:
        """The candidate at a place, 0 is the best, or those of a slice."""
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        item = self.selection.ranked[place]
        return Found(item, self.targets, self.files[place] if self.files else "")

    def __iter__(self) -> Iterator[Found]:
        """The candidates, best first."""
        return (self[k] for k in range(len(self)))

    @property
    def rows(self) -> list[Evaluation]:
        """The candidates with everything known of them, best first."""
        return self.selection.rows

    @property
    def structures(self) -> list[Structure]:
        """The relaxed crystals as pymatgen structures, best first; `Structure.properties` has ids and values."""
        return [found.structure for found in self]

    @property
    def atoms(self) -> list[Atoms]:
        """The relaxed crystals as ASE atoms, best first; `Atoms.info` has ids and values."""
        return [found.atoms for found in self]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per candidate, best first: the columns of `candidates.parquet`."""
        return ranked_table(self.selection, self.targets, self.files)

    def save(self, folder: str | Path) -> Result:
        """Write tables, `cif/`, `run.json`, `report.html` and the rest of a run folder into a new folder.

        Returns:
            The same result, with the folder and its files.

        Raises:
            OutputError: if the folder is not empty or cannot be written.
        """
        return self.write(export.new_folder(Path(folder)))

    def write(self, folder: Path) -> Result:
        """Write the same into the folder of the run itself; an earlier list in it is replaced."""
        files = tuple(export.write_cifs([row.crystal for row in self.rows], folder, verify=True))
        written = replace(self, folder=folder, files=files)
        write_run(folder, written.table, self.record)
        return written

    def summary(self) -> str:
        """The table's most telling columns and how the run went, as text."""
        lines = [self._text_table()] if len(self) else []
        lines += self.outcome.lines()
        if self.folder is not None:
            lines.append(f"wrote {self.folder / 'candidates.csv'}, cif/, run.json, report.html")
        if self.drift is not None and self.drift.errors:
            lines += self.drift.lines()
        return "\n".join(lines)

    def __repr__(self) -> str:
        """How it came out, and the best few."""
        head = f"<Result: {self.outcome.summary()}>"
        more = [f"  … {len(self) - 5} more"] if len(self) > 5 else []
        return "\n".join([head, *(f"  {found!r}" for found in self[:5]), *more])

    def _repr_html_(self) -> str:
        head, *rows = self._text_rows()
        lines = "".join(f"<p>{escape(line)}</p>" for line in self.outcome.lines())
        return lines + html_table(head, rows)

    def _text_table(self) -> str:
        """Aligned columns."""
        lines = self._text_rows()
        widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
        rows = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines)
        return "\n".join(row.rstrip() for row in rows)

    def _text_rows(self) -> list[list[str]]:
        """Rank, formula, group, score, the targets' properties and the distance to the hull; headings first."""
        names = dict.fromkeys([*(t.name for t in self.query.targets), "energy_above_hull"])
        known, every = self.query.known_properties, [found.values for found in self]
        shown = [name for name in names if any(name in values for values in every)]
        rows = [["rank", "formula", "space_group", "score", *shown, "file"]]
        for found, values in zip(self, every, strict=True):
            cells = [_with_error(values[n], known[n]) if n in values else "" for n in shown]
            head = [str(found.rank), found.formula, str(found.space_group or ""), f"{found.item.score:.3f}"]
            rows.append([*head, *cells, found.file])
        return rows


def _in_words(name: str, value: Value, known: Mapping[str, Property]) -> str:
    prop = known.get(name)
    label, unit = (prop.symbol, prop.unit) if prop else ("E_hull", "eV/atom")
    digits = 3 if unit == "eV/atom" else 1
    return f"{label} {value.mean:.{digits}f} ± {value.std:.{digits}f} {unit}".rstrip()


def _with_error(value: Value, prop: Property) -> str:
    digits = 3 if prop.unit == "eV/atom" else 1
    return f"{value.mean:.{digits}f} ± {value.std:.{digits}f}"


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
    """The ranked list as a table: the columns of `candidates.parquet`."""
    return export.frame(ranked_rows(selection, targets, files))


def ranked_rows(selection: Selection, targets: Sequence[Target], files: Sequence[str]) -> list[export.Row]:
    """The ranked list as rows, with what each candidate competes with, and why the best are predicted so."""
    known = build.reference()
    best = [item.row for item in selection.ranked[:EXPLAINED]]
    reasons = explained([row.crystal for row in best], [row.estimate or Estimate({}) for row in best], quiet)
    at = _on_map([row.crystal for row in selection.rows])
    makeable = _synthesizability(selection.rows)
    rows = []
    for place, item in enumerate(selection.ranked):
        row = {"file": files[place]} if files else {}
        row |= export.ranked_columns(item, meets_targets(item.row, targets))
        row |= _rivals(item.row.crystal, known) | at[place] | makeable[place]
        row |= reasons[place] if place < len(reasons) else {}
        rows.append(row)
    return rows


COMPUTED = "this formula was computed elsewhere (OQMD), structure not compared"
"""Remark on a formula of the OQMD."""


def _on_map(crystals: Sequence[Crystal]) -> list[export.Row]:
    """Where the crystals stand on the map of materials space; nothing for one that the gate cannot read."""
    from invdesign.report.materials_map import places
    from invdesign.surrogates import load_gate

    found = places(crystals, load_gate().model) if crystals else []
    return [{} if xy is None else {"map_x": xy[0], "map_y": xy[1]} for xy in found]


def _synthesizability(rows: Sequence[Evaluation]) -> list[export.Row]:
    """The score of each candidate; nothing where the table is missing."""
    from invdesign.errors import ReferenceMissingError
    from invdesign.synthesis.synthesizability import columns, score_crystals

    try:
        found = score_crystals([row.crystal for row in rows], [row.energy_above_hull for row in rows])
    except ReferenceMissingError:
        return [{} for _ in rows]
    return [dict(columns(each)) for each in found]


def _rivals(crystal: Crystal, known: LocalReference) -> export.Row:
    """What the crystal would decompose into, and whether its formula is known with another structure."""
    phases = known.decomposition(crystal.numbers)
    return {
        "decomposes_into": " + ".join(f"{share:.2f} {formula}" for formula, share in phases),
        "known_phases": known.phases_of_system(crystal.numbers),
        "formula_known": known.known_formula(crystal.numbers),
        "remark": COMPUTED if known.computed_elsewhere(crystal.numbers) else "",
    }
