"""Surrogates: properties with calibrated uncertainties, on genes (the gate) and on relaxed crystals."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign.tables import path_of

if TYPE_CHECKING:
    from invdesign.surrogates.gate import GateSurrogate
    from invdesign.surrogates.model import Model
    from invdesign.surrogates.proposal_correction import CorrectedGate
    from invdesign.surrogates.relaxed import RelaxedSurrogate

__all__ = ["load_gate", "load_proposal_gate", "load_relaxed"]

PROPOSAL_CORRECTION = "proposal_correction.safetensors"


def load_gate(path: Path | str | None = None) -> GateSurrogate:
    """The surrogate for genes and unrelaxed crystals.

    Args:
        path: weights of your own; None for those of the package.

    Raises:
        ReferenceMissingError: if the weights cannot be read.
    """
    from invdesign.surrogates.gate import GateSurrogate

    return GateSurrogate(_model("gate", path))


def load_proposal_gate(correction: Path | str | None = None) -> CorrectedGate:
    """The gate for proposals of generators, its energies corrected by what became of earlier ones.

    Args:
        correction: one of your own, for the gate of the package; None for that of the package.

    Raises:
        ReferenceMissingError: if it cannot be read, or belongs to another gate.
    """
    from invdesign.surrogates.proposal_correction import CorrectedGate, ProposalCorrection

    path = Path(correction) if correction else path_of(PROPOSAL_CORRECTION)
    return CorrectedGate(_shipped("gate"), ProposalCorrection.load(path))


def load_relaxed(path: Path | str | None = None, gate: Path | str | None = None) -> RelaxedSurrogate:
    """The surrogate for relaxed crystals, which mixes the gate's answers with its own.

    Args:
        path: weights of your own; None for those of the package.
        gate: the gate that they were trained with; None for that of the package.

    Raises:
        ReferenceMissingError: if the weights cannot be read, or belong to another gate.
    """
    from invdesign.surrogates.relaxed import RelaxedSurrogate

    if path is None and gate is None:
        return RelaxedSurrogate(_shipped("relaxed"))
    from invdesign.surrogates.model import load_model

    base = load_gate(gate).model
    return RelaxedSurrogate(load_model(Path(path) if path else path_of(weights_of("relaxed")), base))


def _model(stage: str, path: Path | str | None) -> Model:
    from invdesign.surrogates.model import load_model

    return _shipped(stage) if path is None else load_model(Path(path))


@cache
def _shipped(stage: str) -> Model:
    from invdesign.surrogates.model import load_model

    return load_model(path_of(weights_of(stage)), _shipped("gate") if stage == "relaxed" else None)


def weights_of(stage: str) -> str:
    """File name of the weights of a stage, `gate` or `relaxed`."""
    return f"surrogate_{stage}.safetensors"
