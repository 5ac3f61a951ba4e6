"""`report.html` of a run folder: one file without network, for a window of any width and for paper.

It is made from the tables, `run.json` and the CIF files of the folder alone, so that it can be made again at any
time. Scripts and libraries are in the file; a content security policy allows those and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.report import assets, export, markup
from invdesign.report.candidates import Run, read_run, run_of, true
from invdesign.report.chart_data import chart_data
from invdesign.report.finalist import page as finalist_page
from invdesign.report.glossary import glossary
from invdesign.report.listing import key_of, listing, verdicts
from invdesign.report.materials_map import map_data

if TYPE_CHECKING:
    import pandas as pd

STAGES = {
    "propose": "generated",
    "screen": "screened",
    "predict": "predicted from the gene",
    "rank": "most promising",
    "inspect": "new and sound on inspection",
    "probe": "looked at with the potential",
    "gate": "chosen for relaxation",
    "relax": "relaxed",
    "place": "placed above the hull",
    "check": "checked after relaxation",
    "unique": "unique in this run",
    "estimate": "predicted after relaxation",
    "score": "scored",
    "dynamics": "at rest in a minimum, of those to be listed",
    "select": "selected",
}
"""Stages of the funnel in words."""
LINKS = (
    ("candidates-section", "Candidates"),
    ("charts", "Charts"),
    ("map", "Map"),
    ("funnel", "Funnel"),
    ("glossary", "Glossary"),
    ("provenance", "Provenance"),
)
FILES = (
    ("candidates.csv", "the table for people"),
    ("candidates.parquet", "every column"),
    ("data_dictionary.csv", "what each column means"),
    ("datapackage.json", "the same for programs"),
    ("references.bib", "what the run relied on"),
    ("run.json", "query, seed, versions, counts"),
)


def write_report(folder: Path) -> Path:
    """Write `report.html` of a run folder.

    Raises:
        InputError: if the folder holds no table of candidates or no `run.json`, or they are damaged.
        OutputError: if the report cannot be written.
    """
    run = read_run(folder)
    try:
        page = render_run(run)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        allowed = f"a folder with the candidates.csv and run.json of a run ({error})"
        raise InputError("run folder", str(folder), allowed) from None
    return export.write_text(page, folder / "report.html")


def render(table: pd.DataFrame, record: Mapping[str, Any], crystals: Mapping[str, Crystal] | None = None) -> str:
    """The whole page from a table.

    Args:
        table: `candidates.parquet` or `candidates.csv`, best first.
        record: `run.json`.
        crystals: by `file`; None: without structures.
    """
    return render_run(run_of(table, record, crystals))


def render_run(run: Run) -> str:
    """The whole page."""
    pages = {key_of(k): finalist_page(k, row, run) for k, row in enumerate(run.rows, start=1)}
    sections = [
        _section("candidates-section", "Candidates", _notes(run) + _toolbar(run) + listing(run, pages)),
        _section("charts", "Charts", _charts(run)),
        _section("map", "Where they lie among known crystals", _map(run)),
        _section("funnel", "From proposals to candidates", _funnel(_stages(run.record))),
        _section("glossary", "Glossary", glossary(run)),
        _section("provenance", "How this was made", _provenance(run)),
    ]
    data = markup.data("data", chart_data(run) | {"map": map_data(run)})
    body = "\n".join([_header(run), _navigation(sections), f"<main>{''.join(sections)}</main>", data])
    return _document(_title(run), body)


def _document(title: str, body: str) -> str:
    """The file: policy, style, content, the libraries as text until they are needed, the page's own script."""
    libraries = {name: assets.text(name) for name in assets.LIBRARIES}
    script = assets.script()
    allowed = " ".join(f"'sha256-{_digest(text)}'" for text in (*libraries.values(), script))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    waiting = "\n".join(
        f'<script type="text/plain" id="{name.split(".")[0]}">{text}</script>' for name, text in libraries.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{assets.text('report.css')}\n</style></head>\n<body>\n{body}\n"
        f"{waiting}\n<script>{script}</script>\n</body></html>\n"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _title(run: Run) -> str:
    component = run.query.get("component")
    return f"Candidates for a {Path(str(component)).stem.replace('_', ' ')}" if component else "Candidate crystals"


def _section(name: str, title: str, body: str) -> str:
    if not body:
        return ""
    head = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{head}\n{body}\n</section>'


def _navigation(sections: Sequence[str]) -> str:
    there = [(name, text) for name, text in LINKS if any(f'<section id="{name}"' in part for part in sections)]
    items = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in there)
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _header(run: Run) -> str:
    words = str(run.record.get("query_in_words") or "Crystals, ranked.")
    return (
        f'<a class="skip" href="#candidates-section">Skip to the candidates</a><header class="top">'
        f'<h1>{escape(_title(run))}</h1><p class="query">{escape(words)}</p>{_facts(run)}{_warnings(run)}</header>'
    )


