"""Names that a spreadsheet would run: harmless in the tables people open, and still found by the jobs that read them."""

import ast
import csv
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxr.boxes import CORNERS
from cxr.data import csv_cells, image_files, preflight
from cxr.inference import new_images, overlays, prepare
from cxr.labels import LABELS

EVIL = ["=1+1.png", "+1.png", "-1.png", "@a.png", "'=1.png", "''=1.png", "=HYPERLINK(0)", "\t=1", "\r=1", "＝1"]
TAME = ["a.png", "a=1.png", "'a.png", "", "'", "-0.5", "+3", "-1e-5", "-.5", "NA", "−1", "5"]


@pytest.mark.parametrize("text", EVIL)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    table = pd.DataFrame({"image": [text]})
    assert csv_cells.harmless(table)["image"].tolist() == [f"'{text}"]
    assert csv_cells.restored(csv_cells.harmless(table))["image"].tolist() == [text]


@pytest.mark.parametrize("text", TAME)
def test_every_other_text_stays_as_it_is(text):
    table = pd.DataFrame({"image": [text]})
    assert csv_cells.harmless(table)["image"].tolist() == csv_cells.restored(table)["image"].tolist() == [text]


def test_numbers_gaps_and_types_stay_whatever_the_column():
    table = pd.DataFrame(
        {
            "text": ["=a", "b", None],
            "number": [-1, 0, 1],
            "share": [-0.5, np.nan, np.inf],
            "whole": pd.array([1, None, -3], dtype="Int64"),
            "mixed": pd.Series(["=a", -2.5, None], dtype=object),
            "kind": pd.Categorical(["=a", "b", "b"]),
        }
    )
    changed = csv_cells.harmless(table)
    assert changed["text"].tolist()[:2] == ["'=a", "b"] and changed["mixed"].tolist() == ["'=a", -2.5, None]
    assert changed["kind"].tolist() == ["'=a", "b", "b"]
    same = ["number", "share", "whole"]
    pd.testing.assert_frame_equal(changed[same], table[same])
    pd.testing.assert_frame_equal(csv_cells.restored(changed).drop(columns="kind"), table.drop(columns="kind"))
    for empty in (table.iloc[:0], pd.DataFrame(columns=["image", "reason"])):
        pd.testing.assert_frame_equal(csv_cells.harmless(empty), empty)


def cells_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def none_runs(path):
    return not [cell for cell in cells_of(path) if re.match(r"[=+\-@]", cell) and not csv_cells.NUMBER.fullmatch(cell)]


NAMES = ["'=b.png", "+c.png", "-d.png", "=a.png", "@e.png"]  # in the order in which the files are read


