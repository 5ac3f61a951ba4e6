"""Which calculations of a finished run are worth most: the crystals of which it is least known whether they count.

A crystal counts if it is stable and on target. With the chances s and t of both, taken as independent, whether it
counts has the variance s t (1 - s t). A calculation of its energy removes t² s (1 - s) of that on average, one of
its properties s² t (1 - t), both all of it (law of total variance). This is the value of a question: at most 1/4,
and 0 where the answer is known already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invdesign.properties import DERIVED
from invdesign.records import Evaluation, Status, Value
from invdesign.selection.targets import target_probability
from invdesign.target import Target
from invdesign.uncertainty import probability_below

ENERGY, ELASTIC, GAP = "energy", "elastic", "band_gap"
MODULI = frozenset({"bulk_modulus", "shear_modulus"})
ENERGIES = frozenset({"formation_energy", "energy_above_hull"})
LEAST = 1e-4
"""Value below which a question is not asked."""


@dataclass(frozen=True)
class Question:
    """A crystal that is worth a calculation.

    Attributes:
        row: the crystal.
        value: variance of whether it counts that the calculations remove, from 0 to 1/4.
        asks: what is to be computed: `energy`, `elastic`, `band_gap`.
        why: in words.
    """

    row: Evaluation
    value: float
    asks: tuple[str, ...]
    why: str


def questions(
    rows: Sequence[Evaluation],
    targets: Sequence[Target],
    limit: float,
    known: Mapping[str, Mapping[str, Value]] = {},
) -> list[Question]:
    """The open questions of a run, the most valuable first.

    Args:
        rows: relaxed and predicted.
        targets: of the query and its component.
        limit: energy above hull up to which a crystal is stable, eV/atom.
        known: values that have come back, by candidate id and property.
    """
    found = [_question(row, targets, limit, known.get(row.candidate.id, {})) for row in rows if _counts(row)]
    asked = [question for question in found if question.value >= LEAST]
    return sorted(asked, key=lambda q: (-q.value, q.row.candidate.id))


def _counts(row: Evaluation) -> bool:
    """Whether nothing but its stability may speak against a crystal."""
    if row.failure is not None or row.estimate is None or row.estimate.failure or row.energy_above_hull is None:
        return False
    return not any(v.status is Status.FAIL for v in row.verdicts.values() if v.name != "stability")


def _question(row: Evaluation, targets: Sequence[Target], limit: float, known: Mapping[str, Value]) -> Question:
    above, estimate = row.energy_above_hull, row.estimate
    assert above is not None and estimate is not None
    stable = probability_below(limit, above)
    wished = [t for t in targets if t.name not in ENERGIES]
    on_target = target_probability(wished, estimate)
    names = {t.name for t in wished}
    mechanical = bool(names & (MODULI | set(DERIVED))) and not known.keys() >= MODULI
    gap = "band_gap" in names and "band_gap" not in known
    energy = not known.keys() & ENERGIES
    asks = [name for name, asked in ((ENERGY, energy), (ELASTIC, mechanical), (GAP, gap)) if asked]
    both, whole = stable * on_target, mechanical or gap
    if energy and whole:
        value = both * (1.0 - both)
    elif energy:
        value = on_target**2 * stable * (1.0 - stable)
    else:
        value = stable**2 * on_target * (1.0 - on_target) if whole else 0.0
    reasons = []
    if energy:
        reasons.append(
            f"energy above hull {above.mean:.3f} ± {above.std:.3f} eV/atom, limit {limit:g}: "
            f"stable with a chance of {stable:.2f}"
        )
    if whole:
        shown = [_shown(t, estimate.values[t.name]) for t in wished if t.name in estimate.values]
        reasons.append(f"{', '.join(shown)}: on target with a chance of {on_target:.2f}")
    return Question(row, value, tuple(asks), "; ".join(reasons))


def _shown(target: Target, value: Value) -> str:
    return f"{target.prop.label.lower()} {value.mean:.3g} ± {value.std:.2g} {target.prop.unit} ({target})"
