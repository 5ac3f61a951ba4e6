"""Build the cloud of known crystals behind the charts of a report: `invdesign/tables/ashby_cloud.json`.

    python scripts/build_ashby_cloud.py --data DIR [--out FOLDER] [--n 2000]

DIR holds `crystals.parquet` with the columns `atomic_numbers`, `lattice_parameters`, `bulk_modulus_vrh`,
`shear_modulus_vrh` (GPa) and `energy_above_hull` (eV/atom).
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from invdesign.crystal import Crystal
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.mechanics.derive import density
from invdesign.mechanics.formulas import youngs_modulus
from invdesign.training.rebuild import begin, options, run, sources
from invdesign.training.sheet import Sheet

COLUMNS = ["atomic_numbers", "lattice_parameters", "bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"]
ABOUT = """Density (g/cm³), bulk, shear and Young's modulus (GPa) of {n:,} known crystals: the grey dots behind the
charts of a report. A random sample of the crystals within 0.1 eV/atom of the convex hull that have DFT moduli
(Voigt-Reuss-Hill). Young's modulus is `9KG/(3K+G)`. Rounded to three digits."""
LICENCE = """Materials Project (A. Jain et al., APL Mater. 1, 011002 (2013); M. de Jong et al., Sci. Data 2, 150009
(2015)), CC BY 4.0."""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--n", type=int, default=2000, help="crystals, at most")
    given = begin(parser)
    data = sources(given, "crystals.parquet")
    frame = pd.read_parquet(given.data / "crystals.parquet", columns=COLUMNS).dropna()
    moduli = (frame.bulk_modulus_vrh.between(2, 600)) & (frame.shear_modulus_vrh.between(2, 600))
    frame = frame[moduli & (frame.energy_above_hull <= 0.1)]
    frame = frame.sample(min(given.n, len(frame)), random_state=0)
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
    out = given.out / "ashby_cloud.json"
    out.write_text(text + "\n", encoding="utf-8")
    Sheet(
        about=ABOUT.format(n=len(frame)),
        script="python scripts/build_ashby_cloud.py --data DIR",
        data=data,
        split="nothing is held out: nothing is learned",
        seed="0, of the sample",
        metrics=f"{len(frame):,} crystals; bulk modulus {k.min():g} to {k.max():g} GPa",
        commit=given.commit,
        licence=LICENCE,
    ).write(out)
    print(f"{out}: {len(frame):,} crystals")


def _density(row: object) -> float:
    lattice = lattices_from_parameters(np.array([row.lattice_parameters]))[0]  # type: ignore[attr-defined]
    numbers = np.asarray(row.atomic_numbers)  # type: ignore[attr-defined]
    return density(Crystal(lattice, numbers, np.zeros((len(numbers), 3))))


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.3g}") for v in values]


if __name__ == "__main__":
    run(main)
