"""The command line: one clear line for every wrong input, good items processed, runs that can be resumed."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_parts import fake_parts

from invdesign import build
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.errors import ReferenceMissingError
from invdesign.records import Conditions, Estimate, Failure, Value
from invdesign.report import export
from invdesign.testing import good_crystals

WISH = ("--exclude", "Co")
"""Something to ask for."""


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast parts in the place of the shipped ones."""
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())


def failing(capsys: pytest.CaptureFixture[str], *args: str, code: int = 2) -> str:
    """Run a command that must fail with one line on stderr and nothing on stdout; returns the line."""
    assert run(args) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("invdesign: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["design", "--target", "stiffness>=3"], ["'stiffness'", "bulk_modulus"]),
        (["design", "--target", "bulk_modulus>200"], ["'bulk_modulus>200'", "name>=v"]),
        (["design", "--target", "bulk_modulus>=9000"], ["9000", "0.1 to 700 GPa"]),
        (["design", "--target", "density>=8", "--target", "density<=4"], ["contradict", "8", "4"]),
        (["design", "--elements", "Ti,Xx"], ["'Xx'", "elements"]),
        (["design", "--required", "Co", "--exclude", "Co,Pb"], ["Co", "wanted and excluded"]),
        (["design", "--space-group", "231"], ["'231'", "1 to 230"]),
        (["design", "--generator", "magic"], ["'magic'", "vae"]),
        (["design", "--component", "spoon"], ["'spoon'", "cutting_tool"]),
        (["design", "--search", "luck"], ["'luck'", "evolution, optuna, none"]),
        (["design", "--target", "density=max", "--target", "density=min"], ["density", "contradict"]),
        (["design", "--required", "Ti,B,N", "--max-sites", "2"], ["3 elements", "2 atoms"]),
        (["design", "--component", "cutting_tool", "--required", "Be"], ["Be", "excluded"]),
        (["design", "-n", "none"], ["'none'", "integer"]),
        (["design", "--workers", "0"], ["--workers", "x>=1"]),
        (["design", "missing.yaml"], ["missing.yaml", "No such file"]),
        (["resume", "nowhere"], ["nowhere", "no run"]),
        (["generate", "magic", "--out", "x"], ["'magic'", "vae"]),
        (["generate", ":", "--out", "x"], ["':'", "module:Class"]),
        (["generate", "os.path:join", "--out", "x"], ["'os.path:join'", "without arguments"]),
        (["generate", "json:JSONDecoder", "--out", "x"], ["'json:JSONDecoder'", "propose"]),
        (["generate", "random", "--temperature", "0", "--out", "x"], ["temperature", "0.0", "0.01 to 100"]),
        (["generate", "random", "--guidance", "nan", "--out", "x"], ["guidance", "nan", "-1000 to 1000"]),
        (["generate", "random", "--elements", "Og", "--out", "x"], ["'Og'", "known crystals"]),
        (["generate", "vae", "--required", "Og", "--out", "x"], ["'Og'", "trained on"]),
        (["predict", "nowhere.cif", "--out", "x.csv"], ["nowhere.cif", "exists"]),
        (["validate", ".", "--out", "x.csv"], ["'.'", "none in it"]),
        (["elastic", "nowhere", "--out", "x.csv"], ["nowhere", "exists"]),
        (["relax", "nowhere", "--out", "x"], ["nowhere", "exists"]),
        (["rank", "nowhere", "--target", "stiffness>=3", "--out", "x"], ["'stiffness'", "bulk_modulus"]),
        (["rank", "nowhere", "--component", "spoon", "--out", "x"], ["'spoon'", "cutting_tool"]),
        (["train", "vae", "--data", "nowhere", "--out", "x"], ["nowhere", "exists"]),
        (["train", "surrogate", "--data", "nowhere", "--out", "x"], ["nowhere", "parquet"]),
        (["train", "vae", "--data", "nowhere", "--config", "none.yaml"], ["none.yaml", "No such file"]),
        (["benchmark", "generation", "--generators", "magic", "--out", "x.json"], ["'magic'", "vae"]),
        (
            ["benchmark", "generation", "--generators", "", "--out", "x.json"],
            ["generator: ''", "vae"],
        ),
        (["report", "nowhere"], ["nowhere", "candidates.csv"]),
        (["check", "nothing"], ["'nothing'", "module:Class"]),
        (["check", "os.path:Nothing"], ["os.path:Nothing"]),
        (["paint"], ["paint"]),
    ],
)
def test_wrong_input_is_one_line_that_says_what_is_allowed(
    args: list[str],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = failing(capsys, *args)
    assert all(word in line for word in words), line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("targets: ['bulk_modulus>=1'\n", ["valid YAML"]),
        ("- a\n- b\n", ["a mapping"]),
        ("wishes: [diamond]\n", ["'wishes'", "targets"]),
        ("targets: bulk_modulus>=3\n", ["targets", "a list"]),
        ("targets: [3]\n", ["target: 3", "name>=v"]),
        ("elements: 3\n", ["elements", "a list"]),
        ("exclude: [Co, No]\n", ["exclude", "write 'No'"]),
        ("chemical_system: 3\n", ["chemical_system", "a list"]),
        ("n: many\n", ["'many'", "whole number"]),
        ("seed: -1\n", ["seed", "-1", "from 0"]),
        ("seed: 1.5\n", ["seed", "1.5", "from 0"]),
        ("workers: 0\n", ["workers", "from 1"]),
        ("max_energy_above_hull: low\n", ["'low'", "0 to 5"]),
        ("component: spoon.yaml\n", ["spoon.yaml", "existing file"]),
    ],
)
def test_a_wrong_query_file_is_one_line(
    text: str, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "query.yaml"
    path.write_text(text)
    line = failing(capsys, "design", str(path), "--out", str(tmp_path / "run"))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("model", "text", "words"),
    [
        ("vae", "epochs: many\n", ["epochs", "'many'", "from 1"]),
        ("vae", "batch: 0\n", ["batch", "0", "from 1"]),
        ("vae", "rate: fast\n", ["rate", "'fast'", "a number"]),
        ("vae", "network: 3\n", ["settings", "3", "a mapping"]),
        ("vae", "network: {depth: 3}\n", ["'depth'", "encoder_layers"]),
        ("gan", "pretraining: 3\n", ["settings", "3", "a mapping"]),
        ("gan", "critic: 3\n", ["critic", "3", "a text"]),
        ("gan", "start: 3\n", ["start", "3", "file"]),
        ("gan", "start: none.safetensors\n", ["start", "none.safetensors", "file"]),
        ("gan", "steps: true\n", ["steps", "True", "from 1"]),
        ("surrogate", "copies: many\n", ["copies", "'many'", "from 0"]),
        ("surrogate", "members: -1\n", ["members", "-1", "from 1"]),
        ("surrogate", "weights: 3\n", ["weights", "3", "a mapping"]),
    ],
)
def test_a_wrong_training_setting_is_one_line(
    model: str, text: str, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    args = ["--data", str(tmp_path), "--config", str(config), "--out", str(tmp_path / "x.safetensors")]
    line = failing(capsys, "train", model, *args)
    assert all(word in line for word in words), line


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    from invdesign.generators.train import config_from

    assert config_from({"rate": "2e-3", "kl_warmup": 0, "schedule_epochs": None}).rate == 0.002


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(query: object, workers: object = None) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(build, "default_parts", broken)
    line = failing(capsys, "design", *WISH, "--out", str(tmp_path / "run"), code=1)
    assert "ZeroDivisionError" in line
    assert "INVDESIGN_DEBUG=1" in line
    monkeypatch.setenv("INVDESIGN_DEBUG", "1")
    assert run(["design", *WISH, "--out", str(tmp_path / "other")]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_used_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").touch()
    assert "not empty" in failing(capsys, "design", *WISH, "--out", str(full))
    assert "cannot be written" in failing(capsys, "design", *WISH, "--out", str(full / "thesis.tex" / "run"))
    cif = str(export.plain_cif(good_crystals()[0])[0])
    (tmp_path / "a.cif").write_text(cif)
    assert "is a folder" in failing(capsys, "validate", str(tmp_path / "a.cif"), "--out", str(full))
    assert [p.name for p in full.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "args",
    [
        ["design", *WISH, "--out"],
        ["generate", "random", "--out"],
        ["relax", "CIF", "--out"],
        ["rank", "CIF", "--out"],
        ["predict", "CIF", "--out"],
        ["validate", "CIF", "--out"],
        ["elastic", "CIF", "--out"],
        ["train", "vae", "--data", "CIF", "--out"],
        ["benchmark", "generation", "--out"],
    ],
    ids=lambda args: args[0],
)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cif = tmp_path / "a.cif"
    cif.write_text(export.plain_cif(good_crystals()[0])[0])
    args = [str(cif) if arg == "CIF" else arg for arg in args]
    beneath_a_file = str(cif / "results" / "x.json")
    assert "cannot be written: Not a directory" in failing(capsys, *args, beneath_a_file)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # the superuser may write anywhere
    assert "cannot be written: Permission denied" in failing(capsys, *args, str(tmp_path / "out" / "x.json"))


def test_a_read_only_folder_is_refused_by_the_system(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = Path("/proc") if os.geteuid() == 0 else tmp_path  # there not even the superuser may make a folder
    if where == tmp_path:
        tmp_path.chmod(0o500)
    elif not where.exists():
        pytest.skip("no folder here that refuses the superuser")
    assert "cannot be written" in failing(capsys, "design", *WISH, "--out", str(where / "run"))


def test_design_makes_a_run_folder(fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ["--target", "bulk_modulus>=150", "--exclude", "Co", "-n", "4", "--relaxations", "24", "--seed", "3"]
    assert run(["design", *args, "--out", str(folder)]) == 0
    shown = capsys.readouterr().out
    table = pd.read_csv(folder / "candidates.csv")
    assert len(table) == 4
    assert list(table["rank"]) == [1, 2, 3, 4]
    assert (table["energy_above_hull"] <= 0.1).all()
    assert set(table) >= {"bulk_modulus", "bulk_modulus_std", "energy_above_hull_std", "formula", "space_group"}
    assert set(table) >= {"generator", "reason", "id", "pareto", "score"}
    full = pd.read_parquet(folder / "candidates.parquet")
    assert set(full) >= set(table) | {"verdict_novelty", "decomposes_into"} and list(full["id"]) == list(
        table["id"]
    )
    assert not table["formula"].str.contains("Co(?![a-z])").any()
    for row in table.itertuples():
        assert (folder / row.file).exists()
        assert row.formula in shown
        assert re.fullmatch(rf"cif/\d{{3}}_\w+_{row.space_group}\.cif", str(row.file))
    record = json.loads((folder / "run.json").read_text())
    assert record["query"]["targets"] == ["bulk_modulus>=150"]
    assert record["seed"] == 3
    assert record["found"] == 4
    assert record["funnel"]["propose"]["entered"] > 24
    assert record["versions"]["invdesign"]
    assert '<table id="candidates">' in (folder / "report.html").read_text()
    assert (folder / export.LEDGER).exists()


def test_flags_and_a_query_file_are_alike_and_flags_win(fakes: None, tmp_path: Path) -> None:
    path = tmp_path / "query.yaml"
    path.write_text("targets: ['bulk_modulus>=150']\nexclude: [Co]\nn: 3\nrelaxations: 12\nseed: 5\n")
    flags = ["--target", "bulk_modulus>=150", "--exclude", "Co", "--relaxations", "12", "--seed", "5"]
    assert run(["design", *flags, "-n", "2", "--out", str(tmp_path / "a")]) == 0
    assert run(["design", str(path), "-n", "2", "--out", str(tmp_path / "b")]) == 0
    first, second = ((tmp_path / x / "candidates.csv").read_text() for x in "ab")
    assert first == second
    assert json.loads((tmp_path / "b" / "run.json").read_text())["query"]["n"] == 2


def test_fewer_than_asked_is_said_and_is_no_error(
    fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(["design", *WISH, "-n", "500", "--relaxations", "8", "--out", str(folder)]) == 0
    assert "of 500 wanted" in capsys.readouterr().out
    assert "of 500 wanted" in json.loads((folder / "run.json").read_text())["shortfall"]


def test_a_finished_run_resumes_to_the_same_list(
    fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(["design", *WISH, "-n", "3", "--relaxations", "12", "--out", str(folder)]) == 0
    before = (folder / "candidates.csv").read_text()
    (folder / "candidates.csv").unlink()
    assert run(["resume", str(folder)]) == 0
    assert (folder / "candidates.csv").read_text() == before
    capsys.readouterr()
    assert "go on with: invdesign resume" in failing(capsys, "design", *WISH, "--out", str(folder))


def test_a_truncated_ledger_is_one_line_and_is_left_alone(
    fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(["design", *WISH, "-n", "3", "--relaxations", "8", "--out", str(folder)]) == 0
    capsys.readouterr()
    ledger = folder / export.LEDGER
    content = ledger.read_bytes()[:5000]
    ledger.write_bytes(content)
    line = failing(capsys, "resume", str(folder))
    assert "ledger" in line
    assert ledger.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE candidates SET crystal = '{}'",
        "UPDATE results SET data = '[1]'",
        "UPDATE requests SET data = '{\"id\": 1}'",
        "UPDATE relaxations SET kind = 'other'",
        "UPDATE run SET value = '{}' WHERE key = 'settings'",
        "UPDATE run SET value = 'many' WHERE key = 'seed'",
    ],
)
def test_a_damaged_record_is_one_line(
    damage: str, fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(["design", *WISH, "-n", "3", "--relaxations", "8", "--out", str(folder)]) == 0
    capsys.readouterr()
    with sqlite3.connect(folder / export.LEDGER) as connection:
        connection.execute(damage)
    connection.close()
    line = failing(capsys, "resume", str(folder))
    assert str(folder / export.LEDGER) in line
    assert "damaged" in line


def test_a_run_without_any_candidate_is_no_error(
    fakes: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(["design", "--elements", "Tl", "-n", "2", "--relaxations", "4", "--out", str(folder)]) == 0
    assert "0 of 2 wanted" in capsys.readouterr().out  # the fake generator has no thallium
    assert len(pd.read_csv(folder / "candidates.csv")) == 0
    assert "0 of 2" in (folder / "report.html").read_text()


@pytest.mark.parametrize("text", ["[1]", "{oops", '{"query": {"component": 3}}', '{"query": 3}'])
def test_a_broken_run_record_is_one_line(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "candidates.csv").write_text("rank,formula\n1,MgO\n")
    (tmp_path / "run.json").write_text(text)
    line = failing(capsys, "report", str(tmp_path))
    assert str(tmp_path) in line
    assert "run.json of a run" in line


class Cubes:
    """A generator for the tests: rock salts, and every fifth item fails."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        for k in range(n):
            gene = good_crystals()[0].gene
            assert gene is not None
            yield Failure("generate", "out of luck") if k % 5 == 4 else decode([gene])[0]


def test_generate_writes_crystals_and_names_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "generator", lambda name: Cubes())
    for form in ("cif", "extxyz"):
        folder = tmp_path / form
        assert run(["generate", "vae", "-n", "10", "--format", form, "--out", str(folder)]) == 0
        assert "8 crystals, 2 failed" in capsys.readouterr().out
        table = pd.read_csv(folder / "candidates.csv")
        assert list(table["failure"].notna()) == [k % 5 == 4 for k in range(10)]
        assert table["failure"][4] == "generate: out of luck"
    assert len(list((tmp_path / "cif" / "cif").iterdir())) == 8
    assert run(["validate", str(tmp_path / "extxyz" / "candidates.extxyz"), "--out", str(tmp_path / "v.csv")]) == 0
    verdicts = pd.read_csv(tmp_path / "v.csv")
    assert (verdicts["formula"] == "MgO").all()
    assert list(verdicts["verdict_uniqueness"]) == ["pass"] + 7 * ["fail"]
    assert (verdicts["verdict_novelty"] == "fail").all()  # rock salt MgO is known


def test_one_corrupt_file_among_good_ones_is_a_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = export.write_cifs(good_crystals(), tmp_path)
    (tmp_path / names[2]).write_text("data_broken\n_cell_length_a oops\n")
    out = tmp_path / "verdicts.csv"
    assert run(["validate", str(tmp_path / "cif"), "--out", str(out)]) == 0
    assert "5 crystals, 1 failed" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert len(table) == len(names)
    assert list(table["failure"].notna()) == [k == 2 for k in range(len(names))]
    assert table["failure"][2].startswith("read: ")


@pytest.mark.parametrize("command", ["predict", "validate", "elastic", "relax", "rank"])
def test_where_nothing_can_be_read_it_says_so(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cif"
    broken.write_text("data_broken\n_cell_length_a oops\n")
    line = failing(capsys, command, str(broken), "--out", str(tmp_path / "out"))
    assert "none of 1 items" in line
    assert str(broken) in line


def test_generate_that_makes_nothing_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Unlucky:
        def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Failure]:
            yield from [Failure("generate", "no such crystal")] * n

    monkeypatch.setattr(build, "generator", lambda name: Unlucky())
    assert run(["generate", "vae", "-n", "3", "--out", str(tmp_path / "out")]) == 0
    assert "0 crystals, 3 failed (generate: no such crystal)" in capsys.readouterr().out


def test_missing_tables_end_a_command_and_are_no_failure_of_a_crystal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ReferenceMissingError("the table of known crystals cannot be read: damaged")

    export.write_cifs(good_crystals(), tmp_path)
    monkeypatch.setattr("invdesign.reference.local.load_known", broken)
    line = failing(capsys, "validate", str(tmp_path / "cif"), "--out", str(tmp_path / "v.csv"))
    assert "known crystals cannot be read" in line
    assert not (tmp_path / "v.csv").exists()


def test_rank_says_of_every_crystal_why_it_is_not_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Known:
        """Stiffer the denser; copper cannot be read."""

        def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
            return [self._one(c) for c in crystals]

        def _one(self, crystal: Crystal) -> Estimate:
            if set(crystal.numbers.tolist()) == {29}:
                return Estimate({}, failure="no neighbours")
            k = 10.0 * crystal.n_sites
            return Estimate({"bulk_modulus": Value(k, 1.0), "shear_modulus": Value(0.6 * k, 1.0)})

    monkeypatch.setattr(build, "surrogate", lambda name: Known())
    export.write_cifs(good_crystals(), tmp_path)
    args = ["--exclude", "Ti", "--target", "bulk_modulus=max", "-n", "2"]
    assert run(["rank", str(tmp_path / "cif"), *args, "--out", str(tmp_path / "ranked")]) == 0
    assert "2 ranked, 4 not listed" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "ranked" / "candidates.csv").fillna({"failure": ""})
    assert dict(zip(table["formula"], table["failure"], strict=True)) == {
        "SiO2": "",
        "MgO": "",
        "CsCl": "not listed: ranked lower",
        "TiB2": "not listed: element not allowed",
        "SrTiO3": "not listed: element not allowed",
        "Cu": "no neighbours",
    }


def test_check_reports_each_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "distances"]) == 0
    assert "6 of 6 promises kept" in capsys.readouterr().out
    assert run(["check", "contract_parts:Moody"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  gives the same answer twice" in out


def test_help_is_fast_and_threads_are_one() -> None:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "invdesign", "--help"], capture_output=True, text=True, check=True
    )
    assert "Target properties in" in done.stdout
    assert time.perf_counter() - start < 5.0  # on a busy machine; CPU time is held by test_imports
    code = (
        "from invdesign.cli import process as c; import os\n"
        "c.run = lambda args: print(os.environ['OMP_NUM_THREADS']) or 0; c.main()"
    )
    free = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    for given, wanted in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=free | given, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == wanted
