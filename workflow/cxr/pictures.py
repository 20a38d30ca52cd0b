"""Image files that a user brings, PNG, JPEG or DICOM, as grey pixels of any shape."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cxr import dicom, png
from cxr.images import UnusableImage, content, require_size, require_whole_png
from cxr.png import grey

PNG, JPEG = b"\x89PNG", b"\xff\xd8\xff"


def decode(path: Path, bits: int = 0) -> tuple[np.ndarray, str]:
    """Decode a file to grey pixels (H, W) uint8, and say what it is: PNG, JPEG or DICOM, by its content.

    Colour becomes luminance (ITU-R 601-2), alpha is ignored; PNG and JPEG are turned as their EXIF says. bits: that count
    of a 16-bit PNG that does not say it; 0: its own values decide (`png.picture`), not those of files beside it, so that
    what is predicted of a picture does not depend on them. DICOM: the picture that a radiology viewer shows (`dicom`,
    `dicom_grey`). Raises UnusableImage with the reason.
    """
    data = content(path)
    try:
        # First, since what stands before its content may be the start of a picture of another kind.
        if (header := dicom.parse(data)) is not None:
            pixels, kind = dicom.decode(path, header), "DICOM"
        elif data.startswith(PNG):
            require_whole_png(path, data)
            pixels, counted = png.picture(data, bits)
            kind = "PNG" if png.facts(data).depth <= 8 else f"PNG, {counted} of 16 bits"
        elif data.startswith(JPEG):
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                image.load()
                pixels, kind = grey(ImageOps.exif_transpose(image)), "JPEG"
        else:
            raise UnusableImage(path, "neither PNG, JPEG nor DICOM", "by the first bytes of the file")
    except UnusableImage:
        raise
    except Exception as error:  # Pillow and pydicom raise dozens of types for a damaged file
        raise UnusableImage(path, "unreadable", " ".join(str(error).split())) from None
    require_size(path, pixels.shape[1], pixels.shape[0])
    return pixels, kind
