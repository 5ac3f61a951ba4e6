"""Make `surrogate_gate.safetensors` and `surrogate_relaxed.safetensors` with their data sheets.

Run: python scripts/train_surrogates.py --data DIR [--out FOLDER] [--stage gate|relaxed] [--cache DIR] [--small]
     [--calibrate]

`DIR` holds `crystals.parquet` and, for the relaxed stage, `alexandria_eos.parquet`. That stage mixes in the gate's
answers, whose weights must lie in the folder, as must the energy scales and the reference. With `--cache`, genes,
graphs and what the potentials say are kept there between runs, the last in portions, so that a stopped run goes on
where it was. About 30 minutes for the gate on one core; for the second stage two hours, nearly all of them for
features and elastic responses by the potentials. One thread is best: OMP_NUM_THREADS=1.

With `--calibrate` the weights in `--out` keep their networks, scales and memories, bit for bit, so the second
stage still belongs to its gate: only intervals, standard deviations and probabilities of zero are fitted again, on
the validation part, and measured on the test part; the list of structure types is made again, too. Two minutes for
each stage once the potentials have spoken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode, encode_many, primitive_sites
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.data.alexandria import crystals_of, formation_energies, read_alexandria
from invdesign.data.split import by_chemical_system
from invdesign.properties import PREDICTED
from invdesign.records import Value
from invdesign.reference.local import LocalReference, known_phase
from invdesign.surrogates import weights_of
from invdesign.surrogates.fitting.assess import assess
from invdesign.surrogates.fitting.relaxed_stage import joined, potential_table, recalibrated
from invdesign.surrogates.fitting.train import Settings, TrainingData, fit, training_data, with_new_phases
from invdesign.surrogates.inputs.dataset import Graphs, Labelled, encode_rows, perturb, read_labelled
from invdesign.surrogates.inputs.store import cached_graphs, load_genes, save_genes
from invdesign.surrogates.model import Model, load_model, save_model
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.surrogate_sheet import surrogate_sheet

CRYSTALS, ALEXANDRIA = "crystals.parquet", "alexandria_eos.parquet"
NEEDED = ("hull.parquet", "known_crystals.parquet", "energy_scale_mp2020.json", "energy_scale_sevennet-l3i5.json")
"""Tables that the relaxed stage is made from besides the gate."""
NOISY_COPIES = 2


@dataclass(frozen=True)
class Scale:
    """How much is trained on what.

    Attributes:
        gate, relaxed: settings of the trainings.
        others: crystals without moduli whose potential features are computed for gap and energies, for training;
            those that are held out are taken besides.
        sites: largest cell of these.
        new: crystals of Alexandria on which energies of new phases are calibrated.
        strained: crystals with moduli that are used (None: all); then also no held-out crystals besides `others`.
    """

    gate: Settings
    relaxed: Settings
    others: int
    sites: int
    new: int
    strained: int | None


FULL = Scale(
    gate=Settings(),
    relaxed=Settings(members=5, epochs=25, batch=128, modulus_repeats=1, hidden=384),
    others=6000,
    sites=20,
    new=500,
    strained=None,
)
SMALL = Scale(
    gate=Settings(members=2, epochs=12, batch=64),
    relaxed=Settings(members=2, epochs=12, batch=16, modulus_repeats=1, hidden=128),
    others=50,
    sites=6,
    new=12,
    strained=130,
)
CALIBRATED_PER_SYSTEM = 2
"""Crystals of a chemical system that the second stage is calibrated on at most."""


def labelled_data(folder: Path, cache: Path | None) -> Labelled:
    """Labels and genes of `crystals.parquet`."""
    path = folder / CRYSTALS
    kept = cache / "genes.npz" if cache else None
    if kept is not None and not kept.exists():
        import pandas as pd

        save_genes(encode_rows(pd.read_parquet(path)), kept)
    return read_labelled(path, load_genes(kept) if kept is not None else None)


def graphs(labelled: Labelled, copy: int, cache: Path | None) -> Graphs:
    """Graphs of all crystals: exact (copy 0) or with a generator's errors."""

    def make() -> Graphs:
        genes = labelled.genes if copy == 0 else perturb(labelled.genes, np.random.default_rng(copy))
        return joined(genes)

    return cached_graphs(cache / f"graphs_{copy}.npz" if cache else None, make)


