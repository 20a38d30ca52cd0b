"""Elements of a DICOM header that may be missing, empty or nonsense: what cannot be used counts as absent."""

import math
from collections.abc import Sequence

from pydicom import Dataset

MOST_BYTES = 1 << 20  # of an element; the longest that counts, a lookup table, has 1 << 17


def numbers(header: Dataset, keyword: str) -> list[float]:
    """Return the values of an element as numbers, NaN for a value that is none; [] where there is nothing to read."""
    value = _value(header, keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [_number(one) for one in (value if several else [value])] if value is not None and value != "" else []


def number(header: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as a finite number; None where it is absent, empty or not a number."""
    first = next(iter(numbers(header, keyword)), math.nan)
    return first if math.isfinite(first) else None


def word(header: Dataset, keyword: str) -> str:
    """Return a coded string in capitals without blanks around it, "" where there is none."""
    value = _value(header, keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent or empty."""
    value = _value(header, keyword)
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [item for item in value if isinstance(item, Dataset)] if several else []


def too_long(header: Dataset, keyword: str) -> bool:
    """Say whether an element has more bytes than any that counts: its values would be made one by one."""
    held = getattr(header.get_item(keyword), "value", None)  # as it stands in the file
    return isinstance(held, bytes) and len(held) > MOST_BYTES


def _value(header: Dataset, keyword: str) -> object:
    if too_long(header, keyword):
        return None
    try:
        return header.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for, and raises many types for one of a wrong form
        return None


def _number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
