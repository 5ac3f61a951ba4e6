"""What becomes of a run when something breaks: each fault in processes of its own, counted in a table.

    python tests/reliability.py [--kills 50] [--seed 0] [--only NAME] [--out docs/reliability.md]

Every fault is put to a run of `tests/fault_run.py`: small parts, real worker processes, a real ledger. It must
leave one clear line, no process behind, and a ledger that passes its check; the run, gone on with, must find what
an undisturbed one finds, to the last bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from postgres import PASSWORD, Server, why_not  # noqa: E402

from invdesign.app.runs import check_ledger, status  # noqa: E402
from invdesign.errors import InvdesignError  # noqa: E402

RUN = [sys.executable, str(HERE / "fault_run.py")]
PATIENCE = 600.0
"""Seconds that a run may take on a machine that is busy with other work."""
QUICK = 10.0
"""Seconds of wall clock in which a run ends after a signal."""
LEAVES = 10.0
"""Seconds in which all its processes are gone after that."""
MARKS = ("<!-- faults -->", "<!-- end of faults -->")


@dataclass
class Lab:
    """A folder for runs, a random number generator, and the list of an undisturbed run."""

    folder: Path
    rng: random.Random
    kills: int = 50
    undisturbed: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, delay: float = 0.1, user: str | None = None) -> subprocess.Popen[str]:
        """A run as a process of its own; it says `ready` when it has its modules."""
        env = os.environ | {"PYTHONPATH": str(HERE), "FAULT_RUN_DELAY": str(delay)} | self.environment
        return subprocess.Popen(
            [*RUN, *arguments],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=user,
            preexec_fn=hears_interrupts,
        )

    def finish(self, where: Path | str, executor: str = "local") -> str:
        """Run to the end and give what was found."""
        out = self.folder / "found.json"
        out.unlink(missing_ok=True)
        process = self.start(str(where), str(out), executor)
        _, line = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, line
        return out.read_text()

    def check(self, where: Path | str, executor: str = "local") -> None:
        """The ledger is whole, and the run, gone on with, finds what an undisturbed one finds."""
        self.whole(where)
        assert self.finish(where, executor) == self.undisturbed, "another list"
        self.whole(where)

    def whole(self, where: Path | str) -> None:
        if isinstance(where, str) or where.exists():
            os.environ |= self.environment
            _, problems = check_ledger(where if isinstance(where, str) else where.parent)
            assert not problems, problems

    def place(self, name: str) -> Path:
        """A new place for a ledger."""
        folder = self.folder / name
        folder.mkdir()
        return folder / "ledger.sqlite"


def hears_interrupts() -> None:
    """A process that was started in the background of a shell ignores SIGINT, and so would all below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None and process.stdout.readline() == "ready\n", process.communicate()


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> None:
    """See that processes end by themselves."""
    _, alive = psutil.wait_procs(processes, timeout=LEAVES)
    assert not alive, f"left behind: {alive}"


def kill_main(lab: Lab, where: Path | str) -> str:
    """SIGKILL of the main process at random moments, and the same ledger taken up after each."""
    killed = 0
    while killed < lab.kills:
        process = lab.start(str(where), str(lab.folder / "found.json"), delay=1.0)
        wait_ready(process)
        time.sleep(lab.rng.uniform(0.0, 2.0))
        children = below(process)
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        gone(children)
        if ended:
            break
        killed += 1
    lab.check(where)
    return f"{killed} SIGKILLs of one run"


def kill_main_file(lab: Lab) -> str:
    """SIGKILL of the main process; ledger in a file"""
    return kill_main(lab, lab.place("kill-main"))


def kill_main_server(lab: Lab) -> str:
    """SIGKILL of the main process; ledger on PostgreSQL"""
    with server(lab) as running:
        return kill_main(lab, f"{running.url}?schema=kill_main")


def kill_workers(lab: Lab) -> str:
    """SIGKILL of a worker process, again and again"""
    where, killed = lab.place("kill-workers"), 0
    process = lab.start(str(where), str(lab.folder / "found.json"), delay=1.0)
    wait_ready(process)
    while process.poll() is None and killed < lab.kills:
        time.sleep(lab.rng.uniform(1.0, 3.0))
        if children := below(process):
            lab.rng.choice(children).kill()
            killed += 1
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lab.check(where)
    return f"{killed} SIGKILLs of workers in one run"


