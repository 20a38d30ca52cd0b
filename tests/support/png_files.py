"""PNG files written byte by byte, of every kind the format has: the libraries write only some."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    samples: np.ndarray,
    depth: int,
    colour: int,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    after: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:
    """Return a PNG file of samples (H, W) or (H, W, channels); chunks stand before the pixels, those of after behind."""
    height, width = samples.shape[:2]
    planes = samples.reshape(height, width, -1)
    parts = [planes[y::down, x::right] for y, x, down, right in PASSES] if interlaced else [planes]
    rows = b"".join(b"\0" + _row(row.ravel(), depth) for part in parts for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    content = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*it) for it in content)


def _row(samples: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return samples.astype(">u2").tobytes()
    bits = (samples[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def orientation(value: int) -> tuple[bytes, bytes]:
    """An eXIf chunk with this orientation and nothing else."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, value, 0)
    return b"eXIf", b"MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + bytes(4)


def blank(
    width: int, height: int, depth: int = 8, colour: int = 0, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return a PNG file of zeros, which is small however large the picture is, and is never in memory as a whole."""
    row = 1 + (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth + 7) // 8
    packer, left, packed = zlib.compressobj(1), row * height, []
    while left > 0:
        packed.append(packer.compress(bytes(min(left, 1 << 20))))
        left -= 1 << 20
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = b"".join([*packed, packer.flush()])
    content = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*it) for it in content)
