from __future__ import annotations

import numpy as np
import pytest

from invdesign.chemistry import element_data
from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.mechanics import formulas, tensors
from invdesign.mechanics.derive import derive
from invdesign.mechanics.quantities import OF_ELEMENTS, OF_MODULI, SOURCES, unknown, with_quantities
from invdesign.properties import PROPERTIES, QUANTITIES, get_property
from invdesign.query import Target
from invdesign.records import Estimate, Value

ROCKSALT = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
MGO = Crystal(ROCKSALT * 4.21, [12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]])
TUNGSTEN = Crystal(np.eye(3) * 3.165, [74, 74], [[0, 0, 0], [0.5, 0.5, 0.5]])


def estimate(K: float, G: float, gap: float, relative: float = 0.1) -> Estimate:
    values = {"bulk_modulus": (K, relative * K), "shear_modulus": (G, relative * G), "band_gap": (gap, 0.1)}
    return Estimate({name: Value(*value) for name, value in values.items()})


# K, G (GPa), density (g/cm³), volume per atom (Å³), measured linear expansion at 300 K (1e-6/K)
EXPANSION = {
    "Al": (76, 26, 2.70, 16.6, 23.1),
    "W": (310, 161, 19.25, 15.8, 4.5),
    "Cu": (140, 48, 8.92, 11.8, 16.5),
    "MgO": (163, 131, 3.58, 9.4, 10.5),
    "diamond": (442, 536, 3.51, 5.67, 1.05),
    "TiC": (242, 182, 4.93, 10.1, 6.5),
}


@pytest.mark.parametrize("name", EXPANSION)
def test_expansion_is_measured_within_a_third(name):
    K, G, rho, volume, measured = EXPANSION[name]
    assert formulas.thermal_expansion(K, G, rho, volume) == pytest.approx(measured, rel=0.33)


def test_grueneisen_of_a_cauchy_solid_is_that_of_hand_arithmetic():
    assert formulas.gruneisen_parameter(0.25) == pytest.approx(1.5)
    assert formulas.gruneisen_parameter([0.346, 0.069]) == pytest.approx([2.10, 0.894], abs=0.005)


def test_debye_heat_capacity_has_both_limits_and_the_tabulated_middle():
    assert formulas.debye_heat_capacity(1e-3) == pytest.approx(3.0)
    cold = 12.0 * np.pi**4 / 5.0 * (300.0 / 20000.0) ** 3
    assert formulas.debye_heat_capacity(20000.0) == pytest.approx(cold, rel=2e-2)
    assert formulas.debye_heat_capacity(300.0) / 3.0 == pytest.approx(0.9517, abs=1e-4)  # tables: theta/T = 1
    assert formulas.debye_heat_capacity(900.0) / 3.0 == pytest.approx(0.6628, abs=1e-3)  # theta/T = 3
    # Copper: 385 J/(kg K) at constant pressure, which is 3 % more than at constant volume.
    assert formulas.heat_capacity(343.0, 63.546) == pytest.approx(385 / 1.03, rel=0.02)


def test_slack_by_hand_and_by_its_order_of_magnitude():
    # gamma = 2: A = 2.43e-6 / (1 - 0.257 + 0.057) = 3.0375e-6
    value = formulas.slack_conductivity(600.0, 2.0, 20.0, 27.0, 8.0)
    assert value == pytest.approx(3.0375e-6 * 20.0 * 300.0**3 * 3.0 * 2.0 / (4.0 * 300.0), rel=1e-6)
    debye = formulas.debye_temperature(442, 536, 3.51, 5.67)
    diamond = formulas.slack_conductivity(debye, formulas.gruneisen_parameter(0.069), 12.011, 5.67, 2)
    assert diamond == pytest.approx(2200, rel=0.1)  # measured
    debye = formulas.debye_temperature(254, 163, 3.98, 8.5)
    alumina = formulas.slack_conductivity(debye, formulas.gruneisen_parameter(0.235), 20.39, 8.5, 10)
    assert 20 < alumina < 80  # measured: 30 to 40


def test_melting_point_by_fine():
    assert formulas.melting_point(310, 161) == pytest.approx(553 + 5.91 * (310 + 4 * 161 / 3))
    assert formulas.melting_point(310, 161) == pytest.approx(3695, rel=0.02)  # tungsten
    assert formulas.melting_point(242, 182) == pytest.approx(3430, rel=0.02)  # TiC


def test_strengths_by_hand():
    assert formulas.hardness_strength(3.0) == pytest.approx(1000.0)
    assert formulas.fracture_strength(4.0) == pytest.approx(4.0 / (1.12 * np.sqrt(np.pi * 20e-6)))
    assert formulas.fracture_strength(4.0) == pytest.approx(451, abs=1)
    assert formulas.usable_strength([0.5, 20.0], [30.0, 4.0]) == pytest.approx([166.7, 450.6], abs=0.1)
    assert formulas.ideal_shear_strength(2 * np.pi) == pytest.approx(1000.0)
    assert formulas.ideal_tensile_strength(200) == pytest.approx(20_000)


