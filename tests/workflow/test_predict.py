"""`snakemake predict`: a finished study on new images, by the real Snakemake."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from dicoms import write
from PIL import Image
from png_files import blank
from running import executed, planned, snakemake

from cxr.boxes import iou, parse_box_text
from cxr.data import csv_cells
from cxr.inference import overlays
from cxr.labels import BOXED_FINDINGS, LABELS

ODD = {  # file name, as bytes → how it is spelled in the tables
    b"R\xf6ntgen.png": "R\\xf6ntgen.png",
    b"a $x^{2}$ {b} 'c' \"d\".png": "a $x^{2}$ {b} 'c' \"d\".png",
    b"-two\nlines.png": "-two\\nlines.png",
    "胸部.png".encode(): "胸部.png",
    b"l" * 251 + b".png": "l" * 251 + ".png",
}
ONCE = {f"predict_{what}": 1 for what in ("images", "classes", "boxes", "cells", "overlays")}


@pytest.fixture(scope="module")
def predicted(repository, finished, tmp_path_factory):
    """Results of the prediction, folder of new images, names of an image that each fold has tested, and what ran."""
    new = tmp_path_factory.mktemp("new")
    tests = [finished / f"results/tiny/splits/sound/boxes_fold{fold}/test_images.csv" for fold in (0, 1)]
    known = [pd.read_csv(path)["image"].iloc[0] for path in tests]
    for name in known:
        shutil.copy(next((finished / "results/tiny/phantoms").rglob(name)), new / name)
    picture = Image.open(new / known[0])
    values = np.asarray(picture.convert("L")).astype(np.uint16)
    write(new / "same.dcm", 4095 - values * 16, "MONOCHROME1", WindowCenter=2048, WindowWidth=4096)
    (new / "below").mkdir()
    picture.convert("L").crop((0, 40, 256, 200)).resize((640, 400)).save(new / "below/wide.jpg")
    (new / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    os.mkfifo(new / "pipe.png")
    (new / "endless.png").symlink_to("/dev/zero")
    (new / "circle.png").symlink_to("circle.png")
    (new / "wide.png").write_bytes(blank(890_000, 200))
    with (new / "giant.dcm").open("wb") as file:
        file.truncate(100 << 30)
    for name in ODD:
        shutil.copy(new / known[0], os.path.join(os.fsencode(new), name))
    ran = executed(repository, finished, "--", "predict", config=[f"predict={{folder: {new}}}"])
    return finished / "results/tiny", new, known, ran


def test_on_a_finished_study_predicting_trains_nothing(repository, finished, predicted):
    _, new, _, ran = predicted
    assert ran.pop("predict") == 1
    assert ran == ONCE
    again = executed(repository, finished, "--", "predict", config=[f"predict={{folder: {new}}}"])
    assert not again.keys() & ONCE.keys()


def test_a_test_image_of_the_study_gets_what_the_study_says_of_it(predicted):
    results, new, known, _ = predicted
    folder = results / f"predictions/{new.name}"
    classes = csv_cells.read_names(folder / "classes.csv").set_index("image")
    assert list(classes.columns) == list(LABELS)
    assert set(classes.index) == {*known, "same.dcm", "below/wide.jpg", *ODD.values()}
    for name in ODD.values():
        assert classes.loc[name].equals(classes.loc[known[0]]), "the same picture, under another name"
    experiment = json.loads((folder / "classes.json").read_text())["experiment"]
    theirs = pd.read_csv(results / experiment / "predictions.csv").set_index("image")
    for name in known:  # official lists: the boxed test images are among the classifiers'
        assert np.allclose(classes.loc[name], theirs.loc[name, list(LABELS)].astype(float), atol=2e-5)
    assert np.allclose(classes.loc["same.dcm"], classes.loc[known[0]], atol=0.02), "the same picture, to rounding"
    network = json.loads((folder / "cells.json").read_text())["experiment"]
    tested = known[int(network[-1])]  # by the fold whose network was chosen
    with np.load(folder / "cells.npz") as mine, np.load(results / network / "predictions.npz") as study:
        for array in ("confidence", "finding_confidence"):
            cells = dict(zip(mine["images"].tolist(), mine[array], strict=True))
            expected = study[array][study["images"].tolist().index(tested)]
            assert np.allclose(cells[tested], expected, atol=1e-5)
    boxes = pd.read_csv(folder / "boxes.csv")
    detector = json.loads((folder / "boxes.json").read_text())["experiment"]
    found = pd.read_csv(results / detector / "predictions.csv")
    tested = known[int(detector[-1])]
    ours, theirs = boxes[boxes["image"] == tested], found[found["image"] == tested].head(50)
    corners = ["x0", "y0", "x1", "y1"]
    shared = iou(theirs[corners], ours[corners] * 4)  # 256 px of the file are 1024 of the frame
    same = theirs["label"].to_numpy()[:, None] == ours["label"].to_numpy()[None]
    # Trained for two steps, it is equally sure of all its boxes: which of two that overlap is kept is a matter of rounding.
    assert len(theirs) and (np.where(same, shared, 0).max(axis=1) > 0.98).mean() > 0.6


def test_boxes_lie_in_the_pixels_of_the_file(predicted):
    results, new, _, _ = predicted
    boxes = pd.read_csv(results / f"predictions/{new.name}/boxes.csv")
    assert list(boxes.columns) == ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
    assert set(boxes["label"]) <= set(BOXED_FINDINGS)
    wide = boxes[boxes["image"] == "below/wide.jpg"]
    assert len(wide) and (wide["x1"] > wide["x0"]).all() and (wide["y1"] > wide["y0"]).all()
    assert wide["x0"].min() >= 0 and wide["x1"].max() <= 640 and wide["y0"].min() >= 0 and wide["y1"].max() <= 400
    assert wide["x1"].max() > 256, "pixels of the file, not of the network"


def test_what_cannot_be_read_is_listed_with_its_reason(predicted):
    results, new, _, _ = predicted
    rejected = pd.read_csv(results / f"predictions/{new.name}/rejected.csv")
    reasons = [
        ["broken.png", "truncated"],
        ["circle.png", "not a regular file"],
        ["endless.png", "not a regular file"],
        ["giant.dcm", "larger than 400 MB"],
        ["pipe.png", "not a regular file"],
        ["wide.png", "longer than 20,000 px"],
    ]
    assert rejected[["image", "reason"]].to_numpy().tolist() == reasons


def test_every_image_has_a_picture_and_the_models_have_names(predicted):
    results, new, known, _ = predicted
    folder = results / f"predictions/{new.name}"
    for name in (*known, "same.dcm", "below/wide.jpg", *ODD.values()):
        with Image.open(folder / "overlays" / overlays.file_name(name)) as picture:
            picture.load()
            assert picture.size[0] > 900 and picture.size[1] > 300
            assert np.asarray(picture.convert("L")).std() > 20
    provenance = json.loads((folder / "provenance.json").read_text())
    assert set(provenance["models"]) == {"classes", "boxes", "cells"} and provenance["run"] == "tiny"
    for model in provenance["models"].values():
        facts = json.loads((results / model["experiment"] / "facts.json").read_text())
        assert model["key"] == facts["key"] and len(model["model_sha256"]) == 64
    assert len(provenance["models"]["classes"]["candidates"]) == 2


def test_what_is_said_of_a_picture_depends_on_no_other_and_no_folder_replaces_another(
    repository, finished, predicted, tmp_path
):
    results, new, known, _ = predicted
    alone = tmp_path / "one picture"
    alone.mkdir()
    shutil.copy(new / known[0], alone / known[0])
    ran = executed(repository, finished, "--", "predict", config=[f"predict={{folder: {alone}}}"])
    assert ran.items() >= ONCE.items()
    first, second = results / f"predictions/{new.name}", results / "predictions/one_picture"
    for table in ("classes.csv", "boxes.csv"):
        together, single = (
            [line for line in (folder / table).read_text().splitlines() if line.startswith(known[0])]
            for folder in (first, second)
        )
        assert single and together == single, table
    with np.load(first / "cells.npz") as together, np.load(second / "cells.npz") as single:
        place = together["images"].tolist().index(known[0])
        assert np.array_equal(together["confidence"][place], single["confidence"][0])

    elsewhere = tmp_path / "other" / "one picture"
    shutil.copytree(alone, elsewhere)
    code, output = snakemake(repository, finished, "--", "predict", config=[f"predict={{folder: {elsewhere}}}"])
    assert code != 0 and f"another folder, {alone}" in output and "predict.name" in output, output[-2000:]
    assert (second / "classes.csv").exists()

    (second / "folder.txt").unlink()
    code, output = snakemake(repository, finished, "--", "predict", config=[f"predict={{folder: {elsewhere}}}"])
    assert code != 0 and "the file folder.txt, which names their folder, is missing" in output, output[-2000:]
    assert "Traceback" not in output
    assert (second / "classes.csv").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("{}", "name a folder of images"),
        ("{folder: nowhere}", "nowhere: no such folder"),
        ("{folder: results/tiny/report.html}", "report.html: a file"),
        ("{protocol: paper, folder: empty}", "no file anywhere below"),
    ],
)
def test_nothing_to_predict_is_said(repository, finished, setting, words):
    (finished / "empty").mkdir(exist_ok=True)
    code, output = snakemake(repository, finished, "--", "predict", config=[f"predict={setting}"])
    assert code != 0 and words in output, output[-2000:]
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def validated(repository, finished, tmp_path_factory):
    """Results of a validation on the study's own test images, under names of another data set, and what ran."""
    new = tmp_path_factory.mktemp("hospital")
    test = pd.read_csv(finished / "results/tiny/splits/sound/all/test.csv", keep_default_na=False)
    for name in test["image"]:
        shutil.copy(next((finished / "results/tiny/phantoms").rglob(name)), new / name)
    table = pd.DataFrame({"Path": test["image"], "subject": test["patient"], "Sex": "F", "Support Devices": 1})
    for label in ("Effusion", "Mass", "No Finding"):
        table[f"their {label}"] = [int(label in labels.split("|")) for labels in test["labels"]]
    table.to_csv(new.parent / "labels.csv", index=False)
    names = ["Path: image", "subject: patient", "Support Devices:"]
    names += [f"their {label}: {label}" for label in ("Effusion", "Mass", "No Finding")]
    (new.parent / "names.yaml").write_text("\n".join(names), encoding="utf-8")
    listed = finished / "results/tiny/phantoms/BBox_List_2017.csv"
    given = (
        f"validate={{folder: {new}, table: {new.parent / 'labels.csv'}, names: {new.parent / 'names.yaml'}, name: other, "
        f"boxes: {listed}, box_side: 1024}}"
    )
    return finished / "results/tiny", given, executed(repository, finished, "--", "validate", config=[given])


