"""The import graph: layers point downwards, parts know nothing of each other, importing does nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOMES = {
    "invdesign": "invdesign",
    "generators": "invdesign.generators",
    "validators": "invdesign.validators",
    "configs": "invdesign.configs",
}
LAYERS = (
    "invdesign answers errors elements properties crystal records query protocols progress serialize numbers"
    " configs tables "
    "target catalogue display checks query_fields element_classes stoichiometry space_groups structure_types",
    "chemistry crystallography mechanics settings workers",
    "data reference potentials",
    "surrogates relaxation generators validators",
    "engine evolution selection",
    "report benchmarking training app build testing cli __main__",
)
"""Modules and packages by layer; `invdesign` itself only names its public objects."""
PARTS = {"surrogates": "surrogates", "generators": "generators", "validators": "validators"} | dict.fromkeys(
    ("relaxation",), "relaxation"
)
"""Layer 3: to which family a module belongs."""
HEAVY = (
    "torch",
    "pymatgen",
    "smact",
    "optuna",
    "pandas",
    "ase",
    "sqlalchemy",
    "matplotlib",
    "sklearn",
    "scipy",
    "matminer",
)

LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


def modules() -> dict[str, Path]:
    """Every module of the tree by its dotted name."""
    found = {}
    for folder, package in HOMES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [p for p in path.relative_to(ROOT / folder).with_suffix("").parts if p != "__init__"]
            found[".".join([package, *parts])] = path
    return found


def imported(source: str, known: set[str]) -> set[str]:
    """Modules of this project that a source imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {full if (full := f"{node.module}.{a.name}") in known else node.module for a in node.names}
    return {name for name in names if name.split(".")[0] == "invdesign"}


def area(module: str) -> str:
    """The name in the table that a module belongs to: its first name below `invdesign`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def violations(module: str, source: str, known: set[str]) -> Iterator[str]:
    """What a source imports that it must not."""
    mine = area(module)
    if mine not in LAYER_OF:
        yield f"{module} has no layer: add it to the table in this test"
        return
    if module == "invdesign":
        return
    for other in imported(source, known):
        theirs = area(other)
        if LAYER_OF.get(theirs, 99) > LAYER_OF[mine]:
            yield f"{module} (layer {LAYER_OF[mine]}) imports {other} (layer {LAYER_OF.get(theirs)})"
        elif mine in PARTS and theirs in PARTS and PARTS[mine] != PARTS[theirs]:
            yield f"{module} imports another part: {other}"
        elif LAYER_OF[mine] == 4 and theirs in PARTS:
            yield f"{module} imports a part: {other}"


def test_layers() -> None:
    found = modules()
    wrong = [
        line
        for name, path in found.items()
        for line in violations(name, path.read_text(encoding="utf-8"), set(found))
    ]
    assert len(found) > 40
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("invdesign.errors", "from invdesign.engine.campaign import Campaign"),
        ("invdesign.errors", "def f():\n    import invdesign.cli"),
        ("invdesign.generators.vae", "from invdesign.surrogates import model"),
        ("invdesign.validators.novelty", "from invdesign.relaxation import relaxer"),
        ("invdesign.engine.pipeline", "from invdesign.relaxation.relaxer import PotentialRelaxer"),
        ("invdesign.brand_new", ""),
    ],
)
def test_the_layer_test_can_fail(module: str, source: str) -> None:
    assert list(violations(module, source, set(modules()) | {"invdesign.surrogates.model"}))


def test_the_layer_test_can_pass() -> None:
    assert not list(
        violations("invdesign.engine.campaign", "from invdesign.engine.ledger import Ledger", set(modules()))
    )
    assert not list(
        violations(
            "invdesign.relaxation.relaxer", "from invdesign.potentials.calculators import load", set(modules())
        )
    )


def run(code: str, folder: Path) -> str:
    """What a fresh interpreter in an empty home prints."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "PYTHON"))}
    env |= {"HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_module_imports_in_an_empty_home_and_leaves_it_empty(tmp_path: Path) -> None:
    names = [name for name in modules() if not name.endswith("__main__")]
    code = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)"
    assert run(code, tmp_path) == ""
    ours = [p for p in tmp_path.rglob("*") if "invdesign" in p.name]
    assert ours == []


@pytest.mark.parametrize(
    "start", ["import invdesign", "import invdesign.cli", "from invdesign import Campaign, Query"]
)
def test_importing_is_light(start: str, tmp_path: Path) -> None:
    code = (
        f"{start}\nimport sys, time\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], sep=' ')\nprint(time.process_time())"
    )
    heavy, seconds = run(code, tmp_path).split("\n")[:2]
    assert heavy == ""
    assert float(seconds) < 0.8  # CPU seconds with the interpreter's own start; about 0.25 on an idle machine
