"""The job of a pair (c, s): where it starts from, what it trains, what its model file holds, and what it reads of a store."""

import json
from itertools import count

import numpy as np
import pandas as pd
import pytest
import small_study
import torch

from cxr.classifiers import fit, frozen_features, transfer
from cxr.errors import InputError
from cxr.inference import classes_and_cells
from cxr.labels import LABELS
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule
from cxr.training.device import Device
from cxr.training.resnet import resnet
from cxr.training.runs import plain
from cxr.training.tensors import write_tensors

CPU = Device(torch.device("cpu"), False)
EARLIER = count(90)
SCHEDULE = Schedule(epochs=3, steps=1, batch=4, learning_rate=1e-3, keep="best")
AUGMENT = Augment(horizontal_flip=0.5, rotation=10)
CLASSES = 20  # of the source network


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study.write(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def source(study):
    """A file of source weights; its batch norms hold statistics that are not those of a fresh network."""
    torch.manual_seed(5)
    network = resnet("resnet10", CLASSES).train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(4, 3, 64, 64))
    write_tensors(network.state_dict(), study.folder / "source.pt")
    return study.folder / "source.pt"


@pytest.fixture(scope="module")
def stored(study, source):
    """The description of stored features of a grid whose only depth is 2."""
    with Journal(study.folder / "features.log", "test") as tell:
        transfer.write_features(
            inputs=transfer.GridFiles(
                [(study.split("train"), 0), (study.split("train"), 2)], [study.split("validation"), study.split("test")],
                study.folder / "images.csv", study.folder / "store", small_study.SIDE,
            ),
            source_weights=source, network="resnet10", grid=frozen_features.Grid([2], SCHEDULE, AUGMENT, 1.0), code="c",
            store_file=study.folder / "features" / "store.json", run=plain(0, CPU, tell),
        )  # fmt: skip
    return study.folder / "features" / "store.json"


def trained(study, source, folder, **changes):
    """Train a pair of two layers; return predictions, history, facts and what the model file holds."""
    folder.mkdir(exist_ok=True)
    out = {name: folder / name for name in ("model", "predictions", "history", "facts", "validation_predictions")}
    options = {
        "features": None, "shared": "training", "head_input": "features", "frozen_batchnorm": "eval", "head_init": "torch",
        "balanced": True, "select_by": "auroc", "probed": 0, "layers": 2, "repeat": 0, **changes,
    }  # fmt: skip

    def made(kind, *names, **others):
        return kind(**others, **{name: options[name] for name in names})

    torch.manual_seed(next(EARLIER))  # a job's own seed counts, not what was drawn before it
    with Journal(folder / "log.txt", "test") as tell:
        transfer.train(
            inputs=study.classifier(AUGMENT), outputs=fit.Outputs(**out), probed=options["probed"],
            start=made(transfer.Start, "features", "shared", source_weights=source),
            architecture=made(
                transfer.Architecture, "layers", "head_input", "frozen_batchnorm", "head_init", network="resnet10"
            ),
            training=made(fit.Training, "balanced", "select_by", "repeat", schedule=SCHEDULE), run=plain(0, CPU, tell),
        )  # fmt: skip
    facts = json.loads(out["facts"].read_text(encoding="utf-8"))
    model = torch.load(out["model"], weights_only=True)
    return pd.read_csv(out["predictions"]), pd.read_csv(out["history"]).set_index("epoch"), facts, model


@pytest.fixture(scope="module")
def from_images(study, source, tmp_path_factory):
    return trained(study, source, tmp_path_factory.mktemp("job") / "images", probed=3)


def test_the_added_layer_starts_as_it_is_told(study, source, from_images, tmp_path):
    predictions, _, facts, _ = trained(study, source, tmp_path / "glorot", head_init="glorot")
    assert (from_images[2]["head_init"], facts["head_init"]) == ("torch", "glorot")
    assert not predictions.equals(from_images[0])


def test_a_source_network_is_its_checkpoint_and_has_as_many_outputs(source):
    found, wanted = transfer.load_source(source, "resnet10").state_dict(), torch.load(source, weights_only=True)
    assert found["fc.weight"].shape[0] == CLASSES and found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    with pytest.raises(InputError, match="of another architecture"):
        transfer.load_source(source, "resnet18")


