from __future__ import annotations

import numpy as np
import pytest

from invdesign.chemistry import element_data as e
from invdesign.elements import SYMBOLS

WC, PBTE = [74, 6], [82, 52]


def test_masses_and_prices():
    assert e.atomic_masses([1, 8]) == pytest.approx([1.008, 15.999])
    shares = e.mass_fractions(WC)
    assert shares[74] == pytest.approx(183.84 / (183.84 + 12.011))
    price = e.price_per_kg(WC)
    assert price == pytest.approx(shares[74] * e.table().price[74] + shares[6] * e.table().price[6])
    assert e.price_band(WC) == "10-100 USD/kg"
    assert e.price_per_kg(WC * 3) == pytest.approx(price)


def test_unknown_price_is_not_zero():
    assert np.isnan(e.price_per_kg([85, 1]))
    assert e.price_band([85, 1]) == "unknown price"


def test_scarcity_and_supply():
    assert e.scarcest_element([77, 8])[0] == "Ir"
    assert e.scarcest_element([43, 77])[0] == "Tc"
    assert e.supply_risks(WC) == ["W"]
    assert e.supply_risks([13, 8]) == []
    assert e.supply_risk(WC) == 9.5
    assert np.isnan(e.supply_risk([43]))


def test_hazards():
    assert [r.split(":")[0] for r in e.hazards([92, 82, 8])] == ["U", "Pb"]
    assert e.hazards([27, 6]) == []
    assert e.hazards([27, 6], cautions=True)[0].startswith("Co:")
    assert e.hazards([22, 5], cautions=True) == []
    assert e.radioactive([43, 61, 83, 90]) == ["Tc", "Pm", "Th"]


def test_table_is_complete_where_it_must_be():
    table = e.table()
    assert np.isfinite(table.mass[1:]).all() and (np.diff(table.mass[1:90]) > -2).all()
    unpriced = {SYMBOLS[z - 1] for z in range(1, 95) if np.isnan(table.price[z])}
    assert unpriced == {"At", "Rn", "Fr", "Ra", "Pa"}
