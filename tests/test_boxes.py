"""Boxes: geometry by hand and against brute force, and the box list, sound and spoilt."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.boxes import (
    FRAME,
    cell_coverage,
    format_box_text,
    iobb,
    iou,
    is_large,
    parse_box_text,
    pixel_mask,
    read_box_table,
)
from cxr.errors import InputError

OFFICIAL = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
NONE = np.zeros((0, 4))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def random_boxes(rng: np.random.Generator, count: int, step: int = 1) -> np.ndarray:
    """Boxes with corners on multiples of `step`, some of them partly outside the frame."""
    corners = rng.integers(-64, FRAME + 64, size=(count, 2, 2)) // step * step
    return np.sort(corners, axis=1).reshape(count, 4).astype(float)


def raster(boxes: np.ndarray) -> np.ndarray:
    """Brute force for boxes with whole corners: visit every box's pixels one row at a time."""
    pixels = np.zeros((FRAME, FRAME), dtype=bool)
    for x0, y0, x1, y1 in boxes.astype(int):
        for y in range(max(y0, 0), min(y1, FRAME)):
            pixels[y, max(x0, 0) : max(x1, 0)] = True
    return pixels


# geometry


def test_coverage_of_one_box_by_hand():
    # x: 48 of 64 pixels of column 0, all of column 1; y: 16 of 64 pixels of row 2
    coverage = cell_coverage([[16, 128, 128, 144]])
    assert coverage.shape == (16, 16)
    assert coverage.dtype == np.float32
    assert coverage[2, 0] == 0.75 * 0.25
    assert coverage[2, 1] == 0.25
    assert coverage.sum() == pytest.approx(0.4375)


def test_coverage_counts_overlapping_boxes_once():
    # 32 + 32 - 16 columns of one cell, full height
    assert cell_coverage([[0, 0, 32, 64], [16, 0, 48, 64]])[0, 0] == 0.75
    assert cell_coverage([[0, 0, 32, 64], [0, 0, 32, 64]])[0, 0] == 0.5


def test_coverage_of_fractions_of_a_pixel():
    assert cell_coverage([[0.25, 0.5, 0.75, 1.0]])[0, 0] == pytest.approx(0.25 / 4096)


def test_coverage_at_the_edges():
    assert not cell_coverage(NONE).any()
    assert not cell_coverage([[10, 10, 10, 20]]).any()
    assert not cell_coverage([[-50, 0, -10, 64]]).any()
    assert (cell_coverage([[0, 0, FRAME, FRAME]]) == 1).all()
    assert (cell_coverage([[-9, -9, FRAME + 9, FRAME + 9]]) == 1).all()


def test_coverage_agrees_with_a_raster():
    rng = np.random.default_rng(5)
    for count in (1, 1, 2, 3, 5, 8):
        boxes = random_boxes(rng, count)
        for grid in (1, 4, 16):
            side = FRAME // grid
            expected = raster(boxes).reshape(grid, side, grid, side).mean(axis=(1, 3))
            np.testing.assert_allclose(cell_coverage(boxes, grid), expected, atol=1e-6)


def test_coverage_of_a_grid_that_does_not_divide_the_frame():
    boxes = random_boxes(np.random.default_rng(6), 4)
    total = cell_coverage(boxes, 7).mean(dtype=np.float64)
    assert total == pytest.approx(raster(boxes).mean(), abs=1e-6)


def test_pixel_mask_agrees_with_a_raster():
    rng = np.random.default_rng(7)
    for count in (0, 1, 4):
        boxes = random_boxes(rng, count)
        np.testing.assert_array_equal(pixel_mask(boxes), raster(boxes))


def test_pixel_mask_takes_pixels_by_their_centre():
    # at side 4 a pixel is 256 wide, its centres at 128, 384, 640, 896
    assert pixel_mask([[128, 0, 640, 129]], side=4).tolist() == [[True, True, False, False]] + [[False] * 4] * 3
    assert not pixel_mask([[129, 0, 383, 1024]], side=4).any()


