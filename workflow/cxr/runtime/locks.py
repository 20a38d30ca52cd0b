"""Files that several processes share, such as locks: opened without following links, locked until a process ends."""

import contextlib
import os
import stat
import weakref
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from cxr.errors import InputError

# No link is followed, no pipe or device is waited for, and no program that is started later inherits the file.
CAUTIOUS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_own: weakref.WeakSet[Any] = weakref.WeakSet()  # files that forked children close


def cautiously(path: str | Path, flags: int) -> int:
    """Open a file that has a fixed name in a place others may write to: ``open(path, "a+", opener=locks.cautiously)``.

    Someone may have put a link, a pipe, or a file of their own there. Only a regular file is opened that belongs to this
    user, or to the owner of its folder (some file systems show one owner for everything). Raises InputError otherwise,
    before anything is read, truncated or written, and FileNotFoundError if nothing is there.
    """
    shown = Path(path)
    try:
        number = os.open(path, flags & ~os.O_TRUNC | CAUTIOUS, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        if shown.is_symlink():
            raise InputError(f"{shown}: this is a link, and it is not followed; remove it and run again") from None
        raise InputError(
            f"{shown}: this file cannot be opened ({error.strerror}); make it readable and writable, or remove it"
        ) from None
    try:
        _require_own(number, shown)
        if flags & os.O_TRUNC:
            os.ftruncate(number, 0)
    except BaseException:
        os.close(number)
        raise
    return number


def _require_own(number: int, path: Path) -> None:
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: this is not a regular file; remove it and run again")
    if found.st_uid not in (os.geteuid(), path.parent.stat().st_uid):
        raise InputError(
            f"{path}: this file belongs to another user (number {found.st_uid}); if they run nothing here, remove it and "
            "run again, otherwise choose another folder"
        )


def attempt(file: IO[Any], wait: bool = False) -> bool:
    """Lock an open file until it is closed or its process ends; return False if another one holds it.

    wait: wait until it is free. Raises OSError on file systems without locks.
    """
    return lock_descriptor(file.fileno(), blocking=wait)


def take(file: IO[Any], wait: bool = False) -> bool:
    """Lock an open file as `attempt` does; on file systems without locks nothing is guarded, and it counts as locked.

    filelock's own fallback there, a file that says "locked", would outlive a killed process and stop the next one.
    """
    with contextlib.suppress(OSError):
        return attempt(file, wait)
    return True


def keep_from_children(file: IO[Any]) -> None:
    """Make processes forked from now on close this file at once: its lock then ends with this process, not with them.

    file: unbuffered, so that a child that closes it writes nothing.
    """
    _own.add(file)


def _close() -> None:
    for file in list(_own):
        file.close()


os.register_at_fork(after_in_child=_close)
