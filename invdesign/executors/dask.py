"""Dask: the same tasks on a cluster. Each Dask worker answers with worker processes of its own.

So an item is computed in the same surroundings with every executor (one thread, the model loaded once), a process
that dies or takes too long is dealt with on its machine, and Dask repeats what is lost with a whole worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from invdesign import __version__
from invdesign.errors import MissingDependencyError
from invdesign.executors.jobs import job_cluster
from invdesign.workers import OWN_GROUP, Lost, WorkerError, Workers, cpu_count

if TYPE_CHECKING:
    from distributed import Client

EXTRA = "cluster"
AHEAD = 4
"""Tasks that are with the scheduler for each thread of the cluster; the rest wait here."""
KEPT = 2
"""Pools that a Dask worker keeps when it is idle: those of relaxations and of elastic tensors."""
PATIENCE = 60.0
"""Seconds to wait for a scheduler, and for the first worker of one that is there."""


class DaskExecutor:
    """What all ways to a Dask cluster share: a client, made with the first pool."""

    def __init__(self) -> None:
        """See that Dask is there.

        Raises:
            MissingDependencyError: if it is not.
        """
        if find_spec("distributed") is None:
            raise MissingDependencyError("distributed", EXTRA)
        self._client: Client | None = None

    def pool(self, target: str, settings: object, timeout: float) -> DaskPool:
        """See `Executor.pool`."""
        if self._client is None:
            import distributed  # noqa: F401 - sets the levels of its loggers

            for name in [n for n in logging.root.manager.loggerDict if n.partition(".")[0] == "distributed"]:
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is raised, in one line
            try:
                self._client = self._connect()
            except (OSError, TimeoutError, RuntimeError) as error:
                self.close()
                why = " ".join(str(error).split()) or type(error).__name__
                raise WorkerError(f"the Dask cluster cannot be reached ({why[:200]})") from None
        return DaskPool(self._client, target, settings, timeout)

    def close(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # whatever a connection that is lost raises
                self._client.close(timeout=2)
            self._client = None

    def _connect(self) -> Client:
        raise NotImplementedError


class Address(DaskExecutor):
    """A cluster that is there already."""

    def __init__(self, address: str) -> None:
        """Remember the address of its scheduler, `tcp://HOST:PORT`."""
        super().__init__()
        self._address = address

    def _connect(self) -> Client:
        from distributed import Client

        try:
            client = Client(self._address, timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WorkerError(f"no Dask scheduler answers at {self._address}: {why}") from None
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
            _same_version(client)
        except TimeoutError:
            client.close()
            raise WorkerError(f"the Dask scheduler at {self._address} has no workers; start some") from None
        except WorkerError:
            client.close()
            raise
        return client


class LocalCluster(DaskExecutor):
    """A cluster of processes on this machine, which ends with this process however that ends."""

    def __init__(self, workers: int | None = None) -> None:
        """Describe it.

        Args:
            workers: number of processes (None: one per core).
        """
        super().__init__()
        self._workers = workers or cpu_count()
        self._host: subprocess.Popen[str] | None = None

    def _connect(self) -> Client:
        from distributed import Client

        command = f"from invdesign.executors.dask import serve; serve({self._workers})"
        self._host = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=OWN_GROUP,
        )
        assert self._host.stdout is not None
        address = self._host.stdout.readline().strip()
        if not address:
            raise WorkerError(f"the local Dask cluster cannot be started (exit code {self._host.wait()})")
        return Client(address)

    def close(self) -> None:
        """Stop it."""
        super().close()
        if self._host is not None:
            host, self._host = self._host, None
            assert host.stdin is not None and host.stdout is not None
            with contextlib.suppress(OSError):
                host.stdin.close()  # at whose end it leaves
            try:
                host.wait(timeout=10.0)  # not for the end of its output, which a process of a lost worker may hold
            except subprocess.TimeoutExpired:
                host.kill()
                host.wait()
            host.stdout.close()


class Jobs(DaskExecutor):
    """Workers in jobs of a batch system."""

    def __init__(self, system: str, config: str | Path | None) -> None:
        """Read the settings.

        Args:
            system: `slurm`, `pbs` or `lsf`.
            config: a YAML file of settings of dask-jobqueue, and `jobs`, the number of jobs.

        Raises:
            InputError: if a setting is unknown or missing.
            MissingDependencyError: if dask-jobqueue is not installed.
        """
        super().__init__()
        self._cluster, self._jobs = job_cluster(system, config)
        self._running: Any = None

    def _connect(self) -> Client:
        from distributed import Client

        self._running = self._cluster()
        self._running.scale(jobs=self._jobs)
        return Client(self._running)

    def close(self) -> None:
        """End the jobs."""
        super().close()
        if self._running is not None:
            with contextlib.suppress(Exception):
                self._running.close(timeout=10)
            self._running = None


class DaskPool:
    """A :class:`~invdesign.executors.protocol.Pool` of a Dask cluster."""

    def __init__(self, client: Client, target: str, settings: object, timeout: float) -> None:
        """Describe it; workers set themselves up with their first task."""
        self._client, self._timeout = client, timeout
        self._start = pickle.dumps((target, settings))
        self._name = target.rpartition(":")[2]

    def imap(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Pool.imap`. The id of a task follows from its index, its item and the settings."""
        from distributed import as_completed

        waiting = enumerate(items)
        ahead = max(16, AHEAD * sum(self._client.nthreads().values()))
        futures: dict[Any, int] = {}
        for _, (index, item) in zip(range(ahead), waiting, strict=False):
            futures[self._submit(index, item)] = index
        ready = as_completed(futures)
        try:
            for future in ready:
                index = futures.pop(future)
                answer = _result(future)
                for following, item in waiting:
                    futures[more := self._submit(following, item)] = following
                    ready.add(more)
                    break
                yield index, answer
        finally:
            if futures:
                with contextlib.suppress(Exception):  # the cluster may be lost: nothing is left to cancel then
                    self._client.cancel(list(futures), force=True)

    def close(self) -> None:
        """Nothing is held here: the cluster's workers keep their processes for the next pool."""

    def _submit(self, index: int, item: object) -> Any:
        data = pickle.dumps(item)
        digest = hashlib.sha256(self._start + data).hexdigest()[:16]
        return self._client.submit(
            answer, self._start, data, self._timeout, key=f"{self._name}-{digest}-{index}", pure=True
        )


