"""The splits' files: from records and lists on disk to one CSV per role, with a count of what the roles share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxr.data import box_list, splits
from cxr.runtime.journal import Journal
from cxr.settings import Split


def write_all(
    *,
    records: Path,
    box_table: Path,
    lists: Sequence[Path],
    sizes: Sequence[str],
    draws: Sequence[tuple[int, int]],
    seed: int,
    rule: Split,
    folder: Path,
    tell: Journal,
) -> None:
    """Write a protocol's splits below `folder`: <role>, <role>_images and leakage of each size and of each fold of the
    boxed images ("boxes_fold<number>", from 0).

    sizes: numbers of images as text, "all" for every image. draws: (size, number) of further draws of the training images;
    <size>_r<number> holds these alone, its validation and test images are those of the size. lists: official train_val and
    test, or none. The box split is made over the whole box list (`box_table`); `records` tells which images are usable.
    <role>_images: without labels and boxes, for jobs that must not depend on them. <role>_metadata: age, sex, view and
    follow-up number of the images of a size, and of the test images of a fold. boxes_fold<fold>/train_labels: the boxed
    training images with all their labels, including those without a box.
    """
    table = _records(records)
    official = [splits.read_image_list(path) for path in lists]
    for size in sizes:
        roles = of_size(table, size, rule, seed, official)
        _write(roles, folder / size, tell)
        for role in roles:
            _write_metadata(roles[role], table, folder / size / f"{role}_metadata.csv")
    for size, number in draws:
        roles = of_size(table, str(size), rule, seed, official, draw=number)
        _write(roles, folder / f"{size}_r{number}", tell, written=("train",))
        _write_metadata(roles["train"], table, folder / f"{size}_r{number}" / "train_metadata.csv")
    everything, _ = box_list.read_box_table(box_table, None)
    for number, roles in enumerate(of_boxes(everything, table, rule, seed)):
        _write(roles, folder / f"boxes_fold{number}", tell)
        _write_metadata(roles["test"], table, folder / f"boxes_fold{number}" / "test_metadata.csv")
        _write_labels(roles["train"], table, folder / f"boxes_fold{number}" / "train_labels.csv")


def of_size(
    records: pd.DataFrame, size: str, rule: Split, seed: int, official: Sequence[set[str]], draw: int = 0
) -> dict[str, pd.DataFrame]:
    """Return the roles of a size as its rule says (`splits.classification_split`).

    size: a number of images as text, or "all". draw: of its training images. official: names of the train_val and test
    list, or empty.
    """
    train_list, test_list = official or (None, None)
    return splits.classification_split(
        records,
        rule,
        size=0 if size == "all" else int(size),
        seed=seed,
        draw=draw,
        official_train=train_list,
        official_test=test_list,
    )


def of_boxes(boxes: pd.DataFrame, records: pd.DataFrame, rule: Split, seed: int) -> list[dict[str, pd.DataFrame]]:
    """Return the folds of the boxed images as a rule says (`splits.box_folds`); boxes: of the whole box list."""
    return splits.box_folds(
        boxes,
        records,
        folds=rule.box_folds,
        seed=seed,
        validation=rule.box_validation,
        test=rule.box_test,
        group=rule.box_group,
    )


def _records(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"image": "str", "labels": "str", "digest": "str"}, keep_default_na=False)


def _write(
    roles: Mapping[str, pd.DataFrame], folder: Path, tell: Journal, written: Sequence[str] = splits.ROLES
) -> None:
    for role in written:
        splits.write_split(roles[role], folder / f"{role}.csv")
        splits.write_split(roles[role][splits.IMAGE_COLUMNS], folder / f"{role}_images.csv")
    shared = splits.leakage(roles)
    shared.to_csv(folder / "leakage.csv", index=False)
    counts = ", ".join(f"{role} {len(table)} ({table['patient'].nunique()})" for role, table in roles.items())
    tell(f"{folder.name}: images (patients): {counts}; patients shared: {int(shared['patients_shared'].sum())}")


def _write_metadata(images: pd.DataFrame, records: pd.DataFrame, path: Path) -> None:
    splits.write_split(images[["image"]].merge(records[splits.METADATA_COLUMNS], on="image", how="left"), path)


def _write_labels(boxed: pd.DataFrame, records: pd.DataFrame, path: Path) -> None:
    splits.write_split(boxed[["image"]].merge(records, on="image", how="left")[splits.SPLIT_COLUMNS], path)
