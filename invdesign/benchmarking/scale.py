"""What very many candidates cost, and a simulation of a screen on many workers, from measured constants.

The simulation is one of discrete events (SimPy): a main process hands out shards, workers start, compute, die and
are replaced, and the main process takes one finished shard after the other and writes its file to a disk.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from invdesign.engine.shards import Plan
from invdesign.errors import MissingDependencyError
from invdesign.executors.dask import AHEAD

if TYPE_CHECKING:
    import simpy

DAY = 86_400.0


@dataclass(frozen=True)
class Costs:
    """Measured constants of a screen and of a ledger.

    Attributes:
        stages: CPU seconds of a worker for one candidate, by stage.
        spread: standard deviation of a shard's time over its mean.
        start: CPU seconds until a worker process has its models and all that the first candidates load.
        warm: the part of these that falls into the time of its first shard.
        answer_bytes: size of a finished shard for one candidate: what is sent, and what is written.
        take: CPU seconds of the main process for one candidate of a finished shard, few of which enter the list.
        write: seconds to write and sync the file of one shard, besides those that its bytes take.
        launch: CPU seconds of the main process before the first shard and after the last.
        worker_mb: largest memory of a worker process, megabytes.
        ledger_seconds: CPU seconds to record one candidate of a design run with its screening.
        ledger_bytes: of the ledger for one such candidate.
        ledger_rows: rows of the ledger's tables for one such candidate.
    """

    stages: Mapping[str, float]
    spread: float
    start: float
    warm: float
    answer_bytes: float
    take: float
    write: float
    launch: float
    worker_mb: float
    ledger_seconds: float
    ledger_bytes: float
    ledger_rows: float

    @property
    def candidate(self) -> float:
        """CPU seconds of a worker for one candidate."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Site:
    """Where a screen runs.

    Attributes:
        workers: worker processes.
        cores: cores that they and the main process share (None: one for each).
        failures: deaths of a worker in a day of its work.
        replaced: seconds until a dead worker has another in its place, besides its start.
        disk: bytes that the disk takes in a second.
        latency: seconds that the disk needs for one file, besides `Costs.write`.
    """

    workers: int
    cores: int | None = None
    failures: float = 0.0
    replaced: float = 60.0
    disk: float = 200e6
    latency: float = 0.0

    @property
    def slowness(self) -> float:
        """How much longer a process takes because it shares its core."""
        return 1.0 if self.cores is None else max(1.0, self.workers / self.cores)


@dataclass(frozen=True)
class Outcome:
    """What a simulated screen took.

    Attributes:
        seconds: of wall clock.
        cpu_hours: of all workers, lost work included.
        lost: shards that were computed in vain because their worker died.
        busy: share of their time that workers computed.
        main_busy: share of its time that the main process took and wrote shards.
        waiting_mb: most memory of finished shards that waited to be taken, on all workers together, megabytes.
        stored_gb: size of all files, gigabytes.
    """

    seconds: float
    cpu_hours: float
    lost: int
    busy: float
    main_busy: float
    waiting_mb: float
    stored_gb: float

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


