"""The image cache: every image decoded and shrunk once, kept as raw uint8 that training jobs read through memory maps.

A store is a folder `<store>/<side>/shard-00000.u8` (rows of side × side pixels, at most 1024 rows a file) for each side
asked for, and `<store>/ledger.csv`, which says whose pixels lie where. Pixels are looked up by content, files by
(path, bytes, modification time): a file seen before is not decoded again, a touched one is decoded but keeps its row, and
pixels that were lost with a shard are written to their old place, so an index made earlier stays true. The ledger is
replaced as a whole after each shard's worth of images; what a killed run wrote beyond it belongs to nobody and is
overwritten.
"""

import csv
import fcntl
import hashlib
import io
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pandas as pd
from PIL import Image

from cxr.errors import InputError
from cxr.folder import walk

SHARD_IMAGES = 1024
SMALLEST_SIDE = 64  # px; anything smaller is a thumbnail or an icon, not a radiograph
AHEAD = 4  # images decoded in advance, a worker: enough to keep all busy, few enough to fit in memory
OK = "ok"
ROOT = "root"  # the file of a store that names the folder its images were decoded from
INDEX_COLUMNS = {
    "image": "str",
    "path": "str",
    "shard": "int32",
    "row": "int32",
    "box_shard": "int32",
    "box_row": "int32",
    "width": "int32",
    "height": "int32",
    "mode": "category",
    "digest": "str",
    "status": "category",
}
REJECTED_COLUMNS = ["table", "row", "item", "reason", "detail"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"

Progress = Callable[[int, int, float], None]
Place = tuple[int, int]  # shard, row


class UnusableImage(InputError):
    """An image that cannot be used: `reason` is the same text for the same kind of trouble; sizes are 0 if unknown."""

    def __init__(self, path: Path, reason: str, detail: str = "", width: int = 0, height: int = 0):
        super().__init__(f"{path}: {reason}" + (f" ({detail})" if detail else "") + ": replace the file or remove it")
        self.reason, self.width, self.height = reason, width, height


# ---- finding files


def find_images(root: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Find every *.png (any case) anywhere below root; symbolic links are followed, each folder entered once.

    Returns file name → path relative to root, and the rejected entries (columns of rejected.csv). Of files of the same
    name the first path in sorted order is used. Raises InputError if root is missing or holds no image.
    """
    paths: dict[str, str] = {}
    rejected: list[tuple[str, str, str]] = []
    for path, entry in sorted(walk(root)):
        if entry.is_dir():
            rejected.append((path, "a directory, not an image file", ""))
        elif not entry.is_file():
            rejected.append((path, "not a regular file", "a dangling link or a special file"))
        elif entry.name in paths:
            rejected.append((path, "duplicate file name", f"{paths[entry.name]} is used"))
        else:
            paths[entry.name] = path
    if not paths:
        raise InputError(
            f"{root}: no image (*.png) anywhere below this folder; expected the PNG files of the release, "
            "for example images_001/images/00000001_000.png"
        )
    return paths, _rejected(rejected)


def unusable(index: pd.DataFrame) -> pd.DataFrame:
    """Return the images of an index that cannot be used as rows of rejected.csv."""
    bad = index[index["status"] != OK]
    sizes = [f"{row.path}, {row.width}x{row.height}" if row.width else row.path for row in bad.itertuples()]
    return _rejected(list(zip(bad["image"], bad["status"].astype(str), sizes, strict=True)))


def _rejected(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    items, reasons, details = zip(*rows, strict=True) if rows else ((), (), ())
    columns = ("images", pd.array([pd.NA] * len(rows), dtype="Int64"), items, reasons, details)
    return pd.DataFrame(dict(zip(REJECTED_COLUMNS, columns, strict=True)), index=range(len(rows)))


# ---- one image


def decode(path: Path) -> tuple[np.ndarray, str]:
    """Decode a PNG to grey pixels (H, W) uint8, and say its Pillow mode.

    Colour becomes luminance (ITU-R 601-2), alpha is ignored, 16-bit values are scaled 65535 → 255 with rounding.
    Raises UnusableImage with reason "missing", "zero bytes", "truncated", "unreadable", "not square" or
    "smaller than 64 px".
    """
    data = content(path)
    require_whole_png(path, data)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            width, height = image.size
            if width != height:
                raise UnusableImage(path, "not square", f"{width}x{height}", width, height)
            require_size(path, width, height)
            return grey(image), image.mode
    except UnusableImage:
        raise
    except Exception as error:  # Pillow raises a dozen types, from struct.error to SyntaxError, for a damaged file
        raise UnusableImage(path, "unreadable", str(error)) from None


def content(path: Path) -> bytes:
    """Return the bytes of a file; UnusableImage where it is missing, cannot be read, or is empty."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UnusableImage(path, "missing") from None
    except OSError as error:
        raise UnusableImage(path, "unreadable", error.strerror or "") from None
    if not data:
        raise UnusableImage(path, "zero bytes")
    return data


def require_whole_png(path: Path, data: bytes) -> None:
    """Raise UnusableImage where the bytes are not those of a whole PNG file."""
    if not data.startswith(PNG_SIGNATURE[: len(data)]):
        raise UnusableImage(path, "unreadable", "not a PNG file")
    # Looked for here, because a library may have switched Pillow's own check off for the whole process.
    if PNG_END not in data:
        raise UnusableImage(path, "truncated", f"ends after {len(data)} bytes")


def require_size(path: Path, width: int, height: int) -> None:
    """Raise UnusableImage for what is no radiograph but an icon."""
    if min(width, height) < SMALLEST_SIDE:
        raise UnusableImage(path, f"smaller than {SMALLEST_SIDE} px", f"{width}x{height}", width, height)


def grey(image: Image.Image) -> np.ndarray:
    """Return a picture of any mode as grey pixels (H, W) uint8, as `decode` says."""
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return ((values + 128) // 257).astype(np.uint8)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize pixels (H, W) uint8 to (side, side) uint8.

    Shrinking takes the rounded mean of the pixels under each output pixel (where side does not divide the size: of those
    whose centres lie under it); enlarging is bilinear; a picture of that size is returned as it is.
    """
    height, width = pixels.shape
    if height == width == side:
        return pixels
    image = Image.fromarray(pixels)
    if min(height, width) < side:
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    if height % side == 0 and width % side == 0:
        return np.asarray(image.reduce((width // side, height // side)))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def digest_of(pixels: np.ndarray) -> str:
    """Return 16 hex digits that identify grey pixels (H, W) uint8, shape included."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


# ---- the ledger


@dataclass(frozen=True)
class FileKey:
    """A file as seen without opening it: path relative to root, bytes, modification time in ns."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True)
class Picture:
    """What decoding a file told: original size in px, Pillow mode, digest of its grey pixels, "ok" or the reason."""

    width: int = 0
    height: int = 0
    mode: str = ""
    digest: str = ""
    status: str = OK


@dataclass
class Ledger:
    """Pictures of files seen, and the places of pixels in the shards of each side."""

    pictures: dict[FileKey, Picture] = field(default_factory=dict)
    places: dict[int, dict[str, Place]] = field(default_factory=dict)  # side → digest → place

    def of_side(self, side: int) -> dict[str, Place]:
        return self.places.setdefault(side, {})

    def end(self, side: int) -> Place:
        """Return the place after the last one in use."""
        return _after(max(self.of_side(side).values(), default=(0, -1)))


def _after(place: Place) -> Place:
    shard, row = place
    return (shard, row + 1) if row + 1 < SHARD_IMAGES else (shard + 1, 0)


LEDGER_COLUMNS = ["path", "bytes", "mtime_ns", "width", "height", "mode", "digest", "side", "shard", "row"]


def _load_ledger(path: Path) -> Ledger:
    ledger = Ledger()
    if not path.exists():
        return ledger
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.reader(file)
            if next(rows, None) != LEDGER_COLUMNS:
                raise ValueError("the header is not a ledger's")
            for name, size, modified, width, height, mode, digest, side, shard, row in rows:
                key = FileKey(name, int(size), int(modified))
                ledger.pictures[key] = Picture(int(width), int(height), mode, digest)
                ledger.of_side(int(side))[digest] = int(shard), int(row)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: not readable as the ledger of an image store ({error}); delete the folder {path.parent}, "
            "it will be built again from the images"
        ) from None
    return ledger


def _save_ledger(path: Path, ledger: Ledger) -> None:
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(LEDGER_COLUMNS)
        for key, picture in ledger.pictures.items():
            facts = (key.path, key.size, key.modified, picture.width, picture.height, picture.mode, picture.digest)
            for side, places in ledger.places.items():
                if picture.digest in places:
                    rows.writerow((*facts, side, *places[picture.digest]))
        _flush(file)
    os.replace(temporary, path)


def _flush(file: IO) -> None:
    file.flush()
    os.fsync(file.fileno())


# ---- building the store


@dataclass(frozen=True)
class Task:
    """A file to decode for the sides, in pixels, that are missing of it."""

    key: FileKey
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """A decoded file: what was learnt of it, and side → its pixels (side, side) uint8."""

    picture: Picture
    pixels: dict[int, np.ndarray]


def update_store(
    root: Path,
    paths: Mapping[str, str],
    boxed: Iterable[str],
    store: Path,
    *,
    size: int,
    box_size: int,
    workers: int,
    progress: Progress,
) -> pd.DataFrame:
    """Bring a store up to date with the images and return its index (`INDEX_COLUMNS`), sorted by image.

    paths: image name → path relative to root; boxed: names that are also stored at `box_size` pixels (shard, row of the
    index are the place at `size`, box_shard, box_row that at `box_size`, -1 where there is none). Only images that are
    new, changed, or whose pixels are lost are decoded, each once for both sides, by `workers` threads (Pillow decodes
    outside the interpreter's lock); places do not depend on their number. progress(done, total, seconds) is called
    after each decoded image; total counts only those. An unusable image stays in the index with its reason as status,
    and is tried again the next time.

    Raises InputError if the store cannot be written, is being written by another process, or its ledger is damaged.
    """
    store, boxed = Path(store), set(boxed) & paths.keys()
    keys = {name: _key(root, paths[name]) for name in sorted(paths)}
    sides = {name: tuple(dict.fromkeys((size, box_size))) if name in boxed else (size,) for name in keys}
    with _writing(store, len(paths) * size**2 + len(boxed) * box_size**2), _locked(store):
        (store / ROOT).write_text(str(Path(root).absolute()))
        ledger = _load_ledger(store / "ledger.csv")
        lost = _lost(store, ledger, set(keys.values()), {size, box_size} if boxed else {size})
        total = sum(map(len, lost.values())) + len(_missing(ledger, keys, sides))
        building = Building(Path(root), store, ledger, workers, total, progress)
        for side, places in lost.items():
            building.mend(side, places)
        seen = building.add(_missing(ledger, keys, sides))
    pictures = {name: seen.get(key) or ledger.pictures[key] for name, key in keys.items()}
    nowhere = (-1, -1)
    places = [ledger.of_side(size).get(picture.digest, nowhere) for picture in pictures.values()]
    box_places = [
        ledger.of_side(box_size).get(picture.digest, nowhere) if name in boxed else nowhere
        for name, picture in pictures.items()
    ]
    columns = {
        "image": list(pictures),
        "path": [paths[name] for name in pictures],
        "shard": [shard for shard, _ in places],
        "row": [row for _, row in places],
        "box_shard": [shard for shard, _ in box_places],
        "box_row": [row for _, row in box_places],
        **{
            column: [getattr(picture, column) for picture in pictures.values()]
            for column in ("width", "height", "mode", "digest", "status")
        },
    }
    return pd.DataFrame(columns).astype(INDEX_COLUMNS)


def _key(root: Path, path: str) -> FileKey:
    try:
        stat = os.stat(os.path.join(root, path))
    except OSError:
        return FileKey(path, -1, -1)  # decoding it will say what is wrong
    return FileKey(path, stat.st_size, stat.st_mtime_ns)


def _missing(ledger: Ledger, keys: Mapping[str, FileKey], sides: Mapping[str, tuple[int, ...]]) -> list[Task]:
    tasks = []
    for name, key in keys.items():
        digest = ledger.pictures[key].digest if key in ledger.pictures else ""
        wanted = tuple(side for side in sides[name] if digest not in ledger.of_side(side))
        if wanted:
            tasks.append(Task(key, wanted))
    return tasks


def _lost(store: Path, ledger: Ledger, present: set[FileKey], sides: set[int]) -> dict[int, dict[Place, FileKey]]:
    """Return side → place → a file to decode it from, for the pixels whose shard is missing or too short.

    Lost pixels that no present file can restore are struck from the ledger.
    """
    files = {picture.digest: key for key, picture in ledger.pictures.items() if key in present}
    lost: dict[int, dict[Place, FileKey]] = {}
    for side in sorted(sides):
        places = ledger.of_side(side)
        rows = {shard: _rows(_shard(store, side, shard), side) for shard in {shard for shard, _ in places.values()}}
        gone = {digest: place for digest, place in places.items() if place[1] >= rows[place[0]]}
        for digest in gone.keys() - files.keys():
            del places[digest]
        restorable = {place: files[digest] for digest, place in gone.items() if digest in files}
        if restorable:
            lost[side] = dict(sorted(restorable.items()))
    return lost


def _rows(shard: Path, side: int) -> int:
    return shard.stat().st_size // side**2 if shard.is_file() else 0


def _shard(store: Path, side: int, shard: int) -> Path:
    return store / str(side) / f"shard-{shard:05d}.u8"


class Building:
    """The work on one store: decodes files, writes pixels in the files' order, the shards first and the ledger after."""

    def __init__(self, root: Path, store: Path, ledger: Ledger, workers: int, total: int, progress: Progress):
        self.root, self.store, self.ledger, self.workers = root, store, ledger, workers
        self.total, self.progress = total, progress
        self.done, self.began = 0, time.monotonic()
        self.written: set[Path] = set()

    def add(self, tasks: Sequence[Task]) -> dict[FileKey, Picture]:
        """Decode files, append the sides that their pixels lack, and return what was learnt of each file."""
        seen: dict[FileKey, Picture] = {}
        known: dict[str, list[FileKey]] = {}
        for key in self.ledger.pictures:
            known.setdefault(key.path, []).append(key)
        ends = {side: self.ledger.end(side) for task in tasks for side in task.sides}
        for number, (task, prepared) in enumerate(self._prepared(tasks), start=1):
            picture = seen[task.key] = prepared.picture
            if picture.status == OK:
                for other in known.get(task.key.path, ()):
                    if self.ledger.pictures[other].digest == picture.digest:
                        del self.ledger.pictures[other]  # the same file, touched: one line of the ledger is enough
                self.ledger.pictures[task.key] = picture
            for side, pixels in prepared.pixels.items():
                if picture.digest not in self.ledger.of_side(side):
                    self._write(side, ends[side], pixels)
                    self.ledger.of_side(side)[picture.digest] = ends[side]
                    ends[side] = _after(ends[side])
            if number % SHARD_IMAGES == 0:
                self._commit()
        if tasks:
            self._commit()
        return seen

    def mend(self, side: int, lost: Mapping[Place, FileKey]) -> None:
        """Write lost pixels to their old places.

        lost must be in ascending order: a shard that is not mended to its end is then still seen to be too short.
        """
        tasks = [Task(key, (side,)) for key in lost.values()]
        for place, (task, prepared) in zip(lost, self._prepared(tasks), strict=True):
            expected = self.ledger.pictures[task.key]
            if prepared.picture == expected:
                self._write(side, place, prepared.pixels[side])
            else:  # changed without a trace in size and time: struck before a later row makes its place look sound
                del self.ledger.of_side(side)[expected.digest]
                self._commit()
        self._commit()

    def _prepared(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Prepared]]:
        """Yield the decoded files in the order of the tasks."""
        pool = ThreadPoolExecutor(self.workers)
        submitted = ((task, pool.submit(_prepare, self.root, task)) for task in tasks)
        running = deque(itertools.islice(submitted, AHEAD * self.workers))
        try:
            while running:
                task, future = running.popleft()
                yield task, future.result()
                self.done += 1
                self.progress(self.done, max(self.total, self.done), time.monotonic() - self.began)
                running.extend(itertools.islice(submitted, 1))
        finally:
            pool.shutdown(cancel_futures=True)

    def _write(self, side: int, place: Place, pixels: np.ndarray) -> None:
        path = _shard(self.store, side, place[0])
        path.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            file.seek(place[1] * side**2)
            file.write(np.ascontiguousarray(pixels))
        self.written.add(path)

    def _commit(self) -> None:
        for path in self.written:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        self.written.clear()
        _save_ledger(self.store / "ledger.csv", self.ledger)


def _prepare(root: Path, task: Task) -> Prepared:
    try:
        pixels, mode = decode(root / task.key.path)
    except UnusableImage as problem:
        return Prepared(Picture(problem.width, problem.height, status=problem.reason), {})
    height, width = pixels.shape
    picture = Picture(width, height, mode, digest_of(pixels))
    return Prepared(picture, {side: shrink(pixels, side) for side in task.sides})


@contextmanager
def _writing(store: Path, needed: int) -> Iterator[None]:
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"{store}: cannot write the image store here ({error.strerror or error}); it needs a folder that may be "
            f"written, with about {needed / 1e6:.0f} MB in all. What was stored before is kept"
        ) from None


@contextmanager
def _locked(store: Path, wait: bool = False) -> Iterator[None]:
    with (store / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise InputError(f"{store}: another run is writing this image store; wait for it to end") from None
        except OSError:
            pass  # some network file systems know no locks; the workflow's own lock still guards its folder
        yield


# ---- reading the store


def read_index(path: Path) -> pd.DataFrame:
    """Read an index written by `DataFrame.to_csv(path, index=False)`, with the types of `INDEX_COLUMNS`.

    Raises InputError if the file is missing or is no index.
    """
    try:
        return pd.read_csv(path, dtype=INDEX_COLUMNS, usecols=list(INDEX_COLUMNS), keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as an image index ({error}); build the image cache again") from None


class ImageStore:
    """Read access to the pixels of one side; made by `open_store`."""

    def __init__(self, store: Path, side: int, places: pd.DataFrame):
        self.store, self.side = store, side
        self.images = pd.Index(places["image"])
        self.status = places["status"]
        self.shards = places["shard"].to_numpy()
        self.rows = places["row"].to_numpy()
        self.maps: dict[int, np.memmap] = {}

    def read(self, images: Sequence[str]) -> np.ndarray:
        """Return pixels (N, side, side) uint8 of the images, in their order; the array is the caller's own.

        Raises InputError for an image that the store does not hold at this side.
        """
        found = self.images.get_indexer(pd.Index(images, dtype=self.images.dtype))
        shards, rows = np.where(found < 0, -1, self.shards[found]), self.rows[found]
        if (shards < 0).any():
            number = int(np.argmax(shards < 0))
            known = (
                f"its status is '{self.status.iloc[found[number]]}'" if found[number] >= 0 else "it is not in the index"
            )
            raise InputError(
                f"{self.store}: image '{images[number]}' is not stored at {self.side} px ({known}); "
                "build the image cache again with this image among its images (for boxed ones: in the box list)"
            )
        pixels = np.empty((len(found), self.side, self.side), dtype=np.uint8)
        for shard in np.unique(shards):
            here = shards == shard
            pixels[here] = self._map(int(shard))[rows[here]]
        return pixels

    def _map(self, shard: int) -> np.memmap:
        if shard not in self.maps:
            path = _shard(self.store, self.side, shard)
            shape = (_rows(path, self.side), self.side, self.side)
            self.maps[shard] = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        return self.maps[shard]


def open_store(
    store: Path, index: pd.DataFrame, side: int, kind: Literal["all", "boxed"], tell: Callable[[str], None]
) -> ImageStore:
    """Open the pixels of an index: of all usable images (side: the `size` it was built with) or the boxed (`box_size`).

    Pixels lost since (a shard that is missing or too short) are decoded again from their files, which is told.
    Raises InputError where that cannot be done.
    """
    store = Path(store)
    names = {"all": ("shard", "row"), "boxed": ("box_shard", "box_row")}[kind]
    places = index[["image", "status", *names]].set_axis(["image", "status", "shard", "row"], axis=1)
    ends = places[places["row"] >= 0].groupby("shard")["row"].max()
    if _short(store, side, ends):
        _mend(store, index, side, ends, tell)
        for shard in _short(store, side, ends):
            path = _shard(store, side, shard)
            raise InputError(
                f"{path}: this part of the image cache holds {_rows(path, side)} images of {side} px, the index names "
                f"{ends[shard] + 1}, and their files are not as they were; delete the index (data/images.csv) and run "
                "again: only what is missing or changed will be decoded"
            )
    return ImageStore(store, side, places)


def _short(store: Path, side: int, ends: pd.Series) -> list[int]:
    return [int(shard) for shard, last in ends.items() if _rows(_shard(store, side, int(shard)), side) <= last]


def _mend(store: Path, index: pd.DataFrame, side: int, ends: pd.Series, tell: Callable[[str], None]) -> None:
    """Decode the lost pixels of one side again, unless another process has done so meanwhile."""
    try:
        root = Path((store / ROOT).read_text())
    except OSError:
        return
    with _writing(store, 0), _locked(store, wait=True):
        if not _short(store, side, ends):
            return
        ledger = _load_ledger(store / "ledger.csv")
        present = {_key(root, path) for path in index.loc[index["status"] == OK, "path"]}
        lost = _lost(store, ledger, present, {side}).get(side, {})
        tell(f"{len(lost)} images of {side} px are lost from the image cache: decoding them again")
        Building(root, store, ledger, 1, len(lost), lambda *_: None).mend(side, lost)
