"""The log of a job: every line goes to its file and to the terminal, and bad input ends in a message, not a traceback."""

import contextlib
import errno
import os
import re
import sys
import time
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Self

from cxr.errors import Done, InputError, Interrupted

# Unicode categories of characters that are invisible or change the text around them: control characters, format
# characters (some change the direction of a text), line separators and paragraph separators.
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""Return any text as one line with nothing invisible: newlines, ANSI escapes and the like as \n, \x1b, \u202e.

    For what is printed or logged; for a path, see `legible`. A byte of a file name that is not UTF-8 (Python keeps it as
    a surrogate) becomes \xNN.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in INVISIBLE or "\ud800" <= character <= "\udfff":
        return character.encode("unicode_escape").decode("ascii")
    return character


class Journal:
    """Log of one job, used as a context manager and called with a text, which becomes one line (`visible`).

    An InputError raised inside, a run stopped from outside and a full disk end the process with exit code 1 and a
    message as the last line; Done ends it with exit code 0. A log that cannot be written (a full disk) does not stop the job.
    """

    def __init__(self, path: str | Path, name: str):
        self.path = Path(path)
        self.name = name
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_symlink():  # its target would be emptied
            self.path.unlink()
        self.path.write_text("", encoding="utf-8")
        return self

    def __call__(self, text: str) -> None:
        stamped = f"{time.monotonic() - self.began:7.1f} s  {visible(text)}\n"
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(stamped)
        sys.stderr.write(f"[{self.name}] {stamped}")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Done):
            self(str(error))
            raise SystemExit(0) from None
        if isinstance(error, InputError | Interrupted):
            self(f"error: {error}" if isinstance(error, InputError) else str(error))
            raise SystemExit(1) from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            self(f"error: no room left on the disk of {error.filename or 'the results'}; make room, and run again")
            raise SystemExit(1) from None
        if error is not None:
            self(f"failed: {kind.__name__ if kind else ''}: {error}")


class Progress:
    """Rate and time left of a counted piece of work, logged at most every `interval` seconds and at the end."""

    def __init__(self, tell: Journal, unit: str, interval: float = 5.0):
        self.tell, self.unit, self.interval = tell, unit, interval
        self.began = self.last = time.monotonic()

    def __call__(self, done: int, total: int, *_: float) -> None:
        now = time.monotonic()
        if now - self.last < self.interval and done < total:
            return
        self.last = now
        rate = done / max(now - self.began, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        self.tell(f"{done} of {total} {self.unit}, {rate:.1f} {self.unit}/s, {left:.0f} s left")


def legible(path: str | Path) -> str:
    r"""Return a path as UTF-8 text on one line: bytes that are not UTF-8 as \xNN, control characters as \n or \xNN.

    For paths in messages and tables; for any other text, see `visible`. Format characters, which `visible` escapes, stay:
    tables name images by this spelling.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: repr(match[0])[1:-1], text)
