"""The jobs of a run in SLURM's queue: those a killed run left are cancelled, those of this run kept in sight."""

import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from cxr.errors import InputError
from cxr.experiments import EXPERIMENTS
from cxr.runtime import locks
from cxr.settings import Settings
from runner.places import TABLES

PATIENCE = 300  # seconds for cancelled jobs to save their state and end
NOTE = ".slurm"  # in the results folder: the names under which runs submitted their jobs, one per line
# As the SLURM executor makes them.
NAME = re.compile(r"([A-Za-z0-9_-]{1,50}_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
READ_ON = set('$`"\\')  # characters that a shell interprets within double quotes
WORD = re.compile(r"[\w./+@%:,=-]+")  # what needs no quotes in a shell


def take_over(results: Path, name: str, tell: Callable[[str], None], patience: float = PATIENCE) -> int:
    """Cancel what earlier runs left in the queue, wait until it is gone, and note this run's name for the next one.

    name: what the SLURM executor calls all jobs of a run (`squeue --name`). Returns how many jobs were cancelled.
    Raises RuntimeError if SLURM gives no answer or the jobs do not end: two runs must not write the same files.
    """
    results.mkdir(parents=True, exist_ok=True)
    note = results / NOTE
    try:
        earlier = _earlier(note)
        found = _cancelled(earlier, tell, patience)
        with open(note, "w", encoding="utf-8", opener=locks.cautiously) as file:
            file.write(f"{name}\n")
    except InputError as error:
        raise RuntimeError(str(error)) from None
    except OSError as error:
        raise RuntimeError(f"{note}: the name of this run cannot be written ({error.strerror})") from None
    return found


def _earlier(note: Path) -> list[str]:
    """Return the names in the note, which become arguments of squeue: only names of runs are accepted."""
    try:
        with open(note, encoding="utf-8", errors="replace", opener=locks.cautiously) as file:
            names = file.read(10_000).split("\n")
    except FileNotFoundError:
        return []
    if bad := [name for name in names if name and not NAME.fullmatch(name)]:
        raise InputError(
            f"{note}: {bad[0][:60]!r} is not the name of a run, so jobs of an earlier run cannot be found; look for them "
            "with squeue --me, cancel any, remove this file, and run again"
        )
    return list(filter(None, names))


def _cancelled(names: list[str], tell: Callable[[str], None], patience: float) -> int:
    found = queued(names)
    if not found:
        return 0
    tell(f"cancelling {len(found)} SLURM jobs that an earlier run left behind: {', '.join(found)}")
    _slurm("scancel", *found)
    deadline = time.monotonic() + patience
    while left := queued(names):
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"SLURM jobs of an earlier run do not end: {', '.join(left)}; cancel them, then run again"
            )
        time.sleep(1)
    return len(found)


def paths(settings: Settings, root: str, tables: Mapping[str, str]) -> dict[str, str]:
    """Return every path from the user in a job's command line, by the setting that names it.

    root: the folder of the images. tables: its tables, by the keys of `TABLES`.
    """
    given = {"the working directory": os.getcwd(), "data.root": root}
    given |= {f"data.{TABLES[name][1]}": table for name, table in tables.items()}
    given |= {f"validate.{name}": getattr(settings.validate, name) for name in ("table", "names", "boxes")}
    for protocol in settings.protocols:
        for each in EXPERIMENTS:
            for name in ("pretrained", "cfg"):
                path = getattr(each.settings(settings, protocol), name, "")
                given[f"{protocol}.{each.section}.{name}"] = path
    return {name: path for name, path in given.items() if path}


def require_plain(given: Mapping[str, str]) -> None:
    """Raise RuntimeError for a path that the SLURM executor (2.8.0) cannot hand to a job.

    given: the name a user knows it by → path. The executor puts a job's inputs into a command line in double quotes, where
    a shell still interprets some characters; a quotation mark at the beginning of a path it takes for its own.
    """
    for name, path in given.items():
        if set(path) & READ_ON or not path.isprintable() or path.startswith("'"):
            raise RuntimeError(
                f'{name}: the path {path!r} cannot be passed to a SLURM job: it contains one of $ ` " \\ or a control character, '
                "or begins with an apostrophe; make a link to it without them (ln -s), and give the link in the "
                "configuration, or start Snakemake there; nothing was run"
            )


def require_plain_command(executor: Any) -> None:
    """Raise RuntimeError if a shell would interpret a character in what all command lines of the SLURM executor share.

    That is Python, the Snakefile, configuration files, the working directory, caches, and what other options name.
    """
    python = executor.get_python_executable()
    if not WORD.fullmatch(python):
        raise RuntimeError(
            f"{python}: a SLURM job cannot be started with this Python, since its path has a space or a character that a "
            "shell interprets; install it elsewhere (make setup in a folder without them); nothing was run"
        )
    factory = executor.workflow.spawned_job_args_factory
    options = factory.general_args(executor_common_settings=executor.common_settings)
    for option in f"--snakefile {executor.get_snakefile()!r} {options}".split(" --"):
        if set(option) & (READ_ON - {'"'}) or not option.isprintable():
            raise RuntimeError(
                f"--{option.removeprefix('--')}: this option cannot be passed to a SLURM job, since a shell interprets $, "
                "` and \\; choose a path without them; nothing was run"
            )


def keep_in_sight(executor: Any) -> None:
    """Make the SLURM executor (2.8.0) keep its jobs when SLURM gives no answer about them.

    By itself it forgets them all after a few unanswered queries, and the run waits for ever; now it asks again later.
    """
    check = executor.check_active_jobs

    async def checked(active: list[Any]) -> AsyncIterator[Any]:
        answers = executor._status_query_calls
        left = [job async for job in check(active)]
        for job in left if executor._status_query_calls > answers else active:
            yield job

    executor.check_active_jobs = checked


def queued(names: list[str]) -> list[str]:
    """Return the ids of this user's jobs with these names that wait, run, or are ending.

    Raises RuntimeError if SLURM answers with anything but ids: they become arguments of scancel.
    """
    if not names:
        return []
    found = _slurm("squeue", "--noheader", "--format=%A", f"--user={os.getuid()}", f"--name={','.join(names)}").split()
    if strange := [word for word in found if not re.fullmatch(r"[0-9]+", word)]:
        raise RuntimeError(
            f"squeue answered {strange[0][:60]!r} instead of the ids of an earlier run's jobs; nothing was cancelled"
        )
    return found


def _slurm(*command: str) -> str:
    """Run a SLURM command; squeue and scancel themselves wait for a controller that is briefly away."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()
        raise RuntimeError(f"{command[0]} did not answer about the jobs of an earlier run: {reason}") from None
    return done.stdout
