"""The learning curves of the report's sections on experiments: validation scores beside the floors on the same images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxr.boxes import VISIBLE
from cxr.experiments import Experiment, pair
from cxr.metrics.names import metric_name
from cxr.report import paper, samples
from cxr.report.figures import style
from cxr.report.figures.curves import Panel, compared_curves, curve_names, learning_curves
from cxr.report.inputs import SOURCE, ReportInputs
from cxr.report.rows import pair_name

SHOWN = "images_with_prediction"
Drawn = tuple[str, str, tuple[tuple[str, str], ...], str]  # curve, metric, test scores to look for, what the title adds
ROWS: Mapping[str, tuple[tuple[Drawn, ...], ...]] = {  # by kind of experiment: rows of panels
    "classifier": (
        (
            ("loss", "loss", (("loss", ""),), ", with “No Finding”"),
            ("accuracy", "accuracy", (("accuracy", ""),), ", with “No Finding”"),
        ),
        (
            ("loss_findings", "loss", (("loss", "mean14"), ("loss", "findings")), ", findings"),
            ("accuracy_findings", "accuracy", (("accuracy", "mean14"), ("accuracy", "findings")), ", findings"),
            ("auroc_findings", "auroc", (("auroc", "mean14"),), ", findings"),
        ),
    ),
    "cells": (
        (
            ("loss", "mse", (("mse", "all"),), ""),
            ("f1_weighted", "f1_weighted", (("f1_weighted", "all"),), ""),
            ("f1", "f1", (("f1", "all"),), ", best of nine cuts"),
        ),
    ),
    "boxes": (
        (
            ("loss", "loss", (), ""),
            ("map50", "map50", (("map50", "all"),), ""),
            (SHOWN, SHOWN, ((SHOWN, "all"),), ""),
        ),
    ),
}
FLOORS = {  # what the floor is, by kind of experiment
    "classifier": "the constant that is best on the training images",
    "cells": "the mean training mask, cut as the curve is",
    "boxes": "each finding's median training box on every image",
}
NOTES = {
    "classifier": "“Findings”: the 14 findings, which the verdicts are over; of a softmax, on the images with one. The AUROC "
    "is a mean over the findings that these images show; on the test images, over those that at least 10 patients have. ",
    "cells": "F1, best of nine cuts: on validation images at the best of the cuts 0.1 to 0.9 of each epoch, so it is too "
    "high; on test images at the cut that was chosen on validation images. ",
    "boxes": f"Images with a prediction: those with a box of confidence {VISIBLE:g} or more; on test images, at the threshold "
    "of the scores. ",
}
FOLLOWED = ("yolov2_finetuned", "yolo_finetuned")  # of which the paper tells by the epoch where predictions are visible


def figures(inputs: ReportInputs, about: Experiment) -> Iterator[dict[str, str]]:
    """Draw the learning curves of an experiment, one figure per protocol and pair."""
    if about.name == "transfer":
        yield from _pretraining(inputs)
    for key in inputs.experiments_of(about.name):
        if jobs := inputs.of_folds(inputs.histories, *key):
            yield from _figure(inputs, about, key, jobs)
    if about.name == "baseline_sigmoid":
        for protocol in inputs.protocols:
            yield from _compared(inputs, protocol)


def _figure(
    inputs: ReportInputs, about: Experiment, key: tuple[str, str], jobs: Sequence[pd.DataFrame]
) -> Iterator[dict[str, str]]:
    protocol, experiment = key
    history = pd.concat([each.assign(fold=number) for number, each in enumerate(jobs)], ignore_index=True)
    facts = inputs.of_folds(inputs.facts, *key)
    rows = panels(inputs, about, key, history, facts)
    if not any(rows):
        return
    chosen = pair(experiment)
    title = f"{protocol}, {pair_name(chosen)}" if chosen else protocol
    yield style.embedded(
        learning_curves(history, rows, [each["kept_epoch"] for each in facts if "kept_epoch" in each]),
        f"Learning curves, {title}",
        f"Protocol {title}{_counterpart(inputs, about, key)}. {_legend(about, rows, len(jobs))}"
        f"{_note(inputs, protocol, about)}{_sample(inputs, key, facts)}",
    )


def panels(
    inputs: ReportInputs,
    about: Experiment,
    key: tuple[str, str],
    history: pd.DataFrame,
    facts: Sequence[Mapping[str, Any]],
) -> list[list[Panel]]:
    """Return the panels of an experiment's learning curves, by row; a row without a curve is left out.

    The floor is that of the validation images, the mean over the folds.
    """
    known, found = curve_names(history), []
    for row in ROWS[about.kind]:
        mine = []
        for name, metric, kinds, words in row:
            floors = [each.get("validation", {}).get("floors", {}).get(name, np.nan) for each in facts]
            test = next((row["value"] for kind in kinds if (row := inputs.metric(*key, *kind))), np.nan)
            if name in known:
                floor = float(np.mean(floors or [np.nan]))
                marks = _marks(history) if name == SHOWN and key[0] == "paper" and about.name in FOLLOWED else ()
                mine.append(Panel(name, metric_name(metric) + words, floor, test, marks))
        found += [mine] if mine else []
    return found


def _marks(history: pd.DataFrame) -> tuple[int, ...]:
    """Return the epochs at which the paper tells of predictions, as far as they were trained."""
    return tuple(epoch for epoch in paper.PREDICTED_AT if epoch <= history["epoch"].max())


def _legend(about: Experiment, rows: Sequence[Sequence[Panel]], folds: int) -> str:
    every = [panel for row in rows for panel in row]
    words = "Blue: training images; orange: validation images. "
    if any(np.isfinite(panel.floor) for panel in every):
        words += f"Dashed: floor on validation images, {FLOORS[about.kind]}. "
    if marked := [epoch for panel in every for epoch in panel.marks]:
        told = ", ".join(map(str, marked))
        words += (
            f"Dotted: epoch{'s' * (len(marked) > 1)} {told}; in the paper predictions disappear by 20 and are back by 70, of 40 "
            "that it trains. "
        )
    if any(np.isfinite(panel.test) for panel in every):
        kept = "at its epoch" if folds == 1 else "at the mean of their epochs, the bar from the first to the last"
        words += f"Diamond: the kept weights on the test images, {kept}. "
    return words + (f"Thin lines: the {folds} folds; thick line: their mean. " if folds > 1 else "") + NOTES[about.kind]


def _counterpart(inputs: ReportInputs, about: Experiment, key: tuple[str, str]) -> str:
    chosen, pairs = pair(key[1]), list(inputs.selected.get(key[0], ()))
    counterpart = about.curves or (f"figure {6 + pairs.index(chosen)}" if chosen in pairs[:2] else "")
    return f" (the paper's {counterpart})" if counterpart else ""


def _note(inputs: ReportInputs, protocol: str, about: Experiment) -> str:
    settings = inputs.settings[protocol][about.section]
    if about.name in ("baseline_sigmoid", "transfer") and settings["balanced"]:
        return (
            "The training loss is weighted by class rarity; the curves show the unweighted loss, of probabilities corrected "
            "for the weights. "
        )
    if about.name == "gridcnn" and settings["loss"] != "mse":
        return f"The training loss is {settings['loss']}; both curves show the mean squared error. "
    if about.name == "yolo_finetuned":
        return "The curve of the mAP is ultralytics' own; floor and test value are pycocotools'. "
    return ""


def _sample(inputs: ReportInputs, key: tuple[str, str], facts: Sequence[Mapping[str, Any]]) -> str:
    whole = "Validation images of each fold" if len(facts) > 1 else "Validation"
    parts = {whole: samples.of_validation(facts), "Test": samples.of_test(inputs, *key)}
    return " ".join(f"{role}: {sample}." for role, sample in parts.items() if sample)


def _pretraining(inputs: ReportInputs) -> Iterator[dict[str, str]]:
    history, facts = inputs.histories.get(SOURCE), inputs.facts.get(SOURCE, {})
    names = [] if history is None else [name for name in curve_names(history) if name in ("loss", "accuracy")]
    if names:
        counts = (samples.span([facts.get(f"{role}_images")]) for role in ("training", "validation"))
        yield style.embedded(
            learning_curves(history, [[Panel(name, metric_name(name)) for name in names]]),
            "Pre-training curves",
            "Pre-training of the source weights: {} training and {} validation images of generated textures, each of one "
            "class; they have no patients, positives or floor.".format(*counts),
        )


def _compared(inputs: ReportInputs, protocol: str) -> Iterator[dict[str, str]]:
    both = {
        kind: inputs.histories[protocol, f"baseline_{kind}", ""]
        for kind in ("softmax", "sigmoid")
        if (protocol, f"baseline_{kind}", "") in inputs.histories
    }
    if len(both) == 2:
        sample = samples.of_validation(inputs.of_folds(inputs.facts, protocol, "baseline_sigmoid"))
        yield style.embedded(
            compared_curves(
                both, {f"validation_{name}": f"{metric_name(name)} on validation" for name in ("accuracy", "loss")}
            ),
            f"Softmax and sigmoid baseline compared, protocol {protocol}",
            f"Protocol {protocol}: both baselines in one chart, with “No Finding” (the paper's figure 4). Their losses and "
            "their accuracies are defined differently, so a higher curve does not mean a better network."
            + (f" Validation: {sample}." if sample else ""),
        )
