"""What keeps two runs off the same results: one lock, and an end to the jobs that a killed run left behind.

A run puts its mark into the environment of its jobs. A job is left behind when it belongs to this user, runs on these
results, and the process that its mark names is gone. Processes without such a mark are left alone, and so are a cluster's
jobs: SLURM stops them itself (`slurm_jobs`).
"""

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from cxr.data.folder import RESULTS_LOCK
from cxr.errors import InputError
from cxr.runtime import locks

PATIENCE = 60  # seconds for a left-behind job to save its state
POLL = 0.05  # seconds between two checks of it
HELD: list[IO[str]] = []  # locks of this process
MARK = "CXR_RUN"  # the environment variable that names a job's run
ALLOCATION = "SLURM_JOB_ID"  # the environment variable of SLURM's jobs
SCRIPTS = f"{os.sep}.snakemake{os.sep}scripts{os.sep}"  # in the command line of every job that runs a script
HEAD = "process "  # how the content of a lock begins


class Busy(Exception):
    """Another run works on the same results."""


@dataclass(frozen=True)
class Mark:
    """The run that started a job.

    place: the process table that pid belongs to (`_place`). born: when the process pid started (`_born`). results: as seen
    from the job's working folder. allocation: the cluster job in which the run itself works, if any.
    """

    place: str
    pid: int
    born: str
    results: str
    allocation: str

    def here(self) -> bool:
        """Return whether this process can tell what became of the run."""
        return bool(self.place) and self.place == _place()

    def lives(self) -> bool:
        """Return whether the run goes on; its pid alone may by now belong to another process."""
        return _born(self.pid) == self.born


def start(results: Path) -> None:
    """Lock the results for as long as this process lives, end what earlier runs left behind, and mark the jobs to come.

    Exits with a message if another run is using them.
    """
    try:
        HELD.append(lock(results))
        stop_orphans(results)
    except (Busy, InputError) as error:
        sys.exit(f"Error: {error}")
    os.environ.update({MARK: json.dumps(asdict(_own_mark(results)))})


def say(line: str) -> None:
    print(line, file=sys.stderr)


def lock(results: Path, tell: Callable[[str], None] = say) -> IO[str]:
    """Lock a results folder until the returned file is closed or the process ends, however it ends.

    Raises Busy, naming the process that holds it, and InputError if the lock file is not one. On file systems without
    locks, which is reported, another run is recognised by the content of the file, on the same machine only.
    """
    results.mkdir(parents=True, exist_ok=True)
    path = results / RESULTS_LOCK
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "a+", encoding="utf-8", errors="replace", opener=locks.cautiously))
        file.seek(0)
        content = file.read(10_000)
        if content and not content.startswith(HEAD):
            raise InputError(f"{path}: this is not the lock of a run, and is left unchanged; move it elsewhere")
        holder, _, mark = content.partition("\n")
        if not _locked(file, _mark(mark), results, tell):
            raise Busy(
                f"another run is working on {results} ({holder or 'unknown'}); wait for it to end, or stop it, then run the "
                "same command"
            )
        _sign(file, results)
        stack.pop_all()
    return file


def _locked(file: IO[str], earlier: Mark | None, results: Path, tell: Callable[[str], None]) -> bool:
    """Lock the file. earlier: the run that it names, which counts where there are no locks."""
    try:
        return locks.attempt(file)
    except OSError as error:
        tell(
            f"{results}: this file system has no locks ({error.strerror}): a second run on these results is noticed only "
            "on this machine; do not start one on another machine"
        )
        return earlier is None or not (earlier.here() and _is_another(earlier) and _works_on(results, earlier))


def _is_another(mark: Mark) -> bool:
    """Return whether a run other than this process's goes on."""
    return mark.lives() and mark.pid != os.getpid()


def _works_on(results: Path, mark: Mark, process: psutil.Process | None = None) -> bool:
    """Return whether a job, or the run itself, works on these results, wherever they have been moved to."""
    try:
        return Path((process or psutil.Process(mark.pid)).cwd(), mark.results).samefile(results)
    except (psutil.Error, OSError):  # gone meanwhile, or its results are
        return False


