"""Readers of files that the workflow itself wrote: an error names the damaged file and what to do."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cxr.data import csv_cells
from cxr.errors import InputError

AGAIN = "delete it and run again: the run makes it again"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises InputError if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def read_sentences(path: Path) -> list[str]:
    """Return a JSON list of texts. Raises InputError if the file is missing, damaged or holds something else."""
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _damaged(path, ValueError("it is not a list of sentences"))
    return found


def read_texts(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a CSV table with these columns as texts. Raises InputError if the file is missing or damaged."""
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
        if list(table.columns) != columns:
            raise ValueError(f"its columns are {', '.join(map(str, table.columns))}, not {', '.join(columns)}")
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    return csv_cells.restored(table)


def read_names(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a CSV table with image names (`csv_cells.read_names`) and at least these columns.

    Raises InputError if the file is missing or damaged.
    """
    try:
        table = csv_cells.read_names(path)
        missing = [column for column in columns if column not in table]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    return table


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: is damaged ({error}); {AGAIN}")
