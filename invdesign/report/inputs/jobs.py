"""The calculations that answer a question, whatever program runs them: relaxation, static run, strained cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.calculations import MARK
from invdesign.mechanics.tensors import from_mandel, point_group, strain_modes, symmetric_basis
from invdesign.report.export import write_json
from invdesign.selection.questions import ELASTIC, ENERGY, GAP

STRAIN = 0.0075
"""Norm of the strains of the elastic set, of both signs."""


@dataclass(frozen=True, eq=False)
class Job:
    """One calculation.

    Attributes:
        name: folder within that of the crystal.
        kind: `relax` (cell and ions), `static`, or `strained` (ions alone).
        crystal: what it starts from.
        strain: (6,) in Mandel's notation, of a strained cell.
    """

    name: str
    kind: str
    crystal: Crystal
    strain: tuple[float, ...] = ()

    def mark(self, folder: Path, candidate: str) -> None:
        """Write `question.json`, by which `invdesign import` finds the candidate."""
        write_json({"candidate": candidate, "kind": self.kind, "strain": list(self.strain)}, folder / MARK)


def jobs(crystal: Crystal, asks: Sequence[str]) -> list[Job]:
    """The calculations that answer a question about a crystal."""
    found = [Job("relax", "relax", crystal)] if ENERGY in asks else []
    if ENERGY in asks or GAP in asks:
        found.append(Job("static", "static", crystal))
    return found + (elastic_set(crystal) if ELASTIC in asks else [])


def elastic_set(crystal: Crystal) -> list[Job]:
    """Strained cells that determine the elastic tensor: as few as the symmetry of the crystal leaves."""
    found = []
    for k, mode in enumerate(strain_modes(symmetric_basis(point_group(crystal)))):
        for sign, word in ((1.0, "plus"), (-1.0, "minus")):
            strain = tuple((sign * STRAIN * mode).tolist())
            lattice = crystal.lattice @ (np.eye(3) + from_mandel(np.array(strain)))
            strained = Crystal(lattice, crystal.numbers, crystal.frac_coords, source=crystal.source)
            found.append(Job(f"elastic/{k + 1}_{word}", "strained", strained, strain))
    return found