def _facts(run: Run) -> str:
    """The few numbers that say how the run went."""
    rows, record = run.rows, run.record
    asked, funnel = run.query.get("n"), record.get("funnel") or {}
    facts = [(f"{len(rows)}" + (f" of {asked}" if asked else ""), "candidates found")]
    if any("meets_targets" in row for row in rows):
        facts.append((str(sum(true(row.get("meets_targets")) for row in rows)), "with every mean on target"))
    for stage, words in (("propose", "crystals generated"), ("relax", "relaxed")):
        entered = (funnel.get(stage) or {}).get("entered")
        facts += [(f"{entered:,}", words)] if entered else []
    facts += [(_duration(float(record["seconds"])), "of computing")] if record.get("seconds") else []
    items = "".join(f"<li><b>{escape(value)}</b> {escape(label)}</li>" for value, label in facts)
    return f'<ul class="facts">{items}</ul>'


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _warnings(run: Run) -> str:
    """What a reader must know before using a number."""
    rows = run.rows
    lines = [_words(str(w)) for w in run.record.get("warnings") or []]
    far = sum(true(row.get("out_of_distribution")) for row in rows)
    if far:
        lie = "lies" if far == 1 else "lie"
        lines.append(
            f"{far} of {len(rows)} candidates {lie} outside what the property models have seen, by element, "
            "structure type or distance: intervals are wider there, and still less sure. Marked ◌."
        )
    undecided: dict[str, int] = {}
    for row in rows:
        for name, status, _ in verdicts(row):
            undecided[name] = undecided.get(name, 0) + (status.value == "unknown")
    for name, count in undecided.items():
        if count:
            noun = "candidate" if count == 1 else "candidates"
            lines.append(f"{_words(name).capitalize()} could not be decided for {count} {noun} (?).")
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    head = '<h2 id="limits">Before you use these numbers</h2>'
    return f'<aside class="warnings" aria-labelledby="limits">{head}<ul>{items}</ul></aside>'


def _words(key: str) -> str:
    return key.replace("_", " ")


def _notes(run: Run) -> str:
    """How varied the list is, and whether other methods of decision agree on its order."""
    lines = [str(run.record.get(key) or "") for key in ("summary", "variety", "agreement")]
    sentences = [line if line.endswith(".") else f"{line}." for line in lines if line]
    return "".join(f'<p class="note">{escape(line)}</p>' for line in sentences)


def _toolbar(run: Run) -> str:
    """Search, filters and buttons; the scripts of the page give them life."""
    rows = run.rows
    if not rows:
        return ""
    boxes = [
        ("target", "on target", any("meets_targets" in row for row in rows)),
        ("front", "Pareto front", any("pareto" in row for row in rows)),
        ("near", "within the training data", any(true(row.get("out_of_distribution")) for row in rows)),
    ]
    checks = "".join(
        f'<label><input type="checkbox" data-filter="{name}"> {text}</label>'
        for name, text, there in boxes
        if there
    )
    families = sorted({str(row["anion_class"]) for row in rows if row.get("anion_class")})
    options = "".join(f'<option value="{escape(f, quote=True)}">{escape(f)}</option>' for f in families)
    choice = (
        f'<label>family <select id="family"><option value="">all</option>{options}</select></label>'
        if len(families) > 1
        else ""
    )
    known = (
        '<label><input type="checkbox" id="known" checked> known materials</label>'
        if run.record.get("known_materials")
        else ""
    )
    return (
        '<div class="toolbar" role="search" aria-label="Filter the candidates">'
        '<label class="find"><span class="hidden">Find a formula, an element or a family</span>'
        '<input type="search" id="find" placeholder="Formula, element or family" autocomplete="off"></label>'
        f'{checks}{choice}{known}<details class="bounds"><summary>Bounds</summary><div id="bounds"></div>'
        "</details>"
        '<span class="grow"></span><span id="count" role="status"></span>'
        '<button type="button" id="all-open">Open all</button>'
        '<button type="button" id="all-closed">Close all</button>'
        '<button type="button" id="clear" hidden>Clear filters</button></div>'
    )


