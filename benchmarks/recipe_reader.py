"""Reading recipes out of text: precision and recall by entity on paragraphs that nothing was learnt from.

The paragraphs and their labels were written for this project (`tests/data/synthesis_paragraphs.yaml`); the tagger
is learnt from every other one.

    python benchmarks/recipe_reader.py [--out FILE.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from invdesign.benchmarking.run import write_record
from invdesign.training.recipe_reader import judged, learnt, load_paragraphs, parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("recipe_reader.json"))
    given = parser.parse_args()
    train, test = parts(load_paragraphs())
    found = judged(test, learnt(train))
    entities = {
        kind: {
            "precision": s.precision,
            "recall": s.recall,
            "right": s.right,
            "read": s.read,
            "labelled": s.labelled,
        }
        for kind, s in found.items()
    }
    figures = {"learnt_from": len(train), "held_out": len(test), "entities": entities}
    write_record(given.out, figures, "none: nothing is random")
    print(figures)


if __name__ == "__main__":
    main()
