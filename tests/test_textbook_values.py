"""Textbook values: elastic constants and what follows from them, Debye's function, uncertainties, units.

Elastic constants are those of Simmons and Wang, Single Crystal Elastic Constants (1971), and of Nye, Physical
Properties of Crystals (1957), in GPa; moduli of polycrystals and velocities of sound are the CRC Handbook's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_mechanics import cubic

from invdesign import units
from invdesign.chemistry.element_data import atomic_masses
from invdesign.elements import atomic_number
from invdesign.mechanics import formulas, tensors
from invdesign.records import Value
from invdesign.uncertainty import (
    Z90,
    central_level,
    probability_below,
    probability_between,
    std_from_log10,
    std_to_log10,
)

CUBIC = {
    "Cu": (168.4, 121.4, 75.4, 137.1, 47.3, 3.21), "Al": (107.3, 60.9, 28.3, 76.4, 26.1, 1.22),
    "Fe": (231.4, 134.7, 116.4, 166.9, 81.5, 2.41), "W": (522.4, 204.4, 160.8, 310.4, 160.1, 1.01),
    "Au": (192.9, 163.8, 41.5, 173.5, 27.3, 2.85), "Ag": (124.0, 93.7, 46.1, 103.8, 29.5, 3.04),
    "Ni": (246.5, 147.3, 124.7, 180.4, 86.2, 2.51), "Pb": (49.5, 42.3, 14.9, 44.7, 8.5, 4.14),
    "NaCl": (49.1, 12.8, 12.8, 24.9, 14.7, 0.705), "MgO": (297.0, 95.0, 155.0, 162.3, 130.5, 1.53),
    "Si": (165.7, 63.9, 79.6, 97.8, 66.5, 1.56), "diamond": (1076.0, 125.0, 577.0, 442.0, 536.0, 1.21),
}  # fmt: skip
"""C11, C12, C44; and by hand K, the mean G of Voigt and Reuss, and Zener's ratio."""


@pytest.mark.parametrize("name", CUBIC)
def test_averages_of_cubic_crystals(name: str) -> None:
    c11, c12, c44, bulk, shear, zener = CUBIC[name]
    found = tensors.summarise(cubic(c11, c12, c44))
    assert (found.bulk_voigt, found.bulk_reuss) == pytest.approx((bulk, bulk), abs=0.4)
    assert found.shear_hill == pytest.approx(shear, rel=0.006)
    assert found.shear_reuss <= found.shear_hill <= found.shear_voigt
    assert tensors.zener_anisotropy(cubic(c11, c12, c44)) == pytest.approx(zener, rel=0.005)
    assert tensors.cauchy_pressures(cubic(c11, c12, c44)) == pytest.approx((c12 - c44,) * 3)
    assert found.stable


def uniaxial(c11: float, c12: float, c13: float, c33: float, c44: float, c14: float = 0.0) -> np.ndarray:
    """Voigt matrix of a hexagonal crystal, or a trigonal one of the classes 32, 3m and -3m."""
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = [[c11, c12, c13], [c12, c11, c13], [c13, c13, c33]]
    tensor[[3, 4, 5], [3, 4, 5]] = c44, c44, (c11 - c12) / 2
    tensor[0, 3] = tensor[3, 0] = tensor[4, 5] = tensor[5, 4] = c14
    tensor[1, 3] = tensor[3, 1] = -c14
    return tensor


@pytest.mark.parametrize(
    ("constants", "bulk", "shear"),
    [
        ((59.7, 26.2, 21.7, 61.7, 16.4), 35.5, 17.3),  # Mg
        ((162.4, 92.0, 69.0, 180.7, 46.7), 107.3, 43.3),  # Ti
        ((292.3, 26.7, 14.0, 336.4, 162.5), 114.4, 149.0),  # Be: CRC
        ((497.0, 163.0, 116.0, 501.0, 147.0, -22.0), 253.9, 163.5),  # corundum
        ((86.8, 7.0, 11.9, 105.8, 58.2, -18.0), 37.8, 44.4),  # quartz
    ],
)
def test_averages_of_uniaxial_crystals(constants: tuple[float, ...], bulk: float, shear: float) -> None:
    found = tensors.summarise(uniaxial(*constants))
    assert found.bulk_hill == pytest.approx(bulk, rel=0.01)
    assert found.shear_hill == pytest.approx(shear, rel=0.015)
    assert found.stable


