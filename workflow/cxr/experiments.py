"""The experiments of the study: one row for each, with what the rules, the report and predictions of new images need."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cxr.settings import Section, Settings

NOT_IN_PAPER = "not in the paper"
SOFTMAX_NUMBERS = (
    ("loss", ""), ("loss", "findings"), ("accuracy", ""), ("accuracy", "findings"), ("auroc", "mean14")
)  # fmt: skip
SIGMOID_NUMBERS = (("loss", ""), ("loss", "mean14"), ("accuracy", ""), ("accuracy", "mean14"), ("auroc", "mean14"))
BOX_NUMBERS = (("f1", "all"), ("map50", "all"))


@dataclass(frozen=True)
class Experiment:
    """An experiment, in the order in which the report shows them.

    name: as in metric tables and result paths; `transfer` stands for all of its pairs (`family`).
    kind: what is predicted: a probability per label (classifier), boxes, or cells of the 16 × 16 grid.
    section: name of its settings within those of a protocol.
    title, short: its name as a heading of the report, and within a sentence.
    source: its place in the paper. did: what was done. reading: what an image-free predictor scores on the paper's numbers.
    headline: (metric, label) of the numbers that the paper prints, and of those that it should have printed.
    folder: of a job, below the results; fields protocol and fold.
    trained: its jobs leave a model and a history. predicts: its models may predict new images.
    names_findings: its predictions name the finding.
    needs: settings of its section without which the experiment does not run, and why.
    stand_in: the experiment with another network that is run in its place, where both are asked for and this cannot run.
    curves: the figure of the paper that its learning curves correspond to.
    """

    name: str
    kind: Literal["classifier", "boxes", "cells"]
    section: str
    title: str
    short: str
    source: str
    did: str
    reading: str
    headline: tuple[tuple[str, str], ...]
    folder: str
    trained: bool = True
    predicts: bool = True
    names_findings: bool = True
    needs: tuple[tuple[str, str], ...] = ()
    stand_in: str = ""
    curves: str = ""

    @property
    def in_folds(self) -> bool:
        """Whether it is trained and tested once per fold of the boxed images."""
        return self.kind != "classifier"

    def settings(self, study: Settings, protocol: str) -> Section:
        """Return its section of a protocol's settings."""
        return getattr(getattr(study, protocol), self.section)


