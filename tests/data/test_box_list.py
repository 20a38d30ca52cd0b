"""Boxes: geometry by hand and against brute force, and the box list, sound and spoilt."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rasters import raster

from cxr.boxes import FRAME, cell_coverage, format_box_text, iobb, iou, is_large, parse_box_text
from cxr.data.box_list import inspect_box_table, read_box_table
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
    lines = ["a.png,Mass,1,2,3,4", *(f"other{i}.png,Mass,601,702,103,104" for i in range(5))]
    boxes, rejected = read_box_table(write(tmp_path / "b.csv", OFFICIAL, *lines), {"a.png"})
    assert len(boxes) == 1
    assert len(rejected) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (OFFICIAL + "\n", "no rows"),
        (
            "Path,Sex,Age\nx,y,z\n",
            r"'Image Index', 'Finding Label', 'Bbox \[x', 'y', 'w', 'h\]' is missing.*Path,Sex,Age",
        ),
        ("Image Index,Finding Label,x,y,w\na.png,Mass,1,2,3\n", "'h]' is missing"),
        (OFFICIAL + "\na.png,Mass,nan,1,1,1\na.png,Mass,1,nan,1,1\na.png,Mass,1,1,9,9\n", "2 of 3 .*row 2 .*nan"),
        (
            OFFICIAL + "\nghost.png,Mass,1,1,1,1\n",
            "1 of 1 boxes are on images.*'ghost.png' .row 2., .*label table.*'a.png'",
        ),
        (OFFICIAL + "\na.png,Mass,1,1,1,1\n" * 2 + "Image Index,Finding Label,x,y,w,h", "2 of 3 boxes are unusable"),
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


# box lists as people save them

PLAIN = ["00000001_000.png,Infiltrate,300.5,400.25,200,250.5", "00000002_010.png,Mass,600,100,64,80"]
EXPECTED = [
    ["00000001_000.png", "Infiltration", 300.5, 400.25, 500.5, 650.75],
    ["00000002_010.png", "Mass", 600.0, 100.0, 664.0, 180.0],
]
WHOLE = "\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *PLAIN])


def of_names(names: str, *numbers: str) -> str:
    images = ("00000001_000.png,Infiltrate,", "00000002_010.png,Mass,")
    return "\n".join([names, *(image + each for image, each in zip(images, numbers, strict=True))])


AS_SAVED = {  # what people did to it: the file, and a word of the note on it ("": none is due)
    "by pandas": (
        ",Image Index,Finding Label,Bbox [x,y,w,h],Unnamed: 6,Unnamed: 7,Unnamed: 8\n"
        + "\n".join(f"{at},{line},,," for at, line in enumerate(PLAIN)),
        "",
    ),
    "by R": (
        '"Image.Index","Finding.Label","Bbox..x","y","w","h.","X","X.1","X.2"\n'
        + "\n".join(f'"{at}",{line},NA,NA,NA' for at, line in enumerate(PLAIN, 1)),
        "",
    ),
    "semicolons": (WHOLE.replace(",", ";"), "semicolons"),
    "decimal commas": (
        WHOLE.replace(",", ";").replace(".25", ",25").replace(".5", ",5"),
        "numbers read from a decimal comma: 3",
    ),
    "tabs": (WHOLE.replace(",", "\t"), "tabs"),
    "UTF-16": (WHOLE, "UTF-16"),
    "folders": (
        WHOLE.replace("00000001_000", "images/00000001_000"),
        "image names with a folder, another ending or none: 1",
    ),
    "no ending": (WHOLE.replace(".png", ""), "'00000001_000' (row 2)"),
    "JPEG": (WHOLE.replace(".png", ".JPG"), "'00000001_000.JPG' (row 2)"),
    "small letters": (WHOLE.replace("Mass", "mass"), "'mass' (row 3) as Mass"),
    "the label table's spelling": (WHOLE.replace("Infiltrate", "Infiltration"), ""),
    "blanks": (WHOLE.replace(",", " , "), ""),
    "corners": (
        of_names("image_id,class_name,x_min,y_min,x_max,y_max", "300.5,400.25,500.5,650.75", "600,100,664,180"),
        "read as corners",
    ),
    "corners beside the image's size": (
        of_names(
            "filename,label,x1,y1,x2,y2,width,height",
            "300.5,400.25,500.5,650.75,1024,1024",
            "600,100,664,180,1024,1024",
        ),
        "read as corners",
    ),
    "corners from 0": (
        of_names("image,label,x0,y0,x1,y1", "300.5,400.25,500.5,650.75", "600,100,664,180"),
        "read as corners",
    ),
    "middles": (
        of_names("image,label,x_center,y_center,width,height", "400.5,525.5,200,250.5", "632,140,64,80"),
        "read as a box's middle and size",
    ),
    "other names": (
        of_names("image,label,left,top,width,height", "300.5,400.25,200,250.5", "600,100,64,80"),
        "left as x",
    ),
}


@pytest.mark.parametrize("what", AS_SAVED)
def test_a_list_gives_the_same_boxes_however_it_was_saved(tmp_path, what):
    content, note = AS_SAVED[what]
    path = tmp_path / "b.csv"
    path.write_text(content, encoding="utf-16" if what == "UTF-16" else "utf-8")
    table = inspect_box_table(path, {"00000001_000.png", "00000002_010.png"})
    assert table.boxes.to_numpy().tolist() == EXPECTED
    assert table.rejected.empty
    assert any(note in said for said in table.notes) if note else not table.notes
    assert all(said.startswith("b.csv: ") for said in table.notes)


def test_the_form_of_the_release_needs_no_note(tmp_path):
    table = inspect_box_table(write(tmp_path / "b.csv", WHOLE), None)
    assert (table.boxes.to_numpy().tolist(), table.notes) == (EXPECTED, ())


def test_columns_of_one_name_must_agree(tmp_path):
    lines = ["a.png,Mass,1,2,3,4,1", "b.png,Mass,5,2,3,4,6"]
    with pytest.raises(InputError, match="two columns are named 'x' and differ in row 3; remove the wrong one"):
        read_box_table(write(tmp_path / "b.csv", "Image Index,Finding Label,x,y,w,h,x", *lines), None)
    assert len(read_box_table(write(tmp_path / "b.csv", "Image Index,Finding Label,x,y,w,h,x", lines[0]), None)[0]) == 1


def test_rows_in_shares_of_the_side_are_set_aside(tmp_path):
    lines = ["a.png,Mass,500,400,100,90", "b.png,Mass,300,600,80,70", "c.png,Mass,0.25,0.5,0.125,0.0625"]
    boxes, rejected = read_box_table(write(tmp_path / "b.csv", OFFICIAL, *lines), None)
    assert len(boxes) == 2
    assert rejected[["row", "reason", "detail"]].to_numpy().tolist() == [
        [4, "less than a pixel: shares of the side instead of pixels?", "x, y, w, h = 0.25, 0.5, 0.125, 0.0625"]
    ]


def test_a_list_in_another_frame_stops_with_the_first_box_and_the_remedy(tmp_path):
    path = write(tmp_path / "b.csv", OFFICIAL, *(f"i{at}.png,Mass,0.{at}5,0.5,0.25,0.125" for at in range(3)))
    with pytest.raises(InputError) as error:
        read_box_table(path, None)
    assert str(error.value) == (
        f"{path}: all 3 boxes lie within 0..1, like shares of the image's side; multiply all four numbers by 1024. The "
        "first box (row 2) is x, y, w, h = 0.05, 0.5, 0.25, 0.125; expected x, y, w, h: the upper left corner and the "
        "size, in pixels of the 1024 x 1024 image"
    )


def test_a_doubtful_list_is_read_and_said(tmp_path):
    lines = [f"i{at}.png,Mass,{100 + at},320,200,80" for at in range(5)]
    table = inspect_box_table(write(tmp_path / "b.csv", OFFICIAL, *lines), None)
    assert len(table.boxes) == 5
    assert table.notes[0].startswith("b.csv: all 5 boxes end within 400 of 1024 pixels")


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
