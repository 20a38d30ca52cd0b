import numpy as np
import pandas as pd
import pytest
from rasters import raster

from cxr.boxes import cell_targets
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.areas import AreaScores, area_scores
from cxr.metrics.average_precision import COCO_OVERLAPS, COCO_RECALLS, average_precision, match, mean_precision
from cxr.metrics.bootstrap import bootstrap_weights
from cxr.metrics.constants import MEDIAN_BOXES
from cxr.metrics.detection import FROC_COLUMNS, score_folds
from cxr.metrics.detections import Cells, ImageBoxes, cell_confidence, truth_boxes
from cxr.metrics.floors import COVERING_BOXES, CUT_MASK, FINDING_CUT, MEAN_MASK, fit_detection
from cxr.metrics.froc import RATES, curves, findable, froc_estimates, sensitivities
from cxr.metrics.pooling import Fold, Thresholds, choose_thresholds
from cxr.metrics.table import METRIC_COLUMNS

BOOTSTRAP = {"samples": 150, "confidence": 0.9, "seed": 0}
TRAIN_TEXTS = ["Mass 0 0 128 128", "Mass 0 0 128 64", "Nodule 512 512 640 640"]


def split(texts: list[str], patients: list[int] | None = None) -> pd.DataFrame:
    names = [f"{index:08d}_000.png" for index in range(len(texts))]
    return pd.DataFrame({"image": names, "patient": patients or list(range(len(texts))), "boxes": texts})


def boxes_table(*rows: tuple) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["image", "label", "confidence", "x0", "y0", "x1", "y1"])
    return table.assign(image=[f"{image:08d}_000.png" for image in table["image"]])


def image_boxes(*rows: tuple) -> ImageBoxes:
    return ImageBoxes(
        np.array([row[0] for row in rows], dtype=object),
        np.array([row[1] for row in rows], dtype=float),
        np.array([row[2:] for row in rows], dtype=float).reshape(-1, 4),
    )


def random_images(count: int, most: int, seed: int, findings: tuple[str, ...] = BOXED_FINDINGS) -> list[ImageBoxes]:
    draw = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        many = draw.integers(0, most + 1)
        corner, size = draw.uniform(0, 500, (many, 2)), draw.uniform(60, 500, (many, 2))
        labels = draw.choice(np.array(findings, dtype=object), many)
        images.append(
            ImageBoxes(
                labels,
                draw.permutation(many * 50)[:many] / 1000 + draw.random(many) / 1e4,
                np.hstack([corner, corner + size]),
            )
        )
    return images


def score(
    truth: pd.DataFrame, *, boxes=None, cells=None, threshold: float = 0.5, train: pd.DataFrame | None = None
) -> pd.DataFrame:
    train = split(TRAIN_TEXTS) if train is None else train
    table, _ = score_folds("p", "e", [Fold(truth, train, Thresholds(threshold), boxes, cells)], **BOOTSTRAP)
    assert list(table.columns) == METRIC_COLUMNS
    assert not table.duplicated(["metric", "label"]).any()
    return table.set_index(["metric", "label"])


def test_the_squared_error_is_of_the_probability_where_cells_are_made_for_a_decision() -> None:
    truth = split(["Mass 0 0 128 128", "Mass 0 0 128 64"])
    images = truth["image"].to_numpy()
    probability = np.zeros((2, 16, 16))
    probability[0, 0, 0], probability[1, 5, 5] = 0.5, 0.25
    decided = (probability > 0).astype(float)
    plain = score(truth, cells=Cells(images, probability))
    both = score(truth, cells=Cells(images[::-1], decided[::-1], probability=probability[::-1]))
    expected = ((3 + 0.5**2) + (2 + 0.25**2)) / 2 / 256  # four and two cells to find
    assert both.loc[("mse", "all"), "value"] == pytest.approx(expected) == plain.loc[("mse", "all"), "value"]
    assert both.loc[("recall", "all"), "value"] == pytest.approx(1 / 8)


def test_the_floor_of_the_squared_error_is_the_map_with_the_least() -> None:
    truth, train = split(["Mass 0 0 128 128"] * 2), split(["Mass 0 0 128 128"] * 2 + ["Mass 0 0 64 64"])
    row = score(truth, cells=Cells(truth["image"].to_numpy(), np.zeros((2, 16, 16))), train=train).loc[("mse", "all")]
    # the mean mask misses three cells by a third each; cut, which keeps all four, none; the whole image misses 252
    assert (row["floor"], row["floor_name"]) == (0, CUT_MASK)
    train = split(["Mass 0 0 128 128", "Mass 512 512 640 640"])
    row = score(truth, cells=Cells(truth["image"].to_numpy(), np.zeros((2, 16, 16))), train=train).loc[("mse", "all")]
    # all eight cells are halves in the mean mask, and in the cut one all are ones, of which four are wrong
    assert (row["floor"], row["floor_name"]) == (pytest.approx(8 * 0.25 / 256), MEAN_MASK)
    assert row["value"] == pytest.approx(4 / 256) and row["difference"] == pytest.approx(2 / 256)


