"""The two baselines: a ResNet trained from scratch with a softmax or a sigmoid over the 15 labels (paper, section 2.1)."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch

from cxr import classification
from cxr import device as devices
from cxr.journal import Journal
from cxr.labels import LABELS
from cxr.networks import Classifier
from cxr.settings import Schedule


def train(
    *,
    inputs: classification.Inputs,
    test_split: Path,
    outputs: classification.Outputs,
    activation: Literal["softmax", "sigmoid"],
    network: str,
    balanced: bool,
    schedule: Schedule,
    select_by: str,
    seed: int,
    precision: Literal["auto", "float32", "bfloat16"],
    threads: int,
    tell: Journal,
) -> None:
    """Train a baseline and predict the test split."""
    device = devices.choose(precision, threads)
    torch.manual_seed(seed)
    model = Classifier(network, len(LABELS))
    if activation == "softmax":
        make_objective, scores = (lambda _: classification.softmax_objective()), classification.softmax_scores
    else:
        make_objective = partial(classification.sigmoid_objective, balanced=balanced)
        scores = classification.sigmoid_scores
    outcome, predict = classification.train(
        model, inputs, make_objective, scores, (select_by, True), schedule, seed, device, tell
    )
    predict(test_split, outputs.predictions)
    facts = {"network": network, "activation": activation, "seed": seed, "settings": schedule.model_dump()}
    state = {"network": network, "activation": activation, "state_dict": model.backbone.cpu().state_dict()}
    classification.write(outcome, outputs, facts, state)
