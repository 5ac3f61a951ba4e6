"""Space-group settings: symmetry operations from a Hermann-Mauguin or Hall symbol, a number, or a list of
operations.

The tables are gemmi's 564 settings (those of the International Tables B, table A1.4.2.7, and of the CCP4
library) with moyo's full and short symbols of the 530 Hall numbers. A symbol may be written as the
International Tables print it (`P 1 21/c 1`), short (`P 21/c`, `P21/c`, `P2(1)/c`), in full (`F 4/m -3 2/m`), in
old style (`F m 3 m`), and extended by the origin choice or the axes (`F d -3 m :2`, `F d -3 m Z`, `R -3 c :R`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import FloatArray, IntArray
from invdesign.crystallography.symmetry import group_of_operations

if TYPE_CHECKING:
    import gemmi

MOST_OPERATIONS = 768
"""Most operations of a list: four times those of the largest group in its conventional cell."""
LONGEST_SYMBOL, LONGEST_OPERATION = 80, 80
"""Most characters of a symbol and of one operation."""
_PARTS = 24
_SUFFIXES = {"1": "1", "2": "2", "o1": "1", "o2": "2", "s": "1", "z": "2", "h": "H", "r": "R", "hr": "H"}
"""Origin choice and axes as databases write them: `S` and `Z` (first origin, centre of symmetry) are ICSD's,
`O1` and `O2` the Pauling File's."""
_MARKUP = re.compile(r"<[^<>]*>|[~()\"'.]")
_SPLIT_AXIS = re.compile(r"\d \d")


@dataclass(frozen=True, eq=False)
class Setting:
    """The operations of a space group in one setting.

    Attributes:
        number: in the International Tables; 0 where the tables do not have the setting.
        symbol: extended Hermann-Mauguin symbol, or what it was made from.
        rotations: (n, 3, 3) integer matrices W of x' = W x + w on fractional coordinates.
        translations: (n, 3) shifts w.
        choice: origin choice or axes: `1`, `2`, `H`, `R`, or empty.
    """

    number: int
    symbol: str
    rotations: IntArray
    translations: FloatArray
    choice: str = ""

    @cached_property
    def key(self) -> bytes:
        """Equal for settings with the same operations."""
        keys = _keys(self.rotations.reshape(-1, 9), np.rint(self.translations * _PARTS).astype(np.int64) % _PARTS)
        return bytes(np.sort(keys))

    @property
    def order(self) -> int:
        """Number of operations, centring included."""
        return len(self.rotations)

    def misfit(self, lattice: FloatArray) -> float:
        """Largest change that an operation makes to the lattice's metric, relative to the edges' lengths; 0 if
        it fits.

        Args:
            lattice: (3, 3) rows, Å.
        """
        metric = lattice @ lattice.T
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        unique = np.unique(self.rotations, axis=0)
        turned = np.einsum("nki,kl,nlj->nij", unique, metric, unique)
        return float((np.abs(turned - metric) / scale).max())


def named(symbol: str) -> tuple[Setting, ...]:
    """Every setting that a Hermann-Mauguin symbol can mean, the usual one first; none if it is not known.

    A symbol without an origin choice means both; one without axes of a rhombohedral group means both; a short
    monoclinic symbol means each unique axis."""
    if len(symbol) > LONGEST_SYMBOL:
        return ()
    words, suffix = _split(symbol)
    compact = words.replace(" ", "")
    found = _by_symbol().get(words)
    if found is None and not _SPLIT_AXIS.search(words):  # `P 31 2` is not `P 3 1 2`
        found = _by_symbol().get(compact) or _old_style(compact)
    chosen = [s for s in found or () if not suffix or s.ext == suffix]
    return tuple(_from_gemmi(s.xhm(), s.hall, s.number, s.ext) for s in chosen)


def numbered(number: int) -> tuple[Setting, ...]:
    """The settings of a group by its number: the reference setting with both origins or axes, then all others.

    The reference setting is that of the International Tables: unique axis b, cell choice 1.
    """
    table = [s for s in _table() if s.number == number]
    first = [s for s in table if s.hm == table[0].hm] if table else []
    return tuple(
        _from_gemmi(s.xhm(), s.hall, s.number, s.ext) for s in (*first, *(s for s in table if s not in first))
    )


def from_hall(symbol: str) -> Setting:
    """The setting of a Hall symbol, with or without a change of basis.

    Raises:
        ValueError: if it is no Hall symbol.
    """
    import gemmi

    text = " ".join(symbol.replace("_", " ").split())
    if not text or len(text) > LONGEST_SYMBOL:
        raise ValueError("no Hall symbol")
    try:
        operations = gemmi.symops_from_hall(text)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(str(error)) from None
    known = gemmi.find_spacegroup_by_ops(operations)
    if known is None:
        return _setting(0, text, operations)
    return _from_gemmi(known.xhm(), known.hall, known.number, known.ext)


def listed(operations: Sequence[str]) -> Setting:
    """The setting of a list of operations such as `-x, y+1/2, -z`.

    Raises:
        ValueError: if one cannot be read, or if together they are no group.
    """
    if len(operations) > MOST_OPERATIONS:
        raise ValueError(f"{len(operations)} symmetry operations (at most {MOST_OPERATIONS})")
    for text in operations:
        if len(text) > LONGEST_OPERATION:
            raise ValueError(f"a symmetry operation of {len(text)} characters (at most {LONGEST_OPERATION})")
    return _listed(tuple(operations))


