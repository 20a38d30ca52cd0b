"""The layers, by hand."""

import numpy as np
import pytest
import torch

from cxr.detectors.yolov2 import architecture, configuration, detections, region
from cxr.detectors.yolov2.configuration import Section
from cxr.detectors.yolov2.network import Convolutional, Darknet, MaxPool, Reorg


def section(kind, **options):
    return Section(kind, {name: str(value) for name, value in options.items()}, "some.cfg, line 1")


def darknets_reorg(x, stride):
    """Darknet's loop, in the words of its memory: where each number of (C, H, W) goes."""
    channels, height, width = x.shape
    fewer = channels // stride**2
    memory, result = x.ravel(), np.empty(x.size, x.dtype)
    for channel in range(channels):
        for j in range(height):
            for i in range(width):
                offset = channel // fewer
                wide = i * stride + offset % stride
                high = j * stride + offset // stride
                source = wide + width * stride * (high + height * stride * (channel % fewer))
                result[i + width * (j + height * channel)] = memory[source]
    return result.reshape(channels * stride**2, height // stride, width // stride)


@pytest.mark.parametrize("shape", [(4, 2, 2), (8, 6, 4), (64, 4, 4)])
def test_reorg_is_darknets(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    both = torch.from_numpy(np.stack([x, -x])).to(memory_format=torch.channels_last)
    found = Reorg(section("reorg", stride=2))(both).numpy()
    assert (found[0] == darknets_reorg(x, 2)).all() and (found[1] == -found[0]).all()


def test_a_maximum_of_stride_1_keeps_the_size_and_looks_right_and_down():
    x = torch.tensor([[-1.0, -2, -3], [-4, -5, -1], [-7, -2, -9]])[None, None]
    found = MaxPool(section("maxpool", size=2, stride=1))(x)
    assert found[0, 0].tolist() == [[-1, -1, -1], [-2, -1, -1], [-2, -2, -9]], "nothing from beyond the map"
    halved = MaxPool(section("maxpool", size=2, stride=2))(x)
    assert halved[0, 0].tolist() == [[-1, -1], [-2, -9]], "an odd side is rounded up, as in Darknet"


def test_a_convolution_with_batch_norm_by_hand():
    layer = Convolutional(
        1, section("convolutional", batch_normalize=1, filters=1, size=1, pad=1, activation="leaky")
    ).eval()
    with torch.no_grad():
        layer.conv.weight.fill_(2)
        layer.norm.weight.fill_(3)
        layer.norm.bias.fill_(1)
        layer.norm.running_mean.fill_(4)
        layer.norm.running_var.fill_(25)
        found = layer(torch.tensor([[[[4.5, -0.5]]]]))
    np.testing.assert_allclose(found.ravel(), [3 * (9 - 4) / 5 + 1, 0.1 * (3 * (-1 - 4) / 5 + 1)], rtol=1e-6)


def test_boxes_by_hand():
    """Two anchors, one class more than one, a map of 1 × 2: the second anchor of the right cell."""
    parts = configuration.parse("[net]\n[region]\nanchors=1,2,3,4\nnum=2\nclasses=2\nsoftmax=1\n", "some.cfg")
    about = region.Region.of(parts[-1])
    raw = torch.zeros(1, 14, 1, 2)
    raw[0, 7:14, 0, 1] = torch.tensor([np.log(3), 0, np.log(0.5), np.log(2), np.log(4), np.log(9), 0])
    boxes = region.decoded(raw, about)[0]
    assert boxes.shape == (4, 7), "row by row, anchors last"
    np.testing.assert_allclose(boxes[0], [0.25, 0.5, 0.5, 2, 0.5, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(boxes[3], [(1 + 0.75) / 2, 0.5, 0.5 * 3 / 2, 2 * 4, 0.8, 0.9, 0.1], rtol=1e-6)


def test_of_boxes_that_overlap_the_surest_of_a_class_is_kept():
    """IoU of the first two is 0.6, of the first and third 1/3; the second is kept for the other class."""
    boxes = torch.tensor(
        [
            [0.50, 0.5, 0.4, 0.4, 1.0, 0.9, 0.0005],
            [0.60, 0.5, 0.4, 0.4, 0.5, 0.8, 0.2],
            [0.70, 0.5, 0.4, 0.4, 0.8, 0.5, 0.0],
        ],
        dtype=torch.float64,
    )
    found = detections.suppressed(boxes)
    np.testing.assert_allclose(found, [[0, 0, 0.9, 1], [2, 0, 0.4, 0.8], [1, 1, 0.1, 0.5]])
    assert len(detections.suppressed(boxes, overlap=0.7)) == 4 and len(detections.suppressed(boxes, overlap=0.3)) == 2
    placed = detections.placed(boxes)
    assert placed.shape == (100, 6) and (placed[3:] == 0).all()
    np.testing.assert_allclose(placed[1], [1, 0.4, 0.5 * 1024, 0.3 * 1024, 0.9 * 1024, 0.7 * 1024])


def test_detections_end_with_the_frame_and_are_a_hundred_at_most():
    side = torch.linspace(0.01, 0.99, 150, dtype=torch.float64)
    boxes = torch.stack([side, side, *[torch.full_like(side, 0.001)] * 2, side, torch.ones_like(side)], dim=1)
    boxes[149, 2:4] = 0.5
    placed = detections.placed(boxes)
    assert placed[:, 1].tolist() == side.flip(0)[:100].tolist(), "the surest"
    np.testing.assert_allclose(placed[0, 2:], [0.74 * 1024, 0.74 * 1024, 1024, 1024])


def test_a_network_of_another_side_has_other_cells():
    network = Darknet(configuration.parse(architecture.cfg("yolov2-tiny", 8, side=96), "tiny")).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 96, 96)).shape == (2, 65, 3, 3)
        assert network(torch.zeros(1, 3, 160, 128)).shape == (1, 65, 5, 4)
