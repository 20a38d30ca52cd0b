"""Checksums of a row of stored numbers, cheap enough to compare at every first read, and of a file.

A row's checksum is 64-bit XXH3: it finds damage, not forgery. CRC-32 takes two to five times as long, SHA-256 seven to
eleven times (`benchmarks/checks.py`). A row of zeros has a checksum like any other; NONE, which no row has, means that
none is recorded.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import xxhash

from cxr.errors import InputError
from cxr.runtime import regular

NONE = ""
FORM = "(?:[0-9a-f]{16})?"  # of a recorded checksum, NONE included


def of_bytes(data: bytes) -> str:
    """Return the checksum of bytes, 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(data)


def of_row(row: np.ndarray, owner: str = "") -> str:
    """Return the checksum of a row, 16 hex digits. owner: what the numbers belong to; another owner's checksum differs."""
    seed = xxhash.xxh3_64_intdigest(owner.encode()) if owner else 0
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(row), seed=seed)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits. Raises InputError if it cannot be read, or is not a regular file."""
    try:
        with regular.opened(Path(path), sys.maxsize) as it:
            return hashlib.file_digest(it.file, "sha256").hexdigest()
    except regular.Irregular as error:
        raise InputError(f"{path}: {error}; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
