"""The 18-layer grid CNN: which of 16 × 16 cells of an image are diseased (paper, section 2.3.4)."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from cxr import boxes as geometry
from cxr import detector_files, splits
from cxr.datasets import Stream, moved
from cxr.errors import InputError
from cxr.expected_f1 import worth
from cxr.labels import BOXED_FINDINGS, SEPARATOR
from cxr.runs import Run
from cxr.settings import GridCNN, Schedule
from cxr.training import Objective, Outcome, Validation, fit, infer, write_tensors

BLOCKS = 8  # residual blocks of two convolutions; with the first and the last convolution 18
WIDEST = 8  # the widest stage has so many times the channels of the first
ENCODER = 7  # residual blocks of the finding network; with the first convolution and three on the way up 18
MAPS = len(BOXED_FINDINGS) + 1  # the last is of any finding
RAREST = 2e-3  # a finding without a box in the training images starts at this confidence
OUTPUTS = MAPS * geometry.GRID**2 + len(BOXED_FINDINGS)  # of a network that maps findings
ANY_WEIGHT = 2.0  # of the cross-entropy of any finding's map, beside 1 of its soft F1


Drawn = Sequence[tuple[str, np.ndarray]]  # findings of an image with their boxes (K, 4)


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm around a parameter-free shortcut (pooled, padded with zero channels)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.extra = stride, after - before

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shortcut = functional.avg_pool2d(hidden, self.stride) if self.stride > 1 else hidden
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        hidden = functional.relu(self.bn1(self.conv1(hidden)))
        return functional.relu(self.bn2(self.conv2(hidden)) + shortcut)


class GridNetwork(nn.Module):
    """18 convolutions with batch norm, then one fully connected layer: images (N, 1, S, S) in [0, 1] → logits (N, 16, 16).

    head `dense`: the fully connected layer sees all cells (the paper). head `convolution`: it is shared by all cells and
    every cell has a bias of its own, `cell_bias` (16, 16), which starts at the mean training mask: the image-free floor.
    """

    def __init__(self, image_size: int, width: int, head: str, mean_mask: np.ndarray):
        super().__init__()
        halvings = int(math.log2(image_size // geometry.GRID))
        strides = [2 if number < halvings - 1 else 1 for number in range(BLOCKS)]
        channels = width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks = []
        for stride in strides:
            after = min(channels * stride, width * WIDEST)
            blocks.append(Block(channels, after, stride))
            channels = after
        self.blocks = nn.Sequential(*blocks)
        narrow = 8 if head == "dense" else channels
        self.last = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.head = head
        cells = geometry.GRID**2
        self.fc = nn.Linear(narrow * cells, cells) if head == "dense" else nn.Linear(narrow, 1)
        if head == "convolution":
            prior = torch.from_numpy(mean_mask).float().clamp(1e-3, 1 - 1e-3)
            self.cell_bias = nn.Parameter(torch.logit(prior))
            nn.init.zeros_(self.fc.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.last(self.blocks(self.stem(images - 0.5)))
        if self.head == "dense":
            return self.fc(hidden.flatten(1)).view(-1, geometry.GRID, geometry.GRID)
        return self.fc(hidden.permute(0, 2, 3, 1)).squeeze(3) + self.cell_bias


class FindingNetwork(nn.Module):
    """A map for each boxed finding and one for any of them: 18 convolutions down to 4 × 4 cells and back up to 16 × 16.

    images (N, 1, S, S) in [0, 1] → (N, 9 · 256 + 8): logits of the maps (``BOXED_FINDINGS``, then any), then of which
    findings the image has (``unpacked``). Grey levels are normalised an image. Each cell also sees the cell mirrored
    across the midline: most findings are one-sided. What is seen of the whole image shifts a finding's whole map. Every cell
    of every map has a bias of its own that starts at its mean training mask, `mean_masks` (9, 16, 16): the image-free floor.
    """

    def __init__(self, image_size: int, width: int, mean_masks: np.ndarray, dropout: float):
        super().__init__()
        halvings = int(math.log2(image_size // geometry.GRID)) - 1  # after the stem, down to 16 × 16 cells
        # Blocks that keep the size: one at 16 × 16 cells, one at 8 × 8, the rest at 4 × 4.
        spare = ENCODER - halvings - 2
        at_16, at_8 = min(spare, 1), min(max(spare - 1, 0), 1)
        at_4 = spare - at_16 - at_8
        self.stem = _convolution(1, width, 3, stride=2)
        self.to_16, wide_16 = _stage(width, width, [2] * halvings + [1] * at_16)
        self.to_8, wide_8 = _stage(wide_16, width, [2] + [1] * at_8)
        self.to_4, wide_4 = _stage(wide_8, width, [2] + [1] * at_4)
        self.up_8 = _convolution(wide_8 + wide_4, wide_8, 3)
        self.up_16 = _convolution(wide_16 + wide_8, wide_16, 3)
        self.last = nn.Sequential(*_convolution(2 * wide_16, wide_16, 1), nn.Dropout2d(dropout))
        self.presence = nn.Sequential(nn.Dropout(dropout), nn.Linear(wide_4, len(BOXED_FINDINGS)))
        self.maps = nn.Linear(wide_16, MAPS)
        prior = torch.from_numpy(mean_masks).float().clamp(RAREST, 1 - RAREST)
        self.cell_bias = nn.Parameter(torch.logit(prior))
        self.shift = nn.Parameter(torch.full((len(BOXED_FINDINGS),), 0.5))
        nn.init.zeros_(self.maps.weight)
        nn.init.zeros_(self.maps.bias)
        nn.init.zeros_(self.presence[1].weight)
        nn.init.zeros_(self.presence[1].bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spread = images.std((2, 3), keepdim=True) + 0.05  # a blank image has none
        cells_16 = self.to_16(self.stem((images - images.mean((2, 3), keepdim=True)) / spread))
        cells_8 = self.to_8(cells_16)
        cells_4 = self.to_4(cells_8)
        presence = self.presence(cells_4.mean((2, 3)))
        cells_8 = self.up_8(torch.cat([cells_8, functional.interpolate(cells_4, scale_factor=2)], 1))
        cells_16 = self.up_16(torch.cat([cells_16, functional.interpolate(cells_8, scale_factor=2)], 1))
        hidden = self.last(torch.cat([cells_16, cells_16.flip(3)], 1))
        maps = self.maps(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + self.cell_bias
        shift = functional.pad(self.shift * presence, (0, 1))  # none for the map of any finding
        maps = maps + shift[:, :, None, None]
        return torch.cat([maps.flatten(1), presence], 1)


class Members(nn.Module):
    """Finding networks from different random starts, trained on the same batches: images (N, 1, S, S) → what each of M
    gives, side by side, (N, M · (9 · 256 + 8)). None learns from another.

    test_time_flip: outside training each also sees the image mirrored; what it gives, mirrored back, counts as another's.
    """

    def __init__(self, count: int, network: Callable[[], FindingNetwork], test_time_flip: bool):
        super().__init__()
        self.networks = nn.ModuleList(network() for _ in range(count))
        self.test_time_flip = test_time_flip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = [network(images) for network in self.networks]
        if self.test_time_flip and not self.training:
            outputs += [_mirrored(network(images.flip(3))) for network in self.networks]
        return torch.cat(outputs, 1)


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _stage(before: int, width: int, strides: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Residual blocks of the given strides, channels doubling with each halving, and how many channels come out."""
    blocks = []
    for stride in strides:
        after = min(before * stride, width * WIDEST)
        blocks.append(Block(before, after, stride))
        before = after
    return nn.Sequential(*blocks), before


