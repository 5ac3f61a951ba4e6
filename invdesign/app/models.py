"""Training, tuning, contract tests and benchmarks of models, as the command line offers them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.tables import new_file
from invdesign.executors import Workforce
from invdesign.progress import Progress, quiet
from invdesign.report import export
from invdesign.settings import read_yaml

if TYPE_CHECKING:
    from invdesign.testing import Outcome
    from invdesign.training.tuning import Tuned


def check(name: str, family: str | None = None) -> list[Outcome]:
    """Run the contract tests on a generator, validator or surrogate.

    Args:
        name: as in the tables of parts, or `module:Class`.
        family: `generator`, `validator` or `surrogate` (None: found by the name or by the verbs that it has).

    Raises:
        InputError: if there is no such part.
    """
    from invdesign import testing

    found = [family] if family else build.families(name)
    made = build.part(name, found[0] if found else None)
    kind = found[0] if found else testing.family_of(made)
    return testing.contract(kind)(made)


def train(
    model: str, data: Path, config: Path | None = None, out: Path | None = None, seed: int = 0,
    progress: Progress = quiet, overwrite: bool = False,
) -> Path:  # fmt: skip
    """Train a model on crystals with labels and write its weights.

    Args:
        model: a name of the table of trainers, `vae`, `gan` or `surrogate`.
        data: anything that can be read, with columns of labels beside the structures.
        config: YAML with the trainer's settings (None: its defaults).
        out: file of the weights.
        seed: of everything random.
        progress: is told how far it has come.
        overwrite: whether the file may be there already.

    Raises:
        InputError: if the data or the settings cannot be read.
        OutputError: if the file is there already, or cannot be written.
        TrainingError: if they cannot lead to a model.
    """
    trainer = build.trainer(model)
    settings = read_yaml(config) if config else {}
    target = new_file(out or Path(f"{model}.safetensors"), overwrite)
    written: Path = trainer(Path(data), settings | {"seed": seed}, target, progress)
    return written


def train_property(
    data: Path,
    config: Path | None = None,
    out: Path | None = None,
    progress: Progress = quiet,
    overwrite: bool = False,
    **settings: Any,
) -> tuple[Path, str]:
    """Train a surrogate of a custom property, from some tens to some thousands of labels.

    Args:
        data: a table with a crystal and a label in each row; see `invdesign.surrogates.custom.own`.
        config: YAML with settings (None: none); `settings` win.
        out: file of the weights (None: `<property>.safetensors`).
        progress: is told how far it has come.
        overwrite: whether the file may be there already.
        **settings: `property`, `unit`, `scale`, `low_fidelity`, `seed`.

    Returns:
        The file, and a report with the learning curve.

    Raises:
        InputError: if the data or the settings cannot be read.
        TrainingError: if they cannot lead to a model.
    """
    from invdesign.settings import settings_of
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.custom.own import CustomSettings, report, train_custom

    chosen = settings_of(CustomSettings, (read_yaml(config) if config else {}) | settings)
    target = new_file(out or Path(f"{chosen.property}.safetensors"), overwrite)
    transfer = train_custom(load_gate().model, Path(data), chosen, progress)
    transfer.save(target)
    return target, report(transfer)


def tune(
    model: str, data: Path, out: Path, trials: int = 50, config: Path | None = None, pruner: str = "median",
    seed: int = 0, progress: Progress = quiet,
) -> Tuned:  # fmt: skip
    """Search for better training settings and write the best, as `train --config` reads them.

    Args:
        model: `surrogate` or `vae`.
        data: as in `train`.
        out: YAML to write; the study lies beside it, and the same call goes on with it.
        trials: of the study in all.
        config: YAML with settings that are kept (None: none).
        pruner: `median`, `hyperband` or `none`.
        seed: of everything random.
        progress: is told how far it has come.

    Raises:
        InputError: if the data or the settings cannot be read, or the study is one of others.
        TrainingError: if they cannot lead to a model.
    """
    from invdesign.training.tuning import tune

    target = export.writable_file(Path(out))
    return tune(model, Path(data), target, trials, read_yaml(config) if config else {}, pruner, seed, progress)


def benchmark_generation(
    out: Path,
    generators: str | None = None,
    n: int | None = None,
    relax: int | None = None,
    quick: bool = False,
    seed: int | None = None,
    workers: Workforce = None,
    progress: Progress = quiet,
) -> str:
    """Measure generators and write the record; see `invdesign.benchmarking.generation`.

    Args:
        out: `FILE.json`; a table and the journal are written beside it.
        generators: names separated by commas (None: all).
        n: samples of each (None: 100).
        relax: how many of them are relaxed (None: all, or a dozen if `quick`).
        quick: as above.
        seed: of every random choice (None: 0).
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far it has come.

    Returns:
        The table in Markdown.

    Raises:
        InputError: if there is no such generator or a number is out of range.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import generation as benchmark

    size = n or benchmark.QUICK["n"]
    most = relax if relax is not None else min(size, benchmark.QUICK["relax"] if quick else size)
    plan = benchmark.Plan(_names(generators), size, seed or 0, most)
    return benchmark.markdown(benchmark.generation(plan, Path(out), workers, progress))


