"""Worker processes: where they import from, what a lost one costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from invdesign.workers import ATTEMPTS, Lost, WorkerError, Workers, import_folders

SHADOW = 'raise RuntimeError("a file of the user in the current folder was imported by a worker")\n'
OWN = "def doubler(settings):\n    return lambda item: 2 * item\n"
SCRIPT = """
from invdesign.crystal import Crystal
from invdesign.workers import Workers
COPPER = Crystal([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]], [29], [[0, 0, 0]])
EMT = "ase.calculators.emt:EMT"
pool = Workers({target!r}, EMT, 1)
print(dict(pool.imap([{item}])))
pool.close()
"""


def run(folder: Path, target: str, item: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a pool from `python -c` in a folder, which then comes first where that process imports from."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(target=target, item=item)],
        cwd=folder, env=clean | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"PYTHONPATH": "."}, {"PYTHONSAFEPATH": "1"}])
def test_a_file_of_the_current_folder_is_not_taken_for_a_library(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ase.py").write_text(SHADOW)
    done = run(tmp_path, "invdesign.potentials.calculators:energy_function", "COPPER", **environment)
    assert "was imported" not in done.stderr
    assert done.stdout.startswith("{0: -0.00"), done.stderr


def test_a_module_of_the_current_folder_is_found_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "own_part.py").write_text(OWN)
    without = run(tmp_path, "own_part:doubler", "21", PYTHONSAFEPATH="1")
    assert "No module named 'own_part'" in without.stderr
    asked = run(tmp_path, "own_part:doubler", "21", PYTHONSAFEPATH="1", PYTHONPATH=".")
    assert asked.stdout.strip() == "{0: 42}", asked.stderr


def test_the_current_folder_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, folder = str(tmp_path.parent), tmp_path
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", elsewhere])
    assert import_folders() == [elsewhere, str(folder)]
    monkeypatch.setattr(sys, "path", [str(folder), elsewhere])
    assert import_folders() == [elsewhere, str(folder)]
    monkeypatch.setattr(sys, "path", [elsewhere])
    assert import_folders() == [elsewhere]


@pytest.fixture
def leaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with functions for workers: one that leaves, one that leaves once, one that sleeps, none at all."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


LEAVING = """
import os, time
from pathlib import Path

def leave(settings):
    return lambda item: item if item else os._exit(7)

def leave_once(folder):
    def answer(item):
        mark = Path(folder) / f"seen-{item}"
        if item % 2 and not mark.exists():
            mark.touch()
            os._exit(7)
        return 10 * item
    return answer

def die_at_start(folder):
    with (Path(folder) / "starts").open("a") as file:
        file.write("x")
    os._exit(3)

def sleeper(folder):
    def answer(seconds):
        (Path(folder) / f"pid-{os.getpid()}").touch()
        time.sleep(seconds)
        return seconds
    return answer
"""


def test_a_lost_process_costs_a_repetition(leaving: Path) -> None:
    pool = Workers("leaving:leave_once", str(leaving), 2)
    assert sorted(pool.imap([1, 2, 3, 4])) == [(0, 10), (1, 20), (2, 30), (3, 40)]
    pool.close()
    assert sorted(p.name for p in leaving.glob("seen-*")) == ["seen-1", "seen-3"]


def test_an_item_that_ends_every_process_is_given_up_and_a_bad_target_ends_the_pool(
    leaving: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = Workers("leaving:leave", None, 1)
    found = dict(pool.imap([1, 0, 2]))
    pool.close()
    assert (found[0], found[2]) == (1, 2)
    assert found[1] == Lost(f"its worker process died (exit code 7), {ATTEMPTS} times")
    broken = Workers("leaving:nothing", None, 1)
    with pytest.raises(WorkerError, match="nothing"):
        list(broken.imap([1]))
    assert "Fatal" not in capfd.readouterr().err
    dying = Workers("leaving:die_at_start", str(leaving), 1)
    with pytest.raises(WorkerError, match="died as it started"):
        list(dying.imap([1, 2, 3]))
    assert len((leaving / "starts").read_text()) == ATTEMPTS


def test_an_item_that_takes_too_long_is_not_repeated(leaving: Path) -> None:
    pool = Workers("leaving:sleeper", str(leaving), 1, timeout=1.0)
    assert sorted(pool.imap([0.0, 60.0])) == [(0, 0.0), (1, Lost("no answer within 1 s"))]
    pool.close()


def test_an_item_that_cannot_be_read_is_lost_and_the_next_is_answered(leaving: Path) -> None:
    import leaving as module

    class Only:
        """Known by this name in this process alone."""

    Only.__module__, Only.__qualname__ = "leaving", "Only"
    module.Only = Only
    pool = Workers("leaving:leave", None, 1)
    found = dict(pool.imap([Only(), 5, lambda: 0]))
    pool.close()
    assert found[1] == 5 and "Only" in found[0].reason and "lambda" in found[2].reason


def alive(folder: Path) -> list[int]:
    pids = [int(p.name.removeprefix("pid-")) for p in folder.glob("pid-*")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def gone_within(folder: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(folder)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_busy_processes_are_stopped_when_nobody_takes_answers(leaving: Path) -> None:
    pool = Workers("leaving:sleeper", str(leaving), 2)
    answers = pool.imap([0.0, 600.0])
    assert next(answers) == (0, 0.0)
    start = time.monotonic()
    answers.close()
    pool.close()
    assert time.monotonic() - start < 5.0
    assert gone_within(leaving, 2.0)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_killed_parent_leaves_no_worker(leaving: Path) -> None:
    pool = f"Workers('leaving:sleeper', {str(leaving)!r}, 2)"
    code = f"from invdesign.workers import Workers; list({pool}.imap([600.0] * 2))"
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(leaving)})
    end = time.monotonic() + 60.0
    while len(alive(leaving)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(alive(leaving)) == 2
    parent.kill()
    parent.wait()
    assert gone_within(leaving, 5.0)
