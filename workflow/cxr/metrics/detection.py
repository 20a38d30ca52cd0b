"""Detection scores of every detector, from saved predictions, each beside its image-free floor.

The paper's scores (section 2.3.1) compare areas (``areas``). Here:

- ŷ is binarised (1 where the confidence reaches a threshold), or is the confidence itself (names ending in ``_weighted``).
- The main scores are in cells of the paper's 16×16 grid: a cell of y is 1 where boxes cover more than half of it.
  Predicted boxes become cells by the same rule (``detections.cell_confidence``), so grid CNN and YOLO are scored by one
  definition. The scores ending in ``_pixels`` use exact areas instead; there a confidence applies to the whole cell, or
  to the whole box (the highest where boxes overlap). "The whole image is diseased" has an F1 of 14.6% on the release's
  880 boxed images (14.9% in pixels).

Beyond the paper: F1 by finding, mAP50 and mAP50-95 (matched by pycocotools), hit rates by IoU, IoBB and centre, false
positives per image, FROC. The boxes of the release are not exhaustive, so a false positive may be a finding that nobody drew.

Folds are pooled: each fold has its own threshold, floors and predictions, the scores of all test images are put together,
and one bootstrap draws patients from all of them. For mAP and FROC the detections of all folds are ranked together, as if
a confidence meant the same in each fold.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.boxes import cell_targets, is_large
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.areas import AreaScores, area_estimates, area_scores, best_by_f1, binarise, cell_scores
from cxr.metrics.average_precision import precision_estimates
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, mean_of, weighted_ratios
from cxr.metrics.detections import ImageBoxes, coverages
from cxr.metrics.froc import CURVE, Curves, curves, froc_estimates
from cxr.metrics.hits import hit_estimates
from cxr.metrics.judging import FEWEST, telling
from cxr.metrics.names import ANY_CLASS, of, parts
from cxr.metrics.pooling import Fold, Pooled, images_with, patients_with
from cxr.metrics.table import Row, metric_row, metric_table

SUBSETS = ("all", "large_both", "large_either", "large_area")
FROC_COLUMNS = [
    "protocol", "experiment", "label", "false_positives_per_image", "value", "low", "high", "floor", "floor_name"
]  # fmt: skip
MEAN_OF_FINDINGS = "mean8"  # label of the mean over the findings that have boxes


def score_folds(
    protocol: str, experiment: str, folds: Sequence[Fold], *, samples: int, confidence: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score a detector's saved predictions over all folds beside the floors fitted on each fold's training split.

    samples, confidence, seed: the bootstrap by patient. Returns the metric table:

    - precision, recall, f1 (binarised), the same ``_weighted``, and all six ``_pixels``. label: "all"; "large_both",
      "large_either", "large_area": on the images that have such a box (``boxes.is_large``), with only these as target.
      The floor is the image-free map with the best F1 on these images; the note gives the F1 of the others.
    - precision, recall, f1 of a finding, given that it is present: on the images with such a box, with the union of these
      boxes as target; the prediction is the finding's own map, cut at its own threshold. f1 of label "mean8": their mean.
    - mse (cells only), label "all": squared distance of probability and target, mean over cells and images.
    - images_with_prediction, label "all": share of images with any prediction at the threshold; it has no floor.
    - boxes only, label "all" or a finding: map50, map50_95; froc_*: ``froc``; iou_hit_*, iobb_hit_*: share of truth boxes
      that a predicted box of the same finding overlaps by at least this much; centre_hit: share of truth boxes that hold
      the centre of one; false_positives_per_image: predicted boxes whose IoU with every truth box of their finding is below
      0.1. The same names ending in ``_any`` (label "all") ignore the finding. Where predictions name no finding at all (a
      network off the shelf), only those are defined. The floor is the best of each finding's median training box, a
      box of that size at a random place, and the training boxes that overlap the most others.

    Also returns the FROC of a detector of boxes, ``FROC_COLUMNS`` (no row for cells): label "all" (regardless of the boxes'
    labels) or a finding, if predictions name findings and the split has such a box; value, low, high: sensitivity at that
    rate of false positives per image; floor: that of the image-free boxes with the best mean over the curve.

    Raises InputError where predictions and truth do not match, or an image is tested twice.
    """
    pooled = Pooled.of(folds, f"predictions of {experiment} ({protocol})", seed)
    weights = bootstrap_weights(pooled.patients, samples, seed)
    rows = [*_area_rows(pooled, weights, confidence), *_finding_rows(pooled, weights, confidence)]
    if pooled.kept is None:
        rows += _mse_rows(pooled, weights, confidence)
        answered = pooled.marked.any(axis=(1, 2))
        froc = pd.DataFrame(columns=FROC_COLUMNS)
    else:
        drawn = curves(pooled.answers.boxes, pooled.drawn, weights)
        constants = {name: curves(boxes, pooled.drawn, weights) for name, boxes in pooled.constants.items()}
        rows += _box_rows(pooled, drawn, constants, weights, confidence)
        froc = _froc(pooled, drawn, constants, confidence).assign(protocol=protocol, experiment=experiment)[
            FROC_COLUMNS
        ]
        answered = np.array([len(image.labels) > 0 for image in pooled.kept])
    share = weighted_ratios(answered[:, None], np.ones((len(answered), 1)), weights)[0]
    rows.append(
        metric_row(
            "images_with_prediction",
            "all",
            share,
            None,
            "",
            confidence=confidence,
            support=len(answered),
            **telling(pooled.patients),
        )
    )
    return metric_table(protocol, experiment, rows, confidence), froc


