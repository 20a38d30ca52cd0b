"""Files from outside, read only if they are regular files of a bounded size.

A pipe would block, a device such as /dev/zero never ends, and a sparse file of 100 GB takes no room on the disk.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Irregular(ValueError):
    """A path that is not read: `reason` is the same text for every problem of its kind, `detail` describes this one."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason} ({detail})")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Opened:
    """A file that is open for reading, and its size in bytes."""

    file: BinaryIO
    size: int


@contextmanager
def opened(path: Path, most: int) -> Iterator[Opened]:
    """Open a regular file of at most `most` bytes; links are followed.

    Raises Irregular if it is another kind of file, is larger, or is written while it is open; OSError as `open` does.
    """
    _require_regular(path, os.stat(path))
    with open(path, "rb", opener=_at_once) as file:
        before = os.fstat(file.fileno())
        _require_regular(path, before)  # again: it may have been replaced since
        if before.st_size > most:
            raise Irregular(
                f"larger than {most / 1e6:.0f} MB", f"it has {before.st_size:,} bytes; no such file is this large"
            )
        yield Opened(file, before.st_size)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise Irregular("changed while it was read", "run again when it is written")


def content(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes. Raises as `opened` does."""
    with opened(path, most) as it:
        data = it.file.read(it.size)
        if len(data) != it.size:
            raise Irregular("changed while it was read", "run again when it is written")
    return data


def kind(path: str | Path) -> str:
    """Describe what is at a path that is not a regular file."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "a file")
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a circular link"
        if os.path.islink(path):
            return "a broken link"
        return os.strerror(error.errno or 0).lower()


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, should the file have become a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Irregular("not a regular file", kind(path))
