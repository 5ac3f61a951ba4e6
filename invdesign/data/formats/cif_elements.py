"""Elements of the sites of a CIF, from their type symbols or, where these are missing, from their labels.

A type symbol is an element with an optional charge (`Fe3+`); a label is an element and whatever tells it from
others (`Fe1A`). What is neither (a vacancy, a molecule, a named site such as `T1`) is refused by name: a guess
would lose or swap an atom. The formula that the file states decides between two readings of a label, as in
`OB1` or `CA1`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from invdesign.elements import SYMBOLS, atomic_number
from invdesign.errors import StructureReadError

TYPE_TAG, LABEL_TAG = "_atom_site_type_symbol", "_atom_site_label"

_CHARGE = r"(?:\(?(?:[+-]?\d{0,2}|\d{0,2}[+-]|[+-]\d{0,2}\.\d{1,4}|\d{0,2}\.\d{1,4}[+-]|[IVX]{1,4})\)?)"
_TYPE = re.compile(rf"\d{{0,3}}([A-Za-z]{{1,2}}){_CHARGE}")
_LETTERS = re.compile(r"\d{0,3}([A-Za-z]+)")
_ISOTOPES = {"D": "H", "T": "H"}
_GROUPS = {"CN", "CO", "HO", "NH", "NO", "RE", "TM"}
"""Symbols of elements that in capitals may be molecules, a rare earth or a transition metal."""
_SEVERAL = re.compile(r"[/,&]\s*[A-Z]")
"""What names a second element of a site, as in `Si/Al1`."""
_SYMBOLS = frozenset(SYMBOLS[:103])
"""Elements that crystals are known of: what looks like a heavier one is something else."""
_WORDS = {"vac", "wat", "water"}
_WITH_HYDROGEN = re.compile(r"(oh|ow|hoh|h2o|h3o|wat|aq|nh)", re.IGNORECASE)


def elements_of(
    labels: Sequence[str | None], types: Sequence[str | None], formula: Collection[str] = ()
) -> list[int]:
    """Atomic numbers of sites.

    Args:
        labels: label of each site, None where there is none.
        types: type symbol of each site, None where there is none.
        formula: symbols in the formula that the file states; empty if it states none.

    Raises:
        StructureReadError: naming the first site of which the element is not known, or whose label stands for a
            group with hydrogen atoms that are not listed."""
    is_mixed = any(t and re.match(r"\d*[A-Z][a-z]", t) for t in types)
    symbols = [
        _of_type(kind, label, is_mixed, formula) if kind else _of_label(label, formula)
        for label, kind in zip(labels, types, strict=True)
    ]
    if "H" not in symbols and (not formula or "H" in formula):
        for symbol, label in zip(symbols, labels, strict=True):
            if symbol in ("O", "N") and label and _WITH_HYDROGEN.match(label.lstrip("0123456789")):
                raise StructureReadError(
                    f"site {label!r} ({LABEL_TAG}) stands for a group with hydrogen, of which none is listed"
                )
    return [atomic_number(symbol) for symbol in symbols]


def _of_type(kind: str, label: str | None, is_mixed: bool, formula: Collection[str]) -> str:
    match = _TYPE.fullmatch(kind)
    letters = match.group(1) if match else ""
    symbol = letters.capitalize()
    is_group = letters.isupper() and (is_mixed or letters in _GROUPS)
    is_sure = len(letters) == 1 or letters == symbol or symbol in formula or not is_group
    if symbol in _ISOTOPES and symbol not in formula:
        return _ISOTOPES[symbol]
    if not is_sure or symbol not in _SYMBOLS:
        site = f" of site {label!r}" if label else ""
        raise StructureReadError(f"{TYPE_TAG} {kind!r}{site} is not an element")
    return symbol


def _of_label(label: str | None, formula: Collection[str]) -> str:
    if not label:
        raise StructureReadError(f"a site has neither {TYPE_TAG} nor {LABEL_TAG}: its element is not known")
    match = _LETTERS.match(label)
    letters = match.group(1) if match and not _SEVERAL.search(label) else ""
    found = _by_formula(letters, formula) if formula else _by_spelling(letters)
    if len(found) != 1:
        why = f"may be {' or '.join(found)}" if found else "does not name one element"
        raise StructureReadError(f"{LABEL_TAG} {label!r} {why}; {TYPE_TAG} is missing")
    return found[0]


def _by_formula(letters: str, formula: Collection[str]) -> list[str]:
    """The elements of the formula that the letters of a label can mean; its amounts are checked with the atoms."""
    if not letters or letters.lower() in _WORDS:
        return []
    if _WITH_HYDROGEN.match(letters) and "H" not in formula and letters.capitalize() not in _SYMBOLS:
        return []
    two, one = letters[:2].capitalize(), letters[0].upper()
    one = _ISOTOPES.get(one, one)
    if letters[:2] == two and two in formula:
        return [two]
    return [symbol for symbol in dict.fromkeys((two, one)) if symbol in formula]


def _by_spelling(letters: str) -> list[str]:
    """The elements that the letters of a label can mean where no formula is stated."""
    if letters == "D" or letters in _SYMBOLS:
        return [_ISOTOPES.get(letters, letters)]
    if not letters or letters in _GROUPS:
        return []
    found = []
    is_proper = letters[1:2].islower() and not letters[2:3].islower() and not _may_be_element(letters[2:])
    if letters[:2].capitalize() in _SYMBOLS and (is_proper or (len(letters) == 2 and letters.isupper())):
        found.append(letters[:2].capitalize())
    if letters[0] in _SYMBOLS and letters[1:2].isupper() and not _may_be_element(letters[1:]):
        found.append(letters[0])
    return found


def _may_be_element(rest: str) -> bool:
    """Whether the letters after a symbol may be another element; `T` is a tetrahedral site more often than
    tritium."""
    return bool({rest[:1].upper(), rest[:2].capitalize()} & _SYMBOLS)
