"""The generation benchmark: named metrics against values worked by hand, and the run with fake parts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_parts import Charge, Distances, FakeReference, FakeRelaxer, Unique, cubic

from invdesign.benchmarking import metrics
from invdesign.benchmarking.cdvae import Prints
from invdesign.benchmarking.figures.generation import Background, _rediscovered, fingerprints, markdown
from invdesign.benchmarking.figures.numbers import quantiles
from invdesign.benchmarking.generation import generation
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN, Cutoffs, Fingerprints, Judged, Rate
from invdesign.benchmarking.samples import Bench, Plan, Sample, Sampling
from invdesign.chemistry.oxidation import smact_valid
from invdesign.cli import run
from invdesign.crystal import Crystal, Gene
from invdesign.errors import InputError, OutputError
from invdesign.records import Conditions, Failure, Relaxation
from invdesign.reference.known import KnownCrystal

CUBE = np.eye(3)


def pair(distance: float, edge: float = 8.0, numbers: tuple[int, int] = (11, 17)) -> Crystal:
    return Crystal(edge * CUBE, np.array(numbers), np.array([[0.0] * 3, [distance / edge, 0, 0]]))


def test_wilson_interval():
    # 7 of 10, z = 1.96: centre (0.7 + 0.19207)/1.38415, half width 1.96/1.38415*sqrt(0.021 + 0.0096036)
    low, high = metrics.wilson(7, 10)
    assert (low, high) == (pytest.approx(0.39678, abs=2e-5), pytest.approx(0.89221, abs=2e-5))
    assert metrics.wilson(0, 10) == (0.0, pytest.approx(0.27753, abs=2e-5))
    assert metrics.wilson(10, 10) == (pytest.approx(0.72247, abs=2e-5), 1.0)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_a_rate_keeps_its_denominator():
    assert metrics.rate([True, False], of=4) == Rate(1, 4)
    assert Rate(1, 4).value == 0.25
    assert math.isnan(Rate(0, 0).value)


def test_total_variation():
    assert metrics.total_variation({1: 1, 2: 3}, {1: 2, 2: 2}) == pytest.approx(0.25)
    assert metrics.total_variation({1: 5}, {2: 1}) == 1.0
    assert metrics.total_variation({1: 2, 2: 2}, {1: 1, 2: 1}) == 0.0
    assert math.isnan(metrics.total_variation({}, {1: 1}))


def test_wyformer_space_group_chi2():
    # p = 1/4, 3/4; q = 1/2, 1/2 once the sample in group 5, which the reference lacks, is left out:
    # (1/4)²/(1/4) + (1/4)²/(3/4) = 1/4 + 1/12
    reference = {1: 1, 2: 3}
    assert metrics.wyformer_space_group_chi2([1, 2, 1, 2, 5], reference) == pytest.approx(1 / 3)
    assert metrics.wyformer_space_group_chi2([1, 2, 2, 2], reference) == 0.0
    assert metrics.wyformer_space_group_chi2([2], reference) == pytest.approx(1 / 4 + 1 / 12)
    assert math.isnan(metrics.wyformer_space_group_chi2([5], reference))


def test_wasserstein_of_numbers():
    assert metrics.wasserstein([2.0, 2.0], [3.0, 5.0]) == pytest.approx(2.0)
    assert math.isnan(metrics.wasserstein([], [1.0]))


def test_element_shares_count_crystals_and_not_atoms():
    water_like = Crystal(5 * CUBE, np.array([1, 1, 8]), np.eye(3) / 2)
    shares = metrics.element_shares([water_like, pair(2.5)])
    assert shares == {1: pytest.approx(2 / 3), 8: pytest.approx(1 / 3), 11: 0.5, 17: 0.5}


@pytest.mark.parametrize(("distance", "valid"), [(0.49, False), (0.51, True)])
def test_cdvae_structure_validity(distance, valid):
    assert metrics.cdvae_structure_valid(pair(distance)) is valid


def test_cdvae_structure_validity_asks_for_volume():
    flat = Crystal(np.diag([0.6, 0.6, 0.2]), np.array([1]), np.zeros((1, 3)))
    assert not metrics.cdvae_structure_valid(flat)


@pytest.mark.parametrize(
    ("numbers", "valid"),
    [
        ([11, 17], True),  # Na+ Cl-
        ([11, 17, 17], False),  # Na has no state +2
        ([26, 26, 8, 8, 8], True),  # Fe3+
        ([29, 30], True),  # an alloy
        ([14], True),  # an element
    ],
)
def test_smact_validity(numbers, valid):
    assert smact_valid(numbers) is valid
    assert smact_valid(numbers * 2) is valid  # the reduced formula is what is asked about
    assert metrics.cdvae_composition_valid(numbers) is valid


def test_smact_knows_no_mixed_valence_by_default():
    assert not smact_valid([26] * 3 + [8] * 4)  # Fe3O4, a known crystal: nothing honest scores 100 %


@pytest.mark.parametrize(("distance", "valid"), [(1.74, False), (1.76, True)])
def test_lemat_distances(distance, valid):
    # atomic radii Na 1.80, Cl 1.00 Å: (0.7 + 1.8 + 1.0)/2 = 1.75 Å
    assert metrics.lemat_distances_valid(pair(distance)) is valid


def test_lemat_distances_of_cells_without_pairs_or_radii():
    assert metrics.lemat_distances_valid(Crystal(3 * CUBE, np.array([29]), np.zeros((1, 3))))
    assert not metrics.lemat_distances_valid(Crystal(9 * CUBE, np.array([54]), np.zeros((1, 3))))  # Xe has none


def test_templates_forget_elements_and_origin_but_not_who_shares_what():
    def fcc(*orbits: tuple[int, int]) -> Gene:
        return Gene(225, tuple(w for w, _ in orbits), tuple(z for _, z in orbits), (), (5.0,))

    salt = metrics.template(fcc((0, 11), (1, 17)))
    assert metrics.template(fcc((0, 17), (1, 11))) == salt  # the other origin
    assert metrics.template(fcc((0, 3), (1, 9))) == salt  # other elements
    assert metrics.template(fcc((0, 11), (1, 17), (2, 17))) != metrics.template(fcc((0, 11), (1, 17), (2, 5)))


def prints(*rows: tuple[float, float, float]) -> Fingerprints:
    """Two features of composition, one of structure."""
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return Fingerprints(table[:, :2], table[:, 2:])


def test_coverage():
    # deviations of the reference: 1, 2 and 0 (so the structure counts in its own unit)
    reference = prints((0, 0, 5), (2, 4, 5))
    cutoffs = Cutoffs(composition=0.6, structure=0.7)
    # sqrt(((0.8/1)^2 + (0.4/2)^2)/2) = 0.583: near the first; the same with the structure 0.71 off: near none
    near, far = (0.8, 0.4, 5.69), (0.8, 0.4, 5.71)
    assert [flags.tolist() for flags in metrics.covered(prints(near, far), reference, cutoffs)] == [
        [True, False],
        [True, False],
    ]
    # sqrt(((0.9/1)^2 + 0)/2) = 0.636: just beyond
    assert not metrics.covered(prints((0.9, 0, 5)), reference, cutoffs)[1].any()
    # near in composition to one and in structure to another is near to none
    apart = prints((0, 0, 0), (100, 100, 50))
    assert not metrics.covered(prints((0, 0, 50)), apart, cutoffs)[0].any()
    assert metrics.covered(prints((0, 0, 0)), apart, cutoffs)[0].tolist() == [True, False]


def test_coverage_of_nothing_and_of_many():
    recall, precision = metrics.covered(prints(), prints((0, 0, 0), (1, 1, 1)))
    assert (recall.tolist(), precision.tolist()) == ([False, False], [])
    many = prints(*[(9, 9, 9)] * 2500, (0, 0, 0))  # more than are compared at a time
    recall, precision = metrics.covered(many, prints((0, 0, 0), (1, 1, 1)))
    assert recall.tolist() == [True, False]
    assert precision.tolist() == [False] * 2500 + [True]


def test_fingerprints_tell_composition_from_structure():
    salt, other, swollen = cubic(225, 11, 17, 5.6), cubic(221, 11, 17, 3.5), cubic(225, 11, 17, 5.7)
    found = fingerprints([salt, other, swollen, cubic(225, 12, 8, 4.2)])
    assert found.composition.shape[0] == found.structure.shape[0] == 4
    assert found.structure.shape[1] == 20
    assert np.array_equal(found.composition[0], found.composition[1])
    assert not np.allclose(found.composition[0], found.composition[3])
    moved = np.abs(found.structure - found.structure[0]).max(axis=1)
    assert moved[1] > 1.0  # eight neighbours in place of six
    assert moved[2] < 0.05


def test_quantiles():
    assert quantiles([]) == []
    found = quantiles([float(i) for i in range(101)])
    assert (len(found), found[0], found[25], found[-1]) == (51, 0.0, 50.0, 100.0)


ROWS = [
    Judged(-0.01, True, True, 225),
    Judged(0.05, True, True, 1),  # P1
    Judged(0.05, False, True, 62),  # a duplicate
    Judged(0.00, True, False, 62),  # known
    Judged(0.09, True, True, 62),
    Judged(0.30, True, True, 62),
    Judged(None, True, True, None),  # relaxation failed
    Judged(0.10, True, True, 62),
]


def test_stable_unique_novel():
    assert metrics.stable(ROWS, 0.1) == Rate(6, 8)
    assert metrics.stable(ROWS, 0.0) == Rate(2, 8)
    assert metrics.mattergen_sun(ROWS) == Rate(4, 8)  # -0.01, 0.05, 0.09, 0.10
    assert metrics.mattergen_sun(ROWS, 0.0) == Rate(1, 8)
    assert metrics.wyformer_ssun(ROWS) == Rate(1, 8)  # at 0.08, not in P1
    assert metrics.lemat_sun(ROWS) == (Rate(1, 8), Rate(3, 8))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"generators": ()}, "generators"),
        ({"generators": ("a", "a")}, "generators"),
        ({"n": 0}, "n"),
        ({"relax": 9}, "relax"),
    ],
)
def test_a_plan_checks_its_numbers(settings, named):
    with pytest.raises(InputError, match=named):
        Plan(**{"generators": ("fake",), "n": 8, "relax": 4} | settings)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--generators", "magic", "--out", "g.json"], ["'magic'", "vae", "known"]),
        (["--out", "g.md"], ["g.md", ".json"]),
        (["-n", "5", "--relax", "6", "--out", "g.json"], ["relax", "0 to n = 5"]),
    ],
)
def test_wrong_input_is_one_line(args, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["benchmark", "generation", *args]) == 2
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    assert all(word in line for word in words), line


class Cubics:
    """Eleven crystals, two of them the same, one a failure; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        self.asked.append(n)
        made = [cubic(225, z, 8, 4.2) for z in (12, 20, 38, 56, 12, 22, 23, 24)] + [cubic(225, 22, 6, 4.3)]
        return iter([*made, Failure("generate", "nothing")][:n])


