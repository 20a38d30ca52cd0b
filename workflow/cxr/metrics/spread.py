"""How far the scores of a grid's pairs spread, what causes it, and which pairs can be told from the best.

Three things change a score: the patients it is measured on, the training images drawn, and the seed of the training. The
share of the patients follows from one training: each patient's influence on the score (for the AUROC, the placement values
of DeLong et al. 1988, summed by patient as Obuchowski 1997 does). The share of seed and images follows from repeats.
"""

import numpy as np
import pandas as pd
from scipy import stats

SOURCES = ("seed", "images drawn", "training", "patients")
SPREAD_COLUMNS = ["size", "metric", "source", "sd", "low", "high", "trainings", "patients"]
DRAWS = 20_000  # of simulated distributions
CHUNK = 1_000  # of them at once


def influence_of_mean(values: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of (N,) values, and each one's influence on it, (N,)."""
    mean = float(values.mean())
    return mean, (values - mean) / len(values)


def influence_of_auroc(truth: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUROC of (N,) scores and each image's influence on it, (N,); NaN and zeros if a class is absent.

    The sum of squares of the influences is DeLong's variance of the AUROC, but for its n / (n - 1).
    """
    truth = np.asarray(truth, dtype=bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    influence = np.zeros(len(truth))
    if not positives or not negatives:
        return np.nan, influence
    ranks = stats.rankdata(scores)
    won = (ranks[truth] - stats.rankdata(scores[truth])) / negatives  # share of the negatives below each positive
    lost = (
        1 - (ranks[~truth] - stats.rankdata(scores[~truth])) / positives
    )  # share of the positives above each negative
    auroc = float(won.mean())
    influence[truth] = (won - auroc) / positives
    influence[~truth] = (lost - auroc) / negatives
    return auroc, influence


def components(values: pd.DataFrame, confidence: float) -> list[dict[str, object]]:
    """Return the rows of a size's spread by source: columns ``SPREAD_COLUMNS`` but size and metric.

    values: trainings of some depths with columns layers, draw, seed, value, variance (that of the patients), patients. A
    repeat changes draw and seed together; some trainings change the seed alone. The share of the seed is estimated from the
    latter, that of seed and images ("training") from the former, at the depths that have both; that of the images is the
    difference. All depths share the draws and seeds, so the variances count R - 1 degrees of freedom for R repeats.
    """
    reseeded = values[values["draw"] == 0]
    drawn = values[values["draw"] == values["seed"]]
    depths = sorted(set(reseeded.loc[reseeded["seed"] > 0, "layers"]))
    repeats = drawn["draw"].nunique()
    rows = []
    if repeats > 1 and depths:
        degrees = repeats - 1
        seed, training = (
            float(part[part["layers"].isin(depths)].groupby("layers")["value"].var(ddof=1).mean())
            for part in (reseeded, drawn)
        )
        likely = np.random.default_rng(0).chisquare(degrees, (2, DRAWS)) / degrees
        spreads = {
            "seed": (seed, seed / likely[0]),
            "images drawn": (training - seed, training / likely[1] - seed / likely[0]),
            "training": (training, training / likely[1]),
        }
        counted = {"seed": reseeded, "images drawn": values, "training": drawn}
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        for source, (variance, distribution) in spreads.items():
            sd, low, high = np.sqrt(np.maximum([variance, *np.quantile(distribution, tails)], 0))
            trainings = int(counted[source]["layers"].isin(depths).sum())
            rows.append({"source": source, "sd": sd, "low": low, "high": high, "trainings": trainings})
    patients = {"source": "patients", "sd": float(np.sqrt(drawn["variance"].mean())), "trainings": len(drawn)}
    return [{**row, "patients": int(values["patients"].max())} for row in [*rows, patients]]


def behind_best(
    scores: np.ndarray, sizes: np.ndarray, influence: np.ndarray, best: int, confidence: float
) -> dict[str, np.ndarray]:
    """Return how far each of K pairs is behind the best one: behind, its interval (low, high), and p; each (K,).

    scores: (K, R) of each pair in each repeat. sizes: (K,) of the pairs. influence: (P, K) of each patient on a pair's mean
    over the repeats. The best pair was chosen by these very scores, and many are compared with it. So interval and p-value
    are simultaneous: scores are simulated as chance would have them if all pairs were equal (``_Chance``), the best of each
    simulation is chosen anew, and its largest lead, in standard errors, is what chance gives (in the manner of Hsu's
    comparisons with the best, 1984). With one repeat nothing is known of the training: NaN.
    """
    pairs, repeats = scores.shape
    means = scores.mean(axis=1)
    found = {"behind": means[best] - means}
    if repeats < 2:
        return {**found, **dict.fromkeys(("low", "high", "p"), np.full(pairs, np.nan))}
    chance = _Chance(scores, sizes, influence)
    errors = chance.errors()
    draw = np.random.default_rng(0)
    leads = []
    for _ in range(DRAWS // CHUNK):
        simulated = chance.simulate(CHUNK, draw)
        first = simulated.argmax(axis=1)
        lead = simulated[np.arange(CHUNK), first, None] - simulated
        leads.append(_in_errors(lead, errors[first]).max(axis=1))
    largest = np.sort(np.concatenate(leads))
    margin = np.quantile(largest, confidence) * errors[best]
    p = 1 - np.searchsorted(largest, _in_errors(found["behind"], errors[best]), side="left") / DRAWS
    p[best] = np.nan
    return {**found, "low": found["behind"] - margin, "high": found["behind"] + margin, "p": p}


class _Chance:
    """What chance does to the mean scores of K pairs: through the patients, and through R trainings of each.

    The trainings of a size share their draws of images: an additive effect of the repeat, and a rest that is as large at
    every depth, estimated as in a two-way analysis of variance of depths and repeats. Draws of different sizes are taken as
    independent although the smaller is part of the larger; so differences between sizes are not called too easily.
    """

    def __init__(self, scores: np.ndarray, sizes: np.ndarray, influence: np.ndarray):
        self.repeats = scores.shape[1]
        self.by_patient = influence * np.sqrt(len(influence) / max(len(influence) - 1, 1))
        self.members = [sizes == size for size in np.unique(sizes)]
        self.parts = [self._parts(scores[mine]) for mine in self.members]

    def _parts(self, scores: np.ndarray) -> tuple[float, int, float]:
        """Return of one size's scores (C, R): variance of the rest, its degrees of freedom, variance of the draws."""
        depths, repeats = scores.shape
        centred = scores - scores.mean(axis=1, keepdims=True)
        if depths == 1:  # draws and rest cannot be told apart, and need not
            return float((centred**2).sum() / (repeats - 1)), repeats - 1, 0.0
        common = centred.mean(axis=0)
        degrees = (depths - 1) * (repeats - 1)
        rest = float(((centred - common) ** 2).sum() / degrees)
        return rest, degrees, max(0.0, float((common**2).sum() / (repeats - 1)) - rest / depths)

    def errors(self) -> np.ndarray:
        """Return the standard error of the difference of every two pairs, (K, K)."""
        covariance = self.by_patient.T @ self.by_patient
        for mine, (rest, _, drawn) in zip(self.members, self.parts, strict=True):
            covariance[np.ix_(mine, mine)] += drawn / self.repeats
            covariance[mine, mine] += rest / self.repeats
        own = np.diag(covariance)
        return np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0))

    def simulate(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """Return deviations of the mean scores, (count, K); variances as uncertain as their degrees of freedom say."""
        found = draw.standard_normal((count, len(self.by_patient))) @ self.by_patient
        for mine, (rest, degrees, drawn) in zip(self.members, self.parts, strict=True):
            each = np.sqrt(rest / self.repeats * degrees / draw.chisquare(degrees, (count, 1)))
            common = np.sqrt(drawn / self.repeats * (self.repeats - 1) / draw.chisquare(self.repeats - 1, (count, 1)))
            noise = each * draw.standard_normal((count, mine.sum())) + common * draw.standard_normal((count, 1))
            found[:, mine] += noise
        return found


def _in_errors(difference: np.ndarray, error: np.ndarray) -> np.ndarray:
    return np.divide(difference, error, out=np.zeros_like(difference), where=error > 0)
