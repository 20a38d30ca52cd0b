"""Where the files of the release lie in a data folder: NIH's own layout, Kaggle's, or Hugging Face's.

    NIH           Data_Entry_2017_v2020.csv …       images/images_001.tar.gz …, images/*.png if unpacked in place
    Kaggle        Data_Entry_2017.csv …             images_001/images/*.png …
    Hugging Face  data/Data_Entry_2017_v2020.csv …  data/images/images_001.zip …

Only these places are checked; no folder is walked. (Images count wherever they lie; see `image_files`.)
"""

import os
import re
from pathlib import Path

from cxr.data.folder import walk
from cxr.errors import InputError

ARCHIVES = (".tar.gz", ".tgz", ".zip")
TABLE_FOLDERS = ("", "data")
TABLES = ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt")
OTHER_NAMES = {"Data_Entry_2017_v2020.csv": ("Data_Entry_2017.csv",)}
IMAGE_FOLDERS = ("", "images", "data", "data/images")
PARTS = tuple(f"images_{number:03d}" for number in range(1, 13))
# Image paths in all layouts: parts in separate folders or together in one, which may be root itself.
IMAGE_PATH = re.compile(rf"(data/)?(images/)?(({'|'.join(PARTS)})/)?(images/)?[^/]+")


def table(root: str | Path, name: str) -> str:
    """Return the path of a table relative to root: the name itself, or its path in a known layout.

    Only official names without a folder are looked for elsewhere: `./BBox_List_2017.csv`, any other name and "" are
    returned unchanged. So is a name that is found nowhere; its reader will report that it is missing.
    """
    if name not in TABLES:
        return name
    candidates = [os.path.join(folder, each) for each in (name, *OTHER_NAMES.get(name, ())) for folder in TABLE_FOLDERS]
    return next((path for path in candidates if os.path.isfile(os.path.join(root, path))), name)


def is_release_image(path: str) -> bool:
    """Whether a path relative to root is that of an image in one of the release's layouts."""
    return IMAGE_PATH.fullmatch(path) is not None


def archive(root: str | Path, part: str) -> Path | None:
    """Return the archive of a part (images_001) below root, or None."""
    places = (Path(root, folder, part + suffix) for folder in IMAGE_FOLDERS for suffix in ARCHIVES)
    return next((path for path in places if path.is_file()), None)


def unpacked(root: str | Path, part: str) -> Path | None:
    """Return the folder that holds the images of a part (images_001), or None."""
    places = (Path(root, folder, part) for folder in IMAGE_FOLDERS)
    return next((path for path in places if _holds_images(path) or _holds_images(path / "images")), None)


def flat(root: str | Path) -> Path | None:
    """Return the folder that holds images of all parts together, or None."""
    places = (Path(root, folder) for folder in (*IMAGE_FOLDERS, "data/images/images"))
    return next((path for path in places if _holds_images(path)), None)


def require_unpacked(root: str | Path) -> None:
    """Raise InputError if root holds image archives but no image: the archives have to be unpacked first."""
    packed = [path for part in PARTS if (path := archive(root, part)) is not None]
    if packed and next(walk(Path(root)), None) is None:
        names = ", ".join(str(path.relative_to(root)) for path in packed)
        raise InputError(
            f"{root}: the images are still packed ({names}), and there is no *.png below this folder: unpack them, or run the "
            "target `download`, which unpacks archives that are here and fetches only what is missing"
        )


def _holds_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.lower().endswith(".png") for entry in entries)
    except OSError:
        return False
