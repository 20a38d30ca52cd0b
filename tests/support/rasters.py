"""Boxes painted pixel by pixel: what exact areas and coverages are compared with."""

import numpy as np

from cxr.boxes import FRAME


def raster(boxes: np.ndarray) -> np.ndarray:
    """Return which pixels, (1024, 1024) bool, row = y, any box covers. boxes: (K, 4) or (4,), corners whole numbers."""
    pixels = np.zeros((FRAME, FRAME), dtype=bool)
    for x0, y0, x1, y1 in boxes.reshape(-1, 4).astype(int):
        for y in range(max(y0, 0), min(y1, FRAME)):
            pixels[y, max(x0, 0) : max(x1, 0)] = True
    return pixels
