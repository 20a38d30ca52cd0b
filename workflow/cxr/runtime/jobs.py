"""What every job of the workflow does besides its work: log, check its inputs, and write whole, sealed outputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cxr.runtime import seals
from cxr.runtime.journal import Journal
from cxr.runtime.outputs import whole

RESULTS = "CXR_RESULTS"  # environment variable: the folder of the run's results


class Job(Protocol):
    """What the workflow passes to a job's script; named values have `items()`."""

    log: Any  # the first is its journal
    params: Any
    input: Any
    output: Any
    threads: int


@contextmanager
def opened(job: Job, name: str, environment: Mapping[str, str]) -> Iterator[tuple[Journal, dict[str, Path]]]:
    """Open a job's journal and compare its inputs with their seals; yield the journal and name → where to write each output.

    environment: CXR_RESULTS is read. A damaged input ends the job and is named (``seals.Damaged``).
    """
    with Journal(job.log[0], name) as tell:
        seals.require_intact(job.input, Path(environment[RESULTS]))
        with whole(job.output.items()) as out:
            yield tell, out
