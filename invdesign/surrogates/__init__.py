"""Surrogates: properties with calibrated uncertainties, on genes (the gate) and on relaxed crystals."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invdesign.surrogates.gate import GateSurrogate
    from invdesign.surrogates.model import Model
    from invdesign.surrogates.relaxed import RelaxedSurrogate

__all__ = ["load_gate", "load_relaxed"]


def load_gate(path: Path | str | None = None) -> GateSurrogate:
    """The surrogate for genes and unrelaxed crystals.

    Args:
        path: weights of your own; None for those of the package.

    Raises:
        ReferenceMissingError: if the weights cannot be read.
    """
    from invdesign.surrogates.gate import GateSurrogate

    return GateSurrogate(_model("gate", path))


def load_relaxed(path: Path | str | None = None) -> RelaxedSurrogate:
    """The surrogate for relaxed crystals; arguments and errors as in `load_gate`."""
    from invdesign.surrogates.relaxed import RelaxedSurrogate

    return RelaxedSurrogate(_model("relaxed", path))


def _model(stage: str, path: Path | str | None) -> Model:
    from invdesign.surrogates.model import load_model

    return _shipped(stage) if path is None else load_model(Path(path))


@cache
def _shipped(stage: str) -> Model:
    from invdesign.surrogates.model import load_model

    with as_file(files("invdesign.tables").joinpath(f"surrogate_{stage}.safetensors")) as path:
        return load_model(path)
