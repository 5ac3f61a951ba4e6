"""Make `known_properties.npz`: properties of every known crystal, computed or predicted.

Run: python scripts/build_known_properties.py --data DIR [--out FOLDER]

`DIR` holds `crystals.parquet`. A property has the value computed by density functional theory where that is known,
otherwise the estimate of the gate in the folder; make the table again when the gate has been trained again. It
tells a search which known crystals meet a query or nearly do. Three minutes on one idle core.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from invdesign.crystallography.genes import protostructure, protostructure_hash
from invdesign.properties import PREDICTED, get_property
from invdesign.reference.known import TABLE as KNOWN
from invdesign.reference.known import KnownCrystals
from invdesign.reference.properties import NAMES, TABLE
from invdesign.surrogates import weights_of
from invdesign.surrogates.inputs.dataset import COLUMNS, clean_labels, graphs_of_genes
from invdesign.surrogates.inputs.features import LAST_ELEMENT
from invdesign.surrogates.model import load_model
from invdesign.surrogates.scales import from_scale
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.sheet import Sheet

CHUNK = 4096
ABOUT = """\
Properties of {n:,} known crystals for the choice of parents in a search: `ids` (numbers of the Materials Project
ids), `computed` (n, {p}: {names}; log10 GPa, eV, eV/atom; half precision; NaN where it is not known), `predicted`
(the same by the gate) and `protostructures` (n, 64-bit hashes of group, Wyckoff positions and elements, for
telling new genes from known ones). `gate` is the checksum of the gate."""


def main() -> None:
    args = begin(options(__doc__))
    data = sources(args, "crystals.parquet")
    known = KnownCrystals.load()
    model = load_model(args.out / weights_of("gate"))
    predicted, computed = _predicted(known, model), _labels(args.data, known)
    hashes = [protostructure_hash(protostructure(known[row].gene)) for row in range(len(known))]
    np.savez_compressed(
        args.out / TABLE,
        ids=np.array([_number(known.id(row)) for row in range(len(known))], dtype=np.int64),
        predicted=predicted.astype(np.float16),
        computed=computed.astype(np.float16),
        protostructures=np.array(hashes, dtype=np.int64),
        gate=np.array(model.checksum),
    )
    counts = ", ".join(f"{name} {int(np.isfinite(computed[:, j]).sum()):,}" for j, name in enumerate(NAMES))
    Sheet(
        about=ABOUT.format(n=len(known), p=len(NAMES), names=", ".join(NAMES)),
        script="python scripts/build_known_properties.py --data DIR",
        data=data | built(KNOWN, weights_of("gate")),
        split="crystals of all parts: it is for finding known crystals near a query, not for measuring errors",
        seed="none: nothing is random",
        metrics=f"computed values: {counts}",
        commit=args.commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013); M. de Jong et al., Sci. Data 2, 150009 (2015), "
        "CC BY 4.0.",
    ).write(args.out / TABLE)
    print(f"{args.out / TABLE}: {(args.out / TABLE).stat().st_size / 1e6:.2f} MB, {len(known):,} crystals")


def _number(name: str) -> int:
    """The number in `mp-123`."""
    return int(name.rsplit("-", 1)[1])


def _predicted(known: KnownCrystals, model) -> np.ndarray:  # type: ignore[no-untyped-def, type-arg]
    """(n, p) the gate's estimates, NaN where it cannot read a crystal; energies above hull are those of the
    table."""
    values, start = np.full((len(known), len(NAMES)), np.nan), time.perf_counter()
    for first in range(0, len(known), CHUNK):
        rows = [
            r for r in range(first, min(first + CHUNK, len(known))) if max(known[r].gene.numbers) <= LAST_ELEMENT
        ]
        raw = model.raw(graphs_of_genes([known[r].gene for r in rows]))
        for j, name in enumerate(NAMES):
            column = raw.mean[:, model.properties.index(name)]
            values[rows, j] = column if get_property(name).log else from_scale(name, column)
        print(f"{first + CHUNK:,} of {len(known):,}, {time.perf_counter() - start:.0f} s", flush=True)
    return values


def _labels(data: Path, known: KnownCrystals) -> np.ndarray:  # type: ignore[type-arg]
    """(n, p) computed values in the scale of the table, NaN where unknown."""
    wanted = ["material_id", *(names[-1] for names in COLUMNS.values())]
    frame = pd.read_parquet(data / "crystals.parquet", columns=wanted)
    raw = {name: frame[columns[-1]].to_numpy(dtype=np.float64) for name, columns in COLUMNS.items()}
    clean = clean_labels(raw)[0]
    columns = [np.log10(clean[n]) if get_property(n).log else clean[n] for n in NAMES]
    by_id = dict(zip(frame["material_id"].astype(str), np.stack(columns, axis=1), strict=True))
    missing = np.full(len(NAMES), np.nan)
    return np.stack([by_id.get(known.id(row), missing) for row in range(len(known))])


if __name__ == "__main__":
    assert set(PREDICTED) >= set(NAMES)
    run(main)