def _froc(pooled: Pooled, drawn: Curves, constants: Mapping[str, Curves], confidence: float) -> pd.DataFrame:
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    parts = []
    for label, value in drawn.value.items():
        if np.isnan(value).any() or (label != "all" and pooled.answers.foreign):
            continue
        best = max(constants, key=lambda name: float(constants[name].value[label].mean()))
        low, high = np.nanquantile(drawn.samples[label], ends, axis=0)
        floor = constants[best].value[label]
        columns = (label, CURVE, value, low, high, floor, best)
        parts.append(pd.DataFrame(dict(zip(FROC_COLUMNS[2:], columns, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=FROC_COLUMNS[2:])


# Areas


def _area_rows(pooled: Pooled, weights: np.ndarray, confidence: float) -> list[Row]:
    rows = []
    everything = [("all", "", [image.boxes for image in pooled.drawn])]
    for subset, sense, target in [*everything, *large_subsets(pooled.drawn)]:
        floors = pooled.maps(
            lambda floors, sense=sense: floors.of_large(sense) if sense else floors.maps, pooled.everywhere
        )
        counted = np.array([subset == "all" or len(boxes) > 0 for boxes in target], dtype=bool)
        shares = coverages(target)
        for unit, cell_target in (("", (shares > 0.5).astype(np.float64)), ("_pixels", shares)):
            constants = {name: cell_scores(cell_target, constant) for name, constant in floors.items()}
            for mode in ("", "_weighted"):
                if unit and pooled.kept is not None:
                    model = area_scores(pooled.answers.boxes if mode else pooled.kept, target, weighted=bool(mode))
                else:
                    model = cell_scores(cell_target, pooled.answers.cells if mode else pooled.marked)
                patients = pooled.patients[counted]
                rows += _family(mode + unit, subset, model, constants, counted, weights, confidence, patients)[0]
    return rows


def large_subsets(drawn: list[ImageBoxes]) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """Yield the three readings of a large box: (label of its rows, sense of `boxes.is_large`, such boxes of each image)."""
    for subset in SUBSETS[1:]:
        sense = subset.removeprefix("large_")
        yield subset, sense, [image.boxes[is_large(image.boxes)[sense]] for image in drawn]


def _finding_rows(pooled: Pooled, weights: np.ndarray, confidence: float) -> list[Row]:
    rows, scores = [], []
    for finding in BOXED_FINDINGS:
        at, target = images_with(finding, pooled.drawn)
        cut = np.array([thresholds.of(finding) for thresholds in pooled.thresholds])[pooled.fold[at]]
        model = cell_scores(target, binarise(pooled.answers.of_finding(finding, at), cut[:, None, None]))
        maps = pooled.maps(lambda floors, finding=finding: floors.of_finding(finding), at)
        constants = {name: cell_scores(target, constant) for name, constant in maps.items()}
        mine, *f1 = _family(
            "", finding, model, constants, np.ones(len(at), dtype=bool), weights[:, at], confidence, pooled.patients[at],
            note=_finding_note(pooled, finding, at),
        )  # fmt: skip
        rows += mine
        scores.append((finding, pooled.patients[at], *f1))
    return [*rows, _mean_of_findings(scores, confidence)]


def _mean_of_findings(scores: list[tuple[str, np.ndarray, Estimate, Estimate]], confidence: float) -> Row:
    """The mean over the findings of which enough patients have a box; where there is none, over those that are defined."""
    names, patients, f1, floors = zip(*scores, strict=True)
    counts = np.array([len(np.unique(each)) for each in patients])
    counted = counts >= FEWEST
    used = counted if counted.any() else counts > 0
    left_out = [name for name, use in zip(names, counted, strict=True) if not use and counted.any()]
    return metric_row(
        "f1",
        MEAN_OF_FINDINGS,
        mean_of(f1, counted),
        mean_of(floors, counted),
        "the best of each finding",
        confidence=confidence,
        support=int(used.sum()),
        **telling(*(each for each, use in zip(patients, used, strict=True) if use)),
        note=_left_out_note(left_out),
    )


def _left_out_note(findings: Sequence[str]) -> str:
    return f"without {', '.join(findings)}: fewer than {FEWEST} patients have such a box" if findings else ""


def _finding_note(pooled: Pooled, finding: str, at: np.ndarray) -> str:
    if not len(at):
        return "no such box in the split"
    tested = sorted(set(pooled.fold[at].tolist()))
    shared = sum(finding not in pooled.thresholds[fold].findings for fold in tested)
    unknown = sum(finding not in pooled.floors[fold].findings for fold in tested)
    own = pooled.answers.tells(finding)
    return "; ".join(
        filter(
            None,
            [
                "" if own else "the detector does not distinguish findings: its map of any finding is scored",
                f"the threshold for all findings in {shared} of {len(tested)} folds" if shared else "",
                f"no training example, so the floor for all findings, in {unknown} of {len(tested)} folds"
                if unknown
                else "",
            ],
        )
    )


def _family(
    suffix: str,
    subset: str,
    model: AreaScores,
    constants: dict[str, AreaScores],
    counted: np.ndarray,
    weights: np.ndarray,
    confidence: float,
    patients: np.ndarray,
    note: str = "",
) -> tuple[list[Row], Estimate, Estimate]:
    """Rows of precision, recall and F1 of one kind, beside those of the floor map with the best F1; and the two F1s."""
    scores = area_estimates(model, counted, weights)
    floors = {name: area_estimates(constant, counted, weights) for name, constant in constants.items()}
    best = best_by_f1(floors)
    answerable = counted & np.isfinite(model.recall)
    notes = [f"{int((model.empty & counted).sum())} of {int(counted.sum())} images have no prediction (precision 0)"]
    if left_out := int((counted & ~answerable).sum()):
        notes.append(f"{left_out} images without a target area have precision 0 and no recall")
    others = [f"{name} {floors[name][2].value:.4f}" for name in floors if name != best]
    notes.append("F1 of the other floors: " + ", ".join(others))
    supports = (counted.sum(), answerable.sum(), counted.sum())
    rows = [
        metric_row(
            name + suffix,
            subset,
            score,
            floor,
            best,
            confidence=confidence,
            support=int(support),
            **telling(patients),
            note="; ".join(filter(None, [note, *(notes if counted.any() else [])])),
        )
        for name, score, floor, support in zip(
            ("precision", "recall", "f1"), scores, floors[best], supports, strict=True
        )
    ]
    return rows, scores[2], floors[best][2]


def _mse_rows(pooled: Pooled, weights: np.ndarray, confidence: float) -> list[Row]:
    target = cell_targets([image.boxes for image in pooled.drawn])
    maps = pooled.maps(lambda floors: floors.maps, pooled.everywhere)
    names = list(maps)
    errors = [
        ((target - confidences) ** 2).mean(axis=(1, 2)) for confidences in (pooled.answers.probability, *maps.values())
    ]
    estimates = weighted_ratios(np.stack(errors, axis=1), np.ones((len(target), len(errors))), weights)
    best = int(np.argmin([estimate.value for estimate in estimates[1:]]))
    return [
        metric_row(
            "mse",
            "all",
            estimates[0],
            estimates[1 + best],
            names[best],
            confidence=confidence,
            support=len(target),
            **telling(pooled.patients),
        )
    ]


# Boxes

MEANS = ("map50", "map50_95", "froc_mean", "froc")  # of "all": means over the findings


def _box_rows(
    pooled: Pooled, drawn: Curves, constants: Mapping[str, Curves], weights: np.ndarray, confidence: float
) -> list[Row]:
    having = {label: patients_with(label, pooled) for label in ("all", *BOXED_FINDINGS)}
    counts = np.array([len(np.unique(having[finding])) for finding in BOXED_FINDINGS])
    counted = counts >= FEWEST
    used = [
        having[name] for name, use in zip(BOXED_FINDINGS, counted if counted.any() else counts > 0, strict=True) if use
    ]
    model = _box_estimates(pooled.answers.boxes, pooled.kept, pooled.drawn, weights, counted)
    model |= froc_estimates(drawn, counted)
    floors = {
        name: _box_estimates(boxes, boxes, pooled.drawn, weights, counted) | froc_estimates(constants[name], counted)
        for name, boxes in pooled.constants.items()
    }
    left_out = [name for name, use in zip(BOXED_FINDINGS, counted, strict=True) if not use and counted.any()]
    foreign = pooled.answers.foreign
    nothing = Estimate(np.nan, np.full(len(weights), np.nan))
    rows = []
    for (metric, label), score in model.items():
        higher = of(metric).higher_is_better
        any_class = ANY_CLASS in parts(metric).endings
        mean = label == "all" and not any_class and parts(metric).stem in MEANS
        undefined = foreign and not any_class
        best, others = _best({name: estimates[metric, label] for name, estimates in floors.items()}, higher)
        boxes = sum(len(image.labels if label == "all" else image.of_label(label).labels) for image in pooled.drawn)
        asked = (used if mean else [having[label]]) if higher else [pooled.patients]
        notes = [
            "undefined: the predicted classes are not findings" if undefined else "",
            "" if boxes or not higher else "no such box in the split",
            _left_out_note(left_out) if mean else "",
            others,
        ]
        rows.append(
            metric_row(
                metric,
                label,
                nothing if undefined else score,
                floors[best][metric, label],
                best,
                confidence=confidence,
                support=boxes if higher else len(pooled.drawn),
                **telling(*asked),
                note="; ".join(filter(None, notes)),
            )
        )
    return rows


def _box_estimates(
    predicted: list[ImageBoxes],
    kept: list[ImageBoxes],
    drawn: list[ImageBoxes],
    weights: np.ndarray,
    counted: Sequence[bool],
) -> dict[tuple[str, str], Estimate]:
    """Scores of boxes by metric and label; kept: predicted boxes that reach the threshold."""
    return precision_estimates(predicted, drawn, weights, counted) | hit_estimates(kept, drawn, weights)


def _best(floors: dict[str, Estimate], higher_is_better: bool) -> tuple[str, str]:
    """The name of the best floor, and a note with the values of the others."""
    sign = 1 if higher_is_better else -1
    best = max(floors, key=lambda name: np.nan_to_num(sign * floors[name].value, nan=-np.inf))
    others = [
        f"{name} {floor.value:.4f}" for name, floor in floors.items() if name != best and np.isfinite(floor.value)
    ]
    return best, "other floors: " + ", ".join(others) if others else ""
