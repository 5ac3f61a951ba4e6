"""The data blocks of a CIF's text by gemmi's parser; of what it refuses, the part that says something of the
crystal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from invdesign.data.formats.cif_tags import RELEVANT
from invdesign.errors import StructureReadError

if TYPE_CHECKING:
    from gemmi import cif

MOST_BLOCKS = 100_000
_WHOLE, _LARGEST_BLOCK = 2**22, 2**25
"""Characters up to which a text is parsed in one go, and at most of one block: a parsed value takes 32 bytes."""
_TEXT_FIELD = re.compile(r"^;.*?^;", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^[ \t]*data_", re.MULTILINE | re.IGNORECASE)
_ATOMS = re.compile(r"^[ \t]*_atom_site[_.](?:label|type_symbol|fract_|cartn_)", re.MULTILINE | re.IGNORECASE)
_PASTED = {0x2212: "-", 0x00A0: " "}
"""The minus sign and the space of typeset pages, from which people copy cells and positions."""
_HEADER = re.compile(r"data_\S*", re.IGNORECASE)


def blocks_of(text: str) -> list[cif.Block | StructureReadError]:
    """Every data block with atoms, or why it cannot be parsed.

    Raises:
        StructureReadError: if there is no block, or none has atoms.
    """
    from gemmi import cif

    text = text.rstrip("\0\x1a").translate(_PASTED)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        if len(text) > _WHOLE:
            raise ValueError("taken apart first")
        found: list[cif.Block | StructureReadError] = [b for b in cif.read_string(text) if _has_atoms(b)]
        is_cif = True
    except Exception:  # gemmi raises ValueError and RuntimeError; one bad block must not lose the others
        parts = list(_parts(text))
        is_cif = bool(parts)
        found = [_block(part) for part in parts if _ATOMS.search(part)]
    if not found:
        raise StructureReadError(
            "no atoms in any data block" if is_cif else "no data block: not a CIF, or cut off"
        )
    if len(found) > MOST_BLOCKS:
        raise StructureReadError(f"{len(found)} data blocks, at most {MOST_BLOCKS}")
    return found


def _has_atoms(block: cif.Block) -> bool:
    for item in block:
        tags = item.loop.tags if item.loop is not None else [item.pair[0]] if item.pair is not None else []
        if any(_ATOMS.match(tag) for tag in tags):
            return True
    return False


def _parts(text: str) -> Iterator[str]:
    """The text of each data block; what looks like the head of a block in a text field is none."""
    masked = _TEXT_FIELD.sub(lambda field: re.sub(r"[^\n]", "x", field.group()), text)
    starts = [match.start() for match in _BLOCK.finditer(masked)]
    for start, end in pairwise([*starts, len(text)]):
        yield text[start:end]


def _block(part: str) -> cif.Block | StructureReadError:
    """One block; where its syntax is broken, its parts on cell, symmetry and atoms if they are sound."""
    from gemmi import cif

    if len(part) > _LARGEST_BLOCK:
        return StructureReadError(f"a data block of {len(part) >> 20} MiB, at most {_LARGEST_BLOCK >> 20}")
    message = ""
    for content in (part, _excerpt(part)):
        try:
            return cif.read_string(content, 0).sole_block()
        except Exception as error:  # as above
            message = message or " ".join(str(error).split())
    return StructureReadError(f"the CIF cannot be parsed ({message})")


def _excerpt(part: str) -> str:
    """The head of a block, its relevant single values and loops, without text fields and all else."""
    head = _HEADER.search(part)
    kept = [head.group() if head else "data_"]
    is_header, is_kept = False, False
    for line in _TEXT_FIELD.sub("?", part[head.end() if head else 0 :]).split("\n"):
        word = line.strip().lower()
        if word == "loop_":
            is_header, is_kept = True, False
        elif word.startswith("_"):
            is_relevant = word.startswith(RELEVANT)
            if is_header and is_relevant and not is_kept:
                kept.append("loop_")
            is_kept = is_relevant or (is_header and is_kept)
            if is_kept:
                kept.append(line)
        elif is_kept:
            is_header = False
            kept.append(line)
    return "\n".join(kept)