def test_on_a_finished_study_validating_trains_nothing_and_says_what_the_study_says(repository, finished, validated):
    results, given, ran = validated
    assert ran == {"validate": 1} | {
        f"validate_{what}": 1
        for what in (
            *("images", "classes", "cases", "metrics", "report", "truth"),
            *("boxes", "cells", "metrics_boxes", "metrics_cells"),
        )
    }
    assert planned(repository, finished, "--", "validate", config=[given]).keys() <= {"validate"}
    folder = results / "validations/other"
    experiment = json.loads((folder / "classes.json").read_text())["experiment"].split("/")
    name = "baseline_sigmoid" if experiment[0] == "baseline" else f"transfer_{experiment[-1]}"
    ours, study = (pd.read_csv(path) for path in (folder / "metrics.csv", results / f"metrics/sound/{name}.csv"))
    assert list(ours.columns) == list(study.columns) and set(ours["experiment"]) == {
        "classes_study_floor", "classes_refitted_floor"
    }  # fmt: skip
    for label in ("Effusion", "Mass"):
        mine, theirs = (table[(table["metric"] == "auroc") & (table["label"] == label)] for table in (ours, study))
        assert mine["value"].to_numpy() == pytest.approx(np.repeat(theirs["value"].to_numpy(), 2), abs=1e-5)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "External validation: other" in page and "not told by the table" in page
    assert json.loads((folder / "summary.json").read_text())["trained_on"] == 0


