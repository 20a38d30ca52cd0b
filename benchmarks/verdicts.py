"""How often the verdict rule calls a difference where there is none, by metric, number of patients, and label frequency.

    PYTHONPATH=workflow python benchmarks/verdicts.py [--runs 2000] [--samples 500] [--seed 0] [--csv F]

Each run draws patients of one to five images and two predictors that are equally good by construction, scores both, and
asks for the verdict as the metric tables do (`cxr.metrics.judging`): of a single number ("ours"), and of 14 labels at
once ("any of 14": a verdict on any of them, after Holm's correction). Beside it what a user would write, and what this
workflow once did: the percentile interval of the difference excludes 0. All rates should be at most 0.05.

- AUROC, AUPRC: random scores against a constant (such an AUPRC gets no verdict; the figures say why); "equal": two
  independent scores that both know a little of the label.
- loss: two predictors whose probabilities scatter alike. accuracy: two predictors that are wrong equally often.
- F1 of areas: two random masks of 16 × 16 cells, alike in distribution, on images with a box.

Coverage: how often the interval of the AUROC of a predictor holds its true value, and that of the F1.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cxr.metrics import judging
from cxr.metrics.areas import area_estimates, cell_scores
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, minus, weighted_ratios
from cxr.metrics.guesses import binary_cross_entropy
from cxr.metrics.ranking import expected_average_precision, ranking_scores

CONFIDENCE, FAMILY, SEPARATION = 0.95, 14, 0.7
POSITIVES, PATIENTS = (10, 12, 15, 20, 40, 100), (60, 300, 1500)


class Images:
    """Patients of one to five images; this many of them have the label, on each image with probability 0.7."""

    def __init__(self, draw: np.random.Generator, patients: int, positives: int, samples: int) -> None:
        self.draw = draw
        self.patients = np.repeat(np.arange(patients), draw.integers(1, 6, patients))
        ill = np.isin(self.patients, draw.choice(patients, positives, replace=False))
        first = np.append(True, self.patients[1:] != self.patients[:-1])
        self.truth = ill & (first | (draw.random(len(ill)) < SEPARATION))
        self.weights = bootstrap_weights(self.patients, samples, int(draw.integers(2**31)))
        self.telling = positives
        self.effective = min(judging.effective_patients(self.patients[self.truth == kind]) for kind in (0, 1))

    def noise(self) -> np.ndarray:
        """A number of each image, half of its variance shared by a patient's images."""
        shared = self.draw.normal(size=self.patients[-1] + 1)[self.patients]
        return (shared + self.draw.normal(size=len(self.patients))) / np.sqrt(2)


Drawn = tuple[Estimate, Images]  # a difference, and the images that it is of


def _ranked(images: Images, scores: np.ndarray) -> list[Estimate]:
    once = np.ones((1, len(scores)), dtype=np.uint16)
    both = (ranking_scores(images.truth, scores, weights) for weights in (once, images.weights))
    return [Estimate(float(value[0]), drawn) for value, drawn in zip(*both, strict=True)]


def auroc(images: Images) -> Drawn:
    value = _ranked(images, images.noise())[0]
    return minus(value, Estimate(0.5, np.full_like(value.samples, 0.5))), images


def auprc(images: Images) -> Drawn:
    value = _ranked(images, images.noise())[1]
    share = weighted_ratios(images.truth[:, None], np.ones((len(images.truth), 1)), images.weights)[0]
    above = expected_average_precision(int(images.truth.sum()), len(images.truth)) - share.value
    return minus(value, Estimate(share.value + above, share.samples + above)), images


def auroc_equal(images: Images) -> Drawn:
    return minus(*(_ranked(images, images.noise() + SEPARATION * images.truth)[0] for _ in range(2))), images


def auprc_equal(images: Images) -> Drawn:
    return minus(*(_ranked(images, images.noise() + SEPARATION * images.truth)[1] for _ in range(2))), images


def loss(images: Images) -> Drawn:
    prevalence = images.truth.mean()
    odds = np.log(prevalence / (1 - prevalence))
    said = np.stack([1 / (1 + np.exp(-odds - images.noise())) for _ in range(2)], axis=1)
    losses = binary_cross_entropy(images.truth[:, None].astype(float), said)
    return minus(*weighted_ratios(losses, np.ones_like(losses), images.weights)), images


def accuracy(images: Images) -> Drawn:
    right = np.stack([images.noise() < 1.6 for _ in range(2)], axis=1)
    return minus(*weighted_ratios(right, np.ones(right.shape), images.weights)), images


def area_f1(images: Images) -> Drawn:
    """Of the images with the label alone, as for a finding."""
    held = images.truth
    count = int(held.sum())
    target, *masks = (_masks(images.draw, count, size) for size in (5, 6, 6))
    weights = bootstrap_weights(images.patients[held], len(images.weights), int(images.draw.integers(2**31)))
    every = np.ones(count, dtype=bool)
    return minus(*(area_estimates(cell_scores(target, mask), every, weights)[2] for mask in masks)), images


def _masks(draw: np.random.Generator, count: int, size: int) -> np.ndarray:
    rows, columns = np.clip(draw.normal(7, 2, (2, count)).round().astype(int), 0, 15 - size)
    at = np.arange(16)
    inside = [(at >= start[:, None]) & (at < start[:, None] + size) for start in (rows, columns)]
    return (inside[0][:, :, None] & inside[1][:, None, :]).astype(float)


