"""What a CIF of a run says of itself: id, query, predictions, potential and versions, as `_invdesign_…` items.

The CIF standard allows data names that begin with the name of a program (International Tables for
Crystallography G, 3.1.8.2); other readers ignore them.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import OutputError
from invdesign.numbers import rounded
from invdesign.properties import SHIPPED
from invdesign.report.dictionary import described

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "_invdesign_"
TEXTS = ("id", "formula", "generator", "request", "parents", "potential", "reason", "verdict", "decomposes_into")
"""Columns that become an item each, where they have an entry."""
NUMBERS = ("rank", "score", "target_probability", "rank_low", "rank_high")
WIDTH = 100
"""Longest line of a text; the standard allows 2,048 characters."""


def annotate(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Add to the CIF of every row what is known of it; what an earlier call added is replaced.

    Args:
        folder: the run folder.
        table: one row per candidate; `file` is the path of its CIF within the folder.
        record: `run.json`: query, seed and versions.

    Raises:
        OutputError: if a file cannot be written.
    """
    if "file" not in table:
        return
    for row in table.to_dict("records"):
        path = folder / str(row["file"])
        if not re.fullmatch(r"cif/[^/\\]+\.cif", str(row["file"])) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8").split(f"\n{PREFIX}")[0]
            path.write_text(text.rstrip("\n") + "\n" + tags(row, record), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def tags(row: Mapping[Any, Any], record: Mapping[str, Any]) -> str:
    """The items of one candidate as CIF text, from `_invdesign_version` on.

    Args:
        row: its row of the full table.
        record: `run.json`.
    """
    versions = record.get("versions") or {}
    lines = [_item("version", versions.get("invdesign", "?"))]
    lines += [_item(name, row[name]) for name in TEXTS if _told(row.get(name))]
    lines += [_item(name, f"{row[name]:.6g}") for name in NUMBERS if _told(row.get(name))]
    query = {key: value for key, value in (record.get("query") or {}).items() if value not in (None, "", [], {})}
    lines += [_item("query", json.dumps(query, ensure_ascii=False))] if query else []
    lines += [_item("seed", record["seed"])] if "seed" in record else []
    lines += _loop("software", [("name", "version")], list(versions.items()))
    lines += _loop("weights", [("name", "checksum")], list((record.get("parts") or {}).items()))
    names = ("name", "value", "su", "unit", "source")
    return "\n".join([*lines, *_loop("property", [names], list(_properties(row)))]) + "\n"


def _properties(row: Mapping[Any, Any]) -> Iterator[tuple[str, ...]]:
    """Name, value, standard uncertainty, unit and source of every property that the row has."""
    for name in SHIPPED:
        if _told(row.get(name)):
            mean, std = rounded(float(row[name]), float(row.get(f"{name}_std", "nan")))
            yield name, mean, std or "?", described(name).unit or "1", str(row.get(f"{name}_source") or "?")


def _told(value: object) -> bool:
    return value is not None and value == value and value != ""


def _item(name: str, value: object) -> str:
    return f"{PREFIX}{name} {_quoted(str(value))}"


def _loop(category: str, columns: list[tuple[str, ...]], rows: list[tuple[Any, ...]]) -> list[str]:
    if not rows:
        return []
    heads = [f"{PREFIX}{category}_{name}" for names in columns for name in names]
    return ["loop_", *(f" {head}" for head in heads)] + [
        "  " + " ".join(_quoted(str(cell)) for cell in row) for row in rows
    ]


def _quoted(text: str) -> str:
    """A value as CIF 1.1 writes it: bare, in quotes, or as a text field; ASCII only, as the standard asks."""
    text = _ascii(" ".join(text.split()))
    if len(text) > WIDTH or ("'" in text and '"' in text):
        lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
        return "\n;" + "\n".join(f" {line}" for line in lines) + "\n;"
    if re.fullmatch(r"[A-Za-z0-9?.+-][^\s'\"]*", text) and not re.match(
        r"(data_|save_|loop_|stop_|global_)", text, re.I
    ):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"


def _ascii(text: str) -> str:
    """The text with CIF's codes for degree, plus-minus and Greek letters, and superscripts as numbers."""
    codes = {
        "±": r"+-",
        "°": r"\%",
        "³": "^3",
        "²": "^2",
        "Å": r"\%A",
        "√": "sqrt",
        "–": "-",
        "·": " ",
        "½": "^0.5",
    }
    greek = dict(zip("αβγδεθλμνρσφω", "abgdeqlmnrsfw", strict=True))
    for sign, code in codes.items():
        text = text.replace(sign, code)
    for letter, code in greek.items():
        text = text.replace(letter, f"\\{code}")
    return text.encode("ascii", "replace").decode()
