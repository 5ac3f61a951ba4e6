"""Mark records of benchmarks that the present tables and weights would not give again.

    python scripts/mark_records.py

Each record in `benchmarks/results` names the checksums of the tables that its figures depend on. After one of them
has been rebuilt, this writes into the record that it is of others; measuring again takes the mark away.
"""

from __future__ import annotations

import json
from pathlib import Path

from invdesign.benchmarking.run import REPEATABLE, changed
from invdesign.report.export import write_json

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def main() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        names = changed(record)
        if names and record["run"]["repeatable"] == REPEATABLE:
            record["run"]["repeatable"] = f"no: made with other {', '.join(names)}"
            write_json(record, path)
            print(f"{path.name}: {record['run']['repeatable']}")


if __name__ == "__main__":
    main()
