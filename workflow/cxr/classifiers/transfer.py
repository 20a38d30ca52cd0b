"""Transfer learning: one (c, s) pair, trained from source weights (paper, section 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from cxr.classifiers import fit, frozen_features, probe
from cxr.classifiers.networks import SOURCE_CLASSES, Tail, TransferClassifier
from cxr.data import image_index, image_store, splits
from cxr.labels import LABELS
from cxr.runtime import checksums
from cxr.training.loop import trained_state
from cxr.training.resnet import resnet
from cxr.training.runs import Run
from cxr.training.tensors import write_tensors


@dataclass(frozen=True)
class Start:
    """Where a pair starts from: source weights, and the grid's shared features.

    features: their description (`write_features`), if the grid has any. shared: what to read from it: everything, so that
    only the tail is trained, or only the validation images, where no other job shares the training pictures.
    """

    source_weights: Path
    features: Path | None
    shared: Literal["training", "judging"]


@dataclass(frozen=True)
class Architecture:
    """The network of a pair. layers: number of trained last parametered layers. head_input: what the added layer reads of
    the source network. frozen_batchnorm: how batch norms in its frozen layers work; head_init: first weights of the added
    layer (`networks.TransferClassifier`)."""

    network: str
    layers: int
    head_input: Literal["softmax", "logits", "features"]
    frozen_batchnorm: Literal["eval", "batch", "keras"]
    head_init: Literal["torch", "glorot"]


def train(
    *,
    inputs: fit.Inputs,
    outputs: fit.Outputs,
    start: Start,
    architecture: Architecture,
    training: fit.Training,
    probed: int,
    run: Run,
) -> None:
    """Train the added layer and the last layers of a source network, and predict the images asked for.

    Without stored features of its frozen layers, the whole network runs on images. probed: number of validation images on
    which `probe` measures the added layer before and after training; 0: none. The model file holds what training changed;
    with the source weights it is the whole network.
    """
    torch.manual_seed(run.seed + training.repeat)
    schedule = training.schedule
    backbone = load_source(start.source_weights, architecture.network)
    model = TransferClassifier(
        backbone,
        architecture.layers,
        len(LABELS),
        architecture.head_input,
        architecture.frozen_batchnorm,
        architecture.head_init,
    )
    trained, readers = _readers(model, inputs, start, training, run)
    objective = partial(fit.sigmoid_objective, balanced=training.balanced)
    shown = splits.read_split(inputs.validation_split)["image"].tolist()[:probed]
    look = partial(probe.look, readers.part(trained), model.head, shown, readers.judged, schedule.batch, run.device)
    before = look()
    outcome, predict = fit.train(
        trained, inputs, readers, objective, "sigmoid", (training.select_by, True), schedule, run
    )
    predict(outputs)
    facts = {
        "network": architecture.network,
        "trainable_layers": architecture.layers,
        "head_input": architecture.head_input,
        "frozen_batchnorm": architecture.frozen_batchnorm,
        "head_init": architecture.head_init,
        "balanced": training.balanced,
        "repeat": training.repeat,
        "starts_from": trained.after if isinstance(trained, Tail) else "images",
        "settings": schedule.received(),
    }
    if probed:
        facts["added_layer"] = {"before": before, "after": look()}
    fit.write(outcome, outputs, facts, {**facts, "state_dict": trained_state(model)}, run)


def _readers(
    model: TransferClassifier, inputs: fit.Inputs, start: Start, training: fit.Training, run: Run
) -> tuple[torch.nn.Module, fit.Readers]:
    """Return the part to train, the whole network or the part after its frozen stages, with readers of its input."""
    stored = start.features
    nearest = None if stored is None else frozen_features.open_nearest(stored, model.shared, run.device)
    if nearest is None:
        run.tell("no stored features of the frozen layers in this arithmetic: every step runs the whole network")
        return model, fit.from_pixels(inputs, training, run)
    stage, found = nearest
    if start.shared == "judging":
        run.tell(f"validation uses the stored output of {stage}")
        pixels = fit.from_pixels(inputs, training, run)
        return model, replace(pixels, judged=found.of_fixed, part=lambda network: Tail(network, stage))
    run.tell(f"training uses the stored output of {stage}")

    def stream(names: Sequence[str], targets: np.ndarray) -> frozen_features.FeatureStream:
        return frozen_features.FeatureStream(
            names, found, targets, training.schedule.batch, run.seed, run.device.torch, training.repeat
        )

    return Tail(model, stage), fit.Readers(stream, found.of_fixed, found.of_fixed)


def load_source(path: Path, network: str) -> torch.nn.Module:
    """Return the source network with the weights of a checkpoint; its last layer has as many outputs as in the file."""
    state = fit.load_state(path, network)
    return fit.load_backbone(resnet(network, state["fc.weight"].shape[0]), state, path, network)


def write_random_source(path: Path, network: str, seed: int) -> None:
    """Write randomly initialised source weights: transfer from nothing, as a control."""
    torch.manual_seed(seed)
    write_tensors(resnet(network, SOURCE_CLASSES).state_dict(), path)


@dataclass(frozen=True)
class GridFiles:
    """The images of a grid. train_splits: (file, number of the repeat that orders its images) of each training set.
    judged: files of images that jobs only judge."""

    train_splits: Sequence[tuple[Path, int]]
    judged: Sequence[Path]
    index: Path
    store: Path
    image_size: int


def write_features(
    *,
    inputs: GridFiles,
    source_weights: Path,
    network: str,
    grid: frozen_features.Grid,
    code: str,
    store_file: Path,
    run: Run,
) -> None:
    """Update the stored outputs of the frozen stages for every picture that the grid's jobs see; describe them in
    `store_file`.

    code: what the stored numbers depend on besides settings and data.
    """
    trained = [(splits.read_images(path), repeat) for path, repeat in inputs.train_splits]
    only_judged = [splits.read_images(path) for path in inputs.judged]
    everything = pd.concat([*(table for table, _ in trained), *only_judged])
    frozen_features.compute(
        load_source(source_weights, network),
        images=frozen_features.GridImages(
            train=[(table["image"].tolist(), repeat) for table, repeat in trained],
            judged=sorted({name for table in only_judged for name in table["image"]}),
            digests=dict(zip(everything["image"], everything["digest"], strict=True)),
        ),
        pixels=image_store.open_store(
            inputs.store, image_index.read_index(inputs.index), inputs.image_size, "all", run.tell
        ),
        grid=grid,
        belongs_to=f"{network} {checksums.sha256_of(source_weights)} {code}",
        store=store_file,
        run=run,
    )
