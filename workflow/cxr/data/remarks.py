"""Sentences on image files that were read differently from how they are stored, for the summary of a preflight."""

from collections.abc import Mapping, Sequence

import pandas as pd

from cxr.data.duplicates import OTHER, SAME, Aside
from cxr.data.ledger import OK
from cxr.runtime.journal import legible

PATTERNS = "the settings data.include and data.exclude say which folders count"


def on_duplicates(aside: Sequence[Aside]) -> list[str]:
    """Report how many files share an image name with others, and which count."""
    same = [it for it in aside if it.why == SAME]
    other = [it for it in aside if it.why == OTHER]
    broken = [it for it in aside if it.why not in (SAME, OTHER)]
    return [
        *_sentence(same, "the same name and pixels as another file, which is used (they count as one image)", ""),
        *_sentence(
            other,
            "the same name as another file, which is used because it lies where the release has it",
            f"; {PATTERNS}",
        ),
        *_sentence(broken, "the same name as another file, which is used because they are unusable", ""),
    ]


def _sentence(files: Sequence[Aside], what: str, more: str) -> list[str]:
    if not files:
        return []
    example = f"{legible(files[0].path)} ({files[0].why}) beside {legible(files[0].used)}"
    return [f"Image files with {what}: {len(files):,}, for example {example}{more}."]


def on_other_formats(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Report images in a format that is not read; found: ending → paths."""
    if not found:
        return []
    endings = ", ".join(f"{len(paths):,} {ending or 'without an ending'}" for ending, paths in sorted(found.items()))
    example = legible(min(min(paths) for paths in found.values()))
    return [
        "Files with names of the label table that are not PNG, without a PNG file of that name: "
        f"{sum(map(len, found.values())):,} ({endings}), for example {example}. This workflow reads PNG: convert them to grey "
        "PNG files of 8 or 16 bits, for example with ImageMagick (mogrify -format png) or, from DICOM, with DCMTK "
        "(dcmj2pnm +on)."
    ]


def on_patterns(idle: Mapping[str, Sequence[str]]) -> list[str]:
    """Report patterns (setting → patterns) that match no image."""
    return [
        f"The pattern '{pattern}' of data.{setting} matches no image below the folder."
        for setting, patterns in idle.items()
        for pattern in patterns
    ]


def on_pixels(index: pd.DataFrame, bits: int) -> list[str]:
    """Report how 16-bit and turned images of an index (`image_index.INDEX_COLUMNS`) were read; bits: data.bits."""
    usable = index[index["status"] == OK]
    deep = usable[usable["depth"] == 16]
    silent, stored = deep[deep["stated"] == 0], deep[deep["stated"].eq(deep["bits"]) & (deep["bits"] < 16)]
    turned = usable[usable["orientation"] > 1]
    notes = []
    if len(silent):
        groups = [_group(read, rows, bits) for read, rows in silent.groupby("bits", sort=True)]
        notes += [
            "16-bit PNG files that do not state how many of their bits count (no sBIT chunk): "
            f"{', and '.join(groups)}. If that is wrong, set data.bits."
        ]
    if len(stored):
        notes += [
            f"16-bit PNG files whose sBIT chunk states {read} bits ({2**read - 1:,} is white): {len(rows):,}, "
            f"for example {rows['path'].iloc[0]}."
            for read, rows in stored.groupby("bits", sort=True)
        ]
    if len(turned):
        notes += [
            f"Images turned to the orientation that their EXIF block states: {len(turned):,}, for example "
            f"{turned['path'].iloc[0]}; their boxes are read as drawn on the turned picture."
        ]
    return notes


def _group(read: int, rows: pd.DataFrame, bits: int) -> str:
    highest = rows.loc[rows["peak"].idxmax()]
    why = ", as set in data.bits" if bits else ""
    return (
        f"{len(rows):,} read at {read} bits{why} ({2**read - 1:,} is white; the highest value among them is "
        f"{highest['peak']:,}, in {highest['path']})"
    )
