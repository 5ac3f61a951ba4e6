"""Symmetry of a CIF block: from its operations, its Hall or Hermann-Mauguin symbols, or its number, in this order.

What the file states must agree; a symbol that no table knows, a setting that the cell does not fit, and
statements that contradict each other are refused by tag and value. Where a symbol leaves a choice (two origins,
two sets of axes), the cell decides first, and what is left is handed on for the atoms to decide."""

from __future__ import annotations

from dataclasses import dataclass

from invdesign.crystal import FloatArray
from invdesign.crystallography import settings
from invdesign.crystallography.settings import Setting
from invdesign.data.formats.cif_tags import Tags, column, given
from invdesign.errors import StructureReadError

OPERATIONS = (
    "_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_space_group_symop_magn_operation_xyz",
)  # fmt: skip
CENTRINGS = "_space_group_symop_magn_centering_xyz"
SYMBOLS = (
    "_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M", "_space_group_name_H-M_full",
    "_symmetry_space_group_name_H-M_full", "_symmetry_space_group_name_H-M_alt", "_space_group_name_H-M_ref",
)  # fmt: skip
REFERENCE = SYMBOLS[-1]
HALL = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
NUMBERS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_FIT = 0.03
"""Largest misfit of cell and symmetry, as a part of the edges' lengths: 1.5 % of an edge, a degree or two of an
angle."""
_TIE = 1e-3


@dataclass(frozen=True)
class Symmetry:
    """What a block says of its symmetry.

    Attributes:
        settings: the settings that it can mean, the usual one first.
        statement: where that comes from, in words: tag and value.
        is_listed: whether the operations are listed.
        claimed: for listed operations, the settings that the symbol and number mean, if these are another group.
        claim: that statement in words.
    """

    settings: tuple[Setting, ...]
    statement: str
    is_listed: bool = False
    claimed: tuple[Setting, ...] = ()
    claim: str = ""


@dataclass(frozen=True)
class _Statement:
    tag: str
    value: str
    settings: tuple[Setting, ...]

    @property
    def words(self) -> str:
        return f"{self.tag} {self.value!r}"

    @property
    def numbers(self) -> set[int]:
        return {s.number for s in self.settings}


def symmetry_of(tags: Tags, lattice: FloatArray) -> Symmetry:
    """The settings that a block's symmetry can mean, given its cell.

    Raises:
        StructureReadError: naming tag and value, if it states none, or one that is not known or contradicts
            another or the cell."""
    operations = _operations(tags)
    if operations:
        return _of_operations(operations, tags, lattice)
    found = _statements(tags, is_needed=True)
    if not found:
        raise StructureReadError(
            f"neither operations ({OPERATIONS[0]}) nor a space group ({SYMBOLS[0]}, {NUMBERS[0]}) is given"
        )
    choice, words = _agreed(found)
    return Symmetry(_fitting(choice, lattice, words), words)


def _of_operations(operations: list[str], tags: Tags, lattice: FloatArray) -> Symmetry:
    tag = next(tag for tag in OPERATIONS if given(tags, tag))
    try:
        setting = settings.listed(operations)
    except ValueError as error:
        raise StructureReadError(f"{tag}: {error}") from None
    words = f"the {setting.order} operations of {tag}"
    if setting.misfit(lattice) > _FIT:
        raise StructureReadError(f"{words} do not fit the cell")
    others = [s for s in _statements(tags, is_needed=False) if setting.number not in s.numbers]
    larger = [s for s in others if max(one.order for one in s.settings) > setting.order]
    if not larger:
        return Symmetry((setting,), words, is_listed=True)
    claimed = tuple(s for s in larger[0].settings if s.misfit(lattice) <= _FIT)
    return Symmetry((setting,), words, True, claimed, larger[0].words)


def _operations(tags: Tags) -> list[str]:
    """The operations as listed; for a magnetic group without time reversal and with its centring."""
    tag = next((tag for tag in OPERATIONS if given(tags, tag)), None)
    if tag is None:
        return []
    texts = [text for text in column(tags, tag) if text is not None]
    if len(texts) > settings.MOST_OPERATIONS:
        raise StructureReadError(f"{len(texts)} symmetry operations ({tag}); at most {settings.MOST_OPERATIONS}")
    if tag != OPERATIONS[2]:
        return texts
    centrings = [text for text in column(tags, CENTRINGS) if text is not None] or ["x,y,z,+1"]
    return _combined([_without_time(t) for t in texts], [_without_time(t) for t in centrings])


def _without_time(text: str) -> str:
    parts = text.split(",")
    return ",".join(parts[:3]) if len(parts) == 4 and parts[3].strip() in ("+1", "-1", "1") else text


def _combined(operations: list[str], centrings: list[str]) -> list[str]:
    import gemmi

    if len(operations) * len(centrings) > settings.MOST_OPERATIONS:
        raise StructureReadError(f"more than {settings.MOST_OPERATIONS} symmetry operations with their centring")
    try:
        return [(gemmi.Op(c) * gemmi.Op(o)).triplet() for c in centrings for o in operations]
    except (RuntimeError, ValueError) as error:
        raise StructureReadError(f"{OPERATIONS[2]}: {error}") from None


def _statements(tags: Tags, is_needed: bool) -> list[_Statement]:
    """What the symbols and the number mean; one that is not known is left out unless it is needed."""
    found = []
    for tag in (*HALL, *SYMBOLS, *NUMBERS):
        value = given(tags, tag)
        if value is None:
            continue
        meaning = _meaning(tag, value)
        if meaning:
            found.append(_Statement(tag, value, meaning))
        elif is_needed:
            raise StructureReadError(f"{tag} {value!r} is not a space group that the tables know")
    return found


def _meaning(tag: str, value: str) -> tuple[Setting, ...]:
    if tag in HALL:
        try:
            return (settings.from_hall(value),)
        except ValueError:
            return ()
    if tag in NUMBERS:
        return settings.numbered(int(value)) if value.isdecimal() and len(value) < 4 else ()
    return settings.named(value)


def _agreed(found: list[_Statement]) -> tuple[tuple[Setting, ...], str]:
    """The settings that all statements allow; the reference symbol and the number state the group, not the
    setting."""
    first, choice = found[0], found[0].settings
    for other in found[1:]:
        if other.tag in (*NUMBERS, REFERENCE):
            choice = tuple(s for s in choice if s.number in (0, *other.numbers))
        elif 0 not in first.numbers | other.numbers:
            keys = {s.key for s in other.settings}
            choice = tuple(s for s in choice if s.key in keys)
        if not choice:
            raise StructureReadError(f"{first.words} and {other.words} contradict each other")
    return choice, first.words


def _fitting(choice: tuple[Setting, ...], lattice: FloatArray, words: str) -> tuple[Setting, ...]:
    """The setting that fits the cell best; two if they differ in their origin alone."""
    misfits = [setting.misfit(lattice) for setting in choice]
    best = min(misfits)
    if best > _FIT:
        raise StructureReadError(f"{words} does not fit the cell")
    fitting = [s for s, misfit in zip(choice, misfits, strict=True) if misfit <= best + _TIE]
    name = fitting[0].symbol.partition(":")[0]
    return tuple(s for s in fitting if s.symbol.partition(":")[0] == name)
