"""The workflow as a whole, by the real Snakemake: one small run, what is re-run after a change, and refusals."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from lxml import html
from running import planned, snakemake
from sklearn.metrics import roc_auc_score

from cxr.labels import LABELS
from cxr.metrics.ladder import Ladder


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
        draws = {"paper": 1, "sound": 2}[protocol]
        assert sum(experiment.startswith("transfer_c") for experiment in found) == draws
    headline = tables[
        tables["metric"].isin(["loss", "accuracy", "f1"]) & (tables["label"].isna() | (tables["label"] == "all"))
    ]
    assert len(headline) >= 10
    assert headline[["value", "low", "high", "floor", "floor_low", "floor_high"]].notna().all().all()


UNJUDGED = {"precision", "recall", "label_sensitivity", "subset_accuracy", "images_with_prediction", "centre_hit"}
HITS = ("iou_hit", "iobb_hit", "centre_hit", "false_positives_per_image")


def not_judged(row):
    """What the page says has no verdict: scores that can be traded, loss and accuracy with "No Finding", AUPRC of a constant."""
    metric = re.sub("(_weighted|_pixels|_any)+$", "", row["metric"])
    whole = metric in ("loss", "accuracy") and row["label"] in ("", "No Finding")
    constant = metric == "auprc" and row["floor_name"].startswith("any constant")
    return metric in UNJUDGED or metric.startswith(HITS) or whole or constant


def test_no_number_that_the_page_says_is_not_judged_has_a_verdict(finished):
    """In metrics.csv, in the headline's table, and among all numbers of the page."""
    results = finished / "results/tiny"
    for name in ("metrics", "headline"):
        table = pd.read_csv(results / f"tables/{name}.csv", keep_default_na=False)
        table = table[table["verdict"] != "not measured"]
        silent = table.apply(not_judged, axis=1)
        assert 0 < silent.sum() < len(table)
        assert set(table["verdict"][silent]) == {"descriptive"} and "descriptive" not in set(table["verdict"][~silent])
        assert set(table["p_holm"][silent]) == {""}, "and no p-value"
    page = html.parse(str(results / "report.html"))
    rows = page.xpath("//details[contains(summary, 'numbers of this experiment')]//tbody/tr")
    table = pd.read_csv(results / "tables/metrics.csv", keep_default_na=False)
    chips = pd.Series([row.xpath("td[9]")[0].text_content().strip() for row in rows])
    assert len(rows) == len(table) and (chips == "· not judged").sum() == table.apply(not_judged, axis=1).sum()


# The numbers of the report once more from predictions and splits alone, without the package


def labels_of(split):
    """Image names of a split, and its labels as (N, 15) bool."""
    table = pd.read_csv(split, dtype={"image": "str"})
    return table["image"], np.array([[label in text.split("|") for label in LABELS] for text in table["labels"]])


def probabilities_of(file, images):
    return pd.read_csv(file).set_index("image").loc[images, list(LABELS)].to_numpy()


def majority_of(split):
    return labels_of(split)[1].mean(axis=0) > 0.5


def cells_of(text):
    """Cells of 64 pixels that the boxes of a text cover by more than half; what several cover counts once."""
    boxes, lines = [np.array(box.split(" ")[-4:], float) for box in text.split(";")], np.arange(0, 1025, 64)

    def shares(some):
        start, end = np.max(some, axis=0)[:2], np.min(some, axis=0)[2:]
        x, y = (
            np.clip(np.minimum(b, lines[1:]) - np.maximum(a, lines[:-1]), 0, None) / 64
            for a, b in zip(start, end, strict=True)
        )
        return np.outer(y, x)

    subsets = [some for count in range(1, len(boxes) + 1) for some in combinations(boxes, count)]
    return sum((-1) ** (len(some) + 1) * shares(some) for some in subsets).round(6) > 0.5


