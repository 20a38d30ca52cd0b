"""The image cache: every image decoded and shrunk once, kept as raw uint8 that training jobs read through memory maps.

A store is a folder `<store>/<side>/shard-00000.u8` (rows of side × side pixels, at most 1024 rows a file) for each side
asked for, and `<store>/ledger.csv`, which says whose pixels lie where. Pixels are looked up by content, files by
(path, bytes, modification time): a file seen before is not decoded again, a touched one is decoded but keeps its row, and
pixels that were lost with a shard are written to their old place, so an index made earlier stays true. The ledger is
replaced as a whole after each shard's worth of images; what a killed run wrote beyond it belongs to nobody and is
overwritten.

Ledger and index hold the checksum of every row of pixels, and a process that reads a row compares it the first time. What
is damaged or lost is then decoded again from its file, in its old place. Building a store looks at the shards' sizes alone:
to compare all rows would mean reading the whole store for a few new images.
"""

import hashlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from cxr import bounds, checksums, ledger, locks, png, regular
from cxr.errors import InputError
from cxr.folder import counts, is_file, is_folder, legible, walk
from cxr.image_names import canonical
from cxr.layouts import is_release_image
from cxr.ledger import OK, FileKey, Ledger, Picture, Place
from cxr.tables import REJECTED_COLUMNS

SMALLEST_SIDE = 64  # px; anything smaller is a thumbnail or an icon, not a radiograph
AHEAD = 4  # images decoded in advance, a worker: enough to keep all busy, few enough to fit in memory
LARGE = 16_000_000  # px; decoding one more of these at a time would be what decides how much memory all workers need
LARGE_FILE = 64_000_000  # bytes
ROOT = "root"  # the file of a store that names the folder its images were decoded from
INDEX_COLUMNS = {
    "image": "str",
    "path": "str",
    "shard": "int32",
    "row": "int32",
    "checksum": "str",
    "box_shard": "int32",
    "box_row": "int32",
    "box_checksum": "str",
    "width": "int32",
    "height": "int32",
    "mode": "category",
    "digest": "str",
    "status": "category",
    "depth": "int32",
    "stated": "int32",
    "peak": "int32",
    "bits": "int32",
    "orientation": "int32",
}
PLACE = ["shard", "row", "checksum"]
ANEW = "delete the index (data/images.csv) and run again: only what is missing or changed will be decoded"
UNSEEN = Picture()
ONE_LARGE = threading.Lock()

Progress = Callable[[int, int, float], None]


class UnusableImage(InputError):
    """An image that cannot be used: `reason` is the same text for the same kind of trouble, `detail` says more of this
    one; sizes are 0 if unknown."""

    def __init__(self, path: Path, reason: str, detail: str = "", width: int = 0, height: int = 0):
        why = f"{reason} ({detail})" if detail else reason
        super().__init__(f"{legible(path)}: {why}: replace the file or remove it")
        self.reason, self.detail, self.width, self.height = reason, detail, width, height


# ---- finding files


