"""The targets benchmark: a run with scripted parts against figures counted by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_parts import Distances, FakeReference, FakeRelaxer, Novelty, Unique, cubic, derive

from invdesign.benchmarking.figures.numbers import cell
from invdesign.benchmarking.metrics import KNOWN, Rate
from invdesign.benchmarking.targets import QUICK_TARGETS, TARGETS, TargetBench, TargetPlan, markdown, targets
from invdesign.cli import run
from invdesign.crystal import Crystal, Gene
from invdesign.engine.parts import Parts
from invdesign.errors import ConflictError, InputError, OutputError
from invdesign.records import Conditions, Estimate, Failure, Relaxation, Value
from invdesign.reference.known import KnownCrystal

FIRST = (12, 20, 38, 22, 23, 24, 56, 40, 72)
"""First element of each sample, which decides what the scripted parts say of it."""
GATE_K = {23: 100.0}
"""Bulk modulus by the gate, GPa; 250 for all others."""
RELAXED_K = {72: 300.0}
GATE_ABOVE_HULL = {56: 0.5}
RELAXED_ABOVE_HULL = {38: 0.5}
FAILS, BECOMES_KNOWN, TOO_NEAR, KNOWN_CARBIDE = 40, 20, 24, 22


class Scripted:
    """Samples 0 to 8 are crystals, sample 9 cannot be made."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, dict[str, float]]] = []
        self.counts = {"known": 3, "other_group": 1}

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        self.asked.append((n, dict(conditions.properties)))
        second = {KNOWN_CARBIDE: 6}
        edge = {TOO_NEAR: 2.5}
        made = [cubic(221, z, second.get(z, 8), edge.get(z, 4.2)) for z in FIRST]
        return iter([*made, Failure("generate", "nothing")][:n])


class Surrogate:
    def __init__(self, moduli: dict[int, float], above_hull: dict[int, float]) -> None:
        self.moduli, self.above_hull = moduli, above_hull

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        return [self._one(int(c.numbers[0])) for c in crystals]

    def _one(self, z: int) -> Estimate:
        k, energy = self.moduli.get(z, 250.0), self.above_hull.get(z, 0.02)
        return Estimate(
            {
                "bulk_modulus": Value(k, 0.05 * k),
                "band_gap": Value(3.0, 0.1),
                "formation_energy": Value(energy - 1.0, 0.02),
                "energy_above_hull": Value(energy, 0.02),
            }
        )


class Relaxer(FakeRelaxer):
    """Half a second each; stops at the `stop`-th crystal."""

    def __init__(self, stop: int = 99) -> None:
        super().__init__()
        self.stop, self.done = stop, 0

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        for index in reversed(range(len(crystals))):
            if self.done == self.stop:
                raise KeyboardInterrupt
            self.done += 1
            yield index, self._scripted(crystals[index])

    def _scripted(self, crystal: Crystal) -> Relaxation | Failure:
        z = int(crystal.numbers[0])
        if z == FAILS:
            return Failure("relax", "two atoms came near")
        final = cubic(221, KNOWN_CARBIDE, 6, 4.3) if z == BECOMES_KNOWN else crystal
        energy = RELAXED_ABOVE_HULL.get(z, 0.02) - 1.0
        return Relaxation(final, energy - 5.0, Value(energy, 0.03), 0.01, 7, True, 0.5, 0.1, 0.03, "fake 1")


def known(name: str, first: int, second: int) -> KnownCrystal:
    return KnownCrystal(name, name, Gene(221, (0, 1), (first, second), (), (4.1,)), 0.0, math.nan, None)


REAL = [known("MgO", 12, 8), known("VN", 23, 7), known("VP", 23, 15), known("TiC", 22, 6)]


def bench(generator: Scripted, relaxer: Relaxer) -> TargetBench:
    reference = FakeReference()
    parts = Parts(
        generators={"fake": generator},
        gate=Surrogate(GATE_K, GATE_ABOVE_HULL),
        surrogate=Surrogate(RELAXED_K, {}),
        screens=(Distances(),),
        inspections=(Novelty(reference),),
        relaxer=relaxer,
        reference=reference,
        checks=(Distances(), Novelty(reference)),
        unique=Unique(),
        derive=derive,
    )
    return TargetBench(parts, REAL, Surrogate({23: 100.0, 22: 400.0}, {}), Unique, {"potential": "fake 1"})


ONE, BOTH = "bulk_modulus=250", "bulk_modulus=250,band_gap>=3.1"
PLAN = TargetPlan(("fake",), n=10, relax=5, targets=(ONE, BOTH))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("benchmark") / "targets.json"
    return targets(PLAN, out, bench=bench(Scripted(), Relaxer())), out


