"""What a million and a thousand million candidates cost: measured constants, a simulation, and its check.

    python benchmarks/scale.py [--n 2000] [--seed 0] [--workers 1 2 4] [--candidates 600] [--out FILE.json]
    python benchmarks/scale.py --check --workers 1 2 4 --candidates 4000 --out FILE.json

Measures the constants of `invdesign.benchmarking.scale.Costs` in this process: shards of a screen for the query
bulk_modulus>=200 without toxic elements, their files, and the ledger of a design run with the same candidates.
Then simulates screens of 10^6 and 10^9 candidates on 1 to 1,000 workers, and compares the simulation with screens
of --candidates candidates on this machine. With --check it takes the constants from the record and makes that
comparison alone. Times are CPU seconds where nothing else is said; wall clock depends on what else the machine
does, so the load when each run began stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import Query
from invdesign import __version__ as version
from invdesign.app import screen as app
from invdesign.benchmarking.run import check_output, command_line, write_record
from invdesign.benchmarking.scale import SITES, Costs, Site, ledger_cost, most_workers, simulate, table
from invdesign.engine.database import path_of
from invdesign.engine.ledger import Header, Ledger, Shard
from invdesign.engine.pipeline import predict, proposals, screen
from invdesign.engine.shard_table import decoded, write_part
from invdesign.engine.shards import Counts, Plan, Screener
from invdesign.engine.shortlist import Sample, Shortlist
from invdesign.engine.wishes import resolved
from invdesign.records import Evaluation

QUERY = Query(targets=["bulk_modulus>=200"], exclude=["toxic"])
DEPENDS_ON = ("vae.safetensors", "surrogate_gate.safetensors", "proposal_correction.safetensors", "hull.parquet")
SHARD = 250
LARGE = (10**6, 10**9)
WORKERS = [1, 10, 100, 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=2000, help="candidates for the constants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="of the check")
    parser.add_argument("--candidates", type=int, default=600, help="of each screen of the check")
    parser.add_argument("--check", action="store_true", help="only the check, with the constants of the record")
    parser.add_argument("--out", type=Path, default=Path("scale.json"))
    options = parser.parse_args()
    check_output(options.out)
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.check else {}
    costs = read(before) if options.check else measured(options.n, options.seed)
    made = before["constants"]["n"] if options.check else options.n
    rows = [row for n in LARGE for row in table(n, WORKERS, costs, options.seed)]
    figures = {
        "constants": asdict(costs) | {"candidate": costs.candidate, "n": made, "shard": SHARD},
        "simulated": rows,
        "sites": {name: asdict(site) for name, site in SITES.items()},
        "most_workers": {
            str(n): {name: most_workers(Plan.of(n), site, costs) for name, site in SITES.items()} for n in LARGE
        },
        "ledger": {str(n): ledger_cost(n, costs) for n in LARGE},
        "check": [checked(k, options.candidates, options.seed, costs) for k in options.workers],
    }
    command = before["run"]["command"] if options.check else None  # that of the constants; the check says its own
    figures["check_command"] = command_line(sys.argv)
    write_record(options.out, figures, options.seed, DEPENDS_ON, command)
    print(json.dumps({key: figures[key] for key in ("constants", "most_workers", "check")}, indent=1))


def read(record: dict[str, Any]) -> Costs:
    """The constants of a record."""
    found = record["constants"]
    return Costs(**{name: found[name] for name in Costs.__dataclass_fields__})


def measured(n: int, seed: int) -> Costs:
    """The constants, on this machine, in this process."""
    start = time.process_time()
    header = header_of(n, SHARD, seed)
    answer = app.worker(app.Work(header, app.MAKER))
    ready = time.process_time()
    answer(0)  # what is loaded with the first candidates belongs to the start
    first = time.process_time() - ready
    counts, files, spent = Counts(), [], []
    for number in range(1, len(header.plan)):
        before = time.process_time()
        files.append((number, answer(number)))
        spent.append(time.process_time() - before)
    take, write = taken(header, files, counts)
    made = counts.made
    ledger = recorded(header)
    stages = {stage: seconds / made for stage, seconds in counts.seconds.items()}
    stages["compress"] = sum(spent) / made - sum(stages.values())
    warm = max(0.0, first - sum(spent) / len(spent))
    return Costs(
        stages=stages,
        spread=float(np.std(spent[:-1]) / np.mean(spent[:-1])) if len(spent) > 2 else 0.0,
        start=ready - start + warm,
        warm=warm,
        answer_bytes=sum(len(data) for _, data in files) / made,
        take=take / made,
        write=write / len(files),
        launch=launch(),
        worker_mb=counts.peak_mb,
        **ledger,
    )


def launch() -> float:
    """CPU seconds of a process that imports what the main process of a screen needs."""
    import subprocess

    code = "import time, pandas, pyarrow.parquet; from invdesign.app import screen; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def header_of(n: int, shard: int, seed: int) -> app.Header:
    query = resolved(QUERY).to_dict()
    return app.Header(query, n, shard, seed, 1000, version, {})


def taken(header: app.Header, files: list[tuple[int, bytes]], counts: Counts) -> tuple[float, float]:
    """CPU seconds to take all files, and seconds of wall clock to write them.

    The list has one place, so that as few candidates enter it as do in a long screen: 1,000 places are taken about
    8,000 times in a million candidates, 1,000 (1 + ln 1,000).
    """
    tally = app._Tally(Shortlist(1), Sample(2, header.seed))
    take = write = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, data in files:
            before = time.perf_counter()
            write_part(data, app.part_path(Path(folder), number))
            write += time.perf_counter() - before
            start = time.process_time()
            tally.take(decoded(data, header.about(number)), len(data))
            take += time.process_time() - start
    vars(counts).update(vars(tally.counts))
    return take, write


def recorded(header: app.Header) -> dict[str, float]:
    """What the ledger of a design run takes for one candidate that was proposed, screened and judged."""
    from invdesign import build

    query = resolved(QUERY)
    work = Screener(query, header.seed, header.plan, build.default_parts(query))
    (request,) = work.requests(0)
    items = proposals(request, work.parts.generators[request.generator])
    rows = [item for item in items if isinstance(item, Evaluation)]
    judged = screen(rows, work.checks)
    gated = predict(judged, work.parts.gate, work.parts.reference)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "ledger.sqlite"
        with Ledger.create(where, Header(query.to_dict(), header.seed, version, {}, {})) as ledger:
            before, start = path_of(where).stat().st_size, time.process_time()
            ledger.start_round(0, [request])
            ledger.propose(Shard(0, "propose", request.id), rows, (), {}, 0.0)
            ledger.save(Shard(0, "screen", request.id), judged, ("verdicts", "failure"), {}, 0.0)
            ledger.save(Shard(0, "predict", request.id), gated, ("gate", "failure"), {}, 0.0)
            spent = time.process_time() - start
        size = sum(path.stat().st_size for path in Path(folder).iterdir() if path.name.startswith("ledger"))
        n_rows = row_count(where)
    n = len(rows)
    return {"ledger_seconds": spent / n, "ledger_bytes": (size - before) / n, "ledger_rows": n_rows / n}


def row_count(path: Path) -> int:
    """Rows of all tables of an SQLite file."""
    import sqlite3

    with sqlite3.connect(path) as file:
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(file.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names)


def checked(workers: int, n: int, seed: int, costs: Costs) -> dict[str, Any]:
    """A screen on this machine beside its simulation.

    `cpu` compares CPU seconds of the shards, which other work on the machine disturbs less than the wall clock.
    """
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        found = app.screen(QUERY, n, seed, Path(folder) / "s", keep=1, shard=SHARD, workers=workers)
        wall = time.monotonic() - start
    expected = simulate(Plan(n, SHARD), Site(workers, cores), costs, seed)
    cpu = sum(found.record["counts"]["seconds"].values())
    named = sum(seconds for stage, seconds in costs.stages.items() if stage != "compress")
    shards = n * named + min(workers, len(Plan(n, SHARD))) * costs.warm
    return {
        "workers": workers,
        "cores": cores,
        "n": n,
        "load_before": load,
        "shared": load > 0.3,
        "wall": {"measured": wall, "simulated": expected.seconds, "ratio": expected.seconds / wall},
        "cpu": {"measured": cpu, "simulated": shards, "ratio": shards / cpu},
    }


if __name__ == "__main__":
    main()
