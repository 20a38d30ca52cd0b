"""Estimates with percentile intervals from a bootstrap over patients.

Patients, not images, are drawn with replacement, because images of one patient resemble each other. Two predictors are
scored on the same draws, so the interval of their difference is paired.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK = 4_000_000  # weights handled at once: limits memory, does not change the result


@dataclass(frozen=True)
class Estimate:
    """A score on the data (value) and on each bootstrap sample (samples: (B,) float64); NaN where undefined."""

    value: float
    samples: np.ndarray

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval over the samples in which the score is defined; NaN where the score itself is not."""
        defined = self.samples[np.isfinite(self.samples)]
        if not np.isfinite(self.value) or not len(defined):
            return np.nan, np.nan
        low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: number of bootstrap samples, level of the intervals, and the seed of the draws."""

    samples: int
    confidence: float
    seed: int


def minus(first: Estimate, second: Estimate) -> Estimate:
    """The paired difference of two estimates made on the same bootstrap samples."""
    return Estimate(first.value - second.value, first.samples - second.samples)


def bootstrap_weights(patients: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Draw as many patients as there are, with replacement, `samples` times.

    patients: (N,) patient of each image. Returns (samples, N) uint16: how often each image's patient was drawn. All
    images of a patient share a weight; a row sums to N only on average, as patients have different numbers of images.
    """
    _, patient_of_image = np.unique(patients, return_inverse=True)
    count = int(patient_of_image.max(initial=-1)) + 1
    draw = np.random.default_rng(seed)
    weights = np.empty((samples, len(patient_of_image)), dtype=np.uint16)
    for row in weights:
        row[:] = np.bincount(draw.integers(count, size=count), minlength=count)[patient_of_image]
    return weights


def weighted_ratios(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> list[Estimate]:
    """Estimate Σ w·numerator / Σ w·denominator for each of M columns; NaN where the denominator sums to 0.

    numerator, denominator: (N, M) float; a denominator of ones gives a mean. weights: (B, N) from
    ``bootstrap_weights``; the value itself uses weights of 1.
    """
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    values = ratio(numerator.sum(axis=0), denominator.sum(axis=0))
    drawn = (part.astype(np.float64) for part in chunks(weights))
    parts = [ratio(part @ numerator, part @ denominator) for part in drawn]
    samples = np.concatenate(parts) if parts else np.empty((0, numerator.shape[1]))
    return [Estimate(float(value), samples[:, column]) for column, value in enumerate(values)]


def mean_of(estimates: Sequence[Estimate], counted: Sequence[bool] | None = None) -> Estimate:
    """Mean over the defined estimates, of those the ones that are `counted`, or all where none is; NaN without any.

    The mean is undefined in a resample in which one of them is, so that every resample averages over the same estimates.
    """
    defined = [np.isfinite(estimate.value) for estimate in estimates]
    wanted = np.logical_and(defined, True if counted is None else counted)
    chosen = [each for each, use in zip(estimates, wanted if wanted.any() else defined, strict=True) if use]
    if not chosen:
        return Estimate(np.nan, np.full_like(estimates[0].samples, np.nan))
    samples = np.mean([estimate.samples for estimate in chosen], axis=0)
    return Estimate(float(np.mean([estimate.value for estimate in chosen])), samples)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is 0."""
    undefined = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)


def chunks(weights: np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield the bootstrap samples in pieces of about this many weights, or ``CHUNK``."""
    rows = max(1, (size or CHUNK) // max(1, weights.shape[1]))
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows]


def running_sums(weights: np.ndarray, dtype: type) -> np.ndarray:
    """Exclusive running sums of each row: (B, N) -> (B, N + 1), the first column 0."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=dtype)
    np.cumsum(weights, axis=1, dtype=dtype, out=sums[:, 1:])
    return sums
