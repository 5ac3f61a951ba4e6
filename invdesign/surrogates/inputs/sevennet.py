"""SevenNet potentials asked about many crystals in one call, which ASE's calculators do not do.

SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)) carries its weights in its wheel. The networks used
here were trained on relaxation trajectories of the Materials Project, and were told nothing of moduli and gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.potentials import calculators as potentials

Answer = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Cell:
    """Atoms and the edges between neighbours.

    Attributes:
        numbers: (n,) atomic numbers.
        edges: (2, e) ends.
        vectors: (e, 3) from the first end to the second, Å.
        volume: Å³.
    """

    numbers: IntArray
    edges: IntArray
    vectors: FloatArray
    volume: float


class SevenNet:
    """A SevenNet potential by name, loaded at the first call."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _calculator(self) -> Any:
        found: Any = potentials.load(self.name)
        found.model.set_is_batch_data(True)
        for parameter in found.model.parameters():
            parameter.requires_grad_(False)
        return found

    def load(self) -> None:
        """Load the potential now."""
        _ = self._calculator

    @property
    def model(self) -> Any:
        """The network: a torch module whose named parts pass a dictionary on."""
        return self._calculator.model

    def cell(self, crystal: Crystal, most_sites: int) -> Cell:
        """The crystal as the network wants it.

        Raises:
            ValueError: if it has too many sites or an element that the network does not know.
        """
        from ase.neighborlist import primitive_neighbor_list

        if crystal.n_sites > most_sites:
            raise ValueError(f"{crystal.n_sites} sites, more than {most_sites}")
        foreign = sorted(set(crystal.numbers.tolist()) - set(self._calculator.type_map))
        if foreign:
            raise ValueError(f"no atomic number {foreign[0]}")
        place = crystal.frac_coords @ crystal.lattice
        first, second, vectors = primitive_neighbor_list(
            "ijD", (True, True, True), crystal.lattice, place, self._calculator.cutoff
        )
        return Cell(crystal.numbers, np.stack([first, second]), vectors, crystal.volume)

    def batch(self, cells: Sequence[Cell]) -> Answer:
        """What the network's parts read, of some cells together."""
        import torch

        sites = np.array([len(cell.numbers) for cell in cells])
        start = np.cumsum(sites) - sites
        numbers = torch.from_numpy(np.concatenate([c.numbers for c in cells]).astype(np.int64))
        edges = np.concatenate([c.edges + s for c, s in zip(cells, start, strict=True)], axis=1)
        vectors = np.concatenate([c.vectors for c in cells]).astype(np.float32)
        return {
            "x": self.model._atomic_numbers_to_onehot(numbers),
            "atomic_numbers": numbers,
            "edge_index": torch.from_numpy(edges.astype(np.int64)),
            "edge_vec": torch.from_numpy(vectors),
            "cell_volume": torch.tensor([c.volume for c in cells], dtype=torch.float32),
            "num_atoms": torch.from_numpy(sites),
            "batch": torch.from_numpy(np.repeat(np.arange(len(cells)), sites)),
        }


def portions(cells: Sequence[tuple[int, Cell]], most_edges: int) -> Iterator[list[tuple[int, Cell]]]:
    """Numbered cells by size, in portions of at most so many edges unless a single cell has more."""
    part: list[tuple[int, Cell]] = []
    edges = 0
    for item in sorted(cells, key=lambda item: len(item[1].vectors)):
        if part and edges + len(item[1].vectors) > most_edges:
            yield part
            part, edges = [], 0
        part.append(item)
        edges += len(item[1].vectors)
    if part:
        yield part
