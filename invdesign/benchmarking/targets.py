"""`invdesign benchmark targets`: how many of a generator's crystals meet a target, and what a hit costs.

For each target, samples are drawn under the conditions that a design run would ask for. Raw, they are judged by
the gate surrogate as they are. Then the screen of a design run (validators, gate, caps) spends a number of
relaxations on them, and what it relaxed is judged by the relaxed surrogate and the energy above the hull. Every
generator goes through the same screen. Every result is a line of a journal, so a run that is stopped goes on where
it was.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from invdesign import build
from invdesign.benchmarking.charts import targets_page
from invdesign.benchmarking.figures.targets import markdown, summarise
from invdesign.benchmarking.hits import TARGETS, TargetBench, TargetPlan, cells_of, relax_chosen, sample_and_screen
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.run import (
    check_names,
    check_output,
    closing,
    measured_with,
    run_of,
    tables_of,
    write_text,
)
from invdesign.executors import Workforce
from invdesign.progress import Progress, quiet
from invdesign.query import Query
from invdesign.report import export
from invdesign.serialize import to_plain

__all__ = [
    "QUICK_N",
    "QUICK_TARGETS",
    "TARGETS",
    "N",
    "TargetBench",
    "TargetPlan",
    "default_bench",
    "markdown",
    "targets",
]

N = 600
"""Samples for a target; a design run draws 30 for each relaxation, and so does this by default."""
QUICK_N = 240
QUICK_TARGETS = (
    "bulk_modulus=250",
    "bulk_modulus>=300",
    "shear_modulus>=150",
    "band_gap=2",
    "formation_energy<=-3.5",
    "bulk_modulus>=250,shear_modulus>=150",
)


def targets(
    plan: TargetPlan,
    out: Path,
    workers: Workforce = None,
    progress: Progress = quiet,
    bench: TargetBench | None = None,
) -> dict[str, Any]:
    """Measure generators on targets and write the record as JSON, tables in Markdown, charts, and the journal.

    Args:
        plan: what is measured.
        out: `FILE.json`; the tables become `FILE.md`, the charts `FILE.html`, the journal `FILE.jsonl`.
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far it has come.
        bench: the parts (None: the shipped ones).

    Returns:
        What was written as JSON.

    Raises:
        InputError: if there is no such generator.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
    """
    check_output(out)
    own = bench is None
    bench = default_bench(plan, workers) if bench is None else bench
    header = {"benchmark": "targets", "plan": to_plain(plan), **bench.about}
    journal = Journal(out.with_suffix(".jsonl"), header)
    cells = list(cells_of(plan))
    with closing(bench.parts.relaxer, own):
        for number, cell in enumerate(cells):
            sample_and_screen(cell, plan, bench, journal)
            progress("targets sampled and screened", number + 1, len(cells))
            relax_chosen(cell, plan, bench, journal, progress, number * plan.relax, len(cells) * plan.relax)
    wanted = " ".join(f"--target '{text}'" for text in plan.targets)
    command = (
        f"invdesign benchmark targets --generators {','.join(plan.generators)} {wanted} -n {plan.n} "
        f"--relax {plan.relax} --seed {plan.seed} --out {out.name}"
    )
    run = run_of(command, plan.seed, tables_of(plan.generators, *build.TRAINED))
    record = {"run": run, **summarise(plan, bench, journal)}
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    write_text(targets_page(record), out.with_suffix(".html"))
    return record


def default_bench(plan: TargetPlan, workers: Workforce = None) -> TargetBench:
    """The shipped parts.

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if a table is missing.
    """
    from invdesign.reference.local import load_known

    check_names(plan.generators)
    query = Query(generator=plan.generators[0], max_energy_above_hull=plan.max_energy_above_hull)
    parts = build.default_parts(query, workers)
    parts = replace(parts, generators={name: build.generator(name) for name in plan.generators})
    return TargetBench(
        parts=parts,
        known=load_known(),
        known_gate=build.surrogate("gate"),
        uniqueness=lambda: build.validator("uniqueness"),
        about=measured_with(parts.provenance["potential"]),
    )
