"""Losses of the grid CNN's networks, and how their outputs become confidences."""

from collections.abc import Callable

import torch
from torch.nn import functional

from cxr.detectors.gridcnn.decision import worth
from cxr.detectors.gridcnn.network import OUTPUTS, unpacked
from cxr.training.loop import Objective

ANY_WEIGHT = 2.0  # of the cross-entropy of the map of any finding; its soft F1 has weight 1


def overlap_objective(finding_weight: float, label_weight: float, decisive: bool) -> Objective:
    """Return the objective of a network that maps findings, or of M such members: outputs (N, M · (9 · 256 + 8)).

    targets: (N, 9, 16, 16), shares of cells; NaN where unknown (``finding_targets``), without loss there. The map of any
    finding is trained on 1 - F1 of the batch's mean precision and mean recall (the paper's score with confidences as areas)
    plus cross-entropy; the maps of the findings on cross-entropy; presence on the image's findings, boxed or unknown.

    The members' losses are added and their confidences averaged. The confidence of any finding is the mean of its own map
    and the union of the findings' maps. decisive: the map of any finding becomes each cell's worth (``decision.worth``) and
    the maps of the findings are divided by their highest cell, so that a threshold is relative to the most suspicious
    place: scores are averaged over images, and an image without prediction has none. A tenth map then holds the probability
    of any finding. Validation always measures probabilities.
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

    Half a cell is added to each image's prediction and a tenth to its target, to bound the gradient of tiny areas. Images
    without a target have no recall, as in ``metrics.areas``.
    """
    shared, wanted = (confidence * target).sum((1, 2)), target.sum((1, 2))
    precision = (shared / (confidence.sum((1, 2)) + 0.5)).mean()
    recall = (shared / (wanted + 0.1)).sum() / (wanted > 0).sum().clamp_min(1)
    return 2 * precision * recall / (precision + recall).clamp_min(1e-6)


def objective(loss: str) -> Objective:
    """Return the objective of the paper's three losses on sigmoid outputs; MSE is reported for all."""
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
