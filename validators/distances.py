"""Distances and cell: no atoms on top of each other, no flat, needle-like, crushed or dissociated cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from invdesign.crystal import Crystal
from invdesign.crystallography.distances import covalent_volume_ratio, reduce_lattice, shortest_ratio
from invdesign.records import Evaluation, Status, Verdict


@dataclass(frozen=True)
class Distances:
    """Checks geometry alone.

    The limits enclose about 99.5 % of known crystals (docs/benchmarks/validators.md) and are meant to catch what
    cannot be one, not what is unusual. `Verdict.value` is the shortest ratio.

    Attributes:
        shortest: smallest allowed distance over the sum of the two covalent radii (Cordero 2008).
        volumes: allowed range of the cell's volume over the volume of the atoms' covalent spheres.
        edges: allowed range of the edges of the reduced cell, Å.
        aspect: largest allowed ratio of two edges of the reduced cell.
    """

    name: ClassVar[str] = "distances"
    shortest: float = 0.6
    volumes: tuple[float, float] = (0.65, 25.0)
    edges: tuple[float, float] = (1.5, 120.0)
    aspect: float = 25.0

    def check(self, row: Evaluation) -> Verdict:
        """FAIL names the first limit that is broken; UNKNOWN where an element has no radius."""
        crystal = row.crystal
        if problem := self._cell_problem(crystal):
            return Verdict(self.name, Status.FAIL, problem)
        ratio = shortest_ratio(crystal)
        if math.isnan(ratio):
            return Verdict(self.name, Status.UNKNOWN, "an element has no covalent radius")
        if ratio < self.shortest:
            reason = f"two atoms at {ratio:.2f} of the sum of their covalent radii (at least {self.shortest:g})"
            return Verdict(self.name, Status.FAIL, reason, ratio)
        filling, (low, high) = covalent_volume_ratio(crystal), self.volumes
        if not low <= filling <= high:
            reason = f"the cell has {filling:.2f} times the volume of its atoms ({low:g} to {high:g})"
            return Verdict(self.name, Status.FAIL, reason, ratio)
        return Verdict(self.name, Status.PASS, value=ratio)

    def _cell_problem(self, crystal: Crystal) -> str:
        """What is wrong with the reduced cell, or nothing."""
        if crystal.volume < 1e-3:
            return "the cell is flat"
        lengths = np.sort(np.linalg.norm(reduce_lattice(crystal.lattice)[0], axis=1))
        shortest, longest = float(lengths[0]), float(lengths[-1])
        if shortest < self.edges[0]:
            return f"reduced cell edge of {shortest:.2f} Å (at least {self.edges[0]:g})"
        if longest > self.edges[1]:
            return f"reduced cell edge of {longest:.1f} Å (at most {self.edges[1]:g})"
        if longest > self.aspect * shortest:
            return f"reduced cell {longest / shortest:.1f} times as long as wide (at most {self.aspect:g})"
        return ""
