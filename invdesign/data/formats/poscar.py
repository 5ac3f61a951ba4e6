"""VASP structures (POSCAR, CONTCAR): one crystal a file, in the forms that VASP itself reads.

One scale, three, or a negative one (the cell's volume); numbers with `D` exponents; comments; selective
dynamics; Cartesian coordinates; names of potentials in place of symbols (`Fe_pv`, `Ti/1a2b3c`). The old format
without symbols is read where the positions or the first line name them. What follows the positions is passed
over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.data.convert import checked, element_number, lattice_of
from invdesign.data.items import Item, attempt
from invdesign.data.limits import LONGEST_LINE, MOST_ATOMS
from invdesign.elements import SYMBOLS
from invdesign.errors import StructureReadError

_NUMBER = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eEdD][+-]?\d{1,3})?")
_SPECIES = re.compile(r"([A-Za-z]{1,2})(?:[_/].*)?")


def read_poscar(text: str, source: str) -> Iterator[Item]:
    """The one crystal of a POSCAR; what is wrong with it is a failure."""
    yield attempt(lambda: _crystal(text, source), source)


def _crystal(text: str, source: str) -> Crystal:
    lines = _lines(text)
    lattice = np.array([_numbers(lines, k, 3) for k in (2, 3, 4)])
    stretch = _stretch(_scale(lines), lattice)
    symbols, counts, at = _species(lines)
    at += _word(lines, at).startswith("s")
    is_cartesian = _word(lines, at).startswith(("c", "k"))
    rows = range(at + 1, at + 1 + sum(counts))
    if rows.stop > len(lines):
        raise StructureReadError(f"the file ends before its {sum(counts)} positions")
    coords = np.array([_numbers(lines, k, 3) for k in rows])
    names = np.repeat(symbols, counts).tolist() if symbols else _names_elsewhere(lines, rows, counts)
    matrix = lattice_of(lattice * stretch)
    if is_cartesian:
        coords = (coords * stretch) @ np.linalg.inv(matrix)
    return checked(matrix, [element_number(name) for name in names], coords, source)


def _lines(text: str) -> list[str]:
    """The lines that can belong to a structure of the most atoms."""
    found: list[str] = []
    start = 0
    while start < len(text) and len(found) < MOST_ATOMS + 10:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end - start > LONGEST_LINE:
            raise StructureReadError(f"line {len(found) + 1} has {end - start} characters")
        found.append(text[start:end])
        start = end + 1
    return found


def _word(lines: Sequence[str], at: int) -> str:
    """A line in lower case; empty where the file has ended."""
    return lines[at].strip().lower() if at < len(lines) else ""


def _numbers(lines: Sequence[str], at: int, count: int) -> FloatArray:
    """The first numbers of a line; what follows them is a comment or a flag."""
    words = _word(lines, at).split(maxsplit=count)
    if len(words) < count or not all(_NUMBER.fullmatch(word) for word in words[:count]):
        raise StructureReadError(f"line {at + 1} does not hold {count} numbers: {_word(lines, at)[:40]!r}")
    return np.array([float(word.replace("d", "e")) for word in words[:count]])


def _scale(lines: Sequence[str]) -> FloatArray:
    words = _word(lines, 1).split()
    count = next((k for k, word in enumerate(words) if not _NUMBER.fullmatch(word)), len(words))
    if count not in (1, 3):
        raise StructureReadError(f"line 2 holds no scale: {_word(lines, 1)[:40]!r}")
    return _numbers(lines, 1, count)


def _stretch(scale: FloatArray, lattice: FloatArray) -> FloatArray:
    """(3,) factors of the Cartesian components; a negative scale is the volume of the cell, Å³."""
    if len(scale) == 1 and scale[0] < 0:
        volume = abs(float(np.linalg.det(lattice)))
        if volume < 1e-12:
            raise StructureReadError("the lattice vectors lie in a plane")
        return np.full(3, (-scale[0] / volume) ** (1.0 / 3.0))
    if (scale <= 0).any():
        raise StructureReadError(f"line 2: the scale {scale.min():g} is not positive")
    return np.broadcast_to(scale, 3)


def _species(lines: Sequence[str]) -> tuple[list[str], list[int], int]:
    """Symbols (none in the old format), number of atoms of each, and the line after them; either may take
    several lines."""
    symbols: list[str] = []
    at = 5
    while at < len(lines) and (words := _before_comment(lines[at])) and not words[0][0].isdecimal():
        symbols += [_symbol(word, at) for word in words]
        at += 1
    counts: list[int] = []
    while at < len(lines) and (found := _whole_numbers(lines[at])) and (not counts or len(counts) < len(symbols)):
        counts += found
        at += 1
    if not counts or (symbols and len(symbols) != len(counts)):
        wanted = f"{len(symbols)} numbers of atoms" if symbols else "numbers of atoms"
        goes_on = counts and len(_before_comment(lines[at - 1])) > len(_whole_numbers(lines[at - 1]))
        number, said = (at, lines[at - 1].strip()) if goes_on else (at + 1, _word(lines, at))
        raise StructureReadError(f"line {number} does not hold {wanted}: {said[:40]!r}")
    if not 0 < sum(counts) <= MOST_ATOMS:
        raise StructureReadError(f"line {at}: {sum(counts)} atoms, 1 to {MOST_ATOMS} can be read")
    return symbols, counts, at


def _symbol(word: str, at: int) -> str:
    match = _SPECIES.fullmatch(word)
    name = match[1].capitalize() if match else word
    if name not in SYMBOLS and name not in ("D", "T"):
        raise StructureReadError(f"line {at + 1}: {word[:40]!r} is not an element")
    return name


def _whole_numbers(line: str) -> list[int]:
    """The whole numbers at the beginning of a line; a longer one than any count is taken for one too many."""
    words = list(takewhile(str.isdecimal, line.split()))
    return [int(word) if len(word) < 10 else MOST_ATOMS + 1 for word in words]


def _before_comment(line: str) -> list[str]:
    return re.split(r"[!#]", line, maxsplit=1)[0].split()


def _names_elsewhere(lines: Sequence[str], rows: range, counts: Sequence[int]) -> list[str]:
    """Symbols of the atoms in the old format: behind the positions, or one for each number in the first line."""
    for column in (3, 6):
        words = [lines[k].split() for k in rows]
        names = [w[column] if len(w) > column else "" for w in words]
        if all(name in SYMBOLS for name in names):
            return names
    above = lines[0].split()
    if len(above) == len(counts) and all(name in SYMBOLS for name in above):
        return [str(name) for name in np.repeat(above, counts)]
    raise StructureReadError("POSCAR without element symbols (VASP 4); add them in line 6")
