"""Boxes on new images by the better of a study's detectors, in the pixels of the images themselves."""

from pathlib import Path

import pandas as pd

from cxr.data import csv_cells
from cxr.detectors import box_training, torchvision_detector
from cxr.detectors.yolo import trainer
from cxr.detectors.yolov2 import experiments as yolov2
from cxr.inference import files as prediction_files
from cxr.inference import new_images
from cxr.inference.new_images import Pixels, Prepared
from cxr.training.runs import Run

SHOWN = 0.001  # lowest confidence of a box that is written


def boxes(
    *,
    image_size: int,
    candidates: prediction_files.Candidates,
    images: Prepared,
    outputs: prediction_files.Outputs,
    run: Run,
) -> None:
    """Write image, label, confidence, x0, y0, x1, y1 (pixels of the image, end exclusive), by falling confidence.

    The detector with the best validation mAP50 predicts. image_size: side in pixels at which YOLO reads an image.
    """
    chosen = candidates.best("map50", run)
    table, pixels = images.opened()
    predict = PREDICTORS[chosen.experiment.partition("/")[0]]
    found = predict(chosen.model, table["image"].tolist(), pixels, image_size, run)
    own = new_images.to_own_pixels(found, table)
    run.tell(f"{len(found) - len(own)} of {len(found)} boxes were only on margins and are left out")
    csv_cells.write(own, outputs.predictions, float_format="%.6g")
    outputs.write_facts(chosen, run)


def _by_yolo(model: Path, names: list[str], stored: Pixels, image_size: int, run: Run) -> pd.DataFrame:
    return trainer.predict(
        weights=model,
        names=names,
        pixels=stored.read,
        image_size=image_size,
        run=run,
        confidence=SHOWN,
    )


def _by_torchvision(model: Path, names: list[str], stored: Pixels, image_size: int, run: Run) -> pd.DataFrame:
    network, settings = torchvision_detector.restore(model, run.device)
    read = box_training.reader(stored.read, settings)
    goal = box_training.BoxGoal(settings.training.batch)
    return box_training.predict(network, names, read, goal, run.device)


def _by_yolov2(model: Path, names: list[str], stored: Pixels, image_size: int, run: Run) -> pd.DataFrame:
    network, settings = yolov2.restore(model, run.device)
    read = box_training.reader(stored.read, settings)
    goal = box_training.BoxGoal(settings.training.batch)
    return box_training.predict(network, names, read, goal, run.device)


PREDICTORS = {  # experiments of boxes that may be chosen → how their models predict
    "yolo_finetuned": _by_yolo,
    "yolov2_finetuned": _by_yolov2,
    "torchvision_detector": _by_torchvision,
}
