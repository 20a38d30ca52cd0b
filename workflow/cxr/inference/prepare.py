"""Preparation of new images for the models: decoded, squared, shrunk as in training.

An image that is not square gets equal black margins on two sides, so shapes are not distorted.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import csv_cells
from cxr.data.folder import is_file, walk
from cxr.data.formats import pictures
from cxr.data.formats.decode import UnusableImage, digest_of, shrink
from cxr.errors import InputError
from cxr.inference.destination import write_note
from cxr.runtime import regular
from cxr.runtime.journal import Journal, Progress, legible

COLUMNS = ["image", "kind", "width", "height", "side", "left", "top", "digest"]
REJECTED = ["image", "reason", "detail"]


def prepare(
    *,
    folder: Path,
    bits: int,
    sides: Sequence[tuple[int, Path]],
    index: Path,
    rejected: Path,
    note: Path,
    tell: Journal,
) -> None:
    """Decode every file below a folder; write pixels (N, side, side) uint8, raw, for each side, and the two tables.

    bits: of 16-bit PNG files, see `pictures.decode`. index: one row per usable image (`COLUMNS`; image is the path below
    the folder, spelled by `journal.legible`, side that of the squared image, left and top its margins in pixels). rejected:
    one row per unusable file or unreadable folder, with the reason. note: records which folder this was (`predicted`). One
    image is in memory at a time (`pictures.decode`). Raises InputError if the folder holds no file, or no usable one.
    """
    rows: dict[str, tuple] = {}
    bad: list[tuple[str, str, str]] = []

    def aside(path: str, reason: str, detail: str) -> None:
        bad.append((legible(path), reason, detail))
        tell(f"{legible(path)}: {reason}" + (f" ({detail})" if detail else ""))

    entries = sorted(walk(folder, "", aside), key=lambda found: found[0])
    if not entries:
        raise InputError(f"{legible(folder)}: no file anywhere below this folder; put PNG, JPEG or DICOM files there")
    progress = Progress(tell, "images")
    files = [(side, path.open("wb")) for side, path in sides]
    try:
        for number, (path, entry) in enumerate(entries, 1):
            name = legible(path)
            try:
                pixels, kind = _decoded(folder / path, entry, name in rows, bits)
            except UnusableImage as error:
                aside(path, error.reason, error.detail)
                continue
            square, left, top = squared(pixels)
            for side, file in files:
                file.write(np.ascontiguousarray(shrink(square, side)))
            rows[name] = (name, kind, *pixels.shape[::-1], len(square), left, top, digest_of(pixels))
            progress(number, len(entries))
    finally:
        for _, file in files:
            file.close()
    tell(f"{len(rows)} of {len(entries)} files are usable")
    for kind, count in Counter(row[1] for row in rows.values()).items():
        tell(f"{count} files: {kind}")
    if not rows:
        name, reason, detail = bad[0]
        said = f"{reason} ({detail})" if detail else reason
        raise InputError(f"{legible(folder)}: none of {len(entries)} files can be used; the first, {name}: {said}")
    bad.sort()
    csv_cells.write(pd.DataFrame(list(rows.values()), columns=COLUMNS), index)
    csv_cells.write(pd.DataFrame(bad, columns=REJECTED), rejected)
    write_note(folder, note)


def _decoded(path: Path, entry: os.DirEntry, taken: bool, bits: int) -> tuple[np.ndarray, str]:
    if not is_file(entry):  # reading a pipe would block
        raise UnusableImage(path, "not a regular file", regular.kind(path))
    if taken:
        raise UnusableImage(path, "its name reads the same as another file's", "rename one of them")
    return pictures.decode(path, bits)


def squared(pixels: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return pixels (H, W) made square with black margins, and the left and the top margin."""
    height, width = pixels.shape
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side), dtype=pixels.dtype)
    square[top : top + height, left : left + width] = pixels
    return square, left, top
