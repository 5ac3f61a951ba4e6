"""Look at a run folder as its user would: every file is there, reads, and agrees with the others."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Check one run folder; an assertion names what is wrong."""
    import pandas as pd

    from invdesign.chemistry.composition import reduced_formula
    from invdesign.crystal import Crystal
    from invdesign.crystallography.symmetry import space_group
    from invdesign.data.read import read_crystals

    table = pd.read_csv(folder / "candidates.csv")
    record = json.loads((folder / "run.json").read_text())
    report = (folder / "report.html").read_text()
    assert 1 <= len(table) <= record["query"]["n"], f"{len(table)} candidates"
    assert record["found"] == len(table)
    assert table["formula"].notna().all() and (table["energy_above_hull"] <= 0.1).all()
    verdicts = table[[c for c in table if c.startswith("verdict_") and not c.endswith("_reason")]]
    assert not verdicts.isin(["fail"]).any().any()
    for row in table.itertuples():
        (crystal,) = read_crystals(folder / row.file)
        assert isinstance(crystal, Crystal), crystal
        assert reduced_formula(crystal.numbers) == row.formula
        assert space_group(crystal) == row.space_group, row.file
        assert row.file in report
    print(f"{len(table)} candidates: {', '.join(table['formula'])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
