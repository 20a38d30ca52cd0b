"""PNG files as grey values: every depth and colour type, how many bits count, which way up."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from png_files import orientation
from png_files import png as png_file

from cxr.data.formats import pictures, png

RAMP = np.arange(64 * 64).reshape(64, 64)
DEEP = (RAMP * 16 + 5).astype(np.uint16)  # 5 … 65525


def values(data: bytes) -> np.ndarray:
    return png.values(data, png.facts(data))[0]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "white"), [(1, 1), (2, 3), (4, 15), (8, 255)])
def test_grey_of_up_to_eight_bits_is_scaled_to_255(depth, white, interlaced):
    samples = RAMP % (white + 1)
    found = values(png_file(samples, depth, 0, interlaced=interlaced))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, samples * (255 // white))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_is_looked_up(depth):
    samples = RAMP % 2**depth
    palette = bytes(value for level in range(2**depth) for value in [255 - level] * 3)
    found = values(png_file(samples, depth, 3, [(b"PLTE", palette), (b"tRNS", bytes(2**depth))]))
    np.testing.assert_array_equal(found, 255 - samples)


@pytest.mark.parametrize("interlaced", [False, True])
def test_sixteen_bits_keep_both_bytes_in_every_colour_type(interlaced):
    """The library itself keeps only the upper byte where there is colour or alpha: 12-bit values would be black."""
    alpha = RAMP[..., None] % 7
    rgb = np.stack([DEEP] * 3, axis=-1)
    for colour, samples in (
        (0, DEEP),
        (4, np.concatenate([DEEP[..., None], alpha], axis=-1)),
        (2, rgb),
        (6, np.concatenate([rgb, alpha], axis=-1)),
    ):
        found = values(png_file(samples, 16, colour, interlaced=interlaced))
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, DEEP, err_msg=str(colour))


def test_colour_of_sixteen_bits_becomes_luminance():
    red = np.zeros((64, 64, 3), np.uint16)
    red[..., 0] = 4095
    assert (values(png_file(red, 16, 2)) == 1224).all()  # 0.299 · 4095 = 1224.4


def test_gamma_transparency_and_profiles_change_nothing():
    plain = png_file(RAMP % 256, 8, 0)
    marked = png_file(RAMP % 256, 8, 0, [(b"gAMA", b"\0\1\x86\xa0"), (b"sRGB", b"\0"), (b"tRNS", b"\0\x07")])
    np.testing.assert_array_equal(values(marked), values(plain))
    deep = png_file(DEEP, 16, 0, [(b"tRNS", b"\0\x05")])
    np.testing.assert_array_equal(values(deep), DEEP)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(turn, after):
    where = {"after" if after else "chunks": [orientation(turn)]}
    samples = RAMP[:, :40] % 251
    small = png_file(samples, 8, 0, **where)
    with Image.open(io.BytesIO(small)) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape == ((64, 40) if turn < 5 else (40, 64))
    np.testing.assert_array_equal(values(small), expected)
    deep = values(png_file(samples * 16, 16, 0, **where))
    np.testing.assert_array_equal(deep, expected.astype(np.uint16) * 16)


def test_damaged_or_foreign_chunks_say_nothing():
    for chunks in (
        [(b"eXIf", b"nonsense")],
        [(b"eXIf", b"")],
        [orientation(9)],
        [(b"sBIT", b"")],
        [(b"sBIT", b"\x11")],
    ):
        facts = png.facts(png_file(DEEP, 16, 0, chunks))
        assert (facts.orientation, facts.stated) == (1, 0), chunks
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8" * 40, png_file(DEEP, 16, 0)[:30]):
        with pytest.raises(ValueError, match="not a PNG"):
            png.facts(data)
    cut = png_file(DEEP, 16, 0, [(b"sBIT", b"\x0c")])[:60]
    assert png.facts(cut) == png.Facts(64, 64, 16, 0, stated=12)


def test_the_chunks_of_a_file_are_those_of_its_bytes(tmp_path):
    data = png_file(np.stack([DEEP, DEEP], axis=-1), 16, 4, [(b"sBIT", b"\x0c\x10")], [orientation(3)])
    (tmp_path / "a.png").write_bytes(data)
    assert png.facts_of(tmp_path / "a.png") == png.facts(data) == png.Facts(64, 64, 16, 4, 12, 3)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="not a PNG"):
        png.facts_of(tmp_path / "empty.png")


# ---- how many bits count


@pytest.mark.parametrize(
    ("stated", "highest", "bits"),
    [
        (12, 4095, 12),  # stored as they are
        (12, 4096, 16),  # scaled to the full range, as the specification has it
        (12, 65520, 16),
        (12, 900, 12),  # a dark picture is one all the same
        (8, 255, 8),
        (8, 65535, 16),
        (15, 32767, 15),
        (16, 4000, 16),  # the file says that all 16 count
        (0, 4000, 0),  # it says nothing
    ],
)
def test_what_the_file_says_counts(stated, highest, bits):
    assert png.significant(stated, highest) == bits


@pytest.mark.parametrize(
    ("highest", "readings"),
    [
        ([], {}),
        ([4000], {12: 12}),
        ([255], {8: 8}),
        ([256], {10: 10}),
        ([1024], {12: 12}),
        ([4096], {14: 14}),
        ([16384, 65535], {16: 16}),
        ([3000, 900], {12: 12, 10: 12}),  # a picture without its white is shown as the others are
        ([20000, 9000], {16: 16, 14: 16}),
        ([64507, 4016], {16: 16, 12: 12}),  # below a sixteenth of white: not of that kind
        ([65535, 9000, 4000, 900, 200], {16: 16, 14: 16, 12: 12, 10: 12, 8: 8}),
    ],
)
def test_the_folder_decides_for_files_that_say_nothing(highest, readings):
    assert png.readings(highest) == readings == png.readings(highest[::-1])


def test_what_is_set_decides_for_all():
    assert png.readings([64507, 4016, 3], bits=12) == {16: 12, 12: 12, 8: 12}


def test_the_highest_value_leaves_out_hot_pixels_but_no_picture():
    pixels = np.full((200, 200), 3000, np.uint16)  # 40,000 pixels: four may be hot
    pixels[0, 0] = 4000
    assert png.peak(pixels) == 4000
    pixels[5, :4] = 65535
    assert png.peak(pixels) == 4000
    pixels[6, 0] = 65535
    assert png.peak(pixels) == 65535
    pixels = np.zeros((64, 64), np.uint16)
    pixels[0, 0] = 700  # of few pixels none is left out
    assert png.peak(pixels) == 700


def test_values_are_scaled_to_the_nearest_grey():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for bits in (8, 10, 12, 13, 16):
        white = 2**bits - 1
        expected = np.rint(np.minimum(every, white).astype(np.float64) * 255 / white)
        np.testing.assert_array_equal(png.scaled(every, bits), expected)
    np.testing.assert_array_equal(png.scaled(every, 16), (every.astype(int) + 128) // 257)
    eight = (every % 256).astype(np.uint8)
    assert png.scaled(eight, 0) is eight


def test_a_picture_by_itself():
    shown = RAMP % 256

    def grey(data, bits=0):
        return png.picture(data, bits)[0]

    twelve, full = png_file(shown * 4095 // 255, 16, 0), png_file(shown * 257, 16, 0)
    np.testing.assert_allclose(grey(twelve).astype(int), shown, atol=1)
    np.testing.assert_array_equal(grey(full), shown)
    dark = png_file(RAMP % 200 * 4, 16, 0)  # up to 796
    assert grey(dark).max() == round(796 / 1023 * 255)
    assert grey(dark, 12).max() == round(796 / 4095 * 255)
    said = png_file(RAMP % 200 * 4, 16, 0, [(b"sBIT", b"\x0c")])
    assert grey(said).max() == grey(said, 10).max() == round(796 / 4095 * 255)
    scaled_up = png_file(shown * 257, 16, 0, [(b"sBIT", b"\x0c")])
    np.testing.assert_array_equal(grey(scaled_up), shown)
    counted = [png.picture(data)[1] for data in (twelve, full, dark, said, scaled_up, png_file(shown, 8, 0))]
    assert counted == [12, 16, 10, 12, 16, 8]


def test_new_pictures_say_how_many_bits_counted_and_do_not_depend_on_each_other(tmp_path):
    files = {
        "twelve.png": (png_file(RAMP % 256 * 16, 16, 0), "PNG, 12 of 16 bits", 254),  # 4080 of 4095
        "dark.png": (png_file(RAMP % 200 * 4, 16, 0), "PNG, 10 of 16 bits", 198),  # 796 of 1023
        "said.png": (png_file(RAMP % 200 * 4, 16, 0, [(b"sBIT", b"\x0c")]), "PNG, 12 of 16 bits", 50),
        "eight.png": (png_file(RAMP % 256, 8, 0), "PNG", 255),
    }
    for name, (data, kind, highest) in files.items():
        (tmp_path / name).write_bytes(data)
        pixels, said = pictures.decode(tmp_path / name)
        assert (said, pixels.max()) == (kind, highest)
    pixels, said = pictures.decode(tmp_path / "dark.png", 12)
    assert (said, pixels.max()) == ("PNG, 12 of 16 bits", 50)
