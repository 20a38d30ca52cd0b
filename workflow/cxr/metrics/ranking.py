"""AUROC and AUPRC, for many sets of image weights at once."""

import numpy as np

from cxr.metrics.bootstrap import chunks, ratio, running_sums

CHUNK = 250_000  # weights handled at once: with their sums they fit a processor's cache


def ranking_scores(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted AUROC and AUPRC of one class, for many sets of weights at once.

    truth: (N,) 0 or 1. scores: (N,) float. weights: (B, N), integers or floats, not negative. Returns (auroc, auprc),
    each (B,) float64, as scikit-learn's roc_auc_score and average_precision_score with sample_weight: tied scores share
    their middle rank in the AUROC, and enter together in the AUPRC (average precision, no interpolation). NaN where a
    set of weights holds no positive, or (AUROC) no negative.
    """
    truth = np.asarray(truth, dtype=bool)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked = np.asarray(scores)[order]
    first_of_tie = np.append(True, ranked[1:] != ranked[:-1])
    starts = np.flatnonzero(first_of_tie)
    ends = np.append(starts[1:], len(order))
    positives = np.append(0, np.cumsum(truth[order]))  # number of positives ranked before a place
    holds_positive = positives[ends] > positives[starts]
    starts, ends = starts[holds_positive], ends[holds_positive]
    total = _sum_type(weights)

    auroc, auprc = np.empty(len(weights)), np.empty(len(weights))
    done = 0
    for part in chunks(weights, CHUNK):
        ranked_weights = part[:, order]
        above = running_sums(ranked_weights, total)
        true_above = running_sums(ranked_weights[:, truth[order]], total)
        true_start, true_end = true_above[:, positives[starts]], true_above[:, positives[ends]]
        gained = true_end - true_start
        false_above = (above[:, starts] - true_start + above[:, ends] - true_end) / 2
        all_true, all_false = true_above[:, -1], above[:, -1] - true_above[:, -1]
        below = (gained * (all_false[:, None] - false_above)).sum(axis=1)
        precision = np.divide(true_end, above[:, ends], out=np.zeros(gained.shape), where=above[:, ends] > 0)
        rows = slice(done, done + len(part))
        auroc[rows] = ratio(below, all_true.astype(np.float64) * all_false)
        auprc[rows] = ratio((gained * precision).sum(axis=1), all_true)
        done += len(part)
    return auroc, auprc


def _sum_type(weights: np.ndarray) -> type:
    """Return the smallest type that holds twice the sum of any row."""
    if not np.issubdtype(weights.dtype, np.integer):
        return np.float64
    return np.int32 if weights.shape[1] * int(weights.max(initial=0)) < 2**30 else np.int64


def mean_auroc(confidences: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean AUROC over labels with both classes present; NaN if there is none."""
    once = np.ones((1, len(targets)))
    values = [ranking_scores(targets[:, label], confidences[:, label], once)[0][0] for label in range(targets.shape[1])]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def expected_average_precision(positives: int, count: int) -> float:
    """Return the mean average precision of `count` images in random order, `positives` of them positive.

    The rank k holds a positive with probability P/N; its precision is then (1 + (k - 1)(P - 1)/(N - 1)) / k in the mean.
    NaN without a positive.
    """
    if not positives:
        return np.nan
    ranks = np.arange(1, count + 1)
    others = (positives - 1) / max(count - 1, 1)
    return float(((1 + (ranks - 1) * others) / ranks).mean())
