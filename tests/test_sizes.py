"""Sizes that a reader can hold: files, functions, argument lists; the few that are still too large are listed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ("invdesign", "generators", "validators")
FOLDERS = (*PACKAGE, "scripts", "benchmarks", "tests", ".ci")
LINES, BODY, ARGUMENTS = 500, 60, 8
"""Largest number of lines of a file and of a function with its docstring, and of arguments of either."""

TOO_LONG_FILES: set[str] = set()
TOO_LONG_FUNCTIONS = {
    "invdesign/app/generate.py:generate",
    "invdesign/selection/ranking.py:rank",
    "invdesign/surrogates/custom/transfer.py:train",
    "invdesign/surrogates/fitting/train.py:fit",
}
TOO_MANY_ARGUMENTS = {
    "generators/train_gan.py:train_from_file",
    "invdesign/app/models.py:benchmark_targets",
    "invdesign/engine/campaign.py:__init__",
    "invdesign/surrogates/inputs/graphs.py:_fill",
}
"""What is too large still. Entries only leave these lists: one that is no longer too large must be deleted."""


def sources(folders: tuple[str, ...] = FOLDERS) -> dict[str, str]:
    """Text of every module by its path."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def long_files(found: dict[str, str]) -> set[str]:
    return {path for path, text in found.items() if len(text.splitlines()) > LINES}


def functions(path: str, text: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions outside of dataclasses, whose fields are settings or a record already, with their names."""
    tree = ast.parse(text)
    records = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        for child in node.body
        if getattr(child, "name", "") == "__init__"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and id(node) not in records:
            yield f"{path}:{node.name}", node


def long_functions(path: str, text: str) -> set[str]:
    return {n for n, node in functions(path, text) if (node.end_lineno or 0) - node.lineno + 1 > BODY}


def many_arguments(path: str, text: str) -> set[str]:
    return {
        name
        for name, node in functions(path, text)
        if len([a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"])
        > ARGUMENTS
    }


def over(check: object, folders: tuple[str, ...] = FOLDERS) -> set[str]:
    assert callable(check)
    return {name for path, text in sources(folders).items() for name in check(path, text)}


def test_files_are_short() -> None:
    found = long_files(sources())
    assert (found - TOO_LONG_FILES, TOO_LONG_FILES - found) == (set(), set())


def test_functions_fit_a_screen() -> None:
    found = over(long_functions)
    assert (found - TOO_LONG_FUNCTIONS, TOO_LONG_FUNCTIONS - found) == (set(), set())


def test_argument_lists_are_short() -> None:
    found = over(many_arguments, PACKAGE)
    assert (found - TOO_MANY_ARGUMENTS, TOO_MANY_ARGUMENTS - found) == (set(), set())


@pytest.mark.parametrize("size", [LINES, LINES + 1])
def test_the_test_of_files_can_fail(size: int) -> None:
    assert long_files({"a.py": "x = 1\n" * size}) == ({"a.py"} if size > LINES else set())


@pytest.mark.parametrize("size", [BODY, BODY + 1])
def test_the_test_of_functions_can_fail(size: int) -> None:
    text = "def f():\n" + "    x = 1\n" * (size - 1)
    assert long_functions("a.py", text) == ({"a.py:f"} if size > BODY else set())


def test_the_test_of_arguments_can_fail() -> None:
    names = [f"a{i}" for i in range(ARGUMENTS + 1)]
    method = f"    def __init__(self, {', '.join(names)}): pass\n"
    assert many_arguments("a.py", f"def f({', '.join(names)}): pass") == {"a.py:f"}
    assert many_arguments("a.py", f"def f({', '.join(names[1:])}): pass") == set()
    assert many_arguments("a.py", "class C:\n" + method) == {"a.py:__init__"}
    assert many_arguments("a.py", "class C:\n" + method.replace(", a8", "")) == set()
    assert many_arguments("a.py", "@dataclass(frozen=True)\nclass C:\n" + method) == set()
