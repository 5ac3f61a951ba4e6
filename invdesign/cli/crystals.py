"""Commands on crystals: predict, validate, relax, elastic, strength, phonons, md, rank, recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from invdesign.cli.options import (
    DIRECTORY,
    FORCE,
    JSON,
    LOAD,
    PATHS,
    POTENTIAL,
    QUERY_LOAD,
    SEED,
    SURROGATE,
    TABLE,
    VALIDATOR,
    execution,
    given,
    note,
    output,
    progress,
    talk,
    tell,
)
from invdesign.errors import InputError
from invdesign.executors import Workforce
from invdesign.query import Query


@click.command()
@PATHS
@TABLE
@click.option("--explain", is_flag=True, help="Add what elements, sites and features contribute (30 a second).")
@SURROGATE
@LOAD
@click.option("--drift", is_flag=True, help="Say how the crystals differ from the training data.")
@FORCE
@JSON
@talk
def predict(paths: Sequence[str], out: str, drift: bool, force: bool, as_json: bool, **settings: Any) -> None:
    """Predict the properties of crystals, with uncertainty."""
    from invdesign.app import crystals

    with progress() as reporter:
        table = crystals.predict(
            list(paths), output(out), drift=drift, overwrite=force, progress=reporter, **settings
        )
    tell(table, output(out), as_json, "crystals")
    if drift:
        lines = "\n".join(table.attrs["drift"].lines())
        note(lines) if as_json or output(out) is None else click.echo(lines)


@click.command()
@PATHS
@TABLE
@VALIDATOR
@FORCE
@JSON
@talk
def validate(paths: Sequence[str], out: str, validators: Sequence[str], force: bool, as_json: bool) -> None:
    """Judge distances, charge balance, symmetry and novelty."""
    from invdesign.app import crystals

    with progress() as reporter:
        table = crystals.validate(
            list(paths), output(out), validators=validators, overwrite=force, progress=reporter
        )
    tell(table, output(out), as_json, "crystals")


@click.command(short_help="Relax crystals and place them above the hull.")
@PATHS
@DIRECTORY
@execution
@POTENTIAL
@click.option("--scale", metavar="NAME|FILE.json", help="Energy scale of the potential, e.g. mp2020 [its own].")
@click.option("--pressure", type=float, metavar="GPA", help="Hydrostatic pressure, GPa [0].")
@click.option("--fixed-cell", is_flag=True, default=None, help="Move the atoms alone.")
@click.option("--free-symmetry", is_flag=True, default=None, help="Relax the cell as given, without symmetry.")
@click.option("--max-force", type=float, metavar="EV/A", help="Converged below this force, eV/Å [0.05].")
@click.option("--max-stress", type=float, metavar="GPA", help="And below this stress, GPa [0.2].")
@click.option("--max-steps", type=int, help="Energy evaluations for each crystal [80].")
@JSON
@talk
def relax(
    paths: Sequence[str], out: str, workers: Workforce, potential: str | None, as_json: bool, **settings: Any
) -> None:
    """Relax crystals with the universal potential and place them above the hull."""
    from invdesign.app import relax as app

    folder = output(out)
    chosen = {name: value for name, value in settings.items() if value is not None}
    with progress() as reporter:
        table = app.relax(list(paths), folder, workers=workers, potential=potential, progress=reporter, **chosen)
    tell(table, None if folder is None else folder / "relaxed.csv", as_json, "relaxed")


@click.command(short_help="Elastic tensors and Born stability.")
@PATHS
@TABLE
@execution
@POTENTIAL
@FORCE
@JSON
@talk
def elastic(paths: Sequence[str], out: str, force: bool, as_json: bool, **settings: Any) -> None:
    """Elastic tensor and Born stability with the universal potential."""
    from invdesign.app import relax as app

    with progress() as reporter:
        table = app.elastic(list(paths), output(out), overwrite=force, progress=reporter, **settings)
    tell(table, output(out), as_json, "crystals")


@click.command(short_help="Ideal strength in tension and shear.")
@PATHS
@click.option("--direction", multiple=True, metavar="UVW", help="Direction of tension, such as 111 [001].")
@click.option("--shear", multiple=True, metavar="HKL:UVW", help="Plane and direction of shear, such as 111:11-2.")
@click.option("--step", type=float, metavar="X", help="Step of the strain [0.02].")
@click.option("--largest", type=float, metavar="X", help="Largest strain [0.6].")
@TABLE
@POTENTIAL
@FORCE
@JSON
@talk
def strength(paths: Sequence[str], out: str, force: bool, as_json: bool, **settings: Any) -> None:
    """Stress against strain up to the ideal strength with the universal potential.

    Indices are those of the standard conventional cell; everything but the imposed strain relaxes.
    """
    from invdesign.app import strength as app

    chosen = {name: value for name, value in settings.items() if value is not None}
    with progress() as reporter:
        table = app.strength(list(paths), out=output(out), overwrite=force, progress=reporter, **chosen)
    tell(table, output(out), as_json, "paths")
    note(app.CAVEAT)


@click.command(short_help="Phonons, thermal properties, unstable modes.")
@PATHS
@DIRECTORY
@execution
@POTENTIAL
@click.option("--qha", is_flag=True, help="Thermal expansion as well, from phonons at seven volumes.")
@click.option("--follow", is_flag=True, help="Follow imaginary modes to what the crystal becomes.")
@click.option("--no-relax", "relax", is_flag=True, flag_value=False, default=None, help="Take crystals as given.")
@click.option("--min-length", type=float, metavar="A", help="Shortest lattice vector of the supercell, Å [10].")
@click.option("--max-atoms", type=click.IntRange(1), help="Most atoms of the supercell [130].")
@click.option("--displacement", type=float, metavar="A", help="Displacement of an atom, Å [0.02].")
@click.option("--max-temperature", type=float, metavar="K", help="Of the thermal properties, K [1000].")
@JSON
@talk
def phonons(
    paths: Sequence[str],
    out: str,
    workers: int | None,
    potential: str | None,
    qha: bool,
    follow: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Band structure, density of states, thermal properties and imaginary modes with the universal potential.

    Needs the extra `phonons`.
    """
    from invdesign.app import phonons as app

    folder = output(out)
    chosen = {name: value for name, value in settings.items() if value is not None}
    with progress() as reporter:
        table = app.phonons(
            list(paths), folder, potential=potential, qha=qha, follow=follow, workers=workers, progress=reporter,
            **chosen,
        )  # fmt: skip
    table = table.drop(columns="phonons", errors="ignore")
    tell(table, None if folder is None else folder / app.TABLE, as_json, "crystals")