EXPERIMENTS = (
    Experiment(
        name="baseline_softmax",
        kind="classifier",
        section="baseline",
        title="Baseline ResNet, softmax",
        short="softmax baseline",
        source="§3.1, figures 3 and 4",
        did="A ResNet50 trained from scratch with a softmax output and categorical cross-entropy, as if every image had one "
        "label.",
        reading="The class prior has cross-entropy 2.51 (2.44 on the first archive), and answering “No Finding” every time is "
        "right for 0.538 of the images (0.551 on the first archive): the paper's 2.43 and 55%.",
        headline=SOFTMAX_NUMBERS,
        folder="baseline/{protocol}/softmax",
        predicts=False,
        curves="figure 3",
    ),
    Experiment(
        name="baseline_sigmoid",
        kind="classifier",
        section="baseline",
        title="Baseline ResNet, sigmoid",
        short="sigmoid baseline",
        source="§3.1, figure 4",
        did="The same network with 15 sigmoid outputs and binary cross-entropy; accuracy is taken over all image–label pairs.",
        reading="Answering the majority of each label is right for 0.921 of the image–label pairs, and the constant label "
        "prior has loss 0.217: the paper's 92% and 0.24.",
        headline=SIGMOID_NUMBERS,
        folder="baseline/{protocol}/sigmoid",
        curves="figure 4",
    ),
    Experiment(
        name="transfer",
        kind="classifier",
        section="transfer",
        title="Transfer learning, trainable layers × data size",
        short="transfer",
        source="§3.2, figures 5 to 7",
        did="An ImageNet ResNet50 with a new 15-way output layer. The last c layers are trained on s images, for every pair "
        "(c, s) of a 20 × 13 grid; the pairs that are best on validation are then trained for longer.",
        reading="The majority classifier never looks at an image, and by the paper's own words its models equal it. The "
        "advantage on validation is that of the best of 260 noisy pairs; “Claim by claim” says how much of it chance gives.",
        headline=(
            ("accuracy", ""),
            ("accuracy", "mean14"),
            ("auroc", "mean14"),
            ("label_sensitivity", "No Finding"),
        ),
        folder="transfer_long/{protocol}/{pair}",
    ),
    Experiment(
        name="yolov2_off_the_shelf",
        kind="boxes",
        section="yolov2",
        title="YOLOv2 off the shelf",
        short="YOLOv2 off the shelf",
        source="§3.3.1",
        did="YOLOv2 (Darknet), the paper's network, finds everyday objects in chest X-rays; its boxes are scored as disease "
        "areas.",
        reading="Declaring the whole image diseased has F1 0.146: the paper's 15%.",
        headline=(("f1", "all"), ("map50_any", "all")),
        folder="yolov2_off_the_shelf/{protocol}/fold{fold}",
        trained=False,
        predicts=False,
        names_findings=False,
        needs=(
            ("enabled", "{protocol}.yolov2.enabled is false"),
            (
                "pretrained",
                "no YOLOv2 weights: set {protocol}.yolov2.pretrained to a Darknet file such as the authors' yolov2.weights",
            ),
        ),
        stand_in="yolo_off_the_shelf",
    ),
    Experiment(
        name="yolov2_finetuned",
        kind="boxes",
        section="yolov2",
        title="YOLOv2 fine-tuned",
        short="YOLOv2 fine-tuned",
        source="§3.3.2",
        did="YOLOv2 (Darknet), the paper's network, with a last convolution of 65 filters for 8 findings, of which the final "
        "layers are trained on the boxed images.",
        reading="The paper prints no score, only the number of test images with any prediction; the mean training mask "
        "predicts on every image.",
        headline=(("images_with_prediction", "all"), *BOX_NUMBERS),
        folder="yolov2_finetuned/{protocol}/fold{fold}",
        needs=(("enabled", "{protocol}.yolov2.enabled is false"),),
        stand_in="yolo_finetuned",
    ),
    Experiment(
        name="yolo_off_the_shelf",
        kind="boxes",
        section="yolo",
        title="YOLO off the shelf",
        short="YOLO off the shelf",
        source="§3.3.1, with another network",
        did="A YOLO of ultralytics, not the paper's YOLOv2, with its COCO weights finds everyday objects in chest X-rays; its "
        "boxes are scored as disease areas.",
        reading="Declaring the whole image diseased has F1 0.146: the paper's 15%.",
        headline=(("f1", "all"), ("map50_any", "all")),
        folder="yolo_off_the_shelf/{protocol}/fold{fold}",
        trained=False,
        predicts=False,
        names_findings=False,
        needs=(
            ("enabled", "{protocol}.yolo.enabled is false"),
            ("pretrained", "no COCO weights: set {protocol}.yolo.pretrained to a weights file"),
        ),
    ),
    Experiment(
        name="yolo_finetuned",
        kind="boxes",
        section="yolo",
        title="YOLO fine-tuned",
        short="YOLO fine-tuned",
        source="§3.3.2, with another network",
        did="A YOLO of ultralytics, not the paper's YOLOv2, trained on the boxed images.",
        reading="The paper prints no score, only the number of test images with any prediction; the mean training mask "
        "predicts on every image.",
        headline=(("images_with_prediction", "all"), *BOX_NUMBERS),
        folder="yolo_finetuned/{protocol}/fold{fold}",
        needs=(("enabled", "{protocol}.yolo.enabled is false"),),
    ),
    Experiment(
        name="torchvision_detector",
        kind="boxes",
        section="torchvision_detector",
        title="torchvision detector",
        short="torchvision detector",
        source=NOT_IN_PAPER,
        did="Not in the paper: torchvision's Faster R-CNN or RetinaNet (BSD licence), trained on the same boxed images as "
        "YOLO (AGPL).",
        reading="The mean training mask, cut at its best threshold, has an F1 of about 0.33.",
        headline=BOX_NUMBERS,
        folder="torchvision_detector/{protocol}/fold{fold}",
        needs=(("enabled", "{protocol}.torchvision_detector.enabled is false"),),
    ),
    Experiment(
        name="gridcnn",
        kind="cells",
        section="gridcnn",
        title="Grid CNN, 18 convolutions",
        short="grid CNN",
        source="§3.3.3, figures 2 and 8 to 10",
        did="A network of 18 convolutions and one dense layer marks 16 × 16 cells of an image as diseased. It is trained with "
        "mean squared error.",
        reading="The mean training mask as confidence has precision 0.183, recall 0.182, F1 0.182 and mean squared error "
        "0.065; the same mask, cut at its best threshold, has an F1 of about 0.33.",
        headline=(
            ("mse", "all"),
            ("f1_weighted", "all"),
            ("precision_weighted", "all"),
            ("recall_weighted", "all"),
            ("f1_weighted", "large_both"),
            ("f1", "all"),
            ("recall", "all"),
        ),
        folder="gridcnn/{protocol}/fold{fold}",
        curves="figure 10",
    ),
)
BY_NAME = {each.name: each for each in EXPERIMENTS}
TITLES = {each.name: each.title for each in EXPERIMENTS}

