"""The grid of (c, s) pairs: validation scores beside the majority classifier's, and selection of the best pairs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.labels import LABELS, to_matrix
from cxr.metrics import floors
from cxr.metrics.ranking import ranking_scores


def write_grid(
    *,
    pairs: Sequence[tuple[int, int]],
    predictions: Sequence[Path],
    facts: Sequence[Path],
    train_splits: Sequence[Path],
    validation_splits: Sequence[Path],
    select_by: Literal["accuracy", "auroc"],
    select: int,
    grid: Path,
    selected: Path,
) -> None:
    """Write one row per pair (grid) and the `select` best pairs (selected: layers, size, rank, ties).

    accuracy is binary accuracy on the pair's validation images; majority_accuracy is that of the majority classifier of
    its training images on the same images. Of equal gains the larger size comes first, then the fewer layers; ties is how
    many other pairs of the grid have the same gain. An undefined gain ties with none. Source: paper, section 2.2.
    """
    rows = []
    for (layers, size), prediction, fact, train, validation in zip(
        pairs, predictions, facts, train_splits, validation_splits, strict=True
    ):
        rows.append({"layers": layers, "size": size} | _row(prediction, fact, train, validation))
    table = pd.DataFrame(rows).sort_values(["layers", "size"], ignore_index=True)
    table.to_csv(grid, index=False, float_format="%.6g")
    gain = table["accuracy"] - table["majority_accuracy"] if select_by == "accuracy" else table["auroc"]
    # rounded: equal gains over different majorities differ in their last digits and would not tie
    gain = gain.round(12)
    others = gain.map(gain.value_counts()).fillna(1).astype(int) - 1
    ranked = table.assign(gain=gain, ties=others).sort_values(
        ["gain", "size", "layers"], ascending=[False, False, True]
    )
    best = ranked.head(select).assign(rank=range(1, min(select, len(ranked)) + 1))[["layers", "size", "rank", "ties"]]
    best.to_csv(selected, index=False)


def _row(prediction: Path, fact: Path, train: Path, validation: Path) -> dict[str, float]:
    truth = splits.read_split(validation)
    targets = to_matrix(truth["labels"])
    confidences = pd.read_csv(prediction).set_index("image").loc[truth["image"], list(LABELS)].to_numpy()
    majority = floors.fit_classification(to_matrix(splits.read_split(train)["labels"])).majority
    once = np.ones((1, len(truth)))
    per_label = np.array(
        [ranking_scores(targets[:, label], confidences[:, label], once)[0][0] for label in range(len(LABELS))]
    )
    run = json.loads(fact.read_text(encoding="utf-8"))
    return {
        "accuracy": float(((confidences > 0.5) == targets).mean()),
        "majority_accuracy": float((majority == targets).mean()),
        "auroc": float(np.nanmean(per_label)) if np.isfinite(per_label).any() else float("nan"),
        "auroc_labels": int(np.isfinite(per_label).sum()),
        "validation_images": len(truth),
        "training_images": run["training_images"],
        "seconds": run["seconds"],
    }
