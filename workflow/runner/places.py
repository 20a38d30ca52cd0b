"""Where results and tables are. Problems with these places are reported before anything runs."""

import os
from collections.abc import Iterable
from pathlib import Path

from snakemake.io import contains_wildcard

from cxr.data import layouts
from cxr.errors import InputError
from cxr.settings import Data

# Tables of the release, by the names that rules give them: the official file name, and the setting with a user's own.
TABLES = {
    "labels": ("Data_Entry_2017_v2020.csv", "label_table"),
    "boxes": ("BBox_List_2017.csv", "box_table"),
    "train_val": ("train_val_list.txt", "train_val_list"),
    "test": ("test_list.txt", "test_list"),
}


def require_results(results: Path) -> None:
    """Raise InputError if a results folder cannot be created or written."""
    for place in (results.parent, results):
        if not place.is_dir() and os.path.lexists(place):
            leads = f"a link to {os.readlink(place)}, which is not a folder" if place.is_symlink() else "a file"
            raise InputError(f"{place} is {leads}: make that a folder, or remove {place}; nothing was run")
    existing = next(folder for folder in [results, *results.parents] if folder.exists())
    if not os.access(existing, os.W_OK):
        raise InputError(
            f"{results} cannot be written ({existing.absolute()} is read-only for this user); nothing was run"
        )


def tables(data: Data, root: str) -> dict[str, str]:
    """Return the paths of the tables, relative to root, by the keys of `TABLES`; "" for a list that is missing."""
    if data.source == "phantoms":
        return {name: official for name, (official, _) in TABLES.items()}
    return {name: layouts.table(root, getattr(data, setting)) for name, (_, setting) in TABLES.items()}


def require_no_braces(paths: Iterable[str]) -> None:
    """Raise InputError for a path that Snakemake would take for a pattern."""
    for path in paths:
        if contains_wildcard(path):
            raise InputError(
                f"{path}: Snakemake takes text in braces for a wildcard, so this path cannot be used; make a link "
                "to it without braces (ln -s), and give the link in the configuration (data)"
            )
