"""Pictures for the report that need pixels: test images with truth and prediction, and examples of the data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr import figures, images, splits
from cxr.boxes import parse_box_text
from cxr.detections import Answers, ImageBoxes
from cxr.evaluation import read_predictions
from cxr.journal import Journal
from cxr.labels import LABELS

SHOWN = 12


def write_detections(
    *,
    predictions: Sequence[Path],
    thresholds: Path,
    test_splits: Sequence[Path],
    index: Path,
    store: Path,
    box_size: int,
    picture: Path,
    tell: Journal,
) -> None:
    """Draw test images with their true and predicted boxes (or cells); taken evenly over the order of all folds' images."""
    tested = _tested(predictions, thresholds, test_splits)
    at = np.unique(np.linspace(0, len(tested.table) - 1, min(SHOWN, len(tested.table))).astype(int))
    names = tested.table["image"].iloc[at].tolist()
    pixels = images.open_store(store, images.read_index(index), box_size, "boxed", tell).read(names)
    picture.write_bytes(_sheet(tested, at, pixels, names))


@dataclass(frozen=True)
class _Tested:
    """The test images of all folds: image, boxes (text) and threshold of each, and what was predicted of them."""

    table: pd.DataFrame
    answers: Answers


def _tested(predictions: Sequence[Path], thresholds: Path, test_splits: Sequence[Path]) -> _Tested:
    cuts = [fold["threshold"] for fold in json.loads(thresholds.read_text())["folds"]]
    tables = [splits.read_split(path).assign(threshold=cut) for path, cut in zip(test_splits, cuts, strict=True)]
    answers = [
        Answers.of(table["image"], *read_predictions(path), str(path))
        for table, path in zip(tables, predictions, strict=True)
    ]
    return _Tested(pd.concat(tables, ignore_index=True), Answers.pooled(answers))


def _sheet(tested: _Tested, at: np.ndarray, pixels: np.ndarray, titles: Sequence[str], columns: int = 4) -> bytes:
    """Draw the images at these places; pixels: (n, S, S) uint8."""
    rows, answers = tested.table.iloc[at], tested.answers
    return figures.detection_sheet(
        pixels,
        [parse_box_text(text) for text in rows["boxes"]],
        titles,
        boxes=None if answers.boxes is None else [_labelled(answers.boxes[place]) for place in at],
        cells=answers.cells[at] if answers.boxes is None else None,
        thresholds=rows["threshold"].tolist(),
        columns=columns,
    )


def _labelled(image: ImageBoxes) -> list[tuple[str, float, float, float, float, float]]:
    return [
        (label, confidence, *box)
        for label, confidence, box in zip(image.labels, image.confidence.tolist(), image.boxes.tolist(), strict=True)
    ]


def write_examples(
    *, records: Path, index: Path, store: Path, size: int, seed: int, picture: Path, tell: Journal
) -> None:
    """Draw one image of each of the labels, as the classifiers read them, with all labels it has."""
    table = pd.read_csv(records, keep_default_na=False)
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in LABELS:
        rows = np.flatnonzero(table["labels"].str.split("|").apply(lambda labels, wanted=label: wanted in labels))
        fresh = [row for row in rows if row not in chosen]
        chosen += [int(random.choice(fresh))] if fresh else []
    shown = table.iloc[chosen]
    pixels = images.open_store(store, images.read_index(index), size, "all", tell).read(shown["image"].tolist())
    titles = [
        f"{labels.replace('|', ', ').replace('_', ' ')} ({view})"
        for labels, view in zip(shown["labels"], shown["view"], strict=True)
    ]
    picture.write_bytes(figures.example_images(pixels, titles))
