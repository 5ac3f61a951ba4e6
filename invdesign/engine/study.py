"""Samplers of Optuna by name, and the file in which the study of a run can be looked at.

The ledger holds a run; `study.sqlite` beside it is a copy of the study in Optuna's own storage, for
`optuna-dashboard sqlite:///study.sqlite` and Optuna's own analyses. It can be deleted at any time.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import InvdesignWarning

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

STUDY = "study.sqlite"
"""File name of the study beside the ledger."""
NAME = "invdesign"
YIELDS = ("on target", "stable", "new")
"""What is maximised: shares of the crystals that a request asked for."""
PRODUCT = "on target, stable and new"
"""What is maximised by a sampler of one objective: the product of these shares."""
SINGLE = ("cmaes",)
"""Samplers of one objective."""


def make_sampler(name: str, seed: int, first_seed: int, per_round: int) -> BaseSampler:
    """A sampler of Optuna.

    Args:
        name: one of `invdesign.query_fields.SAMPLERS`.
        seed: of the round.
        first_seed: of the run: a low-discrepancy sequence goes on from round to round.
        per_round: requests in a round; generations and start-up are as long.
    """
    from optuna import samplers as s

    some = s.RandomSampler(seed=seed)
    generation = max(per_round, 4)
    if name == "tpe":
        return s.TPESampler(seed=seed, n_startup_trials=per_round, multivariate=True, constant_liar=True)
    if name == "nsga2":
        return s.NSGAIISampler(seed=seed, population_size=generation)
    if name == "nsga3":
        return s.NSGAIIISampler(seed=seed, population_size=generation)
    if name == "cmaes":
        return s.CmaEsSampler(
            seed=seed, popsize=generation, independent_sampler=some, warn_independent_sampling=False
        )
    if name == "gp":
        return s.GPSampler(
            seed=seed, n_startup_trials=per_round, independent_sampler=some, warn_independent_sampling=False
        )
    if name == "qmc":
        return s.QMCSampler(
            seed=first_seed,
            scramble=True,
            independent_sampler=some,
            warn_independent_sampling=False,
            warn_asynchronous_seeding=False,
        )
    return some


def keep(study: Study, path: Path) -> None:
    """Bring the file up to the finished trials of a study; a file of another study is written anew.

    A file that cannot be written is a warning: the run needs the ledger alone.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        _keep(study, path)
    except (SQLAlchemyError, OSError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        warnings.warn(f"{path} cannot be written ({line}); the run goes on without it", InvdesignWarning, 2)


def _keep(study: Study, path: Path) -> None:
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        finished = [t for t in study.trials if t.state.is_finished()]
        names = [s.study_name for s in storage.get_all_studies()]
        if NAME in names and not _agree(optuna.load_study(study_name=NAME, storage=storage), finished):
            optuna.delete_study(study_name=NAME, storage=storage)
        kept = optuna.create_study(
            study_name=NAME, storage=storage, directions=study.directions, load_if_exists=True
        )
        kept.set_metric_names([PRODUCT] if len(study.directions) == 1 else list(YIELDS))
        kept.add_trials(finished[len(kept.get_trials(deepcopy=False)) :])
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _agree(kept: Study, finished: list[Any]) -> bool:
    """Whether the trials that are kept are those of the study, as far as both go."""
    pairs = zip(kept.get_trials(deepcopy=False), finished, strict=False)
    return all(a.params == b.params and a.values == b.values and a.state == b.state for a, b in pairs)