def f1_of(marked, target):
    """The paper's F1 of cells (N, 16, 16) bool."""
    has, hits = target.any(axis=(1, 2)), (marked & target).sum(axis=(1, 2))
    precision = (hits / np.maximum(marked.sum(axis=(1, 2)), 1)).mean()
    recall = (hits[has] / target[has].sum(axis=(1, 2))).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def shown(table, experiment, metric, label=""):
    """The one row of a table with a number, its label "" read as none."""
    rows = table[
        (table["experiment"] == experiment) & (table["metric"] == metric) & (table["label"].fillna("") == label)
    ]
    assert len(rows) == 1, (experiment, metric, label)
    return rows.iloc[0]


def classifiers(results):
    """Protocol, experiment, folder and size of every classifier that the report shows."""
    for protocol in ("paper", "sound"):
        for kind in ("softmax", "sigmoid"):
            yield protocol, f"baseline_{kind}", results / "baseline" / protocol / kind, "all"
        for pair in pd.read_csv(results / "transfer" / protocol / "selected.csv").itertuples():
            name = f"c{pair.layers}_s{pair.size}"
            yield protocol, f"transfer_{name}", results / "transfer_long" / protocol / name, str(pair.size)


def test_classifiers_numbers_are_those_of_their_test_predictions_and_training_labels(finished):
    """Value and floor alike, computed by other means from the files; the floor from what its predictor says in the NPZ."""
    results = finished / "results/tiny"
    headline = pd.read_csv(results / "tables/headline.csv")
    for protocol, experiment, folder, size in classifiers(results):
        test = results / f"splits/{protocol}/{size}/test.csv"
        images, truth = labels_of(test)
        patients = pd.read_csv(test)["patient"].to_numpy()
        table = headline[headline["protocol"] == protocol]
        ladder = Ladder.load(results / f"floors/{protocol}/{size}.npz")
        prevalence = labels_of(results / f"splits/{protocol}/{size}/train.csv")[1].mean(axis=0)
        assert ladder.images == tuple(images) and ladder.guesses["constant"].probabilities == pytest.approx(
            np.tile(prevalence, (len(truth), 1))
        )
        defined = [at for at in range(14) if 0 < truth[:, at].sum() < len(truth)]
        enough = [at for at in defined if min(len(set(patients[truth[:, at] == kind])) for kind in (0, 1)) >= 10]
        prefix = "softmax_" if experiment == "baseline_softmax" else ""
        found = np.clip(probabilities_of(folder / "predictions.csv", images), 1e-7, 1 - 1e-7)

        def said(metric, label, ladder=ladder, prefix=prefix):
            before = "" if metric == "auroc" else prefix
            return ladder.guesses[ladder.floor(before + metric, label)]

        def area(confidences, truth=truth, labels=enough or defined):
            return np.mean([roc_auc_score(truth[:, at], confidences[:, at]) for at in labels])

        row = shown(table, experiment, "auroc", "mean14")
        assert row["value"] == pytest.approx(area(found), abs=1e-5)
        assert row["floor"] == pytest.approx(area(said("auroc", "mean14").probabilities), abs=1e-5)
        row, floor = shown(table, experiment, "accuracy"), said("accuracy", "")
        if prefix:
            always = truth.argmax(axis=1)
            assert row["value"] == pytest.approx((found.argmax(axis=1) == always).mean(), abs=1e-5)
            assert row["floor"] == pytest.approx((floor.first == always).mean(), abs=1e-5)
        else:
            assert row["value"] == pytest.approx(((found > 0.5) == truth).mean(), abs=1e-5)
            assert row["floor"] == pytest.approx(((floor.probabilities > 0.5) == truth).mean(), abs=1e-5)
        if experiment.startswith("baseline"):
            floor = said("loss", "").probabilities
            each = [found, np.clip(floor / floor.sum(axis=1, keepdims=True) if prefix else floor, 1e-7, 1 - 1e-7)]
            if prefix:
                expected = [-(truth * np.log(each)).sum(axis=1).mean() for each in each]
            else:
                expected = [-np.log(np.where(truth, each, 1 - each)).mean() for each in each]
            assert shown(table, experiment, "loss")[["value", "floor"]].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_pairs_that_are_selected_gain_most_on_their_validation_images(finished):
    results = finished / "results/tiny"
    for protocol, by in (("paper", "accuracy"), ("sound", "auroc")):
        drawn = {}
        for folder in sorted((results / "transfer" / protocol).glob("c*_s*")):
            layers, size, draw = re.fullmatch(r"c(\d+)_s(\d+)(_r\d+|_seed\d+)?", folder.name).groups(default="")
            if draw.startswith("_seed"):
                continue
            splits = results / f"splits/{protocol}/{size}"
            images, truth = labels_of(splits / "validation.csv")
            found = probabilities_of(folder / "predictions.csv", images)
            defined = [at for at in range(15) if 0 < truth[:, at].sum() < len(truth)]
            majority = majority_of(results / f"splits/{protocol}/{size}{draw}/train.csv")
            gain = {
                "accuracy": ((found > 0.5) == truth).mean() - (majority == truth).mean(),
                "auroc": np.mean([roc_auc_score(truth[:, at], found[:, at]) for at in defined]),
            }[by]
            drawn.setdefault((int(layers), int(size)), []).append(gain)
        gains = {pair: np.mean(each) for pair, each in drawn.items()}
        best = min(gains, key=lambda pair: (-round(gains[pair], 5), -pair[1], pair[0]))
        selected = pd.read_csv(results / "transfer" / protocol / "selected.csv")
        ties = sum(round(gain, 5) == round(gains[best], 5) for gain in gains.values()) - 1
        assert selected.to_numpy().tolist() == [[*best, 1, ties]], gains
        grid = pd.read_csv(results / "tables" / f"grid_{protocol}.csv").set_index(["layers", "size"])
        assert grid["selected_rank"].dropna().to_dict() == {best: 1}


