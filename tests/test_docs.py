"""The README and the site: blocks run or are checked, figures are those of the records, the site works offline."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import griffe
import pytest
import yaml
from jinja2 import UndefinedError

from invdesign.cli import RUN_KEYS, commands
from invdesign.cli.runs import LIST, ListFirst
from invdesign.query import Query

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from generate import commands as command_pages  # noqa: E402
from generate import layers, readme, records, reference, templates  # noqa: E402

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(p for p in DOCS.rglob("*.md") if not {"assets", "generate"} & set(p.parts)),
]
QUICK = {"howto/own-component.md", "howto/own-potential.md", "methods/data.md", "methods/mechanics.md"}
"""Pages that run in seconds; the others are marked slow. Shell blocks of the quick ones are parsed only."""
BUDGET = 4
"""Relaxations of each design run in the shell blocks of the pages, none of them of shaken crystals."""
MOST_NOT_RUN = 11
"""Blocks that may be checked without being run."""
STAND_INS = {"my_crystals.parquet": ROOT / "tests" / "data" / "crystals_sample.parquet"}
"""Files that pages suppose the reader has."""
FENCE = re.compile(
    r"(?:<!-- (?P<kind>not run|file): (?P<note>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    language: str
    text: str
    kind: str
    note: str


def name_of(page: Path) -> str:
    return page.relative_to(DOCS if DOCS in page.parents else ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(name_of(page), m["language"], m["text"], m["kind"] or "", m["note"] or "")
        for m in FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
RUNNABLE = ("python", "bash")


def test_every_fence_is_read() -> None:
    fences = sum(page.read_text(encoding="utf-8").count("```") for page in PAGES)
    assert len(ALL) * 2 == fences
    assert len([b for b in ALL if b.language in RUNNABLE]) >= 40


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left = [b for b in ALL if b.kind == "not run"]
    assert all(len(b.note) > 10 for b in left)
    assert len(left) <= MOST_NOT_RUN, [f"{b.page}: {b.note}" for b in left]


# Shell blocks: every line is checked


def lines_of(block: Block) -> list[str]:
    return [part.strip() for line in block.text.splitlines() for part in line.split("&&") if part.strip()]


SHELL = [(b.page, line) for b in ALL if b.language == "bash" for line in lines_of(b)]


@pytest.mark.parametrize(("page", "line"), SHELL, ids=[f"{p}: {line}"[:90] for p, line in SHELL])
def test_shell_lines_are_right(page: str, line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    program = words[0].rpartition("/")[2]
    checks = {
        "invdesign": check_invdesign,
        "pip": check_pip,
        "python": check_python,
        "mkdocs": check_mkdocs,
        "make": check_make,
    }
    if program in checks:
        checks[program](words[1:])
    else:
        assert program in ("python3.11", ".", "ruff", "pytest"), f"{page}: nobody checks {line!r}"


def check_invdesign(args: list[str]) -> None:
    if args == ["--version"]:
        return
    with commands.make_context("invdesign", list(args)) as top:
        command, name, rest = commands, "", list(args)
        while hasattr(command, "commands"):
            if isinstance(command, ListFirst) and (not rest or rest[0] not in command.commands):
                rest = [LIST, *rest]
            name, rest = rest[0], rest[1:]
            command = command.commands[name]
        with command.make_context(name, rest, parent=top) as context:
            flags = {k: v for k, v in context.params.items() if v not in (None, ())}
    wanted = ("targets", "elements", "required", "exclude", "chemical_system", "space_group", "max_sites")
    if name in ("design", "generate") and "surrogates" not in flags:
        Query.from_dict({k: v for k, v in flags.items() if k in wanted})


def check_pip(args: list[str]) -> None:
    assert args[0] in ("install", "download")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    for found in re.findall(r"\[([\w,]+)\]", " ".join(args)):
        assert set(found.split(",")) <= extras
    if "-c" in args:
        assert (ROOT / args[args.index("-c") + 1]).is_file()


def check_python(args: list[str]) -> None:
    """A script of the repository exists and knows its options; others are files that the page makes."""
    if args[0].startswith("-") or not args[0].startswith(("scripts/", "benchmarks/", "docs/", "examples/")):
        return
    script = ROOT / args[0]
    source = script.read_text(encoding="utf-8")
    if "options(__doc__" in source:  # they share `--data`, `--out` and others
        source += (ROOT / "invdesign" / "training" / "rebuild.py").read_text(encoding="utf-8")
    for option in (a for a in args[1:] if a.startswith("-")):
        assert f'"{option}"' in source, f"{args[0]} has no option {option}"


def check_make(args: list[str]) -> None:
    """The Makefile has the target; `STEP` stands for any."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in args:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"no target {target}"


def check_mkdocs(args: list[str]) -> None:
    assert args[0] in ("build", "serve")


@pytest.mark.parametrize("line", ["invdesign design --no-such-flag", "pip install -e '.[nothing]'", "rm -rf x"])
def test_the_check_of_shell_lines_can_fail(line: str) -> None:
    with pytest.raises(Exception, match=r".+"):
        test_shell_lines_are_right("here", line)


