"""The release's box list: its usable boxes, in the 1024 frame, and why the others are rejected."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, FRAME
from cxr.data import tables
from cxr.data.box_frames import in_shares, judge
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS, official_label

OVERHANG = 1.0  # pixels that a box may stick out of the frame: rounding
SMALLEST = 0.001  # pixels that a side needs to survive the three decimals of the box text
BOX_COLUMNS = ["image", "label", *CORNERS]

# The release's column names → spellings in mirrors, reduced to lower-case letters and digits.
NAMES = {
    "Image Index": (
        *("imageindex", "imageid", "imagename", "imagefilename", "filename", "imagefile", "imagepath", "imagefilepath"),
        *("imgpath", "filepath", "image", "img", "file"),
    ),
    "Finding Label": (
        *(
            "findinglabel",
            "findinglabels",
            "finding",
            "label",
            "labelname",
            "classname",
            "class",
            "category",
            "disease",
        ),
        *("pathology",),
    ),
}
# The columns of a box for each form, in the order read; the first form whose columns are in the table counts.
FORMS: dict[str, tuple[dict[str, tuple[str, ...]], ...]] = {
    "size": ({"Bbox [x": ("bboxx", "x"), "y": ("y", "bboxy"), "w": ("w", "bboxw"), "h]": ("h", "bboxh")},),
    "corners": (
        {
            "x0": ("x0", "xmin", "bboxx0", "bboxxmin", "left"),
            "y0": ("y0", "ymin", "bboxy0", "bboxymin", "top"),
            "x1": ("x1", "xmax", "bboxx1", "bboxxmax", "right"),
            "y1": ("y1", "ymax", "bboxy1", "bboxymax", "bottom"),
        },
        {"x1": ("x1", "bboxx1"), "y1": ("y1", "bboxy1"), "x2": ("x2", "bboxx2"), "y2": ("y2", "bboxy2")},
    ),
    "centre": (
        {
            "x_center": ("xcenter", "xcentre", "centerx", "centrex", "cx", "xc"),
            "y_center": ("ycenter", "ycentre", "centery", "centrey", "cy", "yc"),
            "w": ("w", "width", "bboxw", "bboxwidth"),
            "h": ("h", "height", "bboxh", "bboxheight"),
        },
    ),
    "size by other names": (
        {
            "x": ("x", "bboxx", "xmin", "bboxxmin", "left"),
            "y": ("y", "bboxy", "ymin", "bboxymin", "top"),
            "w": ("w", "bboxw", "width", "bboxwidth"),
            "h": ("h", "bboxh", "height", "bboxheight"),
        },
    ),
}
OFFICIAL = frozenset(
    ["imageindex", "findinglabel", "bboxx", "x", "y", "w", "h"]
)  # the release's, and the columns that pandas users keep
SPELLINGS = frozenset(
    spelling
    for names in (NAMES, *(names for form in FORMS.values() for names in form))
    for spellings in names.values()
    for spelling in spellings
)


@dataclass(frozen=True)
class BoxTable:
    """The content of a box list.

    boxes: in file order with the columns ``BOX_COLUMNS`` (canonical image names, labels in the label table's spelling,
    corners in the 1024 frame). rejected: rows set aside, with the columns ``REJECTED_COLUMNS`` of `tables`. notes:
    sentences on values that were read differently from how the file spells them, and on doubts about the boxes.
    """

    boxes: pd.DataFrame
    rejected: pd.DataFrame
    notes: tuple[str, ...]


def read_box_table(path: str | Path, known_images: Collection[str] | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a box list as ``inspect_box_table`` does; return its boxes and its rejected rows."""
    table = inspect_box_table(path, known_images)
    return table.boxes, table.rejected


