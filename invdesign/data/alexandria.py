"""Crystals of Alexandria with equations of state: what models of Materials Project crystals can be checked on.

The table (J. Schmidt et al., Alexandria; `alexandria_eos.parquet`) holds PBE crystals of up to six sites at 0 to
150 GPa. Most of their compositions are not in the Materials Project, so neither potentials nor surrogates that
were trained on its crystals have seen them: they are as new as designs are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.elements import atomic_number
from invdesign.potentials.energy_scale import EnergyScale

if TYPE_CHECKING:
    import pandas as pd

BELIEVED = 2.0
"""Largest deviation of a fit that is believed, GPa. Soft crystals do not follow one equation to 150 GPa."""
LEAST, MOST = 5.0, 500.0
"""Bulk moduli that are believed, GPa."""


def read_alexandria(path: Path, believed: float = BELIEVED) -> pd.DataFrame:
    """The table with columns `numbers`, `chemical_system`, `formula` and `bulk_modulus` beside its own.

    `bulk_modulus` is that of the third-order Birch-Murnaghan fit in GPa, NaN where the fit is not believed.

    Args:
        path: the table.
        believed: largest deviation of a fit that is believed, GPa.
    """
    import pandas as pd

    table = pd.read_parquet(path)
    numbers = pd.Series(
        [np.array([atomic_number(s) for s in species]) for species in table.species], index=table.index
    )
    sound = (table.rms_fit_GPa < believed) & table.K0_BM3_derived.between(LEAST, MOST)
    return table.assign(
        numbers=numbers,
        chemical_system=[chemical_system(z) for z in numbers],
        formula=[reduced_formula(z) for z in numbers],
        bulk_modulus=table.K0_BM3_derived.where(sound),
    )


def crystals_of(table: pd.DataFrame) -> list[Crystal]:
    """The crystals at zero pressure; their source is the material's id."""
    lattices = lattices_from_parameters(table[["a", "b", "c", "alpha", "beta", "gamma"]].to_numpy())
    coords = [np.stack([np.ravel(row) for row in frac]) for frac in table.frac]
    parts = zip(lattices, table.numbers, coords, table.material_id, strict=True)
    return [Crystal(lattice, numbers, frac, source=source) for lattice, numbers, frac, source in parts]


def formation_energies(table: pd.DataFrame, crystals: list[Crystal]) -> FloatArray:
    """(n,) PBE formation energies on the scale of the Materials Project (`mp2020`), eV/atom."""
    scale = EnergyScale.load("mp2020")
    energies = (table.E_P000 / table.nsites).tolist()
    return np.array([scale.formation_energy(c, e).mean for c, e in zip(crystals, energies, strict=True)])
