"""The split rules' files: from records and lists on disk to one CSV a role, with a count of what the roles share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxr import boxes, splits
from cxr.journal import Journal


def write_classification(
    *,
    records: Path,
    lists: Sequence[Path],
    size: str,
    seed: int,
    settings: Mapping[str, Any],
    outputs: Mapping[str, Path],
    tell: Journal,
) -> None:
    """Write train, validation, test and leakage of one size ("all": every image). lists: official train_val and test."""
    train_list, test_list = [splits.read_image_list(path) for path in lists] if lists else (None, None)
    roles = splits.classification_split(
        _records(records),
        size=0 if size == "all" else int(size),
        seed=seed,
        official_train=train_list,
        official_test=test_list,
        **settings,
    )
    _write(roles, outputs, tell)


def write_boxes(
    *,
    records: Path,
    box_table: Path,
    seed: int,
    settings: Mapping[str, Any],
    outputs: Mapping[str, Path],
    tell: Journal,
) -> None:
    """Write train, validation, test and leakage of the boxed images; the split is made over the whole box list."""
    everything, _ = boxes.read_box_table(box_table, None)
    roles = splits.box_split(
        everything,
        _records(records),
        seed=seed,
        validation=settings["box_validation"],
        test=settings["box_test"],
        group=settings["box_group"],
    )
    _write(roles, outputs, tell)


def _records(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"image": "str", "labels": "str", "digest": "str"}, keep_default_na=False)


def _write(roles: Mapping[str, pd.DataFrame], outputs: Mapping[str, Path], tell: Journal) -> None:
    for role, table in roles.items():
        splits.write_split(table, outputs[role])
        tell(f"{role}: {len(table)} images of {table['patient'].nunique()} patients")
    shared = splits.leakage(roles)
    shared.to_csv(outputs["leakage"], index=False)
    tell(f"patients shared between roles: {int(shared['patients_shared'].sum())}")
