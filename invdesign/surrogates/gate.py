"""The gate: thousands of unrelaxed crystals a second, to decide which deserve a relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from invdesign.crystal import Crystal, Gene
from invdesign.records import Estimate
from invdesign.represent.genes import decode, encode
from invdesign.surrogates.dataset import Graphs, graphs_of_genes
from invdesign.surrogates.features import LAST_ELEMENT
from invdesign.surrogates.model import Model

CHUNK = 4096
LEAST_VOLUME, MOST_VOLUME = 2.0, 400.0
"""Volume per atom (Å³) beyond which a cell is no crystal."""


@dataclass(frozen=True, eq=False)
class GateSurrogate:
    """Predicts from the gene of a crystal (found first, if the crystal does not carry one).

    Attributes:
        model: the trained ensemble.
    """

    model: Model

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`."""
        found: list[Estimate] = []
        for start in range(0, len(crystals), CHUNK):
            found.extend(self._predict(crystals[start : start + CHUNK]))
        return found

    def _predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        readable, failures = read_graphs(crystals)
        estimates = iter(self.model.estimates(readable) if readable is not None else ())
        return [failed(reason) if reason else next(estimates) for reason in failures]


def failed(reason: str) -> Estimate:
    """The estimate of a crystal that cannot be read."""
    return Estimate({}, failure=reason)


def read_graphs(crystals: Sequence[Crystal]) -> tuple[Graphs | None, list[str]]:
    """Arrays of the crystals that can be read, and for every crystal why it cannot, empty where it can."""
    genes: list[Gene] = []
    built: list[Crystal] = []
    reasons = []
    for crystal, decoded in zip(crystals, _decoded(crystals), strict=True):
        reason = decoded if isinstance(decoded, str) else _unfit(crystal, decoded)
        if not reason and isinstance(decoded, Crystal) and decoded.gene is not None:
            genes.append(decoded.gene)
            built.append(decoded)
        reasons.append(reason)
    return (graphs_of_genes(genes, built) if genes else None), reasons


def _decoded(crystals: Sequence[Crystal]) -> list[Crystal | str]:
    """The primitive cell that each crystal's gene stands for, or why there is none."""
    genes = [_gene(crystal) for crystal in crystals]
    sound = [g for g in genes if isinstance(g, Gene)]
    try:
        cells: list[Crystal | str] = list(decode(sound))
    except ValueError:
        cells = [_one(gene) for gene in sound]
    following = iter(cells)
    return [next(following) if isinstance(g, Gene) else g for g in genes]


def _gene(crystal: Crystal) -> Gene | str:
    if crystal.gene is not None:
        return crystal.gene
    try:
        return encode(crystal)
    except ValueError as error:
        return str(error)


def _one(gene: Gene) -> Crystal | str:
    try:
        return decode([gene])[0]
    except (ValueError, IndexError) as error:
        return f"the gene cannot be decoded: {error}"


def _unfit(crystal: Crystal, decoded: Crystal) -> str:
    """Why a crystal is beyond what can be described, empty if it is not."""
    if int(decoded.numbers.max()) > LAST_ELEMENT or int(decoded.numbers.min()) < 1:
        return f"atomic numbers beyond 1 to {LAST_ELEMENT}"
    volume = decoded.volume / decoded.n_sites
    if not LEAST_VOLUME <= volume <= MOST_VOLUME:
        return f"{volume:.3g} Å³ per atom is no crystal"
    if not np.isclose(volume, crystal.volume / crystal.n_sites, rtol=0.02):
        return "the gene does not belong to the crystal: volumes per atom differ"
    return ""
