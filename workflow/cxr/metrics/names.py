"""Names of metrics and labels for readers, which direction is better, and the glossary."""

from collections.abc import Iterable
from dataclasses import dataclass

from cxr.labels import NO_FINDING

LABEL_NAMES = {
    "": "",
    "all": "all boxes",
    "mean8": "mean of the boxed findings",
    "mean14": "mean of the 14 findings",
    "mean15": "mean of all 15 labels",
    "findings": "among the findings, on images with one",
    "large_both": "large (w > 384, h > 256)",
    "large_either": "large (the same, or turned)",
    "large_area": "large (w × h > 384 × 256)",
}
WITH_NO_FINDING = ("", NO_FINDING)


@dataclass(frozen=True)
class Metric:
    """A metric, whatever the endings of its name (``ENDINGS``).

    name: for readers. meaning: its glossary entry, "" where `MORE_GLOSSARY` explains it. higher_is_better: whether the
    higher of two values is better. judged: compared with its floor; a metric that can be traded for its counterpart is only
    shown beside it. unjudged: labels of the rows that are only shown, because a shift of the share of "No Finding" moves
    them. at: its names end in a level, as in ``iou_hit_0.25``; shown: the levels in the tables paper / ours / floor.
    """

    name: str
    meaning: str = ""
    higher_is_better: bool = True
    judged: bool = True
    unjudged: tuple[str, ...] = ()
    at: bool = False
    shown: tuple[str, ...] | None = None


METRICS = {
    "loss": Metric(
        "Loss",
        "Cross-entropy on the test images, natural logarithm: categorical (softmax) or binary, mean over labels. Judged over "
        "the 14 findings; with “No Finding” it is only shown.",
        higher_is_better=False,
        unjudged=WITH_NO_FINDING,
    ),
    "accuracy": Metric(
        "Accuracy",
        "Softmax: share of images whose highest output is their first label. Sigmoid: share of image–label pairs right at 0.5. "
        "Judged over the 14 findings; with “No Finding” it is only shown, because a shift of that label's share moves it.",
        unjudged=WITH_NO_FINDING,
    ),
    "subset_accuracy": Metric("Exact-match accuracy", "Share of images with all 15 labels right.", judged=False),
    "auroc": Metric("AUROC", "Probability that an image with the label ranks above one without; 0.5 for any constant."),
    "auprc": Metric(
        "AUPRC",
        "Average precision of the ranking; for a constant, the mean over random rankings: the label's share of the test images, "
        "and more where few have it.",
    ),
    "label_sensitivity": Metric(
        "Sensitivity", "Share of the images with a label for which the label is predicted.", judged=False
    ),
    "mse": Metric(
        "Mean squared error",
        "Squared difference of confidence and target, mean over cells and images.",
        higher_is_better=False,
    ),
    "precision": Metric(
        "Precision",
        "Share of the predicted area that is diseased, mean over images; 0 for an empty prediction.",
        judged=False,
    ),
    "recall": Metric("Recall", "Share of the diseased area that is predicted, mean over images.", judged=False),
    "f1": Metric(
        "F1", "2PR / (P + R) of this precision and recall; predictions cut at a threshold (the paper's one-hot)."
    ),
    "map50": Metric(
        "mAP at IoU 0.5",
        "Mean over the findings of the average precision of their boxes; a box is found at an IoU of at least 0.5 (COCO).",
    ),
    "map50_95": Metric("mAP at IoU 0.5–0.95", "The same, averaged over IoU 0.50, 0.55 … 0.95."),
    "froc_mean": Metric(
        "FROC, mean",
        "Mean share of true boxes found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per image.",
    ),
    "froc": Metric("FROC at", at=True, shown=("1",)),
    "iou_hit": Metric("IoU hit", judged=False, at=True),
    "iobb_hit": Metric("IoBB hit", judged=False, at=True),
    "centre_hit": Metric(
        "Centre hit", "Share of true boxes that hold the centre of a predicted box of the finding.", judged=False
    ),
    "false_positives_per_image": Metric(
        "False positives per image",
        "Predicted boxes whose IoU with every true box is below 0.1, per image.",
        higher_is_better=False,
        judged=False,
    ),
    "images_with_prediction": Metric(
        "Images with a prediction",
        "Share of test images with any prediction at or above the threshold.",
        judged=False,
    ),
}
WEIGHTED, IN_PIXELS, ANY_CLASS = "_weighted", "_pixels", "_any"
ENDINGS = {WEIGHTED: ", weighted", IN_PIXELS: ", in pixels", ANY_CLASS: ", any class"}
MORE_GLOSSARY = (
    (
        "Floor",
        "The best predictor that never looks at an image, fitted on the same training images and scored on the same test images. "
        "For labels there are up to three rungs: a constant; age, sex, view and follow-up number; these and the labels of the "
        "patient's training images. The floor is the one that is best in a cross-validation on the training images.",
    ),
    (
        "Verdict",
        "Better or worse: the interval of the paired difference excludes 0, and its p-value (t-distribution on the bootstrap "
        "error; Holm's correction over the labels of a table) is below one minus the level of the intervals. No verdict below "
        "10 patients that tell of the number (of a label: the fewer of those with it and those without); marked below 20.",
    ),
    ("Interval", "Percentile bootstrap: patients, not images, are resampled with replacement."),
    ("Weighted", "Areas weighted by the predicted confidence instead of cut at a threshold."),
    ("In pixels", "Exact areas instead of cells of the 16 × 16 grid."),
    ("IoU, IoBB", "Intersection of two boxes over their union; over the area of the predicted box."),
    (
        "IoU hit, IoBB hit",
        "Share of true boxes that a predicted box of the finding overlaps by at least this much. Not judged: more boxes find "
        "more, at any number of false positives.",
    ),
    ("FROC at", "Share of true boxes found, with an IoU of at least 0.1, at this many false positives per image."),
    (
        "F1 of a finding",
        "On the images with a box of the finding: the finding's own map against its own boxes, given that it is present.",
    ),
    ("Any class", "The class of the predicted box is ignored."),
    ("Support", "Number of images behind the score; in a label's row, of images (or true boxes) with that label."),
)