def benchmark_targets(
    out: Path,
    generators: str | None = None,
    targets: Sequence[str] = (),
    n: int | None = None,
    relax: int | None = None,
    quick: bool = False,
    seed: int | None = None,
    workers: Workforce = None,
    progress: Progress = quiet,
) -> str:
    """Measure how generators hit targets and write the record; see `invdesign.benchmarking.targets`.

    Args:
        out: `FILE.json`; a table and the journal are written beside it.
        generators: names separated by commas (None: all).
        targets: each a target, or several joined by commas (empty: the shipped ones, six of them if `quick`).
        n: samples for each generator and target (None: 600, or 240 if `quick`).
        relax: how many of them the screen may relax (None: one in thirty, as in a design run).
        quick: as above.
        seed: of every random choice (None: 0).
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far it has come.

    Returns:
        The tables in Markdown.

    Raises:
        InputError, ConflictError: if there is no such generator or target, or a number is out of range.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import targets as bench
    from invdesign.engine.campaign import PLAIN

    size = n or (bench.QUICK_N if quick else bench.N)
    most = relax if relax is not None else max(1, size // PLAIN.proposals)
    wanted = tuple(targets) or (bench.QUICK_TARGETS if quick else tuple(bench.TARGETS))
    plan = bench.TargetPlan(_names(generators), size, seed or 0, most, targets=wanted)
    return bench.markdown(bench.targets(plan, Path(out), workers, progress))


def benchmark_search(
    out: Path,
    queries: str | None = None,
    arms: str | None = None,
    seeds: int | None = None,
    relaxations: int | None = None,
    quick: bool = False,
    workers: Workforce = None,
    progress: Progress = quiet,
) -> str:
    """Measure the search and write the record; see `invdesign.benchmarking.search`.

    Args:
        out: `FILE.json`; a table, a page, the journal and a folder of ledgers stand beside it.
        queries: names of shipped ones or paths of files, separated by commas (None: all shipped ones).
        arms: names separated by commas (None: `evolution` and `plain`).
        seeds: number of seeds (None: 5, or one if `quick`).
        relaxations: of each run (None: 60, or 12 if `quick`).
        quick: three queries, one seed, 12 relaxations.
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far it has come.

    Returns:
        The table in Markdown.

    Raises:
        InputError: if there is no such query or arm.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import search as bench

    names = bench.QUICK_QUERIES if quick else tuple(bench.query_names())
    names = names if queries is None else _parts(queries)
    spend = relaxations or (bench.QUICK_RELAXATIONS if quick else bench.RELAXATIONS)
    chosen = bench.SearchPlan.arms if arms is None else _parts(arms)
    plan = bench.SearchPlan(bench.queries(names, spend), chosen, seeds or (1 if quick else bench.SEEDS), spend)
    return bench.markdown(bench.search(plan, Path(out), workers, progress))


def benchmark_surrogates(
    out: Path,
    protocols: str | None = None,
    relaxed: int | None = None,
    quick: bool = False,
    data: Path | None = None,
    workers: Workforce = None,
    progress: Progress = quiet,
) -> str:
    """Measure the surrogates and write the record; see `invdesign.benchmarking.surrogates`.

    Args:
        out: `FILE.json`; tables, plots and the journal are written beside it.
        protocols: names separated by commas (None: all).
        relaxed: test crystals for the second stage (None: all, or 200 if `quick`).
        quick: a quarter of the crystals, smaller gates.
        data: table of crystals and labels (None: those of the package).
        workers: processes that train (None: one per core), or an executor.
        progress: is told how far it has come.

    Returns:
        The tables in Markdown.

    Raises:
        InputError: if there is no such protocol or the data cannot be read.
        OutputError: if a file cannot be written, or belongs to another benchmark.
        ReferenceMissingError: if weights or tables cannot be read.
        WorkerError: if a process that trains ends early.
    """
    from invdesign.benchmarking import surrogates as bench
    from invdesign.benchmarking.splits import PROTOCOLS

    wanted = tuple(PROTOCOLS) if protocols is None else _names(protocols)
    plan = bench.Plan(wanted, relaxed, quick, None if data is None else Path(data))
    return bench.markdown(bench.surrogates(Path(out), plan, workers, progress))


def benchmark_speed(
    out: Path,
    stages: str | None = None,
    quick: bool = False,
    repeats: int | None = None,
    potential: str | None = None,
    seed: int | None = None,
    progress: Progress = quiet,
) -> str:
    """Time every stage beside what a user would run by hand; see `invdesign.benchmarking.speed`.

    Args:
        out: `FILE.json`; a table and the journal are written beside it.
        stages: names separated by commas (None: all).
        quick: few items of each.
        repeats: of every way (None: 3).
        potential: of the stages that need one (None: the default).
        seed: of the items (None: 0).
        progress: is told how far it has come.

    Returns:
        The table in Markdown.

    Raises:
        InputError: if there is no such stage or potential.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import speed as bench
    from invdesign.benchmarking.figures.speed import markdown

    wanted = tuple(bench.STAGES) if stages is None else _parts(stages)
    given = {"potential": potential} if potential else {}
    plan = bench.SpeedPlan(wanted, quick, seed or 0, repeats or bench.REPEATS, **given)
    return markdown(bench.speed(plan, Path(out), progress))


def _names(generators: str | None) -> tuple[str, ...]:
    """Generators by their names, separated by commas; all of them if none are named."""
    if generators is None:
        return build.generator_names()
    return _parts(generators)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
