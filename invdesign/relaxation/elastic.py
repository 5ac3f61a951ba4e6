"""The full elastic tensor of a relaxed crystal by a universal potential, and Born's verdict on it.

Relaxed-ion constants: the cell is strained, the ions follow, the stress answers. The point group says how many
constants are independent and therefore which strains are enough: one instead of six for a cubic crystal.
Averages and anisotropies of the tensor are in `invdesign.mechanics.tensors.summarise`.

Universal potentials trained near equilibrium are too soft: mean shear moduli come out 25 to 45 % too low. Use the
tensor for stability and anisotropy, and the surrogate for the size of K and G.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign.checks import check_types
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.symmetry import primitive
from invdesign.errors import InputError
from invdesign.executors import Workforce, pool
from invdesign.mechanics.tensors import (
    from_mandel,
    from_mandel_tensor,
    point_group,
    strain_modes,
    symmetric_basis,
    to_mandel,
)
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Status, Verdict
from invdesign.units import GPA
from invdesign.workers import Lost

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

VERDICT = "elastic_stability"


@dataclass(frozen=True)
class ElasticSettings:
    """How to compute an elastic tensor. Everything that can change a result, except the potential.

    Attributes:
        strains: signed amplitudes of every strain mode (Mandel norm); a symmetric set cancels the second order.
        max_force: the ions have followed when no force is larger, eV/Å.
        max_steps: force evaluations per strained cell.
        symprec: tolerance of the symmetry search, Å.
        max_residual: largest misfit of the stresses, relative to the largest eigenvalue, for a verdict.
        max_constant: no crystal is stiffer, GPa: a larger constant shows that the potential has failed.
        max_start_force: a crystal with larger forces is not relaxed, and gets no tensor, eV/Å.
        max_start_stress: likewise for the stress, GPa.
    """

    strains: tuple[float, ...] = (-0.0075, 0.0075)
    max_force: float = 0.003
    max_steps: int = 60
    symprec: float = 0.02
    max_residual: float = 0.1
    max_constant: float = 1500.0
    max_start_force: float = 0.2
    max_start_stress: float = 3.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: naming the setting, its value and what is allowed.
        """
        check_types(self)
        strains = tuple(self.strains)
        if not strains or any(not 0 < abs(s) <= 0.05 for s in strains) or len(set(strains)) < len(strains):
            raise InputError("strains", strains, "different amplitudes from -0.05 to 0.05 other than 0")
        for name, value in vars(self).items():
            if name != "strains" and not value > 0:
                raise InputError(name, value, "a positive number")


@dataclass(frozen=True, eq=False)
class Elasticity:
    """An elastic tensor and what was found on the way.

    Attributes:
        crystal: the primitive cell that was strained; the tensor is in its Cartesian axes.
        tensor: (6, 6) stiffness in Voigt notation (xx, yy, zz, yz, xz, xy), GPa, symmetric, with the symmetry of
            the crystal's point group.
        eigenvalues: (6,) eigenvalues of the tensor in Mandel's notation, ascending, GPa.
        residual: root-mean-square misfit of the stresses over the amplitude of the strain, GPa.
        n_independent: number of independent constants by symmetry.
        n_modes: number of strain modes used.
        n_evaluations: calls of the potential.
        converged: whether the ions came to rest in every cell.
        seconds: CPU seconds.
        potential: name and version.
        verdict: PASS if all eigenvalues are positive beyond the misfit, FAIL if one is negative beyond it.
    """

    crystal: Crystal
    tensor: FloatArray
    eigenvalues: FloatArray
    residual: float
    n_independent: int
    n_modes: int
    n_evaluations: int
    converged: bool
    seconds: float
    potential: str
    verdict: Verdict


