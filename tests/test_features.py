"""Shared features: the pictures a grid needs, and a tail that trains as the whole network does."""

import numpy as np
import pytest
import torch

from cxr import features
from cxr.classification import sigmoid_objective
from cxr.datasets import Stream, positions
from cxr.device import Device
from cxr.journal import Journal
from cxr.networks import Tail, TransferClassifier, frozen_stages
from cxr.resnets import resnet
from cxr.settings import Augment, Schedule

SIDE = 96
AUGMENT = Augment(horizontal_flip=0.5, rotation=7, zoom=0.1, brightness=0.15)
SCHEDULE = Schedule(epochs=2, steps=10, batch=8)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return {f"{number:02d}.png": random.integers(0, 255, (SIDE, SIDE), dtype=np.uint8) for number in range(12)}


@pytest.fixture(scope="module")
def source():
    """A ResNet50 whose batch norms hold plausible statistics."""
    torch.manual_seed(0)
    network = resnet("resnet50", 20)
    network.train()
    with torch.no_grad():
        for _ in range(6):
            network(torch.randn(8, 3, SIDE, SIDE))
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def build(source, layers, head_input="logits"):
    torch.manual_seed(1)
    backbone = resnet("resnet50", 20)
    backbone.load_state_dict(source)
    return TransferClassifier(backbone, layers, 15, head_input, "eval").to(memory_format=torch.channels_last)


def reader(pictures):
    return lambda names: np.stack([pictures[name] for name in names])


def stored(pictures, source, folder, device, budget=10.0):
    sets = {"8": list(pictures)[:8], "5": list(pictures)[3:8]}
    backbone = resnet("resnet50", 20)
    backbone.load_state_dict(source)
    with Journal(folder / "log", "features") as tell:
        features.compute(
            backbone, depths=[0, 1, 7, 13, 19], train_sets=sets, fixed=list(pictures)[8:], read=reader(pictures),
            side=SIDE, schedule=SCHEDULE, augment=AUGMENT, seed=3, device=device, budget=budget,
            folder=folder / "store", tell=tell,
        )  # fmt: skip
    return sets


def losses(network, stream, objective, device, steps=20):
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.002, momentum=0.9)
    network.train()
    found = []
    for step in range(steps):
        inputs, targets = stream(step)
        with device.autocast():
            outputs = network(inputs)
        loss = objective.loss(outputs.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


def test_the_union_holds_every_visit_of_every_size_and_no_more():
    sets = {"8": [f"{n}" for n in range(8)], "5": [f"{n}" for n in range(5)]}
    table = features.visits_needed(sets.values(), SCHEDULE, 0).set_index("image")
    seen = {}
    for names in sets.values():
        for step in range(20):
            for index, visit in zip(*positions(len(names), 8, step, 0), strict=True):
                seen[names[index]] = max(seen.get(names[index], 0), int(visit) + 1)
    assert table["visits"].to_dict() == seen
    assert table["visits"].sum() == table["offset"].iloc[-1] + table["visits"].iloc[-1]


@pytest.mark.parametrize(
    ("layers", "stage"), [(0, "pooled"), (1, "pooled"), (2, "layer4.1"), (7, "layer4.1"), (8, "layer4.0"),
                          (13, "layer4.0"), (14, "layer3.5"), (19, "layer3.5"), (20, "layer3.5"), (107, None)]
)  # fmt: skip
def test_the_frozen_part_ends_in_front_of_the_first_trained_layer(layers, stage):
    found = frozen_stages(resnet("resnet50", 10), layers)
    assert (found[-1] if found else None) == stage


@pytest.mark.parametrize("layers", [0, 1, 7, 13, 19])
@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), (True, 2e-2)])
def test_a_tail_on_stored_features_has_the_losses_of_the_whole_network(
    pictures, source, tmp_path, layers, bfloat16, tolerance
):
    device = Device(torch.device("cpu"), bfloat16)
    sets = stored(pictures, source, tmp_path, device)
    names = sets["8"]
    targets = (np.random.default_rng(5).random((len(names), 15)) < 0.2).astype(np.float32)
    objective = sigmoid_objective(targets.mean(0), balanced=True)
    whole = build(source, layers)
    expected = losses(whole, Stream(names, reader(pictures), targets, AUGMENT, 8, 3, device.torch), objective, device)
    tail = build(source, layers)
    found = features.open_stage(tmp_path / "store", tail.boundary, device)
    stream = features.FeatureStream(names, found, targets, 8, 3, device.torch)
    actual = losses(Tail(tail, tail.boundary), stream, objective, device)
    np.testing.assert_allclose(actual, expected, rtol=tolerance)
    assert np.ptp(expected) > 0.001, "the losses move"
    if not bfloat16:
        whole.eval(), tail.eval()
        fixed = list(pictures)[8:]
        images = torch.from_numpy(reader(pictures)(fixed)).unsqueeze(1).float() / 255
        with torch.no_grad():
            one, other = whole(images), tail.tail(found.of_fixed(fixed), tail.boundary)
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_what_exceeds_the_budget_is_left_out_largest_first_and_told(pictures, source, tmp_path):
    device = Device(torch.device("cpu"), False)
    stored(pictures, source, tmp_path, device, budget=0.003)
    assert features.open_stage(tmp_path / "store", "pooled", device) is not None
    assert features.open_stage(tmp_path / "store", "layer3.5", device) is None
    assert "its pairs compute it themselves" in (tmp_path / "log").read_text()
    assert features.open_stage(tmp_path / "store", "pooled", Device(torch.device("cpu"), True)) is None
