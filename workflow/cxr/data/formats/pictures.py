"""Image files of a user, PNG, JPEG or DICOM, as grey pixels of any shape."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cxr.data.formats import codestreams, dicom, memory, png
from cxr.data.formats.decode import UnusableImage, content, require_bounded, require_size, require_whole_png
from cxr.data.formats.png import grey

PNG, JPEG = b"\x89PNG", b"\xff\xd8\xff"
MOST_SCANS = 100  # of a progressive JPEG, each of which covers the whole picture; writers make about ten
MOST_MEMORY = 2_000_000_000  # bytes; a picture at the bounds takes up to 1.6 GB


def decode(path: Path, bits: int = 0) -> tuple[np.ndarray, str]:
    """Decode a file to grey pixels (H, W) uint8, and return its format by content: PNG, JPEG or DICOM.

    Colour becomes luminance (ITU-R 601-2), alpha is ignored; PNG and JPEG are turned as their EXIF says. bits: how many
    count in a 16-bit PNG that does not state it; 0: its own values decide (`png.picture`), not those of other files, so
    that a prediction does not depend on them. DICOM: the picture that a radiology viewer shows (`dicom`, `dicom_grey`).
    Decoding may take `MOST_MEMORY` bytes, other threads of the process included. Raises UnusableImage with the reason.
    """
    try:
        with memory.bounded(MOST_MEMORY):
            pixels, kind = _decoded(path, content(path), bits)
    except UnusableImage:
        raise
    except MemoryError:
        told = f"more than {MOST_MEMORY / 1e9:.0f} GB; export the image again"
        raise UnusableImage(path, "takes too much memory to decode", told) from None
    except Exception as error:  # Pillow and pydicom raise dozens of types for a damaged file
        raise UnusableImage(path, "unreadable", " ".join(str(error).split())) from None
    require_size(path, pixels.shape[1], pixels.shape[0])
    return pixels, kind


def _decoded(path: Path, data: bytes, bits: int) -> tuple[np.ndarray, str]:
    # DICOM first, since its preamble may be the start of another kind of picture.
    if (header := dicom.parse(path, data)) is not None:
        del data  # the header has its own copy
        return dicom.decode(path, header), "DICOM"
    if data.startswith(PNG):
        require_whole_png(path, data)
        said = png.header(data)
        require_bounded(path, said.width, said.height, said.bits)
        pixels, counted = png.picture(data, bits)
        return pixels, "PNG" if said.depth <= 8 else f"PNG, {counted} of 16 bits"
    if data.startswith(JPEG):
        _require_ordinary_jpeg(path, data)
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            return grey(ImageOps.exif_transpose(image)), "JPEG"
    raise UnusableImage(path, "neither PNG, JPEG nor DICOM", "by the first bytes of the file")


def _require_ordinary_jpeg(path: Path, data: bytes) -> None:
    if size := codestreams.of_jpeg(data):
        require_bounded(path, size.width, size.height, size.bits)
    if data.count(codestreams.SCAN) > MOST_SCANS:
        raise UnusableImage(path, "unreadable", f"a JPEG of more than {MOST_SCANS} scans; save it again")
