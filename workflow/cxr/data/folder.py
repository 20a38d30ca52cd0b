"""The image files below a folder, found without opening any. Light: it is imported each time the workflow is planned."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cxr.data.image_names import KNOWN_ENDING
from cxr.errors import InputError
from cxr.runtime import regular
from cxr.runtime.journal import legible

Aside = Callable[[str, str, str], None]  # called with a path, the reason why it does not count, and details

RESULTS_LOCK = ".cxr-lock"  # every run has this file in its results folder; no other program uses the name


def fingerprint(root: Path, ending: str = ".png", include: Sequence[str] = (), exclude: Sequence[str] = ()) -> str:
    """Hash the (relative path, bytes, modification time) of the images below root that count (`counts`).

    Detects changes without opening a file. Raises InputError if root is missing, or as `walk` does; for new images
    (ending ""), unreadable folders are left to the job that sets them aside.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, entry in sorted(walk(root, ending, None if ending else _pass_over)):
        stat = _stat(entry) if counts(path, include, exclude) and is_file(entry) else None
        if stat:
            digest.update(os.fsencode(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return digest.hexdigest()


def counts(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a file counts: it matches a pattern of include, if there is any, and none of exclude.

    path: relative to root. In a pattern * stands for any characters, including /, ? for one, [ab] for a or b; case
    matters. A pattern has to match the whole path, or that of a folder above the file.
    """

    def matches(pattern: str) -> bool:
        whole = pattern.removeprefix("./").rstrip("/")
        return fnmatchcase(path, whole) or fnmatchcase(path, f"{whole}/*")

    return (not include or any(map(matches, include))) and not any(map(matches, exclude))


def idle(root: Path, patterns: Sequence[str], ending: str = ".png") -> list[str]:
    """Return the patterns that match no file below root."""
    paths = [path for path, _ in walk(root, ending)] if patterns else []
    return [pattern for pattern in patterns if not any(counts(path, [pattern], ()) for path in paths)]


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder; a broken or circular link is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry) -> bool:
    """Whether an entry is a regular file; a broken or circular link is not."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _stat(entry: os.DirEntry) -> os.stat_result | None:
    """Return the status of an entry; None if it is gone or its status cannot be read."""
    try:
        return entry.stat()
    except OSError:
        return None


def _pass_over(path: str, reason: str, detail: str) -> None:
    pass


def walk(root: Path, ending: str = ".png", aside: Aside | None = None) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield (path relative to root, entry) of everything with this ending, upper or lower case, anywhere below root.

    ending: "" stands for every file. Symbolic links are followed; each folder is entered once. Names that begin with a
    dot are skipped (folders being unpacked, macOS's `._` files), and so are the results of a run below root, which hold
    pictures under the images' names. Files that vanish during the walk are ignored. aside: called for folders below root
    that cannot be read, which are left out, and for those named like an image; without it such a folder raises
    InputError, as does a root that is missing or cannot be read.
    """
    if not os.path.isdir(root):
        holds = "the label table and the PNG images" if ending else "the images"
        raise InputError(f"{legible(root)}: {_no_folder(root)}; expected the folder that holds {holds}")
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
                        continue
                    if aside and KNOWN_ENDING.search(entry.name):
                        aside(path, "a folder, not an image file", "the image files in it are used")
                    stat = _stat(entry) if is_folder(entry) else None
                    if stat and not os.path.exists(os.path.join(root, path, RESULTS_LOCK)):
                        below.append((path, _identity(stat)))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            why = f"cannot read this folder ({error.strerror})"
            if aside is None or not folder:
                raise InputError(f"{legible(os.path.join(root, folder))}: {why}") from None
            aside(folder, "unreadable", why)
        # Sorted: of two links to one folder the first is entered, which must be the same on every machine.
        for path, identity in sorted(below, reverse=True):
            if identity not in entered:
                entered.add(identity)
                waiting.append(path)


def _no_folder(path: Path) -> str:
    """Describe what is there instead of a folder."""
    if os.path.islink(path):
        return f"a link to {legible(os.readlink(path))}, which is not a folder"
    return regular.kind(path) if os.path.lexists(path) else "no such folder"


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
