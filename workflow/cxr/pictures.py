"""Image files that a user brings, PNG, JPEG or DICOM, as grey pixels of any shape."""

import io
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageOps
from pydicom.pixels import apply_modality_lut, apply_windowing

from cxr.images import UnusableImage, content, grey, require_size, require_whole_png

PNG, JPEG = b"\x89PNG", b"\xff\xd8\xff"
DICOM, DICOM_AT = b"DICM", 128  # behind the preamble
BEYOND = 1e9  # outside every window
GREY = ("MONOCHROME1", "MONOCHROME2")


def decode(path: Path) -> tuple[np.ndarray, str]:
    """Decode a file to grey pixels (H, W) uint8, and say what it is: PNG, JPEG or DICOM, by its content.

    Colour becomes luminance (ITU-R 601-2), alpha is ignored, 16-bit PNG values are scaled 65535 → 255; a JPEG is turned
    as its EXIF says. DICOM: rescale, then VOI LUT or (first) window where there is one, else from the lowest to the
    highest value without padding; MONOCHROME1 is inverted. Raises UnusableImage with the reason.
    """
    data = content(path)
    try:
        if data[DICOM_AT : DICOM_AT + len(DICOM)] == DICOM:
            pixels, kind = _dicom(path, data), "DICOM"
        elif data.startswith(PNG):
            require_whole_png(path, data)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                pixels, kind = grey(image), "PNG"
        elif data.startswith(JPEG):
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                image.load()
                pixels, kind = grey(ImageOps.exif_transpose(image)), "JPEG"
        else:
            raise UnusableImage(path, "neither PNG, JPEG nor DICOM", "by the first bytes of the file")
    except UnusableImage:
        raise
    except Exception as error:  # Pillow and pydicom raise dozens of types for a damaged file
        raise UnusableImage(path, "unreadable", " ".join(str(error).split())[:200]) from None
    require_size(path, pixels.shape[1], pixels.shape[0])
    return pixels, kind


def _dicom(path: Path, data: bytes) -> np.ndarray:
    header = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in header:
        raise UnusableImage(path, "a DICOM file without an image")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UnusableImage(path, "more than one frame", f"{header.NumberOfFrames} frames; give one image a file")
    kind = str(header.get("PhotometricInterpretation", ""))
    values = header.pixel_array
    if values.ndim == 3 and values.dtype == np.uint8:  # pydicom has made RGB of it
        return grey(Image.fromarray(values))
    if kind not in GREY or values.ndim != 2:
        raise UnusableImage(path, "not a grey DICOM image", kind)
    padding = header.get("PixelPaddingValue")
    real = values[values != padding] if padding is not None else values
    values = apply_modality_lut(values, header).astype(np.float64)
    if header.get("VOILUTSequence"):
        table = header.VOILUTSequence[0]
        low, high = 0.0, 2.0 ** int(table.LUTDescriptor[2]) - 1
        values = _looked_up(values, table)
    elif "WindowCenter" in header and "WindowWidth" in header:
        low, high = apply_windowing(np.array([-BEYOND, BEYOND]), header, index=0)
        values = apply_windowing(values, header, index=0)
    else:
        ends = apply_modality_lut(np.array([real.min(), real.max()] if real.size else [0, 0]), header)
        low, high = float(ends.min()), float(ends.max())
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.rint(255 * (1 - share if kind == "MONOCHROME1" else share)).astype(np.uint8)


def _looked_up(values: np.ndarray, table: pydicom.Dataset) -> np.ndarray:
    """Look values up in a VOI LUT; pydicom's own function wraps the places of 8-bit tables at 256 (3.0.2)."""
    data = table.LUTData
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
    place = np.rint(values).astype(np.int64) - int(table.LUTDescriptor[1])
    return entries[np.clip(place, 0, len(entries) - 1)].astype(np.float64)
