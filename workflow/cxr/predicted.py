"""Where the predictions of a folder of new images go, and whose they are: no folder's replace another's unnoticed."""

import os
import re
from pathlib import Path

from cxr.errors import InputError
from cxr.folder import legible


def place(folder: str, name: str) -> str:
    """Return the name of the predictions: the one that is set, else that of the folder, in letters, digits, _ and -."""
    own = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(folder).absolute().name) if folder else ""
    return name or own or "new"


def require_own(folder: Path, note: Path) -> None:
    """Raise InputError where the file `note` (see `write_note`) says that the predictions are another folder's."""
    try:
        former = note.read_bytes().removesuffix(b"\n")
    except FileNotFoundError:
        return
    if former != os.fsencode(folder.resolve()):
        raise InputError(
            f"{note.parent} holds what was predicted of another folder, {legible(os.fsdecode(former))}, not of "
            f"{legible(folder.resolve())}: choose another name for these (predict.name), or remove {note.parent} if those "
            "are not needed any more"
        )


def write_note(folder: Path, note: Path) -> None:
    """Write down whose predictions these are."""
    note.write_bytes(os.fsencode(folder.resolve()) + b"\n")
