"""BibTeX of what a run relied on: data, potential, programs and formulas, each with what it was used for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

ALWAYS = ("jain_2013_materials_project", "wang_2021_corrections", "de_jong_2015_elastic")
"""Data behind every hull distance and every predicted modulus."""
PROGRAMS = {
    "pymatgen": "ong_2013_pymatgen",
    "spglib": "togo_2024_spglib",
    "smact": "davies_2019_smact",
    "ase": "larsen_2017_ase",
    "torch": "paszke_2019_pytorch",
}
"""Entry by package, where the record names its version."""
POTENTIALS = {"sevennet": "park_2024_sevennet", "chgnet": "deng_2023_chgnet"}
"""Entry by the first part of a potential's name."""
TOUGHNESS = ("mazhnik_2019_hardness", "niu_2019_toughness")
DECISION = ("hwang_1981_topsis", "dezert_2020_spotis", "kizielewicz_2023_pymcdm")


def bibliography(record: Mapping[str, Any]) -> str:
    """The BibTeX entries of a run.

    Args:
        record: `run.json`.
    """
    shipped = entries()
    text = "\n\n".join(shipped[key] for key in keys(record))
    return f"% What this run relied on; `note` says for what.\n\n{_own(record)}\n\n{text}\n"


def entries() -> dict[str, str]:
    """Every shipped entry by its key."""
    text = resources.files("invdesign.report").joinpath("references.bib").read_text(encoding="utf-8")
    found = (entry.strip() for entry in re.split(r"\n(?=@)", text) if entry.strip())
    return {entry.split("{", 1)[1].split(",", 1)[0]: entry for entry in found}


def keys(record: Mapping[str, Any]) -> list[str]:
    """Keys of the entries that a run needs, in order."""
    query, parts = record.get("query") or {}, record.get("parts") or {}
    potential = str(parts.get("potential", "")).lower()
    needed = [*ALWAYS, *TOUGHNESS]
    needed += [key for name, key in POTENTIALS.items() if potential.startswith(name) or _features(name, parts)]
    needed += [key for name, key in PROGRAMS.items() if name in (record.get("versions") or {})]
    needed += ["akiba_2019_optuna"] if query.get("search") == "optuna" else []
    needed += ["ashby_2016_selection"] if query.get("component") else []
    needed += DECISION if record.get("agreement") else []
    return list(dict.fromkeys(needed))


def _features(potential: str, parts: Mapping[str, Any]) -> bool:
    """Whether the property models of relaxed crystals read a potential's features; SevenNet's, as shipped."""
    return potential == "sevennet" and "surrogate_relaxed" in parts


def _own(record: Mapping[str, Any]) -> str:
    version = (record.get("versions") or {}).get("invdesign", "")
    return (
        "@misc{invdesign,\n  author = {{The invdesign developers}},\n"
        "  title = {invdesign: generative inverse design of inorganic crystals},\n"
        f"  version = {{{version}}},\n  note = {{This run}}\n}}"
    )
