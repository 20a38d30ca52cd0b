"""Pascal-VOC annotations: layout, rounding, round trips, damaged files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lxml import etree

from cxr.boxes import FRAME, format_box_text
from cxr.data import voc
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS

# The layout once more, as a Relax NG schema of its own: it also knows types, and is not what the module checks with.
SCHEMA = etree.RelaxNG(
    etree.fromstring(
        """
<element name="annotation" xmlns="http://relaxng.org/ns/structure/1.0"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <element name="folder"><text/></element>
  <element name="filename"><data type="string"><param name="minLength">1</param></data></element>
  <element name="source"><element name="database"><text/></element></element>
  <element name="size">
    <element name="width"><data type="positiveInteger"/></element>
    <element name="height"><data type="positiveInteger"/></element>
    <element name="depth"><data type="positiveInteger"/></element>
  </element>
  <element name="segmented"><choice><value>0</value><value>1</value></choice></element>
  <zeroOrMore>
    <element name="object">
      <element name="name"><data type="string"><param name="minLength">1</param></data></element>
      <element name="pose"><text/></element>
      <element name="truncated"><choice><value>0</value><value>1</value></choice></element>
      <element name="difficult"><choice><value>0</value><value>1</value></choice></element>
      <element name="bndbox">
        <element name="xmin"><data type="positiveInteger"/></element>
        <element name="ymin"><data type="positiveInteger"/></element>
        <element name="xmax"><data type="positiveInteger"/></element>
        <element name="ymax"><data type="positiveInteger"/></element>
      </element>
    </element>
  </zeroOrMore>
