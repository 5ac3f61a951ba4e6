"""The loop with small parts: counts, determinism, and above all that a killed run loses nothing."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import FakeGenerator, FakeRelaxer, cubic, fake_parts

from invdesign.crystal import Crystal
from invdesign.engine.campaign import Campaign, Sizes, Step, hit_rate
from invdesign.engine.candidates import GENERATOR
from invdesign.engine.funnel import Funnel
from invdesign.engine.ledger import Ledger
from invdesign.engine.parts import Parts
from invdesign.engine.pipeline import LENIENT
from invdesign.engine.wishes import completed
from invdesign.errors import ConflictError, InputError, LedgerError, OutputError, PartError
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.query import Query
from invdesign.records import Candidate, Conditions, Evaluation, Failure
from invdesign.serialize import to_plain

SIZES = Sizes(rounds=3, proposals=8, evolved=4, probes=2.0, requests=3, margin=100.0, least=1)
EVOLUTION = EvolutionSettings(generations=2, children=40)
SEARCHED = [("none", "vae"), ("none", "mixture"), ("optuna", "mixture"), ("evolution", "vae")]
QUERY = Query(targets=["bulk_modulus>=200"], exclude=["Co"], n=4, relaxations=12)


def finished(
    ledger: Path | None = None,
    query: Query = QUERY,
    seed: int = 0,
    sizes: Sizes = SIZES,
    parts: Parts | None = None,
) -> tuple[Campaign, list[Step]]:
    with Campaign(query, seed, parts or fake_parts(), ledger, sizes=sizes, evolution=EVOLUTION) as campaign:
        return campaign, list(campaign)


def fingerprint(campaign: Campaign) -> list[str]:
    """Everything that was found, to the last bit, without times of computation; as JSON, where NaN equals NaN."""
    found = [
        [to_plain(row) for row in campaign.rows],
        [to_plain(f) for f in campaign.failures],
        [row.candidate.id for row in campaign.accepted],
        [(name, c.entered, c.passed, dict(c.rejected)) for name, c in campaign.funnel.stages.items()],
    ]
    return [json.dumps(part) for part in found]


@pytest.fixture(scope="module")
def whole() -> list[str]:
    """What a run finds that is never killed and keeps no ledger."""
    return fingerprint(finished()[0])


def test_the_funnel_adds_up() -> None:
    campaign, steps = finished()
    stages = campaign.funnel.stages
    for count in stages.values():
        assert count.entered == count.passed + sum(count.rejected.values())
    order = ["screen", "predict", "rank", "inspect", "probe", "gate"]
    order += ["relax", "place", "check", "unique", "estimate", "score"]
    assert sorted(stages) == sorted(["propose", "evolve", *order])
    assert stages["propose"].passed + stages["evolve"].passed == stages["screen"].entered
    for earlier, later in itertools.pairwise(order):
        assert stages[earlier].passed == stages[later].entered
    evolved = [row for row in campaign.rows if row.candidate.generator == GENERATOR]
    assert len(evolved) == stages["evolve"].passed > 0
    assert stages["propose"].entered == 12 * 8 == len(campaign.rows) - len(evolved) + len(campaign.failures)
    assert stages["gate"].passed == 12 == sum(step.counts["selected"] for step in steps)
    assert len({row.candidate.id for row in campaign.rows}) == len(campaign.rows)


def test_the_accepted_are_what_they_should_be() -> None:
    campaign, steps = finished(sizes=replace(SIZES, proposals=40))
    assert campaign.accepted
    for row in campaign.accepted:
        assert row.energy_above_hull is not None and row.energy_above_hull.mean <= 0.1
        assert row.estimate is not None
        assert row.estimate.values["energy_above_hull"] == row.energy_above_hull
        assert {"density", "bulk_modulus"} <= set(row.estimate.values)
        assert all(v.status == "pass" or v.name in LENIENT for v in row.verdicts.values())
        assert 27 not in row.crystal.numbers
    scores = [row.score for row in campaign.accepted if row.estimate.values["bulk_modulus"].mean >= 200]
    assert scores == sorted(scores, reverse=True)
    assert steps[-1].best == tuple(campaign.accepted[: QUERY.n])


def test_the_same_seed_gives_the_same_run_and_another_seed_another(whole: list[str]) -> None:
    assert fingerprint(finished()[0]) == whole
    assert fingerprint(finished(seed=1)[0]) != whole


@pytest.mark.parametrize(("search", "generator"), SEARCHED)
def test_every_way_to_search_runs_and_is_deterministic(search: str, generator: str, tmp_path: Path) -> None:
    query = Query(targets=["bulk_modulus>=200"], n=4, relaxations=6, search=search, generator=generator)
    first = fingerprint(finished(query=query, ledger=tmp_path / "a.sqlite")[0])
    assert fingerprint(finished(query=query)[0]) == first
    used = {row["candidate"]["generator"] for row in json.loads(first[0])}
    searched = set() if search == "none" else {GENERATOR}
    assert used == searched | ({"vae"} if generator == "vae" else {"vae", "random"})


def test_a_ledger_changes_nothing_and_gives_a_finished_run_back(tmp_path: Path, whole: list[str]) -> None:
    ledger, log = tmp_path / "run" / "ledger.sqlite", tmp_path / "log"
    assert fingerprint(finished(ledger)[0]) == whole
    again, steps = finished(ledger, parts=fake_parts(log=log))
    assert fingerprint(again) == whole
    assert all(step.resumed for step in steps)
    assert not log.exists()


def test_dear_checks_are_spent_on_the_promising_only() -> None:
    campaign, _ = finished(sizes=replace(SIZES, proposals=30, inspections=2))
    stages = campaign.funnel.stages
    assert stages["inspect"].entered == 2 * 12 < stages["predict"].passed
    looked_at = [row for row in campaign.rows if "novelty" in row.verdicts]
    assert len(looked_at) == 24 and all(row in looked_at for row in campaign.selected)
    plain = replace(fake_parts(), inspections=())
    campaign, _ = finished(parts=plain)
    assert "inspect" not in campaign.funnel.stages and campaign.accepted


def test_it_ends_early_when_enough_are_found() -> None:
    sizes = replace(SIZES, proposals=40, margin=0.25)
    campaign, steps = finished(sizes=sizes)
    assert len(steps) == 1 and campaign.finished


def test_a_small_budget_is_not_cut_into_many_rounds() -> None:
    sizes = Sizes(rounds=5, least=8)
    assert [sizes.rounds_of(n) for n in (1, 12, 16, 39, 40, 220)] == [1, 1, 2, 4, 5, 5]


def test_it_stops_when_nothing_more_is_expected(tmp_path: Path) -> None:
    far = replace(QUERY, targets=["bulk_modulus>=590"])
    ledger = tmp_path / "ledger.sqlite"
    campaign, steps = finished(ledger, query=far)
    assert len(steps) == 2 and campaign.finished and 0.0 <= campaign.outlook < 0.02
    assert "after 8 of 12 relaxations" in campaign.stopped and "--more" in campaign.stopped
    again, steps = finished(ledger, query=far)
    assert again.finished and len(steps) == 2 and again.stopped == campaign.stopped
    with Campaign(far, 0, fake_parts(), ledger, sizes=SIZES, evolution=EVOLUTION) as more:
        list(more)
        more.extend(4)
        assert len(list(more)) == 3 and len(more.selected) == 12 and not more.stopped
    with Campaign(far, 0, fake_parts(), sizes=replace(SIZES, hopeless=0.0), evolution=EVOLUTION) as on:
        on.step()
        assert "after 4 of 12 relaxations; go on with: invdesign resume DIR" in on.stopped
        assert len(list(on)) == 2 and not on.stopped
    assert not finished()[0].stopped


def test_what_a_round_leaves_of_the_budget_goes_to_the_next() -> None:
    parts = fake_parts()
    few = replace(parts, generators={"vae": Starting(2)})
    _, steps = finished(parts=few, query=replace(QUERY, search="none"), sizes=replace(SIZES, probes=0.0))
    assert [step.counts["selected"] for step in steps] == [2, 5, 5]


class Starting(FakeGenerator):
    """Gives only `n` crystals in all to the first three requests."""

    def __init__(self, n: int) -> None:
        self.left, self.calls = n, 0

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        self.calls += 1
        if self.calls > 3:
            yield from super().propose(n, rng, conditions)
            return
        from fake_parts import cubic

        for _ in range(n):
            if self.left:
                self.left -= 1
                yield cubic(225, 74, 7 + self.left, 4.4)
            else:
                yield Failure("generate", "nothing left")


def die_at_commit(ledger: Path, nth: int, before: bool, log: Path | None, run: dict[str, Any]) -> None:
    """Body of a child process: SIGKILL itself at its `nth` transaction, before or after it is committed."""
    seen = 0
    insert = Ledger._insert

    def counted(self: Ledger, batches: Any) -> None:
        nonlocal seen
        seen += 1
        if before and seen == nth:
            from sqlalchemy import event

            event.listen(self._engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        insert(self, batches)
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger._insert = counted  # type: ignore[method-assign]
    finished(ledger, parts=fake_parts(log=log), **run)


def run_to_death(ledger: Path, nth: int, before: bool, log: Path | None = None, **run: Any) -> bool:
    """Whether the child was killed (and did not finish first)."""
    child = multiprocessing.get_context("fork").Process(target=die_at_commit, args=(ledger, nth, before, log, run))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def test_killed_again_and_again_it_finds_the_same(tmp_path: Path, whole: list[str]) -> None:
    ledger, log = tmp_path / "ledger.sqlite", tmp_path / "log"
    rng = random.Random(0)
    deaths = 0
    while run_to_death(ledger, rng.randint(1, 9), rng.random() < 0.5, log):
        deaths += 1
    assert deaths >= 5
    assert fingerprint(finished(ledger)[0]) == whole
    spent = len(log.read_text().split())
    assert 12 <= spent <= 12 + deaths  # a death costs at most the relaxation that was under way


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_killed_at_every_transaction_it_finds_the_same(before: bool, tmp_path: Path) -> None:
    small = {"query": replace(QUERY, relaxations=4), "sizes": Sizes(2, 6, 2, requests=2, margin=100.0, least=1)}
    whole = fingerprint(finished(**small)[0])
    nth = 1
    while run_to_death(tmp_path / f"{nth}.sqlite", nth, before, **small):
        assert fingerprint(finished(tmp_path / f"{nth}.sqlite", **small)[0]) == whole
        nth += 1
    assert nth > 30


def test_killed_from_outside_at_any_time_it_finds_the_same(tmp_path: Path, whole: list[str]) -> None:
    rng = random.Random(1)
    ledger = tmp_path / "ledger.sqlite"
    for _ in range(5):
        child = multiprocessing.get_context("fork").Process(
            target=finished, args=(ledger,), kwargs={"parts": fake_parts(delay=0.05)}
        )
        child.start()
        time.sleep(rng.uniform(0.05, 0.6))
        child.kill()
        child.join()
    assert fingerprint(finished(ledger)[0]) == whole


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"query": replace(QUERY, n=5)}, "another query (different: n)"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"sizes": replace(SIZES, rounds=2)}, "settings"),
        ({"parts": replace(fake_parts(), provenance={"potential": "fake 2"})}, "parts"),
    ],
)
def test_another_run_is_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    finished(ledger)
    with pytest.raises(LedgerError) as caught:
        finished(ledger, **change)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.sqlite"
    finished(ledger)
    monkeypatch.setattr("invdesign.engine.campaign.__version__", "99.0")
    with pytest.raises(LedgerError, match=r"invdesign .*this is 99\.0"):
        finished(ledger)


def test_a_full_disk_ends_the_run_and_keeps_what_was_recorded(tmp_path: Path, whole: list[str]) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    ledger = tmp_path / "ledger.sqlite"
    finished(tmp_path / "size.sqlite")
    pages = (tmp_path / "size.sqlite").stat().st_size // 4096

    def small(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={int(0.6 * pages)}")

    event.listen(Engine, "connect", small)
    try:
        with pytest.raises(OutputError, match="disk is full"):
            finished(ledger)
    finally:
        event.remove(Engine, "connect", small)
    with Ledger.read(ledger) as kept:
        assert kept.rounds() >= 1
    assert fingerprint(finished(ledger)[0]) == whole


class Broken(FakeGenerator):
    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        raise RuntimeError("weights lost")


class Judge:
    """A validator that cannot stand nitrides."""

    name = "judge"

    def check(self, row: Evaluation) -> Any:
        if 7 in row.crystal.numbers:
            raise ZeroDivisionError("nitrogen")
        from invdesign.records import Status, Verdict

        return Verdict(self.name, Status.PASS)


def test_a_broken_generator_ends_the_run_with_its_name() -> None:
    parts = replace(fake_parts(), generators={"vae": Broken()})
    with pytest.raises(PartError, match="generator vae failed: RuntimeError: weights lost"):
        finished(parts=parts)


def test_a_validator_that_raises_fails_the_row_alone() -> None:
    parts = fake_parts()
    campaign, _ = finished(parts=replace(parts, screens=(*parts.screens, Judge())))
    hit = [row for row in campaign.rows if row.failure and "judge: ZeroDivisionError" in row.failure.reason]
    assert hit and all(7 in row.crystal.numbers for row in hit)
    assert not any(7 in row.crystal.numbers for row in campaign.accepted)


class Watched(FakeRelaxer):
    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[Any]:
        for done, item in enumerate(super().relax_iter(crystals)):
            if done == 2:
                raise KeyboardInterrupt
            yield item


def test_an_interrupt_leaves_a_ledger_that_goes_on(tmp_path: Path, whole: list[str]) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with pytest.raises(KeyboardInterrupt):
        finished(ledger, parts=replace(fake_parts(), relaxer=Watched()))
    with Ledger.read(ledger) as kept:
        assert len(kept.relaxations(0)) == 2
    assert fingerprint(finished(ledger)[0]) == whole


def test_progress_is_told_in_order() -> None:
    told: list[tuple[str, int, int | None]] = []
    with Campaign(
        QUERY, 0, fake_parts(), sizes=SIZES, evolution=EVOLUTION, progress=lambda *t: told.append(t)
    ) as campaign:
        campaign.step()
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    names = ("generate and screen", "search among candidates", "inspect", "first look", "relax")
    assert stages == [f"round 1: {name}" for name in names]
    for stage in stages:
        done = [d for s, d, _ in told if s == stage]
        assert done == sorted(done)
        assert told[max(i for i, t in enumerate(told) if t[0] == stage)][1:] == (done[-1], done[-1])


def test_unknown_generator_is_refused() -> None:
    with pytest.raises(InputError, match="generator: 'gan' is not valid; allowed: vae, random, mixture"):
        finished(query=Query(generator="gan"))


def test_a_component_guides_the_search() -> None:
    wanted = completed(Query(targets=["bulk_modulus>=250"], component="cutting_tool"))
    assert [str(t) for t in wanted.targets] == ["bulk_modulus>=250", "vickers_hardness>=12"]
    assert "Pb" in wanted.exclude and "U" in wanted.exclude and "Ti" not in wanted.exclude
    with pytest.raises(ConflictError, match="Pb"):
        completed(Query(required=["Pb"], component="cutting_tool"))


@pytest.mark.parametrize(
    ("query", "out", "left"),
    [
        (Query(), {"U", "Tc", "He", "Xe"}, {"Pb", "Bi", "Ti"}),
        (Query(required=["U"]), {"Pa", "Xe"}, {"U"}),
        (Query(chemical_system="Th-O"), {"U"}, {"Th", "O"}),
        (Query(elements=["Xe", "F"], exclude=["F"]), {"F", "U"}, {"Xe"}),
        (Query(elements=["U", "B"], component="cutting_tool"), {"U"}, {"B"}),
    ],
)
def test_radioactive_elements_and_noble_gases_must_be_named(query: Query, out: set[str], left: set[str]) -> None:
    excluded = set(completed(query).exclude)
    assert out <= excluded
    assert not left & excluded


def test_parts_come_from_build_when_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invdesign.engine.campaign.DEFAULT_PARTS", ("fake_parts", "parts_for"))
    import fake_parts as home

    monkeypatch.setattr(home, "parts_for", lambda query: fake_parts(), raising=False)
    assert set(Campaign(QUERY).parts.generators) == {"vae", "random"}


def test_a_components_indices_order_the_relaxations() -> None:
    query = Query(component="cutting_tool", n=4, relaxations=6)
    campaign = Campaign(query, 0, fake_parts(), sizes=SIZES)
    assert campaign.desirability is not None
    from invdesign.records import Candidate, Estimate, Value

    def row(k: float, g: float) -> Evaluation:
        from fake_parts import cubic

        found = Estimate({"bulk_modulus": Value(k, 0.1 * k), "shear_modulus": Value(g, 0.1 * g)})
        return Evaluation(Candidate("a", cubic(225, 22, 6, 4.3), "r", "vae"), estimate=found)

    soft, hard = campaign.desirability([row(100.0, 40.0), row(300.0, 250.0)])
    assert 0.0 < soft < hard <= 1.0


def test_a_round_says_what_the_next_minutes_are_expected_to_bring() -> None:
    """By hand: chances 0.5 and 0.3 in the last round, 0.2 before; two hits so far."""
    bare = Evaluation(Candidate("x", cubic(225, 22, 7, 4.2), "r", "vae"), selected=True)
    before, *last = (replace(bare, acquisition=a) for a in (0.2, 0.5, 0.3))
    rate = hit_rate(last, [before, *last], 2)
    assert rate == pytest.approx(0.4 * 2.5 / 1.5)
    assert hit_rate([replace(bare, selected=False)], [], 0) == 0.0
    counts = {"relaxed": 2, "accepted": 2, "on_target": 2}
    step = Step(0, counts, (), 120.0, Funnel(), hit_rate=rate)
    assert step.expected(10.0) == pytest.approx(rate * 2 * 5) and "about 7 more" in step.line()
    assert "nothing more" in replace(step, hit_rate=1e-4).line()
