"""New images made ready for the models: decoded, squared, shrunk as in training.

An image that is not square gets black margins, the same on both sides, until it is: shapes stay as they are.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxr import pictures
from cxr.errors import InputError
from cxr.folder import walk
from cxr.images import UnusableImage, digest_of, shrink
from cxr.journal import Journal, Progress

COLUMNS = ["image", "kind", "width", "height", "side", "left", "top", "digest"]
REJECTED = ["image", "reason", "detail"]


def prepare(*, folder: Path, sides: Sequence[tuple[int, Path]], index: Path, rejected: Path, tell: Journal) -> None:
    """Decode every file below a folder; write pixels (N, side, side) uint8, raw, for each side, and the two tables.

    index: a row a usable image (`COLUMNS`; image is the path below the folder, side that of the squared image, left and
    top its margins in pixels). rejected: a row a file that cannot be used, with the reason. Raises InputError where the
    folder holds no file, or none that can be used.
    """
    names = sorted(path for path, _ in walk(folder, ""))
    if not names:
        raise InputError(
            f"{folder}: no file anywhere below this folder (predict.folder); put PNG, JPEG or DICOM files there"
        )
    rows, bad = [], []
    progress = Progress(tell, "images")
    files = [(side, path.open("wb")) for side, path in sides]
    try:
        for number, name in enumerate(names, 1):
            try:
                pixels, kind = pictures.decode(folder / name)
            except UnusableImage as error:
                detail = str(error).partition(error.reason)[2].split(": replace")[0].strip(" ()")
                bad.append((name, error.reason, detail))
                tell(f"{name}: {error.reason} {detail}")
                continue
            square, left, top = squared(pixels)
            for side, file in files:
                file.write(np.ascontiguousarray(shrink(square, side)))
            rows.append((name, kind, *pixels.shape[::-1], len(square), left, top, digest_of(pixels)))
            progress(number, len(names))
    finally:
        for _, file in files:
            file.close()
    tell(f"{len(rows)} of {len(names)} files are usable")
    if not rows:
        raise InputError(f"{folder}: none of {len(names)} files can be used; the first, {bad[0][0]}: {bad[0][1]}")
    pd.DataFrame(rows, columns=COLUMNS).to_csv(index, index=False)
    pd.DataFrame(bad, columns=REJECTED).to_csv(rejected, index=False)


def squared(pixels: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return pixels (H, W) with black margins that make them square, and the left and the upper margin."""
    height, width = pixels.shape
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side), dtype=pixels.dtype)
    square[top : top + height, left : left + width] = pixels
    return square, left, top
