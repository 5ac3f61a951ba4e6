"""Formulas: what follows from bulk and shear modulus, density and mean atomic mass of a dense polycrystal.

Moduli are in GPa, lengths in Å, densities in g/cm³, temperatures in K; every function takes scalars or arrays
that broadcast. Empirical formulas carry their source and where they hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.units import ATOMIC_MASS, BOLTZMANN, HBAR

Array = NDArray[np.float64]


def youngs_modulus(K: ArrayLike, G: ArrayLike) -> Array:
    """Young's modulus E = 9KG / (3K + G), GPa."""
    k, g = _pair(K, G)
    return 9.0 * k * g / (3.0 * k + g)


def poisson_ratio(K: ArrayLike, G: ArrayLike) -> Array:
    """Poisson's ratio (3K - 2G) / (2(3K + G)), from -1 to 0.5."""
    k, g = _pair(K, G)
    return (3.0 * k - 2.0 * g) / (2.0 * (3.0 * k + g))


def pugh_ratio(K: ArrayLike, G: ArrayLike) -> Array:
    """Pugh's ratio K / G; above about 1.75 metals tend to be ductile (Pugh, Phil. Mag. 45, 823 (1954))."""
    k, g = _pair(K, G)
    return k / g


def specific_stiffness(E: ArrayLike, density: ArrayLike) -> Array:
    """E / rho in GPa cm³/g."""
    e, rho = _pair(E, density)
    return e / rho


def sound_velocities(K: ArrayLike, G: ArrayLike, density: ArrayLike) -> tuple[Array, Array, Array]:
    """Longitudinal, transverse and mean velocity of sound, m/s.

    The mean is [(1/3)(2/v_t³ + 1/v_l³)]^(-1/3) (Anderson, J. Phys. Chem. Solids 24, 909 (1963)).
    """
    k, g = _pair(K, G)
    rho = np.asarray(density, dtype=np.float64) * 1e3
    v_l = np.sqrt((k + 4.0 * g / 3.0) * 1e9 / rho)
    v_t = np.sqrt(g * 1e9 / rho)
    return v_l, v_t, ((2.0 / v_t**3 + 1.0 / v_l**3) / 3.0) ** (-1.0 / 3.0)


def debye_temperature(K: ArrayLike, G: ArrayLike, density: ArrayLike, volume_per_atom: ArrayLike) -> Array:
    """Debye temperature (hbar/k_B)(6 pi² n)^(1/3) v_m, K (Anderson 1963); volume per atom in Å³."""
    number_density = 1e30 / np.asarray(volume_per_atom, dtype=np.float64)
    mean = sound_velocities(K, G, density)[2]
    return np.asarray(HBAR / BOLTZMANN * (6.0 * np.pi**2 * number_density) ** (1.0 / 3.0) * mean)


def clarke_conductivity(E: ArrayLike, density: ArrayLike, mean_atomic_mass: ArrayLike) -> Array:
    """Clarke's minimal thermal conductivity 0.87 k_B M_a^(-2/3) E^(1/2) rho^(1/6), W/(m K).

    M_a is the mean mass of an atom (given in g/mol). Clarke, Surf. Coat. Technol. 163, 67 (2003). A lower bound
    for insulators above their Debye temperature.
    """
    e, rho = _pair(E, density)
    mass = np.asarray(mean_atomic_mass, dtype=np.float64) * ATOMIC_MASS
    return np.asarray(0.87 * BOLTZMANN * mass ** (-2.0 / 3.0) * np.sqrt(e * 1e9) * (rho * 1e3) ** (1.0 / 6.0))


def cahill_conductivity(K: ArrayLike, G: ArrayLike, density: ArrayLike, volume_per_atom: ArrayLike) -> Array:
    """Cahill's minimal thermal conductivity (1/2)(pi/6)^(1/3) k_B n^(2/3) (v_l + 2 v_t), W/(m K).

    Cahill, Watson and Pohl, Phys. Rev. B 46, 6131 (1992); the high-temperature limit. Volume per atom in Å³.
    """
    number_density = 1e30 / np.asarray(volume_per_atom, dtype=np.float64)
    v_l, v_t, _ = sound_velocities(K, G, density)
    scale = 0.5 * (np.pi / 6.0) ** (1.0 / 3.0) * BOLTZMANN
    return np.asarray(scale * number_density ** (2.0 / 3.0) * (v_l + 2.0 * v_t))


def chen_hardness(K: ArrayLike, G: ArrayLike) -> Array:
    """2 (k²G)^0.585 - 3 with k = G/K (Chen et al., Intermetallics 19, 1275 (2011)); negative for soft crystals."""
    k, g = _pair(K, G)
    return 2.0 * ((g / k) ** 2 * g) ** 0.585 - 3.0


def tian_hardness(K: ArrayLike, G: ArrayLike) -> Array:
    """0.92 k^1.137 G^0.708 with k = G/K (Tian et al., Int. J. Refract. Met. Hard Mater. 33, 93 (2012))."""
    k, g = _pair(K, G)
    return 0.92 * (g / k) ** 1.137 * g**0.708


