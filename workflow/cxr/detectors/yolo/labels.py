"""The boxed images as a YOLO data set: ``images/<role>/*.png``, ``labels/<role>/*.txt`` and ``data.yaml``.

A label line is ``class cx cy w h``, the class an index into the findings, the rest fractions of the side with eight
digits (1e-5 px of 1024 after a round trip). ``data.yaml`` is for the user's own programs; no job reads it. It holds
no ``path``, so ultralytics resolves the roles beside the file and the folder may be moved anywhere.

Its manifest lies beside the folder. Before each training the folder is compared with it: missing or damaged files are
written again from the image cache, unknown files are removed.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from cxr.boxes import FRAME, parse_box_text
from cxr.errors import InputError
from cxr.runtime.journal import legible
from cxr.runtime.replacing import replacing

Box = tuple[str, float, float, float, float]
CHUNK = 32  # images in memory at once
KEYS = {"train": "train", "validation": "val", "test": "test"}  # our roles as data.yaml calls them
KINDS = ("images", "labels")
MANIFEST = ["image", "file", "label", "boxes", "box_text", "sha256", "label_sha256"]
Pixels = Callable[[Sequence[str]], np.ndarray]  # image names → (N, S, S) uint8


class OtherPicture(InputError):
    """The image cache holds a different picture of an image from when the data set was made."""


@dataclass(frozen=True)
class DataSet:
    """A data set below `folder`, as it should be. manifest: columns `MANIFEST` and role."""

    folder: Path
    findings: tuple[str, ...]
    manifest: pd.DataFrame

    @property
    def roles(self) -> list[str]:
        return list(self.manifest["role"].unique())

    def pictures(self, role: str) -> list[Path]:
        """Return the image files of a role."""
        return [self.folder / file for file in self.manifest.loc[self.manifest["role"] == role, "file"]]


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

    Raises InputError naming the file and the line if a line is not ``class cx cy w h`` with a known class and a box
    inside the image.
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
    splits: Mapping[str, pd.DataFrame], pixels: Pixels, folder: Path, findings: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Write images, labels and ``data.yaml``, and remove files that no longer belong there.

    splits: role (train, validation, test) → box split (columns image, boxes); two roles may hold the same images. Returns
    one manifest per role: image, file and label (relative to folder), boxes (their number), box_text (the boxes, as in the
    split), sha256 of the image file, label_sha256. Unchanged files keep their time stamps. Raises InputError if the folder
    is a link.
    """
    _sweep(folder, {name for role, split in splits.items() for image in split["image"] for name in _files(role, image)})
    manifests = {}
    for role, split in splits.items():
        rows = []
        for start in range(0, len(split), CHUNK):
            part = split.iloc[start : start + CHUNK]
            for image, text, picture in zip(part["image"], part["boxes"], pixels(part["image"].tolist()), strict=True):
                boxes = parse_box_text(text)
                png, label = _png(picture), format_label(boxes, findings).encode()
                file, label_file = _files(role, image)
                _write(folder / file, png)
                _write(folder / label_file, label)
                rows.append((image, file, label_file, len(boxes), text, _sha256(png), _sha256(label)))
        manifests[role] = pd.DataFrame(rows, columns=MANIFEST)
    _write(folder / "data.yaml", _description(list(splits), findings))
    return manifests


def inconsistency(data: DataSet) -> str:
    """Return how a manifest contradicts itself (paths, number of boxes, label checksums); "" if it does not."""
    for row in data.manifest.itertuples():
        if (
            row.role not in KEYS
            or Path(row.image).name != row.image
            or (row.file, row.label) != _files(row.role, row.image)
        ):
            return f"'{row.file}' is not the file of a picture '{row.image}' for '{row.role}'"
        try:
            boxes = parse_box_text(row.box_text)
            label = format_label(boxes, data.findings).encode()
        except (InputError, ValueError) as error:
            return f"the boxes of '{row.image}' are not readable ({error})"
        if len(boxes) != row.boxes or _sha256(label) != row.label_sha256:
            return f"the boxes of '{row.image}' are not those of its label file"
    return ""


def mend(data: DataSet, pixels: Pixels) -> tuple[list[str], list[str]]:
    """Make a data set match its manifest (`inconsistency`: none); return the files written again and those removed.

    Both are paths relative to the folder. Every file is read and its SHA-256 compared. Raises OtherPicture if pixels
    returns a picture other than the recorded one, InputError if the folder is a link.
    """
    rows = data.manifest
    removed = _sweep(data.folder, {*rows["file"], *rows["label"]})
    pictures = rows[[not _holds(data.folder / row.file, row.sha256) for row in rows.itertuples()]]
    labels = rows[[not _holds(data.folder / row.label, row.label_sha256) for row in rows.itertuples()]]
    for start in range(0, len(pictures), CHUNK):
        part = pictures.iloc[start : start + CHUNK]
        for row, picture in zip(part.itertuples(), pixels(part["image"].tolist()), strict=True):
            png = _png(picture)
            if _sha256(png) != row.sha256:
                raise OtherPicture(
                    f"{legible(data.folder / row.file)}: missing or damaged, and the image cache now has another picture "
                    f"of '{row.image}'"
                )
            _write(data.folder / row.file, png)
    for row in labels.itertuples():
        _write(data.folder / row.label, format_label(parse_box_text(row.box_text), data.findings).encode())
    description = _description(data.roles, data.findings)
    others = [] if _holds(data.folder / "data.yaml", _sha256(description)) else ["data.yaml"]
    _write(data.folder / "data.yaml", description)
    return [*pictures["file"], *labels["label"], *others], removed


def _files(role: str, image: str) -> tuple[str, str]:
    """Return the paths of a picture and its label file, relative to the folder."""
    return f"images/{role}/{image}", f"labels/{role}/{Path(image).stem}.txt"


def _description(roles: Sequence[str], findings: Sequence[str]) -> bytes:
    content = {KEYS[role]: f"images/{role}" for role in roles} | {"names": dict(enumerate(findings))}
    return yaml.safe_dump(content, sort_keys=False).encode()


def _sweep(folder: Path, kept: set[str]) -> list[str]:
    """Remove everything but the kept files (relative paths), and empty folders; return the files removed.

    ultralytics would treat stray pictures as unlabelled images, and it trusts `*.npy` and `*.cache` files beside them.
    """
    removed = []
    for place in (folder, *(folder / kind for kind in KINDS)):
        if place.is_symlink():
            raise InputError(
                f"{legible(place)}: this is a link, and files of a data set are not replaced or removed through links; "
                "remove it and run the same command again"
            )
    for kind in KINDS:
        for path in sorted((folder / kind).rglob("*"), reverse=True):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_dir():
                if name not in kept:
                    path.unlink()
                    removed.append(name)
            elif not any(path.iterdir()):
                path.rmdir()
    return removed


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path.read_bytes()) == sha256


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="png", compress_level=1)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, binary=True, durable=False) as file:
        file.write(content)
