"""The label table of another data set: one row per image under our labels; what it does not say is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import label_list, tables
from cxr.data.image_names import canonical
from cxr.data.splits import METADATA
from cxr.errors import InputError
from cxr.labels import FINDINGS, LABELS, NO_FINDING, official_label

EXPECTED = "a table of labels: a column of images, one of patients, and labels"
OFFICIAL = {  # columns of the release's label table, by their names here; the others are not used
    "Image Index": "image",
    "Finding Labels": "labels",
    "Follow-up #": "follow_up",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "View Position": "view",
}
SPELLED = {
    spelling: OFFICIAL.get(name, "") for name, spellings in label_list.LABEL_HEADER.items() for spelling in spellings
} | {
    "y": "",
    "unnamed0": "",
}  # the second half of the release's "…PixelSpacing[x,y]"; row numbers as pandas writes them
CELLS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": np.nan, "-1": np.nan, "-1.0": np.nan}
CASE_COLUMNS = ["image", "patient", *METADATA, *LABELS]


@dataclass(frozen=True)
class External:
    """The content of another data set's label table.

    cases: ``CASE_COLUMNS``, indexed by line number: image as in the file, patient (int64, negative, so that none is one of
    the study's), age in years and follow_up (missing: NaN), sex M, F or "", view PA, AP or "", and the labels: 1, 0, or NaN
    where it is not known. labels: those that the table tells, in the order of ``LABELS``. metadata: of `METADATA`, the
    columns that it has. notes: sentences on what was read differently, and on what is not used.
    """

    cases: pd.DataFrame
    labels: tuple[str, ...]
    metadata: tuple[str, ...]
    notes: tuple[str, ...]


def read_external(path: Path, names: Mapping[str, str], one_image_per_patient: bool = False) -> External:
    """Read a table with labels in NIH's form (a column `Finding Labels`, "Effusion|Mass"), or in a column each.

    names: their names (`external_names.read_names`), of columns, and in NIH's form of labels. A column of a label holds 1, 0, or
    nothing or -1 where it is not known. In NIH's form a finding that no image has is not told by the table. Raises InputError,
    naming the column or the row, for unknown names, missing columns, and values that cannot be read.
    """
    sheet = tables.read_sheet(path, EXPECTED, {*SPELLED, *map(tables.reduced, names)})
    columns, labels = _columns(sheet, names)
    missing = [name for name in ("image", "patient") if name not in columns]
    if "patient" in missing and one_image_per_patient:
        columns["patient"], missing = columns.get("image", 0), missing[:-1]
    if missing:
        raise InputError(_missing(sheet, missing[0]))
    texts = {name: sheet.rows[at] for name, at in columns.items()}
    _require_each(path, texts)
    matrix, told = _matrix(sheet, texts.get("labels"), labels, names)
    described, notes = _described(path, texts)
    cases = pd.DataFrame({"image": texts["image"], "patient": -1 - pd.factorize(texts["patient"])[0], **described})
    cases[list(LABELS)] = matrix
    unused = [name for at, name in enumerate(sheet.header) if name and at not in {*columns.values(), *labels.values()}]
    if unused:
        notes = (*notes, f"{path.name}: columns that are not used: {', '.join(unused)}")
    has = tuple(name for name in METADATA if name in columns)
    return External(cases[CASE_COLUMNS], told, has, (*sheet.notes, *notes))


def _columns(sheet: tables.Sheet, names: Mapping[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """Find what the columns are: ours by name, and labels; both → position."""
    columns, labels = {}, {}
    for at, name in enumerate(sheet.header):
        ours = names.get(name, SPELLED.get(tables.reduced(name), official_label(name) or None)) if name else ""
        if ours is None:
            raise InputError(_unknown(sheet.path, f"column '{name}'", name))
        found = labels if ours in LABELS else columns
        if ours and ours in found:
            raise InputError(
                f"{sheet.path}: the columns '{sheet.header[found[ours]]}' and '{name}' are both {ours}; leave one of them out "
                f"in the file of names (validate.names): '{name}:'"
            )
        if ours:
            found[ours] = at
    if labels and "labels" in columns:
        label = next(iter(labels))
        raise InputError(
            f"{sheet.path}: has labels twice, in the column '{sheet.header[columns['labels']]}' and in columns of their own "
            f"('{sheet.header[labels[label]]}'); leave one of them out in the file of names (validate.names)"
        )
    if not labels and "labels" not in columns:
        raise InputError(
            f"{sheet.path}: has no labels; it needs a column 'Finding Labels' or a column for each label ({', '.join(LABELS)}); "
            "other names go into a file of names (validate.names)"
        )
    return columns, labels


def _unknown(path: Path, what: str, name: str) -> str:
    return (
        f"{path}: {what} is none of the 15 labels and nothing else that is known; say what it is in the file of names "
        f"(validate.names): '{name}: Effusion', or '{name}:' if it is not to be used"
    )


def _missing(sheet: tables.Sheet, name: str) -> str:
    header = ",".join(sheet.header)
    more = {
        "patient": "; images of one patient belong together in all intervals. If each image is of another patient, set "
        "validate.one_image_per_patient to true"
    }
    return (
        f"{sheet.path}: has no column '{name}'; the header is '{header}'. Name it so, or say in the file of names "
        f"(validate.names) which column it is: 'their name: {name}'{more.get(name, '')}"
    )


def _require_each(path: Path, texts: Mapping[str, pd.Series]) -> None:
    """Raise InputError for a row without an image or a patient, and for an image that has two rows."""
    for name in ("image", "patient"):
        empty = (texts[name] == "").to_numpy()
        if empty.any():
            raise InputError(
                f"{path}: row {texts[name].index[empty.argmax()]} has no {name}; fill it in or remove the row"
            )
    images = texts["image"]
    again = images.duplicated().to_numpy()
    if again.any():
        name = images.iloc[again.argmax()]
        rows = images.index[(images == name).to_numpy()]
        raise InputError(f"{path}: image '{name}' has two rows, {rows[0]} and {rows[1]}; remove one of them")


def _matrix(
    sheet: tables.Sheet, listed: pd.Series | None, columns: Mapping[str, int], names: Mapping[str, str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (N, 15), NaN where unknown, and those that the table tells."""
    matrix = np.full((len(sheet.rows), len(LABELS)), np.nan)
    if listed is not None:
        matrix = np.stack([_listed(sheet.path, row, text, names) for row, text in listed.items()])
        matrix[:, ~matrix.any(axis=0)] = np.nan
    for label, at in columns.items():
        matrix[:, LABELS.index(label)] = _cells(sheet, at)
    told = tuple(label for label, known in zip(LABELS, np.isfinite(matrix).any(axis=0), strict=True) if known)
    if not set(told) & set(FINDINGS):
        raise InputError(f"{sheet.path}: tells no finding of any image; expected 1 and 0, or names of findings")
    return matrix, told


def _listed(path: Path, row: int, text: str, names: Mapping[str, str]) -> np.ndarray:
    found = np.zeros(len(LABELS))
    for part in label_list.split_labels(text):
        label = names.get(part, official_label(part) or None)
        if label is None or label not in ("", *LABELS):
            raise InputError(_unknown(path, f"row {row}: label '{part}'", part))
        if label:
            found[LABELS.index(label)] = 1
    if found[LABELS.index(NO_FINDING)] and found[: len(FINDINGS)].any():
        raise InputError(f"{path}: row {row}: '{text}' has {NO_FINDING} beside a finding; correct or remove the row")
    return found


def _cells(sheet: tables.Sheet, at: int) -> np.ndarray:
    texts = sheet.rows[at]
    wrong = ~texts.str.lower().replace("nan", "").isin([*CELLS]).to_numpy()
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"{sheet.path}: row {texts.index[first]}, column '{sheet.header[at]}': '{texts.iloc[first]}' is not 1, 0, -1 or "
            "empty; write 1 where the image has the label, 0 where it has not, and nothing where it is not known"
        )
    return texts.str.lower().replace("nan", "").map(CELLS).to_numpy(np.float64)


