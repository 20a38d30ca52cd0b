"""The numbers the paper prints, each with what a predictor that never looks at an image gets.

Source: A. Chambers, A. Sharma, Y. Liu, "Transfer Learning: Classifying Chest Medical Conditions From Chest X-Rays".
"""

import re
from dataclasses import dataclass

LARGE = ("large_both", "large_either", "large_area")  # three readings of "larger than 384x256 pixels"
TRANSFER_PAIRS = ((2, 5000), (19, 3000))  # (layers, size) the paper trained long, better validation accuracy first


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper: ``family`` is the name in metric tables (all transfer pairs share one)."""

    family: str
    title: str
    section: str
    did: str
    reading: str


@dataclass(frozen=True)
class PaperNumber:
    """A number the paper prints.

    experiment, metric, label: as in metric tables (``transfer`` stands for any pair; label ``large`` for any of LARGE).
    value: fraction or loss; NaN where the paper gives words only.
    printed: as in the paper.
    where: its section or figure.
    reading: what an image-free predictor gets on the whole release, or what else a reader must know.
    """

    experiment: str
    metric: str
    label: str
    value: float
    printed: str
    where: str
    reading: str


EXPERIMENTS = (
    Experiment(
        "baseline_softmax",
        "Baseline ResNet, softmax",
        "§3.1, figures 3 and 4",
        "A ResNet50 trained from scratch with a softmax output and categorical cross-entropy, as if every image had one label.",
        "The class prior has cross-entropy 2.51 (2.44 on the first archive), and answering “No Finding” every time is right "
        "for 0.538 of the images (0.551 on the first archive): the paper's 2.43 and 55%.",
    ),
    Experiment(
        "baseline_sigmoid",
        "Baseline ResNet, sigmoid",
        "§3.1, figure 4",
        "The same network with 15 sigmoid outputs and binary cross-entropy; accuracy is taken over all image–label pairs.",
        "Answering the majority of each label is right for 0.921 of the image–label pairs, and the constant label prior has "
        "loss 0.217: the paper's 92% and 0.24.",
    ),
    Experiment(
        "transfer",
        "Transfer learning, trainable layers × data size",
        "§3.2, figures 5 to 7",
        "An ImageNet ResNet50 under a new 15-way layer; the last c layers train on s images, for every pair of a 20 × 13 grid; "
        "the best pairs on validation train long.",
        "The majority classifier never looks, and the paper's models equal it by its own words. The advantage on validation "
        "is the best of 260 noisy pairs, as selection alone can produce it.",
    ),
    Experiment(
        "yolo_off_the_shelf",
        "YOLO off the shelf",
        "§3.3.1",
        "A YOLO with its COCO weights, asked for everyday objects in chest X-rays; its boxes are scored as disease areas.",
        "Declaring the whole image diseased has F1 0.146: the paper's 15%.",
    ),
    Experiment(
        "yolo_finetuned",
        "YOLO fine-tuned",
        "§3.3.2",
        "The same YOLO trained for 40 epochs on the boxed images.",
        "The paper prints no score, only how few test images had any prediction; the mean training mask predicts on every one.",
    ),
    Experiment(
        "torchvision_detector",
        "torchvision detector",
        "not in the paper",
        "No experiment of the paper: Faster R-CNN or RetinaNet of torchvision (BSD licence) trained on the same boxed images, "
        "beside YOLO (AGPL).",
        "The mean training mask, cut at its best threshold, has F1 of about 0.33.",
    ),
    Experiment(
        "gridcnn",
        "Grid CNN, 18 convolutions",
        "§3.3.3, figures 2 and 8 to 10",
        "A network of 18 convolutions and one dense layer marks 16 × 16 cells of an image as diseased, from mean squared error.",
        "The mean training mask as confidence has precision 0.183, recall 0.182, F1 0.182 and mean squared error 0.065; the "
        "same mask cut at its best threshold has F1 of about 0.33.",
    ),
)
TITLES = {each.family: each.title for each in EXPERIMENTS}

NAN = float("nan")
CHOSEN = "On the validation images that chose the pair out of 260."
SUBSET = "What “larger than 384x256” means is not said: three readings."
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
    PaperNumber("yolo_off_the_shelf", "f1", "all", 0.15, "≈ 15%", "§3.3.1", "“The whole image is diseased”: 0.146."),
    PaperNumber(
        "yolo_finetuned",
        "images_with_prediction",
        "all",
        24 / 129,
        "24 of 129",
        "§3.3.2",
        "1 for the mean training mask, which predicts on every image.",
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


def family(experiment: str) -> str:
    """Return the experiment of the paper a metric table's experiment belongs to: ``transfer_c2_s5000`` → ``transfer``."""
    return "transfer" if pair(experiment) else experiment


def pair(experiment: str) -> tuple[int, int] | None:
    """Return (trainable layers, images) of a transfer experiment's name; None for any other."""
    found = re.fullmatch(r"transfer_c(\d+)_s(\d+)", experiment)
    return (int(found[1]), int(found[2])) if found else None


def number(experiment: str, metric: str, label: str) -> PaperNumber | None:
    """Return what the paper prints for a row of a metric table, or None where it prints nothing."""
    names = (experiment, family(experiment))
    wanted = "large" if label in LARGE else label
    for entry in NUMBERS:
        if entry.experiment in names and entry.metric == metric and entry.label == wanted:
            return entry
    return None
