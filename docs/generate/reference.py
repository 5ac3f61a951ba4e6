"""Pages of the reference that are made from the code: Python packages, properties, components, data sheets."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from generate import layers

ROOT = layers.ROOT
FOLDER = "reference/python"
TOP = "invdesign"


def packages() -> dict[str, list[str]]:
    """Page of the reference to the modules that it describes; private modules are left out."""
    pages: dict[str, list[str]] = {"modules": []}
    for name, path in layers.modules().items():
        parts = name.split(".")[1:]
        if not parts or any(part.startswith("_") for part in parts):
            continue
        package = parts if path.name == "__init__.py" else parts[:-1]
        pages.setdefault(".".join(package) or "modules", []).append(name)
    return {page: names for page, names in pages.items() if names}


def python_pages() -> dict[str, str]:
    """The pages about Python packages: path in the site to Markdown with directives for mkdocstrings."""
    pages = {f"{FOLDER}/index.md": _index()}
    for package, names in packages().items():
        pages[f"{FOLDER}/{package}.md"] = "\n".join(_page(package, names))
    return pages


def _index() -> str:
    rows = [
        f"| [`{TOP}.{name}`]({name}.md) | {layers.summary(layers.modules()[f'{TOP}.{name}'])} |"
        for name in packages()
        if name != "modules"
    ]
    return "\n".join(
        [
            "# Python packages",
            "",
            "Made from the docstrings. Most users need the names that `import invdesign` offers; the packages",
            "below are for those who write parts of their own or want one step of the pipeline.",
            "",
            "## Public names",
            "",
            "| name | what it is |",
            "| --- | --- |",
            *_public_names(),
            "",
            "## Packages",
            "",
            "| package | what it holds |",
            "| --- | --- |",
            "| [top-level modules](modules.md) | queries, records, properties, protocols, errors, `build`, … |",
            *rows,
        ]
    )


def _public_names() -> Iterator[str]:
    """One row per name that `import invdesign` offers, linked to its description."""
    top = importlib.import_module(TOP)
    for name in top.__all__:
        found = getattr(top, name)
        if not name.startswith("_"):
            words = (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")
            yield f"| [`{name}`][{found.__module__}.{name}] | {words} |"


def _page(package: str, names: list[str]) -> Iterator[str]:
    title = "Top-level modules" if package == "modules" else f"{TOP}.{package}"
    yield f"# {title}"
    yield ""
    for name in names:
        yield f"::: {name}"
        yield "    options:"
        yield f"      show_root_heading: {'false' if name == f'{TOP}.{package}' else 'true'}"
        yield ""


def stage(folder: Path) -> Path:
    """Copy the sources into one tree, as they are when installed: `generators` and others inside `invdesign`."""
    for home, package in layers.import_test().HOMES.items():
        target = folder.joinpath(*package.split("."))
        shutil.copytree(
            ROOT / home, target, dirs_exist_ok=True, ignore=lambda _, names: [n for n in names if _is_data(n)]
        )
    for path in folder.rglob("*.py"):  # roles of Sphinx mean nothing to Markdown
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`", r"`\1`", text), encoding="utf-8")
    return folder


def _is_data(name: str) -> bool:
    return "." in name and not name.endswith(".py")


def property_table() -> str:
    """The properties of targets and tables: name, unit, allowed range of a target, where the value comes from."""
    from invdesign.properties import SHIPPED, get_property

    rows = [
        "| name | meaning | symbol | unit | range of a target | value |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in SHIPPED:
        p = get_property(name)
        how = "formula" if p.derived else "model"
        how += ", in log10" if p.log else ""
        rows.append(f"| `{name}` | {p.label} | {p.symbol} | {p.unit} | {p.low:g} to {p.high:g} | {how} |")
    return "\n".join(rows)


def class_table() -> str:
    """The classes of elements that a query may name."""
    rows = ["| class | elements |", "| --- | --- |"]
    return "\n".join(
        [*rows, *(f"| `{name}` | {', '.join(s)} |" for name, s in code("element_classes:CLASSES").items())]
    )


def structure_type_table() -> str:
    """The structure types that a query may name, with an example each."""
    rows = ["| name | label | example | about |", "| --- | --- | --- | --- |"]
    for name, found in code("structure_types:STRUCTURE_TYPES").items():
        rows.append(f"| `{name}` | `{found.label}` | {found.example} | {found.about} |")
    return "\n".join(rows)


def component_table() -> str:
    """The components that the package ships, with their constraints and indices."""
    import yaml

    rows = ["| component | for | constraints | material indices |", "| --- | --- | --- | --- |"]
    for path in sorted((ROOT / "configs" / "components").glob("*.yaml")):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        limits = ", ".join(f"`{text}`" for text in found.get("constraints", ()))
        indices = "; ".join(index["name"] for index in found.get("indices", ()))
        rows.append(f"| `{found['name']}` | {found.get('description', '')} | {limits} | {indices} |")
    return "\n".join(rows)


def bonding_table() -> str:
    """The bonding classes of the hardness formulas with their factor and scatter."""
    rows = ["| class | crystals | factor | scatter, log10 |", "| --- | --- | --- | --- |"]
    for kind in code("mechanics:BONDING_CLASSES").values():
        rows.append(
            f"| {kind.name} | {kind.label} | {10.0**kind.hardness_shift:.2f} | {kind.hardness_scatter:.2f} |"
        )
    return "\n".join(rows)


def code(where: str, **values: Any) -> Any:
    """A constant of the package, or a settings record with its defaults.

    Args:
        where: `package:NAME`, such as `engine:Sizes`; the module that defines it is looked up, so that a page need
            not follow every move. `package.module:NAME` where several modules define the name.
        values: of fields of the record that have no default.

    Raises:
        LookupError: if not exactly one module of the package defines it.
    """
    package, _, name = where.partition(":")
    prefix = f"{TOP}.{package}"
    homes = [
        module
        for module, path in layers.modules().items()
        if (module == prefix or module.startswith(f"{prefix}.")) and name in _defined(path)
    ]
    if len(homes) != 1:
        raise LookupError(f"{where} is defined in {homes or 'no module'}, not in one")
    found = getattr(importlib.import_module(homes[0]), name)
    return found(**values) if isinstance(found, type) else found


@cache
def _defined(path: Path) -> frozenset[str]:
    """Names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {each.id for target in targets if target for each in ast.walk(target) if hasattr(each, "id")}
    return frozenset(names)


def row_count(table: str) -> str:
    """Number of rows of a shipped parquet table."""
    import pyarrow.parquet as parquet

    return f"{parquet.read_metadata(ROOT / 'invdesign' / 'tables' / table).num_rows:,}"


def data_sheets() -> str:
    """All data sheets of shipped tables and weights as one page."""
    parts = [
        "# Data sheets",
        "",
        "What the package ships: each file with its data, licence, script, split and figures. The sheets stand",
        "beside the files in `invdesign/tables`.",
    ]
    for path in sorted((ROOT / "invdesign" / "tables").glob("*.md")):
        text = path.read_text(encoding="utf-8").strip()
        head, _, rest = text.partition("\n")
        name = re.sub(r"^#\s*(Data sheet:)?\s*`?([^`]*)`?$", r"\2", head)
        parts += ["", f"## {name}", "", re.sub(r"^(#+) ", r"#\1 ", rest.strip(), flags=re.MULTILINE)]
    return "\n".join(parts) + "\n"


def adopted(name: str) -> str:
    """A page that stands at the top of the repository, its links seen from the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return text.replace("](docs/", "](")
