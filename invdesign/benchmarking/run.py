"""What every benchmark does around its measurements: names, outputs, versions and tables for the record."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invdesign import build
from invdesign.errors import InputError, OutputError
from invdesign.report import export
from invdesign.tables import checksum, path_of
from invdesign.training.sheet import commit


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


TABLES = {
    "vae": ("vae.safetensors",),
    "gan": ("gan.safetensors",),
    "substitution": ("substitution.npz", "known_crystals.parquet"),
    "random": ("random_genes.npz",),
}
"""Generator to the tables that it reads."""
JUDGES = (
    "surrogate_gate.safetensors",
    "hull.parquet",
    "known_crystals.parquet",
    "known_formulas.parquet",
    "energy_scale_sevennet-0.json",
)
"""Tables by which samples and relaxed crystals are judged."""


def tables_of(generators: Iterable[str], *more: str) -> list[str]:
    """Tables that the figures of generators depend on, and some more, each once."""
    own = [name for generator in generators for name in TABLES.get(generator, ())]
    return list(dict.fromkeys([*own, *JUDGES, *more]))


REPEATABLE = "yes"
"""What a record says of itself as long as the tables that it depends on are those of the package."""


def run_of(command: str, seed: object, depends_on: Sequence[str] = ()) -> dict[str, Any]:
    """What a record says of the run that made it.

    Args:
        command: to make it again, from the root of the repository.
        seed: of everything random, or words.
        depends_on: file names of the tables and weights that the figures depend on.

    Returns:
        `command`, `seed`, `commit` of the checkout, `versions`, `hardware`, `tables` (checksums of what the
        figures depend on) and `repeatable`: `yes`, or why not, which `scripts/mark_records.py` writes after these
        tables have changed.
    """
    return {
        "command": command,
        "seed": seed,
        "commit": commit(Path(__file__).resolve().parents[2]),
        "versions": build.versions(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count() or 1},
        "tables": {name: checksum(name) for name in depends_on},
        "repeatable": REPEATABLE,
    }


def write_record(
    out: Path, figures: Mapping[str, Any], seed: object, depends_on: Sequence[str] = (), command: str | None = None
) -> dict[str, Any]:
    """Write the record of a benchmark: its figures, after what there is to say of the run.

    Args:
        out: `FILE.json`.
        figures: by name.
        seed: as in `run_of`.
        depends_on: as in `run_of`.
        command: as in `run_of`; None: that of this process.

    Returns:
        what was written.

    Raises:
        OutputError: if it cannot be written.
    """
    record = {"run": run_of(command or command_line(sys.argv), seed, depends_on), **figures}
    export.write_json(record, out)
    return record


def changed(record: Mapping[str, Any]) -> list[str]:
    """Tables that a record depends on and that are others now, or gone."""
    found = []
    for name, before in record["run"]["tables"].items():
        now = checksum(name) if path_of(name).is_file() else None
        if now != before:
            found.append(name)
    return found


FOLDERS = ("--data", "--cache", "--work")
"""Options whose values are folders of the machine that a command runs on."""


def command_line(arguments: Sequence[str]) -> str:
    """A script's command as others would write it: no folders of this machine."""
    script, *given = arguments
    words = [f"python benchmarks/{Path(script).name}"]
    for before, word in zip(["", *given], given, strict=False):
        words.append("DIR" if before in FOLDERS else Path(word).name if "/" in word else word)
    return " ".join([words[0], *map(shlex.quote, words[1:])])
