"""Time of scoring a detector: every metric, floor and interval of 880 boxed images in five folds, and the FROC curve; and
of the mAP alone, with its interval, beside a loop over torchmetrics.

    PYTHONPATH=workflow python benchmarks/detection.py [--images 880] [--boxes 100] [--samples 1000] [--loops 3]

Boxes and confidences are random, with as many boxes per image as YOLO's predictions may hold; the grid CNN has a map for
each finding. The loop scores the images of resampled patients; it runs for fewer samples and its time is scaled up. It
computes mAP50 and mAP50-95; ours also computes them for each finding and regardless of the finding.
"""

import argparse
import time

import lines
import numpy as np
import pandas as pd
import torch
from torchmetrics.detection import MeanAveragePrecision

from cxr.boxes import GRID, format_box_text
from cxr.labels import BOXED_FINDINGS
from cxr.metrics import detections
from cxr.metrics.average_precision import COCO_OVERLAPS, COCO_RECALLS, precision_estimates
from cxr.metrics.bootstrap import bootstrap_weights
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells, ImageBoxes
from cxr.metrics.pooling import Fold, choose_thresholds

FOLDS = 5
CONFIDENCE = 0.95


def boxed(draw: np.random.Generator, count: int) -> np.ndarray:
    corner, size = draw.uniform(0, 600, (count, 2)), draw.uniform(60, 400, (count, 2))
    return np.hstack([corner, corner + size])


def split_of(draw: np.random.Generator, images: int) -> pd.DataFrame:
    texts = [
        format_box_text((str(draw.choice(BOXED_FINDINGS)), *box) for box in boxed(draw, draw.choice([1, 1, 1, 2])))
        for _ in range(images)
    ]
    names = [f"{number:08d}_000.png" for number in range(images)]
    return pd.DataFrame({"image": names, "patient": np.arange(images) * 4 // 5, "boxes": texts})


def predicted_boxes(draw: np.random.Generator, images: pd.Series, each: int) -> pd.DataFrame:
    count = len(images) * each
    table = pd.DataFrame(boxed(draw, count), columns=["x0", "y0", "x1", "y1"])
    table.insert(0, "image", np.repeat(images.to_numpy(), each))
    table.insert(1, "label", draw.choice(np.array(BOXED_FINDINGS, dtype=object), count))
    table.insert(2, "confidence", draw.random(count) ** 3)
    return table


def predicted_cells(draw: np.random.Generator, images: pd.Series) -> Cells:
    maps = {finding: draw.random((len(images), GRID, GRID)) for finding in BOXED_FINDINGS}
    return Cells(images.to_numpy(), draw.random((len(images), GRID, GRID)), maps)


def report(what: str, began: tuple[float, float]) -> None:
    print(f"{what:<44}{time.perf_counter() - began[0]:>8.1f}{time.process_time() - began[1]:>8.1f}")


def as_tensors(image: ImageBoxes) -> dict[str, torch.Tensor]:
    labels = torch.tensor([BOXED_FINDINGS.index(label) for label in image.labels], dtype=torch.long)
    scores = torch.from_numpy(image.confidence)
    return {"boxes": torch.from_numpy(image.boxes), "labels": labels, "scores": scores}


def loop(found: list[ImageBoxes], truth: list[ImageBoxes], weights: np.ndarray) -> np.ndarray:
    """Return mAP50 and mAP50-95 (samples, 2) of each resample's images, as a user would write it."""
    predicted, target = ([as_tensors(image) for image in images] for images in (found, truth))
    levels = {"iou_thresholds": COCO_OVERLAPS.tolist(), "rec_thresholds": COCO_RECALLS.tolist()}
    values = []
    for row in weights:
        at = np.repeat(np.arange(len(row)), row)
        scores = MeanAveragePrecision(backend="pycocotools", **levels)
        scores.update([predicted[place] for place in at], [target[place] for place in at])
        value = scores.compute()
        values.append([float(value["map_50"]), float(value["map"])])
    return np.array(values)


def compare(draw: np.random.Generator, split: pd.DataFrame, options: argparse.Namespace) -> None:
    """Compare the mAP of boxes, half of them near the truth: ours and the loop, on the same resamples."""
    truth = detections.truth_boxes(split)
    guesses = detections.predicted_boxes(predicted_boxes(draw, split["image"], options.boxes), split["image"], "random")
    found = []
    for guess, image in zip(guesses, truth, strict=True):
        near = np.arange(len(guess.labels)) % 2 == 0
        source = draw.integers(len(image.labels), size=near.sum())
        labels, boxes = guess.labels.copy(), guess.boxes.copy()
        labels[near] = image.labels[source]
        boxes[near] = image.boxes[source] + draw.normal(0, 60, (near.sum(), 4))
        found.append(ImageBoxes(labels, guess.confidence, np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4)))
    weights = bootstrap_weights(split["patient"].to_numpy(), options.samples, seed=0)
    began = time.perf_counter()
    estimates = precision_estimates(found, truth, weights)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    values = loop(found, truth, weights[: options.loops])
    theirs = (time.perf_counter() - began) * options.samples / options.loops
    mine = np.stack([estimates[name, "all"].samples[: options.loops] for name in ("map50", "map50_95")], axis=1)
    print(
        f"mAP with {options.samples} bootstrap samples: ours {ours:.1f} s, a loop over torchmetrics {theirs:.0f} s (from "
        f"{options.loops} samples): {theirs / ours:.0f} times; largest difference on the same resamples "
        f"{np.abs(mine - values).max():.1e} (mAP50 {mine[0, 0]:.3f})"
    )
    what = f"mAP of {options.images} images with {options.boxes} boxes each, {options.samples} bootstrap samples"
    lines.add(options.lines, what, "s", ours, theirs, "torchmetrics in a loop", theirs / ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=880)
    parser.add_argument("--boxes", type=int, default=100, help="predicted boxes an image")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
    parser.add_argument("--loops", type=int, default=3, help="samples of the loop, scaled up to those of ours")
    lines.option(parser)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    whole = split_of(draw, options.images)
    parts = [whole[np.arange(len(whole)) % FOLDS == fold].reset_index(drop=True) for fold in range(FOLDS)]
    rest = [whole[np.arange(len(whole)) % FOLDS != fold].reset_index(drop=True) for fold in range(FOLDS)]
    drawn = {"samples": options.samples, "confidence": CONFIDENCE, "seed": 0}
    print(f"{options.images} images, {FOLDS} folds, {options.samples} bootstrap samples")
    print(f"{'seconds':<44}{'wall':>8}{'CPU':>8}")
    for name in ("cells", "boxes"):
        folds = []
        began = time.perf_counter(), time.process_time()
        for test, train in zip(parts, rest, strict=True):
            boxes = predicted_boxes(draw, test["image"], options.boxes) if name == "boxes" else None
            cells = None if name == "boxes" else predicted_cells(draw, test["image"])
            folds.append(Fold(test, train, choose_thresholds(test, boxes=boxes, cells=cells), boxes, cells))
        report(f"{name}: thresholds of {FOLDS} folds", began)
        began = time.perf_counter(), time.process_time()
        rows, curve = score_folds("sound", name, folds, **drawn)
        report(f"{name}: {len(rows)} metric rows, {len(curve)} of FROC", began)
    compare(draw, whole, options)


if __name__ == "__main__":
    main()
