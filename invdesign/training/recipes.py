"""Training of the shipped kinds of models on anybody's crystals: `invdesign train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import InputError
from invdesign.progress import Progress, quiet
from invdesign.settings import settings_of

if TYPE_CHECKING:
    from invdesign.crystal import Crystal, FloatArray
    from invdesign.generators.reward import Reward
    from invdesign.records import Value
    from invdesign.surrogates.fitting.train import TrainingData

UNBALANCED = 1.6
"""What a composition that SMACT calls invalid costs a generator in training, nats: a factor of five."""
CLOSE = {"bulk_modulus": 0.1, "shear_modulus": 0.1, "formation_energy": 0.2, "band_gap": 0.4}
"""Differences from what was asked for that cost a generator little (0.4 nats): log10 of moduli, eV/atom, eV."""


def train_vae(data: Path, settings: Mapping[str, Any], out: Path, progress: Progress = quiet) -> Path:
    """Train the autoencoder; interrupted, the same call goes on from the last epoch.

    Args:
        data: crystals with labels, in any form that can be read.
        settings: fields of `invdesign.generators.train.TrainConfig`; `network` holds those of its networks.
        out: file of the weights; a data sheet and the checkpoints lie beside it.
        progress: is told how far it has come.

    Raises:
        InputError: if a setting is unknown or not valid.
        TrainingError: if there is too little to train on.
    """
    from invdesign.generators.train import config_from, train_from_file

    return train_from_file(data, out, config_from(settings), progress=progress)


def train_gan(data: Path, settings: Mapping[str, Any], out: Path, progress: Progress = quiet) -> Path:
    """Train the adversarial generator; interrupted, the same call goes on.

    Args:
        data: crystals with labels, in any form that can be read.
        settings: fields of `invdesign.generators.train_gan.AdversarialConfig`; `start` is the file of an
            autoencoder's weights to start from, `pretraining` holds the settings of one trained first otherwise;
            with `reward: false` nothing is rewarded but the critic's opinion (`design_reward`).
        out: file of the weights; a data sheet and the checkpoints lie beside it.
        progress: is told how far it has come.

    Raises:
        InputError: if a setting is unknown or not valid.
        TrainingError: if there is too little to train on.
    """
    from invdesign.generators.train_gan import configs_from, train_from_file

    values = dict(settings)
    start, reward = values.pop("start", None), values.pop("reward", True)
    if not isinstance(reward, bool):
        raise InputError("training setting reward", reward, [True, False])
    config, first = configs_from(values)
    if start is not None and not (isinstance(start, str) and Path(start).is_file()):
        raise InputError("training setting start", start, "the file of an autoencoder's weights")
    begin, taught = Path(start) if start else None, design_reward() if reward else None
    return train_from_file(data, out, config, first, progress=progress, start=begin, reward=taught)


def design_reward(limit: float = 0.1) -> Reward:
    """What generators are rewarded for: stability, balance, and the properties that were asked for.

    It is the log probability of lying near the hull, by the gate with its proposal correction, less `UNBALANCED`
    for what SMACT calls invalid, less `misfit` for each property whose predicted value is not the one asked for.

    Args:
        limit: largest energy above hull, eV/atom.
    """
    import numpy as np

    from invdesign import build
    from invdesign.chemistry.oxidation import smact_valid
    from invdesign.engine.pipeline import predict
    from invdesign.records import Candidate, Evaluation
    from invdesign.uncertainty import probability_below

    gate, reference = build.surrogate("proposals"), build.reference()

    def reward(crystals: Sequence[Crystal], asked: FloatArray) -> FloatArray:
        rows = predict([Evaluation(Candidate("", c, "", "")) for c in crystals], gate, reference)
        values = [row.gate.values if row.gate else {} for row in rows]
        chance = np.log([max(1e-9, probability_below(limit, found.get("energy_above_hull"))) for found in values])
        unbalanced = np.array([not smact_valid(c.numbers) for c in crystals])
        return np.asarray(chance - UNBALANCED * unbalanced - misfit(values, asked))

    return reward


def misfit(values: Sequence[Mapping[str, Value]], asked: FloatArray) -> FloatArray:
    """(n,) how far predictions are from what was asked for, nats: `log(1 + (difference / CLOSE)² / 2)`, summed.

    It grows slowly far away, as the tail of a Student distribution does: one hopeless condition must not drown the
    others.

    Args:
        values: predicted property values of each crystal.
        asked: (n, p) values of `CONDITION_PROPERTIES`, NaN where nothing was asked.
    """
    import numpy as np

    from invdesign.generators.conditions import CONDITION_PROPERTIES, LOG_CONDITIONS

    found = np.array([[v[name].mean if name in v else np.nan for name in CLOSE] for v in values])
    wanted = asked[:, [CONDITION_PROPERTIES.index(name) for name in CLOSE]]
    logs = np.array([name in LOG_CONDITIONS for name in CLOSE])
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(logs, np.log10(np.clip(found, 1e-3, None) / wanted), found - wanted)
    return np.asarray(np.log1p(0.5 * np.nan_to_num(difference / list(CLOSE.values())) ** 2).sum(axis=1))


def train_surrogate(data: Path, settings: Mapping[str, Any], out: Path, progress: Progress = quiet) -> Path:
    """Train the surrogate of unrelaxed crystals, on the crystals as they are and with a generator's errors.

    Args:
        data: parquet with `lattice_parameters`, `atomic_numbers`, `frac_coords` and columns of labels.
        settings: fields of `invdesign.surrogates.fitting.train.Settings`, and `copies`, the number of perturbed
            copies.
        out: file of the weights.
        progress: is told how far it has come.

    Raises:
        InputError: if a setting is unknown or not valid, or the data cannot be read.
        TrainingError: if no property has enough labels.
    """
    from invdesign.surrogates.fitting.train import Settings, fit
    from invdesign.surrogates.model import save_model

    values = dict(settings)
    copies = values.pop("copies", 1)
    chosen = settings_of(Settings, values, also=["copies"])
    training = surrogate_data(data, copies, progress)
    lines = iter(range(1, 1_000_000))
    model = fit(
        "gate",
        training,
        chosen,
        progress=lambda line: progress(line, next(lines), None),
    )
    save_model(model, out)
    return out


def surrogate_data(data: Path, copies: Any, progress: Progress = quiet) -> TrainingData:
    """Crystals as the surrogates' trainer wants them, as they are and with a generator's errors.

    Args:
        data: parquet with `lattice_parameters`, `atomic_numbers`, `frac_coords` and columns of labels.
        copies: number of perturbed copies.
        progress: is told how far it has come.

    Raises:
        InputError: if `copies` is no whole number from 0, or the data cannot be read.
    """
    import numpy as np

    from invdesign.surrogates.fitting.train import training_data
    from invdesign.surrogates.inputs.dataset import graphs_of_genes, perturb, read_labelled

    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 0:
        raise InputError("training setting copies", copies, "a whole number from 0")
    progress("read", 0, None)
    labelled = read_labelled(data)
    genes = [labelled.genes, *(perturb(labelled.genes, np.random.default_rng(k)) for k in range(1, copies + 1))]
    graphs = []
    for done, part in enumerate(genes):
        progress("features", done, len(genes))
        graphs.append(graphs_of_genes(part))
    return training_data(labelled, graphs)
