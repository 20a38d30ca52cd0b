"""Stored values of a grey DICOM image become the grey values that a viewer shows; all worked out by hand."""

import numpy as np
import pydicom
import pytest
from dicoms import sequence
from pydicom import Dataset
from pydicom.pixels import apply_presentation_lut, apply_windowing

from cxr.data.formats import dicom_grey

VALUES = [0, 1000, 2000, 4000]
RANGE = [0, 64, 128, 255]  # 255 times 1/4 and 1/2, rounded, where nothing says more than the values


def shown(values, kind="MONOCHROME2", dtype=np.int32, **elements):
    """The grey values of one row; elements: by keyword, their value or their (VR, value)."""
    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = kind, 12, 0
    for name, value in elements.items():
        header.add_new(name, *value) if isinstance(value, tuple) else setattr(header, name, value)
    return dicom_grey.shown(np.array([values], dtype), header, True)[0].tolist()


def test_without_a_window_the_values_span_the_range():
    assert shown(VALUES) == RANGE
    assert shown(VALUES, "MONOCHROME1") == [255, 191, 128, 0]  # 127.5 goes to the even neighbour, both ways
    assert shown([7, 7]) == [0, 0]
    assert shown([-2000, -1000, 0, 2000]) == RANGE
    assert shown([0, 0.25, 0.5, 1], dtype=np.float32) == RANGE


# ---- units


def test_rescaled_values_are_what_a_window_is_about():
    window = {"WindowCenter": 0.5, "WindowWidth": 201}  # linear: from -100 to 100
    assert shown([0, 25, 50, 100], RescaleSlope=2, RescaleIntercept=-100, **window) == RANGE
    assert shown([100, 75, 50, 0], RescaleSlope=-2, RescaleIntercept=100, **window) == RANGE


def test_pydicom_turns_a_window_over_where_the_rescale_falls():
    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 8, 0
    header.WindowCenter, header.WindowWidth, header.RescaleSlope, header.RescaleIntercept = 128, 256, -1, 255
    assert apply_windowing(np.array([0.0, 255.0]), header).tolist() == [255, 0]
    rescale = {"RescaleSlope": -1, "RescaleIntercept": 255}
    assert shown([255, 0], WindowCenter=128, WindowWidth=256, **rescale) == [0, 255]


@pytest.mark.parametrize(
    "slope, intercept, expected",
    [
        (None, None, [0, 50, 255, 255]),
        ("", "", [0, 50, 255, 255]),
        (None, 100, [100, 150, 255, 255]),
        (2, None, [0, 100, 255, 255]),
        (0, 0, [0, 50, 255, 255]),
        (("LO", "one"), 0, [0, 50, 255, 255]),
        ("1e-99999", "0", [0, 50, 255, 255]),
    ],
)
def test_an_empty_rescale_counts_as_absent(slope, intercept, expected):
    elements = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    assert shown([0, 50, 255, 4000], WindowCenter=128, WindowWidth=256, **elements) == expected


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_modality_table_of_any_claimed_bits_gives_the_units_of_the_window(bits):
    table = sequence([4, 0, bits], [255, 170, 85, 0])
    elements = {"ModalityLUTSequence": table, "RescaleSlope": 7, "RescaleIntercept": 7}
    assert shown([0, 1, 2, 3], WindowCenter=128, WindowWidth=256, **elements) == [255, 170, 85, 0]
    assert shown([0, 1, 2, 3], **elements) == [255, 170, 85, 0]


def test_the_modality_table_of_angiography_is_not_for_display():
    table = sequence([4, 0, 16], [255, 170, 85, 0])
    for storage in dicom_grey.NOT_FOR_DISPLAY:
        assert shown([0, 1, 2, 3], SOPClassUID=storage, ModalityLUTSequence=table) == [0, 85, 170, 255]


# ---- grey: tables


