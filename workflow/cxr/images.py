"""The image cache: every image decoded and shrunk once, kept as raw uint8 that training jobs read through memory maps.

A store is a folder `<store>/<side>/shard-00000.u8` (rows of side × side pixels, at most 1024 rows a file) for each side
asked for, and `<store>/ledger.csv`, which says whose pixels lie where. Pixels are looked up by content, files by
(path, bytes, modification time): a file seen before is not decoded again, a touched one is decoded but keeps its row, and
pixels that were lost with a shard are written to their old place, so an index made earlier stays true. The ledger is
replaced as a whole after each shard's worth of images; what a killed run wrote beyond it belongs to nobody and is
overwritten.
"""

import hashlib
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from cxr import ledger, locks, png
from cxr.errors import InputError
from cxr.folder import counts, is_file, is_folder, legible, walk
from cxr.image_names import canonical
from cxr.layouts import is_release_image
from cxr.ledger import OK, FileKey, Ledger, Picture, Place
from cxr.tables import REJECTED_COLUMNS

SMALLEST_SIDE = 64  # px; anything smaller is a thumbnail or an icon, not a radiograph
AHEAD = 4  # images decoded in advance, a worker: enough to keep all busy, few enough to fit in memory
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
    "depth": "int32",
    "stated": "int32",
    "peak": "int32",
    "bits": "int32",
    "orientation": "int32",
}
UNSEEN = Picture()

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
            rejected.append((legible(path), "not a regular file", "a dangling link or a special file"))
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

    Raises UnusableImage with reason "missing", "zero bytes", "truncated", "unreadable", "not square" or
    "smaller than 64 px".
    """
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
    if not data.startswith(png.SIGNATURE[: len(data)]):
        raise UnusableImage(path, "unreadable", "not a PNG file")
    # Looked for here, because a library may have switched Pillow's own check off for the whole process.
    if png.END not in data:
        raise UnusableImage(path, "truncated", f"ends after {len(data)} bytes")


def require_radiograph(path: Path, facts: png.Facts) -> None:
    """Raise UnusableImage for what no image of the release is: not square, or an icon."""
    if facts.width != facts.height:
        raise UnusableImage(path, "not square", f"{facts.width}x{facts.height}", facts.width, facts.height)
    require_size(path, facts.width, facts.height)


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

    paths: image name → path relative to root; boxed: names that are also stored at `box_size` pixels (shard, row of the
    index are the place at `size`, box_shard, box_row that at `box_size`, -1 where there is none). Only images that are
    new, changed, or whose pixels are lost are decoded, each once for both sides, by `workers` threads (Pillow decodes
    outside the interpreter's lock); places do not depend on their number. progress(done, total, seconds) is called
    after each decoded image; total counts only those. An unusable image stays in the index with its reason as status,
    and is tried again the next time. bits: that count of 16-bit images that do not say it; 0: what `png.readings` makes
    of all of them, so that these are decoded twice when they are new, and again when another one changes the reading.

    Raises InputError if the store cannot be written, is being written by another process, or its ledger is damaged.
    """
    store, boxed = Path(store), set(boxed) & paths.keys()
    keys = {name: key_of(root, paths[name]) for name in sorted(paths)}
    sides = {name: tuple(dict.fromkeys((size, box_size))) if name in boxed else (size,) for name in keys}
    with writing(root, store, len(paths) * size**2 + len(boxed) * box_size**2, workers, progress) as building:
        known = building.ledger
        building.look_again(keys.values())
        lost = _lost(store, known, set(keys.values()), {size, box_size} if boxed else {size})
        building.total = sum(map(len, lost.values())) + len(_missing(known, keys, sides))
        for side, places in lost.items():
            building.mend(side, places)
        seen = building.add(_missing(known, keys, sides))
        sound = {name: key for name, key in keys.items() if key in known.pictures}
        peaks = {known.pictures[key].peak for key in sound.values() if known.pictures[key].by_folder}
        again = _missing(known, sound, sides, png.readings(peaks, bits))
        building.total += len(again)
        seen |= building.add(again)
    pictures = {name: seen.get(key) or known.pictures[key] for name, key in keys.items()}
    nowhere = (-1, -1)
    places = [known.of_side(size).get(picture.digest, nowhere) for picture in pictures.values()]
    box_places = [
        known.of_side(box_size).get(picture.digest, nowhere) if name in boxed else nowhere
        for name, picture in pictures.items()
    ]
    columns = {
        "image": list(pictures),
        "path": [legible(paths[name]) for name in pictures],
        "shard": [shard for shard, _ in places],
        "row": [row for _, row in places],
        "box_shard": [shard for shard, _ in box_places],
        "box_row": [row for _, row in box_places],
        **{column: [getattr(picture, column) for picture in pictures.values()] for column in list(INDEX_COLUMNS)[6:]},
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


def _lost(store: Path, known: Ledger, present: set[FileKey], sides: set[int]) -> dict[int, dict[Place, FileKey]]:
    """Return side → place → a file to decode it from, for the pixels whose shard is missing or too short.

    Lost pixels that no present file can restore are struck from the ledger.
    """
    files = {picture.digest: key for key, picture in known.pictures.items() if key in present}
    lost: dict[int, dict[Place, FileKey]] = {}
    for side in sorted(sides):
        places = known.of_side(side)
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
                    self.ledger.of_side(side)[picture.digest] = ends[side]
                    ends[side] = ledger.after(ends[side])
            if number % ledger.SHARD_IMAGES == 0:
                self.commit()
        if tasks:
            self.commit()
        return seen

    def look_again(self, keys: Iterable[FileKey]) -> None:
        """Bring files that an earlier version's ledger knows to what is known today; those read otherwise are forgotten.

        Only their chunks are read: what is neither of 16 bits nor turned is as it was.
        """
        unknown = {key for key in keys if key in self.ledger.pictures and not self.ledger.pictures[key].depth}
        for key in unknown:
            try:
                facts = png.facts_of(self.root / key.path)
            except (OSError, ValueError):
                facts = None
            if facts is None or facts.deep or facts.orientation != 1:
                del self.ledger.pictures[key]
            else:
                self.ledger.pictures[key] = replace(self.ledger.pictures[key], depth=facts.depth)
        if unknown:
            self.commit()

    def mend(self, side: int, lost: Mapping[Place, FileKey]) -> None:
        """Write lost pixels to their old places.

        lost must be in ascending order: a shard that is not mended to its end is then still seen to be too short.
        """
        tasks = [Task(key, (side,), self.ledger.pictures[key].bits) for key in lost.values()]
        for place, (task, prepared) in zip(lost, self._prepared(tasks), strict=True):
            expected = self.ledger.pictures[task.key]
            if prepared.picture.digest == expected.digest:
                self._write(side, place, prepared.pixels[side])
            else:  # changed without a trace in size and time: struck before a later row makes its place look sound
                del self.ledger.of_side(side)[expected.digest]
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
    with (store / "lock").open("w", encoding="utf-8") as file:
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
        root = Path(os.fsdecode((store / ROOT).read_bytes()))
    except OSError:
        return
    with _writing(store, 0), _locked(store, wait=True):
        if not _short(store, side, ends):
            return
        building = Building(root, store, 1, lambda *_: None)
        listed = set(index.loc[index["status"] == OK, "path"])
        present = {
            key for key in building.ledger.pictures if legible(key.path) in listed and key_of(root, key.path) == key
        }
        lost = _lost(store, building.ledger, present, {side}).get(side, {})
        tell(f"{len(lost)} images of {side} px are lost from the image cache: decoding them again")
        building.mend(side, lost)