def _sign(file: IO[str], results: Path) -> None:
    try:
        file.truncate(0)
        file.write(f"{HEAD}{os.getpid()} on {platform.node()}\n{json.dumps(asdict(_own_mark(results)))}\n")
        file.flush()
    except OSError as error:
        raise InputError(f"{file.name}: the lock of the run cannot be written ({error.strerror})") from None


def stop_orphans(results: Path, tell: Callable[[str], None] = say, patience: float = PATIENCE) -> int:
    """End the jobs on these results whose run is gone; return how many processes there were.

    Scripts are asked to stop first: a training run saves its state, and the next job goes on from there. The shells
    around them and their workers end with them. What is left after `patience` seconds is killed. Raises Busy if a job
    does not end, or belongs to a run that goes on.
    """
    found = dict(_marked_processes(results))
    if others := [mark for mark in found.values() if _is_another(mark)]:
        raise Busy(f"another run is working on {results} (process {others[0].pid}); wait for it to end, or stop it")
    orphans = [process for process, mark in found.items() if not mark.lives()]
    for process in _to_ask(orphans):
        tell(f"stopping process {process.pid}, a job that an earlier run left behind")
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            process.terminate()
    for process in _still_there(orphans, patience):
        with contextlib.suppress(psutil.Error):
            process.kill()
    if stuck := _still_there(orphans, patience):
        raise Busy(f"process {stuck[0].pid}, a job on {results} that an earlier run left behind, does not end; stop it")
    return len(orphans)


def _still_there(processes: list[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that have not after `patience` seconds.

    A process that has ended may stay listed for ever if the first process of a container reaps none.
    """
    deadline = time.monotonic() + patience
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL)
    return left


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and _born(process.pid) is not None


def _marked_processes(results: Path) -> Iterator[tuple[psutil.Process, Mark]]:
    """Yield this user's processes on this machine that a run on these results started, with their marks.

    This process and its parents are left out, even if a job started it.
    """
    around = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            if process.pid in around or process.uids().real != os.getuid():
                continue
            environment = process.environ()
        except (psutil.Error, OSError):  # gone meanwhile, or not readable
            continue
        mark = _mark(environment.get(MARK, ""))
        if mark is None or not mark.here() or mark.allocation != environment.get(ALLOCATION, ""):
            continue
        if _works_on(results, mark, process):
            yield process, mark


def _to_ask(orphans: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes to ask to stop: of a script, the shells around it and its forks, only the script."""
    above = {process: _above(process) & set(orphans) for process in orphans}
    scripts = {process for process in above if _is_script(process)}
    first = [process for process in scripts if not above[process] & scripts]  # not the script's own forks
    shells = set().union(*(above[process] for process in first))
    return first + [process for process in above if process not in shells | scripts and not above[process] & scripts]


def _above(process: psutil.Process) -> set[psutil.Process]:
    try:
        return set(process.parents())
    except psutil.Error:  # gone meanwhile
        return set()


def _is_script(process: psutil.Process) -> bool:
    """Return whether a process is the script itself, not the shell around it."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return len(words) > 1 and SCRIPTS in words[1]


def _own_mark(results: Path) -> Mark:
    return Mark(_place(), os.getpid(), _born(os.getpid()) or "", str(results), os.environ.get(ALLOCATION, ""))


def _mark(text: str) -> Mark | None:
    try:
        mark = Mark(**json.loads(text))
    except (ValueError, TypeError):
        return None
    kinds = {name: type(value) for name, value in asdict(mark).items()}
    return mark if kinds == Mark.__annotations__ else None


def _place() -> str:
    """Name the process table of this process: the machine, its boot, and the container.

    Machines that share a folder may share a name; each container numbers its processes anew. "": unknown, and no process
    is judged.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return " ".join([platform.node(), boot, os.readlink("/proc/self/ns/pid")])
    except OSError:
        return ""


def _born(pid: int) -> str | None:
    """Return the tick of the kernel's clock at which a process started, or None if it has ended or never existed.

    Not psutil's `create_time`, which moves with the system clock.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    ended = fields[0] in (b"Z", b"X")  # killed, but not yet reaped by its parent
    return None if ended else fields[19].decode()
