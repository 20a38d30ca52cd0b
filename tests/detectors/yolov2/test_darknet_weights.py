"""Darknet's .weights files: a round trip, the real ones, and what is refused."""

import struct

import numpy as np
import pytest
import torch

from cxr.detectors.yolov2 import architecture, configuration, darknet_weights
from cxr.detectors.yolov2.network import Darknet
from cxr.errors import InputError
from cxr.runtime import checksums

CFG = (
    "[net]\nwidth=64\nheight=64\n[convolutional]\nbatch_normalize=1\nfilters=2\nsize=3\npad=1\nactivation=leaky\n"
    "[convolutional]\nfilters=7\nsize=1\nactivation=linear\n[region]\nanchors=1,2\nnum=1\nclasses=2\nsoftmax=1\n"
)
NUMBERS = 2 * 4 + 2 * 3 * 9 + 7 + 7 * 2


def small():
    return Darknet(configuration.parse(CFG, "some.cfg"))


def header(*version, seen=5, long=True):
    return struct.pack("<3i", *version) + struct.pack("<q" if long else "<i", seen)


def file_of(path, start, numbers=NUMBERS):
    path.write_bytes(start + np.arange(numbers, dtype="<f4").tobytes())
    return path


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (header(0, 2, 5, seen=2**40), darknet_weights.Header((0, 2, 5), 2**40, 20)),
        (header(1, 0, 0), darknet_weights.Header((1, 0, 0), 5, 20)),
        (header(0, 1, 0, long=False), darknet_weights.Header((0, 1, 0), 5, 16)),
    ],
    ids=["0.2", "1.0", "0.1"],
)
def test_numbers_go_where_darknet_has_them(tmp_path, start, found):
    network = small()
    assert darknet_weights.load(network, file_of(tmp_path / "a.weights", start)) == found
    first, last = network.layers
    assert first.norm.bias.tolist() == [0, 1] and first.norm.weight.tolist() == [2, 3]
    assert first.norm.running_mean.tolist() == [4, 5] and first.norm.running_var.tolist() == [6, 7]
    assert first.conv.weight.flatten().tolist() == list(range(8, 62)) and first.conv.weight[1, 0, 0, 0] == 8 + 27
    assert last.conv.bias.tolist() == list(range(62, 69)) and last.conv.weight.flatten()[0] == 69


def test_what_is_written_is_read_bit_for_bit(tmp_path):
    network, other = small(), small()
    darknet_weights.write(network, tmp_path / "a.weights", seen=2**33)
    assert darknet_weights.load(other, tmp_path / "a.weights") == darknet_weights.Header((0, 2, 0), 2**33, 20)
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert (tmp_path / "a.weights").stat().st_size == darknet_weights.length(network) == 20 + 4 * NUMBERS


@pytest.mark.parametrize(
    ("start", "numbers", "message"),
    [
        (b"\0" * 15, 0, "15 bytes are no header of a Darknet weights file"),
        (header(0, 2, 0)[:18], 0, "18 bytes are no header of version 0.2"),
        (b"PK\x03\x04" + b"\xff" * 20, 0, "not a Darknet weights file: its header says version"),
        (
            header(0, 2, 0),
            61,
            r"too short .*: layer 0 \(2 filters of 3 × 3 × 3\) needs 248 bytes at byte 20, and 244 are",
        ),
        (
            header(0, 2, 0),
            NUMBERS - 1,
            r"layer 1 \(7 filters of 2 × 1 × 1\) needs 84 bytes at byte 268, and 80 are left",
        ),
        (header(0, 2, 0), NUMBERS + 2, "too long for this network: 8 bytes are left behind layer 1"),
        (header(0, 1, 0, long=False), NUMBERS + 1, "4 bytes are left .* ends at byte 348"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path, start, numbers, message):
    path = file_of(tmp_path / "a.weights", start, numbers)
    with pytest.raises(InputError, match=f"{path}: .*{message}" if "header of" not in message else message):
        darknet_weights.load(small(), path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    path = file_of(tmp_path / "a.weights", header(0, 2, 0))
    content = bytearray(path.read_bytes())
    content[20 + 4 * 63 : 20 + 4 * 64] = np.array([np.nan], "<f4").tobytes()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"layer 1 \(7 filters .* not all of its numbers are finite"):
        darknet_weights.load(small(), path)


@pytest.mark.parametrize(("name", "header_bytes"), [("yolov2", 16), ("yolov2-tiny", 20)])
def test_the_published_weights_have_the_size_of_our_networks_for_the_80_classes_of_coco(name, header_bytes):
    network = Darknet(configuration.parse(architecture.cfg(name, 80), name))
    assert darknet_weights.length(network) - 20 + header_bytes == darknet_weights.PUBLISHED[name].length


def test_weights_of_the_authors_are_recognised_by_checksum_not_by_name(tmp_path, monkeypatch):
    path = file_of(tmp_path / "other.weights", header(0, 2, 0))
    assert darknet_weights.recognised(path) is None
    own = darknet_weights.Published("yolov2.weights", path.stat().st_size, checksums.sha256_of(path))
    monkeypatch.setattr(darknet_weights, "PUBLISHED", {"yolov2": own})
    assert darknet_weights.recognised(path) == own
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert darknet_weights.recognised(path) is None
