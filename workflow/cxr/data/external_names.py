"""The names that another data set gives to its columns and labels, and what each of them is here."""

import csv
import difflib
import io
from collections.abc import Mapping
from pathlib import Path

import yaml

from cxr.data import tables
from cxr.errors import InputError
from cxr.labels import LABELS, official_label

COLUMNS = ("image", "patient", "age", "sex", "view", "follow_up", "labels")
EXPECTED = "names of a data set: their name, then ours, in YAML or CSV"


def read_names(path: Path | None) -> dict[str, str]:
    """Read a file of names: their name → one of ``LABELS``, one of ``COLUMNS``, or "" for what is not used.

    YAML (`Pleural Effusion: Effusion`), or CSV with two columns. Without a file there are no names. Raises InputError for a
    name of ours that is neither, with the nearest one.
    """
    if path is None:
        return {}
    content = tables.read_text(path, EXPECTED).content
    given = _from_csv(content) if path.suffix.lower() == ".csv" else _from_yaml(path, content)
    return {theirs: _ours(path, theirs, ours) for theirs, ours in given.items()}


def _from_csv(content: str) -> dict[str, str]:
    rows = [[*map(str.strip, row), ""] for row in csv.reader(io.StringIO(content)) if any(row)]
    return {row[0]: row[1] for row in rows}


def _from_yaml(path: Path, content: str) -> dict[str, str]:
    try:
        found = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())}); expected {EXPECTED}") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: holds no names; expected {EXPECTED}")
    return {str(theirs): "" if ours is None else str(ours) for theirs, ours in found.items()}


def _ours(path: Path, theirs: str, ours: str) -> str:
    found = official_label(ours) or (ours if ours in ("", *COLUMNS) else None)
    if found is None:
        near = difflib.get_close_matches(ours, [*LABELS, *COLUMNS], n=1)
        nearest = f"; the nearest is '{near[0]}'" if near else ""
        raise InputError(
            f"{path}: '{theirs}: {ours}': '{ours}' is none of the 15 labels and no column ({', '.join(COLUMNS)}){nearest}; "
            f"leave it empty ('{theirs}:') if it is not to be used"
        )
    return found
