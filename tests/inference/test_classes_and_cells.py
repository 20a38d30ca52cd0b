"""Predictions on new images: by the best model, which says of a picture what it said of it in the study."""

import json

import numpy as np
import pandas as pd
import pytest
import small_study
import torch

from cxr.boxes import CORNERS
from cxr.classifiers import baseline, fit, transfer
from cxr.detectors import files as detector_files
from cxr.detectors.gridcnn import training as gridcnn
from cxr.errors import InputError
from cxr.inference import classes_and_cells, new_images
from cxr.inference import files as prediction_files
from cxr.labels import LABELS
from cxr.runtime.checksums import sha256_of
from cxr.runtime.journal import Journal
from cxr.settings import GridCNN, Schedule
from cxr.training.device import Device
from cxr.training.resnet import resnet
from cxr.training.runs import plain
from cxr.training.tensors import write_tensors

CPU = Device(torch.device("cpu"), False)
SCHEDULE = Schedule(epochs=1, steps=2, batch=4, learning_rate=1e-3)
BASELINE, LONG = "baseline/sound/sigmoid", "transfer_long/sound/c2_s6"


def outputs(folder, predictions="predictions.csv"):
    folder.mkdir(parents=True)
    files = {"model": "model.pt", "history": "history.csv", "facts": "facts.json", "predictions": predictions}
    return {name: folder / file for name, file in files.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A study's folder with a baseline, a long run and two folds of the grid CNN, and the study itself."""
    folder = tmp_path_factory.mktemp("results")
    study = small_study.write(folder)
    torch.manual_seed(3)
    write_tensors(resnet("resnet10", 20).state_dict(), folder / "source.pt")
    with Journal(folder / "log.txt", "test") as tell:
        run = plain(0, CPU, tell)
        baseline.train(
            inputs=study.classifier(), outputs=fit.Outputs(**outputs(folder / BASELINE)), activation="sigmoid",
            network="resnet10", training=fit.Training(SCHEDULE, True, "auroc"), run=run,
        )  # fmt: skip
        transfer.train(
            inputs=study.classifier(), outputs=fit.Outputs(**outputs(folder / LONG)),
            start=transfer.Start(folder / "source.pt", None, "training"),
            architecture=transfer.Architecture("resnet10", 2, "logits", "eval", "glorot"),
            training=fit.Training(SCHEDULE, False, "auroc"), probed=0, run=run,
        )  # fmt: skip
        for fold, chosen in enumerate((GridCNN(image_size=64, width=4, training=SCHEDULE), findings())):
            place = outputs(folder / f"gridcnn/sound/fold{fold}", "predictions.npz")
            gridcnn.train(
                train_split=study.split("train"), train_labels=None, pretrained=None, inputs=study.detector(),
                outputs=detector_files.Trained(**place, validation_predictions=folder / "unused.npz"), settings=chosen,
                run=run,
            )  # fmt: skip
    return folder, study


def findings():
    return GridCNN(
        head="findings", loss="overlap", image_size=64, width=4, members=2, test_time_flip=True, decisive=True,
        training=SCHEDULE,
    )  # fmt: skip


def best(folder, scores, metric):
    """Let models have these validation scores; return their files."""
    for experiment, score in scores.items():
        table = pd.read_csv(folder / experiment / "history.csv")
        table.assign(**{f"validation_{metric}": score}).to_csv(folder / experiment / "history.csv", index=False)
    return [folder / experiment / "model.pt" for experiment in scores]


def prepared(folder, study, side):
    """The study's test images as new ones of this side in pixels."""
    names = study.names("test")
    pixels = study.read(names).repeat(side // 64, 1).repeat(side // 64, 2)
    (folder / "pixels.u8").write_bytes(pixels.tobytes())
    table = pd.DataFrame(
        {"image": names, "kind": "PNG", "width": side, "height": side, "side": side, "left": 0, "top": 0}
    )
    table.assign(digest="d").to_csv(folder / "table.csv", index=False)
    return new_images.Prepared(folder / "table.csv", folder / "pixels.u8", side)


def told(tmp_path):
    return prediction_files.Outputs(tmp_path / "predictions", tmp_path / "facts.json")


@pytest.mark.parametrize("winner", [BASELINE, LONG])
def test_the_best_classifier_says_of_a_picture_what_it_said_in_the_study(results, tmp_path, winner):
    folder, study = results
    models = best(folder, {BASELINE: 0.6, LONG: 0.5} | {winner: 0.7}, "auroc")
    with Journal(tmp_path / "log.txt", "test") as tell:
        classes_and_cells.classes(
            source_weights=folder / "source.pt", metric="auroc",
            candidates=prediction_files.Candidates(models, folder), images=prepared(tmp_path, study, 64),
            outputs=told(tmp_path), run=plain(0, CPU, tell),
        )  # fmt: skip
    found, expected = (pd.read_csv(path) for path in (tmp_path / "predictions", folder / winner / "predictions.csv"))
    assert found.columns.tolist() == ["image", *LABELS] and found["image"].tolist() == study.names("test")
    np.testing.assert_allclose(found[list(LABELS)], expected[list(LABELS)], rtol=1e-3, atol=1e-5)
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert (facts["experiment"], facts["score"], facts["chosen_by"]) == (winner, 0.7, "validation AUROC")
    assert facts["model_sha256"] == sha256_of(folder / winner / "model.pt")


@pytest.mark.parametrize("fold", [0, 1])
def test_the_best_grid_cnn_says_of_a_picture_what_it_said_in_the_study(results, tmp_path, fold):
    """New images lie twice as large in the cache as this network reads them."""
    folder, study = results
    scores = {f"gridcnn/sound/fold{number}": 0.7 if number == fold else 0.3 for number in (0, 1)}
    candidates = prediction_files.Candidates(best(folder, scores, "f1"), folder)
    images = prepared(tmp_path, study, 128)
    with Journal(tmp_path / "log.txt", "test") as tell:
        classes_and_cells.cells(candidates=candidates, images=images, outputs=told(tmp_path), run=plain(0, CPU, tell))
    with (
        np.load(tmp_path / "predictions") as found,
        np.load(folder / f"gridcnn/sound/fold{fold}/predictions.npz") as wanted,
    ):
        assert set(found.files) == set(wanted.files)
        for array in wanted.files:
            if wanted[array].dtype.kind == "f":
                np.testing.assert_allclose(found[array], wanted[array], rtol=1e-3, atol=1e-5)
            else:
                assert found[array].tolist() == wanted[array].tolist()


def test_a_file_that_is_no_model_or_another_networks_is_refused(results, tmp_path):
    folder, _ = results
    with pytest.raises(InputError, match="not a readable model file"):
        classes_and_cells.classifier(folder / LONG / "facts.json", folder / "source.pt")
    content = torch.load(folder / LONG / "model.pt", weights_only=True)
    write_tensors(content | {"head_input": "features"}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="another architecture than its own settings name"):
        classes_and_cells.classifier(tmp_path / "model.pt", folder / "source.pt")


def test_boxes_of_a_tall_picture_lose_their_margins_and_get_them_back():
    """100 × 200 pixels in a square of 200: a pixel is 5.12 of the frame, and the picture begins 50 pixels from the left."""
    index = pd.DataFrame({"image": ["tall.png"], "width": 100, "height": 200, "side": 200, "left": 50, "top": 0})
    frame = pd.DataFrame(
        [("tall.png", 0.9, 307.2, 512.0, 614.4, 1024.0), ("tall.png", 0.8, 0.0, 0.0, 512.0, 102.4),
         ("tall.png", 0.7, 0.0, 0.0, 250.0, 1024.0), ("tall.png", 0.6, 700.0, 0.0, 1024.0, 512.0)],
        columns=["image", "confidence", *CORNERS],
    )  # fmt: skip
    own = new_images.to_own_pixels(frame, index)
    assert own["confidence"].tolist() == [0.9, 0.8, 0.6], "what lies on a margin alone is dropped"
    expected = [[10, 100, 70, 200], [0, 0, 50, 20], [700 / 5.12 - 50, 0, 100, 100]]
    np.testing.assert_allclose(own[CORNERS], expected, atol=1e-9)
    np.testing.assert_allclose(new_images.to_frame(own, index)[CORNERS].iloc[0], frame[CORNERS].iloc[0])
