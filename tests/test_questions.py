"""Questions go out as inputs of other programs; their outputs come back as values."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import cubic, fake_parts
from test_campaign import EVOLUTION, SIZES
from vasp_runs import vasprun

from invdesign import build
from invdesign.app.design import result_of
from invdesign.app.imports import import_calculations
from invdesign.app.questions import export_questions, open_questions
from invdesign.cli import run
from invdesign.data.calculations import Calculation, read_calculations
from invdesign.engine.campaign import Campaign
from invdesign.engine.ledger import Ledger
from invdesign.engine.stored import stored_rows
from invdesign.errors import InputError, OutputError
from invdesign.mechanics.tensors import WEIGHT, from_mandel, summarise
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.query import Query
from invdesign.records import (
    MEASURED,
    Candidate,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Status,
    Value,
    Verdict,
)
from invdesign.report.inputs.espresso import grid
from invdesign.report.inputs.jobs import elastic_set
from invdesign.selection.questions import questions
from invdesign.target import Target

QUERY = Query(targets=["bulk_modulus>=200"], n=4, relaxations=12)
TITLES = {"Ti": "PAW_PBE Ti_pv 07Sep2000", "N": "PAW_PBE N 08Apr2002"}


def row(
    above: float, bulk: float, name: str = "a", std: float = 0.03, verdict: Status = Status.PASS
) -> Evaluation:
    crystal = cubic(225, 22, 7, 4.24)
    return Evaluation(
        Candidate(name, crystal, "r", "vae"),
        relaxation=Relaxation(crystal, -8.0, Value(-0.9, 0.03), 0.01, 9, True, 1.0, 0.0, 0.0, "fake"),
        energy_above_hull=Value(above, std),
        estimate=Estimate({"bulk_modulus": Value(bulk, 20.0)}),
        verdicts={"novelty": Verdict("novelty", verdict)},
    )


def asked(rows: list[Evaluation], known: dict[str, dict[str, Value]] | None = None) -> list[str]:
    found = questions(rows, [Target.parse("bulk_modulus>=200")], 0.1, known or {})
    return [q.row.candidate.id for q in found]


def test_the_uncertain_come_first_and_the_hopeless_not_at_all() -> None:
    sure, open_, hopeless = row(0.0, 300.0, "sure"), row(0.1, 205.0, "open"), row(0.4, 80.0, "hopeless")
    assert asked([sure, hopeless, open_])[0] == "open" and "hopeless" not in asked([sure, hopeless, open_])
    assert asked([row(0.1, 205.0, "known crystal", verdict=Status.FAIL)]) == []
    assert asked([replace(open_, energy_above_hull=None)]) == []


def test_what_came_back_is_not_asked_again() -> None:
    open_ = row(0.1, 205.0)
    (question,) = questions([open_], [Target.parse("bulk_modulus>=200")], 0.1)
    assert question.asks == ("energy", "elastic")
    p = 0.5 * question_chance(open_)
    assert question.value == pytest.approx(p * (1 - p), abs=1e-6)
    back = Value(200.0, 2.0, source=MEASURED)
    known = {"a": {"bulk_modulus": back, "shear_modulus": back}}
    (question,) = questions([open_], [Target.parse("bulk_modulus>=200")], 0.1, known)
    assert question.asks == ("energy",) and "0.100 ± 0.030" in question.why
    everything = {"a": {**known["a"], "energy_above_hull": Value(0.1, 0.005)}}
    assert questions([open_], [Target.parse("bulk_modulus>=200")], 0.1, everything) == []


def question_chance(given: Evaluation) -> float:
    from invdesign.selection.targets import target_probability

    return target_probability([Target.parse("bulk_modulus>=200")], given.estimate)


def test_strained_cells_are_as_few_as_symmetry_leaves() -> None:
    cell = cubic(225, 22, 7, 4.24)
    found = elastic_set(cell)
    assert [job.name for job in found] == ["elastic/1_plus", "elastic/1_minus"]
    plus, minus = (job.crystal.lattice for job in found)
    assert np.allclose(plus + minus, 2.0 * cell.lattice)
    assert np.linalg.norm(found[0].strain) == pytest.approx(0.0075)
    assert grid(4.0 * np.eye(3), 0.2) == (8, 8, 8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, made with small parts and few evaluations."""
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
    where = tmp_path / "run"
    with Campaign(QUERY, 0, fake_parts(), where / "ledger.sqlite", sizes=SIZES, evolution=EVOLUTION) as campaign:
        list(campaign)
        result_of(campaign).write(where)
    return where


