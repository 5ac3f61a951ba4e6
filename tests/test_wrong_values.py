"""Values of a wrong type or range, by the shell and by Python: one clear line, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import invdesign as ivd
from invdesign.cli import run
from invdesign.errors import InputError, InvdesignError
from invdesign.potentials import calculators
from invdesign.report import export
from invdesign.testing import good_crystals

Capture = pytest.CaptureFixture[str]
TABLE = "name,youngs_modulus,vickers_hardness\na,400,20\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a crystal, a table and broken queries, as the current one."""
    (tmp_path / "good.cif").write_text(export.plain_cif(good_crystals()[0])[0])
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "unit.csv").write_text(TABLE.replace("youngs_modulus", "youngs_modulus (MPa)"))
    (tmp_path / "date.yaml").write_text("n: 2020-01-01\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "tab.yaml").write_text("n:\t5\n\tx: 1\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "tag.yaml").write_text("n: !!python/object/apply:os.system [true]\n")
    (tmp_path / "twice.yaml").write_text("n: 3\nn: 4\n")
    (tmp_path / "deep.yaml").write_text("elements: " + "[" * 3000)
    (tmp_path / "unknown.yaml").write_text("targts: [density<=4]\n")
    aliases = "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    )
    (tmp_path / "aliases.yaml").write_text(f"a: &a [x]\n{aliases}elements: *h\n")
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["validate", ""], "path: ''"),
        (["validate", "nowhere.cif"], "'nowhere.cif'"),
        (["validate", "good.cif", "--out", "good.cif"], "exists"),
        (["validate", "good.cif", "--out", "results"], "is a folder"),
        (["validate", "good.cif", "--validator", "=x"], "'=x'"),
        (["validate", "good.cif", "--validator", "no.such:Thing"], "no.such"),
        (["predict", "good.cif", "--load", "1e9"], "0.05 to 50 N"),
        (["predict", "good.cif", "--load", "heavy"], "--load"),
        (["predict", "good.cif", "--surrogate", "good.cif"], "good.cif"),
        (["rank", "t.csv", "--component", "spoon", "--out", "-"], "'spoon'"),
        (["rank", "unit.csv", "--component", "cutting_tool", "--out", "-"], "'MPa'"),
        (["rank", "t.csv", "--out", "-", "--target", "density<=5 kg"], "'kg'"),
        (["relax", "good.cif", "--out", "r", "--pressure", "nan"], "-100 to 1000 GPa"),
        (["relax", "good.cif", "--out", "r", "--max-steps", "0"], "a positive number"),
        (["relax", "good.cif", "--out", "r", "--max-force", "-1"], "a positive number"),
        (["relax", "good.cif", "--out", "r", "--potential", "nosuch"], "'nosuch'"),
        (["relax", "good.cif", "--out", "good.cif"], "is a file"),
        (["elastic", "good.cif", "--out", "e", "--potential", "no.such:thing"], "no module no.such"),
        (["md", "good.cif", "--temperature", "-5", "--out", "m"], "1 to 10000 K"),
        (["md", "good.cif", "--temperature", "hot", "--out", "m"], "--temperature"),
        (
            ["md", "good.cif", "--temperature", "300", "--elastic", "--elastic-strain", "1", "--out", "m"],
            "0.001 to 0.05",
        ),
        (
            ["md", "good.cif", "--temperature", "300", "--elastic-steps", "500", "--out", "m"],
            "used with elastic alone",
        ),
        (
            ["md", "good.cif", "--temperature", "300", "--elastic", "--min-length", "3", "--out", "m"],
            "at least 5 Å",
        ),
        (["phonons", "good.cif", "--out", "p", "--potential", "nosuch"], "'nosuch'"),
        (["recipe", "xx"], "'xx'"),
        (["recipe", ""], "compound"),
        (["design", "date.yaml"], "n: "),
        (["design", "list.yaml"], "a mapping"),
        (["design", "tab.yaml"], "valid YAML"),
        (["design", "empty.yaml"], "a mapping"),
        (["design", "tag.yaml"], "YAML"),
        (["design", "twice.yaml"], "n"),
        (["design", "deep.yaml"], "YAML"),
        (["design", "aliases.yaml"], "alias"),
        (["design", "unknown.yaml"], "did you mean targets?"),
        (["design", "good.cif"], "query file"),
        (["design", "--target", "bulk_modulus>=250 MPa", "--dry-run"], "'MPa'"),
        (["design", "--target", "bulk modulus≥9000", "--dry-run"], "0.1 to 700 GPa"),
        (["design", "--elements", ",", "--dry-run"], "elements: ','"),
        (["design", "--exclude", "Co", "--minutes", "-3", "--dry-run"], "minutes"),
        (["status", "nowhere"], "no run"),
        (["check-ledger", "nowhere"], "no run"),
        (["runs", "list", "nowhere"], "a folder with runs"),
        (["resume", "results"], "no run"),
        (["feedback", "results", "t.csv"], "run folder"),
        (["import", "nowhere", "x"], "no run"),
        (["export", "nowhere"], "--format"),
        (["benchmark", "nosuch"], "'nosuch'"),
        (["check", "nosuch"], "'nosuch'"),
        (["train", "nosuch"], "'nosuch'"),
        (["list", "elements"], "'elements'"),
    ],
)
def test_the_shell_says_it_in_one_line_and_leaves_with_two(
    args: list[str], words: str, folder: Path, capsys: Capture
) -> None:
    before = sorted(p.name for p in folder.rglob("*"))
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("invdesign: ") and err.count("\n") == 1 and words in err
    assert len(err) < 700 and "Traceback" not in err
    assert sorted(p.name for p in folder.rglob("*")) == before


