"""Who decides what to ask for next: plain conditioned sampling, or Optuna over the knobs of the generators.

A searcher is a pure function of the seed and of what it was told: the sampler is seeded anew for every round, and
the study is asked and told again in the same order. So a run that is resumed from a ledger goes on exactly as it
would have.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import primitive_sites
from invdesign.elements import atomic_numbers
from invdesign.engine.funnel import novelty_yield, stability_yield, target_yield
from invdesign.engine.study import SINGLE, YIELDS, keep, make_sampler
from invdesign.engine.wishes import prototype_gene
from invdesign.errors import InputError, InvdesignWarning
from invdesign.query import Query, Target
from invdesign.records import Conditions, Evaluation, Request

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

CONDITIONED = ("bulk_modulus", "shear_modulus", "formation_energy", "energy_above_hull", "band_gap", "density")
"""Properties that a generator can be conditioned on."""


@runtime_checkable
class LatentGenerator(Protocol):
    """A generator that can say where a crystal lies in its latent space."""

    def latent(self, crystals: Sequence[Crystal]) -> FloatArray:
        """(n_crystals, n_latent) latent means; rows of NaN for crystals that cannot be encoded."""
        ...


class Recaller(Protocol):
    """A searcher that can be shown the requests that an interrupted run had made."""

    def ask(self, n: int) -> list[Request]:
        """Requests for together `n` crystals: the next round."""
        ...

    def recall(self, requests: Sequence[Request]) -> None:
        """Take recorded requests as those of the next round, in place of asking."""
        ...

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn from every row of the last round."""
        ...


def seed_of(*parts: object) -> int:
    """A seed below 2**63 from anything that prints, the same on every machine and in every process."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def conditioned(targets: Sequence[Target]) -> dict[str, Target]:
    """The wishes that a generator can be conditioned on, by property.

    Lower bounds on Young's modulus and Vickers hardness are translated into moduli where those are not wished
    for themselves: an isotropic solid of Poisson's ratio 0.2 (G = E/2.4, K = E/1.8), and G = H/0.151 (Teter,
    MRS Bulletin 23, 22 (1998)) with K/G of the same ratio.
    """
    wishes = {name: _merged(name, targets) for name in CONDITIONED if any(t.name == name for t in targets)}
    shear = [t.low / 2.4 for t in targets if t.name == "youngs_modulus" and t.low]
    shear += [t.low / 0.151 for t in targets if t.name == "vickers_hardness" and t.low]
    if shear and max(shear) > 0.0:
        wishes.setdefault("shear_modulus", Target("shear_modulus", low=min(max(shear), 500.0)))
        wishes.setdefault("bulk_modulus", Target("bulk_modulus", low=min(max(shear) * 4.0 / 3.0, 450.0)))
    return wishes


def _merged(name: str, targets: Sequence[Target]) -> Target:
    """All wishes for one property as one."""
    mine = [t for t in targets if t.name == name]
    low = max((t.low for t in mine if t.low is not None), default=None)
    high = min((t.high for t in mine if t.high is not None), default=None)
    goal = next((t.goal for t in mine if t.goal), "") if low is None and high is None else ""
    return Target(name, low, high, goal)


def conditions_of(query: Query, targets: Sequence[Target] | None = None) -> Conditions:
    """What a query asks of a generator: properties, elements, symmetry and size.

    The energy above hull asked for is zero: known crystals, which that would retrieve, are left out by the
    generator itself (docs/methods/generators.md).
    """
    wishes = conditioned(query.targets if targets is None else targets)
    wanted = {name: t.aim for name, t in wishes.items() if t.aim is not None}
    prototype = query.wanted_prototype
    return Conditions(
        properties={"energy_above_hull": 0.0, **wanted},
        space_groups=query.space_groups if prototype is None else frozenset([prototype.space_group]),
        required=atomic_numbers(query.required_elements),
        allowed=None if query.any_element else atomic_numbers(query.allowed_elements),
        forbidden=atomic_numbers(query.excluded_elements),
        max_sites=query.max_sites,
        n_sites=query.n_sites if prototype is None else primitive_sites(prototype_gene(prototype)),
    )


def plain_requests(
    query: Query,
    generators: Sequence[str],
    seed: int,
    targets: Sequence[Target] | None,
    number: int,
    n: int,
    requests: int,
) -> list[Request]:
    """Requests with the query's own conditions for together `n` crystals, the generators taken in turn.

    Args:
        query: what is asked.
        generators: names to share the requests among.
        seed: of the run.
        targets: wishes, if other than the query's.
        number: of the round, or of the shard.
        n: crystals.
        requests: how many requests, if there are as many crystals.
    """
    conditions = conditions_of(query, targets)
    return [
        Request(name, generators[i % len(generators)], conditions, share, seed_of(seed, name))
        for i, (name, share) in enumerate(_shares(number, n, requests))
    ]


@dataclass
class PlainSearcher:
    """`search=none`: the query's own conditions in every request, generators in equal shares.

    Attributes:
        query: what is asked.
        generators: names to share the requests among.
        seed: seed of the run.
        targets: wishes, if other than the query's.
        per_round: requests in a round.
    """

    query: Query
    generators: Sequence[str]
    seed: int
    targets: Sequence[Target] | None = None
    per_round: int = 8
    _round: int = field(default=0, init=False)

    def ask(self, n: int) -> list[Request]:
        """Requests for together `n` crystals."""
        requests = plain_requests(
            self.query, self.generators, self.seed, self.targets, self._round, n, self.per_round
        )
        self._round += 1
        return requests

    def recall(self, requests: Sequence[Request]) -> None:
        """Count the round."""
        self._round += 1

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn nothing."""


