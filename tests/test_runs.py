"""Runs as a whole: status of one that is going on, lists, comparison, archive, removal, check of the ledger."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import fake_parts
from postgres import PASSWORD, Server, postgres

from invdesign import build
from invdesign.app import runs as app
from invdesign.app.design import design, resume
from invdesign.cli import run
from invdesign.engine.campaign import Campaign, Sizes
from invdesign.engine.database import CHECKSUM, checksum, connect, path_of, tables
from invdesign.engine.status import lines
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.query import Query
from invdesign.report import export

__all__ = ["postgres"]
Capture = pytest.CaptureFixture[str]
QUERY = Query(targets=["bulk_modulus>=200"], n=4, relaxations=12)
SIZES = Sizes(rounds=3, proposals=8, evolved=4, probes=2.0, requests=3, margin=100.0, least=1)
EVOLUTION = EvolutionSettings(generations=2, children=40)


def made(folder: Path | str, rounds: int | None = None, seed: int = 0, sizes: Sizes = SIZES) -> Campaign:
    """A campaign with small parts that has run some rounds; its ledger is still open."""
    where = folder if isinstance(folder, str) else folder / export.LEDGER
    campaign = Campaign(QUERY, seed, fake_parts(), where, sizes=sizes, evolution=EVOLUTION)
    for number, _ in enumerate(campaign):
        if rounds is not None and number + 1 == rounds:
            break
    return campaign


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run."""
    made(tmp_path / "first").close()
    return tmp_path / "first"


def test_a_run_is_running_then_stopped_then_finished(tmp_path: Path) -> None:
    campaign = made(tmp_path, rounds=1)
    found = app.status(tmp_path)
    assert (found.state, found.round, found.rounds, found.relaxations) == ("running", 1, 3, 12)
    assert found.relaxed == len([r for r in campaign.rows if r.selected]) == found.each[0].chosen
    assert found.recorded is not None and abs(time.time() - found.recorded) < 60.0
    campaign.close()
    assert app.status(tmp_path).state == "stopped"
    campaign = made(tmp_path)
    limit = campaign.accepted
    campaign.close()
    found = app.status(tmp_path)
    assert (found.state, found.round, found.relaxed) == ("finished", 3, 12)
    assert found.stable_and_new == len(limit)
    assert [each.doing for each in found.each] == ["", "", ""]


def test_a_run_that_has_enough_is_finished_early(tmp_path: Path) -> None:
    made(tmp_path, sizes=replace(SIZES, margin=0.25)).close()
    found = app.status(tmp_path)
    assert found.on_target is not None and found.on_target >= 1
    assert found.state == "finished" and found.round < 3


def test_a_run_from_which_nothing_more_is_expected_is_finished_early(tmp_path: Path) -> None:
    far = replace(QUERY, targets=["bulk_modulus>=590"])
    with Campaign(far, 0, fake_parts(), tmp_path / export.LEDGER, sizes=SIZES, evolution=EVOLUTION) as campaign:
        assert len(list(campaign)) == 2
    found = app.status(tmp_path)
    assert (found.state, found.round, found.rounds) == ("finished", 2, 3)


def test_what_a_round_does_follows_from_its_last_mark(tmp_path: Path) -> None:
    made(tmp_path).close()
    path, seen = tmp_path / export.LEDGER, []
    for stage in ("score", "estimate", "relax", "gate", "probe", "inspect", "evolve"):
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM shards WHERE round = 2 AND stage = ?", (stage,))
        if stage in ("relax", "gate", "probe", "inspect", "evolve"):
            with sqlite3.connect(path) as connection:
                connection.execute("DELETE FROM shards WHERE round = 2 AND stage IN ('place', 'check', 'unique')")
        seen.append(app.status(tmp_path).each[2].doing)
    assert seen == ["judging", "judging", "relaxing", "choosing", "first looks", "inspecting", "proposing"]
    assert app.status(tmp_path).state == "stopped"