def test_the_grid_cnns_numbers_are_cut_where_validation_images_say(finished):
    results = finished / "results/tiny"
    for protocol, folds in (("paper", 1), ("sound", 2)):
        cuts = json.loads((results / f"metrics/{protocol}/gridcnn_threshold.json").read_text())
        marked, wanted, errors = [], [], []
        for fold in range(folds):
            each = {}
            for role, file in (("validation", "validation.npz"), ("test", "predictions.npz")):
                split = pd.read_csv(results / f"splits/{protocol}/boxes_fold{fold}/{role}.csv")
                with np.load(results / f"gridcnn/{protocol}/fold{fold}/{file}") as content:
                    order = [content["images"].tolist().index(image) for image in split["image"]]
                    confidence, probability = (
                        content[name][order].astype(float)
                        for name in ("confidence", "probability" if "probability" in content else "confidence")
                    )
                target = np.stack([cells_of(text) for text in split["boxes"]])
                each[role] = confidence, target
            threshold = cuts["folds"][fold]["threshold"]
            if cuts["chosen_on"] == "validation":
                confidence, target = each["validation"]
                occurring = np.unique(confidence[confidence > 0])
                ranks = np.linspace(0, len(occurring) - 1, min(200, len(occurring))).round().astype(int)
                best = max(f1_of(confidence >= cut, target) for cut in [*occurring[ranks], 1])
                assert f1_of(confidence >= threshold, target) == pytest.approx(best, rel=1e-9)
            confidence, target = each["test"]
            marked.append(confidence >= threshold)
            wanted.append(target)
            errors.append(((probability - target) ** 2).mean(axis=(1, 2)))
        table = pd.read_csv(results / f"metrics/{protocol}/gridcnn.csv")
        expected = f1_of(np.concatenate(marked), np.concatenate(wanted))
        assert shown(table, "gridcnn", "f1", "all")["value"] == pytest.approx(expected, abs=1e-4)
        assert shown(table, "gridcnn", "mse", "all")["value"] == pytest.approx(np.concatenate(errors).mean(), abs=1e-4)
        everywhere = f1_of(np.ones_like(np.concatenate(wanted)), np.concatenate(wanted))
        assert shown(table, "gridcnn", "f1", "all")["floor"] >= everywhere - 1e-5, "the best floor, not any"


def test_the_headline_shows_what_the_metric_tables_hold(finished):
    results = finished / "results/tiny"
    tables = pd.concat([pd.read_csv(path) for path in sorted((results / "metrics").glob("*/*.csv"))])
    keys, columns = (
        ["protocol", "experiment", "metric", "label"],
        ["value", "low", "high", "floor", "floor_low", "floor_high"],
    )
    measured = tables.fillna({"label": ""}).set_index(keys)
    headline = pd.read_csv(results / "tables/headline.csv").fillna({"label": ""})
    headline = headline[headline["verdict"] != "not measured"].set_index(keys)
    assert len(headline) > 20
    pd.testing.assert_frame_equal(headline[columns], measured.loc[headline.index, columns])


