"""The journal of a benchmark: results as they come, so that a run that is stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from invdesign.errors import OutputError
from invdesign.serialize import from_plain, to_plain

T = TypeVar("T")


class Journal:
    """Results as they come, one JSON line each, after a header that says what they belong to."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Open a journal or begin one; a line that a killed process left unfinished is cut off.

        Raises:
            OutputError: if it cannot be written, or belongs to another benchmark.
        """
        self._path = path
        self._rows: dict[tuple[str, str, int], Any] = {}
        head = json.loads(json.dumps(header))
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            if not whole:
                path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        except UnicodeDecodeError:
            raise OutputError(f"{path} is no journal of a benchmark; remove it or rename --out") from None
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None
        lines = self._read(whole)
        if lines and lines[0] != head:
            other = sorted(k for k in head.keys() | lines[0].keys() if head.get(k) != lines[0].get(k))
            raise OutputError(f"{path} is of a benchmark with other {', '.join(other)}; remove it or rename --out")
        for kind, name, index, row in lines[1:]:
            self._rows[kind, name, index] = row

    def _read(self, text: str) -> list[Any]:
        try:
            lines = [json.loads(line) for line in text.splitlines()]
            sound = all(isinstance(line, list) and len(line) == 4 for line in lines[1:])
        except ValueError:
            sound = False
        if not sound or (lines and not isinstance(lines[0], dict)):
            raise OutputError(f"{self._path} is no journal of a benchmark; remove it or rename --out")
        return lines

    def get(self, kind: type[T], name: str, index: int = 0) -> T | None:
        """A recorded result, or None."""
        row = self._rows.get((kind.__name__, name, index))
        return None if row is None else from_plain(kind, row)

    def put(self, name: str, *rows: tuple[int, Any]) -> None:
        """Record results of one generator, all or none of them."""
        lines = []
        for index, record in rows:
            row = to_plain(record)
            self._rows[type(record).__name__, name, index] = row
            lines.append(json.dumps([type(record).__name__, name, index, row]) + "\n")
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("".join(lines))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from None
