"""What a relaxer promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.protocols import Relaxer
from invdesign.records import Failure, Relaxation
from invdesign.testing.crystals import broken_crystals, identical, strained_crystals
from invdesign.testing.outcome import Outcome, broken_if, outcomes

CLOSE = 0.005
"""Energies (eV/atom) that count as the same."""
LEAST_SHARE = 0.5
"""Share of known crystals that must be relaxed until the forces are gone."""

Results = list[Relaxation | Failure]


def check_relaxer(relaxer: Relaxer) -> list[Outcome]:
    """Whether a relaxer answers in order, with numbers that belong to the crystals that it hands over.

    It is tried on six known crystals that are 2 % too long in all directions, and on five broken ones.
    """

    @cache
    def known() -> Results:
        return relaxer.relax(strained_crystals())

    @cache
    def broken() -> Results:
        return relaxer.relax(broken_crystals())

    return outcomes(
        {
            "no crystals give no results": lambda: broken_if(relaxer.relax([]) != [], "relax([]) is not []"),
            "one Relaxation or Failure per crystal, in their order": lambda: _in_order(known(), broken()),
            "relaxes half of the known crystals at least": lambda: _delivers(known()),
            "its numbers are finite and belong to the relaxed crystal": lambda: _sound(known()),
            "a gene that it hands over decodes to the relaxed crystal": lambda: _genes(known()),
            "a crystal that it cannot relax is a failure with a reason": lambda: _reasons(known(), broken()),
            "the company does not matter": lambda: _independent(relaxer, known),
            "a relaxed crystal stays as it is": lambda: _stays(relaxer, known),
        }
    )


class NothingError(Exception):
    """There is no relaxed crystal on which a promise could be seen kept."""


def _relaxed(results: Results) -> list[tuple[Crystal, Relaxation]]:
    """What was relaxed, with the known crystal of its formula, from which it came.

    Raises:
        NothingError: if nothing was.
    """
    starts = {reduced_formula(crystal.numbers): crystal for crystal in strained_crystals()}
    pairs = [(starts.get(reduced_formula(r.crystal.numbers)), r) for r in results if isinstance(r, Relaxation)]
    found = [(start, end) for start, end in pairs if start is not None]
    if not found:
        raise NothingError("none of the known crystals was relaxed")
    return found


def _in_order(known: Results, broken: Results) -> str:
    for crystals, results in ((strained_crystals(), known), (broken_crystals(), broken)):
        if len(results) != len(crystals):
            return f"{len(results)} results for {len(crystals)} crystals"
        if problem := _misplaced(crystals, results):
            return problem
    return ""


def _misplaced(crystals: Sequence[Crystal], results: Results) -> str:
    for crystal, result in zip(crystals, results, strict=True):
        if not isinstance(result, Relaxation | Failure):
            return f"answered {type(result).__name__}"
        if isinstance(result, Relaxation):
            given, back = (reduced_formula(c.numbers) for c in (crystal, result.crystal))
            if given != back:
                return f"{back} in the place of {given}"
    return ""


def _delivers(known: Results) -> str:
    count = sum(isinstance(result, Relaxation) and result.converged for result in known)
    return broken_if(count < LEAST_SHARE * len(strained_crystals()), f"{count} of {len(known)} converged")


def _sound(known: Results) -> str:
    for start, end in _relaxed(known):
        formation = end.formation_energy  # none where the potential has no energy scale
        placed = () if formation is None else (formation.mean, formation.std)
        numbers = (end.energy_per_atom, *placed, end.max_force, end.volume_change, end.seconds)
        if not all(map(math.isfinite, numbers)):
            return f"{reduced_formula(start.numbers)}: a number that is not finite among {numbers}"
        if min(placed[1:], default=0.0) < 0.0 or end.max_force < 0.0 or end.steps < 1:
            return f"{reduced_formula(start.numbers)}: a negative spread or force, or no step"
        change = end.crystal.volume / end.crystal.n_sites / (start.volume / start.n_sites) - 1.0
        if abs(change - end.volume_change) > 1e-3:
            return f"{reduced_formula(start.numbers)}: volume changed by {change:.3f}, not {end.volume_change:.3f}"
    return ""


def _genes(known: Results) -> str:
    for start, end in _relaxed(known):
        if end.crystal.gene is not None and not identical(decode([end.crystal.gene])[0], end.crystal):
            return f"the gene of relaxed {reduced_formula(start.numbers)} decodes to another crystal"
    return ""


def _reasons(known: Results, broken: Results) -> str:
    nameless = [r for r in (*known, *broken) if isinstance(r, Failure) and not (r.reason and r.stage)]
    return broken_if(bool(nameless), f"{nameless[:1]}")


def _independent(relaxer: Relaxer, known: Callable[[], Results]) -> str:
    for start, end in _relaxed(known())[:2]:
        alone = relaxer.relax([start])[0]
        if isinstance(alone, Failure):
            return f"{reduced_formula(start.numbers)} fails alone: {alone.reason}"
        if abs(alone.energy_per_atom - end.energy_per_atom) > CLOSE:
            return f"{alone.energy_per_atom:.3f} eV/atom alone, {end.energy_per_atom:.3f} in company"
    return ""


def _stays(relaxer: Relaxer, known: Callable[[], Results]) -> str:
    for _, end in [(s, e) for s, e in _relaxed(known()) if e.converged][:2]:
        again = relaxer.relax([end.crystal])[0]
        if isinstance(again, Failure):
            return f"relaxed {reduced_formula(end.crystal.numbers)} fails: {again.reason}"
        if abs(again.energy_per_atom - end.energy_per_atom) > CLOSE or abs(again.volume_change) > 0.01:
            return (
                f"relaxed again, {end.energy_per_atom:.3f} eV/atom become {again.energy_per_atom:.3f} "
                f"and the volume changes by {again.volume_change:.1%}"
            )
    return ""