class ElasticTensors:
    """Elastic tensors of many crystals in worker processes, one thread each.

    Results come in the order of the crystals and do not depend on the number of workers. Use it as a context
    manager, or call :meth:`close`.
    """

    def __init__(
        self,
        potential: str = potentials.DEFAULT,
        workers: Workforce = None,
        settings: ElasticSettings = ElasticSettings(),
        timeout: float = 1800.0,
    ) -> None:
        """Check the names; processes start with the first crystals.

        Args:
            potential: a name of :mod:`invdesign.potentials.calculators`.
            workers: number of processes (None: one per core), or an executor.
            settings: strains, convergence and limits.
            timeout: wall seconds after which a crystal is given up.

        Raises:
            InputError, MissingDependencyError: for an unknown potential or a wrong value.
        """
        self.potential = potentials.find(potential).version
        arguments = (potential, settings)
        self._workers = pool(workers, "invdesign.relaxation.elastic:computation", arguments, timeout)

    def compute(self, crystals: Sequence[Crystal]) -> list[Elasticity | Failure]:
        """One tensor per crystal, in the same order; a `Failure` of stage `elastic` where there is none."""
        answers = dict(self._workers.imap(list(crystals)))
        return [self._named(answers[i], crystal) for i, crystal in enumerate(crystals)]

    def close(self) -> None:
        """Stop the processes."""
        self._workers.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the processes."""
        self.close()

    def _named(self, answer: Elasticity | Failure | Lost, crystal: Crystal) -> Elasticity | Failure:
        if isinstance(answer, Lost):
            return Failure("elastic", answer.reason, crystal.source)
        return answer


def computation(arguments: tuple[str, ElasticSettings]) -> Any:
    """Load the potential and return the function that answers one crystal (set-up of a worker process)."""
    name, settings = arguments
    calculator = potentials.load(name)
    return partial(
        elastic_tensor, calculator=calculator, settings=settings, potential=potentials.find(name).version
    )


def elastic_tensor(
    crystal: Crystal,
    calculator: Calculator,
    settings: ElasticSettings = ElasticSettings(),
    potential: str = "",
) -> Elasticity | Failure:
    """Compute the elastic tensor of a relaxed crystal.

    Args:
        crystal: relaxed with the same potential; any cell, the primitive one is used.
        calculator: an ASE calculator with forces and stress.
        settings: strains, convergence and limits.
        potential: what to record as the potential's name.

    Returns:
        The tensor with its verdict, or a `Failure` with the reason; never raises for a bad crystal.
    """
    start = time.process_time()
    try:
        found = _compute(primitive(crystal), _Cell(calculator), settings)
    except _GiveUpError as error:
        return Failure("elastic", str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        return Failure("elastic", f"{type(error).__name__}: {error}", crystal.source)
    name = potential or type(calculator).__name__
    return replace(found, seconds=time.process_time() - start, potential=name)


class _GiveUpError(Exception):
    """This crystal gets no tensor, for the reason given."""


def _compute(crystal: Crystal, cell: _Cell, settings: ElasticSettings) -> Elasticity:
    basis = symmetric_basis(point_group(crystal, settings.symprec))
    modes = strain_modes(basis)
    ions = _Ions(cell, crystal, settings)
    rest = ions.follow(np.zeros(6), None)
    _check_start(ions, rest, settings)
    amplitudes = np.array(settings.strains)
    stresses = np.stack([_response(ions, mode, settings.strains) for mode in modes]) - rest.stress
    design = np.einsum("kab,mb,s->msak", basis, modes, amplitudes).reshape(-1, len(basis))
    constants, *_ = np.linalg.lstsq(design, stresses.ravel(), rcond=None)
    mandel = np.tensordot(constants, basis, axes=1)
    misfit = _odd_misfit(design @ constants - stresses.ravel(), settings.strains) / float(
        np.abs(amplitudes).mean()
    )
    eigenvalues = np.linalg.eigvalsh(mandel)
    return Elasticity(
        crystal=crystal,
        tensor=from_mandel_tensor(mandel),
        eigenvalues=eigenvalues,
        residual=misfit,
        n_independent=len(basis),
        n_modes=len(modes),
        n_evaluations=cell.calls,
        converged=ions.converged,
        seconds=0.0,
        potential="",
        verdict=_verdict(eigenvalues, misfit, ions.converged, settings),
    )


def _response(ions: _Ions, mode: FloatArray, amplitudes: Sequence[float]) -> FloatArray:
    """(n_amplitudes, 6) stresses along one mode; each cell starts from the displacements of the one before."""
    stresses, shift, last = [], None, 1.0
    for amplitude in amplitudes:
        state = ions.follow(mode * amplitude, None if shift is None else shift * (amplitude / last))
        shift, last = state.shift, amplitude
        stresses.append(state.stress)
    return np.stack(stresses)


def _check_start(ions: _Ions, rest: _State, settings: ElasticSettings) -> None:
    if ions.first_force > settings.max_start_force:
        raise _GiveUpError(f"not relaxed with this potential: a force of {ions.first_force:.2g} eV/Å is left")
    stress = float(np.abs(rest.stress).max())
    if stress > settings.max_start_stress:
        raise _GiveUpError(f"not relaxed with this potential: a stress of {stress:.2g} GPa is left")


def _odd_misfit(misfit: FloatArray, strains: tuple[float, ...]) -> float:
    """Root-mean-square misfit (GPa); the part even in the strain is left out where a symmetric set cancels it."""
    table = misfit.reshape(-1, len(strains), 6)
    if sorted(strains) == sorted(-s for s in strains):
        mirrored = table[:, [strains.index(-s) for s in strains]]
        table = 0.5 * (table - mirrored)
    return float(np.sqrt((table**2).mean()))


def _verdict(eigenvalues: FloatArray, misfit: float, converged: bool, settings: ElasticSettings) -> Verdict:
    """Born's criterion: all eigenvalues positive (Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014))."""
    least, largest = float(eigenvalues[0]), float(np.abs(eigenvalues).max())
    if not np.isfinite(eigenvalues).all() or largest > 3.0 * settings.max_constant:
        return Verdict(VERDICT, Status.UNKNOWN, f"implausible constants, up to {largest:.0f} GPa", least)
    if not converged:
        return Verdict(VERDICT, Status.UNKNOWN, "the ions did not come to rest in a strained cell", least)
    if misfit > settings.max_residual * largest:
        return Verdict(VERDICT, Status.UNKNOWN, f"stress is not linear in strain (misfit {misfit:.1f} GPa)", least)
    if least < -misfit:
        return Verdict(VERDICT, Status.FAIL, f"elastically unstable: an eigenvalue is {least:.1f} GPa", least)
    if least <= misfit:
        reason = f"an eigenvalue of {least:.1f} GPa is within the misfit of {misfit:.1f} GPa"
        return Verdict(VERDICT, Status.UNKNOWN, reason, least)
    return Verdict(VERDICT, Status.PASS, "", least)


