"""Locks on open files that die with their process, however it ends (flock, as filelock takes it)."""

import contextlib
from typing import IO, Any

from filelock import lock_descriptor


def take(file: IO[Any], wait: bool = False) -> bool:
    """Lock an open file until it is closed or its process ends; return False where another one holds it.

    wait: until it is free. On file systems without locks nothing is guarded: filelock's own way out, a file that says
    "locked", would outlive a killed process and stop the next one.
    """
    with contextlib.suppress(OSError):
        return lock_descriptor(file.fileno(), blocking=wait)
    return True
