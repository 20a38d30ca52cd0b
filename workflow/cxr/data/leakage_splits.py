"""The splits of the leakage experiment: two halves of the patients, test images of both, and a training set from each.

Patients are in one of two halves at random. Some patients of each half are held out: all their images are test images. Of
the others some images are test images, at random by image, so that a test image's patient may have training images in its
own half, and never in the other. A network trained on a half is therefore one of an image-level split to the test images of
its half, and one of a patient-level split to those of the other.

As in `splits`, every choice depends on a hash of the seed and a name, so that adding images moves no other image to another
half or role. A repeat has a seed of its own, and with it other halves and other test images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.errors import InputError
from cxr.runtime.journal import Journal

HALVES = ("a", "b")
VALIDATION = 0.1  # share of images that are only looked at while a network is trained; no epoch is chosen by them
MOST_VALIDATION = 1000  # images of a half
TEST_COLUMNS = [*splits.SPLIT_COLUMNS, "half"]


@dataclass(frozen=True)
class Design:
    """size: training images of each network. held_out: share of patients that are only tested. test: share of the other
    patients' images for testing."""

    size: int
    held_out: float
    test: float


def assigned(records: pd.DataFrame, design: Design, seed: int) -> pd.DataFrame:
    """Give each usable record (columns `splits.SPLIT_COLUMNS`) a half, one of `HALVES`, by patient, and a role.

    Returns the records with the columns half and role, in a random order of the images.
    """
    patients = records["patient"]
    later = _places(patients, seed, "half") >= 0.5
    held_out = _places(patients, seed, "held out") < design.held_out
    places = _places(records["image"], seed, "role")
    roles = np.select(
        [held_out | (places < design.test), places < design.test + VALIDATION], ["test", "validation"], "train"
    )
    found = records.assign(half=np.array(HALVES)[later.astype(int)], role=roles)
    found["order"] = _places(records["image"], seed, "order")
    return found.sort_values(["order", "image"], ignore_index=True).drop(columns="order")


def _places(names: pd.Series, seed: int, purpose: str) -> np.ndarray:
    codes, distinct = pd.factorize(names)
    return np.array([splits.place(seed, f"leakage/{purpose}/{name}") for name in distinct], dtype=np.float64)[codes]


def write_all(*, records: Path, design: Design, repeats: int, seed: int, folder: Path, tell: Journal) -> None:
    """Write the splits of each repeat below <repeat>/: test.csv (with each image's half), test_images.csv and
    test_metadata.csv; of each half train_<half>.csv, train_metadata_<half>.csv and validation_<half>.csv.

    The seed of a repeat is `seed` + its number. Raises InputError if a half has fewer training images than asked for, or no
    test or validation image.
    """
    table = pd.read_csv(records, dtype={"image": "str", "labels": "str", "digest": "str"}, keep_default_na=False)
    for repeat in range(repeats):
        found = assigned(table, design, seed + repeat)
        by_role = {(half, role): rows for (half, role), rows in found.groupby(["half", "role"])}
        _require(by_role, design)
        place, tested = folder / str(repeat), found[found["role"] == "test"]
        splits.write_split(tested[TEST_COLUMNS], place / "test.csv")
        splits.write_split(tested[splits.IMAGE_COLUMNS], place / "test_images.csv")
        splits.write_split(tested[splits.METADATA_COLUMNS], place / "test_metadata.csv")
        for half in HALVES:
            train = by_role[half, "train"].head(design.size)
            splits.write_split(train[splits.SPLIT_COLUMNS], place / f"train_{half}.csv")
            splits.write_split(train[splits.METADATA_COLUMNS], place / f"train_metadata_{half}.csv")
            validation = by_role[half, "validation"].head(MOST_VALIDATION)
            splits.write_split(validation[splits.SPLIT_COLUMNS], place / f"validation_{half}.csv")
            mine = tested[tested["half"] == half]
            tell(
                f"repeat {repeat}, half {half}: {len(train)} training images of {train['patient'].nunique()} patients, "
                f"{len(mine)} test images, {int(mine['patient'].isin(train['patient']).sum())} of a training patient"
            )


def read_halves(path: Path) -> np.ndarray:
    """Read the half of each test image, (N,) of `HALVES`, in the order of the file. Raises InputError for another file."""
    try:
        return pd.read_csv(path, dtype="str")["half"].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is not the test split of the leakage experiment ({error}); delete it") from None


def _require(by_role: Mapping[tuple[str, str], pd.DataFrame], design: Design) -> None:
    for role in ("test", "validation"):
        if any((half, role) not in by_role for half in HALVES):
            raise InputError(f"leakage: a half of the patients gets no {role} image; use more images")
    largest = min(len(by_role.get((half, "train"), ())) for half in HALVES)
    if design.size > largest:
        raise InputError(
            f"leakage.size = {design.size} is larger than the data: one half of the patients has {largest} images to train on; "
            f"set leakage.size to at most {largest}"
        )
