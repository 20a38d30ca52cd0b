"""The image files below a folder, found without opening one. Light: it is read each time the workflow is planned."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cxr.errors import InputError

RESULTS_LOCK = ".cxr-lock"  # every run has this file in its results folder; a name that no other program gives


def fingerprint(root: Path, ending: str = ".png", include: Sequence[str] = (), exclude: Sequence[str] = ()) -> str:
    """Hash the (relative path, bytes, modification time) of the images below root that count (`counts`).

    A change detector that opens no file. Raises InputError if root is missing.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, entry in sorted(walk(root, ending)):
        if counts(path, include, exclude) and is_file(entry):
            stat = entry.stat()
            digest.update(os.fsencode(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return digest.hexdigest()


def counts(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Say whether a file counts: it matches a pattern of include, if there is any, and none of exclude.

    path: relative to root. In a pattern * stands for any characters, / among them, ? for one, [ab] for one of these;
    upper and lower case differ. It has to match the whole path, or that of a folder above the file.
    """

    def matches(pattern: str) -> bool:
        whole = pattern.removeprefix("./").rstrip("/")
        return fnmatchcase(path, whole) or fnmatchcase(path, f"{whole}/*")

    return (not include or any(map(matches, include))) and not any(map(matches, exclude))


def idle(root: Path, patterns: Sequence[str], ending: str = ".png") -> list[str]:
    """Return the patterns that match no file below root."""
    paths = [path for path, _ in walk(root, ending)] if patterns else []
    return [pattern for pattern in patterns if not any(counts(path, [pattern], ()) for path in paths)]


def legible(path: str | Path) -> str:
    """Spell a path so that it can be written and printed: bytes that are no UTF-8, and control characters, as \\xNN."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: repr(match[0])[1:-1], text)


def is_folder(entry: os.DirEntry) -> bool:
    """Say whether an entry is a folder; a link that leads nowhere or in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry) -> bool:
    """Say whether an entry is a regular file; a link that leads nowhere or in a circle is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def walk(root: Path, ending: str = ".png") -> Iterator[tuple[str, os.DirEntry]]:
    """Yield (path relative to root, entry) of everything with this ending, in any case, anywhere below root.

    ending: "" stands for every file. Symbolic links are followed, each folder is entered once. Names that begin with a
    dot do not count: folders being unpacked, macOS's `._` files. Nor do the results of a run below root, which hold
    pictures under the images' names. Raises InputError where root is missing or a folder cannot be read.
    """
    if not os.path.isdir(root):
        holds = "the label table and the PNG images" if ending else "the images"
        found = (
            "a file"
            if os.path.isfile(root)
            else f"a link to {os.readlink(root)}, which is no folder"
            if (os.path.islink(root))
            else "no such folder"
        )
        raise InputError(f"{legible(root)}: {found}; expected the folder that holds {holds}")
    waiting = [""]
    entered = {_identity(os.stat(root))}
    while waiting:
        folder = waiting.pop()
        below = []
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    path = os.path.join(folder, entry.name)
                    if entry.name.startswith("."):
                        continue
                    if entry.name.lower().endswith(ending) if ending else not is_folder(entry):
                        yield path, entry
                    elif is_folder(entry) and not os.path.exists(os.path.join(root, path, RESULTS_LOCK)):
                        below.append((path, _identity(entry.stat())))
        except OSError as error:
            raise InputError(
                f"{legible(os.path.join(root, folder))}: cannot read this folder ({error.strerror})"
            ) from None
        # Sorted, because of two links to one folder the first is entered: it must be the same one everywhere.
        for path, identity in sorted(below, reverse=True):
            if identity not in entered:
                entered.add(identity)
                waiting.append(path)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
