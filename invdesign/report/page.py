"""`report.html` of a run folder: one file without network that a person and a screen reader can read.

It is made from `candidates.csv` and `run.json` alone, so that it can be made again at any time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import InputError, OutputError
from invdesign.properties import PROPERTIES, SHIPPED, Property, get_property, known_properties
from invdesign.query import Target
from invdesign.records import Value
from invdesign.report.charts import Chart, Guide, Point, draw
from invdesign.tables import read_json
from invdesign.uncertainty import with_interval

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

FIRST_COLUMNS = ("bulk_modulus", "shear_modulus", "youngs_modulus", "vickers_hardness", "density")
STAGES = {
    "propose": "generated",
    "screen": "screened",
    "predict": "predicted from the gene",
    "rank": "most promising",
    "inspect": "new and sound on inspection",
    "gate": "chosen for relaxation",
    "relax": "relaxed",
    "place": "placed above the hull",
    "check": "checked after relaxation",
    "unique": "unique in this run",
    "estimate": "predicted after relaxation",
    "score": "scored",
    "select": "selected",
}
"""Stages of the funnel in words."""


def write_report(folder: Path) -> Path:
    """Write `report.html` of a run folder.

    Raises:
        InputError: if the folder holds no `candidates.csv` or no `run.json`.
        OutputError: if the report cannot be written.
    """
    import pandas as pd

    try:
        table = pd.read_csv(folder / "candidates.csv", keep_default_na=False, na_values=[""])
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        page = render(table, run)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        allowed = f"a folder with the candidates.csv and run.json of a run ({error})"
        raise InputError("run folder", str(folder), allowed) from None
    path = folder / "report.html"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    return path


def render(table: pd.DataFrame, run: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        table: `candidates.csv`, best first.
        run: `run.json`.
    """
    rows = [row for row in _rows(table) if not row.get("failure")]
    words = str(run.get("query_in_words") or "Crystals, ranked.")
    parts = [
        f'<header><h1>{escape(_title(run))}</h1><p class="query">{escape(words)}</p>',
        f"{_headline(rows, run)}</header>",
        "<main>",
        _warnings(rows, run),
        _section("Candidates", _table(rows, run)),
        _section("Charts", _charts(rows, run)),
        _section("From proposals to candidates", _funnel(_stages(run))),
        _section("How this was made", _provenance(run)),
        "</main>",
    ]
    style, script = _beside("report.css"), _beside("report.js")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(_title(run))}</title>\n<style>\n{style}\n</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>\n{script}\n</script>\n</body></html>\n"
    )


def formula_html(formula: str) -> str:
    """A formula with its numbers as subscripts."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"<sub>\1</sub>", escape(formula))


def _rows(table: pd.DataFrame) -> list[Row]:
    """The table's rows; an empty cell is missing."""
    records = table.to_dict("records")
    return [{str(k): v for k, v in row.items() if v == v and v is not None} for row in records]


def _beside(name: str) -> str:
    return resources.files("invdesign.report").joinpath(name).read_text(encoding="utf-8")


