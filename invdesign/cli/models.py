"""Commands on models: train, tune."""

from __future__ import annotations

from pathlib import Path

import click

from invdesign.cli.options import FORCE, progress, talk
from invdesign.errors import InputError


@click.command()
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
@FORCE
@talk
def train(
    model: str, data: str, name: str | None, config: str | None, out: str | None, seed: int, force: bool,
    **own: str | None,
) -> None:  # fmt: skip
    """Train a model on your own crystals.

    With --property a surrogate of a property that invdesign does not know, from some tens to some thousands of
    labels: `predict --surrogate FILE` and `design --surrogate FILE --target "NAME>=x"` make use of it.
    """
    from invdesign.app import models

    given = {key: value for key, value in own.items() if value is not None}
    settings = Path(config) if config else None
    if name is not None and model == "surrogate":
        with progress() as reporter:
            path, text = models.train_property(
                Path(data),
                settings,
                Path(out) if out else None,
                reporter,
                force,
                property=name,
                seed=seed,
                **given,
            )
        click.echo(f"{text}\nwrote {path}")
        return
    for flag, value in ({"property": name} if name else given).items():
        raise InputError(f"--{flag}", value, "used with: train surrogate --property NAME")
    target = Path(out or f"{model}.safetensors")
    with progress() as reporter:
        path = models.train(model, Path(data), settings, target, seed, reporter, force)
    click.echo(f"wrote {path}")


@click.command(short_help="Search for better training settings.")
@click.argument("model", type=click.Choice(["surrogate", "vae"]))
@click.option("--data", required=True, metavar="FILE.parquet", help="Crystals with labels, as in train.")
@click.option(
    "--trials", type=click.IntRange(1), default=50, show_default=True, help="In all, earlier ones counted."
)
@click.option("--config", metavar="FILE.yaml", help="Settings that are kept, such as epochs [6] and members [1].")
@click.option("--pruner", type=click.Choice(["median", "hyperband", "none"]), default="median", show_default=True)
@click.option("--out", required=True, metavar="FILE.yaml", help="Best settings; the study lies beside it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@talk
def tune(model: str, data: str, trials: int, config: str | None, pruner: str, out: str, seed: int) -> None:
    """Search for better training settings; a search that was stopped goes on with the same command."""
    from invdesign.app import models

    with progress() as reporter:
        found = models.tune(
            model, Path(data), Path(out), trials, Path(config) if config else None, pruner, seed, reporter
        )
    click.echo("\n".join([*found.lines(), f"wrote {out}"]))


@click.command(short_help="Go on learning from finished runs.")
@click.argument("runs", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", required=True, metavar="FILE", help="Where to put the correction (.safetensors).")
@click.option("--correction", metavar="FILE", help="A correction to go on from [the shipped one].")
@FORCE
def learn(runs: tuple[str, ...], out: str, correction: str | None, force: bool) -> None:
    """Update the screening surrogate's proposal correction by the relaxations of finished runs.

    Nothing is written unless errors on unseen chemical systems fall. `design --correction FILE` makes use of it.
    """
    from invdesign.app.learn import learn as update

    found = update(runs, out, correction=correction, overwrite=force)
    click.echo("\n".join(found.lines))
    if found.path is not None:
        click.echo(f"wrote {found.path}")


COMMANDS = (train, tune, learn)
