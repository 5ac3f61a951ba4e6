"""Batch systems: settings of dask-jobqueue from a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from invdesign.checks import whole
from invdesign.errors import InputError, MissingDependencyError
from invdesign.settings import read_yaml

CLUSTERS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
"""Batch system to the class of dask-jobqueue."""
INTERNAL = {"self", "scheduler", "name", "base_class_kwargs", "kwargs"}
"""Arguments of its jobs that are not the user's."""
LINES = ("job_extra_directives", "job_script_prologue", "worker_extra_args", "job_directives_skip")
"""Settings that are lists of texts."""


def job_cluster(system: str, config: str | Path | None) -> tuple[Callable[[], Any], int]:
    """What starts a cluster in jobs, and how many jobs.

    Args:
        system: a key of `CLUSTERS`.
        config: a YAML file of settings of dask-jobqueue, and `jobs` [1]; None: Dask's own configuration files.

    Raises:
        InputError: if a setting is unknown, missing or wrong.
        MissingDependencyError: if dask-jobqueue is not installed.
    """
    try:
        import dask_jobqueue
    except ImportError:
        raise MissingDependencyError("dask-jobqueue", "cluster") from None
    settings = {} if config is None else read_yaml(Path(config), "config")
    kind = getattr(dask_jobqueue, CLUSTERS[system])
    jobs = whole("config: jobs", settings.pop("jobs", 1))
    allowed = _settings_of(kind)
    for key, value in settings.items():
        if key not in allowed:
            raise InputError("config: setting", key, ["jobs", *sorted(allowed)])
        if key in LINES and not (isinstance(value, list) and all(isinstance(line, str) for line in value)):
            raise InputError(f"config: {key}", value, "a list of texts")
    try:
        kind.job_cls(scheduler="tcp://nowhere:1", name="check", **settings)
    except Exception as error:  # dask-jobqueue raises whatever its parts do
        text = " ".join(str(error).split())
        raise InputError("config", str(config), f"settings that dask-jobqueue takes ({text})") from None
    return partial(kind, **settings), jobs


def _settings_of(kind: Any) -> set[str]:
    """Arguments of a cluster's jobs."""
    classes = [c for c in kind.job_cls.__mro__ if c.__module__.startswith("dask_jobqueue")]
    found = {name for c in classes for name in inspect.signature(c.__init__).parameters}
    return found - INTERNAL
