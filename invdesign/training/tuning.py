"""Search for better training settings: `invdesign tune`.

Each trial trains one network with other settings and is judged on chemical systems that it was not
trained on; trials that do worse than most at the same epoch are ended early. Every trial is recorded in an SQLite
file as it ends, so that a search that was killed goes on to the number of trials asked for. A third part of the
data decides nothing: it tells how much of the gain is luck.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.errors import InputError, OutputError, TrainingError
from invdesign.progress import Progress, quiet
from invdesign.settings import settings_of
from invdesign.surrogates.fitting.train import Settings, TrainingData
from invdesign.training.recipes import surrogate_data

if TYPE_CHECKING:
    import optuna

    from invdesign.generators.geneset import GeneBatch
    from invdesign.generators.train import TrainConfig, TrainingSet

PRUNERS = ("median", "hyperband", "none")
WARM = 5
"""Trials, and a third of the epochs, that nothing is ended in."""
EPOCHS = 6
"""Passes over the data in a trial, where nothing else is kept."""
Space = Mapping[str, tuple[Any, ...]]
"""What is tried: two floats are the ends of a range (logarithmic from above zero), whole numbers are choices."""
SURROGATE: Space = {
    "learning_rate": (5e-4, 8e-3),
    "batch": (64, 128, 256, 512),
    "width": (32, 48, 64, 96),
    "layers": (2, 3, 4),
    "hidden": (128, 256, 384),
    "modulus_repeats": (1, 2, 3, 4),
    "stiff_weight": (0.0, 2.0),
}
MODULI_ONLY = ("modulus_repeats", "stiff_weight")
VAE: Space = {
    "rate": (5e-4, 6e-3),
    "batch": (64, 128, 256, 512),
    "weight_decay": (0.001, 0.1),
    "network.width": (64, 96, 128, 160),
    "network.sequence_layers": (2, 3, 4),
    "network.geometry_layers": (2, 3, 4),
    "network.dropout": (0.0, 0.2),
}
Watch = Callable[[int, float], None]


@dataclass(frozen=True)
class Job:
    """A kind of model whose settings can be tried.

    Attributes:
        what: what its errors are, in words.
        space: what is tried.
        default: of each of these settings.
        written: settings that are kept and written with the best ones.
        epochs: passes over the data in a trial.
        run: trains with settings, tells a function epoch and error on the validation part, and returns the error
            on the part that decides nothing.
    """

    what: str
    space: Space
    default: Mapping[str, Any]
    written: Mapping[str, Any]
    epochs: int
    run: Callable[[Mapping[str, Any], Watch], float]


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        settings: the best ones, as `train --config` reads them.
        what: what the errors are, in words.
        best: error of the best on the validation part.
        default: that of the settings that nothing is said about.
        best_held_out: error of the best on the part that decided nothing.
        default_held_out: that of the default.
        trials: finished, those ended early among them.
        pruned: ended early.
        resumed: trials that were there before.
        chosen: the best of what was tried, by name.
    """

    settings: Mapping[str, Any]
    what: str
    best: float
    default: float
    best_held_out: float
    default_held_out: float
    trials: int
    pruned: int
    resumed: int
    chosen: Mapping[str, Any]

    def lines(self) -> list[str]:
        """What was found, in a few lines."""
        before = f" ({self.resumed} of them before)" if self.resumed else ""
        gain = (self.default_held_out - self.best_held_out) / abs(self.default_held_out)
        said = f"{gain:.1%} better" if gain > 0.0 else f"{-gain:.1%} worse: keep the default"
        return [
            f"{self.trials} trials{before}, {self.pruned} ended early",
            f"{self.what}:",
            f"  validation part       default {self.default:.4f}  best {self.best:.4f}",
            f"  held-out part         default {self.default_held_out:.4f}  best {self.best_held_out:.4f}  "
            f"({said})",
            "best: " + ", ".join(f"{k} {v:.4g}" for k, v in self.chosen.items()),
        ]


