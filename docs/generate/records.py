"""Figures of the pages, read from the records in `benchmarks/results`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "results"
NOTES = Path(__file__).with_name("records.yaml")


@cache
def record(name: str) -> Any:
    """A record by the stem of its file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@cache
def notes() -> dict[str, Any]:
    """How each record was made: title, command, protocol; seed and hardware where the record lacks them."""
    found: dict[str, Any] = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    return found


def about(name: str) -> str:
    """The box on a benchmark page that names command, protocol, seed, versions and hardware of a record."""
    found, note = record(name), notes()[name]
    rows = {
        "Command": f"`{note['command']}`",
        "Protocol": note["protocol"],
        "Seed": _seed(found, note),
        "Versions": _versions(found),
        "Hardware": _hardware(found),
        "Record": f"`benchmarks/results/{name}.json`",
    }
    lines = [f'??? info "How it was measured: {note["title"]}"', "", "    | | |", "    | --- | --- |"]
    lines += [f"    | {key} | {value} |" for key, value in rows.items()]
    return "\n".join(lines) + "\n"


def _seed(found: Any, note: Mapping[str, Any]) -> str:
    if "seed" in note:
        return str(note["seed"])
    for place in (found, found.get("plan", {}), found.get("protocol", {}), found.get("settings", {})):
        if "seed" in place:
            return str(place["seed"])
    raise KeyError("no seed in the record or in records.yaml")


def _versions(found: Any) -> str:
    versions = found.get("versions") if isinstance(found, Mapping) else None
    if not versions:
        return f"{notes()['defaults']['versions']} (not in the record itself)"
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _hardware(found: Any) -> str:
    if isinstance(found, Mapping):
        if isinstance(found.get("machine"), str):
            return str(found["machine"])
        if isinstance(found.get("hardware"), Mapping):
            return f"{found['hardware']['machine']}, {found['hardware']['cores']} cores"
    return f"{notes()['defaults']['hardware']} (not in the record itself)"


def overview() -> str:
    """All records with their commands, as a table."""
    rows = ["| record | what it measures | command |", "| --- | --- | --- |"]
    for path in sorted(FOLDER.glob("*.json")):
        note = notes()[path.stem]
        rows.append(f"| `{path.stem}` | {note['title']} | `{note['command']}` |")
    return "\n".join(rows)


def fixed(value: float, digits: int = 3) -> str:
    """A number with a fixed count of decimals and thousands separated."""
    return f"{value:,.{digits}f}"


def percent(value: float, digits: int = 0) -> str:
    """A share as a percentage, without the sign."""
    return f"{100 * value:.{digits}f}"


def share(rate: Mapping[str, float], digits: int = 0) -> str:
    """A rate in percent with its 95 % interval."""
    low, high = percent(rate["low"], digits), percent(rate["high"], digits)
    return f"{percent(rate['value'], digits)} ({low}–{high})"


def report(name: str) -> str:
    """The tables that the benchmark command itself writes for a record, headings one level down."""
    from invdesign.benchmarking import generation, surrogates, targets

    writers: dict[str, Callable[[Any], str]] = {
        "generation": generation.markdown,
        "surrogates": surrogates.markdown,
        "targets": targets.markdown,
    }
    return writers[name](record(name)).replace("\n## ", "\n### ")


def mean_error(curve: Sequence[Mapping[str, Any]], method: str, labels: int) -> str:
    """Mean error over the splits of one point of a learning curve; empty where it was not measured."""
    found = [row["error"] for row in curve if row["method"] == method and row["labels"] == labels]
    return f"{sum(found) / len(found):.3g}" if found else ""


def cell(value: Any) -> str:
    """A figure of a benchmark record as the benchmark's own tables print it."""
    from invdesign.benchmarking.generation import cell

    return cell(value)
