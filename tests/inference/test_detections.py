"""What becomes of a detector's outputs: boxes of YOLO in the 1024 frame, and of new images in their own pixels."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from cxr.detectors import box_training, torchvision_detector
from cxr.detectors.yolo import trainer
from cxr.inference import detections
from cxr.inference import files as prediction_files
from cxr.inference.new_images import Prepared
from cxr.runtime.journal import Journal
from cxr.settings import TorchvisionDetector
from cxr.training.device import Device
from cxr.training.runs import plain

CPU = Device(torch.device("cpu"), False)
SIDE = 64  # at which the network below reads images; a pixel of it is 16 of the frame
COLUMNS = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]


class Told:
    """Stands for a loaded YOLO with three classes that finds on every image what it is told.

    boxes: (x, y, w, h of the box in network pixels, class, confidence).
    """

    names = {0: "Mass", 1: "Nodule", 2: "Effusion"}  # noqa: RUF012

    def __init__(self, boxes, of_image=None):
        self.boxes, self.of_image, self.seen = boxes, of_image, []

    def fuse(self, verbose):
        return self

    def to(self, device):
        return self

    def __call__(self, images):
        self.seen.append(images)
        raw = torch.zeros(len(images), 4 + 3, max(len(self.boxes), 1))
        for number, (*corners, kind, confidence) in enumerate(self.boxes):
            raw[:, :4, number] = torch.tensor(corners)
            raw[:, 4 + kind, number] = confidence
        return self.of_image(images, raw) if self.of_image else raw


def predicted(monkeypatch, model, names=("a.png",), side=SIDE, **options):
    monkeypatch.setattr(trainer, "_load", lambda weights: model)
    grey = {name: np.full((side, side), 10 * number, np.uint8) for number, name in enumerate(names, 1)}
    return trainer.predict(
        weights=None, names=list(names), pixels=lambda wanted: np.stack([grey[name] for name in wanted]),
        image_size=SIDE, run=plain(0, CPU, lambda text: None), **options,
    )  # fmt: skip


def test_boxes_come_back_in_the_frame_with_their_class_and_by_falling_confidence(monkeypatch):
    """Centre 24, 16 and sides 16, 8 are 16 to 32 and 12 to 20; what leaves the frame is cut off."""
    model = Told([(24, 16, 16, 8, 1, 0.3), (60, 60, 16, 16, 2, 0.8), (8, 40, 8, 8, 0, 0.5)])
    found = predicted(monkeypatch, model)
    assert found.columns.tolist() == COLUMNS
    assert found.drop(columns="confidence").to_numpy().tolist() == [
        ["a.png", "Effusion", 832, 832, 1024, 1024], ["a.png", "Mass", 64, 576, 192, 704],
        ["a.png", "Nodule", 256, 192, 512, 320],
    ]  # fmt: skip
    assert found["confidence"].tolist() == pytest.approx([0.8, 0.5, 0.3])


@pytest.mark.parametrize(("overlap", "kept"), [(0.65, 2), (0.75, 1)])
def test_of_boxes_of_a_class_that_overlap_by_more_than_seven_tenths_the_surest_is_kept(monkeypatch, overlap, kept):
    wide = 20 * overlap  # within the other: its share of it is their intersection over union
    boxes = [(30, 30, 20, 20, 0, 0.9), (30, 30, wide, 20, 0, 0.8), (30, 30, 20, 20, 1, 0.7)]
    found = predicted(monkeypatch, Told(boxes))
    assert found["confidence"].tolist() == pytest.approx([0.9, 0.8, 0.7] if kept == 2 else [0.9, 0.7])


def test_a_hundred_boxes_an_image_are_kept_down_to_a_thousandth(monkeypatch):
    centres = [(3 + 6 * (number % 10), 2 + 5 * (number // 10)) for number in range(120)]
    boxes = [(x, y, 4, 4, 0, 0.9 - number / 1000) for number, (x, y) in enumerate(centres)]
    found = predicted(monkeypatch, Told(boxes))
    assert len(found) == 100 and found["confidence"].min() == pytest.approx(0.9 - 0.099)
    some = Told([(30, 30, 4, 4, 0, 0.002), (50, 50, 4, 4, 0, 0.0005)])
    assert predicted(monkeypatch, some)["confidence"].tolist() == pytest.approx([0.002])
    assert len(predicted(monkeypatch, some, confidence=0.1)) == 0


def test_every_image_has_its_own_boxes_and_a_last_batch_is_filled_up_without_a_trace(monkeypatch):
    """Five images in batches of two: the grey level of each says where its box is."""

    def of_image(images, raw):
        raw[:, 0, 0] = images[:, 0, 0, 0] * 255  # its centre: 10, 20, …
        return raw

    model = Told([(0, 32, 4, 4, 0, 0.9)], of_image)
    names = ["e.png", "b.png", "d.png", "a.png", "c.png"]
    found = predicted(monkeypatch, model, names, batch=2)
    assert found["image"].tolist() == names
    assert found["x0"].tolist() == pytest.approx([(10 * number - 2) * 16 for number in (1, 2, 3, 4, 5)], abs=0.01)
    assert [images.shape for images in model.seen] == [(2, 3, SIDE, SIDE)] * 3
    model = Told([(0, 32, 4, 4, 0, 0.9)], of_image)
    assert predicted(monkeypatch, model, names, side=256)["x0"].tolist() == pytest.approx(
        found["x0"].tolist(), abs=0.01
    )
    assert model.seen[0].shape[2:] == (SIDE, SIDE), "read at the side of the network"


def prepared(folder):
    """One wide picture, 200 × 100 pixels: 50 pixels of margin above and below, 5.12 of the frame a pixel."""
    row = {"image": "wide.png", "kind": "PNG", "width": 200, "height": 100, "side": 200, "left": 0, "top": 50}
    pd.DataFrame([row | {"digest": "d"}]).to_csv(folder / "table.csv", index=False)
    (folder / "pixels.u8").write_bytes(bytes(SIDE * SIDE))
    return Prepared(folder / "table.csv", folder / "pixels.u8", SIDE)


def trained_model(folder, experiment, score):
    place = folder / experiment
    place.mkdir(parents=True)
    (place / "model.pt").write_bytes(experiment.encode())
    (place / "facts.json").write_text(json.dumps({"kept_epoch": 1}), encoding="utf-8")
    pd.DataFrame({"epoch": [1], "validation_map50": [score]}).to_csv(place / "history.csv", index=False)
    return place / "model.pt"


YOLO, OTHER = "yolo_finetuned/sound/fold0", "torchvision_detector/sound/fold1"


@pytest.mark.parametrize("winner", [YOLO, OTHER])
def test_the_better_detector_predicts_and_its_boxes_are_written_in_the_pixels_of_the_picture(
    tmp_path, monkeypatch, winner
):
    asked = {}

    def table(label, confidence):
        rows = [("wide.png", label, 0.9, 256, 512, 512, 640), ("wide.png", label, 0.8, 0, 0, 1024, 200)]
        return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], float))

    def by_yolo(**options):
        asked.update(options)
        return table("yolo", 0)

    monkeypatch.setattr(trainer, "predict", by_yolo)
    chosen = TorchvisionDetector(backbone="resnet10", image_size=SIDE)
    monkeypatch.setattr(torchvision_detector, "restore", lambda path, device: (asked.update(weights=path), chosen))
    monkeypatch.setattr(box_training, "predict", lambda *_: table("torchvision", 0))
    models = [trained_model(tmp_path, name, 0.6 if name == winner else 0.5) for name in (YOLO, OTHER)]
    candidates, images = prediction_files.Candidates(models, tmp_path), prepared(tmp_path)
    outputs = prediction_files.Outputs(tmp_path / "boxes.csv", tmp_path / "boxes.json")
    with Journal(tmp_path / "log.txt", "test") as tell:
        detections.boxes(image_size=320, candidates=candidates, images=images, outputs=outputs, run=plain(0, CPU, tell))
    found = pd.read_csv(tmp_path / "boxes.csv")
    label = "yolo" if winner == YOLO else "torchvision"
    assert found.to_numpy().tolist() == [["wide.png", label, 0.9, 50, 50, 100, 75]], "one lay on a margin alone"
    assert asked["weights"] == tmp_path / winner / "model.pt"
    if winner == YOLO:
        assert (asked["image_size"], asked["confidence"], asked["names"]) == (320, 0.001, ["wide.png"])
    facts = json.loads((tmp_path / "boxes.json").read_text(encoding="utf-8"))
    assert (facts["experiment"], facts["score"]) == (winner, 0.6)
    assert "1 of 2 boxes were only on margins and are left out" in (tmp_path / "log.txt").read_text(encoding="utf-8")
