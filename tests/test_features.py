"""Shared features: the pictures a grid needs, and a tail that trains as the whole network does."""

import copy
import json
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch

from cxr import features
from cxr.classification import sigmoid_objective
from cxr.datasets import Stream, positions
from cxr.device import Device, choose
from cxr.errors import InputError
from cxr.journal import Journal
from cxr.networks import Tail, TransferClassifier, frozen_stages
from cxr.resnets import resnet
from cxr.runs import plain
from cxr.settings import Augment, Schedule
from cxr.state import Keeper
from cxr.training import infer, judge

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


def stored(
    pictures,
    source,
    folder,
    device,
    budget=10.0,
    sets=None,
    depths=(0, 1, 7, 13, 19),
    digests=None,
    read=None,
    belongs_to="test",
):
    """Bring the store of a small grid up to date; return the grid's sets. source: weights of a ResNet50, or a network."""
    sets = sets or {"8": list(pictures)[:8], "5": list(pictures)[3:8]}
    backbone = source
    if isinstance(source, dict):
        backbone = resnet("resnet50", 20)
        backbone.load_state_dict(source)
    with Journal(folder / "log", "features") as tell:
        features.compute(
            backbone, depths=depths, train_sets=sets, fixed=list(pictures)[8:],
            digests=digests or dict.fromkeys(pictures, "a"), read=read or reader(pictures),
            side=SIDE, schedule=SCHEDULE, augment=AUGMENT, belongs_to=belongs_to, budget=budget,
            store=folder / "store.json", run=plain(3, device, tell, Keeper(folder / "state", "key", 0.0, tell)),
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


@pytest.mark.parametrize(
    ("layers", "stage"), [(0, "pooled"), (1, "pooled"), (2, "layer4.1"), (7, "layer4.1"), (8, "layer4.0"),
                          (13, "layer4.0"), (14, "layer3.5"), (19, "layer3.5"), (20, "layer3.5"), (107, None)]
)  # fmt: skip
def test_the_frozen_part_ends_in_front_of_the_first_trained_layer(layers, stage):
    found = frozen_stages(resnet("resnet50", 10), layers)
    assert (found[-1] if found else None) == stage


bfloat16 = pytest.mark.skipif(not choose("auto", 1).bfloat16, reason="this processor has no bfloat16 instructions")


@pytest.mark.parametrize("layers", [0, 1, 7, 13, 19])
@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), pytest.param(True, 2e-2, marks=bfloat16)])
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
    stage, found = features.open_nearest(tmp_path / "store.json", tail.shared, device)
    assert stage == tail.shared[-1]
    stream = features.FeatureStream(names, found, targets, 8, 3, device.torch)
    actual = losses(Tail(tail, stage), stream, objective, device)
    np.testing.assert_allclose(actual, expected, rtol=tolerance)
    assert np.ptp(expected) > 0.001, "the losses move"
    if not bfloat16:
        whole.eval(), tail.eval()
        fixed = list(pictures)[8:]
        images = torch.from_numpy(reader(pictures)(fixed)).unsqueeze(1).float() / 255
        with torch.no_grad():
            one, other = whole(images), tail.tail(found.of_fixed(fixed), stage)
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


DEPTHS = (0, 2, 9)


@pytest.fixture(scope="module")
def small():
    """A narrow network, whose frozen part ends at pooled, layer3.0 or layer2.0 for the depths above."""
    torch.manual_seed(0)
    return resnet("resnet10", 20)


@pytest.mark.parametrize("layers", [0, 2])
def test_features_stored_in_bfloat16_are_predicted_from_in_float32(pictures, small, tmp_path, layers):
    """On a processor without bfloat16 instructions, too: the network is narrow."""
    device, some = Device(torch.device("cpu"), True), {"5": list(pictures)[:5]}
    stored(pictures, small, tmp_path, device, sets=some, depths=[0, 2])
    model = TransferClassifier(copy.deepcopy(small), layers, 15, "features", "eval")
    stage, found = features.open_nearest(tmp_path / "store.json", model.shared, device)
    assert stage == model.shared[-1]
    fixed, objective = list(pictures)[8:], sigmoid_objective(np.full(15, 0.1), balanced=False)
    together = infer(Tail(model, stage), fixed, found.of_fixed, objective, device)
    alone = infer(Tail(model, stage), fixed[-1:], found.of_fixed, objective, device)
    assert np.array_equal(alone[0], together[-1])
    np.testing.assert_allclose(together, infer(model, fixed, reader(pictures), objective, device), atol=0.02)
    rounded, _ = judge(Tail(model, stage), fixed, found.of_fixed, objective, device, np.zeros_like(together))
    assert not np.array_equal(rounded, together), "judging after an epoch is in the arithmetic of training"


