"""A run with small parts and real worker processes, as a process of its own for the tests of faults.

    python tests/fault_run.py LEDGER OUT.json [EXECUTOR]   a campaign: everything that it found
    python tests/fault_run.py -- ARGUMENTS...              the command line, with these parts

LEDGER is a path or a URL; a campaign goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import FakeRelaxer, fake_parts

from invdesign.crystal import Crystal
from invdesign.engine.campaign import Campaign, Sizes
from invdesign.engine.parts import Parts
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.executors import Workforce, executor, pool
from invdesign.query import Query
from invdesign.records import Failure, Relaxation
from invdesign.serialize import to_plain
from invdesign.workers import Lost

DELAY = "FAULT_RUN_DELAY"
"""Seconds that a relaxation takes, in the environment."""
QUERY = Query(targets=["bulk_modulus>=200"], n=4, relaxations=24)
SIZES = Sizes(rounds=3, proposals=4, evolved=2, probes=0.0, requests=3, margin=100.0, least=1)
EVOLUTION = EvolutionSettings(generations=2, children=40)


def relaxation(delay: float) -> Callable[[Crystal], Relaxation | Failure]:
    """The function that a worker process answers crystals with."""

    def answer(crystal: Crystal) -> Relaxation | Failure:
        time.sleep(delay)
        return FakeRelaxer().relax([crystal])[0]

    return answer


class PooledRelaxer:
    """Relaxes as `FakeRelaxer` does, in worker processes."""

    def __init__(self, workers: Workforce) -> None:
        self._pool = pool(workers, "fault_run:relaxation", float(os.environ.get(DELAY, "0.1")))

    def relax(self, crystals: Sequence[Crystal]) -> list[Relaxation | Failure]:
        return [result for _, result in sorted(self.relax_iter(crystals), key=lambda pair: pair[0])]

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        for index, answer in self._pool.imap(list(crystals)):
            yield index, Failure("relax", answer.reason) if isinstance(answer, Lost) else answer

    def close(self) -> None:
        self._pool.close()


def parts(query: Query, workers: Workforce = 2) -> Parts:
    """The small parts, with that relaxer."""
    return replace(fake_parts(), relaxer=PooledRelaxer(workers))


def found(campaign: Campaign) -> list[object]:
    """Everything that a campaign has found, to the last bit."""
    rows = [to_plain(replace(row, relaxation=None)) for row in campaign.rows]
    relaxed = [to_plain(row.relaxation) for row in campaign.rows]
    return [rows, relaxed, [row.candidate.id for row in campaign.accepted]]


def main(where: str, out: Path, name: str = "local") -> None:
    """Run a campaign to its end and write what it found."""
    print("ready", flush=True)
    where_from = executor(name, 2)
    own = parts(QUERY, where_from)
    with Campaign(QUERY, 0, own, where, sizes=SIZES, evolution=EVOLUTION) as campaign:
        for _ in campaign:
            pass
        out.write_text(json.dumps(found(campaign)))
    own.relaxer.close()  # type: ignore[attr-defined]
    where_from.close()


if __name__ == "__main__":
    if sys.argv[1] == "--":
        from invdesign import build, cli

        build.default_parts = parts  # type: ignore[assignment]
        cli.main(sys.argv[2:])
    else:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
