"""The floors of a data set from its tables alone: what each rung of the ladder scores on the test images of each split."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cxr.data import csv_cells, label_list, split_files, splits
from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics import image_free
from cxr.metrics.bootstrap import Estimate, bootstrap_weights, weighted_ratios
from cxr.metrics.classification import fewer_patients, mean_labels
from cxr.metrics.guesses import AMONG_FINDINGS, SIGMOID, SOFTMAX, Guess, columns, mean_areas
from cxr.metrics.ladder import RUNGS, Ladder
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation, Split

COLUMNS = [
    *("protocol", "rule", "size", "metric", "label", "rung", "candidate", "value", "low", "high", "cross_validated", "floor"),
    *("train_images", "train_patients", "test_images", "test_patients", "shared_patients", "labels"),
]  # fmt: skip
SHOWN = (  # metric as in the cross-validation, label
    *(
        ("auroc", "mean14"),
        ("auprc", "mean14"),
        ("accuracy", ""),
        ("accuracy", "mean14"),
        ("loss", ""),
        ("loss", "mean14"),
    ),
    *(("softmax_accuracy", ""), ("softmax_accuracy", AMONG_FINDINGS)),
    *(("softmax_loss", ""), ("softmax_loss", AMONG_FINDINGS)),
)


@dataclass(frozen=True)
class Tables:
    """What the splits are made from: the label table, of which every row takes part, since no image is looked for; and the
    official lists of train_val and test, or none."""

    labels: Path
    lists: Sequence[Path]


@dataclass(frozen=True)
class Outputs:
    """What `write` writes: the table as CSV, and a text for reading."""

    table: Path
    text: Path


def write(
    *,
    tables: Tables,
    protocols: Mapping[str, tuple[Split, Sequence[str]]],
    settings: Evaluation,
    seed: int,
    workers: int,
    outputs: Outputs,
    tell: Journal,
) -> None:
    """Split the label table as each protocol does, climb the ladder on each split, and write what it scores.

    protocols: name -> split rule and sizes ("all": every image). workers: splits at a time, each in a process of its own.
    Raises InputError as `splits.classification_split`.
    """
    content = label_list.inspect_label_table(tables.labels)
    records = content.records.assign(digest="")
    counts = f"{tables.labels.name}: {len(records)} usable rows, {len(content.rejected)} set aside"
    for note in (counts, *content.notes):
        tell(note)
    official = [splits.read_image_list(path) for path in tables.lists]
    asked = [(name, rule, size) for name, (rule, sizes) in protocols.items() for size in sizes]
    work = partial(_of_split, records, official, settings, seed)
    rows = []
    one_thread = partial(threadpool_limits, 1)  # each process has a core to itself
    with ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=one_thread) as pool:
        for told, found in pool.map(work, asked):
            tell(told)
            rows += found
    result = pd.DataFrame(rows, columns=COLUMNS)
    csv_cells.write(result, outputs.table, float_format="%.6g")
    outputs.text.write_text(as_text(result, settings.confidence), encoding="utf-8")


def _of_split(
    records: pd.DataFrame,
    official: Sequence[set[str]],
    settings: Evaluation,
    seed: int,
    asked: tuple[str, Split, str],
) -> tuple[str, list[dict[str, object]]]:
    """Return a line for the log and the rows of one split; asked: protocol, split rule, size."""
    name, rule, size = asked
    roles = split_files.of_size(records, size, rule, seed, official)
    train, test = (_described(roles[role], records) for role in ("train", "test"))
    found = image_free.climb(train, test.drop(columns="labels"), seed)
    told = {"protocol": name, "rule": rule.rule, "size": size} | _counts(train, test)
    line = f"{name}, {rule.rule}, size {size}: {len(train)} training and {len(test)} test images"
    return line, [told | row for row in _rows(found, test, settings, seed)]


def _described(split: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    return split.merge(records[["image", *splits.METADATA]], on="image", how="left")


def _counts(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, int]:
    patients = test["patient"].drop_duplicates()
    return {
        "train_images": len(train),
        "train_patients": train["patient"].nunique(),
        "test_images": len(test),
        "test_patients": len(patients),
        "shared_patients": int(patients.isin(train["patient"]).sum()),
    }


def _rows(found: Ladder, test: pd.DataFrame, settings: Evaluation, seed: int) -> Iterator[dict[str, object]]:
    targets = to_matrix(test["labels"]).astype(np.float64)
    weights = bootstrap_weights(test["patient"].to_numpy(), settings.bootstrap, seed)
    ranked = mean_labels(fewer_patients(targets, test["patient"].to_numpy()), len(FINDINGS))
    means: dict[str, tuple[Estimate, Estimate]] = {}
    for key in SHOWN:
        for rung in RUNGS:
            name = found.of_rung(rung, *key)
            if name is None:
                continue
            if key[0] in ("auroc", "auprc"):
                if name not in means:
                    means[name] = mean_areas(found.guesses[name], targets, ranked, weights)
                estimate = means[name][key[0] == "auprc"]
            else:
                estimate = _mean(found.guesses[name], targets, weights, key)
            low, high = estimate.interval(settings.confidence)
            yield {
                "metric": key[0],
                "label": key[1],
                "rung": rung,
                "candidate": name,
                "value": estimate.value,
                "low": low,
                "high": high,
                "cross_validated": found.score(name, *key),
                "floor": int(name == found.floor(*key)),
                "labels": len(ranked) if key[0] in ("auroc", "auprc") else len(FINDINGS if key[1] else LABELS),
            }


def _mean(guess: Guess, targets: np.ndarray, weights: np.ndarray, key: tuple[str, str]) -> Estimate:
    activation = SOFTMAX if key[0].startswith("softmax_") else SIGMOID
    wanted = key[0].removeprefix("softmax_"), key[1]
    column = next(each for each in columns(guess, targets, activation) if (each.metric, each.label) == wanted)
    return weighted_ratios(column.numerator[:, None], column.denominator[:, None], weights)[0]


def as_text(table: pd.DataFrame, confidence: float) -> str:
    """Write the table for a terminal: a block per split, a line per metric, a column per rung; * marks the floor."""
    lines = [
        f"What can be said of the test images without looking at one. [{confidence:.0%} intervals, patients resampled]",
        "* the floor: the rung with the best cross-validated score on the training images",
    ]
    for (protocol, rule, size), block in table.groupby(["protocol", "rule", "size"], sort=False):
        first = block.iloc[0]
        lines += [
            "",
            f"{protocol}: split rule '{rule}', size {size}: {first.train_images:,} training images of "
            f"{first.train_patients:,} patients; {first.test_images:,} test images of {first.test_patients:,} patients, "
            f"{first.shared_patients:,} of them also in training",
            f"  {'':28}" + "".join(f"{rung:28}" for rung in RUNGS),
        ]
        for (metric, label), rows in block.groupby(["metric", "label"], sort=False):
            by_rung = {row.rung: row for row in rows.itertuples()}
            cells = (_cell(by_rung[rung]) if rung in by_rung else "-" for rung in RUNGS)
            labels = f", {rows['labels'].iloc[0]} labels"
            if metric.startswith("softmax"):
                labels = ", findings" if label else ""
            lines.append(f"  {metric.replace('_', ' ') + labels:28}" + "".join(f"{cell:28}" for cell in cells).rstrip())
    return "\n".join(lines) + "\n"


def _cell(row: object) -> str:
    return f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]{'*' if row.floor else ''}"