def counts(figures: dict, key: str) -> tuple[int, int]:
    return figures[key]["count"], figures[key]["of"]


def test_raw_samples_are_judged_by_the_gate(measured):
    raw = measured[0]["targets"][ONE]["generators"]["fake"]["raw"]
    assert counts(raw, "made") == (9, 10)
    assert counts(raw, "on_target") == (8, 10)  # all but the vanadate at 100 GPa and what was not made
    assert counts(raw, "on_target_and_stable") == (7, 10)  # nor the one at 0.5 eV/atom
    assert counts(raw, "known") == (1, 10)  # the carbide
    assert counts(raw, "known_of_those_on_target") == (1, 8)
    assert counts(raw, "left_out_as_trained_on") == (3, 13)
    assert raw["median"] == {"bulk_modulus": 250.0}


def test_the_screen_counts_what_it_leaves_out(measured):
    stages = measured[0]["targets"][ONE]["generators"]["fake"]["screen"]
    assert stages["screen"]["rejected"] == {"distances": 1}
    assert stages["inspect"]["rejected"] == {"novelty": 1}
    assert stages["gate"]["passed"] == 5
    for stage in stages.values():
        assert stage["entered"] == stage["passed"] + sum(stage["rejected"].values())


def test_relaxed_crystals_are_judged_by_the_relaxed_surrogate_and_the_hull(measured):
    found = measured[0]["targets"][ONE]["generators"]["fake"]["relaxed"]
    # chosen are Mg, Ca, Sr, Zr and Hf; Zr fails, Ca becomes the known carbide, Sr is unstable, Hf off target
    assert found["spent"] == 5
    assert counts(found, "on_target") == (3, 5)
    assert counts(found, "stable") == (3, 5)
    assert counts(found, "on_target_and_stable") == (2, 5)
    assert counts(found, "hits_per_relaxation") == (1, 5)
    assert counts(found, "known") == (1, 5)
    assert counts(found, "known_of_those_on_target_and_stable") == (1, 2)
    assert found["rejected"] == {"novelty": 1}
    assert [hit["formula"] for hit in found["hits"]] == ["MgO"]
    assert found["hits"][0]["energy_above_hull"] == pytest.approx(0.02)
    assert found["cpu_seconds_per_hit"] == found["cpu_seconds"] >= 4 * 0.5


def test_a_pair_needs_both(measured):
    found = measured[0]["targets"][BOTH]
    assert counts(found["generators"]["fake"]["raw"], "on_target") == (0, 10)
    assert found["generators"]["fake"]["relaxed"]["hits_per_relaxation"]["count"] == 0
    assert found["generators"]["fake"]["relaxed"]["cpu_seconds_per_hit"] is None
    assert counts(found, "known_crystals_on_target") == (0, 4)


def test_known_crystals_are_the_base_rate(measured):
    assert counts(measured[0]["targets"][ONE], "known_crystals_on_target") == (
        1,
        4,
    )  # MgO; their own gate gives TiC 400 GPa


def test_targets_are_pooled(measured):
    together = measured[0]["together"]["fake"]
    assert list(together) == ["hard", "chosen", "all"]
    assert together["hard"]["targets"] == 1
    assert counts(together["all"]["raw"], "on_target") == (8, 20)
    assert counts(together["all"]["relaxed"], "hits_per_relaxation") == (1, 10)


def test_the_generator_is_asked_as_in_a_design_run(tmp_path):
    generator = Scripted()
    targets(replace(PLAN, targets=("bulk_modulus>=300",)), tmp_path / "t.json", bench=bench(generator, Relaxer()))
    assert generator.asked == [(n, {"energy_above_hull": 0.0, "bulk_modulus": 360.0}) for n in (1, 10)]


def test_the_files_of_a_run(measured):
    record, out = measured
    assert json.loads(out.read_text())["plan"]["targets"] == list(PLAN.targets)
    table = out.with_suffix(".md").read_text()
    assert table == markdown(record)
    row = next(line for line in table.splitlines() if line.startswith(f"| `{ONE}` | hard | fake |"))
    assert "| 80.0 (49–94) | 70.0 (40–89) | 10.0 (2–40) | 12.5 (2–47) |" in row
    assert "| 5 | 60.0 (23–88) | 60.0 (23–88) | 20.0 (4–62) |" in row
    assert f"| `{ONE}` | hard | {KNOWN} | 25.0 (5–70) |" in table
    assert cell(Rate(2, 2000).to_dict()) == "0.10 (0.03–0.36)"
    assert cell(Rate(20, 2000).to_dict()) == "1.0 (0.6–1.5)"
    assert "potential: fake 1" in table
    page = out.with_suffix(".html").read_text()
    assert f"{ONE}, fake: 8 of 10, 80.0 %" in page
    assert f"{ONE}, known: 1 of 4, 25.0 %" in page
    assert f"{ONE}, fake: 1 of 5, 20.0 %" in page  # hits per relaxation


