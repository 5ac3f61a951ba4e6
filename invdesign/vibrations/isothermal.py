"""Isothermal elastic constants of a crystal at a temperature: the stress of strained cells in molecular dynamics.

The direct method: the cell at the temperature is strained by plus and minus a finite strain, and the stress is
averaged at constant volume, the share of the moving atoms included. It needs no second derivatives, unlike the
fluctuation formula of M. Parrinello and A. Rahman (J. Chem. Phys. 76, 2662 (1982)); G. Clavier et al. compare both
(Mol. Simul. 43, 1413 (2017)). Symmetry says which strains are enough and which constants are independent, as for
the static tensor (`invdesign.relaxation.elastic`).

All strained cells get the same random numbers, so that most of the noise of their stresses is common to them and
leaves with the difference (G. Ciccotti and G. Jacucci, Phys. Rev. Lett. 35, 789 (1975)). Standard errors are from
the means of blocks of the difference (H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989)), by leaving
out one block at a time (jackknife: B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans, SIAM 1982).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.checks import number, whole
from invdesign.crystal import Crystal, FloatArray
from invdesign.mechanics.formulas import poisson_ratio, youngs_modulus
from invdesign.mechanics.tensors import (
    PLACES,
    from_mandel,
    from_mandel_tensor,
    mandel,
    point_group,
    strain_modes,
    stress_design,
    summarise,
    symmetric_basis,
    to_mandel,
)
from invdesign.records import Failure, Status, Value, Verdict
from invdesign.units import GPA
from invdesign.vibrations.molecular_dynamics import MDSettings, atoms_at_start, femtoseconds, left_places

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

STAGE = "elastic"
VERDICT = "elastic_stability"
LEAST_ATOMS = 16
"""Atoms of a supercell that is large enough."""
MODULI = ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio", "lowest_eigenvalue")
"""What follows from a tensor: Hill averages, E and the lowest eigenvalue in GPa, Poisson's ratio."""
_ERRORS = 2.0
"""Standard errors by which an eigenvalue must differ from zero for a verdict: 95 %."""


