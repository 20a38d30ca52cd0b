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
    if activation == "softmax":
        make_objective, scores = (lambda _: fit.softmax_objective()), fit.softmax_scores
    else:
        make_objective = partial(fit.sigmoid_objective, balanced=training.balanced)
        scores = fit.sigmoid_scores
    outcome, predict = fit.train(
        model,
        inputs,
        fit.from_pixels(inputs, training, run),
        make_objective,
        scores,
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
