"""Thermal properties in the harmonic and the quasi-harmonic approximation.

Harmonic: free energy, entropy and heat capacity at constant volume from the modes on a mesh of q-points.
Quasi-harmonic: the modes at several volumes give the free energy as a function of volume and temperature, and its
minimum the thermal expansion (phonopy's `PhonopyQHA`, Vinet's equation of state). The cells of other volumes are
relaxed under pressure, so that their shape and atoms follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.records import Failure
from invdesign.relaxation.minimise import Relaxed, RelaxSettings
from invdesign.units import AVOGADRO, ELEMENTARY_CHARGE, GPA
from invdesign.vibrations.harmonic import Harmonic, UnsoundError, harmonic, silent
from invdesign.vibrations.modes import imaginary_modes
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.work import PotentialPool

KJ_PER_MOL = ELEMENTARY_CHARGE * AVOGADRO / 1000.0
"""kJ/mol in one eV per particle: 96.485."""
_CUTOFF = 1e-3
"""Modes below this frequency (THz) are left out of sums: the acoustic ones at Γ."""


@dataclass(frozen=True, eq=False)
class Thermal:
    """Harmonic thermal properties at the volume of 0 K, without the zero-point motion's expansion.

    Attributes:
        temperatures: (n,) K.
        free_energy: (n,) of the vibrations, eV/atom; at 0 K the zero-point energy.
        entropy: (n,) J/(mol K), mole of atoms.
        heat_capacity: (n,) at constant volume, J/(mol K), mole of atoms.
    """

    temperatures: FloatArray
    free_energy: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray

    def at(self, name: str, temperature: float) -> float:
        """A property at a temperature, interpolated; NaN beyond the range."""
        values = getattr(self, name)
        return float(np.interp(temperature, self.temperatures, values, left=np.nan, right=np.nan))


@dataclass(frozen=True, eq=False)
class Expansion:
    """Quasi-harmonic properties at zero pressure.

    Attributes:
        temperatures: (n,) K.
        volume: (n,) Å³/atom.
        thermal_expansion: (n,) volumetric coefficient, 1/K.
        bulk_modulus: (n,) isothermal, GPa.
        heat_capacity: (n,) at constant pressure, J/(mol K), mole of atoms.
        gruneisen: (n,) thermodynamic Grüneisen parameter.
        volumes: (k,) that were used, Å³/atom.
        left_out: volumes that were not, each with the reason.
    """

    temperatures: FloatArray
    volume: FloatArray
    thermal_expansion: FloatArray
    bulk_modulus: FloatArray
    heat_capacity: FloatArray
    gruneisen: FloatArray
    volumes: FloatArray
    left_out: tuple[str, ...]


def thermal(found: Harmonic, settings: PhononSettings) -> Thermal:
    """Thermal properties of a crystal without imaginary modes."""
    temperatures = _temperatures(settings)
    with silent():
        found.phonopy.run_mesh(settings.mesh)
        made = found.phonopy.run_thermal_properties(temperatures=temperatures, cutoff_frequency=_CUTOFF)
    n = found.crystal.n_sites
    return Thermal(
        temperatures=temperatures,
        free_energy=np.asarray(made.free_energy) / KJ_PER_MOL / n,
        entropy=np.asarray(made.entropy) / n,
        heat_capacity=np.asarray(made.heat_capacity) / n,
    )


def _temperatures(settings: PhononSettings) -> FloatArray:
    return np.arange(0.0, settings.max_temperature + 0.5 * settings.temperature_step, settings.temperature_step)


def expansion(rest: Harmonic, pool: PotentialPool, settings: PhononSettings) -> tuple[Expansion, float]:
    """Thermal expansion, and the CPU seconds that it took.

    Args:
        rest: force constants of the crystal at zero pressure.
        pool: processes with the potential.
        settings: volumes, and all of phonons.

    Raises:
        UnsoundError: if too few volumes have real modes alone.
    """
    cells, left_out, seconds = _cells(rest.crystal, pool, settings)
    points: list[tuple[float, float, Thermal]] = []
    for cell in cells:
        try:
            found = harmonic(cell.crystal, pool, settings)
        except UnsoundError as error:
            left_out.append(f"{cell.crystal.volume / cell.crystal.n_sites:.2f} Å³/atom: {error}")
            continue
        seconds += found.seconds
        modes = [mode for mode in imaginary_modes(found, None, settings) if mode.is_exact]
        if modes:
            left_out.append(f"{cell.crystal.volume / cell.crystal.n_sites:.2f} Å³/atom: {modes[0].words()}")
            continue
        points.append((cell.crystal.volume, found.energy, thermal(found, settings)))
    if len(points) < settings.min_volumes:
        reason = f"{len(points)} volumes can be used, {settings.min_volumes} are needed"
        raise UnsoundError(f"{reason} ({'; '.join(left_out)})")
    return _quasi_harmonic(points, rest.crystal.n_sites, left_out), seconds


def _cells(
    crystal: Crystal, pool: PotentialPool, settings: PhononSettings
) -> tuple[list[Relaxed], list[str], float]:
    """The crystal relaxed under the pressures that give about the wanted volumes; what failed; CPU seconds."""
    modulus = _bulk_modulus(crystal, pool)
    starts, limits = [], []
    for volume in settings.volumes:
        starts.append(_scaled(crystal, volume))
        # Murnaghan's equation with a pressure derivative of 4 (F. D. Murnaghan, PNAS 30, 244 (1944))
        pressure = modulus / 4.0 * (volume**-4.0 - 1.0)
        limits.append(_limits(settings, pressure))
    relaxed = pool.relax(starts, limits)
    left_out = [
        f"at {limit.pressure:.3g} GPa: {answer.reason if isinstance(answer, Failure) else 'not converged'}"
        for answer, limit in zip(relaxed, limits, strict=True)
        if isinstance(answer, Failure) or not answer.converged
    ]
    sound = [answer for answer in relaxed if not isinstance(answer, Failure)]
    return [a for a in sound if a.converged], left_out, sum(a.seconds for a in sound)


def _limits(settings: PhononSettings, pressure: float) -> RelaxSettings:
    return RelaxSettings(
        max_force=settings.max_force,
        max_stress=settings.max_stress,
        max_steps=settings.max_steps,
        rise_symprec=settings.symprec,
        pressure=float(pressure),
    )


def _bulk_modulus(crystal: Crystal, pool: PotentialPool) -> float:
    """Estimate from the stress of two scaled cells, atoms not relaxed, GPa.

    Raises:
        UnsoundError: if it is not positive, or the potential fails.
    """
    step = 0.01
    answers = pool.evaluate([_scaled(crystal, 1.0 - step), _scaled(crystal, 1.0 + step)])
    sound = [answer for answer in answers if not isinstance(answer, Failure)]
    if len(sound) < 2:
        raise UnsoundError("the potential fails for a crystal of another volume")
    low, high = (float(np.trace(answer.stress)) / 3.0 * GPA for answer in sound)
    modulus = (high - low) / (2.0 * step)
    if modulus <= 0.0:
        raise UnsoundError(f"a bulk modulus of {modulus:.3g} GPa: the crystal collapses")
    return modulus


def _scaled(crystal: Crystal, volume: float) -> Crystal:
    return replace(crystal, lattice=crystal.lattice * volume ** (1.0 / 3.0), gene=None)


def _quasi_harmonic(points: list[tuple[float, float, Thermal]], n_sites: int, left_out: list[str]) -> Expansion:
    from phonopy import PhonopyQHA

    points = sorted(points, key=lambda point: point[0])
    temperatures = points[0][2].temperatures
    per_cell = n_sites * KJ_PER_MOL

    def table(name: str, factor: float) -> Any:
        return np.stack([getattr(p[2], name) * factor for p in points], axis=1)

    with silent():
        made = PhonopyQHA(
            volumes=np.array([p[0] for p in points]),
            electronic_energies=np.array([p[1] for p in points]),
            temperatures=temperatures,
            free_energy=table("free_energy", per_cell),
            cv=table("heat_capacity", n_sites),
            entropy=table("entropy", n_sites),
        )
    size = len(made.thermal_expansion)
    return Expansion(
        temperatures=temperatures[:size],
        volume=np.asarray(made.volume_temperature)[:size] / n_sites,
        thermal_expansion=np.asarray(made.thermal_expansion)[:size],
        bulk_modulus=np.asarray(made.bulk_modulus_temperature)[:size],
        heat_capacity=np.asarray(made.heat_capacity_P_polyfit)[:size] / n_sites,
        gruneisen=np.asarray(made.gruneisen_temperature)[:size],
        volumes=np.array([p[0] for p in points]) / n_sites,
        left_out=tuple(left_out),
    )