@click.command(short_help="Molecular dynamics at a temperature.")
@PATHS
@DIRECTORY
@click.option(
    "--temperature",
    "temperatures",
    type=float,
    multiple=True,
    metavar="K",
    required=True,
    help="Temperature, K; may be repeated.",
)
@execution
@POTENTIAL
@click.option("--ensemble", type=click.Choice(["npt", "nvt"]), help="Constant pressure or volume [npt].")
@click.option("--pressure", type=float, metavar="GPA", help="Pressure of npt, GPa [0].")
@click.option("--steps", type=int, help="Steps of each simulation [2000].")
@click.option("--timestep", type=float, metavar="FS", help="Femtoseconds; halved with hydrogen [2].")
@click.option("--min-length", type=float, metavar="A", help="Shortest lattice vector of the supercell, Å [8].")
@click.option("--max-atoms", type=click.IntRange(1), help="Most atoms of the supercell [130].")
@click.option("--no-relax", is_flag=True, help="Start from crystals as given.")
@click.option("--elastic", is_flag=True, help="Elastic constants at each temperature, from strained cells.")
@click.option("--elastic-strain", type=float, metavar="X", help="Strain of these cells [0.01].")
@click.option("--elastic-steps", type=int, help="Steps of each strained cell [2000].")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and stop.")
@SEED
@JSON
@talk
def md(
    paths: Sequence[str],
    out: str,
    temperatures: Sequence[float],
    workers: int | None,
    potential: str | None,
    no_relax: bool,
    dry_run: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Molecular dynamics with the universal potential: does the crystal stay crystalline, and what is its volume?

    With --elastic also its isothermal elastic constants, with standard errors, beside the static ones.
    The cost is said before it starts.
    """
    from invdesign.app import md as app

    folder = None if dry_run else output(out)
    chosen = {name: value for name, value in settings.items() if value is not None}
    with progress() as reporter:
        table = app.md(
            list(paths), folder, temperature=list(temperatures), potential=potential, relax=not no_relax,
            workers=workers, say=_only_said if dry_run else note, progress=reporter, **chosen,
        )  # fmt: skip
    where = None if folder is None else folder / app.TABLE
    tell(table.drop(columns=["simulation", "isothermal"], errors="ignore"), where, as_json, "simulations")


def _only_said(words: str) -> bool:
    note(words)
    return False


@click.command()
@PATHS
@click.option("--component", metavar="NAME", help="What the material is for, e.g. cutting_tool.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="A wish; may be repeated.")
@click.option("--exclude", metavar="A,B", help="Elements or classes that must not occur.")
@click.option("-n", "n", type=click.IntRange(1), help="Length of the list [all].")
@QUERY_LOAD
@SURROGATE
@DIRECTORY
@JSON
@talk
def rank(paths: Sequence[str], out: str, n: int | None, as_json: bool, **flags: Any) -> None:
    """Rank crystals, or a table of properties, for a component."""
    query = Query.from_dict(given(flags))
    from invdesign.app import crystals

    folder = output(out)
    with progress() as reporter:
        table = crystals.rank(list(paths), query, folder, n, progress=reporter)
    where = None if folder is None else folder / "candidates.csv"
    tell(table, where, as_json, "ranked", "not listed (see the column failure)")


@click.command(short_help="Precursors and conditions; own recipes.")
@click.argument("compounds", nargs=-1, metavar="[FORMULA|FILE...]")
@click.option("--method", metavar="NAME", help="solid-state or sol-gel [what similar compounds are made by].")
@click.option("-n", "n", type=click.IntRange(1, 20), default=5, show_default=True, help="Sets of precursors.")
@click.option("--own", metavar="FILE", help="JSON file of own recipes, which count beside the published ones.")
@click.option("--from", "text", metavar="FILE", help="Read recipes out of a text file instead, one a paragraph.")
@click.option("--out", metavar="FILE", help="With --from: JSON file to write them to, for --own.")
@JSON
@talk
def recipe(
    compounds: Sequence[str],
    method: str | None,
    n: int,
    own: str | None,
    text: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Precursors and conditions from published recipes, or recipes read out of own text."""
    from invdesign.app import recipe as app
    from invdesign.records import Failure

    if bool(text) == bool(compounds) or (out and not text):
        raise InputError(
            "recipe", " ".join(compounds) or "nothing", "formulas or files; or --from FILE [--out FILE]"
        )
    if text:
        _read_recipes(text, out, as_json)
        return
    found = app.recipe(list(compounds), method, n, own)
    if as_json:
        plain = [{"item": f.item, "failure": f.reason} if isinstance(f, Failure) else f.to_dict() for f in found]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=1))
        return
    for each in found:
        click.echo("\n".join(app.lines(each)))
    note(app.CAVEAT)


def _read_recipes(text: str, out: str | None, as_json: bool) -> None:
    """What was read out of a text, printed and written."""
    from pathlib import Path

    from invdesign.app import own_recipes
    from invdesign.report.export import writable_file, write_text

    target = writable_file(Path(out)) if out else None
    recipes, failures = own_recipes.read_recipes(text)
    rows = own_recipes.plain(recipes)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        click.echo("\n".join(line for each in recipes for line in own_recipes.lines(each)))
    for failure in failures:
        note(failure.reason)
    if target:
        write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", target)
        note(f"wrote {target}; look it over, then: invdesign recipe FORMULA --own {target}")


COMMANDS = (predict, validate, relax, elastic, strength, phonons, md, rank, recipe)
