"""Free-response ROC: the share of true boxes found against the false positives per image.

A true box is found where a predicted box has an IoU of at least 0.1 with it: the lowest overlap at which Wang et al.
(CVPR 2017, section 4.2) score localisation, and a usual choice for chest X-rays, whose boxes are drawn loosely. A predicted
box below that IoU with every true box is a false positive; one that finds a box again is neither. All boxes of one
confidence enter together. Between two such points the curve is a straight line, which choosing between the two thresholds
at random achieves, so a floor with few distinct confidences is not understated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr.boxes import iou
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.bootstrap import Estimate, mean_of
from cxr.metrics.image_boxes import ImageBoxes

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per image, as in LUNA16
OVERLAP = 0.1
CURVE = 2.0 ** (np.arange(-16, 17) / 4)  # rates at which the curve is drawn, 1/16 to 16; they hold RATES exactly


@dataclass(frozen=True)
class Findable:
    """found: (T,) highest confidence at which each true box is found, -inf if never, descending; found_in: (T,) its image.

    false: (D,) confidence of each false positive, descending; false_in: (D,) its image.
    """

    found: np.ndarray
    found_in: np.ndarray
    false: np.ndarray
    false_in: np.ndarray


def findable(predicted: list[ImageBoxes], drawn: list[ImageBoxes]) -> dict[str, Findable]:
    """Compare predicted and true boxes of each image: all, regardless of label ("all"), and those of each finding."""
    labels = ("all", *BOXED_FINDINGS)
    found, false = ({label: [np.empty((0, 2))] for label in labels} for _ in range(2))
    for image, (guess, truth) in enumerate(zip(predicted, drawn, strict=True)):
        touches = iou(guess.boxes, truth.boxes) >= OVERLAP
        for label in ("all", *{*guess.labels, *truth.labels}.intersection(BOXED_FINDINGS)):
            guessed = np.ones(len(guess.labels), dtype=bool) if label == "all" else guess.labels == label
            true = np.ones(len(truth.labels), dtype=bool) if label == "all" else truth.labels == label
            confidence, hit = guess.confidence[guessed], touches[guessed][:, true]
            best = np.where(hit, confidence[:, None], -np.inf).max(axis=0, initial=-np.inf)
            wrong = confidence[~hit.any(axis=1)]
            found[label].append(np.stack([best, np.full(len(best), image)], axis=1))
            false[label].append(np.stack([wrong, np.full(len(wrong), image)], axis=1))
    return {label: Findable(*_falling(found[label]), *_falling(false[label])) for label in labels}


def _falling(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Confidences (K,) and images (K,) of (confidence, image) rows, by descending confidence."""
    rows = np.concatenate(parts)
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    return rows[:, 0], rows[:, 1].astype(np.intp)


def sensitivities(points: Findable, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Sensitivity at each rate of false positives per image, for many sets of image weights at once.

    weights: (B, N). rates: (R,). Returns (B, R) in [0, 1]; NaN where a set of weights holds no true box. The curve is
    constant beyond the last false positive.
    """
    ends = np.flatnonzero(np.append(points.false[1:] != points.false[:-1], True)[: len(points.false)])
    level = points.false[ends]
    everything = int(np.isfinite(points.found).sum())
    above = np.append(np.searchsorted(-points.found, -level, side="left"), everything)  # true boxes found above a level
    down_to = np.append(np.searchsorted(-points.found, -level, side="right"), everything)
    result = np.full((len(weights), len(rates)), np.nan)
    for row, weight in zip(result, weights, strict=True):
        hits = np.append(0, np.cumsum(weight[points.found_in], dtype=np.int64))
        if not hits[-1]:
            continue
        cried = np.append(0, np.cumsum(weight[points.false_in], dtype=np.int64)[ends])
        allowed = rates * weight.sum(dtype=np.int64)
        group = np.searchsorted(cried[1:], allowed, side="right")  # the first group beyond the allowed rate
        before, after = cried[group], cried[np.minimum(group + 1, len(ends))]
        share = np.divide(allowed - before, after - before, out=np.zeros(len(rates)), where=after > before)
        low, high = hits[above[group]], hits[down_to[group]]
        row[:] = (low + share * (high - low)) / hits[-1]
    return result


@dataclass(frozen=True)
class Curves:
    """By label ("all": regardless of label; each finding): sensitivity at each rate of ``CURVE``, (33,), and on the bootstrap
    samples, (B, 33).
    """

    value: dict[str, np.ndarray]
    samples: dict[str, np.ndarray]


def curves(predicted: list[ImageBoxes], drawn: list[ImageBoxes], weights: np.ndarray) -> Curves:
    """Draw the FROC of the predicted boxes of N images. weights: (B, N)."""
    once = np.ones((1, len(drawn)), dtype=np.uint16)
    points = findable(predicted, drawn)
    return Curves(
        {label: sensitivities(each, once, CURVE)[0] for label, each in points.items()},
        {label: sensitivities(each, weights, CURVE) for label, each in points.items()},
    )


def froc_estimates(drawn: Curves, counted: Sequence[bool] | None = None) -> dict[tuple[str, str], Estimate]:
    """Sensitivity at each of ``RATES`` and their mean, by metric and label.

    froc_<rate>, froc_mean: for each finding, over its own boxes; for "all", the mean over the findings. The same names
    ending in ``_any``: label "all", over all boxes regardless of label. counted: of each finding, whether the mean is over it
    too (`bootstrap.mean_of`).
    """
    places = [[at] for at in np.searchsorted(CURVE, RATES)]
    estimates = {}
    for name, at in [*zip((f"froc_{rate:g}" for rate in RATES), places, strict=True), ("froc_mean", np.ravel(places))]:
        every = {
            label: Estimate(float(drawn.value[label][at].mean()), drawn.samples[label][:, at].mean(axis=1))
            for label in drawn.value
        }
        estimates[f"{name}_any", "all"] = every.pop("all")
        estimates[name, "all"] = mean_of([*every.values()], counted)
        estimates |= {(name, finding): estimate for finding, estimate in every.items()}
    return estimates