def inspect_box_table(path: str | Path, known_images: Collection[str] | None) -> BoxTable:
    """Read the release's box list, ``BBox_List_2017.csv`` (984 boxes on 880 images, 8 labels, as x, y, w, h).

    known_images: names of the label table, or None to accept any. A box that sticks out of the frame by at most one
    pixel is clipped to it; one that sticks out further is rejected. Columns may have the order and names of mirrors;
    corners and centres are read if the column names say so. Raises InputError if the file is not a box list, its boxes
    are not in the 1024 frame (see `box_frames`), or all rows or more than half (not counting boxes for unknown images)
    are rejected.
    """
    path = Path(path)
    sheet = tables.read_sheet(path, "the box list (BBox_List_2017.csv)", SPELLINGS)
    form, columns = form_of(sheet)
    image_texts, label_texts = (sheet.rows[columns[name]] for name in NAMES)
    images, named = tables.image_names(path.name, image_texts)
    tables.require_ascii(path, sheet, images, "the name of an image")
    labels, spelled = _labels(path.name, label_texts)
    places = [at for name, at in columns.items() if name not in NAMES]
    texts = sheet.rows[places]
    written = np.stack([tables.numbers(sheet.rows[at]).to_numpy() for at in places], axis=1)
    boxes = corner_and_size(written, form)
    verdict = judge(boxes, images.tolist(), labels.tolist())
    what = ", ".join(sheet.header[at].strip("[]").replace("Bbox [", "") for at in places)

    def numbers(position: int) -> str:
        return f"{what} = " + ", ".join(texts.iloc[position])

    if verdict.problem:
        first = int(np.isfinite(boxes).all(axis=1).argmax())
        raise InputError(
            f"{path}: {verdict.problem}. The first box (row {texts.index[first]}) is {numbers(first)}; expected x, y, w, "
            f"h: the upper left corner and the size, in pixels of the {FRAME} x {FRAME} image"
        )
    drawn = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    clipped = np.clip(drawn, 0, FRAME)
    left_over = (clipped[:, 2:] - clipped[:, :2]).min(axis=1)
    extra = tables.surplus(sheet, columns.values())
    corners = pd.DataFrame(clipped, columns=CORNERS, index=texts.index)
    corners.insert(0, "image", images)
    corners.insert(1, "label", labels)
    unknown = np.zeros(len(images), dtype=bool) if known_images is None else ~images.isin(list(known_images)).to_numpy()
    accepted, rejected = tables.set_aside(
        path.name,
        images,
        [
            (extra != "", "too many fields", lambda i: f"'{extra.iloc[i]}'"),
            (images == "", "no image name", lambda i: ""),
            (~np.isfinite(drawn).all(axis=1), "coordinate is not a number", numbers),
            (unknown, "unknown image", lambda i: f"'{image_texts.iloc[i]}' is not in the label table"),
            (
                ~labels.isin(BOXED_FINDINGS),
                "unknown label",
                lambda i: f"'{label_texts.iloc[i]}' is none of {', '.join(BOXED_FINDINGS)}",
            ),
            (boxes[:, 2:].min(axis=1) < SMALLEST, "zero or negative size", numbers),
            (in_shares(boxes), "less than a pixel: shares of the side instead of pixels?", numbers),
            ((np.abs(drawn - clipped).max(axis=1) > OVERHANG) | (left_over < SMALLEST), "outside the frame", numbers),
            (corners.assign(extra=extra).duplicated(), "duplicate row", numbers),
        ],
    )
    _require_boxes(path, rejected, len(images), image_texts, unknown, known_images)
    shaped = {
        "corners": (f"{path.name}: its columns {what} were read as corners",),
        "centre": (f"{path.name}: its columns {what} were read as a box's middle and size",),
    }
    notes = (
        *sheet.notes,
        *tables.renamed(sheet, columns, OFFICIAL),
        *shaped.get(form, ()),
        *named,
        *spelled,
        *_commas(path.name, texts, written),
    )
    notes += tuple(f"{path.name}: {doubt}" for doubt in verdict.doubts)
    return BoxTable(corners[accepted].reset_index(drop=True), rejected, notes)


def form_of(sheet: tables.Sheet) -> tuple[str, dict[str, int]]:
    """Find the columns of a box list and the form of its boxes by their names: "size", "corners" or "centre"."""
    header = {tables.reduced(name) for name in sheet.header}
    for form, choices in FORMS.items():
        for names in choices:
            if all(header & set(spellings) for spellings in names.values()):
                return form.split()[0], tables.find_columns(sheet, NAMES | names)
    return "size", tables.find_columns(sheet, NAMES | FORMS["size"][0])  # raises and names the missing columns


def corner_and_size(written: np.ndarray, form: str) -> np.ndarray:
    """Boxes (N, 4) of a form as x, y, w, h."""
    if form == "corners":
        return np.concatenate([written[:, :2], written[:, 2:] - written[:, :2]], axis=1)
    if form == "centre":
        return np.concatenate([written[:, :2] - written[:, 2:] / 2, written[:, 2:]], axis=1)
    return written


def _labels(table: str, texts: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Labels in the label table's spelling, unknown ones unchanged; and a note if any spelling differed."""
    labels = texts.map(lambda text: official_label(text) or text).astype("str")
    changed = (labels != texts) & (texts != "Infiltrate")  # the release's own spelling in this list
    if not changed.any():
        return labels, ()
    return labels, (
        f"{table}: labels read from another spelling: {changed.sum()}, for example {tables.read_as(texts, labels, changed)}",
    )


def _commas(table: str, texts: pd.DataFrame, written: np.ndarray) -> tuple[str, ...]:
    """A note if numbers have a decimal comma; texts: (N, 4) as in the file, written: (N, 4) their values."""
    comma = texts.apply(lambda column: column.str.contains(",", regex=False)).to_numpy() & np.isfinite(written)
    if not comma.any():
        return ()
    row, column = np.argwhere(comma)[0]
    first = f"'{texts.iloc[row, column]}' (row {texts.index[row]}) as {written[row, column]:.10g}"
    return (f"{table}: numbers read from a decimal comma: {int(comma.sum())}, for example {first}",)


def _require_boxes(
    path: Path,
    rejected: pd.DataFrame,
    rows: int,
    texts: pd.Series,
    unknown: np.ndarray,
    known_images: Collection[str] | None,
) -> None:
    """Raise InputError if no row of a box list is left, or more than half are invalid."""
    if known_images is not None and unknown.all():
        raise InputError(
            f"{path}: {rows} of {rows} boxes are on images that are not in the label table: this list names "
            f"'{texts.iloc[0]}' (row {texts.index[0]}), the label table for example '{min(known_images, default='')}'; "
            "use the two tables of one release, with the same image names (folders and endings may differ)"
        )
    bad = int((rejected["reason"] != "unknown image").sum())
    if len(rejected) == rows or 2 * bad > rows:
        raise InputError(f"{path}: {len(rejected)} of {rows} boxes are unusable: {tables.first_reasons(rejected)}")
