"""Output files that appear whole or not at all, however the job that writes them ends, each with its seal."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.runtime import seals

PART = ".part-"  # before the name of a file that is not finished


@contextmanager
def whole(outputs: Iterable[tuple[str, str]]) -> Iterator[dict[str, Path]]:
    """Yield name → where to write it; without an error, move everything to its place at the end.

    outputs: name and path of each file or folder; moved in that order, so that the last one exists only if all others
    do. What an earlier attempt left unfinished is removed first. Everything is on the disk before it takes its name, and
    is then sealed (`seals`): a kill between the two leaves an output without a seal, which no job reads.
    """
    final = {name: Path(path) for name, path in outputs}
    parts = {name: path.with_name(PART + path.name) for name, path in final.items()}
    _remove([*parts.values(), *(part.with_name(part.name + ".former") for part in parts.values())])
    try:
        yield parts
    except BaseException:
        _remove(parts.values())
        raise
    for name, part in parts.items():
        seals.flush(part)
        seal = seals.of(part, final[name].name)
        seals.place(final[name]).unlink(missing_ok=True)
        former = part.with_name(part.name + ".former")
        if part.is_dir() and final[name].is_dir():
            os.replace(final[name], former)
        os.replace(part, final[name])
        seals.put(seal, final[name])
        _remove([former])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
