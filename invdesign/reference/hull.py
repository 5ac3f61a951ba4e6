"""The convex hull of formation energies: the lowest mixture of known phases at a composition.

Distances are to the hull of the phases of one table; a linear program per composition, solved by a revised simplex
that starts from the elements (a composition has at most as many phases as elements), a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import FloatArray

_ITERATIONS = 200
_OPTIMAL = 1e-10


@dataclass(frozen=True)
class Mixture:
    """The lowest-energy mixture of known phases at one composition.

    Attributes:
        energy: formation energy, eV/atom.
        phases: formulas of the phases in it.
        fractions: share of the atoms in each phase; they sum to 1.
    """

    energy: float
    phases: tuple[str, ...]
    fractions: tuple[float, ...]


class Hull:
    """The lower convex hull of a table of phases over any set of their elements."""

    def __init__(
        self, formulas: Sequence[str], compositions: Iterable[dict[int, int]], energies: Sequence[float]
    ) -> None:
        """Index the phases by their elements.

        Args:
            formulas: one per phase.
            compositions: atomic number to count, one per phase.
            energies: formation energies, eV/atom. Every element's own reference phase must be among them.
        """
        self._formulas = list(formulas)
        self._compositions = list(compositions)
        self._energies = np.asarray(energies, dtype=np.float64)
        self._by_elements: dict[frozenset[int], list[int]] = {}
        for row, composition in enumerate(self._compositions):
            self._by_elements.setdefault(frozenset(composition), []).append(row)
        self.elements = frozenset(z for elements in self._by_elements if len(elements) == 1 for z in elements)
        self._systems: dict[tuple[int, ...], tuple[NDArray[np.int64], FloatArray]] = {}

    def mixture(self, numbers: Iterable[int]) -> Mixture | None:
        """The lowest mixture at the composition of these atoms; None if an element has no reference phase."""
        composition = integer_composition(numbers)
        elements = tuple(composition)
        if not composition or not self.elements.issuperset(elements):
            return None
        rows, fractions = self._system(elements)
        counts = np.array([composition[z] for z in elements], dtype=np.float64)
        chosen, weights = _lowest_mixture(fractions, self._energies[rows], counts / counts.sum())
        used = weights > 1e-9
        return Mixture(
            energy=float(weights @ self._energies[rows[chosen]]),
            phases=tuple(self._formulas[i] for i in rows[chosen][used]),
            fractions=tuple(float(w) for w in weights[used]),
        )

    def _system(self, elements: tuple[int, ...]) -> tuple[NDArray[np.int64], FloatArray]:
        """Rows and atomic fractions (n_phases, n_elements) of the phases of a system, the elements first."""
        if elements not in self._systems:
            rows = [
                row
                for size in range(1, len(elements) + 1)
                for part in combinations(elements, size)
                for row in self._by_elements.get(frozenset(part), ())
            ]
            counts = np.array([[self._compositions[r].get(z, 0) for z in elements] for r in rows], dtype=float)
            self._systems[elements] = np.array(rows), counts / counts.sum(axis=1, keepdims=True)
        return self._systems[elements]


def _lowest_mixture(
    fractions: FloatArray, energies: FloatArray, target: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """Minimise `w @ energies` over `w >= 0` with `w @ fractions = target`.

    Args:
        fractions: (n_phases, n_elements) atomic fractions; the first n_elements rows are the elements in order.
        energies: (n_phases,).
        target: (n_elements,) atomic fractions, all positive.

    Returns:
        The phases of an optimal basis (n_elements,) and their weights.
    """
    basis = np.arange(len(target))
    for _ in range(_ITERATIONS):
        matrix = fractions[basis].T
        weights = np.linalg.solve(matrix, target)
        reduced = energies - fractions @ np.linalg.solve(matrix.T, energies[basis])
        entering = int(reduced.argmin())
        if reduced[entering] > -_OPTIMAL:
            return basis, np.clip(weights, 0.0, None)
        step = np.linalg.solve(matrix, fractions[entering])
        ratios = np.full(len(basis), np.inf)
        np.divide(np.clip(weights, 0.0, None), step, out=ratios, where=step > 1e-12)
        basis[int(ratios.argmin())] = entering
    return _by_library(fractions, energies, target)


def _by_library(
    fractions: FloatArray, energies: FloatArray, target: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """The same by HiGHS, for the rare composition on which the simplex above cycles."""
    from scipy.optimize import linprog

    found = linprog(energies, A_eq=fractions.T, b_eq=target, method="highs")
    return np.arange(len(energies)), np.asarray(found.x)
