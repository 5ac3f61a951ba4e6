"""Molecular dynamics of a crystal with a potential: whether it stays crystalline, and its volume.

ASE's integrators: constant pressure by Martyna, Tobias and Klein (J. Chem. Phys. 101, 4177 (1994)) with the cell's
shape free, or that of a cubic crystal kept; constant volume with the thermostat of Bussi, Donadio and Parrinello
(J. Chem. Phys. 126, 014101 (2007)). Nuclei are classical, so that nothing below the Debye temperature is exact.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.checks import check_types, number, whole
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import space_group
from invdesign.errors import InputError
from invdesign.records import Failure, Status, Verdict
from invdesign.units import GPA

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

STAGE = "md"
VERDICT = "crystalline"
ENSEMBLES = ("npt", "nvt")
LINDEMANN = 0.15
"""Root-mean-square displacement over the nearest distance at which crystals melt at the latest: F. A. Lindemann,
Phys. Z. 11, 609 (1910); 0.10 to 0.15 by later work."""
CHANGED = "becomes another structure"
"""Remark on a crystal that stays crystalline."""
_FEWEST = 10
"""Frames that averages need."""


@dataclass(frozen=True)
class MDSettings:
    """How to run molecular dynamics. Everything that can change a result, except the potential.

    Attributes:
        temperature: K.
        ensemble: npt or nvt.
        pressure: GPa, for npt.
        steps: in all.
        timestep: fs; halved for crystals with hydrogen.
        settle: share of the steps that is left out of averages.
        every: steps between frames.
        seed: of the first velocities and the thermostat.
        min_length: length of the shortest lattice vector of the supercell, Å.
        max_atoms: of the supercell.
        max_change: factor by which the volume may change before the crystal has come apart.
    """

    temperature: float = 300.0
    ensemble: str = "npt"
    pressure: float = 0.0
    steps: int = 2000
    timestep: float = 2.0
    settle: float = 0.3
    every: int = 10
    seed: int = 0
    min_length: float = 8.0
    max_atoms: int = 130
    max_change: float = 2.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: naming the setting, its value and what is allowed.
        """
        number("temperature", self.temperature, 1.0, 10_000.0, "K")
        number("pressure", self.pressure, -100.0, 1000.0, "GPa")
        number("timestep", self.timestep, 0.01, 10.0, "fs")
        number("settle", self.settle, 0.0, 0.9)
        number("min_length", self.min_length, 1.0, 100.0, "Å")
        number("max_change", self.max_change, 1.05, 10.0)
        whole("every", self.every)
        whole("max_atoms", self.max_atoms)
        whole("seed", self.seed, 0)
        whole("steps", self.steps, self.least_steps())
        check_types(self)
        if self.ensemble not in ENSEMBLES:
            raise InputError("ensemble", self.ensemble, ENSEMBLES)

    def least_steps(self) -> int:
        """Steps that leave enough frames for averages."""
        return int(np.ceil(_FEWEST * self.every / (1.0 - self.settle)))

    def step_of(self, crystal: Crystal) -> float:
        """Time step for a crystal, fs."""
        return self.timestep * (0.5 if 1 in crystal.numbers else 1.0)


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came of it. Averages are over the frames after `settle`.

    Attributes:
        crystal: the supercell at the end.
        average: mean positions in the mean cell.
        verdict: whether it stayed crystalline; its value is the Lindemann ratio.
        settings: of the run.
        temperature, volume, energy: means: K, Å³/atom, potential energy in eV/atom.
        volume_error: standard error of the volume from five blocks, Å³/atom.
        displacement: root-mean-square displacement from the mean positions, Å.
        times, temperatures, volumes, energies: (n,) of every frame: ps, K, Å³/atom, eV/atom.
        frames: (n, n_atoms, 3) positions of every frame without jumps, Å, and `cells` (n, 3, 3).
        cells: see `frames`.
        seconds: CPU seconds.
    """

    crystal: Crystal
    average: Crystal
    verdict: Verdict
    settings: MDSettings
    temperature: float
    volume: float
    energy: float
    volume_error: float
    displacement: float
    times: FloatArray
    temperatures: FloatArray
    volumes: FloatArray
    energies: FloatArray
    frames: FloatArray
    cells: FloatArray
    seconds: float


@dataclass(frozen=True, eq=False)
class _Course:
    """Everything that was written down on the way, one entry for each frame."""

    times: list[float]
    temperatures: list[float]
    volumes: list[float]
    energies: list[float]
    frames: list[FloatArray]
    cells: list[FloatArray]


class _ApartError(Exception):
    """The crystal came apart."""


def simulate(crystal: Crystal, calculator: Calculator, settings: MDSettings) -> Simulation | Failure:
    """Run molecular dynamics of one supercell in this process; never raises for a bad crystal."""
    start = time.process_time()
    try:
        return _simulated(crystal, calculator, settings, start)
    except Exception as error:  # a calculator may raise anything; the crystal is the row
        return Failure(STAGE, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)


def _simulated(crystal: Crystal, calculator: Calculator, settings: MDSettings, start: float) -> Simulation:
    atoms = atoms_at_start(crystal, calculator, settings)
    course, first = _Course([], [], [], [], [], []), float(atoms.get_volume())
    run = _integrator(atoms, crystal, settings)
    fault = ""

    def look() -> None:
        _write_down(course, atoms, run.get_time() / _units().fs / 1000.0)
        if not np.isfinite(course.energies[-1]):
            raise _ApartError("its energy is not finite")
        ratio = atoms.get_volume() / first
        if not 1.0 / settings.max_change < ratio < settings.max_change:
            raise _ApartError(f"its volume went to {ratio:.2f} times the first")

    run.attach(look, interval=settings.every)
    try:
        run.run(settings.steps)
    except _ApartError as error:
        fault = f"came apart after {course.times[-1]:.2f} ps: {error}"
    return _summarised(crystal, course, settings, fault, start)


def _units() -> Any:
    from ase import units

    return units


def femtoseconds(time: float) -> float:
    """A time in ASE's unit."""
    return float(time * _units().fs)