def test_iou_and_iobb_by_hand():
    a = [[0, 0, 10, 10], [0, 0, 20, 20]]
    b = [[5, 5, 15, 15], [0, 0, 10, 10], [50, 50, 60, 60]]
    np.testing.assert_allclose(iou(a, b), [[25 / 175, 1, 0], [100 / 400, 100 / 400, 0]])
    np.testing.assert_allclose(iobb(a, b), [[0.25, 1, 0], [100 / 400, 100 / 400, 0]])
    np.testing.assert_allclose(iobb(b, a), [[0.25, 1], [1, 1], [0, 0]])


def test_overlap_of_nothing():
    assert iou(NONE, [[0, 0, 1, 1]]).shape == (0, 1)
    assert iobb([[0, 0, 1, 1]], NONE).shape == (1, 0)
    assert iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]).item() == 0  # no area: no overlap, not 0 / 0


def test_iou_agrees_with_torchvision():
    torch = pytest.importorskip("torch")
    from torchvision.ops import box_iou

    rng = np.random.default_rng(8)
    a, b = random_boxes(rng, 30), random_boxes(rng, 20)
    a, b = a[(a[:, 2:] > a[:, :2]).all(axis=1)], b[(b[:, 2:] > b[:, :2]).all(axis=1)]
    np.testing.assert_allclose(iou(a, b), box_iou(torch.tensor(a), torch.tensor(b)).numpy(), atol=1e-12)


def test_three_senses_of_large():
    lying, standing, long_and_flat, exact = [0, 0, 385, 257], [0, 0, 257, 385], [0, 0, 1000, 100], [0, 0, 384, 256]
    large = is_large([lying, standing, long_and_flat, exact])
    assert large["both"].tolist() == [True, False, False, False]
    assert large["either"].tolist() == [True, True, False, False]
    assert large["area"].tolist() == [True, True, True, False]


def test_box_text_round_trip():
    boxes = [("Mass", 1.0, 2.5, 3.125, 1024.0), ("Pleural_Thickening", 0.0, 0.0, 0.001, 7.0)]
    assert format_box_text(boxes) == "Mass 1.000 2.500 3.125 1024.000;Pleural_Thickening 0.000 0.000 0.001 7.000"
    assert parse_box_text(format_box_text(boxes)) == boxes
    assert parse_box_text(format_box_text([])) == []


def test_box_text_that_is_none():
    for text in ("Mass 1 2 3", "Mass a 2 3 4", "nonsense"):
        with pytest.raises(InputError, match=text.split()[0]):
            parse_box_text(text)


# the box list


@pytest.mark.parametrize(
    "header",
    [
        OFFICIAL,
        "Image Index,Finding Label,Bbox [x,y,w,h]",
        "Image Index,Finding Label,x,y,w,h",
        'Image Index,Finding Label,"Bbox [x,y,w,h]",,,',
        "\ufeffimage_index,FINDING LABEL,x,y,w,h\r",
    ],
)
def test_headers_of_the_release_and_its_mirrors(tmp_path, header):
    boxes, rejected = read_box_table(write(tmp_path / "b.csv", header, "a.png,Infiltrate,10,20.5,30,40"), {"a.png"})
    assert boxes.to_dict("records") == [
        {"image": "a.png", "label": "Infiltration", "x0": 10.0, "y0": 20.5, "x1": 40.0, "y1": 60.5}
    ]
    assert rejected.empty


def test_columns_go_by_their_names(tmp_path):
    path = write(tmp_path / "b.csv", "h,w,y,x,Finding Label,Image Index", "4,3,2,1,Mass,a.png")
    boxes, _ = read_box_table(path, None)
    assert boxes.iloc[0].tolist() == ["a.png", "Mass", 1, 2, 4, 6]


SPOILT = {
    "ghost.png,Mass,1,2,3,4": "unknown image",
    "a.png,Hernia,1,2,3,4": "unknown label",
    "a.png,Mas,1,2,3,4": "unknown label",
    "a.png,Mass,nan,2,3,4": "coordinate is not a number",
    "a.png,Mass,NaN,2,3,4": "coordinate is not a number",
    "a.png,Mass,1,2,inf,4": "coordinate is not a number",
    "a.png,Mass,1,two,3,4": "coordinate is not a number",
    "a.png,Mass,1,2,3": "coordinate is not a number",
    "a.png,Mass,1,2,0,4": "zero or negative size",
    "a.png,Mass,1,2,3,-4": "zero or negative size",
    "a.png,Mass,1020,2,5.5,4": "outside the frame",
    "a.png,Mass,2000,2,5,4": "outside the frame",
    "a.png,Mass,-0.5,2,0.4,4": "outside the frame",
    "a.png,Mass,1,2,3,4,5": "too many fields",
    "a.png,Effusion,0,0,9,9": "duplicate row",
}


