"""The grid CNN: 18 convolutions, one fully connected layer, 16 × 16 cells, three losses."""

import numpy as np
import pytest
import torch
from torch import nn

from cxr import gridcnn


@pytest.mark.parametrize("side", [64, 256, 1024])
@pytest.mark.parametrize("head", ["dense", "convolution"])
def test_eighteen_convolutions_one_fully_connected_layer_and_sixteen_cells(side, head):
    network = gridcnn.GridNetwork(side, 4, head, np.full((16, 16), 0.1)).eval()
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear)) == (18, 1)
    with torch.no_grad():
        assert network(torch.rand(1, 1, side, side)).shape == (1, 16, 16)


def test_the_shared_head_starts_near_the_mean_mask():
    mask = np.linspace(0.05, 0.6, 256).reshape(16, 16)
    network = gridcnn.GridNetwork(64, 4, "convolution", mask).eval()
    nn.init.zeros_(network.fc.weight)
    assert torch.allclose(network(torch.rand(1, 1, 64, 64)).sigmoid()[0].double(), torch.from_numpy(mask), atol=1e-5)


def test_losses_by_hand():
    logits = torch.logit(torch.tensor([[[0.8, 0.4]]]))
    target = torch.tensor([[[1.0, 0.0]]])
    assert gridcnn.objective("mse").loss(logits, target).item() == pytest.approx((0.04 + 0.16) / 2, rel=1e-4)
    assert gridcnn.objective("l1").loss(logits, target).item() == pytest.approx((0.2 + 0.4) / 2, rel=1e-4)
    expected = 1 - 0.8 / np.hypot(0.8, 0.4)
    assert gridcnn.objective("cosine").loss(logits, target).item() == pytest.approx(expected, rel=1e-4)


def test_a_cell_counts_when_more_than_half_is_covered():
    boxes = [np.array([[0.0, 0, 64 + 32, 64]]), np.array([[0.0, 0, 64 + 33, 64]])]
    majority = gridcnn.cell_targets(boxes, "majority")
    assert majority[:, 0, :2].tolist() == [[1, 0], [1, 1]]
    assert gridcnn.cell_targets(boxes, "coverage")[0, 0, 1] == pytest.approx(0.5)


def test_pixels_shrink_by_area_mean():
    pixels = np.array([[[0, 4], [8, 12]]], dtype=np.uint8)
    assert gridcnn.reduced(pixels, 1).tolist() == [[[6]]]
    assert gridcnn.reduced(pixels, 2) is pixels
