"""A first look at a crystal with a potential: one to four calls, and what a full relaxation would still gain.

The same minimiser takes a few steps; its quadratic model then says by how much the energy would fall further. That
estimate is corrected to what full relaxations gave, with an error that grows with the gain that is left
(`scripts/fit_probe.py`). The crystal that is left is a better start for a relaxation than the proposal was.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.symmetry import primitive
from invdesign.records import Failure
from invdesign.relaxation.minimise import (
    GiveUpError,
    RelaxSettings,
    Surface,
    expected_gain,
    first_hessian,
    minimise,
)
from invdesign.relaxation.reach import reach_of, within_reach
from invdesign.relaxation.symmetry_adapted import build
from invdesign.tables import read_json

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

TABLE = "probe.json"
CALLS = 2
"""Calls of the potential for a first look."""


@dataclass(frozen=True)
class Looked:
    """What a worker finds with a few calls.

    Attributes:
        crystal: the best structure so far.
        energy_per_atom: its energy by the potential, eV/atom.
        gain: by how much the quadratic model says that it would fall, eV/atom.
        calls: of the potential.
        seconds: CPU seconds.
    """

    crystal: Crystal
    energy_per_atom: float
    gain: float
    calls: int
    seconds: float


def look(crystal: Crystal, calculator: Calculator, settings: RelaxSettings, calls: int) -> Looked | Failure:
    """Take a first look at a crystal in this process; never raises for a bad crystal."""
    start = time.process_time()
    try:
        if shortest_distance(crystal) < settings.min_distance:
            raise GiveUpError(f"two atoms are nearer than {settings.min_distance:g} Å")
        given = primitive(crystal, settings.symprec)
        nearer = within_reach(given, reach_of(calculator))
        space = build(given if nearer is given else primitive(nearer, settings.symprec), settings.symprec)
        surface = Surface(space, calculator, settings, space.crystal.volume)
        deadline = time.process_time() + settings.max_seconds
        found = minimise(surface, first_hessian(space), replace(settings, max_steps=calls), deadline)
        lattice, coords = space.at(found.point.q)
        n = space.crystal.n_sites
        return Looked(
            crystal=replace(space.crystal, lattice=lattice, frac_coords=coords),
            energy_per_atom=found.point.energy / n,
            gain=expected_gain(space, found) / n,
            calls=surface.calls,
            seconds=time.process_time() - start,
        )
    except (GiveUpError, ValueError) as error:
        return Failure("probe", str(error), crystal.source)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        where = traceback.extract_tb(error.__traceback__)[-1].name
        return Failure("probe", f"{type(error).__name__} in {where}: {error}", crystal.source)


@dataclass(frozen=True)
class ProbeModel:
    """From a first look to what a full relaxation gives.

    Attributes:
        calls: of the potential that it was fitted for.
        edges: inner edges of the bins of the expected gain, eV/atom.
        shift: by bin, median of the relaxed energy less that of the first look and its expected gain, eV/atom.
        spread: by bin, robust standard deviation of the same.
    """

    calls: int
    edges: tuple[float, ...]
    shift: tuple[float, ...]
    spread: tuple[float, ...]

    def relaxed(self, looked: Looked) -> tuple[float, float]:
        """Energy that a full relaxation would give and its standard deviation, eV/atom."""
        k = int(np.digitize(looked.gain, self.edges))
        return looked.energy_per_atom - looked.gain + self.shift[k], self.spread[k]


@lru_cache(maxsize=8)
def probe_model(calls: int) -> ProbeModel:
    """The shipped model for a number of calls.

    Raises:
        ReferenceMissingError: if the table cannot be read.
        KeyError: if it holds no model for so many calls.
    """
    found = read_json(TABLE)["models"][str(calls)]
    return ProbeModel(calls, tuple(found["edges"]), tuple(found["shift"]), tuple(found["spread"]))
