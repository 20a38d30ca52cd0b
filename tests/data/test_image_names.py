"""One name an image, however a table or a folder writes it."""

import pytest

from cxr.data.image_names import canonical


@pytest.mark.parametrize(
    "written",
    [
        "00000013_005.png",
        " 00000013_005.png\t",
        "00000013_005.PNG",
        "00000013_005",
        "00000013_005.jpg",
        "00000013_005.JPEG",
        "00000013_005.tiff",
        "00000013_005.dcm",
        "images/00000013_005.png",
        "/data/images_001/images/00000013_005.png ",
        "images\\00000013_005.png",
        r"D:\nih/images\00000013_005.Png",
        "./00000013_005",
    ],
)
def test_ways_to_write_one_name(written):
    assert canonical(written) == "00000013_005.png"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Röntgen.png", "Röntgen.png"),
        ("A.png", "A.png"),  # capitals of the stem stay
        ("scan 1.png", "scan 1.png"),
        ("1.2.840.113", "1.2.840.113.png"),  # no image's ending: part of the stem
        ("a.jpg.png", "a.jpg.png"),  # one ending, not two
        ("", ""),
        ("images/", ""),
        (".png", ""),
    ],
)
def test_what_is_kept_and_what_is_no_name(written, name):
    assert canonical(written) == name
    assert canonical(name) == name
