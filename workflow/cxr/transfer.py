"""Transfer learning: one (c, s) pair, trained from source weights (paper, section 2.2)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from cxr import classification, features, images, splits
from cxr.labels import LABELS
from cxr.networks import SOURCE_CLASSES, Tail, TransferClassifier
from cxr.resnets import resnet
from cxr.runs import Run
from cxr.settings import Augment, Schedule
from cxr.training import trained_state, write_tensors


def train(
    *,
    inputs: classification.Inputs,
    predicted: Path,
    outputs: classification.Outputs,
    source_weights: Path,
    stored: Path | None,
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

    stored: folder of the grid's shared features (`features`), from which the tail is trained where it has the stage;
    without, the whole network runs on images. The model file holds what training changed; with the source weights it is
    the whole network.
    """
    torch.manual_seed(run.seed)
    backbone = load_source(source_weights, network)
    model = TransferClassifier(backbone, layers, len(LABELS), head_input, frozen_batchnorm)
    tail = _tail(model, stored, schedule, run)
    trained, readers = tail or (model, classification.from_pixels(inputs, schedule, run))
    objective = partial(classification.sigmoid_objective, balanced=balanced)
    outcome, predict = classification.train(
        trained, inputs, readers, objective, classification.sigmoid_scores, (select_by, True), schedule, run
    )
    predict(predicted, outputs.predictions)
    facts = {
        "network": network,
        "trainable_layers": layers,
        "head_input": head_input,
        "frozen_batchnorm": frozen_batchnorm,
        "balanced": balanced,
        "starts_from": "images" if tail is None else str(model.boundary),
        "settings": schedule.model_dump(),
    }
    classification.write(outcome, outputs, facts, {**facts, "state_dict": trained_state(model)}, run)


def _tail(
    model: TransferClassifier, stored: Path | None, schedule: Schedule, run: Run
) -> tuple[torch.nn.Module, classification.Readers] | None:
    """Return the part of the network behind its frozen stages with readers of their stored output, if there is one."""
    if stored is None or model.boundary is None:
        run.tell("no shared features: every step runs the whole network")
        return None
    found = features.open_stage(stored, model.boundary, run.device)
    if found is None:
        run.tell(f"no shared features of {model.boundary} in this arithmetic: every step runs the whole network")
        return None
    run.tell(f"training from the stored output of {model.boundary}")
    readers = classification.Readers(
        lambda names, targets: features.FeatureStream(
            names, found, targets, schedule.batch, run.seed, run.device.torch
        ),
        found.of_fixed,
    )
    return Tail(model, model.boundary), readers


def load_source(path: Path, network: str) -> torch.nn.Module:
    """Return the source network with the weights of a checkpoint; its last layer has as many outputs as the file's."""
    state = classification.load_state(path, network)
    return classification.load_backbone(resnet(network, state["fc.weight"].shape[0]), state, path, network)


def write_random_source(path: Path, network: str, seed: int) -> None:
    """Write randomly initialised source weights: transfer from nothing, as a control."""
    torch.manual_seed(seed)
    write_tensors(resnet(network, SOURCE_CLASSES).state_dict(), path)


def write_features(
    *,
    sets: Mapping[str, tuple[Path, Path]],
    source_weights: Path,
    index: Path,
    store: Path,
    image_size: int,
    network: str,
    layers: Sequence[int],
    schedule: Schedule,
    augment: Augment,
    budget: float,
    folder: Path,
    run: Run,
) -> None:
    """Write what the frozen stages make of every picture that the grid's jobs see. sets: size → train, validation."""
    judged = sorted({name for _, path in sets.values() for name in splits.read_images(path)["image"]})
    pixels = images.open_store(store, images.read_index(index), image_size, "all", run.tell)
    features.compute(
        load_source(source_weights, network),
        depths=layers,
        train_sets={size: splits.read_images(train)["image"].tolist() for size, (train, _) in sets.items()},
        fixed=judged,
        read=pixels.read,
        side=image_size,
        schedule=schedule,
        augment=augment,
        seed=run.seed,
        device=run.device,
        budget=budget,
        folder=folder,
        tell=run.tell,
    )
