"""Stages of `invdesign benchmark speed` on a potential: relaxation, elastic tensors, phonons.

All ways of a stage call the same potential, loaded once.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.benchmarking.speed_crystals import BENCHMARK_EXTRA, known, structure
from invdesign.benchmarking.timing import OURS, Equality, Stage, Way, at_least, at_most
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.executors import Pool
from invdesign.mechanics.tensors import summarise
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure
from invdesign.relaxation.elastic import ElasticSettings, elastic_tensor
from invdesign.relaxation.minimise import Relaxed, RelaxSettings
from invdesign.relaxation.relaxer import relax_one
from invdesign.vibrations.phonons import phonons as phonons_of
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.work import PotentialPool
from invdesign.workers import load_function

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

FORCE, STEPS = 0.05, 300
"""Where a relaxation ends, eV/Å, and the most steps that it may take."""
STRESS = 0.2
"""Where the package's own relaxation ends besides, GPa."""
SMALL = (2, 6)
"""Atoms in the cells whose elastic tensors are computed."""
TORCH_SIM = "pip install 'sevenn[torchsim]' (torch-sim-atomistic from 0.6, Python 3.12 or newer)"
STRAINS = (-0.0075, 0.0075)
"""Amplitudes of the strains of elastic tensors."""
REST = 0.003
"""Forces at which the ions of a strained cell are at rest, eV/Å."""
SUPERCELL = 8.0
"""Length of the shortest vector of the supercell of phonons, Å."""
DISPLACEMENT = 0.02
"""Of an atom from its place, Å."""


@cache
def _calculator(name: str) -> Calculator:
    return potentials.load(name)


def atoms_of(crystal: Crystal) -> Atoms:
    """A crystal as ASE has it."""
    from ase import Atoms

    return Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)