def unpacked(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split outputs (..., 9 · 256 + 8) of ``FindingNetwork`` into logits of maps (..., 9, 16, 16) and of presence (..., 8)."""
    cells = geometry.GRID
    maps, presence = outputs.split([MAPS * cells**2, len(BOXED_FINDINGS)], -1)
    return maps.unflatten(-1, (MAPS, cells, cells)), presence


def _mirrored(outputs: torch.Tensor) -> torch.Tensor:
    maps, presence = unpacked(outputs)
    return torch.cat([maps.flip(3).flatten(1), presence], 1)


def overlap_objective(finding_weight: float, label_weight: float, decisive: bool) -> Objective:
    """Return the objective of a network that maps findings, or of M such members: outputs (N, M · (9 · 256 + 8)).

    targets: (N, 9, 16, 16), shares of cells; NaN where nobody knows (``finding_targets``): no loss there. The map of any
    finding is trained on 1 - F1 of the batch's mean precision and mean recall, the paper's score with confidences for
    areas, and on cross-entropy; those of the findings on cross-entropy; presence on what the image has, boxed or unknown.

    Members add their losses. A confidence is the mean of the members'; that of any finding is the mean of its own map and
    the union of the findings' maps. decisive: the map of any finding is turned into what each cell is worth
    (``expected_f1``), those of the findings are divided by their highest cell, so that a threshold cuts each relative to
    its most suspicious place: scores are averaged over images, and one without prediction has none. A tenth map then holds
    the probability of any finding. What is measured are probabilities.
    """

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.stack([loss_of_one(member, targets) for member in outputs.split(OUTPUTS, 1)]).sum()

    def loss_of_one(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        maps, presence = unpacked(outputs)
        known = targets.isfinite()
        has = (~known | (targets > 0)).any(-1).any(-1).float()[:, :-1]
        cells = functional.binary_cross_entropy_with_logits(maps, targets.nan_to_num(), reduction="none") * known
        findings, anything = cells[:, :-1].sum(1).mean(), cells[:, -1].mean()
        labels = functional.binary_cross_entropy_with_logits(presence, has)
        score = soft_f1(maps[:, -1].sigmoid(), targets[:, -1])
        return finding_weight * findings + ANY_WEIGHT * anything + label_weight * labels + 1 - score

    def confidences(outputs: torch.Tensor) -> torch.Tensor:
        maps = unpacked(torch.stack(outputs.split(OUTPUTS, 1)))[0].sigmoid()  # (M, N, 9, 16, 16)
        union = 1 - (1 - maps[:, :, :-1]).prod(2, keepdim=True)
        return torch.cat([maps[:, :, :-1], (maps[:, :, -1:] + union) / 2], 2).mean(0)

    def predict(outputs: torch.Tensor) -> torch.Tensor:
        maps = confidences(outputs)
        if not decisive:
            return maps
        relative = maps / maps.amax((2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
        relative[:, -1] = torch.from_numpy(worth(maps[:, -1].cpu().numpy()))
        return torch.cat([relative, maps[:, -1:]], 1)

    def measure(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(confidences(outputs)[:, -1], targets[:, -1])

    return Objective(loss=loss, measure=measure, predict=predict)


def soft_f1(confidence: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """F1 of mean precision and mean recall with confidences as areas; both (N, 16, 16) in [0, 1].

    Half a cell is added to each image's prediction, a tenth to its target: both bound the gradient of tiny areas. Images
    without a target have no recall, as in ``detection_scores``.
    """
    shared, wanted = (confidence * target).sum((1, 2)), target.sum((1, 2))
    precision = (shared / (confidence.sum((1, 2)) + 0.5)).mean()
    recall = (shared / (wanted + 0.1)).sum() / (wanted > 0).sum().clamp_min(1)
    return 2 * precision * recall / (precision + recall).clamp_min(1e-6)


def objective(loss: str) -> Objective:
    """Return the objective of the paper's three losses on sigmoid outputs; MSE is what is reported for all."""
    kinds: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": functional.mse_loss,
        "l1": functional.l1_loss,
        "cosine": lambda confidence, target: (
            1 - functional.cosine_similarity(confidence.flatten(1), target.flatten(1), dim=1).mean()
        ),
    }
    return Objective(
        loss=lambda outputs, targets: kinds[loss](outputs.sigmoid(), targets),
        measure=lambda outputs, targets: functional.mse_loss(outputs.sigmoid(), targets),
        predict=torch.sigmoid,
    )


