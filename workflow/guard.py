"""What stands between two runs on the same results: one lock, and an end to the jobs that a killed run left behind."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil

from cxr import locks
from cxr.folder import RESULTS_LOCK

PATIENCE = 60  # seconds that a left-behind job has for saving its state
HELD: list[IO[str]] = []  # locks of this process
MARK = f"{os.sep}.snakemake{os.sep}scripts{os.sep}"  # in the command line of every job that runs a script


class Busy(Exception):
    """Another run works on the same results."""


def start(results: Path, workdir: Path) -> None:
    """Lock the results for as long as this process lives, and end the orphans; exit with a message where it is busy."""
    try:
        HELD.append(lock(results))
    except Busy as error:
        sys.exit(f"Error: {error}")
    stop_orphans(workdir, lambda line: print(line, file=sys.stderr))


def lock(results: Path) -> IO[str]:
    """Lock a results folder until the returned file is closed or the process ends, however it ends.

    Raises Busy, naming the process that holds it. On file systems without locks nothing is guarded.
    """
    results.mkdir(parents=True, exist_ok=True)
    path = results / RESULTS_LOCK
    file = path.open("a+", encoding="utf-8")
    if not locks.take(file):
        holder = path.read_text(encoding="utf-8").strip() or "unknown"
        raise Busy(
            f"another run is working on {results} ({holder}); wait for it to end, or stop it, then run the same command"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file


def stop_orphans(workdir: Path, tell: Callable[[str], None]) -> int:
    """End the jobs of this working directory whose run is gone; return how many there were.

    They are asked first: a training run saves its state, and the job that follows goes on from there.
    """
    orphans = list(_orphans(workdir))
    for process in orphans:
        tell(f"stopping process {process.pid}, a job that an earlier run left behind")
        process.terminate()
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=PATIENCE)
    return len(orphans)


def _orphans(workdir: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if (
                _is_script(process)
                and Path(process.cwd()) == workdir.resolve()
                and not any(map(_is_engine, process.parents()))
            ):
                yield process
        except psutil.Error:  # gone meanwhile, or another user's
            continue


def _is_script(process: psutil.Process) -> bool:
    """Say whether a process is the script itself, not the shell around it."""
    return len(process.cmdline()) > 1 and MARK in process.cmdline()[1]


def _is_engine(process: psutil.Process) -> bool:
    try:
        return any("snakemake" in Path(word).name for word in process.cmdline()[:3])
    except psutil.Error:
        return False
