"""Protection from spreadsheet formulas in the tables that people open.

Excel and LibreOffice run a cell that begins with =, +, -, @, a tab or a line end, and names of images and files come from
outside. As OWASP advises ("CSV injection"), such a text gets an apostrophe in front. A text that already begins with
apostrophes before such a character gets one more; `restored` removes exactly one, so no name changes. Numbers written as
text (-0.5) and cells that are not text stay as they are.

Protected: rejected.csv, rejected_files.csv, all tables of new images below predictions/, the report's tables/*.csv,
the floors from the tables alone (floors/labels.csv).
Tables that only the jobs of a study read (records, splits, predictions of a training job) hold the unchanged names.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # Japanese and Chinese editions run the wide ones too
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet runs as formulas; the inverse of `restored`."""
    return _each_text(table, lambda text: f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text)


def restored(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the original texts, from before `harmless`."""
    return _each_text(table, lambda text: text[1:] if text.startswith("'") and FORMULA.match(text) else text)


def write(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table for people as CSV, without its index."""
    harmless(table).to_csv(path, index=False, float_format=float_format)


def read_names(path: Path) -> pd.DataFrame:
    """Read a table written by `write` with image names in its column `image`; a name may be "NA"."""
    return restored(pd.read_csv(path, dtype={"image": "str"}, keep_default_na=False))


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def changed(column: pd.Series) -> pd.Series:
        if pd.api.types.is_numeric_dtype(column):
            return column
        texts = column.astype(object).map(lambda cell: change(cell) if isinstance(cell, str) else cell)
        return texts if isinstance(column.dtype, pd.CategoricalDtype) else texts.astype(column.dtype)

    return table.apply(changed) if len(table.columns) else table
