"""The baselines' job: whose labels are learned, which epoch is kept, and what its files say."""

import json
from itertools import count

import numpy as np
import pandas as pd
import pytest
import small_study
import torch

from cxr.classifiers import baseline, fit
from cxr.data.splits import read_split
from cxr.labels import LABELS, to_matrix
from cxr.metrics import curve_floors
from cxr.runtime.journal import Journal
from cxr.settings import Schedule
from cxr.training.device import Device
from cxr.training.runs import plain

CPU = Device(torch.device("cpu"), False)
EARLIER = count(90)
SCHEDULE = Schedule(epochs=3, steps=1, batch=4, learning_rate=1e-3, keep="best")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study.write(tmp_path_factory.mktemp("study"))


def trained(study, folder, activation="sigmoid", balanced=False, select_by="auroc", seed=0, more=()):
    """Train a baseline; return predictions, history, facts and what the model file holds. more: further outputs."""
    folder.mkdir(exist_ok=True)
    out = {name: folder / name for name in ("model", "predictions", "history", "facts", *more)}
    torch.manual_seed(next(EARLIER))  # a job's own seed counts, not what was drawn before it
    with Journal(folder / "log.txt", "test") as tell:
        baseline.train(
            inputs=study.classifier(), outputs=fit.Outputs(**out), activation=activation, network="resnet10",
            training=fit.Training(SCHEDULE, balanced, select_by), run=plain(seed, CPU, tell),
        )  # fmt: skip
    facts = json.loads(out["facts"].read_text(encoding="utf-8"))
    model = torch.load(out["model"], weights_only=True)
    return pd.read_csv(out["predictions"]), pd.read_csv(out["history"]).set_index("epoch"), facts, model


@pytest.fixture(scope="module")
def sigmoid(study, tmp_path_factory):
    return trained(study, tmp_path_factory.mktemp("sigmoid"))


def test_a_job_trains_validates_and_predicts_on_the_split_files_it_is_given(study, sigmoid):
    predictions, _, facts, _ = sigmoid
    assert predictions.columns.tolist() == ["image", "patient", *LABELS]
    assert predictions["image"].tolist() == study.names("test")
    assert predictions["patient"].tolist() == read_split(study.split("test"))["patient"].tolist()
    assert (facts["training_images"], facts["validation_images"]) == (6, 4)
    share = dict.fromkeys(LABELS, 0.0) | {"Mass": 3 / 6, "No Finding": 2 / 6, "Effusion": 1 / 6, "Nodule": 1 / 6}
    assert facts["prevalence"] == pytest.approx(list(share.values()), abs=1e-6), "of the training images"


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_job_records_its_validation_images_and_the_floors_of_its_curves(study, sigmoid, tmp_path, activation):
    _, history, facts, _ = sigmoid if activation == "sigmoid" else trained(study, tmp_path / "job", "softmax")
    training, validation = (to_matrix(read_split(study.split(role))["labels"]) for role in ("train", "validation"))
    told = facts["validation"]
    assert (told["images"], told["patients"]) == (4, read_split(study.split("validation"))["patient"].nunique())
    assert told["positives"] == validation[:, :14].sum()
    floors = curve_floors.of_labels(training, validation, activation)
    assert told["floors"] == pytest.approx(
        {name: value for name, value in floors.items() if np.isfinite(value)}, abs=1e-7
    )
    assert {f"validation_{name}" for name in floors} <= set(history)


def test_curves_over_the_findings_are_those_of_the_validation_predictions(study, tmp_path):
    folder = tmp_path / "job"
    _, history, facts, _ = trained(study, folder, more=["validation_predictions"])
    said = pd.read_csv(folder / "validation_predictions")[list(LABELS)].to_numpy()
    wanted = to_matrix(read_split(study.split("validation"))["labels"]).astype(float)
    found = curve_floors.findings_scores(said, wanted, "sigmoid")
    row = history.loc[facts["kept_epoch"]]
    assert {name: row[f"validation_{name}"] for name in found} == pytest.approx(found, abs=1e-4, nan_ok=True)


def test_validation_images_are_predicted_by_the_kept_weights_and_nothing_else_changes(study, sigmoid, tmp_path):
    folder = tmp_path / "job"
    again = trained(study, folder, more=["validation_predictions"])
    told = pd.read_csv(folder / "validation_predictions")
    assert told["image"].tolist() == study.names("validation") and not (tmp_path / "validation_predictions").exists()
    network = baseline.Classifier(again[3]["network"], len(LABELS)).eval()
    network.backbone.load_state_dict(again[3]["state_dict"])
    with torch.no_grad():
        wanted = network(torch.from_numpy(study.read(study.names("validation"))).unsqueeze(1) / 255).sigmoid().numpy()
    np.testing.assert_allclose(told[list(LABELS)], wanted, rtol=1e-3, atol=1e-5)
    pd.testing.assert_frame_equal(again[0], sigmoid[0])
    assert all(torch.equal(again[3]["state_dict"][name], it) for name, it in sigmoid[3]["state_dict"].items())


@pytest.mark.parametrize(("select_by", "best"), [("accuracy", 1), ("auroc", 2)])
def test_the_epoch_that_is_best_by_the_metric_asked_for_is_kept(study, tmp_path, monkeypatch, select_by, best):
    told = iter([(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)])
    monkeypatch.setattr(fit, "sigmoid_scores", lambda *_: dict(zip(("accuracy", "auroc"), next(told), strict=True)))
    _, history, facts, _ = trained(study, tmp_path / "job", select_by=select_by)
    assert history["validation_auroc"].tolist() == [0.5, 0.7, 0.6]
    assert facts["kept_epoch"] == best


def test_the_model_file_is_the_network_that_predicted(study, sigmoid):
    predictions, _, facts, model = sigmoid
    network = baseline.Classifier(model["network"], len(LABELS)).eval()
    network.backbone.load_state_dict(model["state_dict"])
    pixels = torch.from_numpy(study.read(study.names("test"))).unsqueeze(1) / 255
    with torch.no_grad():
        again = network(pixels).sigmoid().numpy()
    np.testing.assert_allclose(again, predictions[list(LABELS)], rtol=1e-3, atol=1e-5)
    assert (
        facts["activation"] == model["activation"] == "sigmoid" and facts["parameters"] == facts["trained_parameters"]
    )


def test_a_softmax_shares_one_out_among_the_labels_and_sigmoids_do_not(study, sigmoid, tmp_path):
    shares, _, facts, _ = trained(study, tmp_path / "softmax", activation="softmax")
    assert facts["activation"] == "softmax"
    np.testing.assert_allclose(shares[list(LABELS)].sum(axis=1), 1, atol=1e-4)
    assert (sigmoid[0][list(LABELS)].sum(axis=1) - 1).abs().max() > 0.01


def test_a_balanced_loss_trains_another_network_and_a_seed_the_same(study, sigmoid, tmp_path):
    _, history, _, model = sigmoid
    _, again, _, same = trained(study, tmp_path / "again")
    _, other, facts, balanced = trained(study, tmp_path / "balanced", balanced=True)
    name = "fc.weight"
    assert torch.equal(same["state_dict"][name], model["state_dict"][name])
    assert again["train_loss"].tolist() == history["train_loss"].tolist()
    assert facts["balanced"] and not torch.equal(balanced["state_dict"][name], model["state_dict"][name])
    assert other["validation_loss"].iloc[0] != history["validation_loss"].iloc[0]
