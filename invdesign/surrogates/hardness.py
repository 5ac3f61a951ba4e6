"""Vickers hardness at a load: formulas in the moduli, corrected by what was measured.

Mazhnik and Oganov's formula with the factor of the bonding class (`invdesign.mechanics.bonding`) is the mean of
a Gaussian
process over composition, moduli and load, which was taught by a thousand measured hardnesses; far from all of them
the formula stands. `scripts/train_hardness.py` trains it, `benchmarks/hardness.py` measures it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import Crystal, FloatArray
from invdesign.errors import ReferenceMissingError
from invdesign.mechanics import derive as mechanics
from invdesign.mechanics.bonding import BondingClass, bonding_class
from invdesign.mechanics.derive import has_moduli
from invdesign.mechanics.formulas import mazhnik_oganov_hardness
from invdesign.properties import LOAD
from invdesign.records import Estimate, Value
from invdesign.surrogates.calibrate import Calibration
from invdesign.surrogates.custom.process import Process, named, process_of
from invdesign.surrogates.inputs.features import LAST_ELEMENT
from invdesign.tables import path_of
from invdesign.uncertainty import std_from_log10

NAME = "vickers_hardness"
TABLE = "hardness.safetensors"
SOFTEST = 0.05
"""Formulas are cut here (GPa): they may become negative."""


def fractions(numbers: Sequence[NDArray[np.int64]]) -> FloatArray:
    """(n, 103) atomic fractions, hydrogen first, of crystals given by their atomic numbers."""
    counts = [np.bincount(z, minlength=LAST_ELEMENT + 1)[1:] / len(z) for z in numbers]
    return np.array(counts, dtype=np.float64).reshape(len(numbers), LAST_ELEMENT)


def formula(K: FloatArray, G: FloatArray, kinds: Sequence[BondingClass]) -> FloatArray:
    """(n,) log10 of Mazhnik and Oganov's hardness (GPa) with the factor of the bonding class."""
    plain = np.maximum(mazhnik_oganov_hardness(K, G), SOFTEST)
    return np.asarray(np.log10(plain) + np.array([kind.hardness_shift for kind in kinds]))


def columns(shares: FloatArray, K: FloatArray, G: FloatArray, start: FloatArray, load: FloatArray) -> FloatArray:
    """(n, d) what the process reads: atomic fractions, statistics of the elements, moduli and formula, load.

    Args:
        shares: (n, 103) atomic fractions.
        K: (n,) bulk moduli, GPa.
        G: (n,) shear moduli, GPa.
        start: (n,) of `formula`.
        load: (n,) N.
    """
    moduli = np.stack([np.log10(K), np.log10(G), np.log10(G / K), start], axis=1)
    return np.concatenate([shares, statistics(shares), moduli, np.log10(load)[:, None]], axis=1)


def blocks() -> tuple[int, ...]:
    """Number of columns of each kind in `columns`."""
    return (LAST_ELEMENT, 4 * len(element_features().columns), 4, 1)


def statistics(shares: FloatArray) -> FloatArray:
    """(n, 4 × columns) weighted mean, standard deviation, least and most of what is tabulated of elements."""
    table = element_features().values[1:]
    mean = shares @ table
    spread = np.sqrt(np.maximum(shares @ table**2 - mean**2, 0.0))
    here = [table[row > 0.0] for row in shares]
    least, most = (np.array([f(t, axis=0) for t in here]).reshape(mean.shape) for f in (np.min, np.max))
    return np.concatenate([mean, spread, least, most], axis=1)