@dataclass(frozen=True)
class IsothermalSettings:
    """How to compute elastic constants at a temperature, beside what `MDSettings` says.

    Attributes:
        strain: amplitude of every strain mode (Mandel norm), used with both signs.
        steps: of each strained cell.
        settle: share of the steps that is left out of averages.
        friction: of the Langevin thermostat, 1/fs.
        every: steps between two readings of the stress.
        blocks: of equal length, for standard errors.
    """

    strain: float = 0.01
    steps: int = 2000
    settle: float = 0.2
    friction: float = 0.02
    every: int = 5
    blocks: int = 10

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: naming the setting, its value and what is allowed.
        """
        number("elastic_strain", self.strain, 0.001, 0.05)
        number("elastic_settle", self.settle, 0.0, 0.9)
        number("elastic_friction", self.friction, 0.0001, 1.0, "1/fs")
        whole("elastic_every", self.every)
        whole("elastic_blocks", self.blocks, 4)
        whole("elastic_steps", self.steps, self.least_steps())

    def least_steps(self) -> int:
        """Steps that leave two readings for each block."""
        return int(np.ceil(2 * self.blocks * self.every / (1.0 - self.settle)))


@dataclass(frozen=True, eq=False)
class Strains:
    """What symmetry says of a crystal: which strains are enough, and which tensors are possible.

    Attributes:
        rotations: (n, 3, 3) of the point group, in Cartesian axes.
        basis: (n_independent, 6, 6) of the tensors, in Mandel's notation.
        modes: (n_modes, 6) strains of norm one, Mandel vectors.
    """

    rotations: FloatArray
    basis: FloatArray
    modes: FloatArray

    def of(self, cell: Crystal, settings: IsothermalSettings) -> list[Crystal]:
        """The strained cells: each mode with plus, then with minus."""
        signed = [sign * settings.strain * mode for mode in self.modes for sign in (1.0, -1.0)]
        return [replace(cell, lattice=cell.lattice @ (np.eye(3) + from_mandel(s)), gene=None) for s in signed]


@dataclass(frozen=True, eq=False)
class Stressed:
    """Molecular dynamics of one strained cell.

    Attributes:
        stresses: (n, 6) Mandel vectors after `settle`, GPa, positive in tension, the kinetic share included.
        temperature: mean, K.
        steps: in all.
        seconds: CPU seconds.
    """

    stresses: FloatArray
    temperature: float
    steps: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Isothermal:
    """Isothermal elastic constants at a temperature. Errors are standard errors.

    Attributes:
        crystal: the cell at rest, whose strained copies were simulated; the tensor is in its Cartesian axes.
        tensor: (6, 6) stiffness in Voigt notation (xx, yy, zz, yz, xz, xy), GPa, with the symmetry of the crystal.
            Under pressure the coefficients of stress against strain, which decide on stability there.
        errors: (6, 6) of it, GPa.
        constants: places in it of the constants that are not zero or equal by symmetry.
        moduli: see `MODULI`.
        pressure: mean of all strained cells, GPa; what it differs from the one that was set comes from the cell.
        verdict: Born's criterion: PASS or FAIL where the lowest eigenvalue is positive or negative beyond two
            standard errors.
        temperature: mean of all strained cells, K.
        settings: of the strained cells.
        steps: of all strained cells and of the run that found the cell.
        seconds: CPU seconds of the same.
    """

    crystal: Crystal
    tensor: FloatArray
    errors: FloatArray
    constants: tuple[tuple[int, int], ...]
    moduli: Mapping[str, Value]
    pressure: float
    verdict: Verdict
    temperature: float
    settings: IsothermalSettings
    steps: int
    seconds: float


def strains(crystal: Crystal) -> Strains:
    """Which strains of a crystal are enough; from its primitive cell."""
    rotations = point_group(crystal)
    basis = symmetric_basis(rotations)
    return Strains(rotations, basis, strain_modes(basis))


def mean_cell(start: Crystal, average: Crystal, rotations: FloatArray) -> Crystal:
    """The supercell with the mean cell of a simulation, made symmetric and turned back to its first axes.

    Args:
        start: the supercell at the start, whose sites are kept.
        average: the same supercell with its mean cell.
        rotations: (n, 3, 3) of the point group, in the axes of `start`.
    """
    u, stretch, _ = np.linalg.svd(np.linalg.inv(start.lattice) @ average.lattice)
    strain = u @ np.diag(stretch) @ u.T - np.eye(3)
    strain = (rotations @ strain @ rotations.transpose(0, 2, 1)).mean(axis=0)
    return replace(start, lattice=start.lattice @ (np.eye(3) + strain), gene=None)


def at_pressure(cell: Crystal, rest: Stressed, stiffness: FloatArray, kinds: Strains, pressure: float) -> Crystal:
    """The cell strained so that its mean stress becomes a pressure: one step of Newton's method.

    The mean volume of a short simulation at constant pressure scatters more than the mean stress in a given cell.

    Args:
        cell: the mean cell.
        rest: stresses in it.
        stiffness: (6, 6) Voigt, GPa, such as the static one; how far it is off is the share that stays.
        kinds: the point group.
        pressure: GPa.
    """
    stress = from_mandel(rest.stresses.mean(axis=0, dtype=np.float64))
    turned = kinds.rotations @ stress @ kinds.rotations.transpose(0, 2, 1)
    missing = -pressure * np.eye(3) - turned.mean(axis=0)
    strain = from_mandel(np.asarray(np.linalg.solve(mandel(stiffness), to_mandel(missing)), dtype=np.float64))
    return replace(cell, lattice=cell.lattice @ (np.eye(3) + strain), gene=None)


def stressed(
    crystal: Crystal, calculator: Calculator, settings: MDSettings, how: IsothermalSettings
) -> Stressed | Failure:
    """Average the stress of a strained cell in this process; never raises for a bad crystal.

    Args:
        crystal: the strained supercell.
        calculator: with stress.
        settings: temperature, time step and seed.
        how: the rest.
    """
    start = time.process_time()
    try:
        found = _stressed(crystal, calculator, settings, how)
    except Exception as error:  # a calculator may raise anything; the crystal is the row
        return Failure(STAGE, shorten(f"{type(error).__name__}: {error}", 200), crystal.source)
    return found if isinstance(found, Failure) else replace(found, seconds=time.process_time() - start)


def _stressed(
    crystal: Crystal, calculator: Calculator, settings: MDSettings, how: IsothermalSettings
) -> Stressed | Failure:
    from ase.constraints import FixCom
    from ase.md.langevin import Langevin

    atoms = atoms_at_start(crystal, calculator, settings)
    atoms.set_constraint(FixCom())
    fs = femtoseconds(1.0)
    run: Any = Langevin(
        atoms,
        femtoseconds(settings.step_of(crystal)),
        temperature_K=settings.temperature,
        friction=how.friction / fs,
        fixcm=False,
        rng=np.random.default_rng(settings.seed + 1),
    )
    stresses: list[FloatArray] = []
    temperatures: list[float] = []
    mean = np.zeros((crystal.n_sites, 3))
    first = int(how.settle * how.steps)

    def look() -> None:
        if run.nsteps > first:
            stresses.append(to_mandel(atoms.get_stress(voigt=False, include_ideal_gas=True)) * GPA)
            temperatures.append(float(atoms.get_temperature()))
            mean[:] += atoms.positions

    run.attach(look, interval=how.every)
    run.run(how.steps)
    series = np.stack(stresses)
    if not np.isfinite(series).all():
        return Failure(STAGE, "the stress of a strained cell is not finite", crystal.source)
    average = replace(crystal, frac_coords=mean / len(series) @ np.linalg.inv(crystal.lattice))
    if left := left_places(crystal, average):
        reason = f"{left} of {crystal.n_sites} atoms left their places in a strained cell"
        return Failure(STAGE, reason, crystal.source)
    return Stressed(series, float(np.mean(temperatures)), how.steps, 0.0)


def fitted(
    cell: Crystal,
    kinds: Strains,
    runs: Sequence[Stressed],
    how: IsothermalSettings,
    before: Stressed | None = None,
) -> Isothermal:
    """The elastic tensor from the stresses of all strained cells, by least squares.

    Args:
        cell: at rest.
        kinds: the strains.
        runs: of `kinds.of(cell, how)`, in that order.
        how: the settings of the runs.
        before: the run that found the cell, whose cost counts.
    """
    pairs = zip(runs[::2], runs[1::2], strict=True)
    slopes = np.stack([(plus.stresses - minus.stresses) / (2.0 * how.strain) for plus, minus in pairs])
    size = slopes.shape[1] // how.blocks
    blocks = slopes[:, -size * how.blocks :].reshape(len(slopes), how.blocks, size, 6).mean(axis=2)
    design = stress_design(kinds.basis, kinds.modes)
    constants = blocks.transpose(1, 0, 2).reshape(how.blocks, -1) @ np.linalg.pinv(design).T
    whole_, n = constants.mean(axis=0), how.blocks
    tensor = _tensor(whole_, kinds.basis)
    without = np.stack([_tensor((n * whole_ - each) / (n - 1), kinds.basis) for each in constants])
    values, others = moduli(tensor), [moduli(each) for each in without]
    found = {name: Value(value, _jackknife(np.array([o[name] for o in others]))) for name, value in values.items()}
    spent = [*runs, *([] if before is None else [before])]
    stresses = np.concatenate([run.stresses for run in runs])
    return Isothermal(
        crystal=cell,
        tensor=tensor,
        errors=_jackknife(without),
        constants=_different(kinds.basis),
        moduli=found,
        pressure=-float(stresses[:, :3].mean()),
        verdict=_verdict(found["lowest_eigenvalue"]),
        temperature=float(np.mean([run.temperature for run in runs])),
        settings=how,
        steps=sum(run.steps for run in spent),
        seconds=sum(run.seconds for run in spent),
    )


def _tensor(constants: FloatArray, basis: FloatArray) -> FloatArray:
    return from_mandel_tensor(np.tensordot(constants, basis, axes=1))


def _different(basis: FloatArray) -> tuple[tuple[int, int], ...]:
    """Places of constants that are neither zero nor equal to an earlier one in every tensor of the basis."""
    plain = np.stack([from_mandel_tensor(each) for each in basis])
    places: list[tuple[int, int]] = []
    for i, j in PLACES:
        seen = [plain[:, a, b] for a, b in places]
        mine = plain[:, i, j]
        if np.abs(mine).max() > 1e-6 and not any(np.allclose(mine, other, atol=1e-6) for other in seen):
            places.append((i, j))
    return tuple(places)


def moduli(tensor: FloatArray) -> dict[str, float]:
    """What follows from a (6, 6) Voigt tensor in GPa, by the names of `MODULI`; NaN where it is unstable."""
    about = summarise(tensor)
    k, g = about.bulk_hill, about.shear_hill
    return dict(zip(
        MODULI, (k, g, float(youngs_modulus(k, g)), float(poisson_ratio(k, g)), about.eigenvalues[0]), strict=True
    ))  # fmt: skip


def _jackknife(values: FloatArray) -> Any:
    """Standard error from estimates that each leave out one block (first axis)."""
    n = len(values)
    return np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))


def _verdict(least: Value) -> Verdict:
    """Born's criterion: all eigenvalues positive (Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014))."""
    words = f"the lowest eigenvalue is {least.mean:.1f} ± {least.std:.1f} GPa"
    if least.mean > _ERRORS * least.std:
        return Verdict(VERDICT, Status.PASS, "", least.mean)
    if least.mean < -_ERRORS * least.std:
        return Verdict(VERDICT, Status.FAIL, f"elastically unstable: {words}", least.mean)
    return Verdict(VERDICT, Status.UNKNOWN, words, least.mean)
