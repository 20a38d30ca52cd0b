"""Arithmetic on whole pictures, one band of rows at a time, so that it needs little extra memory."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

PIXELS = 1 << 20  # per band, at least one row


def of(shape: Sequence[int]) -> Iterator[slice]:
    """Yield the bands of a picture (H, W, …) as slices of its rows."""
    height, width = shape[:2]
    rows = max(1, PIXELS // max(1, width))
    return (slice(start, start + rows) for start in range(0, height, rows))


def mapped(function: Callable[..., np.ndarray], *pictures: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """Apply a function of bands (h, W, …) to one or more pictures (H, W, …); return a picture (H, W) of this dtype."""
    result = np.empty(pictures[0].shape[:2], dtype)
    for rows in of(result.shape):
        result[rows] = function(*(picture[rows] for picture in pictures))
    return result
