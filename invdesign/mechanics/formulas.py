"""Mechanics: what follows from bulk and shear modulus, density and composition, or from a full elastic tensor.

Moduli are in GPa, lengths in Å, densities in g/cm³, temperatures in K; every function of moduli takes scalars or
arrays that broadcast. Empirical formulas carry their source; where they hold is said by `bonding_class`, and
`derive` applies the correction and the scatter of that class, fitted to measured hardnesses
(`benchmarks/hardness.py`), to the Vickers hardness that it reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.chemistry.element_data import atomic_masses, table
from invdesign.crystal import Crystal
from invdesign.elements import atomic_number
from invdesign.mechanics.tensors import mandel, reuss, voigt
from invdesign.properties import DERIVED
from invdesign.records import Estimate, Value

Array = NDArray[np.float64]

_AMU = 1.66053906660e-27
_K_B = 1.380649e-23
_HBAR = 1.054571817e-34

MODULUS_CORRELATION = 0.5
"""Correlation of the errors of ln K and ln G of a model, measured by `benchmarks/modulus_correlation.py`."""
DENSITY_ERROR = 0.02
"""Relative standard deviation of a computed density: PBE volumes scatter by about 2 % against measured ones."""
N_SAMPLES = 256
"""Monte Carlo samples behind a derived standard deviation; even, because they come in antithetic pairs."""


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
    return np.asarray(_HBAR / _K_B * (6.0 * np.pi**2 * number_density) ** (1.0 / 3.0) * mean)


def clarke_conductivity(E: ArrayLike, density: ArrayLike, mean_atomic_mass: ArrayLike) -> Array:
    """Clarke's minimal thermal conductivity 0.87 k_B M_a^(-2/3) E^(1/2) rho^(1/6), W/(m K).

    M_a is the mean mass of an atom (given in g/mol). Clarke, Surf. Coat. Technol. 163, 67 (2003). A lower bound
    for insulators above their Debye temperature.
    """
    e, rho = _pair(E, density)
    mass = np.asarray(mean_atomic_mass, dtype=np.float64) * _AMU
    return np.asarray(0.87 * _K_B * mass ** (-2.0 / 3.0) * np.sqrt(e * 1e9) * (rho * 1e3) ** (1.0 / 6.0))


def cahill_conductivity(K: ArrayLike, G: ArrayLike, density: ArrayLike, volume_per_atom: ArrayLike) -> Array:
    """Cahill's minimal thermal conductivity (1/2)(pi/6)^(1/3) k_B n^(2/3) (v_l + 2 v_t), W/(m K).

    Cahill, Watson and Pohl, Phys. Rev. B 46, 6131 (1992); the high-temperature limit. Volume per atom in Å³.
    """
    number_density = 1e30 / np.asarray(volume_per_atom, dtype=np.float64)
    v_l, v_t, _ = sound_velocities(K, G, density)
    scale = 0.5 * (np.pi / 6.0) ** (1.0 / 3.0) * _K_B
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


@dataclass(frozen=True)
class BondingClass:
    """How far the formulas hold for one kind of bonding.

    Attributes:
        name: the class.
        label: in words.
        hardness_shift: median of log10(measured / Mazhnik-Oganov hardness).
        hardness_scatter: robust standard deviation of the same.
        toughness_scatter: standard deviation of log10 of measured over estimated fracture toughness.
        note: what to keep in mind, for reports.
    """

    name: str
    label: str
    hardness_shift: float
    hardness_scatter: float
    toughness_scatter: float
    note: str = ""


_DUCTILE = "toughness is a lower bound (no plasticity in the formula)"
BONDING_CLASSES: dict[str, BondingClass] = {
    c.name: c
    for c in (
        BondingClass("refractory", "boride, carbide, nitride", -0.04, 0.22, 0.15),
        BondingClass("metalloid", "silicide, germanide, pnictide", -0.09, 0.20, 0.20),
        BondingClass("oxide", "oxide", 0.00, 0.30, 0.20),
        BondingClass("chalcogenide", "semiconducting chalcogenide", -0.53, 0.25, 0.25),
        BondingClass("ionic", "ionic crystal", -0.36, 0.22, 0.25, "slips easily: hardness formulas overestimate"),
        BondingClass("intermetallic", "intermetallic compound", -0.17, 0.26, 0.40, _DUCTILE),
        BondingClass("metal", "elemental metal", -0.89, 0.28, 0.50, _DUCTILE),
    )
}

_GROUPS = (
    ("F", "Cl", "Br", "I"),
    ("O", "S", "Se", "Te"),
    ("B", "C", "N"),
    ("Si", "P", "Ge", "As", "Sb", "H", "He", "Ne", "Ar", "Kr", "Xe", "At", "Rn", "Po", "Ts", "Og"),
    ("Li", "Na", "K", "Rb", "Cs", "Fr", "Mg", "Ca", "Sr", "Ba", "Ra"),
    ("O",),
)
"""Halogens, chalcogens, light nonmetals, metalloids and the rest of the nonmetals, easy cations, oxygen."""


def bonding_class(numbers: ArrayLike, band_gap: float | None = None) -> BondingClass:
    """The kind of bonding that decides how well hardness formulas hold.

    Composition decides, by the shares of nonmetals and by the cations; the band gap (eV) tells metallic
    chalcogenides from semiconducting ones where it is known.

    Args:
        numbers: atomic numbers, one per atom.
        band_gap: predicted or computed band gap, eV.
    """
    return BONDING_CLASSES[_class_name(np.asarray(numbers, dtype=np.int64), band_gap)]


def _class_name(numbers: NDArray[np.int64], band_gap: float | None) -> str:
    halogen, chalcogen, light, metalloid, easy, oxygen = _membership()[:, numbers].mean(axis=1).tolist()
    nonmetal = halogen + chalcogen + light + metalloid
    cations = 1.0 - halogen - chalcogen
    if halogen >= 0.2:
        return "ionic"
    if nonmetal < 0.22:
        return "metal" if (numbers == numbers[0]).all() else "intermetallic"
    if chalcogen >= 0.3:
        if cations > 0 and easy / cations >= 0.45:
            return "ionic"
        if oxygen >= 0.3:
            return "oxide"
        return "metalloid" if band_gap is not None and band_gap < 0.1 else "chalcogenide"
    return "refractory" if light >= 0.5 * nonmetal else "metalloid"


@cache
def _membership() -> Array:
    """(6, 119): one where an atomic number belongs to that group."""
    mask = np.zeros((len(_GROUPS), 119))
    for row, group in enumerate(_GROUPS):
        mask[row, [atomic_number(symbol) for symbol in group]] = 1.0
    return mask


def ionicity(numbers: ArrayLike) -> float:
    """Largest difference of Pauling's electronegativities in a compound; NaN if one is unknown."""
    values = table().electronegativity[np.unique(np.asarray(numbers, dtype=np.int64))]
    return float(values.max() - values.min())