def _title(run: Mapping[str, Any]) -> str:
    component = (run.get("query") or {}).get("component")
    return f"Candidates for a {component.replace('_', ' ')}" if component else "Candidate crystals"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def _headline(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    """The few numbers that say how the run went."""
    asked = (run.get("query") or {}).get("n")
    funnel = run.get("funnel") or {}
    proposed = (funnel.get("propose") or {}).get("entered")
    relaxed = (funnel.get("relax") or {}).get("entered")
    facts = [(f"{len(rows)}" + (f" of {asked}" if asked else ""), "candidates found")]
    facts += [(f"{proposed:,}", "crystals generated")] if proposed else []
    facts += [(f"{relaxed:,}", "relaxed")] if relaxed else []
    on_target = sum(_true(row.get("meets_targets")) for row in rows)
    facts += [(str(on_target), "with every mean on target")] if any("meets_targets" in row for row in rows) else []
    facts += [(_duration(float(run["seconds"])), "of computing")] if run.get("seconds") else []
    items = "".join(f"<li><b>{escape(value)}</b> {escape(label)}</li>" for value, label in facts)
    return f'<ul class="facts">{items}</ul>'


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _warnings(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    """What a reader must know before using a number."""
    lines = [_reason(str(w)) for w in run.get("warnings") or []]
    far = sum(_true(row.get("out_of_distribution")) for row in rows)
    if far:
        lie = "lies" if far == 1 else "lie"
        lines.append(
            f"{far} of {len(rows)} candidates {lie} outside what the property models have seen, by element, "
            "structure type or distance: intervals are wider there, and still less sure. Marked ◌."
        )
    for name in _verdict_names(rows):
        unknown = sum(row.get(f"verdict_{name}") == "unknown" for row in rows)
        if unknown:
            noun = "candidate" if unknown == 1 else "candidates"
            lines.append(f"{_reason(name).capitalize()} could not be decided for {unknown} {noun} (?).")
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    head = "<h2>Before you use these numbers</h2>"
    return f'<aside class="warnings" aria-label="Limits">{head}<ul>{items}</ul></aside>'


def _true(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _verdict_names(rows: Sequence[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row)
    return [k.removeprefix("verdict_") for k in keys if k.startswith("verdict_") and not k.endswith("_reason")]


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _shown_properties(rows: Sequence[Row], run: Mapping[str, Any]) -> list[str]:
    """Targets first, then the distance to the hull, then the usual few; only what the table holds."""
    targets = [target.name for target in _targets(run)]
    wanted = dict.fromkeys([*targets, "energy_above_hull", *FIRST_COLUMNS])
    return [name for name in wanted if any(_number(row.get(name)) is not None for row in rows)]


def _properties(run: Mapping[str, Any]) -> Mapping[str, Property]:
    """Every property that the run knows, custom ones included."""
    return known_properties(Property(**prop) for prop in run.get("custom_properties") or ())


def _targets(run: Mapping[str, Any]) -> list[Target]:
    known = _properties(run)
    return [Target.parse(text, known) for text in (run.get("query") or {}).get("targets") or []]


def _table(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    if not rows:
        return '<p class="quiet">No candidate was found. The funnel below shows where they were lost.</p>'
    known = _properties(run)
    shown = [known[name] for name in _shown_properties(rows, run)]
    heads = [("", "rank"), ("crystal", ""), ("space group", ""), ("score", "")]
    heads += [(_symbol_with_unit(prop), prop.label) for prop in shown]
    heads += [("checks", ""), ("why it stands here", "")]
    cells = "".join(_head(text, hint) for text, hint in heads)
    body = "\n".join(_table_row(k, row, shown) for k, row in enumerate(rows, start=1))
    note = (
        '<p class="quiet">Means with their 90 % intervals. Select a heading to sort. '
        "★ marks the Pareto front. Every number is in <a href='candidates.csv'>candidates.csv</a>.</p>"
    )
    return (
        f'{note}<div class="scroll" tabindex="0" role="region" aria-label="Ranked candidates">'
        f"<table id='candidates'><thead><tr>{cells}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _head(text: str, hint: str) -> str:
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<th scope="col" aria-sort="none"><button type="button"{title}>{text or "#"}</button></th>'


def _symbol_with_unit(prop: Property) -> str:
    symbol = re.sub(r"^(\w)_(\w+)$", r"\1<sub>\2</sub>", escape(prop.symbol))
    return f"{symbol} <small>{escape(prop.unit)}</small>" if prop.unit else symbol


def _table_row(place: int, row: Row, shown: Sequence[Property]) -> str:
    score = _number(row.get("score"))
    star = ' <span class="star" title="on the Pareto front">★</span>' if _true(row.get("pareto")) else ""
    why = escape(str(row.get("ood_reason") or "out of distribution"), quote=True)
    out = f' <span class="out" title="{why}">◌</span>' if _true(row.get("out_of_distribution")) else ""
    name = formula_html(str(row.get("formula", "")))
    file = row.get("file")
    link = f'<a href="{escape(str(file))}">{name}</a>' if isinstance(file, str) and file else name
    group = _number(row.get("space_group"))
    cells = [
        f'<td data-value="{place}">{place}</td>',
        f'<th scope="row" data-value="{escape(str(row.get("formula", "")))}">{link}{star}{out}</th>',
        f'<td data-value="{group or 0:g}">{_group(group)}</td>',
        f'<td data-value="{score if score is not None else -1:g}">{"–" if score is None else f"{score:.2f}"}</td>',
        *(_value_cell(row, prop) for prop in shown),
        f'<td class="checks" data-value="{_passes(row)}">{_checks(row)}</td>',
        f'<td class="why">{_why(row, shown)}</td>',
    ]
    return f'<tr data-key="{escape(_key(place))}">{"".join(cells)}</tr>'


def _key(place: int) -> str:
    return f"c{place}"


def _group(number: float | None) -> str:
    if number is None:
        return "–"
    from invdesign.crystallography.cif import hermann_mauguin

    symbol = hermann_mauguin(int(number)).split(":")[0]
    words = [w for w in symbol.split() if w != "1"] if 3 <= number <= 15 else symbol.split()
    pretty = "".join(re.sub(r"^-(\d)", "\\1\u0305", re.sub(r"^(\d)(\d)", r"\1<sub>\2</sub>", w)) for w in words)
    return f"<i>{pretty}</i> <small>{int(number)}</small>"


def _value_cell(row: Row, prop: Property) -> str:
    mean = _number(row.get(prop.name))
    if mean is None:
        return '<td class="number" data-value="">–</td>'
    low, high = _interval(row, prop.name)
    digits = _digits(prop, mean)
    interval = (
        f"<small>{low:.{digits}f} – {high:.{digits}f}</small>" if low is not None and high is not None else ""
    )
    return f'<td class="number" data-value="{mean:g}">{mean:.{digits}f}{interval}</td>'


def _digits(prop: Property, mean: float) -> int:
    if prop.unit == "eV/atom":
        return 3
    if abs(mean) >= 20:
        return 0
    return 1 if abs(mean) >= 3 and prop.unit == "GPa" else 2


def _interval(row: Row, name: str) -> tuple[float | None, float | None]:
    """The 90 % interval: as given, or from the standard deviation."""
    low, high = _number(row.get(f"{name}_low")), _number(row.get(f"{name}_high"))
    mean, std = _number(row.get(name)), _number(row.get(f"{name}_std"))
    if (low is None or high is None) and mean is not None and std is not None:
        value = with_interval(Value(mean, std), log=name in SHIPPED and get_property(name).log)
        low, high = value.low, value.high
    return low, high


def _passes(row: Row) -> int:
    return sum(row.get(f"verdict_{name}") == "pass" for name in _verdict_names([row]))


def _checks(row: Row) -> str:
    marks = {"pass": ("✓", "passed"), "fail": ("✗", "failed"), "unknown": ("?", "could not be decided")}
    parts = []
    for name in _verdict_names([row]):
        status = row.get(f"verdict_{name}")
        if status not in marks:
            continue
        mark, words = marks[str(status)]
        reason = row.get(f"verdict_{name}_reason")
        more = f": {reason}" if isinstance(reason, str) and reason else ""
        title = escape(f"{name.replace('_', ' ')} {words}{more}")
        parts.append(f'<span class="{status}" title="{title}" role="img" aria-label="{title}">{mark}</span>')
    return "".join(parts)


def _why(row: Row, shown: Sequence[Property]) -> str:
    """The reason, then what elements add to the properties that the table shows, and where the crystal is from."""
    reason = row.get("reason")
    text = escape(reason) if isinstance(reason, str) else ""
    details = [
        f"{_symbol_with_unit(prop).split(' <small>')[0]} against usual substitutes: {escape(why)}"
        for prop in shown
        if isinstance(why := row.get(f"{prop.name}_by_element"), str)
    ]
    for key, words in (("nearest", "nearest known crystals:"), ("generator", "made by"), ("id", "id")):
        value = row.get(key)
        if isinstance(value, str) and value:
            details.append(f"{words} {escape(value)}")
    return text + (f"<small>{'; '.join(details)}</small>" if details else "")


def _charts(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    cloud = _known()
    targets = _targets(run)
    plans = (
        ("Stiffness and weight", "density", "youngs_modulus", _mass_guides(rows)),
        ("Resistance to shear and to compression", "bulk_modulus", "shear_modulus", _hardness_guides()),
    )
    charts = [_chart(title, x, y, rows, targets, cloud, guides) for title, x, y, guides in plans]
    legend = (
        '<p class="legend"><span class="dot front"></span> Pareto front <span class="dot other"></span> other '
        'candidates <span class="dot doubtful"></span> out of distribution '
        '<span class="dot cloud"></span> known crystals (DFT, Materials Project). '
        "Bars are 90 % intervals; numbers are ranks.</p>"
    )
    figures = "".join(f"<figure><figcaption>{escape(c.title)}</figcaption>{draw(c)}</figure>" for c in charts)
    return f'{legend}<div class="charts">{figures}</div>'


def _chart(
    title: str,
    x: str,
    y: str,
    rows: Sequence[Row],
    targets: Iterable[Target],
    cloud: Mapping[str, Sequence[float]],
    guides: Sequence[Guide],
) -> Chart:
    points = [p for place, row in enumerate(rows, start=1) if (p := _point(place, row, x, y))]
    bounds = {t.name: (t.low, t.high) for t in targets}
    known = list(zip(cloud.get(x, ()), cloud.get(y, ()), strict=True))
    wanted = (*bounds.get(x, (None, None)), *bounds.get(y, (None, None)))
    return Chart(title, _axis_label(x), _axis_label(y), points, known, guides, wanted)


def _axis_label(name: str) -> str:
    prop = PROPERTIES[name]
    return f"{prop.label} ({prop.unit})" if prop.unit else prop.label


def _point(place: int, row: Row, x: str, y: str) -> Point | None:
    ranges = []
    for name in (x, y):
        mean = _number(row.get(name))
        if mean is None:
            return None
        low, high = _interval(row, name)
        ranges.append((low if low is not None else mean, mean, high if high is not None else mean))
    label = f"{place}"
    title = f"{place}. {row.get('formula', '')}: " + ", ".join(
        f"{PROPERTIES[n].label} {r[1]:.3g} {PROPERTIES[n].unit}" for n, r in zip((x, y), ranges, strict=True)
    )
    front, doubtful = _true(row.get("pareto")), _true(row.get("out_of_distribution"))
    return Point(_key(place), label, title, ranges[0], ranges[1], front, doubtful)


def _mass_guides(rows: Sequence[Row]) -> list[Guide]:
    """Lines of equal stiffness per mass through the best candidate: a tie (E/ρ), a beam (√E/ρ)."""
    pairs = [(_number(r.get("density")), _number(r.get("youngs_modulus"))) for r in rows]
    known = [(d, e) for d, e in pairs if d and e and d > 0 and e > 0]
    if not known:
        return []
    tie = max(e / d for d, e in known)
    beam = max(math.sqrt(e) / d for d, e in known)
    return [Guide("equal E/ρ", lambda d: tie * d), Guide("equal √E/ρ", lambda d: (beam * d) ** 2)]


def _hardness_guides() -> list[Guide]:
    """Lines of equal hardness by Chen's formula H = 2 (G³/K²)^0.585 - 3 (Intermetallics 19, 1275, 2011)."""

    def line(hardness: float) -> Guide:
        factor = ((hardness + 3.0) / 2.0) ** (1.0 / (3.0 * 0.585))
        return Guide(f"Hᵥ {hardness:g} GPa (Chen)", lambda k: factor * k ** (2.0 / 3.0))

    return [line(10.0), line(20.0), line(40.0)]


def _known() -> Mapping[str, Sequence[float]]:
    """Density (g/cm³) and moduli (GPa) of a sample of known crystals, by property name."""
    table: dict[str, list[float]] = read_json("ashby_cloud.json")["values"]
    return table


def _stages(run: Mapping[str, Any]) -> dict[str, Any]:
    last = run.get("selection")
    return dict(run.get("funnel") or {}) | ({"select": last} if last else {})


def _funnel(funnel: Mapping[str, Any]) -> str:
    if not funnel:
        return ""
    largest = max((int(stage["entered"]) for stage in funnel.values()), default=1) or 1
    items = []
    for name, stage in funnel.items():
        passed, entered = int(stage["passed"]), int(stage["entered"])
        rejected = ", ".join(f"{escape(_reason(k))} {v:,}" for k, v in (stage.get("rejected") or {}).items())
        width = 100.0 * passed / largest
        lost = f'<small class="lost">out: {rejected}</small>' if rejected else ""
        items.append(
            f'<li><span class="stage">{escape(STAGES.get(name, name))}</span>'
            f'<span class="track"><span class="fill" style="width:{width:.2f}%"></span></span>'
            f'<span class="count">{passed:,} <small>of {entered:,}</small></span>{lost}</li>'
        )
    return f'<ol class="funnel">{"".join(items)}</ol>'


def _reason(key: str) -> str:
    return key.replace("_", " ")


def _provenance(run: Mapping[str, Any]) -> str:
    pairs = [("query", json.dumps(run.get("query"), ensure_ascii=False)), ("seed", str(run.get("seed", "")))]
    pairs += [(str(k), str(v)) for k, v in (run.get("versions") or {}).items()]
    pairs += [(str(k), str(v)) for k, v in (run.get("parts") or {}).items()]
    items = "".join(f"<dt>{escape(k.replace('_', ' '))}</dt><dd>{escape(v)}</dd>" for k, v in pairs if v)
    return f"<dl>{items}</dl>"
