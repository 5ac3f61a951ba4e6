"""Worker processes: where they import from, what a lost one costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from invdesign.workers import Lost, WorkerError, Workers, import_folders

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


def test_a_lost_process_costs_one_item_and_a_bad_target_ends_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving.py").write_text(
        "import os\ndef leave(settings):\n    return lambda item: item if item else os._exit(7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool = Workers("leaving:leave", None, 1)
    found = dict(pool.imap([1, 0, 2]))
    pool.close()
    assert (found[0], found[2]) == (1, 2)
    assert found[1] == Lost("its worker process died (exit code 7)")
    broken = Workers("leaving:nothing", None, 1)
    with pytest.raises(WorkerError, match="nothing"):
        list(broken.imap([1]))
