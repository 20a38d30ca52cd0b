"""Files that a user brings: each kind decodes to the grey values meant, any other is refused with its reason."""

import numpy as np
import pandas as pd
import pydicom
import pytest
from dicoms import write
from PIL import Image

from cxr.boxes import CORNERS
from cxr.data.formats import pictures
from cxr.data.formats.decode import UnusableImage
from cxr.errors import InputError
from cxr.inference import new_images, prepare
from cxr.runtime.journal import Journal

RAMP = np.tile(np.arange(0, 4096, 32), (100, 1))  # (100, 128), 12 bits
EIGHT = np.rint(RAMP / 4095 * 255)


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


def decoded(path):
    return pictures.decode(path)[0].astype(float)


def test_a_window_maps_to_the_whole_range_and_monochrome1_is_inverted(tmp_path):
    path = tmp_path / "a.dcm"
    write(path, RAMP, WindowCenter=2048, WindowWidth=4096)
    assert np.abs(decoded(path) - EIGHT).max() <= 1
    write(path, 4095 - RAMP, "MONOCHROME1", WindowCenter=2048, WindowWidth=4096)
    assert np.abs(decoded(path) - EIGHT).max() <= 1
    write(path, RAMP, WindowCenter=1000, WindowWidth=200)
    assert set(np.unique(decoded(path)[RAMP < 850])) == {0} and set(np.unique(decoded(path)[RAMP > 1150])) == {255}


def test_the_window_is_in_the_rescaled_values(tmp_path):
    path = tmp_path / "a.dcm"
    write(path, RAMP, WindowCenter=-2048, WindowWidth=8192, RescaleSlope=2, RescaleIntercept=-6144)
    assert np.abs(decoded(path) - EIGHT).max() <= 1  # 2 x - 6144 runs from -6144 to 2046, as the window does


def test_a_voi_lut_is_applied(tmp_path):
    table = pydicom.Dataset()
    path = tmp_path / "a.dcm"
    header = {"VOILUTSequence": pydicom.Sequence([table])}
    table.add_new(0x00283002, "US", [4096, 0, 8])
    table.add_new(0x00283006, "US", [255 - value // 16 for value in range(4096)])
    write(path, RAMP, **header)
    assert np.abs(decoded(path) - (255 - RAMP // 16)).max() <= 1


def test_without_a_window_the_values_span_the_range_and_padding_does_not_count(tmp_path):
    path = tmp_path / "a.dcm"
    values = RAMP // 4 + 100
    write(path, values)
    assert np.abs(decoded(path) - np.rint((values - 100) / (values.max() - 100) * 255)).max() <= 1
    values[:, :10] = 4095
    write(path, values, PixelPaddingValue=4095)
    assert decoded(path)[0, -1] == 255


def test_pngs_of_every_depth_and_jpegs(tmp_path):
    grey = EIGHT.astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "lossy.JPG", format="JPEG", quality=95)
    for name, slack in (("grey.png", 0), ("rgba.png", 0), ("deep.png", 0), ("lossy.JPG", 6)):
        assert np.abs(decoded(tmp_path / name) - EIGHT).max() <= slack, name


def test_a_jpeg_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(EIGHT.astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert decoded(tmp_path / "a.jpg").shape == (128, 100)


def test_what_cannot_be_used_says_why(tmp_path):
    Image.fromarray(EIGHT.astype(np.uint8)).save(tmp_path / "whole.png")
    Image.fromarray(EIGHT.astype(np.uint8)).save(tmp_path / "whole.jpg")
    cut = (tmp_path / "whole.png").read_bytes()[:-30]
    write(tmp_path / "colour.dcm", RAMP, "PALETTE COLOR")
    write(tmp_path / "film.dcm", np.concatenate([RAMP, RAMP]), NumberOfFrames=2)
    files = {
        "empty.png": (b"", "zero bytes"),
        "cut.png": (cut, "truncated"),
        "cut.jpg": ((tmp_path / "whole.jpg").read_bytes()[:400], "unreadable"),
        "notes.txt": (b"hello", "neither PNG, JPEG nor DICOM"),
        "noise.dcm": (b"\0" * 128 + b"DICM" + bytes(range(256)), ""),
        "colour.dcm": (None, "an incomplete DICOM header"),
        "film.dcm": (None, "more than one frame"),
    }
    for name, (data, reason) in files.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UnusableImage) as raised:
            pictures.decode(tmp_path / name)
        assert reason in raised.value.reason, name


def test_what_a_library_says_of_a_damaged_file_is_told_as_a_whole(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff" + bytes(99))
    words = "so it goes, " * 99 + "and this is what to do"

    def fail(*arguments, **options):
        raise ValueError(words)

    monkeypatch.setattr(pictures.Image, "open", fail)
    with pytest.raises(UnusableImage) as raised:
        pictures.decode(tmp_path / "a.jpg")
    assert raised.value.detail == words


def test_boxes_come_back_to_the_pixels_of_an_image_that_is_not_square(tell, tmp_path):
    """200 × 100 px: 50 px of margin above and below; the frame's 1024 are 200 px."""
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((100, 200), 200, np.uint8)).save(tmp_path / "in/wide.png")
    (tmp_path / "in/notes.txt").write_text("hello")
    sides = [(64, tmp_path / "a.u8"), (128, tmp_path / "b.u8")]
    prepare.prepare(
        folder=tmp_path / "in",
        bits=0,
        sides=sides,
        index=tmp_path / "i.csv",
        rejected=tmp_path / "r.csv",
        note=tmp_path / "n.txt",
        tell=tell,
    )
    table = new_images.read_index(tmp_path / "i.csv")
    assert table[["width", "height", "side", "left", "top"]].iloc[0].tolist() == [200, 100, 200, 0, 50]
    assert pd.read_csv(tmp_path / "r.csv")["image"].tolist() == ["notes.txt"]
    pixels = new_images.Pixels(tmp_path / "b.u8", table, 128).read(["wide.png"])[0]
    assert (pixels[:32] == 0).all() and (pixels[32:96] == 200).all() and (pixels[96:] == 0).all()
    frame = pd.DataFrame(
        [("wide.png", 0, 256, 512, 512), ("wide.png", 0, 0, 1024, 1024), ("wide.png", 0, 0, 1024, 250)],
        columns=["image", *CORNERS],
    ).astype(dict.fromkeys(CORNERS, float))
    own = new_images.to_own_pixels(frame, table)
    assert own[CORNERS].to_numpy().tolist() == [[0, 0, 100, 50], [0, 0, 200, 100]]
    assert new_images.to_frame(own, table).iloc[0][CORNERS].tolist() == [0, 256, 512, 512]


def test_a_folder_without_a_usable_file_is_an_error(tell, tmp_path):
    (tmp_path / "in").mkdir()
    files = {"index": tmp_path / "i.csv", "rejected": tmp_path / "r.csv", "note": tmp_path / "n.txt"}
    arguments = {"bits": 0, "sides": [], **files, "tell": tell}
    with pytest.raises(InputError, match="no file anywhere below"):
        prepare.prepare(folder=tmp_path / "in", **arguments)
    (tmp_path / "in/a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 1 files can be used; the first, a\.png: zero bytes"):
        prepare.prepare(folder=tmp_path / "in", **arguments)
