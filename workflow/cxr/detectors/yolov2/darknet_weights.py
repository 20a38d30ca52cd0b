"""Darknet's .weights files: a header, then for each convolution in the cfg's order its numbers as little-endian float32.

Header: int32 major, minor, revision, then the number of images seen, int64 from version 0.2 on, int32 before. A convolution:
biases; where it is batch-normalised, scales, running means and running variances; then the kernels (filters, channels,
height, width). With batch norm, the biases are those that it adds.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cxr.detectors.yolov2.network import Convolutional, Darknet
from cxr.errors import InputError
from cxr.runtime import checksums

VERSION = (0, 2, 0)  # of files written here
HIGHEST = 1000  # of major and minor: above it Darknet once marked transposed weights
FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Header:
    """The header of a weights file: version (major, minor, revision), images seen in training, and its length in bytes."""

    version: tuple[int, int, int]
    seen: int
    length: int


@dataclass(frozen=True)
class Published:
    """Weights that the authors published, for recognising them by size and checksum."""

    name: str
    length: int
    sha256: str


# pjreddie.com/darknet/yolov2; the checksums are those that OpenEmbedded's recipe for Darknet and others print.
PUBLISHED = {
    "yolov2": Published(
        "yolov2.weights", 203_934_260, "d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f"
    ),
    "yolov2-tiny": Published(
        "yolov2-tiny.weights", 44_948_600, "16f4e870f1aed83f0089cb69bfda6b53cb7b2a4a01721be56eaf5c899dfac45f"
    ),
}


def read_header(path: Path) -> Header:
    """Return the header of a weights file. Raises InputError if the file has none."""
    with path.open("rb") as file:
        start = file.read(20)
    if len(start) < 16:
        raise InputError(f"{path}: {len(start)} bytes are no header of a Darknet weights file, which has 16 or 20")
    major, minor, revision = struct.unpack("<3i", start[:12])
    if not (0 <= major < HIGHEST and 0 <= minor < HIGHEST and revision >= 0):
        raise InputError(
            f"{path}: not a Darknet weights file: its header says version {major}.{minor}.{revision}; expected a .weights "
            "file such as yolov2.weights"
        )
    long = major * 10 + minor >= 2
    if long and len(start) < 20:
        raise InputError(f"{path}: {len(start)} bytes are no header of version {major}.{minor}, which has 20")
    (seen,) = struct.unpack("<q" if long else "<i", start[12 : 20 if long else 16])
    return Header((major, minor, revision), seen, 20 if long else 16)


def recognised(path: Path) -> Published | None:
    """Return which weights of the authors a file holds, by its size and its SHA-256; None for any other file."""
    for each in PUBLISHED.values():
        if path.stat().st_size == each.length and checksums.sha256_of(path) == each.sha256:
            return each
    return None


def load(network: Darknet, path: Path) -> Header:
    """Fill all convolutions of a network from a weights file and return its header.

    Raises InputError, naming the file, the layer and the bytes, if the file is too short or too long for the network or holds
    numbers that are not finite.
    """
    header = read_header(path)
    have, need = path.stat().st_size - header.length, length(network) - 20
    at = 0
    with path.open("rb") as file, torch.no_grad():
        file.seek(header.length)
        for number, layer in network.convolutions.items():
            asked = sum(tensor.numel() for tensor in _tensors(layer)) * FLOAT.itemsize
            content = file.read(asked)
            if len(content) < asked:
                raise InputError(
                    f"{path}: too short for this network: layer {number} ({_named(layer)}) needs {asked:,} bytes at byte "
                    f"{header.length + at:,}, and {len(content):,} are left; in all {need:,} bytes of weights are needed, "
                    f"and the file has {have:,}"
                )
            _fill(layer, np.frombuffer(content, FLOAT), f"{path}: layer {number} ({_named(layer)})")
            at += asked
    if at < have:
        raise InputError(
            f"{path}: too long for this network: {have - at:,} bytes are left behind layer {number} ({_named(layer)}), its "
            f"last convolution, which ends at byte {header.length + at:,}"
        )
    return header


def write(network: Darknet, path: Path, seen: int = 0) -> None:
    """Write a network's weights. seen: number of images that it was trained on."""
    with path.open("wb") as file:
        file.write(struct.pack("<3iq", *VERSION, seen))
        for layer in network.convolutions.values():
            for tensor in _tensors(layer):
                file.write(tensor.detach().cpu().numpy().astype(FLOAT).tobytes())


def length(network: Darknet) -> int:
    """Return the bytes of the file that `write` writes."""
    numbers = sum(tensor.numel() for layer in network.convolutions.values() for tensor in _tensors(layer))
    return 20 + FLOAT.itemsize * numbers


def _tensors(layer: Convolutional) -> Iterator[torch.Tensor]:
    """Yield a convolution's numbers in the order of the file."""
    if layer.norm is None:
        yield layer.conv.bias
    else:
        yield from (layer.norm.bias, layer.norm.weight, layer.norm.running_mean, layer.norm.running_var)
    yield layer.conv.weight


def _fill(layer: Convolutional, numbers: np.ndarray, where: str) -> None:
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: not all of its numbers are finite; the file is damaged or of another network")
    start = 0
    for tensor in _tensors(layer):
        tensor.copy_(torch.from_numpy(numbers[start : start + tensor.numel()].copy()).view(tensor.shape))
        start += tensor.numel()


def _named(layer: Convolutional) -> str:
    conv = layer.conv
    return f"{conv.out_channels} filters of {conv.in_channels} × {conv.kernel_size[0]} × {conv.kernel_size[1]}"
