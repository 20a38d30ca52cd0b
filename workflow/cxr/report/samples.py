"""What the report's figures stand on, in words: how many images, patients and positives."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cxr.experiments import BY_NAME, family, pair
from cxr.labels import FINDINGS, NO_FINDING
from cxr.report.inputs import ReportInputs
from cxr.report.rows import rank_name

PAIRS = "positive image–finding pairs"


def told(images: object, patients: object, positives: object, of: str = PAIRS) -> str:
    """Write a sample: ``347 images of 121 patients, 453 positive image–finding pairs``; each number as `span` writes it."""
    counted = ((images, "images"), (patients, "patients"), (positives, of))
    first, second, third = (
        f"{number} {words.removesuffix('s') if str(number) == '1' else words}" for number, words in counted
    )
    return f"{first} of {second}, {third}"


def span(values: Iterable[Any]) -> str:
    """Write whole numbers: one if they are equal, else the range ``10 to 50``; "an unknown number" without any."""
    known = [int(value) for value in values if pd.notna(value)]
    if not known:
        return "an unknown number"
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def of_test(inputs: ReportInputs, protocol: str, experiment: str) -> str:
    """Say on which test images an experiment is scored; "" if nothing was measured."""
    if BY_NAME[family(experiment)].kind == "classifier":
        return _of_classifier(inputs, protocol, experiment)
    return of_detector(inputs, protocol, experiment)


def _of_classifier(inputs: ReportInputs, protocol: str, experiment: str) -> str:
    whole = inputs.metric(protocol, experiment, "loss", "")
    if whole is None:
        return ""
    found = [inputs.metric(protocol, experiment, "auroc", label) for label in FINDINGS]
    return told(
        span([whole["support"]]), span([whole["patients"]]), f"{sum(int(row['support']) for row in found if row):,}"
    )


def of_detector(inputs: ReportInputs, protocol: str, experiment: str) -> str:
    """Say on which boxed test images a detector is scored, all folds together; "" if nothing was measured."""
    whole = inputs.metric(protocol, experiment, "images_with_prediction", "all")
    if whole is None:
        return ""
    boxes = true_boxes(inputs, protocol).get("all")
    cells = inputs.metric(protocol, experiment, "recall", "all")
    positives, of = (
        (boxes, "true boxes") if boxes else (cells and cells["support"], "of them positive (a diseased cell)")
    )
    return told(span([whole["support"]]), span([whole["patients"]]), span([positives]), of)


def true_boxes(inputs: ReportInputs, protocol: str) -> dict[str, int]:
    """Return the number of true boxes of the test images, by label ("all", a finding), as a detector of boxes was scored on
    them; nothing without such a detector.
    """
    table = inputs.metrics
    mine = table[(table["protocol"] == protocol) & table["metric"].isin(["froc_1", "froc_1_any"])]
    return {label: int(rows["support"].max()) for label, rows in mine.groupby("label")}


def listed(inputs: ReportInputs, keys: Sequence[tuple[str, str]]) -> str:
    """Say on which test images several (protocol, experiment) are scored; those of equal samples together."""
    named: dict[tuple[str, str], list[str]] = {}
    for protocol, experiment in dict.fromkeys(keys):
        if sample := of_test(inputs, protocol, experiment):
            named.setdefault((protocol, sample), []).append(_short(inputs, protocol, experiment))
    return "; ".join(f"{protocol}, {', '.join(names)}: {sample}" for (protocol, sample), names in named.items())


def _short(inputs: ReportInputs, protocol: str, experiment: str) -> str:
    chosen, pairs = pair(experiment), list(inputs.selected.get(protocol, ()))
    rank = f", {rank_name(pairs.index(chosen))} pair" if chosen in pairs else ""
    return BY_NAME[family(experiment)].short + rank


def of_validation(facts: Sequence[Mapping[str, Any]]) -> str:
    """Say on which validation images the jobs (folds) of an experiment are judged; "" if they did not record it."""
    known = [each["validation"] for each in facts if "validation" in each]
    if not known:
        return ""
    positives, of = ("boxes", "true boxes") if "boxes" in known[0] else ("positives", PAIRS)
    return told(*(span(each[name] for each in known) for name in ("images", "patients", positives)), of)


def of_grid(grid: pd.DataFrame) -> str:
    """Say on which validation images the pairs of a grid are judged."""
    names = ("validation_images", "validation_patients", "validation_positives")
    return told(*(span(grid[name]) if name in grid else span([]) for name in names))


def of_data(summary: Mapping[str, Any]) -> str:
    """Say how many usable images the data have."""
    positives = sum(count for label, count in summary["labels"].items() if label != NO_FINDING)
    return told(span([summary["usable_images"]]), span([summary["usable_patients"]]), f"{positives:,}")
