"""The wheel holds the tree: every module, table and configuration once, under `invdesign`, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
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


def project() -> dict[str, object]:
    """The table `project` of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        found: dict[str, object] = tomllib.load(stream)["project"]
    return found


def hinted(text: str, python: bool) -> Iterator[str]:
    """Extras that a text tells its reader to install, or that an error raised in it names."""
    for names in re.findall(r"(?:invdesign|['\"]\.)\[([\w,-]+)\]", text):
        yield from names.split(",")
    for node in ast.walk(ast.parse(text)) if python else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingDependencyError"):
            given = [*node.args[1:], *(k.value for k in node.keywords if k.arg == "extra")]
            yield from (str(a.value) for a in given if isinstance(a, ast.Constant) and a.value is not None)


def test_every_install_hint_names_an_extra() -> None:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    folders = (*HOMES, "scripts", "benchmarks", "docs", "examples", ".ci", ".github")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*")] + list(ROOT.glob("*.*"))
    wanted = {".py", ".md", ".toml", ".yaml", ".yml"}
    unknown = {
        path.relative_to(ROOT).as_posix(): sorted(names)
        for path in files
        if path.is_file() and path.suffix in wanted
        if (names := set(hinted(path.read_text(encoding="utf-8"), path.suffix == ".py")) - set(extras))
    }
    assert unknown == {}


def test_a_hint_at_an_extra_that_does_not_exist_is_found() -> None:
    text = "pip install 'invdesign[online]' or -e '.[dev,nothing]'"
    assert list(hinted(text, python=False)) == ["online", "dev", "nothing"]
    code = "raise errors.MissingDependencyError('x', 'potentials')\nMissingDependencyError('y', None)"
    assert list(hinted(code, python=True)) == ["potentials"]


def build(folder: Path) -> Path:
    """The wheel of what git tracks, as it stands in the tree."""
    copy = folder / "source"
    subprocess.run(["git", "-C", str(ROOT), "checkout-index", "-a", f"--prefix={copy}/"], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_holds_the_tree(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    names = {n for n in zipfile.ZipFile(build(tmp_path)).namelist() if ".dist-info/" not in n}
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *HOMES], capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name.replace(first, HOMES[first], 1) for name in tracked for first in [name.split("/")[0]]}
    assert names == wanted
    assert all(name.startswith("invdesign/") for name in names)


@pytest.mark.slow
def test_an_installed_wheel_works_without_the_repository(tmp_path: Path) -> None:
    """In an environment that has the other packages alone, from an empty folder and with an empty home."""
    import numpy

    wheel, home = build(tmp_path), tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    python = next(p for p in (home / "venv").rglob("python*") if p.stem == "python" and p.is_file())
    ask = [
        str(python),
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'), sysconfig.get_path('scripts'))",
    ]
    site, scripts = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    (Path(site) / "others.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--force-reinstall", str(wheel)], check=True, capture_output=True)

    def run(*command: str) -> str:
        env = {"PATH": scripts, "HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(home) in run(str(python), "-c", "import invdesign; print(invdesign.__file__)")
    for name in ("generators", "validators", "configs"):
        look = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
        assert run(str(python), "-c", look).strip() == "None"
    assert "Usage: invdesign" in run("invdesign", "--help")
    run("invdesign", "generate", "random", "-n", "2", "--seed", "1", "--out", "crystals")
    assert len(list((home / "crystals").rglob("*.cif"))) == 2
    table = "from invdesign.reference.local import load_known; print(len(load_known()))"
    assert int(run(str(python), "-c", table)) > 10_000
