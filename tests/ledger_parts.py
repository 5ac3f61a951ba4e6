"""Records and places for tests of the ledger."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_parts import cubic
from postgres import PASSWORD, postgres

from invdesign.engine.extension import Extension
from invdesign.engine.ledger import Header, Ledger, Shard
from invdesign.query import Query
from invdesign.records import (
    Candidate,
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Status,
    Value,
    Verdict,
)
from invdesign.serialize import to_plain

__all__ = ["postgres"]
QUERY = Query(targets=["bulk_modulus>=250"], exclude=["Co"])
HEADER = Header(QUERY.to_dict(), seed=3, version="0.1.0", parts={"potential": "x 1"}, settings={"rounds": 4})
CONDITIONS = Conditions(
    properties={"bulk_modulus": 1.0 / 3.0},
    space_groups=frozenset([225, 221]),
    required=frozenset([22]),
    latent_centre=(0.1, -2.5e-17),
)
REQUESTS = [Request("r000-00", "vae", CONDITIONS, 5, 2**62 + 1), Request("r000-01", "gan", Conditions(), 4, 7)]


def evaluation(name: str = "r000-00-00000") -> Evaluation:
    return Evaluation(Candidate(name, cubic(225, 22, 7, 4.2 / 3.0 * 3.0), "r000-00", "vae", ("mp-1",)))


def relaxation() -> Relaxation:
    crystal = replace(cubic(216, 31, 15, np.pi), lattice=np.random.default_rng(0).normal(size=(3, 3)))
    return Relaxation(crystal, -8.1, Value(-0.1, 0.03, -0.2, 0.0, "p"), 0.04, 9, True, 1.5, 0.1, -0.02, "x 1")


def same(a: Any, b: Any) -> bool:
    return str(to_plain(a)) == str(to_plain(b))


def filled() -> Evaluation:
    return replace(
        evaluation(),
        gate=Estimate({"bulk_modulus": Value(0.1 + 0.2, 1e-300)}, out_of_distribution=True),
        relaxation=relaxation(),
        energy_above_hull=Value(5e-324, 0.0),
        estimate=Estimate({}, failure="no"),
        verdicts={"b": Verdict("b", Status.UNKNOWN, "ü", 1.0), "a": Verdict("a", Status.PASS)},
        failure=Failure("relax", "two\nlines"),
        selected=True,
        acquisition=math.inf,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ledger.sqlite"


NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """A place for a ledger: a file, or a schema of its own on a server."""
    if request.param == "sqlite":
        return path
    return f"{request.getfixturevalue('postgres').url}?schema=run_{next(NUMBERS)}"


def named(where: Path | str) -> str:
    """How messages name the place."""
    return str(where).replace(PASSWORD, "***").replace(":***@", "@")


def changed(where: Path | str, statement: str) -> None:
    """Change a ledger behind its back."""
    import sqlalchemy as sa

    from invdesign.engine.database import connect, path_of

    engine = connect(str(where), path_of(where))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def recorded(where: Path | str) -> None:
    """A ledger with a row in each table."""
    with Ledger.create(where, HEADER) as ledger:
        ledger.start_round(0, REQUESTS)
        lost = Failure("generate", "incomplete", "r000-00-00001")
        ledger.propose(Shard(0, "propose", "r000-00"), [evaluation()], [lost], {"entered": 2}, 0.5)
        ledger.save(Shard(0, "screen", "r000-00"), [filled()], ("verdicts", "failure"), {"passed": 0}, 0.25)
        ledger.add_relaxation(0, "r000-00-00000", relaxation())
        ledger.add_feedback({"r000-00-00000": {"bulk_modulus": Value(250.0, 5.0)}})
        ledger.add_extension(Extension(3, 12, 9, 1))


def read_all(where: Path | str) -> None:
    """Everything that a run reads."""
    with Ledger.read(where) as ledger:
        assert ledger.query
        for request in ledger.requests(0):
            rows, _ = ledger.candidates(request.id)
            ledger.load(Shard(0, "screen", request.id), rows)
        ledger.shards(0), ledger.relaxations(0), ledger.feedback(), ledger.extensions()


def hold(where: Path | str, ready: Any, leave: Any) -> None:
    """Hold a ledger open in another process: here, where a process that is spawned finds it."""
    with Ledger.open(where):
        ready.set()
        leave.wait(60)
