"""A PostgreSQL server of the tests' own, from the system's package, with a password, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "seCret-93"
FOLDERS = ("/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt")


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, if there is one."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    below = [p.parent for folder in FOLDERS for p in Path(folder).glob("*/bin/initdb")]
    return max(below, default=None)


def why_not() -> str:
    """Why there can be no server; empty if there can."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "needs psycopg (pip install 'invdesign[postgresql]')"
    if programs() is None:
        return "needs PostgreSQL's own programs (Debian: apt-get install postgresql)"
    return ""


class Server:
    """A server on a port of this machine; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # the server refuses to be root
        self._as: dict[str, Any] = {"user": "postgres"} if hasattr(os, "getuid") and os.getuid() == 0 else {}
        if self._as:
            shutil.chown(folder, "postgres")
        (folder / "password").write_text(PASSWORD)
        self._run("initdb", "-D", str(folder / "data"), "-U", "writer", "-A", "scram-sha-256", "-N",
                  "--pwfile", str(folder / "password"), "-E", "UTF8")  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://writer:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        bin_folder = programs()
        assert bin_folder is not None
        options = [
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            str(self.folder),
        ]
        self._process = subprocess.Popen(
            [bin_folder / "postgres", *options, "-F"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.folder, **self._as,
        )  # fmt: skip
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            try:
                self.query("SELECT 1")
                return
            except Exception:
                time.sleep(0.1)
        raise TimeoutError("PostgreSQL does not answer")

    def kill(self) -> None:
        """SIGKILL of the server and the processes of its connections."""
        assert self._process is not None
        children = [int(p) for p in self._children(self._process.pid)]
        self._process.kill()
        self._process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def query(self, text: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            found = connection.execute(text)
            return found.fetchall() if found.description else []

    def _children(self, pid: int) -> list[str]:
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout.split()

    def _run(self, program: str, *arguments: str) -> None:
        bin_folder = programs()
        assert bin_folder is not None
        subprocess.run(
            [bin_folder / program, *arguments], check=True, capture_output=True, cwd=self.folder, **self._as
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server, or a skip with the reason."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="invdesign-pg-"))
    server = Server(folder)
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)