@pytest.mark.parametrize("claimed", [12, 16])
def test_a_voi_table_that_claims_more_bits_than_its_entries_have(claimed):
    table = sequence([4, 10, claimed], [0, 1365, 2730, 4095])
    assert shown([0, 11, 12, 99], VOILUTSequence=table) == [0, 85, 170, 255]


def test_a_dark_picture_under_a_full_table_stays_dark():
    table = sequence([4096, 0, 16], [place * 16 for place in range(4096)])
    assert shown([0, 100, 200], VOILUTSequence=table) == [0, 6, 12]  # 1600 / 65535 of 255 is 6.2


def test_a_voi_table_comes_before_a_window_and_is_about_rescaled_values():
    table = sequence([3, -1, 8], [0, 100, 255])
    elements = {"WindowCenter": 2048, "WindowWidth": 4096, "RescaleSlope": 1, "RescaleIntercept": -10}
    assert shown([9, 10, 11], VOILUTSequence=table, **elements) == [0, 100, 255]


def test_a_first_value_below_zero_that_was_written_without_its_sign():
    table = sequence([3, 65535, 8], [0, 100, 255])
    assert shown([9, 10, 11], VOILUTSequence=table, RescaleSlope=1, RescaleIntercept=-10) == [0, 100, 255]


def test_empty_items_count_as_absent_and_the_next_is_taken():
    half = Dataset()
    half.add_new("LUTDescriptor", "US", [4, 0, 8])
    full = sequence([2, 0, 8], [255, 0])[0]
    for empty in ([], [Dataset()], [half]):
        assert shown(VALUES, VOILUTSequence=pydicom.Sequence(empty)) == RANGE
        assert shown(VALUES, ModalityLUTSequence=pydicom.Sequence(empty)) == RANGE
        assert shown([0, 1], VOILUTSequence=pydicom.Sequence([*empty, full])) == [255, 0]
    assert shown([0, 128, 255], VOILUTSequence=[Dataset()], WindowCenter=128, WindowWidth=256) == [0, 128, 255]


# ---- grey: windows


def test_the_window_functions():
    assert shown([99, 100, 150, 200, 201], WindowCenter=150.5, WindowWidth=101) == [0, 0, 128, 255, 255]
    exact = {"WindowCenter": 150, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown([99, 100, 150, 200, 201], **exact) == [0, 0, 128, 255, 255]
    assert shown([-9999, 150, 175, 9999], **exact | {"VOILUTFunction": "SIGMOID"}) == [0, 128, 186, 255]
    # 255 / (1 + e^-1) = 186.4 at a quarter of the width above the centre
    for function in ("", "linear", "CUBIC"):
        window = {"WindowCenter": 150.5, "WindowWidth": 101, "VOILUTFunction": function}
        assert shown([100, 150, 200], **window) == [0, 128, 255]


def test_a_linear_window_of_width_one_is_a_threshold_and_one_below_is_meant_exactly():
    assert shown([9, 10, 11], WindowCenter=10, WindowWidth=1) == [0, 255, 255]
    rescale = {"RescaleSlope": 0.00025, "RescaleIntercept": 0}
    assert shown([0, 1000, 2000, 4000], WindowCenter=0.25, WindowWidth=0.5, **rescale) == [0, 128, 255, 255]


def test_of_several_windows_the_first_that_can_be_used():
    first = {"WindowCenter": [128, 9], "WindowWidth": [256, 1]}
    assert shown([0, 128, 255, 4000], **first) == [0, 128, 255, 255]
    assert shown([0, 128, 255, 4000], WindowCenter=[50, 128], WindowWidth=[0, 256]) == [0, 128, 255, 255]
    assert shown([0, 128, 255, 4000], WindowCenter=[128], WindowWidth=[256, 1]) == [0, 128, 255, 255]


@pytest.mark.parametrize(
    "center, width",
    [
        (None, None),
        ("", ""),
        (2048, None),
        (None, 4096),
        (2048, 0),
        (2048, -5),
        (("LO", "AUTO"), 5),
        (5, ("LO", "wide")),
    ],
)
def test_a_window_that_cannot_be_used_counts_as_absent(center, width):
    assert shown(VALUES, WindowCenter=center, WindowWidth=width) == RANGE


# ---- polarity


@pytest.mark.parametrize(
    "kind, shape, inverted",
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # they say the same
        ("MONOCHROME1", "IDENTITY", True),  # they do not: devices err in the shape
        ("MONOCHROME2", "OTHER", False),
    ],
)
def test_low_values_are_white_where_either_element_says_so(kind, shape, inverted):
    grey = shown([0, 100, 4000], kind, WindowCenter=128, WindowWidth=256, PresentationLUTShape=shape)
    assert grey == ([255, 155, 0] if inverted else [0, 100, 255])


