"""External validation from files to tables: which image a row is of, what is counted, and whose predictions are scored."""

import json

import numpy as np
import pandas as pd
import pytest

from cxr.data import csv_cells, splits
from cxr.inference import box_validation, validation
from cxr.labels import LABELS
from cxr.report import validation as page
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

COUNT = 60
INDEX = ["image", "kind", "width", "height", "side", "left", "top", "digest"]
QUICK = Evaluation(bootstrap=100)


class Study:
    """The files of a validation: 60 labelled images of 30 patients, the first of which is also a training image."""

    def __init__(self, folder):
        self.folder = folder
        draw = np.random.default_rng(0)
        names = [f"below/{at:02d}.png" for at in range(COUNT)]
        rows = [(name, "PNG", 8, 8, 8, 0, 0, f"d{at}") for at, name in enumerate(names)]
        csv_cells.write(
            pd.DataFrame([*rows, ("more.png", "PNG", 8, 8, 8, 0, 0, "d99")], columns=INDEX), folder / "images.csv"
        )
        self.mass = (draw.random(COUNT) < 0.5).astype(int)
        self.table = pd.DataFrame({"Path": [f"{at:02d}.jpg" for at in range(COUNT)], "patient": np.arange(COUNT) // 2})
        self.table = self.table.assign(Sex="F", Opacity=self.mass, Edema="").astype("str")
        self.table.loc[COUNT] = ["gone.jpg", "99", "M", "1", ""]
        (folder / "names.yaml").write_text("Path: image\nOpacity: Mass\n", encoding="utf-8")
        said = pd.DataFrame(0.2, index=range(COUNT), columns=list(LABELS)).assign(Mass=0.3 + 0.4 * self.mass)
        said.insert(0, "image", names)
        csv_cells.write(said.iloc[::-1], folder / "classes.csv")
        train = pd.DataFrame({"image": [f"t{at}.png" for at in range(40)], "patient": range(40)})
        labels = ["Mass" if at % 2 else "No Finding" for at in range(40)]
        splits.write_split(train.assign(labels=labels, digest=["d0", *("x" * 39)]), folder / "train.csv")
        described = train.assign(follow_up=0, age=50, sex="F", view="PA")
        splits.write_split(described, folder / "train_metadata.csv")

    def cases(self, names="names.yaml", one_image_per_patient=False):
        self.table.to_csv(self.folder / "labels.csv", index=False)
        with Journal(self.folder / "log", "cases") as tell:
            validation.write_cases(
                labels=self.folder / "labels.csv", names=self.folder / names if names else None,
                one_image_per_patient=one_image_per_patient, images=self.folder / "images.csv", train=self.folder / "train.csv",
                cases=self.folder / "cases.csv", summary=self.folder / "summary.json", tell=tell,
            )  # fmt: skip
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def metrics(self):
        with Journal(self.folder / "log", "metrics") as tell:
            validation.write_metrics(
                protocol="sound", cases=self.folder / "cases.csv", summary=self.folder / "summary.json",
                classes=self.folder / "classes.csv", train=self.folder / "train.csv",
                train_metadata=self.folder / "train_metadata.csv", settings=QUICK, seed=0,
                table=self.folder / "metrics.csv", validity=self.folder / "validity.csv", tell=tell,
            )  # fmt: skip
        return pd.read_csv(self.folder / "metrics.csv").set_index(["experiment", "metric", "label"])


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_what_is_known_and_what_is_left_out_is_counted(study):
    told = study.cases()
    assert (told["rows"], told["images"], told["patients"]) == (61, 60, 30)
    assert (told["not_in_folder"], told["without_row"], told["trained_on"]) == (1, 1, 1)
    assert told["labels"] == ["Mass"] and "Edema" in told["without"] and told["metadata"] == ["sex"]
    assert told["positive"]["Mass"] == study.mass.sum() and told["unknown"] == {"Mass": 0}
    found = validation.read_cases(study.folder / "cases.csv")
    assert found["image"].tolist() == [f"below/{at:02d}.png" for at in range(COUNT)]
    assert found["Mass"].tolist() == study.mass.tolist() and found["Edema"].isna().all() and found["age"].isna().all()


def test_every_image_is_scored_by_its_own_prediction_beside_both_floors(study):
    study.cases()
    found = study.metrics()
    for experiment in (validation.STUDY, validation.REFITTED):
        assert found.loc[(experiment, "auroc", "Mass"), "value"] == 1, "in whatever order the predictions are"
        assert found.loc[(experiment, "accuracy", "Mass"), "value"] == 1
    share = study.mass.mean()
    loss = found.loc[(validation.STUDY, "loss", "Mass"), "floor"]
    assert loss == pytest.approx(np.log(2), rel=1e-3), "half of the study's training images have a Mass"
    assert found.loc[(validation.REFITTED, "loss", "Mass"), "floor"] == pytest.approx(
        -share * np.log(share) - (1 - share) * np.log(1 - share), rel=0.05
    )


def test_the_page_names_the_model_what_is_left_out_and_both_floors(study):
    study.cases()
    study.metrics()
    model = {
        "experiment": "baseline/sound/sigmoid",
        "chosen_by": "validation auroc",
        "score": None,
        "model_sha256": "f" * 64,
    }
    (study.folder / "classes.json").write_text(json.dumps(model), encoding="utf-8")
    files = {name: study.folder / file for name, file in (("table", "metrics.csv"), ("validity", "validity.csv"))}
    page.write(
        run="nih", name="other", **files, summary=study.folder / "summary.json", classes=study.folder / "classes.json",
        detectors=[], settings=QUICK, page=study.folder / "report.html",
    )  # fmt: skip
    text = (study.folder / "report.html").read_text(encoding="utf-8")
    for words in ("External validation: other", "baseline/sound/sigmoid", "Floor of the study", "Floor refitted here"):
        assert words in text
    assert "1 of these images are training images of the study" in text and "not told by the table" in text
    assert text.count("<img") == 2, "a reliability figure for each floor"


def test_a_table_that_cannot_be_used_stops_with_what_to_do(study, capsys):
    with pytest.raises(SystemExit):
        study.cases(names=None)
    assert "labels.csv: column 'Path' is none of the 15 labels" in capsys.readouterr().err
    study.table["Path"] = [f"other{at}.png" for at in range(COUNT + 1)]
    with pytest.raises(SystemExit):
        study.cases()
    assert "none of its 61 images is in the folder" in capsys.readouterr().err


# Boxes


class Boxed(Study):
    """The same images, of 200 x 100 pixels, half of them with a box of a Mass in the left upper corner."""

    def __init__(self, folder):
        super().__init__(folder)
        index = csv_cells.read_names(folder / "images.csv").assign(width=200, height=100, side=200, left=0, top=50)
        csv_cells.write(index, folder / "images.csv")
        self.names = [f"{at:02d}.png" for at in range(0, COUNT, 2)]
        self.rows = [(name, "Opacity", 0, 0, 100, 50) for name in self.names]
        found = [(f"below/{name}", "Mass", 0.9, 0, 0, 100, 50) for name in self.names]
        found += [(f"below/{at:02d}.png", "Mass", 0.8, 0, 0, 200, 100) for at in range(1, COUNT, 2)]  # without boxes
        columns = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
        csv_cells.write(pd.DataFrame(found, columns=columns), folder / "boxes.csv")
        cells = np.zeros((COUNT, 16, 16))
        cells[:, 4:8, :8] = 0.9
        images = np.array([f"below/{at:02d}.png" for at in range(COUNT)])
        np.savez(folder / "cells.npz", images=images[::-1], confidence=cells)
        train = pd.DataFrame({"image": ["t1.png", "t2.png"], "patient": [1, 2], "labels": "Mass", "digest": "x"})
        splits.write_split(train.assign(boxes="Mass 600.000 600.000 900.000 900.000"), folder / "fold1.csv")
        for detector, file in (("yolo_finetuned", "boxes"), ("gridcnn", "cells")):
            facts = {"experiment": f"{detector}/sound/fold1"}
            (folder / f"{file}.json").write_text(json.dumps(facts), encoding="utf-8")
            cuts = [{"threshold": 0.99, "findings": {}}, {"threshold": 0.5, "findings": {"Mass": 0.5}}]
            (folder / f"{detector}_threshold.json").write_text(json.dumps({"folds": cuts}), encoding="utf-8")

    def truth(self, side=0):
        self.cases()
        columns = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
        pd.DataFrame(self.rows, columns=columns).to_csv(self.folder / "list.csv", index=False)
        with Journal(self.folder / "log", "truth") as tell:
            box_validation.write_boxes(
                boxes=self.folder / "list.csv", names=self.folder / "names.yaml", side=side, images=self.folder / "images.csv",
                cases=self.folder / "cases.csv", truth=self.folder / "truth.csv", tell=tell,
            )  # fmt: skip
        return pd.read_csv(self.folder / "truth.csv")

    def scored(self, predictions):
        file = predictions.partition(".")[0]
        with Journal(self.folder / "log", "metrics") as tell:
            box_validation.write_metrics(
                protocol="sound", truth=self.folder / "truth.csv", images=self.folder / "images.csv",
                predictions=self.folder / predictions, facts=self.folder / f"{file}.json",
                thresholds=[self.folder / f"{name}_threshold.json" for name in ("yolo_finetuned", "gridcnn")],
                train=[self.folder / "fold0.csv", self.folder / "fold1.csv"], settings=QUICK, seed=0,
                table=self.folder / "table.csv", tell=tell,
            )  # fmt: skip
        return pd.read_csv(self.folder / "table.csv").set_index(["experiment", "metric", "label"])


@pytest.fixture
def boxed(tmp_path):
    return Boxed(tmp_path)


def test_boxes_in_pixels_of_the_image_come_into_the_frame_of_the_square(boxed):
    found = boxed.truth()
    assert found["image"].tolist() == [f"below/{name}" for name in boxed.names]
    assert set(found["boxes"]) == {"Mass 0.000 256.000 512.000 512.000"}, "50 of 200 pixels above are margin"
    assert found["patient"].nunique() == 30


def test_boxes_in_a_square_of_another_size_are_scaled_by_the_sides_of_the_image(boxed):
    boxed.rows = [(boxed.names[0], "Mass", 0, 0, 512, 512)]
    assert set(boxed.truth(side=1024)["boxes"]) == {"Mass 0.000 256.000 512.000 512.000"}


@pytest.mark.parametrize(("predictions", "detector"), [("boxes.csv", "yolo_finetuned"), ("cells.npz", "gridcnn")])
def test_detectors_are_scored_on_the_boxed_images_beside_both_floors(boxed, predictions, detector):
    boxed.truth()
    found = boxed.scored(predictions)
    for floor in ("study_floor", "refitted_floor"):
        row = found.loc[(f"{detector}_{floor}", "f1", "all")]
        assert row["value"] == 1 and row["support"] == 30, "of the other images nobody knows where something is"
    assert found.loc[(f"{detector}_study_floor", "f1", "all"), "floor"] < 0.3, "its training boxes lie elsewhere"
    assert found.loc[(f"{detector}_refitted_floor", "f1", "all"), "floor"] == 1, "other patients' boxes tell it"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("00.png", "Gout", 0, 0, 5, 5), "row 2: label 'Gout' is none of the 15 labels"),
        (
            ("00.png", "Mass", 300, 0, 5, 5),
            "row 2: the box on 'below/00.png' is no number, has no area, or lies outside",
        ),
        (("00.png", "Mass", "x", 0, 5, 5), "row 2: the box on"),
        (
            ("no.png", "Mass", 0, 0, 5, 5),
            "none of its 1 boxes can be used: list.csv: 1 of 1 boxes are not in the folder",
        ),
        (
            ("00.png", "Hernia", 0, 0, 5, 5),
            "none of its 1 boxes can be used: list.csv: 1 of 1 boxes are of labels without",
        ),
    ],
)
def test_boxes_that_cannot_be_used_are_named(boxed, capsys, row, words):
    boxed.rows = [row]
    with pytest.raises(SystemExit):
        boxed.truth()
    assert words in capsys.readouterr().err
