"""From the boxes of the region layer to detections: one box for what several cells found."""

import torch
from torchvision.ops import batched_nms

from cxr.boxes import FRAME
from cxr.detectors.yolov2.region import COORDINATES

MOST_BOXES = 100  # per image
LOWEST = 0.001  # lowest confidence of a box that is kept
OVERLAP = 0.4  # boxes of a class with a higher IoU are one detection; as in OpenCV's region layer


def suppressed(boxes: torch.Tensor, lowest: float = LOWEST, overlap: float = OVERLAP) -> torch.Tensor:
    """Return the detections (D, 4) of an image, by falling confidence: row, class, confidence, objectness.

    boxes: (K, 5 + C) of `region.decoded`. A box is a candidate for every class in which its confidence is above `lowest`. Within a
    class, a box that overlaps one of higher confidence is left out.
    """
    confidences = boxes[:, 4:COORDINATES] * boxes[:, COORDINATES:]
    rows, classes = (confidences > lowest).nonzero(as_tuple=True)
    scores = confidences[rows, classes]
    kept = batched_nms(corners(boxes)[rows].double(), scores.double(), classes, overlap)
    found = (rows[kept], classes[kept], scores[kept], boxes[rows[kept], 4])
    return torch.stack([each.to(boxes.dtype) for each in found], dim=1)


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turn x, y of the centre, width, height (K, 4 or more) into x0, y0, x1, y1 (K, 4)."""
    half = boxes[:, 2:4] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


def placed(boxes: torch.Tensor) -> torch.Tensor:
    """Return the best detections of an image, (100, 6): label, confidence, x0, y0, x1, y1 in the 1024 frame.

    label: 1 to C, 0 for an empty place. boxes: (K, 5 + C) of `region.decoded`.
    """
    found = suppressed(boxes)[:MOST_BOXES]
    result = torch.zeros(MOST_BOXES, 6, dtype=boxes.dtype, device=boxes.device)
    result[: len(found), 0] = found[:, 1] + 1
    result[: len(found), 1] = found[:, 2]
    result[: len(found), 2:] = (corners(boxes)[found[:, 0].long()] * FRAME).clamp(0, FRAME)
    return result