def disturbed(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[Crystal]:
    """Known crystals with their lattice off by 3 % and their free coordinates by 0.01, their symmetry kept."""
    found = []
    for crystal in known(n, cells, rng):
        gene = crystal.gene
        assert gene is not None
        stretched = tuple(p * (1.0 + 0.03 * e) if p < 60.0 else p for p, e in _noise(gene.free_lattice, rng))
        moved = tuple((x + 0.01 * e) % 1.0 for x, e in _noise(gene.free_coords, rng))
        changed: Gene = replace(gene, free_lattice=stretched, free_coords=moved)
        found.append(decode([changed], crystal.source)[0])
    return found


def _noise(values: Sequence[float], rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    return zip(values, rng.standard_normal(len(values)).clip(-2.0, 2.0).tolist(), strict=True)


@dataclass(frozen=True)
class Rest:
    """A relaxed crystal: its energy (eV/atom) and its largest force (eV/Å), by one more call of the potential."""

    energy: float
    force: float


def relaxation(potential: str) -> Stage:
    """Relaxation with symmetry and cell, beside ASE's optimisers with its symmetry constraint, and TorchSim."""
    calculator = _calculator(potential)
    settings = RelaxSettings(max_force=FORCE, max_stress=STRESS, max_steps=STEPS)

    def run(crystals: Sequence[Crystal]) -> list[Relaxed | Failure]:
        return [relax_one(crystal, [calculator], settings) for crystal in crystals]

    def agree(
        items: Sequence[Crystal], ours: Sequence[Relaxed | Failure], theirs: Sequence[Any]
    ) -> list[Equality]:
        mine = [_rest(None if isinstance(r, Failure) else atoms_of(r.crystal), calculator) for r in ours]
        return same_minima(mine, [_rest(atoms, calculator) for atoms in theirs])

    rivals = [
        Way(f"ASE {name}", partial(by_ase, name, calculator), lambda items: [atoms_of(c) for c in items])
        for name in ("FIRE", "BFGS", "LBFGS")
    ]
    batched = Way(
        "TorchSim", partial(by_torch_sim, calculator), lambda items: [atoms_of(c) for c in items],
        ("torch_sim", "sevenn.torchsim"), TORCH_SIM,
    )  # fmt: skip
    return Stage("relaxation", "crystals", disturbed, (Way(OURS, run), *rivals, batched), agree, 8, 2, by_sites=2)


def by_ase(name: str, calculator: Calculator, starts: Sequence[Atoms]) -> list[Atoms | None]:
    """The relaxed crystals of an optimiser of ASE; None where it does not converge."""
    from ase import optimize
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter

    found: list[Atoms | None] = []
    for start in starts:
        atoms = start.copy()
        atoms.calc = calculator
        try:
            atoms.set_constraint(FixSymmetry(atoms, symprec=0.01))
            done = getattr(optimize, name)(FrechetCellFilter(atoms), logfile=None).run(fmax=FORCE, steps=STEPS)
        except Exception:  # a lost crystal is a row of its own in the comparison
            done = False
        found.append(atoms if done else None)
    return found


def by_torch_sim(calculator: Any, starts: Sequence[Atoms]) -> list[Atoms | None]:
    """The relaxed crystals of TorchSim's FIRE, all in one batch, the symmetry not kept."""
    import torch
    import torch_sim as ts
    from sevenn.torchsim import SevenNetModel

    model = SevenNetModel(deepcopy(calculator.model), device=torch.device("cpu"))  # it changes the model's mode
    end = ts.generate_force_convergence_fn(force_tol=FORCE, include_cell_forces=True)
    state = ts.optimize(
        system=list(starts), model=model, optimizer=ts.Optimizer.fire, convergence_fn=end, max_steps=STEPS,
        init_kwargs={"cell_filter": ts.CellFilter.frechet},
    )  # fmt: skip
    return list(state.to_atoms())


def _rest(atoms: Atoms | None, calculator: Calculator) -> Rest | None:
    if atoms is None:
        return None
    atoms = atoms.copy()
    atoms.set_constraint()
    atoms.calc = calculator
    return Rest(atoms.get_potential_energy() / len(atoms), float(np.linalg.norm(atoms.get_forces(), axis=1).max()))


def same_minima(ours: Sequence[Rest | None], theirs: Sequence[Rest | None]) -> list[Equality]:
    """Energies against each other, and the largest force of all, of the crystals that both ways relaxed."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not both:
        return [at_least("share that both relaxed", 0.0, 0.8)]
    above = np.array([1000.0 * (a.energy - b.energy) for a, b in both])
    return [
        at_least("share that both relaxed", len(both) / len(ours), 0.8),
        at_most("median energy above theirs, meV/atom", float(np.median(above)), 1.0),
        at_least("share at most 5 meV/atom above theirs", float(np.mean(above <= 5.0)), 0.9),
        at_most(f"largest force of {OURS}, eV/Å", max(a.force for a, _ in both), 1.02 * FORCE),
        at_most("largest force of theirs, eV/Å", max(b.force for _, b in both), 1.02 * FORCE),
    ]


def at_rest(potential: str) -> Callable[[int, tuple[int, int], np.random.Generator], list[Crystal]]:
    """What draws crystals that the potential has relaxed, with a range of atoms within `SMALL`."""
    calculator = _calculator(potential)
    settings = RelaxSettings(max_force=0.002, max_stress=0.05, max_steps=STEPS)

    def draw(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[Crystal]:
        found: list[Crystal] = []
        for crystal in known(4 * n + 4, (cells[0], min(cells[1], SMALL[1])), rng):
            relaxed = relax_one(crystal, [calculator], settings)
            if not isinstance(relaxed, Failure) and relaxed.converged:
                found.append(relaxed.crystal)
            if len(found) == n:
                break
        return found

    return draw


def elastic(potential: str) -> Stage:
    """Elastic tensors with relaxed ions, beside matcalc's `ElasticityCalc` with the same strains and forces."""
    calculator = _calculator(potential)
    settings = ElasticSettings(strains=STRAINS, max_force=REST)

    def run(crystals: Sequence[Crystal]) -> list[Any]:
        return [elastic_tensor(crystal, calculator, settings) for crystal in crystals]

    rival = Way(
        "matcalc ElasticityCalc", partial(by_elasticity_calc, calculator), lambda items: [*map(structure, items)],
        ("matcalc",), BENCHMARK_EXTRA,
    )  # fmt: skip
    return Stage("elastic", "tensors", at_rest(potential), (Way(OURS, run), rival), same_moduli, 4, 1)


def by_elasticity_calc(calculator: Calculator, cells: Sequence[Any]) -> list[tuple[float, float]]:
    """Bulk and shear modulus, GPa, the ions of each strained cell relaxed."""
    from matcalc import ElasticityCalc

    made = ElasticityCalc(
        calculator, norm_strains=STRAINS, shear_strains=STRAINS, fmax=REST, relax_structure=False,
        relax_deformed_structures=True, units_GPa=True,
    )  # fmt: skip
    with _quiet():
        answers = [made.calc(cell) for cell in cells]
    return [(float(a["bulk_modulus_vrh"]), float(a["shear_modulus_vrh"])) for a in answers]


def same_moduli(
    items: Sequence[Any], ours: Sequence[Any], theirs: Sequence[tuple[float, float]]
) -> list[Equality]:
    """Bulk and shear moduli against each other."""
    tensors = [None if isinstance(one, Failure) else summarise(one.tensor) for one in ours]
    pairs = [(t.bulk_hill, t.shear_hill, *o) for t, o in zip(tensors, theirs, strict=True) if t is not None]
    if not pairs:
        return [at_least("share with a tensor", 0.0, 0.8)]
    k, g, other_k, other_g = np.array(pairs).T
    return [
        at_least("share with a tensor", len(pairs) / len(theirs), 0.8),
        at_most("median difference of K, %", float(np.median(100.0 * np.abs(k / other_k - 1.0))), 2.0),
        at_most("median difference of G, %", float(np.median(100.0 * np.abs(g / other_g - 1.0))), 3.0),
    ]


class InProcess:
    """An executor that answers in this process, so that time and memory are counted here."""

    def pool(self, target: str, settings: object, timeout: float) -> Pool:
        """See `Executor.pool`; nothing is given up for its time."""
        return _Here(load_function(target)(settings))

    def close(self) -> None:
        """Nothing was started."""


class _Here:
    """The pool of `InProcess`."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def imap(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Pool.imap`."""
        for index, item in enumerate(items):
            yield index, self._answer(item)

    def close(self) -> None:
        """Nothing was started."""


def phonons(potential: str) -> Stage:
    """Phonons with density of states and thermal properties, beside matcalc's `PhononCalc` in as large a cell."""
    calculator = _calculator(potential)
    settings = PhononSettings(relax=False, min_length=SUPERCELL, displacement=DISPLACEMENT)
    pool = PotentialPool(potential, InProcess())

    def run(crystals: Sequence[Crystal]) -> list[Any]:
        return [phonons_of(crystal, pool, settings) for crystal in crystals]

    rival = Way(
        "matcalc PhononCalc", partial(by_phonon_calc, calculator), lambda items: [*map(structure, items)],
        ("matcalc",), BENCHMARK_EXTRA,
    )  # fmt: skip
    return Stage("phonons", "crystals", at_rest(potential), (Way(OURS, run), rival), same_heat, 2, 1)


def by_phonon_calc(calculator: Calculator, cells: Sequence[Any]) -> list[float]:
    """Heat capacity at 300 K, J/(mol K), mole of atoms."""
    from matcalc import PhononCalc

    made = PhononCalc(
        calculator, atom_disp=DISPLACEMENT, min_length=SUPERCELL, relax_structure=False, write_phonon=False
    )
    found = []
    with _quiet():
        for cell in cells:
            answer = made.calc(cell)
            heat = answer["thermal_properties"]
            atoms = len(answer["phonon"].primitive)
            found.append(float(np.interp(300.0, heat["temperatures"], heat["heat_capacity"])) / atoms)
    return found


def same_heat(items: Sequence[Any], ours: Sequence[Any], theirs: Sequence[float]) -> list[Equality]:
    """Heat capacities at 300 K against each other, of the crystals without imaginary modes."""
    pairs = [
        (one.thermal.at("heat_capacity", 300.0), other)
        for one, other in zip(ours, theirs, strict=True)
        if not isinstance(one, Failure) and one.thermal is not None
    ]
    if not pairs:
        return [at_least("share with thermal properties", 0.0, 0.5)]
    apart = max(100.0 * abs(mine / other - 1.0) for mine, other in pairs)
    return [
        at_least("share with thermal properties", len(pairs) / len(theirs), 0.5),
        at_most("largest difference of the heat capacity at 300 K, %", apart, 2.0),
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
