"""CIF files read back as the same crystal; tables and run folders are whole or refused."""

from __future__ import annotations

import io
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.cif import cif_text, gene_text, hermann_mauguin, operation_text, p1_text
from invdesign.crystallography.genes import decode, decode_conventional, lattice_from_free
from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import free_lattice_names, wyckoff_table
from invdesign.errors import OutputError
from invdesign.report import export
from invdesign.testing import good_crystals

ROCK_SALT = Gene(225, (0, 1), (12, 8), (), (4.21,))


def random_gene(number: int, rng: np.random.Generator) -> Gene:
    """A general and a special position of a group, with a cell that has no accidental symmetry."""
    table = wyckoff_table()
    general = table.count(number) - 1
    special = int(rng.integers(table.count(number)))
    while table.freedom[table.index(number, special)] == 0 and special == general:
        special = int(rng.integers(table.count(number)))
    wyckoffs = tuple(sorted({special, general}))
    freedom = sum(int(table.freedom[table.index(number, w)]) for w in wyckoffs)
    lengths = {"a": 7.1, "b": 8.3, "c": 9.7, "alpha": 81.0, "beta": 97.0, "gamma": 104.0}
    lattice = tuple(lengths[name] for name in free_lattice_names(number))
    return Gene(number, wyckoffs, (22, 8)[: len(wyckoffs)], tuple(rng.random(freedom)), lattice)


@pytest.mark.parametrize("number", [1, 2, 5, 14, 15, 62, 70, 88, 122, 148, 155, 166, 167, 176, 205, 220, 227, 230])
def test_cif_is_read_by_pymatgen_and_ase_as_the_same_crystal(number: int) -> None:
    from ase.io import read
    from pymatgen.io.cif import CifParser

    gene = random_gene(number, np.random.default_rng(number))
    wanted = decode_conventional(gene)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_pymatgen = CifParser.from_str(gene_text(gene)).parse_structures(primitive=False)[0]
        by_ase = read(io.StringIO(gene_text(gene)), format="cif")
    assert by_ase.info["spacegroup"].no == number
    readings = [
        (by_pymatgen.lattice.matrix, [s.specie.Z for s in by_pymatgen], by_pymatgen.frac_coords),
        (by_ase.cell.array, by_ase.numbers, by_ase.get_scaled_positions()),
    ]
    for lattice, numbers, coords in readings:
        found = Crystal(lattice, np.array(numbers), coords)
        assert found.lattice_parameters == pytest.approx(wanted.lattice_parameters, abs=1e-6)
        assert _same_atoms(found, wanted)


def _same_atoms(a: Crystal, b: Crystal) -> bool:
    """Whether both hold the same atoms at the same fractional coordinates, in any order."""
    if sorted(a.numbers) != sorted(b.numbers):
        return False
    offset = a.frac_coords[:, None] - b.frac_coords[None]
    offset -= np.round(offset)
    near = (np.abs(offset).max(axis=2) < 2e-4) & (a.numbers[:, None] == b.numbers[None])
    return bool(near.any(axis=1).all() and near.any(axis=0).all())


def test_same_atoms_notices_a_moved_atom() -> None:
    crystal = decode_conventional(ROCK_SALT)
    moved = crystal.frac_coords.copy()
    moved[0, 0] += 0.01
    assert not _same_atoms(crystal, Crystal(crystal.lattice, crystal.numbers, moved))


def test_operations_and_symbols_follow_the_international_tables() -> None:
    mirror = np.array([[0.0, -1, 0], [1, -1, 0], [0, 0, -1]])
    assert operation_text(mirror, np.array([2 / 3, 0.0, 0.75])) == "-y+2/3, x-y, -z+3/4"
    symbols = {14: "P 1 21/c 1", 166: "R -3 m:H", 194: "P 63/m m c", 225: "F m -3 m", 227: "F d -3 m:2"}
    assert {number: hermann_mauguin(number) for number in symbols} == symbols


def test_one_site_per_orbit() -> None:
    sites = gene_text(ROCK_SALT).split("_atom_site_occupancy\n")[1].splitlines()
    assert [line.split()[:4] for line in sites] == [["Mg", "Mg0", "4", "a"], ["O", "O1", "4", "b"]]


def test_a_thousand_files_in_seconds(tmp_path: Path) -> None:
    crystals = decode([ROCK_SALT] * 1000)
    start = time.process_time()
    names = export.write_cifs(crystals, tmp_path)
    assert time.process_time() - start < 10.0
    assert len(set(names)) == 1000
    assert names[0] == "cif/0001_MgO_225.cif"


def test_verified_cif_tightens_until_the_crystal_survives() -> None:
    """Barium titanate's small polar shift is lost at 0.1 Å; the written crystal must keep it."""
    shifted = np.array([[0, 0, 0], [0.5, 0.5, 0.509], [0.5, 0.5, 0.991], [0.5, 0, 0.491], [0, 0.5, 0.491]])
    crystal = Crystal(np.diag([3.99, 3.99, 4.03]), np.array([56, 22, 8, 8, 8]), shifted)
    assert space_group(crystal, 0.1) == 221
    text, group = export.verified_cif(crystal)
    assert group == 99
    assert export.reads_back(text, crystal, 99)


def test_reads_back_can_fail() -> None:
    crystal, other = decode([ROCK_SALT, Gene(225, (0, 1), (12, 8), (), (5.0,))])
    assert export.reads_back(cif_text(crystal), crystal, 225)
    assert not export.reads_back(cif_text(other), crystal, 225)
    assert not export.reads_back(cif_text(crystal), crystal, 221)
    assert not export.reads_back("data_x\n", crystal, 225)


def test_a_crystal_without_symmetry_is_written_as_p1() -> None:
    lattice = lattice_from_free(1, (4.0, 5.0, 6.0, 80.0, 95.0, 102.0))
    crystal = Crystal(lattice, np.array([3, 9]), np.array([[0.0, 0, 0], [0.4, 0.3, 0.6]]))
    assert "'P 1'" in p1_text(crystal)
    assert export.verified_cif(crystal)[1] in (1, 2)


def test_folders_and_files_are_refused_with_a_clear_line(tmp_path: Path) -> None:
    folder = tmp_path
    full = folder / "full"
    full.mkdir()
    (full / export.LEDGER).touch()
    with pytest.raises(OutputError, match=r"is not empty.*invdesign resume"):
        export.new_folder(full)
    with pytest.raises(OutputError, match="is a file"):
        export.new_folder(full / export.LEDGER)
    with pytest.raises(OutputError, match="cannot be written"):
        export.writable_folder(full / export.LEDGER / "below")
    with pytest.raises(OutputError, match="is a folder"):
        export.writable_file(full)
    assert export.new_folder(folder / "fresh").is_dir()


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    export.write_json({"a": float("nan"), "b": [1.0, float("inf")]}, path)
    assert json.loads(path.read_text()) == {"a": None, "b": [1.0, None]}
    assert not list(path.parent.glob("*.part"))


def test_file_names_hold_nothing_a_file_system_minds() -> None:
    crystal = Crystal(5 * np.eye(3), np.array([12, 8, 8, 1, 1]), np.random.default_rng(0).random((5, 3)))
    assert export.file_stem(crystal) == "MgH2O2"
    assert {export.file_stem(c) for c in good_crystals()} == {"MgO", "CsCl", "TiB2", "SrTiO3", "Cu", "SiO2"}
