"""Values that come back: read with care, recorded for good, put in the place of estimates, and learned from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from fake_parts import FakeReference, cubic, fake_parts

from invdesign import build
from invdesign.cli import run
from invdesign.engine.feedback import LEAST, Told, check, read, revise
from invdesign.engine.ledger import Header, Ledger
from invdesign.engine.parts import Parts
from invdesign.errors import InputError
from invdesign.mechanics import derive
from invdesign.query import Query
from invdesign.records import MEASURED, Candidate, Estimate, Evaluation, Relaxation, Status, Value, Verdict
from invdesign.report import export
from invdesign.selection.ranking import rank
from invdesign.validators.stability import Stability

IDS = {"cif/001_TiN_225.cif": "r-0", "cif/002_ZrC_225.cif": "r-1"}
METALS = (22, 40, 72, 23, 41, 73, 24, 42, 74, 21)


def results(folder: Path, text: str) -> dict[str, dict[str, Value]]:
    path = folder / "results.csv"
    path.write_text(text)
    return read(path, IDS)


def parts() -> Parts:
    return replace(fake_parts(), derive=derive.derive, checks=(Stability(limit=0.1),), reference=FakeReference())


def rows(n: int = 10, bulk: float = 300.0) -> list[Evaluation]:
    out = []
    for i in range(n):
        crystal = cubic(225, METALS[i], 7, 4.2)
        values = {"bulk_modulus": Value(bulk, 30.0), "shear_modulus": Value(0.6 * bulk, 20.0)}
        hull = Value(0.05, 0.03, source="potential")
        relaxation = Relaxation(crystal, -8.0, Value(-0.95, 0.03), 0.01, 9, True, 1.0, 0.0, 0.0, "fake")
        row = Evaluation(
            Candidate(f"r-{i}", crystal, "r", "vae"),
            relaxation=relaxation,
            energy_above_hull=hull,
            estimate=derive.derive(Estimate(values | {"energy_above_hull": hull}), crystal),
            verdicts={"stability": Verdict("stability", Status.PASS)},
        )
        out.append(row)
    return out


def told(*values: Mapping[str, float]) -> Told:
    return {
        f"r-{i}": {name: Value(v, 0.01 * abs(v), source=MEASURED) for name, v in mine.items()}
        for i, mine in enumerate(values)
    }


# reading


def test_a_table_of_results_is_read_by_id_or_file(tmp_path: Path) -> None:
    text = (
        "id,file,K_VRH,vickers_hardness,vickers_hardness_std,note\nr-0,,310,,,x\n,cif/002_ZrC_225.cif,,22,1.5,\n"
    )
    found = results(tmp_path, text)
    assert found.keys() == {"r-0", "r-1"}
    bulk, hardness = found["r-0"]["bulk_modulus"], found["r-1"]["vickers_hardness"]
    assert (bulk.mean, bulk.std, bulk.source) == (310.0, pytest.approx(6.2), MEASURED)
    assert bulk.low is not None and bulk.high is not None and bulk.low < 310.0 < bulk.high
    assert (hardness.mean, hardness.std) == (22.0, 1.5)
    assert found["r-0"].keys() == {"bulk_modulus"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["columns", "id or file"]),
        ("id,bulk_modulus\n", ["at least one row"]),
        ("bulk_modulus\n300\n", ["id or file"]),
        ("id,stiffness\nr-0,3\n", ["'stiffness'", "bulk_modulus"]),
        ("id,bulk_modulus\nr-0,much\n", ["line 2", "bulk_modulus", "'much'"]),
        ("id,bulk_modulus\nr-0,9000\n", ["line 2", "9000", "0.1 to 700 GPa"]),
        ("id,bulk_modulus,bulk_modulus_std\nr-0,300,-1\n", ["bulk_modulus_std", "-1"]),
        ("id,bulk_modulus\nr-0,\n", ["line 2", "at least one property"]),
        ("id,bulk_modulus\n,300\n", ["line 2", "the id or the file"]),
        ("id,bulk_modulus\nr-0,300\nr-0,310\n", ["line 3", "'r-0'", "once"]),
        ("file,bulk_modulus\nother.cif,300\n", ["'other.cif'", "candidates.csv"]),
        ("id,file,bulk_modulus\nr-1,cif/001_TiN_225.cif,300\n", ["'r-1'", "r-0"]),
        ("id,bulk_modulus\nr-0,300,4\n", ["line 2", "as many cells"]),
    ],
)
def test_wrong_results_are_refused_by_name_and_line(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        results(tmp_path, text)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_candidate_that_was_not_relaxed_has_no_results() -> None:
    known = rows(2)
    check(told({"bulk_modulus": 300.0}), known)
    with pytest.raises(InputError, match="r-9"):
        check({"r-9": {}}, known)
    with pytest.raises(InputError, match="r-0"):
        check(told({"bulk_modulus": 300.0}), [replace(known[0], relaxation=None)])


# what it does to rows


def test_a_value_replaces_the_estimate_and_what_follows_from_it() -> None:
    before = rows(2)
    revised = revise(before, told({"bulk_modulus": 400.0, "shear_modulus": 300.0}), parts())
    assert (revised.told, revised.corrected) == (1, ())
    assert revised.rows[1] == before[1]
    values = revised.rows[0].estimate.values  # type: ignore[union-attr]
    assert values["bulk_modulus"] == Value(400.0, 4.0, source=MEASURED)
    assert values["youngs_modulus"].mean == pytest.approx(9 * 400 * 300 / (3 * 400 + 300))
    assert values["youngs_modulus"].std < before[0].estimate.values["youngs_modulus"].std  # type: ignore[union-attr]


def test_a_measured_hardness_stands_whatever_the_moduli_say() -> None:
    revised = revise(rows(2), told({"vickers_hardness": 45.0, "bulk_modulus": 100.0}), parts())
    hardness = revised.rows[0].estimate.values["vickers_hardness"]  # type: ignore[union-attr]
    assert (hardness.mean, hardness.source) == (45.0, MEASURED)
    best = rank(revised.rows, Query(targets=["vickers_hardness=max"], n=2)).ranked
    assert best[0].row.candidate.id == "r-0"  # its measured 45 GPa, not what follows from 100 GPa, decides


def test_an_energy_decides_on_stability_again() -> None:
    revised = revise(rows(3), told({"energy_above_hull": 0.3}, {"formation_energy": -0.98}), parts())
    high, low, other = revised.rows
    assert high.energy_above_hull == Value(0.3, 0.003, source=MEASURED)
    assert high.verdicts["stability"].status is Status.FAIL
    assert low.energy_above_hull is not None  # the fake hull lies at -1 eV/atom
    assert (low.energy_above_hull.mean, low.energy_above_hull.source) == (pytest.approx(0.02), MEASURED)
    assert low.verdicts["stability"].status is other.verdicts["stability"].status is Status.PASS


def test_several_values_correct_the_others() -> None:
    before = rows(10)
    softer = told(*[{"bulk_modulus": 200.0}] * 4)
    revised = revise(before, softer, parts())
    assert revised.corrected == ("bulk_modulus",)
    for row in revised.rows[4:]:
        value = row.estimate.values["bulk_modulus"]  # type: ignore[union-attr]
        assert 200.0 < value.mean < 260.0
        assert value.low is not None and value.high is not None and value.low < value.mean < value.high
        assert value.source.endswith("corrected by feedback")
        assert row.estimate.values["youngs_modulus"].mean < 430.0  # type: ignore[union-attr]
    few = revise(before, told(*[{"bulk_modulus": 200.0}] * (LEAST - 1)), parts())
    assert few.corrected == ()
    assert few.rows[5] == before[5]


def test_a_correction_can_cost_the_others_their_stability() -> None:
    revised = revise(rows(10), told(*[{"energy_above_hull": 0.35}] * 6), parts())
    assert revised.corrected == ("energy_above_hull",)
    last = revised.rows[9]
    assert last.energy_above_hull is not None and last.energy_above_hull.mean > 0.1
    assert last.verdicts["stability"].status is Status.FAIL


def test_derived_values_correct_nothing_where_moduli_came_back_too() -> None:
    both = told(*[{"bulk_modulus": 200.0, "youngs_modulus": 250.0}] * 4)
    assert revise(rows(), both, parts()).corrected == ("bulk_modulus",)
    alone = told(*[{"youngs_modulus": 250.0}] * 4)
    revised = revise(rows(), alone, parts())
    assert revised.corrected == ("youngs_modulus",)
    assert revised.rows[9].estimate.values["youngs_modulus"].mean < 400.0  # type: ignore[union-attr]


def test_nothing_told_changes_nothing() -> None:
    before = rows()
    assert revise(before, {}, parts()).rows == before


# the record


def test_the_ledger_keeps_every_value_and_the_last_one_counts(tmp_path: Path) -> None:
    header = Header(Query().to_dict(), 0, "test")
    path = tmp_path / "ledger.sqlite"
    with Ledger.create(path, header) as ledger:
        assert ledger.feedback() == {}
        ledger.add_feedback(told({"bulk_modulus": 200.0, "band_gap": 1.0}))
        ledger.add_feedback(told({"bulk_modulus": 210.0}, {"bulk_modulus": 300.0}))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM feedback").fetchone() == (3,)
    connection.close()
    with Ledger.open(path, header) as ledger:
        found = ledger.feedback()
    assert {name: value.mean for name, value in found["r-0"].items()} == {"bulk_modulus": 210.0, "band_gap": 1.0}
    assert found["r-1"]["bulk_modulus"] == Value(300.0, 3.0, source=MEASURED)


def test_a_ledger_of_earlier_times_takes_feedback_too(tmp_path: Path) -> None:
    header, path = Header(Query().to_dict(), 0, "test"), tmp_path / "ledger.sqlite"
    Ledger.create(path, header).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE feedback")
    connection.close()
    with Ledger.open(path, header) as ledger:
        assert ledger.feedback() == {}
        ledger.add_feedback(told({"bulk_modulus": 200.0}))
        assert ledger.feedback().keys() == {"r-0"}


# the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
    args = ["--target", "bulk_modulus>=150", "-n", "6", "--relaxations", "24", "--seed", "3"]
    assert run(["design", *args, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    return tmp_path / "run"


def test_feedback_ranks_a_run_again_and_resuming_keeps_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pd.read_csv(folder / "candidates.csv")
    content = sqlite3.connect(folder / export.LEDGER).execute("SELECT * FROM candidates").fetchall()
    best, last = before.iloc[0], before.iloc[-1]
    out = tmp_path / "results.csv"
    out.write_text(f"file,bulk_modulus\n{best.file},5\n{last.file},600\n")
    assert run(["feedback", str(folder), str(out)]) == 0
    assert str(last.formula) in capsys.readouterr().out
    after = pd.read_parquet(folder / "candidates.parquet")
    row = after[after["id"] == last.id].iloc[0]
    assert (row.bulk_modulus, row.bulk_modulus_source) == (600.0, MEASURED)
    assert row["rank"] < last["rank"]
    gone = after[after["id"] == best.id]
    assert gone.empty or gone.iloc[0]["rank"] > 1
    record = json.loads((folder / "run.json").read_text())
    assert record["feedback"] == {"candidates": 2, "corrected": []}
    assert any("2 candidates have values that came back" in line for line in record["warnings"])
    assert "2 candidates have values that came back" in (folder / "report.html").read_text()
    assert sqlite3.connect(folder / export.LEDGER).execute("SELECT * FROM candidates").fetchall() == content
    assert len(list((folder / "cif").iterdir())) == len(after)
    text = (folder / "candidates.csv").read_text()
    assert run(["resume", str(folder)]) == 0
    assert (folder / "candidates.csv").read_text() == text


def test_refused_results_are_one_line_and_leave_the_run_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".csv", ".json", ".html")}
    out = tmp_path / "results.csv"
    cases = {
        "id,bulk_modulus\nr000-00-99999,300\n": "r000-00-99999",
        "id,stiffness\nx,300\n": "stiffness",
    }
    for text, word in cases.items():
        out.write_text(text)
        assert run(["feedback", str(folder), str(out)]) == 2
        line = capsys.readouterr().err
        assert line.startswith("invdesign: ") and line.count("\n") == 1 and word in line
    for args, word in (
        ([str(folder), str(tmp_path / "none.csv")], "none.csv"),
        ([str(folder), str(tmp_path)], "Is a directory"),
        ([str(tmp_path), str(out)], "resume"),
    ):
        assert run(["feedback", *args]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and word in line
    assert before == {p.name: p.read_bytes() for p in folder.iterdir() if p.name in before}
    with Ledger.read(folder / export.LEDGER) as ledger:
        assert ledger.feedback() == {}
