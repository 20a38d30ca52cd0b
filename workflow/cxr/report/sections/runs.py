"""The report's sections on the runs and on their settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from cxr.report.inputs import SOURCE, Job, ReportInputs
from cxr.settings import Settings, fields

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
COMMON = ("device", "precision", "seed")  # stated once if equal for all jobs
VERSIONS = ("python", "torch", "torchvision", "ultralytics", "numpy", "cuda")


def section(inputs: ReportInputs) -> dict[str, Any]:
    """Return the run table; facts common to all jobs are stated once, above it."""
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


def settings_rows(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    """Return path, value and meaning of every setting."""
    meanings = {path: field.description or "" for path, field in fields(Settings)}
    return [(path, str(value), meanings.get(path, "")) for path, value in _flat(inputs.settings)]