class _Screen:
    """The state of one simulation."""

    def __init__(self, plan: Plan, site: Site, costs: Costs, seed: int, environment: simpy.Environment) -> None:
        import simpy

        self.plan, self.site, self.costs, self.env = plan, site, costs, environment
        self.rng = random.Random(seed)
        self.shards = simpy.Store(environment)
        self.shards.items.extend(range(len(plan)))
        self.main = simpy.Resource(environment, capacity=1)
        ahead = max(16, AHEAD * site.workers)  # as an executor hands out: no more wait to be taken
        self.room = simpy.Container(environment, capacity=ahead, init=ahead)
        self.done, self.lost, self.computed, self.main_time = 0, 0, 0.0, 0.0
        self.waiting = self.most_waiting = 0.0
        self.end = environment.event()

    def run(self) -> Generator[Any, Any, None]:
        """Everything, from the start of the main process to its end."""
        yield self.env.timeout(self.costs.launch / 2.0)
        for _ in range(min(self.site.workers, len(self.plan))):
            self.env.process(self._worker())
        yield self.end
        yield self.env.timeout(self.costs.launch / 2.0)

    def _worker(self) -> Generator[Any, Any, None]:
        """One place for a worker: whoever fills it starts, computes, and may die over a shard."""
        site, slow = self.site, self.site.slowness
        yield self.env.timeout(self.costs.start * slow)
        left = self._life()
        while self.shards.items:
            number = yield self.shards.get()
            yield self.room.get(1)
            needed = self._shard_time(number) * slow
            if left < needed:
                yield self.env.timeout(left)
                self.computed += left
                self.lost += 1
                yield self.room.put(1)
                self.shards.items.append(number)
                yield self.env.timeout(site.replaced + self.costs.start * slow)
                left = self._life()
                continue
            yield self.env.timeout(needed)
            self.computed += needed
            left -= needed
            self.env.process(self._take(number))

    def _life(self) -> float:
        """Seconds of work after which a worker dies."""
        rate = self.site.failures / DAY
        return self.rng.expovariate(rate) if rate > 0.0 else float("inf")

    def _shard_time(self, number: int) -> float:
        mean = self.plan.size_of(number) * self.costs.candidate
        return max(0.1 * mean, self.rng.gauss(mean, self.costs.spread * mean))

    def _take(self, number: int) -> Generator[Any, Any, None]:
        """The main process takes a finished shard and writes its file."""
        size = self.plan.size_of(number)
        volume = size * self.costs.answer_bytes
        self.waiting += volume
        self.most_waiting = max(self.most_waiting, self.waiting)
        with self.main.request() as turn:
            yield turn
            spent = size * self.costs.take * self.site.slowness
            spent += self.costs.write + self.site.latency + volume / self.site.disk
            yield self.env.timeout(spent)
            self.main_time += spent
        yield self.room.put(1)
        self.waiting -= volume
        self.done += 1
        if self.done == len(self.plan):
            self.end.succeed()


def simulate(plan: Plan, site: Site, costs: Costs, seed: int = 0) -> Outcome:
    """Simulate a screen.

    Args:
        plan: candidates and shards.
        site: workers, failures and disk.
        costs: measured constants.
        seed: of the times of shards and of the failures.

    Raises:
        MissingDependencyError: if SimPy is not installed.
    """
    try:
        import simpy
    except ImportError:
        raise MissingDependencyError("simpy", "benchmark") from None
    environment = simpy.Environment()
    state = _Screen(plan, site, costs, seed, environment)
    environment.run(environment.process(state.run()))
    whole = float(environment.now)
    places = min(site.workers, len(plan))
    return Outcome(
        seconds=whole,
        cpu_hours=state.computed / site.slowness / 3600.0,
        lost=state.lost,
        busy=state.computed / (whole * places),
        main_busy=state.main_time / whole,
        waiting_mb=state.most_waiting / 1e6,
        stored_gb=plan.n * costs.answer_bytes / 1e9,
    )


def most_workers(plan: Plan, site: Site, costs: Costs) -> float:
    """Workers that one main process can serve: as many as finish shards as fast as it takes and writes them."""
    size = plan.size
    worker = size * costs.candidate
    main = size * costs.take + costs.write + site.latency + size * costs.answer_bytes / site.disk
    return worker / main


def ledger_cost(n: int, costs: Costs) -> dict[str, float]:
    """What it would take to record so many candidates in the ledger of a design run: hours, gigabytes and rows."""
    return {
        "hours": n * costs.ledger_seconds / 3600.0,
        "gigabytes": n * costs.ledger_bytes / 1e9,
        "rows": n * costs.ledger_rows,
    }


SITES: Mapping[str, Site] = {
    "undisturbed": Site(1),
    "failures": Site(1, failures=1.0),
    "slow shared disk": Site(1, disk=2e6, latency=0.5),
}
"""Sites of the plan for one worker: none dies; each dies once a day of its work; the disk takes 2 MB a second and
half a second for a file."""


def table(n: int, workers: list[int], costs: Costs, seed: int = 0) -> list[dict[str, Any]]:
    """Simulated screens of `n` candidates at each of `SITES`, one row for each number of workers."""
    plan = Plan.of(n)
    return [
        {"n": n, "shard": plan.size, "site": name, "workers": count}
        | simulate(plan, replace(site, workers=count), costs, seed).to_dict()
        for name, site in SITES.items()
        for count in workers
    ]
