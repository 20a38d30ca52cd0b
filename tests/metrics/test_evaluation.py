"""From prediction files to metric tables: which file is scored, which chooses the thresholds, which the floors are fitted on."""

import json

import numpy as np
import pandas as pd
import pytest

from cxr.data import splits
from cxr.labels import LABELS, NO_FINDING, to_matrix
from cxr.metrics import evaluation, judging
from cxr.metrics.floors import CUT_MASK
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

QUICK = Evaluation(bootstrap=100)
HERE, ELSEWHERE = "Mass 0.000 0.000 128.000 128.000", "Mass 512.000 512.000 640.000 640.000"  # four cells each


def split(path, labels, boxes=None, first=0):
    """Write the split of an image a patient; first: number of the first image."""
    table = pd.DataFrame({"image": [f"{first + at:08d}_000.png" for at in range(len(labels))]})
    table["patient"], table["labels"], table["digest"] = range(first, first + len(labels)), labels, "d"
    splits.write_split(table if boxes is None else table.assign(boxes=boxes), path)
    return path


def read(path, experiment):
    """The rows of a metric table by metric and label, all of one experiment."""
    table = pd.read_csv(path).fillna({"label": "", "floor_name": "", "note": ""})
    assert set(table["protocol"]) == {"sound"} and set(table["experiment"]) == {experiment}
    return table.set_index(["metric", "label"])


# classifiers


@pytest.fixture
def classify(tmp_path):
    """A function from labels in training, labels in the test and probabilities there to the metric table."""

    def run(train, test, probabilities, settings=QUICK, seed=0, activation="sigmoid"):
        paths = {"floors": tmp_path / "floors.npz", "test_split": split(tmp_path / "test.csv", test, first=1000)}
        known = {"train": split(tmp_path / "train.csv", train)}
        splits.write_split(splits.read_split(paths["test_split"]).head(2), tmp_path / "validation.csv")
        for role in ("train", "validation", "test"):
            described = splits.read_split(tmp_path / f"{role}.csv")[["image", "patient"]]
            known[f"{role}_metadata"] = tmp_path / f"{role}_metadata.csv"
            splits.write_split(described.assign(follow_up=0, age="", sex="", view=""), known[f"{role}_metadata"])
        with Journal(tmp_path / "log", "floors") as tell:
            ladders = {"ladder": paths["floors"], "validation_ladder": tmp_path / "validation.npz"}
            evaluation.write_ladder(**known, seed=seed, **ladders, tell=tell)
        table = pd.DataFrame(probabilities, columns=list(LABELS))
        table.insert(0, "image", splits.read_split(paths["test_split"])["image"])
        table.to_csv(tmp_path / "predictions.csv", index=False)
        evaluation.write_classifier(
            experiment=("sound", "x"), activation=activation, predictions=tmp_path / "predictions.csv", **paths,
            settings=settings, seed=seed, table=tmp_path / "table.csv",
        )  # fmt: skip
        return read(tmp_path / "table.csv", "x")

    return run


def test_validity_is_of_the_test_images_and_its_thresholds_of_the_validation_images(tmp_path):
    """Both files are of other images, with predictions that find every image with a Mass: in validation above 0.6."""
    labels = ["Mass", NO_FINDING] * 12
    files, known = {}, {"train": split(tmp_path / "train.csv", labels)}
    for role, first, above in (("train", 0, 0), ("validation", 100, 0.6), ("test", 200, 0.5)):
        table = splits.read_split(split(tmp_path / f"{role}.csv", labels, first=first))
        described = table[["image", "patient"]].assign(follow_up=0, age=50, sex="M", view="PA")
        known[f"{role}_metadata"] = tmp_path / f"{role}_metadata.csv"
        splits.write_split(described, known[f"{role}_metadata"])
        before = "" if role == "test" else f"{role}_"
        if role != "train":
            said = pd.DataFrame(to_matrix(labels) * above + 0.01, columns=list(LABELS)).assign(image=table["image"])
            files[f"{before}predictions"] = tmp_path / f"{role}_predictions.csv"
            said.to_csv(files[f"{before}predictions"], index=False)
            files |= {f"{role}_split": tmp_path / f"{role}.csv", f"{before}floors": tmp_path / f"{role}.npz"}
    ladders = {"ladder": files["floors"], "validation_ladder": files["validation_floors"]}
    with Journal(tmp_path / "log", "floors") as tell:
        evaluation.write_ladder(**known, seed=0, **ladders, tell=tell)
    evaluation.write_validity(
        experiment=("sound", "x"),
        files=evaluation.ValidityFiles(test_metadata=known["test_metadata"], **files),
        settings=QUICK, seed=0, table=tmp_path / "table.csv",
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "table.csv", dtype={"group": "str"})
    mass = found[(found["part"] == "operating") & (found["label"] == "Mass")].set_index(["comparison", "metric"])
    mass = mass.loc["specificity 0.90"]
    assert mass.loc["threshold", "value"] == pytest.approx(0.61) and mass.loc["sensitivity", "value"] == 0
    assert mass.loc["sensitivity", "floor"] == pytest.approx(0.1), "age, sex and view say nothing here"
    assert set(found["part"]) == {"calibration", "bins", "operating", "subgroups"}