def cell_targets(boxes: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Return targets (N, 16, 16) float32 of images with boxes (K, 4): covered by more than half, or the covered share."""
    coverage = np.stack([geometry.cell_coverage(each) for each in boxes])
    return (coverage > 0.5).astype(np.float32) if kind == "majority" else coverage


def finding_targets(boxes: Sequence[Drawn], named: Sequence[Collection[str]], kind: str) -> np.ndarray:
    """Return targets (N, 9, 16, 16) float32: a map for each of ``BOXED_FINDINGS``, and one of all boxes.

    boxes: an image's findings with their boxes (K, 4). named: findings whose place nobody drew, though the image has
    them; their maps are NaN unless the image has a box of the finding. kind: as for ``cell_targets``.
    """
    targets = np.zeros((len(boxes), MAPS, geometry.GRID, geometry.GRID), np.float32)
    for target, drawn, unknown in zip(targets, boxes, named, strict=True):
        target[[at for at, finding in enumerate(BOXED_FINDINGS) if finding in unknown]] = np.nan
        for finding, coordinates in drawn:
            target[BOXED_FINDINGS.index(finding)] = cell_targets([coordinates], kind)[0]
        target[-1] = cell_targets([_together(drawn)], kind)[0]
    return targets


def unboxed(named: Mapping[str, str], table: pd.DataFrame) -> list[set[str]]:
    """Return for each image of a box split the findings that its labels name but no box shows.

    named: image → its labels in the label table, ``"Effusion|Mass"``; table: the split (image, labels: of its boxes).
    """
    pairs = zip(table["image"], table["labels"], strict=True)
    return [set(named[image].split(SEPARATOR)) - set(labels.split(SEPARATOR)) for image, labels in pairs]


@dataclass(frozen=True)
class Boxed:
    """Images by name: their findings' boxes, those that nobody drew (``unboxed``), and how to read pixels (N, S, S) uint8."""

    names: Sequence[str]
    drawn: Sequence[Drawn]
    unknown: Sequence[Collection[str]]
    read: Callable[[Sequence[str]], np.ndarray]


def train(
    *,
    train_split: Path,
    train_labels: Path | None,
    pretrained: Path | None,
    inputs: detector_files.Inputs,
    outputs: detector_files.Trained,
    settings: GridCNN,
    run: Run,
) -> None:
    """Train the grid CNN on the boxed training images, and predict the cells of the validation and test images.

    train_labels: the training split with all labels of its images, boxed or not; None: every finding without a box
    counts as absent. pretrained: the model it starts from (``pretraining``). Files: see docs/files.md.
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
    write_tensors({"settings": settings.received(), "state": network.cpu().state_dict()}, outputs.model)
    outcome.history.to_csv(outputs.history, index=False)
    outputs.facts.write_text(json.dumps({**own, **outcome.facts, **run.facts()}, indent=1), encoding="utf-8")


def built(settings: GridCNN, drawn: Sequence[Drawn]) -> nn.Module:
    """Return an untrained network of these settings whose cells start at the mean mask of images with these boxes."""
    plan = _PLANS[settings.head]
    return plan.network(settings, plan.targets(drawn, [set()] * len(drawn), "majority").mean(0))


def fitted(
    network: nn.Module, training: Boxed, validation: Boxed, settings: GridCNN, schedule: Schedule, run: Run
) -> Outcome:
    """Train the network in place; boxes move with the pixels, and what they cover is worked out anew for each picture."""
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
    """Load pre-trained weights, but for the cells' own biases, which are the mean masks of real images; return on what."""
    content = torch.load(path, weights_only=True)
    own = {name for name in network.state_dict() if name.endswith("cell_bias")}
    state = {name: tensor for name, tensor in content["state"].items() if name not in own}
    left = network.load_state_dict(state, strict=False)
    if set(left.missing_keys) != own or left.unexpected_keys:
        raise InputError(f"{path} holds weights of another network; delete it, and it is made anew")
    return str(content["pretrained_on"])


@dataclass(frozen=True)
class _Plan:
    """What a head asks for: its network (from the mean training masks), its objective, and its targets."""

    network: Callable[[GridCNN, np.ndarray], nn.Module]
    objective: Callable[[GridCNN], Objective]
    targets: Callable[[Sequence[Drawn], Sequence[Collection[str]], str], np.ndarray]


_ANY = _Plan(
    lambda settings, masks: GridNetwork(settings.image_size, settings.width, settings.head, masks),
    lambda settings: objective(settings.loss),
    lambda drawn, _, kind: cell_targets([_together(each) for each in drawn], kind),
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
        f"{some} of {len(table)} training images have labels without a box that others have boxes of: unknown, no loss"
    )
    return found


def untrained(settings: GridCNN) -> tuple[nn.Module, Objective]:
    """Return the network of these settings before training, for weights to be loaded into, and its objective."""
    return built(settings, [[]]), _PLANS[settings.head].objective(settings)


def named(confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of a prediction file: of any finding, and where there are maps of findings (N, 9, 16, 16), these; the
    probability of any finding where that stands behind them, (N, 10, 16, 16).
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


def by_finding(text: str) -> Drawn:
    """Return the boxes of a split file's text (``boxes.format_box_text``) by finding."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for finding, *corners in geometry.parse_box_text(text):
        boxes.setdefault(finding, []).append(tuple(corners))
    return [(finding, geometry.as_boxes(each)) for finding, each in boxes.items()]


def _together(drawn: Drawn) -> np.ndarray:
    return np.concatenate([boxes for _, boxes in drawn] or [geometry.as_boxes([])])


def _scores(confidence: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the paper's F1, over cells: of the confidences as they are, and at the best of nine thresholds.

    confidence, target: (N, 16, 16), or (N, maps, 16, 16), of which the ninth map is of any finding.
    """
    confidence, target = (each if each.ndim == 3 else each[:, MAPS - 1] for each in (confidence, target))
    return {
        "f1_weighted": _area_f1(confidence, target),
        "f1": max(_area_f1(confidence >= cut, target) for cut in np.linspace(0.1, 0.9, 9)),
    }


def _area_f1(confidence: np.ndarray, target: np.ndarray) -> float:
    has_cell = target.any((1, 2))
    shared = (confidence * target).sum((1, 2))
    predicted = confidence.sum((1, 2))
    precision = np.divide(shared, predicted, out=np.zeros(len(shared)), where=predicted > 0)[has_cell].mean()
    recall = (shared[has_cell] / target[has_cell].sum((1, 2))).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
