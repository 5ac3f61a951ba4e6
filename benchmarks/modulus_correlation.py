"""How strongly a model's errors in ln K and ln G go together: the constant MODULUS_CORRELATION of mechanics.

    python benchmarks/modulus_correlation.py --data DIR [--out FILE.json]

A plain model (trees on composition, volume and space group, all folds held out by chemical system) stands for any
surrogate: what correlates is mostly what none of them sees, such as the state of bonding at a given composition.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.element_data import table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with crystals.parquet")
    parser.add_argument("--out", type=Path, help="write the record as JSON")
    given = parser.parse_args()
    error = held_out_errors(moduli(given.data))
    core = error[(np.abs(error - np.median(error, axis=0)) < 3 * error.std(axis=0)).all(axis=1)]
    rank = pd.DataFrame(error).corr("spearman").to_numpy()[0, 1]
    print(f"{len(error)} crystals; standard deviation of ln K, ln G: {error.std(axis=0).round(3)}")
    linear, inner = np.corrcoef(error.T)[0, 1], np.corrcoef(core.T)[0, 1]
    print(f"correlation {linear:.2f}, within 3 sigma {inner:.2f}, of ranks {rank:.2f}")
    if given.out:
        deviation = dict(zip(("ln_bulk_modulus", "ln_shear_modulus"), error.std(axis=0).tolist(), strict=True))
        found = {"linear": float(linear), "within_3_sigma": float(inner), "of_ranks": float(rank)}
        record = {"crystals": len(error), "standard_deviation": deviation, "correlation": found}
        write_record(given.out, record, 0, ("element_data.json",))


def moduli(folder: Path) -> pd.DataFrame:
    columns = ["chemical_system", "space_group", "n_sites", "lattice_parameters", "atomic_numbers"]
    columns += ["bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"]
    crystals = pd.read_parquet(folder / "crystals.parquet", columns=columns)
    wanted = (
        (crystals.bulk_modulus_vrh > 1) & (crystals.shear_modulus_vrh > 1) & (crystals.energy_above_hull < 0.2)
    )
    return crystals[wanted]


def held_out_errors(crystals: pd.DataFrame) -> np.ndarray:
    """(n, 2) errors of ln K and ln G."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import GroupKFold, cross_val_predict

    inputs = np.array(
        [features(*row) for row in crystals[["atomic_numbers", "lattice_parameters", "space_group"]].values]
    )
    targets = np.log(crystals[["bulk_modulus_vrh", "shear_modulus_vrh"]].to_numpy())
    model = ExtraTreesRegressor(60, min_samples_leaf=2, max_features=0.4, random_state=0, n_jobs=1)
    predicted = cross_val_predict(model, inputs, targets, groups=crystals.chemical_system, cv=GroupKFold(4))
    return np.asarray(predicted - targets)


def features(numbers: np.ndarray, lattice: np.ndarray, space_group: int) -> list[float]:
    a, b, c, *angles = lattice
    cosines = np.cos(np.radians(angles))
    volume = a * b * c * np.sqrt(max(1 - (cosines**2).sum() + 2 * cosines.prod(), 1e-6)) / len(numbers)
    columns = [table().mass, pauling(), np.arange(119.0), PERIOD, GROUP]
    properties = np.nan_to_num(np.stack([column[numbers] for column in columns]), nan=1.5)
    spread = [properties.mean(1), properties.std(1), properties.min(1), properties.max(1)]
    return [volume, float(space_group), *np.concatenate(spread)]


ENDS = (2, 10, 18, 36, 54, 86, 118)
PERIOD = np.array([0.0, *(1.0 + sum(z > end for end in ENDS) for z in range(1, 119))])
GROUP = np.array([0.0, *(z - max(end for end in (0, *ENDS) if end < z) for z in range(1, 119))])


if __name__ == "__main__":
    main()
