"""Metrics and labels: what readers call them, which way is better, and what the glossary says of them."""

from collections.abc import Iterable
from dataclasses import dataclass

LABEL_NAMES = {
    "": "",
    "all": "all boxes",
    "mean8": "mean of the boxed findings",
    "mean14": "mean of the 14 findings",
    "mean15": "mean of all 15 labels",
    "large_both": "large (w > 384, h > 256)",
    "large_either": "large (the same, or turned)",
    "large_area": "large (w × h > 384 × 256)",
}


@dataclass(frozen=True)
class Metric:
    """A metric, whatever the endings of its name (``ENDINGS``).

    name: for readers. meaning: a line of the glossary, "" where `MORE_GLOSSARY` explains it. higher_is_better: of a pair of
    values. judged: compared with its floor in the tables paper / ours / floor; what can be bought with its counterpart is
    only described there. at: its names end in a level, as in ``iou_hit_0.25``; shown: those levels that stand in these tables.
    """

    name: str
    meaning: str = ""
    higher_is_better: bool = True
    judged: bool = True
    at: bool = False
    shown: tuple[str, ...] | None = None


METRICS = {
    "loss": Metric(
        "Loss",
        "Cross-entropy on the test images, natural logarithm: categorical (softmax) or binary, mean over labels.",
        higher_is_better=False,
    ),
    "accuracy": Metric(
        "Accuracy",
        "Softmax: the highest output is the first label. Sigmoid: share of image–label pairs right at 0.5.",
    ),
    "subset_accuracy": Metric("Exact-match accuracy", "Share of images with all 15 labels right."),
    "auroc": Metric(
        "AUROC", "Chance that an image with the label is ranked above one without; 0.5 for anything image-free."
    ),
    "auprc": Metric(
        "AUPRC", "Average precision over the ranking; image-free, it is the label's share of the test images."
    ),
    "label_sensitivity": Metric("Sensitivity", "Share of the images with a label that are given it.", judged=False),
    "mse": Metric(
        "Mean squared error",
        "Squared distance of confidence and target, mean over cells and images.",
        higher_is_better=False,
    ),
    "precision": Metric(
        "Precision",
        "Share of the predicted area that is diseased, mean over images; 0 for an empty prediction.",
        judged=False,
    ),
    "recall": Metric("Recall", "Share of the diseased area that is predicted, mean over images.", judged=False),
    "f1": Metric(
        "F1", "2PR / (P + R) of that precision and recall; prediction cut at a threshold (the paper's one-hot)."
    ),
    "map50": Metric("mAP50", "Mean average precision of boxes with an IoU of at least 0.5 (COCO)."),
    "map50_95": Metric("mAP50–95", "The same, averaged over IoU 0.50, 0.55 … 0.95."),
    "froc_mean": Metric(
        "FROC, mean",
        "Mean share of true boxes found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives an image.",
    ),
    "froc": Metric("FROC at", at=True, shown=("1",)),
    "iou_hit": Metric("IoU hit", at=True),
    "iobb_hit": Metric("IoBB hit", at=True),
    "centre_hit": Metric("Centre hit", "Share of true boxes that hold the centre of a predicted box of the finding."),
    "false_positives_per_image": Metric(
        "False positives per image",
        "Predicted boxes with an IoU below 0.1 with every true box.",
        higher_is_better=False,
        judged=False,
    ),
    "images_with_prediction": Metric(
        "Images with a prediction",
        "Share of test images with any prediction above the threshold.",
        judged=False,
    ),
}
WEIGHTED, IN_PIXELS, ANY_CLASS = "_weighted", "_pixels", "_any"
ENDINGS = {WEIGHTED: ", weighted", IN_PIXELS: ", in pixels", ANY_CLASS: ", any class"}
MORE_GLOSSARY = (
    (
        "Floor",
        "The best predictor that never looks at an image, fitted on the same training images, scored on the same test images.",
    ),
    ("Interval", "Percentile bootstrap: patients, not images, are drawn again with replacement."),
    ("Weighted", "Areas are weighted by the predicted confidence instead of being cut at a threshold."),
    ("In pixels", "Exact areas instead of cells of the 16 × 16 grid."),
    ("IoU, IoBB", "Intersection over the union of two boxes; over the area of the predicted box alone."),
    ("IoU hit, IoBB hit", "Share of true boxes that a predicted box of the finding overlaps by at least so much."),
    ("FROC at", "Share of true boxes found, with an IoU of at least 0.1, at so many false positives an image."),
    (
        "F1 of a finding",
        "On the images that have the finding boxed: its own map against its own boxes, as if told what to look for.",
    ),
    ("Any class", "The class of the predicted box is disregarded."),
    ("Support", "Images, or for a label's row the images (or true boxes) with that label, behind the number."),
)


@dataclass(frozen=True)
class Parts:
    """The parts of a metric's name: the key in `METRICS`, its level or "", and its endings in the order of the name."""

    stem: str
    level: str
    endings: tuple[str, ...]


def parts(metric: str) -> Parts:
    """Take a metric's name apart: ``f1_weighted_pixels`` → f1, weighted, in pixels. Raises KeyError for none of `METRICS`."""
    stem, endings = metric, ()
    while found := next((end for end in ENDINGS if stem.endswith(end)), None):
        stem, endings = stem.removesuffix(found), (found, *endings)
    base, _, level = stem.rpartition("_")
    if stem in METRICS and not METRICS[stem].at:
        return Parts(stem, "", endings)
    if base in METRICS and METRICS[base].at:
        return Parts(base, level, endings)
    raise KeyError(f"{metric}: no metric of METRICS in cxr/metrics/names.py; describe it there")


def of(metric: str) -> Metric:
    """Return what is known of a metric. Raises KeyError for none of `METRICS`."""
    return METRICS[parts(metric).stem]


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
    """Explain those of the metrics that need it, and the words around them."""
    stems = {parts(metric).stem for metric in metrics}
    explained = [(each.name, each.meaning) for name, each in METRICS.items() if name in stems and each.meaning]
    return explained + list(MORE_GLOSSARY)
