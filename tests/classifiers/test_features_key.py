"""What stored features belong to: everything that a stored number depends on is in their key."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import small_study
import torch

from cxr.classifiers import frozen_features, transfer
from cxr.classifiers.networks import run_stages
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule
from cxr.training.batches import Stream, normalised
from cxr.training.device import Device
from cxr.training.resnet import resnet
from cxr.training.runs import plain
from cxr.training.tensors import write_tensors

CPU, ROUNDED = (Device(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))  # without instructions: emulated
NAMES = [f"{number}.png" for number in range(5)]
AUGMENT = Augment(horizontal_flip=0.5, rotation=20, shift=0.1, brightness=0.2)
SCHEDULE = Schedule(epochs=2, steps=5, batch=2)  # 20 pictures: four visits of each image, in ten steps


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


def read(names, side=32):
    random = np.random.default_rng(0)
    pixels = {name: random.integers(0, 256, (side, side), dtype=np.uint8) for name in NAMES}
    return np.stack([pixels[name] for name in names])


def network():
    torch.manual_seed(0)
    return resnet("resnet10", 20)


def stored(folder, tell, *, side=32, schedule=SCHEDULE, augment=AUGMENT, belongs_to="x", seed=3, device=CPU):
    """Store what a small grid needs; return the store's description."""
    frozen_features.compute(
        network(), images=frozen_features.GridImages([(NAMES, 0)], [], dict.fromkeys(NAMES, "a")),
        pixels=SimpleNamespace(read=lambda names: read(names, side), side=side),
        grid=frozen_features.Grid([0], schedule, augment, 1.0), belongs_to=belongs_to,
        store=folder / "store.json", run=plain(seed, device, tell),
    )  # fmt: skip
    return json.loads((folder / "store.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with Journal(folder / "log.txt", "test") as tell:
        return stored(folder, tell)["key"]


@pytest.mark.parametrize(
    "other",
    [
        {"side": 48},
        {"schedule": Schedule(epochs=1, steps=5, batch=4)},
        {"augment": Augment(horizontal_flip=0.5, rotation=20, shift=0.1, brightness=0.3)},
        {"belongs_to": "y"},
        {"seed": 4},
        {"device": ROUNDED},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_a_stored_number_depends_on_is_in_the_key(key, tmp_path, tell, other):
    """A batch's size is: kernels, and so roundings, go by it."""
    assert stored(tmp_path, tell, **other)["key"] != key


def test_how_long_training_takes_is_not(key, tmp_path, tell):
    """Longer trainings add visits to the same store."""
    assert stored(tmp_path, tell, schedule=Schedule(epochs=4, steps=5, batch=2))["key"] == key


def test_network_source_weights_and_code_are_what_a_store_belongs_to(tmp_path, tell, monkeypatch):
    study, seen = small_study.write(tmp_path), []
    monkeypatch.setattr(
        transfer.frozen_features, "compute", lambda network, **options: seen.append(options["belongs_to"])
    )
    for name, seed, code in (("resnet10", 0, "a"), ("resnet10", 0, "b"), ("resnet10", 1, "a"), ("resnet18", 0, "a")):
        weights = tmp_path / f"{name}-{seed}.pt"
        torch.manual_seed(seed)
        write_tensors(resnet(name, 20).state_dict(), weights)
        transfer.write_features(
            inputs=transfer.GridFiles(
                [(study.split("train"), 0)], [study.split("test")], tmp_path / "images.csv", tmp_path / "store",
                small_study.SIDE,
            ),
            source_weights=weights, network=name, grid=frozen_features.Grid([0], SCHEDULE, AUGMENT, 1.0), code=code,
            store_file=tmp_path / "store.json",
            run=plain(0, CPU, tell),
        )  # fmt: skip
    assert len(set(seen)) == 4


@pytest.mark.parametrize(("device", "tolerance"), [(CPU, 1e-5), (ROUNDED, 0.05)])
def test_stored_features_are_those_of_the_pictures_that_the_steps_would_show(tmp_path, tell, device, tolerance):
    """Steps of two out of five images: neither a step nor a batch is a visit."""
    stored(tmp_path, tell, device=device)
    stage, found = frozen_features.open_nearest(tmp_path / "store.json", ["pooled"], device)
    targets = np.arange(5, dtype=np.float32)
    kept = frozen_features.FeatureStream(NAMES, found, targets, 2, 3, device.torch)
    shown = Stream(NAMES, read, targets, AUGMENT, 2, 3, device.torch)
    source, visits = network().eval(), set()
    for step in range(10):
        (hidden, who), (images, wanted) = kept(step), shown(step)
        assert torch.equal(who, wanted)
        with torch.no_grad(), device.autocast():
            expected = run_stages(source, normalised(images), None, stage)
        assert torch.allclose(hidden.float(), expected.float(), rtol=tolerance, atol=tolerance), step
        visits |= {tuple(row) for row in hidden.float().numpy().round(6).tolist()}
    assert len(visits) == 20, "every visit of an image is another picture"
