"""What each part of what the potentials say is worth to the second stage, on chemical systems it has not seen.

Run: python benchmarks/potential_inputs.py --data DIR --out FILE.json [--cache DIR] [--members N]

`DIR` holds `crystals.parquet`. For each choice of inputs the second stage is trained on the crystals with computed
moduli (split, network and settings of the package, but without the 6,000 other crystals and without the gate), and
asked about the validation part, which took no part in training: choices are made here, not on the test part. The
columns that are left out are set to zero after standardisation; the formation energy is always counted from the
potential's own. One and a half minutes of one core for each choice and member; with `--cache`, what the potentials
say is kept there (`surrogate_shift.py --stage relaxed` uses the same files). One thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from surrogate_shift import read

from invdesign.benchmarking.run import write_record
from invdesign.data.split import by_chemical_system
from invdesign.surrogates.fitting.relaxed_stage import joined, potential_table
from invdesign.surrogates.fitting.train import Settings, TrainingData, fit
from invdesign.surrogates.inputs.dataset import select
from invdesign.surrogates.inputs.potential_features import CHANNELS, N_FEATURES, SCALARS
from invdesign.surrogates.inputs.response import N_RESPONSE
from invdesign.surrogates.scales import to_scale

SETTINGS = Settings(members=1, epochs=25, batch=128, modulus_repeats=1, hidden=384)
N_SCALARS = 5 * SCALARS + 64
STIFF = 150.0


def choices() -> dict[str, np.ndarray]:
    """Columns of the inputs that are left in, by name."""
    energies = np.arange(N_FEATURES + N_RESPONSE) < 4
    scalars, lengths, response = (np.zeros_like(energies) for _ in range(3))
    for start in (4, 4 + CHANNELS):
        scalars[start : start + N_SCALARS] = True
        lengths[start + N_SCALARS : start + CHANNELS] = True
    response[N_FEATURES:] = True
    return {
        "energies alone": energies,
        "and scalar channels": energies | scalars,
        "and lengths of directed channels": energies | scalars | lengths,
        "and elastic response": energies | scalars | lengths | response,
        "energies and elastic response": energies | response,
    }


def left_in(extra: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The inputs with what is not kept made constant; the formation energy and what is not known stay."""
    kept = kept.copy()
    kept[N_FEATURES - 1] = True
    return np.where(kept | ~np.isfinite(extra), extra, 0.0).astype(np.float32)


def judged(data: TrainingData, settings: Settings) -> dict[str, float]:
    """Mean absolute errors on the validation part, and the order of the stiffest there."""
    model = fit("relaxed", data, settings, progress=lambda line: None)
    rows = data.rows("valid")
    assert data.extra is not None
    mean = model.raw(select(data.copies[0], rows), data.extra[rows]).mean
    found = {
        name: float(np.nanmean(np.abs(mean[:, j] - to_scale(name, data.labelled.labels[name][rows]))))
        for j, name in enumerate(model.properties)
    }
    shear, bulk = (data.labelled.labels[name][rows] for name in ("shear_modulus", "bulk_modulus"))
    stiff = (shear > STIFF) & (shear < 1.5 * bulk)
    rank = spearmanr(mean[stiff, model.properties.index("shear_modulus")], shear[stiff])[0]
    return found | {"stiff_spearman": float(rank), "stiff_n": int(stiff.sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--members", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    labelled = read(args.data)
    n = len(labelled.genes)
    extra = potential_table(labelled.genes, np.arange(n), np.ones(n, dtype=bool), args.cache, "potential")
    split = by_chemical_system(labelled.chemical_systems)
    data = TrainingData(labelled, [joined(labelled.genes)], extra, split)
    settings = replace(SETTINGS, members=args.members)
    found = {}
    for name, kept in choices().items():
        found[name] = judged(replace(data, extra=left_in(extra, kept)), settings)
        print(name, {k: round(v, 4) for k, v in found[name].items()}, flush=True)
    record = {"crystals": n, "part": "valid", "settings": asdict(settings), "inputs": found}
    write_record(args.out, record, settings.seed, ("energy_scale_sevennet-l3i5.json",))


if __name__ == "__main__":
    main()
