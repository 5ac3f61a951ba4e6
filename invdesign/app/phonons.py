"""The command `phonons`: phonons with a universal potential, as a table and a folder for each crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign import build
from invdesign.app.tables import Given, read, written
from invdesign.checks import text, whole
from invdesign.errors import InputError
from invdesign.executors import Workforce, checked
from invdesign.progress import Shown, told, with_progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.vibrations.phonons import Phonons
    from invdesign.vibrations.settings import PhononSettings

TABLE = "phonons.csv"
ROOM = 300.0
"""Temperature of the thermal properties in the table, K."""


@with_progress
def phonons(
    crystals: Given,
    out: str | Path | None = None,
    *,
    potential: str | None = None,
    qha: bool = False,
    follow: bool | int = False,
    workers: Workforce = None,
    progress: Shown = None,
    **settings: Any,
) -> pd.DataFrame:
    """Phonons with a universal potential: bands, thermal properties, imaginary modes and where they lead.

    Args:
        crystals: as in `predict`.
        out: folder to make, with `phonons.csv` and a folder for each crystal (None: nothing is written).
        potential: its name, or `package.module:factory` (None: the default).
        qha: compute the thermal expansion in the quasi-harmonic approximation as well.
        follow: displace an unstable crystal along its imaginary modes and relax it without symmetry; a number says
            along how many (True: 3).
        workers: processes (None: one per core), or an executor.
        progress: see `invdesign.progress.Shown`.
        **settings: fields of `invdesign.vibrations.settings.PhononSettings`, e.g. `min_length=12.0` (Å), and
            `relax=False` to take the crystals as they are.

    Returns:
        One row per item in the input; an item without phonons has the reason in `failure`. Without a folder the
        column `phonons` holds the `invdesign.vibrations.phonons.Phonons`, and `crystal` what they are of.

    Raises:
        InputError: if there is nothing to read, no such potential, or a setting is out of range.
        MissingDependencyError: if phonopy or the potential is not installed.
        OutputError: if the folder is not empty or cannot be written.
    """
    from invdesign.vibrations import harmonic
    from invdesign.vibrations import phonons as vibrations

    harmonic.check_installed()
    chosen, tell = _settings(settings, follow), told(progress)
    with build.potential_pool(potential, checked(workers)) as pool:
        folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
        items = read(crystals, tell)
        sound = [item for item in items if not isinstance(item, Failure)]
        starts = iter(vibrations.relaxed(sound, pool, chosen))
        rows = []
        for done, item in enumerate(items, start=1):
            found = item if isinstance(item, Failure) else vibrations.phonons(next(starts), pool, chosen, qha)
            rows.append(_row(item, found, folder, done, len(items)))
            tell("phonons", done, len(items))
    return written(rows, None if folder is None else folder / TABLE)


def _settings(given: dict[str, Any], follow: bool | int) -> PhononSettings:
    from invdesign.vibrations.settings import PhononSettings

    modes = 3 if follow is True else whole("follow", int(follow), 0, 20)
    try:
        return PhononSettings(**given, follow=modes)
    except TypeError:
        allowed = [field.name for field in fields(PhononSettings) if field.name != "follow"]
        raise InputError("phonon setting", sorted(given), allowed) from None


def _row(
    item: Crystal | Failure, found: Phonons | Failure, folder: Path | None, place: int, total: int
) -> export.Row:
    source = item.item if isinstance(item, Failure) else item.source
    if isinstance(found, Failure):
        return {"source": source} | export.failure_columns(found)
    about: export.Row = {"source": source}
    if folder is None:
        about |= {"crystal": found.crystal, "phonons": found}
    else:
        digits = max(3, len(str(total)))
        name = f"{place:0{digits}d}_{export.file_stem(found.crystal)}"
        write_crystal(found, folder / name)
        about |= {"folder": name}
    return about | export.crystal_columns(found.crystal) | {"failure": ""} | columns(found)


def columns(found: Phonons) -> export.Row:
    """What the table says of the phonons of a crystal."""
    first = found.imaginary[0] if found.imaginary else None
    row: export.Row = {
        "verdict_phonons": found.verdict.status.value,
        "verdict_phonons_reason": found.verdict.reason,
        "imaginary_frequency": None if first is None else first.frequency,
        "imaginary_q": "" if first is None else " ".join(f"{x:g}" for x in first.qpoint),
        "highest_frequency": max(float(f.max()) for f in found.bands.frequencies),
        "zero_point_energy": None if found.thermal is None else found.thermal.at("free_energy", 0.0),
    }
    for name in ("free_energy", "entropy", "heat_capacity"):
        row[f"{name}_300"] = None if found.thermal is None else found.thermal.at(name, ROOM)
    if found.expansion is not None:
        at = found.expansion
        for name in ("volume", "thermal_expansion", "bulk_modulus", "gruneisen"):
            row[f"{name}_300"] = float(np.interp(ROOM, at.temperatures, getattr(at, name), right=np.nan))
    if found.child is not None:
        row |= {"child": found.child.becomes, "child_gain": found.child.gain}
    return row | {
        "notes": "; ".join(found.notes),
        "supercell_atoms": found.n_atoms,
        "supercell_length": found.min_length,
        "displacements": found.n_displacements,
        "residual_force": found.residual_force,
        "sum_rule": found.sum_rule,
        "potential": found.potential,
        "seconds": found.seconds,
    }


def write_crystal(found: Phonons, folder: Path) -> None:
    """Everything of one crystal: `phonons.json`, `crystal.cif`, `phonopy_params.yaml`, pictures, and where there
    are any `thermal.csv`, `expansion.csv` and `child.cif`.

    Raises:
        OutputError: if a file cannot be written.
    """
    from invdesign.report.phonon_plots import write_plots

    export.writable_folder(folder)
    export.write_text(export.verified_cif(found.crystal)[0], folder / "crystal.cif")
    export.write_text(found.yaml, folder / "phonopy_params.yaml")
    export.write_json(record(found), folder / "phonons.json")
    if found.thermal is not None:
        _write_columns(found.thermal, folder / "thermal.csv")
    if found.expansion is not None:
        _write_columns(found.expansion, folder / "expansion.csv")
    if found.child is not None:
        export.write_text(export.verified_cif(found.child.crystal)[0], folder / "child.cif")
    write_plots(found, f"{export.file_stem(found.crystal)}, {found.potential}", folder)


def _write_columns(curves: Any, path: Path) -> None:
    """Arrays over the temperature as columns."""
    n = len(curves.temperatures)
    arrays = {name: value for name, value in vars(curves).items() if isinstance(value, np.ndarray)}
    rows = [{name: float(v[k]) for name, v in arrays.items() if len(v) == n} for k in range(n)]
    export.write_table(export.frame(rows).rename(columns={"temperatures": "temperature"}), path)


def record(found: Phonons) -> dict[str, Any]:
    """The phonons of a crystal in JSON's types."""
    path, thermal, volumes, child = found.bands, found.thermal, found.expansion, found.child
    return {
        "formula": export.file_stem(found.crystal),
        "energy_per_atom": found.energy_per_atom,
        "potential": found.potential,
        "verdict": {"status": found.verdict.status.value, "reason": found.verdict.reason},
        "imaginary": [vars(mode) for mode in found.imaginary],
        "bands": [
            {"from": first, "to": last, "qpoints": q.tolist(), "distances": d.tolist(), "frequencies": f.tolist()}
            for (first, last), q, d, f in zip(
                path.labels, path.qpoints, path.distances, path.frequencies, strict=True
            )
        ],
        "density_of_states": {"frequencies": found.dos_frequencies.tolist(), "density": found.dos.tolist()},
        "thermal": None if thermal is None else {name: values.tolist() for name, values in vars(thermal).items()},
        "expansion": None if volumes is None else _lists(volumes),
        "child": None
        if child is None
        else {"becomes": child.becomes, "gain": child.gain, "qpoint": child.mode.qpoint, "file": "child.cif"},
        "notes": list(found.notes),
        "supercell": {"atoms": found.n_atoms, "shortest_vector": found.min_length},
        "displacements": found.n_displacements,
        "residual_force": found.residual_force,
        "sum_rule": found.sum_rule,
        "seconds": found.seconds,
    }


def _lists(curves: Any) -> dict[str, Sequence[Any]]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else list(v) for name, v in vars(curves).items()}
