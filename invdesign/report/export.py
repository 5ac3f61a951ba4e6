"""Tables and files: evaluations as rows of a table, crystals as CIF files that read back as the same crystal."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.chemistry.composition import integer_composition, reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.cif import TOLERANCES, gene_of, gene_text, p1_text
from invdesign.crystallography.genes import site_counts
from invdesign.crystallography.symmetry import space_group
from invdesign.elements import symbol
from invdesign.errors import OutputError
from invdesign.properties import PROPERTIES, SHIPPED
from invdesign.records import Estimate, Evaluation, Failure, Relaxation, Value
from invdesign.report.dictionary import INDEX

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from invdesign.selection.ranking import Ranked
    from invdesign.surrogates.explain.explanation import Explanation
    from invdesign.surrogates.explain.nearest import Neighbour

Row = dict[str, Any]

LEDGER = "ledger.sqlite"
LEDGER_URL = "ledger.url"
"""File that names the ledger of a run on a database server, without its password."""
FULL, LEAN = "candidates.parquet", "candidates.csv"


def new_folder(folder: Path) -> Path:
    """Make a folder for results.

    Raises:
        OutputError: if there is something in it already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        kind = "is not empty" if folder.is_dir() else "is a file"
        hint = f"; go on with: invdesign resume {folder}" if has_ledger(folder) else ""
        raise OutputError(f"output folder {folder} {kind}; choose another folder{hint}")
    return writable_folder(folder)


def writable_folder(folder: Path) -> Path:
    """Make a folder if it is not there, and see that it can be written.

    Raises:
        OutputError: if it cannot.
    """
    probe = folder / ".writable"
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"output folder {folder} is a file; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"output folder {folder} cannot be written: {error.strerror}") from None
    return folder


def has_ledger(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / LEDGER).exists() or (folder / LEDGER_URL).exists()


def ledger_of(folder: Path) -> str | Path:
    """Where the run of a folder is recorded: its file, or the URL of a server.

    Raises:
        OutputError: if the file with the URL cannot be read.
    """
    url = folder / LEDGER_URL
    if not url.exists():
        return folder / LEDGER
    try:
        return url.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{url} cannot be read: {error}") from None


def writable_file(path: Path) -> Path:
    """See that a file can be written, before the work for it is done.

    Raises:
        OutputError: if it cannot.
    """
    if path.is_dir():
        raise OutputError(f"output file {path} is a folder; give the name of a file")
    writable_folder(path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"output file {path} cannot be written: it is read-only")
    return path


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV, whole or not at all; no text in it is a formula for a spreadsheet.

    Raises:
        OutputError: if it cannot be written.
    """
    text = without_formulas(table).to_csv(index=False, float_format="%.6g")
    return write_text(text, path)


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins like this for a formula."""


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text and heading that a spreadsheet would run as a formula.

    Numbers stay as they are, also where they stand as text.
    """
    texts = [name for name in table if table[name].dtype.kind == "O"]
    found = table.assign(**{str(name): table[name].astype(object).map(_neutral) for name in texts})
    return found.rename(columns=_neutral)


def _neutral(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", "\n")  # a carriage return is not quoted, and ends the row for a spreadsheet
    if not cell.startswith(FORMULA):
        return text
    try:
        float(cell)
    except ValueError:
        return f"'{text}"
    return text


def original(cell: object) -> object:
    """A cell as it was before `without_formulas`."""
    marked = isinstance(cell, str) and cell.startswith("'") and cell[1:].startswith(FORMULA)
    return cell[1:] if marked else cell  # type: ignore[index]


def write_text(text: str, path: Path) -> Path:
    """Write a text file, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    return path


def write_json(data: Mapping[str, Any], path: Path) -> Path:
    """Write JSON, whole or not at all; NaN and infinities become null.

    Raises:
        OutputError: if it cannot be written.
    """
    return write_text(json_text(data) + "\n", path)


