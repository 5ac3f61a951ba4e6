"""Imaginary modes: where they are, and the displaced crystals from which they are followed.

Frequencies at the q-points that fit the supercell are exact for its force constants; between them they are
interpolated. A crystal is unstable by the former alone: a mode that is imaginary between them only may vanish in
a larger supercell, so that nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.records import Status, Verdict
from invdesign.vibrations.harmonic import Bands, Harmonic, frequencies, silent
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.supercells import commensurate

VERDICT = "phonons"
_SAME = 0.02
"""Modes this near in frequency (THz) count as degenerate."""


@dataclass(frozen=True)
class Mode:
    """An imaginary mode.

    Attributes:
        qpoint: in reciprocal lattice vectors of the primitive cell, components from -1/2 to 1/2.
        frequency: THz, negative.
        degeneracy: modes of this frequency at this q-point.
        is_exact: whether the q-point fits the supercell; otherwise the frequency is interpolated.
    """

    qpoint: tuple[float, float, float]
    frequency: float
    degeneracy: int
    is_exact: bool

    def words(self) -> str:
        """The mode in words: `-3.2 THz at q = (1/2, 1/2, 0)`."""
        return f"{self.frequency:.2f} THz at q = ({', '.join(map(_fraction, self.qpoint))})"


def imaginary_modes(found: Harmonic, path: Bands | None, settings: PhononSettings) -> list[Mode]:
    """Imaginary modes, the most unstable first: one for each q-point, and none for one that symmetry has given.

    Those at q-points of the supercell come first, then the lowest interpolated one along the path if it is lower
    than all of them.

    Args:
        found: the force constants.
        path: the band structure; None to look at the q-points of the supercell alone.
        settings: from where on a mode is imaginary.
    """
    exact = [_mode(q, values, True) for q, values in _at_points(found) if values[0] < -settings.imaginary]
    modes = _distinct(sorted(exact, key=lambda mode: (mode.frequency, _size(mode.qpoint))))
    between = [
        _mode(q, values, False)
        for qs, table in ([] if path is None else zip(path.qpoints, path.frequencies, strict=True))
        for q, values in zip(qs, table, strict=True)
        if values[0] < -settings.imaginary
    ]
    lowest = min(between, key=lambda mode: mode.frequency, default=None)
    least = modes[0].frequency if modes else 0.0
    return [*modes, *([lowest] if lowest is not None and lowest.frequency < least - _SAME else [])]


def _at_points(found: Harmonic) -> list[tuple[FloatArray, FloatArray]]:
    """q-points that fit the supercell and their frequencies, the three acoustic ones at Γ left out."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    with silent():
        points = np.asarray(get_commensurate_points(np.asarray(found.phonopy.supercell_matrix)))
    points = points - np.rint(points - 1e-9)
    values = frequencies(found, points)
    return [(q, _optical(v) if np.allclose(q, 0.0) else v) for q, v in zip(points, values, strict=True)]


def _optical(values: FloatArray) -> FloatArray:
    """Frequencies at Γ without the three nearest to zero; a crystal of one atom has no other."""
    if len(values) <= 3:
        return np.zeros(1)
    return np.sort(np.delete(values, np.argsort(np.abs(values))[:3]))


def _mode(q: FloatArray, values: FloatArray, is_exact: bool) -> Mode:
    a, b, c = (float(round(x, 6)) + 0.0 for x in q)
    return Mode((a, b, c), float(values[0]), int((values < values[0] + _SAME).sum()), is_exact)


def _distinct(modes: list[Mode]) -> list[Mode]:
    """The first of those whose frequencies are the same at q-points of the same star; by frequency alone."""
    kept: list[Mode] = []
    for mode in modes:
        if not any(
            abs(mode.frequency - other.frequency) < 1e-3 and mode.degeneracy == other.degeneracy for other in kept
        ):
            kept.append(mode)
    return kept


def _size(q: tuple[float, float, float]) -> float:
    return sum(x * x for x in q)


def _fraction(value: float) -> str:
    """A component of a q-point as a fraction where it is a simple one."""
    for size in (1, 2, 3, 4, 5, 6, 8):
        whole = round(value * size)
        if abs(value * size - whole) < 1e-4:
            return str(whole) if size == 1 else f"{whole}/{size}"
    return f"{value:.3f}"


def judge(modes: list[Mode]) -> Verdict:
    """FAIL for an imaginary mode at a q-point of the supercell, UNKNOWN for one between them, otherwise PASS."""
    if not modes:
        return Verdict(VERDICT, Status.PASS)
    first = modes[0]
    if first.is_exact:
        return Verdict(VERDICT, Status.FAIL, f"imaginary: {first.words()}", first.frequency)
    reason = f"imaginary between the q-points of the supercell: {first.words()}; a larger one can tell"
    return Verdict(VERDICT, Status.UNKNOWN, reason, first.frequency)


def displaced(found: Harmonic, mode: Mode, amplitude: float, seed: int = 0) -> list[Crystal]:
    """The crystal displaced along an imaginary mode, in the smallest supercell that it fits.

    A mode that is not degenerate gives one crystal. Where several have the same frequency, one is displaced along
    the first and one along a combination of them with random weights.

    Args:
        found: the force constants.
        mode: of `imaginary_modes`.
        amplitude: largest displacement of an atom, Å.
        seed: of the weights.

    Returns:
        The crystals; none where the supercell would have more than eight primitive cells.
    """
    matrix = commensurate(np.array(mode.qpoint), found.crystal.lattice)
    if matrix is None:
        return []
    patterns, cell = _patterns(found, mode, matrix)
    weights = [np.eye(len(patterns))[0]]
    if len(patterns) > 1:
        weights.append(np.random.default_rng(seed).normal(size=len(patterns)))
    return [_moved(cell, np.tensordot(w, patterns, axes=1), amplitude, found.crystal.source) for w in weights]


def _patterns(found: Harmonic, mode: Mode, matrix: Any) -> tuple[FloatArray, Any]:
    """(degeneracy, n, 3) displacements in Å of the supercell, and the cell."""
    values = frequencies(found, np.array([mode.qpoint]))[0]
    start = int(np.abs(values - mode.frequency).argmin())
    wanted = [[list(mode.qpoint), start + k, 1.0, 0.0] for k in range(mode.degeneracy)]
    with silent():
        made = found.phonopy.run_modulations(matrix.T, wanted)
    patterns = [_real(np.asarray(u)) for u in made.modulations]
    return np.stack(patterns), made.supercell


def _real(pattern: Any) -> FloatArray:
    """The real part of a wave, at the phase where that is largest."""
    phase = 0.5 * np.angle((pattern**2).sum())
    return np.asarray((pattern * np.exp(-1j * phase)).real)


def _moved(cell: Any, pattern: FloatArray, amplitude: float, source: str) -> Crystal:
    shift = pattern * (amplitude / np.linalg.norm(pattern, axis=1).max())
    coords = cell.scaled_positions + shift @ np.linalg.inv(cell.cell)
    return Crystal(cell.cell, cell.numbers, coords, None, source)
