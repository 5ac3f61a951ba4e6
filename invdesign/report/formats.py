"""Candidates of a run in the formats of other programs, with ids and predictions in each."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import Crystal
from invdesign.data.convert import to_ase, to_pymatgen
from invdesign.elements import symbol
from invdesign.errors import InputError, OutputError
from invdesign.report import export
from invdesign.report.candidates import Row, Run, number, read_run, read_table
from invdesign.report.export import FULL, LEAN
from invdesign.report.folder import DICTIONARY, PACKAGE, REFERENCES, write_parquet

if TYPE_CHECKING:
    from ase import Atoms

OPTIMADE_VERSION = "1.2.0"
STRUCTURE = ("lattice_parameters", "atomic_numbers", "frac_coords")
"""Columns of a structure in a table, as `invdesign.data` reads them."""
ANONYMOUS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
RUN_FILES = (LEAN, FULL, DICTIONARY, PACKAGE, REFERENCES, "run.json", "report.html")
"""What a zip of a run holds beside its CIF files; the ledger stays behind."""


@dataclass(frozen=True)
class Item:
    """One candidate with what is exported of it.

    Attributes:
        row: its row of the full table.
        crystal: in the cell of its CIF.
    """

    row: Row
    crystal: Crystal

    @property
    def id(self) -> str:
        """The name of the candidate in its run."""
        return str(self.row.get("id") or self.row.get("file"))

    @property
    def stem(self) -> str:
        """The name of its CIF without the ending."""
        return Path(str(self.row["file"])).stem

    def about(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Id, place, checks and the properties with their standard deviations."""
        keys = ("id", "rank", "formula", "space_group", "score", "potential", "generator")
        found = {key: _plain(self.row[key]) for key in keys if key in self.row}
        for name in properties:
            for key in (name, f"{name}_std"):
                if (value := number(self.row.get(key))) is not None:
                    found[key] = value
        return found


Writer = Callable[[Sequence[Item], Run, Path], Path]


class Format(NamedTuple):
    """A format: the name of what is written into the run folder, and what writes it."""

    name: str
    write: Writer


