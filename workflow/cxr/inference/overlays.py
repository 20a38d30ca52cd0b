"""A picture of every new image with the models' predictions, and the record of these models."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr.boxes import CORNERS, PREDICTION_COLUMNS
from cxr.data import made
from cxr.inference import new_images
from cxr.labels import LABELS
from cxr.report.figures import xrays
from cxr.runtime.journal import Journal

FINDINGS = 5  # number of most probable labels beside a picture
BOXES = 8  # number of most confident boxes on a picture
LONGEST = 255  # bytes of a file's name
PICTURE = re.compile(r"\.png~*$")
TITLE = 60  # characters of an image's name above its picture


@dataclass(frozen=True)
class Predictions:
    """Predictions of new images. facts: of the three models, by what they predict (classes, boxes, cells)."""

    classes: Path
    boxes: Path
    cells: Path
    facts: Mapping[str, Path]


def write(
    *,
    name: str,
    images: new_images.Prepared,
    predictions: Predictions,
    thresholds: Sequence[Path],
    folder: Path,
    provenance: Path,
    tell: Journal,
) -> None:
    """Draw a picture below `folder` for every image (`file_name`), and write the provenance (JSON).

    name: of the run. thresholds: <detector>_threshold.json of the study: boxes below are not drawn, cells below not outlined.
    """
    models = {kind: made.read_json(path) for kind, path in predictions.facts.items()}
    cuts = {path.stem.removesuffix("_threshold"): made.read_json(path)["folds"] for path in thresholds}
    cut = {kind: _threshold(models[kind]["experiment"], cuts) for kind in ("boxes", "cells")}
    table, stored = images.opened()
    probabilities = made.read_names(predictions.classes, ["image", *LABELS]).set_index("image")
    found = made.read_names(predictions.boxes, PREDICTION_COLUMNS)
    drawn = new_images.to_frame(found[found["confidence"] >= cut["boxes"]], table)
    with np.load(predictions.cells) as file:
        maps = dict(zip(file["images"].tolist(), file["confidence"], strict=True))
    for row in table.itertuples():
        mine = drawn[drawn["image"] == row.image].head(BOXES)
        own = probabilities.loc[row.image, list(LABELS)].astype(float).sort_values(ascending=False, kind="stable")
        path = folder / file_name(row.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            xrays.prediction_overlay(
                stored.read([row.image])[0],
                window=_window(row),
                boxes=list(mine[["label", "confidence", *CORNERS]].itertuples(index=False, name=None)),
                cells=maps[row.image],
                thresholds=(cut["boxes"], cut["cells"]),
                findings=list(own.head(FINDINGS).items()),
                title=f"{_shortened(row.image)}  ({row.kind}, {row.width} × {row.height})",
                notes=[
                    *(f"{kind.capitalize()}: {_model(models[kind])}" for kind in ("classes", "boxes", "cells")),
                    f"Run “{name}”. Research software, not a medical device: not for diagnosis.",
                ],
            )
        )
    digests = dict(zip(table["image"], table["digest"], strict=True))
    provenance.write_text(
        json.dumps({"run": name, "models": models, "thresholds": cut, "images": digests}, indent=1), encoding="utf-8"
    )
    tell(f"{len(table)} pictures")


def file_name(image: str) -> str:
    """Return the path of an image's picture below the folder: `<image>.png`; names that would be too long are cut
    to 200 bytes plus a checksum.

    A folder called `x.png` gets a ~, because the picture of an image `x` has that name.
    """
    *above, name = image.split("/")
    return "/".join(map(_fitting, [*(f"{it}~" if PICTURE.search(it) else it for it in above), f"{name}.png"]))


def _fitting(name: str) -> str:
    raw = name.encode()
    if len(raw) <= LONGEST:
        return name
    return f"{raw[:200].decode(errors='ignore')}~{hashlib.sha256(raw).hexdigest()[:8]}.png"


def _shortened(text: str) -> str:
    return text if len(text) <= TITLE else f"{text[: TITLE // 2]}…{text[-TITLE // 2 :]}"


def _threshold(experiment: str, cuts: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """Return the threshold of the fold in which a chosen model, <detector>/<protocol>/fold<fold>, was trained."""
    detector, _, fold = experiment.split("/")
    return cuts[detector][int(fold.removeprefix("fold"))]["threshold"]


def _model(model: Mapping[str, Any]) -> str:
    score = "undefined" if model["score"] is None else f"{model['score']:.3f}"
    return f"{model['experiment']} ({model['chosen_by']} {score}; SHA-256 {model['model_sha256'][:12]})"


def _window(row: Any) -> tuple[float, float, float, float]:
    """Return where the image lies in the squared one: x0, y0, x1, y1 as shares of the side."""
    x0, y0 = row.left / row.side, row.top / row.side
    return x0, y0, x0 + row.width / row.side, y0 + row.height / row.side
