"""The boxed images as a YOLO data set: ``images/<role>/*.png``, ``labels/<role>/*.txt`` and ``data.yaml``.

A label line is ``class cx cy w h``, the class an index into the findings, the rest fractions of the side with eight
digits (1e-5 px of 1024 after a round trip). ``data.yaml`` holds no ``path``: ultralytics then resolves the roles beside
the file itself, so the folder may lie, or be moved, anywhere, whatever the user's ``datasets_dir`` is.
"""

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from cxr.boxes import FRAME, parse_box_text
from cxr.errors import InputError

Box = tuple[str, float, float, float, float]
CHUNK = 32  # images in memory at once
KEYS = {"train": "train", "validation": "val", "test": "test"}  # our roles in the words of data.yaml


def format_label(boxes: Sequence[Box], findings: Sequence[str]) -> str:
    """Turn boxes (label, x0, y0, x1, y1; 1024 frame, end exclusive) into the text of a YOLO label file."""
    lines = []
    for label, x0, y0, x1, y1 in boxes:
        if label not in findings:
            raise InputError(f"box label '{label}' is none of the findings the detector knows ({', '.join(findings)})")
        numbers = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        lines.append(" ".join([str(findings.index(label)), *(f"{number / FRAME:.8f}" for number in numbers)]) + "\n")
    return "".join(lines)


def read(path: Path, findings: Sequence[str]) -> list[Box]:
    """Read a label file back to boxes (label, x0, y0, x1, y1) in the 1024 frame, end exclusive.

    Raises InputError naming the file and the line if a line is not ``class cx cy w h`` of a known class inside the
    image.
    """
    boxes = []
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            index, *numbers = line.split()
            cx, cy, w, h = (float(number) for number in numbers)
            label = findings[int(index)] if int(index) >= 0 else None
        except (ValueError, IndexError):
            label = None
        corners = [] if label is None else [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        if label is None or not (w > 0 and h > 0 and min(corners) > -1e-6 and max(corners) < 1 + 1e-6):
            raise InputError(
                f"{path}, line {row}: '{line}' is not 'class cx cy w h' with a class below {len(findings)} and a box "
                "inside the image; delete the file and run its rule again"
            )
        boxes.append((label, *(corner * FRAME for corner in corners)))
    return boxes


def write_data_set(
    splits: Mapping[str, pd.DataFrame],
    pixels: Callable[[Sequence[str]], np.ndarray],
    folder: Path,
    findings: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Write images, labels and ``data.yaml``, and remove what no longer belongs there.

    splits: a box split (columns image, boxes) for each role of train, validation, test (two roles may hold the same
    images). pixels: image names → (N, S, S) uint8. Returns a manifest a role: image, file and label (relative to
    folder), boxes (their number), sha256 of the image file, label_sha256. Unchanged files keep their time stamps.
    """
    manifests = {}
    for role, split in splits.items():
        rows = []
        for start in range(0, len(split), CHUNK):
            part = split.iloc[start : start + CHUNK]
            for image, text, picture in zip(part["image"], part["boxes"], pixels(part["image"].tolist()), strict=True):
                boxes = parse_box_text(text)
                png, label = _png(picture), format_label(boxes, findings).encode()
                file, label_file = f"images/{role}/{image}", f"labels/{role}/{Path(image).stem}.txt"
                _write(folder / file, png)
                _write(folder / label_file, label)
                hashes = (hashlib.sha256(content).hexdigest() for content in (png, label))
                rows.append((image, file, label_file, len(boxes), *hashes))
        manifests[role] = pd.DataFrame(rows, columns=["image", "file", "label", "boxes", "sha256", "label_sha256"])
    kept = {folder / name for manifest in manifests.values() for name in [*manifest["file"], *manifest["label"]]}
    for kind in ("images", "labels"):
        for path in sorted((folder / kind).rglob("*"), reverse=True):
            if path.is_file() and path not in kept:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    content = {KEYS[role]: f"images/{role}" for role in splits} | {"names": dict(enumerate(findings))}
    _write(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False).encode())
    return manifests


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="png", compress_level=1)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
