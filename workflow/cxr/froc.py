"""Free-response ROC: the share of true boxes found, against the false positives an image that buys them.

A true box is found where a predicted box has an IoU of at least 0.1 with it, the lowest of the overlaps at which Wang et
al. (CVPR 2017, section 4.2) score localisation and a usual choice for chest X-rays, whose boxes are drawn loosely; a
predicted box with less than that to every true box is a false positive, and one that finds a box again is neither. All
boxes of one confidence enter together, and between two such points the curve is a straight line: what drawing lots between
the two thresholds achieves, so that a floor of few distinct confidences is not understated.
"""

from dataclasses import dataclass

import numpy as np

from cxr.boxes import iou
from cxr.detections import ImageBoxes
from cxr.labels import BOXED_FINDINGS
from cxr.metrics import Estimate, chunks, mean_of_defined, ratio, running_sums

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives an image, as in LUNA16
OVERLAP = 0.1


@dataclass(frozen=True)
class Findable:
    """found: (T,) the highest confidence at which each true box is found, -inf for never, falling; found_in: (T,) its image.

    false: (D,) confidence of each false positive, falling; false_in: (D,) its image.
    """

    found: np.ndarray
    found_in: np.ndarray
    false: np.ndarray
    false_in: np.ndarray


def findable(predicted: list[ImageBoxes], drawn: list[ImageBoxes]) -> Findable:
    """Compare predicted and true boxes of each image, whatever their labels."""
    found, false = [np.empty((0, 2))], [np.empty((0, 2))]
    for image, (guess, truth) in enumerate(zip(predicted, drawn, strict=True)):
        touches = iou(guess.boxes, truth.boxes) >= OVERLAP
        best = np.where(touches, guess.confidence[:, None], -np.inf).max(axis=0, initial=-np.inf)
        wrong = guess.confidence[~touches.any(axis=1)]
        found.append(np.stack([best, np.full(len(best), image)], axis=1))
        false.append(np.stack([wrong, np.full(len(wrong), image)], axis=1))
    ordered = [rows[np.argsort(-rows[:, 0], kind="stable")] for rows in (np.concatenate(found), np.concatenate(false))]
    columns = [column for rows in ordered for column in (rows[:, 0], rows[:, 1].astype(np.intp))]
    return Findable(*columns)


def sensitivities(points: Findable, weights: np.ndarray, rates: tuple[float, ...]) -> np.ndarray:
    """Sensitivity at each rate of false positives an image, for many sets of image weights at once.

    weights: (B, N). Returns (B, len(rates)) in [0, 1]; NaN where a set of weights holds no true box. Beyond the last false
    positive the curve stays where it is.
    """
    ends = (
        np.flatnonzero(np.append(np.diff(points.false) != 0, True)) + 1 if len(points.false) else np.empty(0, np.intp)
    )
    level = points.false[ends - 1]
    above = np.searchsorted(-points.found, -level, side="left")  # true boxes found above each level, and down to it
    down_to = np.searchsorted(-points.found, -level, side="right")
    everything = int(np.isfinite(points.found).sum())
    above, down_to = np.append(above, everything), np.append(down_to, everything)
    parts = []
    for part in chunks(weights):
        hits = running_sums(part[:, points.found_in], np.int64)
        cried = running_sums(part[:, points.false_in], np.int32)[:, np.append(0, ends)]
        images, rows = part.sum(axis=1, dtype=np.int64), np.arange(len(part))
        columns = []
        for rate in rates:
            allowed = rate * images
            group = (cried[:, 1:] <= allowed[:, None]).sum(axis=1)  # the first that is too many
            before, after = cried[rows, group], cried[rows, np.minimum(group + 1, len(ends))]
            share = np.nan_to_num(ratio(allowed - before, after - before))
            low, high = hits[rows, above[group]], hits[rows, down_to[group]]
            columns.append(ratio(low + np.clip(share, 0, 1) * (high - low), hits[:, -1]))
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def froc_estimates(
    predicted: list[ImageBoxes], drawn: list[ImageBoxes], weights: np.ndarray
) -> dict[tuple[str, str], Estimate]:
    """Sensitivity at each of ``RATES`` and their mean, by metric and label.

    froc_<rate>, froc_mean: for each finding, of its own boxes; for "all" the mean over the findings. The same ending in
    ``_any``: label "all", of all boxes, whatever their names.
    """
    names = [*(f"froc_{rate:g}" for rate in RATES), "froc_mean"]
    once = np.ones((1, len(drawn)), dtype=np.uint16)

    def of(guesses: list[ImageBoxes], truths: list[ImageBoxes]) -> list[Estimate]:
        points = findable(guesses, truths)
        value, drawn_again = (sensitivities(points, each, RATES) for each in (once, weights))
        value, drawn_again = (np.hstack([each, each.mean(axis=1, keepdims=True)]) for each in (value, drawn_again))
        return [Estimate(float(value[0, at]), drawn_again[:, at]) for at in range(len(names))]

    single = {
        finding: of([image.of_label(finding) for image in predicted], [image.of_label(finding) for image in drawn])
        for finding in BOXED_FINDINGS
    }
    estimates = {}
    for at, name in enumerate(names):
        estimates[name, "all"] = mean_of_defined([each[at] for each in single.values()])
        estimates |= {(name, finding): each[at] for finding, each in single.items()}
    return estimates | {(f"{name}_any", "all"): score for name, score in zip(names, of(predicted, drawn), strict=True)}