def known(name: str, gene: Gene, formula: str, above_hull: float = 0.0) -> KnownCrystal:
    return KnownCrystal(name, formula, gene, above_hull, math.nan, None)


REAL = [
    known("mp-1", Gene(225, (0, 1), (12, 8), (), (4.21,)), "MgO"),
    known("mp-2", Gene(221, (0, 1), (55, 17), (), (4.12,)), "CsCl"),
    known(
        "mp-3",
        Gene(1, (0, 0), (29, 30), (0.0, 0.0, 0.0, 0.45, 0.55, 0.4), (3.5, 3.6, 3.7, 80.0, 85.0, 95.0)),
        "ZnCu",
    ),
    known("mp-4", Gene(225, (0, 1), (22, 6), (), (4.3,)), "TiC"),
    known("mp-5", Gene(225, (0, 1), (22, 7), (), (4.2,)), "TiN", above_hull=0.4),
]


class Reference(FakeReference):
    """Carbides are known as mp-4."""

    def match(self, crystal: Crystal) -> str | None:
        return "mp-4" if super().match(crystal) else None


class Slow(FakeRelaxer):
    """Stops at the `stop`-th crystal; every relaxation succeeds, with an energy by the first element."""

    def __init__(self, stop: int = 99) -> None:
        super().__init__()
        self.stop, self.done = stop, 0

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        for index, crystal in enumerate(crystals):
            if self.done == self.stop:
                raise KeyboardInterrupt
            self.done += 1
            result = FakeRelaxer.relax(self, [cubic(225, 12, 8, 4.2)])[0]
            assert isinstance(result, Relaxation)
            above = 0.02 if crystal.numbers[0] in (12, 22) else 0.5
            energy = replace(result.formation_energy, mean=above - 1.0)
            yield index, replace(result, crystal=crystal, formation_energy=energy)


