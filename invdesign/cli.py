"""The command line. Each command reads its arguments and calls one function of `invdesign.app`.

Nothing heavy is imported before a command runs. Results go to stdout, progress and errors to stderr. Every error
of the user is one line and exit code 2.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from invdesign import __version__
from invdesign.errors import InputError, InvdesignError
from invdesign.query import SEARCHES, Query

if TYPE_CHECKING:
    import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
DEFAULTS = Query()
RUN_KEYS = ("seed", "out", "workers")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # it writes notes about cells to stderr
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 (a defect), 2 (wrong input) or 130 (interrupted)."""
    if not os.environ.get("INVDESIGN_DEBUG"):
        warnings.simplefilter("ignore")
    try:
        code = commands.main(args=None if args is None else list(args), standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except InvdesignError as error:
        return _say(str(error), 2)
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted; a design run goes on with: invdesign resume DIR", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _unexpected(error)
    return code if isinstance(code, int) else 0


def _say(message: str, code: int) -> int:
    click.echo(f"invdesign: {' '.join(message.split())}", err=True)
    return code


def _unexpected(error: Exception) -> int:
    if os.environ.get("INVDESIGN_DEBUG"):
        traceback.print_exception(error)
        return 1
    hint = "set INVDESIGN_DEBUG=1 to see the traceback"
    return _say(f"unexpected {type(error).__name__}: {error} ({hint})", 1)


@click.group(name="invdesign", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="invdesign")
def commands() -> None:
    """Target properties in, ranked and verified crystals out."""


def _conditions(function: F) -> F:
    """The flags that say what is wanted; `design` and `generate` share them."""
    flags = (
        click.option("--target", "targets", multiple=True, metavar="TARGET",
                     help='Such as "bulk_modulus>=250", "density=3..5" or "band_gap=min"; may be repeated.'),
        click.option("--elements", metavar="A,B", help="Elements that may be used."),
        click.option("--required", metavar="A,B", help="Elements that must be used."),
        click.option("--exclude", metavar="A,B", help="Elements that must not be used."),
        click.option("--chemical-system", metavar="A-B", help="Only these elements, e.g. Ti-B-N."),
        click.option("--space-group", metavar="N|SYSTEM", help="A number, or a crystal system such as cubic."),
        click.option("--max-sites", type=int, help=f"Most atoms in the primitive cell [{DEFAULTS.max_sites}]."),
    )  # fmt: skip
    for flag in reversed(flags):
        function = flag(function)
    return function


SEED = click.option("--seed", type=click.IntRange(0), help="Seed of every random choice [0].")
WORKERS = click.option("--workers", type=click.IntRange(1), help="Worker processes [number of cores].")
POTENTIAL = click.option("--potential", metavar="NAME", help="sevennet-0, chgnet, … or package.module:factory.")
SURROGATE = click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    metavar="FILE",
    help="A custom property, from `train surrogate --property`; may be repeated.",
)
HARDNESS_LOAD = click.option(
    "--load",
    "hardness_load",
    type=float,
    metavar="N",
    help="Load of the Vickers hardness, newton: 0.05 to 50 [4.9].",
)
PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")
CSV = click.option("--out", required=True, metavar="FILE.csv", help="Table to write.")
DIRECTORY = click.option("--out", required=True, metavar="DIR", help="Folder to write.")


@commands.command()
@click.argument("query_file", required=False, metavar="[QUERY.yaml]")
@_conditions
@click.option(
    "--generator", metavar="NAME", help=f"vae, gan, substitution, random, mixture [{DEFAULTS.generator}]."
)
@click.option("--component", metavar="NAME", help="What the material is for, e.g. cutting_tool.")
@click.option("-n", "n", type=int, help=f"Number of candidates wanted [{DEFAULTS.n}].")
@click.option(
    "--max-energy-above-hull",
    type=float,
    metavar="EV",
    help=f"Stability limit, eV/atom [{DEFAULTS.max_energy_above_hull:g}].",
)
@HARDNESS_LOAD
@click.option("--relaxations", type=int, help=f"Largest number of relaxations [{DEFAULTS.relaxations}].")
@SURROGATE
@click.option("--search", metavar="|".join(SEARCHES), help=f"How a run looks for candidates [{DEFAULTS.search}].")
@SEED
@WORKERS
@click.option("--out", metavar="DIR", help="Run folder [runs/<date-time>].")
def design(query_file: str | None, **flags: Any) -> None:
    """Find crystals that meet a query: from QUERY.yaml, from flags, or both (flags win)."""
    settings = _yaml(query_file) if query_file else {}
    settings |= {key: value for key, value in flags.items() if value not in (None, ())}
    run = _run_settings({key: settings.pop(key) for key in RUN_KEYS if key in settings})
    query = _query(settings)
    from invdesign.app import design

    with _progress() as progress:
        folder = Path(run.get("out") or design.new_run_folder())
        result = design.design(query, run.get("seed", 0), folder, workers=run.get("workers"), progress=progress)
    _print_result(result)


