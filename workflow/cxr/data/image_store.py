"""Reads the image cache: pixels by image name, each row compared with its checksum on the first read."""

import itertools
import os
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cxr.data.image_cache import ROOT, Building, key_of, locked, restorable_places, rows_in, shard_path, writable
from cxr.data.image_index import ANEW, PLACE
from cxr.data.ledger import OK, Place
from cxr.errors import InputError
from cxr.runtime import checksums
from cxr.runtime.journal import legible


class ImageStore:
    """Read access to the pixels of one side; made by `open_store`. Each row is compared with its checksum once.

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

        Damaged pixels are decoded again from their files, and this is reported. Raises InputError for an image whose
        pixels cannot be restored, and for one that the store does not hold at this side.
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
        """Return the positions of images in `places`; raise InputError if one is not stored."""
        found = self.images.get_indexer(pd.Index(images, dtype=self.images.dtype))
        absent = np.where(found < 0, -1, self.shards[found]) < 0
        if absent.any():
            number = int(np.argmax(absent))
            known = (
                f"its status is '{self.status.iloc[found[number]]}'" if found[number] >= 0 else "it is not in the index"
            )
            raise InputError(
                f"{self.store}: image '{images[number]}' is not stored at {self.side} px ({known}); "
                "build the image cache again so that it holds this image (a boxed image must be in the box list)"
            )
        return found

    def _pixels(self, found: np.ndarray) -> np.ndarray:
        """Return the pixels at the images' places; zeros beyond the end of a shard."""
        shards, rows = self.shards[found], self.rows[found]
        pixels = np.zeros((len(found), self.side, self.side), dtype=np.uint8)
        for shard in np.unique(shards):
            held = self._map(int(shard))
            here = (shards == shard) & (rows < len(held))
            pixels[here] = held[rows[here]]
        return pixels

    def _damaged(self, found: np.ndarray, pixels: np.ndarray) -> list[int]:
        """Return which pixels do not match their checksums; only rows not yet compared are checked."""
        damaged = []
        for number in np.flatnonzero(~self.sound[found]).tolist():
            if checksums.of_row(pixels[number]) == self.checksums[found[number]]:
                self.sound[found[number]] = True
            else:
                damaged.append(number)
        return damaged

    def _irreparable(self, number: int) -> InputError:
        path = shard_path(self.store, self.side, int(self.shards[number]))
        return InputError(
            f"{path}: the pixels of image '{self.images[number]}' in this part of the image cache (row {self.rows[number]}) "
            f"do not match their checksum, and its file {self.places['path'].iloc[number]} has changed, so they cannot be "
            f"restored; {ANEW}"
        )

    def _map(self, shard: int) -> np.ndarray:
        if shard not in self.maps:
            self.maps[shard] = _mapped(self.store, self.side, shard)
        return self.maps[shard]


def _mapped(store: Path, side: int, shard: int) -> np.ndarray:
    """Return the rows of a shard, (N, side, side), as a memory map; N is 0 if there is no file."""
    path = shard_path(store, side, shard)
    shape = (rows_in(path, side), side, side)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape) if shape[0] else np.empty(shape, np.uint8)


def open_store(
    store: Path, index: pd.DataFrame, side: int, kind: Literal["all", "boxed"], tell: Callable[[str], None]
) -> ImageStore:
    """Open the pixels of an index: all usable images (side: its `size`) or the boxed ones (side: its `box_size`).

    Lost pixels (a shard is missing or too short), and those found damaged when they are read, are decoded again from
    their files; both are reported. Raises InputError if that is impossible.
    """
    store = Path(store)
    names = {"all": ("shard", "row", "checksum"), "boxed": ("box_shard", "box_row", "box_checksum")}[kind]
    places = index[["image", "path", "status", *names]].rename(columns=dict(zip(names, PLACE, strict=True)))
    ends = places[places["row"] >= 0].groupby("shard")["row"].max()
    if _short(store, side, ends):
        _mend(store, side, places, places, tell)
        for shard in _short(store, side, ends):
            path = shard_path(store, side, shard)
            raise InputError(
                f"{path}: this part of the image cache holds {rows_in(path, side)} images of {side} px, but the index names "
                f"{ends[shard] + 1}, and their files have changed, so they cannot be restored; {ANEW}"
            )
    return ImageStore(store, side, places, tell)


def _short(store: Path, side: int, ends: pd.Series) -> list[int]:
    return [int(shard) for shard, last in ends.items() if rows_in(shard_path(store, side, int(shard)), side) <= last]


def _mend(store: Path, side: int, places: pd.DataFrame, suspect: pd.DataFrame, tell: Callable[[str], None]) -> None:
    """Decode the lost and damaged pixels of one side again, unless another process has done so meanwhile.

    places: all of the index; suspect: those found lost or damaged. All rows of the side are compared with their
    checksums, so that one pass repairs everything.
    """
    try:
        root = Path(os.fsdecode((store / ROOT).read_bytes()))
    except OSError:
        return
    with writable(store, 0), locked(store, wait=True):
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
        restorable = restorable_places(known, side, gone, present)
        for what, which in (("lost from", lost), ("damaged in", changed)):
            if which:
                count = len(restorable.keys() & which)
                tell(f"{count} images of {side} px are {what} the image cache: decoding them again")
        building.mend(side, restorable)


def _lost(store: Path, side: int, places: pd.DataFrame) -> set[Place]:
    """Return the places of an index that lie beyond the end of their shard."""
    ends = {shard: rows_in(shard_path(store, side, shard), side) for shard in places["shard"].unique().tolist()}
    return {place for place in _named(places) if place.row >= ends[place.shard]}


def _changed(store: Path, side: int, places: pd.DataFrame) -> set[Place]:
    """Return the places of an index whose pixels do not match their checksums."""
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
