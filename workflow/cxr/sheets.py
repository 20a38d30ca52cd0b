"""Pictures for the report that need pixels: test images with truth and prediction, and examples of the data."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from cxr import figures, images, splits
from cxr.boxes import parse_box_text
from cxr.evaluation import read_predictions
from cxr.journal import Journal
from cxr.labels import LABELS

SHOWN = 12


def write_detections(
    *,
    predictions: Path,
    threshold: Path,
    split: Path,
    index: Path,
    store: Path,
    box_size: int,
    picture: Path,
    tell: Journal,
) -> None:
    """Draw test images with their true and predicted boxes (or cells); images are taken evenly over the split's order."""
    table = splits.read_split(split)
    table = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(SHOWN, len(table))).astype(int))]
    names = table["image"].tolist()
    cut = json.loads(threshold.read_text())["threshold"]
    boxes, cells = read_predictions(predictions)
    pixels = images.open_store(store, images.read_index(index), box_size, "boxed", tell).read(names)
    picture.write_bytes(
        figures.detection_sheet(
            pixels,
            [parse_box_text(text) for text in table["boxes"]],
            names,
            boxes=None if boxes is None else [_of_image(boxes, name) for name in names],
            cells=None if cells is None else _cells_of(cells, names),
            threshold=cut,
        )
    )


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


def _of_image(boxes: pd.DataFrame, image: str) -> list[tuple[str, float, float, float, float, float]]:
    mine = boxes[boxes["image"] == image]
    return list(mine[["label", "confidence", "x0", "y0", "x1", "y1"]].itertuples(index=False, name=None))


def _cells_of(cells: tuple[np.ndarray, np.ndarray], names: list[str]) -> np.ndarray:
    place = {name: row for row, name in enumerate(cells[0])}
    return cells[1][[place[name] for name in names]]
