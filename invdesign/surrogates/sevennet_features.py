"""What SevenNet-0 makes of a crystal: its energy and the invariant channels of its atoms, pooled.

SevenNet-0 (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)) carries its weights in its wheel. Like CHGNet it
was trained on relaxation trajectories of the Materials Project, and was told nothing of moduli and gaps. Only the
energy is evaluated, without forces: a third of the cost of a relaxation step, for many crystals in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invdesign import potentials
from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.surrogates.features import FloatTable

CHANNELS = 704
"""Invariant channels of an atom: 128 after each of five rounds, and 64 before the energy."""
N_FEATURES = 4 + 4 * CHANNELS
MOST_SITES = 40
"""Larger cells are left out: they cost a second each."""
MOST_EDGES = 2500
"""Edges in one call, unless a single crystal has more."""


@dataclass(frozen=True, eq=False)
class _Cell:
    """Atoms and the edges between neighbours: (n,) atomic numbers, (2, e) ends, (e, 3) vectors in Å."""

    numbers: IntArray
    edges: IntArray
    vectors: FloatArray
    volume: float


class SevenNetFeatures:
    """SevenNet-0, loaded at the first call."""

    @cached_property
    def _network(self) -> Any:
        found: Any = potentials.load("sevennet-0")
        found.model.set_is_batch_data(True)
        return found

    def compute(self, crystals: Sequence[Crystal]) -> tuple[FloatTable, list[str]]:
        """Features of crystals.

        Returns:
            (n, `N_FEATURES`) values: mean, spread, least and most of the atoms' energies (eV), then the channels'
            means, spreads, least and most; NaN in the rows of crystals that the potential cannot read, and a
            reason for each crystal, empty where all is well.
        """
        values = np.full((len(crystals), N_FEATURES), np.nan, dtype=np.float32)
        reasons = [""] * len(crystals)
        cells: list[tuple[int, _Cell]] = []
        for i, crystal in enumerate(crystals):
            try:
                cells.append((i, self._cell(crystal)))
            except (ValueError, RuntimeError, IndexError) as error:
                reasons[i] = f"SevenNet-0: {error}"
        for part in _portions(cells):
            for (i, _), row in zip(part, self._rows([cell for _, cell in part]), strict=True):
                values[i] = row
        for k in np.flatnonzero(~np.isfinite(values).all(axis=1)):
            reasons[k] = reasons[k] or "SevenNet-0: features are not finite"
            values[k] = np.nan
        return values, reasons

    def _cell(self, crystal: Crystal) -> _Cell:
        """The crystal as the network wants it.

        Raises:
            ValueError: if it has too many sites or an element that the network does not know.
        """
        from ase.neighborlist import primitive_neighbor_list

        if crystal.n_sites > MOST_SITES:
            raise ValueError(f"{crystal.n_sites} sites, more than {MOST_SITES}")
        foreign = sorted(set(crystal.numbers.tolist()) - set(self._network.type_map))
        if foreign:
            raise ValueError(f"no atomic number {foreign[0]}")
        place = crystal.frac_coords @ crystal.lattice
        first, second, vectors = primitive_neighbor_list(
            "ijD", (True, True, True), crystal.lattice, place, self._network.cutoff
        )
        return _Cell(crystal.numbers, np.stack([first, second]), vectors, crystal.volume)

    def _rows(self, cells: Sequence[_Cell]) -> list[FloatTable]:
        """The pooled features of some cells, in one call."""
        import torch

        sites = np.array([len(cell.numbers) for cell in cells])
        start = np.cumsum(sites) - sites
        model = self._network.model
        numbers = torch.from_numpy(np.concatenate([c.numbers for c in cells]).astype(np.int64))
        edges = np.concatenate([c.edges + s for c, s in zip(cells, start, strict=True)], axis=1)
        vectors = np.concatenate([c.vectors for c in cells]).astype(np.float32)
        data: dict[str, Any] = {
            "x": model._atomic_numbers_to_onehot(numbers),
            "atomic_numbers": numbers,
            "edge_index": torch.from_numpy(edges.astype(np.int64)),
            "edge_vec": torch.from_numpy(vectors),
            "cell_volume": torch.tensor([c.volume for c in cells], dtype=torch.float32),
            "num_atoms": torch.from_numpy(sites),
            "batch": torch.from_numpy(np.repeat(np.arange(len(cells)), sites)),
        }
        energies, channels = _forward(model, data)
        return [_pooled(energies[s : s + n], channels[s : s + n]) for s, n in zip(start, sites, strict=True)]


def _portions(cells: Sequence[tuple[int, _Cell]]) -> Iterator[list[tuple[int, _Cell]]]:
    """The cells by size, in portions of at most `MOST_EDGES` edges."""
    part: list[tuple[int, _Cell]] = []
    edges = 0
    for item in sorted(cells, key=lambda item: len(item[1].vectors)):
        if part and edges + len(item[1].vectors) > MOST_EDGES:
            yield part
            part, edges = [], 0
        part.append(item)
        edges += len(item[1].vectors)
    if part:
        yield part


def _forward(model: Any, data: dict[str, Any]) -> tuple[FloatArray, FloatTable]:
    """(n,) energies of the atoms, eV, and their (n, `CHANNELS`) invariant channels."""
    import torch

    channels = []
    with torch.no_grad():
        for name, module in model._modules.items():
            if name == "force_output":
                break
            data = module(data)
            if name.endswith("equivariant_gate"):
                channels.append(data["x"][:, :128].clone())
            elif name == "reduce_input_to_hidden":
                channels.append(data["x"].clone())
    return data["atomic_energy"].numpy().reshape(-1).astype(np.float64), torch.cat(channels, dim=1).numpy()


def _pooled(energies: FloatArray, channels: FloatTable) -> FloatTable:
    """(`N_FEATURES`,) statistics over the atoms of one crystal."""
    parts = [
        [energies.mean(), energies.std(), energies.min(), energies.max()],
        channels.mean(axis=0),
        channels.std(axis=0),
        channels.min(axis=0),
        channels.max(axis=0),
    ]
    return np.concatenate(parts).astype(np.float32)
