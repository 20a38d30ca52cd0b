"""The check before a long job: which records, boxes and image files are usable, and which are set aside."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxr.data import (
    box_list,
    csv_cells,
    duplicates,
    image_cache,
    image_files,
    image_index,
    label_list,
    ledger,
    made,
    remarks,
    splits,
)
from cxr.data.folder import idle
from cxr.data.tables import REJECTED_COLUMNS
from cxr.errors import InputError
from cxr.runtime.journal import Journal, Progress, legible


@dataclass(frozen=True)
class Tables:
    """The tables of a data set: its label table and its box list."""

    labels: Path
    boxes: Path


@dataclass(frozen=True)
class ImageFolder:
    """The image files of a data set. include, exclude: patterns on paths below the root (`folder.counts`). bits: how many
    count in 16-bit images that do not state it; 0: `png.readings`."""

    root: Path
    include: list[str]
    exclude: list[str]
    bits: int


@dataclass(frozen=True)
class ImageOutputs:
    """What `decode_images` writes: the index of all images, the files set aside, and notes: a JSON list of sentences on
    what was read differently from how the files store it."""

    index: Path
    rejected: Path
    notes: Path


@dataclass(frozen=True)
class RecordOutputs:
    """What `write` writes. boxes: of usable images only. rejected: everything set aside, with its reason. summary (JSON) and
    text say the same."""

    records: Path
    boxes: Path
    rejected: Path
    summary: Path
    text: Path


def write(
    *, tables: Tables, lists: Sequence[Path], images: ImageOutputs, root: Path, outputs: RecordOutputs, tell: Journal
) -> None:
    """Write the usable records and boxes, everything set aside with its reason, and a summary.

    A box on a known image that is not in the folder is counted, not an error. lists: official train_val and test, or none;
    read to report now what would stop the splits. The summary holds the notes on images after those on the tables.
    """
    labels = label_list.inspect_label_table(tables.labels)
    table, bad_rows = labels.records, labels.rejected
    tell(f"{tables.labels.name}: {len(table) + len(bad_rows)} rows, {len(bad_rows)} set aside")
    listed = box_list.inspect_box_table(tables.boxes, set(table["image"]))
    boxes, bad_boxes = listed.boxes, listed.rejected
    tell(f"{tables.boxes.name}: {len(boxes) + len(bad_boxes)} rows, {len(bad_boxes)} set aside")
    notes = [*labels.notes, *listed.notes]
    for path in lists:
        notes += splits.inspect_image_list(path)[1]
    usable, bad_images = label_list.join_images(
        table, image_index.read_index(images.index), table=tables.labels, root=root
    )
    tell(f"{len(usable)} images of {len(table)} records are usable")
    rejected = pd.concat([bad_rows, bad_boxes, bad_images, _rejected_files(images.rejected)], ignore_index=True)
    here = boxes[boxes["image"].isin(usable["image"])]
    tell(f"{len(here)} boxes on {here['image'].nunique()} usable images, {len(boxes) - len(here)} on other images")
    if here.empty:
        raise InputError(
            f"{tables.boxes}: no box is on a usable image below {root}, so the detectors would have nothing to learn; "
            "add boxed images"
        )
    usable.to_csv(outputs.records, index=False)
    here.to_csv(outputs.boxes, index=False, float_format="%.3f")
    csv_cells.write(rejected, outputs.rejected)
    notes += made.read_sentences(images.notes)
    counts = label_list.preflight_summary(table, usable, boxes, rejected, notes)
    outputs.summary.write_text(json.dumps(counts, indent=1), encoding="utf-8")
    outputs.text.write_text(label_list.format_summary(counts) + "\n", encoding="utf-8")
    for line in label_list.format_summary(counts).split("\n"):
        tell(line)


def _rejected_files(path: Path) -> pd.DataFrame:
    """Read the files that `decode_images` set aside; a file may be called "NA"."""
    table = made.read_texts(path, REJECTED_COLUMNS)
    return table.assign(row=pd.to_numeric(table["row"], errors="coerce").astype("Int64"))


def decode_images(
    *,
    images: ImageFolder,
    tables: Tables,
    cache: image_cache.ImageCache,
    workers: int,
    outputs: ImageOutputs,
    tell: Journal,
) -> None:
    """Decode the new ones of the images both below the root and in the label table; write the index of all.

    The pixels in the cache are not a declared output, so that nothing is decoded twice. Raises InputError if there is no
    image of the table, or several with one name and it is unclear which counts.
    """
    root, include, exclude, folder = images.root, images.include, images.exclude, cache.folder
    known = set(label_list.read_label_table(tables.labels)[0]["image"])
    found, bad_files = image_files.find_images(root, include, exclude)
    wanted = {name: paths for name, paths in found.items() if name in known}
    said = remarks.on_patterns({"include": idle(root, include), "exclude": idle(root, exclude)})
    said += remarks.on_other_formats(image_files.other_formats(root, known - wanted.keys(), include, exclude))
    if not wanted:
        raise InputError(" ".join([_nothing(root, tables.labels, found, known), *said]))
    # Only now that the label table is known to fit the images: otherwise the box list would be blamed.
    boxed = set(box_list.read_box_table(tables.boxes, known)[0]["image"])
    tell(
        f"{len(found)} images below {root}, {len(wanted)} of them in {tables.labels.name}, {len(boxed)} images with boxes"
    )
    unknown = [
        (legible(path), "not in the label table", "") for name in sorted(set(found) - known) for path in found[name]
    ]
    if ledger.of_earlier_version(folder / "ledger.csv"):
        tell(f"{folder}: this image cache is of an earlier version, without checksums: every image is decoded again")
    used, aside = duplicates.settle(
        root, wanted, boxed, cache, workers=workers, progress=Progress(tell, "images compared")
    )
    second = [(legible(it.path), f"duplicate file name: {it.why}", f"{legible(it.used)} is used") for it in aside]
    progress = Progress(tell, "images")
    table = image_cache.update_store(root, used, boxed, cache, bits=images.bits, workers=workers, progress=progress)
    table.to_csv(outputs.index, index=False)
    tell(f"{(table['status'] == 'ok').sum()} images decoded, {(table['status'] != 'ok').sum()} unusable")
    others = image_files.rejected_rows(second + unknown)
    aside_files = pd.DataFrame(bad_files.to_dict("records") + others.to_dict("records"), columns=others.columns)
    csv_cells.write(aside_files, outputs.rejected)
    said += remarks.on_duplicates(aside) + remarks.on_pixels(table, images.bits)
    outputs.notes.write_text(json.dumps(said, indent=1), encoding="utf-8")


def _nothing(root: Path, label_table: Path, found: Mapping[str, Sequence[str]], known: Collection[str]) -> str:
    if not found:
        return (
            f"{root}: there is no image (*.png) below this folder; expected the PNG files of the release, "
            "for example images_001/images/00000001_000.png."
        )
    return (
        f"{root}: none of the {len(found):,} images below this folder is in the label table {label_table}: the first file "
        f"is {legible(min(found.values())[0])}, the table's first image {min(known, default='none')}; set data.root to "
        "the folder with the unpacked images."
    )