class _Cell:
    """The potential as a function of lattice and positions; counts its calls."""

    def __init__(self, calculator: Calculator) -> None:
        self._calculator, self.calls = calculator, 0

    def __call__(self, numbers: Any, lattice: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Forces (n, 3) in eV/Å and stress as a Mandel vector in GPa, positive in tension."""
        from ase import Atoms

        atoms = Atoms(numbers=numbers, cell=lattice, positions=positions, pbc=True)
        atoms.calc = self._calculator
        self.calls += 1
        forces = np.asarray(atoms.get_forces(), dtype=np.float64)
        stress = np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)
        if not (np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise _GiveUpError("the potential's answer is not finite")
        return forces, to_mandel(stress) * GPA


@dataclass(frozen=True, eq=False)
class _State:
    """A strained cell at rest: displacements from the homogeneous strain (n, 3) in Å, and stress (Mandel, GPa)."""

    shift: FloatArray
    stress: FloatArray


class _Ions:
    """Lets the ions follow a strain; keeps what it learns of their springs from one cell to the next."""

    def __init__(self, cell: _Cell, crystal: Crystal, settings: ElasticSettings) -> None:
        self._cell, self._crystal, self._settings = cell, crystal, settings
        self._springs = np.eye(3 * crystal.n_sites) * 15.0
        self._origin = np.zeros((crystal.n_sites, 3))
        self.converged, self.first_force = True, float("nan")

    def follow(self, strain: FloatArray, guess: FloatArray | None) -> _State:
        """Strain the cell (Mandel vector) and relax the ions, starting from guessed displacements.

        Quasi-Newton steps on the forces with a BFGS model of the springs. The first cell relaxed is the
        reference from which later displacements count.
        """
        deform = np.eye(3) + from_mandel(strain)
        lattice = self._crystal.lattice @ deform
        home = self._crystal.frac_coords @ lattice + self._origin @ deform
        shift = np.zeros_like(home) if guess is None else guess
        forces, stress = self._cell(self._crystal.numbers, lattice, home + shift)
        if np.isnan(self.first_force):
            self.first_force = _largest(forces)
        for _ in range(self._settings.max_steps):
            if _largest(forces) < self._settings.max_force:
                break
            step = self._step(forces)
            there, stress = self._cell(self._crystal.numbers, lattice, home + shift + step)
            self._learn(step, forces - there)
            shift, forces = shift + step, there
        else:
            self.converged = self.converged and _largest(forces) < self._settings.max_force
        if not strain.any():
            self._origin = shift
            return _State(np.zeros_like(shift), stress)
        return _State(shift, stress)

    def _step(self, forces: FloatArray) -> FloatArray:
        """Newton step, without drift, no atom farther than 0.1 Å; soft and negative modes count as stiff ones."""
        values, vectors = np.linalg.eigh(self._springs)
        pulled = vectors.T @ (forces - forces.mean(axis=0)).ravel()
        step = (vectors @ (pulled / np.maximum(np.abs(values), 0.5))).reshape(-1, 3)
        return np.asarray(step * min(1.0, 0.1 / max(_largest(step), 1e-12)))

    def _learn(self, step: FloatArray, change: FloatArray) -> None:
        """Symmetric rank-one update: unlike BFGS it can follow negative curvature."""
        s, y = step.ravel(), change.ravel()
        error = y - self._springs @ s
        overlap = float(error @ s)
        if abs(overlap) > 1e-6 * np.linalg.norm(error) * np.linalg.norm(s):
            self._springs = self._springs + np.outer(error, error) / overlap


def _largest(vectors: FloatArray) -> float:
    return float(np.linalg.norm(vectors, axis=1).max())
