"""Transfer learning: one (c, s) pair, trained from source weights (paper, section 2.2)."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch

from cxr import classification
from cxr.labels import LABELS
from cxr.networks import SOURCE_CLASSES, TransferClassifier, resnet
from cxr.runs import Run
from cxr.settings import Schedule
from cxr.training import trained_state, write_tensors


def train(
    *,
    inputs: classification.Inputs,
    predicted: Path,
    outputs: classification.Outputs,
    source_weights: Path,
    network: str,
    layers: int,
    head_input: Literal["softmax", "logits", "features"],
    frozen_batchnorm: Literal["eval", "batch"],
    balanced: bool,
    schedule: Schedule,
    select_by: str,
    run: Run,
) -> None:
    """Train the added layer and the last `layers` parametered layers, and predict the images of the file
    `predicted` (image, patient, digest, perhaps more): validation or test.

    The model file holds what training changed; with the source weights it is the whole network.
    """
    torch.manual_seed(run.seed)
    backbone = load_source(source_weights, network)
    model = TransferClassifier(backbone, layers, len(LABELS), head_input, frozen_batchnorm)
    objective = partial(classification.sigmoid_objective, balanced=balanced)
    outcome, predict = classification.train(
        model, inputs, objective, classification.sigmoid_scores, (select_by, True), schedule, run
    )
    predict(predicted, outputs.predictions)
    facts = {
        "network": network,
        "trainable_layers": layers,
        "head_input": head_input,
        "frozen_batchnorm": frozen_batchnorm,
        "settings": schedule.model_dump(),
    }
    classification.write(outcome, outputs, facts, {**facts, "state_dict": trained_state(model)}, run)


def load_source(path: Path, network: str) -> torch.nn.Module:
    """Return the source network with the weights of a checkpoint; its last layer has as many outputs as the file's."""
    state = classification.load_state(path, network)
    return classification.load_backbone(resnet(network, state["fc.weight"].shape[0]), state, path, network)


def write_random_source(path: Path, network: str, seed: int) -> None:
    """Write randomly initialised source weights: transfer from nothing, as a control."""
    torch.manual_seed(seed)
    write_tensors(resnet(network, SOURCE_CLASSES).state_dict(), path)
