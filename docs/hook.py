"""MkDocs hook: adds the pages that are made from the code, and fills figures from records into the text."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from generate import commands, reference, templates
from jinja2 import UndefinedError
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PYTHON = f"{reference.FOLDER}/index.md"
_staged: list[Path] = []


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings the sources as they are when installed, and list every package in the navigation."""
    folder = Path(tempfile.mkdtemp(prefix="invdesign-docs-"))
    _staged.append(folder)
    handlers = config.plugins["mkdocstrings"].config["handlers"]
    handlers["python"]["paths"] = [str(reference.stage(folder))]
    config.nav = _with_packages(config.nav)
    return config


def _with_packages(nav: Any) -> Any:
    """The navigation with one entry per Python package in place of the overview alone."""
    if isinstance(nav, list):
        return [_with_packages(each) for each in nav]
    if isinstance(nav, dict):
        return {key: _packages() if value == PYTHON else _with_packages(value) for key, value in nav.items()}
    return nav


def _packages() -> list[Any]:
    names = reference.packages()
    return [PYTHON, *({name: f"{reference.FOLDER}/{name}.md"} for name in names)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        **reference.python_pages(),
        "reference/commands.md": commands.page(),
        "reference/data-sheets.md": reference.data_sheets(),
        "contributing.md": reference.adopted("CONTRIBUTING.md"),
        "changelog.md": reference.adopted("CHANGELOG.md"),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what the page asks for: tables from the code and figures from the records."""
    if page.file.generated_by or ("{{" not in markdown and "{%" not in markdown):
        return markdown
    try:
        return templates.render(markdown)
    except (LookupError, UndefinedError) as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error


def on_shutdown() -> None:
    """Remove the copies of the sources."""
    while _staged:
        shutil.rmtree(_staged.pop(), ignore_errors=True)
