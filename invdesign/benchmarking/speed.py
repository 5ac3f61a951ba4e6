"""`invdesign benchmark speed`: what each stage costs, beside what a user would run by hand, in one run.

Every stage is a set of items and several ways to treat them, the package's own first. The ways take turns, in one
process with one thread, and the order turns round with every repeat. A ratio is of CPU seconds for one item, and
stands beside a check that both ways found the same. A way whose package is not installed is left out with a hint,
and one that fails is a row with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign.benchmarking import speed_crystals as crystals
from invdesign.benchmarking import speed_potential as energies
from invdesign.benchmarking.figures.speed import markdown
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.run import check_output, measured_with, run_of, write_text
from invdesign.benchmarking.timing import Stage, StageResult, measure
from invdesign.checks import whole
from invdesign.errors import InputError
from invdesign.potentials import calculators as potentials
from invdesign.progress import Progress, quiet
from invdesign.report import export
from invdesign.serialize import to_plain

REPEATS = 3
TABLES = (
    "known_crystals.parquet", "hull.parquet", "vae.safetensors", "random_genes.npz", "wyckoff.npz",
    "surrogate_gate.safetensors", "surrogate_relaxed.safetensors",
)  # fmt: skip


STAGES: dict[str, Callable[[str], Stage]] = {
    "genes": crystals.genes,
    "decoding": crystals.decoding,
    "sampling": crystals.sampling,
    "screening": crystals.screening,
    "gate": crystals.gate,
    "relaxation": energies.relaxation,
    "second_stage": crystals.second_stage,
    "hull": crystals.hull,
    "matching": crystals.matching,
    "elastic": energies.elastic,
    "phonons": energies.phonons,
}
"""What makes a stage, given the name of a potential, by the name of the stage."""


@dataclass(frozen=True)
class SpeedPlan:
    """What is measured.

    Attributes:
        stages: names of stages.
        quick: few items, for a quick look.
        seed: of the items.
        repeats: of every way.
        potential: of all ways that need one.

    Raises:
        InputError: if a number is out of range.
    """

    stages: tuple[str, ...]
    quick: bool = False
    seed: int = 0
    repeats: int = REPEATS
    potential: str = potentials.DEFAULT

    def __post_init__(self) -> None:
        """Check the number of repeats."""
        whole("repeats", self.repeats)


def speed(
    plan: SpeedPlan,
    out: Path,
    progress: Progress = quiet,
    makers: Mapping[str, Callable[[str], Stage]] = STAGES,
) -> dict[str, Any]:
    """Measure stages; write the record, a table and the journal.

    A stage that is in the journal is not measured again.

    Args:
        plan: what is measured.
        out: `FILE.json`; `FILE.md` and `FILE.jsonl` stand beside it.
        progress: is told how far it has come.
        makers: make the stages, of the name of a potential.

    Returns:
        What was written as JSON.

    Raises:
        InputError: if there is no such stage or potential.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
    """
    for name in plan.stages:
        if name not in makers:
            raise InputError("stage", name, list(makers))
    check_output(out)
    about = measured_with(potentials.find(plan.potential).version)
    journal = Journal(out.with_suffix(".jsonl"), {"benchmark": "speed", "plan": to_plain(plan), **about})
    for number, name in enumerate(plan.stages):
        if journal.get(StageResult, name) is None:
            stage = makers[name](plan.potential)
            n = stage.quick if plan.quick else stage.size
            journal.put(name, (0, measure(stage, n, plan.seed, plan.repeats)))
        progress("stages", number + 1, len(plan.stages))
    found = {name: journal.get(StageResult, name) for name in plan.stages}
    flags = " --quick" if plan.quick else ""
    command = (
        f"invdesign benchmark speed --stages {','.join(plan.stages)}{flags} --repeats {plan.repeats} "
        f"--seed {plan.seed} --out {out.name}"
    )
    run = run_of(command, plan.seed, TABLES)
    record = {"run": run, "repeats": plan.repeats, "stages": to_plain(found), **about}
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    return record