@pytest.mark.parametrize("stop", [0, 2, 5, 8])
def test_a_run_that_was_stopped_goes_on(measured, tmp_path, stop):
    out = tmp_path / "targets.json"
    with pytest.raises(KeyboardInterrupt):
        targets(PLAN, out, bench=bench(Scripted(), Relaxer(stop)))
    generator, relaxer = Scripted(), Relaxer()
    record = targets(PLAN, out, bench=bench(generator, relaxer))
    assert len(generator.asked) == (2 if stop < 5 else 0)  # the second target had not been reached
    assert relaxer.done == 10 - stop
    for text in PLAN.targets:
        alone, again = (r["targets"][text]["generators"]["fake"] for r in (measured[0], record))
        assert again["raw"] == alone["raw"]
        times = ("cpu_seconds", "cpu_seconds_per_hit")
        first, second = ({k: v for k, v in r["relaxed"].items() if k not in times} for r in (alone, again))
        assert first == second


def test_without_relaxations_only_raw_samples_are_judged(tmp_path):
    plan = replace(PLAN, relax=0, targets=(ONE,))
    relaxer = Relaxer()
    record = targets(plan, tmp_path / "t.json", bench=bench(Scripted(), relaxer))
    assert relaxer.done == 0
    assert "relaxed" not in record["targets"][ONE]["generators"]["fake"]


def test_another_plan_is_refused(measured):
    with pytest.raises(OutputError, match="plan"):
        targets(replace(PLAN, seed=1), measured[1], bench=bench(Scripted(), Relaxer()))


def test_progress_ends_where_it_said(tmp_path):
    told: list[tuple[str, int, int | None]] = []
    plan = replace(PLAN, targets=(ONE,))
    targets(
        plan, tmp_path / "t.json", progress=lambda *what: told.append(what), bench=bench(Scripted(), Relaxer())
    )
    assert told[0] == ("targets sampled and screened", 1, 1)
    assert [t for t in told if t[0] == "relaxations"] == [("relaxations", i, 5) for i in range(1, 6)]


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"targets": ()}, InputError, "targets"),
        ({"targets": (ONE, " bulk_modulus=250 ")}, InputError, "different targets"),
        ({"targets": ("stiffness>=3",)}, InputError, "stiffness"),
        ({"targets": ("bulk_modulus=max",)}, InputError, "bounds and values"),
        ({"targets": ("bulk_modulus>=300,bulk_modulus<=200",)}, ConflictError, "contradict"),
        ({"generators": ("fake", KNOWN)}, InputError, "known"),
        ({"relax": 11}, InputError, "relax"),
    ],
)
def test_a_plan_checks_its_targets(settings, error, named):
    with pytest.raises(error, match=named):
        TargetPlan(**{"generators": ("fake",), "n": 10, "relax": 5} | settings)


def test_the_shipped_targets():
    plan = TargetPlan(("vae",), n=10, relax=1)
    assert {"bulk_modulus=250", "bulk_modulus>=300"} <= set(plan.targets)
    assert set(QUICK_TARGETS) <= set(TARGETS)
    assert plan.query("bulk_modulus=250").targets[0].low == pytest.approx(225.0)
    singles = ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy")
    levels = {(text.split("=")[0].rstrip("<>"), level) for text, level in TARGETS.items() if "," not in text}
    assert levels == {(name, level) for name in singles for level in ("easy", "hard", "extreme")}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--target", "stiffness>=3", "--out", "t.json"], ["'stiffness'", "bulk_modulus"]),
        (["--generators", "magic", "--out", "t.json"], ["'magic'", "vae"]),
        (["--out", "t.txt"], ["t.txt", ".json"]),
        (["-n", "5", "--relax", "6", "--out", "t.json"], ["relax", "6", "0 to n = 5"]),
        (["-n", "none", "--out", "t.json"], ["none", "integer"]),
    ],
)
def test_wrong_input_is_one_line(args, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "targets", *args]) == 2
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    assert all(word in line for word in words), line


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    (tmp_path / "t.jsonl").write_text("my notes\n")
    with pytest.raises(OutputError, match="no journal"):
        targets(PLAN, tmp_path / "t.json", bench=bench(Scripted(), Relaxer()))
    assert (tmp_path / "t.jsonl").read_text() == "my notes\n"
