"""What a pretrained potential knows of a crystal: CHGNet's pooled atom features, its energies and moments.

CHGNet 0.3.0 (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) carries its weights in its wheel. It was trained on
relaxation trajectories of the Materials Project, so its features of a known crystal hold traces of that crystal's
own energy; of moduli and gaps it was told nothing.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.convert import to_pymatgen
from invdesign.errors import MissingDependencyError
from invdesign.surrogates.features import FloatTable

ATOM_CHANNELS = 64
N_FEATURES = 5 * ATOM_CHANNELS + 7
BATCH = 16


class PotentialFeatures:
    """CHGNet, loaded at the first call."""

    @cached_property
    def _model(self) -> Any:
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                from chgnet.model import CHGNet

                model = CHGNet.load(use_device="cpu", verbose=False).eval()
                model.graph_converter.set_isolated_atom_response("ignore")
                return model
        except ImportError:
            raise MissingDependencyError("chgnet", "potentials") from None

    def compute(self, crystals: Sequence[Crystal]) -> tuple[FloatTable, list[str]]:
        """Features of crystals.

        Returns:
            (n, `N_FEATURES`) values, NaN in the rows of crystals that the potential cannot read, and a reason for
            each crystal, empty where all is well.
        """
        values = np.full((len(crystals), N_FEATURES), np.nan, dtype=np.float32)
        reasons = [""] * len(crystals)
        graphs: list[tuple[int, Any]] = []
        for i, crystal in enumerate(crystals):
            try:
                graphs.append((i, self._graph(crystal)))
            except (ValueError, RuntimeError, IndexError) as error:
                reasons[i] = f"CHGNet: {error}"
        for start in range(0, len(graphs), BATCH):
            part = graphs[start : start + BATCH]
            for (i, _), row in zip(part, self._rows([g for _, g in part]), strict=True):
                values[i] = row
        for k in np.flatnonzero(~np.isfinite(values).all(axis=1)):
            reasons[k] = reasons[k] or "CHGNet: features are not finite"
        return values, reasons

    def _graph(self, crystal: Crystal) -> Any:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return self._model.graph_converter(to_pymatgen(crystal))

    def _rows(self, graphs: list[Any]) -> list[FloatTable]:
        """The pooled features of some graphs."""
        import torch

        with torch.no_grad():
            out = self._model(
                graphs, task="em", return_site_energies=True, return_atom_feas=True, return_crystal_feas=True
            )
        return [
            _pooled(
                out["atom_fea"][i].numpy(),
                out["crystal_fea"][i].numpy(),
                out["site_energies"][i].numpy(),
                out["m"][i].numpy(),
                float(out["e"][i]),
            )
            for i in range(len(graphs))
        ]


def _pooled(
    atoms: FloatTable, crystal: FloatTable, energies: FloatTable, moments: FloatTable, energy: float
) -> FloatTable:
    """(`N_FEATURES`,) statistics over the atoms of one crystal; `crystal` is CHGNet's sum over the atoms."""
    moments = np.abs(moments)
    parts = [
        atoms.mean(axis=0),
        atoms.std(axis=0),
        atoms.min(axis=0),
        atoms.max(axis=0),
        crystal / len(atoms),
        [energy, energies.mean(), energies.std(), energies.min(), energies.max(), moments.mean(), moments.max()],
    ]
    return np.concatenate(parts).astype(np.float32)
