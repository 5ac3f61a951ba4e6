"""Make `engineering_materials.json`: known materials, checked, with the source of each value.

    python scripts/build_engineering_materials.py [--out FOLDER]

Reads `engineering_materials.yaml` beside it (every value with its source). Pure metals come from pymatgen's
periodic table (MIT licence), their prices and embodied energies from `element_data.json` of the folder. What
follows from measured values is marked `derived`: bulk and shear modulus of an isotropic solid from Young's modulus
and Poisson's ratio, and `strength`, the yield strength, or where a material has none, the flexural or tensile
strength. Refused is a value without a known source, outside its property's range, with its bounds exchanged, or
moduli that contradict each other by over 15 %.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from invdesign.chemistry.element_data import table
from invdesign.elements import atomic_number
from invdesign.properties import PROPERTIES, QUANTITIES
from invdesign.training.rebuild import begin, built, digest, options, run
from invdesign.training.sheet import Sheet

MATERIALS = Path(__file__).with_name("engineering_materials.yaml")
STRENGTHS = {"yield_strength": (0.1, 1e4), "tensile_strength": (0.1, 1e4), "flexural_strength": (0.1, 1e4)}
"""Measured strengths, MPa, with the range that is believed."""
OTHERS = {"resistivity": (1e-9, 1e20)}
"""Electrical resistivity, ohm m."""
UNITS = {p.name: p.unit for p in (*PROPERTIES.values(), *QUANTITIES.values())}
UNITS |= dict.fromkeys(STRENGTHS, "MPa") | {"resistivity": "ohm m"}
KELVIN = 273.15
METALS = ["Be", "Al", "Ti", "V", "Cr", "Co", "Ni", "Cu", "Zn", "Zr", "Nb", "Mo", "Ag", "Sn", "Ta", "W", "Pt", "Au"]
METALS += ["Pb"]
MINERALS = ["Ti", "Cr", "Zr", "Nb", "Mo"]
"""Metals whose embodied energy is known for a supply mix of ores, oxides and alloys only."""
METAL_COLUMNS = {
    "density": ("Density of solid", 1e-3),
    "youngs_modulus": ("Youngs modulus", 1.0),
    "poisson_ratio": ("Poissons ratio", 1.0),
    "vickers_hardness": ("Vickers hardness", 1e-3),
    "thermal_expansion": ("Coefficient of linear thermal expansion", 1e6),
    "thermal_conductivity": ("Thermal conductivity", 1.0),
    "melting_point": ("Melting point", 1.0),
    "resistivity": ("Electrical resistivity", 1.0),
}
METAL_SOURCES = {
    "ptb": {
        "title": "pymatgen, periodic_table.json (MIT licence), compiled from WebElements and Wikipedia",
        "licence": "MIT",
    },
    "wik": {
        "title": "Wikipedia, Prices of chemical elements, revision 1262554464, through mendeleev",
        "year": 2024,
    },
    "nus": {
        "title": "P. Nuss and M. J. Eckelman, PLoS ONE 9, e101298 (2014), table S38",
        "licence": "CC-BY-4.0",
    },
    "derived": {"title": "from the values beside it, see scripts/build_engineering_materials.py"},
}
TRUSTED = 0.15
"""Largest relative difference between a measured and a derived modulus."""


def main() -> None:
    given = begin(options(__doc__, data=False))
    out, found = given.out / "engineering_materials.json", build(yaml.safe_load(MATERIALS.read_text("utf-8")))
    lines = ",\n".join(json.dumps(m, ensure_ascii=False, separators=(",", ":")) for m in found["materials"])
    head = json.dumps({"sources": found["sources"], "units": found["units"]}, ensure_ascii=False, indent=0)
    out.write_text(f'{head[:-2]},\n"materials":[\n{lines}\n]\n}}\n', encoding="utf-8")
    sheet(found, given.commit).write(out)
    print(f"{out}: {len(found['materials'])} materials, {out.stat().st_size} bytes")


def build(data: Mapping[str, Any]) -> dict[str, Any]:
    """The table: sources, units, and materials with `values` by property as [low, high, source].

    Raises:
        ValueError: naming the material, the property and what is wrong with it.
    """
    sources = {**data["sources"], **METAL_SOURCES}
    materials = [_material(entry, data["classes"], sources) for entry in data["materials"]]
    materials += [_metal(symbol) for symbol in METALS]
    names = [m["name"] for m in materials]
    if len(set(names)) < len(names):
        raise ValueError(f"two materials have one name: {sorted(n for n in names if names.count(n) > 1)}")
    for material in materials:
        _complete(material)
        _check(material)
    used = {key for m in materials for value in m["values"].values() for key in value[2].split("+")}
    properties = dict.fromkeys(name for m in materials for name in m["values"])
    return {
        "sources": {key: sources[key] for key in sources if key in used},
        "units": {name: UNITS[name] for name in properties},
        "materials": materials,
    }


def _material(entry: Mapping[str, Any], classes: Mapping[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    about = {key: entry[key] for key in ("name", "family", "formula") if key in entry}
    values: dict[str, list[Any]] = {}
    given = {**classes.get(entry.get("class", ""), {}), **entry}
    for key, value in given.items():
        if key not in (*about, "class"):
            name = key.removesuffix("_C")
            values[name] = _value(f"{entry['name']}: {key}", value, sources, KELVIN if key.endswith("_C") else 0.0)
    return {**about, "values": values}


def _value(where: str, value: Sequence[Any], sources: Mapping[str, Any], shift: float) -> list[Any]:
    numbers = [float(v) + shift for v in value if isinstance(v, int | float)]
    words = [v for v in value if isinstance(v, str)]
    if len(numbers) not in (1, 2) or not words:
        raise ValueError(f"{where}: {value}; write [value, source] or [low, high, source]")
    for key in words[0].split("+"):
        if key not in sources:
            raise ValueError(f"{where}: unknown source {key}")
    return (
        [round(numbers[0], 6), round(numbers[-1], 6), *words] if numbers[0] > 1e-4 else [*numbers * 2][:2] + words
    )


def _metal(symbol: str) -> dict[str, Any]:
    import pymatgen.core

    with gzip.open(Path(pymatgen.core.__file__).parent / "periodic_table.json.gz", "rt", encoding="utf-8") as file:
        row = json.load(file)[symbol]
    values = {}
    for name, (column, factor) in METAL_COLUMNS.items():
        try:
            values[name] = [float(f"{float(row[column]) * factor:.6g}")] * 2 + ["ptb"]
        except (KeyError, TypeError, ValueError):
            continue  # pymatgen has no number there
    z = atomic_number(symbol)
    for name, column, source in (
        ("price", table().price, "wik"),
        ("embodied_energy", table().embodied_energy, "nus"),
    ):
        if column[z] == column[z] and not (source == "nus" and symbol in MINERALS):
            values[name] = [float(column[z])] * 2 + [source]
    return {"name": f"{row['Name'].lower()}, pure", "family": "pure metal", "formula": symbol, "values": values}


def _complete(material: dict[str, Any]) -> None:
    """Add strength and the moduli that an isotropic solid has."""
    values = material["values"]
    for name in STRENGTHS:
        if name in values:
            values.setdefault("strength", [*values[name][:2], "derived"])
    if "youngs_modulus" in values and "poisson_ratio" in values:
        e, nu = values["youngs_modulus"], values["poisson_ratio"]
        for name, factor in (
            ("bulk_modulus", lambda n: 3 * (1 - 2 * n)),
            ("shear_modulus", lambda n: 2 * (1 + n)),
        ):
            pair = sorted(e[i] / factor(nu[i]) for i in (0, 1))
            found = [float(f"{x:.4g}") for x in pair] + ["derived"]
            if name not in values:
                values[name] = found
            elif not found[0] * (1 - TRUSTED) <= values[name][1] or not values[name][0] <= found[1] * (
                1 + TRUSTED
            ):
                raise ValueError(
                    f"{material['name']}: {name} {values[name]} contradicts E and nu, which give {found}"
                )


def _check(material: Mapping[str, Any]) -> None:
    for name, (low, high, *_) in material["values"].items():
        where = f"{material['name']}: {name} {low}..{high}"
        prop = PROPERTIES.get(name) or QUANTITIES.get(name)
        least, most = {**STRENGTHS, **OTHERS}.get(name) or ((prop.low, prop.high) if prop else (1.0, 0.0))
        if low > high:
            raise ValueError(f"{where}: bounds exchanged")
        if not least <= low <= high <= most:
            raise ValueError(f"{where}: not within {least}..{most}")


def sheet(found: Mapping[str, Any], commit: str) -> Sheet:
    """The data sheet."""
    materials = found["materials"]
    numbers = sum(len(m["values"]) for m in materials)
    families: dict[str, int] = {}
    for m in materials:
        families[m["family"]] = families.get(m["family"], 0) + 1
    coverage = {name: sum(name in m["values"] for m in materials) for name in found["units"]}
    rows = "\n".join(f"| `{name}` | {unit or '1'} | {coverage[name]} |" for name, unit in found["units"].items())
    sources = "\n".join(
        f"| `{key}` | {s['title']} | {s.get('licence', '')} | {s.get('year', '')} |"
        for key, s in found["sources"].items()
    )
    kinds = ", ".join(f"{n} {count}" for n, count in sorted(families.items(), key=lambda item: -item[1]))
    data = {f"scripts/{MATERIALS.name}": digest(MATERIALS)} | built("element_data.json")
    return Sheet(
        about=ABOUT.format(n=len(materials)),
        script="python scripts/build_engineering_materials.py",
        data=data | {"periodic table of pymatgen": version("pymatgen")},
        split="nothing is held out: nothing is learned",
        seed="none: nothing is random",
        metrics=f"{len(materials)} materials ({kinds}), {numbers} values",
        commit=commit,
        licence="each value has its source; the table of sources below names their licences.",
        more=MORE.format(rows=rows, sources=sources, trusted=int(TRUSTED * 100)),
    )


ABOUT = """\
{n} known engineering materials with values at room temperature, each a range [low, high] with its source. Two
sources joined by `+` gave the two ends. What no source that was read gives is left out: unknown, not zero."""
MORE = """\
| property | unit | materials with a value |
| --- | --- | --- |
{rows}

`strength` is the yield strength, or where there is none the flexural or tensile strength. `derived` values
follow from those beside them (bulk and shear modulus of an isotropic solid). The script refuses values without
a source, outside the range of their property, and moduli that contradict each other by more than {trusted} %.

| source | what it is | licence | year of prices |
| --- | --- | --- | --- |
{sources}

Values are facts, cited singly; no table of a proprietary handbook was copied. Prices are those of the year
named and of a whole class of materials: read them to a factor of two. Alloys stand for a condition, named or
typical: strength and toughness vary with heat treatment, section and batch. Polymers and composites are
landmarks. No design values."""


if __name__ == "__main__":
    run(main)
