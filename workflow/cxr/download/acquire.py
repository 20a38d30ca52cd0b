"""Brings one file of the release into a data folder: finds or fetches it, checks it, and unpacks it if need be.

Tables go into the folder itself, the images of images_001.tar.gz into images_001/. What is already there, in any of the
known layouts, is used and left unchanged. Partial files and archives of a download are in `store`, a folder below the
data folder; finished files are noted there as `<name>.json`.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from cxr.data import layouts
from cxr.download import fetch, release, unpack, verify
from cxr.download.release import ReleaseFile
from cxr.errors import InputError
from cxr.runtime import disk
from cxr.runtime.journal import Journal

UNPACKED_SHARE = 1.03  # bytes on the disk of unpacked images over bytes of their archive: PNGs are compressed already


def acquire(file: ReleaseFile, root: Path, *, store: Path, keep_archive: bool, attempts: int, tell: Journal) -> str:
    """Bring one file of the release below root and return a description of what was done.

    keep_archive: whether a downloaded archive stays in the store after unpacking; one that a user has put into root
    always stays. attempts: see `fetch.fetch`. Raises InputError, saying what to do, if the file cannot be obtained or
    is not the expected one, or if root cannot be written; a file that is not the expected one is set aside as `<name>.bad`.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        if file.is_archive:
            done = _images(file, root, store, keep_archive, attempts, tell)
        else:
            done = _table(file, root, store, attempts, tell)
    except PermissionError as error:
        raise InputError(
            f"{error.filename or root}: {error.strerror}; choose a folder that this user may write to"
        ) from None
    tell(f"{file.name}: {done}")
    (store / f"{file.name}.json").write_text(json.dumps({"file": file.name, "done": done}) + "\n", encoding="utf-8")
    return done


def require_room(files: Iterable[ReleaseFile], root: Path, *, store: Path, keep_archives: bool, parallel: int) -> None:
    """Raise InputError if the disk has less room than what is still to be fetched and unpacked needs.

    parallel: archives on the disk at the same time if they are not kept. Files of unknown size count as 0.
    """
    missing = [file for file in files if not (store / f"{file.name}.json").exists()]
    archives = [file for file in missing if file.is_archive and not layouts.unpacked(root, file.stem)]
    fetched = sorted((file.size or 0 for file in archives if not layouts.archive(root, file.stem)), reverse=True)
    needed = sum(file.size or 0 for file in archives) * UNPACKED_SHARE
    needed += sum(fetched if keep_archives else fetched[:parallel])
    needed -= sum(path.stat().st_size for path in store.glob("*") if path.is_file() and path.suffix != ".bad")
    disk.require(root, needed, f"the missing part of the release ({len(missing)} files)")


def _table(file: ReleaseFile, root: Path, store: Path, attempts: int, tell: Journal) -> str:
    place = root / layouts.table(root, file.name)
    if place.is_file():
        found = verify.of_file(place)
        same = found.sha256 == file.sha256 if file.sha256 else found.md5 == file.md5 if file.md5 else None
        compared = {True: "the published one", False: "not byte for byte the published one", None: "not compared"}[same]
        return f"already here ({place.relative_to(root)}, {compared}), left unchanged"
    _fetch(file, root, store, 0, attempts, tell)
    os.replace(store / file.name, root / file.name)
    return "downloaded"


def _images(file: ReleaseFile, root: Path, store: Path, keep: bool, attempts: int, tell: Journal) -> str:
    target = root / file.stem
    if (folder := layouts.unpacked(root, file.stem)) is not None:
        if not keep:  # a run killed between unpacking and removing
            (store / file.name).unlink(missing_ok=True)
        return f"already unpacked ({folder.relative_to(root)})"
    if (folder := layouts.flat(root)) is not None:
        raise InputError(
            f"{folder}: the images here are not in folders images_001 to images_012, so it is unknown which archives "
            f"are missing, and {file.name} was neither fetched nor unpacked. The images can be used as they are; to "
            "download the release anyway, set data.root to another folder"
        )
    own = layouts.archive(root, file.stem)
    if own is None:
        _fetch(file, root, store, int((file.size or 0) * UNPACKED_SHARE), attempts, tell)
    elif own.name == file.name:
        _verify(own, file, root, tell, "remove it and run again to download it")
    else:
        tell(
            f"{own.name}: no checksum is published for an archive of this name (the release has {file.name}): it is used "
            "unchecked"
        )
    archive = own or store / file.name
    disk.require(root, archive.stat().st_size * UNPACKED_SHARE, f"unpacking {archive.name}")
    try:
        count = unpack.unpack(archive, target, tell, file.size)
    except unpack.DamagedArchive:
        if own is None:
            _set_aside(archive)
        raise
    if own is None and not keep:
        archive.unlink()
    return f"{'found' if own else 'downloaded'} and unpacked into {target.name} ({count} files)"


def _fetch(file: ReleaseFile, root: Path, store: Path, room_after: int, attempts: int, tell: Journal) -> None:
    """Leave the checked file in the store."""
    path = store / file.name
    if not path.is_file():
        if not file.url:
            raise InputError(
                f"{file.name}: the address table (download.table) has no address for this file: download it by hand from "
                f"{release.PAGE} and put it into {root}"
            )
        patience = fetch.Patience(attempts)
        fetch.fetch(file.url, path, size=file.size, patience=patience, tell=tell, room_after=room_after)
    try:
        _verify(path, file, root, tell, "run again to download it again")
    except verify.WrongFile as error:
        raise verify.WrongFile(f"{error}. It was set aside as {_set_aside(path)}") from None
    path.with_name(path.name + ".bad").unlink(missing_ok=True)


def _verify(path: Path, file: ReleaseFile, root: Path, tell: Journal, advice: str) -> None:
    try:
        verify.verify(path, file, root / "downloads.csv", tell)
    except verify.WrongFile as error:
        raise verify.WrongFile(f"{error}; {advice}") from None


def _set_aside(path: Path) -> Path:
    bad = path.with_name(path.name + ".bad")
    os.replace(path, bad)
    return bad
