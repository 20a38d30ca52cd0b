"""What readers call metrics and labels, and what the glossary says of them."""

from collections.abc import Iterable

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
METRICS = {  # metric: (name, one line for the glossary)
    "loss": (
        "Loss",
        "Cross-entropy on the test images, natural logarithm: categorical (softmax) or binary, mean over labels.",
    ),
    "accuracy": (
        "Accuracy",
        "Softmax: the highest output is the first label. Sigmoid: share of image–label pairs right at 0.5.",
    ),
    "subset_accuracy": ("Exact-match accuracy", "Share of images with all 15 labels right."),
    "auroc": ("AUROC", "Chance that an image with the label is ranked above one without; 0.5 for anything image-free."),
    "auprc": ("AUPRC", "Average precision over the ranking; image-free, it is the label's share of the test images."),
    "label_sensitivity": ("Sensitivity", "Share of the images with a label that are given it."),
    "mse": ("Mean squared error", "Squared distance of confidence and target, mean over cells and images."),
    "precision": (
        "Precision",
        "Share of the predicted area that is diseased, mean over images; 0 for an empty prediction.",
    ),
    "recall": ("Recall", "Share of the diseased area that is predicted, mean over images."),
    "f1": ("F1", "2PR / (P + R) of that precision and recall; prediction cut at a threshold (the paper's one-hot)."),
    "map50": ("mAP50", "Mean average precision of boxes with an IoU of at least 0.5 (COCO)."),
    "map50_95": ("mAP50–95", "The same, averaged over IoU 0.50, 0.55 … 0.95."),
    "froc_mean": (
        "FROC, mean",
        "Mean share of true boxes found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives an image.",
    ),
    "centre_hit": ("Centre hit", "Share of true boxes that hold the centre of a predicted box of the finding."),
    "false_positives_per_image": (
        "False positives per image",
        "Predicted boxes with an IoU below 0.1 with every true box.",
    ),
    "images_with_prediction": (
        "Images with a prediction",
        "Share of test images with any prediction above the threshold.",
    ),
}
STEMS = {"iou_hit": "IoU hit", "iobb_hit": "IoBB hit", "froc": "FROC at"}
ENDINGS = {"_weighted": ", weighted", "_pixels": ", in pixels", "_any": ", any class"}
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


def metric_name(metric: str) -> str:
    """Return a metric's name for readers: ``f1_weighted_pixels`` → ``F1, weighted, in pixels``."""
    stem, ending = _parts(metric)
    if stem in METRICS:
        return METRICS[stem][0] + ending
    base, _, level = stem.rpartition("_")
    return (f"{STEMS[base]} {level}" if base in STEMS else stem.replace("_", " ")) + ending


def _parts(metric: str) -> tuple[str, str]:
    """Part a metric from its endings; these for readers."""
    stem, ending = metric, ""
    while found := next((end for end in ENDINGS if stem.endswith(end)), None):
        stem, ending = stem.removesuffix(found), ENDINGS[found] + ending
    return stem, ending


def label_name(label: str) -> str:
    return LABEL_NAMES.get(label, label.replace("_", " "))


def row_name(metric: str, label: str) -> str:
    """Return the name of a metric row for readers: ``AUROC, mean of the 14 findings``."""
    return ", ".join(filter(None, [metric_name(metric), label_name(label) if label != "all" else ""]))


def glossary(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Explain those of the metrics that need it, and the words around them."""
    stems = {_parts(metric)[0] for metric in metrics}
    return [METRICS[name] for name in METRICS if name in stems] + list(MORE_GLOSSARY)
