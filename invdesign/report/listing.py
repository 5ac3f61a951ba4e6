"""The ranked table of a report: short rows, known materials among them, each candidate's page below its row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from invdesign.errors import InvdesignError
from invdesign.numbers import verdict_text
from invdesign.records import Status
from invdesign.report import markup
from invdesign.report.candidates import Row, Run, number, true
from invdesign.report.dictionary import INDEX, MEANINGS, described

MOST = 10
"""Columns of values; a narrow window shows the first of them."""
USUAL = ("bulk_modulus", "shear_modulus", "youngs_modulus", "vickers_hardness", "density")
ALWAYS = ("energy_above_hull",)
SCORE = "synthesizability"
OF_COMPONENTS = ("fracture_toughness", "price")


@dataclass(frozen=True)
class Shown:
    """A column of values.

    Attributes:
        key: the column of the table.
        head: its heading, HTML.
        unit: HTML.
        title: what it is, plain text.
        steady: whether known materials have it under the same key in their `values`.
    """

    key: str
    head: str
    unit: str
    title: str
    steady: bool = True


def columns(run: Run) -> list[Shown]:
    """The columns of values: targets, what the component asks for, distance to the hull, the usual few."""
    constrained, single = _of_component(run)
    indices = [key for key in dict.fromkeys(k for row in run.rows for k in row) if key.startswith(INDEX)]
    indices = [key for key in indices if not key.endswith("_std") and key.removeprefix(INDEX) not in single]
    extra = OF_COMPONENTS if run.query.get("component") else ()
    names = [*(t.name for t in run.targets), *constrained, *indices[:2], *single.values(), *ALWAYS, *extra, *USUAL]
    there = [n for n in dict.fromkeys(names) if any(number(row.get(n)) is not None for row in run.rows)]
    score = [SCORE] if any(number(row.get(SCORE)) is not None for row in run.rows) else []
    return [_shown(name, run) for name in [*there[: MOST - len(score)], *score]]


def _of_component(run: Run) -> tuple[list[str], dict[str, str]]:
    """Properties that the run's component bounds, and those that are an index by themselves, by its name."""
    from invdesign.selection.components import load_component

    try:
        component = load_component(str(run.query.get("component")))
    except InvdesignError:  # none, or a file that is gone
        return [], {}
    single = {index.name: next(iter(index.powers)) for index in component.indices if len(index.powers) == 1}
    return [c.name for c in component.constraints], {k: v for k, v in single.items() if v in run.properties}


def _shown(name: str, run: Run) -> Shown:
    if name.startswith(INDEX):
        words = name.removeprefix(INDEX)
        head, _, formula = words.partition(", ")
        return Shown(name, markup.index(formula or head), "", f"material index: {words}", False)
    if name == SCORE:
        return Shown(name, "made?", "", described(name).meaning, False)
    prop = run.properties[name]
    title = f"{prop.label}: {MEANINGS.get(name, '')}".rstrip(": ")
    return Shown(name, markup.symbol(prop), markup.unit(prop.unit), title)


def listing(run: Run, pages: Mapping[str, str]) -> str:
    """The table.

    Args:
        run: the run.
        pages: the page of each candidate as HTML, by `key_of`.
    """
    if not run.rows:
        return '<p class="quiet">No candidate was found. The funnel below shows where they were lost.</p>'
    shown = columns(run)
    marks = sorted(
        run.record.get("known_materials") or [], key=lambda m: (m.get("place") or 1e9, -(m["score"] or 0))
    )
    bodies = []
    for place, row in enumerate(run.rows, start=1):
        while marks and (marks[0].get("place") or 1e9) <= place:
            bodies.append(_known_row(marks.pop(0), shown))
        bodies.append(_row(place, row, shown, pages.get(key_of(place), "")))
    bodies += [_known_row(mark, shown) for mark in marks]
    return (
        f'<table id="candidates"><caption class="hidden">Candidates, best first; select one to open its page'
        f"</caption><thead><tr>{_heads(shown)}</tr></thead>\n" + "\n".join(bodies) + "</table>"
    )


def key_of(place: int) -> str:
    """The key of a candidate on the page, by its place from 1."""
    return f"c{place}"


def _heads(shown: Sequence[Shown]) -> str:
    heads = [
        _head("#", "", "rank; below it the ranks that the errors of prediction allow", "rank"),
        _head("crystal", "", "formula, space group, family", "name"),
        _head("score", "", "desirability from 0 to 1", "score"),
    ]
    heads += [_head(c.head, c.unit, c.title, f"number v{k}") for k, c in enumerate(shown, start=1)]
    return "".join([*heads, _head("checks", "", "verdicts of the validators", "checks")])


def _head(text: str, unit: str, title: str, kind: str) -> str:
    small = f" <small>{unit}</small>" if unit else ""
    label = escape(title, quote=True)
    return (
        f'<th scope="col" class="{kind}" aria-sort="none"><button type="button" title="{label}">{text}{small}'
        f'</button><span class="on-paper" aria-hidden="true">{text}{small}</span></th>'
    )