def export_run(folder: Path, form: str, out: Path | None = None) -> Path:
    """Write the candidates of a run folder in one format.

    Args:
        folder: the run folder.
        form: a key of `FORMATS`.
        out: file or folder to write (None: beside the run's own files, see `FORMATS`).

    Returns:
        What was written.

    Raises:
        InputError: for an unknown format, a folder without a run, or a run without crystals.
        OutputError: if it cannot be written.
    """
    if form not in FORMATS:
        raise InputError("format", form, sorted(FORMATS))
    name, write = FORMATS[form].name, FORMATS[form].write
    run = read_run(folder)
    items = [Item(row, crystal) for row in run.rows if (crystal := run.crystal(row)) is not None]
    if not items and form not in TABLES:
        raise InputError("run folder", str(folder), "a run with candidates whose CIF files can be read")
    target = out or folder / name
    export.writable_file(target) if target.suffix else export.writable_folder(target)
    try:
        return write(items, run, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from None


def _cif(items: Sequence[Item], run: Run, path: Path) -> Path:
    """One CIF with a data block per candidate, each with its tags."""
    from invdesign.report.cif_tags import tags

    blocks = []
    for item in items:
        text, _ = export.verified_cif(item.crystal)
        body = text.split("\n", 1)[1]
        blocks.append(f"data_{item.stem}\n{body.rstrip()}\n{tags(item.row, run.record)}")
    return export.write_text("\n".join(blocks), path)


def _poscar(items: Sequence[Item], run: Run, folder: Path) -> Path:
    """One POSCAR per candidate; the comment line has formula, id and what was predicted."""
    from pymatgen.io.vasp import Poscar

    for item in items:
        shown = [t.name for t in run.targets] or ["bulk_modulus", "shear_modulus"]
        values = " ".join(f"{n}={v:.4g}" for n in shown if (v := number(item.row.get(n))) is not None)
        poscar = Poscar(
            to_pymatgen(item.crystal), comment=f"{item.row.get('formula', '')} {item.id} {values}".strip()
        )
        export.write_text(poscar.get_str(significant_figures=10), folder / f"{item.stem}.vasp")
    return folder


def _extxyz(items: Sequence[Item], run: Run, path: Path) -> Path:
    """All candidates as frames of one file, values as keys of the comment line."""
    from ase.io import write

    write(path, [_atoms(item, run) for item in items], format="extxyz")
    return path


def _atoms(item: Item, run: Run) -> Atoms:
    atoms = to_ase(item.crystal)
    atoms.info.update(item.about(run.properties))
    return atoms


def _pymatgen(items: Sequence[Item], run: Run, path: Path) -> Path:
    """A list of structures as `Structure.as_dict` gives them, values under `properties`."""
    entries = []
    for item in items:
        structure = to_pymatgen(item.crystal)
        structure.properties = item.about(run.properties)
        entries.append(structure.as_dict())
    return export.write_text(export.json_text(entries), path)


def _ase_db(items: Sequence[Item], run: Run, path: Path) -> Path:
    """An ASE database; keys are those of the table, `candidate` is the id."""
    from ase.db import connect

    path.unlink(missing_ok=True)
    with connect(str(path), type="db") as database:
        for item in items:
            about = item.about(run.properties)
            pairs = {"candidate": about.pop("id", item.id)} | {k: v for k, v in about.items() if k != "formula"}
            database.write(to_ase(item.crystal), **pairs)
    return path


def _parquet(items: Sequence[Item], run: Run, path: Path) -> Path:
    """The full table with lattice, elements and coordinates of every candidate, which invdesign reads again."""
    import pandas as pd

    assert run.folder is not None
    crystals = {str(item.row["file"]): item.crystal for item in items}
    rows = [dict(row) | _structure(crystals.get(str(row.get("file")))) for row in run.rows]
    columns = dict.fromkeys([*map(str, read_table(run.folder)), *STRUCTURE])
    return write_parquet(pd.DataFrame(rows, columns=list(columns)), path)


def _structure(crystal: Crystal | None) -> dict[str, Any]:
    if crystal is None:
        return {}
    return {
        "lattice_parameters": list(crystal.lattice_parameters),
        "atomic_numbers": crystal.numbers.tolist(),
        "frac_coords": crystal.frac_coords.ravel().tolist(),
    }


def _optimade(items: Sequence[Item], run: Run, path: Path) -> Path:
    """An answer of the `structures` endpoint of OPTIMADE, predictions as `_invdesign_…` properties."""
    data = [{"type": "structures", "id": item.id, "attributes": _attributes(item, run)} for item in items]
    version = str((run.record.get("versions") or {}).get("invdesign", ""))
    meta = {
        "api_version": OPTIMADE_VERSION,
        "query": {"representation": "/structures"},
        "more_data_available": False,
        "data_returned": len(data),
        "implementation": {"name": "invdesign", "version": version},
    }
    return export.write_text(export.json_text({"data": data, "meta": meta}), path)


def _attributes(item: Item, run: Run) -> dict[str, Any]:
    crystal = item.crystal
    counts = {symbol(z): n for z, n in integer_composition(crystal.numbers).items()}
    elements = sorted(counts)
    total = sum(counts.values())
    names = [symbol(int(z)) for z in crystal.numbers]
    reduced = "".join(f"{name}{counts[name] if counts[name] > 1 else ''}" for name in elements)
    shares = sorted(counts.values(), reverse=True)
    anonymous = "".join(f"{letter}{n if n > 1 else ''}" for letter, n in zip(ANONYMOUS, shares, strict=False))
    about = item.about(run.properties)
    return {
        "immutable_id": item.id,
        "last_modified": None,
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [counts[name] / total for name in elements],
        "chemical_formula_descriptive": str(item.row.get("formula", reduced)),
        "chemical_formula_reduced": reduced,
        "chemical_formula_anonymous": anonymous,
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": crystal.lattice.tolist(),
        "cartesian_site_positions": (crystal.frac_coords @ crystal.lattice).tolist(),
        "nsites": crystal.n_sites,
        "species": [{"name": n, "chemical_symbols": [n], "concentration": [1.0]} for n in elements],
        "species_at_sites": names,
        "structure_features": [],
        **{f"_invdesign_{name}": value for name, value in about.items() if name not in ("id", "formula")},
    }


def _csv(items: Sequence[Item], run: Run, path: Path) -> Path:
    """Every column of the full table."""
    assert run.folder is not None
    return export.write_table(read_table(run.folder), path)


def _zip(items: Sequence[Item], run: Run, path: Path) -> Path:
    """The run without its ledger: tables, their schema, record, report, references and CIF files."""
    folder = run.folder
    assert folder is not None
    files = [folder / name for name in RUN_FILES if (folder / name).is_file()]
    files += sorted((folder / "cif").glob("*.cif"))
    draft = path.with_name(path.name + ".part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"{folder.resolve().name}/{file.relative_to(folder).as_posix()}")
    draft.replace(path)
    return path


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


FORMATS: Mapping[str, Format] = {
    "cif": Format("candidates.cif", _cif),
    "poscar": Format("poscar", _poscar),
    "extxyz": Format("candidates.extxyz", _extxyz),
    "pymatgen": Format("candidates.json", _pymatgen),
    "ase-db": Format("candidates.db", _ase_db),
    "parquet": Format("candidates_with_structures.parquet", _parquet),
    "optimade": Format("candidates.optimade.json", _optimade),
    "csv": Format("candidates_full.csv", _csv),
    "zip": Format("candidates.zip", _zip),
}
"""Formats by their names."""
TABLES = ("csv", "parquet", "zip")
"""Formats that a run without a readable crystal has as well."""