def test_the_status_is_said_in_words_and_as_json(folder: Path, capsys: Capture) -> None:
    assert run(["status", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("finished: round 3 of at most 3; last record") and "relaxations: 12 of at most 12" in out
    assert run(["status", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"
    found = app.status(folder)
    assert found.recorded is not None
    assert "last record 3 h ago" in lines(found, found.recorded + 3 * 3600.0)[0]
    assert "last record 0 s ago" in lines(found, found.recorded - 9e9)[0], "a clock that was set back"
    assert run(["status", str(folder.parent / "none")]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_status_of_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import test_runs\n"
        "campaign = test_runs.made(Path(sys.argv[2]), rounds=1); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "ready\n"
    try:
        assert app.status(tmp_path).state == "running"
        for name in ("archive", "remove"):
            assert run(["runs", name, str(tmp_path), *(["--yes"] if name == "remove" else [])]) == 2
    finally:
        other.kill()
        other.communicate()
    assert app.status(tmp_path).state == "stopped"


def test_runs_are_listed_also_those_that_cannot_be_read(folder: Path, capsys: Capture) -> None:
    made(folder.parent / "below" / "second", rounds=1, seed=5).close()
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken" / export.LEDGER).write_text("no")
    assert run(["runs", str(folder.parent), "--json"]) == 0
    found = {Path(row["run"]).name: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["state"] for name, row in found.items()} == {
        "first": "finished",
        "second": "stopped",
        "broken": "unreadable",
    }
    assert found["second"]["seed"] == 5 and found["second"]["rounds"] == "1/3"
    assert "not a ledger" in found["broken"]["failure"]
    assert run(["runs", "list", str(folder.parent)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run(["runs", str(folder.parent / "none")]) == 2
    (folder.parent / "empty").mkdir()
    assert run(["runs", str(folder.parent / "empty")]) == 0
    assert "no runs in" in capsys.readouterr().out


def test_two_runs_are_compared(folder: Path, capsys: Capture) -> None:
    other = folder.parent / "other"
    made(other, seed=1).close()
    same = app.compare(folder, folder)
    assert same["differences"] == {} and same["common"] and same["only_one"] == same["only_other"] == []
    found = app.compare(folder, other)
    assert found["differences"] == {"seed": [0, 1]}
    with_one, with_other = ({*found["common"], *found[key]} for key in ("only_one", "only_other"))
    assert with_one == set(app.compare(folder, folder)["common"])
    assert with_other == set(app.compare(other, other)["common"])
    assert run(["runs", "compare", str(folder), str(other)]) == 0
    assert "seed: 0 | 1" in capsys.readouterr().out


def test_an_archive_can_be_resumed_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "note.txt").write_text("mine")
    target = app.archive(folder)
    assert target == tmp_path / "first.zip"
    shutil.unpack_archive(target, tmp_path / "there")
    there = tmp_path / "there" / "first"
    assert sorted(p.name for p in there.iterdir()) == sorted([export.LEDGER, "note.txt"])
    assert app.status(there).relaxed == 12 and app.check_ledger(there)[1] == []
    assert run(["runs", "archive", str(folder)]) == 2
    assert run(["runs", "archive", str(folder), "--force"]) == 0
    assert not list(tmp_path.glob(".*.part"))


def test_a_run_is_removed_when_it_is_confirmed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (folder.parent / "data").mkdir()
    assert run(["runs", "remove", str(folder.parent / "data"), "--yes"]) == 2, "no run"
    answers = iter([False, True])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y" if next(answers) else "n")
    assert run(["runs", "remove", str(folder)]) == 130 and folder.exists()
    assert run(["runs", "remove", str(folder)]) == 0 and not folder.exists()
    assert "removed" in capsys.readouterr().out and (folder.parent / "data").exists()


# the check of a ledger


def changed(folder: Path, statement: str) -> None:
    """Change rows and their checksums: what a bug of ours, not a bit, would do."""
    import sqlalchemy as sa

    path = folder / export.LEDGER
    engine = connect(str(path), path_of(path))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
        for table in tables().metadata.sorted_tables:
            if table.name in sa.inspect(connection).get_table_names():
                for row in connection.execute(table.select()).mappings().fetchall():
                    where = [c == row[c.name] for c in table.primary_key.columns]
                    new = {CHECKSUM: checksum(table, dict(row))}
                    connection.execute(table.update().where(*where).values(new))
    engine.dispose()


def test_a_ledger_of_an_undisturbed_run_is_consistent(folder: Path, capsys: Capture) -> None:
    assert run(["check-ledger", str(folder)]) == 0
    assert "0 inconsistencies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM candidates WHERE id = (SELECT min(id) FROM candidates)", "its mark says"),
        ("DELETE FROM relaxations WHERE candidate = (SELECT min(candidate) FROM relaxations)", "were chosen"),
        ("UPDATE relaxations SET round = 1 WHERE round = 0", "belongs to no candidate of its round"),
        (
            "UPDATE results SET candidate = candidate || 'x' WHERE stage = 'score' AND round = 0",
            "belongs to no candidate",
        ),
        ("DELETE FROM requests WHERE round = 1", "has no requests"),
        ("DELETE FROM shards WHERE stage = 'propose'", "not marked as done"),
        (
            "UPDATE shards SET request = 'x' WHERE stage = 'screen' AND request = 'r000-00'",
            "no request of its round",
        ),
    ],
)
def test_an_inconsistent_ledger_is_found(statement: str, says: str, folder: Path, capsys: Capture) -> None:
    changed(folder, statement)
    assert run(["check-ledger", str(folder)]) == 1
    assert says in capsys.readouterr().out


def test_a_changed_row_fails_the_check(folder: Path, capsys: Capture) -> None:
    with sqlite3.connect(folder / export.LEDGER) as connection:
        connection.execute("UPDATE shards SET seconds = 9 WHERE stage = 'score'")
    assert run(["check-ledger", str(folder)]) == 2
    assert "is not as it was written" in capsys.readouterr().err


# runs on a server


def test_a_run_on_a_server(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, resumed, listed, archived and removed; its password is in no file."""
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
    monkeypatch.setattr("invdesign.engine.campaign.SIZES", SIZES)
    folder = tmp_path / "On a server"
    result = design(QUERY, 0, folder, ledger=postgres.url)
    url = (folder / export.LEDGER_URL).read_text()
    assert "schema=run_on_a_server" in url and PASSWORD not in url
    assert PASSWORD not in "".join(p.read_text(errors="ignore") for p in folder.rglob("*") if p.is_file())
    with pytest.raises(Exception, match="there is a ledger already"):
        design(QUERY, 0, tmp_path / "on_a_server", ledger=postgres.url)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert app.status(folder).state == "finished" and app.check_ledger(folder)[1] == []
    assert resume(folder).table.equals(result.table)
    with zipfile.ZipFile(app.archive(folder)) as bundle:
        assert f"On a server/{export.LEDGER}" in bundle.namelist()
        assert f"On a server/{export.LEDGER_URL}" not in bundle.namelist()
    app.remove(folder)
    assert postgres.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'run_on_a_server'") == [(0,)]
    assert not folder.exists()


def test_a_path_is_no_url_of_a_ledger(tmp_path: Path) -> None:
    for wrong in ("elsewhere.sqlite", "sqlite:///x.sqlite"):
        assert (
            run(["design", "--target", "bulk_modulus>=200", "--ledger", wrong, "--out", str(tmp_path / "x")]) == 2
        )
    assert not (tmp_path / "x" / export.LEDGER_URL).exists()
