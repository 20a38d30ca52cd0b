"""Groups of a detector's test images: which images count, beside which floor, and which groups are too small."""

import numpy as np
import pandas as pd
import pytest

from cxr.errors import InputError
from cxr.metrics import subgroups
from cxr.metrics.detection import score_folds
from cxr.metrics.detections import Cells
from cxr.metrics.detector_validity import detector_table
from cxr.metrics.floors import CUT_MASK
from cxr.metrics.pooling import Fold, Thresholds

BOOTSTRAP = {"samples": 80, "confidence": 0.9, "seed": 0}
HERE, ELSEWHERE = "Mass 0 0 128 128", "Mass 512 512 640 640"  # four cells each
COUNT = 40


def study() -> tuple[list[Fold], pd.DataFrame]:
    """Two folds of 40 images of 20 patients each. The detector finds the boxes of women; of men it marks the wrong cells."""
    draw, folds, metadata = np.random.default_rng(0), [], []
    for number in range(2):
        first = number * COUNT
        names = [f"{first + at:08d}_000.png" for at in range(COUNT)]
        patients = (first + np.arange(COUNT)) // 2
        female = patients % 2 == 1
        truth = pd.DataFrame({"image": names, "patient": patients, "boxes": np.where(female, HERE, ELSEWHERE)})
        confidence = np.zeros((COUNT, 16, 16))
        confidence[:, :2, :2] = np.where(female, 0.9, 0.8)[:, None, None]
        confidence[:, 15, 15] = 0.9 * (draw.random(COUNT) < 0.5)
        train = pd.DataFrame({"image": ["t0", "t1", "t2"], "patient": [-1, -2, -3], "boxes": [HERE, HERE, ELSEWHERE]})
        cells = Cells(np.array(names), confidence, {}, None)
        folds.append(Fold(truth, train, Thresholds(0.5), None, cells))
        known = truth[["image", "patient"]].assign(follow_up=0.0, age=50.0, sex=np.where(female, "F", "M"))
        metadata.append(known.assign(view=np.where(patients < 8, "AP", "PA")))
    return folds, pd.concat(metadata, ignore_index=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return detector_table("sound", "gridcnn", *study(), **BOOTSTRAP)


def one(table: pd.DataFrame, comparison: str, group: str) -> pd.Series:
    (row,) = table[(table["comparison"] == comparison) & (table["group"] == group)].to_dict("records")
    return pd.Series(row)


def test_a_group_is_scored_on_its_own_images_by_the_f1_of_the_metric_table(table):
    folds, metadata = study()
    whole = score_folds("sound", "gridcnn", folds, **BOOTSTRAP)[0].set_index(["metric", "label"]).loc[("f1", "all")]
    everyone = detector_table("sound", "gridcnn", folds, metadata.assign(view="PA"), **BOOTSTRAP)
    for column in ("value", "low", "high", "floor", "floor_name", "difference_low"):
        assert one(everyone, "view", "PA")[column] == pytest.approx(whole[column], nan_ok=True) or (
            one(everyone, "view", "PA")[column] == whole[column]
        )
    assert one(table, "sex", "F")["value"] > 0.85 and one(table, "sex", "M")["value"] == 0
    assert (one(table, "sex", "F")["images"], one(table, "sex", "F")["patients"]) == (40, 20)


def test_each_group_stands_beside_the_best_map_of_its_own_images(table):
    women, men = one(table, "sex", "F"), one(table, "sex", "M")
    assert women["floor"] == 1 and women["floor_name"] == CUT_MASK
    assert men["floor"] < 0.34 and men["floor_name"] != women["floor_name"]


def test_the_gap_is_the_largest_minus_the_smallest_on_the_same_draws(table):
    gap, women, men = (one(table, "sex", name) for name in ("gap", "F", "M"))
    assert gap["value"] == pytest.approx(women["value"] - men["value"]) and gap["note"] == "F minus M"
    assert gap["floor"] == pytest.approx(women["floor"] - men["floor"])
    assert gap["floor_name"] == f"{women['floor_name']} minus {men['floor_name']}"
    assert (gap["low"], gap["high"]) == (women["low"], women["high"]), "men have 0 in every resample"


def test_groups_of_fewer_than_ten_patients_have_their_sizes_and_no_number(table):
    few = one(table, "view", "AP")
    assert few["patients"] == 8 and np.isnan([few["value"], few["floor"], few["low"]]).all()
    assert few["note"] == "not compared: fewer than 10 patients"
    assert table[(table["comparison"] == "view") & (table["group"] == "gap")].empty, "one group is left"
    assert one(table, "age", "under 40")["images"] == 0


def test_metadata_of_other_images_are_refused_and_unknown_ones_are_not_compared():
    folds, metadata = study()
    with pytest.raises(InputError, match="the metadata are of other images"):
        detector_table("sound", "x", folds, metadata[::-1], **BOOTSTRAP)
    unknown = one(detector_table("sound", "x", folds, metadata.assign(sex=""), **BOOTSTRAP), "sex", subgroups.UNKNOWN)
    assert unknown["images"] == 80 and np.isnan(unknown["value"]) and "does not say" in unknown["note"]
