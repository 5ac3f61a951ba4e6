"""What every benchmark does around its measurements: names, outputs, versions and tables for the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invdesign import build
from invdesign.errors import InputError, OutputError
from invdesign.report import export
from invdesign.tables import checksum


def check_output(out: Path) -> None:
    """Make sure that the record, and its table and journal beside it, have a place before any work.

    Raises:
        InputError: if the file is not called `*.json`: the other names are made from it.
        OutputError: if it cannot be written.
    """
    if out.suffix != ".json":
        raise InputError("out", str(out), "a file name that ends in .json")
    export.writable_file(out)


def write_text(text: str, path: Path) -> None:
    """Write a file beside the record.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def closing(relaxer: object, own: bool) -> Iterator[None]:
    """Let go of the worker processes of a relaxer at the end, unless somebody else owns it."""
    try:
        yield
    finally:
        close = getattr(relaxer, "close", None)
        if own and close is not None:
            close()


def check_names(names: Iterable[str], *more: str) -> None:
    """Refuse a generator that does not exist before anything is loaded.

    Raises:
        InputError: if a name is neither in the generators' table, nor `module:Class`, nor among `more`.
    """
    allowed = (*build.generator_names(), *more)
    for name in names:
        if ":" not in name and name not in allowed:
            raise InputError("generator", name, allowed)


def measured_with(potential: str) -> dict[str, Any]:
    """What a result depends on besides the plan: versions, weights, potential, tables, matcher."""
    from invdesign.reference.known import TABLE
    from invdesign.reference.local import FORMULA_TABLE, HULL_TABLE

    return {
        "versions": build.versions(),
        "weights": build.checksums(),
        "potential": potential,
        "hull": f"{HULL_TABLE} {checksum(HULL_TABLE)}, formation energies on the MP2020 scale",
        "known_crystals": f"{TABLE} {checksum(TABLE)}, {FORMULA_TABLE} {checksum(FORMULA_TABLE)}",
        "matcher": "pymatgen StructureMatcher: ltol 0.2, stol 0.3, angle_tol 5, primitive, scaled, either order",
    }
