"""What the README's first query brings: a summary of a finished run as a record.

RUN is the folder that the README's first command makes. The record holds counts, seconds, versions and checksums
from `run.json`, and how varied the list is.

Run: python benchmarks/first_query.py RUN [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any


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
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    """Read the command line, print the record and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the finished run")
    parser.add_argument("--out", type=Path, help="write the record here")
    args = parser.parse_args()
    text = json.dumps(summary(args.run), indent=1, ensure_ascii=False) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
