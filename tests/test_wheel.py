"""The wheel holds the tree: every module, table and configuration once, under `invdesign`, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOMES = {
    "invdesign": "invdesign",
    "generators": "invdesign/generators",
    "validators": "invdesign/validators",
    "configs": "invdesign/configs",
}
IGNORED = {"__pycache__"}


def tree() -> set[str]:
    """Files that the wheel must hold, by their path in it."""
    found = set()
    for folder, home in HOMES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not IGNORED & set(path.parts) and path.suffix not in (".pyc", ".part"):
                found.add(f"{home}/{path.relative_to(ROOT / folder).as_posix()}")
    return found


def test_every_package_is_listed() -> None:
    """A new folder with modules must be named in pyproject.toml, or it is missing from the wheel."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        listed = set(tomllib.load(stream)["tool"]["setuptools"]["packages"])
    assert {str(Path(name).parent).replace("/", ".") for name in tree() if name.endswith(".py")} == listed


@pytest.mark.slow
def test_the_wheel_holds_the_tree(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path / "source"
    subprocess.run(["git", "-C", str(ROOT), "checkout-index", "-a", f"--prefix={copy}/"], check=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
    ]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *HOMES], capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name.replace(first, HOMES[first], 1) for name in tracked for first in [name.split("/")[0]]}
    assert names == wanted
    assert all(name.startswith("invdesign/") for name in names)
