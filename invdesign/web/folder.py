"""The folder of runs that the app serves: names, paths that stay within it, and what is kept beside the runs."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign.errors import InputError, OutputError
from invdesign.report.candidates import CIF
from invdesign.report.export import has_ledger, writable_folder
from invdesign.report.formats import RUN_FILES

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The name of a run: a folder directly within the folder of runs."""
BESIDE = ".app"
"""Folder of what the app keeps beside the runs: the token, and of each run its query, its log and its process."""
QUERY, LOG, PROCESS = "query.yaml", "log.txt", "process.json"


@dataclass(frozen=True)
class Runs:
    """The runs of one folder.

    Attributes:
        root: the folder, resolved.
    """

    root: Path

    @classmethod
    def of(cls, folder: str | Path) -> Runs:
        """The runs of a folder, which is made if it is not there.

        Raises:
            OutputError: if it cannot be written.
        """
        root = writable_folder(Path(folder)).resolve()
        beside = writable_folder(root / BESIDE)
        beside.chmod(0o700)
        return cls(root)

    def names(self) -> list[str]:
        """Names of all runs, the newest first."""
        found = [path for path in self.root.iterdir() if self._is_run(path)]
        return [path.name for path in sorted(found, key=lambda path: (-path.stat().st_mtime, path.name))]

    def _is_run(self, path: Path) -> bool:
        if not NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            return False
        known = (path / "run.json", self.root / BESIDE / path.name / PROCESS)
        return has_ledger(path) or any(each.is_file() for each in known)

    def new(self, name: str) -> Path:
        """The folder of a run that is to be made.

        Raises:
            InputError: if the name is not valid.
        """
        if not NAME.fullmatch(name):
            raise InputError("name of the run", name, "1 to 64 letters, digits, ., _ and -, such as hard_nitrides")
        return self.root / name

    def run(self, name: str) -> Path:
        """The folder of a run.

        Raises:
            InputError: if there is no such run.
        """
        if not NAME.fullmatch(name) or not self._is_run(self.root / name):
            raise InputError("run", name, self.names() or "none: there is no run yet")
        return self.root / name

    def file(self, name: str, path: str) -> Path:
        """A file of a run that may be read: its report, tables, record and CIF files.

        Raises:
            InputError: if it is none of these, or not there.
        """
        folder = self.run(name)
        named = path in RUN_FILES or CIF.fullmatch(path) is not None
        found = (folder / path).resolve() if named else None
        if found is None or not found.is_relative_to(folder) or not found.is_file():
            raise InputError("file", path, f"a file of the run {name}: {', '.join(RUN_FILES)}, or cif/….cif")
        return found

    def beside(self, name: str) -> Path:
        """The folder of what the app keeps of a run; made if it is not there."""
        return writable_folder(self.root / BESIDE / name)

    def query(self, name: str) -> Path:
        """The query that a run was started with on the page."""
        return self.root / BESIDE / name / QUERY

    def log(self, name: str) -> Path:
        """What the processes of a run have said."""
        return self.root / BESIDE / name / LOG

    def process(self, name: str) -> dict[str, Any]:
        """The record of the last process of a run; empty without one."""
        try:
            found = json.loads((self.root / BESIDE / name / PROCESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_process(self, name: str, record: Mapping[str, Any]) -> None:
        """Record the process of a run, whole or not at all."""
        path = self.beside(name) / PROCESS
        draft = path.with_suffix(".part")
        try:
            draft.write_text(json.dumps(record), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None

    def token(self) -> str:
        """The secret of this folder; the same after a restart, so that open pages go on.

        Raises:
            OutputError: if it cannot be written.
        """
        path = self.root / BESIDE / "token"
        try:
            if path.is_file() and len(kept := path.read_text(encoding="utf-8").strip()) >= 32:
                return kept
            path.touch(mode=0o600)
            path.chmod(0o600)
            token = secrets.token_urlsafe(32)
            path.write_text(token, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None
        return token