class Counting:
    """Reads pictures and counts what was asked for; with the call number `stop` the process is asked to stop."""

    def __init__(self, pictures, stop=None):
        self.read, self.asked, self.stop = reader(pictures), [], stop

    def __call__(self, names):
        self.asked.append(list(names))
        if len(self.asked) == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.read(names)


def numbers_of(folder, names, stage="layer3.0"):
    """What a store holds of the first visit of images, and of the judged images."""
    _, found = features.open_nearest(folder / "store.json", [stage], Device(torch.device("cpu"), False))
    return found.at(found.places(names)[:, 0]), found.of_fixed(["08.png", "09.png"])


def test_a_further_size_and_depth_compute_what_is_missing_alone(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    first = {"5": list(pictures)[3:8]}
    counted = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=first, depths=[0, 2], read=counted)
    before = numbers_of(tmp_path, first["5"])
    again = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=first, depths=[0, 2], read=again)
    assert counted.asked and not again.asked, "nothing is missing"
    sets = first | {"6": list(pictures)[2:8]}
    more = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=sets, depths=[0, 2], read=more)
    assert {name for names in more.asked for name in names} == {"02.png"}, (
        "the others have more visits in the smaller set"
    )
    for one, other in zip(before, numbers_of(tmp_path, first["5"]), strict=True):
        assert torch.equal(one, other)
    deeper = Counting(pictures)
    stored(pictures, small, tmp_path, device, sets=sets, depths=[0, 2, 9], read=deeper)
    assert deeper.asked and features.open_nearest(tmp_path / "store.json", ["layer2.0"], device) is not None
    alone = tmp_path / "alone"
    alone.mkdir()
    stored(pictures, small, alone, device, sets=sets, depths=[0, 2, 9])
    for stage in ("pooled", "layer3.0", "layer2.0"):
        for one, other in zip(numbers_of(tmp_path, sets["6"], stage), numbers_of(alone, sets["6"], stage), strict=True):
            assert torch.equal(one, other), "the same as computed at once"


