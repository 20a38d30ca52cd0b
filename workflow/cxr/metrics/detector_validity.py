"""The validity table of a detector: F1 of its areas by sex, age and view, each group beside the floor of its own images."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from cxr.boxes import cell_targets
from cxr.metrics import judging, subgroups
from cxr.metrics.areas import AreaScores, area_estimates, best_by_f1, cell_scores
from cxr.metrics.bootstrap import bootstrap_weights
from cxr.metrics.classification import check_same_order
from cxr.metrics.pooling import Fold, Pooled
from cxr.metrics.validity_rows import COLUMNS, SUBGROUPS, Row, nothing, row

EVERY = "all"  # label of areas regardless of the finding


def detector_table(
    protocol: str,
    experiment: str,
    folds: Sequence[Fold],
    metadata: pd.DataFrame,
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Compare groups of a detector's test images over all folds; columns ``validity_rows.COLUMNS``, part subgroups.

    folds, samples, confidence, seed: as for `detection.score_folds`, whose metric f1 of label "all" this is. metadata: of the
    test images of all folds, in their order (`splits.read_metadata`). The floor of a group is the image-free map with the best
    F1 on it. cases: images; positives: boxes; fewest: patients. A group of fewer than `judging.FEWEST` patients has no value.
    Raises InputError where the files are of different images.
    """
    who = f"validity of {experiment} ({protocol})"
    pooled = Pooled.of(folds, who, seed)
    tested = pd.concat([fold.truth for fold in folds], ignore_index=True)
    check_same_order(metadata["image"], tested, "metadata", who)
    weights = bootstrap_weights(pooled.patients, samples, seed)
    rows = [
        each
        for comparison, members in subgroups.groups(metadata).items()
        for each in _rows(comparison, members, pooled, weights, confidence)
    ]
    return pd.DataFrame([{"protocol": protocol, "experiment": experiment, **each} for each in rows], columns=COLUMNS)


def _rows(
    comparison: str, members: Mapping[str, np.ndarray], pooled: Pooled, weights: np.ndarray, confidence: float
) -> Iterator[Row]:
    found = _compared(members, pooled, weights)
    for each in found.compared:
        yield _row(comparison, each, pooled, confidence)
    for name in found.too_small:
        note = subgroups.left_out(name, f"fewer than {judging.FEWEST} patients")
        empty = subgroups.Group(
            name, members[name], *[nothing(len(weights))] * 2, _patients(pooled, members[name]), "", note
        )
        yield _row(comparison, empty, pooled, confidence)
    for each in found.gap():
        yield _row(comparison, each, pooled, confidence)


def _row(comparison: str, group: subgroups.Group, pooled: Pooled, confidence: float) -> Row:
    count = int(group.members.sum())
    boxes = sum(len(image.labels) for image, mine in zip(pooled.drawn, group.members, strict=True) if mine)
    return row(
        SUBGROUPS, "f1", EVERY, group.score, group.floor, confidence, comparison=comparison, group=group.name,
        note=group.note, floor_name=group.floor_name, cases=count, positives=boxes, images=count,
        patients=_patients(pooled, group.members), fewest=group.fewest,
    )  # fmt: skip


def _patients(pooled: Pooled, images: np.ndarray) -> int:
    return len(np.unique(pooled.patients[images]))


def _compared(members: Mapping[str, np.ndarray], pooled: Pooled, weights: np.ndarray) -> subgroups.Comparison:
    target = cell_targets([image.boxes for image in pooled.drawn]).astype(np.float64)
    maps = pooled.maps(lambda floors: floors.maps, pooled.everywhere)
    model, constants = cell_scores(target, pooled.marked), {name: cell_scores(target, maps[name]) for name in maps}
    counts = {name: _patients(pooled, mine) for name, mine in members.items()}
    enough = [name for name, count in counts.items() if count >= judging.FEWEST and name != subgroups.UNKNOWN]
    groups = [_group(name, members[name], model, constants, weights, counts[name]) for name in enough]
    return subgroups.Comparison([], groups, [name for name in members if name not in enough])


def _group(
    name: str,
    members: np.ndarray,
    model: AreaScores,
    constants: Mapping[str, AreaScores],
    weights: np.ndarray,
    patients: int,
) -> subgroups.Group:
    floors = {each: area_estimates(scores, members, weights) for each, scores in constants.items()}
    best = best_by_f1(floors)
    score = area_estimates(model, members, weights)[2]
    return subgroups.Group(name, members, score, floors[best][2], patients, best)
