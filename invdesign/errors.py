"""Every exception of invdesign: one class per situation, one clear line per message.

The command line turns any :class:`InvdesignError` into that line and exit code 2.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 80
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxother, _REPR.maxstring, _REPR.maxlong = 4, 400, 400, 400
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = 40


def shortened(text: str, most: int = _LONGEST) -> str:
    """A text in one line, its middle left out if it has more than so many characters."""
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[head + 1 - most :]}"
    return "".join(c if c.isprintable() else " " for c in text)


class InvdesignError(Exception):
    """Base class: something the user can understand and act on."""


class InputError(InvdesignError):
    """A value given by the user is wrong; the message names it and says what is allowed."""

    def __init__(self, what: str, value: object, allowed: str | Iterable[object]) -> None:
        """Compose the one line.

        Args:
            what: the argument or field that is wrong, in the user's words.
            value: what was given.
            allowed: what would have been accepted, as a phrase or as a collection of values, of which the one that
                the value resembles is offered.
        """
        choices = [] if isinstance(allowed, str) else [str(item) for item in allowed]
        phrase = allowed if isinstance(allowed, str) else ", ".join(choices)
        text = shortened(_REPR.repr(value))
        near = get_close_matches(text.strip("'"), choices, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        super().__init__(f"{shortened(what)}: {text} is not valid; allowed: {phrase}{hint}")
        self.what, self.value, self.allowed = what, value, phrase


class InvdesignWarning(UserWarning):
    """Something that was asked for is not done as the user may think, in one line; the work goes on."""


class ConflictError(InvdesignError):
    """Two parts of a request contradict each other."""


class EmptyQueryError(InvdesignError):
    """A design run was asked for nothing."""

    def __init__(self) -> None:
        """Compose the one line."""
        super().__init__(
            "nothing is asked for: give a target, elements, a component or another wish, such as "
            '`invdesign design --target "bulk_modulus>=250" -n 5` or design(targets=["bulk_modulus>=250"], n=5)'
        )


class StructureReadError(InvdesignError):
    """A file or an item in it holds no readable crystal."""


class MissingDependencyError(InvdesignError):
    """An optional package is needed; the message says how to install it."""

    def __init__(self, package: str, extra: str | None = None) -> None:
        """Compose the one line from the package's name and the extra of invdesign that brings it, if one does."""
        what = package if extra is None else f"'invdesign[{extra}]'"
        super().__init__(f"{package} is not installed; install it with: pip install {what}")


class ReferenceMissingError(InvdesignError):
    """The hull, the known crystals or a model's weights cannot be loaded: nothing may be scored without."""


class LedgerError(InvdesignError):
    """A ledger is damaged, locked, or belongs to another query or version."""


class OutputError(InvdesignError):
    """An output folder or file cannot be written."""


class TrainingError(InvdesignError):
    """Training data or settings cannot lead to a model."""


class PartError(InvdesignError):
    """A part of the engine broke in a way that ends the run; the message names it and its error."""
