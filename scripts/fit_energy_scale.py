"""Fit the energy scale of a potential and write `energy_scale_<name>.json` with its data sheet.

    python scripts/fit_energy_scale.py --data DIR --potential mp2020
    python scripts/fit_energy_scale.py --data DIR --potential sevennet-0 [--out FOLDER] [--known N] [--new N]
    python scripts/fit_energy_scale.py --data DIR --potential sevennet-0 --second chgnet [--new 200]

DIR holds `crystals.parquet`, `convex_hull.parquet`, `mp2020_elemental_references.json.gz` and
`alexandria_eos.parquet`. Two kinds of crystals are used, chosen so that every element is seen: *known* ones of
the Materials Project, on which the potentials were trained, and *new* ones of Alexandria whose composition the
Materials Project does not hold, which show the error to expect of a design. The chemical systems that
`invdesign.data.split` holds out for tests are not touched, so that `benchmarks/potentials.py` can measure on
them. Energies are computed at the known geometry. `mp2020` comes first: the published references and corrections,
fitted to nothing, which bring the energies of Alexandria to the scale. With `--second` the scale of the first
potential learns how to be combined with that of another one, both of which are there.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.data.alexandria import crystals_of, formation_energies, read_alexandria
from invdesign.data.split import by_chemical_system
from invdesign.elements import SYMBOLS
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import MP2020, TERMS, EnergyScale, design_row, published
from invdesign.progress import shown
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.sheet import Sheet
from invdesign.workers import Lost, Workers

SOURCES = (
    "crystals.parquet",
    "convex_hull.parquet",
    "mp2020_elemental_references.json.gz",
    "alexandria_eos.parquet",
)
PUBLISHED = "mp2020"
NEW_TO_COMBINE = 200
"""New crystals on which the combination with a second potential is fitted."""
ELEMENT_PRIOR, TERM_PRIOR = 0.02, 0.05
"""How far an element's or a term's coefficient is expected to lie from its prior, eV."""
FOLDS = 5


@dataclass(frozen=True)
class Sample:
    """Crystals with their regressors, formation energies (eV/atom) on the reference's scale, and whether new."""

    crystals: list[Crystal]
    regressors: FloatArray
    formation: FloatArray
    is_new: NDArray[np.bool_]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--potential", default=potentials.DEFAULT, help=f"or {PUBLISHED}: no fit")
    parser.add_argument("--known", type=int, default=800, help="known crystals to fit on")
    parser.add_argument("--new", type=int, help="new crystals to fit on (600; with --second 200)")
    parser.add_argument("--corrected", action="store_true", help="its energies contain the MP2020 corrections")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="CSV of energies already computed; extended")
    parser.add_argument("--second", help="fit only how to put this second potential together with the first")
    parser.add_argument("--second-cache", type=Path)
    given = begin(parser)
    data, reference = sources(given, *SOURCES), references(given.data)
    if given.potential == PUBLISHED:
        scale = published(PUBLISHED, reference)
    elif given.second:
        n = given.new or NEW_TO_COMBINE
        scale = with_second(given, new(given.data, n, reference, ("valid", "test"), balanced=False))
    else:
        first = known(given.data, given.known, reference)
        sample = joined(first, new(given.data, given.new or 600, reference, ("train",)))
        energies = compute(sample.crystals, given.potential, given.workers, given.cache)
        corrected = given.corrected or given.potential == "chgnet"
        scale = fit(sample, energies, reference, potentials.find(given.potential).version, corrected)
    out = given.out / f"energy_scale_{given.potential.replace(':', '_')}.json"
    scale.save(out)
    sheet(out, given.potential, scale, data, given.commit)
    print(f"{out}: {figures(scale)}")


ABOUT = """\
Coefficients that take the energy per atom of {potential} to the formation energy on the scale of the Materials
Project (MP2020 corrections), with their uncertainty; `invdesign/potentials/energy_scale.py` says how to use them.

Fields: `elements` (eV/atom by symbol), `terms` (eV per anion or +U atom), `floor`, `spread` and `unsure` (standard
deviations, eV/atom), `interval` (half width of the 90 % interval in standard deviations), `seconds` (how to
combine with a second potential), `notes` (crystals used and held-out errors)."""
FITTED = """\
errors of chemical systems left out of the fit (five folds); no crystal of a system that is held out for tests
(`invdesign.data.split`, seed 0) is used, except for `seconds`, which is fitted on new crystals drawn at random
from these systems"""


