"""Lookup tables in a DICOM header, however their entries are packed.

Kept beside pydicom's own `apply_modality_lut`, `apply_voi` and `apply_color_lut`, because those of 3.0.2 fail on, or
misread, tables of 10 to 15 bits, tables of 8 bits (packed two to a word, or with more than 256 entries), first values
below zero, and palettes in Big Endian files; `tests/data/formats/test_dicom_tables.py` shows each.
"""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from cxr.data.formats.dicom_elements import numbers, too_long

MOST_ENTRIES = 1 << 16  # what a count of 0 means, since the count has 16 bits itself
DEPTHS = (8, 10, 12, 14, 16)  # bits in which devices make grey values


@dataclass(frozen=True)
class Table:
    """A lookup table: value v becomes entries[v - first]; values beyond an end become the entry at that end.

    entries: (N,) int64, from 0; depth: bits of an entry that is full white.
    """

    first: int
    entries: np.ndarray
    depth: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Return the entries of values, int64 of the same shape; values between whole numbers are rounded."""
        places = np.clip(np.rint(values.astype(np.float64)) - self.first, 0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)]

    @property
    def white(self) -> int:
        """The largest entry that its depth allows."""
        return (1 << self.depth) - 1


def read(
    holder: Dataset,
    *,
    little_endian: bool,
    span: tuple[float, float],
    descriptor: str = "LUTDescriptor",
    data: str = "LUTData",
) -> Table | None:
    """Return the table that two elements of a header or of a sequence's item describe, None if they describe none.

    span: the lowest and the highest value that will be looked up. It decides the sign of the descriptor's second value,
    which files write signed or unsigned: as written, unless only the other reading covers any of these values.
    """
    described = numbers(holder, descriptor)
    words = _words(holder, data, little_endian)
    if len(described) != 3 or not np.isfinite(described).all() or not len(words):
        return None
    count, first, claimed = (int(value) for value in described)
    count = count % MOST_ENTRIES or MOST_ENTRIES
    if len(words) < count and len(words) == (count + 1) // 2:  # two 8-bit entries per word, the lower byte first
        words = np.column_stack([words & 0xFF, words >> 8]).ravel()
    entries = words[:count]
    return Table(_first(first, len(entries), span), entries, depth(int(entries.max()), claimed))


def depth(largest: int, claimed: int) -> int:
    """Return the bits of full white of a table, from its largest entry and the bits that its descriptor claims.

    The claim alone is not reliable: some devices write how an entry is stored (16 bits) instead of what it holds (12), and
    the picture comes out nearly black. A largest entry of n ones means n bits. Any other means the smallest depth that
    devices use and that holds it, but no more than claimed. So a table that never reaches half of its range on purpose
    stays as dark as it was made, unless it is so dark that another depth explains it.
    """
    needed = largest.bit_length()
    if needed and largest == (1 << needed) - 1:
        return needed
    least = next((bits for bits in DEPTHS if bits >= needed), needed)
    return min(least, claimed) if claimed >= needed and claimed > 0 else least


def _words(holder: Dataset, keyword: str, little_endian: bool) -> np.ndarray:
    """Return the 16-bit words of a table, (N,) int64 from 0, empty if there are none."""
    value = None if too_long(holder, keyword) else holder.get(keyword)
    if isinstance(value, bytes):
        value = np.frombuffer(value + bytes(len(value) % 2), "<u2" if little_endian else ">u2")
    elif value is None:
        value = []
    return np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF


def _first(first: int, count: int, span: tuple[float, float]) -> int:
    def covers(start: int) -> bool:
        return start <= span[1] and start + count > span[0]

    other = first + MOST_ENTRIES if first < 0 else first - MOST_ENTRIES
    return other if covers(other) and not covers(first) else first
