"""The import graph: layers point downwards, without a circle; parts know nothing of each other; importing does
nothing; what is loaded by name is there; each library and each constant stands behind one door."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
    "invdesign answers errors elements units properties crystal records uncertainty query protocols progress"
    " run_log serialize numbers configs tables target catalogue display checks query_fields element_classes"
    " stoichiometry space_groups structure_types",
    "chemistry crystallography mechanics settings workers executors",
    "data reference potentials",
    "surrogates relaxation vibrations generators validators",
    "engine evolution selection synthesis",
    "report benchmarking training app web build testing cli __main__",
)
"""Modules and packages by layer; `invdesign` itself only names its public objects."""
PARTS = {"surrogates": "surrogates", "generators": "generators", "validators": "validators"} | dict.fromkeys(
    ("relaxation", "vibrations"), "relaxation"
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

DOORS = (
    ("spglib", r"^\s*(?:import|from) spglib", "invdesign.crystallography.symmetry"),
    ("SMACT", r"^\s*(?:import|from) smact", "invdesign.chemistry.oxidation"),
    (
        "electronegativities",
        r"\.pauling_eneg|Element\(.*\)\.X\b|\"electronegativity\"\]",
        "invdesign.chemistry.electronegativity",
    ),
    ("the 95 % quantile", r"\b1\.64[45]\d*\b", "invdesign.uncertainty"),
    ("the error function", r"\berfc?\b|norm\.[cp]df", "invdesign.uncertainty"),
    ("GPa in eV/Å³", r"\b160\.2\d*|\b1\.602\d+e-19", "invdesign.units"),
    ("the atomic mass unit", r"\b1\.6605\d*", "invdesign.units"),
    ("Boltzmann's constant", r"\b1\.3806\d*", "invdesign.units"),
)
"""What is used in one module alone, the pattern that shows it, and the module."""
NAME = re.compile(r"(?<![\w/.-])invdesign(?:\.[A-Za-z_]\w*)+(?::[A-Za-z_]\w*)?")
FOR_TYPES_ALONE = {("invdesign.engine.rounds", "invdesign.engine.campaign")}
"""Imports under `TYPE_CHECKING` that would close a circle."""
SUFFIXES = (".py", ".md", ".toml", ".yaml", ".yml")
FOLDERS = (*HOMES, "scripts", "benchmarks", "tests", "docs", "examples", ".ci")
TEXTS = [
    path
    for path in sorted((*ROOT.glob("*"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*"))))
    if path.suffix in SUFFIXES and path.name not in ("CHANGELOG.md", Path(__file__).name)
]
"""Files that name modules."""
EXAMPLES = {
    "invdesign.validators.lightness:Lightness",
    "invdesign.generators.rock_salt:RockSalt",
    "invdesign.__file__",
    "invdesign.json",
}
"""Names of modules that a reader of the docs writes, what every module has, and a file that exports write."""

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


def graph() -> dict[str, set[str]]:
    """Which module imports which, anywhere in it; `invdesign` itself only hands on names."""
    found = modules()
    edges = {
        name: imported(path.read_text(encoding="utf-8"), set(found)) & set(found) - {name, "invdesign"}
        for name, path in found.items()
        if name != "invdesign"
    }
    for one, other in FOR_TYPES_ALONE:
        edges[one].remove(other)
    return edges


def for_types_alone(source: str, known: set[str]) -> set[str]:
    """Modules of this project that a source imports under `TYPE_CHECKING`, and nowhere else."""
    tree = ast.parse(source)
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    typed = {name for block in blocks for name in imported(ast.unparse(block), known)}
    for block in blocks:
        block.body = [ast.Pass()]
    return typed - imported(ast.unparse(tree), known)


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """A circle of a graph, or nothing."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def between_areas(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph of the names in the table."""
    found: dict[str, set[str]] = {}
    for name, others in edges.items():
        found.setdefault(area(name), set()).update(area(other) for other in others if area(other) != area(name))
    return found


def empty_rows(layers: Sequence[str], known: set[str]) -> list[str]:
    """Names in the table that are no module or package."""
    return [name for names in layers for name in names.split() if not {name, f"invdesign.{name}"} & known]


def unresolved(text: str, found: Mapping[str, Path]) -> Iterator[str]:
    """Names in a text of modules of this project, and of what is in them, that do not exist."""
    for name in set(NAME.findall(text)):
        parts = name.replace(":", ".").split(".")
        size = max(k for k in range(1, len(parts) + 1) if ".".join(parts[:k]) in found)
        rest = parts[size:]
        if rest and rest[0] not in defined(found[".".join(parts[:size])]):
            yield name


@cache
def defined(path: Path) -> frozenset[str]:
    """Names that a module defines, imports or, in `invdesign` itself, hands on."""
    source = path.read_text(encoding="utf-8")
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif path.name == "__init__.py" and isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return frozenset(names | {p.name for p in path.parent.iterdir() if path.name == "__init__.py"})


def test_layers() -> None:
    found = modules()
    wrong = [
        line
        for name, path in found.items()
        for line in violations(name, path.read_text(encoding="utf-8"), set(found))
    ]
    assert len(found) > 40
    assert wrong == []


def test_every_row_of_the_table_names_a_module() -> None:
    assert empty_rows(LAYERS, set(modules())) == []
    assert empty_rows(("errors version", "chemistry"), set(modules())) == ["version"]


def test_there_is_no_circle() -> None:
    edges = graph()
    assert circle(edges) == []
    assert circle(between_areas(edges)) == []
    found = modules()
    for one, other in FOR_TYPES_ALONE:
        assert other in for_types_alone(found[one].read_text(encoding="utf-8"), set(found))
    back = {**edges, "invdesign.errors": {"invdesign.elements"}}
    assert set(circle(back)) == {"invdesign.errors", "invdesign.elements"}
    assert circle(between_areas({**edges, "invdesign.chemistry.oxidation": {"invdesign.validators"}}))


def test_what_is_loaded_or_mentioned_by_name_is_there() -> None:
    found = modules()
    lost = {
        path.relative_to(ROOT).as_posix(): names
        for path in TEXTS
        if (names := sorted(set(unresolved(path.read_text(encoding="utf-8"), found)) - EXAMPLES))
    }
    assert len(TEXTS) > 100
    assert lost == {}


def test_a_name_that_is_not_there_is_found() -> None:
    found = modules()
    text = (
        "`invdesign.workers:serve` and invdesign.records.Value, but invdesign.workers:served and invdesign.nowhere"
    )
    assert sorted(unresolved(text, found)) == ["invdesign.nowhere", "invdesign.workers:served"]
    assert list(unresolved("written to invdesign.yaml", found)) == ["invdesign.yaml"]


@pytest.mark.parametrize(("what", "pattern", "home"), DOORS)
def test_each_library_and_constant_stands_behind_one_door(what: str, pattern: str, home: str) -> None:
    found = modules()
    users = {n for n, p in found.items() if re.search(pattern, p.read_text(encoding="utf-8"), re.MULTILINE)}
    assert users == {home}, what


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