def sheet(out: Path, potential: str, scale: EnergyScale, data: dict[str, str], commit: str) -> None:
    """Write the data sheet of a scale."""
    fitted = potential != PUBLISHED
    script = f"python scripts/fit_energy_scale.py --data DIR --potential {potential}"
    again = [f"the same with `--second {second}`" for second in scale.seconds]
    name = potential if fitted else "density functional theory (PBE, PBE+U)"
    Sheet(
        about=ABOUT.format(potential=name) + ("" if fitted else "\n\nPublished references and corrections."),
        script=", then ".join([f"`{script}`", *again]),
        data=data | (built(f"energy_scale_{PUBLISHED}.json") if fitted else {}),
        split=FITTED if fitted else "nothing is held out: nothing is fitted",
        seed="0, of the choice of crystals" if fitted else "none: nothing is random",
        metrics=figures(scale),
        commit=commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013), CC BY 4.0; J. Schmidt et al., Alexandria, CC BY "
        "4.0; corrections: A. Wang et al., Sci. Rep. 11, 15496 (2021).",
    ).write(out)


def figures(scale: EnergyScale) -> str:
    """Sizes and held-out errors of a scale in one line."""
    said = [
        f"{kind}: {n['crystals']:.0f} crystals, mean absolute error {n['mean_absolute_after']:.4f} eV/atom "
        f"({n['mean_absolute_before']:.4f} before the fit)"
        for kind in ("known", "new")
        if (n := dict(scale.notes.get(kind, {})))
    ]
    for second, agreement in scale.seconds.items():
        n = agreement["notes"]["first_and_mean"]
        said.append(
            f"with {second}: mean absolute error {n['mean_absolute_after']:.4f} eV/atom on {n['crystals']:.0f} "
            f"new crystals ({n['mean_absolute_before']:.4f} alone)"
        )
    return "; ".join(said) or f"{len(scale.elements)} elements"


def known(data: Path, n: int, reference: dict[str, float]) -> Sample:
    """Crystals of the Materials Project: up to 20 sites, near the hull, in no test system."""
    table = pd.read_parquet(data / "crystals.parquet")
    usable = (table.n_sites <= 20) & table.formation_energy_per_atom.notna() & (table.energy_above_hull <= 0.2)
    usable &= by_chemical_system(table.chemical_system, seed=0) == "train"
    worse = (table.geometry != "pbe") * 1.0 + (table.energy_source != "mp2020") * 1.0 + (table.n_sites > 12) * 1.0
    rows = choose(table.assign(worse=worse)[usable], n)
    crystals = [crystal_of(row) for row in rows.to_dict("records")]
    formation = rows.formation_energy_per_atom.to_numpy()
    return Sample(crystals, design(crystals, reference), formation, np.zeros(len(rows), dtype=np.bool_))


def new(data: Path, n: int, reference: dict[str, float], splits: Sequence[str], balanced: bool = True) -> Sample:
    """Crystals of Alexandria of compositions that the Materials Project does not hold, in given splits.

    Balanced over the elements, or drawn at random.
    """
    table = read_alexandria(data / "alexandria_eos.parquet")
    table = table.assign(atomic_numbers=table.numbers, worse=0.0)
    seen = {
        *pd.read_parquet(data / "crystals.parquet", columns=["formula"]).formula,
        *pd.read_parquet(data / "convex_hull.parquet", columns=["formula"]).formula,
    }
    usable = ~table.formula.isin(seen) & np.isin(by_chemical_system(table.chemical_system, seed=0), splits)
    few = min(n, int(usable.sum()))
    rows = choose(table[usable], n) if balanced else table[usable].sample(few, random_state=0)
    crystals = crystals_of(rows)
    return Sample(
        crystals,
        design(crystals, reference),
        formation_energies(rows, crystals),
        np.ones(len(rows), dtype=np.bool_),
    )


def joined(first: Sample, second: Sample) -> Sample:
    """Both samples in one."""
    return Sample(
        first.crystals + second.crystals,
        np.concatenate([first.regressors, second.regressors]),
        np.concatenate([first.formation, second.formation]),
        np.concatenate([first.is_new, second.is_new]),
    )


def design(crystals: list[Crystal], reference: dict[str, float]) -> FloatArray:
    """The regressors of crystals, (n_crystals, n_elements + n_terms)."""
    return np.array([design_row(crystal, list(reference)) for crystal in crystals])


def priors(reference: dict[str, float], corrected: bool) -> FloatArray:
    """The coefficients that elements and terms have by definition of the scale."""
    return np.array([*reference.values(), *(0.0 if corrected else MP2020[t] for t in TERMS)])


