"""What a run mends of its engine, Snakemake 9.27."""

from typing import Any


def calm(scheduler: Any) -> None:
    """Let the scheduler look for jobs to start when one has ended, not again every second for each that has.

    Every look while jobs wait sets a timer for the next, whether or not the limit of starts per second was met; as every
    ended job adds a look, after a hundred there are a hundred a second, each asking for the size of every waiting job's
    inputs: a core of its own for 260 pairs, and as many questions to a file server.
    """
    limiter, look_again = scheduler.job_rate_limiter, scheduler._schedule_reevalutation

    def look_where_held_back(delay: float) -> None:
        if limiter is None or limiter.get_free_jobs() == 0:
            look_again(delay)

    scheduler._schedule_reevalutation = look_where_held_back
