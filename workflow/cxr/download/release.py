"""The files of a release: their names, public addresses, sizes and checksums."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from cxr.data.layouts import ARCHIVES
from cxr.errors import InputError

PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
COLUMNS = ("name", "url", "bytes", "sha256", "md5")


@dataclass(frozen=True)
class ReleaseFile:
    """A file: size in bytes or None, checksums as lower-case hex digits; "" for no address or checksum."""

    name: str
    url: str = ""
    size: int | None = None
    sha256: str = ""
    md5: str = ""

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(ARCHIVES)

    @property
    def stem(self) -> str:
        """The name without the archive's suffix: images_001 of images_001.tar.gz."""
        return next((self.name.removesuffix(end) for end in ARCHIVES if self.name.endswith(end)), self.name)


def read(path: str | Path) -> dict[str, ReleaseFile]:
    """Read an address table (columns name, url, bytes, sha256, md5; one row per file) as name → file, in its order.

    Raises InputError, with the row, if the table is missing, has other columns, or an invalid value.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not readable as an address table ({error}); check download.table") from None
    files: dict[str, ReleaseFile] = {}
    for number, row in enumerate(rows, start=2):
        if set(row) != set(COLUMNS) or None in row.values():
            raise InputError(f"{path}, row {number}: expected exactly the columns {', '.join(COLUMNS)}")
        file = _file({name: row[name].strip() for name in COLUMNS}, f"{path}, row {number}")
        if file.name in files:
            raise InputError(f"{path}, row {number}: '{file.name}' is named twice; keep one of the rows")
        files[file.name] = file
    if not files:
        raise InputError(f"{path}: the address table has no rows; expected one for each file of the release")
    return files


def _file(row: dict[str, str], where: str) -> ReleaseFile:
    limits = {
        "name": (r"[A-Za-z0-9_][A-Za-z0-9._-]*", "a file name without folders"),
        "url": (r"(https?://\S+)?", "an address that begins with http:// or https://, or nothing"),
        "bytes": (r"\d*", "a whole number, or nothing"),
        "sha256": (r"([0-9a-fA-F]{64})?", "64 hex digits, or nothing"),
        "md5": (r"([0-9a-fA-F]{32})?", "32 hex digits, or nothing"),
    }
    for column, (pattern, allowed) in limits.items():
        if not re.fullmatch(pattern, row[column]):
            raise InputError(f"{where}: {column} = '{row[column]}': expected {allowed}")
    size = int(row["bytes"]) if row["bytes"] else None
    return ReleaseFile(row["name"], row["url"], size, row["sha256"].lower(), row["md5"].lower())
