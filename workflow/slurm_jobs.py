"""The jobs of a run in SLURM's queue: those a killed run left are cancelled, those of this run kept in sight."""

import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

PATIENCE = 300  # seconds that cancelled jobs have for saving their state and leaving
NOTE = ".slurm"  # in the results folder: the names under which runs submitted their jobs, one a line


def take_over(results: Path, name: str, tell: Callable[[str], None], patience: float = PATIENCE) -> int:
    """Cancel what earlier runs left in the queue, wait until it is gone, and note this run's name for the next one.

    name: what the SLURM executor calls all jobs of a run (`squeue --name`). Returns how many jobs were cancelled.
    Raises RuntimeError where SLURM gives no answer or the jobs do not end: two runs must not write the same files.
    """
    note = results / NOTE
    earlier = note.read_text(encoding="utf-8").split() if note.exists() else []
    found = queued(earlier)
    if found:
        tell(f"cancelling {len(found)} SLURM jobs that an earlier run left behind: {', '.join(found)}")
        _slurm("scancel", *found)
        deadline = time.monotonic() + patience
        while left := queued(earlier):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"SLURM jobs of an earlier run do not end: {', '.join(left)}; cancel them, then run again"
                )
            time.sleep(1)
    results.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{name}\n", encoding="utf-8")
    return len(found)


def require_plain(*paths: str) -> None:
    """Raise RuntimeError for a path that the SLURM executor (2.8.0) cannot hand to a job.

    It writes a job's inputs into a command line within double quotes, where a shell goes on reading.
    """
    for path in paths:
        if set(path) & set('$`"\\'):
            raise RuntimeError(
                f'{path}: a SLURM job cannot be given a path with one of $ ` " \\: make a link to it whose path has none of '
                "them (ln -s), and name that in the configuration, or start Snakemake there; nothing was run"
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
    """Return the ids of the jobs of these names that wait, run, or are ending."""
    return _slurm("squeue", "--noheader", "--format=%A", f"--name={','.join(names)}").split() if names else []


def _slurm(*command: str) -> str:
    """Run a SLURM command; squeue and scancel wait out a controller that is away for a moment by themselves."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()
        raise RuntimeError(f"{command[0]} gives no answer about the jobs of an earlier run: {reason}") from None
    return done.stdout
