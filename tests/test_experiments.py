"""The rows that say what an experiment is, and what follows from them."""

import pytest

from cxr import experiments, settings
from cxr.metrics import names
from cxr.report import paper

SMALL = {"paper": {"split": {"box_folds": 1}}, "sound": {"split": {"box_folds": 2}}}


def test_every_row_is_of_the_settings_and_of_metrics_that_are_known():
    assert len(experiments.BY_NAME) == len(experiments.EXPERIMENTS)
    for each in experiments.EXPERIMENTS:
        section = getattr(settings.DEFAULTS.sound, each.section)
        assert all(hasattr(section, name) for name, _ in each.needs)
        assert not each.stand_in or experiments.BY_NAME[each.stand_in].headline == each.headline
        assert each.headline and all(names.of(metric) for metric, _ in each.headline)
        assert each.trained or not each.predicts
    assert len({each.folder for each in experiments.EXPERIMENTS}) == len(experiments.EXPERIMENTS)


def test_the_papers_numbers_are_of_experiments_that_the_paper_has():
    for number in paper.NUMBERS:
        assert experiments.BY_NAME[experiments.family(number.experiment)].source != experiments.NOT_IN_PAPER


@pytest.mark.parametrize(
    ("name", "family", "pair"),
    [
        ("transfer_c2_s5000", "transfer", (2, 5000)),
        ("transfer_c2_s5000_again", "transfer_c2_s5000_again", None),
        ("gridcnn", "gridcnn", None),
    ],
)
def test_a_pair_of_transfer_belongs_to_its_row(name, family, pair):
    assert experiments.family(name) == family and experiments.pair(name) == pair


def test_what_is_not_given_or_not_enabled_is_skipped_with_its_reason():
    study = settings.load(SMALL | {"sound": SMALL["sound"] | {"yolo": {"pretrained": "yolo.pt"}}})
    own = {name: reason for name, reason in experiments.skipped(study).items() if not name[1].startswith("yolov2")}
    assert own == {
        ("paper", "yolo_off_the_shelf"): "no COCO weights: set paper.yolo.pretrained to a weights file",
        ("paper", "torchvision_detector"): "paper.torchvision_detector.enabled is false",
    }
    neither = experiments.skipped(settings.load({"protocols": ["sound"], "sound": {"yolo": {"enabled": False}}}))
    assert neither["sound", "yolo_off_the_shelf"] == neither["sound", "yolo_finetuned"] == "sound.yolo.enabled is false"


def test_what_is_run_in_the_place_of_yolov2_is_said_and_never_silently_done():
    """Off the shelf there is nothing without weights; another network is named as such."""
    weights = {"yolo": {"pretrained": "yolo.pt"}}
    found = experiments.skipped(settings.load({"protocols": ["sound"], "sound": weights}))
    assert found == {
        (
            "sound",
            "yolov2_off_the_shelf",
        ): "sound.yolov2.enabled is false; YOLO off the shelf, another network, is run instead",
        (
            "sound",
            "yolov2_finetuned",
        ): "sound.yolov2.enabled is false; YOLO fine-tuned, another network, is run instead",
    }
    alone = {"yolov2": {"enabled": True}, "yolo": {"enabled": False}}
    found = experiments.skipped(settings.load({"protocols": ["paper"], "paper": alone}))
    assert found["paper", "yolov2_off_the_shelf"] == (
        "no YOLOv2 weights: set paper.yolov2.pretrained to a Darknet file such as the authors' yolov2.weights; nothing is run "
        "instead"
    )
    assert ("paper", "yolov2_finetuned") not in found
    given = {"yolov2": {"enabled": True, "pretrained": "yolov2.weights"}}
    study = settings.load({"protocols": ["paper"], "paper": given})
    assert {"yolov2_off_the_shelf", "yolov2_finetuned", "yolo_finetuned"} <= {
        name for _, name in experiments.detectors(study)
    }


@pytest.mark.parametrize(
    ("yolov2", "yolo", "expected"),
    [
        (True, True, "yolov2_finetuned"),
        (False, True, "yolo_finetuned"),
        (True, False, "yolov2_finetuned"),
        (False, False, ""),
    ],
)
def test_the_ledger_compares_with_the_papers_yolo_where_it_runs(yolov2, yolo, expected):
    given = {"yolov2": {"enabled": yolov2}, "yolo": {"enabled": yolo}}
    study = settings.load({"protocols": ["paper"], "paper": given})
    assert experiments.fine_tuned_yolo(study, "paper") == expected


def test_detectors_have_a_job_a_fold_and_classifiers_one():
    study = settings.load(SMALL)
    found = experiments.jobs(study)
    assert found["paper", "baseline_softmax", ""] == "baseline/paper/softmax"
    folds = {(protocol, name): [job[2] for job in found if job[:2] == (protocol, name)] for protocol, name, _ in found}
    assert folds["paper", "gridcnn"] == ["0"] and folds["sound", "gridcnn"] == ["0", "1"]
    assert found["sound", "torchvision_detector", "1"] == "torchvision_detector/sound/fold1"
    assert not {("paper", "torchvision_detector"), ("sound", "yolo_off_the_shelf"), ("sound", "transfer")} & set(folds)
    assert len(set(found.values())) == len(found)
    assert experiments.detectors(study) == [key for key in folds if not key[1].startswith("baseline")]


def test_every_detector_of_boxes_that_may_be_chosen_for_new_images_can_predict_them():
    detections = pytest.importorskip("cxr.inference.detections")
    offered = {each.name for each in experiments.EXPERIMENTS if each.kind == "boxes" and each.predicts}
    assert set(detections.PREDICTORS) == offered


@pytest.mark.parametrize(
    ("metric", "stem", "level", "endings", "name"),
    [
        ("f1_weighted_pixels", "f1", "", ("_weighted", "_pixels"), "F1, weighted, in pixels"),
        ("iou_hit_0.25_any", "iou_hit", "0.25", ("_any",), "IoU hit 0.25, any class"),
        ("froc_mean", "froc_mean", "", (), "FROC, mean"),
        ("froc_0.125", "froc", "0.125", (), "FROC at 0.125"),
        ("map50_95", "map50_95", "", (), "mAP at IoU 0.5–0.95"),
        (
            "false_positives_per_image_any",
            "false_positives_per_image",
            "",
            ("_any",),
            "False positives per image, any class",
        ),
    ],
)
def test_a_metrics_name_comes_apart(metric, stem, level, endings, name):
    assert names.parts(metric) == names.Parts(stem, level, endings)
    assert names.metric_name(metric) == name


@pytest.mark.parametrize("metric", ["f2", "iou_hit", "froc", "precision_at_1"])
def test_a_metric_that_nobody_described_is_refused(metric):
    with pytest.raises(KeyError, match="describe it there"):
        names.of(metric)


def test_less_is_better_for_losses_and_false_positives_alone():
    lower = {name for name, each in names.METRICS.items() if not each.higher_is_better}
    assert lower == {"loss", "mse", "false_positives_per_image"}
