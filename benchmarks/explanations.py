"""Whether explanations can be believed: do they add up, and does exchanging an element do what they say?

Run: python benchmarks/explanations.py --out FILE.json [-n 300]

Crystals are those with computed moduli, of chemical systems that the gate was not trained on (test part).

- *completeness*: largest difference between the value and either sum.
- *replacing*: each element alone is exchanged for 64 usual substitutes; its contribution should have the sign of
  the predicted loss. Signs are compared where the loss is above 0.02 (log10).
- *measured*: for crystals with at least three known siblings (same positions, same elements but for one), the
  contribution of that element should go with log10 of the crystal's modulus less the siblings' mean, weighted by
  how usual their exchange is, both by density functional theory. The few siblings are not what the contribution
  drew; so the gate's prediction of that very difference, with the siblings' elements put in, stands beside it
  (*exchanged*).

One thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode, protostructure
from invdesign.data.split import by_chemical_system
from invdesign.elements import symbol
from invdesign.properties import PREDICTED
from invdesign.reference.local import load_known
from invdesign.surrogates import load_gate
from invdesign.surrogates.explain.explanation import Explanation, explain
from invdesign.surrogates.explain.nearest import load_labelled
from invdesign.surrogates.explain.substitutes import exchange_odds, replaced, substitutes
from invdesign.surrogates.inputs.dataset import graphs_of_genes
from invdesign.surrogates.model import Model
from invdesign.surrogates.scales import shown

MODULI = ("bulk_modulus", "shear_modulus")
LEAST_LOSS = 0.02
LEAST_SIBLINGS = 3
TABLES = ("surrogate_gate.safetensors", "labelled_crystals.npz", "known_crystals.parquet", "substitution.npz")


def unseen() -> tuple[list[Gene], np.ndarray, np.ndarray]:
    """Genes and labels of the crystals with moduli, and whether each is of the test part."""
    table, known = load_labelled(), load_known()
    rows = {known.id(row): row for row in range(len(known))}
    genes = [known[rows[str(i)]].gene for i in table.ids]
    split = by_chemical_system([chemical_system(g.numbers) for g in genes])
    return genes, table.labels, split == "test"


def completeness(explanations: list[Explanation]) -> dict[str, float]:
    """Largest and typical difference between the value and each sum, by kind of sum."""
    reasons = [r for e in explanations for r in e.reasons.values()]
    sites = [r.substitutes + sum(c.value for c in r.elements.values()) - r.value for r in reasons]
    features = [r.average + r.surroundings + sum(r.features.values()) - r.value for r in reasons]
    found = {}
    for name, rest in (("sites", sites), ("features", features)):
        found[f"{name}, largest"] = float(np.abs(rest).max())
        found[f"{name}, 99 in 100 below"] = float(np.quantile(np.abs(rest), 0.99))
    return found


def losses(model: Model, gene: Gene) -> dict[str, np.ndarray]:
    """By element, the predicted values less the mean of those with that element exchanged."""
    swaps = substitutes(gene, 64, np.random.default_rng(1))
    own = shown(model.properties, model.raw(graphs_of_genes([gene])).mean)[0]
    found = {}
    for z in dict.fromkeys(gene.numbers):
        others = [replaced(gene, tuple(s[z] if n == z else n for n in gene.numbers)) for s in swaps]
        found[symbol(z)] = own - shown(model.properties, model.raw(graphs_of_genes(others)).mean).mean(axis=0)
    return found


def replacing(model: Model, genes: list[Gene], explanations: list[Explanation]) -> dict[str, Any]:
    """Agreement of contributions with the predicted loss when one element is exchanged."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for gene, explanation in zip(genes, explanations, strict=True):
        if len(set(gene.numbers)) < 2:
            continue
        for element, loss in losses(model, gene).items():
            for name in MODULI:
                j = model.properties.index(name)
                pairs[name].append((explanation.reasons[name].elements[element].value, float(loss[j])))
    return {name: agreement(np.array(p)) for name, p in pairs.items()}


