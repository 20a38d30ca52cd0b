"""PNG files as grey values, 16-bit values included: the facts in their chunks, and how many bits of 16 count.

The values of a 16-bit PNG seldom fill 16 bits: a radiograph's have 10 to 14, and many writers store them unscaled,
which according to the format is a nearly black picture. How many bits count is decided, in this order, by

1. the file: its sBIT chunk. If no value is above 2^b - 1, the values are stored unscaled, b bits wide; else they are
   scaled to the full 16 bits, as the specification requires;
2. the folder, for all files without sBIT together (`readings`).

gAMA, colour profiles and tRNS change nothing, as in the libraries that read the release; alpha is ignored.
"""

import io
import os
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from cxr.data.formats import bands
from cxr.data.formats.bounds import MOST_BYTES
from cxr.runtime import regular

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
HEADER = 33  # bytes: the signature and the first chunk
COLOURS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # colour type → samples without alpha
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type → stored samples, including alpha
GREY, GREY_ALPHA = 0, 4
MOST_CHUNKS = 1_000_000  # a file of 400 MB has fewer, even in the chunks of 8 kB that most writers make
MOST_EXIF = 1 << 16  # bytes; JPEG, where EXIF comes from, has no room for more
WIDTHS = (8, 10, 12, 14, 16)  # bits that stored values may have
STRAY = 10_000  # one pixel in this many may exceed the bits that count: hot pixels of the detector, which become white
LUMINANCE = (19595, 38470, 7471)  # ITU-R 601-2 in 65536ths, as in Pillow
# Lower bytes: 16-bit samples are read as if in the other byte order; grey and alpha as four bytes.
LOWER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation → what makes the picture upright
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: pixels[::-1].T,
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: pixels.T[::-1],
}


@dataclass(frozen=True)
class Facts:
    """Facts from the chunks of a PNG: stored size in px, bits per sample, colour type, sBIT (0: none), orientation."""

    width: int
    height: int
    depth: int
    colour: int
    stated: int = 0
    orientation: int = 1

    @property
    def deep(self) -> bool:
        return self.depth == 16

    @property
    def bits(self) -> int:
        """Bits per decoded pixel, all samples together."""
        return SAMPLES.get(self.colour, 4) * max(self.depth, 8)


def facts(data: bytes) -> Facts:
    """Read the chunks of a PNG file from its bytes. Raises ValueError if they are not a PNG.

    An invalid sBIT and an unreadable EXIF block are ignored.
    """
    return _facts(lambda at, count: data[at : at + count], len(data))


def facts_of(path: Path) -> Facts:
    """Read the chunks of a file without reading its pixels. Raises ValueError or OSError.

    Does not use a memory map: if a file is cut off meanwhile, reading from the map would kill the process.
    """
    with regular.opened(path, MOST_BYTES) as it:
        return _facts(lambda at, count: os.pread(it.file.fileno(), count, at), it.size)


def header(start: bytes) -> Facts:
    """Read the size, depth and colour type of a PNG file from its first 33 bytes. Raises ValueError as `facts`."""
    if start[:8] != SIGNATURE or start[12:16] != b"IHDR" or len(start) < HEADER:
        raise ValueError("not a PNG file")
    return Facts(*struct.unpack_from(">IIBB", start, 16))


def _facts(read: Callable[[int, int], bytes], size: int) -> Facts:
    """Read the chunks of a file of size bytes. read(offset, count): returns the bytes there."""
    first = header(read(0, HEADER))
    stated, orientation, at = 0, 1, len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", read(at, 8).ljust(8, b"\0"))
        if kind == b"sBIT":
            stated = max(read(at + 8, min(length, COLOURS.get(first.colour, 0))), default=0)
        elif kind == b"eXIf":
            orientation = _orientation(read(at + 8, min(length, MOST_EXIF)))
        at += 12 + length
        if kind == b"IEND" or at + 12 > size:
            return replace(first, stated=stated if stated <= first.depth else 0, orientation=orientation)
    raise ValueError(f"more than {MOST_CHUNKS:,} chunks")


