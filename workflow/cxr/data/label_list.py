"""Records of the label table: one row per image, with its labels, its patient and how it was taken."""

import difflib
import functools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr.data import tables
from cxr.errors import InputError
from cxr.labels import LABELS, NO_FINDING, SEPARATOR, official_label

RECORD_COLUMNS = [
    "image", "patient", "labels", "follow_up", "age", "sex", "view", "width", "height", "spacing"
]  # fmt: skip
OLDEST = 120  # years; the 2017 table holds typing errors up to 414
UNITS = {  # of an age, in years
    **dict.fromkeys(("", "Y", "YR", "YRS", "YO", "YEAR", "YEARS"), 1.0),
    **dict.fromkeys(("M", "MO", "MOS", "MTH", "MTHS", "MONTH", "MONTHS"), 1 / 12),
    **dict.fromkeys(("W", "WK", "WKS", "WEEK", "WEEKS"), 7 / 365.25),
    **dict.fromkeys(("D", "DAY", "DAYS"), 1 / 365.25),
}
AGE = re.compile(r"(\d+(?:[.,]\d*)?|[.,]\d+)\s*([A-Z]*)")
OFFICIAL_AGE = re.compile(r"\d+[YMD]?")
SEXES = {
    **dict.fromkeys(("m", "male", "man"), "M"),
    **dict.fromkeys(("f", "female", "woman"), "F"),
    **dict.fromkeys(("o", "other", "u"), ""),
}
# Reduced to letters. DICOM's words for other views and for no view are included, so they do not count as unreadable.
VIEWS = re.compile(
    r"(?:chest|cxr|view)?(?:(?P<PA>pa|poster(?:o|io|ior)anterior)|(?P<AP>ap|anter(?:o|io|ior)posterior))"
    r"(?:view|projection|position|erect|upright|standing|supine|sitting|portable|chest)*"
)
OTHER_VIEWS = frozenset(
    ["ll", "rl", "l", "lat", "lateral", "leftlateral", "rightlateral", "lao", "rao", "lpo", "rpo", "oblique", "other"]
)

LABEL_HEADER = {  # official name (2017, v2020): spellings accepted, reduced to lower-case letters and digits
    "Image Index": (
        *("imageindex", "imageid", "imagename", "imagefilename", "filename", "imagefile", "imagepath", "imagefilepath"),
        *("imgpath", "filepath", "image", "img", "file"),
    ),
    "Finding Labels": ("findinglabels", "findinglabel", "findings", "labels", "label", "labelnames"),
    "Follow-up #": ("followup", "followupnumber", "followupnum", "followupno", "followupid"),
    "Patient ID": ("patientid", "patient", "subjectid", "pid"),
    "Patient Age": ("patientage", "age", "patientageyears", "ageyears", "ageinyears", "ageraw"),
    "Patient Gender": ("patientgender", "patientsex", "gender", "sex"),
    "View Position": ("viewposition", "view", "projection", "position"),
    "OriginalImage[Width": ("originalimagewidth", "originalwidth", "width", "imagewidth"),
    "Height]": ("originalimageheight", "originalheight", "height", "imageheight"),
    "OriginalImagePixelSpacing[x": (
        *("originalimagepixelspacingx", "originalpixelspacingx", "pixelspacingx", "spacingx"),
        *("originalimagepixelspacing", "pixelspacing", "spacing"),
    ),
}
OFFICIAL = frozenset([*map(tables.reduced, LABEL_HEADER), "patientsex", "originalimageheight"])
SPELLINGS = frozenset(spelling for spellings in LABEL_HEADER.values() for spelling in spellings)


@dataclass(frozen=True)
class LabelTable:
    """The content of a label table.

    records: in file order with the columns ``RECORD_COLUMNS``: canonical image names (`image_names.canonical`), labels
    in the order of ``LABELS``, age in years (NaN if not a number or above 120), sex M, F or "", view PA, AP or "", width
    and height in pixels and spacing in mm/pixel of the original image. rejected: rows set aside, with the columns
    ``REJECTED_COLUMNS`` of `tables`. notes: sentences on values read differently from how the file spells them.
    """

    records: pd.DataFrame
    rejected: pd.DataFrame
    notes: tuple[str, ...]


