"""Training of the grid CNN, and its predictions: which of 16 × 16 cells of an image are diseased."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.data import splits
from cxr.detectors import files as detector_files
from cxr.detectors.gridcnn.network import MAPS, FindingNetwork, GridNetwork, Members
from cxr.detectors.gridcnn.objectives import objective, overlap_objective
from cxr.detectors.gridcnn.targets import Drawn, by_finding, finding_targets, together, training_targets, unboxed
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.metrics import curve_floors
from cxr.settings import GridCNN, Schedule
from cxr.training.batches import Stream, moved
from cxr.training.loop import Objective, Outcome, Validation, fit, infer
from cxr.training.runs import Run
from cxr.training.tensors import write_tensors


@dataclass(frozen=True)
class Boxed:
    """Images by name: boxes of their findings, unboxed findings (``unboxed``), and a reader of pixels (N, S, S) uint8."""

    names: Sequence[str]
    drawn: Sequence[Drawn]
    unknown: Sequence[Collection[str]]
    read: Callable[[Sequence[str]], np.ndarray]


def train(
    *,
    train_split: Path,
    train_labels: Path | None,
    pretrained: Path | None,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Trained,
    settings: GridCNN,
    run: Run,
) -> None:
    """Train the grid CNN on the boxed training images, and predict the cells of the validation and test images.

    train_labels: the training split with all labels of its images, boxed or not; None: every finding without a box
    counts as absent. pretrained: model to start from (``pretraining``). Files: see docs/files.md.
    """
    torch.manual_seed(run.seed)
    pixels = inputs.pixels(run)

    def read(wanted: Sequence[str]) -> np.ndarray:
        return reduced(pixels.read(wanted), settings.image_size)

    tables = {
        role: splits.read_split(path)
        for role, path in (("train", train_split), ("validation", inputs.validation_split))
    }
    nothing: list[set[str]] = [set()] * len(tables["validation"])
    unknown = {"train": _unknown(train_labels, tables["train"], run.tell), "validation": nothing}
    roles = {
        role: Boxed(table["image"].tolist(), [by_finding(text) for text in table["boxes"]], unknown[role], read)
        for role, table in tables.items()
    }
    network = built(settings, roles["train"].drawn)
    own = {"network": "18-layer grid CNN", "settings": settings.received()}
    if pretrained is not None:
        own["pretrained_on"] = _start_from(pretrained, network)
        run.tell(f"starts from weights pre-trained on {own['pretrained_on']}")
    outcome = fitted(network, roles["train"], roles["validation"], settings, settings.training, run)
    judged = _PLANS[settings.head].objective(settings)
    tested = splits.read_images(inputs.predicted)["image"].tolist()
    for names, path in ((roles["validation"].names, outputs.validation_predictions), (tested, outputs.predictions)):
        confidence = infer(network, names, read, judged, run.device)
        np.savez_compressed(path, images=np.array(names), **named(confidence.astype(np.float32)))
    floors = _curve_floors(roles["train"], roles["validation"], settings.head)
    outcome.facts["validation"] = curve_floors.about(tables["validation"], floors, "boxes")
    write_tensors({"settings": settings.received(), "state": network.cpu().state_dict()}, outputs.model)
    outcome.history.to_csv(outputs.history, index=False)
    outputs.facts.write_text(json.dumps({**own, **outcome.facts, **run.facts()}, indent=1), encoding="utf-8")


def built(settings: GridCNN, drawn: Sequence[Drawn]) -> nn.Module:
    """Return an untrained network with these settings; its cells start at the mean mask of images with these boxes."""
    plan = _PLANS[settings.head]
    return plan.network(settings, plan.targets(drawn, [set()] * len(drawn), "majority").mean(0))


def fitted(
    network: nn.Module, training: Boxed, validation: Boxed, settings: GridCNN, schedule: Schedule, run: Run
) -> Outcome:
    """Train the network in place; boxes move with the pixels, and each picture's targets are computed from them."""
    plan = _PLANS[settings.head]

    def targets(indices: np.ndarray, maps: np.ndarray) -> np.ndarray:
        chosen = [
            [(finding, moved(boxes, matrix)) for finding, boxes in training.drawn[index]]
            for index, matrix in zip(indices, maps, strict=True)
        ]
        return plan.targets(chosen, [training.unknown[index] for index in indices], settings.target)

    stream = Stream(
        training.names, training.read, targets, settings.augment, schedule.batch, run.seed, run.device.torch
    )
    judged = Validation(
        validation.names,
        validation.read,
        plan.targets(validation.drawn, validation.unknown, "majority"),
        _scores,
        ("f1", True),
    )
    return fit(network, stream, plan.objective(settings), judged, schedule, run)


