"""The validity table of a classifier with sigmoid outputs: calibration, operating points and subgroups, beside their floors.

It is what TRIPOD+AI, CLAIM and Metrics Reloaded ask of a predictor besides its discrimination. No model is trained here.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS, LABELS
from cxr.metrics import calibration, judging, operating_points, subgroups
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights
from cxr.metrics.classification import check_same_order, fewer_patients
from cxr.metrics.validity_rows import (
    BINS,
    CALIBRATION,
    COLUMNS,
    POOLED,
    SUBGROUPS,
    Images,
    Row,
    Said,
    Tested,
    floor_name,
    nothing,
    row,
    sizes,
)

TOO_SMALL = f"no finding that {judging.FEWEST} of its patients have and {judging.FEWEST} lack"


def validity_table(
    protocol: str,
    experiment: str,
    test: Said,
    validation: Said,
    metadata: pd.DataFrame,
    *,
    resampling: Resampling,
) -> pd.DataFrame:
    """Describe how far a classifier's probabilities can be trusted, and whom it serves how well; columns ``COLUMNS``.

    test, validation: predictions, split and ladder of each role, as for `classification.classification_table`. metadata: of
    the test images, in their order (`splits.read_metadata`). resampling: the bootstrap by patient. Parts:

    - calibration, for each finding and "mean14" (all image–finding pairs): brier, reliability, resolution, uncertainty,
      slope, intercept, of the model and of the floor, which is the ladder's candidate chosen by loss;
    - bins, for "mean14": predicted and observed of each bin (group 1 to 10), and floor_predicted and floor_observed;
    - operating, for each finding, and "mean14" (mean over those that have a number): sensitivity and specificity at the
      threshold that on validation images has the highest sensitivity at specificity 0.90 (comparison "specificity 0.90"), and
      the reverse ("sensitivity 0.90"). The floor is the ladder's candidate with the best AUROC of the finding, its threshold
      chosen in the same way. metric threshold: both thresholds, with the sizes of the validation images;
    - subgroups: auroc, mean over the same findings in all groups of a comparison, and the gap between the group with the
      largest and that with the smallest. The floor is the ladder's candidate chosen by the mean AUROC, on the same images.

    cases: image–finding pairs, positives of which have the finding. fewest: patients with or without the finding, whichever
    are fewer; of a group, the fewest of one finding; of "mean14", with or without any. Below `judging.FEWEST` a finding has no
    interval, and below it in test or in validation no operating point. A group that is too small has a row with its sizes and
    no value. Raises InputError where the files are of different images.
    """
    who = f"validity of {experiment} ({protocol})"
    images = Images.of(test, who)
    check_same_order(metadata["image"], test.truth, "metadata", who)
    chosen_on = Images.of(validation, f"{who}, validation images")
    weights = bootstrap_weights(images.patients, resampling.samples, resampling.seed)
    tested = Tested(**vars(images), metadata=metadata, weights=weights, confidence=resampling.confidence)
    labels = _labels()
    rows = [
        *calibration_rows(tested, labels), *bin_rows(tested, labels[POOLED]), *operating_points.rows(tested, chosen_on),
        *subgroup_rows(tested),
    ]  # fmt: skip
    return pd.DataFrame([{"protocol": protocol, "experiment": experiment, **each} for each in rows], columns=COLUMNS)


def calibration_rows(tested: Tested, labels: Mapping[str, list[int]]) -> Iterator[Row]:
    """Yield the rows of the calibration of each label, or mean, whose findings (indices) are pooled."""
    everyone = np.ones(len(tested.targets), bool)
    for label, findings in labels.items():
        sample, name = sizes(tested, everyone, findings), tested.ladder.floor("loss", label)
        any_of_them = tested.targets[:, findings].any(axis=1, keepdims=True)
        sample["fewest"] = int(fewer_patients(any_of_them, tested.patients)[0])
        few = sample["fewest"] < judging.FEWEST
        weights = tested.weights[:0] if few else tested.weights
        floor = tested.ladder.guesses[name].probabilities
        scored = [
            _calibrated(said[:, findings], tested.targets[:, findings], weights)
            for said in (tested.probabilities, floor)
        ]
        for metric, score in scored[0].items():
            yield row(
                CALIBRATION, metric, label, score, scored[1][metric], tested.confidence,
                floor_name=floor_name(name, "training prevalence"), note=_note(score, few), **sample,
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


def bin_rows(tested: Tested, findings: Sequence[int]) -> Iterator[Row]:
    """Yield the rows of the reliability bins over the pairs of an image and one of the findings (indices)."""
    name = tested.ladder.floor("loss", POOLED)
    targets, floor = tested.targets[:, findings], tested.ladder.guesses[name].probabilities
    for before, said in (("", tested.probabilities), ("floor_", floor)):
        probabilities = said[:, findings]
        number = calibration.bin_numbers(probabilities)
        means = calibration.Bins.of(probabilities, targets, tested.weights).means()
        for each in np.unique(number):
            inside = number == each
            images = inside.any(axis=1)
            sample = {
                "cases": int(inside.sum()),
                "positives": int(targets[inside].sum()),
                "images": int(images.sum()),
                "patients": len(np.unique(tested.patients[images])),
            }
            for metric, estimates in zip(("predicted", "observed"), means, strict=True):
                yield row(
                    BINS, before + metric, POOLED, estimates[each], nothing(len(tested.weights)), tested.confidence,
                    group=str(each + 1), floor_name=floor_name(name, "training prevalence") if before else "", **sample,
                )  # fmt: skip


def subgroup_rows(tested: Tested) -> Iterator[Row]:
    """Yield the rows of mean AUROC by sex, age and view, and of the gaps."""
    name = tested.ladder.floor("auroc", POOLED)
    floor = tested.ladder.guesses[name].probabilities
    named = {"floor_name": floor_name(name, "any constant: 0.5")}
    for comparison, members in subgroups.groups(tested.metadata).items():
        found = subgroups.compare(
            members, tested.probabilities, floor, tested.targets, tested.patients, tested.weights
        )  # fmt: skip
        over = _over(found)
        for each in found.compared:
            yield _group_row(comparison, each, over, tested, found.findings, named)
        for each in found.too_small:
            yield row(
                SUBGROUPS, "auroc", POOLED, *[nothing(len(tested.weights))] * 2, tested.confidence,
                comparison=comparison, group=each, note=subgroups.left_out(each, TOO_SMALL),
                **sizes(tested, members[each], []),
            )  # fmt: skip
        for each in found.gap():
            yield _group_row(comparison, each, f"{each.note}; {over}", tested, found.findings, named)


def _group_row(
    comparison: str, group: subgroups.Group, note: str, tested: Tested, findings: Sequence[int], named: dict[str, str]
) -> Row:
    return row(
        SUBGROUPS, "auroc", POOLED, group.score, group.floor, tested.confidence, comparison=comparison, group=group.name,
        note=note, **named, **sizes(tested, group.members, findings) | {"fewest": group.fewest},
    )  # fmt: skip


def _over(found: subgroups.Comparison) -> str:
    if not found.findings:
        return f"no finding that {judging.FEWEST} patients of every group have and lack"
    return f"over {len(found.findings)} findings: {', '.join(FINDINGS[at] for at in found.findings)}"