@commands.command()
@click.argument("folder", metavar="DIR")
@WORKERS
def resume(folder: str, workers: int | None) -> None:
    """Go on with a run that was stopped."""
    from invdesign.app import design

    with _progress() as progress:
        result = design.resume(Path(folder), workers=workers, progress=progress)
    _print_result(result)


@commands.command()
@click.argument("folder", metavar="DIR")
@click.argument("results", metavar="RESULTS.csv")
@WORKERS
def feedback(folder: str, results: str, workers: int | None) -> None:
    """Rank a finished run again with values that were measured, or computed by DFT, for some candidates."""
    from invdesign.app import design

    with _progress() as progress:
        result = design.feedback(Path(folder), Path(results), workers=workers, progress=progress)
    _print_result(result)


@commands.command()
@click.argument("generator", metavar="NAME")
@_conditions
@click.option("-n", "n", type=click.IntRange(1), default=100, show_default=True, help="Number of samples.")
@click.option("--guidance", type=float, default=1.0, show_default=True, help="Weight of the conditions.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Sampling temperature.")
@click.option("--format", "form", type=click.Choice(["cif", "extxyz"]), default="cif", show_default=True)
@SEED
@DIRECTORY
def generate(
    generator: str,
    n: int,
    guidance: float,
    temperature: float,
    form: str,
    seed: int | None,
    out: str,
    **flags: Any,
) -> None:
    """Sample crystals from a generator: unscreened and unrelaxed."""
    query = _query(
        {key: value for key, value in flags.items() if value not in (None, ())} | {"generator": generator}
    )
    from invdesign.app import crystals

    with _progress() as progress:
        table = crystals.generate(
            query,
            n,
            seed or 0,
            Path(out),
            form=form,
            guidance=guidance,
            temperature=temperature,
            progress=progress,
        )
    _summary(table, Path(out) / "candidates.csv", "crystals")


@commands.command()
@PATHS
@CSV
@click.option("--explain", is_flag=True, help="Add what elements, sites and features contribute (30 a second).")
@SURROGATE
@click.option("--load", type=float, metavar="N", help="Load of the Vickers hardness, newton: 0.05 to 50 [4.9].")
@click.option("--drift", is_flag=True, help="Say how the crystals differ from the training data.")
def predict(paths: Sequence[str], out: str, drift: bool, **settings: Any) -> None:
    """Predict the properties of crystals, with uncertainty."""
    table = _table_command("predict", paths, out, drift=drift, **settings)
    if drift:
        click.echo("\n".join(table.attrs["drift"].lines()))


@commands.command()
@PATHS
@CSV
def validate(paths: Sequence[str], out: str) -> None:
    """Judge crystals: distances, charge balance, symmetry, novelty."""
    _table_command("validate", paths, out)


@commands.command()
@PATHS
@CSV
@WORKERS
@POTENTIAL
def elastic(paths: Sequence[str], out: str, workers: int | None, potential: str | None) -> None:
    """Elastic tensor and Born stability with the universal potential."""
    _table_command("elastic", paths, out, workers=workers, potential=potential)


@commands.command()
@PATHS
@DIRECTORY
@WORKERS
@POTENTIAL
def relax(paths: Sequence[str], out: str, workers: int | None, potential: str | None) -> None:
    """Relax crystals with the universal potential and place them above the hull."""
    from invdesign.app import crystals

    with _progress() as progress:
        table = crystals.relax(paths, Path(out), workers=workers, potential=potential, progress=progress)
    _summary(table, Path(out) / "relaxed.csv", "relaxed")


