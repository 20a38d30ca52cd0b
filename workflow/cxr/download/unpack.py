"""Safe unpacking of an archive (tar.gz, zip) into a new folder: all of it or nothing, and nothing outside.

Members are regular files with relative names below the folder. Any link, device or name that leads elsewhere causes the
whole archive to be refused, where `tarfile` and `zipfile` alone would follow, rename or skip it. So do more members,
headers or unpacked bytes than any archive of the release holds. Files are written to a temporary folder beside the target,
which takes the target's name at the end.
"""

import gzip
import io
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
from cxr.runtime.journal import Journal, Progress

CHUNK = 1 << 20
MEMBERS = 200_000  # more than all images of the release, 112,120
NAME = 255  # bytes of a member's name, with its folders; the release's have 23
HEADER = 1 << 20  # bytes before one member: its names and attributes
HEADERS = (
    16 << 20
)  # bytes of headers beyond 512 per member, or of a zip's table of contents: about 20 MB for 200,000 members
GROWTH = 2  # unpacked bytes per byte of the archive; PNG files are compressed already and give about 1
ALLOWANCE = 64_000_000  # unpacked bytes allowed for any archive, however small
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take gigabytes of memory
DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,  # an unknown zip method
    RuntimeError,  # an encrypted zip
    ValueError,  # an invalid number, such as a time; InputError is not a ValueError
    OverflowError,
)


class DamagedArchive(InputError):
    """The archive cannot be read to its end."""


def unpack(archive: Path, target: Path, tell: Journal, expected: int | None = None) -> int:
    """Unpack the regular files of an archive into the folder target and return their number.

    target must not exist or be empty. expected: bytes of the release's archive, if known: if this archive is larger, they
    set the limit of what may be unpacked (`GROWTH`). Modification times are the archive's, so that unpacking it again
    gives files that look the same. What an earlier, killed run left is removed. Raises DamagedArchive if the archive ends
    early or is not an archive, InputError if a member is refused or a limit is exceeded; in all cases nothing of it stays.
    """
    temporary = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    progress = Progress(tell, "MB", interval=30.0)
    total = archive.stat().st_size
    most = GROWTH * min(total, expected or total) + ALLOWANCE
    count = 0
    try:
        with _Guarded(archive) as file:
            members = (_zipped if archive.suffix == ".zip" else _tarred)(archive, file, temporary, most)
            for number, written in enumerate(members, 1):
                count += written
                if number > MEMBERS:
                    raise _refusal(archive, f"it has more than {MEMBERS} members")
                progress(file.tell() // 10**6, max(total // 10**6, 1) + 1)
        if not count:
            raise DamagedArchive(f"{archive}: contains no files; expected the images of the release")
        os.rename(temporary, target)
    except DAMAGED as error:
        raise DamagedArchive(
            f"{archive}: damaged, reading stopped after {count} files ({type(error).__name__}: {error}); "
            "nothing was unpacked. Remove this file and download it again"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    tell(f"{archive.name}: {count} files unpacked into {target}")
    return count


class _Guarded(io.BufferedReader):
    """An archive's file of which at most HEADERS bytes are read at once; a zip's table of contents is one such read."""

    def __init__(self, archive: Path):
        super().__init__(io.FileIO(archive))
        self.archive = archive

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        if (left if size is None or size < 0 else min(size, left)) > HEADERS:
            raise _refusal(self.archive, f"its table of contents has more than {HEADERS} bytes")
        return super().read(size)


class _Metered:
    """The unpacked stream of a tar.gz: at most `most` bytes in all, and HEADER before a member while `in_header` is set."""

    def __init__(self, archive: Path, stream: IO[bytes], most: int):
        self.archive, self.stream, self.most = archive, stream, most
        self.all = self.since = 0
        self.in_header = True  # of the first member, which is read when the tar is opened

    def read(self, size: int) -> bytes:
        chunk = self.stream.read(size)
        self.all, self.since = self.all + len(chunk), self.since + len(chunk)
        if self.all > self.most:
            raise _refusal(self.archive, f"it unpacks to more than {self.most} bytes")
        if self.in_header and self.since > HEADER:
            raise _refusal(self.archive, f"a member's names and attributes have more than {HEADER} bytes")
        return chunk

    def next(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """Return the next member, reading no more than its header."""
        self.since, self.in_header = 0, True
        item = tar.next()
        self.in_header = False
        tar.members.clear()  # tarfile would keep them all
        return item


def _tarred(archive: Path, file: IO[bytes], folder: Path, most: int) -> Iterator[bool]:
    """Write the files of a tar.gz one by one; yield for each member whether it was a file."""
    with gzip.GzipFile(fileobj=file) as stream:
        metered = _Metered(archive, stream, most)
        end = headers = 0
        with tarfile.open(fileobj=metered, mode="r|") as tar:
            while (item := metered.next(tar)) is not None:
                headers += item.offset_data - end - tarfile.BLOCKSIZE
                end = item.offset_data + (-(-item.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if item.isreg() else 0)
                if headers > HEADERS:
                    raise _refusal(archive, f"its members' names and attributes have more than {HEADERS} bytes")
                wanted = _wanted(archive, folder, item.name, item.isdir(), _kind(item))
                if wanted:
                    tar.extract(item.replace(mode=None, deep=False), folder, filter="data")
                yield wanted
        while metered.read(CHUNK):  # to the end, where gzip compares the checksum
            pass


def _kind(item: tarfile.TarInfo) -> str:
    """Describe what a member of a tar is, "" for a regular file."""
    if item.isreg():
        return "a file with holes" if item.issparse() else ""
    return "a symbolic link" if item.issym() else "a link" if item.islnk() else "a device or special file"


def _zipped(archive: Path, file: IO[bytes], folder: Path, most: int) -> Iterator[bool]:
    """Write the files of a zip one by one, with their times, which `zipfile` leaves out; yield as `_tarred` does."""
    size = 0
    with zipfile.ZipFile(file) as whole:
        for item in whole.infolist():
            special = stat.S_IFMT(item.external_attr >> 16) not in (0, stat.S_IFREG)
            wrong = "a link or special file" if special else ""
            wrong = wrong or ("" if item.compress_type in METHODS else "compressed by another method than deflate")
            size += item.file_size
            if size > most:
                raise _refusal(archive, f"it unpacks to more than {most} bytes")
            wanted = _wanted(archive, folder, item.orig_filename, item.is_dir(), wrong)
            if wanted:
                modified = time.mktime((*item.date_time, 0, 0, -1))
                os.utime(whole.extract(item, folder), (modified, modified))
            yield wanted


def _wanted(archive: Path, folder: Path, name: str, is_folder: bool, wrong: str) -> bool:
    """Return whether a member is a file to write; raise InputError if the archive is refused for it (`wrong`: why)."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or (not path.parts and name != "."):
        wrong = "a name that leads out of the folder"
    elif len(os.fsencode(name)) > NAME:
        wrong = f"a name of more than {NAME} bytes"
    elif is_folder:
        return False
    elif (folder / name).exists() or any((folder / above).is_file() for above in path.parents):
        wrong = wrong or "a duplicate, or both a file and a folder"
    if wrong:
        raise _refusal(archive, f"its member '{name[:NAME]}' is {wrong}")
    return True


def _refusal(archive: Path, why: str) -> InputError:
    return InputError(
        f"{archive}: refused, {why}; nothing was unpacked. The archives of the release contain only image files and are hardly "
        "larger when unpacked: this is another archive. Remove it, or unpack it by hand if you know what it is"
    )
