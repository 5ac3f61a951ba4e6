"""How many real crystals survive the way to a Wyckoff gene and back.

For every crystal of `crystals.parquet` up to `--max-sites` sites: encode, decode, then compare with the original
(pymatgen's StructureMatcher, default settings) and compare the space group that spglib finds in the decoded
crystal (0.01 Å) with the gene's. Everything else is listed by cause. Also measures decoding speed on one core.

Run: python benchmarks/roundtrip.py --data DIR [--max-sites 40] [--sample N] [--workers 2] [--out FILE.json]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import collections
import json
import multiprocessing
import time
import warnings
from pathlib import Path

import numpy as np

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.symmetry import space_group
from invdesign.data.convert import from_row, to_pymatgen


def examine(row: dict) -> tuple[str, str, Gene | None]:
    """Material id, outcome and gene of one crystal."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    warnings.simplefilter("ignore")
    crystal = from_row(row)
    try:
        gene = encode(crystal)
        back = decode([gene])[0]
    except ValueError as error:
        return row["material_id"], f"no gene: {str(error)[:60]}", None
    found = space_group(back, symprec=0.01)
    if found != gene.space_group:
        return row["material_id"], "another space group", gene
    if not StructureMatcher().fit(to_pymatgen(crystal), to_pymatgen(back)):
        return row["material_id"], "no match", gene
    return row["material_id"], "same", gene


def main() -> None:
    """Run and print a JSON record."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--max-sites", type=int, default=40)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    columns = ["material_id", "space_group", "n_sites", "lattice_parameters", "atomic_numbers", "frac_coords"]
    table = pd.read_parquet(args.data / "crystals.parquet", columns=columns)
    table = table[table.n_sites <= args.max_sites]
    if args.sample:
        table = table.sample(args.sample, random_state=0)
    rows = table.to_dict("records")
    started = time.time()
    with multiprocessing.get_context("forkserver").Pool(args.workers) as pool:
        results = []
        for result in pool.imap(examine, rows, chunksize=200):
            results.append(result)
            if len(results) % 10_000 == 0:
                print(f"{len(results)} of {len(rows)}, {time.time() - started:.0f} s", flush=True)
    outcomes = collections.Counter(outcome for _, outcome, _ in results)
    genes = [gene for _, _, gene in results if gene is not None]
    label = dict(zip(table.material_id, table.space_group, strict=True))
    agree = np.mean([gene.space_group == label[mid] for mid, _, gene in results if gene is not None])
    clock = time.process_time()
    decode(genes)
    record = {
        "what": "crystal -> gene -> crystal",
        "crystals": len(results),
        "max_sites": args.max_sites,
        "same_share": outcomes["same"] / len(results),
        "outcomes": dict(outcomes),
        "examples": {o: [m for m, x, _ in results if x == o][:5] for o in outcomes if o != "same"},
        "space_group_equals_label_share": float(agree),
        "genes_to_coordinates_per_second_one_core": round(len(genes) / (time.process_time() - clock)),
    }
    print(json.dumps(record, indent=2))
    if args.out:
        write_record(args.out, record, "none: nothing is random" if args.sample is None else 0, ("wyckoff.npz",))


if __name__ == "__main__":
    main()