def potential_rows(labelled: Labelled, scale: Scale) -> np.ndarray:
    """Crystals whose potential features are computed: all with moduli, then some of those with gaps.

    For training these are a random choice, for calibration and test all.
    """
    rng = np.random.default_rng(0)
    moduli = np.isfinite(labelled.labels["bulk_modulus"])
    gaps = np.isfinite(labelled.labels["band_gap"]) & np.isfinite(labelled.labels["formation_energy"]) & ~moduli
    small = np.array([primitive_sites(gene) <= scale.sites for gene in labelled.genes])
    mixed = rng.permutation(np.flatnonzero(gaps & small))
    held_out = by_chemical_system(labelled.chemical_systems)[mixed] != "train"
    first = np.arange(len(mixed)) < scale.others
    if scale.strained is None:
        return np.concatenate([np.flatnonzero(moduli), np.sort(mixed[held_out | first])])
    strained = rng.permutation(np.flatnonzero(moduli & small))[: scale.strained]
    return np.concatenate([np.sort(strained), np.sort(mixed[first])])


def gate(folder: Path, cache: Path | None, settings: Settings) -> tuple[Model, TrainingData]:
    """Train the first stage on exact and on perturbed crystals."""
    labelled = labelled_data(folder, cache)
    data = training_data(labelled, [graphs(labelled, k, cache) for k in range(NOISY_COPIES + 1)])
    return fit("gate", data, settings, progress=tell), data


def relaxed(folder: Path, cache: Path | None, scale: Scale, base: Model) -> tuple[Model, TrainingData]:
    """Train the second stage on exact crystals with what the potentials say; the gate's answers are mixed in."""
    labelled = labelled_data(folder, cache)
    part = labelled.subset(potential_rows(labelled, scale))
    data = training_data(part, [joined(part.genes)], said(part, cache, "potential"))
    model = fit("relaxed", data, scale.relaxed, base=base, progress=tell)
    model = recalibrated(model, data, CALIBRATED_PER_SYSTEM)
    return with_new_phases(model, new_data(folder, cache, scale.new)), data


def said(part: Labelled, cache: Path | None, name: str) -> np.ndarray:
    """What the potentials say of crystals; the elastic response only of those with moduli."""
    strained = np.isfinite(part.labels["bulk_modulus"])
    return potential_table(part.genes, np.arange(len(part.ids)), strained, cache, name, tell)


def held_out(labelled: Labelled, rows: np.ndarray) -> tuple[Labelled, np.ndarray]:
    """Those of the rows that no network was trained on, and their part of the split."""
    split = by_chemical_system(labelled.chemical_systems)
    kept = rows[split[rows] != "train"]
    return labelled.subset(kept), split[kept]


def gate_data(labelled: Labelled) -> TrainingData:
    """Held-out crystals, exact and with a generator's errors."""
    part, split = held_out(labelled, np.arange(len(labelled.ids)))
    noisy = perturb(part.genes, np.random.default_rng(NOISY_COPIES))
    return TrainingData(part, [joined(part.genes), joined(noisy)], None, split)


def relaxed_data(labelled: Labelled, cache: Path | None, scale: Scale) -> TrainingData:
    """Held-out crystals of the second stage with what the potentials say."""
    part, split = held_out(labelled, potential_rows(labelled, scale))
    return TrainingData(part, [joined(part.genes)], said(part, cache, "held_out"), split)


def tell(line: str) -> None:
    print(line, flush=True)


