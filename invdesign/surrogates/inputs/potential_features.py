"""What SevenNet-l3i5 makes of a crystal: its energy, and the invariants of its atoms, pooled.

Invariants are the scalar channels and the lengths of the vector and tensor channels: the latter say how a site is
bent and stretched, which moduli depend on. Only the energy is evaluated, without forces: a third of the cost of a
relaxation step, for many crystals in one call. The features of a known crystal hold traces of that crystal's own
energy; see `invdesign.surrogates.inputs.sevennet`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.inputs.sevennet import Answer, Cell, SevenNet, portions

POTENTIAL = "sevennet-l3i5"
SCALARS = 128
CHANNELS = 5 * SCALARS + 64 + 4 * (64 + 32 + 32)
"""Invariants of an atom: 128 scalars after each of five rounds, 64 before the energy, and the lengths of 64
vectors, 32 second-rank and 32 third-rank tensors after four rounds."""
N_POOLED = 4 + 2 * CHANNELS
N_FEATURES = N_POOLED + 1
ANCHOR = N_FEATURES - 1
"""Column of the formation energy that the potential itself gives, eV/atom."""
MOST_SITES = 40
"""Larger cells are left out: they cost some seconds each."""
MOST_EDGES = 2500
"""Edges in one call, unless a single crystal has more."""


class PotentialFeatures:
    """Features of crystals; the potential is loaded at the first call."""

    def __init__(self) -> None:
        self.potential = SevenNet(POTENTIAL)

    def compute(self, crystals: Sequence[Crystal]) -> tuple[FloatTable, list[str]]:
        """Features of crystals.

        Returns:
            (n, `N_FEATURES`) values: mean, spread, least and most of the atoms' energies (eV), the invariants'
            means and spreads, and the formation energy by the potential's energy scale (eV/atom; NaN where the
            scale does not know an element); all NaN in the rows of crystals that the potential cannot read, and a
            reason for each crystal, empty where all is well.
        """
        values = np.full((len(crystals), N_FEATURES), np.nan, dtype=np.float32)
        reasons = [""] * len(crystals)
        cells: list[tuple[int, Cell]] = []
        for i, crystal in enumerate(crystals):
            try:
                cells.append((i, self.potential.cell(crystal, MOST_SITES)))
            except (ValueError, RuntimeError, IndexError) as error:
                reasons[i] = f"{POTENTIAL}: {error}"
        for part in portions(cells, MOST_EDGES):
            for (i, _), row in zip(part, self._rows([cell for _, cell in part]), strict=True):
                values[i, :N_POOLED] = row
        for k in np.flatnonzero(~np.isfinite(values[:, :N_POOLED]).all(axis=1)):
            reasons[k] = reasons[k] or f"{POTENTIAL}: features are not finite"
            values[k] = np.nan
        values[:, -1] = self._formation_energies(crystals, values[:, 0])
        return values, reasons

    def _rows(self, cells: Sequence[Cell]) -> list[FloatTable]:
        """The pooled features of some cells, in one call."""
        energies, channels = _forward(self.potential.model, self.potential.batch(cells))
        ends = np.cumsum([len(cell.numbers) for cell in cells])
        starts = np.concatenate([[0], ends[:-1]])
        return [_pooled(energies[s:e], channels[s:e]) for s, e in zip(starts, ends, strict=True)]

    @cached_property
    def _scale(self) -> EnergyScale:
        return EnergyScale.load(POTENTIAL)

    def _formation_energies(self, crystals: Sequence[Crystal], energies: FloatTable) -> FloatTable:
        """(n,) formation energies, eV/atom, from (n,) energies per atom; NaN where the scale does not know it."""
        found = np.full(len(crystals), np.nan, dtype=np.float32)
        for i in np.flatnonzero(np.isfinite(energies)).tolist():
            with contextlib.suppress(ValueError):  # an element that the scale does not know
                found[i] = self._scale.formation_energy(crystals[i], float(energies[i])).mean
        return found


def _forward(model: Any, data: Answer) -> tuple[FloatArray, FloatTable]:
    """(n,) energies of the atoms, eV, and their (n, `CHANNELS`) invariants."""
    import torch

    scalars, lengths = [], []
    with torch.no_grad():
        for name, module in model._modules.items():
            if name == "force_output":
                break
            data = module(data)
            if name.endswith("equivariant_gate"):
                scalars.append(data["x"][:, :SCALARS].clone())
                lengths += _lengths(data["x"], module.gate.irreps_out)
            elif name == "reduce_input_to_hidden":
                scalars.append(data["x"].clone())
    energies = data["atomic_energy"].numpy().reshape(-1).astype(np.float64)
    return energies, torch.cat(scalars + lengths, dim=1).numpy()


def _lengths(values: Any, irreps: Any) -> list[Any]:
    """Lengths of the channels that turn with the crystal, (n, multiplicity) for each rank."""
    found, start = [], 0
    for multiplicity, irrep in irreps:
        stop = start + multiplicity * irrep.dim
        if irrep.l > 0:
            found.append(values[:, start:stop].reshape(len(values), multiplicity, irrep.dim).norm(dim=2))
        start = stop
    return found


def _pooled(energies: FloatArray, channels: FloatTable) -> FloatTable:
    """(`N_POOLED`,) statistics over the atoms of one crystal."""
    parts = [
        [energies.mean(), energies.std(), energies.min(), energies.max()],
        channels.mean(axis=0),
        channels.std(axis=0),
    ]
    return np.concatenate(parts).astype(np.float32)