METRICS: dict[str, Callable[[Images], Drawn]] = {
    "AUROC": auroc, "AUROC, equal": auroc_equal, "AUPRC": auprc, "AUPRC, equal": auprc_equal,
    "loss": loss, "accuracy": accuracy, "area F1": area_f1,
}  # fmt: skip


def called(drawn: list[Drawn]) -> tuple[np.ndarray, np.ndarray]:
    """Return which differences are called: by our rule, corrected over all of them, and by the interval alone."""
    rows = []
    for difference, images in drawn:
        low, high = difference.interval(CONFIDENCE)
        ends = {"difference": difference.value, "difference_low": low, "difference_high": high}
        told = {"metric": "auroc", "judged": True, "patients": images.telling, "higher_is_better": 1, "value": 0.5}
        rows.append(told | ends | {"p": judging.p_value(difference, images.effective)})
    table = pd.DataFrame(rows)
    table["p_holm"] = judging.holm(table["p"].where(table["patients"] >= judging.FEWEST).to_list())
    verdicts = [judging.verdict(row, CONFIDENCE) for row in table.to_dict("records")]
    ours = np.isin(verdicts, [judging.BETTER, judging.WORSE])
    interval = (table["difference_low"] > 0) | (table["difference_high"] < 0)
    return ours, interval.to_numpy()


def simulate(name: str, patients: int, positives: int, runs: int, samples: int, draw: np.random.Generator) -> dict:
    """Return the rates of false verdicts of one metric at one size."""
    drawn = [METRICS[name](Images(draw, patients, positives, samples)) for _ in range(runs)]
    single = [called([each]) for each in drawn]
    families = [called(drawn[at : at + FAMILY])[0].any() for at in range(0, runs - FAMILY + 1, FAMILY)]
    return {
        "metric": name,
        "patients": patients,
        "with_label": positives,
        "runs": runs,
        "ours": np.mean([ours[0] for ours, _ in single]),
        "any_of_14": np.mean(families),
        "interval_alone": np.mean([interval[0] for _, interval in single]),
    }


def coverage(patients: int, positives: int, runs: int, samples: int, draw: np.random.Generator) -> float:
    """Return how often the interval of an AUROC holds its true value, that of scores apart by SEPARATION."""
    true = stats.norm.cdf(SEPARATION / np.sqrt(2))
    held = 0
    for _ in range(runs):
        images = Images(draw, patients, positives, samples)
        low, high = _ranked(images, images.noise() + SEPARATION * images.truth)[0].interval(CONFIDENCE)
        held += low <= true <= high
    return held / runs


def coverage_of_areas(patients: int, positives: int, runs: int, samples: int, draw: np.random.Generator) -> float:
    """Return how often the interval of an F1 of areas holds its value on very many images."""
    true = _area(Images(draw, 20_000, 20_000, 0), 0).value
    held = 0
    for _ in range(runs):
        low, high = _area(Images(draw, patients, positives, samples), samples).interval(CONFIDENCE)
        held += low <= true <= high
    return held / runs


def _area(images: Images, samples: int) -> Estimate:
    held = images.truth
    target, mask = (_masks(images.draw, int(held.sum()), size) for size in (5, 6))
    weights = bootstrap_weights(images.patients[held], samples, int(images.draw.integers(2**31)))
    return area_estimates(cell_scores(target, mask), np.ones(len(target), dtype=bool), weights)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=500, help="bootstrap samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    began, rows = time.perf_counter(), []
    print(f"{'metric':14}{'patients':>9}{'with label':>11}{'ours':>8}{'any of 14':>11}{'interval alone':>16}")
    for name in given.metrics:
        for patients in PATIENTS:
            for positives in (count for count in POSITIVES if count <= patients / 2):
                draw = np.random.default_rng([given.seed, patients, positives, list(METRICS).index(name)])
                row = simulate(name, patients, positives, given.runs, given.samples, draw)
                rows.append(row)
                print(
                    f"{name:14}{patients:9}{positives:11}{row['ours']:8.3f}{row['any_of_14']:11.3f}"
                    f"{row['interval_alone']:16.3f}", flush=True,
                )  # fmt: skip
    table = pd.DataFrame(rows)
    error = np.sqrt(0.05 * 0.95 / given.runs)
    judged = table[table["metric"] != "AUPRC"]
    worst = judged.loc[judged["ours"].idxmax()]
    print(
        f"worst of what is judged: {worst['ours']:.3f} ({worst['metric']}, {worst['patients']} patients, "
        f"{worst['with_label']} with the label); "
        f"sampling error of a rate of 0.05: {error:.3f}; of {given.runs // FAMILY} families: "
        f"{np.sqrt(0.05 * 0.95 / (given.runs // FAMILY)):.3f}"
    )
    for patients, positives in ((60, 10), (60, 20), (300, 50), (300, 100)):
        draw = np.random.default_rng([given.seed, patients, positives])
        held = coverage(patients, positives, given.runs, given.samples, draw)
        print(
            f"95% interval of an AUROC, {patients} patients, {positives} with the label: holds the true value {held:.3f}"
        )
    for patients, positives in ((60, 10), (60, 20), (300, 50), (300, 100)):
        draw = np.random.default_rng([given.seed, patients, positives])
        held = coverage_of_areas(patients, positives, given.runs, given.samples, draw)
        print(
            f"95% interval of an F1 of areas, {patients} patients, {positives} with boxes: holds the true value {held:.3f}"
        )
    print(f"{time.perf_counter() - began:.0f} s")
    if given.csv:
        table.to_csv(given.csv, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