def test_new_images_of_any_name_go_through_and_their_tables_are_harmless(tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((64, 64), 10 + number, np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in/=notes.txt").write_text("hello")
    files = {"index": tmp_path / "i.csv", "rejected": tmp_path / "r.csv", "note": tmp_path / "n.txt"}
    prepare.prepare(folder=tmp_path / "in", bits=0, sides=[(64, tmp_path / "p.u8")], **files, tell=lambda text: None)
    assert none_runs(tmp_path / "i.csv") and none_runs(tmp_path / "r.csv")
    assert "'=notes.txt" in cells_of(tmp_path / "r.csv")
    table = new_images.read_index(tmp_path / "i.csv")
    assert sorted(table["image"]) == sorted(NAMES)
    read = new_images.Pixels(tmp_path / "p.u8", table, 64).read(NAMES)
    assert read[:, 0, 0].tolist() == [10 + number for number in range(len(NAMES))]


def test_pictures_are_drawn_of_new_images_of_any_name(tmp_path, monkeypatch):
    """What the models say of an image is found under its name again."""
    index = pd.DataFrame([(name, "PNG", 64, 64, 64, 0, 0, "0" * 16) for name in NAMES], columns=prepare.COLUMNS)
    csv_cells.write(index, tmp_path / "i.csv")
    (tmp_path / "p.u8").write_bytes(bytes(64 * 64 * len(NAMES)))
    confidences = pd.DataFrame(np.linspace(0, 1, 15 * len(NAMES)).reshape(-1, 15), columns=list(LABELS))
    csv_cells.write(pd.concat([pd.DataFrame({"image": NAMES}), confidences], axis=1), tmp_path / "c.csv")
    boxes = pd.DataFrame([(name, "Mass", 0.9, 1, 1, 9, 9) for name in NAMES])
    csv_cells.write(boxes.set_axis(["image", "label", "confidence", *CORNERS], axis=1), tmp_path / "b.csv")
    assert none_runs(tmp_path / "c.csv") and none_runs(tmp_path / "b.csv")
    np.savez(tmp_path / "m.npz", images=np.array(NAMES), confidence=np.zeros((len(NAMES), 16, 16), np.float32))
    for kind, model in (("classes", "baseline/s/sigmoid"), ("boxes", "yolo/s/fold0"), ("cells", "gridcnn/s/fold0")):
        text = f'{{"experiment": "{model}", "score": 0.5, "chosen_by": "auroc", "model_sha256": "0000"}}'
        (tmp_path / f"{kind}.json").write_text(text)
    thresholds = [tmp_path / f"{name}_threshold.json" for name in ("yolo", "gridcnn")]
    for path in thresholds:
        path.write_text('{"folds": [{"threshold": 0.5}]}')
    drawn = []
    monkeypatch.setattr(overlays.xrays, "prediction_overlay", lambda pixels, **said: drawn.append(said) or b"")
    overlays.write(
        name="run", images=new_images.Prepared(tmp_path / "i.csv", tmp_path / "p.u8", 64),
        predictions=overlays.Predictions(
            *(tmp_path / name for name in ("c.csv", "b.csv", "m.npz")),
            facts={kind: tmp_path / f"{kind}.json" for kind in ("classes", "boxes", "cells")},
        ),
        thresholds=thresholds, folder=tmp_path / "out",
        provenance=tmp_path / "provenance.json", tell=lambda text: None,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.png" for name in NAMES}
    assert all(len(said["boxes"]) == 1 and said["findings"][0][1] > 0 for said in drawn)


def test_files_set_aside_are_told_by_their_names_in_a_harmless_table(tmp_path):
    table = image_files.rejected_rows([("=a.png", "unreadable", "-x"), ("b.png", "not square", "64x65")])
    csv_cells.write(table, tmp_path / "rejected_files.csv")
    assert none_runs(tmp_path / "rejected_files.csv")
    read = preflight._rejected_files(tmp_path / "rejected_files.csv")
    assert read["item"].tolist() == ["=a.png", "b.png"] and read["detail"].tolist() == ["-x", "64x65"]


# Who writes tables that jobs alone read, or that hold no text from outside; whatever people open goes through csv_cells.
EXACT = {
    "classifiers.fit", "classifiers.frozen_features", "classifiers.source_weights", "data.csv_cells",
    "data.preflight", "data.split_files", "data.splits", "detectors.gridcnn.pretraining", "detectors.gridcnn.training",
    "detectors.box_training", "detectors.yolo.data_set", "detectors.yolo.experiments",
    "detectors.yolov2.experiments", "inference.box_validation",
    "inference.validation",
    "metrics.claims",  # names of experiments and measures, and numbers
    "metrics.evaluation",
    "metrics.grid", "metrics.leakage", "metrics.repeats", "metrics.transfer_gain", "metrics.variants",
    "report.collapse",
}  # fmt: skip


def written_by(path):
    """The names of the tables that a module writes as they are."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    return [ast.unparse(call.value) for call in calls if isinstance(call, ast.Attribute) and call.attr == "to_csv"]


def test_every_table_is_written_either_harmless_or_exact_on_purpose(repository):
    package = repository / "workflow/cxr"
    writing = {path.relative_to(package).with_suffix("") for path in package.rglob("*.py") if written_by(path)}
    assert {".".join(path.parts) for path in writing} == EXACT
    assert sorted(written_by(package / "data/preflight.py")) == ["here", "table", "usable"]  # and not what is set aside
