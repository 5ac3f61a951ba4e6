"""The inner loop of a campaign: an evolutionary search between the generators and the choice of relaxations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from invdesign.answers import answers_of
from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.exchanges import load_exchanges
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
from invdesign.elements import atomic_numbers
from invdesign.engine.parts import Parts
from invdesign.engine.wishes import prototype_key
from invdesign.errors import ReferenceMissingError
from invdesign.evolution.archive import Member, spread
from invdesign.evolution.evolve import EvolutionSettings, GeometryModel, World, evolve
from invdesign.evolution.joint import log_target_chance
from invdesign.evolution.judge import Correct, Judge, log_normal_below
from invdesign.evolution.moves import Chemistry
from invdesign.evolution.parents import Wanted
from invdesign.protocols import Validator
from invdesign.query import Query, Target
from invdesign.records import Candidate, Evaluation, Status
from invdesign.reference.disorder import NON_METALS

GENERATOR = "evolution"
"""The name under which candidates of the search are recorded."""
CLEAR = "distances"
"""The validator that tells whether atoms keep apart; it is asked last, for it takes longest."""
FROM_ROWS = 400
"""Proposals and earlier candidates that become parents, at most."""


class CandidateSearch:
    """Searches for candidates of one query; holds nothing that a finished round does not record."""

    def __init__(
        self, query: Query, targets: Sequence[Target], parts: Parts, screens: Sequence[Validator],
        settings: EvolutionSettings,
    ) -> None:  # fmt: skip
        """Prepare the search.

        Args:
            query: completed by its component and the elements that are left out.
            targets: what to search for.
            parts: gate, reference, generators, known crystals.
            screens: checks of every proposal.
            settings: evaluations and moves.
        """
        self.query, self.targets, self.parts, self.settings = query, tuple(targets), parts, settings
        self._cheap = tuple(v for v in screens if v.name != CLEAR)
        self._clear = tuple(v for v in screens if v.name == CLEAR)

    def propose(
        self, name: str, n: int, now: Sequence[Evaluation], before: Sequence[Evaluation], correct: Correct | None,
        seed: int,
    ) -> tuple[list[Evaluation], int]:  # fmt: skip
        """Candidates of a search that starts from known crystals, the round's proposals and the best rows so far.

        Args:
            name: id of the request that they are recorded under; ids of candidates are `<name>-<index>`.
            n: candidates wanted.
            now: proposals of the generators in this round, judged by the gate.
            before: rows of earlier rounds.
            correct: what the run has learned.
            seed: of the search.

        Returns:
            The candidates as bare rows, and how many genes were judged.
        """
        judge = judge_of(self.query, self.targets, self.parts, correct)
        parents = [*self._start(judge), *self._known, *self._from_rows([*now, *before], judge)]
        settings = replace(self.settings, children=self.settings.children_for(n))
        found = evolve(parents, self._world(judge), settings, np.random.default_rng(seed), _tried(before))
        taken = {_key(row.candidate.crystal) for row in now}
        new = [m for m in found.archive.best(len(found.archive.members)) if m.key not in taken and m.move]
        chosen = spread(new, n)
        crystals = decode([m.gene for m in chosen], source=GENERATOR)
        rows = [
            Evaluation(Candidate(f"{name}-{i:05d}", crystal, name, GENERATOR, (member.origin,)))
            for i, (member, crystal) in enumerate(zip(chosen, crystals, strict=True))
        ]
        return rows, found.judged

    @cached_property
    def _known(self) -> list[Member]:
        """Known crystals that meet the query or nearly do."""
        if self.parts.known is None or self.query.start:
            return []
        q, prototype = self.query, self.query.wanted_prototype
        wanted = Wanted(
            targets=self.targets,
            limit=q.max_energy_above_hull,
            groups=q.space_groups,
            required=frozenset(atomic_numbers(q.required_elements)),
            stoichiometry=q.stoichiometry,
            n_elements=q.n_elements,
            prototype=None if prototype is None else prototype_key(prototype),
        )
        return self.parts.known.parents(wanted, self._chemistry(), self.parts.hardness, self.settings.parents)

    def _start(self, judge: Judge) -> list[Member]:
        """The crystals that the query names as starting points; they themselves are never proposed."""
        genes = [gene for gene in self.query.start if isinstance(gene, Gene)]
        crystals = decode(genes)
        judged = judge.judge(crystals)
        return [
            Member(_key(crystal), gene, float(target), float(stable), known=True, origin=f"start-{i}")
            for i, (gene, crystal, target, stable) in enumerate(
                zip(genes, crystals, judged.log_target, judged.log_stable, strict=True)
            )
        ]

    def _from_rows(self, rows: Sequence[Evaluation], judge: Judge) -> list[Member]:
        """Members from rows that nothing has rejected; what a relaxation has found counts before the gate's
        word."""
        sound = [row for row in rows if not row.failed and row.crystal.gene is not None]
        relaxed = [row for row in sound if row.relaxation is not None and row.estimate is not None]
        rest = [row for row in sound if row.relaxation is None and row.gate is not None]
        judged = judge.judge([row.candidate.crystal for row in rest])
        order = np.argsort(-judged.fitness, kind="stable")[:FROM_ROWS]
        members = [
            _member(rest[i], rest[i].candidate.crystal, float(judged.log_target[i]), float(judged.log_stable[i]))
            for i in order
            if np.isfinite(judged.fitness[i])
        ]
        return [*members, *self._from_relaxed(relaxed)]

    def _from_relaxed(self, rows: Sequence[Evaluation]) -> list[Member]:
        if not rows:
            return []
        answers = answers_of(
            [row.estimate for row in rows if row.estimate is not None], self.query.known_properties
        )
        target = log_target_chance(answers, [row.crystal for row in rows], self.targets, self.parts.hardness)
        members = []
        for row, log_target in zip(rows, target, strict=True):
            above = row.energy_above_hull
            if above is None or not np.isfinite(log_target):
                continue
            z = (self.query.max_energy_above_hull - above.mean) / max(above.std, 1e-6)
            stable = float(log_normal_below(np.array([z]))[0])
            members.append(_member(row, row.crystal, float(log_target), stable))
        return members

    def _world(self, judge: Judge) -> World:
        return World(
            judge=judge,
            chemistry=self._chemistry(),
            fits=_passes(self._cheap),
            clear=_passes(self._clear),
            known=np.zeros(0, dtype=np.int64) if self.parts.known is None else self.parts.known.protostructures,
            geometry=next((g for g in self.parts.generators.values() if isinstance(g, GeometryModel)), None),
        )

    def _chemistry(self) -> Chemistry:
        exchanges = load_exchanges()
        n = len(exchanges.element_volume)
        allowed = np.zeros(n, dtype=bool)
        allowed[[z for z in atomic_numbers(self.query.allowed_elements) if z < n]] = True
        return Chemistry(
            odds=exchanges.probability,
            element_volume=exchanges.element_volume,
            allowed=allowed & (exchanges.element_volume > 0),
            nonmetals=np.isin(np.arange(n), sorted(NON_METALS)),
            electronegativity=pauling()[:n],
            kept=atomic_numbers(self.query.keep),
            max_sites=self.query.site_range[1],
        )


def judge_of(query: Query, targets: Sequence[Target], parts: Parts, correct: Correct | None) -> Judge:
    """The screening surrogate with the targets of a run, corrected by what the run has learned."""
    limit = query.max_energy_above_hull
    return Judge(parts.gate, parts.reference, tuple(targets), limit, parts.hardness, correct)


def _member(row: Evaluation, crystal: Crystal, log_target: float, log_stable: float) -> Member:
    assert crystal.gene is not None
    return Member(_key(crystal), crystal.gene, log_target, log_stable, origin=row.candidate.id)


def _key(crystal: Crystal) -> int:
    return 0 if crystal.gene is None else protostructure_hash(protostructure(crystal.gene))


def _tried(rows: Sequence[Evaluation]) -> frozenset[int]:
    """Protostructures that were looked at closely, or rejected, in earlier rounds."""
    return frozenset(_key(r.candidate.crystal) for r in rows if r.failed or r.selected or r.probe is not None)


def _passes(validators: Sequence[Validator]) -> Callable[[Crystal], bool]:
    """Whether no validator says FAIL of a crystal, or breaks down over it."""

    def passes(crystal: Crystal) -> bool:
        row = Evaluation(Candidate("", crystal, "", GENERATOR))
        try:
            return not any(v.check(row).status is Status.FAIL for v in validators)
        except ReferenceMissingError:  # without it nothing can be judged
            raise
        except Exception:  # a validator that breaks down over a crystal would fail its row
            return False

    return passes
