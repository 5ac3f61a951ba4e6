"""Build the map of materials space: `invdesign/tables/materials_map.npz`.

    python scripts/build_materials_map.py [--out FOLDER]

Reads `labelled_crystals.npz` and `known_crystals.parquet` of the folder: make the map again when the gate changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE, trustworthiness

from invdesign.chemistry.families import anion_class
from invdesign.elements import atomic_number
from invdesign.report.materials_map import FAMILIES, TABLE
from invdesign.surrogates.explain.nearest import TABLE as LABELLED
from invdesign.surrogates.explain.nearest import load_labelled
from invdesign.training.rebuild import begin, built, options, run
from invdesign.training.sheet import Sheet

SEED = 0
PERPLEXITY = 40
CLUSTERS = 36
SHARE, ENRICHED = 0.25, 2.0
"""An element names a cluster if it is in this share of its crystals, this many times as often as elsewhere."""
ABOUT = """\
{n:,} known crystals in the plane: `ids` (numbers of their Materials Project ids), `formulas`, `xy` (n, 2), a t-SNE
embedding (L. van der Maaten and G. Hinton, J. Mach. Learn. Res. 9, 2579 (2008); scikit-learn, perplexity
{perplexity}) of their positions in the space in which the gate measures distances; `kinds`, the index of each
one's family in `families`; and {k} clusters (k-means in the plane) by `label_texts`, `label_xy` (k, 2) and
`label_sizes` (share of the crystals). A cluster is named by its commonest family and the two elements that are
most enriched in it: in {share:.0%} of its crystals or more, and at least {enriched:g} times as often as in the
whole table."""


def main() -> None:
    given = begin(options(__doc__, data=False))
    known = load_labelled()
    elements = [tuple(map(atomic_number, dict.fromkeys(re.findall("[A-Z][a-z]?", f)))) for f in known.formulas]
    families = [FAMILIES[anion_class(numbers)] for numbers in elements]
    names = sorted(set(families), key=lambda name: (-families.count(name), name))
    n = len(families)
    plane = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init="pca", random_state=SEED, n_jobs=1).fit_transform(
        known.positions
    )
    k = min(CLUSTERS, n)
    clusters = KMeans(k, n_init=4, random_state=SEED).fit(plane)
    members = [np.flatnonzero(clusters.labels_ == c).tolist() for c in range(k)]
    formulas = known.formulas.tolist()
    labels = [_name([families[i] for i in rows], [formulas[i] for i in rows], formulas) for rows in members]
    np.savez_compressed(
        given.out / TABLE,
        ids=np.array([int(str(i).rsplit("-", 1)[1]) for i in known.ids], dtype=np.int32),
        xy=plane.astype(np.float16),
        formulas=known.formulas,
        kinds=np.array([names.index(f) for f in families], dtype=np.uint8),
        families=np.array(names),
        label_texts=np.array(labels),
        label_xy=clusters.cluster_centers_.astype(np.float64),
        label_sizes=np.array([len(rows) / n for rows in members]),
    )
    kept = trustworthiness(known.positions, plane, n_neighbors=10) if n > 30 else float("nan")
    Sheet(
        about=ABOUT.format(n=n, perplexity=PERPLEXITY, k=k, share=SHARE, enriched=ENRICHED),
        script="python scripts/build_materials_map.py",
        data=built(LABELLED),
        split="nothing is held out: the map is for showing what is near, not for measuring errors",
        seed=f"{SEED}, of the embedding and of the clusters",
        metrics=f"trustworthiness of ten neighbours {kept:.3f} (1: all neighbours in the plane are neighbours)",
        commit=given.commit,
        licence="Materials Project (A. Jain et al., APL Mater. 1, 011002 (2013)), CC BY 4.0.",
    ).write(given.out / TABLE)
    print(f"{given.out / TABLE}: {n:,} crystals, {k} clusters, trustworthiness {kept:.3f}")


def _name(families: Sequence[str], formulas: Sequence[str], everything: Sequence[str]) -> str:
    """The commonest family of a cluster, and the elements that are enriched in it."""
    family = Counter(families).most_common(1)[0][0]
    here, there = _shares(formulas), _shares(everything)
    lift = {e: share / there[e] for e, share in here.items() if share >= SHARE and share >= ENRICHED * there[e]}
    enriched = sorted(lift, key=lambda element: (-lift[element], element))[:2]
    return f"{family}: {', '.join(enriched)}" if enriched else family


def _shares(formulas: Sequence[str]) -> dict[str, float]:
    """Share of the formulas that hold each element."""
    counts = Counter(e for formula in formulas for e in set(re.findall("[A-Z][a-z]?", str(formula))))
    return {element: count / len(formulas) for element, count in counts.items()}


if __name__ == "__main__":
    run(main)
