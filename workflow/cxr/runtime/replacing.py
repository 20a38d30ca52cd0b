"""Files that are replaced as a whole: whoever reads one finds its former content or all of its new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(
    path: Path, *, binary: bool = False, durable: bool = True, errors: str | None = None, newline: str | None = None
) -> Iterator[IO[Any]]:
    """Yield a new file beside `path`; on leaving without an error it takes that name, else it is removed.

    binary: the file takes bytes; otherwise UTF-8 text, with errors and newline as of ``open``. durable: the content is on
    the disk before the name changes, so a power failure leaves one or the other. The new file is named after `path` with
    ".new"; what an earlier attempt left there is removed, and a link that someone has put there is not followed.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with new.open("xb") if binary else new.open("x", encoding="utf-8", errors=errors, newline=newline) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
