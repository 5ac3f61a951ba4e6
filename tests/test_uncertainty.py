"""Spreads, intervals and probabilities of values, against hand arithmetic and the statistics module."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from fake_parts import FakeReference, cubic, fake_parts
from hypothesis import given
from hypothesis import strategies as st

from invdesign import units
from invdesign.engine.feedback import read, revise
from invdesign.mechanics.derive import derive
from invdesign.query import Target
from invdesign.records import Candidate, Estimate, Evaluation, Relaxation, Value
from invdesign.selection.targets import target_probability
from invdesign.uncertainty import (
    LN10,
    Z90,
    central_level,
    log10_std,
    log_normal,
    modelled_std,
    modelled_value,
    normal,
    plain_std,
    probability_below,
    probability_between,
    std_from_log10,
    std_to_log10,
    with_interval,
)

medians = st.floats(1e-2, 1e3)
spreads = st.floats(1e-4, 0.5)
NORMAL = NormalDist()


def test_the_quantile_is_that_of_the_normal_distribution() -> None:
    assert pytest.approx(NORMAL.inv_cdf(0.95), abs=1e-12) == Z90


def test_a_spread_in_log10_by_hand() -> None:
    # the one-sigma quantiles of a median of 10 with s = 0.3 in natural logarithms are 10 e^(±0.3)
    std = 0.5 * (10 * math.exp(0.3) - 10 * math.exp(-0.3))
    assert log10_std(Value(10.0, std)) == pytest.approx(0.3 / math.log(10.0))
    # an interval decides, whatever the standard deviation says
    half = 1.6448536 * 0.1
    assert log10_std(Value(10.0, 99.0, 10 / 10**half, 10 * 10**half)) == pytest.approx(0.1, rel=1e-6)
    # a small relative error is the error of the logarithm: 2 % are 0.02 / ln 10
    assert log10_std(Value(260.0, 5.2)) == pytest.approx(0.02 / math.log(10.0), rel=1e-4)
    assert log10_std(Value(10.0, math.nan)) == 0.0


@given(medians, spreads)
def test_spreads_go_there_and_back(median: float, spread: float) -> None:
    value = log_normal(median, spread)
    assert value.low is not None and value.high is not None
    assert log10_std(value) == pytest.approx(spread)
    assert log10_std(replace(value, low=None, high=None)) == pytest.approx(spread)
    assert math.sqrt(value.low * value.high) == pytest.approx(median)
    again = with_interval(Value(median, value.std), log=True)
    assert (again.low, again.high) == (pytest.approx(value.low), pytest.approx(value.high))
    assert std_to_log10(median, std_from_log10(median, spread)) == pytest.approx(spread)


def test_arrays_and_numbers_are_converted_alike() -> None:
    m, s = np.array([1.0, 200.0]), np.array([0.05, 0.3])
    assert std_from_log10(m, s).tolist() == [std_from_log10(float(a), float(b)) for a, b in zip(m, s, strict=True)]
    assert std_to_log10(m, s).tolist() == [std_to_log10(float(a), float(b)) for a, b in zip(m, s, strict=True)]


@given(medians, spreads, st.booleans())
def test_nine_in_ten_lie_in_the_interval(median: float, spread: float, log: bool) -> None:
    value = modelled_value(median, spread, log=log)
    assert probability_between(value, value.low, value.high, log=log) == pytest.approx(0.9)
    assert modelled_std(value, log=log) == pytest.approx(spread)


@given(medians, spreads, st.floats(0.3, 3.0))
def test_probabilities_are_those_of_the_statistics_module(median: float, spread: float, factor: float) -> None:
    limit = median * factor
    log = NormalDist(math.log10(median), spread)
    value = log_normal(median, spread)
    assert probability_between(value, high=limit, log=True) == pytest.approx(log.cdf(math.log10(limit)), abs=1e-9)
    plain = NormalDist(median, spread)
    assert probability_below(limit, normal(median, spread)) == pytest.approx(plain.cdf(limit), abs=1e-12)


@given(medians, spreads, st.booleans())
def test_below_and_above_a_bound_add_up(median: float, spread: float, log: bool) -> None:
    value, bound = modelled_value(median, spread, log=log), 1.1 * median
    below, above = probability_between(value, high=bound, log=log), probability_between(value, low=bound, log=log)
    assert below + above == pytest.approx(1.0)
    assert probability_between(value, 0.5 * bound, bound, log=log) <= below
    assert probability_between(value, log=log) == 1.0


def test_far_tails_keep_their_precision() -> None:
    # P(z >= 8) = 6.22e-16 from tables; a difference from 1 would be 6.66e-16
    assert probability_between(Value(0.0, 1.0), low=8.0) == pytest.approx(6.2209605742718e-16, abs=2e-16)
    assert probability_below(-8.0, Value(0.0, 1.0)) == pytest.approx(6.2209605742718e-16, rel=1e-9)


def test_values_without_a_spread_are_certain_and_missing_ones_impossible() -> None:
    assert probability_below(0.1, Value(0.1, 0.0)) == 1.0 == probability_below(0.1, Value(0.05, math.nan))
    assert probability_below(0.1, Value(0.11, 0.0)) == 0.0
    assert probability_below(0.1, None) == 0.0 == probability_below(0.1, Value(math.nan, 1.0))
    assert probability_between(Value(math.nan, 1.0), 0.0) == 0.0
    assert probability_between(Value(5.0, 0.0), 5.0, 5.0) == 1.0
    assert plain_std(Value(1.0, math.inf)) == 0.0


def test_a_log_normal_value_that_is_not_positive_is_judged_as_normal() -> None:
    assert probability_between(Value(-1.0, 1.0), low=0.0, log=True) == pytest.approx(1 - NORMAL.cdf(1.0))
    assert with_interval(Value(-1.0, 1.0), log=True).low == pytest.approx(-1.0 - Z90)


def test_central_levels_are_one_two_and_three_sigma() -> None:
    found = central_level([-1.0, 2.0, 6.0], [1.0, 1.0, 2.0])
    assert found == pytest.approx([0.682689, 0.954500, 0.997300], abs=1e-6)


def test_a_measured_value_keeps_its_error(tmp_path: Path) -> None:
    """260 ± 5.2 GPa lie above 250 GPa with P = 0.97: ln(260/250) / 0.02 = 1.96 standard deviations."""
    crystal = cubic(225, 22, 7, 4.2)
    relaxation = Relaxation(crystal, -8.0, Value(-0.95, 0.03), 0.01, 9, True, 1.0, 0.0, 0.0, "fake")
    before = Estimate({"bulk_modulus": Value(300.0, 30.0), "shear_modulus": Value(180.0, 20.0)})
    row = Evaluation(Candidate("r-0", crystal, "r", "vae"), relaxation=relaxation, estimate=before)
    table = tmp_path / "results.csv"
    table.write_text("id,bulk_modulus,bulk_modulus_std\nr-0,260,5.2\n")
    parts = replace(fake_parts(), derive=derive, checks=(), reference=FakeReference())
    estimate = revise([row], read(table, {}), parts).rows[0].estimate
    assert estimate is not None
    chance = target_probability([Target("bulk_modulus", low=250.0)], estimate)
    assert chance == pytest.approx(0.975, abs=5e-4)  # a factor of ln 10 too much in the spread makes it 0.80


def test_conversions_of_units_are_those_of_ase() -> None:
    from ase import units as ase

    assert pytest.approx(1.0 / ase.GPa, rel=1e-7) == units.GPA  # ASE keeps CODATA 2014
    assert pytest.approx(ase._amu * 1e3 / 1e-24, rel=1e-7) == units.GRAM_PER_CM3
    assert pytest.approx(1e24 / ase.mol, rel=1e-7) == units.ANGSTROM3_PER_CM3_PER_MOL
    assert pytest.approx(ase.kB / ase.J, rel=1e-6) == units.BOLTZMANN
    assert pytest.approx(ase._hbar, rel=1e-7) == units.HBAR
    assert pytest.approx(160.2176634, rel=1e-15) == units.GPA


def test_ln10_is_the_natural_logarithm_of_ten() -> None:
    assert math.exp(LN10) == pytest.approx(10.0)