def test_areas_of_cells_by_hand() -> None:
    # truths of 4, 2 and no cells (the last covers a quarter of one); predictions of 2, 4 and 0 cells
    truth = split(["Mass 0 0 128 128", "Mass 0 0 128 64", "Mass 320 320 352 352"])
    confidence = np.zeros((3, 16, 16))
    confidence[0, 0, :2] = 0.5, 1.0
    confidence[1, :2, 0] = 0.8
    confidence[1, :2, 1] = 0.4
    table = score(truth, cells=Cells(truth["image"].to_numpy(), confidence))
    value = table["value"].xs("all", level="label")
    # binarised at 0.5: precision 1, 1/2 and 0 (empty); recall 2/4, 1/2, and none
    assert value["precision"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert value["recall"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert value["f1"] == pytest.approx(0.5)
    # weighted: image 0: 1.5 of 1.5 and of 4; image 1: 1.2 of 2.4 and of 2
    assert value["precision_weighted"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert value["recall_weighted"] == pytest.approx((1.5 / 4 + 1.2 / 2) / 2)
    # in pixels the last image has a target, and recall 0
    assert value["recall_pixels"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    squares = 0.5**2 + 0**2 + 1 + 1, (1 - 0.8) ** 2 + (1 - 0.4) ** 2 + 0.8**2 + 0.4**2, 0
    assert value["mse"] == pytest.approx(sum(squares) / 3 / 256)
    assert value["images_with_prediction"] == pytest.approx(2 / 3)
    assert table.loc[("recall", "all"), "support"] == 2
    assert table.loc[("precision", "all"), "support"] == 3
    note = table.loc[("precision", "all"), "note"]
    assert note.startswith("1 of 3 images have no prediction (precision 0); 1 images without a target area")
    assert table.loc[("mse", "all"), "higher_is_better"] == 0


def test_areas_of_boxes_by_hand() -> None:
    image = image_boxes(
        ("Mass", 0.9, 0, 0, 100, 100), ("Nodule", 0.4, 50, 0, 150, 100), ("Mass", 0.2, 700, 700, 800, 800)
    )
    target = np.array([[50.0, 0, 150, 50]])
    # union of the two above 0.3: 15000, all of the target in it
    binary = area_scores([image.above(0.3)], [target], weighted=False)
    assert binary.precision == pytest.approx([5000 / 15000])
    assert binary.recall == pytest.approx([1])
    # weighted: 0.9 wins where they overlap
    weighted = area_scores([image], [target], weighted=True)
    shared = 0.9 * 2500 + 0.4 * 2500
    assert weighted.precision == pytest.approx([shared / (0.9 * 10000 + 0.4 * 5000 + 0.2 * 10000)])
    assert weighted.recall == pytest.approx([shared / 5000])


def test_empty_prediction_and_empty_target() -> None:
    scores = AreaScores.of(np.array([0, 0, 0.0]), np.array([0, 2.0, 0]), np.array([3.0, 0, 0]))
    assert scores.precision.tolist() == [0, 0, 0]
    assert scores.empty.tolist() == [True, False, True]
    assert np.isnan(scores.recall).tolist() == [False, True, True]


def test_areas_agree_with_pixels() -> None:
    for image, truth in zip(random_images(6, 6, 0), random_images(6, 3, 1), strict=True):
        whole = ImageBoxes(image.labels, image.confidence, image.boxes.round())
        predicted, target = raster(whole.boxes), raster(truth.boxes.round())
        painted = np.zeros((1024, 1024))
        for value, box in zip(whole.confidence, whole.boxes, strict=True):
            painted = np.maximum(painted, value * raster(box))
        binary = area_scores([whole], [truth.boxes.round()], weighted=False)
        weighted = area_scores([whole], [truth.boxes.round()], weighted=True)
        if target.any():
            assert binary.recall[0] == pytest.approx((predicted & target).sum() / target.sum())
            assert weighted.recall[0] == pytest.approx(painted[target].sum() / target.sum())
        if predicted.any():
            assert binary.precision[0] == pytest.approx((predicted & target).sum() / predicted.sum())
            assert weighted.precision[0] == pytest.approx(painted[target].sum() / painted.sum())


def test_boxes_become_cells_by_the_rule_of_the_target() -> None:
    for image in random_images(8, 8, 2):
        cells = cell_confidence(image.boxes, image.confidence)
        for threshold in (0.01, 0.1, 0.2, *image.confidence):
            np.testing.assert_array_equal(
                (cells >= threshold) & (cells > 0), cell_targets([image.above(threshold).boxes])[0]
            )
    half = cell_confidence(np.array([[0.0, 0, 32, 64]]), np.array([0.7]))
    assert half.max() == 0  # exactly half is not more than half
    assert cell_confidence(np.array([[0.0, 0, 33, 64]]), np.array([0.7]))[0, 0] == 0.7


def test_a_perfect_detector() -> None:
    texts = ["Mass 0 0 448 320;Nodule 600 600 700 700", "Effusion 64 64 256 320", "Pneumonia 320 320 384 704"]
    truth = split(texts)
    rows = [
        (at, label, 0.99, *box)
        for at, image in enumerate(truth_boxes(truth))
        for label, box in zip(image.labels, image.boxes, strict=True)
    ]
    table = score(truth, boxes=boxes_table(*rows))
    value = table["value"]
    for name in (
        "f1",
        "f1_pixels",
        "map50",
        "map50_95",
        "map50_any",
        "map50_95_any",
        "iou_hit_0.5",
        "iobb_hit_0.5",
        "centre_hit",
    ):
        assert value[name, "all"] == pytest.approx(1), name
    assert value["false_positives_per_image", "all"] == 0
    assert value["map50", "Mass"] == pytest.approx(1)
    assert np.isnan(value["map50", "Cardiomegaly"])
    assert table.loc[("map50", "Cardiomegaly"), "note"] == "no such box in the split"
    assert table.loc[("map50", "Cardiomegaly"), "support"] == 0
    assert table.loc[("map50", "all"), "floor_name"] == MEDIAN_BOXES


def test_large_boxes_are_scored_on_their_images_alone() -> None:
    # large in both senses with 7x5 cells; turned by 90°; large by area only (256 < side <= 384)
    texts = ["Mass 0 0 448 320;Mass 896 896 1024 1024", "Mass 0 0 320 448", "Mass 0 0 320 320", "Mass 0 0 64 64"]
    truth = split(texts)
    confidence = np.zeros((4, 16, 16))
    confidence[:, :5, :5] = 1
    table = score(truth, cells=Cells(truth["image"].to_numpy(), confidence))
    assert [table.loc[("f1", label), "support"] for label in ("all", "large_both", "large_either", "large_area")] == [
        4,
        1,
        2,
        3,
    ]
    value = table["value"]
    assert value["recall", "large_both"] == pytest.approx(25 / 35)  # the small second box is no target here
    assert value["recall", "large_area"] == pytest.approx((25 / 35 + 25 / 35 + 1) / 3)
    assert value["precision", "large_area"] == 1
    none = score(truth.iloc[3:], cells=Cells(truth["image"].to_numpy()[3:], confidence[3:]))
    row = none.loc[("f1", "large_both")]
    assert np.isnan(row[["value", "low", "high", "floor", "difference"]].astype(float)).all()
    assert row["support"] == 0


def test_hits_and_false_positives_by_hand() -> None:
    truth = split(["Mass 0 0 100 100;Nodule 500 500 600 600", "Effusion 0 0 200 100"])
    table = score(
        truth,
        boxes=boxes_table(
            (0, "Mass", 0.9, 0, 0, 100, 50),  # IoU 0.5 and IoBB 1 with the Mass
            (0, "Mass", 0.9, 500, 500, 600, 600),  # the Nodule's place, under a wrong name
            (0, "Nodule", 0.3, 500, 500, 600, 600),  # right, but below the threshold
            (1, "Effusion", 0.8, 0, 0, 1000, 1000),  # IoU 0.02, its centre outside
            (1, "Effusion", 0.8, 150, 50, 350, 150),  # IoU 2500/37500, IoBB 0.125, its centre outside
        ),
    )
    value = table["value"]
    assert [value[f"iou_hit_{level}", "all"] for level in (0.1, 0.25, 0.5)] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert [value[f"iou_hit_{level}_any", "all"] for level in (0.1, 0.25, 0.5)] == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert [value[f"iobb_hit_{level}", "Effusion"] for level in (0.1, 0.25, 0.5)] == [1, 0, 0]
    assert value["iobb_hit_0.5", "Mass"] == 1
    assert value["centre_hit", "all"] == pytest.approx(1 / 3)
    assert value["centre_hit_any", "all"] == pytest.approx(2 / 3)
    assert value["false_positives_per_image", "all"] == pytest.approx(3 / 2)
    assert value["false_positives_per_image", "Mass"] == pytest.approx(1 / 2)
    assert value["false_positives_per_image_any", "all"] == pytest.approx(2 / 2)
    assert table.loc[("false_positives_per_image", "all"), "higher_is_better"] == 0


def test_of_the_floors_of_boxes_the_better_one_counts_whichever_way_is_better() -> None:
    table = score(split(["Mass 0 0 128 128"] * 3), boxes=boxes_table(), train=split(["Mass 0 0 128 128"] * 3))
    for metric, best in (("false_positives_per_image", 0), ("iou_hit_0.5", 1), ("map50", 1), ("froc_1", 1)):
        row = table.loc[(metric, "Mass")]
        assert (row["floor"], row["floor_name"]) == (best, MEDIAN_BOXES), metric
    # a box at a random place finds nothing of the three: it cries in vain in every image
    assert table.loc[("false_positives_per_image", "Mass"), "note"].endswith("random place 1.0000")


def test_a_centre_on_the_end_of_a_box_is_outside_and_on_its_start_inside() -> None:
    truth = split(["Mass 100 100 200 200"])

    def hit(x0: float, y0: float) -> float:
        """A predicted box of 100 × 100 pixels; its centre lies 50 to the right and below."""
        return score(truth, boxes=boxes_table((0, "Mass", 0.9, x0, y0, x0 + 100, y0 + 100)))["value"][
            "centre_hit", "Mass"
        ]

    assert [hit(50, 100), hit(100, 50), hit(149, 149)] == [1, 1, 1]
    assert [hit(150, 100), hit(100, 150), hit(49, 100)] == [0, 0, 0]


def test_a_box_that_finds_one_of_several_is_no_false_positive() -> None:
    truth = split(["Mass 0 0 100 100;Mass 500 500 600 600"])
    table = score(truth, boxes=boxes_table((0, "Mass", 0.9, 0, 0, 100, 100)))
    for name in ("false_positives_per_image", "false_positives_per_image_any"):
        assert table.loc[(name, "all"), "value"] == 0, name
    assert table.loc[("iou_hit_0.5", "all"), "value"] == 0.5


def test_foreign_classes_are_scored_without_their_names() -> None:
    truth = split(["Mass 0 0 128 128"])
    table = score(truth, boxes=boxes_table((0, "teddy bear", 0.9, 0, 0, 128, 128)))
    assert np.isnan(table.loc[("map50", "all"), "value"])
    assert table.loc[("map50", "all"), "note"].startswith("undefined: the predicted classes are not findings")
    assert np.isnan(table.loc[("centre_hit", "Mass"), "value"])
    assert table.loc[("map50_any", "all"), "value"] == pytest.approx(1)
    assert table.loc[("iou_hit_0.5_any", "all"), "value"] == 1


def test_a_detector_that_says_nothing() -> None:
    truth = split(["Mass 0 0 128 128", "Nodule 500 500 600 600"])
    value = score(truth, boxes=boxes_table())["value"]
    for name in (
        "precision",
        "recall",
        "f1",
        "f1_weighted_pixels",
        "map50",
        "map50_any",
        "centre_hit",
        "images_with_prediction",
    ):
        assert value[name, "all"] == 0, name
    assert value["false_positives_per_image", "all"] == 0


@pytest.mark.parametrize("any_class", [False, True])
def test_map_is_that_of_torchmetrics(any_class: bool) -> None:
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    findings = BOXED_FINDINGS[:3]
    truth, found = random_images(25, 4, 3, findings), random_images(25, 6, 4, findings)
    found = [  # half of the detections near the truth, so that there is something to find
        ImageBoxes(
            np.append(a.labels, b.labels),
            np.append(a.confidence, 0.01 + b.confidence),
            np.vstack([a.boxes, b.boxes + 25]),
        )
        for a, b in zip(found, truth, strict=True)
    ]

    def entry(image: ImageBoxes, scored: bool) -> dict[str, torch.Tensor]:
        labels = [0 if any_class else findings.index(label) for label in image.labels]
        boxes = {"boxes": torch.tensor(image.boxes).reshape(-1, 4), "labels": torch.tensor(labels, dtype=torch.long)}
        return boxes | ({"scores": torch.tensor(image.confidence)} if scored else {})

    # its own recall levels are rounded to float32, which moves a recall of exactly 0.29 to the next level
    levels = {"iou_thresholds": COCO_OVERLAPS.tolist(), "rec_thresholds": COCO_RECALLS.tolist()}
    peer = MeanAveragePrecision(backend="pycocotools", **levels)
    peer.update([entry(image, True) for image in found], [entry(image, False) for image in truth])
    theirs = peer.compute()
    once = np.ones((1, 25), dtype=np.uint16)
    matches = match(found, truth, None if any_class else findings)
    ours = np.array([average_precision(m, once)[0] for m in matches])
    assert 0.1 < ours[:, 0].mean() < 0.95
    assert ours[:, 0].mean() == pytest.approx(float(theirs["map_50"]), abs=1e-6)
    assert ours.mean() == pytest.approx(float(theirs["map"]), abs=1e-6)


def test_map50_asks_for_an_overlap_of_half_and_map50_95_for_the_mean_over_ten() -> None:
    truth = split(["Mass 0 0 100 100"])
    value = score(truth, boxes=boxes_table((0, "Mass", 0.9, 0, 0, 62, 100)))["value"]  # IoU 0.62
    for name, label in (("map50", "all"), ("map50", "Mass"), ("map50_any", "all")):
        assert value[name, label] == pytest.approx(1), (name, label)
        assert value[name.replace("50", "50_95"), label] == pytest.approx(3 / 10), "found at 0.5, 0.55 and 0.6"


def test_the_validation_score_of_detectors_is_the_mean_over_the_findings_drawn() -> None:
    drawn = [image_boxes(("Mass", 1, 0, 0, 100, 100), ("Nodule", 1, 500, 500, 600, 600)), image_boxes()]
    found = [image_boxes(("Mass", 0.9, 0, 0, 62, 100), ("Effusion", 0.8, 0, 0, 100, 100)), image_boxes()]
    assert mean_precision(found, drawn, 0.5) == pytest.approx(1 / 2), (
        "Mass is found, Nodule is not, Effusion is not drawn"
    )
    assert mean_precision(found, drawn, 0.6) == pytest.approx(1 / 2)
    assert mean_precision(found, drawn, 0.65) == 0
    assert mean_precision(found, [image_boxes(), image_boxes()], 0.5) == 0


def test_more_than_ten_boxes_of_an_image_count() -> None:
    corners = [(60 * at, 100 * at % 900) for at in range(16)]
    drawn = [image_boxes(*(("Mass", 1, x, y, x + 50, y + 50) for x, y in corners))]
    found = [image_boxes(*(("Mass", 0.5 + at / 100, x, y, x + 50, y + 50) for at, (x, y) in enumerate(corners)))]
    assert mean_precision(found, drawn, 0.5) == pytest.approx(1)


def test_weighted_map_is_that_of_repeated_images() -> None:
    findings = BOXED_FINDINGS[:1]
    truth = random_images(12, 3, 5, findings)
    found = [ImageBoxes(i.labels, i.confidence, i.boxes + 20 * (at % 4)) for at, i in enumerate(truth)]
    found = [
        ImageBoxes(i.labels, np.random.default_rng(at).random(len(i.labels)), i.boxes) for at, i in enumerate(found)
    ]
    weights = bootstrap_weights(np.arange(12), 5, 0)
    ours = average_precision(match(found, truth, findings)[0], weights)
    for row, times in zip(ours, weights, strict=True):
        at = np.repeat(np.arange(12), times)
        repeated = match([found[i] for i in at], [truth[i] for i in at], findings)[0]
        np.testing.assert_allclose(row, average_precision(repeated, np.ones((1, len(at)), np.uint16))[0], atol=1e-9)


def test_equal_confidences_enter_together() -> None:
    # one hit and one miss of equal confidence: precision 1/2, whichever image comes first
    truth = [image_boxes(("Mass", 1, 0, 0, 100, 100)), image_boxes()]
    found = [image_boxes(("Mass", 0.5, 0, 0, 100, 100)), image_boxes(("Mass", 0.5, 0, 0, 100, 100))]
    once = np.ones((1, 2), dtype=np.uint16)
    for order in ([0, 1], [1, 0]):
        matches = match([found[i] for i in order], [truth[i] for i in order], ("Mass",))[0]
        np.testing.assert_allclose(average_precision(matches, once), 0.5)


def test_intervals_and_floors() -> None:
    draw = np.random.default_rng(0)
    corners = draw.uniform(100, 500, (40, 2))
    texts = [f"Mass {x:.0f} {y:.0f} {x + 300:.0f} {y + 260:.0f}" for x, y in corners]
    truth = split(texts, patients=(np.arange(40) // 2).tolist())
    confidence = np.clip(
        cell_targets([image.boxes for image in truth_boxes(truth)]) * 0.6 + 0.39 * draw.random((40, 16, 16)), 0, 1
    )
    cells = Cells(truth["image"].to_numpy(), confidence)
    table = score(truth, cells=cells, train=truth)
    f1 = table.loc[("f1_weighted", "all")]
    assert f1["low"] < f1["value"] < f1["high"]
    assert f1["floor_low"] < f1["floor"] < f1["floor_high"]
    assert f1["difference"] == pytest.approx(f1["value"] - f1["floor"])
    assert f1["difference_low"] < f1["difference"] < f1["difference_high"]
    assert f1["floor_name"] == CUT_MASK
    assert "whole image 0." in f1["note"]
    assert table.loc[("precision_weighted", "all"), "floor_name"] == CUT_MASK
    shuffled = Cells(cells.images[::-1], cells.confidence[::-1])
    pd.testing.assert_frame_equal(table, score(truth, cells=shuffled, train=truth))


def test_chosen_threshold() -> None:
    truth = split(["Mass 0 0 128 128", "Mass 0 0 64 128"])
    confidence = np.full((2, 16, 16), 0.2)
    confidence[0, :2, :2] = 0.7
    confidence[1, :2, :1] = 0.6
    assert choose_thresholds(truth, cells=Cells(truth["image"].to_numpy(), confidence)).overall == pytest.approx(0.6)
    found = boxes_table(
        (0, "Mass", 0.8, 0, 0, 128, 128), (1, "Mass", 0.35, 0, 0, 64, 128), (1, "Mass", 0.1, 300, 300, 900, 900)
    )
    assert choose_thresholds(truth, boxes=found).overall == pytest.approx(0.35)
    assert choose_thresholds(truth, boxes=boxes_table()).overall == 1
    with pytest.raises(ValueError, match="either"):
        choose_thresholds(truth)


def test_a_threshold_is_chosen_by_the_cells_that_count_not_by_the_shares_that_are_covered() -> None:
    truth = split(["Mass 25.6 0 89.6 64"])  # 0.6 of the first cell, which counts, and 0.4 of the second, which does not
    confidence = np.zeros((1, 16, 16))
    confidence[0, 0, :2] = 0.8, 0.6
    chosen = choose_thresholds(truth, cells=Cells(truth["image"].to_numpy(), confidence, {"Mass": confidence}))
    # by shares: P = R = 0.6 from 0.8 on, and P = 1/2, R = 1, F1 = 2/3 from 0.6 on
    assert chosen.overall == pytest.approx(0.8) == chosen.findings["Mass"]


def test_wrong_predictions_are_refused() -> None:
    truth = split(["Mass 0 0 128 128", "Mass 0 0 128 64"])
    names, cells = truth["image"].to_numpy(), np.zeros((2, 16, 16))
    with pytest.raises(InputError, match="1 of 2 images of the split are missing"):
        score(truth, cells=Cells(names[1:], cells[1:]))
    with pytest.raises(InputError, match="shape"):
        score(truth, cells=Cells(names, np.zeros((2, 8, 8))))
    with pytest.raises(InputError, match="outside 0 to 1"):
        score(truth, cells=Cells(names, cells + np.nan))
    with pytest.raises(InputError, match="1 images are not in the split"):
        score(truth, boxes=boxes_table((7, "Mass", 0.5, 0, 0, 9, 9)))
    with pytest.raises(InputError, match="1 boxes have a coordinate"):
        score(truth, boxes=boxes_table((0, "Mass", 0.5, 0, 0, np.nan, 9)))
    with pytest.raises(InputError, match="'confidence' is missing"):
        score(truth, boxes=boxes_table().drop(columns="confidence"))
    with pytest.raises(InputError, match="holds no image"):
        score(truth.iloc[:0], boxes=boxes_table())


# Findings, told that they are there


def named_cells(truth: pd.DataFrame, finding: str, confidence: np.ndarray) -> Cells:
    return Cells(truth["image"].to_numpy(), np.zeros_like(confidence), {finding: confidence})


def test_a_finding_is_scored_on_the_images_that_have_it_by_its_own_map_and_threshold() -> None:
    truth = split(["Mass 0 0 128 128;Nodule 512 512 640 640", "Mass 0 0 128 64", "Nodule 512 512 640 640"])
    confidence = np.zeros((3, 16, 16))
    confidence[0, :2, :2] = 0.3  # all four cells
    confidence[1, 0, :4] = 0.3  # both cells and two more
    confidence[2] = 0.9  # no Mass there: not asked
    fold = Fold(truth, split(TRAIN_TEXTS), Thresholds(0.5, {"Mass": 0.2}), cells=named_cells(truth, "Mass", confidence))
    table = score_folds("p", "e", [fold], **BOOTSTRAP)[0].set_index(["metric", "label"])
    assert table.loc[("precision", "Mass"), "value"] == pytest.approx((1 + 0.5) / 2)
    assert table.loc[("recall", "Mass"), "value"] == 1
    assert table.loc[("f1", "Mass"), "support"] == 2
    # training masses cover cells (0, 0), (0, 1) of both and (1, 0), (1, 1) of one image; the best cut keeps all four
    assert table.loc[("f1", "Mass"), "floor"] == pytest.approx(2 * 0.75 / 1.75)
    assert table.loc[("f1", "Mass"), "floor_name"] == FINDING_CUT
    # the map of any finding says nothing, so the Nodule is missed, and the note says why
    nodule = table.loc[("f1", "Nodule")]
    assert nodule["value"] == 0 and "does not distinguish findings" in nodule["note"]
    assert "the threshold for all findings in 1 of 1 folds" in nodule["note"]
    assert np.isnan(table.loc[("f1", "Cardiomegaly"), "value"])
    assert table.loc[("f1", "Cardiomegaly"), "note"] == "no such box in the split"
    assert table.loc[("f1", "mean8"), "value"] == pytest.approx((2 * 0.75 / 1.75 + 0) / 2)


def test_a_findings_boxes_alone_are_its_map() -> None:
    truth = split(["Mass 0 0 128 128;Nodule 512 512 640 640"])
    found = boxes_table((0, "Mass", 0.9, 0, 0, 128, 128), (0, "Nodule", 0.9, 0, 0, 512, 512))
    value = score(truth, boxes=found)["value"]
    assert value["f1", "Mass"] == 1
    assert value["f1", "Nodule"] == 0


def test_a_finding_without_a_training_example_has_the_floor_of_all() -> None:
    truth = split(["Effusion 0 0 128 128"])
    row = score(truth, boxes=boxes_table()).loc[("f1", "Effusion")]
    assert "no training example, so the floor for all findings, in 1 of 1 folds" in row["note"]
    assert row["floor"] > 0 and row["value"] == 0


def test_thresholds_of_findings_are_chosen_on_their_own_images() -> None:
    truth = split(["Mass 0 0 128 128", "Nodule 0 0 128 128", "Pneumonia 8 8 40 40"])
    found = boxes_table(
        (0, "Mass", 0.8, 0, 0, 128, 128), (1, "Nodule", 0.3, 0, 0, 128, 128), (1, "Mass", 0.9, 500, 500, 900, 900)
    )
    chosen = choose_thresholds(truth, boxes=found)
    assert chosen.findings == {"Mass": pytest.approx(0.8), "Nodule": pytest.approx(0.3)}, "the small box covers no cell"
    assert chosen.of("Pneumonia") == chosen.overall


# Folds


def test_folds_are_pooled_each_with_its_own_threshold_and_floor() -> None:
    one, other = split(["Mass 0 0 128 128"]), split(["Mass 0 0 128 128"]).assign(image="00000009_000.png", patient=9)
    train = split(TRAIN_TEXTS)

    def fold(truth: pd.DataFrame, threshold: float, train: pd.DataFrame) -> Fold:
        confidence = np.zeros((1, 16, 16))
        confidence[0, :2, :2] = 0.4
        return Fold(truth, train, Thresholds(threshold), cells=Cells(truth["image"].to_numpy(), confidence))

    table = score_folds("p", "e", [fold(one, 0.3, train), fold(other, 0.5, train)], **BOOTSTRAP)[0]
    table = table.set_index(["metric", "label"])
    assert table.loc[("recall", "all"), "value"] == pytest.approx(1 / 2), "the second fold's threshold is too high"
    assert table.loc[("f1", "all"), "support"] == 2
    here, elsewhere = split(["Mass 0 0 128 128"] * 3), split(["Mass 512 512 640 640"] * 3)
    moved = score_folds("p", "e", [fold(one, 0.3, here), fold(other, 0.3, elsewhere)], **BOOTSTRAP)[0]
    row = moved.set_index(["metric", "label"]).loc[("recall", "Mass")]
    assert (row["value"], row["floor"]) == (1, pytest.approx(1 / 2)), "the second fold's own floor looks elsewhere"


def test_an_image_tested_twice_is_refused() -> None:
    truth = split(["Mass 0 0 128 128"])
    fold = Fold(truth, split(TRAIN_TEXTS), Thresholds(0.5), boxes=boxes_table())
    with pytest.raises(InputError, match=r"1 images are tested in two folds \(first: 00000000_000.png\)"):
        score_folds("p", "e", [fold, fold], **BOOTSTRAP)


def test_images_without_a_box_count_as_places_for_false_positives_alone() -> None:
    truth = split(["Mass 0 0 128 128", "", ""])
    found = boxes_table((0, "Mass", 0.9, 0, 0, 128, 128), (1, "Mass", 0.8, 0, 0, 128, 128))
    table = score(truth, boxes=found)
    assert table.loc[("false_positives_per_image", "all"), "value"] == pytest.approx(1 / 3)
    assert table.loc[("iou_hit_0.5", "all"), "support"] == 1
    assert table.loc[("recall", "all"), "support"] == 1 and table.loc[("precision", "all"), "support"] == 3


# FROC


def test_froc_by_hand() -> None:
    truth = [image_boxes(("Mass", 1, 0, 0, 100, 100), ("Mass", 1, 500, 500, 600, 600)), image_boxes()]
    found = [
        image_boxes(
            ("Mass", 0.9, 0, 0, 100, 100),  # finds the first
            ("Mass", 0.6, 0, 0, 90, 90),  # finds it again: neither hit nor false
            ("Mass", 0.3, 500, 500, 540, 600),  # finds the second, IoU 0.4
        ),
        image_boxes(("Mass", 0.5, 0, 0, 100, 100), ("Mass", 0.2, 0, 0, 100, 100), ("Mass", 0.1, 700, 0, 800, 100)),
    ]
    points = findable(found, truth)["Mass"]
    assert points.found.tolist() == [0.9, 0.3] and points.false.tolist() == [0.5, 0.2, 0.1]
    rates = np.array([0.1, 0.5, 0.75, 1.0, 2.0])
    once = np.ones((1, 2), dtype=np.uint16)
    # one false positive (0.5 an image) buys 1 of 2; the second box comes at the same number of false positives
    np.testing.assert_allclose(sensitivities(points, once, rates)[0], [0.5, 1, 1, 1, 1])
    # an image without a box drawn twice: the same false positives, twice as many of three images
    weights = np.array([[1, 2]], dtype=np.uint16)
    np.testing.assert_allclose(sensitivities(points, weights, np.array([0.5, 2 / 3])), [[0.5, 1]])
    assert np.isnan(sensitivities(points, np.array([[0, 2]], dtype=np.uint16), rates)).all()


def test_froc_between_two_thresholds_is_a_lottery() -> None:
    # hit and false positive of equal confidence enter together: half of both by drawing lots
    truth = [image_boxes(("Mass", 1, 0, 0, 100, 100)), image_boxes()]
    found = [image_boxes(("Mass", 0.5, 0, 0, 100, 100)), image_boxes(("Mass", 0.5, 0, 0, 100, 100))]
    points = findable(found, truth)["all"]
    once = np.ones((1, 2), dtype=np.uint16)
    np.testing.assert_allclose(sensitivities(points, once, np.array([0.125, 0.25, 0.5, 8]))[0], [0.25, 0.5, 1, 1])


def test_froc_of_resamples_is_that_of_repeated_images() -> None:
    truth, found = random_images(12, 3, 5), random_images(12, 9, 6)
    weights = bootstrap_weights(np.arange(12), 5, 0)
    ours = curves(found, truth, weights).samples["all"]
    for row, times in zip(ours, weights, strict=True):
        at = np.repeat(np.arange(12), times)
        once = curves([found[i] for i in at], [truth[i] for i in at], np.ones((1, len(at)), np.uint16))
        np.testing.assert_allclose(row, once.value["all"], atol=1e-12)


def test_froc_rows_and_curve_agree() -> None:
    truth = split([f"Mass {at} {at} {at + 200} {at + 200};Nodule 700 700 800 800" for at in range(0, 400, 20)])
    draw = np.random.default_rng(0)
    rows = [(at, "Mass", draw.random(), *(draw.uniform(0, 400, 2)), 500, 500) for at in range(20) for _ in range(6)]
    fold = Fold(truth, truth, Thresholds(0.5), boxes=boxes_table(*rows))
    table, curve = score_folds("p", "e", [fold], **BOOTSTRAP)
    assert list(curve.columns) == FROC_COLUMNS and set(curve["label"]) == {"all", "Mass", "Nodule"}
    at_one = curve[curve["false_positives_per_image"].round(6) == 1].set_index("label")
    rows = table.set_index(["metric", "label"])
    for name, label in (("froc_1_any", "all"), ("froc_1", "Mass"), ("froc_1", "Nodule")):
        drawn = at_one.loc["all" if name.endswith("any") else label]
        for column in ("value", "low", "high", "floor"):
            assert rows.loc[(name, label), column] == pytest.approx(drawn[column]), (name, label, column)
        # each the best for its own number, and here equally good
        assert {rows.loc[(name, label), "floor_name"], drawn["floor_name"]} <= {MEDIAN_BOXES, COVERING_BOXES}
    assert rows.loc[("froc_1_any", "all"), "low"] < rows.loc[("froc_1_any", "all"), "high"]
    assert rows.loc[("froc_1", "Nodule"), "value"] == 0
    assert rows.loc[("froc_8", "Nodule"), "floor"] == 1, "the median box is each image's box"
    every = [rows.loc[(f"froc_{rate:g}", "Mass"), "value"] for rate in RATES]
    assert rows.loc[("froc_mean", "Mass"), "value"] == pytest.approx(np.mean(every))


def test_the_mean_of_the_froc_is_over_seven_rates_from_an_eighth_to_eight() -> None:
    """Of two boxes one is found after 2 false positives in 8 images, at 1/4 an image, the other after 33, above 4."""
    drawn = [image_boxes(("Mass", 1, 0, 0, 100, 100))] * 2 + [image_boxes()] * 6
    false = [("Mass", 0.9 - at / 100, 500, 500, 600, 600) for at in range(33)]
    at_most = 0.9 - 1.5 / 100, 0.9 - 32.5 / 100  # just after the second, and just after the last
    found = [image_boxes(("Mass", certainty, 0, 0, 100, 100)) for certainty in at_most]
    found += [image_boxes(*false[at::6]) for at in range(6)]
    estimates = froc_estimates(curves(found, drawn, np.ones((1, 8), np.uint16)))
    rates = ("0.125", "0.25", "0.5", "1", "2", "4", "8")
    each = [estimates[f"froc_{rate}", "Mass"].value for rate in rates]
    assert each == pytest.approx([0, 0.5, 0.5, 0.5, 0.5, 0.5, 1])
    for name, label in (("froc_mean", "Mass"), ("froc_mean", "all"), ("froc_mean_any", "all")):
        assert estimates[name, label].value == pytest.approx(3.5 / 7), (name, label)


def test_boxes_at_random_places_keep_their_size_and_stay_in_the_frame() -> None:
    floors = fit_detection(split(["Mass 0 0 100 300", "Mass 0 0 300 500", "Nodule 10 10 60 60"]))
    drawn = np.array([floors.random_boxes(f"{at}.png", 0) for at in range(300)])
    assert (drawn == floors.random_boxes("7.png", 0)).all(axis=(1, 2)).sum() == 1, "its own for each image"
    sizes = {"Mass": [200, 400], "Nodule": [50, 50]}
    for place, label in enumerate(floors.boxes["label"]):
        np.testing.assert_allclose(drawn[:, place, 2:] - drawn[:, place, :2], [sizes[label]] * 300)
    assert drawn.min() >= 0 and drawn.max() <= 1024
    assert abs(drawn[..., 0].mean() - np.mean([(1024 - 50) / 2, (1024 - 200) / 2])) < 40
