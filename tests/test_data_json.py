"""JSON in every form that the field writes; nothing that a file names is imported or built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import moyopy
import numpy as np
import pytest
from crystal_files import CASES, assert_same, caesium_chloride, one, reason, skewed, written

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.data.convert import to_ase, to_pymatgen
from invdesign.data.formats import json_files
from invdesign.data.read import read_columns, read_crystals
from invdesign.records import Failure


def ase_atoms(crystal: Crystal) -> str:
    from ase.io.jsonio import encode

    return str(encode(to_ase(crystal)))


def ase_plain(crystal: Crystal) -> str:
    atoms = to_ase(crystal)
    return json.dumps({k: np.asarray(v).tolist() for k, v in atoms.todict().items()})


def ase_database(crystal: Crystal, folder: Path) -> str:
    from ase.db import connect

    with connect(folder / "rows.json") as database:
        database.write(to_ase(crystal), bulk_modulus=18.0)
    return (folder / "rows.json").read_text()


def moyo(crystal: Crystal) -> str:
    return str(
        moyopy.Cell(
            crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.numbers.tolist()
        ).serialize_json()
    )


def moyo_dict(crystal: Crystal) -> str:
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.numbers.tolist())
    return json.dumps(cell.as_dict())


def jarvis(crystal: Crystal, is_cartesian: bool = False) -> dict[str, Any]:
    from invdesign.elements import symbol

    coords = crystal.frac_coords @ crystal.lattice if is_cartesian else crystal.frac_coords
    return {
        "lattice_mat": crystal.lattice.tolist(), "coords": coords.tolist(), "cartesian": is_cartesian,
        "elements": [symbol(int(z)) for z in crystal.numbers], "props": ["", ""],
    }  # fmt: skip


def optimade(crystal: Crystal) -> dict[str, Any]:
    from invdesign.elements import symbol

    names = [symbol(int(z)) for z in crystal.numbers]
    attributes = {
        "lattice_vectors": crystal.lattice.tolist(), "species_at_sites": names, "dimension_types": [1, 1, 1],
        "cartesian_site_positions": (crystal.frac_coords @ crystal.lattice).tolist(),
        "species": [{"name": n, "chemical_symbols": [n], "concentration": [1.0]} for n in sorted(set(names))],
    }  # fmt: skip
    return {"id": "1", "type": "structures", "attributes": attributes}


JSON: dict[str, Callable[[Crystal, Path], str]] = {
    "pymatgen": lambda c, _: json.dumps(to_pymatgen(c).as_dict()),
    "pymatgen, lengths and angles": lambda c, _: json.dumps(
        {k: ({n: v for n, v in x.items() if n != "matrix"} if k == "lattice" else x)
         for k, x in to_pymatgen(c).as_dict().items()}
    ),
    "pymatgen, Cartesian": lambda c, _: json.dumps(
        {k: ([{n: v for n, v in s.items() if n != "abc"} for s in x] if k == "sites" else x)
         for k, x in to_pymatgen(c).as_dict().items()}
    ),
    "pymatgen entry": lambda c, _: json.dumps({"@class": "Entry", "structure": to_pymatgen(c).as_dict()}),
    "jarvis": lambda c, _: json.dumps([{"jid": "x-1", "atoms": jarvis(c)}]),
    "jarvis, Cartesian": lambda c, _: json.dumps(jarvis(c, True)),
    "optimade entry": lambda c, _: json.dumps(optimade(c)),
    "optimade answer": lambda c, _: json.dumps({"data": [optimade(c)], "meta": {}}),
    "optimade single answer": lambda c, _: json.dumps({"data": optimade(c)}),
    "moyo": lambda c, _: moyo(c),
    "moyo, as_dict": lambda c, _: moyo_dict(c),
    "ase atoms": lambda c, _: ase_atoms(c),
    "ase todict": lambda c, _: ase_plain(c),
    "ase database": ase_database,
    "row": lambda c, _: json.dumps(
        {"lattice": c.lattice.tolist(), "atomic_numbers": c.numbers.tolist(), "frac_coords": c.frac_coords.tolist()}  # noqa: E501
    ),
    "text in an entry": lambda c, _: json.dumps({"poscar": to_pymatgen(c).to(fmt="poscar")}),
    "json in an entry": lambda c, _: json.dumps({"structure": json.dumps(to_pymatgen(c).as_dict())}),
}  # fmt: skip


@pytest.mark.parametrize("form", JSON)
@pytest.mark.parametrize("make", [caesium_chloride, skewed])
def test_json_forms(form: str, make: Callable[[], Crystal], tmp_path: Path) -> None:
    known = make()
    found = one(written(tmp_path / "x.json", JSON[form](known, tmp_path)))
    if form == "pymatgen, lengths and angles":
        np.testing.assert_allclose(found.lattice_parameters, known.lattice_parameters)
        np.testing.assert_allclose(found.frac_coords, known.frac_coords)
    else:
        assert_same(found, known)


def test_properties_beside_json_structures(tmp_path: Path) -> None:
    ((_, columns),) = read_columns(CASES / "jarvis.json")
    assert columns == {"jid": "x-1", "bulk_modulus_kv": 18}
    written(tmp_path / "db.json", ase_database(caesium_chloride(), tmp_path))
    ((_, columns),) = read_columns(tmp_path / "db.json")
    assert columns == {"bulk_modulus": 18.0}


@pytest.mark.parametrize("name", ["json_makes_a_folder", "json_imports_a_module"])
def test_nothing_that_a_json_names_is_imported_or_built(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    monkeypatch.chdir(tmp_path)
    imported: list[str] = []
    original = builtins.__import__

    def watched(module: str, *args: Any, **kwargs: Any) -> Any:
        imported.append(module)
        return original(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", watched)
    found = list(read_crystals([CASES / f"{name}.json", CASES / "good_neighbour.json"]))
    monkeypatch.undo()
    assert [reduced_formula(c.numbers) for c in found if isinstance(c, Crystal)] == ["NaCl", "NaCl"]
    assert not any(word in module for module in imported for word in ("fsspec", "venv", "monty"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"lattice": None}, {"lattice": []}, {"lattice": {"matrix": [[1, 2], [3, 4]]}}, {"sites": []},
        {"sites": {}},
        {"lattice": {"matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "pbc": [True, True, False]}},
        {"sites": [{"abc": [0, 0, 0]}]},
        {"sites": [{"species": [{"element": "Xx", "occu": 1}], "abc": [0, 0, 0]}]},
        {"sites": [{"species": [{"element": "Na", "occu": 0.5}], "abc": [0, 0, 0]}]},
        {"sites": [{"species": [{"element": "Na", "occu": 1}]}]},
        {"sites": [{"species": [{"element": "Na", "occu": 1}], "abc": [0, 0]}]},
        {"sites": [{"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, "x"]}]},
        {"sites": [{"species": [{"element": ["Na"], "occu": 1}], "abc": [0, 0, 0]}]},
        {"sites": [{"species": "Na", "abc": [0, 0, 0]}]}, {"sites": [7]},
    ],
)  # fmt: skip
def test_damaged_json_is_a_row_and_its_neighbour_is_read(change: dict[str, Any], tmp_path: Path) -> None:
    sound = to_pymatgen(caesium_chloride()).as_dict()
    path = written(tmp_path / "x.json", json.dumps([sound | change, sound]))
    bad, good = read_crystals(path)
    assert isinstance(bad, Failure) and bad.reason
    assert_same(good, caesium_chloride())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "JSON"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "JSON"),
        ('[{"lattice_parameters": [4,4,4,90,90,90], "atomic_numbers": [1' + "1" * 5000 + "]", "JSON"),
        ("[" + "[]," * 3_000_000 + "[]]", "values"),
        ("\n" * 100_000 + "{", "JSON"),
    ],
)
def test_json_that_would_take_much(text: str, words: str, tmp_path: Path) -> None:
    assert words in reason(written(tmp_path / "x.json", text))


def test_lines_of_json_are_read_one_by_one(tmp_path: Path) -> None:
    line = json.dumps(to_pymatgen(caesium_chloride()).as_dict())
    path = written(tmp_path / "x.jsonl", f"{line}\n[broken\n\n{line}")
    assert [isinstance(item, Crystal) for item in read_crystals(path)] == [True, False, True]
    written(path, line + " " * json_files.LONGEST_LINE)
    assert "too large" in reason(path)