def json_text(data: Any, indent: int | None = 2) -> str:
    """Data as JSON; NaN and infinities become null."""
    return json.dumps(finite(data), indent=indent, ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """The same plain types for JSON, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_cifs(
    crystals: Sequence[Crystal], folder: Path, verify: bool = False, after: int = 0, digits: int | None = None
) -> list[str]:
    """Write crystals as `cif/NNN_Formula_SG.cif` and return these names, in the same order.

    Args:
        crystals: what to write.
        folder: the folder that `cif` is put into; files of an earlier run in `cif` are removed.
        verify: whether to read each file back and compare it with the crystal.
        after: number of files that were written before these; where there are any, nothing is removed.
        digits: of the numbers (None: as many as these crystals need, 3 at least).

    Raises:
        OutputError: if a file cannot be written.
    """
    digits = digits or max(3, len(str(len(crystals))))
    cifs = folder / "cif"
    names = []
    try:
        if not after:
            shutil.rmtree(cifs, ignore_errors=True)
        cifs.mkdir(parents=True, exist_ok=True)
        for place, crystal in enumerate(crystals, start=after + 1):
            text, group = verified_cif(crystal) if verify else plain_cif(crystal)
            name = f"{place:0{digits}d}_{file_stem(crystal)}_{group}.cif"
            (cifs / name).write_text(text, encoding="utf-8")
            names.append(f"cif/{name}")
    except OSError as error:
        raise OutputError(f"{cifs} cannot be written: {error.strerror}") from None
    return names


def file_stem(crystal: Crystal) -> str:
    """The reduced formula without parentheses: Ta(FeB2)2 is TaFe2B4."""
    counts = {symbol(z): n for z, n in integer_composition(crystal.numbers).items()}
    order = dict.fromkeys(re.findall(r"[A-Z][a-z]?", reduced_formula(crystal.numbers)))
    return "".join(f"{name}{counts[name] if counts[name] > 1 else ''}" for name in order)


def plain_cif(crystal: Crystal, tolerances: Sequence[float] = TOLERANCES) -> tuple[str, int]:
    """CIF text and its space group number, not read back."""
    gene = gene_of(crystal, tolerances)
    return (p1_text(crystal), 1) if gene is None else (gene_text(gene), gene.space_group)


def verified_cif(crystal: Crystal) -> tuple[str, int]:
    """CIF text that reads back as the same crystal with its space group, and that group's number.

    Symmetry is looked for with ever tighter tolerances; a crystal that survives none is written as P1.
    """
    from dataclasses import replace

    if crystal.gene is not None:
        text, group = plain_cif(crystal)
        if reads_back(text, crystal, group):
            return text, group
    bare = replace(crystal, gene=None)
    for symprec in TOLERANCES:
        text, group = plain_cif(bare, (symprec,))
        if reads_back(text, crystal, group, symprec):
            return text, group
    return p1_text(crystal), 1


def reads_back(text: str, crystal: Crystal, group: int, symprec: float = 0.01) -> bool:
    """Whether pymatgen reads the text as the same crystal, and spglib finds that space group in it."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.cif import CifParser

    from invdesign.data.convert import from_pymatgen, to_pymatgen

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = CifParser.from_str(text).parse_structures(primitive=False)[0]
    except (ValueError, IndexError):
        return False
    if space_group(from_pymatgen(found), symprec) != group:
        return False
    matcher = StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.5, primitive_cell=True, scale=False)
    return bool(matcher.fit(found, to_pymatgen(crystal)))


def structures(crystals: Iterable[Crystal]) -> list[Structure]:
    """The crystals as pymatgen structures, conventional where a gene is known."""
    from invdesign.data.convert import to_pymatgen

    return [to_pymatgen(crystal) for crystal in crystals]


def crystal_columns(crystal: Crystal) -> Row:
    """What a table says of the crystal itself; the space group is spglib's at 0.1 Å.

    `n_sites` counts the primitive cell, `n_sites_conventional` the cell that a CIF with symmetry has; without a
    symmetry both count the cell as it is.
    """
    primitive, conventional = site_counts(crystal)
    return {
        "formula": reduced_formula(crystal.numbers),
        "space_group": space_group(crystal),
        "n_sites": primitive,
        "n_sites_conventional": conventional,
    }


def value_columns(name: str, value: Value) -> Row:
    """Mean, standard deviation, 90 % interval and source of a property."""
    return {
        name: value.mean,
        f"{name}_std": value.std,
        f"{name}_low": value.low,
        f"{name}_high": value.high,
        f"{name}_source": value.source,
    }


def estimate_columns(estimate: Estimate | None) -> Row:
    """Every property of an estimate, the shipped ones in their order, and how far it is from the training data."""
    if estimate is None or estimate.failure:
        return {}
    columns: Row = {}
    for name in dict.fromkeys([*SHIPPED, *estimate.values]):
        if name in estimate.values:
            columns |= value_columns(name, estimate.values[name])
    if math.isfinite(estimate.metal_probability):
        columns["metal_probability"] = estimate.metal_probability
    return columns | {
        "training_distance": estimate.distance,
        "out_of_distribution": estimate.out_of_distribution,
        "ood_reason": estimate.ood_reason,
    }


def explanation_columns(explanation: Explanation) -> Row:
    """What elements, sites and features add to the values that surrogates gave, and the nearest known crystals.

    Moduli are in percent, since contributions to a logarithm multiply; other properties in their unit.
    """
    columns: Row = {}
    for name, why in explanation.reasons.items():
        value = explanation.estimate.values.get(name)
        if value is None or not value.source.startswith("surrogate"):
            continue
        features = {"surroundings": why.surroundings, "second stage": why.second_stage, **why.features}
        most = sorted(features, key=lambda family: -abs(features[family]))[:4]
        columns |= {
            f"{name}_by_element": _added({k: c.value for k, c in why.elements.items()}, why.log10),
            f"{name}_by_site": "; ".join(
                f"{s.element} {s.wyckoff} {_amount(s.contribution.value, why.log10)}" for s in why.sites
            ),
            f"{name}_by_feature": _added({family: features[family] for family in most}, why.log10),
        }
    if explanation.nearest:
        columns["nearest"] = "; ".join(map(_neighbour_text, explanation.nearest))
        columns["nearest_distance"] = explanation.nearest[0].distance
    return columns


