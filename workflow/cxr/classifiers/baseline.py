"""The two baselines: a ResNet trained from scratch with a softmax or a sigmoid over the 15 labels (paper, section 2.1)."""

from functools import partial
from typing import Literal

import torch

from cxr.classifiers import fit
from cxr.classifiers.networks import Classifier
from cxr.labels import LABELS
from cxr.training.runs import Run


def train(
    *,
    inputs: fit.Inputs,
    outputs: fit.Outputs,
    activation: Literal["softmax", "sigmoid"],
    network: str,
    training: fit.Training,
    run: Run,
) -> None:
    """Train a baseline, and predict the images asked for."""
    torch.manual_seed(run.seed)
    model = Classifier(network, len(LABELS))
    binary = partial(fit.sigmoid_objective, balanced=training.balanced)
    outcome, predict = fit.train(
        model,
        inputs,
        fit.from_pixels(inputs, training, run),
        binary if activation == "sigmoid" else lambda _: fit.softmax_objective(),
        activation,
        (training.select_by, True),
        training.schedule,
        run,
    )
    predict(outputs)
    facts = {
        "network": network,
        "activation": activation,
        "balanced": training.balanced,
        "settings": training.schedule.received(),
    }
    state = {"network": network, "activation": activation, "state_dict": model.backbone.cpu().state_dict()}
    fit.write(outcome, outputs, facts, state, run)
