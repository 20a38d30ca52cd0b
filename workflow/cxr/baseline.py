"""The two baselines: a ResNet trained from scratch with a softmax or a sigmoid over the 15 labels (paper, section 2.1)."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch

from cxr import classification
from cxr.labels import LABELS
from cxr.networks import Classifier
from cxr.runs import Run
from cxr.settings import Schedule


def train(
    *,
    inputs: classification.Inputs,
    predicted: Path,
    outputs: classification.Outputs,
    activation: Literal["softmax", "sigmoid"],
    network: str,
    balanced: bool,
    schedule: Schedule,
    select_by: str,
    run: Run,
) -> None:
    """Train a baseline, and predict the images of the file `predicted` (image, patient, digest)."""
    torch.manual_seed(run.seed)
    model = Classifier(network, len(LABELS))
    if activation == "softmax":
        make_objective, scores = (lambda _: classification.softmax_objective()), classification.softmax_scores
    else:
        make_objective = partial(classification.sigmoid_objective, balanced=balanced)
        scores = classification.sigmoid_scores
    outcome, predict = classification.train(
        model,
        inputs,
        classification.from_pixels(inputs, schedule, run),
        make_objective,
        scores,
        (select_by, True),
        schedule,
        run,
    )
    predict(predicted, outputs.predictions)
    facts = {"network": network, "activation": activation, "balanced": balanced, "settings": schedule.received()}
    state = {"network": network, "activation": activation, "state_dict": model.backbone.cpu().state_dict()}
    classification.write(outcome, outputs, facts, state, run)
