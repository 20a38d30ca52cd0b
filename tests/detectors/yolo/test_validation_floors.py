"""What the fine-tuning of YOLO records of its validation images."""

from pathlib import Path

import pandas as pd

from cxr.detectors.yolo import experiments
from cxr.detectors.yolo.labels import DataSet


def test_the_floor_is_fitted_on_the_training_images_of_the_data_set_and_scored_on_the_validation_images():
    left, right = "Mass 0 0 256 256", "Mass 512 512 900 900"
    rows = [("train", "a.png", 1, left), ("validation", "b.png", 1, right), ("test", "c.png", 1, right)]
    data = DataSet(Path("data"), ("Mass",), pd.DataFrame(rows, columns=["role", "image", "boxes", "box_text"]))
    split = pd.DataFrame({"image": ["b.png"], "patient": [3], "boxes": [right]})
    assert experiments._validation(data, split) == {"images": 1, "patients": 1, "boxes": 1, "floors": {"map50": 0.0}}
    here = split.assign(boxes=f"{left};{left}")
    assert experiments._validation(data, here)["floors"]["map50"] > 0
    assert experiments._validation(data, here)["boxes"] == 2
