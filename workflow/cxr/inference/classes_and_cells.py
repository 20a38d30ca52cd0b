"""Predictions of new images by a study's best classifier and its grid CNN."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.classifiers.fit import sigmoid_objective
from cxr.classifiers.networks import Classifier, TransferClassifier
from cxr.classifiers.transfer import load_source
from cxr.data import csv_cells
from cxr.detectors.gridcnn import training as gridcnn
from cxr.errors import InputError
from cxr.inference import files as prediction_files
from cxr.inference.new_images import Prepared
from cxr.labels import LABELS
from cxr.settings import GridCNN
from cxr.training.loop import infer
from cxr.training.runs import Run


def classes(
    *,
    source_weights: Path,
    metric: str,
    candidates: prediction_files.Candidates,
    images: Prepared,
    outputs: prediction_files.Outputs,
    run: Run,
) -> None:
    """Write 15 probabilities per image (columns image, then the labels) by the best sigmoid classifier."""
    chosen = candidates.best(metric, run)
    table, pixels = images.opened()
    network = classifier(chosen.model, source_weights)
    objective = sigmoid_objective(np.array(chosen.facts["prevalence"]), chosen.facts["balanced"])
    confidences = infer(network, table["image"].tolist(), pixels.read, objective, run.device)
    result = pd.concat([table[["image"]], pd.DataFrame(confidences, columns=list(LABELS))], axis=1)
    csv_cells.write(result, outputs.predictions, float_format="%.6g")
    outputs.write_facts(chosen, run)


def cells(
    *, candidates: prediction_files.Candidates, images: Prepared, outputs: prediction_files.Outputs, run: Run
) -> None:
    """Write an NPZ with the grid CNN's predictions for the squared images, in the format of a study's predictions."""
    chosen = candidates.best("f1", run)
    content = _load(chosen.model)
    settings = GridCNN(**content["settings"])
    network, objective = gridcnn.untrained(settings)
    _fill(network, content["state"], chosen.model)
    table, pixels = images.opened()
    names = table["image"].tolist()

    def read(wanted: Sequence[str]) -> np.ndarray:
        return gridcnn.reduced(pixels.read(list(wanted)), settings.image_size)

    confidence = infer(network, names, read, objective, run.device)
    with outputs.predictions.open("wb") as file:
        np.savez_compressed(file, images=np.array(names), **gridcnn.named(confidence.astype(np.float32)))
    outputs.write_facts(chosen, run)


def classifier(path: Path, source_weights: Path) -> nn.Module:
    """Return a trained classifier: a baseline's file holds the whole network, a transfer's what training changed.

    Raises InputError if the file is neither, or of another network.
    """
    content = _load(path)
    if "trainable_layers" not in content:
        network: nn.Module = Classifier(content["network"], len(LABELS))
        _fill(network.backbone, content["state_dict"], path)
        return network
    backbone = load_source(source_weights, content["network"])
    network = TransferClassifier(
        backbone, content["trainable_layers"], len(LABELS), content["head_input"], content["frozen_batchnorm"]
    )
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    _fill(network, {name: network.state_dict()[name] for name in frozen} | content["state_dict"], path)
    return network


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path}: not a readable model file ({type(error).__name__}); delete it and run again"
        ) from None


def _fill(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{path}: the model has another architecture than its own settings name ({str(error).splitlines()[-1].strip()}); "
            "delete it and run again"
        ) from None
