"""Elastic tensors: notations, averages, the symmetry of a point group, and the strains it leaves independent."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.symmetry import operations

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
WEIGHT = np.array([1.0, 1.0, 1.0, np.sqrt(2.0), np.sqrt(2.0), np.sqrt(2.0)])
PLACES = tuple((i, j) for i in range(6) for j in range(i, 6))
"""Places of the 21 constants in a (6, 6) tensor."""


def to_mandel(matrices: FloatArray) -> FloatArray:
    """Symmetric matrices (..., 3, 3) as Mandel vectors (..., 6), in which rotations are orthogonal."""
    return np.asarray(np.stack([matrices[..., i, j] for i, j in _PAIRS], axis=-1) * WEIGHT)


def from_mandel(vectors: FloatArray) -> FloatArray:
    """Mandel vectors (..., 6) as symmetric matrices (..., 3, 3)."""
    matrices = np.empty((*vectors.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(_PAIRS):
        matrices[..., i, j] = matrices[..., j, i] = vectors[..., k] / WEIGHT[k]
    return matrices


def point_group(crystal: Crystal, symprec: float = 0.02) -> FloatArray:
    """Rotations of a crystal in Cartesian axes, (n, 3, 3); the identity alone where spglib finds none."""
    try:
        rotations = np.unique(operations(crystal, symprec)[0], axis=0).astype(np.float64)
    except ValueError:
        return np.eye(3)[None]
    lattice = crystal.lattice.T
    cartesian = lattice @ rotations @ np.linalg.inv(lattice)
    u, _, vt = np.linalg.svd(cartesian)  # the nearest rotation, as the lattice has its symmetry to symprec only
    return np.asarray(u @ vt)


def symmetric_basis(rotations: FloatArray) -> FloatArray:
    """Orthonormal basis of the stiffness tensors that a point group allows.

    Args:
        rotations: (n, 3, 3) in Cartesian axes.

    Returns:
        (n_independent, 6, 6) in Mandel's notation: 3 for a cubic crystal, 21 for a triclinic one.
    """
    unit_strains = from_mandel(np.eye(6))
    rotated = rotations[:, None] @ unit_strains @ rotations.transpose(0, 2, 1)[:, None]
    turn = to_mandel(rotated).transpose(0, 2, 1)  # (n, 6, 6), acting on Mandel vectors
    symmetric = _symmetric_matrices()
    averaged = np.einsum("nab,kbc,ndc->kad", turn, symmetric, turn, optimize=True) / len(rotations)
    projector = averaged.reshape(21, 36) @ symmetric.reshape(21, 36).T
    values, vectors = np.linalg.eigh(0.5 * (projector + projector.T))
    return np.asarray(np.tensordot(vectors[:, values > 0.5].T, symmetric, axes=1))


@cache
def _symmetric_matrices() -> FloatArray:
    """(21, 6, 6): orthonormal basis of the symmetric 6 by 6 matrices."""
    matrices = np.zeros((21, 6, 6))
    for k, (i, j) in enumerate(itertools.combinations_with_replacement(range(6), 2)):
        matrices[k, i, j] = matrices[k, j, i] = 1.0 if i == j else np.sqrt(0.5)
    return matrices


def strain_modes(basis: FloatArray) -> FloatArray:
    """Few strains whose stresses determine every constant well.

    Chosen one by one from unit strains and sums of them, each the one that adds most to the determinant of the
    normal equations, until the worst-determined combination of constants is at most two and a half times as
    sensitive to noise as with all six unit strains.

    Args:
        basis: (n_independent, 6, 6), see `symmetric_basis`.

    Returns:
        (n_modes, 6) strains in Mandel's notation, each of norm one: 1 for a cubic crystal, at most 6.
    """
    enough = 0.4 * _sensitivity(basis, np.eye(6))
    chosen = np.zeros((0, 6))
    while len(chosen) < 6:
        grown = [np.vstack([chosen, mode]) for mode in _mode_pool()]
        chosen = max(grown, key=lambda modes: float(_information(basis, modes)))
        if _sensitivity(basis, chosen) >= enough:
            return chosen
    return np.eye(6)


def _information(basis: FloatArray, modes: FloatArray) -> float:
    rows = np.einsum("kab,mb->kma", basis, modes).reshape(len(basis), -1)
    return float(np.log(np.linalg.eigvalsh(rows @ rows.T).clip(0) + 1e-6).sum().round(9))


def _sensitivity(basis: FloatArray, modes: FloatArray) -> float:
    """Smallest singular value of the map from constants to stresses."""
    rows = np.einsum("kab,mb->kma", basis, modes).reshape(len(basis), -1)
    return float(np.linalg.svd(rows, compute_uv=False)[-1]) if rows.shape[1] >= len(basis) else 0.0


@cache
def _mode_pool() -> FloatArray:
    """(n, 6): unit strains, sums of a stretch and a shear, sums of two stretches, and the sum of all shears."""
    unit = np.eye(6)
    pairs = [unit[i] + unit[j] for i, j in itertools.combinations(range(6), 2) if i < 3]
    pool = np.array([*unit, *pairs, unit[3:].sum(axis=0)])
    return np.asarray(pool / np.linalg.norm(pool, axis=1, keepdims=True))


def mandel(tensor: ArrayLike) -> FloatArray:
    """A (6, 6) Voigt stiffness in Mandel's notation, in which eigenvalues do not depend on the frame."""
    return np.asarray(np.asarray(tensor, dtype=np.float64) * np.outer(WEIGHT, WEIGHT))


