"""Disk space, checked before a large piece of work begins."""

import shutil
from pathlib import Path

from cxr.errors import InputError


def require(folder: Path, needed: float, purpose: str) -> None:
    """Raise InputError if the disk of a folder (which may not exist yet) has less than `needed` bytes free."""
    existing = next(place for place in [folder.absolute(), *folder.absolute().parents] if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"{folder}: {purpose} needs {needed / 1e9:.2f} GB, but this disk has {free / 1e9:.2f} GB free; make room, "
            "or name a folder on a larger disk (data.root)"
        )