def finish(model: Model, data: TrainingData, out: Path, made_from: dict[str, str], commit: str) -> None:
    """Measure on the test part, and write the weights and their data sheet."""
    metrics = {"exact": assess(model, data, 0)}
    if len(data.copies) > 1:
        metrics["with a generator's errors"] = assess(model, data, -1)
    noted = replace(model, notes={**model.notes, "test": metrics})
    path = out / weights_of(model.stage)
    save_model(noted, path)
    script = f"python scripts/train_surrogates.py --data DIR --stage {model.stage}"
    surrogate_sheet(noted, script, made_from, commit).write(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def calibrated_gate(folder: Path, cache: Path | None, out: Path) -> tuple[Model, TrainingData]:
    """The gate in the folder with intervals fitted anew."""
    labelled = labelled_data(folder, cache)
    data, rows = gate_data(labelled), np.arange(len(labelled.ids))
    return recalibrated(knowing(load_model(out / weights_of("gate")), labelled, rows), data), data


def calibrated_relaxed(folder: Path, cache: Path | None, out: Path, scale: Scale) -> tuple[Model, TrainingData]:
    """The second stage in the folder with intervals fitted anew."""
    labelled = labelled_data(folder, cache)
    data = relaxed_data(labelled, cache, scale)
    model = load_model(out / weights_of("relaxed"), load_model(out / weights_of("gate")))
    model = knowing(model, labelled, potential_rows(labelled, scale))
    model = recalibrated(model, data, CALIBRATED_PER_SYSTEM)
    return with_new_phases(model, new_data(folder, cache, scale.new)), data


def new_data(folder: Path, cache: Path | None, n: int) -> TrainingData:
    """Energies of n crystals of Alexandria that are no known phases, from systems of the validation part."""
    table = read_alexandria(folder / ALEXANDRIA)
    table = table[by_chemical_system(table.chemical_system, seed=0) == "valid"].sample(frac=1.0, random_state=0)
    found = {i: gene for i, gene in enumerate(encode_many(crystals_of(table))) if isinstance(gene, Gene)}
    chosen = [i for i, g in found.items() if not known_phase(g.numbers, g.space_group)][:n]
    table, genes = table.iloc[chosen], [found[i] for i in chosen]
    crystals = decode(genes)
    energies = formation_energies(table, crystals)
    distance = LocalReference().energy_above_hull
    hull = [distance(c, Value(float(e), 0.0)) for c, e in zip(crystals, energies, strict=True)]
    labels = {name: np.full(len(genes), np.nan) for name in PREDICTED}
    labels["formation_energy"] = energies
    labels["energy_above_hull"] = np.array([np.nan if h is None else max(h.mean, 0.0) for h in hull])
    part = Labelled(table.material_id.tolist(), genes, table.chemical_system.tolist(), labels, {})
    strained = np.ones(len(genes), dtype=bool)
    extra = potential_table(part.genes, np.arange(len(genes)), strained, cache, "new_phases", tell)
    return TrainingData(part, [joined(part.genes)], extra, np.full(len(genes), "valid"))


def knowing(model: Model, labelled: Labelled, rows: np.ndarray) -> Model:
    """The model with a list of the structure types of the crystals that it was trained on."""
    trained = rows[by_chemical_system(labelled.chemical_systems)[rows] == "train"]
    found = np.unique(gene_prototypes([labelled.genes[i] for i in trained]))
    return replace(model, memory=replace(model.memory, prototypes=found))


def main() -> None:
    parser = options(__doc__, small=True)
    parser.add_argument("--stage", choices=("gate", "relaxed", "both"), default="both")
    parser.add_argument("--cache", type=Path, help="folder for what is kept between runs")
    parser.add_argument("--calibrate", action="store_true", help="fit the calibration only")
    args = begin(parser)
    torch.set_num_threads(1)
    scale = SMALL if args.small else FULL
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    if args.stage in ("gate", "both"):
        data = sources(args, CRYSTALS)
        found = (
            calibrated_gate(args.data, args.cache, args.out)
            if args.calibrate
            else gate(args.data, args.cache, scale.gate)
        )
        finish(*found, args.out, data, args.commit)
    if args.stage in ("relaxed", "both"):
        data = sources(args, CRYSTALS, ALEXANDRIA) | built(weights_of("gate"), *NEEDED)
        found = (
            calibrated_relaxed(args.data, args.cache, args.out, scale)
            if args.calibrate
            else relaxed(args.data, args.cache, scale, load_model(args.out / weights_of("gate")))
        )
        finish(*found, args.out, data, args.commit)


if __name__ == "__main__":
    run(main)