@lru_cache(maxsize=512)
def _listed(operations: tuple[str, ...]) -> Setting:
    import gemmi

    found = [_operation(text) for text in operations]
    rotations, shifts = np.stack([r for r, _ in found]), np.stack([t for _, t in found]) % _PARTS
    rotations, shifts = _unique(rotations, shifts)
    if not _is_group(rotations, shifts):
        raise ValueError(
            f"the {len(operations)} symmetry operations listed are no group: some are missing or wrong"
        )
    known = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(text) for text in operations]))
    if known is not None:
        return Setting(known.number, known.xhm(), rotations, shifts / _PARTS, _choice(known.ext))
    return Setting(group_of_operations(rotations, shifts / _PARTS) or 0, "", rotations, shifts / _PARTS)


def _operation(text: str) -> tuple[IntArray, IntArray]:
    import gemmi

    try:
        operation = gemmi.Op(text)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the symmetry operation {text!r} cannot be read ({error})") from None
    rotation, shift = np.array(operation.rot), np.array(operation.tran)
    if (rotation % _PARTS).any() or round(abs(np.linalg.det(rotation / _PARTS))) != 1:
        raise ValueError(f"the symmetry operation {text!r} is no isometry")
    return rotation // _PARTS, shift


def _is_group(rotations: IntArray, shifts: IntArray) -> bool:
    """Whether the product of any two is among them, translations of the lattice aside."""
    if np.abs(rotations).max() > 3:
        return False
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    moved = (np.einsum("aij,bj->abi", rotations, shifts) + shifts[:, None]).reshape(-1, 3) % _PARTS
    if np.abs(products).max() > 9:
        return False
    own = _keys(rotations.reshape(-1, 9), shifts)
    return bool(np.isin(_keys(products, moved), own).all())


def _keys(rotations: IntArray, shifts: IntArray) -> IntArray:
    """One integer per operation: nine numbers of -9 to 9 and three of 0 to 23."""
    key = np.zeros(len(rotations), dtype=np.uint64)
    for column in rotations.T:
        key = key * np.uint64(19) + (column + 9).astype(np.uint64)
    for column in shifts.T:
        key = key * np.uint64(_PARTS) + column.astype(np.uint64)
    return key.view(np.int64)


def _unique(rotations: IntArray, shifts: IntArray) -> tuple[IntArray, IntArray]:
    both = np.concatenate([rotations.reshape(-1, 9), shifts], axis=1)
    _, first = np.unique(both, axis=0, return_index=True)
    keep = np.sort(first)
    return rotations[keep], shifts[keep]


@lru_cache(maxsize=1024)
def _from_gemmi(symbol: str, hall: str, number: int, ext: str) -> Setting:
    import gemmi

    return _setting(number, symbol, gemmi.symops_from_hall(hall), _choice(ext))


def _choice(ext: str) -> str:
    return ext.strip("\0 ")


_DASHES = str.maketrans("−–‐", "---")


def _setting(number: int, symbol: str, operations: Iterable[gemmi.Op], choice: str = "") -> Setting:
    every = list(operations)
    rotations = np.array([o.rot for o in every]) // _PARTS
    return Setting(number, symbol, rotations, np.array([o.tran for o in every]) % _PARTS / _PARTS, choice)


def _split(symbol: str) -> tuple[str, str]:
    """The symbol in lower case with single spaces, and the origin choice or axes as gemmi writes them."""
    body, colon, after = symbol.translate(_DASHES).partition(":")
    words = _words(body)
    if colon:
        return words, _SUFFIXES.get(_words(after).replace(" ", ""), "unknown")
    for mark in ("o1", "o2", "hr", "h", "r", "s", "z"):
        if len(words) > len(mark) + 1 and words.endswith(mark):
            return words.removesuffix(mark).strip(), _SUFFIXES[mark]
    return words, ""


def _words(symbol: str) -> str:
    """Without markup; an underscore parts the symbol's components where one follows the lattice letter
    (`P_21/c`), and is a subscript elsewhere (`P2_1/c`)."""
    text = symbol.strip()
    text = text.replace("_", " " if text[1:2] == "_" else "")
    return " ".join(_MARKUP.sub("", text).lower().split())


@cache
def _table() -> tuple[gemmi.SpaceGroup, ...]:
    import gemmi

    return tuple(gemmi.spacegroup_table())


@cache
def _by_symbol() -> dict[str, tuple[gemmi.SpaceGroup, ...]]:
    """Settings by their symbols in lower case, with spaces and without; of one with several, in the tables'
    order."""
    import moyopy

    forms: dict[str, dict[str, gemmi.SpaceGroup]] = {}

    def add(symbol: str, setting: gemmi.SpaceGroup) -> None:
        words = _words(symbol)
        for form in (words, words.replace(" ", "")):
            forms.setdefault(form, {}).setdefault(setting.xhm(), setting)

    by_hall: dict[str, gemmi.SpaceGroup] = {}
    for setting in _table():
        by_hall.setdefault(setting.hall.replace(" ", ""), setting)
        add(setting.hm, setting)
        if 3 <= setting.number <= 15:
            add(" ".join(part for part in setting.hm.split() if part != "1"), setting)
    for hall in range(1, 531):
        entry = moyopy.HallSymbolEntry(hall_number=hall)
        same = by_hall.get(entry.hall_symbol.replace("=", '"').replace(" ", ""))
        if same is not None and same.number == entry.number:
            add(entry.hm_full, same)
            if not 3 <= entry.number <= 15:
                add(entry.hm_short, same)
    return {symbol: tuple(found.values()) for symbol, found in forms.items()}


def _old_style(base: str) -> tuple[gemmi.SpaceGroup, ...]:
    """Settings of a symbol that only gemmi's own search knows, such as `fm3m` or `pa3`."""
    import gemmi

    found = gemmi.find_spacegroup_by_name(base)
    if found is None:
        return ()
    return tuple(s for s in _table() if s.number == found.number and s.hm == found.hm)
