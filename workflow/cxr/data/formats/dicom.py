"""DICOM files: the single picture in them, or the reason why there is none.

The result is what a radiology viewer shows; see `dicom_grey` for grey images. Colour becomes luminance (ITU-R 601-2).
Overlays, annotations and colour profiles are ignored. Pixels that are not square (pixel aspect ratio, pixel spacing) stay
as stored, so that boxes can be given in pixels of the file.
"""

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_fragments, get_frame
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from cxr.data.formats import bands, bounds, codestreams, dicom_bytes, dicom_grey, dicom_tables
from cxr.data.formats.decode import UnusableImage, require_bounded
from cxr.data.formats.dicom_elements import items, number, numbers, word
from cxr.runtime.regular import Irregular

PREFIX, PREFIX_AT = b"DICM", 128  # after the preamble
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")  # of files without a preamble, in either byte order
MARKS = ("SOPClassUID", "StudyInstanceUID", "Modality", "Rows")  # every such file has at least one of them
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
COUNTS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
COUNTS_OF_INTEGERS = ("BitsStored", "PixelRepresentation")
GREY = ("MONOCHROME1", "MONOCHROME2")
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"  # neither can occur in compressed pixels
SPARE = 1 << 16  # bytes
UNPACK = "decompress it with gdcmconv --raw (or dcmtk's dcmdjpeg), or export it uncompressed"


def parse(path: Path, data: bytes) -> pydicom.FileDataset | None:
    """Return the content of a DICOM file, with or without its preamble; None if the bytes are not DICOM.

    Raises UnusableImage, with path, if the picture is larger than any radiograph, and the exceptions of pydicom for a
    damaged file that is marked as DICOM.
    """
    try:
        return _parsed(data)
    except Irregular as error:
        raise UnusableImage(path, error.reason, error.detail) from None


def _parsed(data: bytes) -> pydicom.FileDataset | None:
    if data.startswith(PREFIX):
        data = bytes(PREFIX_AT) + data
    if data[PREFIX_AT : PREFIX_AT + len(PREFIX)] == PREFIX:
        return _read(data, PREFIX_AT + len(PREFIX))
    if not data.startswith(FIRST_GROUPS):
        return None
    try:
        header = _read(data, 0, force=True)
    except Irregular:
        raise
    except Exception:  # pydicom raises many types for arbitrary bytes
        return None
    return header if any(mark in header for mark in MARKS) else None


def _read(data: bytes, start: int, force: bool = False) -> pydicom.FileDataset:
    header = pydicom.dcmread(dicom_bytes.Parts(dicom_bytes.inflated(data, start)), force=force)
    header.buffer = None  # else it would keep all bytes of the file besides the elements
    return header


def decode(path: Path, header: pydicom.FileDataset) -> np.ndarray:
    """Decode the content of a DICOM file to grey pixels (H, W) uint8. Raises UnusableImage, with path, for the reason."""
    pixels = _require_pixels(path, header)
    _require_complete(path, header, pixels)
    _require_one_frame(path, header)
    bits = header.SamplesPerPixel * max(8, header.BitsAllocated)
    require_bounded(path, header.Columns, header.Rows, bits)
    syntax = _syntax(path, header, pixels)
    _require_whole(path, header, pixels, syntax)
    values, kind = _stored(path, header, syntax)
    white = (1 << header.get("BitsStored", 8)) - 1
    if kind in GREY and values.ndim == 2:
        return dicom_grey.shown(values, _with_functional_groups(header), syntax.is_little_endian)
    if kind == "PALETTE COLOR" and values.ndim == 2:
        colours = _palette(path, values, header, syntax)
        return bands.mapped(lambda band: _luminance(colours(band)), values)
    if kind == "RGB" and values.ndim == 3:
        return bands.mapped(lambda band: _luminance(band * (255 / white)), values)
    if kind in ("YBR_FULL", "YBR_FULL_422") and values.ndim == 3:
        if header.BitsAllocated <= 8:  # pydicom does not convert deeper ones
            return bands.mapped(lambda band: _luminance(convert_color_space(band, kind, "RGB")), values)
        return bands.mapped(lambda band: _whole(band[..., 0] * (255 / white)), values)  # Y is the luminance
    told = f"{kind}, {header.SamplesPerPixel} samples a pixel; export it as MONOCHROME2 or RGB"
    raise UnusableImage(path, "colours that cannot be read", told)


# ---- required parts of a file


