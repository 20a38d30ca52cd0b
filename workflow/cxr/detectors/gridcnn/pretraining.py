"""Pre-training of the grid CNN on phantoms: generated chest X-rays in which the place of every finding is known."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cxr import boxes as geometry
from cxr.detectors.gridcnn import targets
from cxr.detectors.gridcnn import training as gridcnn
from cxr.phantoms import data_set
from cxr.phantoms.plan import Phantom, plan
from cxr.runtime import checksums
from cxr.settings import GridCNN
from cxr.training.runs import Run
from cxr.training.tensors import write_tensors

SIZE = 256  # smallest side in pixels at which a phantom is drawn; it is then shrunk as radiographs are
VALIDATION_SHARE = 0.1
OTHERS = 2**31  # added to the seed, which is smaller: no phantom of a study's own data set is drawn again


def draw(
    path: Path, *, count: int, side: int, seed: int, workers: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw phantoms with boxed findings, one per patient; write NPZ: pixels (N, side, side) uint8, boxes (N,) as text."""
    planned = plan(patients=2 * count, images=2 * count, boxed=count, seed=seed + OTHERS)
    job = partial(_drawn, side=side, seed=seed + OTHERS)
    pixels, boxes = np.empty((count, side, side), np.uint8), []
    for picture, text in data_set.in_order(job, [phantom for phantom in planned if phantom.boxed], workers):
        pixels[len(boxes)] = picture
        boxes.append(text)
        if progress:
            progress(len(boxes), count)
    np.savez_compressed(path, pixels=pixels, boxes=np.array(boxes))


def _drawn(phantom: Phantom, *, side: int, seed: int) -> tuple[np.ndarray, str]:
    """Return a phantom's pixels and all its boxes, including those that a release would not list."""
    pixels, boxes = data_set.draw(phantom, size=max(SIZE, side), seed=seed)
    corners = [
        (finding, x, y, x + width, y + height) for finding, each in boxes.items() for x, y, width, height in each
    ]
    return gridcnn.reduced(pixels[None], side)[0], geometry.format_box_text(corners)


def train(
    *, drawn: Path, settings: GridCNN, run: Run, model: Path, fingerprint: Path, history: Path, facts: Path
) -> None:
    """Train a grid CNN of these settings on the phantoms that `draw` wrote; fingerprint: the model's SHA-256.

    Files: see docs/files.md.
    """
    torch.manual_seed(run.seed)
    with np.load(drawn) as content:
        pixels, texts = content["pixels"], content["boxes"]
    held_out = round(len(pixels) * VALIDATION_SHARE)

    def read(wanted: Sequence[str]) -> np.ndarray:
        return pixels[[int(name) for name in wanted]]

    def boxed(numbers: range) -> gridcnn.Boxed:
        found = [targets.by_finding(str(texts[number])) for number in numbers]
        return gridcnn.Boxed([str(number) for number in numbers], found, [set()] * len(numbers), read)

    training, validation = boxed(range(held_out, len(pixels))), boxed(range(held_out))
    network = gridcnn.built(settings, training.drawn)
    outcome = gridcnn.fitted(network, training, validation, settings, settings.pretraining.training, run)
    what = f"{len(training.names)} generated phantoms, {outcome.facts['epochs']} epochs"
    write_tensors({"pretrained_on": what, "state": network.cpu().state_dict()}, model)
    fingerprint.write_text(checksums.sha256_of(model) + "\n", encoding="utf-8")
    outcome.history.to_csv(history, index=False)
    own = {"network": "18-layer grid CNN", "settings": settings.received(), "pretrained_on": what}
    facts.write_text(json.dumps(own | outcome.facts | run.facts(), indent=1), encoding="utf-8")
