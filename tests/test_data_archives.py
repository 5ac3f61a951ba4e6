"""Archives, tables, databases and devices: bounded, and never waited for."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import struct
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crystal_files import CASES, POSCAR, VASPRUN, assert_same, caesium_chloride, reason, skewed, written

from invdesign.crystal import Crystal
from invdesign.data import limits
from invdesign.data.convert import to_ase, to_pymatgen
from invdesign.data.formats import archives, tables
from invdesign.data.read import read_columns, read_crystals
from invdesign.records import Failure


def test_the_case_of_a_zip_of_runs(tmp_path: Path) -> None:
    found = list(read_crystals(CASES / "runs.zip"))
    assert [c.source.removeprefix(f"{CASES}/runs.zip/") for c in found if isinstance(c, Crystal)] == [
        "run1/POSCAR", "run2/CONTCAR", "run3/a.vasp",
    ]  # fmt: skip
    for crystal in found:
        assert_same(crystal, caesium_chloride())  # type: ignore[arg-type]


FILES = {
    "a/POSCAR": POSCAR, "b_POSCAR": POSCAR, "c.cif.txt": "", "d/vasprun.xml": VASPRUN, "readme.txt": "hello",
    "__MACOSX/a/._POSCAR": "\0",
}  # fmt: skip


@pytest.mark.parametrize("mode", ["zip", "tar", "tar.gz", "tgz"])
def test_archives(mode: str, tmp_path: Path) -> None:
    files = FILES | {"c.cif.txt": to_pymatgen(caesium_chloride()).to(fmt="cif")}
    path = tmp_path / f"runs.{mode}"
    if mode == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    else:
        with tarfile.open(path, "w" if mode == "tar" else "w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
    found = list(read_crystals(path))
    assert sorted(c.source for c in found if isinstance(c, Crystal)) == sorted(
        f"{path}/{name}" for name in files if name not in ("readme.txt", "__MACOSX/a/._POSCAR")
    )
    assert not any(isinstance(c, Failure) for c in found)
    content = path.read_bytes()
    written(path, content[: len(content) // 2])
    assert any(isinstance(c, Failure) for c in read_crystals(path))


def zipped(path: Path, members: dict[str, bytes], **changes: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return path


def results(path: Path) -> list[str]:
    """`crystal`, or the reason why not, for each item; it must not take long."""
    started = time.process_time()
    found = ["crystal" if isinstance(item, Crystal) else item.reason for item in read_crystals(path)]
    assert time.process_time() - started < 5.0
    return found


def test_members_that_lead_out_links_and_archives_within_archives(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"POSCAR": POSCAR.encode()}).read_bytes()
    members = {
        "../../POSCAR": POSCAR.encode(), "/etc/POSCAR": POSCAR.encode(), "C:/POSCAR": POSCAR.encode(),
        "a\\..\\..\\POSCAR": POSCAR.encode(), "inner.zip": inner, "z/POSCAR": POSCAR.encode(),
    }  # fmt: skip
    found = results(zipped(tmp_path / "x.zip", members))
    assert found.count("crystal") == 1
    assert sum("leads out" in text for text in found) == 4
    assert sum("archive within an archive" in text for text in found) == 1
    link = zipped(tmp_path / "l.zip", {"POSCAR": b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert results(link) == ["not a regular file"]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("a.cif", tarfile.SYMTYPE), ("b.cif", tarfile.FIFOTYPE), ("c.cif", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("../../POSCAR")
        info.size = len(POSCAR)
        tar.addfile(info, io.BytesIO(POSCAR.encode()))
    assert results(tmp_path / "x.tar") == ["not a regular file"] * 3 + ["its path leads out of the archive"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner.zip", "l.zip", "x.tar", "x.zip"]


def test_bombs(tmp_path: Path) -> None:
    bomb = bytes(20_000_000)
    found = results(zipped(tmp_path / "x.zip", {"a.cif": bomb, "b.cif": bomb, "z_POSCAR": POSCAR.encode()}))
    assert [text[:20] for text in found] == ["unpacks to more than", "unpacks to more than", "crystal"]
    assert "unpacks to more than" in reason(written(tmp_path / "x.cif.gz", gzip.compress(bomb)))
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("a.cif")
        info.size = len(bomb)
        tar.addfile(info, io.BytesIO(bomb))
    assert "unpacks to more than" in results(tmp_path / "x.tgz")[0]


def test_the_sum_of_an_archives_members_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_ARCHIVE", 3000)
    members = {f"{k:02d}_POSCAR": (POSCAR + " " * 1000).encode() for k in range(6)}
    found = results(zipped(tmp_path / "x.zip", members))
    assert found[:3] == ["crystal"] * 3
    assert "more than" in found[3]
    monkeypatch.setattr(archives, "MOST_MEMBERS", 5)
    assert results(tmp_path / "x.zip") == ["more than 5 members"]


def test_a_zip_that_lies_of_its_sizes(tmp_path: Path) -> None:
    """The size in the list of members is smaller than what unpacks."""
    content = bytearray(zipped(tmp_path / "x.zip", {"POSCAR": POSCAR.encode() * 100}).read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 5)
    content[22:26] = struct.pack("<I", 5)
    assert results(written(tmp_path / "x.zip", bytes(content)))[0] != "crystal"


@pytest.mark.parametrize(
    "name", ["x.cif", "POSCAR", "x.json", "x.db", "x.parquet", "x.csv", "x.zip", "x.cif.gz", "x.xyz"]
)
def test_pipes_and_devices_are_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    assert reason(tmp_path / name) == "not a regular file"
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert reason(tmp_path / name) == "not a regular file"
    assert [isinstance(item, Failure) for item in read_crystals(tmp_path)] == [True]
    written(tmp_path / "good_POSCAR", POSCAR)
    assert sum(isinstance(item, Crystal) for item in read_crystals(tmp_path)) == 1


def test_a_table_that_names_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cif")
    (tmp_path / "zero.cif").symlink_to("/dev/zero")
    written(tmp_path / "POSCAR", POSCAR)
    written(tmp_path / "t.csv", "file\npipe.cif\nzero.cif\nPOSCAR\n/dev/zero\n")
    found = list(read_crystals(tmp_path / "t.csv"))
    assert [isinstance(item, Crystal) for item in found] == [False, False, True, False]


def test_files_that_are_too_large_are_refused_by_their_size(tmp_path: Path) -> None:
    for name in ("x.cif", "x.json", "POSCAR", "x.parquet", "x.xyz"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(3 * 2**30)
        assert "too large" in reason(tmp_path / name)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("name", ["x.cif", "POSCAR", "x.json", "x.xyz", "x.csv"])
def test_blank_lines_take_no_time(name: str, tmp_path: Path) -> None:
    assert reason(written(tmp_path / name, "\n" * 300_000 + "x"))
    assert reason(written(tmp_path / name, (" " * 99 + "\n") * 20_000 + "x"))


def table_row() -> dict[str, Any]:
    return {
        "lattice_parameters": [4.12, 4.12, 4.12, 90, 90, 90],
        "atomic_numbers": [55, 17],
        "frac_coords": [0, 0, 0, 0.5, 0.5, 0.5],
    }


def test_a_parquet_file_of_few_bytes_and_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [table_row(), table_row() | {"frac_coords": [0.0] * 6_000_000}, table_row()]
    pd.DataFrame(rows).to_parquet(tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 100_000
    assert [text[:7] for text in results(tmp_path / "x.parquet")] == ["crystal", "a row o", "crystal"]
    monkeypatch.setattr(tables, "_MOST_VALUES", 1000)
    assert "values of frac_coords" in results(tmp_path / "x.parquet")[0]


def test_a_csv_with_an_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_CELL", 1000)
    cif = json.dumps(to_pymatgen(caesium_chloride()).to(fmt="poscar"))
    assert results(written(tmp_path / "x.csv", "poscar\n" + cif.replace("\\n", "\n") + "\n")) == ["crystal"]
    assert "characters" in reason(written(tmp_path / "x.csv", "poscar\n" + "x" * 2000))
    assert "binary" in reason(written(tmp_path / "x.csv", "poscar\n\0\0"))


def test_a_database_whose_table_is_a_view_without_end(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE VIEW systems AS "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
        )
    assert "not one of ASE's" in reason(path)


def test_a_database_row_is_not_built_by_ase(tmp_path: Path) -> None:
    """Constraints and calculators that a row names are left alone; damaged blobs are a row."""
    import sqlite3

    from ase.db import connect

    path = tmp_path / "x.db"
    with connect(path) as database:
        for crystal in (caesium_chloride(), skewed(), skewed()):
            database.write(to_ase(crystal), bulk_modulus=18.0)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE systems SET constraints = 'no JSON at all' WHERE id = 1")
        connection.execute("UPDATE systems SET positions = zeroblob(100000000) WHERE id = 2")
    first, second, third = read_columns(path)
    assert_same(first[0], caesium_chloride())  # type: ignore[arg-type]
    assert first[1] == {"bulk_modulus": 18.0}
    assert isinstance(second[0], Failure) and "do not belong together" in second[0].reason
    assert_same(third[0], skewed())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("needle_cell.json", "repeats after 0.87 Å"),
        ("forty_uranium_in_one_cubic_angstrom.json", "40 atoms in 1 Å³"),
    ],
)
def test_impossible_cells_are_refused_before_any_search(name: str, words: str) -> None:
    bad, good = read_crystals([CASES / name, CASES / "good_neighbour.json"])
    assert isinstance(bad, Failure) and words in bad.reason
    assert isinstance(good, Crystal)


def test_cells_with_more_atoms_than_can_be_judged(tmp_path: Path) -> None:
    count = limits.MOST_ATOMS + 1
    row = {
        "lattice_parameters": [50, 50, 50, 90, 90, 90],
        "atomic_numbers": [1] * count,
        "frac_coords": [0.1] * 3 * count,
    }
    assert f"{count} atoms" in reason(written(tmp_path / "x.json", json.dumps([row])))
