"""Commands on many crystals: the input is worked on in blocks, and what is done is kept where they are stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from invdesign.app import tables
from invdesign.app.crystals import predict, validate
from invdesign.app.relax import relax
from invdesign.app.tables import Rows, read_blocks
from invdesign.crystal import Crystal
from invdesign.data.read import read_crystals
from invdesign.errors import StructureReadError
from invdesign.progress import quiet
from invdesign.records import Failure, Relaxation
from invdesign.relaxation.relaxer import PotentialRelaxer
from invdesign.report import export
from invdesign.testing import good_crystals

EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six CIF files, and one that is none, third in their order."""
    files = tmp_path / "files"
    export.write_cifs(good_crystals(), files)
    (files / "cif" / "002_a.cif").write_text("data_broken\n_cell_length_a x\n")
    return files


@pytest.mark.parametrize("size", [1, 2, 4, 7, 512])
def test_blocks_hold_every_item_once_and_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(tables, "BLOCK", size)
    blocks = list(read_blocks(folder, quiet))
    names = [item.item if isinstance(item, Failure) else item.source for block in blocks for item in block.items]
    whole = [item.item if isinstance(item, Failure) else item.source for item in read_crystals(folder)]
    assert names == whole and len(names) == 7
    assert [block.done for block in blocks] == list(range(0, 7, size))
    assert [block.total for block in blocks] == ([7] if size > 7 else [None] * len(blocks))
    assert sum(len(block.sound) for block in blocks) == 6


def test_files_are_read_when_their_block_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 2)
    read: list[int] = []
    blocks = read_blocks(folder, lambda _, done, __: read.append(done))
    next(blocks)
    assert read == [1, 2]


def test_nothing_that_can_be_read_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 1)
    for name in "ab":
        (tmp_path / f"{name}.cif").write_text("data_x\n")
    with pytest.raises(StructureReadError, match=r"none of 2 items could be read as a crystal: .*a\.cif"):
        list(read_blocks(tmp_path, quiet))


def test_verdicts_do_not_depend_on_the_size_of_blocks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate(folder, tmp_path / "whole.csv")
    monkeypatch.setattr(tables, "BLOCK", 2)
    found = validate(folder, tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert len(found) == 7 and (found.failure.fillna("") != "").sum() == 1


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_size_of_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predict(folder, drift=True)
    monkeypatch.setattr(tables, "BLOCK", 4)
    parts = predict(folder, drift=True)
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-4)  # sums of single precision depend on the batch
    assert parts.attrs["drift"].lines() == whole.attrs["drift"].lines()


ROWS: list[export.Row] = [
    {"file": "a", "n_sites": 2, "failure": "", "value": None, "flag": True},
    {"file": "b", "failure": "broken"},
    {"file": "c", "n_sites": 3, "failure": "", "value": 2.5, "flag": False, "count": 3, "words": "x"},
    {"file": "d", "n_sites": 3, "failure": "", "value": 1.0, "flag": True, "count": 4, "words": None},
]


@pytest.mark.parametrize("n", range(5))
def test_rows_make_the_same_table_as_a_list_of_them(n: int) -> None:
    rows = Rows()
    rows.add(ROWS[:2][:n])
    rows.add(ROWS[2:n])
    pd.testing.assert_frame_equal(rows.frame(), export.frame(ROWS[:n]))
    assert len(rows) == n


def metals() -> list[Crystal]:
    """Copper at four lattice constants."""
    copper = next(each for each in good_crystals() if set(each.numbers.tolist()) == {29})
    return [replace(copper, lattice=copper.lattice * (1.0 + 0.01 * k), source=f"c{k}") for k in range(4)]


def test_relaxations_that_were_done_are_kept_at_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = PotentialRelaxer.relax_iter

    def interrupted(
        self: PotentialRelaxer, crystals: Sequence[Crystal]
    ) -> Iterator[tuple[int, Relaxation | Failure]]:
        for done, (_, result) in enumerate(given(self, crystals)):
            if done == 3:
                raise KeyboardInterrupt
            yield (1, 0, 3)[done], result  # the third is not done when the fourth is

    monkeypatch.setattr(PotentialRelaxer, "relax_iter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        relax(metals(), tmp_path / "run", workers=1, potential=EMT)
    table = pd.read_csv(tmp_path / "run" / "relaxed.csv")
    assert list(table.source) == ["c0", "c1"]
    assert [item.formula for item in table.itertuples()] == ["Cu", "Cu"]
    assert sorted(path.name[:3] for path in (tmp_path / "run" / "cif").iterdir()) == ["001", "002"]