def test_stored_rows_are_those_of_the_campaign(folder: Path) -> None:
    with Campaign(QUERY, 0, fake_parts(), folder / "ledger.sqlite", sizes=SIZES, evolution=EVOLUTION) as campaign:
        list(campaign)
        rows = {row.candidate.id: row for row in campaign.selected if row.relaxation is not None}
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        stored = stored_rows(ledger)
    assert [row.candidate.id for row in stored] == [r.candidate.id for r in campaign.rows if r.relaxation]
    for mine in stored:
        whole = rows[mine.candidate.id]
        assert mine.energy_above_hull == whole.energy_above_hull and mine.estimate == whole.estimate
        assert mine.verdicts == whole.verdicts and mine.score == whole.score and mine.failure == whole.failure


@pytest.mark.parametrize(("program", "file"), [("vasp", "INCAR"), ("qe", "espresso.in"), ("cp2k", "cp2k.inp")])
def test_inputs_are_written_with_the_reason(program: str, file: str, folder: Path) -> None:
    target, found = export_questions(folder, program, top=2)
    assert target == folder / f"inputs-{program}" and len(found) == 2
    text = (target / "README.md").read_text()
    crystals = sorted(p for p in target.iterdir() if p.is_dir())
    for place, question in zip(crystals, found, strict=True):
        assert f"| `{place.name}` | {question.row.candidate.id} |" in text and question.why in text
        mark = json.loads((place / "elastic" / "1_plus" / "question.json").read_text())
        assert mark["candidate"] == question.row.candidate.id and mark["kind"] == "strained"
        assert {p.name for p in place.iterdir()} == {"relax", "static", "elastic"}
        assert all((job / file).is_file() for job in (place / "relax", place / "static", place / "elastic/1_plus"))
    with pytest.raises(OutputError, match="not empty"):
        export_questions(folder, program, top=2)


def test_vasp_inputs_are_those_of_the_materials_project(folder: Path) -> None:
    from pymatgen.io.vasp.inputs import Incar, Poscar

    target, found = export_questions(folder, "vasp", top=1)
    (place,) = (p for p in target.iterdir() if p.is_dir())
    relax, strained = (Incar.from_file(str(place / name / "INCAR")) for name in ("relax", "elastic/1_minus"))
    assert (relax["ENCUT"], relax["ISIF"], strained["ISIF"]) == (520, 3, 2)
    structure = Poscar.from_file(str(place / "relax" / "POSCAR"), check_for_potcar=False).structure
    assert sorted(structure.atomic_numbers) == sorted(found[0].row.crystal.numbers.tolist())
    assert len((place / "relax" / "POTCAR.spec").read_text().split()) == len(set(structure.atomic_numbers))
    assert not list(target.rglob("POTCAR"))


def test_cp2k_inputs_read_back(folder: Path) -> None:
    from pymatgen.io.cp2k.inputs import Cp2kInput

    target, _ = export_questions(folder, "cp2k", top=1)
    (path,) = target.rglob("relax/cp2k.inp")
    found = Cp2kInput.from_file(str(path))
    assert found["GLOBAL"].get_keyword("RUN_TYPE").values == ("CELL_OPT",)
    assert "SMEAR" in found["FORCE_EVAL"]["DFT"]["SCF"].subsections


def test_qe_inputs_read_back(folder: Path) -> None:
    from ase.io import read

    target, found = export_questions(folder, "qe", top=1)
    (path,) = target.rglob("relax/espresso.in")
    atoms = read(path, format="espresso-in")
    assert np.allclose(atoms.cell.array, found[0].row.crystal.lattice)


def test_a_program_that_is_not_known_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(folder), "--for", "siesta"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "vasp, qe, cp2k" in line
    assert run(["export", str(folder), "--for", "qe", "--top", "1"]) == 0
    assert "value 0." in capsys.readouterr().out


# what comes back


def test_a_formation_energy_is_on_the_scale_of_the_materials_project(tmp_path: Path) -> None:
    cell = cubic(225, 22, 7, 4.24)
    (tmp_path / "vasprun.xml").write_text(vasprun(cell, -19.5, TITLES))
    (found,) = read_calculations([tmp_path])
    assert isinstance(found, Calculation), found
    assert found.corrected_energy == pytest.approx(0.5 * (-19.5 - 0.361), abs=1e-3)  # N as an anion


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encut": 400.0}, "ENCUT is below"),
        ({"exchange": 1.0}, "not with GGA"),
        ({"labels": {**TITLES, "Ti": "PAW_PBE Ti_sv 26Sep2005"}}, "differ from MPRelaxSet"),
    ],
)
def test_other_settings_give_no_energy(change: dict[str, object], words: str, tmp_path: Path) -> None:
    given = {"labels": TITLES} | change
    (tmp_path / "vasprun.xml").write_text(vasprun(cubic(225, 22, 7, 4.24), -19.5, **given))  # type: ignore[arg-type]
    (found,) = read_calculations([tmp_path])
    assert isinstance(found, Calculation) and found.corrected_energy is None and words in found.note


