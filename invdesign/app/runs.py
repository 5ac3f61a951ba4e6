"""Runs as a whole: how far one has come, which there are, what two differ in, an archive, and their end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import InputError, InvdesignError, LedgerError, OutputError
from invdesign.report import export

if TYPE_CHECKING:
    from invdesign.engine.status import RunStatus
    from invdesign.records import Evaluation

RUNS = Path("runs")
"""The folder that runs are made in by default."""


def ledger_at(run: str | Path) -> str | Path:
    """The ledger of a run: that of its folder, or the URL that is given.

    Raises:
        LedgerError: if there is none.
    """
    if "://" in str(run):
        return str(run)
    folder = Path(run)
    if not export.has_ledger(folder):
        raise LedgerError(f"{folder} holds no run: there is no {export.LEDGER} in it")
    return export.ledger_of(folder)


def status(run: str | Path) -> RunStatus:
    """How far a run has come; it may be running, in any process.

    Args:
        run: its folder, or the URL of its ledger.

    Raises:
        LedgerError: if there is no ledger, or it is damaged.
    """
    from invdesign.engine.database import is_running
    from invdesign.engine.ledger import Ledger
    from invdesign.engine.status import status as status_of

    where = ledger_at(run)
    with Ledger.read(where) as ledger:
        return status_of(ledger, is_running(where))


def runs(folder: str | Path = RUNS) -> list[dict[str, Any]]:
    """The runs in a folder and below it, by name; one that cannot be read has the reason in `failure`.

    Raises:
        InputError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("folder", str(folder), "a folder with runs")
    names = (export.LEDGER, export.LEDGER_URL)
    found = sorted({path.parent for name in names for path in folder.rglob(name) if path.is_file()})
    return [_row(each) for each in found]


def _row(folder: Path) -> dict[str, Any]:
    try:
        found = status(folder)
    except InvdesignError as error:
        return {"run": str(folder), "state": "unreadable", "failure": str(error)}
    return {
        "run": str(folder),
        "state": found.state,
        "rounds": f"{found.round}/{found.rounds}",
        "relaxed": f"{found.relaxed}/{found.relaxations}",
        "on_target": found.on_target,
        "seed": found.seed,
        "query": found.query,
    }


def compare(one: str | Path, other: str | Path) -> dict[str, Any]:
    """What two runs differ in, and what they have found in common.

    Candidates are the same where formula and space group are.

    Returns:
        `query`, `seed`, `version`, `parts` and `settings`, only where they differ: both values; `counts` of both;
        `common` candidates, and those that `only_one` and `only_other` have.

    Raises:
        LedgerError: if one has no ledger, or it is damaged.
    """
    first, second = _about(one), _about(other)
    differences: dict[str, Any] = {}
    for what in ("query", "seed", "version", "parts", "settings"):
        a, b = first[what], second[what]
        if a != b:
            differences[what] = _changed(a, b) if isinstance(a, Mapping) else [a, b]
    mine, theirs = first["found"], second["found"]
    return {
        "runs": [str(one), str(other)],
        "differences": differences,
        "counts": [first["counts"], second["counts"]],
        "common": [name for name in mine if name in theirs],
        "only_one": [name for name in mine if name not in theirs],
        "only_other": [name for name in theirs if name not in mine],
    }


def _about(run: str | Path) -> dict[str, Any]:
    from invdesign.engine.funnel import accepted
    from invdesign.engine.ledger import Ledger
    from invdesign.engine.pipeline import LENIENT
    from invdesign.engine.stored import stored_rows

    with Ledger.read(ledger_at(run)) as ledger:
        header, rows, query = ledger.header, stored_rows(ledger), ledger.query
    best = [row for row in rows if accepted(row, query.max_energy_above_hull, LENIENT)]
    best.sort(key=lambda row: (-row.score, row.candidate.id))
    return {
        **{name: getattr(header, name) for name in ("query", "seed", "version", "parts", "settings")},
        "counts": {"relaxed": len(rows), "stable_and_new": len(best)},
        "found": list(dict.fromkeys(map(_name, best))),
    }


def _name(row: Evaluation) -> str:
    from invdesign.chemistry.composition import reduced_formula
    from invdesign.crystallography.symmetry import space_group

    gene = row.crystal.gene
    return f"{reduced_formula(row.crystal.numbers)} ({gene.space_group if gene else space_group(row.crystal)})"


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {key: [one.get(key), other.get(key)] for key in {**one, **other} if one.get(key) != other.get(key)}


def archive(folder: str | Path, out: str | Path | None = None, overwrite: bool = False) -> Path:
    """Write a run folder as one zip file, its ledger as it is at one moment, wherever that is kept.

    Args:
        folder: the run folder; nothing in it is changed.
        out: the file (None: `FOLDER.zip` beside it).
        overwrite: whether a file that is there may be replaced.

    Raises:
        LedgerError: if there is no run, its ledger is damaged, or it is running.
        OutputError: if the file cannot be written.
    """
    from invdesign.engine.inspection import copy
    from invdesign.engine.ledger import Ledger

    folder = Path(folder)
    where = ledger_at(folder)
    target = folder.resolve().with_suffix(".zip") if out is None else Path(out)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already; choose another name, or overwrite it with --force")
    part = target.with_name(f".{target.name}.part")
    with Ledger.open(where) as ledger, tempfile.TemporaryDirectory() as work:  # refused while it is running
        saved = copy(ledger, Path(work) / export.LEDGER)
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as bundle:
                bundle.write(saved, f"{folder.resolve().name}/{export.LEDGER}")
                for path in sorted(folder.rglob("*")):
                    if (
                        path.is_file()
                        and not path.is_symlink()
                        and path not in (part, target)
                        and _goes_along(path)
                    ):
                        bundle.write(path, f"{folder.resolve().name}/{path.relative_to(folder)}")
            part.replace(target)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    return target


def _goes_along(path: Path) -> bool:
    """Whether a file is none of the ledger's own, which the copy stands for."""
    return not path.name.startswith((export.LEDGER, f".{export.LEDGER}", export.LEDGER_URL))


def files_of(folder: str | Path) -> list[Path]:
    """What `remove` would delete.

    Raises:
        LedgerError: if it is no run folder.
    """
    ledger_at(folder)
    return [path for path in sorted(Path(folder).rglob("*")) if not path.is_dir()]


def remove(folder: str | Path) -> None:
    """Delete a run: its folder with all that is in it, and its ledger where that is on a server.

    A damaged ledger does not keep its folder from being deleted.

    Raises:
        LedgerError: if there is no run, or a process is running on it.
        OutputError: if something cannot be deleted.
    """
    from invdesign.engine import server
    from invdesign.engine.database import is_running, path_of, translated

    folder = Path(folder)
    where = ledger_at(folder)
    if is_running(where):
        raise LedgerError(f"{folder}: a process is running on this ledger; stop it first")
    if path_of(where) is None:
        with translated(str(where)):
            server.drop_schema(str(where))
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be deleted: {error.strerror}") from None


def check_ledger(run: str | Path) -> tuple[int, Sequence[str]]:
    """Read every record of a ledger and compare those that belong together.

    Args:
        run: its folder, or the URL of its ledger.

    Returns:
        Number of rows, and what is inconsistent, in sentences.

    Raises:
        LedgerError: if there is no ledger, or a row is not as it was written.
    """
    from invdesign.engine.inspection import check_rows, problems
    from invdesign.engine.ledger import Ledger

    with Ledger.read(ledger_at(run)) as ledger:
        return check_rows(ledger), list(problems(ledger))