def test_thermal_shock_of_alumina_is_that_of_a_textbook():
    resistance = formulas.thermal_shock_resistance(400, 390, 0.22, 7.5)
    assert resistance == pytest.approx(400e6 * 0.78 / (390e9 * 7.5e-6))
    assert formulas.thermal_shock_power(resistance, 30) == pytest.approx(30 * resistance)


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = c12
    np.fill_diagonal(tensor[:3, :3], c11)
    tensor[[3, 4, 5], [3, 4, 5]] = c44
    return tensor


def test_directional_modulus_of_copper_is_that_of_its_constants():
    copper = cubic(168.4, 121.4, 75.4)
    s = np.linalg.inv(copper)
    expected = [1 / s[0, 0], 1 / (s[0, 0] - 2 * (s[0, 0] - s[0, 1] - s[3, 3] / 2) / 3)]
    found = tensors.directional_youngs_modulus(copper, [[2, 0, 0], [1, 1, 1]])
    assert found == pytest.approx(expected)
    assert found == pytest.approx([66.7, 191.1], abs=0.5)
    assert tensors.extreme_youngs_moduli(copper) == pytest.approx(tuple(expected), rel=1e-9)
    assert tensors.cauchy_pressures(copper) == pytest.approx((46.0, 46.0, 46.0))


def test_an_isotropic_solid_is_equally_stiff_in_all_directions():
    isotropic = cubic(100 + 200 / 3, 100 - 100 / 3, 50)
    low, high = tensors.extreme_youngs_moduli(isotropic)
    assert low == pytest.approx(high) == pytest.approx(9 * 100 * 50 / (3 * 100 + 50))
    assert tensors.cauchy_pressures(isotropic) == pytest.approx((50 / 3, 50 / 3, 50 / 3))


def test_quantities_of_a_crystal_have_errors_and_sources():
    before = derive(estimate(163, 131, 4.4), MGO)
    after = with_quantities([before], [MGO], list(QUANTITIES))[0]
    names = set(QUANTITIES) - {"max_service_temperature", "embodied_energy"}
    assert set(after.values) - set(before.values) == names
    for name in set(OF_MODULI):
        value = after.values[name]
        assert value.low < value.mean < value.high and value.source == SOURCES[name]
    assert after.values["price"].std == 0.0
    assert after.values["price"].mean == pytest.approx(element_data.price_per_kg([12, 8]))
    assert unknown("max_service_temperature", after) == "maximum service temperature is unknown"
    wide = with_quantities([derive(estimate(163, 131, 4.4, 0.3), MGO)], [MGO], ["strength"])[0].values["strength"]
    assert wide.std > after.values["strength"].std


def test_a_metal_has_no_lattice_conductivity():
    metal = with_quantities([derive(estimate(310, 161, 0.0), TUNGSTEN)], [TUNGSTEN], ["thermal_conductivity"])[0]
    assert "thermal_conductivity" not in metal.values
    assert "electrons" in unknown("thermal_conductivity", metal)


def test_the_cell_does_not_matter():
    big = Crystal(MGO.lattice * 2, np.tile(MGO.numbers, 8), _tiled(MGO.frac_coords))
    names = ["thermal_conductivity", "thermal_expansion", "price"]
    small, large = (
        with_quantities([derive(estimate(163, 131, 4.4), c)], [c], names)[0].values for c in (MGO, big)
    )
    for name in names:
        assert large[name].mean == pytest.approx(small[name].mean, rel=1e-6)


def _tiled(coords: np.ndarray) -> np.ndarray:
    shifts = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    return np.vstack([(coords + shift) / 2 for shift in shifts])


def test_without_moduli_only_the_elements_speak():
    after = with_quantities([Estimate({})], [MGO], ["price", "strength"])[0]
    assert set(after.values) == {"price"}
    assert with_quantities([Estimate({}, failure="no")], [MGO], ["price"])[0].values == {}


def test_every_quantity_is_known_by_name_and_is_no_property_twice():
    assert not set(PROPERTIES) & set(QUANTITIES)
    assert set(SOURCES) == set(OF_ELEMENTS) | set(OF_MODULI)
    assert Target.parse("price<=50") == Target("price", high=50.0)
    with pytest.raises(InputError, match=r"strenght.*strength"):
        get_property("strenght")


def test_energy_and_concentration_of_elements():
    table = element_data.table()
    assert element_data.embodied_energy([22]) == 115
    assert np.isnan(element_data.embodied_energy([22, 5]))
    assert element_data.concentration([4]) == 8000 and element_data.concentration([4], reserves=True) == 4000
    assert table.price_year == 2024
