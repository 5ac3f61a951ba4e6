"""Options that several commands share, and how a command talks: progress, notes, tables."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from invdesign.errors import InvdesignWarning
from invdesign.executors import Workforce
from invdesign.progress import Progress, shown
from invdesign.query import Query
from invdesign.run_log import EVENTS, Readable

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])
DEFAULTS = Query()
STDOUT = "-"
QUIET = "quiet"


def conditions(function: F) -> F:
    """The options that say what is wanted; `design` and `generate` share them."""
    flags = (
        click.option("--target", "targets", multiple=True, metavar="TARGET",
                     help='Such as "bulk_modulus>=250", "density=3..5" or "band_gap=min"; may be repeated.'),
        click.option("--elements", metavar="A,B", help="Elements or classes of elements that may be used."),
        click.option("--required", metavar="A,B", help="Elements that must be used."),
        click.option("--exclude", metavar="A,B",
                     help="Elements or classes (toxic, lanthanides, …) that must not be used."),
        click.option("--chemical-system", metavar="A-B", help="Only these elements or some of them, e.g. Ti-B-N."),
        click.option("--all-elements", is_flag=True, help="All elements of the chemical system must be used."),
        click.option("--formula", metavar="FORMULA", help="The exact formula, e.g. TiAlN2."),
        click.option("--anonymous-formula", metavar="FORMULA", help="The stoichiometry, e.g. ABX3."),
        click.option("--n-elements", metavar="N|N..M", help="Number of elements, e.g. 3 or 2..4."),
        click.option("--n-sites", type=int, metavar="N", help="Atoms in the primitive cell, exactly."),
        click.option("--min-sites", type=int, metavar="N", help=f"At least [{DEFAULTS.min_sites}]."),
        click.option("--max-sites", type=int, metavar="N", help=f"At most [{DEFAULTS.max_sites}]."),
        click.option("--space-group", metavar="N,SYMBOL,SYSTEM",
                     help="Numbers, symbols or crystal systems: 225, Fm-3m, cubic."),
        click.option("--prototype", metavar="NAME", help="A structure type: perovskite, rock_salt, …"),
        click.option("--like", metavar="FILE|LABEL",
                     help="The prototype of a structure file, or its label, e.g. 221_a_b_d."),
    )  # fmt: skip
    return _with(function, flags)


def talk(function: F) -> F:
    """`--quiet` and `--verbose`."""
    flags = (
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet,
                     help="No progress and no notes."),
        click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose,
                     help="Events of a run, warnings of libraries, the traceback of a defect."),
    )  # fmt: skip
    return _with(function, flags)


def execution(function: F) -> F:
    """`--workers`, `--executor` and `--config`; the command gets what they say as `workers`."""

    @wraps(function)
    def call(*args: Any, workers: int | None, executor: str, config: str | None, **others: Any) -> Any:
        return function(*args, workers=_workforce(workers, executor, config), **others)

    return _with(cast(F, call), EXECUTION)


def _workforce(workers: int | None, executor: str, config: str | None) -> Workforce:
    """A number of processes on this machine, or an executor, which is stopped when the command ends."""
    from invdesign import executors

    chosen = executors.executor(executor, workers, config)
    if isinstance(chosen, executors.Local):
        return workers
    click.get_current_context().call_on_close(chosen.close)
    return chosen


def _with(function: F, flags: tuple[Callable[[F], F], ...]) -> F:
    for flag in reversed(flags):
        function = flag(function)
    return function


def _quiet(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.meta[QUIET] = True
        warnings.simplefilter("ignore", InvdesignWarning)


def _verbose(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        os.environ["INVDESIGN_DEBUG"] = "1"  # until the command has ended, see `invdesign.cli.process.run`
        warnings.simplefilter("default")
        EVENTS.addHandler(Readable())


SEED = click.option("--seed", type=click.IntRange(0), help="Seed of every random choice [0].")
EXECUTION = (
    click.option("--workers", type=click.IntRange(1), help="Worker processes [number of cores]."),
    click.option("--executor", default="local", metavar="NAME",
                 help="Where heavy tasks run: local, dask, dask://HOST:PORT, slurm, pbs or lsf [local]."),
    click.option("--config", metavar="FILE", help="With slurm, pbs or lsf: settings of dask-jobqueue, and jobs."),
)  # fmt: skip
POTENTIAL = click.option("--potential", metavar="NAME", help="sevennet-0, chgnet, … or package.module:factory.")
SURROGATE = click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    metavar="FILE",
    help="A custom property, from `train surrogate --property`; may be repeated.",
)
LOAD = click.option(
    "--load", type=float, metavar="N", help="Load of the Vickers hardness, newton: 0.05 to 50 [4.9]."
)
QUERY_LOAD = click.option(
    "--load",
    "hardness_load",
    type=float,
    metavar="N",
    help="Load of the Vickers hardness, newton: 0.05 to 50 [4.9].",
)
VALIDATOR = click.option(
    "--validator", "validators", multiple=True, metavar="NAME", help="A further validator; may be repeated."
)
PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")
TABLE = click.option(
    "--out", default=STDOUT, metavar="FILE", help="Table to write: .csv, or .json; - is the standard output [-]."
)
DIRECTORY = click.option(
    "--out", required=True, metavar="DIR", help="Folder to write; - writes the table to the standard output alone."
)
FORCE = click.option("--force", is_flag=True, help="Overwrite the output file if it exists.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the table to the standard output as JSON.")


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given on the command line, by name."""
    source = click.get_current_context().get_parameter_source
    return {key: value for key, value in flags.items() if source(key) is not ParameterSource.DEFAULT}


def is_quiet() -> bool:
    """Whether the command was asked for no progress and no notes."""
    return bool(click.get_current_context().meta.get(QUIET))


def note(text: str) -> None:
    """Say something on stderr, unless the command is quiet."""
    if not is_quiet():
        click.echo(text, err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """What a command tells its progress to."""
    with shown(not is_quiet()) as reporter:
        yield reporter


def output(out: str) -> Path | None:
    """The file or folder to write; None for the standard output."""
    return None if out == STDOUT else Path(out)


def tell(table: pd.DataFrame, path: Path | None, as_json: bool, noun: str, others: str = "failed") -> None:
    """Print a table to the standard output where that is asked for, and how many rows it has."""
    reasons = table["failure"].fillna("")
    failed = int((reasons != "").sum())
    why = f" ({reasons.mode()[0]})" if failed == len(table) else ""
    where = "" if path is None else f"; wrote {path}"
    summary = f"{len(table) - failed} {noun}, {failed} {others}{why}{where}"
    if path is not None and not as_json:
        click.echo(summary)
        return
    plain = table.drop(columns="crystal", errors="ignore")
    if as_json:
        from invdesign.app.tables import table_json

        click.echo(table_json(plain))
    else:
        from invdesign.report.export import without_formulas

        click.echo(without_formulas(plain).to_csv(index=False, float_format="%.6g"), nl=False)
    note(summary)
