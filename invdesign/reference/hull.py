"""The convex hull of formation energies: the lowest mixture of known phases at a composition.

Distances are to the hull of the phases of one table; a linear program per composition, solved by a revised simplex
that starts from the elements (a composition has at most as many phases as elements), a fraction of a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import FloatArray

_ITERATIONS = 200
_OPTIMAL = 1e-10
_TOGETHER = 512
"""Compositions that are solved together."""


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
        for elements, rows in self._by_elements.items():
            if len(elements) == 1:  # one corner of the hull each: the lowest of several phases of an element
                rows[:] = [min(rows, key=lambda row: self._energies[row])]
        self.elements = frozenset(z for elements in self._by_elements if len(elements) == 1 for z in elements)
        self._systems: dict[tuple[int, ...], tuple[NDArray[np.int64], FloatArray]] = {}
        self._solved: dict[tuple[tuple[int, int], ...], float] = {}

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

    def phases(self, elements: Iterable[int]) -> list[tuple[dict[int, int], float]]:
        """Compositions and formation energies (eV/atom) of all phases of some elements or of part of them."""
        known = tuple(sorted(self.elements.intersection(elements)))
        rows = self._system(known)[0].tolist()
        return [(self._compositions[row], float(self._energies[row])) for row in rows]

    def energies(self, compositions: Sequence[tuple[tuple[int, int], ...]]) -> FloatArray:
        """(n,) formation energies of the hull at many compositions, eV/atom; NaN if an element has no reference.

        The simplex of `mixture` for all compositions of as many elements together; each distinct composition is
        solved once and remembered.

        Args:
            compositions: (atomic number, count) pairs in increasing order of atomic number.
        """
        wanted = {c for c in compositions if c not in self._solved}
        known = [c for c in sorted(wanted) if c and self.elements.issuperset(z for z, _ in c)]
        self._solved.update(dict.fromkeys(wanted, math.nan))
        by_size: dict[int, list[tuple[tuple[int, int], ...]]] = {}
        for composition in known:
            by_size.setdefault(len(composition), []).append(composition)
        for some in by_size.values():
            some.sort(key=lambda c: len(self._system(tuple(z for z, _ in c))[0]))
            for start in range(0, len(some), _TOGETHER):
                part = some[start : start + _TOGETHER]
                self._solved.update(zip(part, self._solve(part).tolist(), strict=True))
        return np.array([self._solved[c] for c in compositions], dtype=np.float64)

    def _solve(self, compositions: Sequence[tuple[tuple[int, int], ...]]) -> FloatArray:
        """(n,) hull energies at compositions of equally many elements."""
        systems = [self._system(tuple(z for z, _ in c)) for c in compositions]
        most = max(len(rows) for rows, _ in systems)
        target = np.array([[count for _, count in c] for c in compositions], dtype=np.float64)
        target /= target.sum(axis=1, keepdims=True)
        fractions = np.zeros((len(compositions), most, target.shape[1]))
        energies = np.full((len(compositions), most), np.inf)
        for i, (rows, shares) in enumerate(systems):
            fractions[i, : len(rows)], energies[i, : len(rows)] = shares, self._energies[rows]
        return lowest_energies(fractions, energies, target)

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


def lowest_energies(fractions: FloatArray, energies: FloatArray, target: FloatArray) -> FloatArray:
    """(n,) energies of the lowest mixtures of many systems of `k` elements, as `_lowest_mixture` finds them.

    Args:
        fractions: (n, p, k) atomic fractions of the phases of each system, the elements first.
        energies: (n, p) of the phases, infinite where a system has fewer than `p`.
        target: (n, k) atomic fractions, all positive.
    """
    n, _, k = fractions.shape
    basis = np.tile(np.arange(k), (n, 1))
    found = np.full(n, np.nan)
    active = np.arange(n)
    for _ in range(_ITERATIONS):
        chosen = np.take_along_axis(fractions[active], basis[active][:, :, None], axis=1)
        costs = np.take_along_axis(energies[active], basis[active], axis=1)
        weights = np.linalg.solve(chosen.transpose(0, 2, 1), target[active][:, :, None])[:, :, 0]
        prices = np.linalg.solve(chosen, costs[:, :, None])
        reduced = energies[active] - (fractions[active] @ prices)[:, :, 0]
        entering = reduced.argmin(axis=1)
        rows = np.arange(len(active))
        done = reduced[rows, entering] > -_OPTIMAL
        found[active[done]] = (np.clip(weights, 0.0, None) * costs).sum(axis=1)[done]
        going = ~done
        if not going.any():
            return found
        rows, entering = rows[going], entering[going]
        step = np.linalg.solve(chosen[going].transpose(0, 2, 1), fractions[active[going], entering][:, :, None])
        ratios = np.full((len(rows), k), np.inf)
        np.divide(np.clip(weights[going], 0.0, None), step[:, :, 0], out=ratios, where=step[:, :, 0] > 1e-12)
        active = active[going]
        basis[active, ratios.argmin(axis=1)] = entering
    for i in active:  # the rare composition on which the simplex cycles
        used = np.isfinite(energies[i])
        _, weights = _by_library(fractions[i][used], energies[i][used], target[i])
        found[i] = weights @ energies[i][used]
    return found


def _by_library(
    fractions: FloatArray, energies: FloatArray, target: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """The same by HiGHS, for the rare composition on which the simplex above cycles."""
    from scipy.optimize import linprog

    found = linprog(energies, A_eq=fractions.T, b_eq=target, method="highs")
    return np.arange(len(energies)), np.asarray(found.x)
