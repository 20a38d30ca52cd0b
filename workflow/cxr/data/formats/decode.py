"""One image file of the release as grey pixels, or the reason why it cannot be used."""

import hashlib
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from cxr.data.formats import bounds, png
from cxr.errors import InputError
from cxr.runtime import regular
from cxr.runtime.journal import legible

SMALLEST_SIDE = 64  # px; anything smaller is a thumbnail or an icon, not a radiograph
LARGE = 16_000_000  # px; decoding several of these at a time would dominate the memory that all workers need
LARGE_FILE = 64_000_000  # bytes
ONE_LARGE = threading.Lock()


class UnusableImage(InputError):
    """An image that cannot be used: `reason` is the same text for the same kind of problem, `detail` describes this
    case; sizes are 0 if unknown."""

    def __init__(self, path: Path, reason: str, detail: str = "", width: int = 0, height: int = 0):
        why = f"{reason} ({detail})" if detail else reason
        super().__init__(f"{legible(path)}: {why}: replace the file or remove it")
        self.reason, self.detail, self.width, self.height = reason, detail, width, height


def decode(path: Path) -> tuple[np.ndarray, str, png.Facts]:
    """Decode a PNG to grey values (H, W), uint8 or uint16 as stored (`png.values`); also return its mode and facts.

    The mode is Pillow's. Only one thread at a time decodes a large picture (`LARGE`): that takes up to 1.2 GB, any other
    up to 0.3 GB, the result at most 0.2 GB. Raises UnusableImage with reason "missing", "zero bytes", "truncated",
    "unreadable", "not square", "smaller than 64 px", or a reason of `content` or `bounds.objection`.
    """
    with ONE_LARGE if _is_large(path) else nullcontext():
        data = content(path)
        require_whole_png(path, data)
        try:
            facts = png.facts(data)
            require_radiograph(path, facts)
            return *png.values(data, facts), facts
        except UnusableImage:
            raise
        except Exception as error:  # for a damaged file Pillow raises a dozen types, from struct.error to SyntaxError
            raise UnusableImage(path, "unreadable", str(error)) from None


def _is_large(path: Path) -> bool:
    try:
        with regular.opened(path, bounds.MOST_BYTES) as it:
            facts = png.header(it.file.read(png.HEADER))
            return it.size > LARGE_FILE or facts.width * facts.height > LARGE
    except (OSError, ValueError):
        return False  # `decode` will report what is wrong before it decodes anything


def content(path: Path) -> bytes:
    """Return the bytes of a file of at most `bounds.MOST_BYTES`.

    Raises UnusableImage if it is missing, unreadable, empty, too large or not a regular file (`regular.Irregular`).
    """
    try:
        data = regular.content(path, bounds.MOST_BYTES)
    except FileNotFoundError:
        raise UnusableImage(path, "missing") from None
    except OSError as error:
        raise UnusableImage(path, "unreadable", error.strerror or "") from None
    except regular.Irregular as error:
        raise UnusableImage(path, error.reason, error.detail) from None
    if not data:
        raise UnusableImage(path, "zero bytes")
    return data


def require_whole_png(path: Path, data: bytes) -> None:
    """Raise UnusableImage if the bytes are not a whole PNG file."""
    if not data.startswith(png.SIGNATURE[: len(data)]):
        raise UnusableImage(path, "unreadable", "not a PNG file")
    # Checked here, because a library may have switched off Pillow's own check for the whole process.
    if png.END not in data:
        raise UnusableImage(path, "truncated", f"ends after {len(data)} bytes")


def require_radiograph(path: Path, facts: png.Facts) -> None:
    """Raise UnusableImage if a picture is larger than any radiograph, not square, or an icon."""
    require_bounded(path, facts.width, facts.height, facts.bits)
    if facts.width != facts.height:
        raise UnusableImage(path, "not square", f"{facts.width}x{facts.height}", facts.width, facts.height)
    require_size(path, facts.width, facts.height)


def require_bounded(path: Path, width: int, height: int, bits: int) -> None:
    """Raise UnusableImage for a picture that is larger than any radiograph; bits: see `bounds.objection`."""
    if objection := bounds.objection(width, height, bits):
        raise UnusableImage(path, *objection)


def require_size(path: Path, width: int, height: int) -> None:
    """Raise UnusableImage if a picture is so small that it is an icon, not a radiograph."""
    if min(width, height) < SMALLEST_SIDE:
        raise UnusableImage(path, f"smaller than {SMALLEST_SIDE} px", f"{width}x{height}", width, height)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize pixels (H, W) uint8 to (side, side) uint8.

    Shrinking takes the rounded mean of the pixels under each output pixel (if side does not divide the size: of those
    whose centres lie under it); enlarging is bilinear; a picture of that size is returned unchanged.
    """
    height, width = pixels.shape
    if height == width == side:
        return pixels
    image = Image.fromarray(pixels)
    if min(height, width) < side:
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    if height % side == 0 and width % side == 0:
        return np.asarray(image.reduce((width // side, height // side)))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def digest_of(pixels: np.ndarray) -> str:
    """Return 16 hex digits that identify grey pixels (H, W) uint8, shape included."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()
