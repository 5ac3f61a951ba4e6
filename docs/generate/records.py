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
    """Title and protocol of each record; all else about it stands in the record."""
    found: dict[str, Any] = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    return found


def about(name: str) -> str:
    """The box on a benchmark page that names command, protocol, seed, versions and hardware of a record."""
    made, note = record(name)["run"], notes()[name]
    rows = {
        "Command": f"`{made['command']}`",
        "Protocol": note["protocol"],
        "Seed": made["seed"],
        "Commit": made["commit"],
        "Versions": _listed(made["versions"]),
        "Hardware": _listed(made["hardware"]),
        "Repeatable": made["repeatable"],
        "Record": f"`benchmarks/results/{name}.json`",
    }
    lines = [f'??? info "How it was measured: {note["title"]}"', "", "    | | |", "    | --- | --- |"]
    lines += [f"    | {key} | {value} |" for key, value in rows.items()]
    return "\n".join(lines) + "\n"


def _listed(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name} {each}" for name, each in value.items())


def overview() -> str:
    """All records with their commands, as a table."""
    rows = ["| record | what it measures | command |", "| --- | --- | --- |"]
    for path in sorted(FOLDER.glob("*.json")):
        title, command = notes()[path.stem]["title"], record(path.stem)["run"]["command"]
        rows.append(f"| `{path.stem}` | {title} | `{command}` |")
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
    from invdesign.benchmarking.figures import speed

    writers: dict[str, Callable[[Any], str]] = {
        "generation": generation.markdown,
        "speed": speed.markdown,
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
    from invdesign.benchmarking.figures.numbers import cell

    return cell(value)
