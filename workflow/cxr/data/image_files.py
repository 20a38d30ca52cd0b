"""The image files below a data folder by the image's name, and those that do not count."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from cxr.data.folder import counts, is_file, is_folder, walk
from cxr.data.image_names import canonical
from cxr.data.layouts import is_release_image
from cxr.data.ledger import OK
from cxr.data.tables import REJECTED_COLUMNS
from cxr.runtime import regular
from cxr.runtime.journal import legible


def find_images(
    root: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Find every *.png (any case) below root that counts (`folder.counts`); follows links, enters each folder once.

    Returns canonical image name → paths, relative to root, of the files with that name, those in the release's layout
    first, else sorted; and the rejected entries (columns of rejected.csv). Raises InputError if root is missing.
    """
    paths: dict[str, list[str]] = {}
    rejected: list[tuple[str, str, str]] = []
    for path, entry in sorted(walk(root), key=lambda found: (not is_release_image(found[0]), found[0])):
        if not counts(path, include, exclude):
            continue
        if is_folder(entry):
            rejected.append((legible(path), "a directory, not an image file", ""))
        elif not is_file(entry):
            rejected.append((legible(path), "not a regular file", regular.kind(root / path)))
        else:
            paths.setdefault(canonical(entry.name), []).append(path)
    return paths, rejected_rows(rejected)


def other_formats(
    root: Path, names: Collection[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return ending in lower case → sorted paths of the files below root that have one of the names but are not PNG."""
    found: dict[str, list[str]] = {}
    if not names:  # no walk over all files of a whole release
        return found
    for path, entry in sorted(walk(root, "")):
        ending = os.path.splitext(entry.name)[1].lower()
        if ending != ".png" and canonical(entry.name) in names and counts(path, include, exclude):
            found.setdefault(ending, []).append(path)
    return found


def unusable(index: pd.DataFrame) -> pd.DataFrame:
    """Return the unusable images of an index as rows of rejected.csv."""
    bad = index[index["status"] != OK]
    sizes = [f"{row.path}, {row.width}x{row.height}" if row.width else row.path for row in bad.itertuples()]
    return rejected_rows(list(zip(bad["image"], bad["status"].astype(str), sizes, strict=True)))


def rejected_rows(rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Return (item, reason, detail) of files as a table with the columns of rejected.csv."""
    items, reasons, details = zip(*rows, strict=True) if rows else ((), (), ())
    columns = ("images", pd.array([pd.NA] * len(rows), dtype="Int64"), items, reasons, details)
    return pd.DataFrame(dict(zip(REJECTED_COLUMNS, columns, strict=True)), index=range(len(rows)))
