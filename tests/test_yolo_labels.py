"""YOLO data sets: label text, round trips, the folder and its data.yaml, damaged files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from cxr import yolo_labels
from cxr.boxes import FRAME, format_box_text
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS


def random_boxes(count: int, seed: int = 5) -> list[yolo_labels.Box]:
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.01, 600, (count, 2))
    start = rng.uniform(0, 1, (count, 2)) * (FRAME - size)
    labels = rng.choice(BOXED_FINDINGS, count)
    return [(str(label), *s, *e) for label, s, e in zip(labels, start.tolist(), (start + size).tolist(), strict=True)]


def pixels(names: Sequence[str]) -> np.ndarray:
    return np.stack([np.full((16, 16), int(name[:8]), dtype=np.uint8) for name in names])


def split_of(numbers: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": [f"{number:08d}_000.png" for number in numbers],
            "boxes": [format_box_text(random_boxes(1 + number % 3, number)) for number in numbers],
        }
    )


def test_lines_by_hand() -> None:
    text = yolo_labels.format_label([("Mass", 0, 0, 1024, 1024), ("Nodule", 256, 512, 512, 640)], BOXED_FINDINGS)
    assert text.splitlines() == [
        "4 0.50000000 0.50000000 1.00000000 1.00000000",
        "5 0.37500000 0.56250000 0.25000000 0.12500000",
    ]
    assert yolo_labels.format_label([], BOXED_FINDINGS) == ""


def test_round_trip(tmp_path: Path) -> None:
    boxes = [("Mass", 0, 0, 1024, 1024), ("Mass", 1023.99, 0, 1024, 1024), *random_boxes(500)]
    path = tmp_path / "a.txt"
    path.write_text(yolo_labels.format_label(boxes, BOXED_FINDINGS))
    read = yolo_labels.read(path, BOXED_FINDINGS)
    assert [box[0] for box in read] == [box[0] for box in boxes]
    moved = np.abs(np.array([box[1:] for box in read]) - np.array([box[1:] for box in boxes]))
    assert moved.max() < 0.01
    path.write_text(yolo_labels.format_label(read, BOXED_FINDINGS))
    again = yolo_labels.read(path, BOXED_FINDINGS)
    assert np.array([box[1:] for box in again]) == pytest.approx(np.array([box[1:] for box in read]), abs=1e-4)


def test_unknown_label_is_refused() -> None:
    with pytest.raises(InputError, match="Hernia"):
        yolo_labels.format_label([("Hernia", 0, 0, 5, 5)], BOXED_FINDINGS)


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.5",
        "0 0.5 0.5 0.5 0.5 0.9",
        "Mass 0.5 0.5 0.5 0.5",
        "8 0.5 0.5 0.5 0.5",
        "-1 0.5 0.5 0.5 0.5",
        "0 0.5 0.5 0.5 x",
        "0 0.5 0.5 nan 0.5",
        "0 0.5 0.5 0 0.5",
        "0 0.9 0.5 0.5 0.5",
        "\x00\x00",
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "00000001_000.txt"
    path.write_text(f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(InputError, match=r"00000001_000\.txt, line 2"):
        yolo_labels.read(path, BOXED_FINDINGS)


def test_folder(tmp_path: Path) -> None:
    splits = {"train": split_of(range(40)), "validation": split_of([7, 8]), "test": split_of([7, 8])}
    manifests = yolo_labels.write_data_set(splits, pixels, tmp_path, BOXED_FINDINGS)
    assert list(manifests) == list(splits)
    for role, split in splits.items():
        manifest = manifests[role]
        assert manifest["image"].tolist() == split["image"].tolist()
        for row, text in zip(manifest.itertuples(), split["boxes"], strict=True):
            picture = Image.open(tmp_path / row.file)
            assert picture.mode == "L"
            assert (np.asarray(picture) == int(row.image[:8])).all()
            assert (tmp_path / row.label).read_text().count("\n") == row.boxes == text.count(";") + 1
            assert row.label == row.file.replace("images", "labels").replace("png", "txt")


def test_data_yaml_names_roles_and_classes(tmp_path: Path) -> None:
    splits = {"train": split_of([1]), "validation": split_of([2]), "test": split_of([3])}
    yolo_labels.write_data_set(splits, pixels, tmp_path, BOXED_FINDINGS)
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content == {
        "train": "images/train",
        "val": "images/validation",
        "test": "images/test",
        "names": dict(enumerate(BOXED_FINDINGS)),
    }


def test_stale_files_go_and_unchanged_ones_stay(tmp_path: Path) -> None:
    def stamps() -> dict[str, int]:
        return {str(path.relative_to(tmp_path)): path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}

    yolo_labels.write_data_set(
        {"train": split_of([1, 2, 3]), "validation": split_of([4])}, pixels, tmp_path, BOXED_FINDINGS
    )
    (tmp_path / "labels/train.cache").write_bytes(b"what ultralytics leaves")
    before = stamps()
    yolo_labels.write_data_set({"train": split_of([2, 3, 9])}, pixels, tmp_path, BOXED_FINDINGS)
    after = stamps()
    images = {f"0000000{number}_000" for number in (2, 3, 9)}
    expected = {f"images/train/{name}.png" for name in images} | {f"labels/train/{name}.txt" for name in images}
    assert set(after) == expected | {"data.yaml"}
    kept = set(before) & expected
    assert len(kept) == 4
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
    assert not (tmp_path / "images/validation").exists()
