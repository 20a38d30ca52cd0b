"""The index of the image cache: the place of each image in it, and facts about its file."""

from pathlib import Path

import pandas as pd

from cxr.errors import InputError

INDEX_COLUMNS = {
    "image": "str",
    "path": "str",
    "shard": "int32",
    "row": "int32",
    "checksum": "str",
    "box_shard": "int32",
    "box_row": "int32",
    "box_checksum": "str",
    "width": "int32",
    "height": "int32",
    "mode": "category",
    "digest": "str",
    "status": "category",
    "depth": "int32",
    "stated": "int32",
    "peak": "int32",
    "bits": "int32",
    "orientation": "int32",
}
PLACE = ["shard", "row", "checksum"]
ANEW = "delete the index (data/images.csv) and run again: it decodes only missing and changed images"


def read_index(path: Path) -> pd.DataFrame:
    """Read an index written by `DataFrame.to_csv(path, index=False)`, with the types of `INDEX_COLUMNS`.

    Raises InputError if the file is missing or not an index.
    """
    try:
        return pd.read_csv(path, dtype=INDEX_COLUMNS, usecols=list(INDEX_COLUMNS), keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as an image index ({error}); build the image cache again") from None
