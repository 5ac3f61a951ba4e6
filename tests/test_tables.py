"""The one door to tables and weights: which folder is read, and what is said of one that is not complete."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from invdesign import build, tables
from invdesign.chemistry.charge_states import load_charge_states
from invdesign.chemistry.element_data import table as element_table
from invdesign.chemistry.element_features import element_features
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.errors import ReferenceMissingError
from invdesign.generators.gan import GANGenerator
from invdesign.generators.sampler import _shipped as shipped_generator
from invdesign.generators.vae import VAEGenerator
from invdesign.potentials.energy_scale import EnergyScale, shipped
from invdesign.reference.known import KnownCrystals
from invdesign.reference.local import _columns
from invdesign.surrogates import _shipped as shipped_surrogate
from invdesign.surrogates.explain.nearest import load_labelled
from invdesign.surrogates.hardness import load_hardness

ROOT = Path(__file__).parent.parent
SOURCES = [p for folder in ("invdesign", "generators", "validators") for p in (ROOT / folder).rglob("*.py")]


def test_the_package_reads_its_own_tables_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tables.VARIABLE, raising=False)
    assert tables.folder() == ROOT / "invdesign" / "tables"
    monkeypatch.setenv(tables.VARIABLE, "")
    assert tables.folder() == ROOT / "invdesign" / "tables"
    tables.use(tmp_path)
    assert tables.folder() == tmp_path.resolve() and os.environ[tables.VARIABLE] == str(tmp_path.resolve())
    assert shipped() == []
    (tmp_path / "energy_scale_mine.json").write_text("{}")
    assert shipped() == ["mine"]


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ReferenceMissingError, match=r"INVDESIGN_TABLES=.*nowhere: there is no such folder"):
        tables.read_json("element_data.json")


READERS: dict[str, Callable[[], object]] = {
    "element_data.json": element_table.__wrapped__,
    "element_features.json": element_features.__wrapped__,
    "charge_states.npz": load_charge_states.__wrapped__,
    "wyckoff.npz": wyckoff_table.__wrapped__,
    "hull.parquet": lambda: _columns("hull.parquet"),
    "known_crystals.parquet": KnownCrystals.load,
    "labelled_crystals.npz": load_labelled,
    "energy scale": lambda: EnergyScale.load("sevennet-0"),
    "surrogate_gate.safetensors": lambda: shipped_surrogate.__wrapped__("gate"),
    "hardness.safetensors": load_hardness.__wrapped__,
    "vae.safetensors": lambda: shipped_generator.__wrapped__(VAEGenerator),
    "gan.safetensors": lambda: shipped_generator.__wrapped__(GANGenerator),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_looks_into_the_named_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder must be noticed by each of them: none may fall back on the package's tables."""
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    with pytest.raises(ReferenceMissingError):
        READERS[name]()
    assert build.checksums() == {}


def test_no_other_module_looks_for_tables_by_itself() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path != ROOT / "invdesign" / "tables" / "__init__.py"
        and ('"invdesign.tables"' in (text := path.read_text()) or "tables.__file__" in text)
    ]
    assert guilty == []


def test_the_command_names_the_folder_and_the_table_that_is_missing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "invdesign", "generate", "random", "-n", "1", "--out", str(tmp_path / "out")],
        env=os.environ | {tables.VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 2
    assert str(tmp_path) in run.stderr and tables.VARIABLE in run.stderr and run.stderr.count("\n") <= 2
