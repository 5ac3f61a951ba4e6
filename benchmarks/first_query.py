"""What the README's first query brings: a summary of a finished run as a record.

RUN is the folder that the README's first command makes. The record holds counts, seconds, versions and checksums
from `run.json`, and how varied the list is.

Run: python benchmarks/first_query.py RUN [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from invdesign.benchmarking.run import tables_of, write_record
from invdesign.build import TRAINED


def summary(folder: Path) -> dict[str, Any]:
    """The figures of one run folder."""
    import pandas as pd

    from invdesign.chemistry.composition import chemical_system
    from invdesign.data.read import read_crystals

    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "candidates.csv")
    systems = {chemical_system(next(iter(read_crystals([folder / name]))).numbers) for name in table["file"]}
    kept = ("query", "seed", "asked", "found", "relaxations", "seconds", "versions", "parts")
    return {key: run[key] for key in kept} | {
        "accepted": run["funnel"]["unique"]["passed"],
        "formulas": int(table["formula"].nunique()),
        "space_groups": int(table["space_group"].nunique()),
        "chemical_systems": len(systems),
    }


def main() -> None:
    """Read the command line, print the record and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the finished run")
    parser.add_argument("--out", type=Path, help="write the record here")
    args = parser.parse_args()
    record = summary(args.run)
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if args.out:
        write_record(args.out, record, record["seed"], tables_of([record["query"]["generator"]], *TRAINED))


if __name__ == "__main__":
    main()
