"""Pictures for the report that need pixels: test images with truth and prediction, and examples of the data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import areas, cell_targets, iou, parse_box_text
from cxr.data import image_index, image_store, splits
from cxr.labels import LABELS
from cxr.metrics.detections import Answers, ImageBoxes, coverages, truth_boxes
from cxr.metrics.evaluation import read_predictions
from cxr.metrics.hits import FALSE_BELOW
from cxr.report.figures import xrays
from cxr.runtime.journal import Journal

SHOWN = 12
FAILED = 4  # of each kind of failure
MAPS = 6
MOST_BOXES = 5  # predicted boxes drawn on an image, besides those that find a true box


@dataclass(frozen=True)
class DetectionSheets:
    """The pictures of a detector.

    picture: images taken evenly from their order. failures: the ``FAILED`` true boxes found with the lowest confidence, then
    as many false positives with the highest; titles give the finding and the confidence. maps: predicted cells above target
    cells, and one image with both laid over it (the paper's figures 8, 9 and 2).
    """

    picture: Path
    failures: Path
    maps: Path


def write_detections(
    *,
    predictions: Sequence[Path],
    thresholds: Path,
    test_splits: Sequence[Path],
    index: Path,
    store: Path,
    box_size: int,
    outputs: DetectionSheets,
    tell: Journal,
) -> None:
    """Draw test images of all folds with their true and predicted boxes (or cells), three times."""
    tested = _tested(predictions, thresholds, test_splits)
    pixels = image_store.open_store(store, image_index.read_index(index), box_size, "boxed", tell)
    names = tested.table["image"].tolist()

    def read(at: Sequence[int]) -> np.ndarray:
        return pixels.read([names[place] for place in at])

    even = np.unique(np.linspace(0, len(names) - 1, min(SHOWN, len(names))).astype(int))
    outputs.picture.write_bytes(_sheet(tested, even, read(even), [names[place] for place in even]))
    worst = [*_misses(tested)[:FAILED], *_false_positives(tested)[:FAILED]]
    at = [place for place, _ in worst]
    titles = [f"{names[place]}: {what}" for place, what in worst]
    outputs.failures.write_bytes(_sheet(tested, np.array(at, dtype=int), read(at), titles, columns=FAILED))
    targets = cell_targets([boxes.boxes for boxes in tested.drawn])
    row = even[:MAPS]
    chosen = example_of(targets, even)
    example = xrays.CellExample(
        read([chosen])[0],
        parse_box_text(tested.table["boxes"].iloc[chosen]),
        tested.answers.cells[chosen],
        targets[chosen],
        names[chosen],
    )
    outputs.maps.write_bytes(
        xrays.cell_maps(tested.answers.cells[row], targets[row], [names[place] for place in row], example)
    )


def example_of(targets: np.ndarray, shown: Sequence[int]) -> int:
    """Return the place of the image to explain cells with: the first of those shown that has a target cell, or else of all.

    targets: (N, 16, 16). Without any target cell it is the first of those shown.
    """
    wanted = [*shown, *range(len(targets))]
    return int(next((place for place in wanted if targets[place].any()), wanted[0]))


@dataclass(frozen=True)
class _Tested:
    """The test images of all folds: image, boxes (text) and threshold of each, and the predictions."""

    table: pd.DataFrame
    answers: Answers

    @property
    def drawn(self) -> list[ImageBoxes]:
        return truth_boxes(self.table)


def _tested(predictions: Sequence[Path], thresholds: Path, test_splits: Sequence[Path]) -> _Tested:
    cuts = [fold["threshold"] for fold in json.loads(thresholds.read_text(encoding="utf-8"))["folds"]]
    tables = [splits.read_split(path).assign(threshold=cut) for path, cut in zip(test_splits, cuts, strict=True)]
    answers = [
        Answers.of(table["image"], *read_predictions(path), str(path))
        for table, path in zip(tables, predictions, strict=True)
    ]
    return _Tested(pd.concat(tables, ignore_index=True), Answers.pooled(answers))


def _sheet(tested: _Tested, at: np.ndarray, pixels: np.ndarray, titles: Sequence[str], columns: int = 4) -> bytes:
    """Draw the images at these places; pixels: (n, S, S) uint8."""
    rows, answers = tested.table.iloc[at], tested.answers
    thresholds = rows["threshold"].tolist()
    drawn = None
    if answers.boxes is not None:
        shown = zip(at, thresholds, strict=True)
        drawn = [few_boxes(answers.boxes[place].above(cut), tested.drawn[place].boxes) for place, cut in shown]
    return xrays.detection_sheet(
        pixels,
        [parse_box_text(text) for text in rows["boxes"]],
        titles,
        boxes=None if drawn is None else [_labelled(boxes) for boxes, _ in drawn],
        notes=None if drawn is None else [note for _, note in drawn],
        cells=answers.cells[at] if answers.boxes is None else None,
        thresholds=thresholds,
        columns=columns,
    )


def few_boxes(predicted: ImageBoxes, truth: np.ndarray) -> tuple[ImageBoxes, str]:
    """Choose the predicted boxes to draw on an image; return them and a note on those left out, "" if there are none.

    They are the `MOST_BOXES` most confident, and for each true box (K, 4) the most confident that has an IoU of at least 0.1
    with it.
    """
    order = np.argsort(-predicted.confidence, kind="stable")
    finds = iou(predicted.boxes, truth)[order] >= FALSE_BELOW
    finders = finds.argmax(axis=0)[finds.any(axis=0)] if len(order) else []
    chosen = np.isin(np.arange(len(order)), [*range(MOST_BOXES), *finders])
    left = predicted.confidence[order[~chosen]]
    ends = list(dict.fromkeys(map(xrays.certainty, (left.min(initial=1), left.max(initial=0)))))
    note = f"{len(left)} more at {'–'.join(ends)}, not drawn" if len(left) else ""
    kept = order[chosen]
    return ImageBoxes(predicted.labels[kept], predicted.confidence[kept], predicted.boxes[kept]), note


def _misses(tested: _Tested) -> list[tuple[int, str]]:
    """Return (image, what) of each image's true box that was found with the lowest confidence, the worst and largest first.

    Confidence of a box: the highest of the predicted boxes, of any finding, with an IoU of at least 0.1 with it; for a
    detector of cells, the highest of the cells it touches. Below the image's threshold the box was missed.
    """
    found = []
    for place, image in enumerate(tested.drawn):
        for label, box in zip(image.labels, image.boxes, strict=True):
            if tested.answers.boxes is None:
                confidence = tested.answers.cells[place][coverages([box])[0] > 0].max(initial=0.0)
            else:
                guess = tested.answers.boxes[place]
                confidence = guess.confidence[(iou(guess.boxes, [box]) >= FALSE_BELOW).any(axis=1)].max(initial=0.0)
            what = f"{label} {_how_found(float(confidence), tested.table['threshold'].iloc[place])}"
            found.append((float(confidence), -float(areas(box)[0]), place, what))
    return _one_an_image(sorted(found))


def _how_found(confidence: float, threshold: float) -> str:
    if confidence >= threshold and confidence > 0:
        return f"found at {xrays.certainty(confidence)}"
    return f"missed (highest {xrays.certainty(confidence)})" if confidence > 0 else "missed"


def _false_positives(tested: _Tested) -> list[tuple[int, str]]:
    """Return (image, what) of each image's most confident false positive, the most confident first.

    A false positive is a predicted box with an IoU below 0.1 with every true box or, for a detector of cells, a cell that
    no true box touches. Among equally confident cells, images with most of them come first (decisive maps reach 1 in every
    image).
    """
    found = []
    for place, image in enumerate(tested.drawn):
        if tested.answers.boxes is None:
            apart = coverages([image.boxes])[0] == 0
            cells = tested.answers.cells[place][apart]
            false = [(float(cells.max(initial=0.0)), float(cells.sum()), "cell")]
        else:
            guess = tested.answers.boxes[place]
            wrong = (iou(guess.boxes, image.boxes) < FALSE_BELOW).all(axis=1)
            pairs = zip(guess.confidence[wrong].tolist(), guess.labels[wrong], strict=True)
            false = [(confidence, 0.0, label) for confidence, label in pairs]
        found += [
            (-certain, -amount, place, f"false {label} at {xrays.certainty(certain)}")
            for certain, amount, label in false
        ]
    return _one_an_image(sorted(found))


def _one_an_image(found: Sequence[tuple[float, float, int, str]]) -> list[tuple[int, str]]:
    first: dict[int, str] = {}
    for _, _, place, what in found:
        first.setdefault(place, what)
    return list(first.items())


def _labelled(image: ImageBoxes) -> list[tuple[str, float, float, float, float, float]]:
    return [
        (label, confidence, *box)
        for label, confidence, box in zip(image.labels, image.confidence.tolist(), image.boxes.tolist(), strict=True)
    ]


def write_examples(
    *, records: Path, index: Path, store: Path, size: int, seed: int, picture: Path, tell: Journal
) -> None:
    """Draw one image of each label, as the classifiers read it, with all its labels."""
    table = pd.read_csv(records, keep_default_na=False)
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in LABELS:
        rows = np.flatnonzero(table["labels"].str.split("|").apply(lambda labels, wanted=label: wanted in labels))
        fresh = [row for row in rows if row not in chosen]
        chosen += [int(random.choice(fresh))] if fresh else []
    shown = table.iloc[chosen]
    pixels = image_store.open_store(store, image_index.read_index(index), size, "all", tell).read(
        shown["image"].tolist()
    )
    titles = [
        f"{labels.replace('|', ', ').replace('_', ' ')} ({view})"
        for labels, view in zip(shown["labels"], shown["view"], strict=True)
    ]
    picture.write_bytes(xrays.example_images(pixels, titles))
