"""The workflow as a whole, by the real Snakemake: one small run, what is re-run after a change, and refusals."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from lxml import html
from running import planned, snakemake

from cxr.labels import LABELS


def test_every_experiment_ends_in_the_report_beside_its_floor(finished):
    results = finished / "results/tiny"
    page = html.parse(str(results / "report.html"))
    text = page.getroot().text_content()
    for words in ("softmax", "sigmoid", "Transfer", "YOLO", "grid CNN", "no COCO weights", "floor"):
        assert words in text, words
    for tag, attribute in (("script", "src"), ("link", "href"), ("img", "src")):
        for element in page.iter(tag):
            assert not element.get(attribute, "").startswith(("http", "//", "/")), "the page is self-contained"
    tables = pd.concat([pd.read_csv(path) for path in sorted((results / "metrics").glob("*/*.csv"))])
    experiments = set(zip(tables["protocol"], tables["experiment"], strict=True))
    for protocol in ("paper", "sound"):
        found = {experiment for name, experiment in experiments if name == protocol}
        assert found > {"baseline_softmax", "baseline_sigmoid", "yolo_finetuned", "gridcnn"}
        assert ("torchvision_detector" in found) == (protocol == "sound")
        assert sum(experiment.startswith("transfer_c") for experiment in found) == 1
    headline = tables[
        tables["metric"].isin(["loss", "accuracy", "f1"]) & (tables["label"].isna() | (tables["label"] == "all"))
    ]
    assert len(headline) >= 10
    assert headline[["value", "low", "high", "floor", "floor_low", "floor_high"]].notna().all().all()


def test_every_pair_is_a_job_of_its_own_with_model_predictions_history_and_facts(finished):
    folders = sorted(path.name for path in (finished / "results/tiny/transfer/paper").glob("c*"))
    assert folders == ["c0_s40", "c0_s60", "c4_s40", "c4_s60"]
    for name in folders:
        folder = finished / "results/tiny/transfer/paper" / name
        assert {"model.pt", "predictions.csv", "history.csv", "facts.json"} <= {p.name for p in folder.iterdir()}
        assert list(pd.read_csv(folder / "predictions.csv").columns) == ["image", "patient", *LABELS]
        facts = json.loads((folder / "facts.json").read_text())
        assert facts["seed"] == 0 and facts["trained_parameters"] < facts["parameters"]


def test_the_resolved_settings_lie_beside_the_results(finished):
    text = (finished / "results/tiny/settings.yaml").read_text()
    assert "head_input: features" in text and "size: 32" in text


def test_sound_splits_share_no_patient_and_paper_splits_do(finished):
    splits = finished / "results/tiny/splits"
    assert pd.read_csv(splits / "sound/20/leakage.csv")["patients_shared"].sum() == 0
    for fold in (0, 1):
        assert pd.read_csv(splits / f"sound/boxes_fold{fold}/leakage.csv")["patients_shared"].sum() == 0
    assert pd.read_csv(splits / "paper/all/leakage.csv")["patients_shared"].sum() > 0


def test_the_boxed_training_images_have_all_their_labels_in_a_file_of_their_own(finished):
    data, boxed = finished / "results/tiny/data", finished / "results/tiny/splits/sound/boxes_fold0"
    train, named = (pd.read_csv(boxed / f"{name}.csv") for name in ("train", "train_labels"))
    records = pd.read_csv(data / "records.csv", keep_default_na=False).set_index("image")["labels"]
    assert named["image"].tolist() == train["image"].tolist()
    assert named["labels"].tolist() == records[train["image"]].tolist()
    assert (named["labels"] != train["labels"]).any(), "boxes are not exhaustive"


def test_every_boxed_image_is_tested_once_and_every_fold_trains_its_own_detectors(finished):
    results = finished / "results/tiny"
    tested = [pd.read_csv(results / f"splits/sound/boxes_fold{fold}/test.csv")["image"] for fold in (0, 1)]
    boxed = set(pd.read_csv(results / "data/boxes.csv")["image"])
    assert len(pd.concat(tested)) == len(boxed) and set(pd.concat(tested)) == boxed
    for detector in ("gridcnn", "yolo_finetuned"):
        for fold in (0, 1):
            assert {"model.pt", "history.csv", "facts.json"} <= {
                path.name for path in (results / detector / "sound" / f"fold{fold}").iterdir()
            }
        table = pd.read_csv(results / f"metrics/sound/{detector}.csv")
        assert table[(table["metric"] == "f1") & (table["label"] == "all")]["support"].tolist() == [len(boxed)]
        thresholds = json.loads((results / f"metrics/sound/{detector}_threshold.json").read_text())
        assert len(thresholds["folds"]) == 2 and thresholds["chosen_on"] == "validation"
    assert sorted(path.name for path in (results / "gridcnn/paper").iterdir()) == ["fold0"]


def test_a_second_run_finds_nothing_to_do(repository, finished):
    assert planned(repository, finished) == {}


@pytest.mark.parametrize(
    ("config", "rules"),
    [
        (
            ["evaluation={bootstrap: 120}"],
            {"metrics_baseline": 4, "metrics_transfer": 2, "metrics_gridcnn": 2, "metrics_boxes": 3}
            | {"sheet_gridcnn": 2, "sheet_boxes": 3, "settings": 1, "report": 1},
        ),
        (
            ["paper={gridcnn: {loss: l1}}"],
            {"gridcnn": 1, "metrics_gridcnn": 1, "sheet_gridcnn": 1, "settings": 1, "report": 1},
        ),
        (["sound={baseline: {balanced: false}}"], {"baseline": 2, "metrics_baseline": 2, "settings": 1, "report": 1}),
    ],
)
def test_a_changed_setting_re_runs_what_it_touches(repository, finished, config, rules):
    assert planned(repository, finished, config=config) == rules


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (["sead=1"], ["config key 'sead' is unknown", "nearest known key: 'seed'"]),
        (["paper={transfer: {layers: [-1]}}"], ["paper.transfer.layers", "[-1]"]),
        (["evaluation={bootstrap: 5}"], ["evaluation.bootstrap", "= 5", "100 <= value <= 100000"]),
    ],
)
def test_a_bad_setting_stops_at_once_and_harms_nothing(repository, finished, config, words):
    before = (finished / "results/tiny/report.html").stat().st_mtime_ns
    code, output = snakemake(repository, finished, config=config)
    assert code != 0
    for word in words:
        assert word in output
    assert "Traceback" not in output
    assert (finished / "results/tiny/report.html").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("target", "config", "words"),
    [
        (
            "grid",
            ["paper={transfer: {sizes: [40, 60, 5000]}}"],
            ["size 5000 is larger than the data", "110 usable images"],
        ),
        (
            "results/tiny/transfer/paper/c400_s40/model.pt",
            ["paper={transfer: {layers: [0, 4, 400]}}"],
            ["c = 400", "25 parametered layers"],
        ),
        ("grid", ["source={kind: file, file: missing.pt}"], ["missing.pt", "does not exist"]),
    ],
)
def test_a_setting_the_data_or_network_cannot_meet_ends_in_a_message(
    repository, finished, tmp_path, target, config, words
):
    """On a copy: earlier results stay, the job's log ends in one clear line."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    kept = folder / "results/tiny/baseline/paper/sigmoid/model.pt"
    before = kept.stat().st_mtime_ns
    code, output = snakemake(repository, folder, "--", target, config=config)
    assert code != 0
    for word in words:
        assert word in output, output[-3000:]
    assert "Traceback" not in output
    assert kept.stat().st_mtime_ns == before


