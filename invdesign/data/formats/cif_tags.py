"""Tags and values of a CIF block, whatever the dialect: lower case, with `_` between category and item."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from invdesign.errors import StructureReadError

if TYPE_CHECKING:
    from gemmi import cif

Tags = Mapping[str, Sequence[str | None]]
"""Values by tag, one for a single value and several for a loop's column; None for `?`, `.` and the empty text."""

MOST_ROWS = 10_000
"""Most rows of a loop on atoms or symmetry."""
RELEVANT = (
    "_atom_site_", "_cell_", "_chemical_formula_", "_exptl_crystal_density_", "_space_group_", "_symmetry_",
    "_atom_site.", "_cell.", "_chemical_formula.", "_exptl_crystal.", "_space_group.", "_symmetry.",
    "_space_group_symop.", "_symmetry_equiv.", "_space_group_symop_magn",
)  # fmt: skip
"""Beginnings of the tags that say something of the crystal."""
_NUMBER = re.compile(r"([+-]?)(\d*)\.?(\d*)(?:[eEdD]([+-]?\d{1,2}))?(?:\((\d{1,9})\))?")
_FRACTION = re.compile(r"([+-]?\d{1,3})/([1-9]\d{0,2})")
_LONGEST_NUMBER = 40


def tags_of(block: cif.Block) -> dict[str, list[str | None]]:
    """The relevant tags of a block.

    Raises:
        StructureReadError: if one of them stands in the block twice with different values, or the atoms in two
    loops."""
    found: dict[str, list[str | None]] = {}
    loops: set[int] = set()
    for loop, tag, values in _columns(block):
        name = tag.lower().replace(".", "_")
        texts = [_text(value) for value in values]
        if found.setdefault(name, texts) != texts:
            raise StructureReadError(f"{tag} stands in the block twice, with different values")
        if name.startswith(("_atom_site_fract_", "_atom_site_type_symbol", "_atom_site_occupancy")):
            loops.add(loop)
    if len(loops) > 1:
        raise StructureReadError("the atoms (_atom_site_) stand in more than one loop")
    return found


def _columns(block: cif.Block) -> Iterator[tuple[int, str, list[str]]]:
    """Number of the loop (-1 for single values), tag and values."""
    for index, item in enumerate(block):
        pair: Sequence[str] | None = item.pair  # type: ignore[assignment]  # gemmi's stubs say object
        if pair is not None:
            if pair[0].lower().startswith(RELEVANT):
                yield -1, pair[0], [pair[1]]
        elif item.loop is not None:
            tags = item.loop.tags
            if any(tag.lower().startswith(RELEVANT) for tag in tags):
                if item.loop.length() > MOST_ROWS:
                    raise StructureReadError(
                        f"{item.loop.length()} rows in the loop of {tags[0]}, at most {MOST_ROWS}"
                    )
                values = item.loop.values
                yield from ((index, tag, values[k :: len(tags)]) for k, tag in enumerate(tags))


def _text(value: str) -> str | None:
    from gemmi import cif

    if cif.is_null(value):
        return None
    text = cif.as_string(value).strip()
    return None if text in ("", "?", ".") else text


def given(tags: Tags, tag: str) -> str | None:
    """The first value of a tag; None where it is missing or not known."""
    return next((value for value in column(tags, tag) if value is not None), None)


def column(tags: Tags, tag: str) -> Sequence[str | None]:
    """All values of a tag, in whatever case it is written; empty where it is missing."""
    return tags.get(tag.lower(), ())


def number_of(text: str) -> tuple[float, float]:
    """A number as CIFs print it and how far it may be off: a unit of its last digit, or thrice its standard
    uncertainty.

    A whole number and a fraction such as `1/3` are exact.

    Raises:
        ValueError: if it is not a number.
    """
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long for a number")
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        return float(fraction[1]) / float(fraction[2]), 0.0
    match = _NUMBER.fullmatch(text)
    if not match or not (match[2] or match[3]):
        raise ValueError("not a number")
    sign, whole, decimals, exponent, uncertainty = match.groups()
    power = int(exponent or 0)
    value = float(f"{sign}{whole or 0}.{decimals or 0}e{power}")
    unit = 10.0 ** (power - len(decimals))
    slack = max(unit if decimals else 0.0, 3.0 * float(uncertainty or 0) * unit)
    return value, slack
