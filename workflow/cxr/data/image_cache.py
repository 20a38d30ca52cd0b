"""The image cache: every image decoded and shrunk once, kept as raw uint8 that training jobs read through memory maps.

A store has shards `<store>/<side>/shard-00000.u8` (rows of side × side pixels, at most 1024 rows per file) for each side
requested, and `<store>/ledger.csv`, which tells whose pixels lie where. Pixels are looked up by content, files by
(path, bytes, modification time): a known file is not decoded again, a touched one is decoded but keeps its row, and
pixels that were lost with a shard are written to their old place, so earlier indexes stay valid. The ledger is replaced
as a whole after every 1024 images; rows that a killed run wrote after that are not in the ledger and are overwritten.

Ledger and index hold the checksum of every row of pixels; a process compares a row with it on the first read. A damaged
or lost row is then decoded again from its file, to its old place. Building a store checks only the sizes of the shards:
comparing all rows would mean reading the whole store for a few new images.
"""

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import ledger
from cxr.data.formats import png
from cxr.data.formats.decode import UnusableImage, decode, digest_of, shrink
from cxr.data.image_index import INDEX_COLUMNS
from cxr.data.ledger import OK, FileKey, Ledger, Picture, Place
from cxr.errors import InputError
from cxr.runtime import checksums, locks
from cxr.runtime.journal import legible

AHEAD = 4  # images decoded in advance per worker: enough to keep all busy, few enough to fit in memory
ROOT = "root"  # the file of a store that names the folder its images were decoded from
UNSEEN = Picture()

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Task:
    """A file to decode, and the sides in pixels at which the store lacks it.

    bits: how many count if other files decide it (`Picture.by_folder`); 0: not known yet, the file is only measured.
    """

    key: FileKey
    sides: tuple[int, ...] = ()
    bits: int = 0


@dataclass(frozen=True)
class Prepared:
    """A decoded file: its facts, and side → its pixels (side, side) uint8."""

    picture: Picture
    pixels: dict[int, np.ndarray]


@dataclass(frozen=True)
class ImageCache:
    """Where pixels are stored, and at which sides: all images at `size`, boxed ones at `box_size` pixels too."""

    folder: Path
    size: int
    box_size: int

    def sides(self, boxed: bool) -> tuple[int, ...]:
        """Return the sides at which an image is stored, each once."""
        return tuple(dict.fromkeys((self.size, self.box_size))) if boxed else (self.size,)


def update_store(
    root: Path,
    paths: Mapping[str, str],
    boxed: Iterable[str],
    cache: ImageCache,
    *,
    bits: int = 0,
    workers: int,
    progress: Progress,
) -> pd.DataFrame:
    """Bring a cache up to date with the images and return its index (`INDEX_COLUMNS`), sorted by image.

    paths: image name → path relative to root; boxed: names that are also stored at `cache.box_size` pixels (shard, row,
    checksum of the index are the place at `cache.size`, box_shard, box_row, box_checksum that at `cache.box_size`; -1, -1,
    "" if there is none). Only images that are new, changed, or whose pixels are lost are decoded, each once for both sides,
    by `workers` threads (Pillow decodes outside the interpreter's lock); places do not depend on their number.
    progress(done, total, seconds) is called after each decoded image; total counts only those. An unusable image stays in
    the index with the reason as its status, and is tried again the next time. bits: how many count in 16-bit images that do
    not state it; 0: `png.readings` of all of them decides, so these are decoded twice when they are new, and again when
    another image changes the reading.

    Raises InputError if the store cannot be written, is being written by another process, or its ledger is damaged.
    """
    store, size, box_size, boxed = cache.folder, cache.size, cache.box_size, set(boxed) & paths.keys()
    keys = {name: key_of(root, paths[name]) for name in sorted(paths)}
    sides = {name: cache.sides(name in boxed) for name in keys}
    with writing(root, store, len(paths) * size**2 + len(boxed) * box_size**2, workers, progress) as building:
        known = building.ledger
        present = set(keys.values())
        used = sorted({size, box_size} if boxed else {size})
        lost = {side: restorable_places(known, side, _beyond(store, known, side), present) for side in used}
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
    """Return the key of a file below root."""
    try:
        stat = os.stat(os.path.join(root, path))
    except OSError:
        return FileKey(path, -1, -1)  # `decode` will report the reason
    return FileKey(path, stat.st_size, stat.st_mtime_ns)