def density(crystal: Crystal) -> float:
    """Density in g/cm³ from the cell and the atomic weights."""
    return float(atomic_masses(crystal.numbers).sum() * _AMU * 1e3 / (crystal.volume * 1e-24))


def derive(estimate: Estimate, crystal: Crystal) -> Estimate:
    """Add every derived property to an estimate; see `derive_many`."""
    return derive_many([estimate], [crystal])[0]


def derive_many(estimates: Sequence[Estimate], crystals: Sequence[Crystal]) -> list[Estimate]:
    """Add every derived property (`properties.DERIVED`) to estimates of bulk and shear modulus.

    Density needs the crystal only. The rest is skipped where a modulus is missing or the estimate failed. Central
    values are the formulas at the central moduli; standard deviation and 90 % interval come from log-normal
    samples of K and G with correlated errors, and, for hardness and toughness, the scatter of the formula itself
    in that bonding class. Deterministic.

    Args:
        estimates: with `bulk_modulus` and `shear_modulus` in GPa.
        crystals: the crystals that they belong to, same length.

    Returns:
        New estimates, same order; values that were there are kept, derived ones replaced.
    """
    if len(estimates) != len(crystals):
        raise ValueError(f"{len(estimates)} estimates for {len(crystals)} crystals")
    complete = [i for i, e in enumerate(estimates) if has_moduli(e)]
    added: list[dict[str, Value]] = [{"density": _density_value(c)} for c in crystals]
    if complete:
        _add_elastic(
            [estimates[i] for i in complete], [crystals[i] for i in complete], [added[i] for i in complete]
        )
    return [
        e if e.failure else replace(e, values={**e.values, **new}) for e, new in zip(estimates, added, strict=True)
    ]


def has_moduli(estimate: Estimate) -> bool:
    """Whether an estimate holds positive, finite bulk and shear moduli."""
    if estimate.failure:
        return False
    values = [estimate.values.get(name) for name in ("bulk_modulus", "shear_modulus")]
    return all(v is not None and np.isfinite(v.mean) and v.mean > 0 for v in values)


def _density_value(crystal: Crystal) -> Value:
    rho = density(crystal)
    half = 1.645 * DENSITY_ERROR * rho
    return Value(rho, DENSITY_ERROR * rho, rho - half, rho + half, "crystal")


