from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.boxes import cell_targets, format_box_text, is_large
from cxr.data.box_list import read_box_table
from cxr.errors import InputError
from cxr.labels import LABELS, NO_FINDING, to_matrix
from cxr.metrics import box_floor_table
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.classification import classification_table
from cxr.metrics.constants import MEDIAN_BOXES, fit_classification
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.floors import (
    COVERING_ANY,
    COVERING_BOXES,
    CUT_MASK,
    LARGE_CUT,
    LARGE_MASK,
    MEAN_MASK,
    MOST_COVERING,
    WHOLE_IMAGE,
    fit_cut,
    fit_detection,
)
from cxr.metrics.guesses import guess_constant
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.metrics.pooling import Fold, Thresholds
from cxr.runtime.journal import Journal
from cxr.settings import DEFAULTS, Evaluation

BOOTSTRAP = {"samples": 100, "confidence": 0.95, "seed": 0}


def boxed(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"image": [f"{i}.png" for i in range(len(texts))], "patient": range(len(texts)), "boxes": texts}
    )


def test_constants_by_hand() -> None:
    floors = fit_classification(to_matrix([NO_FINDING, NO_FINDING, "Mass|Nodule", "Nodule", NO_FINDING]))
    present = dict(zip(LABELS, floors.prevalence, strict=True))
    assert {label: share for label, share in present.items() if share} == {"Mass": 0.2, "Nodule": 0.4, NO_FINDING: 0.6}
    assert floors.majority.tolist() == [0] * 14 + [1]
    assert floors.prior.sum() == pytest.approx(1)
    assert floors.prior[-1] == pytest.approx(0.5)
    assert LABELS[floors.first_label] == NO_FINDING
    assert floors.label_set_name == NO_FINDING
    with pytest.raises(InputError, match="holds no image"):
        fit_classification(np.empty((0, 15)))


def test_a_label_that_half_of_the_images_have_is_no_majority() -> None:
    floors = fit_classification(to_matrix(["Mass", "Mass|Nodule", "Nodule", NO_FINDING]))
    assert floors.prevalence[[LABELS.index("Mass"), LABELS.index("Nodule")]].tolist() == [0.5, 0.5]
    assert floors.majority.sum() == 0


def test_the_most_frequent_set_is_one_that_images_have() -> None:
    # Mass, Nodule and Edema have no majority each, so the majority of each label is a set that no image has
    floors = fit_classification(to_matrix(["Mass|Nodule", "Mass|Edema", "Nodule|Edema", "Hernia", "Hernia"]))
    assert floors.label_set_name == "Hernia"
    # and where a majority of labels is a set that images have, another may still be more frequent
    floors = fit_classification(to_matrix(["Mass", "Mass", "Mass|Nodule", "Nodule", "Nodule|Edema"]))
    assert floors.label_set_name == "Mass" and floors.majority.sum() == 2


def test_the_first_label_is_that_of_the_images_not_of_the_labels() -> None:
    # Mass is the first label of two, Edema of three; Nodule is the most frequent label, but never the first
    floors = fit_classification(
        to_matrix(["Mass|Nodule", "Mass|Nodule", "Edema", "Edema", "Edema", "Cardiomegaly|Nodule"])
    )
    assert LABELS[floors.first_label] == "Edema"


def test_no_constant_beats_the_fitted_ones() -> None:
    labels = to_matrix(["Mass", "Mass|Nodule", NO_FINDING, "Edema", "Mass", NO_FINDING, NO_FINDING, NO_FINDING])
    floors = fit_classification(labels)
    draw = np.random.default_rng(0)

    def binary(constant: np.ndarray) -> float:
        clipped = np.clip(constant, 1e-7, 1 - 1e-7)
        return -(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)).mean()

    def categorical(constant: np.ndarray) -> float:
        return -(labels * np.log(np.clip(constant, 1e-7, 1))).sum(axis=1).mean()

    for _ in range(50):
        other = np.clip(floors.prevalence + draw.normal(0, 0.1, 15), 0, 1)
        assert binary(other) >= binary(floors.prevalence)
        other = np.abs(floors.prior + draw.normal(0, 0.1, 15))
        assert categorical(other / other.sum()) >= categorical(floors.prior)


