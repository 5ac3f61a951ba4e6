"""Commands that check and measure parts: check, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from invdesign.cli.options import SEED, execution, progress, talk

RECORD = click.option(
    "--out", required=True, metavar="FILE.json", help="Record; FILE.md, .html and .jsonl stand beside it."
)


@click.command(short_help="Run the contract tests on a part.")
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


@click.group(short_help="Measure generators, search and surrogates.")
def benchmark() -> None:
    """Measure the parts: every generator by the same code and seed."""


@benchmark.command("generation")
@click.option("--generators", metavar="A,B", help="Names, separated by commas [all]; known: real crystals.")
@click.option("-n", "n", type=click.IntRange(1), help="Samples of each [100].")
@click.option("--relax", type=click.IntRange(0), metavar="N", help="Relax the first N of each [all].")
@click.option("--quick", is_flag=True, help="Relax a dozen of each: minutes.")
@RECORD
@SEED
@execution
@talk
def benchmark_generation(out: str, **flags: Any) -> None:
    """Validity, symmetry, novelty, distributions, stability and speed of generators; goes on where it stopped."""
    from invdesign.app import models

    with progress() as reporter:
        table = models.benchmark_generation(Path(out), progress=reporter, **flags)
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
@RECORD
@SEED
@execution
@talk
def benchmark_targets(out: str, **flags: Any) -> None:
    """How many crystals meet a target, raw and per relaxation after the screen; goes on where it stopped."""
    from invdesign.app import models

    with progress() as reporter:
        table = models.benchmark_targets(Path(out), progress=reporter, **flags)
    click.echo(table, nl=False)


@benchmark.command("search")
@click.option("--queries", metavar="A,B", help="Names of shipped queries, or files [all shipped ones].")
@click.option("--arms", metavar="A,B", help="Of evolution, plain, no-learning, optuna-tpe, … [evolution,plain].")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Number of seeds [5].")
@click.option("--relaxations", type=click.IntRange(1), metavar="N", help="Of each run [60].")
@click.option("--quick", is_flag=True, help="Three queries, one seed, 12 relaxations: ten minutes on two cores.")
@RECORD
@execution
@talk
def benchmark_search(out: str, **flags: Any) -> None:
    """What a relaxation brings, with and without each part of the search; goes on where it stopped."""
    from invdesign.app import models

    with progress() as reporter:
        table = models.benchmark_search(Path(out), progress=reporter, **flags)
    click.echo(table, nl=False)


@benchmark.command("surrogates")
@click.option("--protocols", metavar="A,B", help="Of systems, matbench, prototypes, elements, time [all].")
@click.option("--relaxed", type=click.IntRange(1), metavar="N", help="Crystals for the second stage [all].")
@click.option("--quick", is_flag=True, help="A quarter of the crystals, smaller networks: some minutes.")
@click.option("--data", metavar="FILE", help="Your own table of crystals and labels [the package's].")
@RECORD
@execution
@talk
def benchmark_surrogates(out: str, data: str | None, **flags: Any) -> None:
    """Errors, calibration and speed of the surrogates, and what a split does; goes on where it stopped."""
    from invdesign.app import models

    with progress() as reporter:
        path = Path(data) if data else None
        table = models.benchmark_surrogates(Path(out), data=path, progress=reporter, **flags)
    click.echo(table, nl=False)


@benchmark.command("speed")
@click.option("--stages", metavar="A,B", help="Of genes, decoding, relaxation, hull, … [all].")
@click.option("--repeats", type=click.IntRange(1), metavar="N", help="Of every way [3].")
@click.option("--potential", metavar="NAME", help="Of relaxation, elastic tensors and phonons [sevennet-0].")
@click.option("--quick", is_flag=True, help="Few items of each.")
@RECORD
@SEED
@talk
def benchmark_speed(out: str, **flags: Any) -> None:
    """CPU seconds and memory of every stage, beside what one would run by hand; goes on where it stopped."""
    from invdesign.app import models

    with progress() as reporter:
        table = models.benchmark_speed(Path(out), progress=reporter, **flags)
    click.echo(table, nl=False)


COMMANDS = (check, benchmark)
