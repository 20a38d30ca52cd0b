"""What every job of the workflow does around its work: log, check what it reads, and write whole, sealed outputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cxr.runtime import seals
from cxr.runtime.journal import Journal
from cxr.runtime.outputs import whole

RESULTS = "CXR_RESULTS"  # environment variable: the folder of the run's results


class Job(Protocol):
    """What a workflow tells a job's script of itself; values come with `items()`."""

    log: Any  # the first is its journal
    params: Any
    input: Any
    output: Any
    threads: int


@contextmanager
def opened(job: Job, name: str, environment: Mapping[str, str]) -> Iterator[tuple[Journal, dict[str, Path]]]:
    """Open a job's journal and compare its inputs with their seals; give name → where to write each output.

    environment: CXR_RESULTS is read. Damaged inputs end the job with their names (``seals.Damaged``).
    """
    with Journal(job.log[0], name) as tell:
        seals.require_intact(job.input, Path(environment[RESULTS]))
        with whole(job.output.items()) as out:
            yield tell, out
