"""Weights files from the user: does the file exist, and is it the intended one."""

import re
from pathlib import Path

from cxr.errors import InputError
from cxr.runtime import regular
from cxr.runtime.checksums import sha256_of

MOST_BYTES = 10_000_000_000  # a ResNet50's take 0.1 GB
SHORTEST_PREFIX = 8  # hex digits; download pages often print no more


def verify(path: Path, sha256: str, what: str) -> Path:
    """Return the path of a weights file after checking that it exists and has the expected SHA-256.

    sha256: the checksum or its first 8 or more hex digits, in either case; "" checks only that the file exists and is not
    empty. what: the weights in words, with the address or name to get them by; it opens every message.
    Raises InputError if the file is missing, a directory, empty, unreadable or another one.
    """
    path = Path(path)
    if sha256 and not re.fullmatch(rf"[0-9a-fA-F]{{{SHORTEST_PREFIX},64}}", sha256):
        raise InputError(
            f"{what}: '{sha256}' is not a SHA-256 checksum; give all 64 hex digits or the first {SHORTEST_PREFIX} or more"
        )
    advice = f"download the file on a machine with network access and put it at {path}, or name another file"
    if not path.exists():
        raise InputError(f"{what}: the file {path} does not exist; {advice}")
    if not path.is_file():
        found = "a directory" if path.is_dir() else regular.kind(path)
        raise InputError(f"{what}: {path} is {found}, not a weights file; {advice}")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"{what}: the file {path} has {path.stat().st_size:,} bytes, more than any weights file; {advice}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{what}: the file {path} is empty: its download was cut off; {advice}")
    if sha256 and not (found := sha256_of(path)).startswith(sha256.lower()):
        raise InputError(
            f"{what}: the file {path} has SHA-256 {found}, expected {sha256.lower()}: it is another file, or damaged; "
            f"{advice}"
        )
    return path
