"""Records of the label table: one row an image, with what is known of it and of its patient."""

import difflib
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr.boxes import REJECTED_COLUMNS, find_columns, first_reasons, read_rows, set_aside
from cxr.errors import InputError
from cxr.labels import LABELS, NO_FINDING, SEPARATOR

RECORD_COLUMNS = [
    "image", "patient", "labels", "follow_up", "age", "sex", "view", "width", "height", "spacing"
]  # fmt: skip
OLDEST = 120  # years; the 2017 table holds typing errors up to 414
YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "D": 1 / 365.25}

LABEL_HEADER = {  # official name (2017, v2020): spellings accepted, reduced to lower-case letters and digits
    "Image Index": ("imageindex",),
    "Finding Labels": ("findinglabels",),
    "Follow-up #": ("followup",),
    "Patient ID": ("patientid",),
    "Patient Age": ("patientage",),
    "Patient Gender": ("patientgender", "patientsex"),
    "View Position": ("viewposition",),
    "OriginalImage[Width": ("originalimagewidth",),
    "Height]": ("height", "originalimageheight"),
    "OriginalImagePixelSpacing[x": ("originalimagepixelspacingx",),
}


def read_label_table(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the release's label table, ``Data_Entry_2017.csv`` or ``Data_Entry_2017_v2020.csv`` (112,120 images).

    Returns (records, rejected): records in file order with the columns ``RECORD_COLUMNS`` (labels in the order of
    ``LABELS``, age in years and NaN where it is none or above 120, sex M, F or "", view PA, AP or "", width and height
    in pixels and spacing in mm/pixel of the original image), rejected rows with the columns ``REJECTED_COLUMNS``. Of
    rows for the same image the first counts, or none where they contradict each other. Raises InputError where the
    file is no such table or more than half of its rows are rejected.
    """
    path = Path(path)
    header, rows = read_rows(path, "the label table (Data_Entry_2017_v2020.csv)")
    columns = find_columns(path, header, LABEL_HEADER)
    texts = {name: rows[at] for name, at in columns.items()}
    images = texts["Image Index"].str.strip()
    labels, problems = _labels(texts["Finding Labels"])
    counts = ["Patient ID", "Follow-up #", "OriginalImage[Width", "Height]"]
    numbers = {name: pd.to_numeric(texts[name], errors="coerce") for name in [*counts, "OriginalImagePixelSpacing[x"]}
    whole = {name: numbers[name].between(0, 2**53) & (numbers[name] % 1 == 0) for name in counts}
    whole["OriginalImagePixelSpacing[x"] = np.isfinite(numbers["OriginalImagePixelSpacing[x"])

    def wrong_numbers(position: int) -> str:
        wrong = [name for name in whole if not whole[name].iloc[position]]
        return ", ".join(f"{name} = '{texts[name].iloc[position]}'" for name in wrong)

    checks = [
        (rows[len(header)] != "", "too many fields", lambda i: f"'{rows[len(header)].iloc[i]}'"),
        (images == "", "no image name", lambda i: ""),
        (~np.logical_and.reduce(list(whole.values())), "not a number", wrong_numbers),
        (problems == "unknown", "label outside the 15", lambda i: _nearest(texts["Finding Labels"].iloc[i])),
        (problems == "contradiction", "No Finding beside a finding", lambda i: texts["Finding Labels"].iloc[i]),
    ]
    sound = ~np.logical_or.reduce([np.asarray(objection, dtype=bool) for objection, _, _ in checks])
    contradicting, repeated = _duplicates(images, labels, numbers["Patient ID"], sound)
    accepted, rejected = set_aside(
        path.name,
        images,
        [
            *checks,
            (
                contradicting,
                "rows for one image contradict each other",
                lambda i: f"{texts['Finding Labels'].iloc[i]}, patient {numbers['Patient ID'].iloc[i]:.0f}",
            ),
            (repeated, "duplicate row", lambda i: "an earlier row says the same of this image"),
        ],
    )
    if 2 * len(rejected) > len(rows):
        raise InputError(f"{path}: {len(rejected)} of {len(rows)} rows are unusable: {first_reasons(rejected)}")
    records = pd.DataFrame(
        {
            "image": images,
            "patient": numbers["Patient ID"],
            "labels": labels,
            "follow_up": numbers["Follow-up #"],
            "age": _ages(texts["Patient Age"]),
            "sex": _one_of(texts["Patient Gender"], ("M", "F")),
            "view": _one_of(texts["View Position"], ("PA", "AP")),
            "width": numbers["OriginalImage[Width"],
            "height": numbers["Height]"],
            "spacing": numbers["OriginalImagePixelSpacing[x"].astype(np.float64),
        },
        columns=RECORD_COLUMNS,
    )[accepted]
    whole_numbers = dict.fromkeys(("patient", "follow_up", "width", "height"), np.int64)
    return records.astype(whole_numbers).reset_index(drop=True), rejected


def _labels(texts: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Bring label texts into the order of ``LABELS``; say "unknown" or "contradiction" where that cannot be."""
    codes, distinct = pd.factorize(texts)
    canonical, problems = [], []
    for text in distinct:
        parts = {part.strip() for part in text.split(SEPARATOR)}
        unknown = not parts <= set(LABELS)
        canonical.append("" if unknown else SEPARATOR.join(label for label in LABELS if label in parts))
        problems.append("unknown" if unknown else "contradiction" if NO_FINDING in parts and len(parts) > 1 else "")
    return np.array(canonical, dtype=object)[codes], np.array(problems, dtype=object)[codes]


@functools.cache
def _nearest(text: str) -> str:
    unknown = [part.strip() for part in text.split(SEPARATOR) if part.strip() not in LABELS]
    found = [(label, difflib.get_close_matches(label, LABELS, n=1)) for label in unknown]
    return ", ".join(f"'{label}'" + (f"; nearest known label: '{near[0]}'" if near else "") for label, near in found)


def _duplicates(
    images: pd.Series, labels: np.ndarray, patients: pd.Series, sound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say which of the sound rows contradict another one of the same image, and which only repeat an earlier one."""
    contradicting, repeated = np.zeros(len(images), dtype=bool), np.zeros(len(images), dtype=bool)
    again = np.flatnonzero(sound & images.duplicated(keep=False).to_numpy())
    rows = pd.DataFrame(
        {"image": images.iloc[again].to_numpy(), "labels": labels[again], "patient": patients.iloc[again].to_numpy()}
    )
    differing = rows.drop_duplicates().duplicated("image", keep=False)
    torn = rows["image"].isin(rows.loc[differing.index[differing], "image"]).to_numpy()
    contradicting[again] = torn
    repeated[again] = ~torn & rows.duplicated("image").to_numpy()
    return contradicting, repeated


def _ages(texts: pd.Series) -> np.ndarray:
    """Ages in years, (N,) float64, of texts such as 57, 058Y, 012M (months), 003D (days); NaN where there is none."""
    codes, distinct = pd.factorize(texts)
    found = [re.fullmatch(r"(\d+)\s*([YMD]?)", text.strip().upper()) for text in distinct]
    years = np.array([int(match[1]) * YEARS[match[2]] if match else np.nan for match in found], dtype=np.float64)
    return np.where(years <= OLDEST, years, np.nan)[codes]


def _one_of(texts: pd.Series, allowed: tuple[str, ...]) -> np.ndarray:
    codes, distinct = pd.factorize(texts)
    upper = [text.strip().upper() for text in distinct]
    return np.array([text if text in allowed else "" for text in upper], dtype=object)[codes]


def join_images(
    records: pd.DataFrame, index: pd.DataFrame, *, table: str | Path, root: str | Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the records whose image is usable.

    records: as ``read_label_table`` returns them. index: the image store's, one row a file (image, path, digest,
    status; a status other than "ok" is the reason why a file is unusable). table, root: where the two come from.
    Returns (usable, rejected): usable records in their order with the further column digest; and a row for each
    record without a file, each file without a record, each unusable file, and each second file of the same image.
    Raises InputError where no record has a usable image.
    """
    files = index.sort_values(["image", "path"], kind="stable")
    sound = files[files["status"] == "ok"]
    known = sound["image"].isin(records["image"])
    second = sound["image"].duplicated()
    kept = sound[known & ~second].set_index("image")
    usable = records[records["image"].isin(kept.index)].reset_index(drop=True)
    if usable.empty:
        raise InputError(
            f"no image of the label table {table} is usable: {len(files)} image files below {root}, of which "
            f"{len(sound)} can be read and {int(known.sum())} are in the table's {len(records)} rows; point data.root "
            "at the folder the images were unpacked to"
        )
    usable["digest"] = kept["digest"].reindex(usable["image"]).to_numpy()

    name = Path(table).name
    unusable = files[files["status"] != "ok"]
    unknown = sound[~known]
    again = sound[known & second]
    without = records.loc[~records["image"].isin(files["image"]), "image"]
    rejected = [
        _rejected("images", unusable["path"], unusable["status"], ""),
        _rejected("images", unknown["path"], "not in the label table", ""),
        _rejected("images", again["path"], "second file of the same image", kept["path"].reindex(again["image"])),
        _rejected(name, without, "no image file", ""),
    ]
    return usable, pd.concat([part for part in rejected if len(part)] or rejected[:1], ignore_index=True)


def _rejected(table: str, items: pd.Series, reason: Any, detail: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "table": table,
            "row": pd.array([pd.NA] * len(items), dtype="Int64"),
            "item": items.to_numpy(),
            "reason": getattr(reason, "array", reason),
            "detail": getattr(detail, "array", detail),
        },
        columns=REJECTED_COLUMNS,
    )


def preflight_summary(
    records: pd.DataFrame, usable: pd.DataFrame, boxes: pd.DataFrame, rejected: pd.DataFrame
) -> dict[str, Any]:
    """Count what a run will work with; every value can be written as JSON.

    records: all records of the label table. usable: those with a usable image. boxes: all accepted boxes. rejected:
    everything set aside on the way. Counts of labels, views and sexes are of usable images; a view or sex that the
    table does not give counts as "unknown".
    """
    drawn = boxes[boxes["image"].isin(usable["image"])]
    single = usable["labels"].str.split(SEPARATOR, regex=False).explode().value_counts()
    by_reason = rejected.groupby(["table", "reason"]).size().sort_index()
    return {
        "table_rows": len(records),
        "table_patients": int(records["patient"].nunique()),
        "usable_images": len(usable),
        "usable_patients": int(usable["patient"].nunique()),
        "age_unknown": int(usable["age"].isna().sum()),
        "labels": {label: int(single.get(label, 0)) for label in LABELS},
        "views": _counts(usable["view"], ("PA", "AP")),
        "sexes": _counts(usable["sex"], ("F", "M")),
        "listed_boxes": len(boxes),
        "listed_boxed_images": int(boxes["image"].nunique()),
        "boxes": len(drawn),
        "boxed_images": int(drawn["image"].nunique()),
        "box_labels": {label: int(count) for label in LABELS if (count := (drawn["label"] == label).sum())},
        "rejected": [
            {"table": table, "reason": reason, "count": int(count)} for (table, reason), count in by_reason.items()
        ],
    }


def _counts(values: pd.Series, names: Sequence[str]) -> dict[str, int]:
    found = values.replace("", "unknown").value_counts()
    return {name: int(found[name]) for name in (*names, "unknown") if name in found}


def format_summary(summary: dict[str, Any]) -> str:
    """Lay out what ``preflight_summary`` returns as plain text for a terminal."""
    images = summary["usable_images"]
    label_lines = [
        f"  {label:<20}{count:>8,}{count / images:>8.1%}{summary['box_labels'].get(label, 0):>8,}"
        for label, count in summary["labels"].items()
    ]
    rejected_lines = [
        f"  {entry['count']:>8,}  {entry['table']}: {entry['reason']}" for entry in summary["rejected"]
    ] or ["  nothing"]
    return "\n".join(
        [
            f"label table     {summary['table_rows']:,} images of {summary['table_patients']:,} patients",
            f"usable          {images:,} images of {summary['usable_patients']:,} patients",
            f"boxes           {summary['listed_boxes']:,} on {summary['listed_boxed_images']:,} images listed; "
            f"{summary['boxes']:,} on {summary['boxed_images']:,} usable images",
            "views           " + ", ".join(f"{name} {count:,}" for name, count in summary["views"].items()),
            "sexes           " + ", ".join(f"{name} {count:,}" for name, count in summary["sexes"].items()),
            f"age unknown     {summary['age_unknown']:,}",
            "",
            f"  {'label':<20}{'images':>8}{'share':>8}{'boxes':>8}",
            *label_lines,
            "",
            "set aside",
            *rejected_lines,
        ]
    )