def test_maps_by_hand() -> None:
    # one cell in the first image, that and its neighbour in the second, nothing by half in the third
    floors = fit_detection(boxed(["Mass 0 0 64 64", "Nodule 0 0 128 64", "Mass 0 0 20 20;Mass 200 200 212 210"]))
    mean = floors.maps[MEAN_MASK]
    assert mean[0, :3].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert mean.sum() == pytest.approx(1)
    assert floors.maps[WHOLE_IMAGE].min() == 1
    # one cell: P = 2/3, R = (1 + 1/2)/2 = 3/4, F1 = 12/17; two: P = (1/2 + 1)/3 = 1/2, R = 1, F1 = 2/3
    assert floors.cut == pytest.approx(2 / 3)
    assert floors.maps[CUT_MASK].sum() == 1
    assert floors.boxes["label"].tolist() == ["Mass", "Nodule"]
    assert floors.boxes["confidence"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert floors.boxes.iloc[0, 2:].tolist() == [0, 0, 64, 64]
    with pytest.raises(InputError, match="no box that covers a cell"):
        fit_detection(boxed(["Mass 0 0 20 20", ""]))


def test_a_cell_covered_by_exactly_half_is_no_target() -> None:
    assert not cell_targets([[[0, 0, 32, 64]]]).any()
    assert cell_targets([[[0, 0, 33, 64]]]).sum() == 1


def cuts_with_f1(targets: np.ndarray, answerable: np.ndarray) -> dict[float, float]:
    """F1 of every cut of the mean mask: precision over all images, recall over the answerable; targets: (N, 16, 16)."""
    mean, flat = targets.mean(axis=0).ravel(), targets.reshape(len(targets), -1)
    found = {}
    for cut in np.unique(mean[mean > 0]):
        hits, named = (flat & (mean >= cut)).sum(axis=1), (mean >= cut).sum()
        precision, recall = (hits / named).mean(), (hits / np.maximum(flat.sum(axis=1), 1))[answerable].mean()
        found[float(cut)] = 2 * precision * recall / (precision + recall)
    return found


@pytest.mark.parametrize("empty", [0, 4, 12, 24])
def test_cut_is_the_best_of_all_cuts(empty: int) -> None:
    """With images without a cell, of which recall knows nothing; how many there are moves the best cut."""
    draw = np.random.default_rng(1)
    targets = draw.random((30, 16, 16)) < np.linspace(0, 0.9, 16) ** 3
    targets[:empty] = False
    f1 = cuts_with_f1(targets, np.arange(30) >= empty)
    assert len(f1) > 5
    best = max(f1.values())
    assert fit_cut(targets) == max(cut for cut, value in f1.items() if value == pytest.approx(best, rel=1e-12))


def test_recall_of_the_cut_is_over_the_images_that_have_a_cell() -> None:
    # a cell in both of two images, another in each alone; four more images have none. The shared cell: P = 2/6, R = 1/2,
    # F1 = 0.4; all three: P = 4/3 / 6, R = 1, F1 = 0.36. With recall over all six images: 0.22 and 0.27
    targets = np.zeros((6, 16, 16), dtype=bool)
    targets[:2, 0, 0], targets[0, 5, 5], targets[1, 9, 9] = True, True, True
    assert list(cuts_with_f1(targets, np.arange(6) < 2).values()) == pytest.approx([4 / 11, 2 / 5])
    assert list(cuts_with_f1(targets, np.ones(6, dtype=bool)).values()) == pytest.approx([4 / 15, 2 / 9])
    assert fit_cut(targets) == pytest.approx(2 / 6)


def test_of_equally_good_cuts_the_highest_is_taken() -> None:
    # x in both images, y in the first: x alone has P = 1 and R = 3/4, both cells P = 3/4 and R = 1
    targets = np.zeros((2, 16, 16), dtype=bool)
    targets[:, 0, 0], targets[0, 0, 1] = True, True
    assert list(cuts_with_f1(targets, np.ones(2, dtype=bool)).values()) == pytest.approx([6 / 7] * 2)
    assert fit_cut(targets) == 1


def test_the_training_boxes_that_cover_the_most_others_come_first() -> None:
    """Of four Mass boxes in a place and two elsewhere, one of each place is enough; a Nodule is its own."""
    near = [f"Mass {x} 0 {x + 100} 100" for x in (0, 10, 20, 30)]
    far = ["Mass 600 600 700 700", "Mass 610 600 710 700"]
    floors = fit_detection(boxed([*near, *far, "Nodule 300 300 500 500", ""]))
    mass = floors.covering[floors.covering["label"] == "Mass"]
    assert mass["confidence"].tolist() == [4 / 8, 2 / 8]
    assert mass["x0"].tolist() == [0, 600]  # the first of equals
    assert len(floors.covering) == 3 and floors.covering_any["label"].tolist() == ["Mass", "Mass", "Nodule"]
    many = fit_detection(boxed([f"Mass {x} {y} {x + 60} {y + 60}" for x in range(0, 900, 100) for y in (0, 500)]))
    assert len(many.covering) == len(many.covering_any) == MOST_COVERING


def test_the_masks_of_large_boxes_are_fitted_on_large_training_boxes_alone() -> None:
    floors = fit_detection(boxed(["Mass 0 0 512 512"] * 2 + ["Mass 512 0 1024 512", "Mass 600 600 900 1000"]))
    mean = floors.of_large("both")[LARGE_MASK]
    assert mean[0, 0] == pytest.approx(2 / 3) and mean[0, 8] == pytest.approx(1 / 3) and mean[12, 12] == 0
    assert floors.of_large("either")[LARGE_MASK][12, 12] == pytest.approx(1 / 4)  # standing, so large if turned
    assert set(floors.of_large("both")) == {WHOLE_IMAGE, MEAN_MASK, CUT_MASK, LARGE_MASK, LARGE_CUT}
    small = fit_detection(boxed(["Mass 0 0 200 200"]))
    assert (small.of_large("both")[LARGE_CUT] == small.maps[CUT_MASK]).all()


def test_design_numbers_of_classification(nih_sample: Path) -> None:
    table = pd.read_csv(
        nih_sample / "Data_Entry_2017_v2020.csv", usecols=["Image Index", "Finding Labels", "Patient ID"]
    )
    table.columns = ["image", "labels", "patient"]
    assert len(table) == 112_120
    floors = fit_classification(to_matrix(table["labels"]))
    whole = pd.DataFrame(np.tile(floors.prevalence, (len(table), 1)), columns=list(LABELS)).assign(image=table["image"])
    few = Resampling(samples=3, confidence=0.95, seed=0)
    constants = {CONSTANT: guess_constant(floors, len(table))}
    ladder = Ladder(tuple(table["image"]), constants, {CONSTANT: CONSTANT}, pd.DataFrame(columns=["metric", "label"]))
    sigmoid = classification_table("paper", "x", whole, table, ladder, activation="sigmoid", resampling=few)
    softmax = classification_table("paper", "x", whole, table, ladder, activation="softmax", resampling=few)

    def floor(scores: pd.DataFrame, metric: str) -> float:
        return scores.set_index(["metric", "label"]).loc[(metric, ""), "floor"]

    assert floor(sigmoid, "accuracy") == pytest.approx(0.921, abs=0.0005)
    assert floor(sigmoid, "loss") == pytest.approx(0.217, abs=0.0005)
    assert floor(softmax, "accuracy") == pytest.approx(0.538, abs=0.0005)
    assert floor(softmax, "loss") == pytest.approx(2.507, abs=0.0005)
    assert floors.prevalence[-1] == pytest.approx(0.538, abs=0.0005)


def test_the_floors_of_the_boxed_images_on_the_official_tables(nih_sample: Path, tmp_path: Path) -> None:
    """Five folds by patient: what no image moves reaches, so that a detector has to be better than that."""
    with Journal(tmp_path / "log", "floors") as tell:
        box_floor_table.write(
            labels=nih_sample / "Data_Entry_2017_v2020.csv", boxes=nih_sample / "BBox_List_2017.csv",
            protocols={"sound": DEFAULTS.sound.split}, settings=Evaluation(bootstrap=100), seed=0,
            table=tmp_path / "t.csv", text=tmp_path / "t.txt", tell=tell,
        )  # fmt: skip
    found = pd.read_csv(tmp_path / "t.csv").set_index(["metric", "label", "predictor"]).sort_index()
    assert set(found.loc["f1", "all"]["images"]) == {880} and found["folds"].unique().tolist() == [5]
    value = found["value"]
    assert value["f1", "all", WHOLE_IMAGE] == pytest.approx(0.146, abs=0.001)
    assert value["f1", "all", CUT_MASK] == pytest.approx(0.338, abs=0.005)
    assert value["f1", "all", f"{CUT_MASK}, of each view"] < value["f1", "all", CUT_MASK] + 0.005  # it does not help
    assert value["f1", "large_both", CUT_MASK] == pytest.approx(0.724, abs=0.01)
    assert value["f1", "large_both", LARGE_CUT] == pytest.approx(0.767, abs=0.01)
    assert value["froc_mean", "all", MEDIAN_BOXES] == pytest.approx(0.307, abs=0.01)
    assert value["froc_mean", "all", COVERING_BOXES] == pytest.approx(0.46, abs=0.015)
    assert value["froc_mean_any", "all", COVERING_ANY] == pytest.approx(0.57, abs=0.015)


@pytest.fixture(scope="module")
def real_boxes(nih_sample: Path) -> pd.DataFrame:
    boxes, rejected = read_box_table(nih_sample / "BBox_List_2017.csv", None)
    assert len(boxes) == 984
    assert rejected.empty
    texts = {
        image: format_box_text(rows[["label", "x0", "y0", "x1", "y1"]].itertuples(index=False, name=None))
        for image, rows in boxes.groupby("image")
    }
    return pd.DataFrame({"image": texts.keys(), "patient": [int(i[:8]) for i in texts], "boxes": texts.values()})


def test_design_counts_of_boxes(nih_sample: Path, real_boxes: pd.DataFrame) -> None:
    boxes, _ = read_box_table(nih_sample / "BBox_List_2017.csv", None)
    corners = boxes[["x0", "y0", "x1", "y1"]].to_numpy()
    assert len(real_boxes) == 880
    assert (~cell_targets([[box] for box in corners]).any(axis=(1, 2))).sum() == 46
    assert {sense: int(large.sum()) for sense, large in is_large(corners).items()} == {
        "both": 184,
        "either": 224,
        "area": 296,
    }


def floor_scores(test: pd.DataFrame, train: pd.DataFrame, floor: str) -> pd.Series:
    maps = np.tile(fit_detection(train).maps[floor], (len(test), 1, 1))
    cells = Cells(test["image"].to_numpy(), maps)
    table, _ = score_folds("paper", "x", [Fold(test, train, Thresholds(0.5), cells=cells)], **BOOTSTRAP)
    return table[table["label"] == "all"].set_index("metric")["value"]


def test_design_numbers_of_detection(real_boxes: pd.DataFrame) -> None:
    """The table of the design, within a point; it averages random splits of 764 and 116 images, as the paper has one."""
    whole = floor_scores(real_boxes, real_boxes, WHOLE_IMAGE)
    assert whole["f1"] == pytest.approx(0.146, abs=0.0005)
    assert whole["f1_weighted"] == pytest.approx(0.146, abs=0.0005)
    assert whole["f1_pixels"] == pytest.approx(0.149, abs=0.0005)
    assert whole["recall"] == 1
    mean, cut = [], []
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(880)
        test, train = real_boxes.iloc[order[764:]], real_boxes.iloc[order[:764]]
        mean.append(floor_scores(test, train, MEAN_MASK))
        cut.append(floor_scores(test, train, CUT_MASK)["f1"])
    mean = pd.concat(mean, axis=1).mean(axis=1)
    assert mean["precision_weighted"] == pytest.approx(0.183, abs=0.01)
    assert mean["recall_weighted"] == pytest.approx(0.182, abs=0.01)
    assert mean["f1_weighted"] == pytest.approx(0.182, abs=0.01)
    assert mean["mse"] == pytest.approx(0.065, abs=0.005)
    assert np.mean(cut) == pytest.approx(0.33, abs=0.01)
