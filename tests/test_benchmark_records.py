"""Records of benchmarks: every script has one, every record says how it was made, one writer writes them all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from invdesign import tables
from invdesign.benchmarking.run import REPEATABLE, changed, command_line, run_of, write_record
from invdesign.errors import OutputError

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
RECORDS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
KEYS = {"command", "seed", "commit", "versions", "hardware", "tables", "repeatable"}


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def made_by(record: dict[str, Any]) -> str:
    """The script or the subcommand of `invdesign benchmark` that a record names."""
    found = re.match(r"python benchmarks/(\w+\.py)|invdesign benchmark (\w+)", record["run"]["command"])
    assert found, record["run"]["command"]
    return found.group(1) or found.group(2)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_record_says_how_it_was_made(path: Path) -> None:
    record = read(path)
    run = record["run"]
    assert set(run) == KEYS and len(record) > 1
    assert [key for key in KEYS - {"seed", "tables"} if not run[key]] == [] and run["seed"] not in (None, "")
    assert made_by(record) in {
        *(p.name for p in SCRIPTS),
        "generation",
        "targets",
        "surrogates",
        "speed",
        "search",
    }
    assert all(re.fullmatch("[0-9a-f]{12}", checksum) for checksum in run["tables"].values())


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_of_other_tables_says_so(path: Path) -> None:
    """After a rebuild: measure again, or run scripts/mark_records.py."""
    record = read(path)
    assert not changed(record) or record["run"]["repeatable"] != REPEATABLE


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_has_a_record_and_the_one_writer(script: Path) -> None:
    assert script.name in {made_by(read(path)) for path in RECORDS}
    text = script.read_text()
    assert "write_record(" in text and ".write_text(json" not in text


def test_the_index_names_every_script_and_every_record() -> None:
    index = (ROOT / "benchmarks" / "README.md").read_text()
    rows = [line for line in index.splitlines() if line.startswith("| ")]
    for name in [p.name for p in SCRIPTS] + [p.name for p in RECORDS]:
        assert [row for row in rows if f"`{name}`" in row], name
    named = set(re.findall(r"`(\w+\.py|[\w-]+\.json)`", index))
    assert named <= {p.name for p in SCRIPTS} | {p.name for p in RECORDS}


def test_a_record_holds_the_run_before_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    (tmp_path / "vae.safetensors").write_bytes(b"weights")
    out = tmp_path / "x.json"
    written = write_record(out, {"error": 0.5, "none": float("nan")}, 3, ["vae.safetensors"], "python x.py")
    record = read(out)
    assert list(record) == ["run", "error", "none"] and record["none"] is None and set(record["run"]) == KEYS
    assert record["run"] == written["run"] and record["run"]["seed"] == 3
    assert record["run"]["tables"] == {"vae.safetensors": tables.checksum("vae.safetensors")}
    assert record["run"]["hardware"]["cores"] >= 1 and "torch" in record["run"]["versions"]
    assert changed(record) == []
    (tmp_path / "vae.safetensors").write_bytes(b"other weights")
    assert changed(record) == ["vae.safetensors"]
    (tmp_path / "vae.safetensors").unlink()
    assert changed(record) == ["vae.safetensors"]


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        write_record(tmp_path / "nowhere" / "x.json", {}, 0)


def test_a_command_names_no_folder_of_this_machine() -> None:
    line = ["/home/me/benchmarks/x.py", "--data", "/home/me/data", "-n", "3", "--out", "/tmp/x.json", "--target"]
    assert command_line([*line, "a >= 3"]) == (
        "python benchmarks/x.py --data DIR -n 3 --out x.json --target 'a >= 3'"
    )
    assert run_of("x", 0)["repeatable"] == REPEATABLE