def fake_prints(crystals: Sequence[Crystal]) -> Iterator[tuple[int, Prints]]:
    """A tenth of the first atomic number as structure, the number as composition; calcium cannot be read."""
    for place, crystal in enumerate(crystals):
        z = float(crystal.numbers[0])
        yield place, Prints("fake", *(((), ()) if z == 20 else ((z / 10,), (z,))))


def bench(generator: Cubics, relaxer: FakeRelaxer) -> Bench:
    return Bench(
        generator=lambda name: generator,
        known=REAL,
        reference=Reference(),
        relaxer=relaxer,
        distances=Distances(),
        charge_balance=Charge(),
        uniqueness=Unique,
        about={"potential": "fake 1"},
        prints=fake_prints,
    )


PLAN = Plan(("fake",), n=10, relax=10)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("benchmark") / "generation.json"
    return generation(PLAN, out, bench=bench(Cubics(), Slow())), out


def test_the_figures_of_a_run(measured):
    record, _ = measured
    figures = record["generators"]["fake"]
    assert (figures["asked"], figures["made"]) == (10, 9)

    def counts(section: str, key: str) -> tuple[int, int]:
        return figures[section][key]["count"], figures[section][key]["of"]

    assert counts("validity", "distances") == (9, 10)
    assert counts("validity", "cdvae_structure") == (9, 10)
    assert counts("symmetry", "p1") == (0, 9)
    assert counts("symmetry", "as_the_gene_says") == (9, 9)
    # groups among known crystals within the limit: 225 twice, 221 and 1 once; all samples are 225
    assert figures["symmetry"]["space_group_total_variation"] == pytest.approx(0.5)
    assert figures["symmetry"]["wyformer_space_group_chi2"] == pytest.approx(0.5 + 0.25 + 0.25)
    assert counts("novelty", "unique") == (8, 10)  # MgO comes twice
    assert counts("novelty", "structure") == (8, 10)  # the carbide is known
    assert counts("novelty", "gene") == (6, 10)  # MgO twice and TiC are known
    assert counts("novelty", "template") == (0, 10)  # rock salt
    assert figures["novelty"]["known_crystals_found"] == 1
    assert counts("novelty", "training_rediscovered") == (1, 4)  # the carbide, of those within the limit
    assert counts("novelty", "held_out_rediscovered") == (0, 0)
    assert figures["symmetry"]["crystal_systems"]["cubic"] == Rate(9, 9).to_dict()
    assert figures["distribution"]["quantiles"]["n_elements"] == [2.0] * 51
    assert counts("distribution", "coverage_precision")[1] == 10
    assert counts("distribution", "coverage_recall")[1] == 4
    assert counts("cdvae", "cov_precision") == (7, 10)  # by the fake fingerprints, see `fake_prints`
    assert counts("cdvae", "cov_recall") == (3, 4)
    assert figures["cdvae"]["d_elem"] == 0.0
    relaxed = figures["relaxed"]
    assert counts("relaxed", "placed") == (9, 10)
    assert counts("relaxed", "known") == (1, 10)
    assert counts("relaxed", "stable_at_0.1") == (4, 10)  # MgO twice, TiO, TiC
    assert counts("relaxed", "sun_at_0.1") == (2, 10)  # once MgO, TiO
    assert counts("relaxed", "sun_at_0") == (0, 10)
    assert counts("relaxed", "space_group_kept") == (9, 10)
    assert relaxed["cpu_seconds"] == pytest.approx(9 * 0.5)
    assert figures["speed"]["cpu_seconds_per_sun_crystal"] >= 9 * 0.5 / 2