def _missing(
    known: Ledger,
    keys: Mapping[str, FileKey],
    sides: Mapping[str, tuple[int, ...]],
    reading: Mapping[int, int] | None = None,
) -> list[Task]:
    """Return the files to decode; without a reading (`png.readings`), only new ones of the files that depend on it."""
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
    """Return digest → place of pixels whose shard is missing or too short."""
    places = known.of_side(side)
    rows = {
        shard: rows_in(shard_path(store, side, shard), side) for shard in {place.shard for place in places.values()}
    }
    return {digest: place for digest, place in places.items() if place.row >= rows[place.shard]}


def restorable_places(
    known: Ledger, side: int, gone: Mapping[str, Place], present: Collection[FileKey]
) -> dict[Place, FileKey]:
    """Return place → a file to decode it from, for lost pixels (digest → place), in ascending order.

    Pixels that no present file can restore are deleted from the ledger.
    """
    files = {picture.digest: key for key, picture in known.pictures.items() if key in present}
    for digest in gone.keys() - files.keys():
        del known.of_side(side)[digest]
    return {place: files[digest] for digest, place in sorted(gone.items(), key=itemgetter(1)) if digest in files}


def rows_in(shard: Path, side: int) -> int:
    return shard.stat().st_size // side**2 if shard.is_file() else 0


def shard_path(store: Path, side: int, shard: int) -> Path:
    return store / str(side) / f"shard-{shard:05d}.u8"


class Building:
    """Work on one store: decodes files and writes pixels in the files' order, first to the shards, then the ledger."""

    def __init__(self, root: Path, store: Path, workers: int, progress: Progress):
        self.root, self.store, self.ledger = root, store, ledger.load(store / "ledger.csv")
        self.workers, self.progress, self.total = workers, progress, 0
        self.done, self.began = 0, time.monotonic()
        self.written: set[Path] = set()

    def add(self, tasks: Sequence[Task]) -> dict[FileKey, Picture]:
        """Decode files, append pixels at the sides that the store lacks, and return the facts of each file."""
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
                        del self.ledger.pictures[other]  # the same file, touched: one ledger line is enough
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

        lost must be in ascending order: a shard that is not mended to its end is then still recognisably too short.
        """
        tasks = [Task(key, (side,), self.ledger.pictures[key].bits) for key in lost.values()]
        for place, (task, prepared) in zip(lost, self._prepared(tasks), strict=True):
            digest = self.ledger.pictures[task.key].digest
            same = prepared.picture.digest == digest
            if same and checksums.of_row(prepared.pixels[side]) == place.checksum:
                self._write(side, place, prepared.pixels[side])
            else:  # changed but with the same size and time: deleted before a later row makes its place look valid
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
        path = shard_path(self.store, side, place[0])
        path.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            file.seek(place[1] * side**2)
            file.write(np.ascontiguousarray(pixels))
        self.written.add(path)

    def commit(self) -> None:
        """Flush the shards to disk, then replace the ledger."""
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
    """Open a store of images below root for writing by this process alone; needed: total size in bytes.

    Raises InputError if it cannot be written, is being written by another process, or its ledger is damaged.
    """
    with writable(store, needed), locked(store):
        (store / ROOT).write_bytes(os.fsencode(Path(root).absolute()))
        yield Building(Path(root), Path(store), workers, progress)


@contextmanager
def writable(store: Path, needed: int) -> Iterator[None]:
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"{store}: cannot write the image store here ({error.strerror or error}); use a writable "
            f"folder with room for about {needed / 1e6:.0f} MB in all. What was stored before is kept"
        ) from None


@contextmanager
def locked(store: Path, wait: bool = False) -> Iterator[None]:
    with open(store / "lock", "a", encoding="utf-8", opener=locks.cautiously) as file:
        if not locks.take(file, wait):
            raise InputError(f"{store}: another run is writing this image store; wait for it to end")
        yield
