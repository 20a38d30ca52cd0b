"""What all classifiers of the 15 labels share: objectives, validation scores, predictions, files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from cxr.data import image_index, image_store, splits
from cxr.errors import InputError
from cxr.labels import LABELS, to_matrix
from cxr.metrics import curve_floors
from cxr.metrics.guesses import SOFTMAX
from cxr.metrics.ranking import mean_auroc
from cxr.runtime.jobs import Job
from cxr.settings import Augment, Schedule
from cxr.training.batches import Stream
from cxr.training.loop import Objective, Outcome, Validation, fit, infer, whole_network
from cxr.training.runs import Run
from cxr.training.tensors import load_tensors, write_tensors

EPSILON = 1e-7  # Keras' clipping of probabilities before a logarithm


@dataclass(frozen=True)
class Inputs:
    """What a classifier job reads: split files, the image store, and the augmentation of training images.

    predicted: file of the images to predict in the end (image, patient, digest, perhaps more): validation or test.
    """

    train_split: Path
    validation_split: Path
    predicted: Path
    index: Path
    store: Path
    image_size: int
    augment: Augment

    @classmethod
    def of(cls, job: Job) -> "Inputs":
        """Return those of a workflow's job."""
        return cls(
            Path(job.input.train),
            Path(job.input.validation),
            Path(job.input.predicted),
            Path(job.input.index),
            Path(job.params.store),
            job.params.image_size,
            Augment(**job.params.augment),
        )


@dataclass(frozen=True)
class Outputs:
    """What a classifier job writes; schemas in docs/files.md.

    predictions: for the images that the job was asked for. validation_predictions: for the validation images, by the kept
    weights; None: they are not predicted.
    """

    model: Path
    predictions: Path
    history: Path
    facts: Path
    validation_predictions: Path | None = None


@dataclass(frozen=True)
class Training:
    """How a classifier is trained. balanced: weight a label's positives (`sigmoid_objective`). select_by: the validation
    metric by which `schedule.keep` chooses an epoch. repeat: added to the study's seed for the added layer's first weights
    and the order of the images; how a visit of an image is augmented stays, so that repeats share stored features."""

    schedule: Schedule
    balanced: bool
    select_by: str
    repeat: int = 0


def softmax_objective() -> Objective:
    """Categorical cross-entropy on multi-hot targets as Keras computes it: −Σ_k y_k log p_k, mean over images."""

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -(targets * outputs.log_softmax(1)).sum(1).mean()

    return Objective(loss, loss, lambda outputs: outputs.softmax(1))


def sigmoid_objective(positives: np.ndarray, balanced: bool) -> Objective:
    """Binary cross-entropy, mean over labels; `balanced` weights a label's positives by negatives per positive.

    positives: (15,) share of positive training images. Weighting by w shifts a label's log-odds by log w; scores
    and predictions subtract that shift, so probabilities stay probabilities.
    """
    if not balanced:
        return Objective(
            functional.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits, torch.sigmoid
        )
    share = positives.clip(1e-3, 1 - 1e-3)
    weight = torch.from_numpy((1 - share) / share).float().clamp(max=50)

    def unshifted(outputs: torch.Tensor) -> torch.Tensor:
        return outputs - weight.log().to(outputs.device)

    return Objective(
        loss=lambda outputs, targets: functional.binary_cross_entropy_with_logits(
            outputs, targets, pos_weight=weight.to(outputs.device)
        ),
        measure=lambda outputs, targets: functional.binary_cross_entropy_with_logits(unshifted(outputs), targets),
        predict=lambda outputs: unshifted(outputs).sigmoid(),
    )


