"""Data sheets of tables and weights: one form for all of them, written by the script that makes the file.

A sheet lies beside its file (`hull.md` beside `hull.parquet`): what the file holds, then a table with the
`FIELDS`, then figures and whatever else its reader should know.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from invdesign.errors import InputError

FIELDS = ("script", "commit", "data", "split", "seed", "metrics")
"""What every sheet says: how the file is made, from which tree and data, what was held out, seeds, figures."""
UNKNOWN = "not recorded when this file was made"
"""What a sheet says in the place of something that nobody wrote down in time."""


@dataclass(frozen=True)
class Sheet:
    """The data sheet of one file.

    Attributes:
        about: what the file holds, in Markdown.
        script: the command that makes it, from the root of the repository.
        data: SHA-256 of each file that it is made from, by name; or words where it is made from no file.
        split: what was held out, by what rule; or that nothing was.
        seed: of everything random; or that nothing is.
        metrics: the main figures, or where in the sheet they stand.
        commit: of the tree that made it (`commit`).
        licence: sources to cite, and the licence of the data.
        more: further sections in Markdown.

    Raises:
        InputError: if a field is empty.
    """

    about: str
    script: str
    data: Mapping[str, str] | str
    split: str
    seed: str
    metrics: str
    commit: str
    licence: str
    more: str = ""

    def __post_init__(self) -> None:
        """Check that nothing is missing."""
        for name in ("about", "licence", *FIELDS):
            if not getattr(self, name):
                raise InputError(f"data sheet's {name}", "", f"a text; if it is not known: {UNKNOWN!r}")

    def text(self, name: str) -> str:
        """The sheet in Markdown, of a file of some name."""
        lines = [f"# {name}", "", self.about.strip(), "", "| | |", "| --- | --- |"]
        lines += [f"| {field} | {self._cell(field)} |" for field in FIELDS]
        lines += ["", f"Source and licence: {self.licence.strip()}"]
        return "\n".join(lines + (["", self.more.strip()] if self.more else [])) + "\n"

    def _cell(self, field: str) -> str:
        value = getattr(self, field)
        if isinstance(value, Mapping):
            value = ", ".join(f"`{name}` (SHA-256 {digest})" for name, digest in value.items())
        return " ".join(str(value).split()).replace("|", "\\|")

    def write(self, path: Path) -> Path:
        """Write the sheet beside a file and return its path.

        Args:
            path: the file that it describes.
        """
        place = path.with_suffix(".md")
        place.write_text(self.text(path.name), encoding="utf-8")
        return place


def read_sheet(path: Path) -> dict[str, str]:
    """The fields of a data sheet as they are written; those that it lacks are missing.

    Args:
        path: the sheet.
    """
    cells = [line.strip().removeprefix("|").removesuffix("|") for line in path.read_text("utf-8").splitlines()]
    rows = [[part.strip() for part in cell.replace("\\|", "\0").split("|")] for cell in cells]
    return {row[0]: row[1].replace("\0", "|") for row in reversed(rows) if len(row) == 2 and row[0] in FIELDS}


def commit(root: Path) -> str:
    """The commit of a checkout as `git describe` names it, `-dirty` where files differ from it.

    Args:
        root: folder of the checkout.
    """
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not known: the tree is no checkout of git"
