"""Commands that run a universal potential on crystals: relaxation and elastic tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.tables import Block, Given, Rows, new_file, read, read_blocks, written
from invdesign.checks import text
from invdesign.executors import Workforce, checked
from invdesign.progress import Progress, Shown, told, with_progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.records import Relaxation
    from invdesign.reference.local import LocalReference
    from invdesign.relaxation.elastic import Elasticity
    from invdesign.relaxation.relaxer import PotentialRelaxer


@with_progress
def relax(
    crystals: Given,
    out: str | Path | None = None,
    *,
    workers: Workforce = None,
    potential: str | None = None,
    progress: Shown = None,
    **settings: Any,
) -> pd.DataFrame:
    """Relax crystals with a universal potential and place them above the hull.

    Args:
        crystals: as in `predict`.
        out: folder to make, with `relaxed.csv` and `cif/` (None: nothing is written). Both are written as results
            come.
        workers: processes (None: one per core), or an executor.
        potential: its name, or `package.module:factory` (None: the default).
        progress: see `invdesign.progress.Shown`.
        **settings: `scale`, the name or file of an energy scale, and fields of
            `invdesign.relaxation.minimise.RelaxSettings`, e.g. `pressure=10.0` (GPa).

    Returns:
        One row per item in the input; an item that could not be relaxed has the reason in `failure`. Without a
        folder the column `crystal` holds the relaxed crystals.

    Raises:
        InputError: if there is nothing to read, no such potential, or a setting is out of range.
        OutputError: if the folder is not empty or cannot be written.
        ReferenceMissingError: if there is no such energy scale.
    """
    with build.relaxer(potential, checked(workers), **settings) as relaxer:
        folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
        table = _RelaxedTable(folder)
        with table.kept():
            for block in read_blocks(crystals, told(progress)):
                found = relaxer.relax_iter(block.sound)
                table.add(block, _in_order(found, len(block.sound), block.tell(told(progress), "relax")))
    return table.write()


FIRST_TABLE, GROWTH = 64, 1.25
"""The table is written at so many rows and whenever it has grown by this factor: a killed process loses little."""


class _RelaxedTable:
    """Relaxed crystals as they come: their CIF files, and a table that is there also where the process stops."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._rows = folder, Rows()
        self._cifs = self._written = 0

    def add(self, block: Block, relaxed: Iterator[Relaxation | Failure]) -> None:
        """Take the results of one block of the input, in its order."""
        known = build.reference()
        for item in block.items:
            answer = item if isinstance(item, Failure) else next(relaxed)
            if isinstance(item, Failure):
                row = {"source": item.item} | export.failure_columns(item)
            elif isinstance(answer, Failure):
                row = {"source": item.source} | export.failure_columns(answer)
            else:
                where = self._where(answer.crystal, block.total)
                row = {"source": item.source} | where | _relaxed_columns(item, answer, known)
            self._rows.add([row])
            if self._folder is not None and len(self._rows) >= max(FIRST_TABLE, GROWTH * self._written):
                self.write()

    def _where(self, crystal: Crystal, total: int | None) -> export.Row:
        """The relaxed crystal, or the name of its file."""
        if self._folder is None:
            return {"crystal": crystal}
        digits = 3 if total is not None else 6
        (name,) = export.write_cifs([crystal], self._folder, verify=True, after=self._cifs, digits=digits)
        self._cifs += 1
        return {"file": name}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write what there is where the process is asked to stop."""
        try:
            yield
        except KeyboardInterrupt:
            if self._folder is not None and len(self._rows):
                self.write()
            raise

    def write(self) -> pd.DataFrame:
        """The table; it is also written where there is a folder."""
        self._written = len(self._rows)
        return written(self._rows, None if self._folder is None else self._folder / "relaxed.csv")


def _relaxed(
    crystals: Sequence[Crystal], relaxer: PotentialRelaxer, progress: Progress
) -> list[Relaxation | Failure]:
    """The crystals relaxed, in their order."""
    return list(_in_order(relaxer.relax_iter(crystals), len(crystals), progress))


def _in_order(
    results: Iterator[tuple[int, Relaxation | Failure]], total: int, progress: Progress
) -> Iterator[Relaxation | Failure]:
    """Results in the order of their index, each as soon as those before it are there."""
    waiting: dict[int, Relaxation | Failure] = {}
    given = 0
    for done, (index, result) in enumerate(results, start=1):
        waiting[index] = result
        progress("relax", done, total)
        while given in waiting:
            yield waiting.pop(given)
            given += 1


def _relaxed_columns(before: Crystal, relaxation: Relaxation, known: LocalReference) -> export.Row:
    from invdesign.crystallography.symmetry import space_group

    columns = export.crystal_columns(relaxation.crystal) | {
        "space_group_before": space_group(before),
        "failure": "",
    }
    energy = relaxation.formation_energy
    distance = None if energy is None else known.energy_above_hull(relaxation.crystal, energy)
    for name, value in (("formation_energy", energy), ("energy_above_hull", distance)):
        columns |= {name: None} if value is None else export.value_columns(name, value)
    columns |= {"known_phases": known.phases_of_system(relaxation.crystal.numbers)}
    return columns | export.relaxation_columns(relaxation) | {"seconds": relaxation.seconds}


@with_progress
def elastic(
    crystals: Given,
    out: str | Path | None = None,
    *,
    workers: Workforce = None,
    potential: str | None = None,
    progress: Shown = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Relax crystals with a universal potential and compute their elastic tensors with it.

    Such tensors are too soft; they tell stability and anisotropy. `predict` gives the size of the moduli.

    Returns:
        One row per item in the input: `c11` … `c66` in GPa (Voigt), averages, anisotropy, lowest eigenvalue and
        the verdict on Born's criterion; an item without a tensor has the reason in `failure`. Arguments as in
        `predict` and `relax`.
    """
    file = new_file(out, overwrite)
    items = read(crystals, told(progress))
    sound = [item for item in items if not isinstance(item, Failure)]
    with build.relaxer(potential, checked(workers)) as relaxer:
        relaxed = _relaxed(sound, relaxer, told(progress))
    answers = iter(_tensors(relaxed, potential, workers, told(progress)))
    rows = []
    for item in items:
        answer = item if isinstance(item, Failure) else next(answers)
        if isinstance(answer, Failure):
            source = item.item if isinstance(item, Failure) else item.source
            rows.append({"file": source} | export.failure_columns(answer))
        else:
            rows.append({"file": answer.crystal.source} | _elastic_columns(answer))
    return written(rows, file)


