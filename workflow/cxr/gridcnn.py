"""The 18-layer grid CNN: which of 16 × 16 cells of an image are diseased (paper, section 2.3.4)."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cxr import boxes as geometry
from cxr import images, splits
from cxr.datasets import Stream, moved
from cxr.runs import Run
from cxr.settings import GridCNN
from cxr.training import Objective, Validation, fit, infer, write_tensors

BLOCKS = 8  # residual blocks of two convolutions; with the first and the last convolution 18
WIDEST = 8  # the widest stage has so many times the channels of the first


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm around a parameter-free shortcut (pooled, padded with zero channels)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.extra = stride, after - before

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shortcut = functional.avg_pool2d(hidden, self.stride) if self.stride > 1 else hidden
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        hidden = functional.relu(self.bn1(self.conv1(hidden)))
        return functional.relu(self.bn2(self.conv2(hidden)) + shortcut)


class GridNetwork(nn.Module):
    """18 convolutions with batch norm, then one fully connected layer: images (N, 1, S, S) in [0, 1] → logits (N, 16, 16).

    head `dense`: the fully connected layer sees all cells (the paper). head `convolution`: it is shared by all cells and
    every cell has a bias of its own, `cell_bias` (16, 16), which starts at the mean training mask: the image-free floor.
    """

    def __init__(self, image_size: int, width: int, head: str, mean_mask: np.ndarray):
        super().__init__()
        halvings = int(math.log2(image_size // geometry.GRID))
        strides = [2 if number < halvings - 1 else 1 for number in range(BLOCKS)]
        channels = width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks = []
        for stride in strides:
            after = min(channels * stride, width * WIDEST)
            blocks.append(Block(channels, after, stride))
            channels = after
        self.blocks = nn.Sequential(*blocks)
        narrow = 8 if head == "dense" else channels
        self.last = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.head = head
        cells = geometry.GRID**2
        self.fc = nn.Linear(narrow * cells, cells) if head == "dense" else nn.Linear(narrow, 1)
        if head == "convolution":
            prior = torch.from_numpy(mean_mask).float().clamp(1e-3, 1 - 1e-3)
            self.cell_bias = nn.Parameter(torch.logit(prior))
            nn.init.zeros_(self.fc.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.last(self.blocks(self.stem(images - 0.5)))
        if self.head == "dense":
            return self.fc(hidden.flatten(1)).view(-1, geometry.GRID, geometry.GRID)
        return self.fc(hidden.permute(0, 2, 3, 1)).squeeze(3) + self.cell_bias


def objective(loss: str) -> Objective:
    """Return the objective of the paper's three losses on sigmoid outputs; MSE is what is reported for all."""
    kinds: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": functional.mse_loss,
        "l1": functional.l1_loss,
        "cosine": lambda confidence, target: (
            1 - functional.cosine_similarity(confidence.flatten(1), target.flatten(1), dim=1).mean()
        ),
    }
    return Objective(
        loss=lambda outputs, targets: kinds[loss](outputs.sigmoid(), targets),
        measure=lambda outputs, targets: functional.mse_loss(outputs.sigmoid(), targets),
        predict=torch.sigmoid,
    )


def cell_targets(boxes: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Return targets (N, 16, 16) float32 of images with boxes (K, 4): covered by more than half, or the covered share."""
    coverage = np.stack([geometry.cell_coverage(each) for each in boxes])
    return (coverage > 0.5).astype(np.float32) if kind == "majority" else coverage


def train(
    *,
    train_split: Path,
    validation_split: Path,
    predicted: Path,
    index: Path,
    store: Path,
    box_size: int,
    settings: GridCNN,
    run: Run,
    model: Path,
    validation_predictions: Path,
    test_predictions: Path,
    history: Path,
    facts: Path,
) -> None:
    """Train the grid CNN on the boxed training images, and predict the cells of the validation images and of
    the images of the file `predicted` (image, patient, digest).

    Files: see docs/files.md.
    """
    torch.manual_seed(run.seed)
    pixels = images.open_store(store, images.read_index(index), box_size, "boxed", run.tell)
    roles = {role: splits.read_split(path) for role, path in (("train", train_split), ("validation", validation_split))}
    boxes = {role: [_coordinates(text) for text in table["boxes"]] for role, table in roles.items()}
    names = {role: table["image"].tolist() for role, table in [*roles.items(), ("test", splits.read_images(predicted))]}

    def read(wanted: Sequence[str]) -> np.ndarray:
        return reduced(pixels.read(wanted), settings.image_size)

    def targets(indices: np.ndarray, maps: np.ndarray) -> np.ndarray:
        chosen = [moved(boxes["train"][index], matrix) for index, matrix in zip(indices, maps, strict=True)]
        return cell_targets(chosen, settings.target)

    mean_mask = cell_targets(boxes["train"], "majority").mean(0)
    network = GridNetwork(settings.image_size, settings.width, settings.head, mean_mask)
    judged = objective(settings.loss)
    stream = Stream(
        names["train"], read, targets, settings.augment, settings.training.batch, run.seed, run.device.torch
    )
    validation = Validation(
        names["validation"], read, cell_targets(boxes["validation"], "majority"), _scores, ("f1", True)
    )
    outcome = fit(network, stream, judged, validation, settings.training, run)
    for role, path in (("validation", validation_predictions), ("test", test_predictions)):
        confidence, _ = infer(network, names[role], read, judged, run.device)
        np.savez_compressed(path, images=np.array(names[role]), confidence=confidence.astype(np.float32))
    write_tensors({"settings": settings.model_dump(), "state": network.cpu().state_dict()}, model)
    outcome.history.to_csv(history, index=False)
    own = {"network": "18-layer grid CNN", "settings": settings.model_dump()}
    facts.write_text(json.dumps({**own, **outcome.facts, **run.facts()}, indent=1))


def reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink pixels (N, S, S) uint8 to (N, side, side) by area mean; S is a multiple of side."""
    factor = pixels.shape[1] // side
    if factor == 1:
        return pixels
    blocks = pixels.reshape(len(pixels), side, factor, side, factor)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def _coordinates(text: str) -> np.ndarray:
    return np.array([box[1:] for box in geometry.parse_box_text(text)], dtype=np.float64).reshape(-1, 4)


def _scores(confidence: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the paper's F1, over cells: of the confidences as they are, and at the best of nine thresholds."""
    return {
        "f1_weighted": _area_f1(confidence, target),
        "f1": max(_area_f1(confidence >= cut, target) for cut in np.linspace(0.1, 0.9, 9)),
    }


def _area_f1(confidence: np.ndarray, target: np.ndarray) -> float:
    has_cell = target.any((1, 2))
    shared = (confidence * target).sum((1, 2))
    predicted = confidence.sum((1, 2))
    precision = np.divide(shared, predicted, out=np.zeros(len(shared)), where=predicted > 0)[has_cell].mean()
    recall = (shared[has_cell] / target[has_cell].sum((1, 2))).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
