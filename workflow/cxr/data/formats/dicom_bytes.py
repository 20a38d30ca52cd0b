"""The bytes of a DICOM file for pydicom: inflated within bounds, read in a bounded number of parts.

pydicom itself inflates a deflated file to any size, and makes an object of every element; 100 MB can hold twelve million
elements.
"""

import io
import zlib

from cxr.data.formats.bounds import MOST_BYTES
from cxr.runtime.regular import Irregular

META = b"\x02\x00"  # group of the file meta information, always explicit and little endian
SYNTAX = b"\x10\x00"  # element of that group: the transfer syntax
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"  # Explicit VR Little Endian, deflated and plain
STEP = 1 << 24  # bytes
MOST_PARTS = 300_000  # a radiograph has a few hundred elements, each read in one to three parts


class Parts(io.BytesIO):
    """Bytes of a file that pydicom reads part by part. Raises Irregular if it reads too many, or everything at once."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.left = MOST_PARTS

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:  # pydicom does so to inflate; `inflated` missed the transfer syntax
            raise Irregular("unreadable", "its meta information is damaged; export the image again")
        self.left -= 1
        if self.left < 0:
            raise Irregular("a DICOM header of too many elements", "export the image again without them")
        return super().read(size)


def inflated(data: bytes, start: int) -> bytes:
    """Return a file unchanged, or, if it is deflated, as an equal file in Explicit VR Little Endian.

    start: where its meta information begins. Raises Irregular if it inflates to more than `MOST_BYTES`, ValueError if
    the deflated bytes are damaged.
    """
    at, value = start, 0
    while data[at : at + 2] == META:
        long = data[at + 4 : at + 6] in LONG
        head = 12 if long else 8
        length = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
        if data[at + 2 : at + 4] == SYNTAX and data[at + head : at + head + length].rstrip(b"\0 ") == DEFLATED:
            value = at + head
        at += head + length
    if not value:
        return data
    plain = data[: value - 2] + len(PLAIN).to_bytes(2, "little") + PLAIN + data[value + len(DEFLATED) : at]
    return plain + _inflated(memoryview(data)[at:])


def _inflated(packed: memoryview) -> bytes:
    """Inflate, after counting the resulting bytes, so that a decompression bomb takes no memory."""
    stream, held, count = zlib.decompressobj(-zlib.MAX_WBITS), packed, 0
    try:
        while held and not stream.eof:
            count += len(stream.decompress(held, STEP))
            held = stream.unconsumed_tail
            if count > MOST_BYTES:
                told = "no radiograph is this large; export the image again"
                raise Irregular(f"larger than {MOST_BYTES / 1e6:.0f} MB when inflated", told)
        return zlib.decompress(packed, -zlib.MAX_WBITS, count)
    except zlib.error as error:
        raise ValueError(f"its deflated content is damaged ({error})") from None