def ask_to_end(lab: Lab, number: signal.Signals, code: int, word: str) -> str:
    """A signal to `invdesign design` while it relaxes: one line that says how to go on, and nobody left."""
    folder = lab.folder / f"run-{word}"
    arguments = (
        "design",
        "--target",
        "bulk_modulus>=200",
        "-n",
        "2",
        "--relaxations",
        "8",
        "-q",
        "--out",
        str(folder),
    )
    process = lab.start("--", *arguments, delay=60.0)
    end = time.monotonic() + PATIENCE
    while len(below(process)) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(lab.rng.uniform(1.0, 3.0))
    children, start = below(process), time.monotonic()
    before = sum(psutil.Process(process.pid).cpu_times()[:2])
    process.send_signal(number)
    assert process.stderr is not None
    line = process.stderr.read()
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    seconds, spent = time.monotonic() - start, used.ru_utime + used.ru_stime - before
    gone(children)
    assert process.returncode == code, (process.returncode, line)
    assert line.strip() == f"invdesign: {word}; go on with: invdesign resume {folder}", line
    assert seconds < QUICK, f"{seconds:.1f} s"
    resumed = lab.start("--", "resume", str(folder), "-q", delay=0.0)
    assert resumed.communicate(timeout=PATIENCE)[1] == "" and resumed.returncode == 0
    assert not check_ledger(folder)[1]
    return f"ended after {spent:.1f} s of CPU time ({seconds:.1f} s of wall clock)"


def terminate(lab: Lab) -> str:
    """SIGTERM while two relaxations of a minute are under way"""
    return ask_to_end(lab, signal.SIGTERM, 143, "terminated")


def interrupt(lab: Lab) -> str:
    """Ctrl-C while two relaxations of a minute are under way"""
    return ask_to_end(lab, signal.SIGINT, 130, "interrupted")


def refused(lab: Lab, process: subprocess.Popen[str], *words: str) -> None:
    """The run ends with an error that names what is wrong."""
    _, text = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert all(word in text.splitlines()[-1] for word in words), text


def two_processes(lab: Lab) -> str:
    """A second process on a run that is going on"""
    where = lab.place("two")
    first = lab.start(str(where), str(lab.folder / "first.json"), delay=1.0)
    wait_ready(first)
    end = time.monotonic() + PATIENCE
    while not where.exists() and time.monotonic() < end:
        time.sleep(0.1)
    refused(
        lab, lab.start(str(where), str(lab.folder / "second.json")), "another process is running on this ledger"
    )
    first.kill()
    first.communicate()
    lab.check(where)
    return "refused; the first goes on"


def moved(lab: Lab) -> str:
    """The run folder is moved between stop and resume"""
    where = lab.place("moved")
    stopped(lab, where)
    there = lab.folder / "elsewhere"
    where.parent.rename(there)
    lab.check(there / where.name)
    return "goes on in its new place"


def stopped(lab: Lab, where: Path | str, relaxed: int = 2) -> None:
    """A run that was killed after some relaxations."""
    process = lab.start(str(where), str(lab.folder / "found.json"), delay=0.5)
    until_relaxed(lab, process, where, relaxed)
    process.kill()
    process.communicate()


def until_relaxed(lab: Lab, process: subprocess.Popen[str], where: Path | str, relaxed: int = 2) -> None:
    """Wait until a run has recorded some relaxations."""
    os.environ |= lab.environment
    wait_ready(process)
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
        with contextlib.suppress(InvdesignError):  # it is not there yet
            if status(where if isinstance(where, str) else where.parent).relaxed >= relaxed:
                return


@contextmanager
def small_disk(lab: Lab, kilobytes: int) -> Iterator[Path]:
    """A file system of some kilobytes."""
    folder = lab.folder / "disk"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=777", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise SkippedError("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(lab: Lab) -> str:
    """The disk is full while the run is recorded"""
    with small_disk(lab, 300) as disk:
        where = disk / "ledger.sqlite"
        refused(lab, lab.start(str(where), str(lab.folder / "found.json")), "cannot write the ledger", "is kept")
        grow = ["mount", "-o", "remount,size=50m", str(disk)]
        subprocess.run(grow, check=True, capture_output=True)
        lab.check(where)
    return "one line; goes on when there is room"


def read_only(lab: Lab) -> str:
    """The run folder becomes read-only between stop and resume"""
    with small_disk(lab, 50000) as disk:
        where = disk / "ledger.sqlite"
        stopped(lab, where)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        refused(lab, lab.start(str(where), str(lab.folder / "found.json")), str(where))
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True, capture_output=True)
        lab.check(where)
    return "one line; goes on when it can be written"


class SkippedError(Exception):
    """This fault cannot be made on this machine."""


@contextmanager
def server(lab: Lab) -> Iterator[Server]:
    """A PostgreSQL server of the lab's own."""
    if reason := why_not():
        raise SkippedError(reason)
    folder = Path(tempfile.mkdtemp(prefix="invdesign-pg-"))
    found = Server(folder)
    lab.environment = {"PGPASSWORD": PASSWORD}
    try:
        yield found
    finally:
        found.kill()
        shutil.rmtree(folder, ignore_errors=True)


