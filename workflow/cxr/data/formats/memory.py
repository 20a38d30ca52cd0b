"""A bound on the memory that a piece of work takes, for cases that no header reveals beforehand."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Let this process take at most `most` bytes more than it has now; asking for more raises a MemoryError.

    The bound holds for all threads of the process, and only on systems that report its memory (Linux).
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        has = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        yield
        return
    limit = has + most if before[0] == resource.RLIM_INFINITY else min(has + most, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
