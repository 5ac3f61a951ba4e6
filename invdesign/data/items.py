"""What a reader yields: a crystal or the reason why not, with the columns that stood beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from invdesign.crystal import Crystal
from invdesign.errors import InvdesignError, StructureReadError
from invdesign.records import Failure

_REASON_LENGTH = 200


class OtherContentError(StructureReadError):
    """A sound file that holds something else than crystals."""


@dataclass(frozen=True)
class Item:
    """One thing read: a crystal or the reason why not, and the labels or columns that came with it."""

    result: Crystal | Failure
    columns: Mapping[str, Any] = field(default_factory=dict)


def attempt(parse: Callable[[], Crystal], source: str, columns: Mapping[str, Any] | None = None) -> Item:
    """Run one item's parser; whatever it raises becomes the item's failure.

    Some parsers are other people's, and a broken file brings out any exception at all, so all are caught here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Item(parse(), columns or {})
    except Exception as error:
        return Item(failure(error, source), columns or {})


def failure(error: BaseException, item: str) -> Failure:
    """The failure row of an exception, its message squeezed into one line."""
    text = " ".join(str(error)[: 10 * _REASON_LENGTH].split())
    if not isinstance(error, (InvdesignError, OSError)):
        text = f"cannot be parsed ({type(error).__name__}: {text})" if text else f"cannot be parsed ({error!r})"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return Failure("read", text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…", item)


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8 with or without a byte order mark, UTF-16 with one; other bytes are replaced."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def first_crystal(items: Iterator[Item]) -> Crystal:
    """The single crystal of a table's cell.

    Raises:
        StructureReadError: if there is none, or more than one.
    """
    found = [item for item, _ in zip(items, range(2), strict=False)]
    if len(found) != 1:
        raise StructureReadError("more than one structure in one cell" if found else "no structure in the cell")
    result = found[0].result
    if isinstance(result, Failure):
        raise StructureReadError(result.reason)
    return result
