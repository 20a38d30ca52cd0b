"""Where the predictions of a folder of new images go; one folder's never silently replace another's."""

import os
import re
import shlex
import stat
from pathlib import Path

from cxr.errors import InputError
from cxr.runtime import regular
from cxr.runtime.journal import legible

MOST_BYTES = 1 << 16  # of a note; a path is shorter
CHOICE = "choose another name for these ({}.name)"


def place(folder: str, name: str) -> str:
    """Return the name of the predictions: the configured one, else the folder's, in letters, digits, _ and -."""
    own = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(folder).absolute().name) if folder else ""
    return name or own or "new"


def require_own(folder: Path, note: Path, section: str) -> None:
    """Raise InputError if the predictions beside the file `note` (see `write_note`) may be another folder's.

    They are if the note names another folder, and may be if it is missing or invalid. section: of the settings, with the
    name of the predictions.
    """
    where, own = legible(note.parent), os.path.realpath(folder)
    choice = CHOICE.format(section)
    removal = f"or remove {where} if they are no longer needed"
    try:
        former = _read(note)
    except FileNotFoundError:
        if not any(_predictions(note.parent)):
            return
        raise InputError(
            f"{where} holds predictions, but the file {note.name}, which names their folder, is missing: {choice}, {removal}. "
            f"If they belong to {legible(own)}, write that: echo {shlex.quote(legible(own))} > {shlex.quote(legible(note))}"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{legible(note)} should name the folder of the predictions beside it, but cannot be read ({why}): "
            f"{choice}, {removal}"
        ) from None
    if former != os.fsencode(own):
        raise InputError(
            f"{where} holds the predictions of another folder, {legible(os.fsdecode(former))}, not of {legible(own)}: "
            f"{choice}, {removal}"
        )


def _read(note: Path) -> bytes:
    """Return the folder that a note names. Raises OSError or ValueError if it is not one of our notes, for example a link."""
    if not stat.S_ISREG(os.lstat(note).st_mode):
        raise regular.Irregular("not a regular file", "a link" if note.is_symlink() else regular.kind(note))
    return regular.content(note, MOST_BYTES).removesuffix(b"\n")


def _predictions(folder: Path) -> list[str]:
    """Return the files below a folder except hidden ones: a killed job leaves parts, seals and empty folders."""
    return [name for _, _, names in os.walk(folder) for name in names if not name.startswith(".")]


def write_note(folder: Path, note: Path) -> None:
    """Write which folder the predictions belong to."""
    note.write_bytes(os.fsencode(os.path.realpath(folder)) + b"\n")