def test_a_classifiers_floors_come_from_training_and_its_scores_from_the_test_split(classify):
    test = ["Mass", "Mass", NO_FINDING, "Edema"]
    found = classify([NO_FINDING] * 3 + ["Mass"], test, to_matrix(test).astype(float))
    assert found.loc[("accuracy", ""), "value"] == 1
    # No Finding is said of all: two wrong on Mass and on Edema each, none on the image without a finding
    assert found.loc[("accuracy", ""), "floor"] == pytest.approx(1 - 6 / 60, abs=1e-5)
    assert found.loc[("subset_accuracy", ""), "floor_name"].endswith(f": {NO_FINDING}")
    assert found.loc[("subset_accuracy", ""), "floor"] == 0.25


def test_the_activation_says_which_accuracy_is_meant(classify):
    test = ["Mass", NO_FINDING]
    confident = np.where(to_matrix(test) > 0, 0.3, 0.05)  # the highest is right, and none is above one half
    softmax, sigmoid = (classify(test, test, confident, activation=name) for name in ("softmax", "sigmoid"))
    assert softmax.loc[("accuracy", ""), "value"] == 1
    assert sigmoid.loc[("accuracy", ""), "value"] == pytest.approx(14 / 15, abs=1e-5)


def test_the_settings_of_the_evaluation_make_the_intervals(classify):
    test = ["Mass", NO_FINDING] * 20
    probabilities = np.random.default_rng(0).random((40, 15))

    def width(**settings):
        row = classify(test, test, probabilities, Evaluation(**settings)).loc[("auroc", "Mass")]
        return row["high"] - row["low"]

    assert width(bootstrap=400, confidence=0.6) < 0.6 * width(bootstrap=400, confidence=0.95)
    drawn = [classify(test, test, probabilities, seed=seed).loc[("auroc", "Mass"), "low"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


# detectors


def maps(right, wrong):
    """Cells of an image with the box HERE: this confidence in its four cells, that in four others."""
    confidence = np.zeros((16, 16), np.float32)
    confidence[:2, :2], confidence[10:12, 10:12] = right, wrong
    return confidence


class Detector:
    """Splits and predictions of two folds, an image a role each; thresholds that are best differ by fold and role."""

    CERTAINTY = (  # of each fold: in the right and the wrong cells of the validation image, and of the test image
        {"validation": (0.6, 0.5), "test": (0.3, 0.2)},
        {"validation": (0.4, 0.35), "test": (0.45, 0.38)},
    )

    def __init__(self, folder, kind):
        self.folder, self.folds = folder, []
        for fold, certainty in enumerate(self.CERTAINTY):
            files = {"train_split": split(folder / f"train{fold}.csv", ["Mass"], [ELSEWHERE], 10 * fold)}
            for at, role in enumerate(("validation", "test"), 1):
                path = split(folder / f"{role}{fold}.csv", ["Mass"], [HERE], 10 * fold + at)
                files[f"{role}_split"] = path
                name = f"{10 * fold + at:08d}_000.png"
                predicted = folder / f"{role}_predicted{fold}.{'npz' if kind == 'cells' else 'csv'}"
                (self._cells if kind == "cells" else self._boxes)(predicted, name, *certainty[role])
                files["predictions" if role == "test" else "validation_predictions"] = predicted
            self.folds.append(files)

    @staticmethod
    def _cells(path, name, right, wrong):
        confidence = maps(right, wrong)[None]
        np.savez(path, images=np.array([name]), confidence=confidence)

    @staticmethod
    def _boxes(path, name, right, wrong):
        rows = [(name, "Mass", right, 0, 0, 128, 128), (name, "Mass", wrong, 640, 640, 768, 768)]
        columns = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
        pd.DataFrame(rows, columns=columns).to_csv(path, index=False)

    def score(self, tune=True, threshold=0.9):
        out = {name: self.folder / name for name in ("table", "thresholds", "froc")}
        with Journal(self.folder / "log", "metrics") as tell:
            evaluation.write_detector(
                experiment=("sound", "detector"), files=[evaluation.FoldFiles(**fold) for fold in self.folds],
                threshold=threshold, tune=tune, settings=QUICK, seed=0, outputs=evaluation.DetectorFiles(**out), tell=tell,
            )  # fmt: skip
        return (
            read(out["table"], "detector"),
            json.loads(out["thresholds"].read_text(encoding="utf-8")),
            pd.read_csv(out["froc"]),
        )


@pytest.fixture(params=["cells", "boxes"])
def detector(tmp_path, request):
    return Detector(tmp_path, request.param)


def test_thresholds_are_tuned_on_each_folds_own_validation_images(detector):
    found, chosen, _ = detector.score()
    assert chosen["chosen_on"] == "validation"
    assert [fold["threshold"] for fold in chosen["folds"]] == pytest.approx([0.6, 0.4])
    assert [fold["findings"]["Mass"] for fold in chosen["folds"]] == pytest.approx([0.6, 0.4])
    # of the test images the first has nothing above its fold's threshold, though 0.3 would be best for it, and the second
    # its right cells alone
    assert found.loc[("recall", "all"), "value"] == found.loc[("precision", "all"), "value"] == 0.5
    assert found.loc[("recall", "Mass"), "value"] == 0.5
    assert found.loc[("images_with_prediction", "all"), "value"] == 0.5
    told = (detector.folder / "log").read_text(encoding="utf-8")
    assert "fold 0: threshold 0.600, chosen on the validation images" in told and "fold 1: threshold 0.400" in told


def test_groups_are_of_the_test_images_of_all_folds_at_their_thresholds(detector, monkeypatch):
    monkeypatch.setattr(judging, "FEWEST", 1)
    described = []
    for number, (fold, sex) in enumerate(zip(detector.folds, "MF", strict=True)):
        known = splits.read_split(fold["test_split"])[["image", "patient"]]
        described.append(detector.folder / f"metadata{number}.csv")
        splits.write_split(known.assign(follow_up=0, age=50, sex=sex, view="PA"), described[-1])
    with Journal(detector.folder / "log", "validity") as tell:
        evaluation.write_detector_validity(
            experiment=("sound", "detector"), files=[evaluation.FoldFiles(**fold) for fold in detector.folds],
            test_metadata=described, threshold=0.9, tune=True, settings=QUICK, seed=0,
            table=detector.folder / "validity.csv", tell=tell,
        )  # fmt: skip
    found = pd.read_csv(detector.folder / "validity.csv").set_index(["comparison", "group"])["value"]
    assert found["sex", "M"] == 0 and found["sex", "F"] == 1 and found["view", "PA"] == 0.5


def test_thresholds_do_not_depend_on_the_test_images(detector):
    _, before, _ = detector.score()
    for fold, name in zip(detector.folds, ("00000002_000.png", "00000012_000.png"), strict=True):
        path = fold["predictions"]
        (detector._cells if path.suffix == ".npz" else detector._boxes)(path, name, 0.05, 0.99)
    _, after, _ = detector.score()
    assert after == before


def test_without_tuning_the_setting_is_the_threshold_of_all_folds(detector):
    found, chosen, _ = detector.score(tune=False, threshold=0.4)
    assert chosen == {"chosen_on": "settings", "folds": [{"threshold": 0.4, "findings": {}}] * 2}
    assert found.loc[("recall", "all"), "value"] == 0.5
    lower, _, _ = detector.score(tune=False, threshold=0.25)
    assert lower.loc[("recall", "all"), "value"] == 1 and lower.loc[("precision", "all"), "value"] == 0.75


def test_a_detectors_floors_come_from_each_folds_training_split(detector):
    found, _, _ = detector.score()
    row = found.loc[("f1", "all")]
    assert row["floor_name"] == "whole image", "the training boxes lie elsewhere"
    assert f"{CUT_MASK} 0.0000" in row["note"]
    detector.folds[0]["train_split"] = detector.folds[0]["test_split"]
    assert f"{CUT_MASK} 0.5000" in detector.score()[0].loc[("f1", "all"), "note"], "that of one of two folds fits"


def test_the_curve_is_written_for_boxes_and_is_empty_for_cells(detector):
    table, _, froc = detector.score()
    if detector.folds[0]["predictions"].suffix == ".npz":
        assert len(froc) == 0 and "label" in froc.columns
        assert ("mse", "all") in table.index
    else:
        # each image's one box is found before its one false positive, at half a false positive an image the second image's
        every = froc[froc["label"] == "all"]
        assert every["value"].iloc[-1] == 1 and len(every) == 33
        assert table.loc[("froc_8", "Mass"), "value"] == 1


def test_predictions_of_cells_are_read_with_what_belongs_to_findings(tmp_path):
    of_findings = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)  # two images, three findings
    decided, probable = np.ones((2, 16, 16), np.float32), np.full((2, 16, 16), 0.25, np.float32)
    np.savez(
        tmp_path / "all.npz", images=np.array(["a", "b"]), confidence=decided, probability=probable,
        findings=np.array(["Mass", "Nodule", "Effusion"]), finding_confidence=of_findings,
    )  # fmt: skip
    boxes, cells = evaluation.read_predictions(tmp_path / "all.npz")
    assert boxes is None and cells.images.tolist() == ["a", "b"]
    np.testing.assert_array_equal(cells.findings["Nodule"], of_findings[:, 1])
    np.testing.assert_array_equal(cells.confidence, decided)
    np.testing.assert_array_equal(cells.probability, probable)
    np.savez(tmp_path / "plain.npz", images=np.array(["a", "b"]), confidence=decided)
    _, plain = evaluation.read_predictions(tmp_path / "plain.npz")
    assert plain.findings == {} and plain.probability is None


def test_predictions_of_boxes_keep_names_that_look_like_nothing(tmp_path):
    (tmp_path / "p.csv").write_text("image,label,confidence,x0,y0,x1,y1\na.png,None,0.5,0,0,1,1\n", encoding="utf-8")
    boxes, cells = evaluation.read_predictions(tmp_path / "p.csv")
    assert cells is None and boxes["label"].tolist() == ["None"]
