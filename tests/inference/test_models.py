"""What is predicted of an image: the same to the last bit beside any others, whatever arithmetic training has."""

import numpy as np
import pytest
import torch

from cxr.classifiers.fit import sigmoid_objective
from cxr.classifiers.networks import Classifier, TransferClassifier
from cxr.detectors import box_training
from cxr.detectors.box_training import BoxGoal
from cxr.detectors.gridcnn import training as gridcnn
from cxr.detectors.torchvision_detector import BoxNetwork
from cxr.settings import GridCNN, TorchvisionDetector
from cxr.training.device import Device, choose
from cxr.training.loop import AT_ONCE, infer, judge

FLOAT32, BFLOAT16 = (Device(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))
COUNT = AT_ONCE + 3
PIXELS = {f"{n}.png": np.random.default_rng(n).integers(0, 256, (64, 64), dtype=np.uint8) for n in range(COUNT)}


def read(names):
    return np.stack([PIXELS[name] for name in names])


def _baseline(device):
    return Classifier("resnet10", 15), sigmoid_objective(np.full(15, 0.1), balanced=True)


def _transfer(device):
    network = TransferClassifier(Classifier("resnet10", 1000).backbone, 2, 15, "features", "eval")
    return network, sigmoid_objective(np.full(15, 0.1), balanced=True)


def _cells(device, **settings):
    return gridcnn.untrained(GridCNN(image_size=64, width=4, **settings))


def _findings(device):
    return _cells(device, head="findings", loss="overlap", members=2, test_time_flip=True, decisive=True)


def _boxes(device):
    chosen = TorchvisionDetector(architecture="retinanet", backbone="resnet10", image_size=64)
    return BoxNetwork(chosen, 5, device), BoxGoal(4)


@pytest.fixture(params=[_baseline, _transfer, _cells, _findings, _boxes])
def built(request):
    """A function from a device to a network and its goal, the same weights each time, batch norms with statistics."""

    def build(device):
        torch.manual_seed(0)
        network, goal = request.param(device)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, 0, 0.05)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        return network, goal

    return build


def test_an_image_is_told_the_same_alone_among_others_and_in_any_order(built):
    names = list(PIXELS)
    network, goal = built(BFLOAT16)
    together = infer(network, names, read, goal, BFLOAT16)
    backwards = infer(network, names[::-1], read, goal, BFLOAT16)
    assert together.shape[0] == COUNT and np.ptp(together) > 0
    assert np.array_equal(backwards[::-1], together)
    for some in ([0], [COUNT - 1], [5, 2, 17]):
        alone = infer(network, [names[at] for at in some], read, goal, BFLOAT16)
        assert np.array_equal(alone, together[some])


def test_what_is_told_does_not_depend_on_the_arithmetic_of_training(built):
    names = list(PIXELS)[:5]
    told = [infer(*built(device)[:1], names, read, built(device)[1], device) for device in (FLOAT32, BFLOAT16)]
    assert np.array_equal(*told)


@pytest.mark.parametrize("device", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("built", [_baseline, _transfer, _cells, _findings], indirect=True)
def test_judging_does_not_depend_on_who_shares_a_batch_in_either_arithmetic(built, device):
    names = list(PIXELS)
    network, goal = built(device)
    shape = infer(network, names[:1], read, goal, device).shape[1:]
    targets = np.zeros((COUNT, *shape), np.float32)
    if shape == (10, 16, 16):
        targets = targets[:, :9]  # decisive: the tenth map is not trained on
    together, loss = judge(network, names, read, goal, device, targets)
    alone, own = zip(
        *(judge(network, [n], read, goal, device, targets[:1]) for n in (names[0], names[-1])), strict=True
    )
    assert np.array_equal(np.concatenate(alone), together[[0, -1]])
    assert np.isfinite([loss, *own]).all()
    full = judge(network, names[:AT_ONCE], read, goal, device, targets[:AT_ONCE])[1]
    rest = judge(network, names[AT_ONCE:], read, goal, device, targets[AT_ONCE:])[1]
    assert loss == pytest.approx((full * AT_ONCE + rest * 3) / COUNT, rel=1e-6)
    each = [judge(network, [name], read, goal, device, targets[:1])[1] for name in names[AT_ONCE:]]
    assert rest == pytest.approx(np.mean(each), rel=1e-5), "a mean over images, none twice"


def test_boxes_of_an_image_do_not_depend_on_the_others():
    chosen = TorchvisionDetector(architecture="fasterrcnn", backbone="resnet10", image_size=64)
    torch.manual_seed(0)
    network, names = BoxNetwork(chosen, 5, BFLOAT16), list(PIXELS)
    together = box_training.predict(network, names, read, BoxGoal(4), BFLOAT16)
    alone = box_training.predict(network, names[-1:], read, BoxGoal(4), BFLOAT16)
    assert len(alone) and together[together["image"] == names[-1]].reset_index(drop=True).equals(alone)


@pytest.mark.parametrize("able", [False, True])
def test_the_arithmetic_of_training_is_the_one_asked_for_and_auto_goes_by_the_processor(monkeypatch, able):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    threads = torch.get_num_threads()
    chosen = {precision: choose(precision, threads).bfloat16 for precision in ("float32", "bfloat16", "auto")}
    assert chosen == {"float32": False, "bfloat16": True, "auto": able}
    assert not choose("bfloat16", threads).exact().bfloat16