def _start_from(path: Path, network: nn.Module) -> str:
    """Load pre-trained weights except the cells' biases, which stay the mean masks of real images; return `pretrained_on`."""
    content = torch.load(path, weights_only=True)
    own = {name for name in network.state_dict() if name.endswith("cell_bias")}
    state = {name: tensor for name, tensor in content["state"].items() if name not in own}
    left = network.load_state_dict(state, strict=False)
    if set(left.missing_keys) != own or left.unexpected_keys:
        raise InputError(f"{path} holds weights of another network; delete it and run again: the run makes it again")
    return str(content["pretrained_on"])


@dataclass(frozen=True)
class _Plan:
    """What a head needs: its network (from the mean training masks), its objective, and its targets."""

    network: Callable[[GridCNN, np.ndarray], nn.Module]
    objective: Callable[[GridCNN], Objective]
    targets: Callable[[Sequence[Drawn], Sequence[Collection[str]], str], np.ndarray]


_ANY = _Plan(
    lambda settings, masks: GridNetwork(settings.image_size, settings.width, settings.head, masks),
    lambda settings: objective(settings.loss),
    lambda drawn, _, kind: training_targets([together(each) for each in drawn], kind),
)
_FINDINGS = _Plan(
    lambda settings, masks: Members(
        settings.members,
        lambda: FindingNetwork(settings.image_size, settings.width, masks, settings.dropout),
        settings.test_time_flip,
    ),
    lambda settings: overlap_objective(settings.finding_weight, settings.label_weight, settings.decisive),
    finding_targets,
)
_PLANS = {"dense": _ANY, "convolution": _ANY, "findings": _FINDINGS}


def _unknown(path: Path | None, table: pd.DataFrame, tell: Callable[[str], None]) -> list[set[str]]:
    if path is None:
        return [set()] * len(table)
    labels = splits.read_split(path)
    found = unboxed(dict(zip(labels["image"], labels["labels"], strict=True)), table)
    some = sum(bool(each & set(BOXED_FINDINGS)) for each in found)
    tell(
        f"{some} of {len(table)} training images have a label without a box that has boxes on other images: no loss there"
    )
    return found


def untrained(settings: GridCNN) -> tuple[nn.Module, Objective]:
    """Return the untrained network of these settings, to load weights into, and its objective."""
    return built(settings, [[]]), _PLANS[settings.head].objective(settings)


def named(confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of a prediction file: the map of any finding; from (N, 9, 16, 16) also the maps of the findings; from
    (N, 10, 16, 16) also the probability of any finding.
    """
    if confidence.ndim == 3:
        return {"confidence": confidence}
    arrays = {
        "confidence": confidence[:, MAPS - 1],
        "findings": np.array(BOXED_FINDINGS),
        "finding_confidence": confidence[:, : MAPS - 1],
    }
    return arrays if confidence.shape[1] == MAPS else {**arrays, "probability": confidence[:, MAPS]}


def reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink pixels (N, S, S) uint8 to (N, side, side) by area mean; S is a multiple of side."""
    factor = pixels.shape[1] // side
    if factor == 1:
        return pixels
    blocks = pixels.reshape(len(pixels), side, factor, side, factor)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def _scores(confidence: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the paper's F1, over cells: of the raw confidences, and at the best of nine thresholds.

    confidence, target: (N, 16, 16), or (N, maps, 16, 16) with the map of any finding as the ninth.
    """
    confidence, target = (each if each.ndim == 3 else each[:, MAPS - 1] for each in (confidence, target))
    return {
        "f1_weighted": _area_f1(confidence, target),
        "f1": max(_area_f1(confidence >= cut, target) for cut in np.linspace(0.1, 0.9, 9)),
    }


def _curve_floors(training: Boxed, validation: Boxed, head: str) -> dict[str, float]:
    """Score the mean training mask on the validation images as each epoch is scored, by name of the curve."""
    masks, target = (
        _PLANS[head].targets(each.drawn, [set()] * len(each.names), "majority") for each in (training, validation)
    )
    mask, target = (each if each.ndim == 3 else each[:, MAPS - 1] for each in (masks, target))
    confidence = np.broadcast_to(mask.mean(0, dtype=np.float64), target.shape)
    return {"loss": float(((confidence - target) ** 2).mean()), **_scores(confidence, target)}


def _area_f1(confidence: np.ndarray, target: np.ndarray) -> float:
    """F1 as `metrics.areas` has it, except that images without a target cell are left out of the precision too."""
    has_cell = target.any((1, 2))
    shared = (confidence * target).sum((1, 2))
    predicted = confidence.sum((1, 2))
    precision = np.divide(shared, predicted, out=np.zeros(len(shared)), where=predicted > 0)[has_cell].mean()
    recall = (shared[has_cell] / target[has_cell].sum((1, 2))).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
