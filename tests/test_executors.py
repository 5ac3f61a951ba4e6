"""Executors: names and settings that are refused, the same answers from each, and what a lost worker costs."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from invdesign.errors import InputError, MissingDependencyError
from invdesign.executors import Executor, Local, checked, executor, pool
from invdesign.workers import ATTEMPTS, Lost, WorkerError

pytest.importorskip("distributed")

MODULE = """
import os, time
from pathlib import Path

def adder(settings):
    amount, folder = settings
    def answer(item):
        if item == "bad":
            raise ValueError("a bad item")
        if item == "deadly":
            os._exit(9)
        if isinstance(item, tuple):  # noted, slow the first time
            name, seconds = item
            mark = Path(folder) / f"{name}-{os.getppid()}"
            first = not list(Path(folder).glob(f"{name}-*"))
            mark.touch()
            time.sleep(seconds if first else 0.0)
            return name
        return item + amount
    return answer
"""
TARGET = "adding:adder"
ITEMS = [*range(40), "bad", "deadly"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that processes import, also those of a Dask cluster."""
    (tmp_path / "adding.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def dask(folder: Path) -> Iterator[Executor]:
    found = executor("dask", 2)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ray",), "executor: 'ray' is not valid; allowed: local, dask, dask://HOST:PORT, slurm, pbs, lsf"),
        (("slrum",), "did you mean slurm?"),
        (("tcp://host:1",), "executor: 'tcp://host:1' is not valid"),
        (("dask://host",), "dask://HOST:PORT"),
        (("dask://host:port",), "dask://HOST:PORT"),
        (("dask://host:8786/path",), "dask://HOST:PORT"),
        (("local", 0), "workers: 0 is not valid; allowed: a whole number from 1"),
        (("local", None, "x.yaml"), "config: 'x.yaml' is not valid; allowed: none: it is for the executors slurm"),
        (("dask", None, "x.yaml"), "config: 'x.yaml' is not valid"),
        (("slurm", 4, "x.yaml"), "workers: 4 is not valid; allowed: none with the executor slurm"),
        (("dask://host:1", 4), "workers: 4 is not valid"),
        (("slurm", None, "missing.yaml"), "missing.yaml"),
        (("slurm",), "cores and memory"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as caught:
        executor(*arguments)  # type: ignore[arg-type]
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cores: 4\nmemory: 8GB\nwalltme: '1:00'\n", "'walltme' is not valid"),
        ("cores: 4\nmemory: 8GB\njobs: 0\n", "config: jobs: 0 is not valid"),
        ("cores: 4\nmemory: a lot\n", "settings that dask-jobqueue takes"),
        ("cores: 4\nmemory: 8GB\njob_extra_directives: --gres=gpu:1\n", "a list of texts"),
        ("- 4\n", "mapping"),
    ],
)
def test_a_wrong_config_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        executor("slurm", None, tmp_path / "c.yaml")
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("system", "marks"), [("slurm", "#SBATCH"), ("pbs", "#PBS"), ("lsf", "#BSUB")])
def test_a_job_of_each_batch_system_says_what_the_config_says(system: str, marks: str, tmp_path: Path) -> None:
    from invdesign.executors.jobs import job_cluster

    config = tmp_path / "c.yaml"
    config.write_text("jobs: 3\ncores: 4\nprocesses: 4\nmemory: 8GB\nqueue: long\nwalltime: '02:00'\n")
    make, jobs = job_cluster(system, config)
    with make() as cluster:  # no job is submitted before it is scaled
        script = cluster.job_script()
    assert jobs == 3
    assert marks in script and "long" in script and "02:00" in script and "--nworkers 4" in script


def test_a_missing_package_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("invdesign.executors.dask")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'invdesign\[cluster\]'"):
        executor("dask")


def test_what_functions_take_as_workers() -> None:
    local = Local(3)
    assert [checked(x) for x in (None, 3, local)] == [None, 3, local]
    for wrong in (0, 1.5, "4", object()):
        with pytest.raises(InputError, match="workers"):
            checked(wrong)


def test_dask_gives_the_answers_of_the_local_pool(folder: Path, dask: Executor) -> None:
    found = {}
    for name, where in (("local", Local(2)), ("dask", dask)):
        processes = pool(where, TARGET, (5, str(folder)))
        found[name] = sorted(processes.imap(ITEMS), key=lambda pair: pair[0])
        processes.close()
    assert found["dask"] == found["local"]
    assert [answer for _, answer in found["local"][:40]] == [i + 5 for i in range(40)]
    assert found["local"][40][1] == Lost("ValueError: a bad item")
    assert found["local"][41][1] == Lost(f"its worker process died (exit code 9), {ATTEMPTS} times")


def test_a_target_that_is_not_there_ends_the_run(dask: Executor) -> None:
    with pytest.raises(WorkerError, match="nothing"):
        list(pool(dask, "adding:nothing", None).imap([1]))


