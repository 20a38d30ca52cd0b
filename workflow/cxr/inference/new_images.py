"""Prepared new images (`prepare`): their pixels, and conversion between the 1024 frame and their own pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, FRAME
from cxr.data import made
from cxr.errors import InputError
from cxr.runtime.jobs import Job


class Pixels:
    """Reads prepared pixels of one size by image name."""

    def __init__(self, path: Path, index: pd.DataFrame, side: int):
        shape = (len(index), side, side)
        if not path.is_file() or path.stat().st_size != np.prod(shape):
            raise InputError(f"{path}: does not hold {len(index)} images of {side} px; delete it and run again")
        self.maps = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        self.rows = {name: row for row, name in enumerate(index["image"])}

    def read(self, names: list[str]) -> np.ndarray:
        """Return pixels (N, side, side) uint8 of the named images."""
        return np.stack([self.maps[self.rows[name]] for name in names])


@dataclass(frozen=True)
class Prepared:
    """Prepared new images: their table (index), and their pixels, `side` wide."""

    index: Path
    pixels: Path
    side: int

    @classmethod
    def of(cls, job: Job) -> "Prepared":
        """Return those of a workflow's job."""
        return cls(Path(job.input.table), Path(job.input.pixels), job.params.side)

    def opened(self) -> tuple[pd.DataFrame, Pixels]:
        """Return the table of the new images and their pixels."""
        table = read_index(self.index)
        return table, Pixels(self.pixels, table, self.side)


def read_index(path: Path) -> pd.DataFrame:
    """Read the table of usable images. Raises InputError if it is damaged."""
    return made.read_names(path, ["image", "kind", "width", "height", "side", "left", "top", "digest"])


def to_own_pixels(boxes: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Convert boxes (image, …, x0, y0, x1, y1) from the 1024 frame of the squared image to pixels of the image itself.

    Parts on a margin are cut off; a box wholly on a margin is dropped.
    """
    own = index.set_index("image").loc[boxes["image"]].reset_index(drop=True)
    result = boxes.reset_index(drop=True).copy()
    for low, high, margin, size in (("x0", "x1", "left", "width"), ("y0", "y1", "top", "height")):
        for corner in (low, high):
            result[corner] = (result[corner] * own["side"] / FRAME - own[margin]).clip(0, own[size])
    return result[(result["x1"] > result["x0"]) & (result["y1"] > result["y0"])].reset_index(drop=True)


def to_frame(boxes: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Convert boxes from pixels of the images to the 1024 frame of the squared images."""
    own = index.set_index("image").loc[boxes["image"]].reset_index(drop=True)
    result = boxes.reset_index(drop=True).copy()
    for corner, margin in zip(CORNERS, ("left", "top", "left", "top"), strict=True):
        result[corner] = (result[corner] + own[margin]) * FRAME / own["side"]
    return result
