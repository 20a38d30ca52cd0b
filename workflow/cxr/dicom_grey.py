"""From the stored values of a grey DICOM image to the picture that a radiology viewer shows.

Stored values become units (rescale or modality LUT), units become grey (VOI LUT, else the first window, else from the
lowest to the highest value), grey is turned over where low values are meant to be white. Padding is black and counts for
nothing. Elements that are empty, or hold what is no number, count as absent.
"""

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_rescale, apply_windowing

from cxr import dicom_tables
from cxr.dicom_elements import items, number, numbers, word

WHITE = 255
WINDOW_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# X-ray angiography and fluoroscopy: their modality LUT leads back to the beam's intensity and is not for display.
NOT_FOR_DISPLAY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.3")
PADDING = ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue")
PADDING_LIMIT = ("PixelPaddingRangeLimit", "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingRangeLimit")


def shown(values: np.ndarray, header: Dataset, little_endian: bool) -> np.ndarray:
    """Return the picture (H, W) uint8 of stored values (H, W), integers or floats.

    header: the file's, with PhotometricInterpretation MONOCHROME1 or MONOCHROME2; little_endian: the byte order in which
    its lookup tables are stored. A picture of padding alone is black.
    """
    real = ~_padding(values, header) & np.isfinite(values)
    if not real.any():
        return np.zeros(values.shape, np.uint8)
    units = _units(np.where(real, values, values[real][0]), header, little_endian)  # of real values alone
    grey = _grey(units, header, little_endian)
    # Not pydicom's `apply_presentation_lut`: it takes the picture's brightest pixel for white.
    if word(header, "PhotometricInterpretation") == "MONOCHROME1" or word(header, "PresentationLUTShape") == "INVERSE":
        grey = WHITE - grey
    return np.where(real, np.rint(grey), 0).astype(np.uint8)


def _padding(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Say which values are padding: one value, or all from it to a limit on either side of it."""
    ends = [next((end for name in names if (end := number(header, name)) is not None), None)
            for names in (PADDING, PADDING_LIMIT)]  # fmt: skip
    if ends[0] is None:
        return np.zeros(values.shape, bool)
    ends = [_as_stored(end, values.dtype) for end in ends if end is not None]
    return (values >= min(ends)) & (values <= max(ends))


def _as_stored(value: float, dtype: np.dtype) -> float:
    """Return a value of the header as the pixels have it, which may hold the same bits with another sign."""
    if dtype.kind == "f":
        return value
    bits = 8 * dtype.itemsize
    value = int(value) % (1 << bits)
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def _units(values: np.ndarray, header: Dataset, little_endian: bool) -> np.ndarray:
    """Return what the modality transform makes of stored values, float64."""
    if word(header, "SOPClassUID") in NOT_FOR_DISPLAY:
        return values.astype(np.float64)
    span = (float(values.min()), float(values.max()))
    for item in items(header, "ModalityLUTSequence"):
        if table := dicom_tables.read(item, little_endian=little_endian, span=span):
            return table.look_up(values).astype(np.float64)
    rescale = Dataset()
    rescale.RescaleSlope = number(header, "RescaleSlope") or 1.0  # a slope of 0 would leave nothing to see
    rescale.RescaleIntercept = number(header, "RescaleIntercept") or 0.0
    return apply_rescale(values, rescale)


def _grey(units: np.ndarray, header: Dataset, little_endian: bool) -> np.ndarray:
    """Return grey values 0 to 255, not rounded."""
    low, high = float(units.min()), float(units.max())
    for item in items(header, "VOILUTSequence"):
        if table := dicom_tables.read(item, little_endian=little_endian, span=(low, high)):
            return table.look_up(units) * (WHITE / table.white)
    if window := _window(header):
        with np.errstate(over="ignore"):  # far below a sigmoid window, where the answer is 0
            return apply_windowing(units, window)
    return (units - low) * (WHITE / (high - low)) if high > low else np.zeros_like(units)


def _window(header: Dataset) -> Dataset | None:
    """Return the first usable window as a header of its own, None where there is none.

    It speaks of 8 unsigned bits, so that `apply_windowing` gives 0 to 255: with a falling rescale, pydicom 3.0.2 would
    turn the picture over. A linear window of a width below 1 can only be meant exactly.
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
