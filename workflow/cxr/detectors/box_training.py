"""The training of a detector of boxes, whatever its network: images, drawn boxes and predictions.

A network of boxes has `losses` (pictures, drawn boxes → scalar) and gives boxes (N, D, 6): label 1 to 8 in the order of
BOXED_FINDINGS, 0 for an empty place; confidence; corners in the 1024 frame.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.boxes import PREDICTION_COLUMNS, VISIBLE, parse_box_text
from cxr.data import splits
from cxr.data.formats import decode as formats_decode
from cxr.detectors import files as detector_files
from cxr.labels import BOXED_FINDINGS
from cxr.metrics import curve_floors
from cxr.metrics.average_precision import mean_precision
from cxr.metrics.image_boxes import ImageBoxes
from cxr.settings import Augment, Schedule
from cxr.training.batches import Stream, moved_each
from cxr.training.device import Device
from cxr.training.loop import Validation, fit, infer
from cxr.training.runs import Run


class Chosen(Protocol):
    """What the settings of such a detector have in common."""

    image_size: int
    training: Schedule
    augment: Augment

    def received(self) -> dict[str, Any]: ...


class BoxGoal:
    """The goal of a network of boxes: its own losses. at_once: images judged at a time."""

    def __init__(self, at_once: int):
        self.at_once = at_once

    def learn(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, device: Device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        loss = network.losses(inputs, targets)
        return loss, loss.detach()

    def judge(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None, device: Device
    ) -> tuple[torch.Tensor, float]:
        measured = float("nan") if targets is None else network.losses(inputs[: len(targets)], targets).item()
        return network(inputs), measured


def train(
    network: nn.Module,
    own: dict[str, Any],
    settings: Chosen,
    *,
    train_split: Path,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Trained,
    run: Run,
) -> None:
    """Train a network on the boxed training images, in place, and write all outputs but its model.

    own: facts about the network. Predictions are those of the validation and test images.
    """
    files = {"train": train_split, "validation": inputs.validation_split}
    roles = {role: splits.read_split(path) for role, path in files.items()}
    tested = splits.read_images(inputs.predicted)
    names = {role: table["image"].tolist() for role, table in [*roles.items(), ("test", tested)]}
    boxes = {role: [labelled(text) for text in table["boxes"]] for role, table in roles.items()}
    read = reader(inputs.pixels(run).read, settings)
    goal = BoxGoal(settings.training.batch)

    def targets(indices: np.ndarray, maps: np.ndarray) -> np.ndarray:
        return padded([moved(boxes["train"][index], matrix) for index, matrix in zip(indices, maps, strict=True)])

    stream = Stream(
        names["train"], read, targets, settings.augment, settings.training.batch, run.seed, run.device.torch
    )
    validation = Validation(names["validation"], read, padded(boxes["validation"]), scores, ("map50", True))
    outcome = fit(network, stream, goal, validation, settings.training, run)
    for role, path in (("validation", outputs.validation_predictions), ("test", outputs.predictions)):
        predict(network, names[role], read, goal, run.device).to_csv(path, index=False, float_format="%.6g")
    floors = curve_floors.of_boxes(roles["train"], roles["validation"])
    outcome.facts["validation"] = curve_floors.about(roles["validation"], floors, "boxes")
    outcome.history.to_csv(outputs.history, index=False)
    outputs.facts.write_text(
        json.dumps({**own, "settings": settings.received(), **outcome.facts, **run.facts()}, indent=1),
        encoding="utf-8",
    )


def reader(read: Callable[[Sequence[str]], np.ndarray], settings: Chosen) -> Callable[[Sequence[str]], np.ndarray]:
    """Return a function from image names to pixels (N, S, S) uint8, S the side that the detector reads."""
    return lambda names: np.stack([formats_decode.shrink(pixels, settings.image_size) for pixels in read(names)])


def predict(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    goal: BoxGoal,
    device: Device,
    labels: Sequence[str] = BOXED_FINDINGS,
) -> pd.DataFrame:
    """Return the boxes found on images (``PREDICTION_COLUMNS``): images in the order given, boxes by falling confidence.

    labels: names of the network's labels 1, 2, …
    """
    found = infer(network, names, read, goal, device)
    rows = [
        (name, labels[int(label) - 1], confidence, *corners)
        for name, boxes in zip(names, found.astype(np.float64), strict=True)
        for label, confidence, *corners in sorted(boxes.tolist(), key=lambda box: -box[1])
        if label > 0
    ]
    return pd.DataFrame(rows, columns=PREDICTION_COLUMNS)


def labelled(text: str) -> np.ndarray:
    """Turn a split's box text into (K, 5) float64: label (1 to 8), x0, y0, x1, y1 in the 1024 frame."""
    rows = [(BOXED_FINDINGS.index(label) + 1, *corners) for label, *corners in parse_box_text(text)]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def moved(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move boxes (K, 5) with the pixels (`batches.moved`); those that leave the frame are dropped with their labels."""
    corners, kept = moved_each(boxes[:, 1:], matrix)
    return np.concatenate([boxes[:, :1], corners], axis=1)[kept]


def padded(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Stack the boxes (K, 5) of images to (N, M, 5) float32, M the largest number of any image; empty places are zero."""
    result = np.zeros((len(boxes), max(map(len, boxes), default=0), 5), dtype=np.float32)
    for place, each in zip(result, boxes, strict=True):
        place[: len(each)] = each
    return result


def scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return mAP50 as in the report, and the share of images with a box of confidence ``VISIBLE`` or more.

    found: (N, D, 6) label, confidence, corners; truth: (N, M, 5) label, corners.
    """
    predicted = [_named(boxes[:, 0], boxes[:, 1], boxes[:, 2:]) for boxes in found]
    drawn = [_named(boxes[:, 0], np.ones(len(boxes)), boxes[:, 1:]) for boxes in truth]
    seen = [(boxes.confidence >= VISIBLE).any() for boxes in predicted]
    return {"map50": mean_precision(predicted, drawn, 0.5), "images_with_prediction": float(np.mean(seen))}


def _named(labels: np.ndarray, confidence: np.ndarray, corners: np.ndarray) -> ImageBoxes:
    """Return the boxes without empty places (label 0)."""
    kept = labels > 0
    names = np.array(BOXED_FINDINGS)[labels[kept].astype(int) - 1]
    return ImageBoxes(names, confidence[kept].astype(np.float64), corners[kept].astype(np.float64))