class OptunaSearcher:
    """`search=optuna`: a sampler of Optuna over conditions, guidance, temperature, latent region and generator,
    for three yields at once: on target, stable, new.

    Each request is one trial. The first request of a run has the query's own conditions. That the typical crystal
    lies within the query's limit above the hull is a constraint, for samplers that take one.
    """

    def __init__(
        self,
        query: Query,
        generators: Mapping[str, object],
        seed: int,
        targets: Sequence[Target] | None = None,
        per_round: int = 8,
        study: Path | None = None,
    ) -> None:
        """Make a searcher.

        Args:
            query: what is asked; names the sampler.
            generators: generators by name; those with a method `latent` have their latent region searched.
            seed: seed of the run.
            targets: wishes, if other than the query's.
            per_round: requests in a round.
            study: file that keeps a copy of the study (None: none).
        """
        self._query, self._generators, self._seed, self._per_round = query, dict(generators), seed, per_round
        self._targets = tuple(targets if targets is not None else query.targets)
        self._start = conditions_of(query, self._targets)
        self._round = 0
        self._pending: list[tuple[Request, Trial]] = []
        self._best: list[Evaluation] = []
        self._file = study

    def ask(self, n: int) -> list[Request]:
        """Requests for together `n` crystals."""
        with _quiet_optuna():
            self._begin()
            for i, (name, share) in enumerate(_shares(self._round, n, self._per_round)):
                trial = self._trial(i)
                self._pending.append((self._request(name, share, self._default() | trial.params), trial))
        self._round += 1
        return [request for request, _ in self._pending]

    def recall(self, requests: Sequence[Request]) -> None:
        """Take these as the requests of the round.

        The sampler is asked as it was then, so that its state is the same. Should it answer differently (another
        version of Optuna), its trial is given up for one with the recorded values.
        """
        with _quiet_optuna():
            self._begin()
            for i, request in enumerate(requests):
                trial, params = self._trial(i), self._params(request)
                if any(trial.params[k] != v for k, v in params.items() if k != "region"):
                    self._study.tell(trial, state=_failed())
                    self._study.enqueue_trial(params)
                    trial = self._study.ask(self._space())
                self._pending.append((request, trial))
        self._round += 1

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn the yields of every pending request from its rows."""
        by_request: dict[str, list[Evaluation]] = {request.id: [] for request, _ in self._pending}
        for row in rows:
            by_request.setdefault(row.candidate.request, []).append(row)
        with _quiet_optuna():
            for request, trial in self._pending:
                mine = by_request[request.id]
                trial.set_user_attr("request", request.id)
                trial.set_constraint("energy above hull beyond the limit", self._excess(mine))
                values = self._yields(request, mine)
                self._study.tell(trial, float(np.prod(values)) if self._is_single else values)
            if self._file is not None and self._pending:
                keep(self._study, self._file)
        self._pending = []
        ranked = sorted((*self._best, *rows), key=lambda r: (-_worth(r), r.candidate.id))
        self._best = [row for row in ranked[:16] if _worth(row) > 0.0]

    @property
    def _finished(self) -> list[tuple[dict[str, Any], list[float]]]:
        """Knobs and yields of the finished requests."""
        return [(t.params, list(t.values)) for t in self._study.trials if t.values is not None]

    @property
    def _is_single(self) -> bool:
        return self._query.sampler in SINGLE

    @cached_property
    def _study(self) -> Study:
        """The study of the run, in memory."""
        import optuna

        return optuna.create_study(directions=["maximize"] * (1 if self._is_single else len(YIELDS)))

    def _begin(self) -> None:
        """Seed the sampler anew for the round."""
        now, first = (seed_of(self._seed, "sampler", number) % 2**32 for number in (self._round, 0))
        self._study.sampler = make_sampler(self._query.sampler, now, first, self._per_round)
        self._pending = []

    def _trial(self, place: int) -> Trial:
        """The trial at a place of the round: the first of all is the query itself, and the second of each round
        looks around the best rows."""
        space = self._space()
        if self._round == 0 and place == 0:
            self._study.enqueue_trial({k: v for k, v in self._default().items() if k in space})
        elif place == 1 and "region" in space:
            self._study.enqueue_trial({"region": "best"})
        return self._study.ask(space)

    def _excess(self, rows: Sequence[Evaluation]) -> float:
        """How far the typical row lies beyond the limit above the hull, eV/atom; 1 if there is no row to judge."""
        found = []
        for row in rows:
            gate = None if row.gate is None else row.gate.values.get("energy_above_hull")
            value = row.energy_above_hull or gate
            found += [value.mean] if value is not None and np.isfinite(value.mean) else []
        return float(np.median(found)) - self._query.max_energy_above_hull if found else 1.0

    def _yields(self, request: Request, rows: Sequence[Evaluation]) -> list[float]:
        made = len(rows) / request.n
        limit = self._query.max_energy_above_hull
        yields = (target_yield(rows, self._targets), stability_yield(rows, limit), novelty_yield(rows))
        return [made * value for value in yields]

    def _space(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        space: dict[str, Any] = {
            f"aim:{name}": FloatDistribution(low, high) for name, (low, high) in self._ranges().items()
        }
        space["guidance"] = FloatDistribution(0.5, 4.0)
        space["temperature"] = FloatDistribution(0.6, 1.2)
        space["latent_scale"] = FloatDistribution(0.4, 1.4)
        if len(self._generators) > 1:
            space["generator"] = CategoricalDistribution(sorted(self._generators))
        if any(isinstance(g, LatentGenerator) for g in self._generators.values()):
            space["region"] = CategoricalDistribution(["prior", "best"])
        return space

    def _ranges(self) -> dict[str, tuple[float, float]]:
        limit = max(0.02, self._query.max_energy_above_hull)
        ranges = {"energy_above_hull": (0.0, 0.5 * limit)}
        ranges |= {name: aim_range(t) for name, t in conditioned(self._targets).items()}
        return ranges

    def _default(self) -> dict[str, Any]:
        first = "vae" if "vae" in self._generators else min(self._generators)
        return {
            "guidance": 2.0,
            "temperature": 1.0,
            "latent_scale": 1.0,
            "generator": first,
            "region": "prior",
        } | {
            f"aim:{name}": min(max(self._start.properties.get(name, low), low), high)
            for name, (low, high) in self._ranges().items()
        }

    def _request(self, name: str, n: int, params: Mapping[str, Any]) -> Request:
        generator = params.get("generator", min(self._generators))
        seed = seed_of(self._seed, name)
        centre = self._centre(generator, seed) if params.get("region") == "best" else None
        aims = {k.removeprefix("aim:"): v for k, v in params.items() if k.startswith("aim:")}
        conditions = replace(
            self._start,
            properties={**self._start.properties, **aims},
            guidance=params["guidance"],
            temperature=params["temperature"],
            latent_scale=params["latent_scale"],
            latent_centre=centre,
        )
        return Request(name, generator, conditions, n, seed)

    def _params(self, request: Request) -> dict[str, Any]:
        """The knobs that a request was made with; the inverse of `_request`."""
        asked = request.conditions
        knobs = {
            "guidance": asked.guidance,
            "temperature": asked.temperature,
            "latent_scale": asked.latent_scale,
            "generator": request.generator,
            "region": "prior" if asked.latent_centre is None else "best",
            **{f"aim:{name}": value for name, value in asked.properties.items()},
        }
        return {name: knobs[name] for name in self._space()}

    def _centre(self, generator: str, seed: int) -> tuple[float, ...] | None:
        """The latent place of one of the best rows so far, if there is one and the generator has a latent."""
        model = self._generators[generator]
        if not self._best or not isinstance(model, LatentGenerator):
            return None
        row = self._best[int(np.random.default_rng(seed).integers(len(self._best)))]
        place = np.asarray(model.latent([row.candidate.crystal]), dtype=np.float64)[0]
        return tuple(place.tolist()) if np.isfinite(place).all() else None


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's remarks on its own sampler from the user; their settings come back afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", InvdesignWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def aim_range(target: Target) -> tuple[float, float]:
    """The values worth conditioning on for a target: from a bound to somewhat beyond it, within the property."""
    prop = target.prop
    span = min(prop.high - prop.low, 10.0)
    if target.goal:
        low, high = (0.3, 0.7) if target.goal == "max" else (0.0, 0.3)
        return prop.low + low * (prop.high - prop.low), prop.low + high * (prop.high - prop.low)
    if target.low is not None and target.high is not None:
        return target.low, target.high
    if target.low is not None:
        beyond = 1.5 * target.low if prop.log else target.low + 0.2 * span
        return target.low, max(target.low, min(prop.high, beyond))
    assert target.high is not None
    beyond = target.high / 1.5 if prop.log else target.high - 0.2 * span
    return min(target.high, max(prop.low, beyond)), target.high


def _worth(row: Evaluation) -> float:
    """What has been verified first, then what the gate promises."""
    if row.failed:
        return 0.0
    if row.relaxation is not None:
        return 1.0 + row.score if row.score > 0.0 else 0.0
    return row.acquisition if row.acquisition > 0.0 else 0.0


def _shares(number: int, n: int, requests: int) -> list[tuple[str, int]]:
    """Request ids of a round and how many crystals each is for, larger shares first."""
    size, more = divmod(n, min(requests, n))
    count = min(requests, n)
    return [(f"r{number:03d}-{i:02d}", size + (i < more)) for i in range(count)]


def make_searcher(
    query: Query,
    generators: Mapping[str, object],
    seed: int,
    targets: Sequence[Target] | None = None,
    per_round: int = 8,
    study: Path | None = None,
) -> Recaller:
    """The searcher that the query names, over the generator that it names (`mixture`: all that are given).

    Args:
        query: what is asked.
        generators: by name.
        seed: of the run.
        targets: wishes, if other than the query's.
        per_round: requests in a round.
        study: file that keeps a copy of Optuna's study.

    Raises:
        InputError: if there is no generator of that name.
    """
    if query.generator == "mixture":
        chosen = dict(generators)
    elif query.generator in generators:
        chosen = {query.generator: generators[query.generator]}
    else:
        raise InputError("generator", query.generator, (*generators, "mixture"))
    if query.search == "optuna":
        return OptunaSearcher(query, chosen, seed, targets, per_round, study)
    return PlainSearcher(query, tuple(sorted(chosen)), seed, targets, per_round)
