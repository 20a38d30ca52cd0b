"""The YOLO data set of a protocol's boxed images: pictures, label files and data.yaml, with one manifest."""

from pathlib import Path

import pandas as pd

from cxr import images, splits, yolo_labels
from cxr.journal import Journal
from cxr.labels import BOXED_FINDINGS


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
    """Write the data set below `folder` and its manifest (role, image, file, label, boxes, checksums)."""
    pixels = images.open_store(store, images.read_index(index), box_size, "boxed", tell)
    tables = {role: splits.read_split(path) for role, path in split_files.items()}
    manifests = yolo_labels.write_data_set(tables, pixels.read, folder, BOXED_FINDINGS)
    pd.concat([table.assign(role=role) for role, table in manifests.items()]).to_csv(manifest, index=False)
