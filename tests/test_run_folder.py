"""A run folder: lean and full tables, their dictionary, tags in the CIF files, references."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folder import POTENTIAL, VERSIONS, run_folder

from invdesign.crystal import Crystal
from invdesign.data.read import read_crystals
from invdesign.errors import OutputError
from invdesign.properties import SHIPPED
from invdesign.report.bibliography import bibliography, entries, keys
from invdesign.report.cif_tags import annotate, tags
from invdesign.report.dictionary import INDEX, MEANINGS, described
from invdesign.report.export import FULL, LEAN
from invdesign.report.folder import DICTIONARY, PACKAGE, REFERENCES, lean_table, write_parquet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"), 5)


@pytest.fixture(scope="module")
def full(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / FULL)


@pytest.fixture(scope="module")
def lean(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / LEAN)


def test_everything_is_there(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {LEAN, FULL, DICTIONARY, PACKAGE, REFERENCES, "run.json", "report.html", "cif"}


def test_the_dictionary_lists_every_column_with_type_and_meaning(
    folder: Path, full: pd.DataFrame, lean: pd.DataFrame
) -> None:
    found = pd.read_csv(folder / DICTIONARY, keep_default_na=False).set_index("column")
    assert list(found.index) == list(full)
    assert found.index[found.meaning == ""].tolist() == []
    assert set(found.type) <= {"number", "integer", "boolean", "string", "array"}
    assert set(found.index[found.in_csv]) == set(lean)
    assert found.unit["bulk_modulus_std"] == "GPa" and found.unit["energy_above_hull"] == "eV/atom"
    kinds = {"number": "fi", "integer": "fiI", "boolean": "bO", "string": "O", "array": "O"}
    wrong = [c for c in full if full[c].dtype.kind not in kinds[found.type[c]] and full[c].notna().any()]
    assert wrong == []


def test_every_property_is_explained() -> None:
    assert set(MEANINGS) == set(SHIPPED)
    for name, prop in SHIPPED.items():
        assert described(name).unit == prop.unit
        assert described(f"{name}_low").meaning.endswith(prop.label)
    assert described("never heard of").meaning == ""


def test_the_lean_table_is_what_a_person_reads(full: pd.DataFrame, lean: pd.DataFrame) -> None:
    assert len(lean) == len(full) and set(lean) < set(full) and len(list(lean)) < 0.5 * len(list(full))
    assert not [c for c in lean if c.endswith(("_low", "_source", "_by_element")) and c != "rank_low"]
    assert list(lean)[:3] == ["rank", "id", "file"]
    assert not [c for c in lean if lean[c].isna().all()]
    np.testing.assert_allclose(lean.bulk_modulus, full.bulk_modulus, atol=full.bulk_modulus_std.max() * 0.06)
    assert [c for c in full if c.startswith(INDEX) and not c.endswith("_std")] == [
        c for c in lean if c.startswith(INDEX) and not c.endswith("_std")
    ]


def test_means_have_the_digits_of_their_errors() -> None:
    table = pd.DataFrame({"poisson_ratio": [0.21234], "poisson_ratio_std": [0.0123], "price": [12345.678]})
    found = lean_table(table.assign(price_std=[2000.0]))
    assert found.iloc[0].tolist() == ["0.212", "0.012", "12300", "2000"]


def test_numbers_of_atoms_are_those_of_the_primitive_and_the_conventional_cell(
    folder: Path, full: pd.DataFrame
) -> None:
    from invdesign.crystallography.symmetry import primitive

    for row in full.itertuples():
        (crystal,) = read_crystals(folder / str(row.file))
        assert isinstance(crystal, Crystal)
        assert primitive(crystal, 0.1).n_sites == row.n_sites
        assert row.n_sites_conventional % row.n_sites == 0


def test_the_package_describes_the_tables_and_frictionless_rules_hold(folder: Path, lean: pd.DataFrame) -> None:
    package = json.loads((folder / PACKAGE).read_text())
    csv, parquet = package["resources"]
    assert (csv["path"], parquet["path"]) == (LEAN, FULL)
    fields = {f["name"]: f for f in csv["schema"]["fields"]}
    assert list(fields) == list(lean) and csv["schema"]["primaryKey"] == "id"
    raw = pd.read_csv(folder / LEAN, dtype=str, keep_default_na=False)
    reads: dict[str, Any] = {"number": float, "integer": int, "boolean": {"True": 1, "False": 0}.__getitem__}
    for name, field in fields.items():
        cells = [cell for cell in raw[name] if cell not in csv["schema"]["missingValues"]]
        for cell in cells:
            reads.get(field["type"], str)(cell)


def test_crystals_say_what_they_are_and_read_as_before(folder: Path, full: pd.DataFrame) -> None:
    from gemmi import cif

    row = full.iloc[0]
    (block,) = cif.read(str(folder / row.file))
    value = {
        tag: cif.as_string(block.find_value(f"_invdesign_{tag}")) for tag in ("id", "potential", "query", "seed")
    }
    assert value["id"] == row.id and value["potential"] == POTENTIAL and value["seed"] == "0"
    assert json.loads(" ".join(value["query"].split()))["component"] == "light_stiff_beam"
    software = {
        cif.as_string(a): cif.as_string(b) for a, b in block.find("_invdesign_software_", ["name", "version"])
    }
    assert software == VERSIONS
    found = {r[0]: r for r in block.find("_invdesign_property_", ["name", "value", "su", "unit", "source"])}
    assert float(found["bulk_modulus"][1]) == pytest.approx(row.bulk_modulus, rel=0.05)
    assert found["bulk_modulus"][3] == "GPa"
    (crystal,) = read_crystals(folder / row.file)
    assert isinstance(crystal, Crystal) and crystal.n_sites == row.n_sites_conventional


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")  # 0.33333333 becomes 1/3
def test_pymatgen_reads_tagged_crystals(folder: Path, full: pd.DataFrame) -> None:
    from pymatgen.io.cif import CifParser

    for row in full.itertuples():
        (structure,) = CifParser(folder / str(row.file)).parse_structures(primitive=False)
        assert structure.composition.reduced_formula == row.formula


def test_tags_are_replaced_and_not_added_twice(folder: Path, full: pd.DataFrame, tmp_path: Path) -> None:
    path = folder / full.file[0]
    before = path.read_text()
    annotate(folder, full, json.loads((folder / "run.json").read_text()))
    assert path.read_text() == before and before.count("_invdesign_version") == 1


HOSTILE = 'it\'s "x"\n;\nloop_\n_cell_length_a 1\ndata_two\ud7ff é β-phase'


def test_hostile_texts_stay_within_their_item() -> None:
    from gemmi import cif

    row = {
        "id": HOSTILE,
        "reason": "_cell_length_a",
        "generator": "loop_",
        "verdict": "data_x " * 40,
        "formula": "#1",
    }
    block = cif.read_string(f"data_a\n{tags(row, {'versions': {HOSTILE: HOSTILE}})}").sole_block()
    assert block.find_value("_cell_length_a") is None
    assert cif.as_string(block.find_value("_invdesign_reason")) == "_cell_length_a"
    assert cif.as_string(block.find_value("_invdesign_generator")) == "loop_"
    assert cif.as_string(block.find_value("_invdesign_formula")) == "#1"
    assert "data_x data_x" in cif.as_string(block.find_value("_invdesign_verdict"))
    assert "it's" in cif.as_string(block.find_value("_invdesign_id"))


def test_no_text_of_a_table_is_a_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    from invdesign.report.export import original, write_table

    table = pd.DataFrame({"reason": ["=1+1", "@x", "-1.5", "plain"], "bulk_modulus": [-1.0, 2.0, 3.0, 4.0]})
    cells = pd.read_csv(write_table(table, tmp_path / "x.csv"), dtype=str)
    assert cells.reason.tolist() == ["'=1+1", "'@x", "-1.5", "plain"] and cells.bulk_modulus[0] == "-1"
    assert [original(c) for c in cells.reason] == table.reason.tolist()


def test_parquet_keeps_columns_of_mixed_types_and_says_what_cannot_be_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["x", 1, None], "b": [1.0, np.nan, 2.0]})
    found = pd.read_parquet(write_parquet(table, tmp_path / "x.parquet"))
    assert found.a.tolist()[:2] == ["x", "1"] and found.b.isna().sum() == 1
    with pytest.raises(OutputError, match="cannot be written"):
        write_parquet(table, tmp_path / "nowhere" / "x.parquet")


def test_references_are_those_of_the_run(folder: Path) -> None:
    text = (folder / REFERENCES).read_text()
    shipped = entries()
    found = re.findall(r"^@\w+\{([\w-]+),", text, re.M)
    assert found[0] == "invdesign" and set(found[1:]) <= set(shipped) and len(set(found)) == len(found)
    assert {"park_2024_sevennet", "ong_2013_pymatgen", "ashby_2016_selection"} <= set(found)
    assert text.count("{") == text.count("}")
    bare = keys({})
    assert "park_2024_sevennet" not in bare and "ashby_2016_selection" not in bare
    assert "akiba_2019_optuna" in keys({"query": {"search": "optuna"}})
    assert "deng_2023_chgnet" in bibliography({"parts": {"potential": "chgnet (0.4)"}})


@pytest.mark.parametrize("key", sorted(entries()))
def test_every_reference_has_what_a_citation_needs(key: str) -> None:
    entry = entries()[key]
    fields = set(re.findall(r"^\s+(\w+) = \{", entry, re.M))
    assert {"author", "title", "year", "note"} <= fields
    assert fields & {"doi", "url", "publisher", "booktitle"}
