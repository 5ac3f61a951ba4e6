"""Small pieces of HTML: formulas, symbols, groups, numbers with errors, links, data for scripts. All escaped."""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from typing import Any

from invdesign.numbers import with_error
from invdesign.properties import Property
from invdesign.report.candidates import CIF, Row, number

MATERIALS_PROJECT = "https://next-gen.materialsproject.org/materials/"
_ID = re.compile(r"\bmp-\d+\b")


def formula(text: str) -> str:
    """A formula with its numbers as subscripts."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return "".join(f"<sub>{part}</sub>" if k % 2 else escape(part) for k, part in enumerate(parts))


def symbol(prop: Property) -> str:
    """A property's symbol, what follows an underscore as subscript."""
    return re.sub(r"^(\w+)_(\w+)$", r"\1<sub>\2</sub>", escape(prop.symbol))


def unit(text: str) -> str:
    """A unit with its powers raised: MPa m^0.5 is MPa m with a small ½."""
    return re.sub(
        r"\^(-?[\d.]+)", lambda m: "<sup>½</sup>" if m[1] == "0.5" else f"<sup>{m[1]}</sup>", escape(text)
    )


_LETTERS = {"rho": "ρ", "sigma": "σ", "lambda": "λ", "alpha": "α", "nu": "ν"}


def index(text: str) -> str:
    """A material index as a formula: powers raised, subscripts lowered, Greek letters as such."""
    safe = re.sub(r"\b(" + "|".join(_LETTERS) + r")(?=\b|_)", lambda m: _LETTERS[m[1]], escape(text))
    safe = re.sub(r"\^\(([^)]*)\)|\^(-?[\d.]+)", lambda m: f"<sup>{m[1] or m[2]}</sup>", safe)
    return re.sub(r"(\w)_(\w+)", r"\1<sub>\2</sub>", safe)


def plain_unit(text: str) -> str:
    """The same without markup, for the axes of charts."""
    return text.replace("^0.5", "½").replace("1e-6/K", "10⁻⁶/K")


@cache
def group(space_group: int) -> str:
    """The short Hermann-Mauguin symbol of a space group."""
    from invdesign.crystallography.cif import hermann_mauguin

    words = hermann_mauguin(space_group).split(":")[0].split()
    if 3 <= space_group <= 15:
        words = [word for word in words if word != "1"]
    return "".join(
        re.sub(r"^-(\d)", "\\1\u0305", re.sub(r"^(\d)(\d)", r"\1<sub>\2</sub>", escape(word))) for word in words
    )


def group_of(row: Row) -> str:
    """Symbol and number of a row's space group; a dash without one."""
    found = number(row.get("space_group"))
    if found is None or found != int(found) or not 1 <= found <= 230:
        return "–"
    return f"<i>{group(int(found))}</i> ({int(found)})"


def value(mean: float | None, std: float | None) -> str:
    """A number and its error in two pieces, so that a column of them lines up."""
    if mean is None:
        return '<span class="m">–</span><span class="e"></span>'
    head, _, tail = with_error(mean, float("nan") if std is None else std).partition(" ± ")
    return f'<span class="m">{_minus(head)}</span><span class="e">{f"± {tail}" if tail else ""}</span>'


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def cif_link(row: Row, text: str) -> str:
    """A link to a row's CIF; the text alone where `file` is not a path of one."""
    file = str(row.get("file", ""))
    return f'<a href="{escape(file, quote=True)}">{text}</a>' if CIF.fullmatch(file) else text


def material_link(text: str) -> str:
    """A text, escaped, with its Materials Project ids as links."""
    return _ID.sub(lambda m: f'<a href="{MATERIALS_PROJECT}{m[0]}" rel="noreferrer">{m[0]}</a>', escape(text))


def data(name: str, content: Any) -> str:
    """Data for the page's scripts, in an element that runs nothing."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{escape(name, quote=True)}">{safe}</script>'


def folded(html: str) -> str:
    """Markup that a browser reads when it is opened, not with the page: as text in an element that runs nothing.

    Raises:
        ValueError: if the markup would end that element.
    """
    if "</script" in html.lower() or "<!--" in html:
        raise ValueError("markup that is folded holds no scripts and no comments")
    return f'<script type="text/html" class="folded">{html}</script>'
