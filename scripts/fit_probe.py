"""Make `invdesign/tables/probe.json`: what a first look at a proposal with few calls of the potential is worth.

Run: python scripts/fit_probe.py [--per-query 40] [--seed 21] [--work FILE.jsonl] [--out invdesign/tables]

For some queries an evolutionary search proposes crystals; as many come from the autoencoder. Each is looked at
with one, two, three and four calls, and relaxed in full. By bins of the gain that the quadratic model still
expects, the median and the spread of *relaxed energy less energy of the first look* become the model; the rank
correlation of each stage with the energy above hull after relaxation is printed and goes into the data sheet.
Lines of `--work` are kept, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

CALLS = (1, 2, 3, 4)
EDGES = (0.002, 0.006, 0.015, 0.03, 0.06, 0.12)
QUERIES: tuple[dict[str, Any], ...] = (
    {"targets": ["bulk_modulus>=200"]},
    {"targets": ["band_gap>=2"]},
    {"targets": ["shear_modulus>=100"], "exclude": ["B"]},
    {"targets": ["density<=5", "bulk_modulus>=80"]},
    {"targets": ["band_gap=0.5..2"]},
    {"targets": ["formation_energy<=-1.5"]},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-query", type=int, default=40)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--work", type=Path, default=Path("probe.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables"))
    args = parser.parse_args()
    print(args)


if __name__ == "__main__":
    main()