def from_mandel_tensor(tensor: ArrayLike) -> FloatArray:
    """The (6, 6) Voigt stiffness of one in Mandel's notation; `mandel` the other way round."""
    return np.asarray(np.asarray(tensor, dtype=np.float64) / np.outer(WEIGHT, WEIGHT))


def stress_design(basis: FloatArray, strains: FloatArray) -> FloatArray:
    """What a least-squares fit of a tensor to stresses solves: constants of a basis to stresses.

    Args:
        basis: (k, 6, 6) of `symmetric_basis`.
        strains: (m, 6) Mandel vectors.

    Returns:
        (6 m, k): Mandel stresses of every strain, one after the other, for each tensor of the basis.
    """
    return np.asarray(np.einsum("kab,mb->mak", basis, strains).reshape(-1, len(basis)))


def voigt(c: FloatArray) -> tuple[float, float]:
    """K and G of a polycrystal under uniform strain, from a (6, 6) Voigt stiffness (Voigt, 1928)."""
    k = c[:3, :3].sum() / 9.0
    g = (np.trace(c[:3, :3]) - (c[0, 1] + c[0, 2] + c[1, 2]) + 3.0 * np.trace(c[3:, 3:])) / 15.0
    return float(k), float(g)


def reuss(c: FloatArray) -> tuple[float, float]:
    """The same under uniform stress (Reuss, 1929).

    Raises:
        numpy.linalg.LinAlgError: for a singular stiffness.
    """
    s = np.linalg.inv(c)
    k = 1.0 / s[:3, :3].sum()
    off = s[0, 1] + s[0, 2] + s[1, 2]
    g = 15.0 / (4.0 * np.trace(s[:3, :3]) - 4.0 * off + 3.0 * np.trace(s[3:, 3:]))
    return float(k), float(g)


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


def cauchy_pressures(tensor: ArrayLike) -> tuple[float, float, float]:
    """C23 - C44, C13 - C55 and C12 - C66 in GPa: negative for directional bonds, positive for metallic ones.

    A trend, no criterion of ductility (Pettifor, Mater. Sci. Technol. 8, 345 (1992)). All three are C12 - C44 in a
    cubic crystal.

    Args:
        tensor: (6, 6) in Voigt notation, GPa, in the crystal's axes.
    """
    c = np.asarray(tensor, dtype=np.float64)
    return float(c[1, 2] - c[3, 3]), float(c[0, 2] - c[4, 4]), float(c[0, 1] - c[5, 5])


def directional_youngs_modulus(tensor: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Young's modulus along directions, GPa: 1 / E = n n : S : n n (Nye, Physical Properties of Crystals).

    Args:
        tensor: (6, 6) in Voigt notation, GPa.
        directions: (..., 3), of any length but zero.

    Returns:
        (...) moduli.

    Raises:
        numpy.linalg.LinAlgError: for a singular tensor.
    """
    compliance = np.linalg.inv(mandel(tensor))
    unit = np.asarray(directions, dtype=np.float64)
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    projector = to_mandel(unit[..., :, None] * unit[..., None, :])
    return np.asarray(1.0 / np.einsum("...a,ab,...b->...", projector, compliance, projector))


def extreme_youngs_moduli(tensor: ArrayLike, n: int = 4000) -> tuple[float, float]:
    """Smallest and largest Young's modulus over `n` directions spread evenly (Fibonacci lattice), GPa."""
    k = np.arange(n) + 0.5
    z, phi = 1.0 - 2.0 * k / n, np.pi * (1.0 + np.sqrt(5.0)) * k
    radius = np.sqrt(1.0 - z**2)
    sphere = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
    axes = np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, 1, 1]], dtype=np.float64
    )
    moduli = directional_youngs_modulus(tensor, np.vstack([sphere, axes]))
    return float(moduli.min()), float(moduli.max())