def test_the_page_on_installation_names_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    assert [name for name in project["optional-dependencies"] if f"| `{name}` |" not in text] == []


# Python blocks compile; pages are run as a whole


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda b: b.page)
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, block.page, "exec")


def run_page(page: Path, shell: bool = True) -> None:
    """Run the blocks of a page in order, in the current folder."""
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.kind == "file":
            Path(block.note).write_text(block.text, encoding="utf-8")
        elif block.kind == "not run":
            continue
        elif block.language == "python":
            exec(compile(block.text, f"{block.page}", "exec", dont_inherit=True), names)
        elif block.language == "bash" and shell:
            run_shell(block)


def cheap(line: str) -> str:
    """A line of a shell block; a design run gets a small budget, whatever the page says."""
    if "invdesign design " not in line:
        return line
    return f"{re.sub(r' --relaxations [0-9]+', '', line)} --relaxations {BUDGET} --no-dynamics"


def run_shell(block: Block) -> None:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(map(cheap, block.text.splitlines()))],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.page}: {block.text}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder from which modules can be imported; what they leave behind is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for worker processes, as the page on potentials says
    for name, source in STAND_INS.items():
        shutil.copy(source, tmp_path / name)
    before = set(sys.modules)
    yield tmp_path
    for name in [n for n in sys.modules if n not in before and n.startswith("my_")]:
        del sys.modules[name]


RUN = sorted({b.page for b in ALL if (b.language in RUNNABLE and b.kind == "") or b.kind == "file"})


@pytest.mark.parametrize("page", sorted(QUICK))
def test_quick_pages_run(page: str, folder: Path) -> None:
    assert page in RUN
    run_page(DOCS / page, shell=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_pages_run(page: str, folder: Path) -> None:
    run_page(ROOT / page if page == "README.md" else DOCS / page)
    if page == "tutorial.md":
        columns_are_documented(folder / "runs" / "first" / "candidates.csv")


def columns_are_documented(table: Path) -> None:
    text = (DOCS / "reference" / "tables.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`([\w<>]+)`", text))
    patterns = [re.compile(re.escape(k).replace("<name>", r"\w+")) for k in known]
    columns = table.read_text(encoding="utf-8").splitlines()[0].split(",")
    from invdesign.properties import PROPERTIES

    assert [c for c in columns if c not in PROPERTIES and not any(p.fullmatch(c) for p in patterns)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_example_queries_are_valid(path: Path) -> None:
    query = Query.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert query.component == path.stem


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "yaml" and "targets:" in b.text], ids=lambda b: b.note
)
def test_queries_on_the_pages_are_valid(block: Block) -> None:
    found = yaml.safe_load(block.text)
    assert Query.from_dict({key: value for key, value in found.items() if key not in RUN_KEYS}).targets


# Figures and generated pages


def test_the_table_of_the_readme_is_that_of_the_records() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python docs/generate/readme.py"
    with pytest.raises(ValueError, match="marks"):
        readme.filled("no table here")


def test_every_record_has_a_note_and_a_page() -> None:
    names = {path.stem for path in records.FOLDER.glob("*.json")}
    assert names == set(records.notes())
    text = "".join(p.read_text(encoding="utf-8") for p in (DOCS / "benchmarks").glob("*.md"))
    assert {n for n in names if f'about("{n}")' not in text} == set()


@pytest.mark.parametrize("name", sorted(records.notes()))
def test_the_command_of_a_record_is_right(name: str) -> None:
    test_shell_lines_are_right(name, records.record(name)["run"]["command"])
    box = records.about(name)
    assert all(word in box for word in ("Command", "Protocol", "Seed", "Versions", "Hardware"))


