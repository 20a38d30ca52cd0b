"""Generated frontal chest X-rays ("phantoms") in the layout of the NIH ChestX-ray14 release.

They let the whole study run anywhere in minutes and are not medical data: shapes, grey levels, and the positions and
sizes of boxes imitate the release (Wang et al., CVPR 2017).
"""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from cxr.labels import BOX_ALIASES, BOXED_FINDINGS, FINDINGS, NO_FINDING, SEPARATOR
from cxr.phantoms.anatomy import geometry_of, healthy_scene, pose_of
from cxr.phantoms.film import add_hardware, add_kept, exposed
from cxr.phantoms.findings import PAINTERS, box_around, vary
from cxr.phantoms.plan import DETECTOR, FINDING, RGBA, Phantom, plan
from cxr.runtime.replacing import replacing

LABEL_TABLE = "Data_Entry_2017_v2020.csv"
BOX_TABLE = "BBox_List_2017.csv"
TRAIN_VAL_LIST = "train_val_list.txt"
TEST_LIST = "test_list.txt"
MAX_PER_ARCHIVE = 5000  # the release's archives hold about as many
_LABEL_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_BOX_SPELLING = {canonical: written for written, canonical in BOX_ALIASES.items()}
# the release's most frequent detectors: width, height in pixels, pixel spacing in mm as written in the table
_DETECTORS = (
    (2500, 2048, "0.168"),
    (2992, 2991, "0.14300000000000002"),
    (3056, 2544, "0.139"),
    (2048, 2500, "0.171"),
)
_RGBA_SHARE = 0.03
_AIR = 1.9  # attenuation that the full depth of a lung removes


def draw(phantom: Phantom, *, size: int, seed: int) -> tuple[np.ndarray, dict[str, list[tuple]]]:
    """Draw one image.

    Returns pixels (size, size) uint8 and the boxes of each finding that the release boxes (whether or not the plan
    writes them to the box list): x, y, width, height as floats in the 1024 frame, origin top left.
    """
    geometry = geometry_of(phantom, seed)
    scene, attenuation = healthy_scene(phantom, geometry, pose_of(phantom, seed), seed)
    vary(phantom, scene, seed)
    boxes: dict[str, list[tuple]] = {}
    for finding in phantom.findings:
        rng = phantom.stream(FINDING + FINDINGS.index(finding), seed)
        masks = PAINTERS[finding](scene, rng)
        if finding in BOXED_FINDINGS:
            boxes[finding] = [box_around(mask, rng) for mask in masks]
    attenuation -= _AIR * scene.air
    attenuation += scene.extra
    attenuation += scene.vessels * np.minimum(scene.air * 1.4, 1)
    attenuation += 0.035 * scene.texture * scene.air
    add_kept(phantom, scene, attenuation, seed)
    add_hardware(phantom, scene, attenuation, seed)
    return exposed(phantom, scene.pose, attenuation, size, seed), boxes


def write_data_set(
    root: Path,
    *,
    patients: int,
    images: int,
    boxed: int,
    size: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a set in the layout of the release: label table, box list, both lists, PNGs below ``images_NNN/images``.

    size: side of the PNGs in pixels (boxes stay in the 1024 frame); workers: number of drawing processes; progress:
    called with (images done, all images). The files are the same for any number of workers.
    Raises InputError if the numbers do not fit together (see ``plan``).
    """
    phantoms = plan(patients=patients, images=images, boxed=boxed, seed=seed)
    per_archive = min(MAX_PER_ARCHIVE, max(1, math.ceil(len(phantoms) / 2)))
    paths = [root / f"images_{k // per_archive + 1:03d}" / "images" / p.name for k, p in enumerate(phantoms)]
    for folder in sorted({path.parent for path in paths}):
        folder.mkdir(parents=True, exist_ok=True)

    job = partial(_draw_and_save, size=size, seed=seed)
    boxes = []
    for found in in_order(job, list(zip(phantoms, paths, strict=True)), workers):
        boxes.append(found)
        if progress:
            progress(len(boxes), len(phantoms))

    _write_lines(root / LABEL_TABLE, [_LABEL_HEADER, *(_label_row(phantom, seed) for phantom in phantoms)])
    _write_lines(root / BOX_TABLE, [_BOX_HEADER, *_box_rows(phantoms, boxes)])
    _write_lines(root / TRAIN_VAL_LIST, [phantom.name for phantom in phantoms if not phantom.test])
    _write_lines(root / TEST_LIST, [phantom.name for phantom in phantoms if phantom.test])


Item, Result = TypeVar("Item"), TypeVar("Result")


def in_order(job: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield job(item) for each item in order, computed by this many processes."""
    if workers <= 1:
        yield from map(job, items)
        return
    # fork: with spawn each child would run the calling script again
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(job, items, chunksize=4)


def _draw_and_save(planned: tuple[Phantom, Path], *, size: int, seed: int) -> dict[str, list[tuple]]:
    phantom, path = planned
    pixels, boxes = draw(phantom, size=size, seed=seed)
    picture = Image.fromarray(pixels)
    if phantom.stream(RGBA, seed).random() < _RGBA_SHARE:
        picture = picture.convert("RGBA")  # like some files of the release
    picture.save(path, compress_level=1)
    return boxes


def _label_row(phantom: Phantom, seed: int) -> str:
    width, height, spacing = _DETECTORS[int(phantom.stream(DETECTOR, seed).integers(len(_DETECTORS)))]
    labels = SEPARATOR.join(phantom.findings) or NO_FINDING
    return (
        f"{phantom.name},{labels},{phantom.follow_up},{phantom.patient},{phantom.age},{phantom.sex},{phantom.view},"
        f"{width},{height},{spacing},{spacing}"
    )


def _box_rows(phantoms: list[Phantom], boxes: list[dict[str, list[tuple]]]) -> list[str]:
    """Rows of the box list, grouped by finding as in the release."""
    return [
        f"{phantom.name},{_BOX_SPELLING.get(finding, finding)},{','.join(f'{value:.15g}' for value in box)}"
        for finding in BOXED_FINDINGS
        for phantom, found in zip(phantoms, boxes, strict=True)
        if finding in phantom.boxed
        for box in found[finding]
    ]


def _write_lines(path: Path, lines: list[str]) -> None:
    with replacing(path, durable=False, newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
