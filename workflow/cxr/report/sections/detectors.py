"""The report's section with all detectors side by side."""

import re
from collections.abc import Iterator
from typing import Any

from cxr.experiments import TITLES
from cxr.metrics.floors import MEAN_MASK
from cxr.metrics.judging import BETTER, SAME, WORSE
from cxr.metrics.names import row_name
from cxr.report import samples
from cxr.report.figures import charts, style
from cxr.report.inputs import ReportInputs
from cxr.report.verdicts import cell_texts, interval, number, signed

DETECTION = (  # rows of the table with all detectors side by side
    ("f1_weighted", "all"),
    ("f1", "all"),
    ("f1", "mean8"),
    ("f1_weighted_pixels", "all"),
    ("f1_pixels", "all"),
    ("mse", "all"),
    ("map50", "all"),
    ("map50_any", "all"),
    ("froc_1", "all"),
    ("froc_1_any", "all"),
    ("froc_mean_any", "all"),
    ("iou_hit_0.25", "all"),
    ("centre_hit", "all"),
    ("false_positives_per_image_any", "all"),
    ("images_with_prediction", "all"),
)


def section(inputs: ReportInputs) -> dict[str, Any]:
    """Return all detectors side by side: one table per protocol, sentences on the grid CNN and its floor, FROC curves."""
    order = {name: at for at, name in enumerate(TITLES)}
    found = inputs.metrics[inputs.metrics["metric"] == "images_with_prediction"]
    tables = []
    for protocol in inputs.protocols:
        names = sorted(found[found["protocol"] == protocol]["experiment"], key=lambda name: order.get(name, len(order)))
        rows = []
        for metric, label in DETECTION:
            cells = [cell_texts(inputs.metric(protocol, name, metric, label)) for name in names]
            if any(cell and cell["defined"] for cell in cells):
                rows.append({"name": row_name(metric, label), "cells": cells})
        if rows:
            detectors = [TITLES.get(name, name.replace("_", " ")) for name in names]
            tables.append(
                {"protocol": protocol, "folds": inputs.tested(protocol), "detectors": detectors, "rows": rows}
            )
    return {
        "tables": tables,
        "sentences": [*filter(None, (_mask_sentence(inputs, protocol) for protocol in inputs.protocols))],
        "figures": list(_froc_charts(inputs)),
    }


def _mask_sentence(inputs: ReportInputs, protocol: str) -> str:
    """Compare the grid CNN's F1, weighted as in the paper, with that of the mean training mask."""
    row = inputs.metric(protocol, "gridcnn", "f1_weighted", "all")
    words = {BETTER: "above", SAME: "indistinguishable from", WORSE: "below"}
    if row is None or row["verdict"] not in words:
        return ""
    other = re.search(rf"{MEAN_MASK} (\d\.\d+)", row["note"])
    uncut = (
        f" The same mask without a threshold, its shares used as confidences, has {number(float(other[1]))}."
        if other
        else ""
    )
    return (
        f"Under {protocol}, the grid CNN's F1, weighted by confidence, is {number(row['value'])} "
        f"{interval(row['low'], row['high'])}; the {row['floor_name']}, which never looks at an image, has {number(row['floor'])} "
        f"{interval(row['floor_low'], row['floor_high'])} on the same images. The difference is "
        f"{signed(row['difference'])} {interval(row['difference_low'], row['difference_high'])}: {words[row['verdict']]} the "
        f"floor ({int(row['support']):,} images).{uncut}"
    )


def _froc_charts(inputs: ReportInputs) -> Iterator[dict[str, str]]:
    for protocol in inputs.protocols:
        mine = inputs.froc[inputs.froc["protocol"] == protocol]
        names = {name: TITLES.get(name, name) for name in dict.fromkeys(mine["experiment"])}
        boxes = samples.true_boxes(inputs, protocol)
        if names:
            yield style.embedded(
                charts.froc_chart(mine, names, boxes),
                f"FROC of the detectors of boxes, protocol {protocol}",
                f"Protocol {protocol}, {inputs.tested(protocol)}: share of true boxes found against false positives per "
                "image, over all confidence thresholds. A box is found if a prediction has an IoU of at least 0.1 with it. "
                "Bands: intervals by patient. Dashed: the floor of the same folds, the best of: each finding's median training "
                "box, a box of that size at a random place, the training boxes that overlap the most others. The "
                "detections of all folds are ranked together. Beside a finding: its number of true boxes. Test images: "
                f"{samples.listed(inputs, [(protocol, name) for name in names])}.",
            )
