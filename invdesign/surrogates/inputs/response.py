"""How a potential answers strains: elastic tensors of many crystals by linear response, as inputs of a surrogate.

Each crystal is strained a little in the few ways that its point group leaves independent; stresses and forces
answer. The ions are then moved along those forces, the answer to that tells what moving them would relieve, and a
small linear problem gives stresses with the ions at rest. Two rounds of this come near the relaxed-ion tensor of
`invdesign.relaxation.elastic` for a tenth of its cost, for all crystals of a batch together. It is no verdict on
stability: springs that are soft or negative count as stiff ones.

The tensor of a universal potential is too soft by itself. A surrogate that has both the tensor and the crystal's
features learns where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.mechanics.tensors import (
    from_mandel,
    from_mandel_tensor,
    mandel,
    point_group,
    reuss,
    strain_modes,
    stress_design,
    symmetric_basis,
    to_mandel,
    voigt,
)
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.inputs.sevennet import Cell, SevenNet, portions
from invdesign.units import GPA

POTENTIAL = "sevennet-0"
STRAIN, MOVE = 0.004, 0.01
"""Amplitude of a strain (Mandel norm), and of a movement of all ions together (norm, Å)."""
ROUNDS = 2
PER_ROUND = 10
"""Columns of a round: K and G by Voigt and Reuss, six eigenvalues."""
N_RESPONSE = ROUNDS * PER_ROUND + 1
LEAST, MOST = 0.5, 2000.0
"""Moduli and eigenvalues are cut here before their logarithm is taken, GPa."""
LEAST_SPRING = 0.5
"""Softer directions count as this stiff, eV/Å²."""
LEAST_FORCE = 0.5
"""Forces for a unit strain that are smaller than this are not followed, eV/Å."""
MOST_SITES = 20
MOST_EDGES = 1500
"""Edges in one call, unless a single cell has more: what is computed then fits the processor's cache."""
CHUNK = 32
"""Crystals that are worked on together."""
Answered = tuple[FloatArray, FloatArray]
"""Forces (n, 3) in eV/Å, and stress as a Mandel vector in GPa."""


class ElasticResponse:
    """Elastic responses of crystals; the potential is loaded at the first call."""

    def __init__(self) -> None:
        self.potential = SevenNet(POTENTIAL)

    def compute(self, crystals: Sequence[Crystal]) -> FloatTable:
        """(n, `N_RESPONSE`) log10 of moduli and eigenvalues (GPa) after each round, and whether it ends unstable.

        All NaN for a crystal that the potential cannot read or that has more than `MOST_SITES` sites.
        """
        values = np.full((len(crystals), N_RESPONSE), np.nan, dtype=np.float32)
        for start in range(0, len(crystals), CHUNK):
            for i, tensors in self.tensors(crystals[start : start + CHUNK]):
                values[start + i] = columns(tensors)
        return values

    def tensors(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, list[FloatArray]]]:
        """Index of each crystal that could be read, and its (6, 6) tensors in Voigt notation, GPa, by round."""
        strained: dict[int, _Strained] = {}
        for i, crystal in enumerate(crystals):
            try:
                strained[i] = _Strained(crystal, self.potential.cell(crystal, MOST_SITES))
            except (ValueError, RuntimeError, IndexError, np.linalg.LinAlgError):
                continue
        for jobs in (_Strained.strains, *[_Strained.moves] * ROUNDS):
            asked = [(s, job) for s in strained.values() for job in jobs(s)]
            answers = self._answers([(s.cell, *job) for s, job in asked])
            for s in strained.values():
                s.learn([a for (owner, _), a in zip(asked, answers, strict=True) if owner is s])
        for i, s in strained.items():
            if all(np.isfinite(t).all() for t in s.found):
                yield i, s.found

    def _answers(self, jobs: Sequence[tuple[Cell, FloatArray, FloatArray]]) -> list[Answered]:
        """Forces (n, 3), eV/Å, and stress (Mandel, GPa) of cells after a strain and movements (n, 3), Å."""
        moved = [(k, _moved(*job)) for k, job in enumerate(jobs)]
        found: dict[int, Answered] = {}
        for part in portions(moved, MOST_EDGES):
            found |= zip([k for k, _ in part], self._forces([cell for _, cell in part]), strict=True)
        return [found[k] for k in range(len(jobs))]

    def _forces(self, cells: Sequence[Cell]) -> list[Answered]:
        data = self.potential.batch(cells)
        data["edge_vec"].requires_grad_(True)
        for module in self.potential.model._modules.values():
            data = module(data)
        forces = data["inferred_force"].detach().numpy().astype(np.float64)
        stress = -data["inferred_stress"].detach().numpy().astype(np.float64) * GPA
        matrices = stress[:, [[0, 3, 5], [3, 1, 4], [5, 4, 2]]]
        ends = np.cumsum([len(cell.numbers) for cell in cells])
        return list(zip(np.split(forces, ends[:-1]), to_mandel(matrices), strict=True))