def choose(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Pick n crystals such that each element occurs about equally often, those first that are less `worse`.

    An element's crystals are visited in turn, rarest element first, until n are picked.
    """
    rng = np.random.default_rng(0)
    table = table.assign(order=table.worse + rng.random(len(table))).sort_values("order")
    queues: dict[int, list[Any]] = {}
    for index, numbers in zip(table.index, table.atomic_numbers, strict=True):
        for z in set(numbers.tolist()):
            queues.setdefault(z, []).append(index)
    elements = sorted(queues, key=lambda z: (len(queues[z]), z))
    picked: dict[Any, None] = {}
    depth = 0
    while len(picked) < min(n, len(table)):
        for z in elements:
            if depth < len(queues[z]) and len(picked) < n:
                picked.setdefault(queues[z][depth])
        depth += 1
    return table.loc[list(picked)]


def crystal_of(row: dict[str, Any]) -> Crystal:
    """The crystal of a row."""
    lattice = lattices_from_parameters(np.array([row["lattice_parameters"]], dtype=float))[0]
    return Crystal(lattice, row["atomic_numbers"], row["frac_coords"].reshape(-1, 3), source=row["material_id"])


def references(data: Path) -> dict[str, float]:
    """Energy per atom of each element in its reference state, without corrections."""
    with gzip.open(data / SOURCES[2], "rt") as stream:
        entries = json.load(stream)
    found = {name: entry["energy"] / sum(entry["composition"].values()) for name, entry in entries.items()}
    return {name: found[name] for name in SYMBOLS if name in found}


def compute(crystals: list[Crystal], potential: str, workers: int, cache: Path | None) -> FloatArray:
    """Energies per atom, NaN where the potential fails; those in the cache are not computed again."""
    known: dict[str, float] = {}
    if cache and cache.exists():
        known = pd.read_csv(cache, index_col=0)["energy"].to_dict()
    todo = [c for c in crystals if c.source not in known]
    pool = Workers("invdesign.potentials.calculators:energy_function", potential, workers)
    try:
        with shown() as progress:
            for done, (index, answer) in enumerate(pool.imap(todo), start=1):
                known[todo[index].source] = np.nan if isinstance(answer, Lost) else answer
                progress(f"energies with {potential}", done, len(todo))
                if cache and (done % 50 == 0 or done == len(todo)):
                    pd.DataFrame({"energy": known}).to_csv(cache)
    finally:
        pool.close()
    return np.array([known[c.source] for c in crystals])


def fit(
    sample: Sample, energies: FloatArray, reference: dict[str, float], version: str, corrected: bool
) -> EnergyScale:
    """Robust Bayesian ridge around the reference energies and the MP2020 terms, with held-out errors.

    The new crystals get a constant of their own in the fit, which is not shipped: they are chosen for being stable
    in DFT, so that a potential's random errors alone make them look less stable on average.
    """
    elements, prior = list(reference), priors(reference, corrected)
    width = np.array([ELEMENT_PRIOR] * len(elements) + [TERM_PRIOR] * len(TERMS) + [0.05])
    regressors = sample.regressors
    target = sample.formation - energies - regressors @ prior
    keep = np.isfinite(target) & (np.abs(target) < 1.5)
    left_out = [c.source for c, kept in zip(sample.crystals, keep, strict=True) if not kept]
    regressors, target, is_new = regressors[keep], target[keep], sample.is_new[keep]
    with_constant = np.hstack([regressors, is_new[:, None] * 1.0])
    fold = np.array(
        [hash_fold(chemical_system(c.numbers)) for c, k in zip(sample.crystals, keep, strict=True) if k]
    )
    error = np.zeros(len(target))
    for k in range(FOLDS):
        change, _ = ridge(with_constant[fold != k], target[fold != k], width)
        error[fold == k] = (regressors @ change[:-1] - target)[fold == k]
    change, unsure = ridge(with_constant, target, width)
    shares = -regressors[:, : len(elements)]
    floor, spread = spreads(shares, error)
    unsure = unsure[: len(elements)]
    std = np.sqrt(floor**2 + shares @ spread**2 + (shares**2) @ unsure**2)
    scaled = np.abs(error[is_new]) / std[is_new]
    wider = float(np.sqrt((np.minimum(scaled, np.quantile(scaled, 0.98)) ** 2).mean()))
    return EnergyScale(
        potential=version,
        elements=rounded(elements, prior + change[:-1]),
        terms=rounded(TERMS, (prior + change[:-1])[len(elements) :]),
        floor=round(wider * floor, 4),
        spread=rounded(elements, wider * spread),
        unsure=rounded(elements, wider * unsure),
        interval=round(float(np.quantile(scaled, 0.9)) / wider, 3),
        notes={
            "errors": f"eV/atom, at the known geometry, chemical systems left out of the fit ({FOLDS} folds)",
            "known": errors(-target[~is_new], error[~is_new]),
            "new": errors(-target[is_new], error[is_new]),
            "left_out": left_out,
            "crystals_per_element": {e: int((shares[:, i] > 0).sum()) for i, e in enumerate(elements)},
        },
    )


def with_second(given: argparse.Namespace, sample: Sample) -> EnergyScale:
    """The shipped scale with the agreement of a second potential, fitted on new crystals left out of both.

    Squared errors of the mean are regressed on the scale's variance and on the squared difference (non-negative).
    """
    scale, other = EnergyScale.load(given.potential), EnergyScale.load(given.second)
    energies = compute(sample.crystals, given.potential, given.workers, given.cache)
    others = compute(sample.crystals, given.second, given.workers, given.second_cache)
    first = [scale.formation_energy(c, e) for c, e in zip(sample.crystals, energies, strict=True)]
    second = [other.formation_energy(c, e) for c, e in zip(sample.crystals, others, strict=True)]
    error = np.array([v.mean for v in first]) - sample.formation
    difference = np.array([v.mean for v in second]) - sample.formation - error
    weights = np.linspace(0.0, 0.5, 51)  # the second may not outvote the one that relaxed
    weight = float(weights[np.abs(error + weights[:, None] * difference).mean(axis=1).argmin()])
    mean = error + weight * difference
    cut = np.minimum(np.abs(mean), np.quantile(np.abs(mean), 0.98))
    std = np.array([v.std for v in first])
    (base, slope), _ = nnls(np.column_stack([std**2, difference**2]), cut**2)
    combined = np.sqrt(base * std**2 + slope * difference**2)
    order = np.argsort(np.abs(difference))
    agreement = {
        "weight": round(weight, 3),
        "base": round(float(np.sqrt(base)), 3),
        "slope": round(float(np.sqrt(slope)), 3),
        "interval": round(float(np.quantile(np.abs(mean) / combined, 0.9)), 3),
        "notes": {
            "first_and_mean": errors(error, mean),
            "covered_by_90_percent_interval_of_first": round(
                float((np.abs(error) <= scale.interval * std).mean()), 3
            ),
            "mean_absolute_error_by_third_of_agreement": [
                round(float(np.abs(mean[part]).mean()), 4) for part in np.array_split(order, 3)
            ],
        },
    }
    return replace(scale, seconds={**scale.seconds, given.second: agreement})


def errors(before: FloatArray, after: FloatArray) -> dict[str, float]:
    """Error figures of one kind of crystals, before the fit (references and MP2020 terms only) and after."""
    figures = {"crystals": float(len(before))}
    for name, error in (("before", before), ("after", after)):
        figures[f"mean_{name}"] = float(error.mean())
        figures[f"mean_absolute_{name}"] = float(np.abs(error).mean())
        figures[f"median_absolute_{name}"] = float(np.median(np.abs(error)))
        figures[f"root_mean_square_{name}"] = float(np.sqrt((error**2).mean()))
    return {name: round(value, 4) for name, value in figures.items()}


def hash_fold(system: str) -> int:
    """Fold of a chemical system."""
    return int(sum(ord(letter) * (i + 7) ** 2 for i, letter in enumerate(system)) % FOLDS)


def ridge(regressors: FloatArray, target: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients and their standard deviations; Huber weights by iteration."""
    weight = np.ones(len(target))
    noise = 0.05
    for _ in range(20):
        gram = (regressors * weight[:, None]).T @ regressors / noise**2 + np.diag(1.0 / width**2)
        found = np.linalg.solve(gram, (regressors * weight[:, None]).T @ target / noise**2)
        error = np.abs(target - regressors @ found)
        noise = max(1e-3, 1.4826 * float(np.median(error)))
        weight = np.minimum(1.0, 2.0 * noise / np.maximum(error, 1e-9))
    return found, np.sqrt(np.diag(np.linalg.inv(gram)))


def spreads(shares: FloatArray, residual: FloatArray) -> tuple[float, FloatArray]:
    """Floor and per-element spread, non-negative, whose squares add up to the held-out squared errors."""
    cut = np.quantile(np.abs(residual), 0.98)
    square = np.minimum(np.abs(residual), cut) ** 2
    shrink = 2.0 * np.eye(shares.shape[1])
    mean = float(square.mean())
    left = np.vstack(
        [np.hstack([np.ones((len(shares), 1)), shares]), np.hstack([np.zeros((len(shrink), 1)), shrink])]
    )
    found, _ = nnls(left, np.concatenate([square, np.full(len(shrink), 2.0 * 0.7 * mean)]))
    return float(np.sqrt(max(found[0], 0.2 * mean))), np.sqrt(found[1:])


def rounded(names: Any, values: FloatArray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, values[: len(names)], strict=True)}


if __name__ == "__main__":
    run(main)
