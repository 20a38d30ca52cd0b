"""The report: one self-contained HTML page that puts every number beside the paper's and beside its image-free floor.

The page needs no network and no script: figures are embedded, styles inline. It holds no time of its own, so equal inputs
give an equal page. What it asserts is computed from the metric tables; a sentence that cannot be computed is left out.
"""

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from cxr import comparison_report, figures, paper
from cxr.floors import MEAN_MASK
from cxr.labels import LABELS
from cxr.settings import Settings, fields

TEMPLATE = Path(__file__).with_name("report.html.j2")
Job = tuple[str, str, str]  # protocol, experiment, fold ("" where the experiment has none)
SOURCE: Job = ("source", "source_weights", "")  # the source weights' facts and history
BETTER, SAME, WORSE, UNDEFINED, DESCRIPTIVE = "better", "indistinguishable", "worse", "undefined", "descriptive"
VERDICTS = {  # sign and word of a chip under the heading "against floor"
    BETTER: ("▲", "better"),
    SAME: ("≈", "indistinguishable"),
    WORSE: ("▼", "worse"),
    UNDEFINED: ("–", "undefined"),
    DESCRIPTIVE: ("·", "not judged"),
}
RANKS = ("1st", "2nd", "3rd")
OVERALL = ("", "all", "mean8", "mean14", "mean15", *paper.LARGE)  # labels that are not one finding
BOX_SPLIT = "boxes_fold"  # and the fold's number: a split of the boxed images
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
SUBSETS = {  # headings of a detector's table
    "all": "All boxes",
    "large_both": "Large boxes: w > 384 and h > 256",
    "large_either": "Large boxes, turned ones too: w > 384 and h > 256, or w > 256 and h > 384",
    "large_area": "Large boxes by area: w × h > 384 × 256",
    "mean8": "Told which finding to look for",
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
# What the paper prints, and what it should have: (experiment of the paper, metric, label). Not AUPRC: with few positives even
# a random ranking beats its floor, the prevalence, so a verdict would flatter; it stands in the label tables.
HEADLINE = (
    ("baseline_softmax", "loss", ""),
    ("baseline_softmax", "accuracy", ""),
    ("baseline_softmax", "auroc", "mean14"),
    ("baseline_sigmoid", "loss", ""),
    ("baseline_sigmoid", "accuracy", ""),
    ("baseline_sigmoid", "auroc", "mean14"),
    ("transfer", "accuracy", ""),
    ("transfer", "auroc", "mean14"),
    ("transfer", "label_sensitivity", "No Finding"),
    ("yolo_off_the_shelf", "f1", "all"),
    ("yolo_off_the_shelf", "map50_any", "all"),
    ("yolo_finetuned", "images_with_prediction", "all"),
    ("yolo_finetuned", "f1", "all"),
    ("yolo_finetuned", "map50", "all"),
    ("torchvision_detector", "f1", "all"),
    ("torchvision_detector", "map50", "all"),
    ("gridcnn", "mse", "all"),
    ("gridcnn", "f1_weighted", "all"),
    ("gridcnn", "precision_weighted", "all"),
    ("gridcnn", "recall_weighted", "all"),
    ("gridcnn", "f1_weighted", "large_both"),
    ("gridcnn", "f1", "all"),
    ("gridcnn", "recall", "all"),
)
# Metrics that the tables paper / ours / floor do not judge alone: each can be bought with its counterpart.
DESCRIBING = ("precision", "recall", "label_sensitivity", "images_with_prediction", "false_positives")
DETECTION = (  # rows of the table that has all detectors side by side
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
CURVES = {  # name of a history's curve: (metric, labels to look for)
    "loss": (("loss", ""), ("mse", "all")),
    "accuracy": (("accuracy", ""),),
    "auroc": (("auroc", "mean15"), ("auroc", "mean14")),
    "f1": (("f1", "all"),),
    "map50": (("map50", "all"),),
}
RUN_COLUMNS = {  # fact: heading of the run table
    "device": "Device",
    "precision": "Arithmetic",
    "seed": "Seed",
    "training_images": "Training images",
    "epochs": "Epochs",
    "kept_epoch": "Kept epoch",
    "seconds": "Time",
    "images_per_second": "Images/s",
    "peak_memory_mb": "Peak memory, MiB",
    "trained_parameters": "Trained parameters",
    "parameters": "All parameters",
}
COMMON = ("device", "precision", "seed")  # said once where all jobs have the same
VERSIONS = ("python", "torch", "torchvision", "ultralytics", "numpy", "cuda")


@dataclass(frozen=True)
class ReportInputs:
    """What the runs left, read into memory. Keys (protocol, experiment) are those of the metric table.

    settings: the resolved settings (cxr.settings.Settings as plain values).
    summary: counts of the data, as ``records.preflight_summary`` returns them.
    rejected: columns table, reason, count.
    leakage: columns protocol, split (a size, "all" or "boxes_fold<number>") and those of ``splits.LEAKAGE_COLUMNS``.
    metrics: metric tables of all protocols and experiments (``metrics.METRIC_COLUMNS``).
    grids: protocol → layers, size, accuracy, majority_accuracy, auroc, ... (``selection.write_grid``).
    selected: protocol → (layers, size) pairs, best first.
    histories, facts: of each training job; the source weights' have the key SOURCE.
    skipped: why an experiment did not run.
    froc: FROC curves of the detectors of boxes (``detection_scores.FROC_COLUMNS``).
    sheets, failures: PNG of test images with truth and predictions, taken evenly and the worst; maps: of predicted cells
    above the truth. examples: PNG of some images of the data, or None.
    comparisons: protocol → table of ``comparison.write``, of the protocols whose choices were compared.
    """

    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    rejected: pd.DataFrame
    leakage: pd.DataFrame
    metrics: pd.DataFrame
    grids: Mapping[str, pd.DataFrame]
    selected: Mapping[str, Sequence[tuple[int, int]]]
    histories: Mapping[Job, pd.DataFrame]
    facts: Mapping[Job, Mapping[str, Any]]
    skipped: Mapping[tuple[str, str], str]
    froc: pd.DataFrame
    sheets: Mapping[tuple[str, str], bytes]
    failures: Mapping[tuple[str, str], bytes]
    maps: Mapping[tuple[str, str], bytes]
    examples: bytes | None = None
    comparisons: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def protocols(self) -> list[str]:
        return list(self.settings["protocols"])

    def folds(self, protocol: str) -> int:
        return self.settings[protocol]["split"]["box_folds"]

    def of_folds(self, values: Mapping[Job, Any], protocol: str, experiment: str) -> list[Any]:
        """What the jobs of an experiment left, in the order of their folds."""
        found = {job[2]: value for job, value in values.items() if job[:2] == (protocol, experiment)}
        return [found[fold] for fold in sorted(found, key=lambda fold: int(fold or 0))]


def build(inputs: ReportInputs) -> str:
    """Return the page as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(VERDICTS=VERDICTS, protocols=inputs.protocols)
    environment.globals.update(number=number, interval=interval, signed=_signed, brief=comparison_report.brief)
    headline = headline_rows(inputs)
    return environment.from_string(TEMPLATE.read_text()).render(
        title="Transfer learning on chest X-rays, every number beside its image-free floor",
        settings=inputs.settings,
        phantoms=inputs.settings["data"]["source"] == "phantoms",
        evaluation=inputs.settings["evaluation"],
        lines=lines(inputs, headline),
        headline=_groups(inputs, headline),
        headline_chart=_headline_chart(inputs, headline),
        detection=_detection(inputs),
        experiments=[_experiment(inputs, each) for each in paper.EXPERIMENTS],
        comparisons=_comparisons(inputs),
        classifiers=_auroc_charts(inputs),
        data=_data(inputs),
        runs=_runs(inputs),
        configuration=_settings_rows(inputs),
        glossary=_glossary(inputs),
    )


def tables(inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    """Return what the page shows as tables to be written as CSV, by name."""
    found = {
        "metrics": inputs.metrics.assign(verdict=[verdict(row) for row in inputs.metrics.to_dict("records")]),
        "headline": _headline_table(inputs),
        "paper": pd.DataFrame([vars(number) for number in paper.NUMBERS]),
        "leakage": inputs.leakage,
        "rejected": inputs.rejected,
        "labels": _label_counts(inputs),
        "skipped": pd.DataFrame(
            [(*key, reason) for key, reason in inputs.skipped.items()], columns=["protocol", "experiment", "reason"]
        ),
        "runs": pd.DataFrame(
            [
                {"protocol": key[0], "experiment": key[1], "fold": key[2]}
                | {name: value for name, value in facts.items() if not isinstance(value, Mapping | list)}
                for key, facts in inputs.facts.items()
            ]
        ),
    }
    found |= {f"comparison_{protocol}": table for protocol, table in inputs.comparisons.items()}
    for protocol, grid in inputs.grids.items():
        chosen = [(row.layers, row.size) for row in grid[["layers", "size"]].itertuples(index=False)]
        pairs = list(inputs.selected.get(protocol, ()))
        ranks = [pairs.index(pair) + 1 if pair in pairs else pd.NA for pair in chosen]
        found[f"grid_{protocol}"] = grid.assign(selected_rank=pd.array(ranks, dtype="Int64"))
    return found


# Numbers and verdicts


def number(value: Any) -> str:
    """Write a number: three decimals, fewer for large ones; "" for NaN."""
    if value is None or not math.isfinite(value):
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def interval(low: Any, high: Any) -> str:
    """Write an interval as ``[0.66, 0.75]``; "" where it is undefined."""
    return f"[{number(low)}, {number(high)}]" if number(low) and number(high) else ""


def verdict(row: Mapping[str, Any]) -> str:
    """Say whether a metric row's paired difference to its floor, on the good side or the bad one, excludes zero."""
    low, high = row["difference_low"], row["difference_high"]
    if not (math.isfinite(row["value"]) and math.isfinite(low) and math.isfinite(high)):
        return UNDEFINED
    if low <= 0 <= high:
        return SAME
    return BETTER if (low > 0) == bool(row["higher_is_better"]) else WORSE


def metric_name(metric: str) -> str:
    """Return a metric's name for readers: ``f1_weighted_pixels`` → ``F1, weighted, in pixels``."""
    ending = ""
    stem = metric
    while found := next((end for end in ENDINGS if stem.endswith(end)), None):
        stem, ending = stem.removesuffix(found), ENDINGS[found] + ending
    if stem in METRICS:
        return METRICS[stem][0] + ending
    base, _, level = stem.rpartition("_")
    return (f"{STEMS[base]} {level}" if base in STEMS else stem.replace("_", " ")) + ending


def label_name(label: str) -> str:
    return LABEL_NAMES.get(label, label.replace("_", " "))


def row_name(metric: str, label: str) -> str:
    """Return the name of a metric row for readers: ``AUROC, mean of the 14 findings``."""
    return ", ".join(filter(None, [metric_name(metric), label_name(label) if label != "all" else ""]))


def _cell(row: Mapping[str, Any] | None, judged: bool = True) -> dict[str, Any] | None:
    """Prepare a metric row for the page: texts of value, floor and difference, and the verdict."""
    if row is None:
        return None
    support = "" if _missing(row["support"]) else f" (support {int(row['support'])})"
    return {
        "value": number(row["value"]) or f"undefined{support}",
        "defined": bool(number(row["value"])),
        "interval": interval(row["low"], row["high"]),
        "floor": number(row["floor"]) or ("no floor" if not row["floor_name"] else "undefined"),
        "floor_interval": interval(row["floor_low"], row["floor_high"]),
        "floor_name": row["floor_name"],
        "difference": _signed(row["difference"]),
        "difference_interval": interval(row["difference_low"], row["difference_high"]),
        "verdict": verdict(row) if judged else DESCRIPTIVE,
        "support": "" if _missing(row["support"]) else f"{int(row['support']):,}",
        "note": row["note"],
        "lower": not row["higher_is_better"],
    }


def _signed(value: Any) -> str:
    text = number(value)
    return f"+{text}" if text and value > 0 and text.strip("0.") else text


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


# What the rows of a table are


@dataclass(frozen=True)
class _Row:
    """A row over the protocols: the same number of the same experiment, the transfer pairs matched by rank.

    family, rank: experiment of the paper, and (transfer only) rank of the pair from 0. cells: protocol → metric row or
    None. experiments: protocol → experiment, or None.
    """

    family: str
    rank: int
    metric: str
    label: str
    cells: dict[str, dict[str, Any] | None]
    experiments: dict[str, str | None]

    @property
    def judged(self) -> bool:
        return not self.metric.startswith(DESCRIBING)

    @property
    def pair(self) -> str:
        return f"{_rank(self.rank)} pair" if self.family == "transfer" else ""


def headline_rows(inputs: ReportInputs) -> list[_Row]:
    """Return the headline: for each experiment of the paper its numbers, with those it should have reported."""
    found = []
    for family, metric, label in HEADLINE:
        for rank in range(_pairs(inputs) if family == "transfer" else 1):
            found.append(_row(inputs, family, rank, metric, label))
    return sorted(found, key=lambda row: ([each[0] for each in HEADLINE].index(row.family), row.rank))


def _pairs(inputs: ReportInputs) -> int:
    return max([len(pairs) for pairs in inputs.selected.values()], default=0)


def _row(inputs: ReportInputs, family: str, rank: int, metric: str, label: str) -> _Row:
    experiments = {protocol: _experiment_of(inputs, protocol, family, rank) for protocol in inputs.protocols}
    cells = {
        protocol: None if name is None else _metric(inputs, protocol, name, metric, label)
        for protocol, name in experiments.items()
    }
    return _Row(family, rank, metric, label, cells, experiments)


def _experiment_of(inputs: ReportInputs, protocol: str, family: str, rank: int) -> str | None:
    if family != "transfer":
        return family
    pairs = list(inputs.selected.get(protocol, ()))
    return "transfer_c{}_s{}".format(*pairs[rank]) if rank < len(pairs) else None


def _metric(inputs: ReportInputs, protocol: str, experiment: str, metric: str, label: str) -> dict[str, Any] | None:
    table = inputs.metrics
    chosen = table[
        (table["protocol"] == protocol)
        & (table["experiment"] == experiment)
        & (table["metric"] == metric)
        & (table["label"] == label)
    ]
    return None if chosen.empty else {str(key): value for key, value in chosen.iloc[0].items()}


def _shown(row: _Row, named_label: bool = True) -> dict[str, Any]:
    """Prepare a row for the page; named_label: its name says the label, where a heading does not."""
    cells = {
        protocol: {**(_cell(cell, row.judged) or {}), "missing": cell is None} for protocol, cell in row.cells.items()
    }
    return {
        "name": row_name(row.metric, row.label) if named_label else metric_name(row.metric),
        "cells": cells,
        "paper": _printed(row),
        "lower": any(cell.get("lower") for cell in cells.values()),
    }


def _printed(row: _Row) -> dict[str, str] | None:
    """What the paper prints for a row; its first pair is the counterpart of our first, and so on."""
    name = row.family
    if row.family == "transfer" and row.rank < len(paper.TRANSFER_PAIRS):
        name = "transfer_c{}_s{}".format(*paper.TRANSFER_PAIRS[row.rank])
    entry = paper.number(name, row.metric, row.label)
    if entry is None or (row.family == "transfer" and row.rank >= len(paper.TRANSFER_PAIRS)):
        return None
    digits = "" if math.isnan(entry.value) else f"{entry.value:.4g}".replace("-", "−")
    printed = "" if entry.printed == digits else f"“{entry.printed}”, "
    return {
        "value": digits or entry.printed,
        "small": (printed if digits else "") + entry.where,
        "reading": entry.reading,
    }


def _groups(inputs: ReportInputs, rows: Sequence[_Row], by_subset: bool = False) -> list[dict[str, Any]]:
    """Gather rows for the page under the title of their experiment, transfer under that of its pair.

    by_subset: under that of the boxes they are about (all, and the three readings of large) instead.
    """
    titles = {each.family: each.title for each in paper.EXPERIMENTS}
    skipped: dict[str, list[str]] = {}
    for (protocol, experiment), reason in inputs.skipped.items():
        skipped.setdefault(paper.family(experiment), []).append(f"{protocol}: {reason}")
    keys = [(row.family, row.rank, SUBSETS.get(row.label, "") if by_subset else "") for row in rows]
    return [
        {
            "family": family,
            "title": subset or (titles[family] if family != "transfer" else f"Transfer, {_rank(rank)} pair"),
            "subset": subset,
            "pairs": _pairs_of_rank(inputs, rank) if family == "transfer" else "",
            "rows": [
                _shown(row, named_label=not subset)
                for row, key in zip(rows, keys, strict=True)
                if key == (family, rank, subset)
            ],
            "skipped": skipped.get(family, []),
        }
        for family, rank, subset in dict.fromkeys(keys)
    ]


def _pairs_of_rank(inputs: ReportInputs, rank: int) -> str:
    """Name the pairs that stand beside each other: the paper's (c, s), and that of each protocol."""
    found = [("in the paper", paper.TRANSFER_PAIRS[rank])] if rank < len(paper.TRANSFER_PAIRS) else []
    for protocol in inputs.protocols:
        pair = paper.pair(_experiment_of(inputs, protocol, "transfer", rank) or "")
        found += [(f"protocol {protocol}", pair)] if pair else []
    return "; ".join(f"{who}: {_pair(pair)}" for who, pair in found)


def _pair(pair: tuple[int, int]) -> str:
    return f"c = {pair[0]}, s = {pair[1]:,}".replace(" = ", "\u00a0=\u00a0")


def _headline_table(inputs: ReportInputs) -> pd.DataFrame:
    found = []
    for row in headline_rows(inputs):
        entry = _printed(row)
        for protocol, cell in row.cells.items():
            found.append(
                {
                    "protocol": protocol,
                    "experiment": row.experiments[protocol] or row.family,
                    "metric": row.metric,
                    "label": row.label,
                    "paper": "" if entry is None else entry["value"],
                    **{
                        name: (cell or {}).get(name)
                        for name in ("value", "low", "high", "floor", "floor_low", "floor_high")
                    },
                    "floor_name": (cell or {}).get("floor_name"),
                    "verdict": "not measured" if cell is None else verdict(cell) if row.judged else DESCRIPTIVE,
                }
            )
    return pd.DataFrame(found)


# What the report says in a few lines


def lines(inputs: ReportInputs, headline: Sequence[_Row]) -> list[tuple[str, str]]:
    """Return (what, sentence) computed from the numbers: the count, each protocol, leakage, and what is missing."""
    judged = [
        (row, protocol, verdict(cell))
        for row in headline
        if row.judged
        for protocol, cell in row.cells.items()
        if cell is not None
    ]
    counts = {kind: sum(found == kind for _, _, found in judged) for kind in (BETTER, SAME, WORSE, UNDEFINED)}
    rest = f", {counts[UNDEFINED]} are undefined" if counts[UNDEFINED] else ""
    found = [
        (
            "In all",
            f"{counts[BETTER]} of {len(judged)} headline numbers are better than the best predictor that never looks at an "
            f"image, with an interval of the paired difference that excludes 0; {counts[SAME]} cannot be told from it, "
            f"{counts[WORSE]} are worse{rest}.",
        )
    ]
    for protocol in inputs.protocols:
        mine = [(row, kind) for row, where, kind in judged if where == protocol]
        found.append((f"Protocol {protocol}", _by_verdict(mine)))
    found.append(("Patients", _leakage_line(inputs)))
    found.append(("Not shown", _missing_line(inputs, headline)))
    return [(what, sentence) for what, sentence in found if sentence]


def _by_verdict(rows: Sequence[tuple[_Row, str]]) -> str:
    if not rows:
        return "No headline number was measured."
    sentences = []
    for kind, words in (
        (BETTER, "better than floor"),
        (SAME, "indistinguishable from it"),
        (WORSE, "worse"),
        (UNDEFINED, "undefined"),
    ):
        by_title: dict[str, list[str]] = {}
        for row, found in rows:
            if found == kind:
                by_title.setdefault(_short(row), []).append(_brief(row))
        count = sum(found == kind for _, found in rows)
        named = "; ".join(f"{title} ({', '.join(names)})" for title, names in by_title.items())
        if count or kind == BETTER:
            sentences.append(f"{count} of {len(rows)} {words}{': ' if named else ''}{named}.")
    return " ".join(sentences)


def _brief(row: _Row) -> str:
    name = metric_name(row.metric).replace(", weighted", " weighted").replace(", any class", " any class")
    return f"{name}, large" if row.label in paper.LARGE else name


def _short(row: _Row) -> str:
    names = {
        "baseline_softmax": "softmax baseline",
        "baseline_sigmoid": "sigmoid baseline",
        "yolo_off_the_shelf": "YOLO off the shelf",
        "yolo_finetuned": "YOLO fine-tuned",
        "torchvision_detector": "torchvision detector",
        "gridcnn": "grid CNN",
    }
    return names.get(row.family) or f"transfer, {row.pair}"


def _leakage_line(inputs: ReportInputs) -> str:
    sentences = []
    for protocol in inputs.protocols:
        table = inputs.leakage[inputs.leakage["protocol"] == protocol]
        tested = table[(table["role_a"] == "train") & (table["role_b"] == "test")]
        if tested.empty:
            continue
        leaking = tested[tested["patients_shared"] > 0]
        if leaking.empty:
            sentences.append(
                f"Under {protocol}, no patient is in both training and test, in any of {len(tested)} splits."
            )
            continue
        worst = leaking.loc[(leaking["patients_shared"] / leaking["patients_b"]).idxmax()]
        sentences.append(
            f"Under {protocol}, {len(leaking)} of {len(tested)} splits share patients between training and test; at worst "
            f"{int(worst['patients_shared'])} of {int(worst['patients_b'])} test patients ({_split_name(worst['split'])})."
        )
    return " ".join(sentences)


def _missing_line(inputs: ReportInputs, headline: Sequence[_Row]) -> str:
    titles = {each.family: each.title for each in paper.EXPERIMENTS}
    sentences = [
        f"{titles[paper.family(experiment)]} did not run under {protocol}: {reason}."
        for (protocol, experiment), reason in inputs.skipped.items()
    ]
    absent = sum(
        cell is None and (protocol, row.experiments[protocol]) not in inputs.skipped
        for row in headline
        for protocol, cell in row.cells.items()
    )
    if absent:
        sentences.append(f"{absent} headline numbers have no measurement.")
    return " ".join(sentences)


def _headline_chart(inputs: ReportInputs, headline: Sequence[_Row]) -> dict[str, str] | None:
    rows = []
    for row in headline:
        for protocol, cell in row.cells.items():
            if row.judged and cell is not None and cell["higher_is_better"] and math.isfinite(cell["value"]):
                name = f"{_short(row)}: {_brief(row)}"
                rows.append({**cell, "name": name, "series": protocol, "verdict": verdict(cell)})
    if not rows:
        return None
    return _figure(
        figures.interval_chart(pd.DataFrame(rows)),
        "Headline numbers beside their floors",
        "Headline numbers for which higher is better. Left: value (filled) and floor (hollow), each with its interval. "
        "Right: their paired difference; clear of the dashed line is better (blue) or worse (orange) than the floor.",
    )


# An experiment of the paper


def _experiment(inputs: ReportInputs, about: paper.Experiment) -> dict[str, Any]:
    names = _experiments_of(inputs, about.family)
    rows = inputs.metrics[inputs.metrics["experiment"].isin([name for _, name in names])]
    return {
        "about": about,
        "groups": _groups(inputs, _comparison(inputs, about.family, rows), by_subset=True),
        "skipped": [(key[0], reason) for key, reason in inputs.skipped.items() if paper.family(key[1]) == about.family],
        "chosen": _chosen(inputs) if about.family == "transfer" else [],
        "weights": _weights_notes(inputs, about.family),
        "label_tables": list(_label_tables(inputs, about.family)),
        "figures": [*_heatmaps(inputs, about.family), *_curves(inputs, about.family), *_pictures(inputs, about.family)],
        "everything": [
            {
                "protocol": row["protocol"],
                "experiment": row["experiment"],
                "metric": metric_name(row["metric"]),
                "label": label_name(row["label"]),
                **(_cell(row) or {}),
            }
            for row in rows.to_dict("records")
        ],
    }


def _experiments_of(inputs: ReportInputs, family: str) -> list[tuple[str, str]]:
    """(protocol, experiment) of one experiment of the paper, pairs in the order of their rank."""
    found = list(inputs.metrics[["protocol", "experiment"]].drop_duplicates().itertuples(index=False, name=None))

    def order(key: tuple[str, str]) -> tuple[int, int, str]:
        pairs = list(inputs.selected.get(key[0], ()))
        pair = paper.pair(key[1])
        rank = pairs.index(pair) if pair in pairs else len(pairs)
        return (inputs.protocols.index(key[0]) if key[0] in inputs.protocols else 99, rank, key[1])

    return sorted([key for key in found if paper.family(key[1]) == family], key=order)


def _comparison(inputs: ReportInputs, family: str, rows: pd.DataFrame) -> list[_Row]:
    """The table paper / ours / floor: every overall number, those in pixels aside (they are among all numbers)."""
    overall = rows[rows["label"].isin(OVERALL)]
    kinds = list(overall[["metric", "label"]].drop_duplicates().itertuples(index=False, name=None))
    off_the_shelf = family == "yolo_off_the_shelf"
    any_class = {metric for metric, _ in kinds if metric.endswith("_any")}
    kinds = [
        (metric, label)
        for metric, label in kinds
        if "_pixels" not in metric
        and (not metric.startswith("froc") or metric.removesuffix("_any") in ("froc_1", "froc_mean"))
        and (off_the_shelf or metric not in any_class)
        and not (off_the_shelf and f"{metric}_any" in any_class)
    ]
    if family == "transfer" and not rows.empty:
        kinds.append(("label_sensitivity", "No Finding"))
    subsets = list(SUBSETS)
    kinds.sort(key=lambda kind: subsets.index(kind[1]) if kind[1] in subsets else -1)
    ranks = range(_pairs(inputs) if family == "transfer" else 1)
    return [_row(inputs, family, rank, metric, label) for rank in ranks for metric, label in kinds]


def _label_tables(inputs: ReportInputs, family: str) -> Iterator[dict[str, Any]]:
    """A table a pair (or one): every label with its support and, for each protocol, the scores by label."""
    for rank in range(_pairs(inputs) if family == "transfer" else 1):
        names = {protocol: _experiment_of(inputs, protocol, family, rank) for protocol in inputs.protocols}
        known = {protocol: name for protocol, name in names.items() if name is not None}
        keys = pd.MultiIndex.from_tuples([*known.items()], names=["protocol", "experiment"]) if known else None
        if keys is None:
            continue
        mine = inputs.metrics[pd.MultiIndex.from_frame(inputs.metrics[["protocol", "experiment"]]).isin(keys)]
        offered = mine[mine["label"].isin(LABELS)]["metric"].unique()
        shown = [metric for metric in ("auroc", "auprc", "f1", "map50", "froc_1", "centre_hit") if metric in offered]
        if not shown or mine[mine["label"].isin(LABELS) & mine["metric"].isin(shown)]["value"].isna().all():
            continue
        present = [label for label in (*LABELS, "mean8", "mean14", "mean15", "all") if label in set(mine["label"])]
        rows = []
        for label in present:
            cells = {
                protocol: [
                    _cell(_metric(inputs, protocol, name, metric, label))
                    if name is not None and (metric, label) != ("f1", "all")  # not the mean over the findings
                    else None
                    for metric in shown
                ]
                for protocol, name in names.items()
            }
            if any(cell for each in cells.values() for cell in each):
                rows.append({"label": label_name(label), "mean": label in OVERALL, "cells": cells})
        pairs = [
            f"{protocol}: c = {pair[0]}, s = {pair[1]:,}"
            for protocol, name in known.items()
            if (pair := paper.pair(name))
        ]
        yield {
            "title": f"{_rank(rank)} pair ({'; '.join(pairs)})" if family == "transfer" else "",
            "metrics": [metric_name(metric) for metric in shown],
            "open": rank == 0,
            "rows": rows,
        }


def _chosen(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The pairs chosen on validation, beside the paper's."""
    rows = []
    for rank in range(_pairs(inputs)):
        printed = None
        if rank < len(paper.TRANSFER_PAIRS):
            layers, size = paper.TRANSFER_PAIRS[rank]
            entry = paper.number(f"transfer_c{layers}_s{size}", "validation_gain", "")
            printed = {"pair": _pair((layers, size)), "gain": _signed(entry.value) if entry else ""}
        cells = {}
        for protocol in inputs.protocols:
            pairs = list(inputs.selected.get(protocol, ()))
            grid = inputs.grids.get(protocol)
            if rank >= len(pairs) or grid is None:
                continue
            row = grid[(grid["layers"] == pairs[rank][0]) & (grid["size"] == pairs[rank][1])].iloc[0]
            cells[protocol] = {
                "pair": _pair(pairs[rank]),
                "gain": _signed(row["accuracy"] - row["majority_accuracy"]) or "undefined",
                "auroc": number(row["auroc"]) or "undefined",
                "images": f"{int(row['validation_images']):,}" if "validation_images" in row else "",
            }
        rows.append({"rank": _rank(rank), "paper": printed, "cells": cells})
    return rows


def _weights_notes(inputs: ReportInputs, family: str) -> list[str]:
    """Say of which file given weights came, and whether anything vouches for them."""
    notes = []
    for (protocol, experiment, fold), facts in inputs.facts.items():
        if fold in ("", "0") and paper.family(experiment) == family and facts.get("weights_sha256"):
            section = "torchvision_detector" if family == "torchvision_detector" else "yolo"
            checked = inputs.settings[protocol][section]["sha256"]
            vouched = (
                "equal to the checksum in the settings"
                if checked
                else "given by the user and not checked against any published checksum; whether they are the official "
                "weights is not known here"
            )
            name = facts.get("from") or facts.get("weights") or "a file"
            notes.append(f"{protocol}: starts from {name}, SHA-256 {facts['weights_sha256']}, {vouched}.")
    if family == "transfer" and SOURCE in inputs.facts:
        notes.append(f"Source weights: {_source_name(inputs)}.")
    if family == "gridcnn":
        notes += [
            f"{protocol}: the grid CNN starts from weights pre-trained here on {facts['pretrained_on']}."
            for (protocol, experiment, fold), facts in inputs.facts.items()
            if experiment == "gridcnn" and fold == "0" and "pretrained_on" in facts
        ]
    return notes


def _source_name(inputs: ReportInputs) -> str:
    facts = inputs.facts.get(SOURCE, {})
    kind = inputs.settings["source"]["kind"]
    words = {
        "random": "random, nothing was transferred",
        "textures": f"pre-trained here on {facts.get('pretrained_on', 'generated textures')}",
        "imagenet": "torchvision's ImageNet weights",
        "file": "a file given by the user",
    }
    given = f" (file {facts['file']}, SHA-256 {str(facts.get('file_sha256', ''))[:12]})" if facts.get("file") else ""
    return words[kind] + given


def _heatmaps(inputs: ReportInputs, family: str) -> Iterator[dict[str, str]]:
    if family != "transfer":
        return
    for protocol, grid in inputs.grids.items():
        by = inputs.settings[protocol]["transfer"]["select_by"]
        pairs = list(inputs.selected.get(protocol, ()))
        kinds = {
            "accuracy": (grid["accuracy"] - grid["majority_accuracy"], "accuracy minus majority's"),
            "auroc": (grid["auroc"] - 0.5, "mean AUROC minus 0.5"),
        }
        for name in sorted(kinds, key=lambda name: name != by):
            gain, words = kinds[name]
            role = (
                "This chose the outlined pairs" if name == by else "The pairs outlined were chosen by the other metric"
            )
            yield _figure(
                figures.grid_heatmap(
                    grid.assign(gain=gain), "gain", pairs, f"{words[0].upper()}{words[1:]}", "above floor"
                ),
                f"Grid of trainable layers and images, {words}, protocol {protocol}",
                f"Protocol {protocol}: validation {words}, one job a cell (the paper's figure 5). {role}. "
                f"No interval is drawn: the best of {len(grid)} noisy cells looks better than it is.",
            )


def _curves(inputs: ReportInputs, family: str) -> Iterator[dict[str, str]]:
    where = {
        "baseline_softmax": "figure 3", "baseline_sigmoid": "figure 4", "gridcnn": "figure 10"
    }  # fmt: skip
    pretraining = inputs.histories.get(SOURCE)
    if family == "transfer" and pretraining is not None and figures.curve_names(pretraining):
        yield _figure(
            figures.learning_curves(pretraining, {}), "Pre-training curves", "Pre-training of the source weights."
        )
    for protocol, experiment in _history_keys(inputs, family):
        folds = inputs.of_folds(inputs.histories, protocol, experiment)
        history = pd.concat([each.assign(fold=number) for number, each in enumerate(folds)], ignore_index=True)
        names = [name for name in figures.curve_names(history) if name in CURVES][:3]
        if not names:
            continue
        floors, tests = {}, {}
        for name in names:
            row = next(
                (found for kind in CURVES[name] if (found := _metric(inputs, protocol, experiment, *kind))), None
            )
            if row is not None:
                floors[name] = (row["floor"], row["floor_name"])
                tests[name] = row["value"]
        pair = paper.pair(experiment)
        title = f"{protocol}, {_pair(pair)}" if pair else protocol
        pairs = list(inputs.selected.get(protocol, ()))
        counterpart = where.get(family) or (f"figure {6 + pairs.index(pair)}" if pair in pairs[:2] else "")
        counterpart = f" (the paper's {counterpart})" if counterpart else ""
        drawn = "Dashed: the floor on the test images; diamond: the kept weights on the test images. " if floors else ""
        drawn += f"Thin: each of the {len(folds)} folds; thick: their mean. " if len(folds) > 1 else ""
        yield _figure(
            figures.learning_curves(history, floors, tests, names=names),
            f"Learning curves, {title}",
            f"Protocol {title}{counterpart}. {drawn}{_loss_note(inputs, protocol, family)}".strip(),
        )
    if family == "baseline_sigmoid":
        for protocol in inputs.protocols:
            both = {
                kind: inputs.histories[protocol, f"baseline_{kind}", ""]
                for kind in ("softmax", "sigmoid")
                if (protocol, f"baseline_{kind}", "") in inputs.histories
            }
            if len(both) == 2:
                yield _figure(
                    figures.compared_curves(
                        both, {"validation_accuracy": "validation accuracy", "validation_loss": "validation loss"}
                    ),
                    f"Softmax and sigmoid baseline compared, protocol {protocol}",
                    f"Protocol {protocol}: both baselines over each other (the paper's figure 4). The two losses and the two "
                    "accuracies are defined differently; that one lies above the other says nothing about the networks.",
                )


def _loss_note(inputs: ReportInputs, protocol: str, family: str) -> str:
    section = {"baseline_sigmoid": "baseline", "transfer": "transfer"}.get(family)
    if section and inputs.settings[protocol][section]["balanced"]:
        return (
            "Trained on a loss weighted by class rarity; shown is the plain one, of probabilities set right for that."
        )
    if family == "gridcnn" and inputs.settings[protocol]["gridcnn"]["loss"] != "mse":
        return f"Trained on {inputs.settings[protocol]['gridcnn']['loss']}; both curves are the mean squared error."
    return ""


def _history_keys(inputs: ReportInputs, family: str) -> list[tuple[str, str]]:
    return [key for key in _experiments_of(inputs, family) if inputs.of_folds(inputs.histories, *key)]


def _pictures(inputs: ReportInputs, family: str) -> Iterator[dict[str, str]]:
    figures_8_and_9 = (
        "The paper's figures 8 and 9 have this layout, its figure 2 the one below" if family == "gridcnn" else ""
    )
    for protocol, experiment in _experiments_of(inputs, family):
        key = (protocol, experiment)
        folds = _folds_words(inputs, protocol)
        if key in inputs.maps and family == "gridcnn":
            yield _figure(
                inputs.maps[key],
                f"Predicted cells above the truth, protocol {protocol}",
                f"Protocol {protocol}: predicted confidence of 16 × 16 cells (top), each scaled to its own highest value, and "
                f"ground truth (bottom), of test images taken evenly from {folds}. {figures_8_and_9}: an image, its target "
                "cells, and both laid over each other. The paper's own pictures are not shown: ours are of other images.",
            )
        if key in inputs.sheets:
            yield _figure(
                inputs.sheets[key],
                f"Test images with truth and predictions, protocol {protocol}",
                f"Protocol {protocol}: test images taken evenly from {folds}, not by how well they came out.",
            )
        if key in inputs.failures:
            yield _figure(
                inputs.failures[key],
                f"Worst misses and most confident false positives, protocol {protocol}",
                f"Protocol {protocol}, failures first. Upper row: the true boxes found with the least confidence. Lower row: the "
                "most confident predictions where no box was drawn; boxes of the release are not exhaustive, so these may be "
                "findings that nobody drew. Predictions below the threshold are not drawn.",
            )


def _folds_words(inputs: ReportInputs, protocol: str) -> str:
    """How the boxed images were tested: ``5 folds by patient, 606 images tested once``."""
    split = inputs.settings[protocol]["split"]
    mine = inputs.metrics[
        (inputs.metrics["protocol"] == protocol)
        & (inputs.metrics["metric"] == "images_with_prediction")
        & (inputs.metrics["label"] == "all")
    ]
    images = f", {int(mine['support'].iloc[0]):,} images tested once" if len(mine) else ""
    if split["box_folds"] == 1:
        return f"a single split by {split['box_group']}{images}"
    return f"{split['box_folds']} folds by {split['box_group']}{images}"


def _detection(inputs: ReportInputs) -> dict[str, Any]:
    """All detectors side by side: a table a protocol, sentences on the grid CNN and its floor, and the FROC curves."""
    titles = {each.family: each.title for each in paper.EXPERIMENTS}
    order = {name: at for at, name in enumerate(titles)}
    found = inputs.metrics[inputs.metrics["metric"] == "images_with_prediction"]
    tables = []
    for protocol in inputs.protocols:
        names = sorted(found[found["protocol"] == protocol]["experiment"], key=lambda name: order.get(name, len(order)))
        rows = []
        for metric, label in DETECTION:
            cells = [
                _cell(_metric(inputs, protocol, name, metric, label), not metric.startswith(DESCRIBING))
                for name in names
            ]
            if any(cell and cell["defined"] for cell in cells):
                rows.append({"name": row_name(metric, label), "cells": cells})
        if rows:
            detectors = [titles.get(name, name.replace("_", " ")) for name in names]
            tables.append(
                {"protocol": protocol, "folds": _folds_words(inputs, protocol), "detectors": detectors, "rows": rows}
            )
    return {
        "tables": tables,
        "sentences": [*filter(None, (_mask_sentence(inputs, protocol) for protocol in inputs.protocols))],
        "figures": list(_froc_charts(inputs)),
    }


def _mask_sentence(inputs: ReportInputs, protocol: str) -> str:
    """Say how the grid CNN's F1, weighted as the paper reports it, stands to the mean training mask."""
    row = _metric(inputs, protocol, "gridcnn", "f1_weighted", "all")
    if row is None or verdict(row) == UNDEFINED:
        return ""
    words = {BETTER: "above", SAME: "not to be told from", WORSE: "below"}[verdict(row)]
    other = re.search(rf"{MEAN_MASK} (\d\.\d+)", row["note"])
    uncut = f" The same mask uncut, its shares taken as confidences, has {number(float(other[1]))}." if other else ""
    return (
        f"Under {protocol} the grid CNN's F1, weighted by confidence, is {number(row['value'])} "
        f"{interval(row['low'], row['high'])}; the {row['floor_name']}, which never looks, has {number(row['floor'])} "
        f"{interval(row['floor_low'], row['floor_high'])} on the same images. The difference is "
        f"{_signed(row['difference'])} {interval(row['difference_low'], row['difference_high'])}: {words} the floor.{uncut}"
    )


def _froc_charts(inputs: ReportInputs) -> Iterator[dict[str, str]]:
    titles = {each.family: each.title for each in paper.EXPERIMENTS}
    for protocol in inputs.protocols:
        mine = inputs.froc[inputs.froc["protocol"] == protocol]
        names = {name: titles.get(name, name) for name in dict.fromkeys(mine["experiment"])}
        if names:
            yield _figure(
                figures.froc_chart(mine, names),
                f"FROC of the detectors of boxes, protocol {protocol}",
                f"Protocol {protocol}, {_folds_words(inputs, protocol)}: the share of true boxes found against the false "
                "positives an image, over all confidences; found is an IoU of at least 0.1. Bands: intervals by patient. "
                "Dashed: the better of each finding's median training box and a box of that size at a random place, of the "
                "same folds. The detections of all folds are ranked together.",
            )


def _comparisons(inputs: ReportInputs) -> list[dict[str, Any]]:
    return [
        {
            **section,
            "figure": _figure(
                section["picture"],
                f"Which choices collapse, protocol {section['protocol']}",
                comparison_report.CAPTION.format(protocol=section["protocol"]),
            ),
        }
        for section in comparison_report.sections(inputs.comparisons)
    ]


def _auroc_charts(inputs: ReportInputs) -> list[dict[str, str]]:
    charts = []
    for protocol in inputs.protocols:
        names = {}
        for family, title in (
            ("baseline_softmax", "softmax baseline"),
            ("baseline_sigmoid", "sigmoid baseline"),
            ("transfer", ""),
        ):
            for where, experiment in _experiments_of(inputs, family):
                pair = paper.pair(experiment)
                if where == protocol:
                    names[experiment] = f"transfer, {_pair(pair)}" if pair else title
        names = dict(list(names.items())[:5])
        rows = inputs.metrics[(inputs.metrics["protocol"] == protocol) & (inputs.metrics["metric"] == "auroc")]
        if names and rows["value"].notna().any():
            charts.append(
                _figure(
                    figures.auroc_chart(rows, names),
                    f"AUROC by label, protocol {protocol}",
                    f"Protocol {protocol}: AUROC by label on each classifier's own test images. A missing mark is undefined: "
                    "no test image has the label. An interval that reaches the dashed line shows nothing beyond not looking.",
                )
            )
    return charts


def _figure(picture: bytes, alt: str, caption: str) -> dict[str, str]:
    return {"source": "data:image/png;base64," + base64.b64encode(picture).decode(), "alt": alt, "caption": caption}


# Data, runs, settings


def _data(inputs: ReportInputs) -> dict[str, Any]:
    summary = inputs.summary
    return {
        "summary": summary,
        "labels": [
            {**row, "label": label_name(row["label"]), "share": number(row["share"])}
            for row in _label_counts(inputs).to_dict("records")
        ],
        "rejected": inputs.rejected.to_dict("records"),
        "leakage": _leakage_rows(inputs),
        "seen": _seen(inputs),
        "source_is_file": inputs.settings["source"]["kind"] == "file",
        "examples": None
        if inputs.examples is None
        else _figure(inputs.examples, "Example images of the data", "Images of the data as the classifiers read them."),
    }


def _label_counts(inputs: ReportInputs) -> pd.DataFrame:
    images = inputs.summary["usable_images"]
    return pd.DataFrame(
        [
            {
                "label": label,
                "images": count,
                "share": count / images if images else math.nan,
                "boxes": inputs.summary["box_labels"].get(label, 0),
            }
            for label, count in inputs.summary["labels"].items()
        ]
    )


def _leakage_rows(inputs: ReportInputs) -> list[dict[str, Any]]:
    """A row a split; for each pair of roles the patients (and images) both hold."""
    rows = []
    for (protocol, split), part in inputs.leakage.groupby(["protocol", "split"], sort=False):
        pairs = {}
        for entry in part.to_dict("records"):
            names = (entry["role_a"], entry["role_b"])
            pairs[names] = {
                "patients": int(entry["patients_shared"]),
                "images": int(entry["images_shared"]),
                "of": int(entry["patients_b"]) if not _missing(entry.get("patients_b")) else None,
            }
        rows.append({"protocol": protocol, "split": _split_name(split), "order": _split_order(split), "pairs": pairs})
    return sorted(rows, key=lambda row: (row["protocol"], row["order"]))


def _split_name(split: Any) -> str:
    if str(split).startswith(BOX_SPLIT):
        return f"boxed images, fold {int(split.removeprefix(BOX_SPLIT)) + 1}"
    return "all images" if split == "all" else f"s = {int(split):,}"


def _split_order(split: Any) -> tuple[int, int]:
    number = str(split).removeprefix(BOX_SPLIT)
    kind = 2 if str(split).startswith(BOX_SPLIT) else int(split == "all")
    return (kind, int(number) if number.isdigit() else 0)


def _seen(inputs: ReportInputs) -> list[dict[str, str]]:
    """Who saw what: where the weights of every experiment come from, and which images taught, chose and tested them."""
    rows = []
    for about in paper.EXPERIMENTS:
        for protocol, experiment in _experiments_of(inputs, about.family):
            folds = inputs.of_folds(inputs.facts, protocol, experiment) or [{}]
            facts = folds[0]
            mine = inputs.metrics[
                (inputs.metrics["protocol"] == protocol)
                & (inputs.metrics["experiment"] == experiment)
                & inputs.metrics["metric"].isin(["loss", "f1"])
                & inputs.metrics["label"].isin(["", "all"])
            ]
            pair = paper.pair(experiment)
            start = "random weights"
            if pair:
                start = _source_name(inputs)
            elif about.family.startswith("yolo") or about.family == "torchvision_detector":
                given = facts.get("from") or facts.get("weights") or "scratch"
                kind = facts.get("weights_kind", "detector weights")
                start = "random weights" if given == "scratch" else f"{given} ({kind} given by the user)"
            rows.append(
                {
                    "experiment": f"Transfer, {_pair(pair)}" if pair else about.title,
                    "protocol": protocol,
                    "start": start,
                    "training": _counts([each.get("training_images") for each in folds]),
                    "validation": _counts([each.get("validation_images") for each in folds]),
                    "test": _count(mine["support"].iloc[0]) if len(mine) else "",
                }
            )
    return rows


def _counts(values: Sequence[Any]) -> str:
    """Numbers of images of all folds: one where they are equal, else the range."""
    known = [value for value in values if value is not None]
    if not known or min(known) == max(known):
        return _count(known[0] if known else None)
    return f"{_count(min(known))}–{_count(max(known))}"


def _count(value: Any) -> str:
    return "–" if value is None else f"{int(value):,}"


def _runs(inputs: ReportInputs) -> dict[str, Any]:
    """The run table: what all jobs have in common is said once, above it."""
    values = {
        name: list(dict.fromkeys(str(facts[name]) for facts in inputs.facts.values() if name in facts))
        for name in (*RUN_COLUMNS, *VERSIONS)
    }
    common = {name for name in (*COMMON, *VERSIONS) if len(values[name]) == 1}
    columns = {name: heading for name, heading in RUN_COLUMNS.items() if name not in common and values[name]}
    rows = [
        {
            "protocol": "" if key == SOURCE else key[0],
            "experiment": "source weights" if key == SOURCE else _job_name(inputs, key),
            "cells": [_fact(name, facts.get(name)) for name in columns],
            "more": [(name, str(value)) for name, value in _flat(facts) if name not in {*common, *columns}],
        }
        for key, facts in inputs.facts.items()
    ]
    headings = {name: name for name in VERSIONS} | {name: text.lower() for name, text in RUN_COLUMNS.items()}
    return {
        "columns": list(columns.values()),
        "rows": rows,
        "common": [f"{headings[name]} {values[name][0]}" for name in values if name in common],
    }


def _job_name(inputs: ReportInputs, job: Job) -> str:
    protocol, experiment, fold = job
    return (
        f"{experiment}, fold {int(fold) + 1} of {inputs.folds(protocol)}"
        if fold and inputs.folds(protocol) > 1
        else experiment
    )


def _fact(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "seconds":
        minutes, seconds = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return (
            f"{hours} h {minutes:02d} min"
            if hours
            else f"{minutes} min {seconds:02d} s"
            if minutes
            else f"{value:.1f} s"
        )
    if name == "images_per_second":
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and name != "seed" else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _settings_rows(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    meanings = {path: field.description or "" for path, field in fields(Settings)}
    return [(path, str(value), meanings.get(path, "")) for path, value in _flat(inputs.settings)]


def _glossary(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Explain the metrics that occur, and the words around them."""
    stems = set()
    for metric in inputs.metrics["metric"].unique():
        stem = metric
        while found := next((end for end in ENDINGS if stem.endswith(end)), None):
            stem = stem.removesuffix(found)
        stems.add(stem)
    return [METRICS[name] for name in METRICS if name in stems] + list(MORE_GLOSSARY)


def _rank(index: int) -> str:
    return RANKS[index] if index < len(RANKS) else f"{index + 1}th"