def _add_elastic(
    estimates: Sequence[Estimate], crystals: Sequence[Crystal], added: list[dict[str, Value]]
) -> None:
    kinds = _kinds(estimates, crystals)
    drawn = draw(estimates, crystals, kinds=kinds)
    for name in DERIVED:
        if name == "density":
            continue
        values = drawn[name]
        low, minus, plus, high = np.quantile(values[:, 1:], [0.05, 0.15866, 0.84134, 0.95], axis=1).tolist()
        for i, (new, centre) in enumerate(zip(added, values[:, 0].tolist(), strict=True)):
            std = 0.5 * (plus[i] - minus[i])
            new[name] = Value(centre, std, low[i], high[i], _source(name, kinds[i]))


def _source(name: str, kind: BondingClass) -> str:
    if name == "vickers_hardness":
        return f"formula:mazhnik-oganov ({kind.name})"
    if name == "fracture_toughness":
        return f"formula:niu+mazhnik-oganov ({kind.name}{', lower bound' if kind.note == _DUCTILE else ''})"
    return "formula:elasticity"


def _kinds(estimates: Sequence[Estimate], crystals: Sequence[Crystal]) -> list[BondingClass]:
    gaps = [e.values.get("band_gap") for e in estimates]
    pairs = zip(crystals, gaps, strict=True)
    return [bonding_class(crystal.numbers, None if gap is None else gap.mean) for crystal, gap in pairs]


def draw(
    estimates: Sequence[Estimate],
    crystals: Sequence[Crystal],
    n_samples: int = N_SAMPLES,
    seeds: Sequence[int] = (0,),
    kinds: Sequence[BondingClass] | None = None,
) -> dict[str, Array]:
    """Joint samples of the moduli and of everything that follows from them.

    Args:
        estimates: each with bulk and shear modulus (`has_moduli`).
        crystals: the crystals that they belong to.
        n_samples: samples per crystal, even.
        seeds: one seed, for errors that all crystals share, or one per crystal, for independent errors.
        kinds: their bonding classes, if known already.

    Returns:
        Property name (bulk and shear modulus and all derived ones) to an array (n_crystals, 1 + n_samples), whose
        first column is the central value.
    """
    normal = np.stack([_deviates(n_samples, seed) for seed in seeds], axis=1)
    k, g = _moduli(estimates, normal)
    kinds = _kinds(estimates, crystals) if kinds is None else kinds
    volume = np.array([[c.volume / c.n_sites] for c in crystals])
    rho = np.array([[density(c)] for c in crystals]) * np.exp(DENSITY_ERROR * normal[4])
    scatter = np.array([[kind.hardness_scatter, kind.toughness_scatter, kind.hardness_shift] for kind in kinds])
    hardness = mazhnik_oganov_hardness(k, g) * 10.0 ** (scatter[:, 2:] + scatter[:, :1] * normal[2])
    toughness = np.sqrt(niu_toughness(k, g, volume) * mazhnik_oganov_toughness(k, g, volume))
    return {
        "bulk_modulus": k,
        "shear_modulus": g,
        "youngs_modulus": youngs_modulus(k, g),
        "poisson_ratio": poisson_ratio(k, g),
        "pugh_ratio": pugh_ratio(k, g),
        "vickers_hardness": hardness,
        "fracture_toughness": toughness * 10.0 ** (scatter[:, 1:2] * normal[3]),
        "density": rho,
    }