@commands.command()
@PATHS
@click.option("--component", metavar="NAME", help="What the material is for, e.g. cutting_tool.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="A wish; may be repeated.")
@click.option("--exclude", metavar="A,B", default="", help="Elements that must not occur.")
@click.option("-n", "n", type=click.IntRange(1), help="Length of the list [all].")
@HARDNESS_LOAD
@SURROGATE
@DIRECTORY
def rank(paths: Sequence[str], out: str, n: int | None, **flags: Any) -> None:
    """Rank crystals for a component."""
    query = _query({key: value for key, value in flags.items() if value is not None})
    from invdesign.app import crystals

    with _progress() as progress:
        table = crystals.rank(paths, query, Path(out), n=n, progress=progress)
    _summary(table, Path(out) / "candidates.csv", "ranked", "not listed (see the column failure)")


@commands.command()
@click.argument("model", type=click.Choice(["vae", "gan", "surrogate"]))
@click.option("--data", required=True, metavar="FILE", help="Crystals with labels: parquet, CSV, …")
@click.option("--property", "name", metavar="NAME", help="A custom property, a column of the data (surrogate).")
@click.option("--unit", metavar="TEXT", help="Its unit, as printed.")
@click.option("--scale", type=click.Choice(["auto", "log", "linear"]), help="Scale that it is learned in [auto].")
@click.option(
    "--low-fidelity",
    metavar="COLUMN",
    help="Column of a low-fidelity label of the same property, in the same unit.",
)
@click.option("--config", metavar="FILE.yaml", help="Training settings.")
@click.option("--out", metavar="FILE", help="Where to put the weights.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def train(
    model: str, data: str, name: str | None, config: str | None, out: str | None, seed: int, **own: str | None
) -> None:
    """Train a model on your own crystals.

    With --property a surrogate of a property that invdesign does not know, from some tens to some thousands of
    labels: `predict --surrogate FILE` and `design --surrogate FILE --target "NAME>=x"` make use of it.
    """
    from invdesign.app import models

    given = {key: value for key, value in own.items() if value is not None}
    if name is not None and model == "surrogate":
        with _progress() as progress:
            path, text = models.train_property(
                Path(data), Path(config) if config else None, Path(out) if out else None, progress,
                property=name, seed=seed, **given,
            )  # fmt: skip
        click.echo(f"{text}\nwrote {path}")
        return
    for flag, value in ({"property": name} if name else given).items():
        raise InputError(f"--{flag}", value, "used with: train surrogate --property NAME")
    with _progress() as progress:
        target = Path(out or f"{model}.safetensors")
        path = models.train(model, Path(data), Path(config) if config else None, target, seed, progress)
    click.echo(f"wrote {path}")


@commands.command()
@click.argument("model", type=click.Choice(["surrogate", "vae"]))
@click.option("--data", required=True, metavar="FILE.parquet", help="Crystals with labels, as in train.")
@click.option(
    "--trials", type=click.IntRange(1), default=50, show_default=True, help="In all, earlier ones counted."
)
@click.option("--config", metavar="FILE.yaml", help="Settings that are kept, such as epochs [6] and members [1].")
@click.option("--pruner", type=click.Choice(["median", "hyperband", "none"]), default="median", show_default=True)
@click.option("--out", required=True, metavar="FILE.yaml", help="Best settings; the study lies beside it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def tune(model: str, data: str, trials: int, config: str | None, pruner: str, out: str, seed: int) -> None:
    """Search for better training settings; a search that was stopped goes on with the same command."""
    from invdesign.app import models

    with _progress() as progress:
        found = models.tune(
            model, Path(data), Path(out), trials, Path(config) if config else None, pruner, seed, progress
        )
    click.echo("\n".join([*found.lines(), f"wrote {out}"]))


@commands.group()
def benchmark() -> None:
    """Measure the parts: every generator by the same code and seed."""


@benchmark.command("generation")
@click.option("--generators", metavar="A,B", help="Names, separated by commas [all]; known: real crystals.")
@click.option("-n", "n", type=click.IntRange(1), help="Samples of each [100].")
@click.option("--relax", type=click.IntRange(0), metavar="N", help="Relax the first N of each [all].")
@click.option("--quick", is_flag=True, help="Relax a dozen of each: minutes.")
@click.option(
    "--out", required=True, metavar="FILE.json", help="Record; FILE.md, .html and .jsonl stand beside it."
)
@SEED
@WORKERS
def benchmark_generation(out: str, **flags: Any) -> None:
    """Validity, symmetry, novelty, distributions, stability and speed of generators; goes on where it stopped."""
    from invdesign.app import models

    with _progress() as progress:
        table = models.benchmark_generation(Path(out), progress=progress, **flags)
    click.echo(table, nl=False)


@benchmark.command("targets")
@click.option("--generators", metavar="A,B", help="Names, separated by commas [all].")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="One target, or several joined by commas; may be repeated [a set from easy to extreme].",
)
@click.option("-n", "n", type=click.IntRange(1), help="Samples for each target and generator [600].")
@click.option("--relax", type=click.IntRange(0), metavar="N", help="Relaxations that the screen may spend [n/30].")
@click.option("--quick", is_flag=True, help="Six targets, 240 samples each: about ten minutes on two cores.")
@click.option(
    "--out", required=True, metavar="FILE.json", help="Record; FILE.md, .html and .jsonl stand beside it."
)
@SEED
@WORKERS
def benchmark_targets(out: str, **flags: Any) -> None:
    """How many crystals meet a target, raw and per relaxation after the screen; goes on where it stopped."""
    from invdesign.app import models

    with _progress() as progress:
        table = models.benchmark_targets(Path(out), progress=progress, **flags)
    click.echo(table, nl=False)


@benchmark.command("surrogates")
@click.option("--protocols", metavar="A,B", help="Of systems, matbench, prototypes, elements, time [all].")
@click.option("--relaxed", type=click.IntRange(1), metavar="N", help="Crystals for the second stage [all].")
@click.option("--quick", is_flag=True, help="A quarter of the crystals, smaller networks: some minutes.")
@click.option("--data", metavar="FILE", help="Your own table of crystals and labels [the package's].")
@click.option(
    "--out", required=True, metavar="FILE.json", help="Record; FILE.md, .html and .jsonl stand beside it."
)
@WORKERS
def benchmark_surrogates(out: str, data: str | None, **flags: Any) -> None:
    """Errors, calibration and speed of the surrogates, and what a split does; goes on where it stopped."""
    from invdesign.app import models

    with _progress() as progress:
        path = Path(data) if data else None
        table = models.benchmark_surrogates(Path(out), data=path, progress=progress, **flags)
    click.echo(table, nl=False)


@commands.command()
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write report.html of a run folder again."""
    from invdesign.app import design

    click.echo(f"wrote {design.report(Path(folder))}")


@commands.command("export")
@click.argument("folder", metavar="DIR")
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    metavar="NAME",
    help="cif, poscar, extxyz, pymatgen, ase-db, parquet, optimade, csv or zip; may be repeated.",
)
@click.option("--out", metavar="PATH", help="File or folder to write [in the run folder].")
def export_run(folder: str, formats: Sequence[str], out: str | None) -> None:
    """Write the candidates of a run in the formats of other programs."""
    from invdesign.app import export

    for path in export.export_run(Path(folder), formats, out):
        click.echo(f"wrote {path}")


@commands.command()
@click.argument("name")
@click.option("--family", type=click.Choice(["generator", "validator", "surrogate"]), help="Found by itself.")
def check(name: str, family: str | None) -> int:
    """Run the contract tests on a generator, validator or surrogate: a name, or module:Class."""
    from invdesign.app import models

    outcomes = models.check(name, family)
    for outcome in outcomes:
        click.echo(str(outcome))
    broken = sum(bool(outcome.problem) for outcome in outcomes)
    click.echo(f"{name}: {len(outcomes) - broken} of {len(outcomes)} promises kept")
    return 1 if broken else 0


def _yaml(path: str) -> dict[str, Any]:
    from invdesign.settings import read_yaml

    return read_yaml(Path(path), "query file")


def _run_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Seed, workers and output folder, checked as the flags are: a query file may hold them too."""
    for key, least in (("seed", 0), ("workers", 1)):
        value = given.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(key, value, f"a whole number from {least}")
    if not isinstance(given.get("out", ""), str):
        raise InputError("out", given["out"], "the name of a folder")
    return given


def _query(settings: Mapping[str, Any]) -> Query:
    return Query.from_dict(settings)


def _progress() -> Any:
    from invdesign.progress import shown

    return shown()


def _table_command(name: str, paths: Sequence[str], out: str, **settings: Any) -> pd.DataFrame:
    from invdesign.app import crystals

    with _progress() as progress:
        table: pd.DataFrame = getattr(crystals, name)(paths, Path(out), progress=progress, **settings)
    _summary(table, Path(out), "crystals")
    return table


def _summary(table: pd.DataFrame, path: Path, noun: str, others: str = "failed") -> None:
    reasons = table["failure"].fillna("")
    failed = int((reasons != "").sum())
    why = f" ({reasons.mode()[0]})" if failed == len(table) else ""
    click.echo(f"{len(table) - failed} {noun}, {failed} {others}{why}; wrote {path}")


def _print_result(result: Any) -> None:
    click.echo(result.summary())
