"""The command `md`: molecular dynamics of crystals with a universal potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign import build
from invdesign.app import md_elastic
from invdesign.app.tables import Given, read, written
from invdesign.checks import text
from invdesign.errors import InputError
from invdesign.executors import Workforce, checked
from invdesign.progress import Progress, Shown, told, with_progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.vibrations.molecular_dynamics import MDSettings, Simulation
    from invdesign.vibrations.work import PotentialPool

TABLE = "md.csv"
Job = tuple[int, "Crystal", "MDSettings"]
"""Place of the crystal in the input, its supercell, the settings of one temperature."""


@with_progress
def md(
    crystals: Given,
    out: str | Path | None = None,
    *,
    temperature: float | Sequence[float] = 300.0,
    potential: str | None = None,
    relax: bool = True,
    workers: Workforce = None,
    say: Callable[[str], bool | None] | None = None,
    progress: Shown = None,
    **settings: Any,
) -> pd.DataFrame:
    """Molecular dynamics of crystals: whether they stay crystalline, their volume, and their elastic constants.

    Args:
        crystals: as in `predict`.
        out: folder to make, with `md.csv` and a folder for each simulation (None: nothing is written).
        temperature: K; one or several.
        potential: its name, or `package.module:factory` (None: the default).
        relax: relax each crystal within its space group first.
        workers: processes (None: one per core), or an executor.
        say: is given the cost in words, measured by a call of the potential for each crystal, before anything else
            is done; nothing is simulated if it returns False.
        progress: see `invdesign.progress.Shown`.
        **settings: fields of `invdesign.vibrations.molecular_dynamics.MDSettings`, e.g. `steps=5000`. With
            `elastic=True`, isothermal elastic constants are computed at each temperature, and fields of
            `invdesign.vibrations.isothermal.IsothermalSettings` are taken, e.g. `elastic_strain=0.02`.

    Returns:
        One row per item and temperature; an item that could not be simulated has the reason in `failure`. Without
        a folder the column `simulation` holds the `invdesign.vibrations.molecular_dynamics.Simulation`, and
        `isothermal` the `invdesign.vibrations.isothermal.Isothermal`.

    Raises:
        InputError: if there is nothing to read, no such potential, or a setting is out of range.
        OutputError: if the folder is not empty or cannot be written.
    """
    how, others = md_elastic.settings_of(settings)
    chosen, tell = _settings(temperature, others), told(progress)
    with build.potential_pool(potential, checked(workers)) as pool:
        folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
        items = read(crystals, tell)
        starts = _starts(items, pool, relax)
        if how is not None:
            starts = [s if isinstance(s, Failure) else md_elastic.fits(s, chosen[0]) for s in starts]
        jobs = _jobs(starts, chosen)
        strained = {} if how is None else md_elastic.jobs_of(jobs, starts, relax, how)
        calls = _call_seconds(jobs, pool)
        goes_on = say is None or say(_words(jobs, strained, calls, pool.n)) is not False
        found = _simulated(jobs, pool, tell) if goes_on else {}
        tensors = md_elastic.compute(strained, found, pool, tell)
        seconds = [sum(each) for each in _cost(jobs, strained, calls)]
        rows = _rows(items, starts, jobs, seconds, found, tensors, folder)
    return written(rows, None if folder is None else folder / TABLE)


def _settings(temperature: float | Sequence[float], given: dict[str, Any]) -> list[MDSettings]:
    from invdesign.vibrations.molecular_dynamics import MDSettings

    several: list[Any] = list(temperature) if isinstance(temperature, (list, tuple)) else [temperature]
    if not several:
        raise InputError("temperature", temperature, "at least one temperature in K")
    try:
        return [MDSettings(temperature=each, **given) for each in several]
    except TypeError:
        allowed = [field.name for field in fields(MDSettings) if field.name != "temperature"]
        raise InputError("setting of molecular dynamics", sorted(given), allowed) from None


def _starts(items: Sequence[Crystal | Failure], pool: PotentialPool, relax: bool) -> list[Crystal | Failure]:
    """The crystals relaxed, or as primitive cells as they are."""
    from invdesign.crystallography.symmetry import primitive
    from invdesign.relaxation.minimise import RelaxSettings

    sound = [item for item in items if not isinstance(item, Failure)]
    done: list[Crystal | Failure]
    if relax:
        answers = pool.relax(sound, [RelaxSettings()] * len(sound))
        done = [answer if isinstance(answer, Failure) else answer.crystal for answer in answers]
    else:
        done = [primitive(item) for item in sound]
    following = iter(done)
    return [item if isinstance(item, Failure) else next(following) for item in items]


def _jobs(starts: Sequence[Crystal | Failure], chosen: Sequence[MDSettings]) -> list[Job]:
    from invdesign.vibrations.supercells import choose, multiplied

    jobs: list[Job] = []
    for place, start in enumerate(starts):
        if isinstance(start, Failure):
            continue
        for settings in chosen:
            matrix, _ = choose(start, settings.min_length, settings.max_atoms)
            jobs.append((place, multiplied(start, matrix), settings))
    return jobs


def _call_seconds(jobs: Sequence[Job], pool: PotentialPool) -> list[float]:
    """CPU seconds of one call of the potential for each supercell."""
    by_place = {place: crystal for place, crystal, _ in jobs}
    for first in islice(by_place.values(), 1):  # the first call of a process takes longer
        elsewhere = replace(first, frac_coords=first.frac_coords + 0.1)  # calculators keep an answer
        pool.evaluate([elsewhere] * pool.n)
    calls = dict(zip(by_place, pool.evaluate(list(by_place.values())), strict=True))
    return [0.0 if isinstance(call := calls[place], Failure) else call.seconds for place, _, _ in jobs]


def _simulated(jobs: Sequence[Job], pool: PotentialPool, tell: Progress) -> dict[int, Simulation | Failure]:
    """Every simulation, by its place."""
    found: dict[int, Simulation | Failure] = {}
    for index, result in pool.simulate_iter([job[1] for job in jobs], [job[2] for job in jobs]):
        found[index] = result
        tell("md", len(found), len(jobs))
    return found


def _cost(
    jobs: Sequence[Job], strained: Mapping[int, md_elastic.Job], calls: Sequence[float]
) -> list[tuple[float, float]]:
    """CPU seconds of each simulation and of its strained cells."""
    return [
        (call * job[2].steps, call * strained[index].steps if index in strained else 0.0)
        for index, (job, call) in enumerate(zip(jobs, calls, strict=True))
    ]


def _words(
    jobs: Sequence[Job], strained: Mapping[int, md_elastic.Job], calls: Sequence[float], workers: int
) -> str:
    """The cost in words; runs at constant volume come after all others, and each is a task of its own."""
    seconds = _cost(jobs, strained, calls)
    parts = [part for index, job in strained.items() for part in [seconds[index][1] / job.runs] * job.runs]
    total = sum(map(sum, seconds))
    wall = sum(_wall(each, workers) for each in ([first for first, _ in seconds], parts))
    more = (
        f", {len(parts)} runs at constant volume, {sum(job.steps for job in strained.values()):,} steps"
        if parts
        else ""
    )
    steps = sum(settings.steps for _, _, settings in jobs)
    long = f"about {total / 60:.1f} CPU minutes, {wall / 60:.1f} minutes"
    return f"{len(jobs)} simulations, {steps:,} steps{more}: {long}"


def _wall(seconds: Sequence[float], workers: int) -> float:
    """Seconds that tasks take side by side."""
    return max(sum(seconds) / max(1, min(workers, len(seconds))), max(seconds, default=0.0))


def _rows(
    items: Sequence[Crystal | Failure],
    starts: Sequence[Crystal | Failure],
    jobs: Sequence[Job],
    seconds: Sequence[float],
    found: Mapping[int, Simulation | Failure],
    tensors: Mapping[int, md_elastic.Found | Failure],
    folder: Path | None,
) -> list[export.Row]:
    rows: list[export.Row] = []
    for place, (item, start) in enumerate(zip(items, starts, strict=True)):
        source = item.item if isinstance(item, Failure) else item.source
        if isinstance(start, Failure):
            rows.append({"source": source} | export.failure_columns(start))
            continue
        for index, (_, large, settings) in enumerate(jobs):
            if jobs[index][0] != place:
                continue
            about = {"source": source, "temperature": settings.temperature, "supercell_atoms": large.n_sites,
                     "estimated_seconds": seconds[index]}  # fmt: skip
            answer = found.get(index)
            if isinstance(answer, Failure):
                rows.append(about | export.failure_columns(answer))
            elif answer is None:
                rows.append(about | {"failure": ""})
            else:
                rows.append(about | _row(start, answer, tensors.get(index), folder, place))
    return rows


def _row(
    start: Crystal,
    found: Simulation,
    tensor: md_elastic.Found | Failure | None,
    folder: Path | None,
    place: int,
) -> export.Row:
    row: export.Row = {"failure": "", "formula": export.file_stem(start)}
    if folder is None:
        row["simulation"] = found
        if isinstance(tensor, md_elastic.Found):
            row["isothermal"] = tensor.isothermal
    else:
        name = f"{place + 1:03d}_{export.file_stem(start)}_{found.settings.temperature:g}K"
        write_simulation(found, folder / name)
        row["folder"] = name
        if isinstance(tensor, md_elastic.Found):
            md_elastic.write(tensor, folder / name)
    before = start.volume / start.n_sites
    return row | {
        "verdict_crystalline": found.verdict.status.value,
        "verdict_crystalline_reason": found.verdict.reason,
        "mean_temperature": found.temperature,
        "volume": found.volume,
        "volume_error": found.volume_error,
        "volume_change": found.volume / before - 1.0,
        "potential_energy": found.energy,
        "displacement": found.displacement,
        "lindemann": found.verdict.value,
        "picoseconds": float(found.times[-1]),
        "ensemble": found.settings.ensemble,
        "seconds": found.seconds,
        **md_elastic.columns(tensor),
    }


def write_simulation(found: Simulation, folder: Path) -> None:
    """`course.csv`, `trajectory.extxyz`, `average.cif` and `last.cif` of one simulation.

    Raises:
        OutputError: if a file cannot be written.
    """
    from invdesign.data.convert import to_ase

    export.writable_folder(folder)
    rows = [
        {"time": t, "temperature": k, "volume": v, "potential_energy": e}
        for t, k, v, e in zip(found.times, found.temperatures, found.volumes, found.energies, strict=True)
    ]
    export.write_table(export.frame(rows), folder / "course.csv")
    export.write_text(export.plain_cif(found.average)[0], folder / "average.cif")
    export.write_text(export.plain_cif(found.crystal)[0], folder / "last.cif")
    atoms = to_ase(found.crystal)
    export.write_text("".join(_frames(atoms.symbols, found)), folder / "trajectory.extxyz")


def _frames(symbols: Sequence[str], found: Simulation) -> Sequence[str]:
    """Frames in the extended XYZ format, positions without jumps through the cell's faces."""
    frames = []
    for time, energy, cell, places in zip(found.times, found.energies, found.cells, found.frames, strict=True):
        lattice = " ".join(f"{x:.6f}" for x in np.asarray(cell).ravel())
        head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T" time={time:.4f} '
        lines = [f"{s} {x:.5f} {y:.5f} {z:.5f}" for s, (x, y, z) in zip(symbols, places, strict=True)]
        frames.append(f"{len(lines)}\n{head}energy={energy * len(lines):.6f}\n" + "\n".join(lines) + "\n")
    return frames