@pytest.mark.parametrize(
    ("constants", "direction", "modulus"),
    [
        ((165.7, 63.9, 79.6), (1, 0, 0), 130.1), ((165.7, 63.9, 79.6), (1, 1, 0), 169.0),
        ((165.7, 63.9, 79.6), (1, 1, 1), 187.9), ((165.7, 63.9, 79.6), (-2, 2, 0), 169.0),
        ((168.4, 121.4, 75.4), (1, 0, 0), 66.7), ((168.4, 121.4, 75.4), (1, 1, 1), 191.1),
        ((168.4, 121.4, 75.4), (0, 1, 1), 130.3), ((522.4, 204.4, 160.8), (1, 1, 1), 411.0),
    ],
)  # fmt: skip
def test_youngs_modulus_along_a_direction(
    constants: tuple[float, ...], direction: tuple[int, ...], modulus: float
) -> None:
    """Silicon: 130, 169 and 188 GPa along 100, 110 and 111 (Hopcroft, J. MEMS 19, 229 (2010)); copper from Nye."""
    tensor = cubic(*constants)
    found = tensors.directional_youngs_modulus(tensor, np.array([direction]) / np.linalg.norm(direction))
    assert float(found[0]) == pytest.approx(modulus, rel=0.006)
    low, high = tensors.extreme_youngs_moduli(tensor)
    assert low * 0.99 <= modulus <= high * 1.01


@pytest.mark.parametrize(
    ("bulk", "shear", "young", "poisson"),
    [(1.0, 1.0, 2.25, 0.125), (5.0, 3.0, 7.5, 0.25), (2.0, 3.0, 6.0, 0.0), (8.0, 3.0, 8.0, 1 / 3),
    (100.0, 1e-9, 3e-9, 0.5)],
)  # fmt: skip
def test_relations_of_isotropic_solids(bulk: float, shear: float, young: float, poisson: float) -> None:
    """By hand: E = 2 G (1 + nu) = 3 K (1 - 2 nu)."""
    assert float(formulas.youngs_modulus(bulk, shear)) == pytest.approx(young)
    assert float(formulas.poisson_ratio(bulk, shear)) == pytest.approx(poisson)
    assert float(formulas.pugh_ratio(bulk, shear)) == pytest.approx(bulk / shear)


METALS = {
    "Al": (76.4, 26.1, 2.70, 16.60, 428, 6400, 3100), "Cu": (137.1, 47.3, 8.93, 11.81, 344, 4720, 2300),
    "Ag": (103.8, 29.5, 10.50, 17.05, 226, 3690, 1680), "Au": (173.5, 27.3, 19.28, 16.96, 162, 3300, 1190),
    "W": (310.4, 160.1, 19.25, 15.86, 384, 5210, 2880), "Fe": (166.9, 81.5, 7.87, 11.78, 472, 5930, 3220),
    "Si": (97.8, 66.5, 2.33, 20.02, 645, 8950, 5340), "MgO": (162.3, 130.5, 3.58, 9.34, 946, 9700, 6040),
    "NaCl": (24.9, 14.7, 2.163, 22.43, 321, 4540, 2610), "Pb": (44.7, 8.5, 11.34, 30.33, 105, 2220, 870),
}  # fmt: skip
"""K, G, density, volume per atom; Debye temperature (K) and longitudinal and transverse velocities (m/s)."""


@pytest.mark.parametrize("name", METALS)
def test_sound_and_debye_temperatures(name: str) -> None:
    """Debye temperatures of Kittel's table belong to low temperature, where crystals are somewhat stiffer."""
    bulk, shear, density, volume, debye, longitudinal, transverse = METALS[name]
    v_l, v_t, mean = (float(v) for v in formulas.sound_velocities(bulk, shear, density))
    assert (v_l, v_t) == pytest.approx((longitudinal, transverse), rel=0.03)
    assert v_t < mean < v_l
    assert float(formulas.debye_temperature(bulk, shear, density, volume)) == pytest.approx(debye, rel=0.12)


@pytest.mark.parametrize(
    ("ratio", "share"),
    [(1.0, 0.9517), (0.5, 0.8254), (0.25, 0.5031), (0.1, 0.0758), (10.0, 0.9995), (0.02, 0.000623)],
)
def test_debye_function(ratio: float, share: float) -> None:
    """C/3Nk at T/theta as tabulated by Gopal (1966); at low temperature (4 pi^4/5) (T/theta)³."""
    assert float(formulas.debye_heat_capacity(100.0, 100.0 * ratio)) / 3.0 == pytest.approx(share, rel=0.003)