def _appears(folder: Path, pattern: str) -> Path:
    """The file that a worker leaves when it takes an item up."""
    end = time.monotonic() + 60.0
    while not (found := list(folder.glob(pattern))) and time.monotonic() < end:
        time.sleep(0.02)
    (mark,) = found
    return mark


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_dask_worker_costs_a_repetition(folder: Path, dask: Executor) -> None:
    items = [("slow", 90.0), *range(10)]
    answers = pool(dask, TARGET, (1, str(folder))).imap(items)
    found = dict([next(answers)])
    mark = _appears(folder, "slow-*")  # the other worker may have answered before this one was set up
    os.kill(int(mark.name.split("-")[1]), signal.SIGKILL)  # the Dask worker that hosts the process
    start = time.monotonic()
    found.update(answers)
    assert found == {0: "slow"} | {i + 1: i + 1 for i in range(10)}
    assert len(list(folder.glob("slow-*"))) == 2, "computed by two workers"
    assert time.monotonic() - start < 80.0, "not by waiting for the killed one"


@pytest.mark.slow
def test_a_cluster_ends_with_its_parent(folder: Path) -> None:
    code = (
        "from invdesign.executors import executor, pool\n"
        f"found = pool(executor('dask', 1), {TARGET!r}, (1, {str(folder)!r}))\n"
        "list(found.imap([('busy', 600.0)]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    mark = _appears(folder, "busy-*")
    parent.kill()
    parent.wait()
    worker = Path(f"/proc/{mark.name.split('-')[1]}")
    end = time.monotonic() + 15.0
    while worker.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not worker.exists()


def scheduler(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.DEVNULL, cwd=folder)


@pytest.mark.slow
def test_an_address_without_a_scheduler_and_a_scheduler_without_workers_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("invdesign.executors.dask")
    monkeypatch.setattr(module, "PATIENCE", 2.0)
    alone = executor("dask://127.0.0.1:9")
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        alone.pool(TARGET, None, 1.0)
    process = scheduler(folder, 18786)
    monkeypatch.setattr(module, "PATIENCE", 10.0)
    try:
        found = executor("dask://127.0.0.1:18786")
        with pytest.raises(WorkerError, match="has no workers; start some"):
            found.pool(TARGET, None, 1.0)
    finally:
        process.kill()
        process.wait()


SBATCH = """#!/bin/bash
# stands for Slurm: runs the job on this machine
script=$(mktemp)
cp "${@: -1}" $script
setsid bash $script > /dev/null 2>&1 &
echo $! > {folder}/job.pid
echo "Submitted batch job 7"
"""


@pytest.mark.slow
def test_slurm_through_its_own_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for `sbatch` and `scancel` runs the job script that dask-jobqueue wrote."""
    tools = folder / "tools"
    tools.mkdir()
    scripts = {
        "sbatch": SBATCH.replace("{folder}", str(folder)),
        "scancel": f"#!/bin/bash\nkill -- -$(cat {folder}/job.pid)\n",
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    config = folder / "slurm.yaml"
    config.write_text("jobs: 1\ncores: 1\nmemory: 1GB\ninterface: lo\nlocal_directory: /tmp\n")
    found = executor("slurm", None, config)
    try:
        assert sorted(pool(found, TARGET, (5, str(folder))).imap([1, 2, 3])) == [(0, 6), (1, 7), (2, 8)]
    finally:
        found.close()


def run(out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = ["design", "--target", "bulk_modulus>=200", "-n", "2", "--relaxations", "3", "--no-dynamics", "-q"]
    return subprocess.Popen(
        [sys.executable, "-m", "invdesign", *command, "--seed", "0", "--out", str(out), *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


def listed(out: Path) -> pd.DataFrame:
    table = pd.read_csv(out / "candidates.csv")
    return table.drop(columns=[c for c in table if "seconds" in c])


@pytest.mark.slow
def test_a_design_run_is_the_same_with_each_executor(tmp_path: Path) -> None:
    """Once on this machine, once on a Dask cluster of two workers, one of which is killed on the way."""
    psutil = pytest.importorskip("psutil")
    here = run(tmp_path / "local", "--workers", "2")
    assert here.communicate()[1] == "" and here.returncode == 0
    there = run(tmp_path / "dask", "--workers", "2", "--executor", "dask")
    killed = 0
    while there.poll() is None:
        # the process of the cluster, its Dask workers, their worker processes
        below = []
        with contextlib.suppress(psutil.Error):  # one of them has just ended
            children = psutil.Process(there.pid).children(recursive=True)
            below = [p for p in children if "serve()" in " ".join(p.cmdline())]
        if below and killed < 1:
            time.sleep(5.0)  # it has its model, and works
            below[0].parent().kill()
            killed += 1
        time.sleep(0.5)
    assert there.communicate()[1] == "" and there.returncode == 0
    assert killed == 1
    pd.testing.assert_frame_equal(listed(tmp_path / "dask"), listed(tmp_path / "local"))