def _described(path: Path, texts: Mapping[str, pd.Series]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Age, sex, view and follow-up number, missing where the table has no such column, and notes."""
    nothing = pd.Series("", index=texts["image"].index)
    ages, aged = label_list.ages_of(path, texts.get("age", nothing))
    sexes, sexed = label_list.sexes_of(path, texts.get("sex", nothing))
    views, viewed = label_list.views_of(path, texts.get("view", nothing))
    follow_up = tables.numbers(texts.get("follow_up", nothing)).to_numpy()
    return {"follow_up": follow_up, "age": ages, "sex": sexes, "view": views}, (*aged, *sexed, *viewed)


def matched(path: Path, cases: pd.DataFrame, images: Sequence[str]) -> pd.DataFrame:
    """Name the table's images as the folder does, and leave out those that are not in it.

    images: paths below the folder. A name stands for the one image whose path ends with it, or that it ends with, whole folders
    and names; endings (.png) may differ. Raises InputError for a name that could be two images, two names of one image, and
    if no image is found.
    """
    found = placed(path, cases["image"], images)
    named = cases.assign(image=found)[(found != "").to_numpy()]
    if named.empty:
        raise InputError(
            f"{path}: none of its {len(cases)} images is in the folder; the table names '{cases['image'].iloc[0]}' (row "
            f"{cases.index[0]}), the folder has for example '{min(images, default='')}'; give the folder of these images"
        )
    again = named["image"].duplicated().to_numpy()
    if again.any():
        image = named["image"].iloc[again.argmax()]
        rows = named.index[(named["image"] == image).to_numpy()]
        raise InputError(f"{path}: rows {rows[0]} and {rows[1]} are both of the image '{image}'; remove one of them")
    return named


def placed(path: Path, names: pd.Series, images: Sequence[str]) -> pd.Series:
    """Return for each name of an image that of the folder, "" where it has none; names: indexed by line number (`matched`)."""
    places: dict[str, set[str]] = {}  # what a table may call an image: the end of its path, or a path that ends with it
    paths: dict[str, set[str]] = {}
    for image in images:
        ends = _ends(image)
        paths.setdefault(ends[0], set()).add(image)
        for end in ends:
            places.setdefault(end, set()).add(image)
    found = [_place(path, row, name, places, paths) for row, name in names.items()]
    return pd.Series(found, index=names.index, dtype=object)


def _ends(text: str) -> list[str]:
    """The parts of a path that end it, the longest first, with the ending .png."""
    folders = [part for part in text.replace("\\", "/").split("/")[:-1] if part not in ("", ".")]
    whole = [*folders, canonical(text)]
    return ["/".join(whole[at:]) for at in range(len(whole))]


def _place(path: Path, row: int, name: str, places: Mapping[str, set[str]], paths: Mapping[str, set[str]]) -> str:
    whole, *rest = _ends(name)
    found = next(filter(None, [places.get(whole), *map(paths.get, rest)]), set())
    found = found & {name} or found
    if len(found) > 1:
        raise InputError(
            f"{path}: row {row}: '{name}' could be {' or '.join(sorted(found)[:2])}; give the path below the folder"
        )
    return next(iter(found), "")
