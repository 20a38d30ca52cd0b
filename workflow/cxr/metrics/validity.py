"""The validity table of a classifier with sigmoid outputs: calibration and subgroups, each number beside its floor.

It is what TRIPOD+AI, CLAIM and Metrics Reloaded ask of a predictor besides its discrimination. No model is trained here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics import calibration, judging, subgroups
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, minus
from cxr.metrics.classification import aligned_probabilities, check_same_order, fewer_patients
from cxr.metrics.ladder import CONSTANT, Ladder

CALIBRATION, BINS, SUBGROUPS = "calibration", "bins", "subgroups"  # parts of the table
POOLED = "mean14"  # the image–finding pairs of all 14 findings together
GAP = "gap"
COLUMNS = [
    *("protocol", "experiment", "part", "metric", "label", "comparison", "group"),
    *("value", "low", "high", "floor", "floor_low", "floor_high", "floor_name"),
    *("difference", "difference_low", "difference_high", "cases", "positives", "images", "patients", "fewest", "note"),
]
Row = dict[str, object]


@dataclass(frozen=True)
class Tested:
    """What is scored: probabilities and targets (N, 15), patients (N,), metadata of the N images, bootstrap weights (B, N)."""

    probabilities: np.ndarray
    targets: np.ndarray
    patients: np.ndarray
    metadata: pd.DataFrame
    ladder: Ladder
    weights: np.ndarray
    confidence: float


def validity_table(
    protocol: str,
    experiment: str,
    predictions: pd.DataFrame,
    truth: pd.DataFrame,
    metadata: pd.DataFrame,
    ladder: Ladder,
    *,
    resampling: Resampling,
) -> pd.DataFrame:
    """Describe how far a classifier's probabilities can be trusted, and whom it serves how well; columns ``COLUMNS``.

    predictions, truth, ladder, resampling: as for `classification.classification_table`. metadata: of the
    images of truth, in their order (`splits.read_metadata`). Parts:

    - calibration, for each finding and "mean14" (all image–finding pairs): brier, reliability, resolution, uncertainty,
      slope, intercept, of the model and of the floor, which is the ladder's candidate chosen by loss;
    - bins, for "mean14": predicted and observed of each bin (group 1 to 10), and floor_predicted and floor_observed;
    - subgroups: auroc, mean over the same findings in all groups of a comparison, and the gap between the group with the
      largest and that with the smallest. The floor is the ladder's candidate chosen by the mean AUROC, on the same images.

    cases: image–finding pairs, positives of which have the finding. fewest: patients with or without the finding, whichever
    are fewer; of a group, the fewest of one finding; of "mean14", with or without any. Below `judging.FEWEST`, a finding has
    no interval. A group that is too small has a row with its sizes and no value. Raises InputError where the files are of
    different images.
    """
    who = f"validity of {experiment} ({protocol})"
    probabilities = aligned_probabilities(predictions, truth, who)
    check_same_order(ladder.images, truth, "floors", who)
    check_same_order(metadata["image"], truth, "metadata", who)
    patients = truth["patient"].to_numpy()
    weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
    targets = to_matrix(truth["labels"]).astype(np.float64)
    tested = Tested(probabilities, targets, patients, metadata, ladder, weights, resampling.confidence)
    rows = [*_calibration_rows(tested), *_bin_rows(tested), *_subgroup_rows(tested)]
    return pd.DataFrame([{"protocol": protocol, "experiment": experiment, **row} for row in rows], columns=COLUMNS)


def _row(
    part: str, metric: str, label: str, score: Estimate, floor: Estimate, confidence: float, **more: object
) -> Row:
    difference = minus(score, floor)
    row: Row = {"part": part, "metric": metric, "label": label, "comparison": "", "group": "", "note": ""}
    for name, estimate in (("", score), ("floor", floor), ("difference", difference)):
        low, high = estimate.interval(confidence)
        row |= {name or "value": estimate.value, f"{name}_low".strip("_"): low, f"{name}_high".strip("_"): high}
    return row | more


def _nothing(samples: int) -> Estimate:
    return Estimate(np.nan, np.full(samples, np.nan))


def _sizes(tested: Tested, images: np.ndarray, findings: list[int]) -> Row:
    """The sample of some images, (N,) bool, and findings (indices)."""
    targets, patients = tested.targets[images], tested.patients[images]
    fewest = int(fewer_patients(targets, patients)[findings].min()) if len(findings) and len(targets) else 0
    return {
        "cases": int(images.sum()) * len(findings),
        "positives": int(targets[:, findings].sum()),
        "images": int(images.sum()),
        "patients": len(np.unique(patients)),
        "fewest": fewest,
    }


def _calibration_rows(tested: Tested) -> Iterator[Row]:
    everyone = np.ones(len(tested.targets), bool)
    for label, findings in _labels().items():
        sizes, name = _sizes(tested, everyone, findings), tested.ladder.floor("loss", label)
        any_of_them = tested.targets[:, findings].any(axis=1, keepdims=True)
        sizes["fewest"] = int(fewer_patients(any_of_them, tested.patients)[0])
        few = sizes["fewest"] < judging.FEWEST
        weights = tested.weights[:0] if few else tested.weights
        floor = tested.ladder.guesses[name].probabilities
        scored = [
            _calibrated(said[:, findings], tested.targets[:, findings], weights)
            for said in (tested.probabilities, floor)
        ]
        for metric, score in scored[0].items():
            yield _row(
                CALIBRATION, metric, label, score, scored[1][metric], tested.confidence,
                floor_name=_floor_name(name), note=_note(score, few), **sizes,
            )  # fmt: skip


def _labels() -> dict[str, list[int]]:
    every = list(range(len(FINDINGS)))
    return {POOLED: every} | {LABELS[at]: [at] for at in every}


def _calibrated(probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> dict[str, Estimate]:
    found = {"brier": calibration.brier(probabilities, targets, weights)}
    found |= calibration.Bins.of(probabilities, targets, weights).murphy()
    slope, intercept = calibration.slope_and_intercept(probabilities, targets, weights)
    return found | {"slope": slope, "intercept": intercept}


def _note(score: Estimate, few: bool) -> str:
    if few:
        return f"no interval: fewer than {judging.FEWEST} patients with or without the finding"
    undefined = int(np.isnan(score.samples).sum())
    return f"undefined in {undefined} of {len(score.samples)} resamples" if undefined else ""


def _floor_name(name: str) -> str:
    return "training prevalence" if name == CONSTANT else name


def _bin_rows(tested: Tested) -> Iterator[Row]:
    findings, name = _labels()[POOLED], tested.ladder.floor("loss", POOLED)
    targets, floor = tested.targets[:, findings], tested.ladder.guesses[name].probabilities
    for before, said in (("", tested.probabilities), ("floor_", floor)):
        probabilities = said[:, findings]
        number = calibration.bin_numbers(probabilities)
        means = calibration.Bins.of(probabilities, targets, tested.weights).means()
        for each in np.unique(number):
            inside = number == each
            images = inside.any(axis=1)
            sizes = {
                "cases": int(inside.sum()),
                "positives": int(targets[inside].sum()),
                "images": int(images.sum()),
                "patients": len(np.unique(tested.patients[images])),
            }
            for metric, estimates in zip(("predicted", "observed"), means, strict=True):
                yield _row(
                    BINS, before + metric, POOLED, estimates[each], _nothing(len(tested.weights)), tested.confidence,
                    group=str(each + 1), floor_name=_floor_name(name) if before else "", **sizes,
                )  # fmt: skip


def _subgroup_rows(tested: Tested) -> Iterator[Row]:
    name = tested.ladder.floor("auroc", POOLED)
    floor = tested.ladder.guesses[name].probabilities
    named = {"floor_name": "any constant: 0.5" if name == CONSTANT else name}
    for comparison, members in subgroups.groups(tested.metadata).items():
        found = subgroups.compare(
            members, tested.probabilities, floor, tested.targets, tested.patients, tested.weights
        )  # fmt: skip
        over = _over(found)
        for each in found.compared:
            yield _row(
                SUBGROUPS, "auroc", POOLED, each.score, each.floor, tested.confidence, comparison=comparison,
                group=each.name, note=over, **named, **_sizes(tested, each.members, found.findings),
            )  # fmt: skip
        for each in found.too_small:
            yield _row(
                SUBGROUPS, "auroc", POOLED, *[_nothing(len(tested.weights))] * 2, tested.confidence,
                comparison=comparison, group=each, note=_left_out(each), **_sizes(tested, members[each], []),
            )  # fmt: skip
        if extremes := found.extremes():
            high, low = extremes
            yield _row(
                SUBGROUPS, "auroc", POOLED, *subgroups.gap(high, low), tested.confidence, comparison=comparison,
                group=GAP, note=f"{high.name} minus {low.name}; {over}", **named,
                **_sizes(tested, high.members | low.members, found.findings) | {"fewest": min(high.fewest, low.fewest)},
            )  # fmt: skip


def _over(found: subgroups.Comparison) -> str:
    if not found.findings:
        return f"no finding that {judging.FEWEST} patients of every group have and lack"
    return f"over {len(found.findings)} findings: {', '.join(FINDINGS[at] for at in found.findings)}"


def _left_out(group: str) -> str:
    if group == subgroups.UNKNOWN:
        return "not compared: the table does not say which group"
    return f"not compared: no finding that {judging.FEWEST} of its patients have and {judging.FEWEST} lack"
