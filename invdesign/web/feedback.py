"""Values that came back for candidates of a run: checked as the command line checks them, then told to the run."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path

from invdesign.engine import feedback as results
from invdesign.errors import InputError
from invdesign.properties import Property
from invdesign.report.candidates import Run
from invdesign.report.export import write_text
from invdesign.web import candidates, processes
from invdesign.web.folder import Runs
from invdesign.web.form import Upload
from invdesign.web.state import workers_of


def measurable(run: Run) -> list[Property]:
    """Properties of which a value may come back."""
    columns = {column for row in run.rows for column in row}
    return [prop for name, prop in run.properties.items() if name in columns]


def start(runs: Runs, name: str, sent: Upload | None, fields: Mapping[str, str]) -> None:
    """Rank a run again with values that came back.

    Args:
        runs: the folder of runs.
        name: of a finished run.
        sent: a table as `invdesign feedback` reads it; None: the values of `fields`.
        fields: `candidate`, `property`, `value`, `std`.

    Raises:
        InvdesignError: with the line that the command line would say.
    """
    folder = runs.run(name)
    found = candidates.run(folder)
    path = _written(runs.beside(name), sent, fields)
    ids = {str(row.get("file")): str(row.get("id")) for row in found.rows}
    told = results.read(path, ids, found.properties)
    unknown = [candidate for candidate in told if candidate not in ids.values()]
    if unknown:
        raise InputError("candidate", unknown[0], list(ids.values()))
    processes.start(runs, name, ["feedback", str(folder), str(path), *workers_of(runs, name)])


def _written(folder: Path, sent: Upload | None, fields: Mapping[str, str]) -> Path:
    path = folder / f"feedback-{time.time_ns()}.csv"
    if sent is not None:
        path.write_bytes(sent.content)
        return path
    candidate, prop, value, std = (fields.get(k, "").strip() for k in ("candidate", "property", "value", "std"))
    head, row = ["id", prop], [candidate, value]
    if std:
        head, row = [*head, f"{prop}_std"], [*row, std]
    text = io.StringIO()
    csv.writer(text).writerows([head, row])
    return write_text(text.getvalue(), path)
