"""DICOM files: the picture in them whatever their encoding, or the reason why there is none."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from dicoms import RAMP, sequence, stream, without_preamble, write
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from cxr.data.formats import dicom, pictures
from cxr.data.formats.decode import UnusableImage

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
GREY = np.rint(RAMP / 4095 * 255)
EIGHT = {"BitsAllocated": 8, "bits": 8}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.dcm"


def decoded(path):
    pixels, kind = pictures.decode(path)
    assert kind == "DICOM" and pixels.dtype == np.uint8
    return pixels.astype(float)


def refused(path):
    with pytest.raises(UnusableImage) as raised:
        pictures.decode(path)
    assert raised.value.detail in str(raised.value)
    return raised.value.reason, raised.value.detail


def rewritten(path, **elements):
    """Set elements of a written file; None leaves one out."""
    header = pydicom.dcmread(path)
    for name, value in elements.items():
        delattr(header, name) if value is None else setattr(header, name, value)
    header.save_as(path)


# ---- encodings


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_uncompressed_files(path, syntax):
    write(path, RAMP, syntax=syntax, **WINDOW)
    assert np.abs(decoded(path) - GREY).max() <= 1


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("kind, values", [("OW", range(4096)), ("US", range(4096))])
def test_tables_in_the_byte_order_of_the_file(path, syntax, kind, values):
    order = "<" if syntax.is_little_endian else ">"
    data = np.array(values, f"{order}u2").tobytes() if kind == "OW" else list(values)
    write(path, RAMP, syntax=syntax, VOILUTSequence=sequence([4096, 0, 16], data, kind))
    assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, 4095 - RAMP, syntax=syntax, ModalityLUTSequence=sequence([4096, 0, 12], data, kind), **WINDOW)
    assert np.abs(decoded(path) - (255 - GREY)).max() <= 1


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_files_without_a_preamble(path, syntax):
    write(path, RAMP, syntax=syntax, **WINDOW)
    without_preamble(path, keep_meta=True)
    assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, RAMP, syntax=syntax, VOILUTSequence=sequence([4096, 0, 16], list(range(4096))))
    without_preamble(path)
    assert np.abs(decoded(path) - GREY).max() <= 1
    path.write_bytes(b"DICM" + path.read_bytes())
    assert np.abs(decoded(path) - GREY).max() <= 1


def test_a_preamble_that_looks_like_another_kind_of_picture(path):
    write(path, RAMP, **WINDOW)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + path.read_bytes()[8:])
    assert np.abs(decoded(path) - GREY).max() <= 1


def test_meta_information_without_its_transfer_syntax(path):
    write(path, RAMP, **WINDOW)
    header = pydicom.dcmread(path)
    del header.file_meta.TransferSyntaxUID
    header.save_as(path, implicit_vr=False, little_endian=True)
    assert np.abs(decoded(path) - GREY).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is a text file of some length\n" * 20,
        bytes(range(256)) * 8,
        b"\x08\x00" + bytes(range(256)) * 8,
        b"\x08\x00\x05\x00CS\x0a\x00" + b"\xff" * 500,
        b"\x00\x08" * 400,
        b"\x02\x00",
        b"PK\x03\x04" + bytes(500),
        np.random.default_rng(0).bytes(4000),
        b"\x08\x00" + np.random.default_rng(1).bytes(4000),
    ],
)
def test_bytes_of_something_else_are_no_dicom(path, data):
    path.write_bytes(data)
    assert refused(path)[0] == "neither PNG, JPEG nor DICOM"


# ---- compressed


@pytest.mark.parametrize("name, slack", [("RLELossless", 0), ("JPEG2000Lossless", 0)])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_files_are_the_same_as_uncompressed_ones(path, name, slack, signed):
    sign = {"PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 2000} if signed else {}
    write(path, RAMP - 2000 * signed, **WINDOW, **sign)
    plain = decoded(path)
    header = pydicom.dcmread(path)
    header.compress(getattr(uid, name), generate_instance_uid=False)
    header.save_as(path)
    assert np.abs(plain - GREY).max() <= 1 and np.array_equal(decoded(path), plain)


@pytest.mark.parametrize(
    "name, slack",
    [
        ("JPEGExtended12Bit", 1),
        ("JPEGLossless", 0),
        ("JPEGLosslessSV1", 0),
        ("JPEGLSLossless", 0),
        ("JPEGLSNearLossless", 1),
        ("HTJ2KLossless", 0),
        ("HTJ2K", 1),
    ],
)
def test_what_other_programs_compressed(path, name, slack):
    write(path, RAMP, **WINDOW)
    plain = decoded(path)
    write(path, RAMP, syntax=getattr(uid, name), stream=stream(name), **WINDOW)
    assert np.abs(decoded(path) - plain).max() <= slack


def test_jpeg_of_8_bits_grey_and_colour(path):
    grey = GREY.astype(np.uint8)
    for picture, kind, planar in (
        (grey, "MONOCHROME2", {}),
        (np.dstack([grey] * 3), "YBR_FULL_422", {"PlanarConfiguration": 0}),
    ):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=95)
        write(path, picture, kind, syntax=uid.JPEGBaseline8Bit, stream=file.getvalue(), **EIGHT, **planar)
        assert np.abs(decoded(path) - GREY * (255 / 235 if kind == "MONOCHROME2" else 1)).max() <= 8
    # without a window, the grey one spans its range, which ends at 235


def test_files_of_pydicom_that_show_the_same_picture_in_different_encodings():
    plain = decoded(get_testdata_file("MR_small.dcm"))
    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        assert np.array_equal(decoded(get_testdata_file(f"MR_small_{name}.dcm")), plain), name
    bars = decoded(get_testdata_file("SC_rgb_rle.dcm"))
    for name in ("rgb_rle_16bit", "rgb_rle_32bit", "rgb_jpeg_gdcm", "rgb_gdcm_KY", "ybr_full_422_uncompressed"):
        assert np.abs(decoded(get_testdata_file(f"SC_{name}.dcm")) - bars).max() <= 2, name


def test_a_compression_that_nothing_decodes_is_named_with_its_remedy(path):
    write(path, RAMP, syntax=uid.MPEG4HP41, stream=b"\0" * 64)
    reason, detail = refused(path)
    assert reason == "compressed in a way that cannot be read"
    assert detail == (
        "MPEG-4 AVC/H.264 High Profile / Level 4.1, transfer syntax 1.2.840.10008.1.2.4.102; "
        "export the frame that you need as an image"
    )
    write(path, RAMP, syntax=uid.JPEG2000MC, stream=b"\0" * 64)
    assert refused(path)[1].endswith(
        "decompress it with gdcmconv --raw (or dcmtk's dcmdjpeg), or export it uncompressed"
    )
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.93", b"1.2.840.99999.1.2.4.93"))
    assert refused(path)[1].startswith("transfer syntax 1.2.840.99999.1.2.4.93; ")


def test_a_decoder_that_is_not_installed_is_named(path, monkeypatch):
    write(path, RAMP, syntax=uid.JPEGLSLossless, stream=stream("JPEGLSLossless"))
    missing = ["pylibjpeg - requires pylibjpeg>=2.0 and pylibjpeg-libjpeg>=2.1", "gdcm - requires gdcm>=3.0.10"]
    stub = SimpleNamespace(is_available=False, missing_dependencies=missing)
    monkeypatch.setattr(dicom, "get_decoder", lambda syntax: stub)
    reason, detail = refused(path)
    assert reason == "no decoder for its compression is installed"
    assert detail.startswith(
        "JPEG-LS Lossless Image Compression; install one of: pylibjpeg - requires pylibjpeg>=2.0 and"
    )
    assert all(one in detail for one in missing)


def test_every_decoder_that_pydicom_knows_is_installed():
    from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS

    assert [syntax.name for syntax in _PIXEL_DATA_DECODERS if not get_decoder(syntax).is_available] == []


def test_what_the_decoders_say_is_told_as_a_whole(path):
    write(path, RAMP, syntax=uid.JPEG2000, stream=b"\xff\x4f\xff\x51" + bytes(96))
    reason, detail = refused(path)
    assert reason == "unreadable" and detail.startswith("JPEG 2000 Image Compression: ")
    assert len(detail) > 200 and "pylibjpeg: " in detail and "pillow: " in detail
    assert detail.endswith("decompress it with gdcmconv --raw (or dcmtk's dcmdjpeg), or export it uncompressed")


def test_compressed_pixels_under_the_name_of_uncompressed_ones(path):
    write(path, RAMP, syntax=uid.JPEGLSLossless, stream=stream("JPEGLSLossless"))
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.1\0\0\0"))
    reason, detail = refused(path)
    assert reason == "compressed in an unknown way" and "gdcmconv --raw" in detail
    without_preamble(path)
    assert refused(path)[0] == "compressed in an unknown way"


# ---- bits


def test_values_of_8_and_32_bits_signed_values_and_floats(path):
    write(path, GREY, **EIGHT, WindowCenter=128, WindowWidth=256)
    assert np.array_equal(decoded(path), GREY)
    write(path, RAMP - 2000, bits=16, PixelRepresentation=1, WindowCenter=48, WindowWidth=4096)
    assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, RAMP * 100000, bits=32, BitsAllocated=32)
    assert np.abs(decoded(path) - RAMP / 3780 * 255).max() <= 1
    for keyword, bits in (("FloatPixelData", 32), ("DoubleFloatPixelData", 64)):
        data = (RAMP / 1000).astype(f"<f{bits // 8}").tobytes()
        none = dict.fromkeys(("BitsStored", "HighBit", "PixelRepresentation"))
        write(path, RAMP, BitsAllocated=bits, **{keyword: data}, **none)
        assert np.abs(decoded(path) - RAMP / 3780 * 255).max() <= 1


def test_bits_above_the_stored_ones_are_not_part_of_a_value(path):
    """As those of an overlay of the old kind; the bits of a negative value may be missing there."""
    overlay = np.zeros_like(RAMP)
    overlay[10:20] = 1 << 14
    write(path, RAMP + overlay, **WINDOW)
    assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, (RAMP - 2000) & 0xFFF, PixelRepresentation=1, **WINDOW | {"WindowCenter": 48})
    assert np.abs(decoded(path) - GREY).max() <= 1


def test_pydicom_drops_the_upper_bits_of_values_that_are_stored_high(path):
    write(path, RAMP << 4, HighBit=15, **WINDOW)
    assert pydicom.dcmread(path).pixel_array[0, -1] == (3780 << 4) % 4096 != 3780
    assert np.abs(decoded(path) - GREY).max() <= 1
    rewritten(path, PixelRepresentation=1, WindowCenter=0)
    signed = ((RAMP << 4).astype("<u2").view("<i2") >> 4) / 4095 * 255 + 128
    assert np.abs(decoded(path) - signed).max() <= 1
    write(path, RAMP + 1, HighBit=15, **WINDOW)  # a wrong HighBit: the lowest bits are in use
    assert np.abs(decoded(path) - GREY).max() <= 1


# ---- colour


def test_colours_become_luminance(path):
    """ITU-R 601-2: 0.299 red, 0.587 green, 0.114 blue."""
    colours = np.zeros((64, 64, 3), int)
    colours[:16], colours[16:32], colours[32:48] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    levels = [76, 150, 29, 0]
    write(path, colours, "RGB", **EIGHT, PlanarConfiguration=0)
    assert decoded(path)[8::16, 5].tolist() == levels
    rewritten(path, PlanarConfiguration=1, PixelData=np.moveaxis(colours, -1, 0).astype(np.uint8).tobytes())
    assert decoded(path)[8::16, 5].tolist() == levels
    write(path, colours * 257, "RGB", bits=16, PlanarConfiguration=0)
    assert decoded(path)[8::16, 5].tolist() == levels
    write(path, colours * 16, "RGB", bits=12, PlanarConfiguration=0)
    assert np.abs(decoded(path)[8::16, 5] - levels).max() <= 1
    opposed = np.asarray(Image.fromarray(colours.astype(np.uint8)).convert("YCbCr"))
    write(path, opposed, "YBR_FULL", **EIGHT, PlanarConfiguration=0)
    assert np.abs(decoded(path)[8::16, 5] - levels).max() <= 1
    write(path, opposed.astype(int) * 257, "YBR_FULL", bits=16, PlanarConfiguration=0)
    assert np.abs(decoded(path)[8::16, 5] - levels).max() <= 1


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("bits, factor", [(8, 1), (16, 257)])
def test_a_palette_is_shown_as_the_luminance_of_its_colours(path, syntax, bits, factor):
    order = "<" if syntax.is_little_endian else ">"
    tables = {}
    for name, entries in (("Red", [255, 0, 0, 0]), ("Green", [0, 255, 0, 0]), ("Blue", [0, 0, 255, 0])):
        words = np.array(entries) * factor
        data = words.astype(f"{order}u2").tobytes() if bits == 16 else bytes(entries)
        if bits == 8 and order == ">":
            data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        tables[f"{name}PaletteColorLookupTableData"] = data
    write(
        path, np.repeat(np.arange(4), 16)[:, None] * np.ones(64, int), "PALETTE COLOR", syntax=syntax, **EIGHT, **tables
    )
    assert decoded(path)[8::16, 5].tolist() == [76, 150, 29, 0]


def test_a_palette_in_segments(path):
    for bits, white in ((8, 255), (16, 65535)):
        ramp = np.array([0, 1, 0, 1, 255, white], f"<u{bits // 8}")  # one entry of 0, then 255 more that rise to white
        tables = {}
        for colour in ("Red", "Green", "Blue"):
            tables[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
            tables[f"Segmented{colour}PaletteColorLookupTableData"] = ramp.tobytes()
        write(path, GREY, "PALETTE COLOR", **EIGHT, **tables)
        assert np.array_equal(decoded(path), GREY)
    write(path, GREY, "PALETTE COLOR", **EIGHT)
    assert refused(path) == ("an incomplete DICOM header", "its colour palette is missing; export the image again")


def test_colours_that_cannot_be_read(path):
    colours = np.zeros((64, 64, 3), int)
    write(path, colours, "HSV", **EIGHT, PlanarConfiguration=0)
    told = "HSV, 3 samples a pixel; export it as MONOCHROME2 or RGB"
    assert refused(path) == ("colours that cannot be read", told)
    write(path, colours, "RGB", **EIGHT)
    assert refused(path) == ("an incomplete DICOM header", "missing: PlanarConfiguration; export the image again")


# ---- frames


def test_one_frame_and_more(path):
    for frames in (1, None, 0, ""):
        write(path, RAMP, NumberOfFrames=frames, **WINDOW)
        assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, np.concatenate([RAMP, RAMP]), NumberOfFrames=2, Rows=64, **WINDOW)
    assert refused(path) == ("more than one frame", "2 frames; export the one that you need to a file of its own")
    rewritten(path, NumberOfFrames=None)  # more pixels than the header tells of: the first frame
    assert np.abs(decoded(path) - GREY).max() <= 1
    write(path, RAMP, NumberOfFrames=77, **WINDOW)
    path.write_bytes(path.read_bytes().replace(b"77", b"1A"))
    reason, detail = refused(path)
    assert reason == "an incomplete DICOM header" and detail.startswith("NumberOfFrames is '1A', not a number")


def test_the_window_of_an_enhanced_image_of_one_frame(path):
    shared, frame = pydicom.Dataset(), pydicom.Dataset()
    rescale, window = pydicom.Dataset(), pydicom.Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1000
    window.WindowCenter, window.WindowWidth = 1048, 4096
    shared.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [rescale], [window]
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": [frame]}
    write(path, RAMP, NumberOfFrames=1, **groups)
    assert np.abs(decoded(path) - GREY).max() <= 1


# ---- what is missing or damaged


def test_elements_that_are_no_numbers_in_the_file_count_as_absent(path):
    write(path, RAMP, **WINDOW, RescaleSlope=77, RescaleIntercept=99)
    for old, new in ((b"2048", b"AUTO"), (b"77", b"--"), (b"99", b"..")):
        path.write_bytes(path.read_bytes().replace(old, new))
    assert np.abs(decoded(path) - RAMP / 3780 * 255).max() <= 1


def test_a_truncated_file_says_so(path):
    write(path, RAMP)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert refused(path) == ("truncated", "8092 of 8192 bytes of pixel data")
    path.write_bytes(whole[:-8192])
    assert refused(path)[0] == "a DICOM file without its pixels"
    path.write_bytes(whole[:-8300])
    assert refused(path)[0] == "a DICOM file without its pixels"
    write(path, RAMP, syntax=uid.JPEGLSLossless, stream=stream("JPEGLSLossless"))
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path) == ("truncated", "the file ends within its pixel data")
    write(path, RAMP, syntax=uid.DeflatedExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path)[0] == "unreadable"


@pytest.mark.parametrize(
    "name", ["JPEGExtended12Bit", "JPEGLossless", "JPEGLosslessSV1", "JPEGLSLossless", "JPEGLSNearLossless", "HTJ2K"]
)
def test_compressed_pixels_that_are_cut_off_are_not_made_up(path, name):
    whole = stream(name)
    write(path, RAMP, syntax=getattr(uid, name), stream=whole[: len(whole) * 9 // 10])
    assert refused(path)[0] == ("unreadable" if name == "HTJ2K" else "truncated")


def test_compressed_pixels_in_fragments_that_part_the_two_bytes_of_their_end(path):
    whole = stream("JPEGLossless")
    assert len(whole) == 639 and whole.endswith(b"\xff\xd9")
    write(path, RAMP, syntax=uid.JPEGLossless, stream=whole, **WINDOW)
    plain = decoded(path)
    rewritten(path, PixelData=encapsulate([whole[:64], whole[64:638], whole[638:]], has_bot=False))
    assert np.array_equal(decoded(path), plain)


def test_bytes_behind_the_pixels_do_no_harm(path):
    write(path, RAMP, **WINDOW)
    path.write_bytes(path.read_bytes() + bytes(99))
    assert np.abs(decoded(path) - GREY).max() <= 1


@pytest.mark.parametrize(
    "keyword", ["Rows", "Columns", "BitsAllocated", "PhotometricInterpretation", "PixelRepresentation"]
)
def test_an_element_that_the_picture_needs_is_named(path, keyword):
    for value in (None, ""):
        write(path, RAMP)
        header = pydicom.dcmread(path)
        header[keyword].value = value
        if value is None:
            del header[keyword]
        header.save_as(path)
        assert refused(path) == ("an incomplete DICOM header", f"missing: {keyword}; export the image again")


def test_dicom_without_an_image_says_what_it_is(path):
    write(path, RAMP, PixelData=None, Rows=None, Columns=None)
    rewritten(path, SOPClassUID=uid.BasicTextSRStorage)
    assert refused(path) == ("a DICOM file without an image", "it holds Basic Text SR Storage")
    write(path, RAMP, PixelData=None)
    assert refused(path)[0] == "a DICOM file without its pixels"
    write(path, RAMP, PixelData=b"")
    assert refused(path)[0] == "a DICOM file without its pixels"


def test_no_file_of_pydicom_ends_in_words_for_programmers():
    """Each is shown, or refused for a reason that a person can act on."""
    reasons = {
        "smaller than 64 px",
        "more than one frame",
        "truncated",
        "a DICOM file without an image",
        "a DICOM file without its pixels",
        "an incomplete DICOM header",
        "neither PNG, JPEG nor DICOM",
    }
    # The streams of these two break the rules of JPEG and of JPEG 2000; the words are the decoders'.
    broken = {"JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}
    shown = 0
    for path in filter(Path.is_file, (Path(pydicom.__file__).parent / "data").rglob("*_files/**/*")):
        try:
            pictures.decode(path)
            shown += 1
        except UnusableImage as error:
            known = reasons | ({"unreadable", "longer than 20,000 px"} if path.name in broken else set())
            assert error.reason in known, str(error)
    assert shown >= 40
