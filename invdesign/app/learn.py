"""What finished runs teach the proposal correction: `invdesign learn`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.errors import InputError, InvdesignError, OutputError
from invdesign.records import Evaluation, Value
from invdesign.report import export

FILE = "proposal_correction.safetensors"
SEEN = "learned_from"
"""Note of the file: the relaxations that it has learned from, so that each counts once."""


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes:
        path: the correction; None if nothing was written.
        lines: what was read, and errors before and after.
        crystals: relaxed crystals that were read.
    """

    path: Path | None
    lines: tuple[str, ...]
    crystals: int


def learn(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    correction: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> Learned:
    """Update the proposal correction by relaxations of finished runs, if it gets better by that.

    Errors are those on chemical systems that the update has not seen (five folds); a property whose error does not
    fall by more than a standard error is left alone, and without any nothing is written.

    Args:
        runs: run folders.
        out: file to write; `design --correction FILE` uses it.
        correction: one to go on from (None: the shipped one).
        overwrite: whether a file that is there is replaced.
        seed: of folds and basis points.

    Raises:
        InputError: if no run can be learned from.
        OutputError: if the file is there already or cannot be written.
    """
    from invdesign.chemistry.composition import chemical_system
    from invdesign.surrogates import load_proposal_gate
    from invdesign.surrogates.correction_update import learn as update

    target = Path(out)
    if target.exists() and not overwrite:
        raise OutputError(
            f"output file {target} exists; give another name, or overwrite it: --force (overwrite=True)"
        )
    export.writable_file(target)
    gate = load_proposal_gate(correction)
    before = gate.correction
    seen = list(before.notes.get(SEEN, []))
    rows, told, lines = _read(runs, set(seen))
    if not rows:
        raise InputError("runs", ", ".join(map(str, runs)), f"at least one to learn from ({'; '.join(lines)})")
    kept, views, residuals = _residuals(gate.model, rows, told)
    systems = [chemical_system(row.candidate.crystal.numbers) for row in kept]
    new, verdicts = update(before.corrections, views, residuals, systems, seed)
    lines += [verdict.line() for verdict in verdicts]
    if not any(verdict.helps for verdict in verdicts):
        return Learned(None, (*lines, "nothing is written: the correction does not get better"), len(kept))
    notes = {**before.notes, SEEN: [*seen, *map(_key, rows)], "learned": [vars(v) for v in verdicts]}
    replace(before, corrections=new, notes=notes).save(target)
    return Learned(target, tuple(lines), len(kept))


def _read(
    runs: Sequence[str | Path], seen: set[str]
) -> tuple[list[Evaluation], dict[str, Mapping[str, Value]], list[str]]:
    """Relaxed rows of all runs that were not learned from before, what came back of them, and what was read."""
    from invdesign.build import relaxer
    from invdesign.engine.ledger import Ledger
    from invdesign.engine.stored import stored_rows

    potential, lines = relaxer().potential, list[str]()
    rows, told = dict[str, Evaluation](), dict[str, Mapping[str, Value]]()
    for k, run in enumerate(dict.fromkeys(map(Path, runs))):
        try:
            with Ledger.read(export.ledger_of(run)) as ledger:
                header, mine, back = ledger.header, stored_rows(ledger), ledger.feedback()
        except InvdesignError as error:
            lines.append(str(error))
            continue
        if header.parts.get("potential") != potential:
            lines.append(f"{run}: relaxed with {header.parts.get('potential')}, not with {potential}")
            continue
        new = {_key(r): replace(r, candidate=replace(r.candidate, id=f"{k}/{r.candidate.id}")) for r in mine}
        new = {key: row for key, row in new.items() if key not in seen and key not in rows}
        rows |= new
        told |= {f"{k}/{name}": values for name, values in back.items()}
        lines.append(f"{run}: {len(mine)} relaxed crystals, {len(new)} of them not learned from before")
    return list(rows.values()), told, lines


def _key(row: Evaluation) -> str:
    """A name of one relaxation."""
    energy = None if row.relaxation is None else row.relaxation.energy_per_atom
    return hashlib.sha256(repr((row.candidate.crystal.gene, energy)).encode()).hexdigest()[:12]


def _residuals(
    gate: Any, rows: Sequence[Evaluation], told: Mapping[str, Mapping[str, Value]]
) -> tuple[list[Evaluation], FloatArray, dict[str, FloatArray]]:
    """Rows that the gate can read, their views, and what was found less what the gate said."""
    from invdesign.surrogates.inputs.cells import read_graphs
    from invdesign.surrogates.proposal_correction import CUTS, views
    from invdesign.surrogates.scales import to_scale

    crystals: list[Crystal] = [row.candidate.crystal for row in rows]
    graphs, failures = read_graphs(crystals)
    if graphs is None:
        raise InputError("runs", "crystals", f"some that the gate can read ({failures[0]})")
    kept = [row for row, failure in zip(rows, failures, strict=True) if not failure]
    raw = gate.raw(graphs)
    residuals = {}
    for name in CUTS:
        found = np.array([_found(row, name, told.get(row.candidate.id, {})) for row in kept])
        residuals[name] = to_scale(name, found) - raw.mean[:, gate.properties.index(name)]
    return kept, views(raw, gate.memory), residuals


def _found(row: Evaluation, name: str, back: Mapping[str, Value]) -> float:
    """The best value of a property: what came back, the relaxed energy, the estimate of the relaxed crystal."""
    if name in back:
        return back[name].mean
    if name == "formation_energy":
        energy = None if row.relaxation is None else row.relaxation.formation_energy
        return np.nan if energy is None else energy.mean
    value = None if row.estimate is None or row.estimate.failure else row.estimate.values.get(name)
    return value.mean if value is not None and value.mean > 0.0 else np.nan
