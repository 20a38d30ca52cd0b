"""The YOLO data set of a protocol's boxed images: pictures, label files and data.yaml, with one manifest."""

import shlex
from pathlib import Path

import pandas as pd

from cxr.data import image_index, image_store, splits
from cxr.detectors.yolo import labels
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.runtime.journal import Journal, legible

TEXT = ("role", "image", "file", "label", "box_text", "sha256", "label_sha256")
SHOWN = 5


def write(
    *,
    split_files: dict[str, Path],
    index: Path,
    store: Path,
    box_size: int,
    folder: Path,
    manifest: Path,
    tell: Journal,
) -> None:
    """Write the data set below `folder` and its manifest (role, image, file, label, boxes, box_text, checksums)."""
    pixels = image_store.open_store(store, image_index.read_index(index), box_size, "boxed", tell)
    tables = {role: splits.read_split(path) for role, path in split_files.items()}
    manifests = labels.write_data_set(tables, pixels.read, folder, BOXED_FINDINGS)
    pd.concat([table.assign(role=role) for role, table in manifests.items()]).to_csv(manifest, index=False)


def intact(manifest: Path, folder: Path, pixels: labels.Pixels, tell: Journal) -> labels.DataSet:
    """Compare a data set with its manifest, repair it (`labels.mend`), report what was wrong, and return it.

    Raises InputError, with the command to type, if a job that reads the data set cannot repair it.
    """
    data = read(manifest, folder)
    try:
        written, removed = labels.mend(data, pixels)
    except labels.OtherPicture as error:
        raise InputError(f"{error}; {_advice(manifest)}") from None
    for files, what in (
        (written, "were missing or damaged and were written again"),
        (removed, "belonged to no image and were removed"),
    ):
        if files:
            shown = ", ".join(files[:SHOWN]) + (", …" if len(files) > SHOWN else "")
            tell(f"YOLO data set {folder}: {len(files)} files {what} ({shown})")
    return data


def read(manifest: Path, folder: Path) -> labels.DataSet:
    """Read the manifest of a data set; raises InputError, with the command to type, if it is not one."""
    try:
        table = pd.read_csv(manifest, dtype=dict.fromkeys(TEXT, "str") | {"boxes": "int64"}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{legible(manifest)}: not readable as the manifest of a YOLO data set ({error}); {_advice(manifest)}"
        ) from None
    if set(table.columns) != {"role", *labels.MANIFEST} or table.empty:
        raise InputError(
            f"{legible(manifest)}: not the manifest of a YOLO data set (columns {', '.join(table.columns)}); "
            f"{_advice(manifest)}"
        )
    data = labels.DataSet(folder, tuple(BOXED_FINDINGS), table)
    if wrong := labels.inconsistency(data):
        raise InputError(f"{legible(manifest)}: {wrong}; {_advice(manifest)}")
    return data


def _advice(manifest: Path) -> str:
    return (
        "remove the manifest and run the same command again, which makes the data set again: "
        f"rm {shlex.quote(legible(manifest))}"
    )
