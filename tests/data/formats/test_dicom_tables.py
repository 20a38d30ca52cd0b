"""Lookup tables: every packing gives the same entries; where pydicom's own functions fail or misread, it is shown."""

import numpy as np
import pytest
from dicoms import item, sequence
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from cxr.data.formats import dicom_tables

FOUR = [10, 20, 30, 40]
VALUES = np.array([[0, 1, 2, 300]], np.uint16)
OF_FOUR = [[10, 20, 30, 40]]  # 300 lies beyond the end


def read(table, little_endian=True, span=(0, 4095), **names):
    return dicom_tables.read(table, little_endian=little_endian, span=span, **names)


def header(keyword, *arguments, syntax=ExplicitVRLittleEndian):
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    setattr(found, keyword, sequence(*arguments))
    return found


# ---- faults of pydicom 3.0.2, and the right values


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_pydicom_knows_no_modality_table_of_10_to_15_bits(bits):
    with pytest.raises(TypeError, match="not understood"):
        apply_modality_lut(VALUES, header("ModalityLUTSequence", [4, 0, bits], FOUR))
    assert read(item([4, 0, bits], FOUR)).look_up(VALUES).tolist() == OF_FOUR


@pytest.mark.parametrize("apply, keyword", [(apply_modality_lut, "ModalityLUTSequence"), (apply_voi, "VOILUTSequence")])
def test_pydicom_cannot_unpack_two_entries_a_word(apply, keyword):
    for packed in ((bytes(FOUR), "OW"), ([10 + 256 * 20, 30 + 256 * 40], "US")):
        with pytest.raises(Exception, match=r"requires a buffer|out of bounds"):
            apply(VALUES, header(keyword, [4, 0, 8], *packed))
        assert read(item([4, 0, 8], *packed)).look_up(VALUES).tolist() == OF_FOUR


@pytest.mark.parametrize("apply, keyword", [(apply_modality_lut, "ModalityLUTSequence"), (apply_voi, "VOILUTSequence")])
def test_pydicom_fails_on_a_table_that_starts_below_zero_for_unsigned_values(apply, keyword):
    with pytest.raises(OverflowError):
        apply(VALUES, header(keyword, [4, -1, 16], FOUR))
    assert read(item([4, -1, 16], FOUR)).look_up(VALUES).tolist() == [[20, 30, 40, 40]]


def test_pydicom_wraps_the_distance_from_the_first_value_to_16_bits():
    values = np.array([[-2, 32767]], np.int16)
    assert apply_modality_lut(values, header("ModalityLUTSequence", [4, -2, 16], FOUR)).tolist() == [[10, 10]]
    assert read(item([4, -2, 16], FOUR), span=(-2, 32767)).look_up(values).tolist() == [[10, 40]]


