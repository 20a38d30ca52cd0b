"""Which cells of an image to name for the best F1 of mean precision and mean recall over images.

Naming the k most confident cells of an image gives an expected precision P(k), the mean of their confidences, and an
expected recall R(k), their share of the image's total confidence. The F1 of the means is largest if every image names the
k that maximises P + w R, with one weight w for all images: (P / R)², of the means. So the best rule is not one threshold
on confidences, be they probabilities or relative to the image's highest: it also depends on how much there is to find.
"""

import numpy as np

BALANCE = 0.5  # the weight w at which a cell is worth 0.5; 0.48 was best for 304 validation images of the release
SHARPNESS = 8  # how steeply worth falls there: almost a decision, so that worth as an area scores like the decision


def worth(confidence: np.ndarray) -> np.ndarray:
    """Return the worth of each cell, in [0, 1], from its confidence; (N, H, W) → (N, H, W) float64.

    Cells are named in the order of their confidence. A cell is named from a weight w on: the slope of the upper hull of
    the image's points (R, P) where the cell enters. Its worth is 1 / (1 + (w / BALANCE)^SHARPNESS); the first cell's is 1.
    So a threshold on worth names, in all images, the cells that are best for one w.
    """
    flat = np.asarray(confidence, np.float64).reshape(len(confidence), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    named = np.take_along_axis(flat, order, axis=1).cumsum(axis=1)
    precision = named / np.arange(1, flat.shape[1] + 1)
    recall = named / np.maximum(named[:, -1:], np.finfo(np.float64).tiny)
    result = np.empty_like(flat)
    for image, cells in enumerate(order):
        result[image, cells] = 1 / (1 + (_entries(precision[image], recall[image]) / BALANCE) ** SHARPNESS)
    return result.reshape(np.shape(confidence))


def _entries(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return for each rank the smallest weight of recall at which that many cells are best; infinite if never."""
    entries = np.full(len(precision), np.inf)
    entries[0] = 0
    at = 0
    while at + 1 < len(precision):
        gain, price = recall[at + 1 :] - recall[at], precision[at] - precision[at + 1 :]
        slopes = np.divide(price, gain, out=np.full(len(gain), np.inf), where=gain > 0)
        cheapest = len(slopes) - int(np.argmin(slopes[::-1]))  # the farthest of equal slopes
        entries[at + 1 : at + 1 + cheapest] = max(slopes[cheapest - 1], 0)
        at += cheapest
    return entries