def test_pydicom_inverts_about_the_brightest_pixel_and_not_about_white():
    header = Dataset()
    header.PresentationLUTShape = "INVERSE"
    assert apply_presentation_lut(np.array([0, 50, 100]), header).tolist() == [100, 50, 0]
    window = {"WindowCenter": 128, "WindowWidth": 256, "PresentationLUTShape": "INVERSE"}
    assert shown([0, 50, 100], **window) == [255, 205, 155]


# ---- padding


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count_for_the_range(kind):
    grey = [0, 64, 128, 255] if kind == "MONOCHROME2" else [255, 191, 128, 0]
    assert shown([*VALUES, -5000], kind, PixelPaddingValue=("SS", -5000)) == [*grey, 0]
    assert shown([*VALUES, 30000], kind, PixelPaddingValue=("US", 30000)) == [*grey, 0]
    limits = {"PixelPaddingValue": ("SS", -9), "PixelPaddingRangeLimit": ("SS", -5)}
    assert shown([*VALUES, -9, -7, -5], kind, **limits) == [*grey, 0, 0, 0]
    limits = {"PixelPaddingValue": ("US", 9000), "PixelPaddingRangeLimit": ("US", 8000)}
    assert shown([*VALUES, 8000, 8500, 9000], kind, **limits) == [*grey, 0, 0, 0]


def test_padding_is_black_under_windows_and_tables_too():
    window = {"WindowCenter": 128, "WindowWidth": 256, "PixelPaddingValue": ("US", 4095)}
    assert shown([0, 255, 4095], **window) == [0, 255, 0]
    assert shown([0, 255, 4095], "MONOCHROME1", **window) == [255, 0, 0]
    table = {"VOILUTSequence": sequence([2, 0, 8], [0, 255]), "PixelPaddingValue": ("US", 9)}
    assert shown([0, 1, 9], **table) == [0, 255, 0]
    assert shown([0, 1, 9], "MONOCHROME1", **table) == [255, 0, 0]


def test_padding_is_found_by_its_bits_whatever_sign_the_header_gives_it():
    assert shown([*VALUES, -2000], dtype=np.int16, PixelPaddingValue=("US", 63536)) == [*RANGE, 0]
    assert shown([*VALUES, 63536], dtype=np.uint16, PixelPaddingValue=("SS", -2000)) == [*RANGE, 0]


def test_padding_of_floats_what_is_no_number_and_a_picture_of_nothing_else():
    values = [0, 0.25, 0.5, 1, np.nan, np.inf, -9]
    assert shown(values, dtype=np.float32, FloatPixelPaddingValue=-9.0) == [*RANGE, 0, 0, 0]
    assert shown([5, 5], "MONOCHROME1", PixelPaddingValue=("US", 5)) == [0, 0]


@pytest.mark.parametrize("padding", [("US", None), ("LO", "none"), ("DS", "")])
def test_an_empty_padding_counts_as_absent(padding):
    assert shown(VALUES, PixelPaddingValue=padding) == RANGE
    assert shown(VALUES, PixelPaddingRangeLimit=("US", 5)) == RANGE
