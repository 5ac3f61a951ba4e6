"""The log of a run: what is written, what a run cost, and that it never ends a run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_parts import fake_parts

from invdesign import design, resume
from invdesign.app import design as module
from invdesign.cli.process import run
from invdesign.progress import advance, advancing
from invdesign.query import Query
from invdesign.run_log import EVENTS, JsonLines, Usage, event, line, logged, read_log
from invdesign.workers import Workers

QUERY = Query(targets=["bulk_modulus>=200"], n=2, relaxations=8)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.build, "default_parts", lambda query, workers=None: fake_parts())


def test_a_run_writes_every_stage_and_what_it_cost(parts: None, tmp_path: Path) -> None:
    design(QUERY, seed=3, out=tmp_path / "run", workers=1)
    events = read_log(tmp_path / "run" / "run.log")
    assert [events[0]["event"], events[-1]["event"]] == ["started", "ended"]
    assert events[0]["seed"] == 3 and events[0]["workers"] == 1
    stages = [each for each in events if each["event"] == "stage"]
    assert {"propose", "predict", "gate", "relax", "estimate"} <= {each["stage"] for each in stages}
    assert all(each["entered"] == each["passed"] + sum(each["rejected"].values()) for each in stages)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    relaxed = sum(each["entered"] for each in stages if each["stage"] == "relax")
    assert relaxed == record["funnel"]["relax"]["entered"] == record["relaxations"]
    found = record["resources"]
    assert found["sittings"] == 1 and found["cpu_hours"] >= 0.0
    assert found["cpu_hours"] == pytest.approx(events[-1]["cpu_seconds"] / 3600.0, abs=1e-4)


def test_sittings_of_a_run_are_added_up(parts: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    design(QUERY, out=folder, workers=1)
    log = folder / "run.log"
    earlier = {"event": "ended", "cpu_seconds": 7200.0, "seconds": 3600.0, "peak_memory_gb": 100.0}
    with log.open("a") as stream:
        stream.write(json.dumps(earlier) + "\n" + '{"event": "ended", "cpu_seconds": "much"}\n' + '{"event": "st')
    resume(folder, workers=1)
    found = json.loads((folder / "run.json").read_text())["resources"]
    assert found["sittings"] == 3 and found["peak_memory_gb"] == 100.0
    assert found["cpu_hours"] == pytest.approx(2.0, abs=0.02)
    by_hand = (found["cpu_hours"] * 12.0 + found["wall_hours"] * 100.0 * 0.3725) / 1000.0
    assert found["energy_kwh"] == pytest.approx(by_hand, abs=1e-4)


def test_a_run_without_a_folder_tells_its_cost(parts: None) -> None:
    assert design(QUERY, workers=1).record["resources"]["sittings"] == 1
    assert not any(isinstance(handler, JsonLines) for handler in EVENTS.handlers)


def test_what_a_worker_has_done_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.py").write_text("def work(_):\n    return lambda item: 2 * item\n")
    monkeypatch.syspath_prepend(tmp_path)
    workers = Workers("twice:work", None, 1)
    with logged(tmp_path):
        list(workers.imap([1, 2, 3]))
        list(workers.imap([4]))
    workers.close()
    told = [each for each in read_log(tmp_path / "run.log") if each["event"] == "workers"]
    assert [(each["work"], each["items"], [p["items"] for p in each["processes"]]) for each in told] == [
        ("work", 3, [3]),
        ("work", 1, [1]),
    ]
    assert told[0]["processes"][0]["pid"] == told[1]["processes"][0]["pid"]


def test_usage_counts_processes_that_have_ended() -> None:
    before = Usage.now()
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    after = Usage.now()
    assert after.cpu_seconds - before.cpu_seconds >= 0.3
    assert after.seconds > before.seconds
    if sys.platform != "win32":
        assert after.peak_gb is not None and 0.01 < after.peak_gb < 64.0


def full_disk(_: JsonLines) -> None:
    raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with logged(tmp_path / "not there"):
        event("stage", round=1)
    with logged(tmp_path):
        monkeypatch.setattr(JsonLines, "flush", full_disk)
        event("stage", round=1)
        monkeypatch.undo()
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "not there").exists()


def test_lines_are_json_whatever_is_in_them(tmp_path: Path) -> None:
    handler = JsonLines(tmp_path / "x.log", encoding="utf-8")
    record = logging.makeLogRecord({"msg": "odd\nname", "fields": {"path": tmp_path, "text": 'a"b\n'}})
    handler.emit(record)
    handler.close()
    (found,) = read_log(tmp_path / "x.log")
    assert found["event"] == "odd\nname" and found["path"] == str(tmp_path) and found["text"] == 'a"b\n'
    assert line(record)["time"].endswith("+00:00")


def test_verbose_shows_events_and_only_then(
    parts: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--target", "bulk_modulus>=200", "-n", "1", "--relaxations", "2", "--workers", "1"]
    assert run(["design", *arguments, "--out", str(tmp_path / "a")]) == 0
    assert "invdesign: stage:" not in capsys.readouterr().err
    assert run(["design", *arguments, "--out", str(tmp_path / "b"), "-v"]) == 0
    said = capsys.readouterr().err
    assert "invdesign: stage: round 1, stage relax" in said and "invdesign: started: pid" in said
    event("stage", round=1)
    assert capsys.readouterr().err == ""


def test_work_deep_inside_a_stage_is_told() -> None:
    told: list[tuple[int, int]] = []
    advance(1, 2)
    with advancing(lambda done, total: told.append((done, total))):
        advance(1, 3)
        with advancing(lambda done, total: None):
            advance(2, 3)
        advance(3, 3)
    advance(4, 4)
    assert told == [(1, 3), (3, 3)]


def test_the_second_stage_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from invdesign.surrogates.inputs import potential_inputs

    told: list[tuple[int, int]] = []
    inputs = potential_inputs.PotentialInputs()
    for each in (inputs.features.potential, inputs.response.potential):
        monkeypatch.setattr(each, "load", lambda: time.sleep(0.0))
    monkeypatch.setattr(inputs, "_chunk", lambda crystals, wanted: np.zeros((len(crystals), 2), np.float32))
    with advancing(lambda done, total: told.append((done, total))):
        assert inputs.compute([None] * 9).shape == (9, 2)  # type: ignore[list-item]
    assert told == [(4, 9), (8, 9), (9, 9)]
