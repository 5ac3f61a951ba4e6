"""Inputs of electronic structure programs for the open questions of a run, and what comes back of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign.app.design import query_of
from invdesign.checks import whole
from invdesign.errors import InputError, OutputError
from invdesign.report import export

if TYPE_CHECKING:
    from invdesign.engine.ledger import Ledger
    from invdesign.selection.questions import Question

PROGRAMS = {
    "vasp": "invdesign.report.inputs.vasp",
    "qe": "invdesign.report.inputs.espresso",
    "cp2k": "invdesign.report.inputs.cp2k",
}
"""Programs by name, and the module that writes their inputs."""


def open_questions(folder: str | Path, top: int | None = None) -> list[Question]:
    """The crystals of a run that are most worth a calculation, the most valuable first.

    Args:
        folder: the run folder.
        top: how many (None: all that are open).

    Raises:
        LedgerError: if there is no ledger, or it is damaged.
    """
    from invdesign.engine.stored import stored_rows
    from invdesign.engine.wishes import completed, resolved
    from invdesign.selection.questions import questions

    _, query = query_of(Path(folder))
    query = resolved(query)
    with reading(Path(folder)) as ledger:
        rows, known = stored_rows(ledger), ledger.feedback()
    found = questions(rows, completed(query).targets, query.max_energy_above_hull, known)
    return found[:top]


@contextmanager
def reading(folder: Path) -> Iterator[Ledger]:
    """The ledger of a run, for reading."""
    from invdesign.engine.ledger import Ledger

    with Ledger.read(export.ledger_of(folder)) as ledger:
        yield ledger


def export_questions(
    folder: str | Path, program: str, top: int = 10, out: str | Path | None = None
) -> tuple[Path, list[Question]]:
    """Write inputs for the open questions of highest value.

    Args:
        folder: the run folder.
        program: `vasp`, `qe` or `cp2k`.
        top: crystals, at most.
        out: folder to make (None: `inputs-<program>` in the run folder).

    Returns:
        The folder, with `README.md` and one folder for each crystal, and the questions.

    Raises:
        InputError: if the program is not known, `top` is not positive, or no question is open.
        LedgerError: if there is no ledger, or it is damaged.
        OutputError: if the folder is not empty or cannot be written.
    """
    if program not in PROGRAMS:
        raise InputError("program", program, PROGRAMS)
    whole("top", top)
    asked = open_questions(folder, top)
    if not asked:
        raise InputError("run folder", str(folder), "a run with a relaxed crystal that is uncertain: none is")
    target = Path(out) if out is not None else Path(folder) / f"inputs-{program}"
    export.new_folder(target)
    writer = import_module(PROGRAMS[program])
    names = [f"{k:03d}_{_name(question)}" for k, question in enumerate(asked, start=1)]
    lines = [_line(name, question, _written(target / name, question, writer)) for name, question in
             zip(names, asked, strict=True)]  # fmt: skip
    _write(target / "README.md", README.format(program=program, lines="\n".join(lines), note=writer.NOTE))
    return target, asked


def _name(question: Question) -> str:
    from invdesign.chemistry.composition import reduced_formula
    from invdesign.crystallography.symmetry import space_group

    crystal = question.row.crystal
    return f"{reduced_formula(crystal.numbers)}_{space_group(crystal) or 1}"


def _written(folder: Path, question: Question, writer: object) -> str:
    """Write the inputs of one crystal; a program that refuses a crystal is a line, and the others go on."""
    from invdesign.report.inputs.jobs import jobs

    made = jobs(question.row.crystal, question.asks)
    try:
        for job in made:
            place = folder / job.name
            place.mkdir(parents=True)
            writer.write(job, place)  # type: ignore[attr-defined]
            job.mark(place, question.row.candidate.id)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from None
    except Exception as error:  # a library that knows no settings for an element
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"not complete: {reason}"
    kinds = [job.kind for job in made]
    return ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))


def _line(name: str, question: Question, made: str) -> str:
    return f"| `{name}` | {question.row.candidate.id} | {question.value:.4f} | {made} | {question.why} |"


README = """\
# Open questions, as inputs for {program}

Value: the variance of whether the crystal is stable and on target that the calculations remove, 1/4 at most.

| folder | candidate | value | calculations | why it is worth asking |
| --- | --- | --- | --- | --- |
{lines}

`relax` relaxes cell and ions. `static` starts from the crystal as the universal potential has relaxed it; put
the relaxed cell in its place for a final number. `elastic/…` are strained cells of both signs, in which the ions
follow; a constant stress that is left in the cell cancels.

{note}

Bring back what is finished: `invdesign import RUN FOLDER`. The `question.json` beside each input says which
candidate it belongs to; keep it with the output.
"""


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