def agreement(pairs: np.ndarray) -> dict[str, float]:
    """Rank correlation, and share of equal signs where the second column is not small."""
    clear = np.abs(pairs[:, 1]) > LEAST_LOSS
    return {
        "n": len(pairs),
        "spearman": float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic),
        "n_clear": int(clear.sum()),
        "same_sign": float((np.sign(pairs[clear, 0]) == np.sign(pairs[clear, 1])).mean()),
    }


def families(genes: list[Gene]) -> dict[Any, list[tuple[int, int]]]:
    """Crystals that are the same but for one element: key to (row, that element)."""
    found: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for row, gene in enumerate(genes):
        for z in set(gene.numbers):
            numbers = tuple(0 if n == z else n for n in gene.numbers)
            found[protostructure(Gene(gene.space_group, gene.wyckoffs, numbers, (), ()))].append((row, z))
    return found


def measured(model: Model, genes: list[Gene], labels: np.ndarray, test: np.ndarray, n: int) -> dict[str, Any]:
    """Agreement of contributions with computed differences between known siblings."""
    cases = [
        (row, z, [other for other in members if other[0] != row])
        for members in families(genes).values()
        if len(members) > LEAST_SIBLINGS
        for row, z in members
        if test[row] and len(set(genes[row].numbers)) > 1
    ]
    chosen = [cases[i] for i in np.sort(np.random.default_rng(2).permutation(len(cases))[:n])]
    explanations = explain(model, decode([genes[row] for row, _, _ in chosen]))
    found: dict[str, Any] = {"crystals": len({row for row, _, _ in chosen})}
    exchanged = [predicted_difference(model, genes[row], z, others) for row, z, others in chosen]
    for name in MODULI:
        j = model.properties.index(name)
        values = np.log10(labels[:, PREDICTED.index(name)])
        true = [values[row] - sibling_mean(values, z, others) for row, z, others in chosen]
        told = [
            e.reasons[name].elements[symbol(z)].value for e, (_, z, _) in zip(explanations, chosen, strict=True)
        ]
        found[name] = {
            "contribution": agreement(np.array([told, true]).T),
            "exchanged": agreement(np.array([[d[j] for d in exchanged], true]).T),
        }
    return found


def predicted_difference(model: Model, gene: Gene, z: int, others: list[tuple[int, int]]) -> np.ndarray:
    """(p,) predicted value less the weighted mean of those with the siblings' elements in the place of `z`."""
    made = [replaced(gene, tuple(new if n == z else n for n in gene.numbers)) for _, new in others]
    found = shown(model.properties, model.raw(graphs_of_genes([gene, *made])).mean)
    weights = [exchange_odds()[z, new] for _, new in others]
    return found[0] - np.average(found[1:], axis=0, weights=weights)


def sibling_mean(values: np.ndarray, z: int, others: list[tuple[int, int]]) -> float:
    """Mean value of siblings (row, element in the place of `z`), weighted by how usual the exchange is."""
    weights = [exchange_odds()[z, other] for _, other in others]
    return float(np.average(values[[row for row, _ in others]], weights=weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=300, help="crystals")
    args = parser.parse_args()
    model = load_gate().model
    genes, labels, test = unseen()
    rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(test))[: args.n])
    some = [genes[i] for i in rows]
    crystals = decode(some)
    explain(model, crystals[:1])
    start = time.process_time()
    explanations = explain(model, crystals)
    speed = len(crystals) / (time.process_time() - start)
    found = {
        "crystals": len(crystals),
        "crystals_per_second": speed,
        "completeness": completeness(explanations),
        "replacing": replacing(model, some, explanations),
        "measured": measured(model, genes, labels, test, args.n),
    }
    write_record(args.out, found, seed="0, 1 and 2, of crystals, substitutes and cases", depends_on=TABLES)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