def test_files_that_cannot_be_used_are_a_line_each(tmp_path: Path) -> None:
    text = vasprun(cubic(225, 22, 7, 4.24), -19.5, TITLES)
    for name, content in {
        "cut": text[: len(text) // 2],
        "unconverged": vasprun(cubic(225, 22, 7, 4.24), -19.5, TITLES, converged=False),
        "empty": "",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vasprun.xml").write_text(content)
    (tmp_path / "bare.extxyz").write_text(
        '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nTi 0 0 0\n'
    )
    paths = [tmp_path / "cut", tmp_path / "unconverged", tmp_path / "empty", tmp_path / "bare.extxyz"]
    found = list(read_calculations([*paths, tmp_path / "nowhere.xml"]))
    assert len(found) == 5 and all(isinstance(item, Failure) and "\n" not in item.reason for item in found)
    assert "have not converged" in found[1].reason  # type: ignore[union-attr]


def test_exported_questions_come_back_as_values(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, (question, *_) = export_questions(folder, "vasp", top=1)
    (place,) = (p for p in target.iterdir() if p.is_dir())
    name, crystal = question.row.candidate.id, question.row.crystal
    stiffness = np.full((6, 6), 0.0)
    stiffness[:3, :3] = 120.0 + 200.0 * np.eye(3)
    stiffness[3:, 3:] = 150.0 * np.eye(3)
    for job in elastic_set(crystal):
        strain = np.array(job.strain)
        stress = 3.0 * np.eye(3) + from_mandel((stiffness * np.outer(WEIGHT, WEIGHT)) @ strain)  # GPa
        text = vasprun(job.crystal, -10.0, any_titles(crystal), stress=-10.0 * stress)
        (place / job.name / "vasprun.xml").write_text(text)
    (place / "static" / "vasprun.xml").write_text("<modeling>")
    assert run(["import", str(folder), str(target)]) == 0
    lines = capsys.readouterr().err
    assert f"{name}: bulk_modulus 186.7" in lines and "not taken over: " in lines and "static" in lines
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        back = ledger.feedback()
    summary = summarise(stiffness)
    assert back[name]["bulk_modulus"].mean == pytest.approx(summary.bulk_hill, rel=1e-4)
    assert back[name]["shear_modulus"].mean == pytest.approx(summary.shear_hill, rel=1e-4)
    assert all(q.asks == ("energy",) for q in open_questions(folder) if q.row.candidate.id == name)


def any_titles(crystal: object) -> dict[str, str]:
    from invdesign.elements import symbol

    return {symbol(z): f"PAW_PBE {symbol(z)} 08Apr2002" for z in set(crystal.numbers.tolist())}  # type: ignore[attr-defined]


def test_an_energy_finds_its_candidate_by_structure(folder: Path) -> None:
    from pymatgen.io.vasp.sets import MPRelaxSet

    from invdesign.data.convert import to_pymatgen
    from invdesign.elements import symbol

    candidates = open_questions(folder)
    crystal = candidates[0].row.crystal
    labels = MPRelaxSet(to_pymatgen(crystal)).potcar_symbols
    titles = {label.split("_")[0]: f"PAW_PBE {label} 08Apr2002" for label in labels}
    path = folder / "vasprun.xml"
    path.write_text(vasprun(crystal, -7.0 * crystal.n_sites, titles))
    (found,) = read_calculations([path])
    assert isinstance(found, Calculation)
    if found.corrected_energy is None:
        pytest.fail(found.note)
    elements = EnergyScale.load("mp2020").elements
    mean = np.mean([elements[symbol(z)] for z in crystal.numbers.tolist()])
    values = import_calculations(folder, [path]).values
    (told,) = values.values()
    assert told["formation_energy"].mean == pytest.approx(found.corrected_energy - mean)


def test_nothing_to_take_over_is_one_line_and_records_nothing(folder: Path) -> None:
    (folder / "vasprun.xml").write_text("<modeling>")
    with pytest.raises(InputError, match="at least one that can be taken over"):
        import_calculations(folder, [folder / "vasprun.xml"])
    with Ledger.read(folder / "ledger.sqlite") as ledger:
        assert ledger.feedback() == {}