def test_the_detectors_of_a_validation_are_scored_on_the_studys_own_boxes(validated):
    results, _, _ = validated
    folder = results / "validations/other"
    folds = [pd.read_csv(path) for path in sorted((results / "splits/sound").glob("boxes_fold*/test.csv"))]
    boxed = pd.concat(folds).set_index("image")["boxes"]
    truth = pd.read_csv(folder / "truth.csv").set_index("image")["boxes"]
    assert len(truth) and {name: parse(text) for name, text in truth.items()} == {
        name: parse(boxed[name]) for name in truth.index
    }
    for kind in ("boxes", "cells"):
        table = pd.read_csv(folder / f"{kind}_metrics.csv")
        assert {name.partition("_")[2] for name in table["experiment"].str.replace(".*_(?=study|refitted)", "x_", regex=True)} == {
            "study_floor", "refitted_floor"
        }  # fmt: skip
        overall = table[(table["metric"] == "f1") & (table["label"] == "all")]
        assert overall["support"].tolist() == [len(truth)] * 2 and overall["floor"].notna().all()
        assert overall["value"].nunique() == 1, "the same predictions, beside two floors"


def parse(text):
    """The boxes of a split's text, in tenths of a pixel, in an order of their own."""
    return sorted((label, *(round(10 * value) for value in corners)) for label, *corners in parse_box_text(text))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (", table: ''", "validate.table is empty"),
        (", names: ''", "column 'Path' is none of the 15 labels"),
        (", folder: ''", "nothing to validate on"),
        (", protocol: none", "validate.protocol"),
    ],
)
def test_a_validation_that_cannot_be_made_says_why(repository, finished, validated, change, words):
    code, output = snakemake(repository, finished, "--", "validate", config=[validated[1][:-1] + change + "}"])
    assert code != 0 and words in output, output[-2000:]
    assert "Traceback" not in output
