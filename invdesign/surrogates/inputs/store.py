"""Keep genes and graphs of a training set on disk, so that training twice does not prepare twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.crystal import Gene
from invdesign.surrogates.inputs.dataset import Graphs
from invdesign.surrogates.inputs.graphs import Batch, Neighbours


def save_genes(genes: Sequence[Gene | None], path: Path) -> None:
    """Write genes as flat arrays; a missing gene has space group 0."""
    known = [g if g is not None else Gene(0, (), (), (), ()) for g in genes]
    np.savez_compressed(
        path,
        space_group=np.array([g.space_group for g in known], dtype=np.int16),
        orbits=np.array([len(g.wyckoffs) for g in known], dtype=np.int32),
        wyckoffs=np.array([w for g in known for w in g.wyckoffs], dtype=np.int16),
        numbers=np.array([z for g in known for z in g.numbers], dtype=np.int16),
        n_coords=np.array([len(g.free_coords) for g in known], dtype=np.int32),
        coords=np.array([u for g in known for u in g.free_coords]),
        n_lattice=np.array([len(g.free_lattice) for g in known], dtype=np.int32),
        lattice=np.array([p for g in known for p in g.free_lattice]),
    )


def load_genes(path: Path) -> list[Gene | None]:
    """Read what `save_genes` wrote."""
    raw = dict(np.load(path))

    def cut(values: str, counts: str) -> list[tuple[float, ...]]:
        pieces = np.split(raw[values], np.cumsum(raw[counts])[:-1])
        return [tuple(piece.tolist()) for piece in pieces]

    columns = zip(
        raw["space_group"].tolist(),
        cut("wyckoffs", "orbits"),
        cut("numbers", "orbits"),
        cut("coords", "n_coords"),
        cut("lattice", "n_lattice"),
        strict=True,
    )
    return [
        Gene(group, tuple(int(w) for w in wyckoffs), tuple(int(z) for z in numbers), coords, lattice)
        if group
        else None
        for group, wyckoffs, numbers, coords, lattice in columns
    ]


def join(parts: Sequence[Graphs]) -> Graphs:
    """One set of arrays from several."""
    crystals = np.cumsum([0] + [len(p.batch) for p in parts])
    orbits = np.cumsum([0] + [len(p.batch.orbit_owner) for p in parts])

    def joined(field: str) -> np.ndarray:  # type: ignore[type-arg]
        return np.concatenate([getattr(p.batch, field) for p in parts])

    batch = Batch(
        space_group=joined("space_group"),
        lattice=joined("lattice"),
        n_sites=joined("n_sites"),
        orbit_owner=np.concatenate([p.batch.orbit_owner + n for p, n in zip(parts, crystals, strict=False)]),
        orbit_number=joined("orbit_number"),
        orbit_position=joined("orbit_position"),
        orbit_count=joined("orbit_count"),
        atom_orbit=np.concatenate([p.batch.atom_orbit + n for p, n in zip(parts, orbits, strict=False)]),
        coords=joined("coords"),
    )
    near = Neighbours(
        np.concatenate([p.near.orbit + np.int32(n) for p, n in zip(parts, orbits, strict=False)]),
        np.concatenate([p.near.distance for p in parts]),
        np.concatenate([p.near.reach for p in parts]),
    )
    return Graphs(batch, near, np.concatenate([p.features for p in parts]))


def cached_graphs(path: Path | None, make: Callable[[], Graphs]) -> Graphs:
    """Graphs from `path` if they are there; otherwise made, and written to `path` if one is given."""
    if path is not None and path.exists():
        raw = dict(np.load(path))
        features = raw.pop("features")
        near = Neighbours(raw.pop("near_orbit"), raw.pop("near_distance"), raw.pop("near_reach"))
        return Graphs(Batch(**raw), near, features)
    graphs = make()
    if path is not None:
        arrays: dict[str, Any] = {f"near_{key}": value for key, value in vars(graphs.near).items()}
        arrays |= vars(graphs.batch)
        np.savez(path, features=graphs.features, **arrays)
    return graphs
