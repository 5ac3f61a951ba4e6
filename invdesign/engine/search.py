"""Who decides what to ask for next: plain conditioned sampling, or Optuna over the knobs of the generators.

A searcher is a pure function of the seed and of what it was told: the sampler is seeded anew for every round
and its state is nothing but the list of finished requests, which can be read back from the requests
themselves. So a run that is resumed from a ledger goes on exactly as it would have.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import primitive_sites
from invdesign.elements import atomic_numbers
from invdesign.engine.funnel import novelty_yield, stability_yield, target_yield
from invdesign.engine.wishes import prototype_gene
from invdesign.errors import InputError
from invdesign.query import Query, Target
from invdesign.records import Conditions, Evaluation, Request

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
        conditions = conditions_of(self.query, self.targets)
        requests = [
            Request(
                name,
                self.generators[i % len(self.generators)],
                conditions,
                share,
                seed_of(self.seed, name),
            )
            for i, (name, share) in enumerate(_shares(self._round, n, self.per_round))
        ]
        self._round += 1
        return requests

    def recall(self, requests: Sequence[Request]) -> None:
        """Count the round."""
        self._round += 1

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn nothing."""


class OptunaSearcher:
    """`search=optuna`: a tree-structured Parzen estimator over conditions, guidance, temperature, latent region
    and generator, for three yields at once: on target, stable, new.

    Each request is one trial. The first request of a run has the query's own conditions.
    """

    def __init__(
        self,
        query: Query,
        generators: Mapping[str, object],
        seed: int,
        targets: Sequence[Target] | None = None,
        per_round: int = 8,
    ) -> None:
        """Make a searcher.

        Args:
            query: what is asked.
            generators: generators by name; those with a method `latent` have their latent region searched.
            seed: seed of the run.
            targets: wishes, if other than the query's.
            per_round: requests in a round.
        """
        self._query, self._generators, self._seed, self._per_round = query, dict(generators), seed, per_round
        self._targets = tuple(targets if targets is not None else query.targets)
        self._start = conditions_of(query, self._targets)
        self._round = 0
        self._pending: list[Request] = []
        self._finished: list[tuple[dict[str, Any], list[float]]] = []
        self._best: list[Evaluation] = []

    def ask(self, n: int) -> list[Request]:
        """Requests for together `n` crystals."""
        space = self._space()
        requests = []
        with _quiet_optuna():
            study = self._study()
            for i, (name, share) in enumerate(_shares(self._round, n, self._per_round)):
                first = self._round == 0 and i == 0
                params = self._default() if first else study.ask(space).params
                if i == 1 and "region" in space:  # one request of each round looks around the best rows
                    params = {**params, "region": "best"}
                requests.append(self._request(name, share, params))
        self.recall(requests)
        return requests

    def recall(self, requests: Sequence[Request]) -> None:
        """Take these as the requests of the round."""
        self._pending = list(requests)
        self._round += 1

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn the yields of every pending request from its rows."""
        by_request: dict[str, list[Evaluation]] = {r.id: [] for r in self._pending}
        for row in rows:
            by_request.setdefault(row.candidate.request, []).append(row)
        for request in self._pending:
            self._finished.append((self._params(request), self._yields(request, by_request[request.id])))
        self._pending = []
        ranked = sorted((*self._best, *rows), key=lambda r: (-_worth(r), r.candidate.id))
        self._best = [row for row in ranked[:16] if _worth(row) > 0.0]

    def _yields(self, request: Request, rows: Sequence[Evaluation]) -> list[float]:
        made = len(rows) / request.n
        limit = self._query.max_energy_above_hull
        yields = (target_yield(rows, self._targets), stability_yield(rows, limit), novelty_yield(rows))
        return [made * value for value in yields]

    def _study(self) -> Any:
        import optuna

        sampler = optuna.samplers.TPESampler(
            seed=seed_of(self._seed, "sampler", self._round) % 2**32,
            n_startup_trials=self._per_round,
            multivariate=True,
            constant_liar=True,
        )
        study = optuna.create_study(directions=["maximize"] * 3, sampler=sampler)
        space = self._space()
        for params, values in self._finished:
            study.add_trial(optuna.trial.create_trial(params=params, distributions=space, values=values))
        return study

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
        return {"guidance": 2.0, "temperature": 1.0, "latent_scale": 1.0, "generator": first} | {
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


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's remarks on its own sampler from the user; their settings come back afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
) -> Recaller:
    """The searcher that the query names, over the generator that it names (`mixture`: all that are given).

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
        return OptunaSearcher(query, chosen, seed, targets, per_round)
    return PlainSearcher(query, tuple(sorted(chosen)), seed, targets, per_round)
