"""Safe unpacking of an archive (tar.gz, zip) into a new folder: all of it or nothing, and nothing outside.

Members are regular files with relative names below the folder; any link, device or name that leads elsewhere refuses
the whole archive, where `tarfile` and `zipfile` alone would follow, rename or skip it. Files are written to a temporary
folder beside the target, which takes the target's name at the end.
"""

import gzip
import os
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from cxr.errors import InputError
from cxr.journal import Journal, Progress

CHUNK = 1 << 20
DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,  # a zip method that is not known here
    RuntimeError,  # an encrypted zip
)


class DamagedArchive(InputError):
    """The archive cannot be read to its end."""


def unpack(archive: Path, target: Path, tell: Journal) -> int:
    """Unpack the regular files of an archive into the folder target and return their number.

    target must not exist or be empty. Modification times are the archive's, so that unpacking it again gives files that
    look the same. What an earlier, killed run had left is removed. Raises DamagedArchive where the archive ends early
    or is no archive, InputError where a member is refused; in both cases nothing of it stays.
    """
    temporary = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    progress = Progress(tell, "MB", interval=30.0)
    total = archive.stat().st_size
    count = 0
    try:
        with archive.open("rb") as file:
            for _ in (_zipped if archive.suffix == ".zip" else _tarred)(archive, file, temporary):
                count += 1
                progress(file.tell() // 10**6, max(total // 10**6, 1) + 1)
        if not count:
            raise DamagedArchive(f"{archive}: holds no file; expected the images of the release")
        os.rename(temporary, target)
    except DAMAGED as error:
        raise DamagedArchive(
            f"{archive}: damaged, reading it ended after {count} files ({type(error).__name__}: {error}); "
            "nothing of it was unpacked. Remove this file and download it again"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    tell(f"{archive.name}: {count} files unpacked into {target}")
    return count


def _tarred(archive: Path, file: IO[bytes], folder: Path) -> Iterator[None]:
    """Write the files of a tar.gz one by one."""
    with gzip.GzipFile(fileobj=file) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for item in tar:
                kind = "a symbolic link" if item.issym() else "a link" if item.islnk() else "a device or special file"
                if _wanted(archive, folder, item.name, item.isdir(), "" if item.isreg() else kind):
                    tar.extract(item.replace(mode=None, deep=False), folder, filter="data")
                    yield
        while stream.read(CHUNK):  # to the end, where gzip says whether all was right
            pass


def _zipped(archive: Path, file: IO[bytes], folder: Path) -> Iterator[None]:
    """Write the files of a zip one by one, with their times, which `zipfile` leaves out."""
    with zipfile.ZipFile(file) as whole:
        for item in whole.infolist():
            special = stat.S_IFMT(item.external_attr >> 16) not in (0, stat.S_IFREG)
            wrong = "a link or special file" if special else ""
            if _wanted(archive, folder, item.orig_filename, item.is_dir(), wrong):
                modified = time.mktime((*item.date_time, 0, 0, -1))
                os.utime(whole.extract(item, folder), (modified, modified))
                yield


def _wanted(archive: Path, folder: Path, name: str, is_folder: bool, wrong: str) -> bool:
    """Say whether a member is a file to be written; raise InputError where it refuses the archive (`wrong`: why)."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or (not path.parts and name != "."):
        wrong = "a name that leads out of the folder"
    elif is_folder:
        return False
    elif (folder / name).exists() or any((folder / above).is_file() for above in path.parents):
        wrong = wrong or "there twice, or both a file and a folder"
    if wrong:
        raise InputError(
            f"{archive}: refused, its member '{name}' is {wrong}; nothing of it was unpacked. The archives of the release "
            "hold only image files: this is another archive, remove it"
        )
    return True