def tune(
    model: str,
    data: Path,
    out: Path,
    trials: int = 50,
    fixed: Mapping[str, Any] | None = None,
    pruner: str = "median",
    seed: int = 0,
    progress: Progress = quiet,
) -> Tuned:
    """Search for settings of `train`.

    Args:
        model: a key of `JOBS`.
        data: as in `train`.
        out: YAML to write the best settings to; the study lies beside it as `<stem>.study.sqlite`.
        trials: of the study in all, those of an earlier call included.
        fixed: settings that are not tried but kept.
        pruner: `median`, `hyperband` or `none`.
        seed: of the search and of the networks.
        progress: is told how far it has come.

    Raises:
        InputError: if a setting is not valid, or the study is one of other data or settings.
        TrainingError: if there is too little to train on, or no trial has come to an end.
    """
    if model not in JOBS:
        raise InputError("model", model, JOBS)
    if pruner not in PRUNERS:
        raise InputError("pruner", pruner, PRUNERS)
    kept = dict(fixed or {})
    job = JOBS[model](data, kept, seed, progress)
    if not job.space:
        raise InputError("config", ", ".join(kept), "fewer settings that are kept: nothing is left to try")
    study = _study(out, model, _identity(data, kept, seed, pruner), pruner, job.epochs, seed)
    resumed = len(_finished(study))
    while (done := len(_finished(study))) < trials:
        progress("trials", done, trials)
        _trial(study, job)
    progress("trials", trials, trials)
    found = _result(study, job, resumed)
    _write(out, found.settings)
    return found


def surrogate_job(data: Path, kept: Mapping[str, Any], seed: int, progress: Progress) -> Job:
    """Settings of one network of the gate."""
    values = dict(kept)
    copies = values.pop("copies", 1)
    base = settings_of(Settings, {"members": 1, "epochs": EPOCHS, **values, "seed": seed}, also=["copies"])
    training = _training_data(data, copies, progress)
    has_moduli = bool(np.isfinite(training.labelled.labels["shear_modulus"]).any())
    space = {n: c for n, c in SURROGATE.items() if n not in kept and (has_moduli or n not in MODULI_ONLY)}
    return Job(
        what="error, mean of the properties in standard deviations of their labels (one network)",
        space=space,
        default={name: getattr(base, name) for name in space},
        written={"epochs": base.epochs, "copies": copies, **kept},
        epochs=base.epochs,
        run=lambda chosen, watch: _surrogate_trial(training, replace(base, **chosen), watch),
    )


def _surrogate_trial(training: TrainingData, settings: Settings, watch: Watch) -> float:
    from invdesign.surrogates.fitting.train import fit, mean_error
    from invdesign.surrogates.inputs.dataset import select
    from invdesign.surrogates.scales import to_scale

    model = fit("gate", training, settings, progress=lambda line: None, watch=watch)
    rows = training.rows("test")
    targets = np.stack([to_scale(p, training.labelled.labels[p][rows]) for p in model.properties], axis=1)
    return mean_error(
        model.raw(select(training.copies[-1], rows)).mean, targets, model.target_scale[1].astype(np.float64)
    )


def vae_job(data: Path, kept: Mapping[str, Any], seed: int, progress: Progress) -> Job:
    """Settings of the autoencoder, judged by its evidence bound; weights of its losses are not tried."""
    from invdesign.generators.prepare import prepare
    from invdesign.generators.train import config_from, make_training_set

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it says of every trial what it runs on
    config = config_from({"epochs": EPOCHS, **kept, "seed": seed})
    prepared = prepare(data, None, progress=progress)
    split = np.asarray(prepared.split)
    training = make_training_set(prepared.genes, prepared.labels, split.tolist())
    held_out = make_training_set(prepared.genes, prepared.labels, _swapped(split).tolist())
    fixed = {*kept, *(f"network.{name}" for name in dict(kept.get("network", {})))}
    space = {name: choices for name, choices in VAE.items() if name not in fixed}
    return Job(
        what="negative evidence bound, nats per crystal",
        space=space,
        default={name: attrgetter(name)(config) for name in space},
        written={"epochs": config.epochs, **kept},
        epochs=config.epochs,
        run=lambda chosen, watch: _vae_trial(training, held_out.valid, config, chosen, watch),
    )