def test_every_pair_is_a_job_of_its_own_with_model_predictions_history_and_facts(finished):
    folders = sorted(path.name for path in (finished / "results/tiny/transfer/paper").glob("c*_s*"))
    assert folders == ["c0_s40", "c0_s60", "c4_s40", "c4_s60"]
    for name in folders:
        folder = finished / "results/tiny/transfer/paper" / name
        assert {"model.pt", "predictions.csv", "history.csv", "facts.json"} <= {p.name for p in folder.iterdir()}
        assert list(pd.read_csv(folder / "predictions.csv").columns) == ["image", "patient", *LABELS]
        facts = json.loads((folder / "facts.json").read_text())
        assert facts["seed"] == 0 and facts["trained_parameters"] < facts["parameters"]


SECTIONS = {  # first folder of the results → the section of a protocol's settings that its facts quote
    "baseline": ("baseline", "training"),
    "transfer": ("transfer", "training"),
    "transfer_long": ("transfer", "long"),
    "gridcnn": ("gridcnn",),
    "yolo_finetuned": ("yolo",),
    "torchvision_detector": ("torchvision_detector",),
}


def test_facts_state_no_setting_that_differs_from_the_studys_own(finished):
    results = finished / "results/tiny"
    study, seen = yaml.safe_load((results / "settings.yaml").read_text()), set()
    for path in results.rglob("facts.json"):
        stated = json.loads(path.read_text()).get("settings")
        experiment, protocol, *_ = path.relative_to(results).parts
        if stated is None:
            continue
        seen.add((experiment, protocol))
        section = study[protocol]
        for name in SECTIONS[experiment]:
            section = section[name]
        assert stated == {name: section[name] for name in stated}, path
        assert not stated.keys() & {"enabled", "confidence", "tune_confidence", "threshold", "tune_threshold"}, path
    assert seen >= {(name, "sound") for name in SECTIONS}


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
            {"metrics_baseline": 4, "metrics_transfer": 3, "metrics_gridcnn": 2, "metrics_boxes": 3, "long_repeats": 2}
            | {"sheet_gridcnn": 2, "sheet_boxes": 3, "settings": 1, "report": 1, "claims": 1, "transfer_gain": 2}
            | {"validity_baseline": 2, "validity_transfer": 2, "validity_gridcnn": 2, "validity_boxes": 3},
        ),
        (
            ["paper={gridcnn: {loss: l1}}"],
            {"gridcnn": 1, "metrics_gridcnn": 1, "validity_gridcnn": 1, "sheet_gridcnn": 1, "settings": 1, "report": 1}
            | {"claims": 1},
        ),
        (
            ["sound={baseline: {balanced: false}}"],
            {
                "baseline": 2,
                "metrics_baseline": 2,
                "validity_baseline": 1,
                "transfer_gain": 1,
                "settings": 1,
                "report": 1,
            },
        ),
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
        (", sha256: '0123456789abcdef'", "expected 0123456789abcdef"),
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
    for name in ("baseline", "transfer", "detection", "yolov2", "torchvision_detector", "gridcnn", "predict"):
        text = (repository / "rules" / f"{name}.smk").read_text()
        for rule in re.split(r"^(?=rule |checkpoint )", text, flags=re.M)[1:]:
            title = rule.split(":")[0]
            assert "mem_mb=" in rule and "runtime=" in rule and "log:" in rule, title
            assert "conda:" in rule or "script:" not in rule, title
            if "threads: 1\n" in rule:  # a training or a prediction
                assert "gpu=1" in rule and "benchmark:" in rule, title


def test_snakemakes_own_report_is_made(repository, finished, tmp_path):
    code, output = snakemake(repository, finished, "--report", tmp_path / "report.html")
    assert code == 0, output[-3000:]
    assert (tmp_path / "report.html").stat().st_size > 100_000