def _result(future: Any) -> Any:
    """The answer of a task that has ended, or :class:`Lost`.

    Raises:
        WorkerError: if processes cannot be set up, or the scheduler is lost.
    """
    from distributed import CancelledError, KilledWorker

    try:
        return pickle.loads(future.result())
    except KilledWorker as error:
        return Lost(f"its Dask workers died: {' '.join(str(error).split())[:200]}")
    except WorkerError:
        raise
    except (CancelledError, OSError, TimeoutError) as error:
        raise WorkerError(
            f"the Dask scheduler is lost ({type(error).__name__}); what was recorded is kept"
        ) from None
    except Exception as error:
        return Lost(f"{type(error).__name__}: {error}")


_POOLS: OrderedDict[bytes, Workers] = OrderedDict()
_LOCK = threading.Lock()


def answer(start: bytes, data: bytes, timeout: float) -> bytes:
    """Answer one item: what a Dask worker runs.

    Args:
        start: pickled target and settings of the pool.
        data: the pickled item.
        timeout: seconds.

    Returns:
        The pickled answer: classes of the models need not be loaded by the Dask worker itself.
    """
    return pickle.dumps(_hosted(start, timeout).one(pickle.loads(data)))


def _hosted(start: bytes, timeout: float) -> Workers:
    """The pool of this Dask worker for a target and its settings; idle ones of others are let go."""
    with _LOCK:
        if start not in _POOLS:
            for old in [key for key, found in _POOLS.items() if not found.is_busy][: 1 - KEPT or None]:
                _POOLS.pop(old).close()
            target, settings = pickle.loads(start)
            _POOLS[start] = Workers(target, settings, timeout=timeout)
        _POOLS.move_to_end(start)
        return _POOLS[start]


def _same_version(client: Client) -> None:
    """See that the workers have this version of invdesign.

    Raises:
        WorkerError: naming a worker that has not.
    """
    found = client.run(version, on_error="return")
    for address, theirs in found.items():
        if theirs != __version__:
            what = f"invdesign {theirs}" if isinstance(theirs, str) else f"no invdesign ({theirs})"
            raise WorkerError(f"the Dask worker {address} has {what}; this is invdesign {__version__}")


def version() -> str:
    """The version of invdesign in this process."""
    return __version__


def serve(workers: int) -> None:
    """Body of the process that holds a local cluster: says its address, and leaves when its input ends."""
    import distributed

    with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        print(cast(str, cluster.scheduler_address), flush=True)
        sys.stdin.read()
