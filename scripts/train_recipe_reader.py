"""Train the tagger of the reader of recipes: `recipe_reader.json` with its data sheet.

    python scripts/train_recipe_reader.py [--out FOLDER]

Reads the paragraphs of `tests/data/synthesis_paragraphs.yaml`, which were written and labelled for it. Every
second one is held out; figures are of those. Seconds.
"""

from __future__ import annotations

import hashlib
import json

from invdesign.synthesis.reader import NAMES, ROLES, TABLE, Tagger
from invdesign.training.rebuild import begin, options, run
from invdesign.training.recipe_reader import PARAGRAPHS, STRENGTH, Score, judged, learnt, load_paragraphs, parts
from invdesign.training.sheet import Sheet

ABOUT = """\
A multinomial logistic regression (scikit-learn, L2, C = {C}) that tells target, precursor and neither apart among
the materials of a paragraph: `weights` ({roles} × {features}), `bias`, `roles` and the names of the `features`.
Read by `invdesign.synthesis.reader`, whose rules find materials, steps and quantities.

Learnt from {n} of {all} paragraphs, all written for this project; no text of others is used."""
MORE = """\
Precision and recall of what is read from the {n} held-out paragraphs:

{table}

Limits: paragraphs of one hand, in English, of one compound each, and the same hand wrote the rules. A notebook of
other habits will be read worse; look at what was read before it is used."""


def main() -> None:
    given = begin(options(__doc__, data=False))
    paragraphs = load_paragraphs()
    train, test = parts(paragraphs)
    tagger = learnt(train)
    text = {
        "roles": ROLES,
        "features": NAMES,
        "weights": _rounded(tagger),
        "bias": [round(b, 5) for b in tagger.bias],
    }
    (given.out / TABLE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    found = judged(test, tagger)
    Sheet(
        about=ABOUT.format(C=STRENGTH, roles=len(ROLES), features=len(NAMES), n=len(train), all=len(paragraphs)),
        script="python scripts/train_recipe_reader.py",
        data={PARAGRAPHS.name: hashlib.sha256(PARAGRAPHS.read_bytes()).hexdigest()},
        split=f"every second paragraph: {len(train)} to learn from, {len(test)} held out",
        seed="none: nothing is random",
        metrics="; ".join(f"{kind} {s.precision:.2f} / {s.recall:.2f}" for kind, s in found.items())
        + " (precision / recall)",
        commit=given.commit,
        licence="written for this project, under its licence.",
        more=MORE.format(n=len(test), table=markdown(found)),
    ).write(given.out / TABLE)
    print(f"{given.out / TABLE}\n{markdown(found)}\non those learnt from:\n{markdown(judged(train, tagger))}")


def _rounded(tagger: Tagger) -> list[list[float]]:
    return [[round(w, 5) for w in row] for row in tagger.weights.tolist()]


def markdown(found: dict[str, Score]) -> str:
    """A table of precision and recall by kind."""
    lines = ["| entity | precision | recall | labelled |", "| --- | --- | --- | --- |"]
    lines += [f"| {kind} | {s.precision:.2f} | {s.recall:.2f} | {s.labelled} |" for kind, s in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
