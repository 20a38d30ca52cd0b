"""A data set of bright squares, and trainings of YOLO on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cxr.boxes import FRAME, format_box_text
from cxr.detectors.yolo import labels
from cxr.detectors.yolo import trainer as detector
from cxr.settings import Yolo
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.runs import Run, plain

CPU = Device(torch.device("cpu"), bfloat16=False)
FINDINGS = ("Mass", "Nodule")
NOTHING_KEPT = Keeper(None, "", 0, print)
SMALL = Yolo(image_size=64, epochs=2, batch=4, optimizer="AdamW", learning_rate=0.01, mosaic=0.5, keep="last")
LONGER = Yolo(
    image_size=64, epochs=8, batch=4, optimizer="SGD", learning_rate=0.01, mosaic=0.5, horizontal_flip=0.5, keep="best"
)  # 10 images: 3 steps an epoch, the last of 2 images; warm-up in the first epoch, no mosaic in the last 2
JUDGED = [
    0.1,
    0.3,
    0.2,
    0.5,
    0.4,
    0.5,
    0.2,
    0.1,
]  # mAP50-95 of so small a training is 0, which makes every epoch the best


@dataclass(frozen=True)
class Squares:
    """Dark noise with one bright square an image: large ones are masses, small ones nodules."""

    pictures: dict[str, np.ndarray]
    split: pd.DataFrame

    def pixels(self, names: Sequence[str]) -> np.ndarray:
        return np.stack([self.pictures[name] for name in names])


def squares(count: int, side: int = 64) -> Squares:
    rng = np.random.default_rng(0)
    pictures, rows = {}, []
    for number in range(count):
        name, label, width = f"{number:08d}_000.png", FINDINGS[number % 2], side // 2 - (number % 2) * side // 4
        picture = rng.integers(0, 60, (side, side)).astype(np.uint8)
        x, y = rng.integers(0, side - width, 2)
        picture[y : y + width, x : x + width] = 230
        pictures[name] = picture
        box = tuple(float(corner) * FRAME / side for corner in (x, y, x + width, y + width))
        rows.append((name, format_box_text([(label, *box)])))
    return Squares(pictures, pd.DataFrame(rows, columns=["image", "boxes"]))


def written(folder: Path, data: Squares) -> Path:
    """Write a data set, and its manifest beside it; return the folder."""
    splits = dict.fromkeys(("train", "validation"), data.split)
    manifests = labels.write_data_set(splits, data.pixels, folder, FINDINGS)
    table = pd.concat([table.assign(role=role) for role, table in manifests.items()])
    table.to_csv(folder.with_name(f"{folder.name}.csv"), index=False)
    return folder


def read(folder: Path) -> labels.DataSet:
    return labels.DataSet(folder, FINDINGS, pd.read_csv(folder.with_name(f"{folder.name}.csv")))


def tune(data_set: Path, run_folder: Path, settings: Yolo = SMALL, **changes: object) -> detector.Tuned:
    given = {"weights": None, "architecture": "yolo-nano.yaml"}
    about = {"seed": 1, "device": CPU, "keeper": NOTHING_KEPT, "tell": lambda text: None}
    return detector.fine_tune(
        data=read(data_set),
        run_folder=run_folder,
        settings=settings,
        run=Run(**{name: changes.get(name, value) for name, value in about.items()}),
        **given | {name: value for name, value in changes.items() if name not in about},
    )


def predict(weights: Path, data: Squares, **changes: object) -> pd.DataFrame:
    arguments = {"names": data.split["image"].tolist(), "image_size": 64, **changes}
    return detector.predict(weights=weights, pixels=data.pixels, run=plain(1, CPU, lambda text: None), **arguments)


def judge(trainer: detector._Trainer, fitness: Sequence[float] = JUDGED) -> tuple[dict[str, float], float]:
    """Validate an epoch, and say that its fitness is the one given for it."""
    validator = trainer.validator
    trainer.validator = lambda _: validator(trainer) | {"fitness": fitness[trainer.epoch]}
    try:
        return super(detector._Trainer, trainer).validate()
    finally:
        trainer.validator = validator


HOSTILE = """
path: nowhere
train: images/train
val: images/missing
names: {{0: Mass, 1: Nodule}}
nc: 2
channels: 1
download: |
  open({sprung!r}, "w")
"""
