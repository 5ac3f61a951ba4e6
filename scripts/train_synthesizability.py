"""Train the score of synthesizability: `synthesizability.npz` with its data sheet.

    python scripts/train_synthesizability.py [--out FOLDER] [--seed 0] [--small]

Reads `known_crystals.parquet` of the folder. The figures of the data sheet are of chemical systems left out in
three folds; `benchmarks/synthesizability.py` has others. About two minutes of one core.
"""

from __future__ import annotations

import numpy as np

from invdesign.reference.known import TABLE as KNOWN
from invdesign.reference.known import KnownCrystals
from invdesign.synthesis.described import arrays_of
from invdesign.synthesis.synthesizability import TABLE, Model
from invdesign.training.rebuild import begin, built, options, run
from invdesign.training.sheet import Sheet
from invdesign.training.synthesizability import (
    FOLDS,
    HEADS,
    Listed,
    auc,
    cross_calibrated,
    folds_of,
    load_listed,
    reliability,
    trained,
)

ABOUT = """\
The score of synthesizability: boosted trees of whether a known crystal is listed as made (`crystal_*`:
composition, symmetry, prototype, energy above hull; `composition_*`: formula alone), their calibration with the
label frequency c (`*_calibration`: slope, intercept, c), counts of known crystals by pair of elements (`pairs`:
made, all) and by prototype (`prototypes`, `prototype_counts`). Read by `invdesign.synthesis.synthesizability`.

Learnt from {n:,} known crystals with an energy above hull, {made:,} of them listed as known from experiment. The
others are unlabelled, not negative: nobody says that they cannot be made."""
MORE = """\
Limits: what is listed is what chemists tried and databases took up, so the score follows fashion (oxides, rare
earths, common prototypes). A crystal of a generator is further from the known ones than they are from each other.
The flag says nothing of how hard, under which pressure, or at what cost; a low score is no proof that a crystal
cannot be made."""


def main() -> None:
    parser = options(__doc__, data=False, small=True)
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of the trees")
    given = begin(parser)
    data = load_listed(KnownCrystals.load())
    model, apart = trained(data, given.seed, given.small)
    heads = {"crystal": model.crystal, "composition": model.composition}
    calibrations = {
        f"{name}_calibration": np.array([head.slope, head.intercept, head.frequency])
        for name, head in heads.items()
    }
    trees = model.crystal.trees.arrays("crystal") | model.composition.trees.arrays("composition")
    np.savez_compressed(given.out / TABLE, **arrays_of(model.known), **trees, **calibrations)
    metrics = figures(data, apart, model, given.seed)
    Sheet(
        about=ABOUT.format(n=len(data), made=int(data.made.sum())),
        script="python scripts/train_synthesizability.py" + (" --small" if given.small else ""),
        data=built(KNOWN),
        split=f"figures, calibration and c: chemical systems left out in {FOLDS} folds; the trees: all crystals",
        seed=f"{given.seed}, of the folds and of the trees",
        metrics=metrics,
        commit=given.commit,
        licence="Materials Project (A. Jain et al., APL Mater. 1, 011002 (2013)), CC BY 4.0.",
        more=MORE,
    ).write(given.out / TABLE)
    print(f"{given.out / TABLE}: {metrics}")


def figures(data: Listed, apart: dict[str, np.ndarray], model: Model, seed: int) -> str:
    """Area under the curve, calibration error and c of both heads, in words."""
    fold = folds_of(data.systems, seed)
    parts = []
    for name, head in zip(HEADS, (model.crystal, model.composition), strict=True):
        listed = cross_calibrated(apart[name], data.made, fold)
        error = reliability(listed, data.made)["expected_calibration_error"]
        parts.append(
            f"{name}: ROC AUC {auc(listed, data.made):.3f}, expected calibration error {error:.3f}, "
            f"c {head.frequency:.3f}"
        )
    return f"of being listed as made, {'; '.join(parts)}"


if __name__ == "__main__":
    run(main)
