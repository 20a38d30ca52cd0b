"""YOLO data sets: label text, round trips, the folder and its data.yaml, damaged files and how they are mended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from cxr.boxes import FRAME, format_box_text
from cxr.detectors.yolo import data_set
from cxr.detectors.yolo import labels as yolo_labels
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


# ---- compared with the manifest


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A data set of 16 and 3 images, and its manifest."""
    folder, manifest = tmp_path / "data", tmp_path / "data.csv"
    splits = {"train": split_of(range(16)), "validation": split_of([20, 21, 22])}
    tables = yolo_labels.write_data_set(splits, pixels, folder, BOXED_FINDINGS)
    pd.concat([table.assign(role=role) for role, table in tables.items()]).to_csv(manifest, index=False)
    return folder, manifest


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mended(made: tuple[Path, Path], **changes: Any) -> list[str]:
    """Compare a data set with its manifest; return what was told."""
    told: list[str] = []
    data_set.intact(made[1], made[0], **{"pixels": pixels, "tell": told.append, **changes})
    return told


def five_pictures_are_deleted(folder: Path) -> None:
    for number in range(5):
        (folder / f"images/train/{number:08d}_000.png").unlink()


def all_labels_are_emptied(folder: Path) -> None:
    for path in folder.glob("labels/*/*.txt"):
        path.write_bytes(b"")


def a_picture_is_another(folder: Path) -> None:
    pictures = folder / "images/train"
    (pictures / "00000003_000.png").write_bytes((pictures / "00000004_000.png").read_bytes())


def a_picture_loses_its_end(folder: Path) -> None:
    path = folder / "images/validation/00000021_000.png"
    path.write_bytes(path.read_bytes()[:-9])


def a_box_moves(folder: Path) -> None:
    path = folder / "labels/train/00000007_000.txt"
    path.write_text(path.read_text().replace("0.", "0.1", 1))


def a_picture_is_a_folder(folder: Path) -> None:
    path = folder / "images/train/00000002_000.png"
    path.unlink()
    (path / "deep").mkdir(parents=True)
    (path / "deep/file").write_bytes(b"x")


def data_yaml_asks_for_more(folder: Path) -> None:
    with (folder / "data.yaml").open("a") as file:
        file.write("download: import os\n")


def everything_is_gone(folder: Path) -> None:
    for path in content_of(folder):
        (folder / path).unlink()


DAMAGE = {
    five_pictures_are_deleted: "5 files were missing or damaged",
    all_labels_are_emptied: "19 files were missing or damaged",
    a_picture_is_another: "1 files were missing or damaged and were written again (images/train/00000003_000.png)",
    a_picture_loses_its_end: "1 files were missing or damaged",
    a_box_moves: "1 files were missing or damaged and were written again (labels/train/00000007_000.txt)",
    a_picture_is_a_folder: "1 files were missing or damaged",
    data_yaml_asks_for_more: "1 files were missing or damaged and were written again (data.yaml)",
    everything_is_gone: "39 files were missing or damaged",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_missing_or_damaged_is_written_again(made: tuple[Path, Path], damage: Any) -> None:
    before = content_of(made[0])
    damage(made[0])
    assert content_of(made[0]) != before
    told = mended(made)
    assert DAMAGE[damage] in told[0]
    assert content_of(made[0]) == before
    assert mended(made) == []


def test_what_belongs_to_no_one_is_removed_before_ultralytics_sees_it(made: tuple[Path, Path]) -> None:
    """Pictures without labels, labels and pixels kept from an earlier training, links."""
    folder, _ = made
    before = content_of(folder)
    (folder / "images/train/00000099_000.png").write_bytes(b"x")
    (folder / "images/train/00000001_000.npy").write_bytes(b"x")
    (folder / "labels/train.cache").write_bytes(b"x")
    (folder / "images/train/loop").symlink_to(folder)
    (folder / "images/train/gone.png").symlink_to("nowhere")
    (told,) = mended(made)
    assert "5 files belonged to no image and were removed" in told and "labels/train.cache" in told
    assert content_of(folder) == before
    assert not list(folder.rglob("loop")) and not list(folder.rglob("gone.png"))


def test_a_sound_data_set_is_left_alone_and_needs_no_pixels(made: tuple[Path, Path]) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in made[0].rglob("*")}
    assert mended(made, pixels=None) == []
    assert {path: path.stat().st_mtime_ns for path in made[0].rglob("*")} == stamps


@pytest.mark.parametrize("place", ["data", "data/images", "data/labels"])
def test_nothing_is_removed_or_written_through_a_link(tmp_path: Path, made: tuple[Path, Path], place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / place).rename(elsewhere)
    (tmp_path / place).symlink_to(elsewhere)
    (elsewhere / "images").mkdir(exist_ok=True)
    (elsewhere / "images/precious.png").write_bytes(b"x")
    (elsewhere / "precious.png").write_bytes(b"x")
    with pytest.raises(InputError, match=f"{place}: this is a link"):
        mended(made)
    with pytest.raises(InputError, match=f"{place}: this is a link"):
        yolo_labels.write_data_set({"train": split_of([1])}, pixels, made[0], BOXED_FINDINGS)
    assert (elsewhere / "images/precious.png").exists() and (elsewhere / "precious.png").exists()


def test_a_picture_is_not_written_through_a_link_that_lies_where_it_is_prepared(
    tmp_path: Path, made: tuple[Path, Path]
) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    picture = made[0] / "images/train/00000001_000.png"
    (picture.parent / f"{picture.name}.new").symlink_to(tmp_path / "precious")
    picture.unlink()
    mended(made)
    assert picture.exists() and (tmp_path / "precious").read_bytes() == b"mine"


def test_another_picture_in_the_cache_is_refused_with_the_command_to_type(made: tuple[Path, Path]) -> None:
    (made[0] / "images/train/00000003_000.png").unlink()
    with pytest.raises(InputError) as caught:
        mended(made, pixels=lambda names: pixels(names) + 1)
    for words in ("images/train/00000003_000.png: missing or damaged", "another picture", f"rm {made[1]}"):
        assert words in str(caught.value)


MANIFESTS = {
    "half a row": lambda text: text[: len(text) // 2],
    "no table": lambda text: "\0\0",
    "empty": lambda text: "",
    "other columns": lambda text: text.replace("box_text", "boxes_text"),
    "another number of boxes": lambda text: text.replace(".txt,2,", ".txt,3,", 1),
    "another box": lambda text: text.replace(" 1", " 2", 1),
    "a path that leads out": lambda text: text.replace("images/train/00000003", "images/train/../../../00000003"),
    "a name that leads out": lambda text: text.replace("00000003_000", "../../../00000003_000"),
    "another role": lambda text: text.replace(",train\n", ",../train\n"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_damaged_manifest_is_refused_with_the_command_to_type(
    tmp_path: Path, made: tuple[Path, Path], name: str
) -> None:
    text = made[1].read_text(encoding="utf-8")
    made[1].write_text(MANIFESTS[name](text), encoding="utf-8")
    assert made[1].read_text(encoding="utf-8") != text
    before = content_of(tmp_path)
    with pytest.raises(InputError, match=rf"data\.csv: .*rm {made[1]}"):
        mended(made)
    assert content_of(tmp_path) == before