def test_the_table_of_keys_is_complete() -> None:
    table = command_pages.query_table()
    for key in (*(field.name for field in fields(Query)), *RUN_KEYS):
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{key}`"))
        assert len(row.split("|")[2].strip()) > 3, f"{key} is not explained"
    assert f"`{Query().relaxations}`" in table


def test_the_reference_has_every_command_and_module() -> None:
    page = command_pages.page()
    assert all(f"## invdesign {name} " in page for name in commands.commands)
    described = {name for names in reference.packages().values() for name in names}
    assert described == {n for n in layers.modules() if n != "invdesign" and "._" not in n}


def faults(folder: Path) -> list[str]:
    """What is wrong with the sections of the docstrings of a package `invdesign` in a folder."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("griffe")
    log.addHandler(handler)
    try:
        waiting: list[griffe.Object | griffe.Alias] = [
            griffe.load("invdesign", search_paths=[folder], try_relative_path=False, docstring_parser="google")
        ]
        while waiting:
            each = waiting.pop()
            if each.docstring is not None:
                _ = each.docstring.parsed
            waiting += [member for member in each.members.values() if not member.is_alias]
    finally:
        log.removeHandler(handler)
    return found


def test_docstrings_can_be_read(tmp_path: Path) -> None:
    """Sections name arguments that exist, one a line; the site's build would say so, too, but much later."""
    assert faults(reference.stage(tmp_path)) == []


def test_the_check_of_docstrings_can_fail(tmp_path: Path) -> None:
    (tmp_path / "invdesign").mkdir()
    (tmp_path / "invdesign" / "__init__.py").write_text(
        'def f(x: int) -> None:\n    """Do.\n\n    Args:\n        x, y: two.\n    """\n', encoding="utf-8"
    )
    assert faults(tmp_path)


def test_the_picture_shows_every_package_and_only_downward_lines() -> None:
    picture = layers.picture()
    level = {name: i for i, names in enumerate(layers.layers()) for name in names}
    packages = [name for name in level if layers.is_package(name)]
    assert len(packages) > 10
    assert [name for name in packages if f">{name}" not in picture] == []
    assert layers.edges()
    assert all(level[a] > level[b] for a, b in layers.edges())


# The built site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    out = tmp_path_factory.mktemp("site")
    with contextlib.chdir(ROOT):
        config = load_config("mkdocs.yml", strict=True, site_dir=str(out))
        config.plugins.on_startup(command="build", dirty=False)
        try:
            build(config)
        finally:
            config.plugins.on_shutdown()
    return out


class Page(HTMLParser):
    """Links, anchors and loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel", "") not in ("canonical", "next", "prev"):
            self.loaded.append(found["href"])
        if "src" in found:
            self.loaded.append(found["src"])


@pytest.fixture(scope="module")
def html(site: Path) -> dict[Path, Page]:
    return {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"
    }


def test_the_site_has_every_page(site: Path, html: dict[Path, Page]) -> None:
    expected = {p.relative_to(DOCS).with_suffix(".html").as_posix() for p in PAGES if DOCS in p.parents}
    assert expected <= {path.relative_to(site).as_posix() for path in html}
    assert (site / "reference" / "python" / "generators.html").is_file()


def test_no_link_is_dead(html: dict[Path, Page]) -> None:
    dead = []
    for path, page in html.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append(f"{path.name}: {link}")
            elif parts.fragment and target in html and unquote(parts.fragment) not in html[target].anchors:
                dead.append(f"{path.name}: {link} (no such anchor)")
    assert dead == []


def test_no_page_loads_anything_from_the_network(site: Path, html: dict[Path, Page]) -> None:
    assert {link for page in html.values() for link in page.loaded if urlsplit(link).netloc} == set()
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_the_search_finds_the_bulk_modulus_in_a_how_to(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = [d["location"] for d in index["docs"] if "bulk modulus" in f"{d['title']} {d['text']}".lower()]
    assert any(location.startswith("howto/") for location in found)
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = ")


def test_figures_reach_the_pages(site: Path) -> None:
    text = (site / "benchmarks" / "representation.html").read_text(encoding="utf-8")
    assert f"{records.record('roundtrip')['crystals']:,}" in text
    everything = "".join(p.read_text(encoding="utf-8") for p in site.rglob("*.html"))
    assert "{{" not in re.sub(r"<code>.*?</code>", "", everything, flags=re.S)


def test_no_markdown_is_left_in_a_page(site: Path) -> None:
    """A table that swallowed the next heading or list shows its marks in a cell."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        left = re.findall(r"<t[dh][^>]*>\s*(?:#+ |- |\|)[^<]*", text) + re.findall(r"<p>\s*(?:#+ |\|)[^<]*", text)
        assert left == [], f"{path.relative_to(site)}: {left[:3]}"


def test_an_unknown_figure_stops_the_build() -> None:
    assert templates.render('{{ record("search").seeds }}') == "3"
    with pytest.raises(UndefinedError):
        templates.render('{{ record("search").no_such_figure }}')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_search_and_formulas_work_from_the_file_system(site: Path) -> None:
    def shown(address: str) -> str:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
        command = ["chromium", *flags, f"file://{site}/{address}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    results = re.findall(r'href="([^"]+)"[^>]*class="md-search-result__link"', shown("index.html?q=bulk+modulus"))
    assert any("howto/" in link for link in results), results
    formulas = shown("methods/mechanics.html")
    assert formulas.count('class="katex"') > 10
    assert "katex-error" not in formulas


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_every_formula_is_valid() -> None:
    found = []
    for page in PAGES:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        found += re.findall(r"\$\$(.+?)\$\$", text, re.S) + re.findall(r"(?<![$\\])\$([^$\n]+)\$(?!\$)", text)
    assert len(found) > 40
    plain = [re.sub(r"\{\{.*?\}\}", "1", formula) for formula in found]
    script = """
        const katex = require(process.argv[1]);
        for (const text of JSON.parse(require("fs").readFileSync(0, "utf8")))
            katex.renderToString(text, { throwOnError: true });
    """
    command = ["node", "-e", script, str(DOCS / "assets" / "katex" / "katex.min.js")]
    done = subprocess.run(command, input=json.dumps(plain), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