def _tensors(
    relaxed: Sequence[Relaxation | Failure], potential: str | None, workers: Workforce, progress: Progress
) -> list[Elasticity | Failure]:
    """Elastic tensors of what could be relaxed, some at a time so that progress can be told."""
    out: list[Elasticity | Failure] = []
    with build.elastic_tensors(potential, workers) as tensors:
        for start in range(0, len(relaxed), 8):
            part = relaxed[start : start + 8]
            found = iter(tensors.compute([r.crystal for r in part if not isinstance(r, Failure)]))
            out += [r if isinstance(r, Failure) else next(found) for r in part]
            progress("elastic tensor", len(out), len(relaxed))
    return out


def _elastic_columns(answer: Elasticity) -> export.Row:
    from invdesign.mechanics.tensors import PLACES, summarise

    about = summarise(answer.tensor)
    return {
        **export.crystal_columns(answer.crystal),
        "failure": "",
        "elastic_stability": answer.verdict.status.value,
        "elastic_stability_reason": answer.verdict.reason,
        "lowest_eigenvalue": about.eigenvalues[0],
        "potential_bulk_modulus": about.bulk_hill,
        "potential_shear_modulus": about.shear_hill,
        "universal_anisotropy": about.universal_anisotropy,
        "log_anisotropy": about.log_anisotropy,
        "residual": answer.residual,
        **{f"c{i + 1}{j + 1}": round(float(answer.tensor[i, j]), 6) + 0.0 for i, j in PLACES},
        "potential": answer.potential,
        "seconds": answer.seconds,
    }
