"""Training of the shipped kinds of models on anybody's crystals: `invdesign train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.config import settings_of
from invdesign.errors import InputError
from invdesign.progress import Progress, quiet

if TYPE_CHECKING:
    from invdesign.crystal import Crystal, FloatArray
    from invdesign.generators.reward import Merit

UNBALANCED = 1.6
"""What a composition that SMACT calls invalid costs a generator in training, nats: a factor of five."""


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
            with `reward: false` nothing is rewarded but the critic's opinion (`stable_and_balanced`).
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
    begin, merit = Path(start) if start else None, stable_and_balanced() if reward else None
    return train_from_file(data, out, config, first, progress=progress, start=begin, merit=merit)


def stable_and_balanced(limit: float = 0.1) -> Merit:
    """What generators are rewarded for: the log probability of lying near the hull, less a price of imbalance.

    The probability is that of the gate with its experience; SMACT says what is imbalanced, and costs `UNBALANCED`.

    Args:
        limit: largest energy above hull, eV/atom.
    """
    import numpy as np

    from invdesign import build
    from invdesign.generation_metrics import smact_valid
    from invdesign.metrics import below
    from invdesign.pipeline import predict
    from invdesign.records import Candidate, Evaluation

    gate, reference = build.surrogate("proposals"), build.reference()

    def merit(crystals: Sequence[Crystal]) -> FloatArray:
        rows = predict([Evaluation(Candidate("", c, "", "")) for c in crystals], gate, reference)
        values = [row.gate.values.get("energy_above_hull") if row.gate else None for row in rows]
        chance = np.log([max(1e-9, below(limit, value)) for value in values])
        return np.asarray(chance - UNBALANCED * np.array([not smact_valid(c.numbers) for c in crystals]))

    return merit


def train_surrogate(data: Path, settings: Mapping[str, Any], out: Path, progress: Progress = quiet) -> Path:
    """Train the surrogate of unrelaxed crystals, on the crystals as they are and with a generator's errors.

    Args:
        data: parquet with `lattice_parameters`, `atomic_numbers`, `frac_coords` and columns of labels.
        settings: fields of `invdesign.surrogates.train.Settings`, and `copies`, the number of perturbed copies.
        out: file of the weights.
        progress: is told how far it has come.

    Raises:
        InputError: if a setting is unknown or not valid, or the data cannot be read.
        TrainingError: if no property has enough labels.
    """
    import numpy as np

    from invdesign.surrogates.dataset import graphs_of_genes, perturb, read_labelled
    from invdesign.surrogates.model import save_model
    from invdesign.surrogates.train import Settings, fit, training_data

    values = dict(settings)
    copies = values.pop("copies", 1)
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 0:
        raise InputError("training setting copies", copies, "a whole number from 0")
    chosen = settings_of(Settings, values, also=["copies"])
    progress("read", 0, None)
    labelled = read_labelled(data)
    genes = [labelled.genes, *(perturb(labelled.genes, np.random.default_rng(k)) for k in range(1, copies + 1))]
    graphs = []
    for done, part in enumerate(genes):
        progress("features", done, len(genes))
        graphs.append(graphs_of_genes(part))
    lines = iter(range(1, 1_000_000))
    model = fit(
        "gate",
        training_data(labelled, graphs),
        chosen,
        progress=lambda line: progress(line, next(lines), None),
    )
    save_model(model, out)
    return out
