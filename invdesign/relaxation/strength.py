"""Ideal strength: stress against strain up to the largest stress that a perfect crystal bears, by a potential.

The crystal is strained in small steps, by tension along a direction or by shear of a plane along a direction in
it; after each step the ions and all other components of the cell relax until only the imposed stress is left. The
largest stress on the way is the ideal strength (D. Roundy and M. L. Cohen, Phys. Rev. B 64, 212103 (2001)). It is
an upper bound: symmetry is kept, so a path that branches off or an instability of a longer wavelength goes unseen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.checks import check_types
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import decode, decode_conventional, encode
from invdesign.errors import InputError
from invdesign.units import GPA

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

Indices = tuple[int, int, int]
TENSION, SHEAR = "tension", "shear"
STEP = 0.02
"""Strain from one cell to the next, unless another is asked for."""


@dataclass(frozen=True)
class StrengthSettings:
    """How a crystal is strained.

    Attributes:
        step: of the strain.
        largest: strain at which the search ends.
        drop: it ends earlier when the stress has fallen to this share of the largest.
        max_force: forces (eV/Å) that are left at rest.
        max_stress: relaxed components of the stress (GPa) that are left at rest.
        max_steps: evaluations of the potential per strain.
    """

    step: float = STEP
    largest: float = 0.6
    drop: float = 0.9
    max_force: float = 0.01
    max_stress: float = 0.2
    max_steps: int = 200

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: naming the setting, its value and what is allowed.
        """
        check_types(self)
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(name, value, "a positive number")
        if not self.step < self.largest <= 2.0 or not self.drop < 1.0:
            raise InputError(
                "step, largest, drop", (self.step, self.largest, self.drop), "step < largest <= 2, drop < 1"
            )


@dataclass(frozen=True, eq=False)
class Strength:
    """Stress against strain along one path.

    Attributes:
        kind: `tension` or `shear`.
        direction: of the tension, or of the shear within the plane, in the conventional cell.
        plane: Miller indices of the plane that is sheared; None for tension.
        strains: (n,) engineering strain: extension over length, or tangent of the angle of shear.
        stresses: (n,) true (Cauchy) stress that was imposed, GPa.
        ideal: largest stress, GPa, of a parabola through the highest three points.
        strain: at that stress.
        reached: whether the stress was seen to fall; if not, `ideal` is only the largest seen.
        note: why the path ended early; empty if it did not.
        evaluations: of the potential.
        seconds: CPU seconds.
    """

    kind: str
    direction: Indices
    plane: Indices | None
    strains: FloatArray
    stresses: FloatArray
    ideal: float
    strain: float
    reached: bool
    note: str
    evaluations: int
    seconds: float


def tensile_strength(
    crystal: Crystal, calculator: Calculator, direction: Indices, settings: StrengthSettings = StrengthSettings()
) -> Strength:
    """Stress and strain in tension along a direction.

    Args:
        crystal: in any cell; the direction refers to the standard conventional one.
        calculator: an ASE calculator with forces and stress.
        direction: indices of a lattice direction, such as (1, 1, 1).
        settings: steps and convergence.

    Raises:
        InputError: for a direction of zeros.
        ValueError: if the crystal's symmetry cannot be found.
    """
    lattice, cell = _cells(crystal)
    along = _unit(np.array(direction, dtype=float) @ lattice, direction)
    across = _unit(np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))]), direction)
    frame = np.array([across, np.cross(along, across), along])
    return _path(cell, frame, calculator, TENSION, direction, None, settings)


def shear_strength(
    crystal: Crystal,
    calculator: Calculator,
    plane: Indices,
    direction: Indices,
    settings: StrengthSettings = StrengthSettings(),
) -> Strength:
    """Stress and strain in shear of a plane along a direction that lies in it.

    Args:
        crystal: in any cell; indices refer to the standard conventional one.
        calculator: an ASE calculator with forces and stress.
        plane: Miller indices, such as (1, 1, 1).
        direction: such as (1, 1, -2); its opposite is another path.
        settings: steps and convergence.

    Raises:
        InputError: for indices of zeros, or a direction outside the plane.
        ValueError: if the crystal's symmetry cannot be found.
    """
    check_within(plane, direction)
    lattice, cell = _cells(crystal)
    normal = _unit(np.linalg.inv(lattice) @ np.array(plane, dtype=float), plane)
    along = _unit(np.array(direction, dtype=float) @ lattice, direction)
    frame = np.array([along, np.cross(normal, along), normal])
    return _path(cell, frame, calculator, SHEAR, direction, plane, settings)


def check_within(plane: Indices, direction: Indices) -> None:
    """See that a direction lies within a plane.

    Raises:
        InputError: if it does not.
    """
    out_of_plane = sum(h * u for h, u in zip(plane, direction, strict=True))
    if any(plane) and out_of_plane:
        raise InputError("direction", direction, f"one within the plane {plane}: h u + k v + l w = 0")