def test_pydicom_wraps_the_places_of_a_voi_table_of_8_bits_at_256():
    halves = [place // 2 for place in range(512)]
    assert apply_voi(VALUES, header("VOILUTSequence", [512, 0, 8], halves)).tolist() == [[0, 0, 1, 22]]
    assert read(item([512, 0, 8], halves)).look_up(VALUES).tolist() == [[0, 0, 1, 150]]


def test_pydicom_cuts_the_fractions_of_rescaled_values_off():
    values = np.array([[0.9, 1.4, 1.6]])
    assert apply_voi(values, header("VOILUTSequence", [4, 0, 16], FOUR)).tolist() == [[10, 20, 20]]
    assert read(item([4, 0, 16], FOUR)).look_up(values).tolist() == [[20, 20, 30]]


def test_pydicom_takes_the_bytes_of_a_big_endian_palette_for_little_endian():
    palette = header("VOILUTSequence", [4, 0, 16], FOUR, syntax=ExplicitVRBigEndian)
    for colour in ("Red", "Green", "Blue"):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(palette, f"{colour}PaletteColorLookupTableData", np.array(FOUR, ">u2").tobytes())
    assert apply_color_lut(VALUES, palette)[..., 0].tolist() == [[2560, 5120, 7680, 10240]]
    names = {"descriptor": "RedPaletteColorLookupTableDescriptor", "data": "RedPaletteColorLookupTableData"}
    assert read(palette, little_endian=False, **names).look_up(VALUES).tolist() == OF_FOUR


# ---- every packing


@pytest.mark.parametrize(
    "data, kind, little_endian",
    [
        (FOUR, "US", True),
        (FOUR, "US", False),
        (np.array(FOUR, "<u2").tobytes(), "OW", True),
        (np.array(FOUR, ">u2").tobytes(), "OW", False),
        (bytes(FOUR), "OW", True),
        (bytes([20, 10, 40, 30]), "OW", False),  # the first entry is a word's lower byte, which comes second
        ([10 + 256 * 20, 30 + 256 * 40], "US", False),
    ],
)
def test_a_table_is_the_same_in_every_packing(data, kind, little_endian):
    table = read(item([4, 0, 8], data, kind), little_endian=little_endian)
    assert (table.first, table.entries.tolist(), table.depth) == (0, FOUR, 8)


def test_an_odd_number_of_bytes_has_one_of_padding_that_is_no_entry():
    for data in (bytes([1, 2, 3]), bytes([1, 2, 3, 0]), bytes([1, 2, 3, 9])):
        assert read(item([3, 0, 8], data, "OW")).entries.tolist() == [1, 2, 3]


def test_a_count_of_zero_is_65536_entries_and_one_above_32767_may_look_negative():
    table = read(item([0, 0, 16], list(range(65536))))
    assert len(table.entries) == 65536 and table.look_up(np.array([65535])).tolist() == [65535]
    assert len(read(item([40000 - 65536, 0, 16], list(range(40000)))).entries) == 40000


def test_a_table_of_one_entry_and_one_that_is_not_as_long_as_it_claims():
    assert read(item([1, 5, 8], [7])).look_up(np.array([0, 9])).tolist() == [7, 7]
    assert read(item([2, 0, 16], FOUR)).entries.tolist() == [10, 20]
    assert read(item([400, 0, 16], FOUR)).look_up(VALUES).tolist() == OF_FOUR


@pytest.mark.parametrize(
    "written, span, first",
    [
        (100, (0, 4095), 100),
        (100, (-65500, 4095), 100),  # both readings reach some: as it stands
        (-100, (-500, 500), -100),
        (64512, (-1024, 3071), -1024),  # without a sign, no value is reached: all would be the first entry
        (-25536, (40000, 44095), 40000),
        (64512, (60000, 65535), 64512),
        (60000, (0, 4095), 60000),  # neither reading reaches one: as it stands
    ],
)
def test_the_first_value_is_read_with_the_sign_under_which_the_table_reaches_the_values(written, span, first):
    assert read(item([4096, written, 16], list(range(4096))), span=span).first == first


@pytest.mark.parametrize("descriptor, data", [(None, FOUR), ([4, 0], FOUR), ([4, 0, 8], None), ([4, 0, 8], [])])
def test_half_a_table_is_none(descriptor, data):
    half = Dataset()
    if descriptor:
        half.add_new("LUTDescriptor", "US", descriptor)
    if data is not None:
        half.add_new("LUTData", "US", data)
    assert read(half) is None


@pytest.mark.parametrize(
    "largest, claimed, depth",
    [
        (4095, 12, 12),
        (255, 8, 8),
        (65535, 16, 16),
        (40000, 16, 16),
        (4095, 16, 12),  # all ones: 12 bits, whatever is claimed
        (1023, 16, 10),
        (1023, 12, 10),
        (32767, 16, 15),
        (3000, 16, 12),
        (2040, 16, 12),  # 11 bits, in which no device works
        (200, 16, 8),
        (20000, 16, 16),  # dark, on purpose: 14 bits do not hold it
        (2000, 12, 12),
        (100, 8, 8),
        (4095, 8, 12),  # more than is claimed
        (4000, 0, 12),
        (4000, 11, 12),
        (1500, 11, 11),
        (1, 8, 1),
        (0, 16, 8),
        (0, 0, 8),
    ],
)
def test_full_white_is_what_the_entries_need_rather_than_what_is_claimed(largest, claimed, depth):
    assert dicom_tables.depth(largest, claimed) == depth


def test_values_far_beyond_a_table_become_the_entry_at_its_end():
    assert read(item([4, 0, 16], FOUR)).look_up(np.array([-1e30, 1e30])).tolist() == [10, 40]
    assert read(item([4, 0, 16], FOUR)).look_up(np.array([0, 255], np.uint8)).tolist() == [10, 40]
    assert read(item([4, -1, 16], FOUR), span=(0, 9)).look_up(np.array([0, 9], np.uint16)).tolist() == [20, 40]
    assert read(item([4, 2, 16], FOUR)).look_up(np.array([0, 3], np.uint16)).tolist() == [10, 20]
    long = read(item([4096, -3000, 16], list(range(4096))))
    assert long.look_up(np.array([0, 255], np.uint8)).tolist() == [3000, 3255]