def test_an_interrupted_store_goes_on_and_a_replaced_image_is_computed_anew(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    with pytest.raises(SystemExit):
        stored(pictures, small, tmp_path, device, depths=DEPTHS, read=Counting(pictures, stop=5))
    assert not (tmp_path / "store.json").exists()
    rest = Counting(pictures)
    sets = stored(pictures, small, tmp_path, device, depths=DEPTHS, read=rest)
    alone = tmp_path / "alone"
    alone.mkdir()
    whole = Counting(pictures)
    stored(pictures, small, alone, device, depths=DEPTHS, read=whole)
    assert len(rest.asked) == len(whole.asked) - 5
    for one, other in zip(numbers_of(tmp_path, sets["8"]), numbers_of(alone, sets["8"]), strict=True):
        assert torch.equal(one, other)
    changed = pictures | {"03.png": 255 - pictures["03.png"]}
    anew = Counting(changed)
    stored(
        changed,
        small,
        tmp_path,
        device,
        digests=dict.fromkeys(pictures, "a") | {"03.png": "b"},
        depths=DEPTHS,
        read=anew,
    )
    assert {name for names in anew.asked for name in names} == {"03.png"}
    old, new = numbers_of(alone, sets["8"])[0], numbers_of(tmp_path, sets["8"])[0]
    same = [torch.equal(one, other) for one, other in zip(old, new, strict=True)]
    assert same == [name != "03.png" for name in sets["8"]]


def test_other_weights_settings_or_code_share_nothing_and_a_missing_picture_is_told(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    sets = stored(pictures, small, tmp_path, device, depths=[0])
    stored(pictures, small, tmp_path, device, depths=[0], sets={"5": sets["5"]})
    _, found = features.open_nearest(tmp_path / "store.json", ["pooled"], device)
    with pytest.raises(InputError, match="not among the stored features; delete"):
        features.FeatureStream(["00.png"], found, np.zeros((1, 15), np.float32), 4, 3, device.torch)(0)
    with pytest.raises(InputError, match="not among the stored features"):
        found.of_fixed(["00.png"])
    one = json.loads((tmp_path / "store.json").read_text())["key"]
    stored(pictures, small, tmp_path, device, depths=[0], belongs_to="other code")
    assert json.loads((tmp_path / "store.json").read_text())["key"] != one
    assert not (tmp_path / one).exists(), "a store that nothing can read any more takes no room"


def test_places_are_kept_reused_and_added():
    def of(*rows):
        return pd.DataFrame(rows, columns=features.KEY)

    held = of(("a", "1", 0), ("a", "1", 1), ("b", "1", -1)).assign(pooled=True)
    wanted = of(("c", "1", 0), ("a", "1", 0), ("d", "1", -1), ("b", "1", -1), ("b", "1", 0))
    found = features.placed(held, wanted, ["pooled", "stem"])
    assert found[features.KEY].values.tolist() == [
        ["a", "1", 0], ["c", "1", 0], ["b", "1", -1], ["d", "1", -1], ["b", "1", 0]
    ]  # fmt: skip
    assert found["pooled"].tolist() == [True, False, True, False, False] and not found["stem"].any()


def sizes_in_gb(rows=68_000, side=224, bytes_each=2):
    shapes = {"pooled": 2048, "layer4.1": 2048 * 49, "layer4.0": 2048 * 49, "layer3.5": 1024 * 196}
    return {name: rows * count * bytes_each / 1e9 for name, count in shapes.items()}


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [
        (60, ["layer3.5", "layer4.0", "layer4.1", "pooled"]),
        (
            40,
            ["layer3.5", "pooled"],
        ),  # one early stage serves all deeper ones better than two late ones of the same size
        (20, ["layer4.0", "pooled"]),
        (1, ["pooled"]),
        (0, []),
    ],
)
def test_a_budget_is_spent_on_what_saves_the_grid_the_most(tmp_path, budget, chosen):
    """The paper's 20 depths and 68,000 pictures at 224 px; sizes by hand."""
    assert sum(sizes_in_gb().values()) > 40 > sizes_in_gb()["layer3.5"] > 20 > sizes_in_gb()["layer4.0"]
    with Journal(tmp_path / "log", "features") as tell:
        found = features.choose_stages(resnet("resnet50", 10), range(20), 68_000, 224, 2, budget, tell)
    assert list(found) == chosen
    assert ("computed by the jobs themselves" in (tmp_path / "log").read_text()) == (budget < 60)


def test_multiplications_are_those_of_the_literature():
    """ResNet50 at 224 px: 4.09 billion, of them 0.81 in the last four blocks' stage (by hand from its layers)."""
    _, work = features._outputs(resnet("resnet50", 10), 224)
    assert work["pooled"] == pytest.approx(4.087e9, rel=0.002)
    assert work["pooled"] - work["layer3.5"] == pytest.approx(0.81e9, rel=0.01)


def test_a_job_starts_from_the_nearest_stage_that_is_stored(pictures, small, tmp_path):
    device = Device(torch.device("cpu"), False)
    sets = stored(pictures, small, tmp_path, device, depths=[9])
    names = sets["8"]
    targets = (np.random.default_rng(5).random((len(names), 15)) < 0.3).astype(np.float32)
    objective = sigmoid_objective(targets.mean(0), balanced=True)

    def model():
        torch.manual_seed(1)
        network = TransferClassifier(copy.deepcopy(small), 2, 15, "features", "eval")
        return network.to(memory_format=torch.channels_last)

    whole, tail = model(), model()
    expected = losses(
        whole, Stream(names, reader(pictures), targets, AUGMENT, 8, 3, device.torch), objective, device, 8
    )
    stage, found = features.open_nearest(tmp_path / "store.json", tail.shared, device)
    assert stage == "layer2.0" and tail.shared[-1] == "layer3.0"
    stream = features.FeatureStream(names, found, targets, 8, 3, device.torch)
    np.testing.assert_allclose(losses(Tail(tail, stage), stream, objective, device, 8), expected, rtol=1e-5)
    assert features.open_nearest(tmp_path / "store.json", [], device) is None
    assert features.open_nearest(tmp_path / "store.json", ["stem"], device) is None
    assert features.open_nearest(tmp_path / "store.json", tail.shared, Device(torch.device("cpu"), True)) is None
