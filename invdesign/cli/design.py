"""Commands of design runs and screens: design, resume, feedback, report, export, generate, screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invdesign.checks import number, whole
from invdesign.cli.options import (
    DEFAULTS,
    DIRECTORY,
    FORCE,
    JSON,
    PATHS,
    QUERY_LOAD,
    SEED,
    SURROGATE,
    VALIDATOR,
    conditions,
    execution,
    given,
    note,
    output,
    progress,
    talk,
    tell,
)
from invdesign.cli.process import InterruptedRunError, TerminatedError
from invdesign.errors import InputError
from invdesign.executors import Workforce, checked, counted_here
from invdesign.progress import Progress
from invdesign.query import Query
from invdesign.query_fields import SAMPLERS, SEARCHES

if TYPE_CHECKING:
    from invdesign.app.result import Result
    from invdesign.app.screen import Screened
    from invdesign.engine.campaign import Step

RUN_KEYS = ("seed", "out", "workers", "minutes")
"""Keys of a query file that say how to run, beside those of the query."""


@click.command(short_help="Find crystals that meet a query.")
@click.argument("query_file", required=False, metavar="[QUERY.yaml]")
@conditions
@click.option("--start", multiple=True, metavar="FILE", help="A structure to start from; may be repeated.")
@click.option("--keep", metavar="A,B", help="Elements whose sublattices in these structures are kept.")
@click.option(
    "--generator", metavar="NAME", help=f"vae, gan, substitution, random, mixture [{DEFAULTS.generator}]."
)
@VALIDATOR
@click.option("--component", metavar="NAME", help="What the material is for, e.g. cutting_tool.")
@click.option("-n", "n", type=int, help=f"Number of candidates wanted [{DEFAULTS.n}].")
@click.option(
    "--max-energy-above-hull",
    type=float,
    metavar="EV",
    help=f"Stability limit, eV/atom [{DEFAULTS.max_energy_above_hull:g}].",
)
@QUERY_LOAD
@click.option("--relaxations", type=int, help=f"Largest number of relaxations [{DEFAULTS.relaxations}].")
@click.option(
    "--minutes", type=float, metavar="M", help="Time for the run: fewer relaxations where they do not fit."
)
@SURROGATE
@click.option("--search", metavar="|".join(SEARCHES), help=f"How a run looks for candidates [{DEFAULTS.search}].")
@click.option("--sampler", metavar="|".join(SAMPLERS), help=f"Optuna's, for --search optuna [{DEFAULTS.sampler}].")
@click.option(
    "--dynamics/--no-dynamics",
    default=None,
    help="Whether listed crystals are shaken, and give their place to what they become on a saddle point [yes].",
)
@click.option("--correction", metavar="FILE", help="A proposal correction that `learn` has made.")
@SEED
@execution
@click.option("--out", metavar="DIR", help="Run folder [runs/<date-time>].")
@click.option("--ledger", metavar="URL", help="Record on a server: postgresql+psycopg://USER@HOST/DB [a file].")
@click.option("--dry-run", is_flag=True, help="Say what the run would do and cost, and what is known, and stop.")
@JSON
@talk
def design(query_file: str | None, ledger: str | None, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Find crystals that meet a query: from QUERY.yaml, from options, or both (options win)."""
    from invdesign.app import design as app

    wishes = (_yaml(query_file) if query_file else {}) | given(flags)
    run = _run_settings({key: wishes.pop(key) for key in RUN_KEYS if key in wishes})
    query = app.checked_query(Query.from_dict(wishes))
    if dry_run:
        _plan(query, run.get("minutes"), run.get("workers"), as_json)
        return
    folder = Path(run.get("out") or app.new_run_folder())
    with _run_in(folder, is_new=True) as reporter:
        result = app.design(
            query,
            run.get("seed", 0),
            folder,
            minutes=run.get("minutes"),
            workers=run.get("workers"),
            ledger=ledger,
            progress=reporter,
            callback=_say_round,
        )
    _show(result, as_json)


