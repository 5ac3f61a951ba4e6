"""Extended XYZ: every frame with a lattice, read line by line, so that a long trajectory takes no more memory
than a frame.

A frame that is broken inside is a failure of its own; one whose number of atoms cannot be read ends the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TextIO

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.convert import check_occupants, checked, element_number, lattice_of
from invdesign.data.items import Item, attempt
from invdesign.data.limits import LONGEST_LINE, MOST_ATOMS
from invdesign.elements import symbol
from invdesign.errors import StructureReadError
from invdesign.records import Failure

_DEFAULT = "species:S:1:pos:R:3"
_MOST_COLUMNS = 1000
_NOT_BESIDE = ("Lattice", "Properties", "pbc")
_LATTICE = re.compile(r"""Lattice=["'{][^"'}]*""")


@dataclass
class _Lines:
    """The lines of a file with their numbers; an overlong one is an error."""

    stream: TextIO
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.stream.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LONGEST_LINE:
            raise StructureReadError(f"line {self.number} has more than {LONGEST_LINE} characters")
        return line

    def next_filled(self) -> str | None:
        """The next line that is not blank; None at the end of the file."""
        return next((line for line in self if not line.isspace()), None)


def read_extxyz(stream: TextIO, source: str) -> Iterator[Item]:
    """Every frame; the properties in its second line stand beside it.

    Args:
        stream: the file's text.
        source: what to call it; a frame of several is `source#index`.
    """
    lines = _Lines(stream)
    head, index = lines.next_filled(), 0
    while head is not None:
        at, word = lines.number, head.strip()
        count = int(word) if word.isdecimal() and len(word) < 10 else 0
        if count < 1:
            yield Item(Failure("read", f"line {at} is not a number of atoms", _name(source, index, index > 0)))
            return
        comment = next(lines, "")
        kept = list(islice(lines, min(count, MOST_ATOMS)))
        read = len(kept) + sum(1 for _ in islice(lines, count - len(kept)))
        head = lines.next_filled()
        name = _name(source, index, index > 0 or head is not None)
        if read < count:
            yield Item(Failure("read", "the file ends within the frame", name))
            return
        columns: dict[str, Any] = {}
        yield attempt(lambda c=comment, k=kept, n=count, s=name, b=columns: _frame(n, c, k, b, s), name, columns)  # type: ignore[misc]
        index += 1


def _name(source: str, index: int, is_one_of_several: bool) -> str:
    return f"{source}#{index}" if is_one_of_several else source


def _frame(count: int, comment: str, rows: Sequence[str], columns: dict[str, Any], source: str) -> Crystal:
    from ase.io.extxyz import key_val_str_to_dict

    if count > MOST_ATOMS:
        raise StructureReadError(f"{count} atoms, at most {MOST_ATOMS}")
    if "lattice" not in comment.lower():
        raise StructureReadError("not periodic in three directions: no Lattice in the second line")
    try:
        info: dict[str, Any] = key_val_str_to_dict(
            _LATTICE.sub(lambda found: re.sub(r"(?<=[\d.])[dD]", "e", found[0]), comment)
        )
    except ValueError as error:
        raise StructureReadError(f"the second line of the frame cannot be read: {error}") from None
    columns.update({k: v for k, v in info.items() if k not in _NOT_BESIDE})
    if "Lattice" not in info:
        raise StructureReadError("not periodic in three directions: no Lattice in the second line")
    if not all(np.ravel(info.get("pbc", True))):
        raise StructureReadError("not periodic in three directions")
    shares = info.get("occupancy")
    for occupants in shares.values() if isinstance(shares, dict) else ():
        check_occupants(occupants, "of the cell")
    matrix = lattice_of(np.asarray(info["Lattice"]).T)
    at, total = _columns(info)
    numbers, positions = [], []
    for k, row in enumerate(rows):
        words = row.split()
        if len(words) < total:
            raise StructureReadError(f"atom {k + 1} has {len(words)} of {total} columns")
        number = _number(words, at)
        if "occupancy" in at:
            check_occupants({symbol(number): _real(words[at["occupancy"]], k)}, str(k + 1))
        numbers.append(number)
        positions.append([_real(word, k) for word in words[at["pos"] : at["pos"] + 3]])
    return checked(matrix, numbers, np.array(positions) @ np.linalg.inv(matrix), source)


def _real(word: str, index: int) -> float:
    try:
        return float(word.replace("D", "e").replace("d", "e"))
    except ValueError:
        raise StructureReadError(f"atom {index + 1}: {word[:40]!r} is not a number") from None


def _columns(info: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Where each property begins, and how many columns there are."""
    parts = str(info.get("Properties", _DEFAULT)).split(":")
    at: dict[str, int] = {}
    total = 0
    for name, width in zip(parts[::3], parts[2::3], strict=False):
        if not width.isdecimal() or len(width) > 4:
            raise StructureReadError(f"Properties: {name[:40]} has {width[:40]!r} columns")
        if name == "pos" and int(width) != 3:
            raise StructureReadError(f"Properties: pos has {width} columns, not 3")
        at[name] = total
        total += int(width)
    if total > _MOST_COLUMNS:
        raise StructureReadError(f"Properties: {total} columns, at most {_MOST_COLUMNS}")
    if "pos" not in at or not {"species", "Z", "numbers"} & at.keys():
        raise StructureReadError("Properties names no species or no pos")
    return at, total


def _number(words: Sequence[str], at: Mapping[str, int]) -> int:
    word = words[at["species"]] if "species" in at else words[at["Z" if "Z" in at else "numbers"]]
    return int(word) if word.isdecimal() and len(word) < 4 else element_number(word)
