"""What is measured of the added layer: by hand on small inputs, and without touching the network."""

import numpy as np
import pytest
import torch
from torch import nn

from cxr.classifiers import probe
from cxr.classifiers.networks import TransferClassifier
from cxr.training.device import Device
from cxr.training.resnet import resnet

CPU = Device(torch.device("cpu"), False)


def test_an_input_that_never_changes_has_no_spread():
    assert probe.input_statistics(np.full((5, 3), 0.25)) == {"input_spread": 0.0, "input_deviation": 0.0}


def test_spread_is_relative_to_the_length_of_the_mean_and_deviation_is_not():
    # Units 3 ± 1 and 4 ± 2: variances 1 and 4, mean of length 5; each image lies 1 + 2 from the mean.
    rows = np.array([[2.0, 2.0], [4.0, 6.0]])
    for scale in (1, 0.001):
        found = probe.input_statistics(rows * scale)
        assert found["input_spread"] == pytest.approx(5**0.5 / 5)
        assert found["input_deviation"] == pytest.approx(3 * scale)
    assert probe.input_statistics(rows - rows.mean(0))["input_spread"] is None, "the mean has no length"


class Fixed(nn.Module):
    """A network whose layers give what they are told: a batch norm in front of an added layer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(2) * 3)
            self.head.bias.copy_(torch.tensor([1.0, -1.0]))

    def forward(self, rows):
        return self.head(self.norm(rows))


def look(network, rows, batch=4):
    names = [str(number) for number in range(len(rows))]
    return probe.look(network, network.head, names, lambda wanted: rows[[int(name) for name in wanted]], batch, CPU)


def test_logits_and_the_gap_between_modes_by_hand():
    # Stored statistics 0 and 1: in testing mode the layer reads the rows. In training mode the rows less their mean, over
    # their deviation: 10 ± 1 becomes ± 1, 5 ± 2 becomes ± 1. Times 3: gaps of 30 and 3 · |5 ± 2 − ± 1| = 12 and 18.
    rows = torch.tensor([[9.0, 3.0], [11.0, 7.0]])
    found = look(Fixed(), rows)
    assert found["logit_spread"] == pytest.approx((3 * 1 + 3 * 2) / 2, rel=1e-4)
    assert found["mode_gap"] == pytest.approx((30 + 30 + 12 + 18) / 4, rel=1e-4)
    assert found["input_spread"] == pytest.approx(5**0.5 / 125**0.5, rel=1e-4)


def test_a_network_without_batch_norm_has_no_gap_and_no_image_gives_nothing():
    network = Fixed()
    network.norm = nn.Identity()
    assert look(network, torch.tensor([[9.0, 3.0], [11.0, 7.0]]))["mode_gap"] == 0
    assert look(network, torch.zeros(0, 2)) == {}


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_no_batch_is_too_small_for_batch_norm(count):
    rows = torch.arange(2.0 * count).reshape(count, 2)
    found = look(Fixed(), rows, batch=1)
    assert np.isfinite(found["mode_gap"])


@pytest.mark.parametrize("frozen_batchnorm", ["eval", "batch", "keras"])
def test_looking_changes_neither_weights_nor_statistics_nor_random_state(frozen_batchnorm):
    torch.manual_seed(0)
    network = TransferClassifier(resnet("resnet10", 20), 4, 15, "features", frozen_batchnorm).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64), dtype=np.uint8)
    names = list("abcdef")
    probe.look(network, network.head, names, lambda wanted: pixels[[names.index(name) for name in wanted]], 4, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not network.head._forward_pre_hooks
