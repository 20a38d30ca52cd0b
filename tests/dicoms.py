"""DICOM files made for tests."""

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


def write(path, values, kind="MONOCHROME2", bits=12, **elements):
    """Write grey values (H, W) as a radiograph; elements: further ones by keyword, such as WindowCenter."""
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.Rows, header.Columns = values.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, kind
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, bits, bits - 1, 0
    for name, value in elements.items():
        setattr(header, name, value)
    header.PixelData = np.asarray(values).astype("<u2").tobytes()
    header.save_as(path, enforce_file_format=True)