def _swapped(split: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The split with the test part in the place of the validation part."""
    return np.select([split == "test", split == "valid"], ["valid", "test"], split)


def _vae_trial(
    training: TrainingSet, held_out: GeneBatch, config: TrainConfig, chosen: Mapping[str, Any], watch: Watch
) -> float:
    from invdesign.generators.train import evidence, train_vae
    from invdesign.generators.vae import VAEGenerator

    own = {k: v for k, v in chosen.items() if not k.startswith("network.")}
    sizes = {k.removeprefix("network."): v for k, v in chosen.items() if k.startswith("network.")}
    settings = replace(
        config, **own, check_every=config.epochs, check_samples=1, network=replace(config.network, **sizes)
    )
    with TemporaryDirectory() as folder:
        out = train_vae(training, settings, Path(folder) / "w.safetensors", Path(folder) / "c", watch=watch)
        return evidence(VAEGenerator.load(out), held_out, settings)


JOBS: dict[str, Callable[[Path, Mapping[str, Any], int, Progress], Job]] = {
    "surrogate": surrogate_job,
    "vae": vae_job,
}
"""Model to the function that makes its job, from data, settings that are kept, and a seed."""


def _training_data(data: Path, copies: Any, progress: Progress) -> TrainingData:
    """The data as the trainer wants them; no part of the split may be empty."""
    training = surrogate_data(data, copies, progress)
    for name in ("train", "valid", "test"):
        if not len(training.rows(name)):
            raise TrainingError(f"{data} has too few chemical systems: the {name} part is empty")
    return training


def _identity(data: Path, kept: Mapping[str, Any], seed: int, pruner: str) -> str:
    """Changes when the trials of a study would not be comparable."""
    digest = hashlib.sha256(data.read_bytes() if data.is_file() else str(data).encode()).hexdigest()[:12]
    return json.dumps({"data": digest, "kept": dict(kept), "seed": seed, "pruner": pruner})


def _study(out: Path, model: str, identity: str, pruner: str, epochs: int, seed: int) -> optuna.Study:
    """The study beside the output, made or found; a trial that was killed counts as failed.

    Raises:
        InputError: if there is a study of other data or settings.
    """
    import optuna
    from sqlalchemy import exc

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = out.with_name(f"{out.stem}.study.sqlite")
    ends = {
        "median": optuna.pruners.MedianPruner(WARM, n_warmup_steps=max(1, epochs // 3)),
        "hyperband": optuna.pruners.HyperbandPruner(1, max(1, epochs)),
        "none": optuna.pruners.NopPruner(),
    }
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.absolute()}",
            study_name=model,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed + _trials_in(path), n_startup_trials=WARM),
            pruner=ends[pruner],
        )
    except (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error).splitlines()[0]
        raise OutputError(f"study {path} cannot be used: {reason}; remove it or choose another --out") from None
    before = study.user_attrs.get("identity", identity)
    if before != identity:
        raise InputError("study", str(path), f"one of the same data and settings ({before}); choose another --out")
    study.set_user_attr("identity", identity)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _trials_in(path: Path) -> int:
    """Trials that a study has, so that a search that goes on draws other random numbers."""
    import sqlite3

    if not path.exists():
        return 0
    try:
        with sqlite3.connect(path) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
    except sqlite3.Error:
        return 0


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _trial(study: optuna.Study, job: Job) -> None:
    """One trial: the default settings first, then what the sampler suggests; ended early where it does badly."""
    import optuna

    if not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        study.enqueue_trial(dict(job.default), skip_if_exists=True)
    trial = study.ask()
    chosen = {name: _suggested(trial, name, choices) for name, choices in job.space.items()}
    seen: list[float] = []

    def watch(epoch: int, error: float) -> None:
        seen.append(error)
        trial.report(error, epoch)
        if epoch + 1 < job.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        held_out = job.run(chosen, watch)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    trial.set_user_attr("held out", held_out)
    study.tell(trial, seen[-1] if math.isfinite(seen[-1]) else None)


def _suggested(trial: optuna.Trial, name: str, choices: tuple[Any, ...]) -> Any:
    if isinstance(choices[0], float):
        return trial.suggest_float(name, choices[0], choices[1], log=choices[0] > 0.0)
    return trial.suggest_categorical(name, choices)


def _result(study: optuna.Study, job: Job, resumed: int) -> Tuned:
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not whole:
        raise TrainingError("no trial came to an end; allow more of them")
    best, default = min(whole, key=lambda t: t.value), whole[0]
    trials = _finished(study)
    return Tuned(
        settings=_nested({**best.params, **job.written}),
        what=job.what,
        best=float(best.value),
        default=float(default.value),
        best_held_out=float(best.user_attrs["held out"]),
        default_held_out=float(default.user_attrs["held out"]),
        trials=len(trials),
        pruned=sum(t.state == TrialState.PRUNED for t in trials),
        resumed=resumed,
        chosen=best.params,
    )


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a training reads them: those of its networks in a mapping of their own."""
    plain = {k: v for k, v in settings.items() if not k.startswith("network")}
    network = dict(settings.get("network", {}))
    network |= {k.removeprefix("network."): v for k, v in settings.items() if k.startswith("network.")}
    return plain | ({"network": network} if network else {})


def _write(out: Path, settings: Mapping[str, Any]) -> None:
    import yaml

    try:
        out.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from None
