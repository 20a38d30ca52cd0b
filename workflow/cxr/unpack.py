"""Safe unpacking of an archive (tar.gz, zip) into a new folder: all of it or nothing, and nothing outside.

Members are regular files with relative names below the folder; any link, device or name that leads elsewhere refuses
the whole archive. Files are written to a temporary folder beside the target, which takes the target's name at the end.
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
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Member:
    """A regular file of an archive: its name, modification time in s, and where to read it from."""

    name: str
    modified: float
    content: IO[bytes]


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
            members = _zipped(archive, file) if archive.suffix == ".zip" else _tarred(archive, file, temporary)
            for member in members:
                _write(member, temporary, archive)
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


def _tarred(archive: Path, file: IO[bytes], folder: Path) -> Iterator[Member]:
    with gzip.GzipFile(fileobj=file) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for item in tar:
                _check_name(archive, item.name)
                if item.isdir():
                    continue
                if not item.isreg():
                    kind = (
                        "a symbolic link" if item.issym() else "a link" if item.islnk() else "a device or special file"
                    )
                    raise _refused(archive, item.name, kind)
                try:
                    content = tar.extractfile(tarfile.data_filter(item, str(folder)))
                except tarfile.FilterError as error:
                    raise _refused(archive, item.name, str(error)) from None
                if content is None:
                    raise _refused(archive, item.name, "no regular file")
                yield Member(item.name, item.mtime, content)
        while stream.read(CHUNK):  # to the end, where gzip says whether all was right
            pass


def _zipped(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as whole:
        for item in whole.infolist():
            _check_name(archive, item.orig_filename)
            if item.is_dir():
                continue
            kind = stat.S_IFMT(item.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _refused(archive, item.filename, "a link or special file")
            with whole.open(item) as content:
                yield Member(item.filename, time.mktime((*item.date_time, 0, 0, -1)), content)


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or (not path.parts and name != "."):
        raise _refused(archive, name, "a name that leads out of the folder")


def _refused(archive: Path, name: str, why: str) -> InputError:
    return InputError(
        f"{archive}: refused, its member '{name}' is {why}; nothing of it was unpacked. The archives of the release "
        "hold only image files: this is another archive, remove it"
    )


def _write(member: Member, folder: Path, archive: Path) -> None:
    path = folder / member.name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _refused(archive, member.name, "a name that leads out of the folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(member.content, file, CHUNK)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _refused(archive, member.name, "there twice, or both a file and a folder") from None
    os.utime(path, (member.modified, member.modified))
