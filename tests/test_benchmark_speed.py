"""`invdesign benchmark speed`: turns, ratios and comparisons; the package's own way finds what the others find."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invdesign.benchmarking import speed as bench
from invdesign.benchmarking import speed_crystals as crystals
from invdesign.benchmarking import speed_potential as energies
from invdesign.benchmarking import timing
from invdesign.benchmarking.figures.speed import growth, growth_with_atoms, markdown, memory, ratios
from invdesign.cli import run
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.errors import InputError
from invdesign.reference.local import load_hull
from invdesign.serialize import to_plain

EMT = "ase.calculators.emt:EMT"


def burn(seconds: float) -> None:
    until = timing.cpu_seconds() + seconds
    while timing.cpu_seconds() < until:
        pass


def numbers(n: int, cells: tuple[int, int], rng: np.random.Generator) -> list[int]:
    return list(range(n))


def sums(items: Sequence[Any], ours: Any, theirs: Any) -> list[timing.Equality]:
    return [timing.at_most("difference", abs(ours - theirs), 0)]


def a_stage(turns: list[str], size: int = 8) -> timing.Stage:
    def way(name: str, each: float, raises: bool = False, share: float = 1.0, **given: Any) -> timing.Way:
        def work(items: Sequence[int]) -> int:
            turns.append(name)
            if raises and len(turns) > 6:
                raise ValueError("a cell that it cannot read")
            burn(each * len(items))
            return sum(items)

        return timing.Way(name, work, share=share, **given)

    ways = (
        way(timing.OURS, 0.002),
        way("slow", 0.008),
        way("wrong", 0.002, share=0.5),
        way("broken", 0.0, raises=True),
        way("absent", 0.0, needs=("no_such_module",), hint="pip install no-such-module"),
    )
    return timing.Stage("work", "numbers", numbers, ways, sums, size, size)


def test_ways_take_turns_and_ratios_are_of_cpu_seconds_for_one_item() -> None:
    turns: list[str] = []
    found = to_plain(timing.measure(a_stage(turns), 8, seed=0, repeats=3))
    rows = {way["name"]: way for way in found["ways"]}
    ours, slow, wrong = rows[timing.OURS], rows["slow"], rows["wrong"]
    assert [s["items"] for s in ours["repeats"]] == [8] * 3 and [s["items"] for s in ours["small"]] == [2] * 3
    assert all(2.0 < ratio < 8.0 for ratio in ratios(ours, slow))
    assert all(0.5 < ratio < 2.0 for ratio in ratios(ours, wrong))  # half the items, as long for each
    assert 0.7 < growth(ours) < 1.3 and np.isnan(growth_with_atoms(found, timing.OURS))
    assert memory(ours) < 100.0 or np.isnan(memory(ours))
    assert slow["equal"] == [{"what": "difference", "value": 0.0, "limit": 0, "holds": True}]
    assert not wrong["equal"][0]["holds"]  # the sum of half the items
    assert (
        rows["broken"]["note"] == "failed: ValueError: a cell that it cannot read"
        and not rows["broken"]["repeats"]
    )
    assert rows["absent"]["note"] == "not installed: pip install no-such-module"
    timed = [name for name in turns if name in (timing.OURS, "slow")]
    assert timed[2:6] == [timing.OURS, "slow"] * 2
    assert timed[6:10] == ["slow", timing.OURS] * 2  # the order turns round


def test_memory_that_a_way_takes_is_seen() -> None:
    way = timing.Way("large", lambda items: np.ones(8_000_000 * len(items)).sum())
    _, spent = timing.timed(way, [0])
    assert np.isnan(spent.memory) or 50.0 < spent.memory < 80.0


def test_a_stage_in_the_journal_is_not_measured_again(tmp_path: Path) -> None:
    turns: list[str] = []
    plan, out = bench.SpeedPlan(("work",), repeats=1), tmp_path / "speed.json"
    makers = {"work": lambda potential: a_stage(turns, 4)}
    record = bench.speed(plan, out, makers=makers)
    count = len(turns)
    again = bench.speed(plan, out, makers=makers)
    assert len(turns) == count and again["stages"] == record["stages"]
    read = json.loads(out.read_text())
    assert read["run"]["command"].startswith("invdesign benchmark speed --stages work --repeats 1")
    assert read["stages"]["work"]["load"] and read["repeats"] == 1
    table = out.with_suffix(".md").read_text()
    assert table == markdown(read)
    assert "| work | absent |" in table and "not installed: pip install no-such-module" in table
    assert "| work | slow | difference | 0 | 0 | yes |" in table and "| **no** |" in table


def test_a_stage_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"phonos.*phonons"):
        bench.speed(bench.SpeedPlan(("phonos",)), tmp_path / "x.json")
    with pytest.raises(InputError):
        bench.SpeedPlan(("hull",), repeats=0)
    assert run(["benchmark", "speed", "--stages", "phonos", "--out", str(tmp_path / "x.json")]) == 2


def test_a_quick_look_at_hull_and_decoding_finds_the_same_as_pymatgen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = {
        "hull": lambda potential: replace(crystals.hull(potential), quick=20),
        "decoding": lambda potential: replace(crystals.decoding(potential), quick=20, by_sites=4),
    }
    for name, make in makers.items():
        monkeypatch.setitem(bench.STAGES, name, make)
    out = tmp_path / "speed.json"
    command = ["benchmark", "speed", "--quick", "--repeats", "1", "--stages", "hull,decoding", "--out", str(out)]
    assert run(command) == 0
    record = json.loads(out.read_text())
    for stage in record["stages"].values():
        equal = [row for way in stage["ways"] for row in way["equal"]]
        assert equal and all(row["holds"] for row in equal)
        assert all(way["repeats"] for way in stage["ways"])
    small, large = record["stages"]["decoding"]["sites"]
    assert 2 <= small <= 4 and 12 <= large <= 20


def test_every_stage_has_a_name_and_known_crystals_are_as_large_as_asked() -> None:
    names = tuple(bench.STAGES)
    assert {"genes", "relaxation", "hull", "matching", "elastic", "phonons"} <= set(names) and len(names) == 11
    drawn = crystals.known(6, (5, 7), np.random.default_rng(0))
    assert len(drawn) == 6 and all(5 <= crystal.n_sites <= 7 and crystal.gene is not None for crystal in drawn)


def test_phases_of_a_system_are_those_of_its_elements() -> None:
    hull = load_hull()
    found = hull.phases((12, 8))
    assert all(set(counts) <= {8, 12} for counts, _ in found)
    assert any(counts == {8: 1, 12: 1} for counts, _ in found)
    lowest = min(energy for counts, energy in found if counts == {8: 1, 12: 1})
    assert hull.energies([((8, 1), (12, 1))])[0] == pytest.approx(lowest)


def test_supercells_are_found_and_nothing_else() -> None:
    made = crystals.polymorphs(12, (2, 8), np.random.default_rng(1))
    stage = crystals.matching("")
    ours, theirs = (way.run(made) for way in stage.ways)
    assert sum(answer is not None for answer in ours) >= 2
    assert all(row.holds for row in stage.agree(made, ours, theirs))
    assert not crystals.same_matches(made, ours, [None] * len(made))[0].holds


def test_pyxtal_is_asked_for_the_groups_and_compositions_of_known_crystals() -> None:
    pytest.importorskip("pyxtal")
    salt = decode([Gene(225, (0, 1), (11, 17), (), (5.64,))])[0]
    asked = crystals.recipes([salt])
    assert asked == [crystals.Recipe(225, ("Na", "Cl"), (4, 4))]
    made = crystals.by_pyxtal(asked)
    assert made[0].n_sites == 8 and all(row.holds for row in crystals.sound(asked, made, made))


def alloy(stretch: float = 1.0) -> Crystal:
    return decode([Gene(221, (0, 2), (79, 29), (), (3.75 * stretch,))], "Cu3Au")[0]


def test_all_optimisers_end_in_the_same_minimum() -> None:
    stage = energies.relaxation(EMT)
    starts = [alloy(0.97), alloy(1.03)]
    ours = stage.ways[0].run(starts)
    for way in stage.ways[1:4]:
        rows = stage.agree(starts, ours, way.run(way.prepare(starts)))
        assert len(rows) == 5 and all(row.holds for row in rows), way.name
    (missing,) = stage.agree(starts, ours, [None, None])
    assert not missing.holds
    assert "sevenn[torchsim]" in stage.ways[4].hint


def test_an_optimiser_that_ends_higher_is_seen() -> None:
    low, high = energies.Rest(-3.0, 0.01), energies.Rest(-3.1, 0.04)
    assert [row.holds for row in energies.same_minima([low], [high])] == [True, False, False, True, True]
    assert not energies.same_minima([replace(low, force=0.2)], [low])[3].holds


def test_moduli_and_heat_capacity_agree_with_matcalc() -> None:
    pytest.importorskip("matcalc")
    rested = energies.relax_one(alloy(), [energies._calculator(EMT)], energies.RelaxSettings(max_force=0.002))
    for make in (energies.elastic, energies.phonons):
        stage = make(EMT)
        ours, theirs = (way.run(way.prepare([rested.crystal])) for way in stage.ways)  # type: ignore[union-attr]
        assert all(row.holds for row in stage.agree([rested], ours, theirs)), stage.name


def test_disturbed_crystals_keep_their_groups() -> None:
    before = crystals.known(4, (2, 8), np.random.default_rng(3))
    after = energies.disturbed(4, (2, 8), np.random.default_rng(3))
    for one, other in zip(before, after, strict=True):
        assert one.gene is not None and other.gene is not None
        assert one.gene.wyckoff_sequence == other.gene.wyckoff_sequence and one.source == other.source
        assert one.gene.free_lattice != other.gene.free_lattice
