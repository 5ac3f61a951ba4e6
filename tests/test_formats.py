"""Export of a run: every format is read back by the library that it is for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from run_folder import run_folder

from invdesign.app.export import export_run
from invdesign.cli import commands
from invdesign.crystal import Crystal
from invdesign.data.read import read_crystals
from invdesign.errors import InputError, OutputError
from invdesign.report.formats import FORMATS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"), 4)


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "candidates.parquet")


def exported(folder: Path, form: str, tmp_path: Path) -> Path:
    (path,) = export_run(folder, [form], tmp_path / FORMATS[form].name)
    return path


def test_cif_has_a_block_for_each_candidate(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    from gemmi import cif

    blocks = list(cif.read(str(exported(folder, "cif", tmp_path))))
    assert [cif.as_string(b.find_value("_invdesign_id")) for b in blocks] == table.id.tolist()
    found = list(read_crystals(tmp_path / "candidates.cif"))
    assert [c.n_sites for c in found if isinstance(c, Crystal)] == table.n_sites_conventional.tolist()


def test_poscar(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    from pymatgen.io.vasp import Poscar

    files = sorted(exported(folder, "poscar", tmp_path).glob("*.vasp"))
    assert len(files) == len(table)
    for file, row in zip(files, table.itertuples(), strict=True):
        poscar = Poscar.from_file(file)
        assert poscar.structure.composition.reduced_formula == row.formula
        assert str(row.id) in poscar.comment and f"bulk_modulus={row.bulk_modulus:.4g}" in poscar.comment


def test_extxyz(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    from ase.io import read

    frames = read(exported(folder, "extxyz", tmp_path), ":")
    assert [f.info["id"] for f in frames] == table.id.tolist()
    np.testing.assert_allclose([f.info["bulk_modulus"] for f in frames], table.bulk_modulus, rtol=1e-6)
    assert all(f.pbc.all() for f in frames)


def test_pymatgen_json(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    from pymatgen.core import Structure

    entries = json.loads(exported(folder, "pymatgen", tmp_path).read_text())
    found = [Structure.from_dict(entry) for entry in entries]
    assert [s.composition.reduced_formula for s in found] == table.formula.tolist()
    np.testing.assert_allclose([s.properties["shear_modulus"] for s in found], table.shear_modulus)


def test_ase_database(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    from ase.db import connect

    with connect(str(exported(folder, "ase-db", tmp_path))) as database:
        rows = list(database.select())
        assert [row.candidate for row in rows] == table.id.tolist()
        np.testing.assert_allclose([row.bulk_modulus for row in rows], table.bulk_modulus)
        assert len(list(database.select(f"bulk_modulus>{table.bulk_modulus.median()}"))) == len(table) // 2


def test_parquet_with_structures(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    path = exported(folder, "parquet", tmp_path)
    frame = pd.read_parquet(path)
    assert (
        set(table) < set(frame) and [len(x) for x in frame.atomic_numbers] == table.n_sites_conventional.tolist()
    )
    again = [c for c in read_crystals(path) if isinstance(c, Crystal)]
    files = [next(iter(read_crystals(folder / f))) for f in table.file]
    for one, other in zip(again, files, strict=True):
        assert isinstance(other, Crystal) and sorted(one.numbers) == sorted(other.numbers)
        assert one.volume == pytest.approx(other.volume, rel=1e-4)


def test_optimade(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    answer = json.loads(exported(folder, "optimade", tmp_path).read_text())
    assert answer["meta"]["data_returned"] == len(table)
    for entry, row in zip(answer["data"], table.itertuples(), strict=True):
        about = entry["attributes"]
        assert entry["id"] == row.id and entry["type"] == "structures"
        assert about["elements"] == sorted(about["elements"]) and sum(about["elements_ratios"]) == pytest.approx(
            1.0
        )
        assert len(about["cartesian_site_positions"]) == about["nsites"] == len(about["species_at_sites"])
        assert about["_invdesign_bulk_modulus"] == pytest.approx(row.bulk_modulus)


def test_optimade_by_its_own_models(folder: Path, tmp_path: Path) -> None:
    optimade = pytest.importorskip("optimade.models")
    answer = json.loads(exported(folder, "optimade", tmp_path).read_text())
    for entry in answer["data"]:
        optimade.StructureResource(**entry)


def test_csv_has_every_column(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    assert list(pd.read_csv(exported(folder, "csv", tmp_path))) == list(table)


def test_zip_holds_the_folder_without_its_ledger(folder: Path, tmp_path: Path) -> None:
    (folder / "ledger.sqlite").write_text("big")
    with zipfile.ZipFile(exported(folder, "zip", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.namelist()}
        assert archive.testzip() is None
    assert {"candidates.csv", "report.html", "run.json", "references.bib", "data_dictionary.csv"} < names
    assert "ledger.sqlite" not in names and len([n for n in names if n.startswith("cif/")]) == 4


def test_the_command_writes_several_formats_and_overwrites_only_when_told(folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    asked = ["export", str(folder), "--format", "extxyz", "--format", "csv"]
    first = run.invoke(commands, asked)
    assert first.exit_code == 0 and first.output.count("wrote") == 2, first.output
    assert (folder / "candidates.extxyz").is_file() and (folder / "candidates_full.csv").is_file()
    with pytest.raises(OutputError, match=r"exists.*--force"):
        run.invoke(commands, asked, catch_exceptions=False, standalone_mode=False)
    assert run.invoke(commands, [*asked, "--force"]).exit_code == 0


def test_nothing_is_written_where_one_of_several_is_in_the_way(folder: Path, tmp_path: Path) -> None:
    copy = run_folder(tmp_path / "run", 2) if (tmp_path / "run").mkdir() is None else None
    assert copy is not None
    (copy / "candidates.db").write_text("mine")
    with pytest.raises(OutputError, match=r"candidates\.db exists"):
        export_run(copy, ["pymatgen", "ase-db"])
    assert not (copy / "candidates.json").exists() and (copy / "candidates.db").read_text() == "mine"


def test_wrong_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format.*xml.*optimade"):
        export_run(folder, ["xml"])
    with pytest.raises(InputError, match="one format at a time"):
        export_run(folder, ["cif", "csv"], tmp_path / "x")
    with pytest.raises(InputError, match="run folder"):
        export_run(tmp_path / "nowhere", ["cif"], tmp_path / "x.cif")
