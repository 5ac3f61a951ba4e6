"""The first minute in Python: names for completion, wishes by keyword, any kind of crystal, clear errors."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_parts import fake_parts

import invdesign as ivd
from invdesign import build, progress
from invdesign.app.generate import unheeded
from invdesign.data.convert import to_ase, to_pymatgen
from invdesign.errors import EmptyQueryError, InputError, InvdesignWarning, OutputError, StructureReadError
from invdesign.query import Query
from invdesign.records import Candidate, Estimate, Evaluation, Value
from invdesign.report.export import plain_cif
from invdesign.testing import broken_crystals, good_crystals

NAMES = (
    "Query Target Campaign Result Crystal Gene design resume generate predict explain validate relax elastic rank"
)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())


class Sixty:
    """A surrogate that says 60 GPa of everything."""

    def predict(self, crystals: Sequence[ivd.Crystal]) -> list[Estimate]:
        values = {"bulk_modulus": Value(60.0, 5.0), "shear_modulus": Value(30.0, 5.0)}
        return [Estimate({**values, "formation_energy": Value(-1.0, 0.1)}) for _ in crystals]


@pytest.fixture
def sixty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "surrogate", lambda name: Sixty())


def test_completion_offers_the_public_names_without_importing_them() -> None:
    code = (
        "import sys, invdesign as ivd; names = dir(ivd)\n"
        "print(*names); print(any(m in sys.modules for m in ('torch', 'pandas', 'pymatgen', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = done.stdout.splitlines()
    assert set(NAMES.split()) | {"feedback"} <= set(names.split())
    assert "TYPE_CHECKING" not in names.split() and heavy == "False"


def test_every_public_name_is_there() -> None:
    assert set(ivd.__all__) == {*ivd._HOMES, "__version__"}
    for name in ivd.__all__:
        assert getattr(ivd, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = ivd.nothing


def test_design_takes_wishes_by_keyword(fakes: None) -> None:
    wishes = {"targets": ["bulk_modulus>=150"], "exclude": "Co", "relaxations": 8}
    first = ivd.design(n=2, **wishes)
    second = ivd.design(ivd.Query(n=9, **wishes), n=2)
    assert [f.id for f in first] == [f.id for f in second] and len(first) == 2
    assert first.query == second.query == ivd.Query(n=2, **wishes)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ivd.design("bulk_modulus>=250"), "a query such as Query(targets="),
        (lambda: ivd.design(ivd.Query(exclude="Co"), seed=-1), "seed: -1"),
        (lambda: ivd.design(ivd.Query(exclude="Co"), seed="lucky"), "seed: 'lucky'"),
        (lambda: ivd.design(ivd.Query(exclude="Co"), workers=0), "workers: 0"),
        (lambda: ivd.design(ivd.Query(exclude="Co"), out=3), "out: 3"),
        (lambda: ivd.design(target=["bulk_modulus>=250"]), "did you mean targets?"),
        (lambda: ivd.design(n="20", exclude="Co"), "n: '20'"),
        (lambda: ivd.design(exclude="Co", progress="loud"), "progress: 'loud'"),
        (lambda: ivd.Campaign("bulk_modulus>=250"), "a query such as"),
        (lambda: ivd.generate("vea", n=2), "did you mean vae?"),
        (lambda: ivd.generate("random", n=0), "n: 0"),
        (lambda: ivd.generate("random", n=2, form="pdf"), "cif, extxyz"),
        (lambda: ivd.generate("random", n=2, temperature=0), "0.01 to 100"),
        (lambda: ivd.predict(3), "a pymatgen Structure"),
        (lambda: ivd.predict("nowhere.cif"), "nowhere.cif"),
        (lambda: ivd.rank(good_crystals(), n=0), "n: 0"),
        (lambda: ivd.explain(good_crystals()[:2]), "one crystal; there are 2"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(call: object, words: str, fakes: None) -> None:
    with pytest.raises(InputError) as error:
        call()  # type: ignore[operator]
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_query_that_asks_for_nothing_is_refused(fakes: None) -> None:
    for call in (lambda: ivd.design(), lambda: ivd.design(ivd.Query(n=3)), lambda: ivd.design({"relaxations": 4})):
        with pytest.raises(EmptyQueryError, match=r"nothing is asked for.*bulk_modulus>=250"):
            call()


def test_crystals_of_every_kind_are_predicted(sixty: None, tmp_path: Path) -> None:
    salt, quartz = good_crystals()[0], good_crystals()[5]
    path = tmp_path / "salt.cif"
    path.write_text(plain_cif(salt)[0])
    given = [path, salt, salt.gene, to_pymatgen(quartz), to_ase(quartz), str(path), broken_crystals()[0]]
    table = ivd.predict(given)
    assert list(table["formula"][:6]) == ["MgO", "MgO", "MgO", "SiO2", "SiO2", "MgO"]
    assert list(table["file"])[3:5] == ["given #3", "given #4"] and table["bulk_modulus"][0] == 60.0
    for one in (salt, to_pymatgen(salt), to_ase(salt), path, pd.Series([salt])):
        assert list(ivd.predict(one)["formula"]) == ["MgO"]
    disordered = to_pymatgen(salt)
    disordered.replace(0, {"Mg": 0.5, "Ca": 0.5})
    table = ivd.predict([salt, disordered])
    assert table["failure"][0] == "" and "shared" in table["failure"][1]
    with pytest.raises(StructureReadError, match="none of 1 items"):
        ivd.predict(disordered)


def test_tables_are_written_as_csv_or_json_and_nothing_is_overwritten(sixty: None, tmp_path: Path) -> None:
    salt = good_crystals()[0]
    ivd.predict(salt, tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv")["formula"][0] == "MgO"
    with pytest.raises(OutputError, match=r"a.csv exists.*--force"):
        ivd.predict(salt, tmp_path / "a.csv")
    ivd.predict(salt, tmp_path / "a.csv", overwrite=True)
    ivd.predict(salt, tmp_path / "a.json")
    (row,) = json.loads((tmp_path / "a.json").read_text())
    assert (row["formula"], row["bulk_modulus"], row["training_distance"]) == ("MgO", 60.0, None)


def test_ranked_crystals_name_their_source_and_no_generator(sixty: None, tmp_path: Path) -> None:
    for k, crystal in enumerate(good_crystals()[:3]):
        (tmp_path / f"{k}.cif").write_text(plain_cif(crystal)[0])
    table = ivd.rank(tmp_path, targets=["bulk_modulus>=50"], exclude="Cs", out=tmp_path / "out")
    assert "generator" not in table and table["source"].str.endswith(".cif").all()
    assert list(table["failure"]).count("") == 2
    assert "element not allowed" in table["failure"].iloc[-1] and table["source"].iloc[-1].endswith("1.cif")
    assert (tmp_path / "out" / table["file"][0]).exists()
    assert list(ivd.rank(tmp_path / "0.cif", n=1)["rank"]) == [1]


def test_generate_gives_crystals_and_says_what_it_takes_no_notice_of(tmp_path: Path) -> None:
    with pytest.warns(InvdesignWarning, match=r"random takes no notice of bulk_modulus>=250, n_elements \[3, 3\]"):
        table = ivd.generate("random", n=3, targets=["bulk_modulus>=250"], n_elements=3)
    assert isinstance(table["crystal"][0], ivd.Crystal) and len(table) == 3
    again = ivd.generate("random", n=3, out=tmp_path / "s")
    assert "crystal" not in again and (tmp_path / "s" / again["file"][0]).exists()


@pytest.mark.parametrize(
    ("query", "ignored"),
    [
        (Query(targets=["bulk_modulus>=250", "density<=4"], exclude="Co", n_sites=5), []),
        (Query(targets=["youngs_modulus>=250"]), []),
        (Query(targets=["youngs_modulus<=250"]), ["youngs_modulus<=250"]),
        (Query(targets=["poisson_ratio<=0.2", "bulk_modulus=max"]), ["poisson_ratio<=0.2", "bulk_modulus=max"]),
        (Query(prototype="perovskite", generator="substitution"), ["prototype perovskite"]),
        (Query(targets=["band_gap>=1"], generator="substitution"), ["band_gap>=1"]),
    ],
)
def test_what_a_generator_heeds(query: Query, ignored: list[str]) -> None:
    assert unheeded(query) == ignored


def test_rounds_and_rows_show_themselves_in_one_line() -> None:
    query = ivd.Query(targets=["bulk_modulus>=150"], n=4, relaxations=6)
    with ivd.Campaign(query, 0, fake_parts(), progress=False) as campaign:
        step = next(iter(campaign))
    assert repr(step).startswith("<Step 0: ") and "relaxed" in repr(step) and "\n" not in repr(step)
    assert "<td>" in step._repr_html_()
    row = campaign.selected[0]
    assert repr(row).startswith(f"<Evaluation {row.candidate.id}: <Crystal ") and len(repr(row)) < 160
    assert repr(good_crystals()[2]) == "<Crystal B2 Ti1, space group 191, contract>"
    bare = ivd.Crystal(np.eye(3), [119], [[0, 0, 0]])
    assert repr(Evaluation(Candidate("a", bare, "", ""))) == "<Evaluation a: <Crystal Z119:1>, proposed>"


# progress


def told(stream: progress.Progress) -> None:
    stream("relax", 1, 4)
    stream("relax", 4, 4)


def test_progress_is_shown_on_a_terminal_and_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for wanted, stream, seen in ((None, Terminal(), True), (False, Terminal(), False), (None, StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.reported(wanted) as reporter:
            told(reporter)
        assert ("relax" in stream.getvalue()) == seen
    calls: list[tuple[object, ...]] = []
    with progress.reported(lambda *args: calls.append(args)) as reporter:
        told(reporter)
    assert calls == [("relax", 1, 4), ("relax", 4, 4)]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An IPython as a Jupyter kernel has it; the list holds what its cell shows."""
    cell: list[str] = []

    class Handle:
        def update(self, text: str) -> None:
            cell.append(text)

    def display(text: str, display_id: bool) -> Handle:
        return Handle()

    ipython = types.ModuleType("IPython")
    shown = types.ModuleType("IPython.display")
    shown.HTML, shown.display = str, display  # type: ignore[attr-defined]
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    yield cell


def test_progress_is_shown_in_a_notebook(notebook: list[str]) -> None:
    assert progress.in_notebook()
    with progress.reported(None) as reporter:
        told(reporter)
    assert cell_text(notebook) == "relax: 4 of 4"
    notebook.clear()
    with progress.reported(False) as reporter:
        told(reporter)
    assert notebook == []


def cell_text(cell: list[str]) -> str:
    return cell[-1].split("</progress> ")[1]


def test_a_campaign_tells_its_progress_while_it_is_iterated_over() -> None:
    seen: list[str] = []
    query = ivd.Query(targets=["bulk_modulus>=150"], n=2, relaxations=4)
    with ivd.Campaign(query, 0, fake_parts(), progress=lambda stage, done, total: seen.append(stage)) as campaign:
        list(campaign)
    assert any("relax" in stage for stage in seen)
