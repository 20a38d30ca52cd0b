"""The checksum of one row of stored numbers: cheap enough to be compared whenever a process first reads the row.

XXH3 of 64 bits: it finds damage, not forgery. CRC-32 takes two to five times as long, SHA-256 seven to eleven times
(`benchmarks/checks.py`). A row of zeros has a checksum like any other; NONE, which no row has, says that none is recorded.
"""

import numpy as np
import xxhash

NONE = ""
FORM = "(?:[0-9a-f]{16})?"  # of a recorded checksum, NONE included


def of_bytes(data: bytes) -> str:
    """Return 16 hex digits for some bytes."""
    return xxhash.xxh3_64_hexdigest(data)


def of_row(row: np.ndarray, owner: str = "") -> str:
    """Return 16 hex digits for the bytes of a row. owner: what the numbers belong to; of another owner's they differ."""
    seed = xxhash.xxh3_64_intdigest(owner.encode()) if owner else 0
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(row), seed=seed)