def columns(tensors: Sequence[FloatArray]) -> FloatTable:
    """(`N_RESPONSE`,) inputs of a surrogate from the tensors of all rounds."""
    found: list[float] = []
    for tensor in tensors:
        eigenvalues = np.linalg.eigvalsh(mandel(tensor))
        stable = eigenvalues[0] > 1e-9 * abs(eigenvalues[-1])
        (k_v, g_v), (k_r, g_r) = voigt(tensor), reuss(tensor) if stable else (0.0, 0.0)
        found += [k_v, k_r, g_v, g_r, *eigenvalues]
    logs = np.log10(np.clip(found, LEAST, MOST))
    return np.append(logs, found[-6] < 0.0).astype(np.float32)


def _moved(cell: Cell, strain: FloatArray, shift: FloatArray) -> Cell:
    deform = np.eye(3) + from_mandel(strain)
    vectors = cell.vectors @ deform + shift[cell.edges[1]] - shift[cell.edges[0]]
    return Cell(cell.numbers, cell.edges, vectors, cell.volume * float(np.linalg.det(deform)))


@dataclass(eq=False)
class _Round:
    """What one crystal has answered so far, for a unit strain (m of them) or a unit movement (r)."""

    stress: FloatArray  # (m, 6) GPa
    force: FloatArray  # (m, 3n) eV/Å
    moves: FloatArray  # (r, 3n)
    spring: FloatArray  # (r, 3n) eV/Å²: minus the forces
    relief: FloatArray  # (r, 6) GPa/Å

    def at_rest(self) -> tuple[FloatArray, FloatArray]:
        """Stresses (m, 6) when the ions have moved as far as the known movements take them, and forces left."""
        matrix = self.spring @ self.moves.T
        values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
        pull = vectors.T @ (self.moves @ self.force.T)
        way = vectors @ (pull / np.maximum(np.abs(values), LEAST_SPRING)[:, None])
        return self.stress + way.T @ self.relief, self.force - way.T @ self.spring


class _Strained:
    """One crystal on its way through the rounds."""

    def __init__(self, crystal: Crystal, cell: Cell) -> None:
        self.cell, self.found = cell, list[FloatArray]()
        self._basis = symmetric_basis(point_group(crystal))
        self._modes = strain_modes(self._basis)
        self._still = np.zeros((len(cell.numbers), 3))
        self._rest: Answered | None = None
        self._known: _Round | None = None
        self._left = np.zeros((0, 0))
        self._next = np.zeros((0, 0))

    def strains(self) -> list[tuple[FloatArray, FloatArray]]:
        """The crystal as it is, and strained in each mode."""
        return [(strain, self._still) for strain in (np.zeros(6), *(self._modes * STRAIN))]

    def moves(self) -> list[tuple[FloatArray, FloatArray]]:
        """Movements along the forces that are left, without drift, orthogonal to those that are known."""
        assert self._known is not None
        forces = self._left.reshape(len(self._left), -1, 3)
        forces = (forces - forces.mean(axis=1, keepdims=True)).reshape(self._left.shape)
        known = self._known.moves
        _, sizes, directions = np.linalg.svd(forces - forces @ known.T @ known, full_matrices=False)
        self._next = directions[sizes > LEAST_FORCE]
        return [(np.zeros(6), move.reshape(-1, 3) * MOVE) for move in self._next]

    def learn(self, answers: Sequence[Answered]) -> None:
        """Take the answers to `strains`, and later to `moves`; each of the latter gives a tensor."""
        if self._rest is None:
            self._rest = answers[0]
            stress, force = self._changes(answers[1:], STRAIN)
            empty = np.zeros((0, force.shape[1]))
            self._known, self._left = _Round(stress, force, empty, empty, np.zeros((0, 6))), force
            return
        assert self._known is not None
        known = self._known
        if answers:
            relief, force = self._changes(answers, MOVE)
            known.moves = np.concatenate([known.moves, self._next])
            known.spring = np.concatenate([known.spring, -force])
            known.relief = np.concatenate([known.relief, relief])
        stress, self._left = known.at_rest()
        self.found.append(self._tensor(stress))

    def _changes(self, answers: Sequence[Answered], step: float) -> tuple[FloatArray, FloatArray]:
        """(k, 6) stresses and (k, 3n) forces by which the answers differ from rest, for a unit step."""
        assert self._rest is not None
        force, stress = self._rest
        changed = [((f - force).ravel() / step, (s - stress) / step) for f, s in answers]
        return np.stack([s for _, s in changed]), np.stack([f for f, _ in changed])

    def _tensor(self, stress: FloatArray) -> FloatArray:
        """(6, 6) in Voigt notation with the symmetry of the crystal, from (m, 6) stresses of unit strains."""
        design = stress_design(self._basis, self._modes)
        constants, *_ = np.linalg.lstsq(design, stress.ravel(), rcond=None)
        return from_mandel_tensor(np.tensordot(constants, self._basis, axes=1))
