"""Finished calculations as values that come back: which candidate they belong to, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.app.design import feedback_of, query_of
from invdesign.crystal import Crystal, FloatArray
from invdesign.data.calculations import STAGE, Calculation, read_calculations
from invdesign.engine.feedback import value_of
from invdesign.errors import InputError, InvdesignError
from invdesign.executors import Workforce
from invdesign.mechanics.tensors import (
    from_mandel_tensor,
    point_group,
    stress_design,
    summarise,
    symmetric_basis,
    to_mandel,
)
from invdesign.progress import Shown, with_progress
from invdesign.records import Evaluation, Failure, Value

if TYPE_CHECKING:
    from invdesign.app.result import Result

Told = dict[str, dict[str, Value]]


@dataclass
class Imported:
    """What was read.

    Attributes:
        values: by candidate id and property.
        notes: a line for each thing that was not taken over.
        result: of the run, ranked again.
    """

    values: Told = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    result: Result | None = None


@with_progress
def import_calculations(
    folder: str | Path, paths: Sequence[str | Path], *, workers: Workforce = None, progress: Shown = None
) -> Imported:
    """Read finished calculations, record what follows from them, and rank the run again (`feedback`).

    Formation energies need the settings of the Materials Project (MPRelaxSet, MPStaticSet); moduli come from the
    strained cells of `export_questions`, gaps from static runs.

    Args:
        folder: the run folder.
        paths: files or folders of outputs.
        workers: as in `resume`.
        progress: see `invdesign.progress.Shown`.

    Raises:
        InputError: if nothing can be taken over, or the run is not finished.
        LedgerError: as in `resume`.
    """
    from invdesign.app.questions import reading
    from invdesign.engine.stored import stored_rows

    query_of(Path(folder))
    with reading(Path(folder)) as ledger:
        rows = {row.candidate.id: row for row in stored_rows(ledger) if row.estimate is not None}
    found = Imported()
    finished: dict[str, list[Calculation]] = {}
    for item in read_calculations(paths):
        owner = item if isinstance(item, Failure) else _owner(item, rows)
        if isinstance(owner, Failure):
            found.notes.append(f"{owner.item}: {owner.reason}")
        else:
            assert isinstance(item, Calculation)
            finished.setdefault(owner, []).append(item)
            found.notes += [f"{item.source}: {item.note}"] if item.note else []
    for name, mine in finished.items():
        values = _values(rows[name].crystal, mine, found.notes)
        if values:
            found.values[name] = values
    if not found.values:
        why = f" ({found.notes[0]})" if found.notes else ""
        raise InputError("calculations", ", ".join(map(str, paths)), f"at least one that can be taken over{why}")
    found.result = feedback_of(folder, found.values, workers=workers, progress=progress)
    return found


def _owner(item: Calculation, rows: Mapping[str, Evaluation]) -> str | Failure:
    """The candidate that a calculation is of, by the mark beside it or by its structure."""
    if item.candidate:
        if item.candidate in rows:
            return item.candidate
        return Failure(STAGE, f"its candidate {item.candidate} is none of this run that was relaxed", item.source)
    from pymatgen.analysis.structure_matcher import StructureMatcher

    from invdesign.chemistry.composition import reduced_formula
    from invdesign.data.convert import to_pymatgen

    formula, structure = reduced_formula(item.crystal.numbers), to_pymatgen(item.crystal)
    alike = [n for n, row in rows.items() if reduced_formula(row.crystal.numbers) == formula]
    matcher = StructureMatcher()
    same = [n for n in alike if matcher.fit(structure, to_pymatgen(rows[n].crystal))]
    if len(same) == 1:
        return same[0]
    found = "several candidates match it" if same else "no relaxed candidate of this run matches it"
    return Failure(STAGE, f"there is no question.json beside it, and {found}", item.source)


def _values(crystal: Crystal, mine: Sequence[Calculation], notes: list[str]) -> dict[str, Value]:
    """What the calculations of one candidate say; static runs count before relaxations."""
    found: dict[str, float] = {}
    order = {"": 0, "relax": 1, "static": 2}
    for item in sorted((m for m in mine if m.kind != "strained"), key=lambda m: order.get(m.kind, 0)):
        found |= _formation(item, notes)
        found |= {} if item.band_gap is None else {"band_gap": item.band_gap}
    strained = [m for m in mine if m.kind == "strained"]
    if strained:
        try:
            found |= _moduli(crystal, strained)
        except InvdesignError as error:
            notes.append(f"{strained[0].source}: {error}")
    values = {}
    for name, mean in found.items():
        try:
            values[name] = value_of(name, mean)
        except InputError as error:
            notes.append(f"{mine[0].source}: {error}")
    return values


def _formation(item: Calculation, notes: list[str]) -> dict[str, float]:
    """The formation energy per atom, from the corrected energy less those of the elements on the same scale."""
    from invdesign.elements import symbol
    from invdesign.potentials.energy_scale import EnergyScale, fractions

    if item.corrected_energy is None:
        return {}
    elements = EnergyScale.load("mp2020").elements
    shares = {symbol(z): share for z, share in fractions(item.crystal).items()}
    missing = sorted(shares.keys() - elements.keys())
    if missing:
        notes.append(f"{item.source}: there is no reference energy of {', '.join(missing)}")
        return {}
    return {"formation_energy": item.corrected_energy - sum(x * elements[name] for name, x in shares.items())}


def _moduli(crystal: Crystal, strained: Sequence[Calculation]) -> dict[str, float]:
    """Hill moduli of the elastic tensor that pairs of strained cells of both signs determine.

    The difference of the stresses of a pair, over that of their strains, has no part of even order and no constant
    stress (as `invdesign.relaxation.elastic`).

    Raises:
        InputError: if the pairs do not determine the tensor, or the crystal is unstable.
    """
    basis = symmetric_basis(point_group(crystal))
    by_strain = {m.strain: m for m in strained if m.stress is not None}
    pairs = [(s, tuple(-x for x in s)) for s in by_strain if s > tuple(-x for x in s)]
    pairs = [pair for pair in pairs if pair[1] in by_strain]
    if not pairs:
        raise InputError("elastic set", f"{len(by_strain)} strained cells with a stress", "pairs of both signs")
    strains = np.array([plus for plus, _ in pairs])
    stresses = np.array([0.5 * (_stress(by_strain[a]) - _stress(by_strain[b])) for a, b in pairs])
    design = stress_design(basis, strains)
    if np.linalg.matrix_rank(design) < len(basis):
        raise InputError("elastic set", f"{len(pairs)} pairs of strained cells", "all cells of the exported set")
    constants, *_ = np.linalg.lstsq(design, stresses.ravel(), rcond=None)
    summary = summarise(from_mandel_tensor(np.tensordot(constants, basis, axes=1)))
    if not summary.stable:
        raise InputError(
            "elastic tensor", f"an eigenvalue of {summary.eigenvalues[0]:.1f} GPa", "a stable crystal"
        )
    return {"bulk_modulus": summary.bulk_hill, "shear_modulus": summary.shear_hill}


def _stress(item: Calculation) -> FloatArray:
    assert item.stress is not None
    return to_mandel(0.5 * (item.stress + item.stress.T))


def lines_of(found: Imported) -> list[str]:
    """What was taken over and what was not, a line each."""
    taken = [f"{name}: {_shown(values)}" for name, values in found.values.items()]
    return [*taken, *(f"not taken over: {note}" for note in found.notes)]


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value.mean:.4g} ± {value.std:.2g}" for name, value in values.items())