def teter_hardness(G: ArrayLike) -> Array:
    """0.151 G (Teter, MRS Bulletin 23, 22 (1998)): the trend line of hard covalent and ionic crystals."""
    return 0.151 * np.asarray(G, dtype=np.float64)


def mazhnik_oganov_hardness(K: ArrayLike, G: ArrayLike) -> Array:
    """0.096 chi(nu) E (Mazhnik and Oganov, J. Appl. Phys. 126, 125109 (2019))."""
    nu = poisson_ratio(K, G)
    chi = (1.0 - 8.5 * nu + 19.5 * nu**2) / (1.0 - 7.5 * nu + 12.2 * nu**2 + 19.6 * nu**3)
    return 0.096 * chi * youngs_modulus(K, G)


def niu_toughness(K: ArrayLike, G: ArrayLike, volume_per_atom: ArrayLike) -> Array:
    """V0^(1/6) G (K/G)^(1/2), MPa m^0.5 (Niu, Niu and Oganov, J. Appl. Phys. 125, 065105 (2019)).

    Volume per atom in Å³. For ionic and covalent crystals; metals are tougher by an order of magnitude.
    """
    k, g = _pair(K, G)
    return _sixth_root(volume_per_atom) * 1e3 * np.sqrt(k * g)


def mazhnik_oganov_toughness(K: ArrayLike, G: ArrayLike, volume_per_atom: ArrayLike) -> Array:
    """alpha0^(-1/2) V0^(1/6) (zeta(nu) E)^(3/2), alpha0 = 8840 GPa, MPa m^0.5 (J. Appl. Phys. 126, 125109 (2019)).

    Volume per atom in Å³. For ionic and covalent crystals.
    """
    nu = poisson_ratio(K, G)
    zeta = (1.0 - 13.7 * nu + 48.6 * nu**2) / (1.0 - 15.2 * nu + 70.2 * nu**2 - 81.5 * nu**3)
    stiffness = np.asarray(zeta * youngs_modulus(K, G)) ** 1.5 / np.sqrt(8840.0)
    return np.asarray(_sixth_root(volume_per_atom) * 1e3 * stiffness)


def _sixth_root(volume_per_atom: ArrayLike) -> Array:
    return np.asarray(np.asarray(volume_per_atom, dtype=np.float64) * 1e-30) ** (1.0 / 6.0)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    return np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)


FLAW = 20e-6
"""Length (m) of the crack that limits the strength of a brittle part, unless another is declared."""


def hardness_strength(hardness: ArrayLike) -> Array:
    """Yield strength H/3 of a fully plastic indentation, MPa (Tabor, The Hardness of Metals (1951)).

    Hardness in GPa. For metals that harden little; an upper bound for brittle solids, which break first.
    """
    return np.asarray(hardness, dtype=np.float64) * 1e3 / 3.0


def fracture_strength(toughness: ArrayLike, flaw: float = FLAW) -> Array:
    """Strength K_IC / (1.12 sqrt(pi a)) of a part with a surface crack, MPa (Irwin; Tada, Paris and Irwin).

    Toughness in MPa m^0.5, length `flaw` of the crack in m. Linear elastic: for brittle solids.
    """
    return np.asarray(np.asarray(toughness, dtype=np.float64) / (1.12 * np.sqrt(np.pi * flaw)))


def usable_strength(hardness: ArrayLike, toughness: ArrayLike, flaw: float = FLAW) -> Array:
    """The smaller of yield and fracture strength, MPa: what an untested crystal can be trusted with."""
    return np.asarray(np.minimum(hardness_strength(hardness), fracture_strength(toughness, flaw)))


def ideal_tensile_strength(E: ArrayLike) -> Array:
    """E/10 in MPa: the upper bound that cohesion sets (Orowan, Rep. Prog. Phys. 12, 185 (1949))."""
    return np.asarray(E, dtype=np.float64) * 1e3 / 10.0


def ideal_shear_strength(G: ArrayLike) -> Array:
    """G / (2 pi) in MPa: slip of a whole plane at once (Frenkel, Z. Phys. 37, 572 (1926)); an upper bound."""
    return np.asarray(G, dtype=np.float64) * 1e3 / (2.0 * np.pi)


def gruneisen_parameter(nu: ArrayLike) -> Array:
    """Grüneisen parameter (3/2)(1 + nu)/(2 - 3 nu) (Belomestnykh and Tesleva, Tech. Phys. 49, 1098 (2004)).

    From Poisson's ratio, for isotropic solids with central forces; within about 20 % for cubic metals and salts.
    """
    ratio = np.asarray(nu, dtype=np.float64)
    return 1.5 * (1.0 + ratio) / (2.0 - 3.0 * ratio)


