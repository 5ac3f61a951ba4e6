"""The layers of the package: the table that the import test holds, and a picture drawn from the imports."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from types import ModuleType

import networkx as nx

ROOT = Path(__file__).parents[2]
TEST = ROOT / "tests" / "test_imports.py"
LAYER_NAMES = ("words", "rules", "data", "parts", "engine", "faces")
WIDTH, LEFT, BAND, GAP, BOX_HEIGHT, BOX_GAP = 960.0, 92.0, 66.0, 46.0, 34.0, 10.0


@cache
def import_test() -> ModuleType:
    """The import test, whose table and functions say which module belongs to which layer."""
    spec = importlib.util.spec_from_file_location("test_imports", TEST)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layers() -> list[list[str]]:
    """Names of packages and modules, one list for each layer, lowest layer first."""
    return [names.split() for names in import_test().LAYERS]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found: dict[str, Path] = import_test().modules()
    return found


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


@cache
def imports() -> nx.DiGraph:
    """Which package or module of the table imports which."""
    test, found = import_test(), modules()
    graph = nx.DiGraph()
    graph.add_nodes_from(name for names in layers() for name in names)
    for name, path in found.items():
        if name == "invdesign":
            continue
        for other in test.imported(path.read_text(encoding="utf-8"), set(found)):
            if test.area(other) not in (test.area(name), "invdesign"):
                graph.add_edge(test.area(name), test.area(other))
    return graph


@dataclass(frozen=True)
class Box:
    """A package or module in the picture; lengths in pixels."""

    name: str
    x: float
    y: float
    width: float
    modules: int


def _sizes() -> Counter[str]:
    return Counter(import_test().area(name) for name in modules() if name != "invdesign")


def _rows(names: Sequence[str], counts: Counter[str]) -> list[list[tuple[str, float]]]:
    """Names with the widths of their boxes, broken into rows that fit the picture."""
    rows: list[list[tuple[str, float]]] = [[]]
    used = 0.0
    for name in names:
        width = 26 + 7.6 * len(name) + (22 if counts[name] > 1 else 0)
        if used + width > WIDTH - LEFT - 20 and rows[-1]:
            rows.append([])
            used = 0.0
        rows[-1].append((name, width))
        used += width + BOX_GAP
    return rows


def _boxes() -> tuple[list[Box], list[tuple[str, float, float]], float]:
    """Boxes, bands (name, top, height) and the height of the picture."""
    counts, found, bands, top = _sizes(), [], [], 10.0
    for level in reversed(range(len(layers()))):
        rows = _rows([name for name in layers()[level] if counts[name] and name != "__main__"], counts)
        height = len(rows) * (BOX_HEIGHT + BOX_GAP) + BOX_GAP + 10
        bands.append((LAYER_NAMES[level], top, height))
        for number, row in enumerate(rows):
            free = WIDTH - LEFT - 10 - sum(width for _, width in row)
            gap = free / (len(row) + 1) if len(rows) == 1 else BOX_GAP
            x = LEFT + (gap if len(rows) == 1 else BOX_GAP)
            for name, width in row:
                y = top + 5 + BOX_GAP + number * (BOX_HEIGHT + BOX_GAP)
                found.append(Box(name, x, y, width, counts[name]))
                x += width + gap
        top += height + (GAP if level > 1 else 14)
    return found, bands, top


def edges() -> list[tuple[str, str]]:
    """Imports that the picture shows: between layers above the lowest, without those that follow from others."""
    level = {name: number for number, names in enumerate(layers()) for name in names}
    down = nx.DiGraph((a, b) for a, b in imports().edges if level[a] > level[b] > 0)
    return sorted(nx.transitive_reduction(down).edges)


def picture() -> str:
    """The layers as SVG: a box links to the reference of its package."""
    boxes, bands, height = _boxes()
    places = {box.name: box for box in boxes}
    lines = [
        f'<svg class="layers" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="Layers and imports">',
        *(_band(level, *band) for level, band in zip(reversed(range(len(bands))), bands, strict=True)),
        *(_edge(places[a], places[b]) for a, b in edges() if a in places and b in places),
        *map(_box, boxes),
        "</svg>",
    ]
    return "".join(lines)


def _band(level: int, name: str, top: float, height: float) -> str:
    return (
        f'<rect class="band" x="0" y="{top:.0f}" width="{WIDTH:.0f}" height="{height:.0f}" rx="8"/>'
        f'<text class="level" x="14" y="{top + height / 2 - 4:.0f}">{level}</text>'
        f'<text class="level" x="14" y="{top + height / 2 + 14:.0f}">{name}</text>'
    )


def _edge(start: Box, end: Box) -> str:
    x0, y0 = start.x + start.width / 2, start.y + BOX_HEIGHT
    x1, y1 = end.x + end.width / 2, end.y
    bend = (y1 - y0) / 2
    return f'<path d="M{x0:.0f} {y0:.0f}C{x0:.0f} {y0 + bend:.0f} {x1:.0f} {y1 - bend:.0f} {x1:.0f} {y1:.0f}"/>'


def _box(box: Box) -> str:
    more = f'<tspan class="count"> {box.modules}</tspan>' if box.modules > 1 else ""
    return (
        f'<a href="{escape(page_of(box.name))}">'
        f'<rect class="box" x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{BOX_HEIGHT:.0f}" '
        f'rx="6"/>'
        f'<text x="{box.x + box.width / 2:.0f}" y="{box.y + 22:.0f}">{escape(box.name)}{more}</text></a>'
    )


def page_of(name: str) -> str:
    """The page of the reference on which a name of the layer table stands, seen from the top of the site."""
    return f"reference/python/{name if is_package(name) else 'modules'}.html"


@cache
def is_package(name: str) -> bool:
    """Whether a name of the layer table is a folder."""
    path = modules().get(f"invdesign.{name}")
    return path is not None and path.name == "__init__.py"


def table(levels: Iterable[list[str]] | None = None) -> str:
    """The layer table as Markdown, with what each package says of itself."""
    found = modules()
    rows = ["| layer | name | what it holds |", "| --- | --- | --- |"]
    for level, names in reversed(list(enumerate(levels or layers()))):
        for name in names:
            path = found.get(f"invdesign.{name}")
            if path is not None:
                rows.append(f"| {level} {LAYER_NAMES[level]} | `{name}` | {summary(path)} |")
    return "\n".join(rows)