def test_random_source_weights_follow_from_the_seed_alone(tmp_path):
    for name, seed, before in (("one", 3, 0), ("again", 3, 1), ("other", 4, 0)):
        torch.manual_seed(before)
        transfer.write_random_source(tmp_path / name, "resnet10", seed)
    one, again, other = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "again", "other"))
    assert all(torch.equal(one[name], again[name]) for name in one) and one["fc.weight"].shape[0] == 1000
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_the_model_file_holds_what_training_changed_and_with_the_source_predicts_the_same(
    study, source, from_images, tmp_path
):
    predictions, _, facts, model = from_images
    assert predictions["image"].tolist() == study.names("test")
    assert (facts["training_images"], facts["validation_images"]) == (6, 4)
    trained_names = {name for name in model["state_dict"] if name.endswith(".weight")}
    assert trained_names == {"backbone.layer4.0.downsample.1.weight", "backbone.fc.weight", "head.weight"}
    write_tensors(model, tmp_path / "model")
    network = classes_and_cells.classifier(tmp_path / "model", source).eval()
    objective = fit.sigmoid_objective(np.array(facts["prevalence"]), facts["balanced"])
    pixels = torch.from_numpy(study.read(study.names("test"))).unsqueeze(1) / 255
    with torch.no_grad():
        again = objective.predict(network(pixels)).numpy()
    np.testing.assert_allclose(again, predictions[list(LABELS)], rtol=1e-3, atol=1e-5)


def test_the_added_layer_is_looked_at_before_and_after(from_images, study, source):
    _, _, facts, _ = from_images
    looks = facts["added_layer"]
    assert looks["before"]["logit_spread"] != looks["after"]["logit_spread"]
    torch.manual_seed(0)
    fresh = transfer.TransferClassifier(transfer.load_source(source, "resnet10"), 2, len(LABELS), "features", "eval")
    shown = study.names("validation")[:3]
    expected = transfer.probe.look(fresh, fresh.head, shown, study.read, SCHEDULE.batch, CPU)
    assert looks["before"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("select_by", "best"), [("accuracy", 1), ("auroc", 2)])
def test_the_epoch_that_is_best_by_the_metric_asked_for_is_kept(study, source, tmp_path, monkeypatch, select_by, best):
    told = iter([(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)])
    monkeypatch.setattr(fit, "sigmoid_scores", lambda *_: dict(zip(("accuracy", "auroc"), next(told), strict=True)))
    _, _, facts, _ = trained(study, source, tmp_path / "job", select_by=select_by)
    assert facts["kept_epoch"] == best


@pytest.mark.parametrize("shared", ["training", "judging"])
def test_a_job_on_stored_features_tells_the_same_as_one_on_images(study, source, stored, from_images, tmp_path, shared):
    predictions, history, facts, _ = trained(study, source, tmp_path / "job", features=stored, shared=shared)
    expected, whole, on_images, _ = from_images
    assert on_images["starts_from"] == "images"
    assert facts["starts_from"] == {"training": "layer3.0", "judging": "images"}[shared]
    for column in ("train_loss", "validation_loss", "validation_auroc"):
        np.testing.assert_allclose(history[column], whole[column], rtol=1e-3)
    np.testing.assert_allclose(predictions[list(LABELS)], expected[list(LABELS)], rtol=0.01, atol=1e-4)
    told = pd.read_csv(tmp_path / "job/validation_predictions")
    assert told["image"].tolist() == study.names("validation"), "from stored features or images, as the test images are"


def test_a_repeat_trains_another_model_from_the_same_stored_pictures(study, source, stored, tmp_path):
    """Another first layer and another order of the images, but the same augmented pictures: so repeats share the store."""
    found = {
        (repeat, features is None): trained(
            study, source, tmp_path / f"{repeat}{features is None}", repeat=repeat, features=features
        )
        for repeat in (0, 2) for features in (None, stored)
    }  # fmt: skip
    head = {key: each[3]["state_dict"]["head.weight"] for key, each in found.items()}
    assert not torch.equal(head[0, True], head[2, True])
    assert [each[2]["repeat"] for each in found.values()] == [0, 0, 2, 2]
    np.testing.assert_allclose(found[2, True][1]["train_loss"], found[2, False][1]["train_loss"], rtol=1e-3)
    assert not np.allclose(found[2, True][1]["train_loss"], found[0, True][1]["train_loss"], rtol=1e-3)


def test_a_seed_settings_and_depth_make_the_model(study, source, from_images, tmp_path):
    def head(**changes):
        return trained(study, source, tmp_path / "job", **changes)[3]["state_dict"]["head.weight"]

    mine = from_images[3]["state_dict"]["head.weight"]
    assert torch.equal(head(), mine)
    for changes in ({"balanced": False}, {"layers": 0}, {"frozen_batchnorm": "batch"}):
        assert not torch.equal(head(**changes), mine), changes
    assert head(head_input="logits").shape == (15, CLASSES)