def read_label_table(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a label table as ``inspect_label_table`` does; return its records and its rejected rows."""
    table = inspect_label_table(path)
    return table.records, table.rejected


def inspect_label_table(path: str | Path) -> LabelTable:
    """Read the release's label table, ``Data_Entry_2017.csv`` or ``Data_Entry_2017_v2020.csv`` (112,120 images).

    The order and names of columns, separators and spellings may differ, as long as they are unambiguous. If several rows
    have the same image, the first counts, or none if they contradict each other. Raises InputError if the file is not a
    label table, more than half of its rows are rejected, or more than half of the given ages, sexes or views cannot be
    read: the floors that every model is compared with are computed from these.
    """
    path = Path(path)
    sheet = tables.read_sheet(path, "the label table (Data_Entry_2017_v2020.csv)", SPELLINGS)
    columns = tables.find_columns(sheet, LABEL_HEADER)
    texts = {name: sheet.rows[at] for name, at in columns.items()}
    images, named = tables.image_names(path.name, texts["Image Index"])
    tables.require_ascii(path, sheet, images, "the name of an image")
    labels, problems, spelled = _labels(path.name, texts["Finding Labels"])
    counts = ["Patient ID", "Follow-up #", "OriginalImage[Width", "Height]"]
    spacing = "OriginalImagePixelSpacing[x"
    numbers = {name: tables.numbers(texts[name]) for name in [*counts, spacing]}
    whole = {name: numbers[name].between(0, 2**53) & (numbers[name] % 1 == 0) for name in counts}
    whole[spacing] = np.isfinite(numbers[spacing])
    extra = tables.surplus(sheet, columns.values())

    def wrong_numbers(position: int) -> str:
        wrong = [name for name in whole if not whole[name].iloc[position]]
        return ", ".join(f"{name} = '{texts[name].iloc[position]}'" for name in wrong)

    def contradicts(position: int) -> str:
        other = against[position]
        here, there = (
            f"{texts['Finding Labels'].iloc[at]}, patient {numbers['Patient ID'].iloc[at]:.0f}"
            for at in (position, other)
        )
        return f"{here}; row {images.index[other]} ({texts['Image Index'].iloc[other]}): {there}"

    checks = [
        (extra != "", "too many fields", lambda i: f"'{extra.iloc[i]}'"),
        (images == "", "no image name", lambda i: ""),
        (~np.logical_and.reduce(list(whole.values())), "not a number", wrong_numbers),
        (problems == "unknown", "label outside the 15", lambda i: _nearest(texts["Finding Labels"].iloc[i])),
        (problems == "contradiction", "No Finding beside a finding", lambda i: texts["Finding Labels"].iloc[i]),
    ]
    sound = ~np.logical_or.reduce([np.asarray(objection, dtype=bool) for objection, _, _ in checks])
    contradicting, repeated = _duplicates(images, labels, numbers["Patient ID"], sound)
    against = _opposites(images, labels, numbers["Patient ID"], contradicting)
    accepted, rejected = tables.set_aside(
        path.name,
        images,
        [
            *checks,
            (contradicting, "rows for one image contradict each other", contradicts),
            (repeated, "duplicate row", lambda i: "an earlier row says the same about this image"),
        ],
    )
    if 2 * len(rejected) > len(images):
        raise InputError(
            f"{path}: {len(rejected)} of {len(images)} rows are unusable: {tables.first_reasons(rejected)}"
        )
    ages, aged = ages_of(path, texts["Patient Age"])
    sexes, sexed = sexes_of(path, texts["Patient Gender"])
    views, viewed = views_of(path, texts["View Position"])
    records = pd.DataFrame(
        {
            "image": images,
            "patient": numbers["Patient ID"],
            "labels": labels,
            "follow_up": numbers["Follow-up #"],
            "age": ages,
            "sex": sexes,
            "view": views,
            "width": numbers["OriginalImage[Width"],
            "height": numbers["Height]"],
            "spacing": numbers[spacing],
        },
        columns=RECORD_COLUMNS,
    )[accepted]
    whole_numbers = dict.fromkeys(("patient", "follow_up", "width", "height"), np.int64)
    comma = texts[spacing].str.contains(",", regex=False) & whole[spacing]
    decimal = (f"{path.name}: pixel spacings read from a decimal comma: {comma.sum()}",) if comma.any() else ()
    notes = (
        *sheet.notes,
        *tables.renamed(sheet, columns, OFFICIAL),
        *named,
        *spelled,
        *decimal,
        *aged,
        *sexed,
        *viewed,
    )
    return LabelTable(records.astype(whole_numbers).reset_index(drop=True), rejected, notes)


def split_labels(text: str) -> list[str]:
    """The labels in a text, separated by "|", or by commas or semicolons as in a printed list."""
    listed = re.fullmatch(r"[\[({](.*)[\])}]", text.strip(), re.DOTALL)
    parts = re.split(r"[|,;]", listed[1] if listed else text)
    return [part.strip().strip("'\"").strip() for part in parts]


def _labels(table: str, texts: pd.Series) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Bring label texts into the order and spelling of ``LABELS``; report "unknown" or "contradiction" if impossible.

    The third value is a note if labels had another spelling or separator.
    """
    codes, distinct = pd.factorize(texts)
    canonical, problems, changed = [], [], []
    for text in distinct:
        parts = {part: official_label(part) for part in split_labels(text)}
        found = set(parts.values())
        unknown = "" in found
        canonical.append("" if unknown else SEPARATOR.join(label for label in LABELS if label in found))
        problems.append("unknown" if unknown else "contradiction" if NO_FINDING in found and len(found) > 1 else "")
        plain = {part.strip() for part in text.split(SEPARATOR)} <= set(LABELS)
        changed.append(not unknown and not plain)
    labels, differs = np.array(canonical, dtype=object)[codes], np.array(changed, dtype=bool)[codes]
    note = (
        (
            f"{table}: rows with labels read from another spelling: {differs.sum()}, for example "
            f"{tables.read_as(texts, labels, differs)}",
        )
        if differs.any()
        else ()
    )
    return labels, np.array(problems, dtype=object)[codes], note


@functools.cache
def _nearest(text: str) -> str:
    unknown = [part for part in split_labels(text) if not official_label(part)]
    found = [(label, difflib.get_close_matches(label, LABELS, n=1)) for label in unknown]
    return ", ".join(f"'{label}'" + (f"; nearest known label: '{near[0]}'" if near else "") for label, near in found)


def _duplicates(
    images: pd.Series, labels: np.ndarray, patients: pd.Series, sound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which valid rows contradict another row of the same image, and which only repeat an earlier row."""
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


def _opposites(images: pd.Series, labels: np.ndarray, patients: pd.Series, contradicting: np.ndarray) -> dict[int, int]:
    """For each contradicting row, by position, the first row of its image that differs from it."""
    rows: dict[str, list[tuple[int, tuple[str, float]]]] = {}
    for at in np.flatnonzero(contradicting):
        rows.setdefault(images.iloc[at], []).append((int(at), (labels[at], patients.iloc[at])))
    return {at: next(i for i, said in same if said != says) for same in rows.values() for at, says in same}


def ages_of(path: Path, texts: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ages in years, (N,) float64, NaN if there is none, from texts such as 57, 57.0, 058Y, 012M, 003D; and notes."""
    codes, distinct = pd.factorize(texts)
    found = [AGE.fullmatch(text.upper()) for text in distinct]
    years = np.array(
        [
            float(match[1].replace(",", ".")) * UNITS[match[2]] if match and match[2] in UNITS else np.nan
            for match in found
        ]
    )
    bare = np.array([match is not None and not match[2] for match in found], dtype=bool)[codes]
    ages = np.where(years <= OLDEST, years, np.nan)[codes]
    if bare.sum() >= 10 and years[codes][bare].max() <= 1 and (years[codes][bare] % 1 > 0).any():
        raise InputError(
            f"{path}: no patient age is above 1 (the first is {_first(texts, bare)}): they look scaled to 0..1; give "
            "them in years"
        )
    given = _given(texts)
    notes = _unread(path, "patient ages", texts, given & np.isnan(ages), given, AGE_ADVICE)
    otherwise = np.array([OFFICIAL_AGE.fullmatch(text.upper()) is None for text in distinct], dtype=bool)[codes]
    otherwise &= ~np.isnan(ages)
    if otherwise.any():
        said = [f"{age:.4g} years" for age in ages]
        notes += (
            f"{path.name}: patient ages read from another form: {otherwise.sum()}, for example "
            f"{tables.read_as(texts, said, otherwise)}",
        )
    return ages, notes


def sexes_of(path: Path, texts: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """M, F, or "" if it is neither or not given, (N,), and notes."""
    return _words(path, "sexes", texts, lambda text: SEXES.get(text.lower()), SEX_ADVICE)


def views_of(path: Path, texts: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """PA, AP, or "" if it is neither or not given, (N,), and notes."""

    def read(text: str) -> str | None:
        letters = "".join(filter(str.isalpha, text)).lower()
        match = VIEWS.fullmatch(letters)
        return match.lastgroup if match else "" if letters in OTHER_VIEWS else None

    return _words(path, "views", texts, read, VIEW_ADVICE)


AGE_ADVICE = f"write years as 57, 57.0 or 057Y, months as 006M, days as 010D, none above {OLDEST}"
SEX_ADVICE = "write M or F (codes such as 0 and 1 mean either)"
VIEW_ADVICE = "write PA or AP"


def _words(
    path: Path, what: str, texts: pd.Series, read: Callable[[str], str | None], advice: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The meaning of each text, (N,), "" if it has none or cannot be read (None), and notes."""
    codes, distinct = pd.factorize(texts)
    given = _given(texts)
    found = [read(text) for text in distinct]
    said = np.array([word or "" for word in found], dtype=object)[codes]
    unread = given & np.array([word is None for word in found], dtype=bool)[codes]
    notes = _unread(path, what, texts, unread, given, advice)
    spelled = np.array(
        [bool(word) and text.upper() != word for word, text in zip(found, distinct, strict=True)], dtype=bool
    )[codes]
    if spelled.any():
        notes += (
            f"{path.name}: {what} read from words: {spelled.sum()}, for example {tables.read_as(texts, said, spelled)}",
        )
    return said, notes


def _given(texts: pd.Series) -> np.ndarray:
    codes, distinct = pd.factorize(texts)
    return np.array([text.lower() not in tables.ABSENT for text in distinct], dtype=bool)[codes]


def _first(texts: pd.Series, which: np.ndarray) -> str:
    return f"'{texts.iloc[which.argmax()]}' in row {texts.index[which.argmax()]}"


def _unread(
    path: Path, what: str, texts: pd.Series, unread: np.ndarray, given: np.ndarray, advice: str
) -> tuple[str, ...]:
    """A note on values that cannot be read; InputError if these are more than half of the given ones."""
    if not unread.any():
        return ()
    first = f"{unread.sum()} of {given.sum()} {what} cannot be read; the first is {_first(texts, unread)}"
    if 2 * unread.sum() > given.sum():
        raise InputError(
            f"{path}: {first}. {advice[0].upper()}{advice[1:]}, and leave unknown cells empty; ages, sexes and views "
            "enter the floor that models are compared with"
        )
    return (f"{path.name}: {first}; they count as unknown ({advice})",)


def join_images(
    records: pd.DataFrame, index: pd.DataFrame, *, table: str | Path, root: str | Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the records whose image is usable.

    records: as ``read_label_table`` returns them. index: the image store's, one row per file (image, path, digest,
    status; a status other than "ok" is the reason why a file is unusable). table, root: the sources of the two.
    Returns (usable, rejected): usable records in their order with the extra column digest; and a row for each record
    without a file, each file without a record, each unusable file, and each second file of the same image.
    Raises InputError if no record has a usable image.
    """
    files = index.sort_values(["image", "path"], kind="stable")
    sound = files[files["status"] == "ok"]
    known = sound["image"].isin(records["image"])
    second = sound["image"].duplicated()
    kept = sound[known & ~second].set_index("image")
    usable = records[records["image"].isin(kept.index)].reset_index(drop=True)
    if usable.empty:
        raise InputError(
            f"no image of the label table {table} is usable: {len(files)} image files below {root}; {len(sound)} of "
            f"them can be read; {int(known.sum())} of these are in the table's {len(records)} rows{_examples(records, files)}"
            "; set data.root to the folder with the unpacked images"
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


def _examples(records: pd.DataFrame, files: pd.DataFrame) -> str:
    """The first names of table and folder, to compare by eye."""
    if records.empty or files.empty:
        return ""
    return f" (the table's first image is {records['image'].iloc[0]}, the first file {files['path'].iloc[0]})"


def _rejected(table: str, items: pd.Series, reason: Any, detail: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "table": table,
            "row": pd.array([pd.NA] * len(items), dtype="Int64"),
            "item": items.to_numpy(),
            "reason": getattr(reason, "array", reason),
            "detail": getattr(detail, "array", detail),
        },
        columns=tables.REJECTED_COLUMNS,
    )


def preflight_summary(
    records: pd.DataFrame,
    usable: pd.DataFrame,
    boxes: pd.DataFrame,
    rejected: pd.DataFrame,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Count what a run will use; all values can be written as JSON.

    records: all records of the label table. usable: those with a usable image. boxes: all accepted boxes. rejected:
    everything set aside. notes: sentences on values read differently from how the files spell them. Labels, views and
    sexes are counted over usable images; a view or sex that the table does not give counts as "unknown".
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
        "notes": list(notes),
    }


def _counts(values: pd.Series, names: Sequence[str]) -> dict[str, int]:
    found = values.replace("", "unknown").value_counts()
    return {name: int(found[name]) for name in (*names, "unknown") if name in found}


def format_summary(summary: dict[str, Any]) -> str:
    """Format the result of ``preflight_summary`` as plain text for a terminal."""
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
            *(["", "worth knowing"] if summary["notes"] else []),
            *(
                textwrap.fill(note, 100, initial_indent="  - ", subsequent_indent="    ", break_long_words=False)
                for note in summary["notes"]
            ),
        ]
    )
