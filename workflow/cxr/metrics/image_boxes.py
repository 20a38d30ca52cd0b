"""The boxes of one image with their labels, drawn or detected."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image: labels (K,) str, confidence (K,) float64 (1 for truth), boxes (K, 4) in the 1024 frame."""

    labels: np.ndarray
    confidence: np.ndarray
    boxes: np.ndarray

    def above(self, threshold: float) -> "ImageBoxes":
        return self._where(self.confidence >= threshold)

    def of_label(self, label: str) -> "ImageBoxes":
        return self._where(self.labels == label)

    def _where(self, kept: np.ndarray) -> "ImageBoxes":
        return ImageBoxes(self.labels[kept], self.confidence[kept], self.boxes[kept])
