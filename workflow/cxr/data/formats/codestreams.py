"""The size of a picture from its compressed stream, read before a decoder allocates memory for it.

A stream may state another size than the DICOM header around it. If it states several, the largest counts.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Markers of JPEG and JPEG-LS (ITU-T T.81 table B.1, T.87): frame headers, and markers without a length.
FRAMES = frozenset({*range(0xC0, 0xD0), 0xDE, 0xF7} - {0xC4, 0xC8, 0xCC})
ALONE = frozenset({0x01, *range(0xD0, 0xDA)})
SCAN, END, LINES = b"\xff\xda", b"\xff\xd9", b"\xff\xdc\x00\x04"
LATER_FRAME = re.compile(b"\xff[" + b"".join(b"\\x%02x" % marker for marker in sorted(FRAMES)) + b"]")
MOST_LINES = 0xFFFF
# JPEG 2000 (ITU-T T.800 annex A.5.1): start of a codestream and its size, which follows directly; the palette box.
SIZE, PALETTE = b"\xff\x4f\xff\x51", b"pclr"
J2K_BITS = 32  # OpenJPEG and Pillow keep every sample in 32 bits


@dataclass(frozen=True)
class Size:
    """width and height in px; bits: per pixel, all samples together, as a decoder holds them."""

    width: int
    height: int
    bits: int


def of_jpeg(stream: bytes) -> Size | None:
    """Return the largest size that a JPEG or JPEG-LS stream states; None if it states none.

    A later marker replaces a height of 0; without such a marker it counts as the greatest possible height.
    """
    found = [_frame(stream, at) for at in _frames(stream)]
    return max(found, key=lambda size: size.width * size.height * size.bits, default=None)


def _frames(stream: bytes) -> Iterator[int]:
    """Yield where frame headers begin: segment by segment up to the first scan, after it at each of their markers.

    Compressed pixels cannot contain that marker. Segments can: they may hold a thumbnail.
    """
    at = 0
    while (at := stream.find(b"\xff", at)) >= 0 and at + 4 <= len(stream):
        marker = stream[at + 1]
        if marker in FRAMES:
            yield at
        if stream[at : at + 2] == SCAN:
            end = stream.find(END, at)
            yield from (it.start() for it in LATER_FRAME.finditer(stream, at, end if end >= 0 else len(stream)))
            return
        if marker == 0xFF:
            at += 1
        elif marker == 0 or marker in ALONE:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(stream[at + 2 : at + 4], "big"))


def _frame(stream: bytes, at: int) -> Size:
    precision, height, width, components = struct.unpack(">BHHB", stream[at + 4 : at + 10].ljust(6, b"\0"))
    if not height:
        lines = stream.find(LINES, at)
        height = int.from_bytes(stream[lines + 4 : lines + 6], "big") if lines >= 0 else MOST_LINES
    return Size(width, height, components * (8 if precision <= 8 else 16))


def of_jpeg2000(stream: bytes) -> Size | None:
    """Return the largest size that a JPEG 2000 stream states, bare or within the boxes of a JP2 file; None if none.

    A palette, which a JP2 file may have and DICOM forbids, expands one sample to up to 255, which are counted.
    """
    places = [0] if stream.startswith(SIZE) else [it.start() for it in re.finditer(re.escape(SIZE), stream)]
    found = [_siz(stream, at) for at in places]
    size = max(found, key=lambda size: size.width * size.height * size.bits, default=None)
    if size and PALETTE in stream[: places[0]]:
        return Size(size.width, size.height, max(size.bits, 255 * J2K_BITS))
    return size


def _siz(stream: bytes, at: int) -> Size:
    x1, y1, x0, y0 = struct.unpack(">4I", stream[at + 8 : at + 24].ljust(16, b"\0"))
    (components,) = struct.unpack(">H", stream[at + 40 : at + 42].ljust(2, b"\0"))
    return Size(max(0, x1 - x0), max(0, y1 - y0), components * J2K_BITS)


def unpacked(segment: bytes, most: int) -> int:
    """Return the decoded size in bytes of a segment of DICOM's RLE (PackBits); counting stops above `most`."""
    at = count = 0
    while at < len(segment) and count <= most:
        head = segment[at]
        count += 257 - head if head > 128 else head + 1 if head < 128 else 0
        at += 2 if head > 128 else 2 + head if head < 128 else 1
    return count