def _added(parts: Mapping[str, float], log10: bool) -> str:
    return "; ".join(f"{name} {_amount(value, log10)}" for name, value in parts.items())


def _amount(value: float, log10: bool) -> str:
    return f"{100.0 * (10.0**value - 1.0):+.0f} %" if log10 else f"{value:+.2f}"


def _neighbour_text(known: Neighbour) -> str:
    """Formula, id, space group and computed values, e.g. `TiC mp-631 (225): K 253, G 178, E_f -0.81`."""
    digits = {"GPa": 0, "eV": 1, "eV/atom": 2}
    shown = (PROPERTIES[name] for name in ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy"))
    values = [f"{p.symbol} {known.values[p.name]:.{digits[p.unit]}f}" for p in shown if p.name in known.values]
    return f"{known.formula} {known.id} ({known.space_group}): {', '.join(values)}"


def verdict_columns(row: Evaluation) -> Row:
    """Every verdict with its reason."""
    columns: Row = {}
    for name, verdict in row.verdicts.items():
        columns[f"verdict_{name}"] = verdict.status.value
        columns[f"verdict_{name}_reason"] = verdict.reason
    return columns


def relaxation_columns(relaxation: Relaxation | None) -> Row:
    """How a relaxation went."""
    if relaxation is None:
        return {}
    return {
        "energy_per_atom": relaxation.energy_per_atom,
        "max_force": relaxation.max_force,
        "relaxation_steps": relaxation.steps,
        "converged": relaxation.converged,
        "rms_displacement": relaxation.rms_displacement,
        "volume_change": relaxation.volume_change,
        "potential": relaxation.potential,
        "relaxation_note": relaxation.note,
    }


def evaluation_columns(row: Evaluation) -> Row:
    """One evaluation as a row; the energy above hull is the relaxed one where there is one."""
    columns = crystal_columns(row.crystal) | estimate_columns(row.estimate)
    if row.energy_above_hull is not None:
        columns |= value_columns("energy_above_hull", row.energy_above_hull)
    columns |= verdict_columns(row) | relaxation_columns(row.relaxation)
    history = {
        "generator": row.candidate.generator,
        "id": row.candidate.id,
        "request": row.candidate.request,
        "parents": " ".join(row.candidate.parents),
    }
    return columns | history | {"failure": row.failure.reason if row.failure else ""}


def ranked_columns(item: Ranked, on_target: bool) -> Row:
    """One place of a ranked list as a row."""
    place: Row = {
        "rank": item.rank,
        "score": item.score,
        "meets_targets": on_target,
        "target_probability": item.probability,
        "pareto": item.pareto,
        "rank_low": item.rank_low,
        "rank_high": item.rank_high,
        "first_by_errors": item.first_by_errors,
        "first_by_weights": item.first_by_weights,
        **{f"rank_{method}": rank for method, rank in item.ranks.items()},
    }
    if item.families is not None:
        place |= {"anion_class": item.families.anion_class, "structure_type": item.families.structure_type}
    indices: Row = {}
    for name, value in item.indices.items():
        indices |= {f"{INDEX}{name}": value.mean, f"{INDEX}{name}_std": value.std}
    return place | evaluation_columns(item.row) | indices | {"verdict": item.verdict, "reason": item.reason}


def failure_columns(failure: Failure) -> Row:
    """An item that could not be processed, as a row."""
    return {"failure": f"{failure.stage}: {failure.reason}"}


WHOLE_NUMBERS = (
    "rank",
    "rank_low",
    "rank_high",
    "space_group",
    "space_group_before",
    "n_sites",
    "n_sites_conventional",
    "relaxation_steps",
)
FIRST = ("rank", "file", "source", "formula", "space_group", "n_sites", "score", "failure")


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table: columns that name a crystal first, the others in the order of their first appearance.

    Without rows it has the columns that name a crystal, so that its file can be read again.
    """
    import pandas as pd

    seen = dict.fromkeys(key for row in rows for key in row) or dict.fromkeys(FIRST)
    return ordered(pd.DataFrame(rows, columns=[*seen]))


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the columns that name a crystal first, and whole numbers as such, though cells may be empty."""
    order = [name for name in FIRST if name in table]
    table = table[[*order, *(name for name in table if name not in order)]].copy()
    for name in WHOLE_NUMBERS:
        if name in table:
            table[name] = table[name].astype("Int64")
    return table
