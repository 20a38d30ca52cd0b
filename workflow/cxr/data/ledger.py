"""The ledger of an image store: facts about every file seen, and the place of its pixels in the shards."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cxr.errors import InputError
from cxr.runtime import checksums
from cxr.runtime.replacing import replacing

SHARD_IMAGES = 1024
OK = "ok"
COLUMNS = ["path", "bytes", "mtime_ns", "width", "height", "mode", "digest", "depth", "stated", "peak", "bits",
           "values", "orientation", "side", "shard", "row", "checksum"]  # fmt: skip
# Headers of earlier versions, which have no checksums of pixel rows.
EARLIER = [COLUMNS[:-1], [*COLUMNS[:7], "side", "shard", "row"]]


class Place(NamedTuple):
    """Where pixels lie: shard and row in it, with the checksum of the row as written."""

    shard: int
    row: int
    checksum: str = checksums.NONE


@dataclass(frozen=True)
class FileKey:
    """A file as known without opening it: path relative to root, size in bytes, modification time in ns."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True)
class Picture:
    """Facts about a file: size in px, Pillow mode, digest of its grey pixels, "ok" or why it cannot be used.

    depth: bits per sample. For 16 bits: stated: its sBIT (0: none); peak: the highest value; bits: how many were taken
    to count; values: the digest of the stored values. orientation: EXIF's. digest: "" if the pixels were not needed yet.
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    digest: str = ""
    status: str = OK
    depth: int = 0
    stated: int = 0
    peak: int = 0
    bits: int = 0
    values: str = ""
    orientation: int = 1

    @property
    def by_folder(self) -> bool:
        """Whether other files of the folder decide how many bits count in this one."""
        return self.values != "" and not self.stated

    @property
    def identity(self) -> str:
        """A key that files with equal pixels share, whatever other files say; "" if it is not known."""
        return self.values or self.digest


@dataclass
class Ledger:
    """Facts about the files seen, and the places of pixels in the shards of each side."""

    pictures: dict[FileKey, Picture] = field(default_factory=dict)
    places: dict[int, dict[str, Place]] = field(default_factory=dict)  # side → digest → place

    def of_side(self, side: int) -> dict[str, Place]:
        return self.places.setdefault(side, {})

    def end(self, side: int) -> Place:
        """Return the place after the last one in use."""
        return after(max(self.of_side(side).values(), default=Place(0, -1)))


def after(place: Place) -> Place:
    return Place(place.shard, place.row + 1) if place.row + 1 < SHARD_IMAGES else Place(place.shard + 1, 0)


def of_earlier_version(path: Path) -> bool:
    """Whether a ledger was written by an earlier version; `load` ignores its content."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return next(csv.reader(file), None) in EARLIER
    except (OSError, csv.Error):
        return False


def load(path: Path) -> Ledger:
    """Read a ledger; an empty one if the file is missing or of an earlier version.

    Raises InputError if the file is damaged: its last line is the checksum of everything before it.
    """
    ledger = Ledger()
    if not path.exists() or of_earlier_version(path):
        return ledger
    try:
        text, last = _parted(path.read_bytes())
        rows = csv.reader(io.StringIO(text, newline=""))
        if next(rows, None) != COLUMNS:
            raise ValueError("its header is not that of a ledger")
        if last != _checksum(text):
            raise ValueError("its checksum does not match its content")
        for row in rows:
            name, size, modified, width, height, mode, digest, *facts, side, shard, at, checksum = row
            depth, stated, peak, bits, values, orientation = facts
            ledger.pictures[FileKey(name, int(size), int(modified))] = Picture(
                int(width), int(height), mode, digest, OK,
                int(depth), int(stated), int(peak), int(bits), values, int(orientation),
            )  # fmt: skip
            if int(side):
                ledger.of_side(int(side))[digest] = Place(int(shard), int(at), checksum)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: not readable as the ledger of an image store ({error}); delete the folder {path.parent} "
            "and run again: it is built again from the images"
        ) from None
    return ledger


def save(path: Path, ledger: Ledger) -> None:
    """Replace a ledger as a whole: a row per file and side; side 0 for a file whose pixels are not stored."""
    lines = io.StringIO(newline="")
    rows = csv.writer(lines)  # the default line ends: with others, a carriage return in a path would not be quoted
    rows.writerow(COLUMNS)
    for key, picture in ledger.pictures.items():
        seen = (key.path, key.size, key.modified, picture.width, picture.height, picture.mode, picture.digest)
        deep = (picture.depth, picture.stated, picture.peak, picture.bits, picture.values, picture.orientation)
        places = [(side, *of[picture.digest]) for side, of in ledger.places.items() if picture.digest in of]
        rows.writerows((*seen, *deep, *place) for place in places or [(0, 0, 0, checksums.NONE)])
    text = lines.getvalue()
    with replacing(path, newline="", errors="surrogateescape") as file:
        file.write(text + _checksum(text))


def _parted(data: bytes) -> tuple[str, str]:
    """Return everything before the last line, and the last line."""
    text = data.decode("utf-8", "surrogateescape")
    start = text.rfind("\n") + 1
    return text[:start], text[start:]


def _checksum(text: str) -> str:
    return checksums.of_bytes(text.encode("utf-8", "surrogateescape"))