def sigmoid_scores(confidences: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return binary accuracy (mean over the 15 labels at 0.5) and mean AUROC over the labels where it is defined."""
    return {"accuracy": float(((confidences > 0.5) == targets).mean()), "auroc": mean_auroc(confidences, targets)}


def softmax_scores(confidences: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return categorical accuracy (against the first label in order, as Keras' argmax does) and mean AUROC."""
    hits = confidences.argmax(1) == targets.argmax(1)
    return {"accuracy": float(hits.mean()), "auroc": mean_auroc(confidences, targets)}


@dataclass(frozen=True)
class Readers:
    """Readers of a network's inputs.

    stream: makes the source of training batches from names and targets. judged: reads validation images for the `part` of
    the network that judges them. predicted: reads the images to predict in the end.
    """

    stream: Callable[[list[str], np.ndarray], Any]
    judged: Callable[[Sequence[str]], np.ndarray | torch.Tensor]
    predicted: Callable[[Sequence[str]], np.ndarray | torch.Tensor]
    part: Callable[[nn.Module], nn.Module] = whole_network


def from_pixels(inputs: Inputs, training: Training, run: Run) -> Readers:
    """Return readers of whole images, augmented on the fly."""
    schedule = training.schedule
    pixels = image_store.open_store(
        inputs.store, image_index.read_index(inputs.index), inputs.image_size, "all", run.tell
    )
    return Readers(
        lambda names, targets: Stream(
            names, pixels.read, targets, inputs.augment, schedule.batch, run.seed, run.device.torch, training.repeat
        ),
        pixels.read,
        pixels.read,
    )


def train(
    network: nn.Module,
    inputs: Inputs,
    readers: Readers,
    make_objective: Callable[[np.ndarray], Objective],
    activation: Literal["softmax", "sigmoid"],
    better: tuple[str, bool],
    schedule: Schedule,
    run: Run,
) -> tuple[Outcome, Callable[[Outputs], None]]:
    """Train a classifier on a split; return the outcome and a function that writes the predictions of a job's outputs.

    better: metric of the validation scores that picks the best epoch, and whether higher is better. Facts gain `validation`:
    counts of the validation images, and the floors of the curves on them (`curve_floors`).
    """
    training, validating = (splits.read_split(path) for path in (inputs.train_split, inputs.validation_split))
    targets = to_matrix(training["labels"]).astype(np.float32)
    judged = make_objective(targets.mean(0))
    shown = to_matrix(validating["labels"])

    def scores(confidences: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
        overall = softmax_scores if activation == SOFTMAX else sigmoid_scores
        return overall(confidences, wanted) | curve_floors.findings_scores(confidences, wanted, activation)

    names = validating["image"].tolist()
    validation = Validation(names, readers.judged, shown.astype(np.float32), scores, better, readers.part)
    outcome = fit(network, readers.stream(training["image"].tolist(), targets), judged, validation, schedule, run)
    outcome.facts["prevalence"] = [round(float(share), 8) for share in targets.mean(0)]
    floors = curve_floors.of_labels(targets, shown, activation)
    outcome.facts["validation"] = curve_floors.about(validating, floors, "positives")

    def predict(outputs: Outputs) -> None:
        wanted = (inputs.predicted, outputs.predictions), (inputs.validation_split, outputs.validation_predictions)
        for images, path in wanted:
            if path:
                table = splits.read_images(images)
                confidences = infer(network, table["image"].tolist(), readers.predicted, judged, run.device)
                predictions_table(table, confidences).to_csv(path, index=False, float_format="%.6g")

    return outcome, predict


def predictions_table(images_of: pd.DataFrame, confidences: np.ndarray) -> pd.DataFrame:
    """Return the predictions table: image, patient, and the (N, 15) confidences in columns named by label."""
    return pd.concat([images_of[["image", "patient"]], pd.DataFrame(confidences, columns=list(LABELS))], axis=1)


def write(outcome: Outcome, outputs: Outputs, own_facts: dict[str, Any], state: dict[str, Any], run: Run) -> None:
    """Write model, history and facts of a finished training."""
    write_tensors(state, outputs.model)
    outcome.history.to_csv(outputs.history, index=False)
    outputs.facts.write_text(json.dumps({**own_facts, **outcome.facts, **run.facts()}, indent=1), encoding="utf-8")


def load_state(path: Path, network_name: str) -> dict[str, torch.Tensor]:
    """Read a ResNet state dict from a checkpoint. Raises InputError if the file has no `fc.weight`, as a ResNet has."""
    state = load_tensors(path)
    if "fc.weight" not in state:
        raise InputError(f"{path}: holds no weights of a {network_name} (no tensor named fc.weight)")
    return state


def load_backbone(network: nn.Module, state: dict[str, torch.Tensor], path: Path, network_name: str) -> nn.Module:
    """Load a state dict into a network built for it; Raises InputError naming the file and the first tensors that differ."""
    wanted = network.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    wrong = [
        key for key in wanted if key not in counters and (key not in state or state[key].shape != wanted[key].shape)
    ]
    wrong += [key for key in state if key not in wanted]
    if wrong:
        raise InputError(
            f"{path}: weights of another architecture: {len(wrong)} tensors do not fit a {network_name}, "
            f"the first is {wrong[0]}; set network.name to the network the file was made for"
        )
    network.load_state_dict({key: state.get(key, wanted[key]) for key in wanted})
    return network