def test_weights_of_another_architecture_or_checksum_are_refused(repository, finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    wrong = finished / "results/tiny/gridcnn/paper/fold0/model.pt"
    for extra, word in (
        ("", "no weights of a resnet10"),
        (", sha256: '0123456789abcdef'", "expected is 0123456789abcdef"),
    ):
        code, output = snakemake(
            repository, folder, "--until", "source_weights", config=[f"source={{kind: file, file: {wrong}{extra}}}"]
        )
        assert code != 0 and word in output, output[-3000:]


def nih(folder):
    lists = "train_val_list: train_val_list.txt, test_list: test_list.txt"
    return ["name=real", f"data={{source: nih, root: {folder}, {lists}}}"]


def test_a_root_without_images_is_refused(repository, finished, tmp_path):
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt"):
        shutil.copy(finished / "results/tiny/phantoms" / name, tmp_path / name)
    code, output = snakemake(repository, tmp_path, "--", "preflight", config=nih(tmp_path))
    assert code != 0 and str(tmp_path) in output and "image" in output
    assert "Traceback" not in output


def test_preflight_sets_bad_files_aside_and_counts_them(repository, finished, tmp_path):
    """Half an image file, an empty one, a directory named like an image: set aside, counted, and the rest is usable."""
    data = tmp_path / "data"
    shutil.copytree(finished / "results/tiny/phantoms", data)
    images = sorted(data.rglob("*.png"))
    images[0].write_bytes(images[0].read_bytes()[: images[0].stat().st_size // 2])
    images[1].write_bytes(b"")
    images[2].unlink()
    images[2].mkdir()
    code, output = snakemake(
        repository,
        tmp_path,
        "--",
        "preflight",
        config=nih(data),
    )
    assert code == 0, output[-3000:]
    rejected = pd.read_csv(tmp_path / "results/real/data/rejected.csv", keep_default_na=False)
    by_item = dict(zip(rejected["item"].map(os.path.basename), rejected["reason"], strict=True))
    assert by_item[images[0].name] == "truncated"
    assert by_item[images[1].name] == "zero bytes"
    assert "truncated" in output and "zero bytes" in output
    assert "a directory, not an image file" in set(rejected["reason"])
    assert len(pd.read_csv(tmp_path / "results/real/data/records.csv")) == 107


def test_lint_and_format_are_clean(repository):
    tools = Path(sys.executable).parent
    for command in (["snakemake", "--lint"], ["snakefmt", "--check", "Snakefile", "rules"], ["ruff", "check", "."]):
        done = subprocess.run([tools / command[0], *command[1:]], cwd=repository, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_training_rule_declares_its_resources(repository):
    for name in ("baseline", "transfer", "detection", "torchvision_detector", "gridcnn", "predict"):
        text = (repository / "rules" / f"{name}.smk").read_text()
        for rule in re.split(r"^(?=rule |checkpoint )", text, flags=re.M)[1:]:
            title = rule.split(":")[0]
            assert "mem_mb=" in rule and "runtime=" in rule and "log:" in rule, title
            assert "conda:" in rule or "script:" not in rule, title
            if "threads:" in rule:
                assert "gpu=1" in rule and "benchmark:" in rule, title


def test_snakemakes_own_report_is_made(repository, finished, tmp_path):
    code, output = snakemake(repository, finished, "--report", tmp_path / "report.html")
    assert code == 0, output[-3000:]
    assert (tmp_path / "report.html").stat().st_size > 100_000