def kill_server(lab: Lab) -> str:
    """SIGKILL of the database server under a run"""
    with server(lab) as running:
        url = f"{running.url}?schema=killed"
        process = lab.start(url, str(lab.folder / "found.json"), delay=1.0)
        until_relaxed(lab, process, url)
        time.sleep(lab.rng.uniform(0.0, 3.0))
        children = below(process)
        running.kill()
        refused(lab, process, "the database server cannot be reached")
        gone(children)
        running.start()
        lab.check(url)
    return "one line without the password; goes on when the server is back"


def dask_workers(lab: Lab) -> str:
    """SIGKILL of Dask workers under a run"""
    where, killed = lab.place("dask"), 0
    process = lab.start(str(where), str(lab.folder / "found.json"), "dask", delay=1.0)
    wait_ready(process)
    while process.poll() is None and killed < min(lab.kills, 5):
        time.sleep(lab.rng.uniform(4.0, 8.0))
        hosts = [p.parent() for p in below(process) if "invdesign.workers" in " ".join(p.cmdline())]
        if hosts:
            lab.rng.choice(hosts).kill()
            killed += 1
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lab.check(where)
    return f"{killed} SIGKILLs of Dask workers in one run"


def dask_scheduler(lab: Lab) -> str:
    """SIGKILL of the process of the Dask scheduler under a run"""
    where = lab.place("scheduler")
    process = lab.start(str(where), str(lab.folder / "found.json"), "dask", delay=1.0)
    until_relaxed(lab, process, where)
    children = below(process)
    next(p for p in children if "executors.dask" in " ".join(p.cmdline())).kill()
    refused(lab, process, "the Dask scheduler is lost")
    gone(children)
    lab.check(where, "dask")
    return "one line; goes on with a new cluster"


def flipped(lab: Lab) -> str:
    """A bit of the ledger's file is changed"""
    where, found = lab.place("flipped"), 0
    lab.finish(where)
    content = where.read_bytes()
    for _ in range(2 * lab.kills):
        spoiled = bytearray(content)
        spoiled[lab.rng.randrange(len(content))] ^= 1 << lab.rng.randrange(8)
        where.write_bytes(bytes(spoiled))
        try:
            _, problems = check_ledger(where.parent)
            found += bool(problems)
        except Exception as error:
            assert type(error).__name__ == "LedgerError" and "\n" not in str(error), error
            found += 1
    where.write_bytes(content)
    lab.check(where)
    return f"{found} of {2 * lab.kills} noticed; the others lie where nothing is stored"


FAULTS: dict[str, Callable[[Lab], str]] = {
    each.__name__: each
    for each in (
        *(kill_main_file, kill_main_server, kill_workers, terminate, interrupt, dask_workers, dask_scheduler),
        *(kill_server, full_disk, read_only, moved, two_processes, flipped),
    )
}


def outcome(name: str, kills: int, seed: int) -> tuple[str, bool]:
    """What became of a fault, and whether that is as it should be."""
    folder = Path(tempfile.mkdtemp(prefix="invdesign-faults-"))
    lab = Lab(folder, random.Random(f"{name} {seed}"), kills)
    try:
        lab.undisturbed = lab.finish(lab.place("undisturbed"))
        return FAULTS[name](lab), True
    except SkippedError as error:
        return f"not tested here: {error}", True
    except (AssertionError, InvdesignError, subprocess.TimeoutExpired) as error:
        return f"FAILED: {' '.join(str(error).replace('|', '/').split())[:300]}", False
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Put all faults to runs and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(FAULTS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    good = True
    for name in given.only or FAULTS:
        what, held = outcome(name, given.kills, given.seed)
        good &= held
        row = f"| {title(name)} | {what} | {'yes' if held else 'NO'} |"
        print(row, flush=True)
        if given.out is not None:
            write(given.out, title(name), row)
    return 0 if good else 1


def title(name: str) -> str:
    """What a fault is called in the table."""
    return (FAULTS[name].__doc__ or "").strip()


def write(page: Path, name: str, row: str) -> None:
    """Put the row of a fault into the table of a page; rows of others stay."""
    head, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    table, tail = rest.split(MARKS[1])
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")} | {name: row}
    lines = [rows[title(each)] for each in FAULTS if title(each) in rows]
    found = "\n".join(
        [MARKS[0], "", "| fault | what became of it | held |", "| --- | --- | --- |", *lines, "", MARKS[1]]
    )
    page.write_text(head + found + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
