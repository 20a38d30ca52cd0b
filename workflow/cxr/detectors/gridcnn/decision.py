"""Which cells of an image to name, when what counts is the F1 of mean precision and mean recall over images.

To name the k most confident cells of an image promises a precision P(k), the mean of their confidences, and a recall R(k),
their share of all the image's confidence. F1 of the means is largest when every image names the k that maximises
P + w R, with one weight w for all images: (P / R)², of the means. So one threshold on confidences is not the best rule,
whether it cuts probabilities or shares of an image's highest: the best one also asks how much there is to find.
"""

import numpy as np

BALANCE = 0.5  # the weight w at which a cell is worth 0.5; 0.48 was best for 304 validation images of the release
SHARPNESS = 8  # how fast worth falls about it: near a decision, so that worth as an area scores as the decision does


def worth(confidence: np.ndarray) -> np.ndarray:
    """Return what each cell is worth, in [0, 1], from its confidence; (N, H, W) → (N, H, W) float64.

    Cells are named in the order of their confidence. A cell is named from a weight w on, the slope of the upper hull of
    the image's points (R, P) where it comes in, and is worth 1 / (1 + (w / BALANCE)^SHARPNESS): the first cell 1. A
    threshold on worth therefore names the cells that are best for one w in all images.
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
    """Return for each rank the least weight of recall at which that many cells are best, infinite where never."""
    entries = np.full(len(precision), np.inf)
    entries[0] = 0
    at = 0
    while at + 1 < len(precision):
        gain, price = recall[at + 1 :] - recall[at], precision[at] - precision[at + 1 :]
        slopes = np.divide(price, gain, out=np.full(len(gain), np.inf), where=gain > 0)
        cheapest = len(slopes) - int(np.argmin(slopes[::-1]))  # of equal slopes the farthest
        entries[at + 1 : at + 1 + cheapest] = max(slopes[cheapest - 1], 0)
        at += cheapest
    return entries
