"""The first minute in the shell: help, lists, dry runs, tables on the standard output, and what Ctrl-C says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from fake_parts import FakeRelaxer, fake_parts

from invdesign import __version__, build
from invdesign.app import lists
from invdesign.app.design import _on_time
from invdesign.app.plan import counted, plan, within
from invdesign.cli import commands, run
from invdesign.engine.campaign import Step
from invdesign.engine.funnel import Funnel
from invdesign.errors import InputError
from invdesign.query import Query
from invdesign.query_fields import SEARCHES
from invdesign.records import Estimate, Value
from invdesign.report import export
from invdesign.testing import good_crystals

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())


@pytest.fixture
def sixty(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sixty:
        def predict(self, crystals: list[object]) -> list[Estimate]:
            return [Estimate({"bulk_modulus": Value(60.0, 5.0)}) for _ in crystals]

    monkeypatch.setattr(build, "surrogate", lambda name: Sixty())


@pytest.fixture
def cif(tmp_path: Path) -> str:
    path = tmp_path / "MgO.cif"
    path.write_text(export.plain_cif(good_crystals()[0])[0])
    return str(path)


# help


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_without_a_command_there_is_help_in_sections(args: list[str], capsys: Capture) -> None:
    assert run(args) == 0
    out, err = capsys.readouterr()
    titles = re.findall(r"^(\w+):$", out, re.MULTILINE)
    assert [t for t in titles if t not in ("Usage", "Options")] == [
        "Design",
        "Runs",
        "Crystals",
        "Models",
        "Checks",
        "About",
    ]
    for name, command in commands.commands.items():
        assert re.search(rf"^  {name}\s+{re.escape(command.get_short_help_str(60))}", out, re.MULTILINE), name
    assert "..." not in out and 'design --target "bulk_modulus>=250"' in out and err == ""


def test_every_command_has_a_section_and_help(capsys: Capture) -> None:
    assert sorted(name for names in commands.sections.values() for name in names) == sorted(commands.commands)
    for name in commands.commands:
        assert run([name, "--help"]) == 0
        assert "Usage:" in capsys.readouterr().out


def test_the_version_names_what_can_change_a_result(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"invdesign {__version__}"
    assert {line.split()[0] for line in lines[1:]} >= {"python", "torch", "numpy", "spglib"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["desing"], ["'desing'", "Did you mean design?"]),
        (["design", "--targt", "x"], ["--targt", "--target"]),
        (["design"], ["nothing is asked for", 'invdesign design --target "bulk_modulus>=250"']),
        (["design", "-n", "3", "--seed", "1"], ["nothing is asked for"]),
        (["design", "--exclude", "Co", "--seed", "-1"], ["--seed", "-1"]),
        (["design", "--exclude", "Co", "--seed", "lucky"], ["--seed", "lucky"]),
        (["design", "--exclude", "Co", "-n", "0"], ["n: 0", "from 1 to"]),
        (["design", "--exclude", "Co", "--relaxations", "0"], ["relaxations: 0"]),
        (["design", "--exclude", "Co", "--max-energy-above-hull", "nan"], ["nan", "0 to 5"]),
        (["design", "--exclude", "Co", "--max-energy-above-hull", "x"], ["--max-energy-above-hull", "x"]),
        (["design", "--exclude", "Co", "--load", "nan"], ["load: nan", "0.05 to 50"]),
        (["design", "--exclude", "Co", "--n-elements", "3.5"], ["n_elements: '3.5'"]),
        (["design", "--exclude", "Co", "--validator", "ligth"], ["validator: 'ligth'", "novelty"]),
        (["design", "--all-elements", "--exclude", "Co"], ["needs a chemical system"]),
        (["design", "--like", "nowhere.cif"], ["nowhere.cif"]),
        (["design", "--prototype", "perovskit"], ["did you mean perovskite?"]),
        (["design", "--start", "nowhere.cif", "--keep", "Si"], ["nowhere.cif"]),
        (["list", "things"], ["'things'", "components", "potentials"]),
        (["completion", "cmd"], ["'cmd'", "bash"]),
        (["predict"], ["PATH"]),
    ],
)
def test_a_bad_value_is_one_line(
    args: list[str],
    words: list[str],
    fakes: None,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("invdesign: ") and err.count("\n") == 1
    assert [word for word in words if word not in err] == []
    assert list(tmp_path.iterdir()) == []


# lists


@pytest.mark.parametrize("kind", lists.KINDS)
def test_lists_are_text_or_json(kind: str, capsys: Capture) -> None:
    assert run(["list", kind]) == 0
    text = capsys.readouterr().out.splitlines()
    assert run(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(text) == len(rows) + 1
    key = next(iter(rows[0]))
    assert [line.split("  ")[0] for line in text] == [key, *(row[key] for row in rows)]


def test_lists_hold_what_can_be_named(capsys: Capture) -> None:
    names = {kind: {next(iter(row.values())) for row in lists.rows(kind)} for kind in lists.KINDS}
    assert "cutting_tool" in names["components"] and {"bulk_modulus", "price"} <= names["properties"]
    assert names["generators"] == {*build.generator_names(), build.MIXTURE}
    assert {"distances", "novelty", "stability"} <= names["validators"] and "perovskite" in names["prototypes"]
    assert "sevennet-0" in names["potentials"] and "toxic" in names["element-classes"]
    assert [row["potential"] for row in lists.rows("potentials") if row["default"]] == ["sevennet-0"]


# tables


def test_tables_go_to_the_standard_output(sixty: None, cif: str, capsys: Capture) -> None:
    for args in ([], ["--out", "-"]):
        assert run(["predict", cif, *args]) == 0
        out, err = capsys.readouterr()
        assert list(pd.read_csv(StringIO(out))["bulk_modulus"]) == [60.0]
        assert "1 crystals, 0 failed" in err
    assert run(["predict", cif, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["formula"] == "MgO" and err == ""


def test_an_output_file_is_overwritten_only_by_force(
    sixty: None, cif: str, capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    assert run(["predict", cif, "--out", str(out)]) == 0
    assert json.loads(out.read_text())[0]["bulk_modulus"] == 60.0
    out.write_text("mine")
    assert run(["predict", cif, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err and out.read_text() == "mine"
    assert run(["predict", cif, "--out", str(out), "--force"]) == 0
    assert "MgO" in out.read_text()
    for args in (["validate", cif], ["train", "vae", "--data", cif], ["elastic", cif]):
        assert run([*args, "--out", str(out)]) == 2
        assert "--force" in capsys.readouterr().err


def test_ranked_crystals_go_to_the_standard_output_as_well(sixty: None, cif: str, capsys: Capture) -> None:
    assert run(["rank", cif, "--target", "bulk_modulus>=50", "--out", "-"]) == 0
    assert list(pd.read_csv(StringIO(capsys.readouterr().out))["source"]) == [cif]


def test_generated_crystals_go_to_the_standard_output_and_what_is_ignored_is_said(capsys: Capture) -> None:
    args = ["generate", "random", "-n", "2", "--target", "bulk_modulus>=250", "--out", "-"]
    assert run(args) == 0
    out, err = capsys.readouterr()
    assert list(pd.read_csv(StringIO(out)).columns)[:2] == ["formula", "space_group"] or "formula" in out
    assert "invdesign: note: random takes no notice of bulk_modulus>=250\n" in err
    assert run([*args, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


# runs


def test_a_run_names_its_folder_before_and_after(
    fakes: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["design", "--target", "bulk_modulus>=150", "-n", "2", "--relaxations", "6"]
    assert run(args) == 0
    out, err = capsys.readouterr()
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"run folder: runs/{folder.name}\n" in err
    assert f"wrote runs/{folder.name}/candidates.csv" in out and re.search(
        r"^\d of 2 on target, 2 stable", out, re.M
    )
    assert run([*args, "--json", "-q", "--out", "other"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == "" and len(found["candidates"]) == found["found"] == 2 and found["folder"] == "other"


def test_a_note_says_what_is_nowhere_near(fakes: None, capsys: Capture, tmp_path: Path) -> None:
    args = ["design", "--target", "bulk_modulus>=500", "--target", "density<=2", "-n", "2", "--relaxations", "4"]
    assert run([*args, "--out", str(tmp_path / "run")]) == 0
    err = capsys.readouterr().err
    assert re.search(
        r"^invdesign: note: none of [\d,]+ known crystals comes near .*density<=2.*nearest is", err, re.M
    )


def test_a_dry_run_says_what_it_would_do_and_makes_nothing(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["design", "--target", "bulk_modulus>=400", "--relaxations", "60", "--workers", "2", "--dry-run"]
    assert run(args) == 0
    out = capsys.readouterr().out
    assert "bulk modulus of at least 400 GPa" in out and "60 relaxations in 5 rounds" in out
    assert re.search(r"about .* with 2 worker processes \(measured on ", out)
    assert (
        re.search(r"of [\d,]+ known crystals .* meet bulk_modulus>=400", out)
        and "C (mp-66, 227: K 435 GPa)" in out
    )
    assert run([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["relaxations"] == 60 and found["known"]["each"]["bulk_modulus>=400"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("search", SEARCHES)
def test_a_plan_counts_what_a_campaign_does_at_most(search: str) -> None:
    from invdesign.engine.campaign import Campaign

    query = Query(targets=["bulk_modulus>=150"], relaxations=6, n=100, search=search)
    with Campaign(query, 0, fake_parts(), progress=False) as campaign:
        rounds = len(list(campaign))
    stages, counts = campaign.funnel.stages, counted(query)
    assert counts["rounds"] == rounds and counts["relaxations"] == stages["relax"].entered
    assert counts["proposals"] == stages["propose"].entered
    assert counts["inspections"] >= stages["inspect"].entered
    assert ("evolve" in stages) == (counts["evaluations"] > 0) and ("probe" in stages) == (counts["probes"] > 0)
    if "evolve" in stages:
        assert 0 < stages["evolve"].entered <= counts["evaluations"]
        assert sum(row.probe is not None for row in campaign.rows) <= counts["probes"]


def test_more_relaxations_and_fewer_workers_take_longer() -> None:
    few, more = Query(exclude="Co", relaxations=20), Query(exclude="Co", relaxations=200)
    assert plan(few, 4).minutes < plan(few, 1).minutes < plan(more, 1).minutes
    assert plan(more, 4).minutes > 4 * plan(few, 4).minutes


def test_minutes_take_relaxations_off_the_budget(capsys: Capture, tmp_path: Path) -> None:
    query = Query(exclude="Co", relaxations=200)
    assert within(query, 1e4, 2) == query
    short, longer = within(query, 3.0, 2), within(query, 6.0, 2)
    assert 1 <= short.relaxations < longer.relaxations < 200 and plan(short, 2).minutes <= 3.05
    with pytest.raises(InputError, match=r"0\.01.*at least"):
        within(query, 0.01)
    assert run(["design", "--exclude", "Co", "--minutes", "-1"]) == 2
    assert "minutes" in capsys.readouterr().err
    assert run(["design", "--exclude", "Co", "--minutes", "3", "--workers", "2", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["relaxations"] == short.relaxations


def test_no_round_begins_that_would_end_too_late(tmp_path: Path) -> None:
    heard: list[Step] = []
    stops = _on_time(1.0, heard.append)
    short, long = (Step(0, {}, (), seconds, Funnel()) for seconds in (1.0, 61.0))
    assert not stops(short) and stops(long) and heard == [short, long]
    assert _on_time(1.0, lambda step: True)(short)


def test_a_no_is_an_option_that_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Query] = []
    monkeypatch.setattr("invdesign.cli.design._plan", lambda query, *rest: asked.append(query))
    for option in ((), ("--no-dynamics",), ("--dynamics",)):
        assert run(["design", "--exclude", "Co", "--dry-run", *option]) == 0
    assert [query.dynamics for query in asked] == [True, False, True]


def test_ctrl_c_names_the_folder_to_go_on_from(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stopped(FakeRelaxer):
        def relax_iter(self, crystals: object) -> object:
            raise KeyboardInterrupt

    from dataclasses import replace

    monkeypatch.setattr(build, "default_parts", lambda q, workers=None: replace(fake_parts(), relaxer=Stopped()))
    folder = tmp_path / "run"
    args = ["design", "--exclude", "Co", "-n", "2", "--relaxations", "4", "--out", str(folder)]
    assert run(args) == 130
    assert f"interrupted; go on with: invdesign resume {folder}\n" in capsys.readouterr().err
    assert run(["resume", str(folder)]) == 130
    assert f"invdesign resume {folder}" in capsys.readouterr().err
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
    assert run(["resume", str(folder)]) == 0


def test_ctrl_c_before_anything_is_recorded_names_nothing(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "default_parts", stop)
    assert run(["design", "--exclude", "Co", "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.lstrip("\n") == "invdesign: interrupted\n"  # ^C stands on the line before


def test_verbose_shows_the_traceback_once(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(build, "default_parts", broken)
    assert run(["design", "--exclude", "Co", "-v", "--out", str(tmp_path / "a")]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert run(["design", "--exclude", "Co", "--out", str(tmp_path / "b")]) == 1
    assert "Traceback" not in capsys.readouterr().err and "INVDESIGN_DEBUG" not in os.environ


def test_shells_complete_names(capsys: Capture) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert run(["completion", shell]) == 0
        assert "_INVDESIGN_COMPLETE" in capsys.readouterr().out
    asked = {"_INVDESIGN_COMPLETE": "bash_complete", "COMP_WORDS": "invdesign des", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['invdesign']; from invdesign.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stdout.split(",")[-1].strip() == "design"


SWALLOWING = """
import os, signal, sys, time
import click
from invdesign.cli import commands, main

class Closed:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv.pop()))  # the handler raises in here, where Python drops it

@click.command()
def busy():
    Closed()
    print("dropped", flush=True)
    time.sleep(60)

commands.add_command(busy, "busy")
main(["busy"])
"""


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_request_to_end_is_heard_in_a_finalizer(number: signal.Signals, code: int, said: str) -> None:
    script = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{SWALLOWING}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(int(number))], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr.strip()) == (code, f"invdesign: {said}")
    assert done.stdout == "dropped\n"