def debye_heat_capacity(debye: ArrayLike, temperature: float = 300.0) -> Array:
    """Heat capacity per atom at constant volume in units of k_B, from 0 to 3 (Debye, Ann. Phys. 39, 789 (1912)).

    9 (T/theta)³ times the integral of x⁴ eˣ/(eˣ - 1)² from 0 to theta/T, by Gauss-Legendre quadrature.
    """
    bound = np.asarray(debye, dtype=np.float64)[..., None] / temperature
    nodes, weights = np.polynomial.legendre.leggauss(24)
    upper = np.minimum(bound, 30.0)  # beyond it the integrand is below 1e-7
    x = 0.5 * upper * (nodes + 1.0)
    decay = np.exp(-x)
    integrand = x**4 * decay / (1.0 - decay) ** 2
    integral = (integrand * weights).sum(axis=-1) * 0.5 * upper[..., 0]
    return np.asarray(9.0 * integral / bound[..., 0] ** 3)


def heat_capacity(debye: ArrayLike, mean_atomic_mass: ArrayLike, temperature: float = 300.0) -> Array:
    """Specific heat in J/(kg K) of a Debye solid; mean mass of an atom in g/mol. Lattice vibrations alone."""
    mass = np.asarray(mean_atomic_mass, dtype=np.float64) * ATOMIC_MASS
    return np.asarray(debye_heat_capacity(debye, temperature) * BOLTZMANN / mass)


def thermal_expansion(
    K: ArrayLike, G: ArrayLike, density: ArrayLike, volume_per_atom: ArrayLike, temperature: float = 300.0
) -> Array:
    """Linear expansion gamma C_V / (3 K V) in 1e-6/K (Grüneisen, Ann. Phys. 39, 257 (1912)).

    With the Grüneisen parameter of Poisson's ratio and Debye's heat capacity. For dense isotropic solids; blind to
    framework structures and to magnetic effects (quartz, Invar).
    """
    debye = debye_temperature(K, G, density, volume_per_atom)
    volume = np.asarray(volume_per_atom, dtype=np.float64) * 1e-30
    pressure = (
        gruneisen_parameter(poisson_ratio(K, G)) * debye_heat_capacity(debye, temperature) * BOLTZMANN / volume
    )
    return np.asarray(pressure / (3.0 * np.asarray(K, dtype=np.float64) * 1e9) * 1e6)


def slack_conductivity(
    debye: ArrayLike,
    gamma: ArrayLike,
    mean_atomic_mass: ArrayLike,
    volume_per_atom: ArrayLike,
    atoms_per_cell: ArrayLike,
    temperature: float = 300.0,
) -> Array:
    """Lattice thermal conductivity A M theta_a³ delta n^(1/3) / (gamma² T), W/(m K).

    Slack, Solid State Phys. 34, 1 (1979), with A = 2.43e-6 / (1 - 0.514/gamma + 0.228/gamma²) (Julian, Phys. Rev.
    137, A128 (1965)); theta_a = theta n^(-1/3) with n atoms in the primitive cell, delta³ the volume per atom. For
    a defect-free insulator above theta_a; metals conduct by electrons, which is not in the formula.
    """
    g = np.asarray(gamma, dtype=np.float64)
    n = np.asarray(atoms_per_cell, dtype=np.float64)
    acoustic = np.asarray(debye, dtype=np.float64) * n ** (-1.0 / 3.0)
    scale = 2.43e-6 / (1.0 - 0.514 / g + 0.228 / g**2)
    size = np.asarray(volume_per_atom, dtype=np.float64) ** (1.0 / 3.0)
    mass = np.asarray(mean_atomic_mass, dtype=np.float64)
    return np.asarray(scale * mass * acoustic**3 * size * n ** (1.0 / 3.0) / (g**2 * temperature))


def melting_point(K: ArrayLike, G: ArrayLike) -> Array:
    """Melting point 553 + 5.91 C11, K (Fine, Brown and Marcus, Scripta Metall. 18, 951 (1984); ± 300 K).

    C11 in GPa is that of the isotropic polycrystal, K + 4G/3. Fitted to cubic metals and intermetallics; wrong by
    half or double for molecular and layered crystals, for silica and for carbon.
    """
    k, g = _pair(K, G)
    return 553.0 + 5.91 * (k + 4.0 * g / 3.0)


def thermal_shock_resistance(strength: ArrayLike, E: ArrayLike, nu: ArrayLike, expansion: ArrayLike) -> Array:
    """R = sigma (1 - nu) / (E alpha), K: the sudden change of temperature that starts a crack (Kingery 1955).

    Strength in MPa, E in GPa, expansion in 1e-6/K. J. Am. Ceram. Soc. 38, 3 (1955); infinite heat transfer.
    """
    sigma, e = _pair(strength, E)
    ratio, alpha = _pair(nu, expansion)
    return np.asarray(sigma * (1.0 - ratio) / (e * 1e3 * alpha * 1e-6))


def thermal_shock_power(resistance: ArrayLike, conductivity: ArrayLike) -> Array:
    """R' = lambda R, W/m: the same at a given heat flux (Kingery 1955); conductivity in W/(m K)."""
    r, conduct = _pair(resistance, conductivity)
    return np.asarray(r * conduct)