def test_each_kind_of_trouble_is_set_aside_with_its_reason(tmp_path):
    sound = [f"a.png,Effusion,{x},0,9,9" for x in range(len(SPOILT))]
    path = write(tmp_path / "BBox.csv", OFFICIAL, *sound, "", *SPOILT)
    boxes, rejected = read_box_table(path, {"a.png"})
    assert len(boxes) == len(sound)
    assert rejected["reason"].tolist() == list(SPOILT.values())
    assert rejected["row"].tolist() == list(range(len(sound) + 3, len(sound) + 3 + len(SPOILT)))
    assert set(rejected["table"]) == {"BBox.csv"}
    assert rejected.columns.tolist() == ["table", "row", "item", "reason", "detail"]
    details = dict(zip(SPOILT, rejected["detail"], strict=True))
    assert "ghost.png" in details["ghost.png,Mass,1,2,3,4"]
    assert "'Mas'" in details["a.png,Mas,1,2,3,4"]
    assert "two" in details["a.png,Mass,1,two,3,4"]


def test_a_hair_outside_the_frame_is_clipped(tmp_path):
    path = write(tmp_path / "b.csv", OFFICIAL, "a.png,Mass,-0.5,-1,100,100", "a.png,Mass,1000,1000,24.9,24")
    boxes, rejected = read_box_table(path, None)
    assert boxes[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == [[0, 0, 99.5, 99], [1000, 1000, 1024, 1024]]
    assert rejected.empty


def test_boxes_for_images_the_table_lacks_do_not_stop_a_run(tmp_path):
    lines = ["a.png,Mass,1,2,3,4", *(f"other{i}.png,Mass,1,2,3,4" for i in range(5))]
    boxes, rejected = read_box_table(write(tmp_path / "b.csv", OFFICIAL, *lines), {"a.png"})
    assert len(boxes) == 1
    assert len(rejected) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (OFFICIAL + "\n", "no rows"),
        ("Path,Sex,Age\nx,y,z\n", r"'Image Index', 'Finding Label', 'Bbox \[x' is missing.*Path,Sex,Age"),
        ("Image Index,Finding Label,x,y,w\na.png,Mass,1,2,3\n", "'h]' is missing"),
        (OFFICIAL + "\na.png,Mass,nan,1,1,1\na.png,Mass,1,nan,1,1\na.png,Mass,1,1,9,9\n", "2 of 3 .*row 2 .*nan"),
        (OFFICIAL + "\nghost.png,Mass,1,1,1,1\n", "1 of 1 .*ghost.png"),
    ],
)
def test_what_is_no_box_list_stops(tmp_path, content, said):
    path = tmp_path / "BBox.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_box_table(path, {"a.png"})
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_read_stops(tmp_path):
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    for path in (tmp_path / "absent.csv", tmp_path, binary):
        with pytest.raises(InputError, match=path.name):
            read_box_table(path, None)


# the real list


@pytest.fixture(scope="module")
def real_boxes(nih_sample: Path) -> pd.DataFrame:
    boxes, rejected = read_box_table(nih_sample / "BBox_List_2017.csv", None)
    assert rejected.empty
    return boxes


def test_the_real_list_has_984_boxes_on_880_images(real_boxes):
    assert len(real_boxes) == 984
    assert real_boxes["image"].nunique() == 880
    assert real_boxes["label"].nunique() == 8
    assert (real_boxes["label"] == "Infiltration").sum() == 123


def test_46_real_boxes_cover_no_cell_by_more_than_half(real_boxes):
    corners = real_boxes[["x0", "y0", "x1", "y1"]].to_numpy()
    assert sum(not (cell_coverage(box) > 0.5).any() for box in corners) == 46


def test_real_large_boxes(real_boxes):
    large = is_large(real_boxes[["x0", "y0", "x1", "y1"]])
    assert {sense: int(which.sum()) for sense, which in large.items()} == {"both": 184, "either": 224, "area": 296}
