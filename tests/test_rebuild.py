"""The chain that rebuilds tables and weights: sheets, source data, the small sample, all of it at small scale."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign import tables
from invdesign.errors import InputError
from invdesign.training.rebuild import SOURCES, begin, digest, options, sources
from invdesign.training.sheet import FIELDS, UNKNOWN, Sheet, commit, read_sheet

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(p for p in tables.SHIPPED.iterdir() if p.suffix in (".json", ".npz", ".parquet", ".safetensors"))
STEPS = re.findall(r"^\$\(S\)/([a-z0-9-]+):(.*)\n\t\$\(call step,(\w+\.py)", (ROOT / "Makefile").read_text(), re.M)
NOT_BUILDING = {"sample_small.py", "pictures.py", "mark_records.py", "build_report_assets.py"}
"""Scripts that make no table."""
SHEET = Sheet(
    about="Something.",
    script="python scripts/x.py",
    data={"a.csv": "12ab"},
    split="none",
    seed="0",
    metrics="error 0.1 | bias 0.2",
    commit="abc1234",
    licence="CC BY 4.0",
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_table_has_a_data_sheet_with_all_fields(path: Path) -> None:
    found = read_sheet(path.with_suffix(".md"))
    assert {name for name in FIELDS if not found.get(name)} == set()
    script = re.search(r"scripts/\w+\.py", found["script"])
    assert script and (ROOT / script.group()).is_file()
    assert re.search(r"\b[0-9a-f]{7,}\b", found["commit"]) or found["commit"].startswith(UNKNOWN)
    assert "SHA-256" in found["data"] or "no file" in found["data"] or UNKNOWN in found["data"]
    assert path.with_suffix(".md").read_text().startswith(f"# {path.name}\n")


def test_no_data_sheet_without_a_table() -> None:
    assert {p.stem for p in tables.SHIPPED.glob("*.md")} == {p.stem for p in SHIPPED}


def test_what_is_written_in_a_sheet_can_be_read(tmp_path: Path) -> None:
    sheet = SHEET.write(tmp_path / "x.parquet")
    assert sheet == tmp_path / "x.md"
    found = read_sheet(sheet)
    assert tuple(found) == FIELDS or set(found) == set(FIELDS)
    assert found["metrics"] == "error 0.1 | bias 0.2" and found["data"] == "`a.csv` (SHA-256 12ab)"
    sheet.write_text(sheet.read_text().replace("| seed | 0 |\n", ""))
    assert "seed" not in read_sheet(sheet)


@pytest.mark.parametrize("field", FIELDS)
def test_a_sheet_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(InputError, match=field):
        replace(SHEET, **{field: ""})


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert head.startswith(commit(ROOT).removesuffix("-dirty").rpartition("-g")[2])
    assert commit(tmp_path).startswith("not known")


def given(data: Path, any_data: bool = False) -> argparse.Namespace:
    return argparse.Namespace(data=data, any_data=any_data)


def test_source_data_are_compared_with_their_checksums(tmp_path: Path) -> None:
    file = tmp_path / "crystals.parquet"
    with pytest.raises(InputError, match=r"crystals\.parquet.*Materials Project"):
        sources(given(tmp_path), file.name)
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"SHA-256 {digest(file)[:12]}.*5069032.*--any-data"):
        sources(given(tmp_path), file.name)
    assert sources(given(tmp_path, any_data=True), file.name) == {file.name: digest(file)}
    (tmp_path / SOURCES).write_text(json.dumps({file.name: {"sha256": digest(file)}}))
    assert sources(given(tmp_path), file.name) == {file.name: digest(file)}
    file.write_bytes(b"changed since")
    with pytest.raises(InputError):
        sources(given(tmp_path), file.name)


def test_every_source_says_where_it_comes_from() -> None:
    listed = json.loads((ROOT / "scripts" / SOURCES).read_text())
    for name, entry in listed.items():
        assert {"what", "origin", "licence", "cite", "obtain", "sha256"} <= set(entry), name
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]), name
    page = (ROOT / "docs" / "rebuild.md").read_text()
    assert [name for name in listed if f"`{name}`" not in page] == []


def test_a_script_reads_and_writes_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tables.VARIABLE, "elsewhere")
    found = begin(options("doc", small=True), ["--out", str(tmp_path / "new"), "--data", "x", "--small"])
    assert found.small and tables.folder() == (tmp_path / "new").resolve() and found.out.is_dir()


def test_the_makefile_has_a_step_for_every_script_and_every_table() -> None:
    scripts = {p.name for p in (ROOT / "scripts").glob("*.py")} - NOT_BUILDING
    assert {script for _, _, script in STEPS} == scripts
    listed = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "rebuild.md").read_text()
    for name, _, _ in STEPS:
        assert re.search(rf"^  {name} ", listed, re.M), name
        assert f"`{name}`" in page, name
    assert [path.name for path in SHIPPED if f"`{path.name}`" not in page] == []


def test_make_asks_for_the_data(tmp_path: Path) -> None:
    run = subprocess.run(
        ["make", "-C", str(ROOT), "rebuild", f"OUT={tmp_path / 'out'}"], capture_output=True, text=True
    )
    assert run.returncode != 0 and "make rebuild DATA=DIR" in run.stdout and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    command = [sys.executable, "scripts/sample_small.py", "--to", str(folder), "--crystals", "150"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_small_sample_holds_what_the_package_knows(small: Path) -> None:
    from invdesign.reference.local import load_hull, load_known

    frame = pd.read_parquet(small / "crystals.parquet")
    assert len(frame) == 150 and frame.bulk_modulus_vrh.notna().sum() == 100
    assert frame.n_sites.max() <= 20 and frame.energy_above_hull.max() <= 0.3
    known = load_known()
    rows = {known.id(row): row for row in range(len(known))}
    for entry in frame.sample(20, random_state=0).itertuples():
        crystal = known[rows[entry.material_id]]
        assert (crystal.formula, crystal.gene.space_group) == (entry.formula, entry.space_group)
        mixture = load_hull().mixture(entry.atomic_numbers)
        assert mixture is not None
        above = entry.formation_energy_per_atom - mixture.energy
        assert max(above, 0.0) == pytest.approx(entry.energy_above_hull, abs=2e-3)


def test_stand_ins_are_new_and_keep_their_energies(small: Path) -> None:
    from invdesign.data.alexandria import crystals_of, formation_energies, read_alexandria
    from invdesign.records import Value
    from invdesign.reference.local import LocalReference

    table = read_alexandria(small / "alexandria_eos.parquet")
    listed = set(pd.read_parquet(small / "convex_hull.parquet").formula)
    listed |= set(pd.read_parquet(small / "crystals.parquet").formula)
    assert not set(table.formula) & listed and table.nsites.max() <= 6
    crystals = crystals_of(table)
    energies = formation_energies(table, crystals)
    reference = LocalReference()
    for crystal, energy in list(zip(crystals, energies, strict=True))[:20]:
        above = reference.energy_above_hull(crystal, Value(float(energy), 0.0))
        assert above is not None and -1e-3 < above.mean < 0.301


def test_hardnesses_are_the_measured_ones(small: Path) -> None:
    """Three of the published table, by hand: Al3BC3 at 0.25 and 10 N, and Al3C2B48 at 1.96 N."""
    table = pd.read_csv(small / "vickers_hardness.csv").set_index(["composition", "load"]).hardness.sort_index()
    assert len(table) > 700
    assert 20.7 in set(table.loc["B0.1429C0.4286Al0.4286", 0.25])
    assert 11.1 in set(table.loc["B0.1429C0.4286Al0.4286", 10.0])
    assert 33.0 in set(table.loc["B0.9057C0.0377Al0.0566", 1.96])


def test_the_sample_depends_on_its_seed_alone(small: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        command = [sys.executable, "scripts/sample_small.py", "--to", str(tmp_path / str(seed))]
        command += ["--crystals", "150", "--seed", str(seed)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    first, again, other = (json.loads((f / SOURCES).read_text()) for f in (small, tmp_path / "0", tmp_path / "1"))
    assert first == again
    assert first["crystals.parquet"]["sha256"] != other["crystals.parquet"]["sha256"]


@pytest.mark.slow
def test_the_whole_chain_at_small_scale_ends_with_tables_that_answer_a_query(tmp_path: Path) -> None:
    out = tmp_path / "tables"
    make = ["make", "-C", str(ROOT), "-j2", "rebuild-small", f"OUT={out}", f"PYTHON={sys.executable}"]
    built = subprocess.run(make, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-4000:]
    assert {p.name for p in SHIPPED} == {p.name for p in out.iterdir() if p.suffix != ".md"}
    for path in SHIPPED:
        assert set(read_sheet(out / f"{path.stem}.md")) == set(FIELDS), path.stem
    query = ["--target", "density<=6", "-n", "2", "--relaxations", "2", "--max-energy-above-hull", "1"]
    run = subprocess.run(
        [sys.executable, "-m", "invdesign", "design", *query, "--seed", "0", "--out", str(tmp_path / "run")],
        env=os.environ | {tables.VARIABLE: str(out)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["relaxations"] == 2 and record["funnel"]["relax"]["passed"] >= 1
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "candidates.csv")["density"]).all()
