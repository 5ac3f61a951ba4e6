"""Chemical element symbols and numbers; nothing else, so that the words layer needs no library."""

from __future__ import annotations

from collections.abc import Iterable

from invdesign.errors import InputError

_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn
Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd
Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th
Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS: tuple[str, ...] = tuple(_TABLE.split())
"""Symbols in order of atomic number; `SYMBOLS[Z - 1]`."""

_NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)}


def symbol(number: int) -> str:
    """Symbol of an atomic number from 1 to 118."""
    if not 1 <= number <= len(SYMBOLS):
        raise InputError("atomic number", number, "1 to 118")
    return SYMBOLS[number - 1]


def atomic_number(name: str) -> int:
    """Atomic number of a symbol, case as in the periodic table.

    Raises:
        InputError: if there is no such element.
    """
    try:
        return _NUMBERS[name.strip()]
    except KeyError:
        raise InputError("element", name, "a chemical symbol such as Ti, W or N") from None


def atomic_numbers(names: Iterable[str]) -> frozenset[int]:
    """Atomic numbers of several symbols."""
    return frozenset(atomic_number(name) for name in names)
