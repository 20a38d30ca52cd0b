"""The numbers the paper prints, each with what an image-free predictor scores.

Source: A. Chambers, A. Sharma, Y. Liu, "Transfer Learning: Classifying Chest Medical Conditions From Chest X-Rays".
"""

from dataclasses import dataclass

from cxr import experiments

LARGE = ("large_both", "large_either", "large_area")  # three readings of "larger than 384x256 pixels"
TRANSFER_PAIRS = ((2, 5000), (19, 3000))  # (layers, size) the paper trained long, better validation accuracy first
# Section 3.3.2 on YOLOv2: predictions "visible in the first few epochs", gone after 20, back "after another 50"; section 2.3.3 has
# 40 epochs in all.
FIRST, GONE_AT = 5, 20
PREDICTED_AT = (GONE_AT, 40, GONE_AT + 50)


@dataclass(frozen=True)
class PaperNumber:
    """A number the paper prints.

    experiment, metric, label: as in metric tables (``transfer`` stands for any pair; label ``large`` for any of LARGE).
    value: fraction or loss; NaN if the paper gives only words.
    printed: as in the paper.
    where: its section or figure.
    reading: what an image-free predictor scores on the whole release, or what else a reader must know.
    """

    experiment: str
    metric: str
    label: str
    value: float
    printed: str
    where: str
    reading: str


NAN = float("nan")
CHOSEN = "Measured on the validation images that chose the pair out of 260."
SUBSET = "The paper does not say what “larger than 384x256” means: there are three readings."
WHOLE_IMAGE = "“The whole image is diseased”: 0.146."
MEAN_MASK = "1 for the mean training mask, which predicts on every image."
OTHER = "The paper's number is of YOLOv2, another network."
NUMBERS = (
    PaperNumber("baseline_softmax", "loss", "", 2.43, "2.43", "§3.1", "Class prior: 2.51 (2.44 on the first archive)."),
    PaperNumber(
        "baseline_softmax",
        "accuracy",
        "",
        0.55,
        "55%",
        "§3.1",
        "Always “No Finding”: 0.538 (0.551 on the first archive).",
    ),
    PaperNumber("baseline_sigmoid", "loss", "", 0.24, "0.24", "§3.1", "Constant at the label prior: 0.217."),
    PaperNumber("baseline_sigmoid", "accuracy", "", 0.92, "92%", "§3.1", "Majority of each label: 0.921."),
    PaperNumber("transfer_c2_s5000", "validation_gain", "", 0.0659, "+6.59%", "§3.2", CHOSEN),
    PaperNumber("transfer_c19_s3000", "validation_gain", "", 0.0633, "+6.33%", "§3.2", CHOSEN),
    PaperNumber(
        "transfer",
        "accuracy",
        "",
        NAN,
        "majority classifier ± 0.01",
        "§3.2",
        "The majority classifier itself, by the paper's own words.",
    ),
    PaperNumber(
        "transfer",
        "label_sensitivity",
        "No Finding",
        1.0,
        "100%",
        "§3.2",
        "1 for the majority classifier, which has every other label wrong.",
    ),
    PaperNumber("yolov2_off_the_shelf", "f1", "all", 0.15, "≈ 15%", "§3.3.1", WHOLE_IMAGE),
    PaperNumber("yolov2_finetuned", "images_with_prediction", "all", 24 / 129, "24 of 129", "§3.3.2", MEAN_MASK),
    PaperNumber("yolo_off_the_shelf", "f1", "all", 0.15, "≈ 15%", "§3.3.1", f"{OTHER} {WHOLE_IMAGE}"),
    PaperNumber(
        "yolo_finetuned", "images_with_prediction", "all", 24 / 129, "24 of 129", "§3.3.2", f"{OTHER} {MEAN_MASK}"
    ),
    PaperNumber("gridcnn", "mse", "all", 0.06, "0.24 → 0.06", "§3.3.3", "Mean training mask: 0.065."),
    PaperNumber("gridcnn", "recall", "all", 1.0, "100%", "§3.3.3", "1 for “the whole image is diseased”."),
    PaperNumber("gridcnn", "precision_weighted", "all", 0.1727, "17.27%", "§3.3.3", "Mean training mask: 0.183."),
    PaperNumber("gridcnn", "recall_weighted", "all", 0.2132, "21.32%", "§3.3.3", "Mean training mask: 0.182."),
    PaperNumber(
        "gridcnn",
        "f1_weighted",
        "all",
        0.1909,
        "19.09%",
        "§3.3.3",
        "Mean training mask: 0.182; cut at its best threshold about 0.33.",
    ),
    PaperNumber("gridcnn", "precision_weighted", "large", 0.2542, "25.42%", "§3.3.3", SUBSET),
    PaperNumber("gridcnn", "recall_weighted", "large", 0.2404, "24.04%", "§3.3.3", SUBSET),
    PaperNumber("gridcnn", "f1_weighted", "large", 0.2471, "24.71%", "§3.3.3", SUBSET),
)


def number(experiment: str, metric: str, label: str) -> PaperNumber | None:
    """Return what the paper prints for a row of a metric table, or None if it prints nothing."""
    names = (experiment, experiments.family(experiment))
    wanted = "large" if label in LARGE else label
    for entry in NUMBERS:
        if entry.experiment in names and entry.metric == metric and entry.label == wanted:
            return entry
    return None
