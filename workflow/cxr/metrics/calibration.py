"""Calibration of predicted probabilities: Brier score, its decomposition, slope and intercept, and reliability bins.

Every function takes probabilities and targets as matrices (N, L) of N images and L findings; of several findings all
image–finding pairs are pooled. Intervals: see `bootstrap`. Sources: A. H. Murphy, "A new vector partition of the probability
score", J. Appl. Meteorol. 12 (1973) 595–600; B. Van Calster et al., "Calibration: the Achilles heel of predictive
analytics", BMC Medicine 17 (2019) 230.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from cxr.metrics.bootstrap import Estimate, chunks, ratio, weighted_ratios
from cxr.metrics.guesses import EPSILON

BINS = 10
REFITS = 200  # bootstrap samples of slope and intercept, each of which is a fit


def brier(probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Estimate:
    """Estimate the mean squared distance of probability and target; weights: (B, N) from ``bootstrap_weights``."""
    squares = ((probabilities - targets) ** 2).mean(axis=1, keepdims=True)
    return weighted_ratios(squares, np.ones_like(squares), weights)[0]


@dataclass(frozen=True)
class Bins:
    """Sums over the cases of each bin, for the data (first row) and each bootstrap sample: (1 + B, BINS) float64."""

    cases: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> "Bins":
        """Sum over bins of equal counts; their edges are those of the data in every bootstrap sample."""
        number = bin_numbers(probabilities)
        parts = (np.ones_like(probabilities), probabilities, targets)
        summed = np.hstack([_by_bin(values, number) for values in parts])
        once = summed.sum(axis=0, keepdims=True)
        found = np.vstack([once, *(part.astype(np.float64) @ summed for part in chunks(weights))])
        return cls(*np.split(found, len(parts), axis=1))

    def means(self) -> tuple[list[Estimate], list[Estimate]]:
        """Return each bin's mean probability and share of positives; NaN for an empty bin."""
        found = [ratio(sums, self.cases) for sums in (self.predicted, self.observed)]
        predicted, observed = ([Estimate(float(each[0]), each[1:]) for each in values.T] for values in found)
        return predicted, observed

    def murphy(self) -> dict[str, Estimate]:
        """Return reliability, resolution and uncertainty: Brier ≈ reliability − resolution + uncertainty.

        It is exact where all probabilities of a bin are equal.
        """
        total = self.cases.sum(axis=1, keepdims=True)
        share, base = ratio(self.cases, total), ratio(self.observed.sum(axis=1, keepdims=True), total)
        predicted, observed = ratio(self.predicted, self.cases), ratio(self.observed, self.cases)
        found = {
            "reliability": np.nansum(share * (predicted - observed) ** 2, axis=1),
            "resolution": np.nansum(share * (observed - base) ** 2, axis=1),
            "uncertainty": (base * (1 - base))[:, 0],
        }
        return {name: Estimate(float(values[0]), values[1:]) for name, values in found.items()}


def bin_numbers(probabilities: np.ndarray) -> np.ndarray:
    """Number the bin of each case from 0, in the shape of the probabilities; equal probabilities share a bin.

    The bins hold equal counts as far as ties allow; some may be empty (scikit-learn's `calibration_curve`, "quantile").
    """
    edges = np.quantile(probabilities, np.arange(1, BINS) / BINS)
    return np.searchsorted(edges, probabilities)


def _by_bin(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Sum the values (N, L) of each image's cases by bin: (N, BINS)."""
    return np.stack([np.where(number == each, values, 0).sum(axis=1) for each in range(BINS)], axis=1)


def slope_and_intercept(
    probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[Estimate, Estimate]:
    """Estimate the calibration slope and intercept on the first `REFITS` bootstrap samples.

    slope: coefficient of the probability's logit in a logistic regression of the target on it; 1 is right, below 1 the
    probabilities are too extreme. intercept: calibration-in-the-large, the constant of the same regression with the slope
    fixed at 1; 0 is right, above 0 the probabilities are too low. Probabilities are clipped at 1e-7.
    """
    logits, truth = logit(np.clip(probabilities, EPSILON, 1 - EPSILON)), targets.astype(bool)
    once = np.ones(len(logits))
    slopes, intercepts = np.array(
        [_fit(logits, truth, draw) for draw in (once, *weights[:REFITS].astype(np.float64))]
    ).T
    return Estimate(float(slopes[0]), slopes[1:]), Estimate(float(intercepts[0]), intercepts[1:])


def _fit(logits: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    drawn = weight > 0
    each = np.repeat(weight[drawn], logits.shape[1])
    given = logits[drawn].ravel(), truth[drawn].ravel(), each
    return fit_slope(*given), fit_intercept(*given)


def fit_slope(logits: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Return the slope on cases (M,); NaN where it is undefined: one class, one logit, or classes that do not overlap."""
    if truth.all() or not truth.any() or np.ptp(logits) == 0 or _separated(logits, truth):
        return np.nan
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)
    return float(model.fit(logits[:, None], truth, sample_weight=weight).coef_[0, 0])


def _separated(logits: np.ndarray, truth: np.ndarray) -> bool:
    positive, negative = logits[truth], logits[~truth]
    return positive.min() >= negative.max() or positive.max() <= negative.min()


def fit_intercept(logits: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Return the intercept on cases (M,) with the slope fixed at 1; NaN where all are of one class."""
    if truth.all() or not truth.any():
        return np.nan
    wanted = weight @ truth
    share = wanted / weight.sum()
    low, high = (
        float(logit(share) - edge) for edge in (logits.max(), logits.min())
    )  # share = expit(root + some logit)
    return float(brentq(lambda constant: weight @ expit(logits + constant) - wanted, low - 1e-6, high + 1e-6))
