"""Cells of a table that a spreadsheet would take for a formula, made harmless where people open the file.

Excel and LibreOffice run a cell that begins with =, +, -, @, a tab or a line end, and names of images and files come from
outside. As OWASP advises ("CSV injection"), such a text gets an apostrophe in front. So that no name is lost, one that
begins with apostrophes before such a character gets one more, and `restored` takes exactly one away. A text that is a
number (-0.5) stays as it is, as does every cell that is no text.

Made harmless: rejected.csv, rejected_files.csv, all tables of new images below predictions/, the report's tables/*.csv.
Tables that only the jobs of a study read (records, splits, predictions of a training job) hold names exactly as they are.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # the wide ones count in Japanese and Chinese editions
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet runs; the inverse of `restored`."""
    return _each_text(table, lambda text: f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text)


def restored(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the texts that `harmless` was given."""
    return _each_text(table, lambda text: text[1:] if text.startswith("'") and FORMULA.match(text) else text)


def write(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table for people as CSV, without its index."""
    harmless(table).to_csv(path, index=False, float_format=float_format)


def read_names(path: Path) -> pd.DataFrame:
    """Read a table written by `write` that names an image in its column `image`, whatever the image is called."""
    return restored(pd.read_csv(path, dtype={"image": "str"}, keep_default_na=False))


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def changed(column: pd.Series) -> pd.Series:
        if pd.api.types.is_numeric_dtype(column):
            return column
        texts = column.astype(object).map(lambda cell: change(cell) if isinstance(cell, str) else cell)
        return texts if isinstance(column.dtype, pd.CategoricalDtype) else texts.astype(column.dtype)

    return table.apply(changed) if len(table.columns) else table