@click.command(short_help="Go on with what was stopped, or search on after a run.")
@click.argument("folder", metavar="DIR")
@click.option("--more", type=click.IntRange(1), metavar="N", help="Relaxations to add to the finished run.")
@execution
@JSON
@talk
def resume(folder: str, more: int | None, workers: Workforce, as_json: bool) -> None:
    """Go on with a run or a screen that was stopped, or search on after a run."""
    from invdesign.app import design as app
    from invdesign.app import screen as screens

    if screens.is_screen(Path(folder)):
        if more is not None:
            raise InputError("more", more, "none: a screen relaxes nothing")
        with _run_in(Path(folder)) as reporter:
            found = screens.resume(folder, workers=workers, progress=reporter)
        _show_screen(found, as_json)
        return
    with _run_in(Path(folder)) as reporter:
        result = app.resume(Path(folder), more=more, workers=workers, progress=reporter)
    _show(result, as_json)


@click.command(short_help="Rank a run again with values that came back.")
@click.argument("folder", metavar="DIR")
@click.argument("results", metavar="RESULTS.csv")
@execution
@JSON
@talk
def feedback(folder: str, results: str, workers: Workforce, as_json: bool) -> None:
    """Rank a finished run again with values that were measured, or computed by DFT, for some candidates."""
    from invdesign.app import design as app

    with _run_in(Path(folder)) as reporter:
        result = app.feedback(Path(folder), Path(results), workers=workers, progress=reporter)
    _show(result, as_json)


@click.command()
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write report.html of a run folder again."""
    from invdesign.app import design as app

    click.echo(f"wrote {app.report(Path(folder))}")


@click.command("export", short_help="Candidates or inputs for other programs.")
@click.argument("folder", metavar="DIR")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="Candidates as cif, poscar, extxyz, pymatgen, ase-db, parquet, optimade, csv or zip; may be repeated.",
)
@click.option("--for", "program", metavar="vasp|qe|cp2k", help="Inputs for the crystals most worth a calculation.")
@click.option(
    "--top", type=click.IntRange(1), default=10, show_default=True, help="With --for: crystals, at most."
)
@click.option("--out", metavar="PATH", help="File or folder to write [in the run folder].")
@FORCE
def export_run(
    folder: str, formats: tuple[str, ...], program: str | None, top: int, out: str | None, force: bool
) -> None:
    """Write the candidates of a run in formats of other programs, or inputs of an electronic structure program.

    Give --format, or --for: inputs for those crystals that are most worth a calculation, each with the reason.
    """
    if bool(formats) == bool(program):
        raise click.UsageError("give --format NAME (candidates) or --for vasp|qe|cp2k (inputs)")
    if program:
        from invdesign.app.questions import export_questions

        target, asked = export_questions(folder, program, top, out)
        for question in asked:
            click.echo(f"{question.row.candidate.id}  value {question.value:.4f}  {question.why}")
        click.echo(f"wrote {target}: {len(asked)} crystals")
        return
    from invdesign.app import export as app

    for path in app.export_run(Path(folder), formats, out, overwrite=force):
        click.echo(f"wrote {path}")


@click.command("import", short_help="Read finished calculations and rank a run again.")
@click.argument("folder", metavar="DIR")
@PATHS
@execution
@JSON
@talk
def import_run(folder: str, paths: tuple[str, ...], workers: Workforce, as_json: bool) -> None:
    """Read finished calculations (vasprun.xml, OUTCAR, Quantum ESPRESSO, extended XYZ) and rank the run again."""
    from invdesign.app.imports import import_calculations, lines_of

    with _run_in(Path(folder)) as reporter:
        found = import_calculations(folder, paths, workers=workers, progress=reporter)
    for line in lines_of(found):
        note(line)
    assert found.result is not None
    _show(found.result, as_json)


@click.command(short_help="Sample crystals from a generator, as they come.")
@click.argument("generator", metavar="NAME")
@conditions
@click.option("-n", "n", type=click.IntRange(1), default=100, show_default=True, help="Number of samples.")
@click.option("--guidance", type=float, default=1.0, show_default=True, help="Weight of the conditions.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Sampling temperature.")
@click.option("--format", "form", type=click.Choice(["cif", "extxyz"]), default="cif", show_default=True)
@SEED
@DIRECTORY
@JSON
@talk
def generate(
    generator: str, n: int, guidance: float, temperature: float, form: str, seed: int | None, out: str,
    as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Sample crystals from a generator: unscreened and unrelaxed."""
    query = Query.from_dict(given(flags) | {"generator": generator})
    from invdesign.app import generate as app

    folder = output(out)
    with progress() as reporter:
        table = app.generate(
            query, n, seed or 0, folder, form=form, guidance=guidance, temperature=temperature, progress=reporter
        )
    tell(table, None if folder is None else folder / "candidates.csv", as_json, "crystals")


