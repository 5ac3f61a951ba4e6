"""Make `invdesign/tables/labelled_crystals.npz`: the known crystals with computed moduli, as the gate sees them.

Run: python scripts/build_labelled_crystals.py --data DIR [--out FOLDER]

`DIR` holds `crystals.parquet`. The gate is that of the folder; make the table again when the gate changes.
Genes are those of its `known_crystals.parquet`. A quarter of a minute on one core.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from invdesign.properties import PREDICTED
from invdesign.reference.known import TABLE as KNOWN
from invdesign.reference.known import KnownCrystals
from invdesign.surrogates import weights_of
from invdesign.surrogates.explain.nearest import CHUNK, TABLE, positions
from invdesign.surrogates.inputs.dataset import COLUMNS, clean_labels, graphs_of_genes
from invdesign.surrogates.model import load_model
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.sheet import Sheet

ABOUT = """\
{n:,} known crystals with bulk or shear moduli by density functional theory: `ids`, `formulas`, `space_groups`,
`experimental` (1, 0, -1 unknown), `labels` (n, 5: {names}; GPa, eV/atom, eV; NaN where unknown) and
`positions` (n, {q}), where each lies in the space in which the gate measures distances (features and embedding,
principal axes; half precision). `gate` is the checksum of that gate. Labels are cleaned as for training
(`invdesign.surrogates.inputs.dataset.clean_labels`)."""


def main() -> None:
    args = begin(options(__doc__))
    data = sources(args, "crystals.parquet")
    wanted = ["material_id", *(names[-1] for names in COLUMNS.values())]
    frame = pd.read_parquet(args.data / "crystals.parquet", columns=wanted)
    raw = {name: frame[columns[-1]].to_numpy(dtype=np.float64) for name, columns in COLUMNS.items()}
    labels = np.stack([clean_labels(raw)[0][name] for name in PREDICTED], axis=1)
    moduli = [PREDICTED.index(name) for name in ("bulk_modulus", "shear_modulus")]
    by_id = {str(i): row for i, row in zip(frame["material_id"], labels, strict=True)}
    known = KnownCrystals.load()
    rows = [r for r in range(len(known)) if np.isfinite(by_id.get(known.id(r), labels[0] * np.nan)[moduli]).any()]
    crystals = [known[r] for r in rows]
    model = load_model(args.out / weights_of("gate"))
    genes = [c.gene for c in crystals]
    at = [
        positions(model, model.raw(graphs_of_genes(genes[s : s + CHUNK])).columns)
        for s in range(0, len(genes), CHUNK)
    ]
    found = np.stack([by_id[c.id] for c in crystals])
    flags = [-1 if c.experimental is None else int(c.experimental) for c in crystals]
    np.savez_compressed(
        args.out / TABLE,
        ids=np.array([c.id for c in crystals]),
        formulas=np.array([c.formula for c in crystals]),
        space_groups=np.array([c.gene.space_group for c in crystals], dtype=np.int16),
        experimental=np.array(flags, dtype=np.int8),
        labels=found.astype(np.float32),
        positions=np.concatenate(at).astype(np.float16),
        gate=np.array(model.checksum),
    )
    counts = ", ".join(f"{n} {int(np.isfinite(found[:, j]).sum()):,}" for j, n in enumerate(PREDICTED))
    Sheet(
        about=ABOUT.format(n=len(rows), names=", ".join(PREDICTED), q=at[0].shape[1]),
        script="python scripts/build_labelled_crystals.py --data DIR",
        data=data | built(KNOWN, weights_of("gate")),
        split="crystals of all parts: it is for showing what is known near a crystal, not for measuring errors",
        seed="none: nothing is random",
        metrics=f"known values: {counts}",
        commit=args.commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013); M. de Jong et al., Sci. Data 2, 150009 (2015), "
        "CC BY 4.0.",
    ).write(args.out / TABLE)
    print(f"{args.out / TABLE}: {(args.out / TABLE).stat().st_size / 1e6:.2f} MB, {len(rows):,} crystals")


if __name__ == "__main__":
    run(main)