@dataclass(frozen=True)
class Parts:
    """The parts of a metric's name: the key in `METRICS`, its level or "", and its endings in the order of the name."""

    stem: str
    level: str
    endings: tuple[str, ...]


def parts(metric: str) -> Parts:
    """Split a metric's name: ``f1_weighted_pixels`` → f1, weighted, in pixels. Raises KeyError if it is not in `METRICS`."""
    stem, endings = metric, ()
    while found := next((end for end in ENDINGS if stem.endswith(end)), None):
        stem, endings = stem.removesuffix(found), (found, *endings)
    base, _, level = stem.rpartition("_")
    if stem in METRICS and not METRICS[stem].at:
        return Parts(stem, "", endings)
    if base in METRICS and METRICS[base].at:
        return Parts(base, level, endings)
    raise KeyError(f"{metric}: not in METRICS of cxr/metrics/names.py; describe it there")


def of(metric: str) -> Metric:
    """Return a metric's entry in `METRICS`. Raises KeyError if it has none."""
    return METRICS[parts(metric).stem]


def judged(metric: str, label: str) -> bool:
    """Return whether a row is compared with its floor."""
    return of(metric).judged and label not in of(metric).unjudged


def metric_name(metric: str) -> str:
    """Return a metric's name for readers: ``f1_weighted_pixels`` → ``F1, weighted, in pixels``."""
    found = parts(metric)
    level = f" {found.level}" if found.level else ""
    return METRICS[found.stem].name + level + "".join(ENDINGS[end] for end in found.endings)


def label_name(label: str) -> str:
    return LABEL_NAMES.get(label, label.replace("_", " "))


def row_name(metric: str, label: str) -> str:
    """Return the name of a metric row for readers: ``AUROC, mean of the 14 findings``."""
    return ", ".join(filter(None, [metric_name(metric), label_name(label) if label != "all" else ""]))


def glossary(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Explain these metrics, as far as they need it, and the terms around them."""
    stems = {parts(metric).stem for metric in metrics}
    explained = [(each.name, each.meaning) for name, each in METRICS.items() if name in stems and each.meaning]
    return explained + list(MORE_GLOSSARY)