def find_images(
    root: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Find every *.png (any case) below root that counts (`folder.counts`); links are followed, each folder entered once.

    Returns the image's name in its one form (`canonical`) → paths relative to root of the files of that name, those that
    lie as in the release first, else in sorted order; and the rejected entries (columns of rejected.csv). Raises
    InputError if root is missing.
    """
    paths: dict[str, list[str]] = {}
    rejected: list[tuple[str, str, str]] = []
    for path, entry in sorted(walk(root), key=lambda found: (not is_release_image(found[0]), found[0])):
        if not counts(path, include, exclude):
            continue
        if is_folder(entry):
            rejected.append((legible(path), "a directory, not an image file", ""))
        elif not is_file(entry):
            rejected.append((legible(path), "not a regular file", regular.kind(root / path)))
        else:
            paths.setdefault(canonical(entry.name), []).append(path)
    return paths, rejected_rows(rejected)


def other_formats(
    root: Path, names: Collection[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return the files below root that are no PNG and have one of the names: ending in lower case → sorted paths."""
    found: dict[str, list[str]] = {}
    if not names:  # of a whole release: no walk over all its files for nothing
        return found
    for path, entry in sorted(walk(root, "")):
        ending = os.path.splitext(entry.name)[1].lower()
        if ending != ".png" and canonical(entry.name) in names and counts(path, include, exclude):
            found.setdefault(ending, []).append(path)
    return found


def unusable(index: pd.DataFrame) -> pd.DataFrame:
    """Return the images of an index that cannot be used as rows of rejected.csv."""
    bad = index[index["status"] != OK]
    sizes = [f"{row.path}, {row.width}x{row.height}" if row.width else row.path for row in bad.itertuples()]
    return rejected_rows(list(zip(bad["image"], bad["status"].astype(str), sizes, strict=True)))


def rejected_rows(rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Return (item, reason, detail) of files as a table with the columns of rejected.csv."""
    items, reasons, details = zip(*rows, strict=True) if rows else ((), (), ())
    columns = ("images", pd.array([pd.NA] * len(rows), dtype="Int64"), items, reasons, details)
    return pd.DataFrame(dict(zip(REJECTED_COLUMNS, columns, strict=True)), index=range(len(rows)))


# ---- one image


def decode(path: Path) -> tuple[np.ndarray, str, png.Facts]:
    """Decode a PNG to grey values (H, W), uint8 or, as stored, uint16 (`png.values`); say its Pillow mode and its facts.

    Of several threads one at a time decodes a large picture (`LARGE`): that takes up to 1.2 GB, another up to 0.3 GB, and
    what is returned at most 0.2 GB. Raises UnusableImage with reason "missing", "zero bytes", "truncated", "unreadable",
    "not square", "smaller than 64 px", or one of `content` or `bounds.objection`.
    """
    with ONE_LARGE if _is_large(path) else nullcontext():
        data = content(path)
        require_whole_png(path, data)
        try:
            facts = png.facts(data)
            require_radiograph(path, facts)
            return *png.values(data, facts), facts
        except UnusableImage:
            raise
        except Exception as error:  # Pillow raises a dozen types, from struct.error to SyntaxError, for a damaged file
            raise UnusableImage(path, "unreadable", str(error)) from None


def _is_large(path: Path) -> bool:
    try:
        with regular.opened(path, bounds.MOST_BYTES) as it:
            facts = png.header(it.file.read(png.HEADER))
            return it.size > LARGE_FILE or facts.width * facts.height > LARGE
    except (OSError, ValueError):
        return False  # decoding it will say what is wrong, before anything is decoded


def content(path: Path) -> bytes:
    """Return the bytes of a file of at most `bounds.MOST_BYTES`.

    Raises UnusableImage where it is missing, cannot be read, is empty, or no such file (`regular.Irregular`).
    """
    try:
        data = regular.content(path, bounds.MOST_BYTES)
    except FileNotFoundError:
        raise UnusableImage(path, "missing") from None
    except OSError as error:
        raise UnusableImage(path, "unreadable", error.strerror or "") from None
    except regular.Irregular as error:
        raise UnusableImage(path, error.reason, error.detail) from None
    if not data:
        raise UnusableImage(path, "zero bytes")
    return data


def require_whole_png(path: Path, data: bytes) -> None:
    """Raise UnusableImage where the bytes are not those of a whole PNG file."""
    if not data.startswith(png.SIGNATURE[: len(data)]):
        raise UnusableImage(path, "unreadable", "not a PNG file")
    # Looked for here, because a library may have switched Pillow's own check off for the whole process.
    if png.END not in data:
        raise UnusableImage(path, "truncated", f"ends after {len(data)} bytes")


def require_radiograph(path: Path, facts: png.Facts) -> None:
    """Raise UnusableImage for what no image of the release is: larger than any radiograph, not square, or an icon."""
    require_bounded(path, facts.width, facts.height, facts.bits)
    if facts.width != facts.height:
        raise UnusableImage(path, "not square", f"{facts.width}x{facts.height}", facts.width, facts.height)
    require_size(path, facts.width, facts.height)


def require_bounded(path: Path, width: int, height: int, bits: int) -> None:
    """Raise UnusableImage for a picture that is larger than any radiograph; bits: see `bounds.objection`."""
    if objection := bounds.objection(width, height, bits):
        raise UnusableImage(path, *objection)


def require_size(path: Path, width: int, height: int) -> None:
    """Raise UnusableImage for what is no radiograph but an icon."""
    if min(width, height) < SMALLEST_SIDE:
        raise UnusableImage(path, f"smaller than {SMALLEST_SIDE} px", f"{width}x{height}", width, height)


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


# ---- building the store


@dataclass(frozen=True)
class Task:
    """A file to decode for the sides, in pixels, that are missing of it.

    bits: that count where other files decide it (`Picture.by_folder`); 0: not known yet, the file is only measured.
    """

    key: FileKey
    sides: tuple[int, ...] = ()
    bits: int = 0


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
    bits: int = 0,
    workers: int,
    progress: Progress,
) -> pd.DataFrame:
    """Bring a store up to date with the images and return its index (`INDEX_COLUMNS`), sorted by image.

    paths: image name → path relative to root; boxed: names that are also stored at `box_size` pixels (shard, row, checksum
    of the index are the place at `size`, box_shard, box_row, box_checksum that at `box_size`; -1, -1, "" where there is
    none). Only images that are new, changed, or whose pixels are lost are decoded, each once for both sides, by `workers`
    threads (Pillow decodes outside the interpreter's lock); places do not depend on their number. progress(done, total,
    seconds) is called after each decoded image; total counts only those. An unusable image stays in the index with its
    reason as status, and is tried again the next time. bits: that count of 16-bit images that do not say it; 0: what
    `png.readings` makes of all of them, so that these are decoded twice when they are new, and again when another one
    changes the reading.

    Raises InputError if the store cannot be written, is being written by another process, or its ledger is damaged.
    """
    store, boxed = Path(store), set(boxed) & paths.keys()
    keys = {name: key_of(root, paths[name]) for name in sorted(paths)}
    sides = {name: tuple(dict.fromkeys((size, box_size))) if name in boxed else (size,) for name in keys}
    with writing(root, store, len(paths) * size**2 + len(boxed) * box_size**2, workers, progress) as building:
        known = building.ledger
        present = set(keys.values())
        used = sorted({size, box_size} if boxed else {size})
        lost = {side: _restorable(known, side, _beyond(store, known, side), present) for side in used}
        building.total = sum(map(len, lost.values())) + len(_missing(known, keys, sides))
        for side, places in lost.items():
            if places:
                building.mend(side, places)
        seen = building.add(_missing(known, keys, sides))
        sound = {name: key for name, key in keys.items() if key in known.pictures}
        peaks = {known.pictures[key].peak for key in sound.values() if known.pictures[key].by_folder}
        again = _missing(known, sound, sides, png.readings(peaks, bits))
        building.total += len(again)
        seen |= building.add(again)
    pictures = {name: seen.get(key) or known.pictures[key] for name, key in keys.items()}
    nowhere = Place(-1, -1)
    places = [known.of_side(size).get(picture.digest, nowhere) for picture in pictures.values()]
    box_places = [
        known.of_side(box_size).get(picture.digest, nowhere) if name in boxed else nowhere
        for name, picture in pictures.items()
    ]
    columns = {
        "image": list(pictures),
        "path": [legible(paths[name]) for name in pictures],
        "shard": [place.shard for place in places],
        "row": [place.row for place in places],
        "checksum": [place.checksum for place in places],
        "box_shard": [place.shard for place in box_places],
        "box_row": [place.row for place in box_places],
        "box_checksum": [place.checksum for place in box_places],
        **{column: [getattr(picture, column) for picture in pictures.values()] for column in list(INDEX_COLUMNS)[8:]},
    }
    return pd.DataFrame(columns).astype(INDEX_COLUMNS)


def key_of(root: Path, path: str) -> FileKey:
    """Return what a file below root is known by."""
    try:
        stat = os.stat(os.path.join(root, path))
    except OSError:
        return FileKey(path, -1, -1)  # decoding it will say what is wrong
    return FileKey(path, stat.st_size, stat.st_mtime_ns)


def _missing(
    known: Ledger,
    keys: Mapping[str, FileKey],
    sides: Mapping[str, tuple[int, ...]],
    reading: Mapping[int, int] | None = None,
) -> list[Task]:
    """Return what is to be decoded; without a reading (`png.readings`), of files that depend on it only new ones."""
    tasks = []
    for name, key in keys.items():
        picture = known.pictures.get(key, UNSEEN)
        digest, bits = picture.digest, 0
        if picture.by_folder:
            if reading is None:
                continue
            bits = reading[png.needed(picture.peak)]
            digest = digest if bits == picture.bits else ""
        wanted = tuple(side for side in sides[name] if digest not in known.of_side(side))
        if wanted:
            tasks.append(Task(key, wanted, bits))
    return tasks


def _beyond(store: Path, known: Ledger, side: int) -> dict[str, Place]:
    """Return digest → place of the pixels whose shard is missing or too short."""
    places = known.of_side(side)
    rows = {shard: _rows(_shard(store, side, shard), side) for shard in {place.shard for place in places.values()}}
    return {digest: place for digest, place in places.items() if place.row >= rows[place.shard]}


def _restorable(
    known: Ledger, side: int, gone: Mapping[str, Place], present: Collection[FileKey]
) -> dict[Place, FileKey]:
    """Return place → a file to decode it from, of pixels (digest → place) that are gone, in ascending order.

    What no present file can restore is struck from the ledger.
    """
    files = {picture.digest: key for key, picture in known.pictures.items() if key in present}
    for digest in gone.keys() - files.keys():
        del known.of_side(side)[digest]
    return {place: files[digest] for digest, place in sorted(gone.items(), key=itemgetter(1)) if digest in files}


def _rows(shard: Path, side: int) -> int:
    return shard.stat().st_size // side**2 if shard.is_file() else 0


def _shard(store: Path, side: int, shard: int) -> Path:
    return store / str(side) / f"shard-{shard:05d}.u8"


class Building:
    """The work on one store: decodes files, writes pixels in the files' order, the shards first and the ledger after."""

    def __init__(self, root: Path, store: Path, workers: int, progress: Progress):
        self.root, self.store, self.ledger = root, store, ledger.load(store / "ledger.csv")
        self.workers, self.progress, self.total = workers, progress, 0
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
                    self.ledger.of_side(side)[picture.digest] = ends[side]._replace(checksum=checksums.of_row(pixels))
                    ends[side] = ledger.after(ends[side])
            if number % ledger.SHARD_IMAGES == 0:
                self.commit()
        if tasks:
            self.commit()
        return seen

    def mend(self, side: int, lost: Mapping[Place, FileKey]) -> None:
        """Write lost pixels to their old places.

        lost must be in ascending order: a shard that is not mended to its end is then still seen to be too short.
        """
        tasks = [Task(key, (side,), self.ledger.pictures[key].bits) for key in lost.values()]
        for place, (task, prepared) in zip(lost, self._prepared(tasks), strict=True):
            digest = self.ledger.pictures[task.key].digest
            same = prepared.picture.digest == digest
            if same and checksums.of_row(prepared.pixels[side]) == place.checksum:
                self._write(side, place, prepared.pixels[side])
            else:  # changed without a trace in size and time: struck before a later row makes its place look sound
                del self.ledger.of_side(side)[digest]
                self.commit()
        self.commit()

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

    def commit(self) -> None:
        """Make sure that what was written is on the disk, then replace the ledger."""
        for path in self.written:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        self.written.clear()
        ledger.save(self.store / "ledger.csv", self.ledger)


def _prepare(root: Path, task: Task) -> Prepared:
    try:
        values, mode, facts = decode(root / task.key.path)
    except UnusableImage as problem:
        return Prepared(Picture(problem.width, problem.height, status=problem.reason), {})
    height, width = values.shape
    picture = Picture(width, height, mode, depth=facts.depth, orientation=facts.orientation)
    if facts.deep:
        peak = png.peak(values)
        bits = png.significant(facts.stated, peak) or task.bits
        picture = replace(picture, stated=facts.stated, peak=peak, bits=bits, values=digest_of(values))
        if not bits:
            return Prepared(picture, {})
    pixels = png.scaled(values, picture.bits)
    return Prepared(replace(picture, digest=digest_of(pixels)), {side: shrink(pixels, side) for side in task.sides})


@contextmanager
def writing(root: Path, store: Path, needed: int, workers: int, progress: Progress) -> Iterator[Building]:
    """Open a store of images below root for writing, by this process alone; needed: bytes in all.

    Raises InputError if it cannot be written, is being written by another process, or its ledger is damaged.
    """
    with _writing(store, needed), _locked(store):
        (store / ROOT).write_bytes(os.fsencode(Path(root).absolute()))
        yield Building(Path(root), Path(store), workers, progress)


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
    with open(store / "lock", "a", encoding="utf-8", opener=locks.cautiously) as file:
        if not locks.take(file, wait):
            raise InputError(f"{store}: another run is writing this image store; wait for it to end")
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
    """Read access to the pixels of one side; made by `open_store`. Rows are compared with their checksums once.

    places: image, path, status, shard, row and checksum of each image.
    """

    def __init__(self, store: Path, side: int, places: pd.DataFrame, tell: Callable[[str], None]):
        self.store, self.side, self.places, self.tell = store, side, places, tell
        self.images = pd.Index(places["image"])
        self.status = places["status"]
        self.shards = places["shard"].to_numpy()
        self.rows = places["row"].to_numpy()
        self.checksums = places["checksum"].to_numpy(dtype=object)
        self.sound = np.zeros(len(places), dtype=bool)  # compared by this process
        self.maps: dict[int, np.ndarray] = {}

    def read(self, images: Sequence[str]) -> np.ndarray:
        """Return pixels (N, side, side) uint8 of the images, in their order; the array is the caller's own.

        Pixels that are not as they were written are decoded again from their files, which is told. Raises InputError for
        an image whose pixels cannot be had so, and for one that the store does not hold at this side.
        """
        found = self._find(images)
        pixels = self._pixels(found)
        damaged = self._damaged(found, pixels)
        if damaged:
            _mend(self.store, self.side, self.places, self.places.iloc[found[damaged]], self.tell)
            self.maps.clear()
            pixels[damaged] = self._pixels(found[damaged])
            if self._damaged(found[damaged], pixels[damaged]):
                raise self._irreparable(found[damaged[0]])
        return pixels

    def _find(self, images: Sequence[str]) -> np.ndarray:
        """Return the numbers of images that are all stored."""
        found = self.images.get_indexer(pd.Index(images, dtype=self.images.dtype))
        absent = np.where(found < 0, -1, self.shards[found]) < 0
        if absent.any():
            number = int(np.argmax(absent))
            known = (
                f"its status is '{self.status.iloc[found[number]]}'" if found[number] >= 0 else "it is not in the index"
            )
            raise InputError(
                f"{self.store}: image '{images[number]}' is not stored at {self.side} px ({known}); "
                "build the image cache again with this image among its images (for boxed ones: in the box list)"
            )
        return found

    def _pixels(self, found: np.ndarray) -> np.ndarray:
        """Return what lies in the images' places; zeros beyond the end of a shard."""
        shards, rows = self.shards[found], self.rows[found]
        pixels = np.zeros((len(found), self.side, self.side), dtype=np.uint8)
        for shard in np.unique(shards):
            held = self._map(int(shard))
            here = (shards == shard) & (rows < len(held))
            pixels[here] = held[rows[here]]
        return pixels

    def _damaged(self, found: np.ndarray, pixels: np.ndarray) -> list[int]:
        """Return which of the pixels are not as they were written; those are compared that have not been before."""
        damaged = []
        for number in np.flatnonzero(~self.sound[found]).tolist():
            if checksums.of_row(pixels[number]) == self.checksums[found[number]]:
                self.sound[found[number]] = True
            else:
                damaged.append(number)
        return damaged

    def _irreparable(self, number: int) -> InputError:
        path = _shard(self.store, self.side, int(self.shards[number]))
        return InputError(
            f"{path}: the pixels of image '{self.images[number]}' in this part of the image cache (row {self.rows[number]}) "
            f"are not as they were written, and its file {self.places['path'].iloc[number]} is not as it was; {ANEW}"
        )

    def _map(self, shard: int) -> np.ndarray:
        if shard not in self.maps:
            self.maps[shard] = _mapped(self.store, self.side, shard)
        return self.maps[shard]


def _mapped(store: Path, side: int, shard: int) -> np.ndarray:
    """Return the rows of a shard, (N, side, side), as a memory map; none where there is no file."""
    path = _shard(store, side, shard)
    shape = (_rows(path, side), side, side)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape) if shape[0] else np.empty(shape, np.uint8)


def open_store(
    store: Path, index: pd.DataFrame, side: int, kind: Literal["all", "boxed"], tell: Callable[[str], None]
) -> ImageStore:
    """Open the pixels of an index: of all usable images (side: the `size` it was built with) or the boxed (`box_size`).

    Pixels lost since (a shard that is missing or too short) are decoded again from their files, which is told, as are those
    that turn out to be damaged when they are read. Raises InputError where that cannot be done.
    """
    store = Path(store)
    names = {"all": ("shard", "row", "checksum"), "boxed": ("box_shard", "box_row", "box_checksum")}[kind]
    places = index[["image", "path", "status", *names]].rename(columns=dict(zip(names, PLACE, strict=True)))
    ends = places[places["row"] >= 0].groupby("shard")["row"].max()
    if _short(store, side, ends):
        _mend(store, side, places, places, tell)
        for shard in _short(store, side, ends):
            path = _shard(store, side, shard)
            raise InputError(
                f"{path}: this part of the image cache holds {_rows(path, side)} images of {side} px, the index names "
                f"{ends[shard] + 1}, and their files are not as they were; {ANEW}"
            )
    return ImageStore(store, side, places, tell)


def _short(store: Path, side: int, ends: pd.Series) -> list[int]:
    return [int(shard) for shard, last in ends.items() if _rows(_shard(store, side, int(shard)), side) <= last]


def _mend(store: Path, side: int, places: pd.DataFrame, suspect: pd.DataFrame, tell: Callable[[str], None]) -> None:
    """Decode the lost and the damaged pixels of one side again, unless another process has done so meanwhile.

    places: of the index; suspect: those that were found out. All of the side is compared with its checksums, so that it
    is done once, whatever is read next.
    """
    try:
        root = Path(os.fsdecode((store / ROOT).read_bytes()))
    except OSError:
        return
    with _writing(store, 0), _locked(store, wait=True):
        if not _lost(store, side, suspect) | _changed(store, side, suspect):
            return
        building = Building(root, store, 1, lambda *_: None)
        known = building.ledger
        lost, changed = _lost(store, side, places), _changed(store, side, places)
        gone = {digest: place for digest, place in known.of_side(side).items() if place in lost | changed}
        listed = set(places.loc[places["status"] == OK, "path"])
        present = {
            key
            for key, picture in known.pictures.items()
            if picture.digest in gone and legible(key.path) in listed and key_of(root, key.path) == key
        }
        restorable = _restorable(known, side, gone, present)
        for what, which in (("lost from", lost), ("damaged in", changed)):
            if which:
                count = len(restorable.keys() & which)
                tell(f"{count} images of {side} px are {what} the image cache: decoding them again")
        building.mend(side, restorable)


def _lost(store: Path, side: int, places: pd.DataFrame) -> set[Place]:
    """Return the places of an index that lie beyond the end of their shard."""
    ends = {shard: _rows(_shard(store, side, shard), side) for shard in places["shard"].unique().tolist()}
    return {place for place in _named(places) if place.row >= ends[place.shard]}


def _changed(store: Path, side: int, places: pd.DataFrame) -> set[Place]:
    """Return the places of an index that hold something else than what was written."""
    changed = set()
    for shard, named in itertools.groupby(sorted(_named(places)), key=itemgetter(0)):
        pixels = _mapped(store, side, shard)
        changed |= {
            place
            for place in named
            if place.row < len(pixels) and checksums.of_row(pixels[place.row]) != place.checksum
        }
    return changed


def _named(places: pd.DataFrame) -> set[Place]:
    stored = places[places["row"] >= 0]
    return {Place(*place) for place in zip(*(stored[name].tolist() for name in PLACE), strict=True)}
