"""What pretrained potentials know of a crystal: pooled atom features of CHGNet and SevenNet-0, energies, moments.

CHGNet 0.3.0 (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) carries its weights in its wheel. It was trained on
relaxation trajectories of the Materials Project, so its features of a known crystal hold traces of that crystal's
own energy; of moduli and gaps it was told nothing. The same holds for SevenNet-0.
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
from invdesign.energy import EnergyScale
from invdesign.errors import MissingDependencyError
from invdesign.surrogates import sevennet_features
from invdesign.surrogates.features import FloatTable
from invdesign.surrogates.sevennet_features import SevenNetFeatures

ATOM_CHANNELS = 64
CHGNET_FEATURES = 5 * ATOM_CHANNELS + 7
CHGNET_ENERGY = 5 * ATOM_CHANNELS
"""Column of CHGNet's energy per atom."""
N_FEATURES = CHGNET_FEATURES + sevennet_features.N_FEATURES + 2
BATCH = 16


class PotentialFeatures:
    """Both potentials, loaded at the first call."""

    def __init__(self) -> None:
        self.chgnet, self.sevennet = CHGNetFeatures(), SevenNetFeatures()

    def compute(self, crystals: Sequence[Crystal]) -> tuple[FloatTable, list[str]]:
        """Features of crystals.

        Returns:
            (n, `N_FEATURES`) values: those of CHGNet, those of SevenNet-0, and the formation energies by both
            (eV/atom); NaN where a potential cannot read a crystal, and the reasons for each crystal, empty where
            all is well.
        """
        first, why_first = self.chgnet.compute(crystals)
        second, why_second = self.sevennet.compute(crystals)
        energies = formation_energies(crystals, np.stack([first[:, CHGNET_ENERGY], second[:, 0]], axis=1))
        reasons = ["; ".join(filter(None, pair)) for pair in zip(why_first, why_second, strict=True)]
        return np.concatenate([first, second, energies], axis=1), reasons


def formation_energies(crystals: Sequence[Crystal], energies: FloatTable) -> FloatTable:
    """(n, 2) formation energies, eV/atom, from (n, 2) energies per atom by CHGNet and SevenNet-0; else NaN."""
    scales = (EnergyScale.load("chgnet"), EnergyScale.load("sevennet-0"))
    found = np.full((len(crystals), 2), np.nan, dtype=np.float32)
    for i, crystal in enumerate(crystals):
        for j, scale in enumerate(scales):
            with contextlib.suppress(ValueError):  # an element that the scale does not know
                found[i, j] = scale.formation_energy(crystal, float(energies[i, j])).mean
    return found


class CHGNetFeatures:
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
            (n, `CHGNET_FEATURES`) values, NaN in the rows of crystals that the potential cannot read, and a reason
            for each crystal, empty where all is well.
        """
        values = np.full((len(crystals), CHGNET_FEATURES), np.nan, dtype=np.float32)
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
    """(`CHGNET_FEATURES`,) statistics over the atoms of one crystal; `crystal` is CHGNet's sum over the atoms."""
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
