"""Elastic constants at temperature, as the command `md` plans, computes and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.errors import InputError
from invdesign.progress import Progress
from invdesign.records import Failure, Status
from invdesign.report import export

if TYPE_CHECKING:
    from invdesign.crystal import Crystal
    from invdesign.relaxation.elastic import Elasticity
    from invdesign.vibrations.isothermal import Isothermal, IsothermalSettings, Strains, Stressed
    from invdesign.vibrations.molecular_dynamics import MDSettings, Simulation
    from invdesign.vibrations.work import PotentialPool

PREFIX = "elastic_"
LEAST_LENGTH = 5.0
"""Å; least `min_length` of a supercell whose elastic constants are computed."""


@dataclass(frozen=True, eq=False)
class Job:
    """Elastic constants of one supercell at one temperature.

    Attributes:
        start: the crystal, a primitive cell.
        relaxed: whether it is relaxed with the potential, at no pressure.
        large: its supercell.
        settings: of the simulation that gives the mean cell.
        how: settings of the strained cells.
        kinds: the strains.
    """

    start: Crystal
    relaxed: bool
    large: Crystal
    settings: MDSettings
    how: IsothermalSettings
    kinds: Strains

    @property
    def at_pressure(self) -> bool:
        """Whether the cell is brought to a pressure, and not kept as given."""
        return self.settings.ensemble == "npt"

    @property
    def runs(self) -> int:
        """Number of simulations at constant volume: of the strained cells, and of the mean cell."""
        return 2 * len(self.kinds.modes) + self.at_pressure

    @property
    def steps(self) -> int:
        """Steps of all of them."""
        return self.runs * self.how.steps


@dataclass(frozen=True, eq=False)
class Found:
    """Elastic constants at a temperature, and the static ones of the same potential or why there are none."""

    isothermal: Isothermal
    static: Elasticity | Failure


def settings_of(given: dict[str, Any]) -> tuple[IsothermalSettings | None, dict[str, Any]]:
    """How to compute elastic constants (None: not at all), and the settings that are left.

    Args:
        given: settings by name; `elastic` says whether they are computed, `elastic_strain` is the field `strain`,
            and so on.

    Raises:
        InputError: if a setting is out of range or unknown, or needs `elastic`.
    """
    from invdesign.checks import yes_or_no
    from invdesign.vibrations.isothermal import IsothermalSettings

    mine = {name.removeprefix(PREFIX): value for name, value in given.items() if name.startswith(PREFIX)}
    others = {name: value for name, value in given.items() if name != "elastic" and not name.startswith(PREFIX)}
    if not yes_or_no("elastic", given.get("elastic", False)):
        if mine:
            raise InputError(PREFIX + next(iter(mine)), next(iter(mine.values())), "used with elastic alone")
        return None, others
    if unknown := set(mine) - {field.name for field in fields(IsothermalSettings)}:
        allowed = [PREFIX + field.name for field in fields(IsothermalSettings)]
        raise InputError("setting of elastic constants", PREFIX + sorted(unknown)[0], allowed)
    length = others.get("min_length")
    if isinstance(length, (int, float)) and length < LEAST_LENGTH:
        raise InputError("min_length", length, f"at least {LEAST_LENGTH:g} Å for elastic constants")
    return IsothermalSettings(**mine), others


def fits(start: Crystal, settings: MDSettings) -> Crystal | Failure:
    """The crystal, or that its supercell is too small for elastic constants."""
    from invdesign.vibrations.isothermal import LEAST_ATOMS, STAGE
    from invdesign.vibrations.supercells import choose

    matrix, length = choose(start, settings.min_length, settings.max_atoms)
    atoms = abs(round(float(np.linalg.det(matrix)))) * start.n_sites
    if atoms >= LEAST_ATOMS and length >= LEAST_LENGTH:
        return start
    has = f"the supercell has {atoms} atoms and its shortest vector {length:.1f} Å"
    needs = f"elastic constants need at least {LEAST_ATOMS} atoms and {LEAST_LENGTH:g} Å"
    return Failure(STAGE, f"{has}; {needs}: raise min_length or max_atoms", start.source)


def jobs_of(
    simulated: Sequence[tuple[int, Crystal, MDSettings]],
    starts: Sequence[Crystal | Failure],
    relaxed: bool,
    how: IsothermalSettings,
) -> dict[int, Job]:
    """What belongs to each simulation, by its place.

    Args:
        simulated: the place of the crystal, its supercell and the settings, for each simulation.
        starts: the crystals.
        relaxed: whether they are relaxed.
        how: settings of the strained cells.
    """
    from invdesign.vibrations.isothermal import strains

    kinds: dict[int, Strains] = {}
    jobs: dict[int, Job] = {}
    for index, (place, large, settings) in enumerate(simulated):
        start = starts[place]
        assert not isinstance(start, Failure)
        if place not in kinds:
            kinds[place] = strains(start)
        jobs[index] = Job(start, relaxed, large, settings, how, kinds[place])
    return jobs


def compute(
    jobs: Mapping[int, Job], simulations: Mapping[int, Simulation | Failure], pool: PotentialPool, tell: Progress
) -> dict[int, Found | Failure]:
    """Elastic constants where the simulation stayed the crystal that it was.

    Args:
        jobs: by their place.
        simulations: by the same place, each of `Job.large`.
        pool: of the potential.
        tell: is told of each strained cell.

    Returns:
        By the same place; nothing for a job whose simulation failed.
    """
    from invdesign.vibrations.isothermal import fitted

    found, cells = _mean_cells(jobs, simulations)
    static = _static({place: jobs[place] for place in cells}, pool)
    total, done = sum(jobs[place].runs for place in cells), [0]

    def averaged(mine: Sequence[tuple[int, Crystal]]) -> list[tuple[int, Stressed | Failure]]:
        answers: dict[int, Stressed | Failure] = {}
        settings = [(jobs[place].settings, jobs[place].how) for place, _ in mine]
        for index, answer in pool.stressed_iter([cell for _, cell in mine], settings):
            answers[index] = answer
            done[0] += 1
            tell("elastic", done[0], total)
        return [(place, answers[index]) for index, (place, _) in enumerate(mine)]

    before: dict[int, Stressed] = {}
    for place, rest in averaged([(p, cell) for p, cell in cells.items() if jobs[p].at_pressure]):
        cell = cells.pop(place)
        if isinstance(rest, Failure):
            found[place] = rest
        else:
            before[place], cells[place] = rest, _at_pressure(jobs[place], cell, rest, static[place])
    strained = {place: jobs[place].kinds.of(cell, jobs[place].how) for place, cell in cells.items()}
    answers = averaged([(place, each) for place in strained for each in strained[place]])
    for place, cell in cells.items():
        runs = [answer for mine, answer in answers if mine == place and not isinstance(answer, Failure)]
        failures = [answer for mine, answer in answers if mine == place and isinstance(answer, Failure)]
        if failures:
            found[place] = failures[0]
        else:
            hot = fitted(cell, jobs[place].kinds, runs, jobs[place].how, before.get(place))
            found[place] = Found(hot, static[place])
    return found


def _mean_cells(
    jobs: Mapping[int, Job], simulations: Mapping[int, Simulation | Failure]
) -> tuple[dict[int, Found | Failure], dict[int, Crystal]]:
    """Why there are no elastic constants, or the mean cell."""
    from invdesign.vibrations.isothermal import mean_cell

    found: dict[int, Found | Failure] = {}
    cells: dict[int, Crystal] = {}
    for place, job in jobs.items():
        simulation = simulations.get(place)
        if simulation is None or isinstance(simulation, Failure):
            continue
        if reason := _changed(simulation):
            found[place] = Failure("elastic", reason, job.start.source)
        else:
            cells[place] = mean_cell(job.large, simulation.average, job.kinds.rotations)
    return found, cells


def _at_pressure(job: Job, cell: Crystal, rest: Stressed, static: Elasticity | Failure) -> Crystal:
    """The mean cell brought to the pressure, as far as a static tensor tells how."""
    from invdesign.vibrations.isothermal import at_pressure

    if isinstance(static, Failure) or static.eigenvalues[0] <= 0.0:
        return cell
    return at_pressure(cell, rest, static.tensor, job.kinds, job.settings.pressure)


def _changed(simulation: Simulation) -> str:
    """Why the mean cell is not that of the crystal, or nothing."""
    from invdesign.vibrations.molecular_dynamics import CHANGED

    verdict = simulation.verdict
    if verdict.status is Status.FAIL:
        return f"it does not stay crystalline: {verdict.reason}"
    return "it becomes another structure: take average.cif as a crystal" if verdict.reason == CHANGED else ""


def _static(jobs: Mapping[int, Job], pool: PotentialPool) -> dict[int, Elasticity | Failure]:
    """Static tensors with the same strains, at the pressure of the simulation; of crystals as given at theirs."""
    from invdesign.relaxation.elastic import ElasticSettings
    from invdesign.relaxation.minimise import RelaxSettings

    pressed = {
        place: job for place, job in jobs.items() if job.relaxed and job.at_pressure and job.settings.pressure
    }
    answers = pool.relax(
        [job.start for job in pressed.values()],
        [RelaxSettings(pressure=job.settings.pressure) for job in pressed.values()],
    )
    cells: dict[int, Crystal | Failure] = {place: job.start for place, job in jobs.items()}
    for place, relaxed in zip(pressed, answers, strict=True):
        cells[place] = relaxed if isinstance(relaxed, Failure) else relaxed.crystal
    sound = {place: cell for place, cell in cells.items() if not isinstance(cell, Failure)}
    plain = ElasticSettings()
    settings = []
    for place in sound:
        size, pressure = jobs[place].how.strain, abs(jobs[place].settings.pressure) if place in pressed else 0.0
        stress = plain.max_start_stress + pressure
        settings.append(replace(plain, strains=(-size, size), max_start_stress=stress))
    found = pool.tensors(list(sound.values()), settings)
    return {**{p: c for p, c in cells.items() if isinstance(c, Failure)}, **dict(zip(sound, found, strict=True))}


def columns(found: Found | Failure | None) -> export.Row:
    """What the table says: each constant, its standard error, and the static one beside it."""
    if found is None:
        return {}
    if isinstance(found, Failure):
        return {"elastic_failure": found.reason}
    hot = found.isothermal
    row: export.Row = {
        "elastic_failure": "",
        "elastic_stability": hot.verdict.status.value,
        "elastic_stability_reason": hot.verdict.reason,
    }
    for name, _, value, error, static in _quantities(found):
        row |= {name: value, f"{name}_error": error, f"{name}_static": static}
    return row | {
        "elastic_static_failure": found.static.reason if isinstance(found.static, Failure) else "",
        "elastic_volume": hot.crystal.volume / hot.crystal.n_sites,
        "elastic_pressure": hot.pressure,
        "elastic_temperature": hot.temperature,
        "elastic_strain": hot.settings.strain,
        "elastic_steps": hot.steps,
        "elastic_seconds": hot.seconds,
    }


def _quantities(found: Found) -> list[tuple[str, str, float, float, float | None]]:
    """(name, unit, value, standard error, static value) of moduli and of constants that differ by symmetry."""
    from invdesign.vibrations.isothermal import moduli

    hot, static = found.isothermal, None if isinstance(found.static, Failure) else found.static.tensor
    still = {} if static is None else moduli(static)
    rows: list[tuple[str, str, float, float, float | None]] = [
        (named(name), "" if name == "poisson_ratio" else "GPa", value.mean, value.std, still.get(name))
        for name, value in hot.moduli.items()
    ]
    for i, j in hot.constants:
        beside = None if static is None else float(static[i, j])
        rows.append((f"c{i + 1}{j + 1}", "GPa", float(hot.tensor[i, j]), float(hot.errors[i, j]), beside))
    return rows


def named(name: str) -> str:
    """The column of a modulus: of the potential, as in the table of `elastic`."""
    return name if name == "lowest_eigenvalue" else f"potential_{name}"


def write(found: Found, folder: Path) -> None:
    """`elastic.csv` beside the files of the simulation.

    Raises:
        OutputError: if it cannot be written.
    """
    names = ("quantity", "unit", "value", "standard_error", "static")
    rows = [dict(zip(names, each, strict=True)) for each in _quantities(found)]
    export.write_table(export.frame(rows), folder / "elastic.csv")