def _orientation(block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises several types; an unreadable block turns no picture
        return 1
    return value if value in TURNS else 1


def values(data: bytes, stated: Facts) -> tuple[np.ndarray, str]:
    """Decode a PNG file to grey values (H, W), upright; also return its Pillow mode.

    uint8 if a sample has up to 8 bits (fewer are scaled to 0…255), uint16 as stored if it has 16. Colour becomes
    luminance (ITU-R 601-2). Raises Pillow's exceptions for a damaged file.
    """
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        mode = image.mode
        if not stated.deep:
            found = grey(image)
        elif stated.colour == GREY:
            found = np.asarray(image)
        elif stated.colour == GREY_ALPHA:
            quarters = _samples(image, "RGBA")
            found = bands.mapped(
                lambda band: band[..., 0].astype(np.uint16) << 8 | band[..., 1], quarters, dtype=np.uint16
            )
        else:
            (tile,) = image.tile
            with Image.open(io.BytesIO(data), formats=["PNG"]) as again:
                lower = _samples(again, LOWER[tile.args])[..., :3]
            found = bands.mapped(_luminance, np.asarray(image)[..., :3], lower, dtype=np.uint16)
    return TURNS[stated.orientation](found), mode


def _luminance(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return the luminance (H, W) of 16-bit colours; upper, lower: (H, W, 3), the bytes of their samples."""
    deep = upper.astype(np.uint64) << 8 | lower
    return (deep @ np.array(LUMINANCE, np.uint64) + 0x8000) >> 16


def _samples(image: Image.Image, layout: str) -> np.ndarray:
    """Read the pixels of an open image in another layout of the same size: Pillow itself keeps 8 bits of a colour."""
    image.tile = [tile._replace(args=layout) for tile in image.tile]
    return np.asarray(image)


def grey(image: Image.Image) -> np.ndarray:
    """Return a picture of any mode with 8 bits per sample as grey pixels (H, W) uint8; alpha is ignored."""
    return np.asarray(image if image.mode == "L" else image.convert("L"))


# ---- how many bits count


def peak(pixels: np.ndarray) -> int:
    """Return the highest of the values (H, W) uint16 that fits the bits needed by all but one pixel in `STRAY`."""
    counts = np.zeros(1 << 16, np.int64)
    for rows in bands.of(pixels.shape):
        counts += np.bincount(pixels[rows].ravel(), minlength=len(counts))
    rank = pixels.size - 1 - pixels.size // STRAY
    width = needed(int(np.searchsorted(counts.cumsum(), rank, side="right")))
    return int(np.flatnonzero(counts[: 2**width])[-1])


def needed(highest: int) -> int:
    """Return the smallest of `WIDTHS` that holds a value."""
    return next(width for width in WIDTHS if highest < 2**width)


def significant(stated: int, highest: int) -> int:
    """Return how many bits count in a 16-bit file with this sBIT (0: none) and `peak`; 0: unknown."""
    return (stated if highest < 2**stated else 16) if stated else 0


def readings(highest: Collection[int], bits: int = 0) -> dict[int, int]:
    """Return how many bits count in the 16-bit files of a folder that do not state it, from the `peak` of each.

    Returns needed bits → bits that count. The highest peak decides for all files, so that all are shown alike: the
    smallest of `WIDTHS` that holds it. Files whose values are all below a sixteenth of that white would be black: the
    rule is applied to them again. bits: if set, the bits that count instead.
    """
    read, white = {}, 0
    for width in sorted({needed(value) for value in highest}, reverse=True):
        white = bits or (white if white - width in (0, 2) else width)
        read[width] = white
    return read


def picture(data: bytes, bits: int = 0) -> tuple[np.ndarray, int]:
    """Decode a PNG file by itself to grey pixels (H, W) uint8, upright; also return how many bits of a sample counted.

    bits: how many count in a 16-bit file that does not state it; 0: as many as its `peak` needs (`readings` of it alone).
    """
    said = facts(data)
    pixels, _ = values(data, said)
    if not said.deep:
        return pixels, said.depth
    highest = peak(pixels)
    counted = significant(said.stated, highest) or readings([highest], bits)[needed(highest)]
    return scaled(pixels, counted), counted


def scaled(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Return values (H, W) as uint8: uint16 is scaled, rounded, 2^bits - 1 and above is 255; uint8 is unchanged."""
    if pixels.dtype == np.uint8:
        return pixels
    white = 2**bits - 1
    return bands.mapped(
        lambda band: (np.minimum(band, white).astype(np.uint32) * 255 + white // 2) // white,
        pixels,
    )
