"""More relaxations for a finished run: recorded, all spent, the same list whether killed or not."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import fake_parts
from test_campaign import EVOLUTION, QUERY, SIZES, fingerprint, finished, run_to_death

from invdesign import build
from invdesign.cli import run
from invdesign.engine.campaign import Campaign
from invdesign.engine.extension import Extension, budget_of
from invdesign.engine.ledger import Header, Ledger
from invdesign.errors import InputError
from invdesign.records import MEASURED, Value
from invdesign.serialize import to_plain


def extended(ledger: Path | None, more: int = 5) -> Campaign:
    with Campaign(QUERY, 0, fake_parts(), ledger, sizes=SIZES, evolution=EVOLUTION) as campaign:
        list(campaign)
        campaign.extend(more)
        list(campaign)
        return campaign


def three(relaxations: int) -> int:
    return min(3, relaxations)


def test_budgets_follow_each_other() -> None:
    first, second = Extension(2, 7, 10), Extension(5, 4, 17)
    assert budget_of(1, three, 12, []).of_round(1, 4) == 4
    budget = budget_of(1, three, 12, [first])
    assert budget.extension is None and budget.goes_on
    budget = budget_of(2, three, 12, [first, second])
    assert budget.extension == first and budget.goes_on and budget.of_round(2, 10) == 3
    assert budget.is_spent(5, 16) and budget.is_spent(3, 17) and not budget.is_spent(4, 16)
    assert budget_of(6, three, 12, [first, second]).of_round(6, 19) == 1


def test_more_relaxations_are_spent_and_recorded(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    before = finished(tmp_path / "plain.sqlite")[0]
    campaign = extended(ledger)
    assert len(campaign.selected) == len(before.selected) + 5
    assert [to_plain(row) for row in campaign.rows[: len(before.rows)]] == [to_plain(row) for row in before.rows]
    assert campaign.extensions == [Extension(3, 5, 12)]
    again = finished(ledger)[0]
    assert fingerprint(again) == fingerprint(campaign) == fingerprint(extended(None))
    again = extended(ledger, more=2)
    assert [e.relaxations for e in again.extensions] == [5, 2] and len(again.selected) == 19
    assert len({row.candidate.id for row in again.rows}) == len(again.rows)


def test_an_unfinished_run_takes_no_more() -> None:
    campaign = Campaign(QUERY, 0, fake_parts(), sizes=SIZES, evolution=EVOLUTION)
    with pytest.raises(InputError, match="finished"):
        campaign.extend(3)
    with pytest.raises(InputError, match="positive"):
        campaign.extend(0)


def test_killed_while_it_searches_on_it_finds_the_same(tmp_path: Path) -> None:
    whole = fingerprint(extended(None))
    ledger = tmp_path / "ledger.sqlite"
    with Campaign(QUERY, 0, fake_parts(), ledger, sizes=SIZES, evolution=EVOLUTION) as campaign:
        list(campaign)
        campaign.extend(5)
    rng, deaths = random.Random(2), 0
    while run_to_death(ledger, rng.randint(2, 9), rng.random() < 0.5):
        deaths += 1
    assert deaths >= 3
    assert fingerprint(finished(ledger)[0]) == whole


def told_to(ledger: Path, bulk: float) -> None:
    """Record that everything that was relaxed in the three rounds has another bulk modulus."""
    campaign = finished(ledger)[0]
    rows = [row for row in campaign.rows if row.estimate is not None and not row.estimate.failure][:6]
    values = {row.candidate.id: {"bulk_modulus": Value(bulk, 5.0, source=MEASURED)} for row in rows}
    with Ledger.open(ledger) as opened:
        opened.add_feedback(values)


def test_the_search_goes_on_with_what_came_back_and_only_with_that(tmp_path: Path) -> None:
    plain, soft = tmp_path / "plain.sqlite", tmp_path / "soft.sqlite"
    finished(plain)
    finished(soft)
    told_to(soft, 20.0)
    as_ever, after = extended(plain), extended(soft)
    assert after.extensions[0].feedback == 1 and as_ever.extensions[0].feedback == 0
    told = {row.candidate.id: row for row in after.informed}
    assert any(row.estimate and row.estimate.values["bulk_modulus"].mean == 20.0 for row in told.values())
    assert fingerprint(as_ever)[0] != fingerprint(after)[0]
    told_to(soft, 500.0)  # comes later, and changes nothing in the rounds that are recorded
    assert fingerprint(finished(soft)[0]) == fingerprint(after)


def test_the_command_adds_relaxations_after_feedback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
    folder = tmp_path / "run"
    args = ["--target", "bulk_modulus>=150", "-n", "4", "--relaxations", "10", "--seed", "3"]
    assert run(["design", *args, "--out", str(folder)]) == 0
    before = json.loads((folder / "run.json").read_text())
    table = pd.read_csv(folder / "candidates.csv")
    (tmp_path / "back.csv").write_text(f"id,bulk_modulus\n{table.id[0]},160\n")
    assert run(["feedback", str(folder), str(tmp_path / "back.csv")]) == 0
    assert run(["resume", str(folder), "--more", "6"]) == 0
    record = json.loads((folder / "run.json").read_text())
    assert record["relaxations"] == before["relaxations"] + 6
    assert record["extensions"][0]["relaxations"] == 6 and before["extensions"] == []
    assert record["query"] == before["query"] and record["feedback"]["candidates"] == 1
    text = (folder / "candidates.csv").read_text()
    assert run(["resume", str(folder)]) == 0
    assert (folder / "candidates.csv").read_text() == text
    capsys.readouterr()
    assert run(["resume", str(folder), "--more", "0"]) == 2
    assert "--more" in capsys.readouterr().err


def test_feedback_by_number(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger.sqlite", Header(QUERY.to_dict(), 0, "test")) as ledger:
        for bulk in (1.0, 2.0):
            ledger.add_feedback({"a": {"bulk_modulus": Value(bulk, 0.1, source=MEASURED)}})
        assert ledger.feedback_number == 2
        assert [ledger.feedback(n)["a"]["bulk_modulus"].mean for n in (1, 2)] == [1.0, 2.0]
        assert ledger.feedback(0) == {}
