"""The check before a long job: tables, boxes and image files together, what is usable and what is set aside."""

import json
from pathlib import Path

import pandas as pd

from cxr import boxes as box_list
from cxr import images, records
from cxr.errors import InputError
from cxr.journal import Journal, Progress


def write(
    *,
    label_table: Path,
    box_table: Path,
    index: Path,
    rejected_files: Path,
    root: Path,
    records_path: Path,
    boxes_path: Path,
    rejected_path: Path,
    summary: Path,
    text: Path,
    tell: Journal,
) -> None:
    """Write the usable records and boxes, all that is set aside with its reason, and a summary as JSON and text.

    boxes: of usable images only; a box on an image that is known but not in the folder is counted, not an error.
    """
    table, bad_rows = records.read_label_table(label_table)
    tell(f"{label_table.name}: {len(table) + len(bad_rows)} rows, {len(bad_rows)} set aside")
    boxes, bad_boxes = box_list.read_box_table(box_table, set(table["image"]))
    tell(f"{box_table.name}: {len(boxes) + len(bad_boxes)} rows, {len(bad_boxes)} set aside")
    usable, bad_images = records.join_images(table, images.read_index(index), table=label_table, root=root)
    tell(f"{len(usable)} images of {len(table)} records are usable")
    rejected = pd.concat([bad_rows, bad_boxes, bad_images, pd.read_csv(rejected_files)], ignore_index=True)
    here = boxes[boxes["image"].isin(usable["image"])]
    tell(f"{len(here)} boxes on {here['image'].nunique()} usable images, {len(boxes) - len(here)} on images not here")
    if here.empty:
        raise InputError(
            f"{box_table}: no box lies on a usable image below {root}; the detectors would have nothing to learn"
        )
    usable.to_csv(records_path, index=False)
    here.to_csv(boxes_path, index=False, float_format="%.3f")
    rejected.to_csv(rejected_path, index=False)
    counts = records.preflight_summary(table, usable, boxes, rejected)
    summary.write_text(json.dumps(counts, indent=1))
    text.write_text(records.format_summary(counts) + "\n")
    tell(records.format_summary(counts))


def decode_images(
    *,
    root: Path,
    label_table: Path,
    box_table: Path,
    folder: Path,
    size: int,
    box_size: int,
    workers: int,
    index: Path,
    rejected: Path,
    tell: Journal,
) -> None:
    """Decode what is new of the images both below the root and in the label table; write the index of all.

    folder: the image store; its pixels lie outside any declared output, so that nothing is decoded twice.
    """
    known = set(records.read_label_table(label_table)[0]["image"])
    boxed = set(box_list.read_box_table(box_table, known)[0]["image"])
    found, bad_files = images.find_images(root)
    wanted = {name: path for name, path in found.items() if name in known}
    tell(
        f"{len(found)} images below {root}, {len(wanted)} of them in {label_table.name}, {len(boxed)} images with boxes"
    )
    unknown = [
        {"table": "images", "row": pd.NA, "item": found[name], "reason": "not in the label table", "detail": ""}
        for name in sorted(set(found) - known)
    ]
    table = images.update_store(
        root, wanted, boxed, folder, size=size, box_size=box_size, workers=workers, progress=Progress(tell, "images")
    )
    table.to_csv(index, index=False)
    tell(f"{(table['status'] == 'ok').sum()} images decoded, {(table['status'] != 'ok').sum()} unusable")
    pd.DataFrame(bad_files.to_dict("records") + unknown, columns=bad_files.columns).to_csv(rejected, index=False)
