"""What the pages show works: commands parse, examples run, tables of keys are complete."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from invdesign.cli import RUN_KEYS, commands
from invdesign.query import Query
from invdesign.report.export import FIRST
from invdesign.testing import check_generator, check_validator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shown_commands() -> list[list[str]]:
    """Every `invdesign …` line of every page's shell blocks, as arguments."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    found = [re.search(r"(?:^|/)invdesign (.*)", line.split("&&")[-1].strip()) for line in lines]
    return [shlex.split(match.group(1), comments=True) for match in found if match]


def test_there_are_commands_to_check() -> None:
    assert len(shown_commands()) >= 10


@pytest.mark.parametrize("args", shown_commands(), ids=" ".join)
def test_shown_commands_parse(args: list[str]) -> None:
    command = commands.commands[args[0]]
    with command.make_context(args[0], args[1:]) as context:
        flags = {k: v for k, v in context.params.items() if v not in (None, ())}
    if args[0] == "design" and "surrogates" not in flags:  # whose files are not there
        Query.from_dict({k: v for k, v in flags.items() if k not in (*RUN_KEYS, "query_file")})


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_example_queries_are_valid(path: Path) -> None:
    query = Query.from_dict(yaml.safe_load(path.read_text()))
    assert query.component
    assert path.stem == query.component


def test_the_table_of_keys_is_complete() -> None:
    text = (ROOT / "docs" / "usage.md").read_text()
    keys = [f.name for f in fields(Query)] + list(RUN_KEYS)
    assert [key for key in keys if f"| `{key}`" not in text] == []
    assert [name for name in FIRST if f"`{name}`" not in text and name != "source"] == []


def test_defaults_in_the_table_are_those_of_a_query() -> None:
    text = (ROOT / "docs" / "usage.md").read_text()
    query = Query()
    for name in ("max_sites", "generator", "n", "max_energy_above_hull", "relaxations", "search"):
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`, `-"))
        assert row.split("|")[-2].strip(" `") == str(getattr(query, name)), row


def test_yaml_on_the_pages_is_a_query() -> None:
    for block in blocks(ROOT / "docs" / "usage.md", "yaml"):
        Query.from_dict({k: v for k, v in yaml.safe_load(block).items() if k not in RUN_KEYS})


def classes(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "an_example"}
    exec(compile(block, "extending.md", "exec", dont_inherit=True), names)
    return names


def test_the_example_parts_keep_their_contracts() -> None:
    generator, validator = blocks(ROOT / "docs" / "extending.md", "python")
    outcomes = check_generator(classes(generator)["RockSalt"]()) + check_validator(
        classes(validator)["Lightness"]()
    )
    assert [str(o) for o in outcomes if o.problem] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
