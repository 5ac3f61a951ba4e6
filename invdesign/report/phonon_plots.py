"""Pictures of phonons: band structure with the density of states, thermal properties, thermal expansion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import OutputError

if TYPE_CHECKING:
    from invdesign.vibrations.phonons import Phonons
    from invdesign.vibrations.thermal import Expansion, Thermal

LINE, IMAGINARY = "#2a5db0", "#c0392b"


def write_plots(found: Phonons, title: str, folder: Path) -> list[str]:
    """Write what there is as PNG: `bands.png`, `thermal.png`, `expansion.png`; returns the names.

    Raises:
        OutputError: if a file cannot be written.
    """
    pictures = {"bands.png": _bands(found, title)}
    if found.thermal is not None:
        pictures["thermal.png"] = _thermal(found.thermal, title)
    if found.expansion is not None:
        pictures["expansion.png"] = _expansion(found.expansion, title)
    for name, figure in pictures.items():
        try:
            figure.savefig(folder / name, dpi=150, metadata={"Software": None})
        except OSError as error:
            raise OutputError(f"{folder / name} cannot be written: {error.strerror}") from None
    return list(pictures)


def _figure(title: str, **options: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=options.pop("figsize"), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(**options)


def _bands(found: Phonons, title: str) -> Any:
    figure, (left, right) = _figure(
        title, figsize=(8.0, 4.2), ncols=2, sharey=True, gridspec_kw={"width_ratios": [4, 1]}
    )
    path = found.bands
    for distance, values in zip(path.distances, path.frequencies, strict=True):
        left.plot(distance, values, color=LINE, linewidth=1.0)
    places, names = _ticks(found)
    left.set_xticks(places, names)
    left.set_xlim(path.distances[0][0], path.distances[-1][-1])
    left.set_ylabel("frequency (THz)")
    for place in places:
        left.axvline(place, color="0.8", linewidth=0.6, zorder=0)
    right.plot(found.dos, found.dos_frequencies, color=LINE, linewidth=1.0)
    right.set_xlim(left=0.0)
    right.set_xlabel("density (1/THz)")
    for axes in (left, right):
        axes.axhline(0.0, color="0.4", linewidth=0.6)
        if found.imaginary:
            low = left.get_ylim()[0]
            axes.axhspan(low, 0.0, color=IMAGINARY, alpha=0.08, linewidth=0.0)
            axes.set_ylim(bottom=low)
    return figure


def _ticks(found: Phonons) -> tuple[list[float], list[str]]:
    """Places and names of the ends of segments; where the path jumps, both names."""
    places: list[float] = []
    names: list[str] = []
    for (first, last), distance in zip(found.bands.labels, found.bands.distances, strict=True):
        if not names:
            places, names = [float(distance[0])], [first]
        elif names[-1] != first:
            names[-1] = f"{names[-1]}|{first}"
        places.append(float(distance[-1]))
        names.append(last)
    return places, names


def _thermal(found: Thermal, title: str) -> Any:
    figure, axes = _figure(title, figsize=(9.0, 3.2), ncols=3)
    rows = (
        ("free_energy", "vibrational free energy (eV/atom)"),
        ("entropy", "entropy (J/(mol K))"),
        ("heat_capacity", "heat capacity, constant volume (J/(mol K))"),
    )
    for each, (name, label) in zip(axes, rows, strict=True):
        each.plot(found.temperatures, getattr(found, name), color=LINE)
        each.set_xlabel("temperature (K)")
        each.set_title(label, fontsize=9)
    return figure


def _expansion(found: Expansion, title: str) -> Any:
    figure, axes = _figure(title, figsize=(9.0, 3.2), ncols=3)
    rows = (
        (found.volume, "volume (Å³/atom)"),
        (found.thermal_expansion * 1e6, "volumetric expansion (10⁻⁶/K)"),
        (found.bulk_modulus, "bulk modulus (GPa)"),
    )
    for each, (values, label) in zip(axes, rows, strict=True):
        each.plot(found.temperatures, values, color=LINE)
        each.set_xlabel("temperature (K)")
        each.set_title(label, fontsize=9)
    return figure
