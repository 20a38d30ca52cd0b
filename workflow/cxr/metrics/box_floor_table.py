"""The floors of the boxed images from the tables alone: what boxes and maps that no image moves score on the test images."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import PREDICTION_COLUMNS, cell_targets
from cxr.data import box_list, csv_cells, label_list, split_files
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.areas import area_estimates, cell_scores
from cxr.metrics.bootstrap import Estimate, bootstrap_weights
from cxr.metrics.detection import large_subsets
from cxr.metrics.floors import CUT_MASK, fit_detection
from cxr.metrics.froc import curves, froc_estimates
from cxr.metrics.judging import FEWEST
from cxr.metrics.pooling import Fold, Pooled, Thresholds, patients_with
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation, Split

COLUMNS = ["protocol", "folds", "metric", "label", "predictor", "value", "low", "high", "images", "patients"]
GIVEN = ("view", "sex")  # what the cut mask is fitted apart for
FEWEST_IMAGES = 10  # training images of one view or sex; below, the mask of all images is taken


def write(
    *,
    labels: Path,
    boxes: Path,
    protocols: Mapping[str, Split],
    settings: Evaluation,
    seed: int,
    table: Path,
    text: Path,
    tell: Journal,
) -> None:
    """Split the box list as each protocol does, score the image-free predictors of each fold, and write CSV and a text.

    labels, boxes: the release's tables; no image is looked for. protocols: name -> split rule. Scores: F1 in cells of the
    maps, overall and on the images with a large box; mean FROC of the boxes. Raises InputError as `splits.box_folds`.
    """
    records = label_list.inspect_label_table(labels).records.assign(digest="")
    listed, rejected = box_list.read_box_table(boxes, None)
    tell(f"{boxes.name}: {len(listed)} usable boxes, {len(rejected)} set aside")
    rows = []
    for name, rule in protocols.items():
        folds = split_files.of_boxes(listed, records, rule, seed)
        described = records.set_index("image")
        told = {"protocol": name, "folds": len(folds)}
        for row in _rows(folds, described, settings, seed):
            rows.append(told | row)
        tell(f"{name}: {len(folds)} folds, {sum(len(fold['test']) for fold in folds)} test images")
    result = pd.DataFrame(rows, columns=COLUMNS)
    csv_cells.write(result, table, float_format="%.6g")
    text.write_text(as_text(result, settings.confidence), encoding="utf-8")


def _rows(
    folds: list[dict[str, pd.DataFrame]], described: pd.DataFrame, settings: Evaluation, seed: int
) -> Iterator[dict[str, object]]:
    given = [Fold(fold["test"], fold["train"], Thresholds(0.5), boxes=_nothing()) for fold in folds]
    pooled = Pooled.of(given, "image-free predictors", seed)
    weights = bootstrap_weights(pooled.patients, settings.bootstrap, seed)

    def row(metric: str, label: str, predictor: str, estimate: Estimate, counted: np.ndarray) -> dict[str, object]:
        low, high = estimate.interval(settings.confidence)
        sizes = {"images": int(counted.sum()), "patients": len(np.unique(pooled.patients[counted]))}
        named = {"metric": metric, "label": label, "predictor": predictor}
        return named | {"value": estimate.value, "low": low, "high": high} | sizes

    every = np.ones(len(pooled.drawn), dtype=bool)
    target = cell_targets([image.boxes for image in pooled.drawn]).astype(np.float64)
    maps = pooled.maps(lambda floors: floors.maps, pooled.everywhere)
    maps |= {f"{CUT_MASK}, of each {by}": _masks_by(by, folds, described) for by in GIVEN}
    for name, confidences in maps.items():
        yield row("f1", "all", name, area_estimates(cell_scores(target, confidences), every, weights)[2], every)
    for subset, sense, boxes in large_subsets(pooled.drawn):
        counted = np.array([len(each) > 0 for each in boxes])
        if counted.any():
            target = cell_targets(boxes).astype(np.float64)
            maps = pooled.maps(lambda floors, sense=sense: floors.of_large(sense), pooled.everywhere)
            for name, confidences in maps.items():
                scores = area_estimates(cell_scores(target, confidences), counted, weights)
                yield row("f1", subset, name, scores[2], counted)
    enough = [len(np.unique(patients_with(finding, pooled))) >= FEWEST for finding in BOXED_FINDINGS]
    for name, boxes in pooled.constants.items():
        found = froc_estimates(curves(boxes, pooled.drawn, weights), enough)
        for metric in ("froc_mean", "froc_mean_any"):
            yield row(metric, "all", name, found[metric, "all"], every)


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=PREDICTION_COLUMNS)


def _masks_by(by: str, folds: list[dict[str, pd.DataFrame]], described: pd.DataFrame) -> np.ndarray:
    """Return the cut mask of each test image's fold, fitted on the training images of the same view or sex: (N, 16, 16)."""
    found = []
    for fold in folds:
        train, test = (described.loc[fold[role]["image"], by].to_numpy() for role in ("train", "test"))
        masks = {kind: _mask(fold["train"][train == kind], fold["train"]) for kind in np.unique(test)}
        found += [masks[kind] for kind in test]
    return np.stack(found)


def _mask(images: pd.DataFrame, everything: pd.DataFrame) -> np.ndarray:
    return fit_detection(images if len(images) >= FEWEST_IMAGES else everything).maps[CUT_MASK]


def as_text(table: pd.DataFrame, confidence: float) -> str:
    """Write the table for a terminal: a block per protocol and score, a line per predictor; * marks the best."""
    lines = [
        f"What boxes and maps that no image moves score on the boxed images. [{confidence:.0%} intervals by patient]"
    ]
    for (protocol, metric, label), rows in table.groupby(["protocol", "metric", "label"], sort=False):
        first = rows.iloc[0]
        where = "" if label == "all" else f", {label.replace('_', ' ')}"
        folds = f"{first.folds} fold{'s' if first.folds > 1 else ''}"
        name = metric.replace("_", " ")
        lines += ["", f"{protocol}, {folds}, {first.images:,} images of {first.patients:,} patients: {name}{where}"]
        best = rows["value"].idxmax()
        for at, row in rows.iterrows():
            mark = "*" if at == best else ""
            lines.append(f"  {row.predictor:72}{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]{mark}")
    return "\n".join(lines) + "\n"
