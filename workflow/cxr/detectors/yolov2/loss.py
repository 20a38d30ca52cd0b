"""The loss of the region layer.

Sources: Redmon and Farhadi (2017), section 2; the terms and their order are those of Darknet's region layer, which gives
gradients alone. Squared errors here are halved, so that their gradients are Darknet's; of the classes Darknet gives the gradient
of a softmax's cross-entropy. The mean is over images, as in Darknet's step.

- Objectness: towards 0 in every box (`noobject_scale`) but those that overlap a drawn box by more than `thresh`; towards the
  overlap with its drawn box (`rescore`), or 1, in the box that is to predict one (`object_scale`).
- The box that is to predict a drawn one: in the cell of its centre, the anchor (`bias_match`) or predicted size most like it.
- Coordinates: of that box, σ(tx), σ(ty), tw and th (`coord_scale` × (2 - w·h), more for small boxes); in early training
  all others towards their anchors, by `PRIOR`.
- Classes: of that box (`class_scale`).

Where two drawn boxes ask for the same box, the later one counts.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional
from torchvision.ops import box_iou

from cxr.detectors.yolov2.region import COORDINATES, Region, located, split

EARLY = 12_800  # images in which boxes are also drawn to their anchors
PRIOR = 0.01  # weight of that


@dataclass(frozen=True)
class Wanted:
    """What each box is to become. numbers, weights: (N, H, W, A, 5) of σ(tx), σ(ty), tw, th, objectness; classes: (N, H, W,
    A), from 0, -1 where no class is wanted."""

    numbers: torch.Tensor
    weights: torch.Tensor
    classes: torch.Tensor


def loss(raw: torch.Tensor, truth: torch.Tensor, region: Region, early: bool) -> torch.Tensor:
    """Return the mean loss of images, a scalar.

    raw: (N, A·(5 + C), H, W), the last convolution's. truth: (N, M, 5) label, x, y of the centre, width, height; label 1 to C,
    0 for an empty place; the rest as fractions of the image. early: whether fewer than `EARLY` images were seen.
    """
    numbers = split(raw, region)
    asked = wanted(numbers.detach(), truth, region, early)
    given = torch.cat([numbers[..., :2].sigmoid(), numbers[..., 2:4], numbers[..., 4:COORDINATES].sigmoid()], dim=-1)
    squared = (asked.weights * (given - asked.numbers) ** 2).sum() / 2
    chosen = asked.classes >= 0
    classes = functional.cross_entropy(numbers[..., COORDINATES:][chosen], asked.classes[chosen], reduction="sum")
    return (squared + region.class_scale * classes) / len(raw)


def wanted(numbers: torch.Tensor, truth: torch.Tensor, region: Region, early: bool) -> Wanted:
    """Return what the boxes are to become. numbers: (N, H, W, A, 5 + C) of `region.split`; truth: as in `loss`."""
    boxes = located(numbers, region)
    asked = _of_no_object(boxes, truth, region, early)
    for place in range(truth.shape[1]):
        images = truth[:, place, 0].nonzero()[:, 0]
        if len(images):
            _ask(asked, boxes, images, truth[images, place], region)
    return asked


def _of_no_object(boxes: torch.Tensor, truth: torch.Tensor, region: Region, early: bool) -> Wanted:
    """What the boxes are to become where no drawn box asks for them."""
    shape = boxes.shape[:-1]
    overlaps = box_iou(boxes.flatten(1, 3), truth[..., 1:], fmt="cxcywh") * (truth[:, None, :, 0] > 0)
    best = overlaps.amax(dim=2) if truth.shape[1] else overlaps.new_zeros(overlaps.shape[:2])
    asked = Wanted(
        boxes.new_zeros(*shape, COORDINATES),
        boxes.new_zeros(*shape, COORDINATES),
        torch.full(shape, -1, dtype=torch.long, device=boxes.device),
    )
    asked.weights[..., 4] = region.noobject_scale * (best <= region.thresh).view(shape)
    if early:
        asked.numbers[..., :2] = 0.5
        asked.weights[..., :4] = PRIOR
    return asked


def _ask(asked: Wanted, boxes: torch.Tensor, images: torch.Tensor, truth: torch.Tensor, region: Region) -> None:
    """Ask for one drawn box (label, x, y, w, h) in each of these images."""
    height, width = boxes.shape[1:3]
    x, y, w, h = truth[:, 1] * width, truth[:, 2] * height, truth[:, 3] * width, truth[:, 4] * height  # in cells
    column, row = x.long().clamp(0, width - 1), y.long().clamp(0, height - 1)
    anchors = torch.tensor(region.anchors, device=boxes.device, dtype=boxes.dtype)
    cells = boxes.new_tensor([width, height])
    sizes = anchors.expand(len(images), -1, -1) if region.bias_match else boxes[images, row, column, :, 2:] * cells
    chosen = _overlap_of_sizes(sizes, torch.stack([w, h], dim=1)).argmax(dim=1)
    place = (images, row, column, chosen)
    overlap = torch.diagonal(box_iou(boxes[place], truth[:, 1:], fmt="cxcywh"))
    asked.numbers[place] = torch.stack(
        [
            x - column,
            y - row,
            (w / anchors[chosen, 0]).log(),
            (h / anchors[chosen, 1]).log(),
            overlap if region.rescore else torch.ones_like(overlap),
        ],
        dim=1,
    )
    near = region.coord_scale * (2 - truth[:, 3] * truth[:, 4])
    asked.weights[place] = torch.stack([near] * 4 + [torch.full_like(near, region.object_scale)], dim=1)
    asked.classes[place] = truth[:, 0].long() - 1


def _overlap_of_sizes(sizes: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Return the IoU (N, A) of boxes that share their centre. sizes: (N, A, 2); drawn: (N, 2)."""
    shared = torch.minimum(sizes, drawn[:, None]).prod(dim=-1)
    return shared / (sizes.prod(dim=-1) + drawn.prod(dim=-1)[:, None] - shared)
