"""Glossary of a report: the words of its table and charts, and every property that it shows."""

from __future__ import annotations

from html import escape

from invdesign.report import markup
from invdesign.report.candidates import Run
from invdesign.report.dictionary import MEANINGS

WORDS = {
    "Candidate": "A crystal that is new to the known phases, was relaxed, and passed the checks.",
    "± and 90 % interval": "± is one standard deviation. The true value is expected within the interval in nine "
    "of ten cases; it need not be symmetric.",
    "Score": "Desirability from 0 to 1: the weighted geometric mean over all wishes. A bound that is just met "
    "counts one half, more than met up to 1; no wish can be bought off by another.",
    "Rank and its interval": "The place in the list, and below it the places that the errors of prediction allow "
    "(5 to 95 %). Where intervals overlap the order is not settled.",
    "Pareto front ★": "No other candidate is at least as good in every wish and better in one.",
    "Out of distribution ◌": "Unlike what the property models were trained on, by element, structure type or "
    "distance: the values are less sure than their errors say.",
    "Checks": "Verdicts of the validators: ✓ passed, ? could not be decided, ✗ failed. Undecided is neither good "
    "nor bad news.",
    "Known materials ◆": "Materials that can be bought, judged by the same wishes with measured values.",
    "Family": "Class by the most electronegative non-metal: boride, nitride, oxide, …",
    "TOPSIS, SPOTIS": "Two other methods to order a list of alternatives; agreement makes an order firmer.",
    "Material index": "The combination of properties that decides how well a part performs, as √E/ρ for the mass "
    "of a beam of given stiffness (Ashby).",
}


def glossary(run: Run) -> str:
    """Terms with their explanation, as HTML."""
    shown = [name for name in run.properties if any(name in row for row in run.rows)]
    items = [f"<div><dt>{escape(word)}</dt><dd>{escape(text)}</dd></div>" for word, text in WORDS.items()]
    for name in shown:
        prop, meaning = run.properties[name], MEANINGS.get(name)
        if meaning:
            unit = f" <small>{markup.unit(prop.unit)}</small>" if prop.unit else ""
            label = escape(prop.label[:1].upper() + prop.label[1:])
            items.append(
                f"<div><dt>{label} <i>{markup.symbol(prop)}</i>{unit}</dt><dd>{escape(meaning)}</dd></div>"
            )
    return f'<dl class="glossary">{"".join(items)}</dl>'