def _charts(run: Run) -> str:
    if len(run.rows) < 1 or not chart_data(run)["pairs"]:
        return (
            '<p class="quiet">No candidate has two properties to draw against each other.</p>' if run.rows else ""
        )
    figures = "".join(
        f'<figure class="ashby"><div class="axes"><label>Up <select id="y-{k}" data-axis="y"></select></label>'
        f'<label>Across <select id="x-{k}" data-axis="x"></select></label></div>'
        f'<div class="plot" id="ashby-{k}" role="group" aria-label="Ashby chart"></div></figure>'
        for k in range(len(chart_data(run)["pairs"]))
    )
    legend = (
        '<p class="legend"><span><i class="dot front"></i>Pareto front</span><span><i class="dot other"></i>other '
        'candidates</span><span><i class="dot doubtful"></i>out of distribution</span><span><i class="dot bubble">'
        '</i>known materials</span><span><i class="dot cloud"></i>known crystals (DFT, Materials Project)</span>'
        '</p><p class="quiet">Bars are 90 % intervals, numbers are ranks. Point at anything to read it; select a '
        "candidate to open its page.</p>"
    )
    return (
        f'{legend}<div class="charts">{figures}<figure class="parallel"><figcaption>All properties side by side: '
        'one line for each candidate</figcaption><div class="plot" id="parallel" role="group" '
        'aria-label="Parallel coordinates of all candidates"></div></figure></div>'
    )


def _map(run: Run) -> str:
    if map_data(run) is None:
        return ""
    return (
        '<p class="quiet">Each grey dot is a known crystal, placed by what the property model makes of it: near '
        "means alike to the model. Candidates stand among the known crystals that are nearest to them. The axes "
        'have no unit.</p><figure class="map"><div class="plot" id="materials-map" role="group" '
        'aria-label="Map of materials space"></div></figure>'
    )


def _stages(record: Mapping[str, Any]) -> dict[str, Any]:
    last = record.get("selection")
    return dict(record.get("funnel") or {}) | ({"select": last} if last else {})


def _funnel(funnel: Mapping[str, Any]) -> str:
    if not funnel:
        return ""
    largest = max((int(stage["entered"]) for stage in funnel.values()), default=1) or 1
    items = []
    for name, stage in funnel.items():
        passed, entered = int(stage["passed"]), int(stage["entered"])
        rejected = ", ".join(f"{escape(_words(k))} {v:,}" for k, v in (stage.get("rejected") or {}).items())
        width = 100.0 * passed / largest
        lost = f'<small class="lost">out: {rejected}</small>' if rejected else ""
        items.append(
            f'<li><span class="step">{escape(STAGES.get(name, _words(name)))}</span>'
            f'<span class="track"><span class="fill" style="width:{width:.2f}%"></span></span>'
            f'<span class="count">{passed:,} <small>of {entered:,}</small></span>{lost}</li>'
        )
    return f'<ol class="steps">{"".join(items)}</ol>'


def _provenance(run: Run) -> str:
    record = run.record
    pairs = [("seed", str(record.get("seed", "")))]
    pairs += [(str(k), str(v)) for k, v in (record.get("versions") or {}).items()]
    pairs += [(str(k), str(v)) for k, v in (record.get("parts") or {}).items()]
    items = "".join(f"<div><dt>{escape(_words(k))}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs if v)
    query = escape(json.dumps(record.get("query") or {}, indent=1, ensure_ascii=False))
    files = "".join(f'<li><a href="{name}">{name}</a>: {words}</li>' for name, words in _files(run))
    return (
        f'<dl class="versions">{items}</dl><details><summary>The query as recorded</summary>'
        f'<pre tabindex="0">{query}</pre>'
        f"</details><p>Beside this page, in the run's folder:</p><ul>{files}</ul>"
    )


def _files(run: Run) -> list[tuple[str, str]]:
    """Files that lie beside the report; those of every run where the folder is not known."""
    return [(name, words) for name, words in FILES if run.folder is None or (run.folder / name).is_file()]
