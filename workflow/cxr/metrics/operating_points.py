"""Operating points: thresholds chosen on validation images, and the sensitivity and specificity there of test images.

A point holds one of the two at `HELD` or above on the validation images and has as much of the other as it can. Test labels
play no part in the choice, so on the test images neither is held exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve

from cxr.labels import FINDINGS, LABELS
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, mean_of, weighted_ratios
from cxr.metrics.validity_rows import OPERATING, POOLED, Images, Row, Tested, floor_name, nothing, row, sizes

SENSITIVITY, SPECIFICITY = "sensitivity", "specificity"
RATES = (SENSITIVITY, SPECIFICITY)
HELD = 0.9
HELD_AT = {held: f"{held} {HELD:.2f}" for held in RATES}  # comparison of the points


def choose(truth: np.ndarray, scores: np.ndarray, held: str) -> float:
    """Return the threshold, one of the scores or infinity, at which a rate is at least `HELD` and the other is highest.

    truth: (N,) 0 or 1, both occur. scores: (N,); an image is called positive where its score reaches the threshold. held: one
    of `RATES`. Of thresholds with the same other rate, it is the one with the highest held rate.
    """
    false, true, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    if held == SPECIFICITY:
        return float(thresholds[np.argmax(np.where(1 - false >= HELD, true, -1))])  # the first of equals
    lowest = false[true >= HELD].min()
    return float(thresholds[np.flatnonzero(false == lowest)[-1]])


@dataclass(frozen=True)
class Scores:
    """One label of some images: truth (N,) 0 or 1, and what a predictor says of them (N,)."""

    truth: np.ndarray
    said: np.ndarray


def at_threshold(test: Scores, threshold: float, weights: np.ndarray) -> dict[str, Estimate]:
    """Estimate sensitivity and specificity at a threshold; weights: (B, N) from ``bootstrap_weights``."""
    truth, called = test.truth > 0, test.said >= threshold
    right, asked = np.stack([truth & called, ~truth & ~called], axis=1), np.stack([truth, ~truth], axis=1)
    return dict(zip(RATES, weighted_ratios(right, asked, weights), strict=True))


def by_chance(held: str, samples: int) -> dict[str, Estimate]:
    """Return the rates of a predictor that says the same of all images: it calls as many at random as hold the rate."""
    rates = {name: HELD if name == held else round(1 - HELD, 12) for name in RATES}
    return {name: Estimate(rate, np.full(samples, rate)) for name, rate in rates.items()}


def point(validation: Scores, test: Scores, held: str, weights: np.ndarray) -> tuple[float, dict[str, Estimate]]:
    """Choose a threshold on validation images; return it, and sensitivity and specificity of test images there.

    A predictor that says the same of all validation images has no threshold (NaN) and ranks by chance (`by_chance`).
    """
    if np.ptp(validation.said) == 0:
        return np.nan, by_chance(held, len(weights))
    threshold = choose(validation.truth, validation.said, held)
    return threshold, at_threshold(test, threshold, weights)


def rows(tested: Tested, chosen_on: Images) -> Iterator[Row]:
    """Yield the rows of all operating points (`validity.validity_table`); chosen_on: the validation images."""
    for held, comparison in HELD_AT.items():
        found = {}
        for at, label in enumerate(FINDINGS):
            own = _Point.of(tested, chosen_on, at, held)
            found |= {label: own} if not own.few else {}
            yield from own.rows(label, comparison, tested.confidence)
        yield from _mean_point(found, comparison, tested)


@dataclass(frozen=True)
class _Point:
    """A finding's operating point. thresholds, rates: of the model and of the floor. few: why there is none, or ""."""

    thresholds: Sequence[float]
    rates: Sequence[dict[str, Estimate]]
    floor_name: str
    few: str
    chosen_sizes: Row
    sizes: Row

    @classmethod
    def of(cls, tested: Tested, chosen_on: Images, at: int, held: str) -> "_Point":
        name = tested.ladder.floor("auroc", LABELS[at])
        counts = [sizes(each, np.ones(len(each.targets), bool), [at]) for each in (chosen_on, tested)]
        few = _too_few(*counts)
        found = [(np.nan, {rate: nothing(len(tested.weights)) for rate in RATES})] * 2
        if not few:
            both = (_told(images, at, name) for images in (chosen_on, tested))
            found = [point(*scores, held, tested.weights) for scores in zip(*both, strict=True)]
        return cls(*zip(*found, strict=True), floor_name(name, "any constant, at random"), few, *counts)

    def rows(self, label: str, comparison: str, confidence: float) -> Iterator[Row]:
        told = {"comparison": comparison, "floor_name": self.floor_name, "note": self.few}
        samples = len(self.rates[0][SENSITIVITY].samples)
        thresholds = dict(zip(("value", "floor"), self.thresholds, strict=True))
        blank = row(OPERATING, "threshold", label, *[nothing(samples)] * 2, confidence, **told, **self.chosen_sizes)
        yield blank | thresholds
        for rate in RATES:
            scores = [each[rate] for each in self.rates]
            yield row(OPERATING, rate, label, *scores, confidence, **told, **self.sizes)


def _told(images: Images, at: int, name: str) -> list[Scores]:
    """A finding (its index) of some images, as told by the model and by a candidate of the ladder."""
    said = images.probabilities, images.ladder.guesses[name].probabilities
    return [Scores(images.targets[:, at], each[:, at]) for each in said]


def _too_few(chosen: Row, tested: Row) -> str:
    """Say which images have too few patients for an operating point; "" where both have enough."""
    named = {"validation": int(chosen["fewest"]), "test": int(tested["fewest"])}
    told = [f"{count} in {role}" for role, count in named.items() if count < judging.FEWEST]
    why = f"no number: fewer than {judging.FEWEST} patients with or without the finding: {', '.join(told)}"
    return why if told else ""


def _mean_point(found: Mapping[str, _Point], comparison: str, tested: Tested) -> Iterator[Row]:
    findings = [FINDINGS.index(label) for label in found]
    without = [label for label in FINDINGS if label not in found]
    note = f"mean over {len(found)} findings" + (f"; without {', '.join(without)}" if without else "")
    for rate in RATES:
        scores = [
            mean_of([each.rates[at][rate] for each in found.values()]) if found else nothing(len(tested.weights))
            for at in (0, 1)
        ]
        yield row(
            OPERATING, rate, POOLED, *scores, tested.confidence, comparison=comparison,
            floor_name="the best of each finding", note=note,
            **sizes(tested, np.ones(len(tested.targets), bool), findings),
        )  # fmt: skip
