"""Ideal strength of crystals by a universal potential: `invdesign strength`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.app.tables import Given, new_file, read, written
from invdesign.errors import InputError
from invdesign.progress import Progress, Shown, told, with_progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd
    from ase.calculators.calculator import Calculator

    from invdesign.crystal import Crystal
    from invdesign.relaxation.strength import Indices, Strength, StrengthSettings

CAVEAT = (
    "The strength of a perfect crystal at 0 K, an upper bound that no part reaches; universal potentials are "
    "trained near equilibrium and are less certain the further a crystal is strained."
)
Line = tuple[tuple[int, int, int] | None, tuple[int, int, int]]
"""Plane (None for tension) and direction."""


@with_progress
def strength(
    crystals: Given,
    direction: Sequence[str] | str = (),
    shear: Sequence[str] | str = (),
    out: str | Path | None = None,
    *,
    potential: str | None = None,
    progress: Shown = None,
    overwrite: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Ideal strength of crystals in tension along directions and in shear of planes.

    Args:
        crystals: as in `predict`.
        direction: of tension, indices of the standard conventional cell such as `111` (one or several; neither
            `direction` nor `shear`: `001`).
        shear: plane and direction within it, such as `111:11-2` (one or several).
        out: file for the table (None: nothing is written).
        potential: its name, or `package.module:factory` (None: the default).
        progress: see `invdesign.progress.Shown`.
        overwrite: replace a file that is there.
        **settings: fields of `invdesign.relaxation.strength.StrengthSettings`, e.g. `step=0.01`.

    Returns:
        One row per crystal and path: `kind`, `direction`, `plane`, `ideal_strength` (GPa), `strain` at it,
        `reached`, `strains` and `stresses` (GPa) of the whole path; the reason in `failure` where there is none.

    Raises:
        InputError: if there is nothing to read, no such potential, or indices or settings that cannot be.
    """
    from invdesign.potentials import calculators as potentials
    from invdesign.relaxation.strength import StrengthSettings

    paths, chosen, file = wanted(direction, shear), StrengthSettings(**settings), new_file(out, overwrite)
    items = read(crystals, told(progress))
    name = potential or potentials.DEFAULT
    version, calculator = potentials.find(name).version, potentials.load(name)
    rows: list[export.Row] = []
    for item in items:
        if isinstance(item, Failure):
            rows.append({"file": item.item} | export.failure_columns(item))
        else:
            rows += _rows(item, paths, calculator, chosen, told(progress), version)
    return written(rows, file)


def wanted(direction: Sequence[str] | str, shear: Sequence[str] | str) -> list[Line]:
    """Plane (None for tension) and direction of each path.

    Raises:
        InputError: for indices that are none, or a direction outside its plane.
    """
    from invdesign.relaxation.strength import check_within, parse_indices

    along = [direction] if isinstance(direction, str) else list(direction)
    across = [shear] if isinstance(shear, str) else list(shear)
    paths: list[Line] = [(None, parse_indices(text)) for text in along or ([] if across else ["001"])]
    for text in across:
        plane, colon, line = text.partition(":")
        if not colon:
            raise InputError("shear", text, "a plane and a direction within it, such as 111:11-2")
        path = parse_indices(plane), parse_indices(line)
        check_within(*path)
        paths.append(path)
    return paths


def _rows(
    crystal: Crystal,
    paths: Sequence[Line],
    calculator: Calculator,
    settings: StrengthSettings,
    progress: Progress,
    potential: str,
) -> list[export.Row]:
    rows = []
    for place, (plane, line) in enumerate(paths, 1):
        found = _one(crystal, plane, line, calculator, settings)
        about = {"file": crystal.source, "direction": _text(line), "plane": _text(plane) if plane else ""}
        if isinstance(found, Failure):
            rows.append(about | export.failure_columns(found))
        else:
            rows.append(about | columns(found) | {"potential": potential})
        progress("ideal strength", place, len(paths))
    return rows


def _one(
    crystal: Crystal, plane: Indices | None, line: Indices, calculator: Calculator, settings: StrengthSettings
) -> Strength | Failure:
    from invdesign.relaxation.strength import shear_strength, tensile_strength

    try:
        if plane is None:
            return tensile_strength(crystal, calculator, line, settings)
        return shear_strength(crystal, calculator, plane, line, settings)
    except Exception as error:  # a calculator may raise anything; the crystal is the row, the reason stays with it
        return Failure("strength", f"{type(error).__name__}: {error}", crystal.source)


def columns(found: Strength) -> export.Row:
    """One path as columns."""
    return {
        "failure": "",
        "kind": found.kind,
        "ideal_strength": found.ideal,
        "strain": found.strain,
        "reached": found.reached,
        "note": found.note or ("" if found.reached else "the stress had not fallen at the largest strain"),
        "strains": " ".join(f"{value:.4g}" for value in found.strains),
        "stresses": " ".join(f"{value:.4g}" for value in found.stresses),
        "evaluations": found.evaluations,
        "seconds": found.seconds,
    }


def _text(indices: Indices) -> str:
    small = all(-10 < i < 10 for i in indices)
    return ("" if small else " ").join(map(str, indices))
