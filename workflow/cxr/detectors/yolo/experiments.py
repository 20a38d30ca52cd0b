"""The YOLO experiments: off the shelf, and fine-tuned on the boxed images (paper, sections 2.3.2 and 2.3.3)."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from cxr.data import splits
from cxr.detectors import files as detector_files
from cxr.detectors.yolo import data_set, trainer
from cxr.detectors.yolo.labels import DataSet
from cxr.metrics import curve_floors
from cxr.runtime import checksums
from cxr.settings import Yolo
from cxr.training import weights
from cxr.training.runs import Run


def off_the_shelf(
    *,
    weights_file: Path,
    sha256: str,
    image_size: int,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Outputs,
    run: Run,
) -> None:
    """Predict the boxed validation and test images with unchanged COCO weights; boxes carry COCO's class names."""
    given = weights.verify(weights_file, sha256, "COCO weights of YOLO (yolo.pretrained)")
    _predict(given, image_size, inputs, outputs, run)
    own = {"weights": given.name, "weights_sha256": checksums.sha256_of(given), "trained_parameters": 0}
    outputs.facts.write_text(json.dumps(own | run.facts(), indent=1), encoding="utf-8")


def fine_tune(
    *,
    data: Path,
    manifest: Path,
    settings: Yolo,
    run_folder: Path,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Trained,
    run: Run,
) -> None:
    """Train YOLO from COCO weights, or from scratch if there are none, and predict validation and test images.

    data: folder of the data set, first compared with its manifest (`data_set.intact`). Predictions read the image cache,
    not the data set.
    """
    given = None
    own: dict[str, Any] = {"settings": settings.received(), "from": "scratch"}
    if settings.pretrained:
        given = weights.verify(Path(settings.pretrained), settings.sha256, "COCO weights of YOLO (yolo.pretrained)")
        own |= {"from": given.name, "weights_sha256": checksums.sha256_of(given)}
    shown = data_set.intact(manifest, data, inputs.pixels(run).read, run.tell)
    tuned = trainer.fine_tune(
        data=shown,
        weights=given,
        architecture=settings.architecture,
        run_folder=run_folder / "run",
        settings=settings,
        run=run,
    )
    shutil.copyfile(tuned.weights, outputs.model)
    _predict(outputs.model, settings.image_size, inputs, outputs, run)
    tuned.history.to_csv(outputs.history, index=False)
    own["validation"] = _validation(shown, splits.read_split(inputs.validation_split))
    outputs.facts.write_text(json.dumps(own | tuned.facts | run.facts(), indent=1), encoding="utf-8")


def _validation(data: DataSet, split: pd.DataFrame) -> dict[str, object]:
    """Count the validation images, and score on them the boxes that the training images give (`curve_floors.about`)."""
    training = data.manifest[data.manifest["role"] == "train"].rename(columns={"box_text": "boxes", "boxes": "count"})
    return curve_floors.about(split, curve_floors.of_boxes(training, split), "boxes")


def _predict(
    weights_file: Path, image_size: int, inputs: detector_files.BoxedImages, outputs: detector_files.Outputs, run: Run
) -> None:
    """Write the boxes of the validation images and of the requested images."""
    pixels = inputs.pixels(run)
    asked = ((inputs.validation_split, outputs.validation_predictions), (inputs.predicted, outputs.predictions))
    for wanted, path in asked:
        names = splits.read_images(wanted)["image"].tolist()
        found = trainer.predict(
            weights=weights_file,
            names=names,
            pixels=pixels.read,
            image_size=image_size,
            run=run,
        )
        found.to_csv(path, index=False, float_format="%.6g")
