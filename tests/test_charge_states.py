"""How common charges are: by hand on small tables, by brute force, and learnt from compositions alone."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from test_charges import verdict
from test_validators import formula, row

from invdesign.chemistry.charge_states import ANY, ChargeStates, in_words, load_charge_states, pauling_splits
from invdesign.records import Status
from invdesign.training.charge_states import is_judged, learn, posterior
from invdesign.validators.charge_balance import ChargeBalance, metallic

OX, CL, FE = 8, 17, 26
MIXED = 0.25


def table() -> ChargeStates:
    """Iron is 2+ in half of its oxides, 3+ in three tenths and 6+ in a fifth; elsewhere it is 2+ or 3+ alike."""
    keys = [
        (OX, ANY, -2),
        (OX, ANY, -1),
        (FE, OX, 2),
        (FE, OX, 3),
        (FE, OX, 6),
        (FE, ANY, 2),
        (FE, ANY, 3),
        (CL, ANY, -1),
    ]
    shares = [0.9, 0.1, 0.5, 0.3, 0.2, 0.5, 0.5, 1.0]
    return ChargeStates(np.array(keys), np.log(shares), np.full(119, np.log(MIXED)))


@pytest.mark.parametrize(
    ("composition", "likelihood", "words"),
    [
        ({OX: 1, FE: 1}, 0.9 * 0.5, "Fe 2+, O 2-"),
        ({OX: 3, FE: 2}, 0.9 * 0.3, "Fe 3+, O 2-"),
        ({OX: 3, FE: 1}, 0.9 * 0.2, "Fe 6+, O 2-"),  # rather than 3+ with O 1-: 0.1 * 0.3
        ({OX: 4, FE: 3}, 0.9 * MIXED * np.sqrt(0.5 * 0.3), "Fe 2+ and 3+, O 2-"),
        ({CL: 3, FE: 1}, 0.5, "Fe 3+, Cl 1-"),  # no shares in chlorides: those of all compounds
    ],
)
def test_the_most_likely_charges_by_hand(composition: dict[int, int], likelihood: float, words: str) -> None:
    found = table().most_likely(composition)
    assert found is not None
    assert np.exp(found[0]) == pytest.approx(likelihood) and in_words(found[1]) == words
    assert sum(q * n for _, states in found[1] for q, n in states) == 0


def test_charges_that_do_not_sum_to_zero() -> None:
    assert table().most_likely({CL: 4, FE: 1}) is None
    assert table().most_likely({OX: 4, FE: 3}, mixed_valence=False) is None
    assert list(pauling_splits({CL: 1, FE: 1})) == [{FE: 1, CL: -1}]


@pytest.mark.parametrize("composition", [{OX: 4, FE: 3}, {OX: 3, FE: 1}, {OX: 2, FE: 2}])
def test_probabilities_are_those_of_all_charges_one_by_one(composition: dict[int, int]) -> None:
    states, weights = table(), {}
    for signs in pauling_splits(composition):
        options = [list(states.options(z, n, signs, True)) for z, n in composition.items()]
        for chosen in product(*options):
            if sum(total for total, _, _ in chosen) == 0:
                weights[tuple(each for _, _, each in chosen)] = float(np.exp(sum(share for _, share, _ in chosen)))
    whole = sum(weights.values())
    expected: dict[tuple[int, object], float] = {}
    for chosen_states, weight in weights.items():
        for z, each in zip(composition, chosen_states, strict=True):
            expected[z, each] = expected.get((z, each), 0.0) + weight / whole
    found = {(z, own[0][1]): p for p, z, own in posterior(states, composition, least=0.0)}
    assert found == pytest.approx(expected)


def test_shares_are_learnt_from_compositions() -> None:
    chlorides = [((17, 1), (number, 1)) for number in (11, 19, 37, 55)] + [
        ((17, 2), (number, 1)) for number in (12, 20)
    ]
    known = [tuple(sorted(each)) for each in chlorides] + [((8, 3), (26, 2))] * 8 + [((8, 1), (26, 1))] * 2
    shares = {state: np.exp(value) for state, value in learn(known).share(FE, OX).items()}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares[3] > 0.6 > 0.3 > shares[2] > shares[6]


def test_what_charges_say_nothing_of() -> None:
    assert is_judged(((8, 1), (12, 1)))
    assert not is_judged(((8, 2),)) and not is_judged(((28, 1), (13, 1)))


def test_the_shipped_shares() -> None:
    states = load_charge_states()
    for (number, anion), least in {(11, 17): {1: 0.99}, (22, 8): {4: 0.6}, (26, 8): {3: 0.4}}.items():
        shares = {q: np.exp(value) for q, value in states.share(number, anion).items()}
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
        assert all(shares[q] > value for q, value in least.items())


@pytest.mark.parametrize("text", ["TiO3", "TlO2", "PdCl3", "Si2N3", "CaTiO4"])
def test_uncommon_charges_fail_and_are_named(text: str) -> None:
    status, reason = verdict(text)
    assert status is Status.FAIL and reason.startswith("neutral only with uncommon charges: ")
    written = " ".join(f"{name}{n or 1}" for name, n in re.findall(r"([A-Z][a-z]?)(\d*)", text))
    assert ChargeBalance(least_likely=0.0).check(row(formula(written))).status is Status.PASS


@pytest.mark.parametrize("text", ["Fe4N", "Ta2N", "W2N", "Fe3P", "Cr5As3"])
def test_metal_rich_pnictides_are_not_failed(text: str) -> None:
    assert verdict(text)[0] is not Status.FAIL


def test_which_compounds_are_metallic() -> None:
    assert metallic({5: 2, 6: 1, 7: 1, 41: 1, 73: 3})
    assert metallic({7: 1, 26: 4}) and metallic({5: 2, 22: 1}) and metallic({6: 1, 14: 1, 22: 3})
    assert not metallic({7: 1, 26: 1}) and not metallic({3: 3, 7: 1}) and not metallic({5: 1, 7: 1})
    assert not metallic({7: 1, 8: 1, 22: 4})
