"""What a run mends of its engine, Snakemake 9.27."""

from collections.abc import Iterable
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


def ask_behind_ancient(dag: Any) -> None:
    """Let a class of DAGs (``snakemake.dag.DAG``) ask every job for its own reasons to run.

    The jobs behind one that has to run are not asked: they are reached from it. But nothing is reached by way of an
    ancient file, and what lies behind one is not asked either: of a grid with a further depth its shared features were
    computed, its new pairs not trained, and the run called done.
    """
    judge, follow = dag.update_needrun, dag.bfs

    async def update_needrun(self: Any, *arguments: Any, **options: Any) -> None:
        self.judging = True
        try:
            await judge(self, *arguments, **options)
        finally:
            self.judging = False

    def bfs(self: Any, direction: Any, *jobs: Any, **options: Any) -> Iterable[Any]:
        behind = direction is self.depending and getattr(self, "judging", False)
        return follow(self, _Reached(direction) if behind else direction, *jobs, **options)

    dag.update_needrun, dag.bfs = update_needrun, bfs


class _Reached:
    """What jobs lead to, but for what they lead to by ancient files alone."""

    def __init__(self, depending: Any):
        self.depending = depending

    def __getitem__(self, job: Any) -> dict[Any, Any]:
        behind = self.depending[job].items()
        return {other: files for other, files in behind if not all(file.is_ancient for file in files)}