Key = tuple[str, str]  # protocol, experiment
Job = tuple[str, str, str]  # protocol, experiment, fold ("" where the experiment has none)


def family(experiment: str) -> str:
    """Return the row that a metric table's experiment belongs to: ``transfer_c2_s5000`` → ``transfer``."""
    return "transfer" if pair(experiment) else experiment


def pair(experiment: str) -> tuple[int, int] | None:
    """Return (trainable layers, images) of a transfer experiment's name; None for any other."""
    found = re.fullmatch(r"transfer_c(\d+)_s(\d+)", experiment)
    return (int(found[1]), int(found[2])) if found else None


def skipped(settings: Settings) -> dict[Key, str]:
    """Return why experiments do not run under a protocol, and what is run in their place."""
    found = {}
    for protocol in settings.protocols:
        reasons = {each.name: _reason(each, settings, protocol) for each in EXPERIMENTS}
        for name, reason in reasons.items():
            if reason:
                found[protocol, name] = reason + _instead(BY_NAME[name].stand_in, reasons)
    return found


def fine_tuned_yolo(settings: Settings, protocol: str) -> str:
    """Return the fine-tuned YOLO that a protocol runs: the paper's own network before the one that stands in; "" for none."""
    left_out = skipped(settings)
    own = BY_NAME["yolov2_finetuned"]
    return next((name for name in (own.name, own.stand_in) if (protocol, name) not in left_out), "")


def _instead(stand_in: str, reasons: Mapping[str, str]) -> str:
    """Say what is run in the place of an experiment that has a stand-in. reasons: as in `_reason`, of all experiments."""
    if not stand_in:
        return ""
    return "; nothing is run instead" if reasons[stand_in] else f"; {TITLES[stand_in]}, another network, is run instead"


def _reason(experiment: Experiment, settings: Settings, protocol: str) -> str:
    """Return why an experiment does not run under a protocol; "" if it does."""
    section = experiment.settings(settings, protocol)
    reasons = [reason.format(protocol=protocol) for name, reason in experiment.needs if not getattr(section, name)]
    return reasons[0] if reasons else ""


def jobs(settings: Settings) -> dict[Job, str]:
    """Return the folder, below the results, of every job that predicts test images.

    The long transfer runs are not included: they are known only once the grid has been trained.
    """
    return {
        (protocol, each.name, fold): each.folder.format(protocol=protocol, fold=fold)
        for protocol, each in sorted(_running(settings), key=lambda running: running[1].in_folds)  # classifiers first
        if each.name != "transfer"
        for fold in (map(str, range(getattr(settings, protocol).split.box_folds)) if each.in_folds else [""])
    }


def detectors(settings: Settings) -> list[Key]:
    """Return the detectors of boxes and of cells that run."""
    return [(protocol, each.name) for protocol, each in _running(settings) if each.in_folds]


def _running(settings: Settings) -> Iterator[tuple[str, Experiment]]:
    left_out = skipped(settings)
    for protocol in settings.protocols:
        for each in EXPERIMENTS:
            if (protocol, each.name) not in left_out:
                yield protocol, each