@pytest.mark.parametrize(
    ("debye", "mass", "measured"), [(428, 26.98, 897), (344, 63.55, 385), (645, 28.09, 705), (105, 207.2, 128),
    (384, 183.8, 132)]
)  # fmt: skip
def test_specific_heats_at_room_temperature(debye: float, mass: float, measured: float) -> None:
    """J/(kg K) of Al, Cu, Si, Pb and W; metals have some per cent more from expansion and electrons."""
    assert float(formulas.heat_capacity(debye, mass)) == pytest.approx(measured, rel=0.12)


@pytest.mark.parametrize(
    ("name", "mass"),
    [("H", 1.008), ("C", 12.011), ("O", 15.999), ("Al", 26.982), ("Si", 28.085), ("Cl", 35.45), ("Fe", 55.845),
     ("Cu", 63.546), ("Ag", 107.868), ("W", 183.84), ("Au", 196.967), ("Pb", 207.2), ("U", 238.029)],
)  # fmt: skip
def test_atomic_masses_of_iupac(name: str, mass: float) -> None:
    assert float(atomic_masses([atomic_number(name)])[0]) == pytest.approx(mass, abs=0.006)


def test_units_and_constants() -> None:
    assert units.GPA == pytest.approx(160.21766, rel=1e-7)  # noqa: SIM300
    assert units.GRAM_PER_CM3 == pytest.approx(1.66053907, rel=1e-8)  # noqa: SIM300
    assert pytest.approx(8.31446262, rel=1e-8) == units.BOLTZMANN * units.AVOGADRO
    assert pytest.approx(1e-3, rel=1e-9) == units.ATOMIC_MASS * units.AVOGADRO
    assert pytest.approx(2 * math.pi * units.HBAR, rel=1e-9) == 6.62607015e-34


@pytest.mark.parametrize(
    ("sigmas", "below"), [(0, 0.5), (1, 0.8413), (-1, 0.1587), (1.6449, 0.95), (2, 0.9772), (3, 0.99865)]
)
def test_the_normal_distribution(sigmas: float, below: float) -> None:
    """The table of the standard normal distribution."""
    assert probability_below(100.0 + 10.0 * sigmas, Value(100.0, 10.0)) == pytest.approx(below, abs=1e-4)
    assert float(central_level(abs(sigmas), 1.0)) == pytest.approx(abs(2 * below - 1), abs=2e-4)


def test_intervals_by_hand() -> None:
    assert pytest.approx(1.6449, abs=1e-4) == Z90
    assert probability_between(Value(100.0, 10.0), 90.0, 110.0) == pytest.approx(0.6827, abs=1e-4)
    assert probability_below(5.0, Value(4.0, 0.0)) == 1.0 and probability_below(3.0, Value(4.0, 0.0)) == 0.0
    for std in (0.01, 1.0, 30.0):
        assert std_from_log10(100.0, std_to_log10(100.0, std)) == pytest.approx(std)
    assert std_to_log10(100.0, 1.0) == pytest.approx(0.01 / math.log(10), rel=1e-3)


@pytest.mark.parametrize(
    ("measured", "hardness", "strength"), [("gold", 0.2, 67), ("mild steel", 1.2, 400), ("tool steel", 8.0, 2667)]
)
def test_tabor(measured: str, hardness: float, strength: float) -> None:
    assert float(formulas.hardness_strength(hardness)) == pytest.approx(strength, rel=0.01), measured


def test_griffith_and_kingery_by_hand() -> None:
    """Alumina: 4 MPa m^0.5 and a crack of 100 µm give 200 MPa; 300 MPa, 400 GPa, 0.22 and 8e-6/K give 73 K."""
    assert float(formulas.fracture_strength(4.0, 100e-6)) == pytest.approx(201.5, rel=0.005)
    shock = float(formulas.thermal_shock_resistance(300.0, 400.0, 0.22, 8.0))
    assert shock == pytest.approx(73.1, rel=0.005)
    assert float(formulas.thermal_shock_power(shock, 30.0)) == pytest.approx(2194, rel=0.005)
    assert float(formulas.gruneisen_parameter(0.25)) == pytest.approx(1.5)
    assert float(formulas.specific_stiffness(70.0, 2.7)) == pytest.approx(25.93, abs=0.01)