def _require_pixels(path: Path, header: pydicom.FileDataset) -> str:
    """Return the keyword of the pixel data."""
    for keyword in PIXELS:
        if keyword in header and header[keyword].value:
            return keyword
    if not len(header):  # pydicom drops all elements if compressed pixel data has no end
        raise UnusableImage(path, "truncated", "the file ends within its pixel data")
    kind = UID(word(header, "SOPClassUID") or word(header.file_meta, "MediaStorageSOPClassUID")).name
    if (number(header, "Rows") and number(header, "Columns")) or "Image Storage" in kind:
        told = "its header announces an image, but there is none: the file is cut off, or was stored without its pixels"
        raise UnusableImage(path, "a DICOM file without its pixels", told)
    raise UnusableImage(path, "a DICOM file without an image", f"it holds {kind}" if kind else "")


def _require_complete(path: Path, header: pydicom.FileDataset, pixels: str) -> None:
    counts = {keyword: number(header, keyword) for keyword in COUNTS + COUNTS_OF_INTEGERS * (pixels == "PixelData")}
    if (counts["SamplesPerPixel"] or 1) > 1:
        counts["PlanarConfiguration"] = number(header, "PlanarConfiguration")
    missing = [keyword for keyword, count in counts.items() if count is None]
    kind = word(header, "PhotometricInterpretation")
    if missing or not kind:
        told = ", ".join(missing + ["PhotometricInterpretation"] * (not kind))
        raise UnusableImage(path, "an incomplete DICOM header", f"missing: {told}; export the image again")
    for keyword, count in counts.items():
        setattr(header, keyword, int(count))
    header.PhotometricInterpretation = kind


def _require_one_frame(path: Path, header: pydicom.FileDataset) -> None:
    """Raise UnusableImage if there are several frames; else set the header to one frame."""
    frames = numbers(header, "NumberOfFrames")
    if frames and not np.isfinite(frames[0]):
        told = f"NumberOfFrames is {header.NumberOfFrames!r}, not a number; export the image again"
        raise UnusableImage(path, "an incomplete DICOM header", told)
    if frames and frames[0] > 1:
        told = f"{frames[0]:.0f} frames; export the one that you need to a file of its own"
        raise UnusableImage(path, "more than one frame", told)
    header.NumberOfFrames = 1
    for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):  # where the frames begin
        header.pop(table, None)


def _syntax(path: Path, header: pydicom.FileDataset, pixels: str) -> UID:
    """Return the encoding of the pixel data; without meta information, that of the elements that pydicom read."""
    if not header.file_meta.get("TransferSyntaxUID"):
        implicit, little_endian = header.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = header.file_meta.TransferSyntaxUID
    if header[pixels].is_undefined_length and syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    ):
        told = f"its pixels are compressed, but its transfer syntax is missing or says that they are not; {UNPACK}"
        raise UnusableImage(path, "compressed in an unknown way", told)
    return syntax


def _require_whole(path: Path, header: pydicom.FileDataset, pixels: str, syntax: UID) -> None:
    if syntax.is_transfer_syntax and not syntax.is_encapsulated:
        bits = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated
        if header.PhotometricInterpretation == "YBR_FULL_422":
            bits = bits * 2 // 3
        needed, held = ceil(bits / 8), len(header[pixels].value)
        if held < needed:
            raise UnusableImage(path, "truncated", f"{held} of {needed} bytes of pixel data")
    if syntax in JPEGTransferSyntaxes + JPEGLSTransferSyntaxes:
        # Checked here, because libjpeg invents the rest of a picture whose stream is cut off.
        stream = b"".join(generate_fragments(header.PixelData))
        if JPEG_END not in stream[max(stream.find(JPEG_SCAN), 0) :]:
            raise UnusableImage(path, "truncated", "its compressed pixels have no end marker")


def _require_bounded_stream(path: Path, header: pydicom.FileDataset, syntax: UID) -> None:
    """Raise UnusableImage if compressed pixels would decode to a picture larger than any radiograph."""
    stream = get_frame(header.PixelData, 0, number_of_frames=1)
    if syntax == RLELossless:
        _require_short_segments(path, header, stream)
        return
    size = None
    if syntax in JPEG2000TransferSyntaxes:
        size = codestreams.of_jpeg2000(stream)
    elif syntax in JPEGTransferSyntaxes + JPEGLSTransferSyntaxes:
        size = codestreams.of_jpeg(stream)
    if size is None:
        told = f"{syntax.name}: its compressed pixels do not state the size of the picture; transfer the file again, or {UNPACK}"
        raise UnusableImage(path, "unreadable", told)
    if objection := bounds.objection(size.width, size.height, size.bits):
        raise UnusableImage(path, objection[0], f"according to its compressed pixels: {objection[1]}")


