"""The box list of another data set, in the release's form: boxes in the pixels of each image, under our labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS
from cxr.data import box_list, tables
from cxr.data.external_table import placed
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS, official_label

EXPECTED = "a list of boxes: Image Index, Finding Label, Bbox [x,y,w,h]"


@dataclass(frozen=True)
class ExternalBoxes:
    """boxes: image (as in the folder), label, x0, y0, x1, y1 in pixels of the image, end exclusive. notes: what is left out."""

    boxes: pd.DataFrame
    notes: tuple[str, ...]


def read_boxes(path: Path, names: Mapping[str, str], index: pd.DataFrame, side: int) -> ExternalBoxes:
    """Read a box list in one of the forms of `box_list.FORMS`.

    names: their labels (`external_names.read_names`). index: of the folder's images (image, width, height in pixels). side: of the
    square in whose pixels the boxes are given; 0: those of each image. Boxes on images that are not in the folder, and of labels
    that are not used or have no boxes in a study, are left out and counted. Raises InputError, naming the row, for unknown
    labels, and for boxes that are no numbers, have no area, or lie outside the image.
    """
    sheet = tables.read_sheet(path, EXPECTED, box_list.SPELLINGS)
    form, columns = box_list.form_of(sheet)
    labels = _labels(path, sheet.rows[columns["Finding Label"]], names)
    images = placed(path, sheet.rows[columns["Image Index"]], index["image"].tolist())
    places = [at for name, at in columns.items() if name not in box_list.NAMES]
    written = np.stack([tables.numbers(sheet.rows[at]).to_numpy() for at in places], axis=1)
    boxes = box_list.corner_and_size(written, form)
    found = pd.DataFrame(
        np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), columns=CORNERS, index=sheet.rows.index
    )
    found = found.assign(image=images, label=labels)
    drawable = found["label"].isin(BOXED_FINDINGS).to_numpy()
    here = (found["image"] != "").to_numpy()
    left_out = {"are of labels without boxes here": ~drawable, "are not in the folder": ~here}
    notes = [
        f"{path.name}: {int(which.sum())} of {len(found)} boxes {why}" for why, which in left_out.items() if which.any()
    ]
    kept = found[drawable & here]
    if kept.empty:
        raise InputError(f"{path}: none of its {len(found)} boxes can be used: {'; '.join(notes)}")
    return ExternalBoxes(_clipped(path, kept, index, side), tuple(notes))


def _labels(path: Path, texts: pd.Series, names: Mapping[str, str]) -> list[str]:
    found = []
    for row, text in texts.items():
        label = names.get(text, official_label(text) or None)
        if label is None:
            raise InputError(
                f"{path}: row {row}: label '{text}' is none of the 15 labels; say what it is in the file of names "
                f"(validate.names): '{text}: Effusion', or '{text}:' if it is not to be used"
            )
        found.append(label)
    return found


def _clipped(path: Path, found: pd.DataFrame, index: pd.DataFrame, side: int) -> pd.DataFrame:
    """Bring boxes to pixels of their image, and cut off what sticks out."""
    sizes = index.set_index("image").loc[found["image"], ["width", "height"]].to_numpy(np.float64)
    sizes = np.hstack([sizes, sizes])
    drawn = found[CORNERS].to_numpy(np.float64) * (sizes / side if side else 1)
    clipped = np.clip(drawn, 0, sizes)
    wrong = ~((clipped[:, 2:] - clipped[:, :2]).min(axis=1) > 0)  # also where a number is missing
    if wrong.any():
        at = int(wrong.argmax())
        raise InputError(
            f"{path}: row {found.index[at]}: the box on '{found['image'].iloc[at]}' is no number, has no area, or lies outside the "
            f"image ({sizes[at, 0]:.0f} x {sizes[at, 1]:.0f} px): x0, y0, x1, y1 = {', '.join(f'{it:g}' for it in drawn[at])}; "
            "correct it, or set validate.box_side if the boxes are given in a square of another size"
        )
    return found.assign(**dict(zip(CORNERS, clipped.T, strict=True)))[["image", "label", *CORNERS]].reset_index(
        drop=True
    )
