"""Classes of elements by name, as people write them in a query: `--exclude lanthanides,toxic`.

The last three follow the element data of the package (`invdesign.chemistry.element_data`, which names its
sources); they stand here so that a query can be checked without reading a file, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from invdesign.elements import SYMBOLS
from invdesign.errors import InputError

LANTHANIDES = SYMBOLS[56:71]
PLATINUM_GROUP = ("Ru", "Rh", "Pd", "Os", "Ir", "Pt")

_CRITICAL = """
He Li Be B F Mg Al Si P Sc Ti V Mn Co Ni Cu Ga Ge As Sr Y Nb Ru Rh Pd Sb Ba La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb
Lu Hf Ta W Os Ir Pt Bi
"""

CLASSES: dict[str, tuple[str, ...]] = {
    "lanthanides": LANTHANIDES,
    "actinides": SYMBOLS[88:103],
    "rare_earths": ("Sc", "Y", *LANTHANIDES),
    "alkali_metals": ("Li", "Na", "K", "Rb", "Cs", "Fr"),
    "alkaline_earth_metals": ("Be", "Mg", "Ca", "Sr", "Ba", "Ra"),
    "transition_metals": (*SYMBOLS[20:30], *SYMBOLS[38:48], *SYMBOLS[71:80], *SYMBOLS[103:112]),
    "refractory_metals": ("Nb", "Mo", "Ta", "W", "Re"),
    "platinum_group": PLATINUM_GROUP,
    "precious": (*PLATINUM_GROUP, "Ag", "Au"),
    "metalloids": ("B", "Si", "Ge", "As", "Sb", "Te"),
    "pnictogens": ("N", "P", "As", "Sb", "Bi", "Mc"),
    "chalcogens": ("O", "S", "Se", "Te", "Po", "Lv"),
    "halogens": ("F", "Cl", "Br", "I", "At", "Ts"),
    "noble_gases": ("He", "Ne", "Ar", "Kr", "Xe", "Rn", "Og"),
    "toxic": ("Be", "As", "Cd", "Os", "Hg", "Tl", "Pb"),
    "radioactive": ("Tc", "Pm", *SYMBOLS[83:]),
    "critical": tuple(_CRITICAL.split()),
}
"""Symbols by class. Transition metals are the d block, groups 3 to 12 without La to Lu and Ac to Lr; toxic are
those whose compounds are, as a class, toxic or restricted by law; critical are the critical and strategic raw
materials of the European Union (Regulation (EU) 2024/1252)."""


IN_WORDS = {
    "toxic": "toxic elements",
    "radioactive": "radioactive elements",
    "critical": "critical raw materials",
    "precious": "precious metals",
    "platinum_group": "platinum-group metals",
}
"""Classes whose names are no nouns, as a sentence calls them."""


def class_or_symbol(name: object, field_name: str) -> str:
    """The symbol or the name of a class, in its one spelling: `Rare earth` is `rare_earths`.

    Raises:
        InputError: if it is neither.
    """
    text = str(name).strip()
    if text in SYMBOLS:
        return text
    if found := _class(text):
        return found
    hint = " (YAML reads No as false: write 'No')" if name is False or text == "False" else ""
    allowed = [f"a chemical symbol such as Ti, W or N{hint}", *CLASSES]
    raise InputError(f"element in {field_name}", text, allowed)


def is_class(name: str) -> bool:
    """Whether a text is the name of a class, in any spelling."""
    return bool(_class(name))


def _class(text: str) -> str:
    plain = re.sub(r"[\s-]+", "_", text.strip().lower())
    spellings = (plain, f"{plain}s", f"{plain}_metals", f"{plain.removesuffix('s')}_metals")
    return next((name for name in spellings if name in CLASSES), "")


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """The symbols that symbols and names of classes stand for, in the order of the periodic table."""
    found = {symbol for name in names for symbol in CLASSES.get(name, (name,))}
    return tuple(symbol for symbol in SYMBOLS if symbol in found)
