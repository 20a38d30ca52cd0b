"""Checks that a file is the expected one: by the published SHA-256, or else by that of its first download.

For files without a published SHA-256, `downloads.csv` in the data folder keeps size and SHA-256 as first seen (columns name,
url, bytes, sha256, first_seen); a later download must be the same file. A published MD5 is compared as well, but two files
with one MD5 can be made on purpose: it shows a damaged download, not a forged one.
"""

import csv
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cxr.download.release import ReleaseFile
from cxr.errors import InputError
from cxr.runtime import locks
from cxr.runtime.journal import Journal

COLUMNS = ("name", "url", "bytes", "sha256", "first_seen")
CHUNK = 1 << 20


class WrongFile(InputError):
    """The file is not the expected one."""


@dataclass(frozen=True)
class Seen:
    """A file's size in bytes and its checksums in lower-case hex digits."""

    size: int
    sha256: str
    md5: str


def of_file(path: Path) -> Seen:
    """Read a file once and return its size and checksums."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            sha256.update(chunk)
            md5.update(chunk)
    return Seen(size, sha256.hexdigest(), md5.hexdigest())


def verify(path: Path, file: ReleaseFile, ledger: Path, tell: Journal) -> Seen:
    """Check that path is the release's file, by the ledger if no SHA-256 is published, and log what was compared.

    A missing SHA-256 is logged each time; a file that is new to the ledger is recorded there. Raises WrongFile if the
    size, or a published or recorded checksum, differs.
    """
    seen = of_file(path)
    published = {"bytes": file.size, "SHA-256": file.sha256, "MD5": file.md5}
    found = {"bytes": seen.size, "SHA-256": seen.sha256, "MD5": seen.md5}
    for what, expected in published.items():
        if expected not in (None, "") and found[what] != expected:
            raise WrongFile(_difference(path, file, what, found[what], expected, "published"))
    compared = [what for what in ("SHA-256", "MD5") if published[what]]
    if compared:
        tell(f"{file.name}: {seen.size} bytes, {' and '.join(compared)} as published")
    if file.sha256:
        return seen
    missing = (
        "no SHA-256 is published, and an MD5 does not detect a forged file" if file.md5 else "no checksum is published"
    )
    with _opened(ledger) as rows:
        first = next((row for row in rows if row["name"] == file.name), None)
        if first is None:
            today = time.strftime("%Y-%m-%d")
            rows.append(
                dict(zip(COLUMNS, (file.name, file.url, str(seen.size), seen.sha256, today), strict=True)),
            )
        elif first["sha256"] != seen.sha256:
            raise WrongFile(
                _difference(path, file, "SHA-256", seen.sha256, first["sha256"], f"seen on {first['first_seen']}")
                + f"; if the release has changed on purpose, delete the row of {file.name} in {ledger}"
            )
    if first is None:
        tell(
            f"{file.name}: {missing}; this first download is the reference from now on "
            f"({seen.size} bytes, SHA-256 {seen.sha256}, recorded in {ledger.name})"
        )
    else:
        tell(f"{file.name}: {missing}; the same file as on {first['first_seen']} ({ledger.name})")
    return seen


def _difference(path: Path, file: ReleaseFile, what: str, found: object, expected: object, source: str) -> str:
    whence = f" from {file.url}" if file.url else ""
    difference = f"{found} {what}, expected:" if what == "bytes" else f"the {what} {found}, expected:"
    return f"{path}: not the expected file: {file.name}{whence} has {difference} {expected} ({source})"


class _Rows(list[dict[str, str]]):
    """Rows of the ledger; those appended are written when the ledger is closed."""


@contextmanager
def _opened(path: Path) -> Iterator[_Rows]:
    """Give the rows of the ledger to one process at a time; write what was appended if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", newline="", encoding="utf-8", opener=locks.cautiously) as file:
        locks.take(file, wait=True)
        rows = _read(path, file)
        known = len(rows)
        yield rows
        if len(rows) > known:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if not known:
                file.truncate(0)
                writer.writeheader()
            writer.writerows(rows[known:])


def _read(path: Path, file: IO[str]) -> _Rows:
    file.seek(0)
    reader = csv.DictReader(file)
    rows = _Rows(reader)
    if rows and (tuple(reader.fieldnames or ()) != COLUMNS or any(None in row.values() for row in rows)):
        raise InputError(f"{path}: not a record of downloads (columns {', '.join(COLUMNS)}); remove or correct it")
    return rows
