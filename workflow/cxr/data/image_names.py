"""The canonical name of an image, however a table or a folder writes it: ``00000013_005.png``."""

import re

ENDINGS = ("png", "jpg", "jpeg", "jpe", "jp2", "bmp", "gif", "tif", "tiff", "webp", "dcm", "dicom", "npy")
KNOWN_ENDING = re.compile(rf"\.(?:{'|'.join(ENDINGS)})$", re.IGNORECASE)


def canonical(text: str) -> str:
    """Return an image's canonical name: no folder, no blanks around it, the ending ".png"; the stem is unchanged.

    ``images_001/images/00000013_005.PNG``, ``images\\00000013_005.jpg`` and ``00000013_005`` all give
    ``00000013_005.png``. An ending that no image format has counts as part of the stem. "" if there is no stem.
    """
    name = re.split(r"[/\\]", text)[-1].strip()
    stem = KNOWN_ENDING.sub("", name).rstrip()
    return f"{stem}.png" if stem else ""