def atoms_at_start(crystal: Crystal, calculator: Calculator, settings: MDSettings) -> Atoms:
    """Atoms in their places with the velocities of twice the temperature, half of which becomes potential energy;
    without a momentum in all."""
    from ase import Atoms

    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)
    atoms.calc = calculator
    masses = atoms.get_masses()[:, None]
    thermal = np.sqrt(2.0 * settings.temperature * _units().kB * masses)
    momenta = np.random.default_rng(settings.seed).normal(size=(len(atoms), 3)) * thermal
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    return atoms


def _integrator(atoms: Atoms, crystal: Crystal, settings: MDSettings) -> Any:
    step = femtoseconds(settings.step_of(crystal))
    if settings.ensemble == "nvt":
        from ase.md.bussi import Bussi

        rng = np.random.default_rng(settings.seed + 1)
        return Bussi(atoms, step, temperature_K=settings.temperature, taut=50.0 * step, rng=rng)
    from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT

    group = space_group(crystal)
    kind = IsotropicMTKNPT if group is not None and group >= 195 else MTKNPT
    return kind(
        atoms,
        step,
        temperature_K=settings.temperature,
        pressure_au=settings.pressure / GPA,
        tdamp=100.0 * step,
        pdamp=1000.0 * step,
    )


def _write_down(course: _Course, atoms: Atoms, picoseconds: float) -> None:
    course.times.append(picoseconds)
    course.temperatures.append(float(atoms.get_temperature()))
    course.volumes.append(float(atoms.get_volume()) / len(atoms))
    course.energies.append(float(atoms.get_potential_energy()) / len(atoms))
    course.frames.append(atoms.positions.copy())
    course.cells.append(atoms.cell.array.copy())


def _summarised(crystal: Crystal, course: _Course, settings: MDSettings, fault: str, start: float) -> Simulation:
    frames, cells = np.stack(course.frames), np.stack(course.cells)
    kept = slice(int(settings.settle * len(frames)), None)
    places = np.einsum("fni,fij->fnj", frames[kept], np.linalg.inv(cells[kept]))
    places -= places.mean(axis=1, keepdims=True) - places[0].mean(axis=0)
    mean_cell, mean_place = cells[kept].mean(axis=0), places.mean(axis=0)
    away = (places - mean_place) @ mean_cell
    rms = float(np.sqrt((away**2).sum(axis=2).mean()))
    average = Crystal(mean_cell, crystal.numbers, mean_place, None, crystal.source)
    volumes = np.array(course.volumes)
    last = Crystal(cells[-1], crystal.numbers, frames[-1] @ np.linalg.inv(cells[-1]), None, crystal.source)
    return Simulation(
        crystal=last,
        average=average,
        verdict=_judged(crystal, average, rms, fault),
        settings=settings,
        temperature=float(np.mean(course.temperatures[kept])),
        volume=float(volumes[kept].mean()),
        energy=float(np.mean(course.energies[kept])),
        volume_error=_error(volumes[kept]),
        displacement=rms,
        times=np.array(course.times),
        temperatures=np.array(course.temperatures),
        volumes=volumes,
        energies=np.array(course.energies),
        frames=frames,
        cells=cells,
        seconds=time.process_time() - start,
    )


def _error(values: FloatArray, blocks: int = 5) -> float:
    """Standard error of a mean of correlated values, from the means of blocks."""
    means = np.array([part.mean() for part in np.array_split(values, blocks)])
    return float(means.std(ddof=1) / np.sqrt(blocks))


def _judged(start: Crystal, average: Crystal, rms: float, fault: str) -> Verdict:
    """FAIL if it came apart, or atoms left their places or shake as in a liquid."""
    ratio = rms / _nearest(start)
    if fault:
        return Verdict(VERDICT, Status.FAIL, fault, ratio)
    if left := left_places(start, average):
        return Verdict(VERDICT, Status.FAIL, f"{left} of {start.n_sites} atoms left their places", ratio)
    if ratio > LINDEMANN:
        words = f"atoms shake by {ratio:.2f} of the nearest distance, more than {LINDEMANN:g}: it melts"
        return Verdict(VERDICT, Status.FAIL, words, ratio)
    return Verdict(VERDICT, Status.PASS, "" if _same(start, average) else CHANGED, ratio)


def left_places(start: Crystal, average: Crystal) -> int:
    """How many atoms moved, in the mean, by more than half the nearest distance; both without jumps."""
    moved = average.frac_coords - start.frac_coords
    moved -= moved.mean(axis=0)
    return int((np.linalg.norm(moved @ average.lattice, axis=1) > 0.5 * _nearest(start)).sum())


def _nearest(crystal: Crystal) -> float:
    from invdesign.crystallography.distances import shortest_distance

    return float(shortest_distance(crystal))


def _same(before: Crystal, after: Crystal) -> bool:
    try:
        return same(reduced(before), reduced(after))
    except ValueError:
        return False
