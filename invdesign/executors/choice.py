"""From what a user says to an executor."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from invdesign.checks import whole
from invdesign.errors import InputError
from invdesign.executors.protocol import Executor, Pool, Workforce
from invdesign.workers import Workers

SCHEDULERS = ("slurm", "pbs", "lsf")
"""Batch systems that dask-jobqueue submits to."""
ALLOWED = ("local", "dask", "dask://HOST:PORT", *SCHEDULERS)


class Local:
    """Worker processes of this machine."""

    def __init__(self, workers: int | None = None) -> None:
        """Describe them.

        Args:
            workers: number of processes (None: one per core).
        """
        self._workers = workers

    def pool(self, target: str, settings: object, timeout: float) -> Pool:
        """See `Executor.pool`."""
        return Workers(target, settings, self._workers, timeout)

    def close(self) -> None:
        """Nothing is left: pools stop their own processes."""


def executor(name: str = "local", workers: int | None = None, config: str | Path | None = None) -> Executor:
    """An executor by its name; nothing is started yet.

    Args:
        name: `local`, `dask` (a cluster of processes on this machine), `dask://HOST:PORT` (the address of a
            scheduler), or `slurm`, `pbs`, `lsf` (jobs of a batch system that dask-jobqueue submits).
        workers: number of processes, for `local` and `dask` (None: one per core).
        config: a YAML file of settings of dask-jobqueue, and `jobs`, their number, for a batch system.

    Raises:
        InputError: if there is no such executor, or a setting does not belong to it.
        MissingDependencyError: if Dask is not installed.
    """
    if workers is not None:
        whole("workers", workers)
    kind = name.partition("://")[0].lower() if isinstance(name, str) else ""
    if kind not in ("local", "dask", *SCHEDULERS) or ("://" in name and kind != "dask"):
        raise InputError("executor", name, ALLOWED)
    if config is not None and kind not in SCHEDULERS:
        raise InputError("config", str(config), f"none: it is for the executors {', '.join(SCHEDULERS)}")
    if workers is not None and (kind in SCHEDULERS or "://" in name):
        raise InputError("workers", workers, f"none with the executor {name}: the cluster has its own number")
    if kind == "local":
        return Local(workers)
    from invdesign.executors import dask

    if "://" in name:
        return dask.Address(_address(name))
    return dask.LocalCluster(workers) if kind == "dask" else dask.Jobs(kind, config)


def _address(name: str) -> str:
    """The address of a scheduler as Dask writes it."""
    parts = urlsplit(name)
    try:
        found = parts.hostname, parts.port
    except ValueError:
        found = None, None
    if None in found or parts.path not in ("", "/") or parts.query or parts.username:
        raise InputError(
            "executor", name, "dask://HOST:PORT, the address of a Dask scheduler, as dask://node7:8786"
        )
    return f"tcp://{parts.netloc}"


def checked(workers: object) -> Workforce:
    """What a caller gave as `workers`.

    Raises:
        InputError: if it is neither a positive whole number, nor None, nor an executor.
    """
    if workers is None or isinstance(workers, Executor):
        return workers
    return whole("workers", workers)


def counted_here(workers: Workforce) -> int | None:
    """The number of processes of this machine that is meant; None: one per core, or those of an executor."""
    return workers if isinstance(workers, int) else None


def pool(workers: Workforce, target: str, settings: object, timeout: float = 3600.0) -> Pool:
    """Processes for a function, on this machine or where an executor has them; see `Executor.pool`.

    Raises:
        InputError: as `checked`.
    """
    found = checked(workers)
    chosen = found if isinstance(found, Executor) else Local(found)
    return chosen.pool(target, settings, timeout)