def parse_indices(text: str) -> Indices:
    """Indices from text: `111`, `1-10`, `1 1 -2`, `[1,1,-2]`; a common divisor is taken out.

    Raises:
        InputError: if there are not three integers, or all are zero.
    """
    import re

    bare = text.strip().strip("[]()<>{}")
    parts = re.split(r"[\s,]+", bare) if re.search(r"[\s,]", bare) else re.findall(r"-?\d", bare)
    if (
        len(parts) != 3
        or "".join(parts) != re.sub(r"[\s,]", "", bare)
        or not all(re.fullmatch(r"-?\d+", p) for p in parts)
    ):
        raise InputError("direction", text, "three integers such as 001, 1-10 or 1,1,-2")
    found = [int(part) for part in parts]
    divisor = gcd(*found)
    if not divisor:
        raise InputError("direction", text, "indices that are not all zero")
    return found[0] // divisor, found[1] // divisor, found[2] // divisor


def _cells(crystal: Crystal) -> tuple[FloatArray, Crystal]:
    """The conventional lattice, rows in Å, and the primitive cell in the same axes."""
    gene = encode(crystal)
    return decode_conventional(gene).lattice, decode([gene])[0]


def _unit(vector: FloatArray, given: Indices) -> FloatArray:
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        raise InputError("direction", given, "indices that are not all zero")
    return vector / length


def _path(
    cell: Crystal,
    frame: FloatArray,
    calculator: Calculator,
    kind: str,
    direction: Indices,
    plane: Indices | None,
    settings: StrengthSettings,
) -> Strength:
    start = time.process_time()
    work = _Work(cell, frame, calculator, kind, settings)
    note = work.rest()
    strains, stresses = [0.0], [work.stress()]
    while not note and strains[-1] < settings.largest - 1e-9:
        note = work.strain(min(settings.step, settings.largest - strains[-1]))
        if not note:
            strains.append(work.strained())
            stresses.append(work.stress())
            if stresses[-1] < settings.drop * max(stresses) and max(stresses) > 0.0:
                break
    top = int(np.argmax(stresses))
    reached = 0 < top < len(stresses) - 1
    ideal, at = _peak(np.array(strains), np.array(stresses), top)
    return Strength(
        kind, direction, plane, np.array(strains), np.array(stresses), ideal, at, reached, note,
        work.evaluations, time.process_time() - start,
    )  # fmt: skip


def _peak(strains: FloatArray, stresses: FloatArray, top: int) -> tuple[float, float]:
    """Height and place of the parabola through the highest point and its neighbours; at an end the point."""
    if not 0 < top < len(stresses) - 1:
        return float(stresses[top]), float(strains[top])
    a, b, c = np.polyfit(strains[top - 1 : top + 2], stresses[top - 1 : top + 2], 2)
    at = float(-b / (2.0 * a)) if a < 0.0 else float(strains[top])
    return float(np.polyval((a, b, c), at)), at


class _Work:
    """One crystal in the frame of its path, strained and relaxed again and again.

    In the frame, tension is along z, and shear moves the plane normal to z along x. Of the deformation gradient
    the imposed component stays, all others relax.
    """

    def __init__(
        self, cell: Crystal, frame: FloatArray, calculator: Calculator, kind: str, settings: StrengthSettings
    ) -> None:
        from ase import Atoms

        self._settings, self._shear = settings, kind == SHEAR
        self._atoms: Atoms = Atoms(
            numbers=cell.numbers, cell=cell.lattice @ frame.T, scaled_positions=cell.frac_coords, pbc=True
        )
        self._atoms.calc = calculator
        self._home = np.eye(3)
        self.evaluations = 0

    def rest(self) -> str:
        """Relax everything; the strains count from there. Returns what went wrong, empty if nothing."""
        note = self._relax(np.ones(6))
        self._home = np.array(self._atoms.cell)
        return note

    def strain(self, step: float) -> str:
        """Add to the imposed strain and relax the rest. Returns what went wrong, empty if nothing."""
        change = np.eye(3)
        if self._shear:
            change[2, 0] = step  # rows of the cell are vectors: x grows with z
        else:
            change[2, 2] = 1.0 + step / (1.0 + self.strained())
        self._atoms.set_cell(np.array(self._atoms.cell) @ change, scale_atoms=True)
        mask = np.ones(6)
        mask[4 if self._shear else 2] = 0.0
        return self._relax(mask)

    def strained(self) -> float:
        """The imposed component of the strain so far."""
        gradient = np.linalg.solve(self._home, np.array(self._atoms.cell))
        return float(gradient[2, 0] / gradient[2, 2]) if self._shear else float(gradient[2, 2]) - 1.0

    def stress(self) -> float:
        """The imposed component of the stress, GPa, positive in tension."""
        return float(self._atoms.get_stress()[4 if self._shear else 2] * GPA)

    def _relax(self, mask: FloatArray) -> str:
        from ase.filters import UnitCellFilter
        from ase.optimize import BFGS

        held = UnitCellFilter(self._atoms, mask=mask)
        optimiser: Any = BFGS(held, logfile=None, maxstep=0.05)
        for _ in optimiser.irun(fmax=1e-9, steps=self._settings.max_steps):
            self.evaluations += 1
            forces, stress = self._atoms.get_forces(), self._atoms.get_stress() * GPA * mask
            if not (np.isfinite(forces).all() and np.isfinite(stress).all()):
                return "the potential's answer is not finite"
            calm = np.linalg.norm(forces, axis=1).max() < self._settings.max_force
            if calm and np.abs(stress).max() < self._settings.max_stress:
                return ""
        return f"it did not come to rest within {self._settings.max_steps} evaluations"
