"""Text tables as people save them: any separator and encoding, columns by name, rows with their line numbers."""

import csv
import functools
import io
import operator
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxr.data.image_names import canonical
from cxr.errors import InputError
from cxr.runtime import regular

MOST_BYTES = 100_000_000  # of a table; the release's label table is 8 MB
REJECTED_COLUMNS = ["table", "row", "item", "reason", "detail"]
ABSENT = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "-", "?", "unknown", "unk"})  # no value given
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
OTHER_FILES = {  # first bytes of files that are not text: what they are, and what to do
    b"PK\x03\x04": "an Excel workbook or a zip archive; save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"PAR1": "a Parquet file; save it as CSV",
    b"%PDF": "a PDF document; save its table as CSV",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<": "a web page; download the file itself",
    b"version https://git-lfs": "a pointer to a file in Git LFS; fetch the file itself with git lfs pull",
}
MARKS = (  # byte order marks, the longer first
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
NUMBER = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Text:
    """The content of a text file. doubtful: its encoding is a guess, only ASCII is reliable. notes: sentences."""

    content: str
    doubtful: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    header: its column names. rows: (N, len(header) + 1) str without surrounding blanks, indexed by line number in the
    file; the last column holds any fields beyond the header. doubtful: only ASCII is reliable. notes: sentences on an
    encoding other than UTF-8 or a separator other than commas.
    """

    path: Path
    header: tuple[str, ...]
    rows: pd.DataFrame
    doubtful: bool
    notes: tuple[str, ...]


def read_text(path: Path, expected: str) -> Text:
    """Read a text file: UTF-8, UTF-16 or UTF-32 with or without a byte order mark, else Latin-1 as a guess.

    Raises InputError for a file that is missing, unreadable, larger than `MOST_BYTES` or not text, with the type of file
    if it is recognised.
    """
    try:
        data = regular.content(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    except regular.Irregular as error:
        raise InputError(f"{path}: {error}; expected {expected}") from None
    begins = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    for first, what in OTHER_FILES.items():
        if begins.startswith(first):
            raise InputError(f"{path}: is not a text file but {what}; expected {expected}")
    codec, name = next(((codec, name) for mark, codec, name in MARKS if data.startswith(mark)), ("utf-8", "UTF-8"))
    for first, unmarked in ((0, "utf-16-be"), (1, "utf-16-le")):  # without a mark: every second byte of ASCII is zero
        if codec == "utf-8" and len(data) > 1 and not any(data[first:200:2]):
            codec, name = unmarked, "UTF-16"
    doubtful, notes = False, () if name == "UTF-8" else (f"{path.name}: is {name}, not UTF-8, and was read as such",)
    try:
        content = data.decode(codec)
    except UnicodeDecodeError as error:
        if codec != "utf-8":
            raise InputError(f"{path}: is not a text file ({error}); expected {expected}") from None
        content, doubtful = data.decode("latin-1"), True
        line = data[: error.start].count(b"\n") + 1
        notes = (
            f"{path.name}: is not UTF-8 (line {line} holds the byte {data[error.start]:#x}); it was read as Latin-1, "
            "which affects only columns that are not used",
        )
    content = content.rstrip("\x1a")
    odd = CONTROL.search(content)
    if odd:
        raise InputError(
            f"{path}: is not a text file (line {content[: odd.start()].count(chr(10)) + 1} holds the character "
            f"{odd[0]!r}); expected {expected}"
        )
    return Text(content, doubtful, notes)


def read_sheet(path: Path, expected: str, spellings: Collection[str]) -> Sheet:
    """Read a table with named columns in any order.

    expected: what the file should be, for messages. spellings: of the wanted columns, reduced (see ``reduced``); the
    separator is the one that finds most of them. Blank lines are skipped. Missing fields of a row are "". A column of
    row numbers without a field in the header, as R writes it, gets the name "". Raises InputError for a file that is
    missing, unreadable, not text, or empty.
    """
    text = read_text(path, expected)
    separator, skipped = _separator(text.content, spellings)
    try:
        lines = csv.reader(io.StringIO(text.content, newline=""), delimiter=separator, skipinitialspace=True)
        line_numbers, rows = [], []  # two lists, since a tuple for each row would take half the reading time
        for row in lines:
            fields = [*map(str.strip, row)]
            if any(fields):
                line_numbers.append(lines.line_num)
                rows.append(fields)
    except csv.Error as error:
        raise InputError(f"{path}: is not a text file ({error}); expected {expected}") from None
    if len(rows) <= skipped:
        raise InputError(f"{path}: is empty; expected {expected}")
    line_numbers, first, rows = line_numbers[skipped + 1 :], rows[skipped], rows[skipped + 1 :]
    if not rows:
        raise InputError(f"{path}: has a header but no rows; expected {expected}")
    header = _complete(first, rows)
    for row in rows:
        _pad(row, len(header), separator)
    columns = zip(*rows, strict=True)
    notes = text.notes
    if separator != ",":
        notes += (f"{path.name}: its fields are separated by {SEPARATORS.get(separator, repr(separator))}, not commas",)
    frame = pd.DataFrame(dict(enumerate(columns)), index=line_numbers, dtype="str")
    return Sheet(path, tuple(header), frame, text.doubtful, notes)


def reduced(name: str) -> str:
    """Reduce a column name to lower-case letters and digits: "Follow-up #" and "follow_up" both become "followup"."""
    return "".join(filter(str.isalnum, name)).lower()


def _separator(content: str, spellings: Collection[str]) -> tuple[str, int]:
    """The separator of a table, and the number of lines before the header (Excel's "sep=;": 1)."""
    lines = (line for line in io.StringIO(content, newline="") if line.strip())
    first = next(lines, "")
    said = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
    if said:
        return said[1], 1

    def found(separator: str) -> int:
        fields = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        return len({reduced(field) for field in fields} & set(spellings))

    return max(SEPARATORS, key=found), 0


def _complete(header: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give each column a name if one quoted field names several columns, or if the row-number column has no name."""
    wide, count = Counter(map(len, rows)).most_common(1)[0]
    names: list[str] = []
    missing = max(0, wide - len(header))
    fields = iter(range(len(header)))
    for at in fields:
        parts = [part.strip() for part in header[at].split(",")]
        more = len(parts) - 1 if "[" in header[at] else 0
        if more and not any(header[at + 1 : at + 1 + more]) and len(header) > at + more:
            names += parts  # one quoted name "Bbox [x,y,w,h]" over four columns
            for _ in range(more):
                next(fields)
        elif more and more <= missing:
            names += parts
            missing -= more
        else:
            names.append(header[at])
    if len(names) + 1 == wide and count == len(rows) and _numbered([row[0] for row in rows]) and any(names[:1]):
        return ["", *names]
    return names


def _numbered(fields: Sequence[str]) -> bool:
    return len(set(fields)) == len(fields) and all(field.isdecimal() for field in fields)


def _pad(row: list[str], width: int, separator: str) -> None:
    """Bring a row to one field more than the header, in place; the last field holds any surplus fields."""
    beyond = separator.join(row[width:]).strip(f"{separator} ") if len(row) > width else ""
    row[width:] = [*[""] * (width - len(row)), beyond]


def find_columns(sheet: Sheet, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Find the positions of named columns in a table.

    names: official name -> accepted spellings, reduced; if a table has several of them, the first counts. Raises
    InputError that names missing columns and the header found, and if two columns of the same name differ.
    """
    places: dict[str, list[int]] = {}
    for at, name in enumerate(sheet.header):
        places.setdefault(reduced(name), []).append(at)
    columns: dict[str, int] = {}
    for name, spellings in names.items():
        found = next((places[spelling] for spelling in spellings if spelling in places), None)
        if found is None:
            continue
        columns[name] = found[0]
        for other in found[1:]:
            differing = sheet.rows[found[0]] != sheet.rows[other]
            if differing.any():
                raise InputError(
                    f"{sheet.path}: two columns are named '{sheet.header[other]}' and differ in row "
                    f"{differing.index[differing.argmax()]}; remove the wrong one"
                )
    missing = ", ".join(f"'{name}'" for name in names if name not in columns)
    if missing:
        raise InputError(f"{sheet.path}: column {missing} is missing; the header found is '{','.join(sheet.header)}'")
    return columns


def renamed(sheet: Sheet, columns: Mapping[str, int], official: Collection[str]) -> tuple[str, ...]:
    """Return a note on columns whose name is not an official one; official: names, reduced."""
    others = [
        f"{sheet.header[at]} as {name}" for name, at in columns.items() if reduced(sheet.header[at]) not in official
    ]
    return (f"{sheet.path.name}: columns with other names were used: {', '.join(others)}",) if others else ()


def surplus(sheet: Sheet, used: Collection[int]) -> pd.Series:
    """Return the content of each row's unnamed fields after the last used column, (N,) str."""
    unnamed = [at for at, name in enumerate([*sheet.header, ""]) if not name and at > max(used)]
    return functools.reduce(operator.add, (sheet.rows[at] for at in unnamed))


def require_ascii(path: Path, source: Sheet | Text, values: pd.Series, what: str) -> None:
    """Raise InputError if a value that matters is not ASCII in a file whose encoding is a guess."""
    odd = ~values.map(str.isascii).to_numpy(dtype=bool) if source.doubtful else np.zeros(len(values), dtype=bool)
    if odd.any():
        at = int(odd.argmax())
        raise InputError(
            f"{path}: is not UTF-8, so {what} in row {values.index[at]} is uncertain (as Latin-1 it is "
            f"'{values.iloc[at]}'); save the table as UTF-8"
        )


def image_names(table: str, texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Return canonical image names (`image_names.canonical`), and a note if any name changed.

    table: the file's name. texts: (N,) names without surrounding blanks, indexed by line number.
    """
    plain = texts.str.fullmatch(r"[^/\\]*[^/\\\s]\.png").to_numpy(dtype=bool)
    names = texts.copy()
    names[~plain] = texts[~plain].map(canonical).astype("str")
    changed = np.flatnonzero((names != texts).to_numpy(dtype=bool))
    if not len(changed):
        return names, ()
    at = int(changed[0])
    return names, (
        f"{table}: image names with a folder, another ending or none: {len(changed)}, for example '{texts.iloc[at]}' (row "
        f"{texts.index[at]}) stands for {names.iloc[at]}",
    )


def numbers(texts: pd.Series) -> pd.Series:
    """Read numbers, (N,) float64, with a decimal point or a decimal comma; NaN for other texts."""
    found = pd.to_numeric(texts, errors="coerce").astype(np.float64)
    unread = found.isna()
    if unread.any():
        comma = texts[unread]
        comma = comma[comma.map(lambda text: NUMBER.fullmatch(text) is not None).to_numpy(dtype=bool)]
        found[comma.index] = pd.to_numeric(comma.str.replace(",", "."), errors="coerce").astype(np.float64)
    return found


def read_as(texts: pd.Series, said: ArrayLike, changed: ArrayLike) -> str:
    """Return the first value that was read differently from its spelling, for a note: "'57.0' (row 2) as 57".

    texts: (N,) the values as spelled, indexed by line number. said: (N,) the values as read. changed: (N,) bool.
    """
    at = int(np.asarray(changed, dtype=bool).argmax())
    return f"'{texts.iloc[at]}' (row {texts.index[at]}) as {np.asarray(said, dtype=object)[at]}"


def set_aside(
    table: str, items: pd.Series, checks: Sequence[tuple[ArrayLike, str, Callable[[int], str]]]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Separate the rows of a table that pass all checks from the rest.

    table: name of the file. items: (N,) the subject of each row, indexed by line number. checks: (objections (N,) bool,
    reason, function from a row's position to the detail); the first objection to a row counts. Returns (accepted (N,)
    bool, table of the rejected rows with the columns ``REJECTED_COLUMNS``).
    """
    objections = np.stack([np.asarray(objection, dtype=bool) for objection, _, _ in checks])
    accepted = ~objections.any(axis=0)
    positions = np.flatnonzero(~accepted)
    first = objections[:, positions].argmax(axis=0)
    rejected = pd.DataFrame(
        {
            "table": table,
            "row": pd.array(items.index[positions], dtype="Int64"),
            "item": items.iloc[positions].to_numpy(),
            "reason": [checks[check][1] for check in first],
            "detail": [checks[check][2](position) for check, position in zip(first, positions, strict=True)],
        },
        columns=REJECTED_COLUMNS,
    )
    return accepted, rejected


def first_reasons(rejected: pd.DataFrame, count: int = 3) -> str:
    """Return one line on what is wrong with the first few rejected rows."""
    shown = [
        f"row {row.row} ({row.item}): {row.reason} ({row.detail})"
        for row in rejected.head(count).itertuples(index=False)
    ]
    return "; ".join(shown) + ("; ..." if len(rejected) > count else "")