@lru_cache(maxsize=4096)
def _deviates(n_samples: int, seed: int) -> Array:
    """(5, 1 + n_samples) standard normal deviates: ln K, ln G, hardness, toughness, density; column 0 is zero."""
    rng = np.random.default_rng([20_190_925, seed])
    half = rng.standard_normal((5, n_samples // 2))
    half /= np.sqrt((half**2).mean(axis=1, keepdims=True))
    independent = half[1].copy()
    half[1] = MODULUS_CORRELATION * half[0] + np.sqrt(1.0 - MODULUS_CORRELATION**2) * independent
    return np.concatenate([np.zeros((5, 1)), half, -half], axis=1)


def _moduli(estimates: Sequence[Estimate], normal: Array) -> tuple[Array, Array]:
    moduli = []
    for row, name in enumerate(("bulk_modulus", "shear_modulus")):
        centre = np.array([[e.values[name].mean] for e in estimates])
        spread = np.array([[log_spread(e.values[name])] for e in estimates])
        moduli.append(centre * np.exp(spread * normal[row]))
    return moduli[0], moduli[1]


def log_spread(value: Value) -> float:
    """Standard deviation of the natural logarithm of a positive, log-normal value.

    From the 90 % interval where there is one, otherwise from the standard deviation: half the distance of the
    one-sigma quantiles of a log-normal with median m and log-spread s is m sinh(s).
    """
    if value.low is not None and value.high is not None and 0 < value.low < value.high:
        return float(np.log(value.high / value.low) / (2.0 * 1.6449))
    return float(np.arcsinh(max(value.std, 0.0) / value.mean))


@dataclass(frozen=True)
class ElasticSummary:
    """What a full elastic tensor says.

    Attributes:
        bulk_voigt, bulk_reuss, bulk_hill: bulk moduli, GPa.
        shear_voigt, shear_reuss, shear_hill: shear moduli, GPa.
        eigenvalues: the six of the tensor in Mandel's notation, ascending, GPa.
        universal_anisotropy: 5 G_V/G_R + K_V/K_R - 6 (Ranganathan and Ostoja-Starzewski, PRL 101, 055504 (2008)).
        log_anisotropy: sqrt(ln²(K_V/K_R) + 5 ln²(G_V/G_R)) (Kube, AIP Adv. 6, 095209 (2016)).
        kleinman: (C11 + 8 C12) / (7 C11 + 2 C12) with cubic averages (Kleinman, Phys. Rev. 128, 2614 (1962)).
    """

    bulk_voigt: float
    bulk_reuss: float
    bulk_hill: float
    shear_voigt: float
    shear_reuss: float
    shear_hill: float
    eigenvalues: tuple[float, ...]
    universal_anisotropy: float
    log_anisotropy: float
    kleinman: float

    @property
    def stable(self) -> bool:
        """Born's criterion at zero pressure, necessary and sufficient: all eigenvalues are positive.

        Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014).
        """
        return self.eigenvalues[0] > 0.0


def summarise(tensor: ArrayLike) -> ElasticSummary:
    """Averages, anisotropies and eigenvalues of an elastic tensor.

    Args:
        tensor: (6, 6) in Voigt notation (xx, yy, zz, yz, xz, xy), GPa; symmetrised here.

    Returns:
        The summary; Reuss and Hill averages and anisotropies are NaN where the tensor is singular or unstable.
    """
    c = np.asarray(tensor, dtype=np.float64).reshape(6, 6)
    c = 0.5 * (c + c.T)
    eigenvalues = np.linalg.eigvalsh(mandel(c))
    k_v, g_v = voigt(c)
    k_r, g_r = reuss(c) if eigenvalues[0] > 1e-9 * abs(eigenvalues[-1]) else (np.nan, np.nan)
    c11 = np.trace(c[:3, :3]) / 3.0
    c12 = (c[0, 1] + c[0, 2] + c[1, 2]) / 3.0
    return ElasticSummary(
        bulk_voigt=float(k_v),
        bulk_reuss=k_r,
        bulk_hill=0.5 * float(k_v + k_r),
        shear_voigt=float(g_v),
        shear_reuss=g_r,
        shear_hill=0.5 * float(g_v + g_r),
        eigenvalues=tuple(map(float, eigenvalues)),
        universal_anisotropy=float(5.0 * g_v / g_r + k_v / k_r - 6.0),
        log_anisotropy=float(np.sqrt(np.log(k_v / k_r) ** 2 + 5.0 * np.log(g_v / g_r) ** 2)),
        kleinman=float((c11 + 8.0 * c12) / (7.0 * c11 + 2.0 * c12)),
    )


def zener_anisotropy(tensor: ArrayLike) -> float:
    """2 C44 / (C11 - C12) for a cubic crystal in its cubic axes."""
    c = np.asarray(tensor, dtype=np.float64)
    return float(2.0 * c[3, 3] / (c[0, 0] - c[0, 1]))


def thermal_and_acoustic(values: Mapping[str, Value], crystal: Crystal) -> dict[str, float]:
    """Sound velocities (m/s), Debye temperature (K) and minimal conductivities (W/(m K)) at the central values."""
    k, g = values["bulk_modulus"].mean, values["shear_modulus"].mean
    rho, volume = density(crystal), crystal.volume / crystal.n_sites
    v_l, v_t, v_m = sound_velocities(k, g, rho)
    mean_mass = float(atomic_masses(crystal.numbers).mean())
    numbers = {
        "sound_velocity_longitudinal": v_l,
        "sound_velocity_transverse": v_t,
        "sound_velocity_mean": v_m,
        "debye_temperature": debye_temperature(k, g, rho, volume),
        "clarke_conductivity": clarke_conductivity(youngs_modulus(k, g), rho, mean_mass),
        "cahill_conductivity": cahill_conductivity(k, g, rho, volume),
        "specific_stiffness": specific_stiffness(youngs_modulus(k, g), rho),
    }
    return {name: float(value) for name, value in numbers.items()}