@click.command(short_help="Judge very many candidates by the screening surrogate.")
@conditions
@click.option("-n", "--n", "n", type=click.IntRange(1), required=True, help="Candidates to generate.")
@click.option("--keep", type=click.IntRange(1), default=1000, show_default=True, help="Length of the list.")
@click.option(
    "--shard",
    type=click.IntRange(1),
    metavar="N",
    help="Candidates of one task and file [1,000 or more, at most a thousand files or so].",
)
@click.option(
    "--generator", metavar="NAME", help=f"vae, gan, substitution, random, mixture [{DEFAULTS.generator}]."
)
@VALIDATOR
@click.option("--component", metavar="NAME", help="What the material is for, e.g. cutting_tool.")
@click.option(
    "--max-energy-above-hull",
    type=float,
    metavar="EV",
    help=f"Stability limit, eV/atom [{DEFAULTS.max_energy_above_hull:g}].",
)
@QUERY_LOAD
@SURROGATE
@click.option("--correction", metavar="FILE", help="A proposal correction that `learn` has made.")
@SEED
@execution
@click.option("--out", required=True, metavar="DIR", help="Folder to make.")
@JSON
@talk
def screen(
    n: int, keep: int, shard: int | None, seed: int | None, workers: Workforce, out: str,
    as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Generate, check and judge very many candidates, and keep the best; nothing is relaxed.

    All candidates are written to parquet files, one for each shard. A screen that was stopped goes on with
    `invdesign resume DIR`.
    """
    from invdesign.app import screen as app

    query, folder = Query.from_dict(given(flags)), Path(out)
    with _run_in(folder) as reporter:
        found = app.screen(query, n, seed or 0, folder, keep=keep, shard=shard, workers=workers, progress=reporter)
    _show_screen(found, as_json)


COMMANDS = (design, resume, feedback, report, export_run, import_run, generate, screen)


@contextmanager
def _run_in(folder: Path, is_new: bool = False) -> Iterator[Progress]:
    """What a run tells its progress to; names a new run folder at its start, and any where Ctrl-C ends it."""
    from invdesign.app.screen import is_screen
    from invdesign.report.export import has_ledger

    try:
        with progress() as reporter:
            yield _announcing(folder, reporter) if is_new else reporter
    except (KeyboardInterrupt, click.Abort) as error:
        if has_ledger(folder) or is_screen(folder):
            raise InterruptedRunError(folder, isinstance(error, TerminatedError)) from None
        raise


def _say_round(step: Step) -> None:
    note(step.line())


def _announcing(folder: Path, reporter: Progress) -> Progress:
    named = False

    def tell(stage: str, done: int, total: int | None) -> None:
        nonlocal named
        if not named:
            note(f"run folder: {folder}")
            named = True
        reporter(stage, done, total)

    return tell


def _show(result: Result, as_json: bool) -> None:
    if not as_json:
        click.echo(result.summary())
        return
    from invdesign.app.tables import rows_json

    click.echo(rows_json({**result.record, "folder": str(result.folder)}, result.table))


def _show_screen(found: Screened, as_json: bool) -> None:
    from invdesign.app.tables import rows_json

    click.echo(rows_json(found.record, found.table) if as_json else "\n".join(found.lines()))


def _plan(query: Query, minutes: float | None, workers: Workforce, as_json: bool) -> None:
    import json

    from invdesign.app.plan import plan, within

    here = counted_here(workers)
    found = plan(query if minutes is None else within(query, minutes, here), here)
    click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if as_json else "\n".join(found.lines()))


def _yaml(path: str) -> dict[str, Any]:
    from invdesign.settings import read_yaml

    return read_yaml(Path(path), "query file")


def _run_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Seed, workers and output folder, checked as the options are: a query file may hold them too."""
    if "seed" in settings:
        whole("seed", settings["seed"], 0)
    checked(settings.get("workers"))
    if "minutes" in settings:
        from invdesign.app.plan import LONGEST

        number("minutes", settings["minutes"], 0.0, LONGEST, "minutes")
    if not isinstance(settings.get("out", ""), str):
        raise InputError("out", settings["out"], "the name of a folder")
    return settings
