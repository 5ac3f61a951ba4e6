"""The contract kit: good parts keep every promise, and each promise has a part that breaks it and no other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from contract_parts import BROKEN, GOOD, GoodGenerator, GoodRelaxer, OnlyFailures, OtherGene, supercell

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.errors import InputError
from invdesign.protocols import Generator, Relaxer, Searcher, Surrogate, Validator
from invdesign.records import Failure, Relaxation, Shaken, Status, Verdict
from invdesign.testing import (
    CONTRACTS,
    VERBS,
    Outcome,
    all_crystals,
    broken_crystals,
    check_generator,
    check_relaxer,
    check_searcher,
    check_surrogate,
    check_validator,
    contract,
    family_of,
    good_crystals,
)
from invdesign.testing.crystals import identical, strained_crystals


def broken(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.promise for outcome in outcomes if outcome.problem]


def promises(outcomes: Sequence[Outcome]) -> set[str]:
    return {outcome.promise for outcome in outcomes}


@pytest.mark.parametrize("family", GOOD)
def test_a_good_part_keeps_every_promise(family: str) -> None:
    outcomes = contract(family)(GOOD[family]())
    assert [str(outcome) for outcome in outcomes if outcome.problem] == []
    assert len(outcomes) > 5


@pytest.mark.parametrize(("family", "kind"), [(f, kind) for f, kinds in BROKEN.items() for kind in kinds])
def test_a_broken_part_breaks_exactly_its_promise(family: str, kind: type) -> None:
    outcomes = contract(family)(kind())
    assert broken(outcomes) == [BROKEN[family][kind]], [str(o) for o in outcomes]


@pytest.mark.parametrize("family", GOOD)
def test_every_promise_has_a_part_that_breaks_it(family: str) -> None:
    assert promises(contract(family)(GOOD[family]())) == set(BROKEN[family].values())


def test_failures_alone_keep_no_promise_about_crystals() -> None:
    kept = promises(check_generator(OnlyFailures())) - set(broken(check_generator(OnlyFailures())))
    assert kept == {"yields exactly n items, each a Crystal or a Failure", "a failure names its reason"}


def test_a_relaxer_that_fails_throughout_keeps_no_promise_about_relaxed_crystals() -> None:
    class Broken(GoodRelaxer):
        def one(self, crystal: Crystal) -> Relaxation | Failure:
            return Failure("relax", "out of order")

    assert set(broken(check_relaxer(Broken()))) == {
        "relaxes half of the known crystals at least",
        "its numbers are finite and belong to the relaxed crystal",
        "a gene that it hands over decodes to the relaxed crystal",
        "the company does not matter",
        "a relaxed crystal stays as it is",
    }


def test_the_problem_names_what_was_found() -> None:
    (outcome,) = [o for o in check_generator(OtherGene()) if o.problem]
    assert "the gene of item" in str(outcome) and str(outcome).startswith("FAIL  every crystal carries a gene")
    assert str(Outcome("is good")) == "ok    is good"


def test_the_state_of_the_global_random_numbers_is_left_alone() -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    check_generator(GoodGenerator())
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


def test_a_part_is_known_by_its_verb() -> None:
    assert {family: family_of(kind()) for family, kind in GOOD.items()} == {family: family for family in GOOD}
    assert set(CONTRACTS) == set(VERBS) == set(GOOD)
    with pytest.raises(InputError, match="propose, check, predict, relax or ask"):
        family_of(object())
    with pytest.raises(InputError, match="family"):
        contract("wizard")


def test_good_parts_are_what_the_protocols_ask_for() -> None:
    for protocol, family in zip((Generator, Validator, Surrogate, Relaxer, Searcher), GOOD, strict=True):
        assert isinstance(GOOD[family](), protocol)


def test_the_crystals_of_the_kit_are_what_they_are_called() -> None:
    formulas = ["MgO", "CsCl", "TiB2", "SrTiO3", "Cu", "SiO2"]
    assert [reduced_formula(c.numbers) for c in good_crystals()] == formulas
    assert [space_group(c, 1e-3) for c in good_crystals()] == [225, 221, 191, 221, 225, 152]
    assert all_crystals() == (*good_crystals(), *broken_crystals())
    for good, strained in zip(good_crystals(), strained_crystals(), strict=True):
        assert strained.volume == pytest.approx(1.02**3 * good.volume)
        assert identical(good, good) and not identical(good, strained)


def test_a_supercell_of_a_crystal_is_the_same_crystal() -> None:
    crystal = good_crystals()[0]
    larger = supercell(crystal, np.diag([1, 2, 3]))
    assert larger.n_sites == 12 and larger.volume == pytest.approx(6 * crystal.volume)
    assert identical(crystal, larger)
    assert math.isclose(larger.lattice_parameters[2], 3 * crystal.lattice_parameters[2])


def test_shipped_validators_keep_every_promise() -> None:
    from invdesign import build
    from invdesign.validators import VALIDATORS as SHIPPED

    for name in SHIPPED:
        if name != "dynamics":  # minutes of a potential; see the next test
            assert broken(check_validator(build.validator(name))) == [], name


class QuickShaker(GoodRelaxer):
    """Brings every crystal back."""

    def shake_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Shaken | Failure]]:
        for index, crystal in enumerate(crystals):
            verdict = Verdict("dynamics", Status.PASS, value=0.0)
            yield index, Shaken(verdict, 0.0, None, crystal.n_sites, 9, 0.1)


def test_the_validator_of_dynamic_stability_keeps_every_promise_with_a_quick_relaxer() -> None:
    from invdesign.validators.dynamics import Dynamics

    assert broken(check_validator(Dynamics(QuickShaker()))) == []


@pytest.mark.parametrize("search", ["none", "optuna"])
def test_shipped_searchers_keep_every_promise(search: str) -> None:
    from invdesign.engine.search import make_searcher
    from invdesign.query import Query

    query = Query(targets=["bulk_modulus>=200"], generator="mixture", search=search)
    searcher = make_searcher(query, {"vae": GoodGenerator(), "random": GoodGenerator()}, seed=1)
    assert [str(o) for o in check_searcher(searcher) if o.problem] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "gan", "substitution", "random"])
def test_shipped_generators_keep_every_promise(name: str) -> None:
    from invdesign import build

    assert set(build.generator_names()) == {"vae", "gan", "substitution", "random"}
    assert [str(o) for o in check_generator(build.generator(name)) if o.problem] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gate", "proposals", "relaxed"])
def test_shipped_surrogates_keep_every_promise(name: str) -> None:
    from invdesign import build

    assert set(build.SURROGATES) == {"gate", "proposals", "relaxed"}
    assert [str(o) for o in check_surrogate(build.surrogate(name)) if o.problem] == []


@pytest.mark.slow
def test_the_shipped_relaxer_keeps_every_promise() -> None:
    from invdesign import build

    with build.relaxer(workers=1) as relaxer:
        assert [str(o) for o in check_relaxer(relaxer) if o.problem] == []
