from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign import numbers as n
from invdesign.properties import PROPERTIES, QUANTITIES
from invdesign.records import Status, Value


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.2134, 0.031, "0.21 ± 0.03"),
        (0.2134, 0.012, "0.213 ± 0.012"),
        (271.3, 21.7, "271 ± 22"),
        (271.3, 48.0, "270 ± 50"),
        (1234.0, 118.0, "1,230 ± 120"),
        (5.5, 0.0951, "5.5 ± 0.1"),
        (-0.004, 0.03, "0.00 ± 0.03"),
        (23.456, 0.0, "23.5"),
        (23.456, math.nan, "23.5"),
        (math.nan, 1.0, "unknown"),
        (3.0, 0.29, "3.00 ± 0.29"),
        (3.0, 0.3, "3.0 ± 0.3"),
    ],
)
def test_digits_follow_the_error(mean, std, text):
    assert n.with_error(mean, std) == text


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_an_error_is_never_zero_and_never_off_by_a_third(mean, std):
    number, error = (float(part.replace(",", "")) for part in n.with_error(mean, std).split(" ± "))
    assert error > 0 and error == pytest.approx(std, rel=0.17)
    assert abs(number - mean) <= 0.51 * error


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.01234, "0.0123"),
        (45.67, "45.7"),
        (12345, "12,300"),
        (0, "0"),
        (1e-9, "1e-9"),
        (9.999e9, "1e10"),
        (999.9, "1,000"),
    ],
)
def test_significant_digits(x, text):
    assert n.significant(x) == text


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.05, "about the same"),
        (1.25, "25 % more"),
        (2.1, "twice the"),
        (4.2, "four times the"),
        (13, "13 times the"),
        (0.5, "half the"),
        (0.3, "a third of the"),
        (0.8, "20 % less"),
        (0.02, "1/50 of the"),
        (-1, "an unknown"),
    ],
)
def test_ratios_in_words(ratio, words):
    assert n.times(ratio) == words


def test_headings_carry_units_and_verdicts_are_words():
    assert n.heading("bulk_modulus") == "bulk modulus K (GPa)"
    assert n.heading("poisson_ratio") == "Poisson's ratio ν"
    for name in (*PROPERTIES, *QUANTITIES):
        assert n.heading(name)
    assert (
        n.verdict_text("charge_balance", Status.UNKNOWN, "metallic")
        == "charge balance could not be decided (metallic)"
    )
    assert n.value_text("poisson_ratio", Value(0.2134, 0.031)) == "0.21 ± 0.03"
    assert n.value_text("density", Value(4.934, 0.1)) == "4.93 ± 0.10 g/cm³"
    assert [n.percent(x) for x in (0.001, 0.734, 0.999)] == ["less than 1 %", "73 %", "more than 99 %"]