def test_rediscovered_crystals_are_counted_by_split():
    split = {"a": "test", "b": "train", "c": "test", "d": "train", "e": "valid", "f": "test"}
    found = _rediscovered({"a", "b", "d", "e", "not within the limit"}, split)
    assert found == {"held_out_rediscovered": Rate(1, 3), "training_rediscovered": Rate(2, 2)}


def test_held_out_are_the_known_crystals_of_test_systems_within_the_limits():
    stable = replace(REAL[4], id="mp-6", energy_above_hull=0.0)  # Ti-N is a test system, Mg-O a training system
    split = Background.of([*REAL, stable], PLAN, [], []).split
    assert split["mp-6"] == "test"
    assert split["mp-1"] == "train"
    assert "mp-5" not in split  # the same at 0.4 eV/atom


def test_known_crystals_are_measured_beside(measured):
    record, _ = measured
    real = record["generators"][KNOWN]
    assert real["made"] == 4  # the unstable one is no reference
    assert real["symmetry"]["p1"] == Rate(1, 4).to_dict()
    assert "relaxed" not in real
    assert real["distribution"]["density_wasserstein"] == 0.0


def test_the_files_of_a_run(measured):
    record, out = measured
    assert json.loads(out.read_text())["plan"]["seed"] == 0
    table = out.with_suffix(".md").read_text()
    assert table == markdown(record)
    assert "| S.U.N. at 0.1 eV/atom | 20.0 (6–51) |" in table
    assert "potential: fake 1" in table
    page = out.with_suffix(".html").read_text()
    assert "S.U.N. at 0.1 eV/atom, fake: 2 of 10, 20.0 %" in page
    assert page.count("<svg") == 7  # rates, crystal systems, four distributions, energies


