"""`invdesign benchmark generation`: the same measurements for every generator, from the same code and seed.

Crystals are sampled without conditions, checked as they are, and the first of them relaxed and placed above the
hull. Every result is a line of a journal beside the output file, so a run that is stopped goes on where it was.
Rates carry their denominators and Wilson's 95 % intervals; an item that failed counts in every denominator.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from invdesign import build
from invdesign.benchmarking import cdvae
from invdesign.benchmarking.charts import generation_page
from invdesign.benchmarking.figures.generation import markdown, summarise
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN
from invdesign.benchmarking.run import (
    check_names,
    check_output,
    closing,
    measured_with,
    run_of,
    tables_of,
    write_text,
)
from invdesign.benchmarking.samples import (
    REFERENCE_SIZE,
    SYMPREC,
    Bench,
    Plan,
    check,
    draw_known,
    recorded,
    relax,
    sample,
    take_prints,
)
from invdesign.executors import Workforce
from invdesign.progress import Progress, quiet
from invdesign.report import export
from invdesign.serialize import to_plain

__all__ = ["QUICK", "Bench", "Plan", "default_bench", "generation", "markdown"]

QUICK = {"n": 100, "relax": 12}


def generation(
    plan: Plan, out: Path, workers: Workforce = None, progress: Progress = quiet, bench: Bench | None = None
) -> dict[str, Any]:
    """Measure generators and write the record as JSON, a table in Markdown, charts, and the journal beside them.

    Args:
        plan: what is measured.
        out: `FILE.json`; the table becomes `FILE.md`, the charts `FILE.html`, the journal `FILE.jsonl`.
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far each stage has come.
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
    journal = Journal(out.with_suffix(".jsonl"), {"plan": to_plain(plan), **bench.about})
    with closing(bench.relaxer, own):
        real = draw_known(bench.known, plan, REFERENCE_SIZE)
        for name in dict.fromkeys((*plan.generators, KNOWN)):
            sample(name, plan, bench, real, journal)
            check(name, plan, bench, journal, progress)
            if name in plan.generators:
                relax(name, plan, bench, journal, progress)
            crystals = dict(enumerate(real) if name == KNOWN else recorded(name, plan.n, journal))
            take_prints(name, crystals, bench, journal, progress)
    command = (
        f"invdesign benchmark generation --generators {','.join(plan.generators)} -n {plan.n} "
        f"--relax {plan.relax} --seed {plan.seed} --out {out.name}"
    )
    run = run_of(command, plan.seed, tables_of(plan.generators))
    record = {"run": run, **summarise(plan, bench, real, journal)}
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    write_text(generation_page(record), out.with_suffix(".html"))
    return record


def default_bench(plan: Plan, workers: Workforce = None) -> Bench:
    """The shipped parts.

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if a table is missing.
    """
    from invdesign.reference.local import load_known

    check_names(plan.generators, KNOWN)
    relaxer = build.relaxer(workers=workers)
    smact = build.versions()["smact"]
    about = measured_with(relaxer.potential) | {
        "smact": f"{smact}, default settings: Pauling's rule, alloys valid, ICSD24 (consensus 3)",
        "space_groups": f"spglib, symprec {SYMPREC} Å",
    }
    return Bench(
        generator=build.generator,
        known=load_known(),
        reference=build.reference(),
        relaxer=relaxer,
        distances=build.validator("distances"),
        charge_balance=build.validator("charge_balance"),
        uniqueness=lambda: build.validator("uniqueness"),
        about=about,
        prints=partial(cdvae.prints, workers=workers) if cdvae.version() else None,
    )
