"""The image files below a folder, found without opening one. Light: it is read each time the workflow is planned."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from cxr.errors import InputError


def fingerprint(root: Path, ending: str = ".png") -> str:
    """Hash the (relative path, bytes, modification time) of all images below root: a change detector that opens no file.

    Raises InputError if root is missing.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, entry in sorted(walk(root, ending)):
        if entry.is_file():
            stat = entry.stat()
            digest.update(os.fsencode(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
    return digest.hexdigest()


def walk(root: Path, ending: str = ".png") -> Iterator[tuple[str, os.DirEntry]]:
    """Yield (path relative to root, entry) of everything with this ending, in any case, anywhere below root.

    ending: "" stands for every file whose name does not begin with a dot. Symbolic links are followed, each folder is
    entered once, folders that begin with a dot are not. Raises InputError where root is missing or a folder cannot be
    read.
    """
    if not os.path.isdir(root):
        holds = "the label table and the PNG images" if ending else "the images"
        raise InputError(f"{root}: no such folder; expected the folder that holds {holds}")
    waiting = [""]
    entered = {_identity(os.stat(root))}
    while waiting:
        folder = waiting.pop()
        below = []
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    path = os.path.join(folder, entry.name)
                    wanted = entry.name.lower().endswith(ending) if ending else not entry.is_dir()
                    if wanted and (ending or not entry.name.startswith(".")):
                        yield path, entry
                    elif entry.is_dir() and not entry.name.startswith("."):  # those are being unpacked
                        below.append((path, _identity(entry.stat())))
        except OSError as error:
            raise InputError(f"{os.path.join(root, folder)}: cannot read this folder ({error.strerror})") from None
        # Sorted, because of two links to one folder the first is entered: it must be the same one everywhere.
        for path, identity in sorted(below, reverse=True):
            if identity not in entered:
                entered.add(identity)
                waiting.append(path)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
