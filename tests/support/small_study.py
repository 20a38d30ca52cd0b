"""A study of a dozen images of 64 pixels, for tests of single jobs: an image store, its index, and split files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxr.classifiers import fit
from cxr.data import image_cache, splits
from cxr.detectors import files as detector_files
from cxr.settings import Augment

SIDE = 64
ROLES = {"train": 6, "validation": 4, "test": 3}
LABELS = ["Mass", "No Finding", "Effusion|Mass", "Nodule"]  # of the images in turn
BOXES = [
    "Mass 128.000 192.000 512.000 576.000",
    "Nodule 640.000 64.000 896.000 320.000",
    "Mass 0.000 512.000 256.000 896.000;Effusion 512.000 512.000 960.000 960.000",
]


@dataclass(frozen=True)
class Study:
    """folder: where its files lie; pixels: image → (64, 64) uint8, as the store holds it."""

    folder: Path
    pixels: dict[str, np.ndarray]

    def split(self, role: str) -> Path:
        """The split file of a role: train, validation or test."""
        return self.folder / f"{role}.csv"

    def names(self, role: str) -> list[str]:
        return splits.read_split(self.split(role))["image"].tolist()

    def read(self, names: list[str]) -> np.ndarray:
        return np.stack([self.pixels[name] for name in names])

    def classifier(self, augment: Augment | None = None) -> fit.Inputs:
        return fit.Inputs(
            *map(self.split, ROLES), self.folder / "images.csv", self.folder / "store", SIDE, augment or Augment()
        )

    def detector(self) -> detector_files.BoxedImages:
        index, store = self.folder / "images.csv", self.folder / "store"
        return detector_files.BoxedImages(self.split("validation"), self.split("test"), index, store, SIDE)


def write(folder: Path) -> Study:
    """Write the study's files below a folder."""
    random = np.random.default_rng(1)
    count = sum(ROLES.values())
    pixels = {f"{number:02d}.png": random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for number in range(count)}
    root = folder / "root"
    root.mkdir()
    for name, picture in pixels.items():
        Image.fromarray(picture).save(root / name)
    index = image_cache.update_store(
        root, {name: name for name in pixels}, pixels, image_cache.ImageCache(folder / "store", SIDE, SIDE), workers=1,
        progress=lambda *_: None,
    )  # fmt: skip
    index.to_csv(folder / "images.csv", index=False)
    table = pd.DataFrame(
        {
            "image": list(pixels),
            "patient": range(count),
            "labels": [LABELS[number % len(LABELS)] for number in range(count)],
            "digest": index.set_index("image").loc[list(pixels), "digest"].to_numpy(),
            "boxes": [BOXES[number % len(BOXES)] for number in range(count)],
        }
    )[splits.BOX_SPLIT_COLUMNS]
    first = 0
    for role, size in ROLES.items():
        splits.write_split(table[first : first + size], folder / f"{role}.csv")
        first += size
    return Study(folder, pixels)
