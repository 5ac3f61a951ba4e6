"""The page of one candidate: structure, values, checks, stability, neighbours, diffraction, elasticity, why."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from invdesign.crystal import Crystal
from invdesign.numbers import percent, rounded, verdict_text, with_error
from invdesign.report import markup
from invdesign.report.candidates import Row, Run, interval, number, true
from invdesign.report.dictionary import INDEX
from invdesign.report.diffraction import powder_pattern
from invdesign.report.listing import key_of, verdicts
from invdesign.report.scene import scene
from invdesign.uncertainty import Z90

NEIGHBOUR = re.compile(r"(?P<formula>\S+) (?P<id>mp-\d+) \((?P<group>\d+)\): (?P<values>.*)")
"""How a table writes a known crystal, see `invdesign.report.export`."""
METHODS = {"rank_desirability": "desirability", "rank_topsis": "TOPSIS", "rank_spotis": "SPOTIS"}
MAKEABLE = (
    "How like the known crystals that are listed as made it is, from 0 to 1. The others are not known to be "
    "impossible, and a new crystal is unlike both: a remark, never a reason to fail."
)
CONSTANTS = [(i, j) for i in range(1, 7) for j in range(i, 7)]


def page(place: int, row: Row, run: Run) -> str:
    """The page as HTML, folded up, with the data of its drawings.

    Args:
        place: from 1.
        row: of the table.
        run: the run that it belongs to.
    """
    key, crystal = key_of(place), run.crystal(row)
    tensor = elastic_tensor(row)
    drawings: dict[str, Any] = {}
    if crystal is not None:
        drawings |= {"scene": scene(crystal), "pattern": powder_pattern(crystal)}
    if tensor is not None:
        drawings["compliance"] = np.round(1e3 * np.linalg.inv(tensor), 5).tolist()
    side = [
        _structure(key, row, crystal),
        _decision(row, len(run.rows)),
        _stability(row),
        _synthesis(row, run),
        _neighbours(row),
        _checks(row),
        _history(row),
    ]
    middle = [
        _values(row, run),
        _pattern(key, row) if crystal is not None else "",
        _elasticity(key, row, tensor),
        _explanation(row, run),
    ]
    article = (
        f'<article aria-label="{escape(str(row.get("formula", "")), quote=True)}, rank {place}">'
        f'{_head(place, row)}<div class="blocks"><div class="side">{"".join(side)}</div>'
        f'<div class="middle">{"".join(middle)}</div></div></article>'
    )
    return markup.folded(article) + markup.data(f"data-{key}", drawings)


def elastic_tensor(row: Row) -> np.ndarray[Any, Any] | None:
    """The elastic tensor (6, 6) of a row in Voigt notation, GPa; None without one, or if it is not stable."""
    constants = [number(row.get(f"c{i}{j}")) for i, j in CONSTANTS]
    if any(c is None for c in constants):
        return None
    tensor = np.zeros((6, 6))
    for (i, j), c in zip(CONSTANTS, constants, strict=True):
        tensor[i - 1, j - 1] = tensor[j - 1, i - 1] = c
    return tensor if np.linalg.eigvalsh(tensor)[0] > 1e-6 else None


def _head(place: int, row: Row) -> str:
    reason = str(row.get("reason") or "").rstrip(".")
    verdict = str(row.get("verdict") or "")
    points = "".join(
        f"<li>{markup.material_link(_nice(_capital(part)))}</li>" for part in reason.split("; ") if part
    )
    return (
        f"<header><h3>{place}. {markup.formula(str(row.get('formula', '')))} "
        f"<small>{markup.group_of(row)}</small></h3>"
        + (f'<p class="verdict">{escape(_capital(verdict))}.</p>' if verdict else "")
        + (f'<ul class="reasons">{points}</ul>' if points else "")
        + "</header>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _block(title: str, body: str) -> str:
    return f'<section class="block"><h4>{escape(title)}</h4>{body}</section>' if body else ""


def _structure(key: str, row: Row, crystal: Crystal | None) -> str:
    link = markup.cif_link(row, "CIF file")
    if crystal is None:
        return _block("Structure", f"<p>{link}</p>") if "<a" in link else ""
    a, b, c, alpha, beta, gamma = crystal.lattice_parameters
    pairs = [
        ("a, b, c", f"{a:.3f}, {b:.3f}, {c:.3f} Å"),
        ("α, β, γ", f"{alpha:.1f}, {beta:.1f}, {gamma:.1f}°"),
        ("volume", f"{crystal.volume:.1f} Å³, {crystal.volume / crystal.n_sites:.1f} Å³ per atom"),
        ("atoms", _sites(row, crystal)),
    ]
    figure = (
        f'<figure class="crystal" data-key="{key}"><div class="poster" role="img" '
        f'aria-label="Drawing of the unit cell"></div><div class="stage" hidden></div>'
        f'<button type="button" class="turn">Rotate in 3-D</button>'
        '<figcaption class="elements"></figcaption></figure>'
    )
    return _block("Structure", f"{figure}{_pairs(pairs)}<p>{link}</p>")


def _sites(row: Row, crystal: Crystal) -> str:
    primitive = number(row.get("n_sites"))
    tail = f", {primitive:g} in the primitive cell" if primitive and primitive != crystal.n_sites else ""
    return f"{crystal.n_sites} in the cell shown{tail}"


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs if v)
    return f"<dl>{items}</dl>" if items else ""


def _values(row: Row, run: Run) -> str:
    rows = []
    for name, prop in run.properties.items():
        mean = number(row.get(name))
        if mean is not None:
            source = str(row.get(f"{name}_source") or "")
            rows.append(
                f'<tr><th scope="row">{escape(prop.label)} <i>{markup.symbol(prop)}</i></th>'
                f'<td class="number">{markup.value(mean, number(row.get(f"{name}_std")))}</td>'
                f'<td>{markup.unit(prop.unit)}</td><td class="range">{_range(row, name, prop.log)}</td>'
                f'<td class="source">{escape(_source(source))}</td></tr>'
            )
    for key in row:
        if key.startswith(INDEX) and not key.endswith("_std"):
            cell = markup.value(number(row.get(key)), number(row.get(f"{key}_std")))
            rows.append(
                f'<tr><th scope="row">{escape(key.removeprefix(INDEX))}</th><td class="number">{cell}</td>'
                '<td></td><td class="range"></td><td class="source">index</td></tr>'
            )
    if not rows:
        return ""
    heads = "".join(f'<th scope="col"{kind}>{text}</th>' for text, kind in (
        ("property", ""), ("value", ' class="number"'), ("unit", ""), ("90 % interval", ' class="range"'),
        ("from", ' class="source"'),
    ))  # fmt: skip
    return _block("Properties", f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _range(row: Row, name: str, log: bool) -> str:
    low, high = interval(row, name, log)
    if low is None or high is None or low == high:
        return ""
    width = (high - low) / (2.0 * Z90)
    return " – ".join(_nice(rounded(end, width)[0]) for end in (low, high))


def _source(text: str) -> str:
    kind, _, what = text.partition(":")
    words = {"surrogate": "model", "potential": "potential", "formula": "formula", "elements": "elements"}
    return f"{words[kind]} ({what})" if kind in words and what else text


def _decision(row: Row, n: int) -> str:
    low, high = number(row.get("rank_low")), number(row.get("rank_high"))
    pairs = []
    if low is not None and high is not None:
        pairs.append(("ranks that errors allow", f"{low:g} to {high:g} of {n}"))
    for key, words in (("first_by_errors", "errors drawn anew"), ("first_by_weights", "weights drawn anew")):
        share = number(row.get(key))
        if share is not None:
            pairs.append((f"among the first five, {words}", percent(share)))
    methods = [f"{name} {number(row[key]):g}" for key, name in METHODS.items() if number(row.get(key)) is not None]
    pairs += [("rank by method", ", ".join(methods))] if len(methods) > 1 else []
    chance = number(row.get("target_probability"))
    pairs += [("all targets hold", percent(chance))] if chance is not None else []
    return _block("How firm its place is", _pairs(pairs))


def _checks(row: Row) -> str:
    marks = {"pass": "✓", "fail": "✗", "unknown": "?"}
    items = "".join(
        f'<li><span class="{status.value}" aria-hidden="true">{marks[status.value]}</span> '
        f"{markup.material_link(verdict_text(name, status, reason))}</li>"
        for name, status, reason in verdicts(row)
    )
    return _block("Checks", f'<ul class="checklist">{items}</ul>' if items else "")


def _stability(row: Row) -> str:
    hull, std = number(row.get("energy_above_hull")), number(row.get("energy_above_hull_std"))
    phases = str(row.get("decomposes_into") or "")
    if hull is None and not phases:
        return ""
    parts = []
    if hull is not None:
        side = "above" if hull >= 0 else "below"
        text = with_error(abs(hull), math.nan if std is None else std, "eV/atom")
        parts.append(f"<p>{escape(text)} {side} the hull of the known phases.</p>")
    if phases:
        found = [part.split(" ", 1) for part in phases.split(" + ")]
        items = "".join(
            f"<li>{markup.formula(names[0])} <small>{_share(share)} of the atoms</small></li>"
            for share, *names in found
            if names
        )
        parts.append(f"<p>It competes with</p><ul>{items}</ul>")
    if true(row.get("formula_known")):
        parts.append("<p>A known phase has this formula, with another structure or one that is not at hand.</p>")
    return _block("Stability", "".join(parts))


def _synthesis(row: Row, run: Run) -> str:
    """How it might be made, by published recipes of similar compounds."""
    found = (run.record.get("recipes") or {}).get(str(row.get("formula", "")))
    parts = [_makeable(row)]
    if not found:
        return _block("Can it be made?", parts[0])
    if found["no_evidence"]:
        parts.append(f"<p>No evidence: {escape(found['no_evidence'])}.</p>")
    if found["routes"]:
        parts.append(f"<ol>{''.join(map(_route, found['routes']))}</ol>")
    if found["conditions"]:
        parts.append(_pairs([("method", found["method"]), *_firing(found["conditions"])]))
    near = "".join(map(_published, found["nearest"]))
    parts.append(f"<p>Nearest published recipes</p><ul>{near}</ul>" if near else "")
    return _block("Can it be made?", "".join(parts))


def _makeable(row: Row) -> str:
    """The score of synthesizability with what it is worth; empty if the table has none."""
    score, note = number(row.get("synthesizability")), str(row.get("synthesizability_note") or "")
    if score is None:
        return f"<p>Synthesizability: {escape(note)}.</p>" if note else ""
    about = escape(f"({note})" if note else "")
    return f"<p>Synthesizability {score:.2f} {about}<br><small>{MAKEABLE}</small></p>"


def _route(route: Mapping[str, Any]) -> str:
    text = "; ".join(part for part in (route["reaction"], route["note"]) if part)
    reaction = f"<br><small>{_nice(escape(text))}</small>" if text else ""
    return f"<li>{_plus(route['precursors'])} <small>{percent(route['share'])}</small>{reaction}</li>"


def _plus(formulas: Sequence[str]) -> str:
    return " + ".join(map(markup.formula, formulas))


def _published(each: Mapping[str, Any]) -> str:
    doi = escape(each["doi"], quote=True)
    link = f'<a href="https://doi.org/{doi}" rel="noreferrer">{doi}</a>'
    return f"<li>{markup.formula(each['formula'])} <small>from {_plus(each['precursors'])}, {link}</small></li>"


def _firing(stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if stated["temperature"] is not None:
        yield (
            "firing",
            f"{stated['temperature']:.0f} °C, {stated['low']:.0f} to {stated['high']:.0f} in recipes near it",
        )
    if stated["hours"] is not None:
        yield "for", f"{stated['hours']:.3g} h"
    gases = [f"{name} {percent(share)}" for name, share in list(stated["atmospheres"].items())[:2]]
    yield "in", ", ".join(gases)


def _share(text: str) -> str:
    share = number(text)
    return escape(text) if share is None else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _neighbours(row: Row) -> str:
    items = []
    for entry in str(row.get("nearest") or "").split("; "):
        found = NEIGHBOUR.fullmatch(entry)
        if found:
            items.append(
                f"<li>{markup.formula(found['formula'])} {markup.material_link(found['id'])} "
                f"<small>{markup.group(int(found['group']))} ({found['group']})<br>"
                f"{_subscripts(found['values'])}</small></li>"
            )
        elif entry:
            items.append(f"<li>{markup.material_link(entry)}</li>")
    if not items:
        return ""
    distance = number(row.get("nearest_distance"))
    far = f"<p>The first lies at {distance:.1f} times the usual distance.</p>" if distance is not None else ""
    note = "<small>K, G in GPa, E_g in eV, E_f in eV/atom, by density functional theory</small>"
    return _block("Nearest known crystals", f"<ul>{''.join(items)}</ul>{far}{note}")


def _subscripts(text: str) -> str:
    """Symbols such as E_f with their subscripts."""
    return re.sub(r"\b(\w)_(\w)\b", r"\1<sub>\2</sub>", escape(_nice(text)))


def _pattern(key: str, row: Row) -> str:
    label = escape(f"Powder diffraction pattern of {row.get('formula', '')}", quote=True)
    return _block(
        "Powder pattern, Cu Kα",
        f'<div class="plot pattern" id="pattern-{key}" data-key="{key}" role="group" aria-label="{label}"></div>',
    )


def _elasticity(key: str, row: Row, tensor: np.ndarray[Any, Any] | None) -> str:
    if tensor is None:
        return ""
    from invdesign.mechanics.tensors import extreme_youngs_moduli, summarise

    low, high = extreme_youngs_moduli(tensor)
    about = summarise(tensor)
    pairs = [
        ("Young's modulus", f"{low:.0f} to {high:.0f} GPa by direction"),
        ("bulk, shear modulus", f"{about.bulk_hill:.0f}, {about.shear_hill:.0f} GPa (Hill)"),
        ("universal anisotropy", f"{about.universal_anisotropy:.2f}"),
    ]
    figure = (
        f'<figure class="surface" data-key="{key}"><div class="stage" hidden></div>'
        '<button type="button" class="turn">Show the surface in 3-D</button>'
        f'<div class="plot sections" id="sections-{key}" data-key="{key}" role="group" '
        'aria-label="Young\'s modulus by direction in three planes"></div></figure>'
    )
    note = "<small>By the potential, which is too soft as a rule: for directions, not for the size.</small>"
    return _block("Young's modulus by direction", f"{figure}{_pairs(pairs)}{note}")


def _explanation(row: Row, run: Run) -> str:
    """What elements, sites and features add to the predicted values."""
    parts = []
    for name, prop in run.properties.items():
        found = [
            (words, str(row[f"{name}_by_{what}"]))
            for what, words in (("element", "elements"), ("site", "sites"), ("feature", "features"))
            if row.get(f"{name}_by_{what}")
        ]
        if found:
            unit = "" if prop.log else f" ({prop.unit})"
            items = "".join(f"<dt>{words}</dt><dd>{_chips(text)}</dd>" for words, text in found)
            parts.append(f"<h5>{escape(prop.label)}{escape(unit)}</h5><dl>{items}</dl>")
    if not parts:
        return ""
    note = "<p><small>Against the elements that usually take the same place; moduli in percent.</small></p>"
    return _block("Why it is predicted so", note + "".join(parts))


def _chips(text: str) -> str:
    return "".join(f'<span class="chip">{escape(_nice(part))}</span> ' for part in text.split("; ") if part)


def _nice(text: str) -> str:
    """A text of the table as print would have it: minus signs, ≥ and ≤, numbers that keep their unit."""
    text = text.replace(">=", "≥").replace("<=", "≤").replace(" %", "\N{NO-BREAK SPACE}%")
    return re.sub(r"(?<![\w)])-(?=\d)", "\N{MINUS SIGN}", text)


def _history(row: Row) -> str:
    return _block("Where it comes from", _pairs(list(_past(row))))


def _past(row: Row) -> Iterator[tuple[str, str]]:
    yield "id", str(row.get("id") or "")
    yield "proposed by", str(row.get("generator") or "")
    yield "derived from", str(row.get("parents") or "")
    yield "relaxed by", str(row.get("potential") or "")
    steps, force = number(row.get("relaxation_steps")), number(row.get("max_force"))
    if steps is not None and force is not None:
        yield "relaxation", f"{steps:g} steps, {force:.3f} eV/Å left"
    moved, grown = number(row.get("rms_displacement")), number(row.get("volume_change"))
    if moved is not None and grown is not None:
        yield "change by it", f"atoms {moved:.2f} Å, volume {100 * grown:+.1f} %"
    distance = number(row.get("training_distance"))
    if distance is not None:
        far = "out of distribution" if true(row.get("out_of_distribution")) else "within the training data"
        why = f" ({row['ood_reason']})" if row.get("ood_reason") else ""
        yield "for the models", f"{far}{why}; percentile {100 * min(distance, 9.99):.0f}"
