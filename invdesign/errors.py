"""Every exception of invdesign: one class per situation, one clear line per message.

The command line turns any :class:`InvdesignError` into that line and exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable


class InvdesignError(Exception):
    """Base class: something the user can understand and act on."""


class InputError(InvdesignError):
    """A value given by the user is wrong; the message names it and says what is allowed."""

    def __init__(self, what: str, value: object, allowed: str | Iterable[object]) -> None:
        """Compose the one line.

        Args:
            what: the argument or field that is wrong, in the user's words.
            value: what was given.
            allowed: what would have been accepted, as a phrase or as a collection of values.
        """
        phrase = allowed if isinstance(allowed, str) else ", ".join(map(str, allowed))
        super().__init__(f"{what}: {value!r} is not valid; allowed: {phrase}")
        self.what, self.value, self.allowed = what, value, phrase


class ConflictError(InvdesignError):
    """Two parts of a request contradict each other."""


class StructureReadError(InvdesignError):
    """A file or an item in it holds no readable crystal."""


class MissingDependencyError(InvdesignError):
    """An optional package is needed; the message says how to install it."""

    def __init__(self, package: str, extra: str | None = None) -> None:
        """Compose the one line.

        Args:
            package: name of the distribution.
            extra: the extra of invdesign that brings it (None: none does, it is installed by itself).
        """
        what = f"'invdesign[{extra}]'" if extra else package
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
