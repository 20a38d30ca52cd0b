"""Elements that are missing, empty or nonsense count as absent, whatever pydicom makes of them."""

import math

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cxr.data.formats import dicom_elements

CENTER, PADDING, FUNCTION, TABLES = "WindowCenter", "PixelPaddingValue", "VOILUTFunction", "VOILUTSequence"


def header(keyword, kind, data):
    """A header as it is read from a file, its values not yet converted."""
    found = Dataset()
    found[Tag(keyword)] = RawDataElement(Tag(keyword), kind, len(data), data, 0, False, True)
    return found


@pytest.mark.parametrize(
    "kind, data, expected",
    [
        ("DS", b"1.5\\2 ", [1.5, 2]),
        ("DS", b" 7 ", [7]),
        ("DS", b"", []),
        ("DS", b"  ", []),
        ("DS", b"AUTO", [math.nan]),
        ("DS", b"20,5", [math.nan]),
        ("DS", b"\\5", [math.nan, 5]),
        ("US", b"\x01\x00\x00\x01", [1, 256]),
        ("US", b"\x01", []),  # pydicom cannot convert it
        ("FD", b"123", []),
    ],
)
def test_numbers(kind, data, expected):
    assert np.array_equal(dicom_elements.numbers(header(CENTER, kind, data), CENTER), expected, equal_nan=True)


@pytest.mark.parametrize(
    "data, expected", [(b"3\\4", 3), (b"0", 0), (b"", None), (b"nan", None), (b"inf", None), (b"x\\4", None)]
)
def test_a_number_is_the_first_and_finite(data, expected):
    assert dicom_elements.number(header(PADDING, "DS", data), PADDING) == expected
    assert dicom_elements.number(Dataset(), PADDING) is None


def test_words_and_items():
    assert dicom_elements.word(header(FUNCTION, "CS", b" sigmoid "), FUNCTION) == "SIGMOID"
    assert dicom_elements.word(header(FUNCTION, "CS", b"A\\B "), FUNCTION) == ""
    assert dicom_elements.word(Dataset(), FUNCTION) == ""
    assert dicom_elements.items(header(TABLES, "SQ", b""), TABLES) == []
    assert dicom_elements.items(header(TABLES, "SQ", b"\x01\x02\x03"), TABLES) == []
    assert dicom_elements.items(header(TABLES, "LO", b"no\\ne "), TABLES) == []
    assert dicom_elements.items(header(TABLES, "SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00"), TABLES) == [Dataset()]