@dataclass(frozen=True, eq=False)
class Hardness:
    """The trained correction.

    Attributes:
        process: of log10 of measured over formula hardness.
        calibration: of its intervals.
        notes: data, split, figures.
    """

    process: Process
    calibration: Calibration
    notes: Mapping[str, Any]

    def values(
        self, shares: FloatArray, K: FloatArray, G: FloatArray, kinds: Sequence[BondingClass], load: float = LOAD
    ) -> list[Value]:
        """Hardnesses (GPa) at a load (N), with calibrated 90 % intervals.

        Args:
            shares: (n, 103) atomic fractions.
            K: (n,) bulk moduli, GPa, with the usual errors of a surrogate.
            G: (n,) shear moduli, GPa, likewise.
            kinds: (n,) bonding classes.
            load: N.
        """
        mean, std = self.logs(shares, K, G, kinds, load)
        zeros = np.zeros(len(mean))
        low, high = self.calibration.interval(mean, std, zeros)
        spread = std_from_log10(10.0**mean, self.calibration.std(mean, std, zeros))
        source = f"surrogate:hardness ({load:g} N)"
        return [
            Value(float(10.0**m), float(s), float(10.0**a), float(10.0**b), source)
            for m, s, a, b in zip(mean, spread, low, high, strict=True)
        ]

    def logs(
        self, shares: FloatArray, K: FloatArray, G: FloatArray, kinds: Sequence[BondingClass], load: float = LOAD
    ) -> tuple[FloatArray, FloatArray]:
        """(n,) log10 of hardnesses (GPa) and (n,) raw spreads of the same, before calibration; see `values`."""
        start = formula(K, G, kinds)
        mean, std = self.process.predict(columns(shares, K, G, start, np.full(len(K), load)))
        return mean + start, std

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        arrays = self.process.arrays("process")
        arrays |= {f"calibration.{k}": np.asarray(v, dtype=np.float64) for k, v in vars(self.calibration).items()}
        header = {"stage": "hardness", "notes": json.dumps(dict(self.notes))}
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, str(path), metadata=header)
        path.chmod(0o644)


@cache
def load_hardness(path: Path | None = None) -> Hardness:
    """Read a correction; None: the shipped one.

    Raises:
        ReferenceMissingError: if it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    where = path or path_of(TABLE)
    try:
        with safe_open(str(where), framework="np") as file:
            notes = json.loads(file.metadata()["notes"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return Hardness(process_of("process", arrays), Calibration(**named("calibration", arrays)), notes)
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ReferenceMissingError(f"hardness model {where} cannot be read: {error}") from None


def log_hardness(
    numbers: Sequence[NDArray[np.int64]], K: FloatArray, G: FloatArray, gap: FloatArray, load: float = LOAD
) -> tuple[FloatArray, FloatArray]:
    """(n,) log10 of hardnesses (GPa) and (n,) calibrated standard deviations of the same.

    Args:
        numbers: (n,) atomic numbers of the atoms of each crystal.
        K: (n,) bulk moduli, GPa.
        G: (n,) shear moduli, GPa.
        gap: (n,) band gap, eV; NaN where it is not known.
        load: N.
    """
    kinds = [bonding_class(z, None if np.isnan(e) else float(e)) for z, e in zip(numbers, gap, strict=True)]
    model = load_hardness()
    mean, std = model.logs(fractions(numbers), K, G, kinds, load)
    return mean, model.calibration.std(mean, std, np.zeros(len(mean)))


def derive(estimate: Estimate, crystal: Crystal, load: float = LOAD) -> Estimate:
    """Add every derived property to an estimate; see `derive_many`."""
    return derive_many([estimate], [crystal], load)[0]


def derive_many(estimates: Sequence[Estimate], crystals: Sequence[Crystal], load: float = LOAD) -> list[Estimate]:
    """Add every derived property, as `mechanics.derive_many` does, with the hardness at a load from measured ones.

    Args:
        estimates: with `bulk_modulus` and `shear_modulus` in GPa.
        crystals: the crystals that they belong to, same length.
        load: N.
    """
    out = mechanics.derive_many(estimates, crystals)
    rows = [i for i, e in enumerate(out) if has_moduli(e) and max(crystals[i].numbers) <= LAST_ELEMENT]
    if not rows:
        return out
    K, G = (np.array([out[i].values[n].mean for i in rows]) for n in ("bulk_modulus", "shear_modulus"))
    numbers = [crystals[i].numbers for i in rows]
    gaps = [out[i].values.get("band_gap") for i in rows]
    kinds = [bonding_class(z, None if g is None else g.mean) for z, g in zip(numbers, gaps, strict=True)]
    found = load_hardness().values(fractions(numbers), K, G, kinds, load)
    for i, value in zip(rows, found, strict=True):
        out[i] = replace(out[i], values={**out[i].values, NAME: value})
    return out
