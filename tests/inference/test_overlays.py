"""What is drawn on a new image, in which frame and from which threshold on, and the record of the models behind it."""

import json

import numpy as np
import pandas as pd
import pytest

from cxr.inference import new_images, overlays
from cxr.labels import LABELS
from cxr.runtime.journal import Journal

SIDE = 64
BOX_COLUMNS = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
MODELS = {
    "classes": ("transfer_long/sound/c2_s100", "auroc", 0.8),
    "boxes": ("yolo_finetuned/sound/fold1", "map50", 0.25),
    "cells": ("gridcnn/sound/fold2", "f1", None),
}
# Thresholds of three folds, of the one detector and of the other.
CUTS = {"yolo_finetuned": (0.1, 0.4, 0.2), "gridcnn": (0.6, 0.7, 0.55), "torchvision_detector": (0.9, 0.9, 0.9)}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """What is asked to be drawn of a wide and of a square image, by image, and the provenance; folder: of pictures."""
    asked = []
    monkeypatch.setattr(
        overlays.xrays,
        "prediction_overlay",
        lambda pixels, **options: asked.append({"pixels": pixels} | options) or b"x",
    )
    images = ["b/wide.png", "a.png"]
    pd.DataFrame(
        {"image": images, "kind": ["PNG", "DICOM"], "width": [200, 128], "height": [100, 128], "side": [200, 128],
         "left": [0, 0], "top": [50, 0], "digest": ["d1", "d2"]}
    ).to_csv(tmp_path / "table.csv", index=False)  # fmt: skip
    pixels = np.stack([np.full((SIDE, SIDE), level, np.uint8) for level in (10, 20)])
    (tmp_path / "pixels.u8").write_bytes(pixels.tobytes())
    chances = np.array([np.linspace(0.01, 0.15, 15), np.linspace(0.9, 0.2, 15)])
    classes = pd.DataFrame(chances[::-1], columns=list(LABELS))  # in another order than the images of the table
    classes.insert(0, "image", images[::-1])
    classes.to_csv(tmp_path / "classes.csv", index=False)
    rows = [("a.png", "Mass", 0.9 - number / 50, 0, 0, 64, 128) for number in range(10)]
    rows += [("b/wide.png", "Nodule", 0.4, 50, 25, 100, 75), ("b/wide.png", "Mass", 0.39, 0, 0, 10, 10)]
    pd.DataFrame(rows, columns=BOX_COLUMNS).to_csv(tmp_path / "boxes.csv", index=False)
    cells = np.stack([np.full((16, 16), 0.2), np.full((16, 16), 0.1)]).astype(np.float32)
    np.savez(tmp_path / "cells.npz", images=np.array(images[::-1]), confidence=cells)
    for kind, (experiment, metric, score) in MODELS.items():
        facts = {
            "experiment": experiment,
            "chosen_by": f"validation {metric}",
            "score": score,
            "model_sha256": kind * 9,
        }
        (tmp_path / f"{kind}.json").write_text(json.dumps(facts), encoding="utf-8")
    for name, folds in CUTS.items():
        content = {"folds": [{"threshold": cut, "findings": {}} for cut in folds]}
        (tmp_path / f"{name}_threshold.json").write_text(json.dumps(content), encoding="utf-8")
    with Journal(tmp_path / "log.txt", "test") as tell:
        overlays.write(
            name="study", images=new_images.Prepared(tmp_path / "table.csv", tmp_path / "pixels.u8", SIDE),
            predictions=overlays.Predictions(
                *(tmp_path / name for name in ("classes.csv", "boxes.csv", "cells.npz")),
                facts={kind: tmp_path / f"{kind}.json" for kind in MODELS},
            ),
            thresholds=[tmp_path / f"{name}_threshold.json" for name in CUTS], folder=tmp_path / "overlays",
            provenance=tmp_path / "provenance.json", tell=tell,
        )  # fmt: skip
    assert {path.relative_to(tmp_path / "overlays").as_posix() for path in (tmp_path / "overlays").rglob("*.png")} == {
        "b/wide.png.png", "a.png.png"
    }  # fmt: skip
    return dict(zip(images, asked, strict=True)), json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))


def test_boxes_are_drawn_in_the_frame_of_the_squared_picture(drawn):
    """A pixel of the wide picture is 5.12 of the frame, and it begins 50 pixels from above."""
    asked, _ = drawn
    (box,) = asked["b/wide.png"]["boxes"]
    assert box[:2] == ("Nodule", 0.4) and box[2:] == pytest.approx((256, 384, 512, 640))
    assert asked["b/wide.png"]["window"] == (0, 0.25, 1, 0.75)
    assert asked["a.png"]["boxes"][0][2:] == pytest.approx((0, 0, 512, 1024))
    assert asked["a.png"]["window"] == (0, 0, 1, 1)


def test_the_threshold_is_that_of_the_fold_whose_model_predicts(drawn):
    asked, provenance = drawn
    assert {each["thresholds"] for each in asked.values()} == {(0.4, 0.55)}
    assert provenance["thresholds"] == {"boxes": 0.4, "cells": 0.55}


def test_of_many_boxes_the_most_certain_are_drawn(drawn):
    asked, _ = drawn
    confidences = [box[1] for box in asked["a.png"]["boxes"]]
    assert confidences == pytest.approx([0.9 - number / 50 for number in range(overlays.BOXES)])


def test_every_picture_has_its_own_pixels_cells_and_most_probable_findings(drawn):
    asked, _ = drawn
    wide, square = asked["b/wide.png"], asked["a.png"]
    assert (wide["pixels"] == 10).all() and (square["pixels"] == 20).all()
    assert wide["cells"].max() == pytest.approx(0.1) and square["cells"].max() == pytest.approx(0.2)
    assert [label for label, _ in wide["findings"]] == list(LABELS[:-6:-1])
    assert [label for label, _ in square["findings"]] == list(LABELS[:5])
    assert wide["findings"][0][1] == pytest.approx(0.15) and square["findings"][0][1] == pytest.approx(0.9)
    assert wide["title"] == "b/wide.png  (PNG, 200 × 100)"


def test_each_model_is_named_for_what_it_predicts(drawn):
    asked, provenance = drawn
    assert asked["a.png"]["notes"][:3] == [
        "Classes: transfer_long/sound/c2_s100 (validation auroc 0.800; SHA-256 classesclass)",
        "Boxes: yolo_finetuned/sound/fold1 (validation map50 0.250; SHA-256 boxesboxesbo)",
        "Cells: gridcnn/sound/fold2 (validation f1 undefined; SHA-256 cellscellsce)",
    ]
    assert {kind: model["experiment"] for kind, model in provenance["models"].items()} == {
        kind: model[0] for kind, model in MODELS.items()
    }
    assert provenance["images"] == {"b/wide.png": "d1", "a.png": "d2"} and provenance["run"] == "study"