</element>
"""
    )
)
IMAGE = "00000001_000.png"


def write(path: Path, boxes: list[voc.Box], side: int = FRAME) -> Path:
    path.write_bytes(voc.annotation(IMAGE, boxes, folder="train", side=side))
    return path


def corners(content: bytes) -> list[tuple[int, ...]]:
    root = etree.fromstring(content)
    return [
        tuple(int(entry.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax")) for entry in root.iter("bndbox")
    ]


def random_boxes(count: int, smallest: float) -> list[voc.Box]:
    rng = np.random.default_rng(5)
    size = rng.uniform(smallest, 600, (count, 2))
    start = rng.uniform(0, 1, (count, 2)) * (FRAME - size)
    labels = rng.choice(BOXED_FINDINGS, count)
    return [(str(label), *s, *e) for label, s, e in zip(labels, start.tolist(), (start + size).tolist(), strict=True)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 1024, 1024), (1, 1, 1024, 1024)),  # the whole frame, both ends included
        ((10, 20, 30, 40), (11, 21, 30, 40)),  # whole numbers: 20 pixels wide before and after
        ((10.4, 10.6, 30.4, 30.6), (11, 12, 30, 31)),
        ((10.5, 0, 30.5, 8), (12, 1, 31, 8)),  # halves go up, so the width stays
        ((10.2, 0, 10.4, 8), (11, 1, 11, 8)),  # narrower than a pixel: the pixel with its centre
        ((10.6, 0, 10.8, 8), (11, 1, 11, 8)),
        ((1023.7, 0, 1024, 8), (1024, 1, 1024, 8)),  # stays inside
    ],
)
def test_corners_by_hand(box: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert corners(voc.annotation(IMAGE, [("Mass", *box)], folder="train", side=FRAME)) == [expected]


def test_corners_follow_the_size_of_the_image() -> None:
    assert corners(voc.annotation(IMAGE, [("Mass", 100, 200, 300, 400)], folder="train", side=512)) == [
        (51, 101, 150, 200)
    ]


@pytest.mark.parametrize("boxes", [[], random_boxes(1, 1), random_boxes(40, 0.01)])
def test_valid_against_the_layout(boxes: list[voc.Box]) -> None:
    root = etree.fromstring(voc.annotation(IMAGE, boxes, folder="train", side=FRAME))
    SCHEMA.assertValid(root)
    assert len(root.findall("object")) == len(boxes)
    assert root.findtext("filename") == IMAGE
    assert [root.findtext(f"size/{name}") for name in ("width", "height", "depth")] == ["1024", "1024", "1"]


@pytest.mark.parametrize("side", [1024, 1000, 512, 256])
def test_round_trip_loses_at_most_half_a_pixel_and_the_second_nothing(tmp_path: Path, side: int) -> None:
    boxes = random_boxes(300, 1.01 * FRAME / side)
    image, first = voc.read(write(tmp_path / "a.xml", boxes, side))
    assert image == IMAGE
    assert [box[0] for box in first] == [box[0] for box in boxes]
    moved = np.abs(np.array([box[1:] for box in first]) - np.array([box[1:] for box in boxes]))
    assert 0.4 * FRAME / side < moved.max() <= 0.5 * FRAME / side + 1e-9
    assert voc.read(write(tmp_path / "b.xml", first, side))[1] == first


def test_each_direction_is_read_back_by_its_own_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", [("Mass", 100, 200, 300, 400)])
    path.write_text(path.read_text().replace("<height>1024<", "<height>512<"))
    assert voc.read(path)[1] == [("Mass", 100, 400, 300, 800)]


def test_narrow_boxes_keep_a_pixel(tmp_path: Path) -> None:
    boxes = random_boxes(50, 0.001)
    narrow = [(label, x0, y0, x0 + 0.001, y1) for label, x0, y0, x1, y1 in boxes]
    _, read = voc.read(write(tmp_path / "a.xml", narrow))
    for (_, x0, *_), (_, left, _, right, _) in zip(narrow, read, strict=True):
        assert right - left == 1
        assert left <= x0 < right


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (-1, 0, 5, 5), (0, 0, 5, 1024.5), (9, 0, 5, 5), (float("nan"), 0, 5, 5)])
def test_impossible_boxes_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=IMAGE):
        voc.annotation(IMAGE, [("Mass", *box)], folder="train", side=FRAME)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("</annotation>", "", "not readable as XML"),  # half a file
        ("<xmax>30</xmax>", "", "not a Pascal-VOC annotation"),
        ("<segmented>0</segmented>", "<segmented>0</segmented><owner>me</owner>", "not a Pascal-VOC annotation"),
        ("<xmax>30<", "<xmax>thirty<", "<xmax> is 'thirty'"),
        ("<xmax>30<", "<xmax>1025<", "not inside"),
        ("<xmin>11<", "<xmin>0<", "not inside"),
        ("<name>Mass<", "<name>Cat<", "unknown label 'Cat'"),
        ("<width>1024<", "<width><", "<width> is ''"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, before: str, after: str, problem: str) -> None:
    path = write(tmp_path / "00000001_000.xml", [("Mass", 10, 20, 30, 40)])
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(InputError, match=problem) as caught:
        voc.read(path)
    assert str(path) in str(caught.value)


def test_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "00000001_000.xml"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"00000001_000\.xml"):
        voc.read(path)


def test_entities_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("Mass")
    path = write(tmp_path / "a.xml", [("Mass", 10, 20, 30, 40)])
    attack = f'<!DOCTYPE annotation [<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">]><annotation>'
    path.write_text(path.read_text().replace("<annotation>", attack).replace(">Mass<", ">&e;<"))
    with pytest.raises(InputError):
        voc.read(path)


def split_of(images: list[str]) -> pd.DataFrame:
    texts = [format_box_text(random_boxes(count, 2)) for count in range(len(images))]
    return pd.DataFrame({"image": images, "boxes": texts})


def test_split_is_written_and_cleaned(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    images = [f"0000000{k}_000.png" for k in range(4)]
    manifest = voc.write_split(split_of(images), folder)
    assert list(manifest.columns) == ["image", "file", "boxes", "sha256"]
    assert manifest["image"].tolist() == images
    assert manifest["boxes"].tolist() == [0, 1, 2, 3]
    assert {path.name for path in folder.iterdir()} == set(manifest["file"])
    for row in manifest.itertuples():
        image, boxes = voc.read(folder / row.file)
        assert (image, len(boxes)) == (row.image, row.boxes)

    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    fewer = voc.write_split(split_of(images).iloc[:2], folder)
    pd.testing.assert_frame_equal(fewer, manifest.iloc[:2])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == {
        name: stamps[name] for name in fewer["file"]
    }


def test_manifest_tells_changed_boxes(tmp_path: Path) -> None:
    split = split_of(["00000001_000.png", "00000002_000.png"])
    before = voc.write_split(split, tmp_path)
    split.loc[1, "boxes"] = "Mass 1.000 2.000 30.000 40.000"
    after = voc.write_split(split, tmp_path)
    assert (before["sha256"] == after["sha256"]).tolist() == [True, False]


def test_images_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png, a\.jpg"):
        voc.write_split(pd.DataFrame({"image": ["a.png", "a.jpg"], "boxes": ["", ""]}), tmp_path)
