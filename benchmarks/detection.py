"""Time of scoring a detector: every metric, floor and interval of 880 boxed images in five folds, and the FROC.

    PYTHONPATH=workflow python benchmarks/detection.py [--images 880] [--boxes 100] [--samples 1000]

Random boxes and confidences, so many per image as YOLO's predictions hold at most; a grid CNN that tells findings apart.
"""

import argparse
import time

import numpy as np
import pandas as pd

from cxr.boxes import GRID, format_box_text
from cxr.detection_scores import Fold, choose_thresholds, score_folds
from cxr.detections import Cells
from cxr.labels import BOXED_FINDINGS

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=880)
    parser.add_argument("--boxes", type=int, default=100, help="predicted boxes an image")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
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


if __name__ == "__main__":
    main()
