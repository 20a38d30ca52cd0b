"""Source weights: random, a given file, or trained on textures, of which those that judge are never trained on."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from cxr.classifiers import source_weights
from cxr.errors import InputError
from cxr.phantoms import textures
from cxr.runtime.checksums import sha256_of
from cxr.runtime.journal import Journal
from cxr.settings import Schedule, Source
from cxr.training.device import Device
from cxr.training.resnet import resnet
from cxr.training.runs import plain
from cxr.training.tensors import write_tensors

CPU = Device(torch.device("cpu"), False)
SIDE = 32
TEXTURES = Source(kind="textures", images=100, training=Schedule(epochs=3, steps=1, batch=4, keep="best"))


def prepared(folder, settings, seed=0):
    """Prepare source weights; return the state dict, facts and history."""
    folder.mkdir(exist_ok=True)
    out = {name: folder / name for name in ("model", "fingerprint", "history", "facts")}
    with Journal(folder / "log.txt", "test") as tell:
        source_weights.prepare(
            settings=settings, network="resnet10", image_size=SIDE, run=plain(seed, CPU, tell), **out
        )
    facts = json.loads(out["facts"].read_text(encoding="utf-8"))
    assert facts["sha256"] == sha256_of(out["model"]) == out["fingerprint"].read_text(encoding="utf-8").strip()
    return torch.load(out["model"], weights_only=True), facts, pd.read_csv(out["history"])


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_textures_that_judge_are_not_trained_on_and_each_has_its_own_class(tmp_path, monkeypatch):
    seen, fit = [], source_weights.fit

    def watched(network, stream, objective, validation, *rest):
        seen.append((stream, validation))
        return fit(network, stream, objective, validation, *rest)

    monkeypatch.setattr(source_weights, "fit", watched)
    state, facts, history = prepared(tmp_path / "job", TEXTURES)
    (stream, validation) = seen[0]
    drawn, classes = textures.draw(100, SIDE, 0)
    kind = {picture.tobytes(): label for picture, label in zip(drawn, classes, strict=True)}
    training, judged = stream.read(stream.names), validation.read(validation.names)
    assert (len(training), len(judged)) == (90, 10)
    assert {each.tobytes() for each in training} | {each.tobytes() for each in judged} == kind.keys()
    for pictures, told in ((training, stream.targets), (judged, validation.targets)):
        assert [kind[each.tobytes()] for each in pictures] == told.tolist()
    assert validation.better == ("accuracy", True)
    assert (facts["training_images"], facts["validation_images"]) == (90, 10)
    assert (
        state["fc.weight"].shape[0] == textures.N_CLASSES and state.keys() == resnet("resnet10", 20).state_dict().keys()
    )
    assert history["epoch"].tolist() == [1, 2, 3]


def test_accuracy_on_textures_by_hand():
    confidences = np.array([[0.2, 0.5, 0.3], [0.9, 0.0, 0.1], [0.1, 0.1, 0.8]])
    assert source_weights._accuracy(confidences, np.array([1, 0, 0])) == {"accuracy": pytest.approx(2 / 3)}


@pytest.mark.parametrize("settings", [TEXTURES, Source(kind="random")], ids=lambda settings: settings.kind)
def test_weights_follow_from_the_seed_and_not_from_what_was_drawn_before(tmp_path, settings):
    found = {}
    for name, seed, before in (("one", 0, 1), ("again", 0, 2), ("other", 1, 1)):
        torch.manual_seed(before)
        found[name], facts, _ = prepared(tmp_path / name, settings, seed)
        assert facts["kind"] == settings.kind
    assert same(found["one"], found["again"])
    assert not torch.equal(found["one"]["conv1.weight"], found["other"]["conv1.weight"])


@pytest.mark.parametrize("kind", ["file", "imagenet"])
def test_a_given_file_is_used_as_it_is_after_a_look_at_its_checksum_and_network(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(source_weights, "from_hub", None)  # would fail
    torch.manual_seed(7)
    given = tmp_path / "given.pt"
    write_tensors(resnet("resnet10", 30).state_dict(), given)
    state, facts, history = prepared(tmp_path / "job", Source(kind=kind, file=str(given), sha256=sha256_of(given)[:12]))
    assert same(state, torch.load(given, weights_only=True))
    assert (facts["file"], facts["file_sha256"], len(history)) == ("given.pt", sha256_of(given), 0)
    with pytest.raises(SystemExit):
        prepared(tmp_path / "wrong", Source(kind=kind, file=str(given), sha256="0" * 12))
    write_tensors(resnet("resnet18", 30).state_dict(), given)
    with pytest.raises(SystemExit):
        prepared(tmp_path / "wrong", Source(kind=kind, file=str(given)))
    assert "of another architecture" in (tmp_path / "wrong/log.txt").read_text(encoding="utf-8")


def test_a_network_without_imagenet_weights_is_refused():
    with pytest.raises(InputError, match=r"resnet10 has no ImageNet weights \(these exist for resnet50, resnet18\)"):
        source_weights.from_hub("resnet10")
