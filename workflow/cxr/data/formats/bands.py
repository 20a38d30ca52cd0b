"""Arithmetic on whole pictures, a band of rows at a time, so that what it takes besides is small."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

PIXELS = 1 << 20  # of a band, or one row


def of(shape: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of the bands of a picture (H, W, …)."""
    height, width = shape[:2]
    rows = max(1, PIXELS // max(1, width))
    return (slice(start, start + rows) for start in range(0, height, rows))


def mapped(function: Callable[..., np.ndarray], *pictures: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """Return the picture (H, W) of this type that a function of bands (h, W, …) makes of one or more pictures (H, W, …)."""
    result = np.empty(pictures[0].shape[:2], dtype)
    for rows in of(result.shape):
        result[rows] = function(*(picture[rows] for picture in pictures))
    return result
