"""Make `invdesign/tables/element_features.json`: numbers that describe each element, for the surrogates.

Sources: mendeleev (radii, electronegativities, Miedema's parameters, heats, polarisability, ordering numbers) and
pymatgen's periodic table (valence configuration, melting point, elemental moduli, oxidation states). What neither
knows is filled from the neighbours in the same group or, in the f block, in the same row, and counted in the
data sheet.

Run: python scripts/build_element_features.py [--out FOLDER]
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import numpy as np
from mendeleev.fetch import fetch_table
from pymatgen.core import Element

from invdesign.training.rebuild import begin, options, run
from invdesign.training.sheet import Sheet

LAST = 103
MENDELEEV = {
    "mendeleev_number": "mendeleev_number",
    "pettifor_number": "pettifor_number",
    "radius_covalent": "covalent_radius_cordero",
    "radius_pyykko": "covalent_radius_pyykko",
    "radius_metallic": "metallic_radius",
    "radius_vdw": "vdw_radius_alvarez",
    "radius_rahm": "atomic_radius_rahm",
    "polarizability": "dipole_polarizability",
    "electron_affinity": "electron_affinity",
    "en_pauling": "en_pauling",
    "en_allen": "en_allen",
    "en_ghosh": "en_ghosh",
    "en_miedema": "en_miedema",
    "miedema_volume": "miedema_molar_volume",
    "miedema_density": "miedema_electron_density",
    "heat_fusion": "fusion_heat",
    "heat_evaporation": "evaporation_heat",
    "heat_formation": "heat_of_formation",
    "mass": "atomic_weight",
    "mass_density": "density",
}
PYMATGEN = {
    "melting_point": "Melting point",
    "boiling_point": "Boiling point",
    "molar_volume": "Molar volume",
    "bulk_modulus": "Bulk modulus",
    "shear_modulus": "Rigidity modulus",
    "poisson_ratio": "Poissons ratio",
    "sound_velocity": "Velocity of sound",
    "thermal_expansion": "Coefficient of linear thermal expansion",
}
CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}


def valence(element: Element) -> dict[str, float]:
    """Electrons and holes of the outer s, p, d and f shells (a full d or f shell under p counts as core)."""
    shells = element.full_electronic_structure
    period = element.row
    outer = {"s": period, "p": period, "d": period - 1, "f": period - 2}
    held = dict.fromkeys(CAPACITY, 0)
    for n, o, count in ((int(s[0]), s[1], int(s[2])) for s in shells):
        if outer[o] == n:
            held[o] = count
    if held["p"] and held["d"] == CAPACITY["d"]:
        held["d"] = 0
    if held["f"] == CAPACITY["f"] and (held["p"] or held["d"] > 1):
        held["f"] = 0
    row = {f"valence_{o}": float(c) for o, c in held.items()}
    row |= {f"holes_{o}": float(CAPACITY[o] - c if c else 0) for o, c in held.items()}
    row["valence_total"] = float(sum(held.values()))
    return row


def number(value: object) -> float:
    """The first number in a value of pymatgen's table, NaN if there is none."""
    match = re.search(r"-?\d+\.?\d*(?:e-?\d+)?", str(value)) if value is not None else None
    return float(match.group()) if match else float("nan")


def describe(z: int, table: dict[int, dict[str, object]]) -> dict[str, float]:
    """All raw columns of one element; NaN where unknown."""
    element = Element.from_Z(z)
    row = {"number": float(z), "group": float(element.group), "period": float(element.row)}
    row |= {name: number(table[z][source]) for name, source in MENDELEEV.items()}
    row |= {name: number(element.data.get(source)) for name, source in PYMATGEN.items()}
    row |= valence(element)
    energies = element.data.get("Ionization energies") or []
    for k in (0, 1, 2):
        row[f"ionization_{k + 1}"] = number(energies[k]) if len(energies) > k else float("nan")
    common = element.common_oxidation_states or element.oxidation_states
    row["oxidation_max"] = float(max(element.oxidation_states, default=0))
    row["oxidation_min"] = float(min(element.oxidation_states, default=0))
    row["oxidation_common"] = float(np.mean(common)) if common else 0.0
    row["radius_ionic"] = number(element.average_ionic_radius) or float("nan")
    row["is_metal"] = float(element.is_metal)
    row["is_rare_earth"] = float(element.is_rare_earth)
    return row


def fill(values: np.ndarray, groups: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Replace NaN by the nearest known in the same group (f block: nearest in the same row)."""
    filled = values.copy()
    z = np.arange(1, len(values) + 1)
    f_block = ((z >= 57) & (z <= 71)) | ((z >= 89) & (z <= 103))
    for k in np.flatnonzero(np.isnan(values)):
        same = (f_block & (periods == periods[k])) if f_block[k] else ((groups == groups[k]) & ~f_block)
        known = np.flatnonzero(same & ~np.isnan(values))
        if len(known) == 0:
            known = np.flatnonzero(~np.isnan(values))
        filled[k] = values[known[np.argmin(np.abs(known - k))]]
    return filled


def main() -> None:
    given = begin(options(__doc__, data=False))
    out = given.out / "element_features.json"
    frame = fetch_table("elements").set_index("atomic_number")
    table = {z: frame.loc[z].to_dict() for z in range(1, LAST + 1)}
    rows = [describe(z, table) for z in range(1, LAST + 1)]
    names = list(rows[0])
    raw = np.array([[row[name] for name in names] for row in rows])
    missing = np.isnan(raw).sum(axis=0)
    groups, periods = raw[:, names.index("group")], raw[:, names.index("period")]
    filled = np.stack([fill(raw[:, j], groups, periods) for j in range(len(names))], axis=1)
    values = [[float(f"{v:.6g}") for v in row] for row in filled]
    out.write_text(json.dumps({"columns": names, "first_number": 1, "values": values}) + "\n")
    counts = [f"| {name} | {count} |" for name, count in zip(names, missing, strict=True)]
    Sheet(
        about="Numbers that describe the elements 1 to 103, for the surrogates: `columns` names them, `values` "
        "has a row for each element.\n\n" + __doc__.split("\n\n")[1],
        script="python scripts/build_element_features.py",
        data=f"mendeleev {version('mendeleev')} and pymatgen {version('pymatgen')}; no file",
        split="nothing is held out: nothing is learned",
        seed="none: nothing is random",
        metrics=f"{len(rows)} elements, {len(names)} columns, {int(missing.sum())} values filled from neighbours",
        commit=given.commit,
        licence="mendeleev and pymatgen (MIT licences), which name theirs.",
        more="\n".join(["| column | elements filled from neighbours (of 103) |", "| --- | --- |", *counts]),
    ).write(out)
    print(f"{out}: {len(rows)} elements, {len(names)} columns, {int(missing.sum())} filled")


if __name__ == "__main__":
    run(main)
