"""Pictures worked on a band of rows at a time: the same to the last bit as in one piece."""

import numpy as np
import pytest
from dicoms import RAMP, sequence, write
from png_files import png as png_file
from pydicom import uid

from cxr.data.formats import bands, pictures, png

EIGHT = {"BitsAllocated": 8, "bits": 8}
COLOURS = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
PALETTE = {
    f"{colour}PaletteColorLookupTable{part}": value
    for colour in ("Red", "Green", "Blue")
    for part, value in (("Descriptor", [256, 0, 8]), ("Data", bytes(range(255, -1, -1))))
}
TABLE = sequence([4096, 0, 12], [4095 - value for value in range(4096)])
TILTED = RAMP + 5 * np.arange(64)[:, None]  # each band has another range
PADDED = np.where(np.arange(64)[:, None] < 20, 4095, TILTED)  # some bands are padding alone

DICOM = {
    "no window": (TILTED, "MONOCHROME2", {}),
    "inverted": (TILTED, "MONOCHROME1", {}),
    "window": (TILTED, "MONOCHROME2", {"WindowCenter": 900, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"}),
    "tables": (TILTED, "MONOCHROME2", {"ModalityLUTSequence": TABLE, "VOILUTSequence": TABLE}),
    "padding": (PADDED, "MONOCHROME2", {"PixelPaddingValue": 4095}),
    "palette": (RAMP // 16, "PALETTE COLOR", EIGHT | PALETTE),
    "colours": (COLOURS, "RGB", EIGHT | {"PlanarConfiguration": 0}),
    "opposed colours": (COLOURS, "YBR_FULL", EIGHT | {"PlanarConfiguration": 0}),
    "deep opposed colours": (COLOURS * 257, "YBR_FULL", {"bits": 16, "PlanarConfiguration": 0}),
}


def test_bands_are_all_rows_once():
    for shape in ((10, 300), (1, 1), (999, 7), (64, 64, 3)):
        rows = [row for band in bands.of(shape) for row in range(*band.indices(shape[0]))]
        assert rows == list(range(shape[0])), shape


def small(monkeypatch, pixels: int) -> None:
    monkeypatch.setattr(bands, "PIXELS", pixels)


@pytest.mark.parametrize("name", DICOM)
def test_dicom(tmp_path, monkeypatch, name):
    values, kind, elements = DICOM[name]
    write(tmp_path / "a.dcm", values, kind, syntax=uid.ExplicitVRLittleEndian, **elements)
    whole = pictures.decode(tmp_path / "a.dcm")[0]
    assert whole.std() > 5
    for pixels in (64 * 7, 1):
        small(monkeypatch, pixels)
        np.testing.assert_array_equal(pictures.decode(tmp_path / "a.dcm")[0], whole)


@pytest.mark.parametrize("colour, samples", [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_png_of_sixteen_bits(monkeypatch, colour, samples):
    values = np.random.default_rng(1).integers(0, 4096, (64, 64, samples))
    values[:5] //= 64
    data = png_file(values, 16, colour)
    whole = png.picture(data)
    small(monkeypatch, 64 * 7)
    again = png.picture(data)
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1] == whole[1] == 12
