"""Elements of a DICOM header that may be missing, empty or invalid: an unusable element counts as absent."""

import math
from collections.abc import Sequence

from pydicom import Dataset

MOST_BYTES = 1 << 20  # of an element; the longest one in use, a lookup table, has 1 << 17


def numbers(header: Dataset, keyword: str) -> list[float]:
    """Return the values of an element as numbers, NaN for a value that is not a number; [] if there are no values."""
    value = _value(header, keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [_number(one) for one in (value if several else [value])] if value is not None and value != "" else []


def number(header: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as a finite number; None if it is absent, empty or not a number."""
    first = next(iter(numbers(header, keyword)), math.nan)
    return first if math.isfinite(first) else None


def word(header: Dataset, keyword: str) -> str:
    """Return a coded string in capitals without surrounding blanks, "" if there is none."""
    value = _value(header, keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] if it is absent or empty."""
    value = _value(header, keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [item for item in value if isinstance(item, Dataset)] if several else []


def too_long(header: Dataset, keyword: str) -> bool:
    """Whether an element is longer than any in use: pydicom would convert its values one by one."""
    held = getattr(header.get_item(keyword), "value", None)  # as stored in the file
    return isinstance(held, bytes) and len(held) > MOST_BYTES


def _value(header: Dataset, keyword: str) -> object:
    if too_long(header, keyword):
        return None
    try:
        return header.get(keyword)
    except Exception:  # pydicom converts a value on access, and raises many types for malformed ones
        return None


def _number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
