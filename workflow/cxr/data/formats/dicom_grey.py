"""From the stored values of a grey DICOM image to the picture that a radiology viewer shows.

Stored values become units (rescale or modality LUT), units become grey (VOI LUT, else the first window, else from the
lowest to the highest value), grey is inverted if low values are meant to be white. Padding is black and is otherwise
ignored. Elements that are empty or not numbers count as absent.
"""

import functools
from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_rescale, apply_windowing

from cxr.data.formats import bands, dicom_tables
from cxr.data.formats.dicom_elements import items, number, numbers, word

Transform = Callable[[np.ndarray], np.ndarray]  # of any part of a picture

WHITE = 255
WINDOW_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# X-ray angiography and fluoroscopy: their modality LUT maps back to the beam's intensity and is not for display.
NOT_FOR_DISPLAY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.3")
PADDING = ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue")
PADDING_LIMIT = ("PixelPaddingRangeLimit", "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingRangeLimit")


def shown(values: np.ndarray, header: Dataset, little_endian: bool) -> np.ndarray:
    """Return the picture (H, W) uint8 of stored values (H, W), integers or floats.

    header: the file's, with PhotometricInterpretation MONOCHROME1 or MONOCHROME2; little_endian: the byte order in which
    its lookup tables are stored. A picture of padding alone is black.
    """
    real, span, filler = _real(header, values.dtype), None, None
    for rows in bands.of(values.shape):
        held = values[rows][real(values[rows])]
        if held.size:
            span, filler = _wider(span, held), held[0]
    if span is None:
        return np.zeros(values.shape, np.uint8)
    units = _units(header, little_endian, span)

    def filled(rows: slice) -> np.ndarray:
        band = values[rows]
        return units(np.where(real(band), band, filler))  # of real values only

    @functools.cache
    def extent() -> tuple[float, float]:
        return functools.reduce(_wider, map(filled, bands.of(values.shape)), None)

    grey = _grey(header, little_endian, extent)
    # Not pydicom's `apply_presentation_lut`: it takes the picture's brightest pixel for white.
    inverse = word(header, "PhotometricInterpretation") == "MONOCHROME1"
    inverse = inverse or word(header, "PresentationLUTShape") == "INVERSE"
    picture = np.empty(values.shape, np.uint8)
    for rows in bands.of(values.shape):
        levels = grey(filled(rows))
        picture[rows] = np.where(real(values[rows]), np.rint(WHITE - levels if inverse else levels), 0)
    return picture


def _wider(span: tuple[float, float] | None, values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest of values and of the earlier span."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if span is None else (min(span[0], low), max(span[1], high))


def _real(header: Dataset, dtype: np.dtype) -> Transform:
    """Return the test for real values: numbers that are not padding, which is one value or all from it to a limit."""
    ends = [next((end for name in names if (end := number(header, name)) is not None), None)
            for names in (PADDING, PADDING_LIMIT)]  # fmt: skip
    if ends[0] is None:
        return np.isfinite
    ends = [_as_stored(end, dtype) for end in ends if end is not None]
    return lambda values: ((values < min(ends)) | (values > max(ends))) & np.isfinite(values)


def _as_stored(value: float, dtype: np.dtype) -> float:
    """Return a header value as the pixels store it: the same bits may have another sign there."""
    if dtype.kind == "f":
        return value
    bits = 8 * dtype.itemsize
    value = int(value) % (1 << bits)
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def _units(header: Dataset, little_endian: bool, span: tuple[float, float]) -> Transform:
    """Return the modality transform: from stored values to units, float64. span: the lowest and highest stored value."""
    if word(header, "SOPClassUID") in NOT_FOR_DISPLAY:
        return lambda values: values.astype(np.float64)
    for item in items(header, "ModalityLUTSequence"):
        if table := dicom_tables.read(item, little_endian=little_endian, span=span):
            return lambda values: table.look_up(values).astype(np.float64)
    rescale = Dataset()
    rescale.RescaleSlope = number(header, "RescaleSlope") or 1.0  # a slope of 0 would leave nothing to see
    rescale.RescaleIntercept = number(header, "RescaleIntercept") or 0.0
    return lambda values: apply_rescale(values, rescale)


def _grey(header: Dataset, little_endian: bool, extent: Callable[[], tuple[float, float]]) -> Transform:
    """Return the transform from units to grey values 0 to 255, not rounded. extent: returns the lowest and highest unit."""
    for item in items(header, "VOILUTSequence"):
        if table := dicom_tables.read(item, little_endian=little_endian, span=extent()):
            return lambda units: table.look_up(units) * (WHITE / table.white)
    if window := _window(header):
        return lambda units: _windowed(units, window)
    low, high = extent()
    return lambda units: (units - low) * (WHITE / (high - low)) if high > low else np.zeros_like(units)


def _windowed(units: np.ndarray, window: Dataset) -> np.ndarray:
    with np.errstate(over="ignore"):  # far below a sigmoid window, where the answer is 0
        return apply_windowing(units, window)


def _window(header: Dataset) -> Dataset | None:
    """Return the first usable window as a header of its own, None if there is none.

    It states 8 unsigned bits, so that `apply_windowing` gives 0 to 255: with a falling rescale, pydicom 3.0.2 would
    invert the picture. A linear window with a width below 1 can only be meant as LINEAR_EXACT.
    """
    function = word(header, "VOILUTFunction")
    for center, width in zip(numbers(header, "WindowCenter"), numbers(header, "WindowWidth"), strict=False):
        if np.isfinite([center, width]).all() and width > 0:
            window = Dataset()
            window.PhotometricInterpretation = "MONOCHROME2"
            window.BitsStored, window.PixelRepresentation = 8, 0
            window.WindowCenter, window.WindowWidth = center, width
            window.VOILUTFunction = function if function in WINDOW_FUNCTIONS else "LINEAR"
            if window.VOILUTFunction == "LINEAR" and width < 1:
                window.VOILUTFunction = "LINEAR_EXACT"
            return window
    return None