def test_what_is_printed_holds_no_formula(folder: Path, capsys: Capture) -> None:
    (folder / "good.cif").rename(folder / "=1+cmd.cif")
    assert run(["validate", "=1+cmd.cif"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("'=1+cmd.cif,")


CRYSTAL = ivd.Crystal(np.eye(3) * 4.0, np.array([11]), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ivd.validate(None), lambda: ivd.validate(3), lambda: ivd.validate(""), lambda: ivd.validate(b"x"),
        lambda: ivd.validate([]), lambda: ivd.validate([None]), lambda: ivd.validate({}),
        lambda: ivd.validate(object()),
        lambda: ivd.validate([CRYSTAL, 3]), lambda: ivd.validate(np.eye(3)), lambda: ivd.validate("a\0b"),
        lambda: ivd.predict(None), lambda: ivd.predict(3), lambda: ivd.predict([]), lambda: ivd.explain(None),
        lambda: ivd.rank("t.csv", "cutting_tool"), lambda: ivd.rank("t.csv", 3),
        lambda: ivd.relax(None), lambda: ivd.relax(CRYSTAL, workers=-1), lambda: ivd.relax(CRYSTAL, workers="two"),
        lambda: ivd.relax(CRYSTAL, potential=3), lambda: ivd.relax(CRYSTAL, potential=["chgnet"]),
        lambda: ivd.relax(CRYSTAL, out=3),
        lambda: ivd.relax(CRYSTAL, max_force=float("nan")), lambda: ivd.relax(CRYSTAL, bogus=1),
        lambda: ivd.relax(CRYSTAL, out=""),
        lambda: ivd.elastic(None), lambda: ivd.elastic(CRYSTAL, potential="x:y:z"), lambda: ivd.phonons(None),
        lambda: ivd.md(CRYSTAL, temperature="hot"), lambda: ivd.md(CRYSTAL, temperature=-1),
        lambda: ivd.generate("random", n="3"), lambda: ivd.generate("random", n=-1),
        lambda: ivd.generate("random", n=2, seed=-1),
        lambda: ivd.generate("random", n=2, seed="x"), lambda: ivd.generate("random", n=2, seed=2.5),
        lambda: ivd.generate(3),
        lambda: ivd.generate("random", n=2, out=3), lambda: ivd.design(None), lambda: ivd.design(3),
        lambda: ivd.design("density<=4"),
        lambda: ivd.design(ivd.Query(exclude="Co"), seed="x"), lambda: ivd.design(ivd.Query(exclude="Co"), out=3),
        lambda: ivd.design(ivd.Query(exclude="Co"), workers=0), lambda: ivd.recipe(None),
        lambda: ivd.recipe(3), lambda: ivd.recipe(""),
        lambda: ivd.resume(None), lambda: ivd.resume("nowhere"), lambda: ivd.resume(3),
        lambda: ivd.feedback(None, None),
        lambda: ivd.feedback("nowhere", {}),
    ],
)  # fmt: skip
def test_python_says_it_in_one_line(call: Callable[[], Any]) -> None:
    with pytest.raises(InvdesignError) as error:
        call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["os:getcwd", "math:pi", "builtins:dict", "os:nosuch"])
def test_a_factory_that_makes_no_calculator(name: str) -> None:
    with pytest.raises(InputError, match="potential"):
        calculators.load(name)


@pytest.mark.parametrize("name", ["", ":", "a:", ":b", "nosuch", "no.such:x", 3, None, ["chgnet"]])
def test_names_of_no_potential(name: Any) -> None:
    with pytest.raises(InputError, match="potential"):
        calculators.find(name)


@pytest.mark.parametrize(
    ("lattice", "numbers", "coords"),
    [(None, None, None), (np.eye(3), [1, 2], [[0, 0, 0]]), (np.eye(2), [1], [[0, 0, 0]]),
    (np.eye(3) * np.nan, [1], [[0, 0, 0]]),
     (np.eye(3), [], []), (np.eye(3), [1], [[0, 0, np.inf]]), (np.eye(3), [1], [[0, 0]])],
)  # fmt: skip
def test_a_crystal_is_whole_or_is_none(lattice: Any, numbers: Any, coords: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ivd.Crystal(lattice, numbers, coords)