def _require_short_segments(path: Path, header: pydicom.FileDataset, stream: bytes) -> None:
    """Raise UnusableImage if an RLE segment decodes to more bytes than the picture has, plus a margin.

    pydicom decodes a whole segment before it checks the length: two bytes can become 128.
    """
    most = 2 * header.Rows * header.Columns + SPARE
    count = min(int.from_bytes(stream[:4], "little"), 15)
    ends = [int.from_bytes(stream[4 * n : 4 * n + 4], "little") for n in range(1, count + 1)] + [len(stream)]
    for start, end in pairwise(ends):
        if codestreams.unpacked(stream[start:end], most) > most:
            raise UnusableImage(path, "unreadable", f"{RLELossless.name}: more pixels than the header states; {UNPACK}")


# ---- from pixel data to values


def _stored(path: Path, header: pydicom.FileDataset, syntax: UID) -> tuple[np.ndarray, str]:
    """Return stored values (H, W) or (H, W, 3), and their photometric interpretation."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        known = "" if syntax.name == syntax else f"{syntax.name}, "
        film = "MPEG" in syntax.name or "HEVC" in syntax.name
        told = f"{known}transfer syntax {syntax}; {'export the frame that you need as an image' if film else UNPACK}"
        raise UnusableImage(path, "compressed in a way that cannot be read", told) from None
    if not decoder.is_available:
        told = f"{syntax.name}; install one of: {', '.join(decoder.missing_dependencies)}; or {UNPACK}"
        raise UnusableImage(path, "no decoder for its compression is installed", told)
    if syntax.is_encapsulated:
        _require_bounded_stream(path, header, syntax)
    aside = _bits_below(header, syntax)
    try:
        values, told = decoder.as_array(
            header,
            index=0,
            correct_unused_bits=not aside,
            as_rgb=False,  # `decode` converts colours band by band
        )
    except Exception as error:  # each decoder has its own types
        words = "; ".join(line.strip() for line in str(error).splitlines()).replace(":; ", ": ")
        told = f"{syntax.name}: {words}; transfer the file again, or {UNPACK}" if syntax.is_encapsulated else words
        raise UnusableImage(path, "unreadable", told) from None
    if aside:
        values = _without_bits_below(values, header, aside)
    return values, str(told["photometric_interpretation"])


def _bits_below(header: pydicom.FileDataset, syntax: UID) -> int:
    """Return how many unused bits lie below the stored ones (old devices have them; pydicom 3.0.2 takes the low bits)."""
    high = number(header, "HighBit")
    if high is None or "BitsStored" not in header or (syntax.is_encapsulated and syntax != RLELossless):
        return 0
    return max(0, min(int(high), header.BitsAllocated - 1) + 1 - header.BitsStored)


def _without_bits_below(values: np.ndarray, header: pydicom.FileDataset, below: int) -> np.ndarray:
    """Return integer values without their unused bits.

    If the bits below are in use, HighBit is wrong and the stored bits are the low ones.
    """
    spare = header.BitsAllocated - header.BitsStored
    used = (values & ((1 << below) - 1)).any()
    return (values << (spare if used else spare - below)) >> spare


def _palette(
    path: Path, values: np.ndarray, header: pydicom.FileDataset, syntax: UID
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from palette values (h, W) to colours (h, W, 3) from 0 to 255. values: all that it will get."""
    span = (float(values.min()), float(values.max()))
    tables = [
        dicom_tables.read(
            header,
            little_endian=syntax.is_little_endian,
            span=span,
            descriptor=f"{colour}PaletteColorLookupTableDescriptor",
            data=f"{colour}PaletteColorLookupTableData",
        )
        for colour in ("Red", "Green", "Blue")
    ]
    if all(tables):
        white = max(table.white for table in tables)
        return lambda band: np.stack([table.look_up(band) * (255 / white) for table in tables], axis=-1)
    if "SegmentedRedPaletteColorLookupTableData" not in header:
        raise UnusableImage(path, "an incomplete DICOM header", "its colour palette is missing; export the image again")
    return lambda band: _from_segments(band, header)


def _from_segments(values: np.ndarray, header: pydicom.FileDataset) -> np.ndarray:
    colours = apply_color_lut(values, header)[..., :3]
    return colours * (255 / np.iinfo(colours.dtype).max)


def _luminance(colours: np.ndarray) -> np.ndarray:
    """Return the luminance (H, W) uint8 of colours (H, W, 3) from 0 to 255."""
    return np.asarray(Image.fromarray(_whole(colours)).convert("L"))


def _whole(levels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def _with_functional_groups(header: pydicom.FileDataset) -> pydicom.FileDataset:
    """Return the header with the rescale and window from an enhanced image's functional groups."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(header, groups)[:1]:
            for transform in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in items(group, transform)[:1]:
                    header.update(item)
    return header