def _row(place: int, row: Row, shown: Sequence[Shown], page: str) -> str:
    key, score = key_of(place), number(row.get("score"))
    cells = [
        f'<td class="rank" data-value="{place}">{place}{_ranks(row)}</td>',
        _name_cell(key, row),
        f'<td class="score" data-value="{-1 if score is None else score:g}">{_score(score)}</td>',
        *(_value_cell(row, column, k) for k, column in enumerate(shown, start=1)),
        f'<td class="checks" data-value="{_passed(row)}">{_checks(row)}</td>',
    ]
    width = len(shown) + 4
    flags = {"target": "meets_targets", "front": "pareto", "far": "out_of_distribution"}
    told = "".join(
        f' data-{flag}="{int(true(row.get(column)))}"' for flag, column in flags.items() if column in row
    )
    words = escape(
        " ".join(str(row.get(k, "")) for k in ("formula", "anion_class", "id", "space_group")), quote=True
    )
    family = escape(str(row.get("anion_class", "")), quote=True)
    return (
        f'<tbody class="one" data-key="{key}" data-words="{words.lower()}" data-family="{family}"{told}>'
        f"<tr>{''.join(cells)}</tr>"
        f'<tr class="page" id="page-{key}" hidden><td colspan="{width}">{page}</td></tr></tbody>'
    )


def _ranks(row: Row) -> str:
    low, high = number(row.get("rank_low")), number(row.get("rank_high"))
    if low is None or high is None:
        return ""
    text = f"{low:g}–{high:g}" if low != high else f"{low:g}"
    return f'<small title="ranks that the errors allow">{text}</small>'


def _name_cell(key: str, row: Row) -> str:
    flags = '<span class="star" title="on the Pareto front">★</span>' if true(row.get("pareto")) else ""
    if true(row.get("out_of_distribution")):
        why = escape(str(row.get("ood_reason") or "unlike the training data"), quote=True)
        flags += f'<span class="far" title="out of distribution: {why}">◌</span>'
    family = escape(str(row.get("anion_class") or ""))
    below = f"<small>{markup.group_of(row)}{f' · {family}' if family else ''}</small>"
    name = escape(str(row.get("formula", "")), quote=True)
    return (
        f'<th scope="row" class="name" data-value="{name}"><span class="thumb" data-key="{key}" '
        f'aria-hidden="true"></span>'
        f'<button type="button" class="open" aria-expanded="false" aria-controls="page-{key}">'
        f"{markup.formula(str(row.get('formula', '?')))}</button>{flags}{below}</th>"
    )


def _score(score: float | None) -> str:
    if score is None:
        return "–"
    return f'{score:.2f}<span class="meter" aria-hidden="true"><i style="width:{100 * score:.0f}%"></i></span>'


def _value_cell(row: Row, column: Shown, place: int) -> str:
    mean, std = number(row.get(column.key)), number(row.get(f"{column.key}_std"))
    told = "" if mean is None else f"{mean:g}"
    return f'<td class="number v{place}" data-value="{told}">{markup.value(mean, std)}</td>'


def verdicts(row: Row) -> list[tuple[str, Status, str]]:
    """Name, status and reason of every verdict of a row."""
    found = []
    for key, status in row.items():
        known = status in {s.value for s in Status}
        if key.startswith("verdict_") and not key.endswith("_reason") and known:
            found.append((key.removeprefix("verdict_"), Status(status), str(row.get(f"{key}_reason") or "")))
    return found


def _passed(row: Row) -> int:
    return sum(status is Status.PASS for _, status, _ in verdicts(row))


def _checks(row: Row) -> str:
    """How many verdicts passed, and each that did not, in words for who hovers or listens."""
    found = verdicts(row)
    if not found:
        return "–"
    parts = [f'<span class="pass">{_passed(row)}\N{NO-BREAK SPACE}✓</span>'] if _passed(row) else []
    for status, mark in ((Status.UNKNOWN, "?"), (Status.FAIL, "✗")):
        words = [verdict_text(*one) for one in found if one[1] is status]
        if words:
            title = escape("; ".join(words), quote=True)
            parts.append(
                f'<span class="{status.value}" title="{title}">{len(words)}\N{NO-BREAK SPACE}{mark}'
                f'<span class="hidden"> {title}</span></span>'
            )
    return " ".join(parts)


def _known_row(mark: Mapping[str, Any], shown: Sequence[Shown]) -> str:
    """A known material in its place, told apart by its family and without a rank."""
    values, indices = mark.get("values") or {}, mark.get("indices") or {}
    score = number(mark.get("score"))
    cells = []
    for k, column in enumerate(shown, start=1):
        source = values if column.steady else {f"{INDEX}{name}": v for name, v in indices.items()}
        mean = number(source.get(column.key))
        if column.key == "energy_above_hull":
            mean = None
        told = "" if mean is None else f"{mean:g}"
        cells.append(f'<td class="number v{k}" data-value="{told}">{markup.value(mean, None)}</td>')
    name, family = escape(str(mark["name"])), escape(str(mark.get("family") or "known material"))
    place = number(mark.get("place")) or 0
    return (
        f'<tbody class="known" data-words="{escape(json.dumps(str(mark["name"]).lower()), quote=True)}"><tr>'
        f'<td class="rank" data-value="{place - 0.5:g}"><span class="hidden">known material</span>◆</td>'
        f'<th scope="row" class="name" data-value="{name}"><span class="material">{name}</span>'
        f"<small>{family}, known</small></th>"
        f'<td class="score" data-value="{-1 if score is None else score:g}">{_score(score)}</td>'
        f'{"".join(cells)}<td class="checks" data-value="-1"><small>can be bought</small></td></tr></tbody>'
    )
