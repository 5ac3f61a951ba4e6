"""Tables that the package ships; each is made by a script in `scripts/`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from invdesign.errors import ReferenceMissingError

if TYPE_CHECKING:
    import numpy as np


def read_arrays(name: str) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The arrays of a shipped `.npz`.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    import numpy as np

    try:
        with files(__name__).joinpath(name).open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise ReferenceMissingError(f"the shipped table {name} cannot be read: {error}") from None


def read_json(name: str) -> Any:
    """The content of a shipped `.json`.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    try:
        return json.loads(files(__name__).joinpath(name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ReferenceMissingError(f"the shipped table {name} cannot be read: {error}") from None
