"""Results of finished members of a bundle, kept until their run ends.

A bundle of training jobs that fails, or is preempted, is run again as a whole: Snakemake deletes what its members have
written and starts them again, finished ones too. A member that finds its own results of the same run restores them.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import Done
from cxr.runtime import seals
from cxr.runtime.journal import Journal

SUFFIX = ".finished"


@contextmanager
def once(outputs: Iterable[tuple[str, str]], state: Path, key: str, batch: str, tell: Journal) -> Iterator[None]:
    """Wrap the work of a job: raise Done if it was done before, else keep its outputs when it succeeds.

    outputs: name and path. state: this job's own; the outputs are kept beside it, as hard links, which take no room.
    key: of the job's settings, data and code. batch: the name of the run, shared by all its cluster jobs; "": nothing is
    kept, since a run without a cluster starts no finished job again.
    """
    if not batch:
        yield
        return
    kept = state.with_name(state.name + SUFFIX)
    files = {name: Path(path) for name, path in outputs}
    mark = kept / "belongs_to"
    if mark.exists() and mark.read_text(encoding="utf-8") == f"{batch} {key}":
        for name, path in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            os.link(kept / name, path)
            seals.take_along(kept / name, path)
        raise Done("already finished in this run: its results are restored")
    yield
    try:
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for name, path in files.items():
            os.link(path, kept / name)
            seals.take_along(path, kept / name)
        mark.write_text(f"{batch} {key}", encoding="utf-8")
    except OSError as error:  # a file system without hard links
        tell(f"the results could not be kept for another attempt of this job's bundle ({error.strerror})")


def forget(states: Path) -> None:
    """Remove what was kept below the folder of states, once its run is over."""
    for path in states.rglob(f"*{SUFFIX}"):
        shutil.rmtree(path, ignore_errors=True)
