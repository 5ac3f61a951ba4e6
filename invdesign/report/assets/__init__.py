"""Style, scripts and libraries of the report, each in the file that it makes.

The libraries are copies of their published builds, fetched by `scripts/build_report_assets.py`; the data sheet is
`assets.md`, their licences lie beside them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

LIBRARIES = ("plotly-basic.min.js", "3Dmol-min.js")
"""Charts (Plotly, MIT licence) and crystals (3Dmol, BSD licence)."""
OWN = ("table.js", "charts.js", "parallel.js", "map.js", "crystals.js", "page.js")
"""The page's own scripts, in the order in which they are put together."""


@cache
def text(name: str) -> str:
    """A file of this folder."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """The page's own scripts as one."""
    return "(() => {\n'use strict';\n" + "\n".join(text(name) for name in OWN) + "\n})();"
