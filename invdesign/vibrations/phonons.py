"""Phonons with a universal potential: relaxation, force constants, bands, thermal properties, children."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.symmetry import primitive
from invdesign.records import Failure, Status, Verdict
from invdesign.relaxation.dynamics import described
from invdesign.relaxation.minimise import Relaxed, RelaxSettings
from invdesign.vibrations.harmonic import (
    Bands,
    Harmonic,
    UnsoundError,
    bands,
    density_of_states,
    harmonic,
    phonopy_yaml,
)
from invdesign.vibrations.modes import Mode, displaced, imaginary_modes, judge
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.thermal import Expansion, Thermal, expansion, thermal
from invdesign.vibrations.work import STAGE, PotentialPool


@dataclass(frozen=True, eq=False)
class Child:
    """What a crystal becomes when it is displaced along an imaginary mode and relaxed without symmetry.

    Attributes:
        crystal: relaxed within its own symmetry.
        gain: energy by which it lies below the crystal, eV/atom.
        mode: that was followed.
        becomes: the change of symmetry in words.
    """

    crystal: Crystal
    gain: float
    mode: Mode
    becomes: str


@dataclass(frozen=True, eq=False)
class Phonons:
    """Phonons of a crystal and what follows from them.

    Attributes:
        crystal: the primitive cell, relaxed.
        energy_per_atom: of the potential, eV/atom.
        verdict: PASS without imaginary modes, FAIL with one at a q-point of the supercell, UNKNOWN with one
            between them alone; its value is the frequency, THz.
        bands: the band structure.
        dos_frequencies, dos: THz, and the density of states in 1/THz for all modes of the primitive cell.
        imaginary: imaginary modes, the most unstable first.
        thermal: thermal properties at constant volume; None with imaginary modes.
        expansion: of the quasi-harmonic approximation; None where it was not asked for or cannot be had.
        child: what the crystal becomes; None where that was not asked for or nothing gains energy.
        notes: what the reader has to know.
        n_atoms: of the supercell.
        min_length: shortest lattice vector of the supercell, Å.
        n_displacements: supercells whose forces were computed.
        residual_force: largest force on an atom of the undisplaced crystal, eV/Å.
        sum_rule: by how much the acoustic sum rule was broken, eV/Å².
        yaml: the text of phonopy's file: forces, displacements, supercell.
        potential: name and version.
        seconds: CPU seconds of the potential.
    """

    crystal: Crystal
    energy_per_atom: float
    verdict: Verdict
    bands: Bands
    dos_frequencies: FloatArray
    dos: FloatArray
    imaginary: tuple[Mode, ...]
    thermal: Thermal | None
    expansion: Expansion | None
    child: Child | None
    notes: tuple[str, ...]
    n_atoms: int
    min_length: float
    n_displacements: int
    residual_force: float
    sum_rule: float
    yaml: str
    potential: str
    seconds: float


def relaxed(
    crystals: Sequence[Crystal], pool: PotentialPool, settings: PhononSettings
) -> list[Relaxed | Crystal | Failure]:
    """The crystals as phonons want them: relaxed within their space groups, or as primitive cells as they are."""
    if not settings.relax:
        return [primitive(crystal) for crystal in crystals]
    limits = RelaxSettings(
        max_force=settings.max_force, max_stress=settings.max_stress, max_steps=settings.max_steps
    )
    return list(pool.relax(crystals, [limits] * len(crystals)))


def phonons(
    start: Relaxed | Crystal | Failure, pool: PotentialPool, settings: PhononSettings, qha: bool = False
) -> Phonons | Failure:
    """Phonons of one crystal; never raises for a bad crystal.

    Args:
        start: an item of `relaxed`.
        pool: processes with the potential.
        settings: supercell, displacements, meshes, what to follow.
        qha: whether to compute the thermal expansion.
    """
    if isinstance(start, Failure):
        return start
    crystal = start if isinstance(start, Crystal) else start.crystal
    notes = []
    if isinstance(start, Relaxed) and not start.converged:
        notes.append(f"the relaxation did not converge, a force of {start.max_force:.2g} eV/Å is left")
    try:
        found = harmonic(crystal, pool, settings)
        return _described(found, pool, settings, qha, notes)
    except UnsoundError as error:
        return Failure(STAGE, str(error), crystal.source)
    except Exception as error:  # symmetry searches and fits may raise anything; the crystal is the row
        return Failure(STAGE, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)


def _described(
    found: Harmonic, pool: PotentialPool, settings: PhononSettings, qha: bool, notes: list[str]
) -> Phonons:
    path = bands(found)
    modes = imaginary_modes(found, path, settings)
    verdict, seconds = judge(modes), found.seconds
    frequencies, dos = density_of_states(found, settings)
    if found.min_length < settings.min_length - 1e-6:
        wanted = f"shorter than {settings.min_length:g} Å: more than {settings.max_atoms} atoms"
        notes.append(f"the supercell's shortest vector has {found.min_length:.1f} Å, {wanted}")
    volumes, child = None, None
    if verdict.status is Status.FAIL and settings.follow:
        child, spent = _child(found, modes, pool, settings)
        seconds += spent
        if child is None:
            notes.append(f"no mode that was followed gains {1000.0 * settings.gain:g} meV/atom")
    if qha and not modes:
        try:
            volumes, spent = expansion(found, pool, settings)
            seconds += spent
        except UnsoundError as error:
            notes.append(f"no thermal expansion: {error}")
    if modes:
        notes.append("no thermal properties: there are imaginary modes")
    return Phonons(
        crystal=found.crystal,
        energy_per_atom=found.energy / found.crystal.n_sites,
        verdict=verdict,
        bands=path,
        dos_frequencies=frequencies,
        dos=dos,
        imaginary=tuple(modes),
        thermal=None if modes else thermal(found, settings),
        expansion=volumes,
        child=child,
        notes=tuple(notes),
        n_atoms=len(found.phonopy.supercell),
        min_length=found.min_length,
        n_displacements=found.n_displacements,
        residual_force=found.residual_force,
        sum_rule=found.sum_rule,
        yaml=phonopy_yaml(found),
        potential=pool.potential.version,
        seconds=seconds,
    )


def _child(
    found: Harmonic, modes: Sequence[Mode], pool: PotentialPool, settings: PhononSettings
) -> tuple[Child | None, float]:
    """The lowest of what the crystal becomes along its most unstable modes, and the CPU seconds spent."""
    starts, origins = [], []
    for mode in [mode for mode in modes if mode.is_exact][: settings.follow]:
        for start in displaced(found, mode, settings.amplitude):
            starts.append(start)
            origins.append(mode)
    answers = pool.follow(found.crystal, starts, settings.gain)
    best: Child | None = None
    for mode, answer in zip(origins, answers, strict=True):
        if isinstance(answer, Failure) or answer.child is None:
            continue
        if best is None or answer.gain > best.gain:
            crystal = replace(answer.child.crystal, source=found.crystal.source)
            best = Child(crystal, answer.gain, mode, described(found.crystal, crystal))
    return best, sum(answer.seconds for answer in answers if not isinstance(answer, Failure))
