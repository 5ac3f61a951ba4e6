"""Build the cloud of known crystals behind the charts of a report: `invdesign/tables/ashby_cloud.json`.

    python scripts/build_ashby_cloud.py --data DIR

DIR holds `crystals.parquet` with the columns `atomic_numbers`, `lattice_parameters`, `bulk_modulus_vrh`,
`shear_modulus_vrh` (GPa) and `energy_above_hull` (eV/atom).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from invdesign.crystal import Crystal
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.mechanics.derive import density
from invdesign.mechanics.formulas import youngs_modulus

COLUMNS = ["atomic_numbers", "lattice_parameters", "bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"]
CLOUD = Path(__file__).parent.parent / "invdesign" / "tables" / "ashby_cloud.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=2000)
    arguments = parser.parse_args()
    frame = pd.read_parquet(arguments.data / "crystals.parquet", columns=COLUMNS).dropna()
    moduli = (frame.bulk_modulus_vrh.between(2, 600)) & (frame.shear_modulus_vrh.between(2, 600))
    frame = frame[moduli & (frame.energy_above_hull <= 0.1)]
    frame = frame.sample(arguments.n, random_state=0)
    k, g = frame.bulk_modulus_vrh.to_numpy(), frame.shear_modulus_vrh.to_numpy()
    values = {
        "density": _rounded(np.array([_density(row) for row in frame.itertuples()])),
        "bulk_modulus": _rounded(k),
        "shear_modulus": _rounded(g),
        "youngs_modulus": _rounded(youngs_modulus(k, g)),
    }
    about = "Known crystals within 0.1 eV/atom of the hull with DFT moduli; Materials Project, CC BY 4.0."
    units = {"density": "g/cm3", "bulk_modulus": "GPa", "shear_modulus": "GPa", "youngs_modulus": "GPa"}
    text = json.dumps({"about": about, "units": units, "values": values}, separators=(",", ":"))
    CLOUD.write_text(text + "\n", encoding="utf-8")


def _density(row: object) -> float:
    lattice = lattices_from_parameters(np.array([row.lattice_parameters]))[0]  # type: ignore[attr-defined]
    numbers = np.asarray(row.atomic_numbers)  # type: ignore[attr-defined]
    return density(Crystal(lattice, numbers, np.zeros((len(numbers), 3))))


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.3g}") for v in values]


if __name__ == "__main__":
    main()
