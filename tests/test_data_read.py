"""Every format in, every damaged item a row with its reason, and nothing lost beside it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign.crystal import Crystal
from invdesign.data.convert import from_row, to_ase, to_pymatgen
from invdesign.data.labels import labels_of
from invdesign.data.read import read_crystals, read_frame, read_table
from invdesign.errors import InputError, StructureReadError
from invdesign.records import Failure

DATA = Path(__file__).parent / "data"
SAMPLE = DATA / "crystals_sample.parquet"


@pytest.fixture(scope="module")
def known() -> list[Crystal]:
    frame = pd.read_parquet(SAMPLE)
    return [from_row(row) for _, row in frame[frame.n_sites <= 6].head(5).iterrows()]


@pytest.fixture(scope="module")
def cif(known: list[Crystal]) -> str:
    return cif_of(known[0])


def cif_of(crystal: Crystal) -> str:
    return str(to_pymatgen(crystal).to(fmt="cif", symprec=0.01))


def only(path: Path | str) -> Crystal:
    (found,) = read_crystals(path)
    assert isinstance(found, Crystal), found
    return found


def reason(path: Path | str) -> str:
    (found,) = read_crystals(path)
    assert isinstance(found, Failure), found
    assert found.stage == "read"
    assert "\n" not in found.reason
    assert found.item.startswith(str(path))
    return found.reason


def assert_same_crystal(ours: object, theirs: Crystal) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    assert isinstance(ours, Crystal), ours
    assert StructureMatcher(scale=False, attempt_supercell=False).fit(to_pymatgen(ours), to_pymatgen(theirs))
    assert abs(ours.volume / ours.n_sites - theirs.volume / theirs.n_sites) < 1e-3


def write_cif(crystals: list[Crystal], folder: Path) -> Path:
    return written(folder / "one.cif", cif_of(crystals[0]))


def write_cif_blocks(crystals: list[Crystal], folder: Path) -> Path:
    header = "data_global\n_publ_section_title 'a title'\n"
    return written(folder / "many.cif", header + "\n".join(cif_of(c) for c in crystals))


def write_poscar(crystals: list[Crystal], folder: Path) -> Path:
    to_pymatgen(crystals[0]).to(filename=str(folder / "POSCAR"))
    return folder / "POSCAR"


def write_contcar(crystals: list[Crystal], folder: Path) -> Path:
    return Path(shutil.move(write_poscar(crystals, folder), folder / "CONTCAR_relaxed"))


def write_vasp(crystals: list[Crystal], folder: Path) -> Path:
    return Path(shutil.move(write_poscar(crystals, folder), folder / "x.vasp"))


def write_extxyz(crystals: list[Crystal], folder: Path) -> Path:
    from ase.io import write

    write(folder / "frames.extxyz", [to_ase(c) for c in crystals], format="extxyz")
    return folder / "frames.extxyz"


def write_json(crystals: list[Crystal], folder: Path) -> Path:
    return written(folder / "one.json", json.dumps(to_pymatgen(crystals[0]).as_dict()))


def write_json_list(crystals: list[Crystal], folder: Path) -> Path:
    text = json.dumps([to_pymatgen(c).as_dict() for c in crystals])
    (folder / "many.json.gz").write_bytes(gzip.compress(text.encode()))
    return folder / "many.json.gz"


def write_json_by_id(crystals: list[Crystal], folder: Path) -> Path:
    document = {f"mp-{i}": {"structure": to_pymatgen(c).as_dict()} for i, c in enumerate(crystals)}
    return written(folder / "by_id.json", json.dumps(document))


def write_json_split(crystals: list[Crystal], folder: Path) -> Path:
    data = [[to_pymatgen(c).as_dict(), 2.0] for c in crystals]
    document = {"index": list(range(len(data))), "columns": ["structure", "log10(K_VRH)"], "data": data}
    return written(folder / "split.json", json.dumps(document))


def write_json_lines(crystals: list[Crystal], folder: Path) -> Path:
    lines = [json.dumps({"structure": to_pymatgen(c).as_dict()}) for c in crystals]
    return written(folder / "lines.jsonl", "\n".join(lines))


def write_ase_db(crystals: list[Crystal], folder: Path) -> Path:
    return ase_db(folder / "rows.db", crystals)


def write_ase_json(crystals: list[Crystal], folder: Path) -> Path:
    return ase_db(folder / "rows.json", crystals)


def ase_db(path: Path, crystals: list[Crystal]) -> Path:
    from ase.db import connect

    with connect(path) as database:
        for index, crystal in enumerate(crystals):
            database.write(to_ase(crystal), bulk_modulus=100.0 + index)
    return path


def frame_of(crystals: list[Crystal]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lattice_parameters": [list(c.lattice_parameters) for c in crystals],
            "atomic_numbers": [c.numbers.tolist() for c in crystals],
            "frac_coords": [c.frac_coords.reshape(-1).tolist() for c in crystals],
            "bulk_modulus_vrh": 100.0 + np.arange(len(crystals)),
        }
    )


def write_parquet(crystals: list[Crystal], folder: Path) -> Path:
    frame_of(crystals).to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def write_parquet_cif(crystals: list[Crystal], folder: Path) -> Path:
    pd.DataFrame({"cif": [cif_of(c) for c in crystals]}).to_parquet(folder / "cif.parquet")
    return folder / "cif.parquet"


def write_csv(crystals: list[Crystal], folder: Path) -> Path:
    frame_of(crystals).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def write_csv_cif(crystals: list[Crystal], folder: Path) -> Path:
    frame = pd.DataFrame({"id": range(len(crystals)), "cif": [cif_of(c) for c in crystals]})
    frame.to_csv(folder / "cif.csv", sep=";", index=False)
    return folder / "cif.csv"


def write_csv_json(crystals: list[Crystal], folder: Path) -> Path:
    text = [json.dumps(to_pymatgen(c).as_dict()) for c in crystals]
    pd.DataFrame({"structure": text}).to_csv(folder / "json.csv", index=False)
    return folder / "json.csv"


def write_csv_paths(crystals: list[Crystal], folder: Path) -> Path:
    (folder / "cif").mkdir()
    names = [f"cif/{i:03d}.cif" for i in range(len(crystals))]
    for name, crystal in zip(names, crystals, strict=True):
        written(folder / name, cif_of(crystal))
    pd.DataFrame({"file": names, "bulk_modulus": 100.0}).to_csv(folder / "candidates.csv", index=False)
    return folder / "candidates.csv"


def write_zip(crystals: list[Crystal], folder: Path) -> Path:
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for index, crystal in enumerate(crystals):
            archive.writestr(f"inner/{index}.cif", cif_of(crystal))
        archive.writestr("__MACOSX/inner/._0.cif", b"\0\0")
        archive.writestr("README.txt", "hello")
    return folder / "all.zip"


def write_folder(crystals: list[Crystal], folder: Path) -> Path:
    for index, crystal in enumerate(crystals):
        (folder / "a" / str(index)).mkdir(parents=True)
        written(folder / "a" / str(index) / "x.cif", cif_of(crystal))
    written(folder / "a" / "notes.txt", "hello")
    return folder / "a"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


SINGLE = [write_cif, write_poscar, write_contcar, write_vasp, write_json]
SEVERAL = [
    write_cif_blocks, write_extxyz, write_json_list, write_json_by_id, write_json_split, write_json_lines,
    write_ase_db, write_ase_json, write_parquet, write_parquet_cif, write_csv, write_csv_cif, write_csv_json,
    write_csv_paths, write_zip, write_folder,
]  # fmt: skip
Write = Callable[[list[Crystal], Path], Path]


@pytest.mark.parametrize("write", SINGLE)
def test_files_of_one_crystal(write: Write, known: list[Crystal], tmp_path: Path) -> None:
    path = write(known, tmp_path)
    crystal = only(path)
    assert crystal.source == str(path)
    assert_same_crystal(crystal, known[0])


@pytest.mark.parametrize("write", SEVERAL)
def test_files_of_several_crystals(write: Write, known: list[Crystal], tmp_path: Path) -> None:
    path = write(known, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(read_crystals([path]))
    assert len(found) == len(known)
    for ours, theirs in zip(found, known, strict=True):
        assert_same_crystal(ours, theirs)
    sources = {c.source for c in found if isinstance(c, Crystal)}
    assert len(sources) == len(known)
    assert all(s.startswith(str(tmp_path)) for s in sources)


def test_one_corrupt_among_a_hundred_good(cif: str, tmp_path: Path) -> None:
    for index in range(100):
        written(tmp_path / f"{index:03d}.cif", cif)
    written(tmp_path / "050x.cif", cif[: len(cif) // 2])
    found = list(read_crystals(tmp_path))
    assert len(found) == 101
    (bad,) = [f for f in found if isinstance(f, Failure)]
    assert bad.item == str(tmp_path / "050x.cif")


def test_a_cif_cut_off_anywhere_is_never_another_crystal(known: list[Crystal], tmp_path: Path) -> None:
    """The formula that a CIF states guards against atoms that are lost with its end."""
    text = cif_of(known[1])
    whole = only(written(tmp_path / "whole.cif", text))
    atoms = text.rindex("\n", 0, len(text) - 1)
    for cut in range(20, atoms, 97):
        (found,) = read_crystals(written(tmp_path / "cut.cif", text[:cut]))
        if isinstance(found, Crystal):
            assert sorted(found.numbers) == sorted(whole.numbers)


def test_broken_blocks_frames_rows_and_lines_do_not_stop_the_rest(known: list[Crystal], tmp_path: Path) -> None:
    text = "\n".join([cif_of(known[0]), "data_broken\n_atom_site_label Fe1\n", cif_of(known[1])])
    assert pattern(written(tmp_path / "b.cif", text)) == "cFc"
    path = write_extxyz(known, tmp_path)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].split()[0] + " nowhere 0 0"
    assert pattern(written(path, "\n".join(lines))) == "Fcccc"
    assert pattern(written(path, "\n".join(lines[:-1]))) == "FcccF"
    frame = frame_of(known).astype(object)
    frame.at[1, "frac_coords"] = [0.0]
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert pattern(tmp_path / "t.csv") == "cFccc"
    written(tmp_path / "u.csv", (tmp_path / "t.csv").read_text() + "only,two\n")
    assert pattern(tmp_path / "u.csv") == "cFcccF"
    lines = write_json_lines(known, tmp_path).read_text().splitlines()
    lines[3] = lines[3][:50]
    assert pattern(written(tmp_path / "l.jsonl", "\n".join(lines))) == "cccFc"


def pattern(path: Path) -> str:
    return "".join("F" if isinstance(f, Failure) else "c" for f in read_crystals(path))


def test_damaged_files_each_give_one_line(known: list[Crystal], tmp_path: Path) -> None:
    assert "empty" in reason(written(tmp_path / "a.cif", ""))
    assert "no data block" in reason(written(tmp_path / "b.cif", "hello"))
    assert "no atoms" in reason(written(tmp_path / "c.cif", "data_x\n_cell_length_a 3\n"))
    assert "JSON" in reason(written(tmp_path / "d.json", '{"lattice": '))
    assert "without a crystal" in reason(written(tmp_path / "e.json", '{"a": 1}'))
    assert "SQLite" in reason(written(tmp_path / "f.db", "hello"))
    assert "parquet" in reason(written(tmp_path / "g.parquet", "hello"))
    assert "zip" in reason(written(tmp_path / "h.zip", "hello"))
    assert "gzip" in reason(written(tmp_path / "i.cif.gz", "hello"))
    assert "unknown kind" in reason(written(tmp_path / "j.docx", "hello"))
    assert "no structure column" in reason(written(tmp_path / "k.csv", "formula,x\nFe,1\n"))
    assert "not a number of atoms" in reason(written(tmp_path / "l.xyz", "hello"))
    assert "three directions" in reason(written(tmp_path / "m.xyz", "1\n\nHe 0 0 0\n"))
    assert "VASP 4" in reason(written(tmp_path / "POSCAR", "x\n1\n3 0 0\n0 3 0\n0 0 3\n1\nDirect\n0 0 0\n"))
    whole = write_zip(known, tmp_path).read_bytes()
    (tmp_path / "n.zip").write_bytes(whole[: len(whole) // 2])
    assert "zip" in reason(tmp_path / "n.zip")


def test_a_damaged_database_is_a_row(known: list[Crystal], tmp_path: Path) -> None:
    path = write_ase_db(known, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert any(isinstance(f, Failure) for f in read_crystals(path))


def test_reading_a_database_leaves_it_alone(known: list[Crystal], tmp_path: Path) -> None:
    import sqlite3

    path = write_ase_db(known, tmp_path)
    before = path.read_bytes()
    assert len(list(read_crystals(path))) == len(known)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.db"]
    other = tmp_path / "ledger.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER)")
    before = other.read_bytes()
    assert "not one of ASE's" in reason(other)
    assert other.read_bytes() == before


def test_disorder_and_lost_hydrogen_in_a_cif_are_refused(cif: str, tmp_path: Path) -> None:
    formula = next(line for line in cif.splitlines() if line.startswith("_chemical_formula_sum"))
    hydrous = cif.replace(formula, formula.rstrip("'") + " H4'")
    assert "do not add up to the formula" in reason(written(tmp_path / "h.cif", hydrous))
    lines = cif.splitlines()
    lines[-1] = lines[-1].rsplit(maxsplit=1)[0] + " 0.5"
    assert "disordered" in reason(written(tmp_path / "d.cif", "\n".join(lines)))


def test_a_run_folder_is_read_once(known: list[Crystal], tmp_path: Path) -> None:
    """Tables that name files, settings and foreign databases in a folder do not count as crystals."""
    write_csv_paths(known, tmp_path)
    written(tmp_path / "run.json", '{"seed": 0}')
    shutil.copy(tmp_path / "candidates.csv", tmp_path / "copy.csv")
    assert pattern(tmp_path) == "ccccc"
    shutil.make_archive(str(tmp_path.parent / "packed"), "zip", tmp_path)
    assert pattern(tmp_path.parent / "packed.zip") == "ccccc"


def test_a_table_that_names_missing_files(known: list[Crystal], tmp_path: Path) -> None:
    path = write_csv_paths(known, tmp_path)
    (tmp_path / "cif" / "002.cif").unlink()
    found = list(read_crystals(path))
    bad = found[2]
    assert isinstance(bad, Failure)
    assert "002.cif" in bad.reason
    assert bad.item == f"{path}#2"


def test_wrong_arguments_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_crystals([tmp_path / "nowhere.cif"])
    with pytest.raises(InputError, match="folder"):
        read_crystals(tmp_path)
    with pytest.raises(InputError, match="at least one"):
        read_crystals([])
    with pytest.raises(InputError, match="nowhere"):
        read_table(tmp_path / "nowhere.parquet")
    written(tmp_path / "run.json", '{"seed": 0}')
    assert "no crystal in any of its 1 files" in reason(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_row(cif: str, tmp_path: Path) -> None:
    written(tmp_path / "a.cif", cif).chmod(0)
    assert "Permission" in reason(tmp_path / "a.cif")


def test_files_in_other_encodings(cif: str, tmp_path: Path) -> None:
    (tmp_path / "bom.cif").write_bytes(b"\xef\xbb\xbf" + cif.replace("\n", "\r\n").encode())
    (tmp_path / "latin.cif").write_bytes(b"# \xe5ngstr\xf6m\n" + cif.encode())
    (tmp_path / "wide.cif").write_bytes(cif.encode("utf-16"))
    assert pattern(tmp_path) == "ccc"


@pytest.mark.parametrize("write", [write_ase_db, write_ase_json, write_parquet, write_csv])
def test_labels_beside_the_crystals(write: Write, known: list[Crystal], tmp_path: Path) -> None:
    rows = list(read_table(write(known, tmp_path)))
    assert [labels for _, labels in rows] == [{"bulk_modulus": 100.0 + i} for i in range(len(known))]


def test_labels_in_json_and_extxyz(known: list[Crystal], tmp_path: Path) -> None:
    from ase.io import write

    assert next(read_table(write_json_split(known, tmp_path)))[1] == {"bulk_modulus": pytest.approx(100.0)}
    atoms = to_ase(known[0])
    atoms.info["formation_energy"] = -1.5
    write(tmp_path / "x.extxyz", atoms, format="extxyz")
    assert next(read_table(tmp_path / "x.extxyz"))[1] == {"formation_energy": -1.5}


def test_column_names() -> None:
    columns = {
        "bulk_modulus_vrh": 1.0, "bulk_modulus": 2.0, "G_VRH": "3", "formation_energy_per_atom": np.float64(-1),
        "band_gap": float("nan"), "energy_above_hull": "", "mp2024_energy_above_hull": 9.0, "formula": "Fe",
    }  # fmt: skip
    assert labels_of(columns) == {"bulk_modulus": 2.0, "shear_modulus": 3.0, "formation_energy": -1.0}
    with pytest.raises(StructureReadError, match="bulk_modulus: '250 GPa' is not a number"):
        labels_of({"bulk_modulus": "250 GPa"})


def test_a_label_that_is_no_number_is_a_row(known: list[Crystal], tmp_path: Path) -> None:
    frame = frame_of(known).astype({"bulk_modulus_vrh": object})
    frame.loc[2, "bulk_modulus_vrh"] = "250 GPa"
    frame.to_csv(tmp_path / "t.csv", index=False)
    results = [item for item, _ in read_table(tmp_path / "t.csv")]
    assert isinstance(results[2], Failure)
    assert sum(isinstance(r, Failure) for r in results) == 1
    assert all(isinstance(r, Crystal) for r in read_crystals(tmp_path / "t.csv"))


def test_frame_of_the_sample() -> None:
    frame, failures = read_frame(SAMPLE)
    raw = pd.read_parquet(SAMPLE)
    assert failures == []
    assert frame.formula.tolist() == raw.formula.tolist()
    assert frame.material_id.tolist() == raw.material_id.tolist()
    assert frame.chemical_system.tolist() == raw.chemical_system.tolist()
    np.testing.assert_array_equal(frame.shear_modulus, raw.shear_modulus_vrh)
    np.testing.assert_array_equal(frame.formation_energy, raw.formation_energy_per_atom)
    np.testing.assert_allclose(np.stack(frame.lattice_parameters), np.stack(raw.lattice_parameters), atol=1e-6)
    assert "space_group" in frame
    assert "bulk_modulus_vrh" not in frame


def test_encrypted_members(cif: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.cif", cif)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    for header in (b"PK\x03\x04", b"PK\x01\x02"):
        content[content.index(header) + (6 if header[2] == 3 else 8)] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    assert reason(tmp_path / "locked.zip") == "encrypted"


def test_links_that_lead_nowhere_are_rows(cif: str, tmp_path: Path) -> None:
    written(tmp_path / "a.cif", cif)
    (tmp_path / "b.cif").symlink_to(tmp_path / "nowhere.cif")
    assert pattern(tmp_path) == "cF"


def test_frames_apart_by_blank_lines(known: list[Crystal], tmp_path: Path) -> None:
    path = write_extxyz(known[:1], tmp_path)
    assert pattern(written(path, path.read_text() + "\n\n" + path.read_text())) == "cc"