def test_without_matminer_one_line_says_what_is_left_out(measured, tmp_path):
    record, out = measured
    assert "left out" not in out.with_suffix(".md").read_text()
    without = replace(bench(Cubics(), Slow()), prints=None)
    alone = generation(replace(PLAN, relax=0), tmp_path / "g.json", bench=without)
    assert "cov_recall" not in alone["generators"]["fake"]["cdvae"]
    assert alone["generators"]["fake"]["cdvae"]["d_rho"] == record["generators"]["fake"]["cdvae"]["d_rho"]
    assert markdown(alone).count("left out, they need matminer") == 1


def test_a_run_that_was_stopped_goes_on(measured, tmp_path):
    out = tmp_path / "generation.json"
    first, second = Cubics(), Cubics()
    with pytest.raises(KeyboardInterrupt):
        generation(PLAN, out, bench=bench(first, Slow(stop=3)))
    journal = out.with_suffix(".jsonl")
    with journal.open("a") as stream:
        stream.write('["Relaxed", "fake", 3, {"cry')  # the process died while writing
    relaxer = Slow()
    record = generation(PLAN, out, bench=bench(second, relaxer))
    assert second.asked == []
    assert relaxer.done == 6
    alone = measured[0]["generators"]["fake"]
    for section in ("validity", "symmetry", "novelty", "relaxed", "distribution", "cdvae"):
        assert record["generators"]["fake"][section] == alone[section]


def test_another_plan_is_refused(measured):
    _, out = measured
    with pytest.raises(OutputError, match="plan"):
        generation(replace(PLAN, seed=1), out, bench=bench(Cubics(), Slow()))


def test_a_journal_gives_back_what_it_was_given(tmp_path):
    journal = Journal(tmp_path / "x.jsonl", {})
    rows = [(0, Sample(cubic(225, 12, 8, 4.2))), (1, Sample(None, "nothing")), (0, Sampling(1.0, 2.0, 3.0))]
    journal.put("fake", *rows)
    again = Journal(tmp_path / "x.jsonl", {})
    crystal = again.get(Sample, "fake", 0)
    assert crystal is not None
    assert crystal.crystal is not None
    assert crystal.crystal.gene == cubic(225, 12, 8, 4.2).gene
    assert again.get(Sample, "fake", 1) == Sample(None, "nothing")
    assert again.get(Sampling, "fake") == Sampling(1.0, 2.0, 3.0)
    assert again.get(Sample, "other", 0) is None
