"""Crystals as surrogates read them: primitive cells with the genes that describe them, and their graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, encode_many
from invdesign.records import Estimate
from invdesign.surrogates.inputs.dataset import Graphs, graphs_of_genes
from invdesign.surrogates.inputs.features import LAST_ELEMENT

LEAST_VOLUME, MOST_VOLUME = 2.0, 400.0
"""Volume per atom (Å³) beyond which a cell is no crystal."""
VOLUME_SLACK = 0.02
"""Relative difference in volume per atom up to which a gene belongs to its crystal."""


def failed(reason: str) -> Estimate:
    """The estimate of a crystal that cannot be read."""
    return Estimate({}, failure=reason)


def read_graphs(crystals: Sequence[Crystal]) -> tuple[Graphs | None, list[str]]:
    """Arrays of the crystals that can be read, and for every crystal why it cannot, empty where it can."""
    built, reasons = read_cells(crystals)
    genes = [c.gene for c in built if c.gene is not None]
    return (graphs_of_genes(genes, built) if genes else None), reasons


def read_cells(crystals: Sequence[Crystal]) -> tuple[list[Crystal], list[str]]:
    """Primitive cells with genes of the crystals that can be read, and for every crystal why it cannot.

    A gene that does not belong to its crystal (another formula, or a volume per atom that is more than 2 % off) is
    not believed: the crystal's own is found instead.
    """
    found = iter(encode_many([crystal for crystal in crystals if crystal.gene is None]))
    cells = _decoded([crystal.gene or next(found) for crystal in crystals])
    stray = [i for i, cell in enumerate(cells) if not _belongs(cell, crystals[i]) and crystals[i].gene]
    for i, cell in zip(stray, _decoded(encode_many([crystals[i] for i in stray])), strict=True):
        cells[i] = cell
    reasons = [cell if isinstance(cell, str) else _unfit(cell) for cell in cells]
    return [c for c, reason in zip(cells, reasons, strict=True) if not reason and isinstance(c, Crystal)], reasons


def _decoded(genes: Sequence[Gene | str]) -> list[Crystal | str]:
    """The primitive cell that each gene stands for, or why there is none."""
    sound = [g for g in genes if isinstance(g, Gene)]
    try:
        cells: list[Crystal | str] = list(decode(sound))
    except ValueError:
        cells = [_one(gene) for gene in sound]
    following = iter(cells)
    return [next(following) if isinstance(g, Gene) else g for g in genes]


def _one(gene: Gene) -> Crystal | str:
    try:
        return decode([gene])[0]
    except (ValueError, IndexError) as error:
        return f"the gene cannot be decoded: {error}"


def _belongs(cell: Crystal | str, crystal: Crystal) -> bool:
    """Whether a gene's cell is that of the crystal, by formula and volume per atom."""
    if isinstance(cell, str):
        return False
    n, m = cell.n_sites, crystal.n_sites
    ours, theirs = np.bincount(np.abs(cell.numbers)) * m, np.bincount(np.abs(crystal.numbers)) * n
    if len(ours) != len(theirs) or (ours != theirs).any():
        return False
    return abs(cell.volume * m - crystal.volume * n) <= VOLUME_SLACK * crystal.volume * n


def _unfit(cell: Crystal) -> str:
    """Why a crystal is beyond what can be described, empty if it is not."""
    if int(cell.numbers.max()) > LAST_ELEMENT or int(cell.numbers.min()) < 1:
        return f"atomic numbers beyond 1 to {LAST_ELEMENT}"
    volume = cell.volume / cell.n_sites
    if not LEAST_VOLUME <= volume <= MOST_VOLUME:
        return f"{volume:.3g} Å³ per atom is no crystal"
    return ""
