"""The grid CNN's variants, from predictions made by hand: which cells, which floor, and intervals over draws and patients."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxr.metrics import variants
from cxr.metrics.bootstrap import Estimate, Resampling
from cxr.metrics.variants import COSINE, F1, FEWER, L1, MSE, Maps, over_draws
from cxr.settings import Evaluation
from cxr.settings import load as load_settings

QUICK = Resampling(samples=200, confidence=0.95, seed=0)
TARGETS = np.zeros((12, 16, 16))
TARGETS[:11, :2, :2] = 1  # four cells; the last image's box covers none
SHARES = np.where(TARGETS[0] > 0, 0.4, 0.1)  # of the training images that have a box there: nowhere more than half


def maps(inside, outside=0.1, shares=SHARES, images=(670,)):
    cells = np.where(TARGETS > 0, inside, outside)
    return Maps(cells, np.broadcast_to(shares, TARGETS.shape), images)


def compared(**more):
    trained = {
        MSE: [maps(0.6)] * 2,
        L1: [maps(0.2)] * 2,
        COSINE: [maps(0.6)] * 2,
        FEWER: [maps(0.5, images=(580,))] * 2,
    }
    each = variants.Compared(trained | more, TARGETS, np.arange(12), QUICK)
    return each.table().set_index(["subject", "measure"]).sort_index()


def test_confidence_is_that_of_the_cells_of_a_place_averaged_over_the_images_that_have_such_cells():
    cells = np.where(TARGETS > 0, 0.5, 0.0)
    cells[0, 0, :2] = 0.9, 0.7  # of the first image, beside 0.5 and 0.5
    one = Maps(cells, np.broadcast_to(SHARES, TARGETS.shape), (670,))
    found = compared(**{MSE: [one] * 2}).loc[MSE]
    assert found.loc["mean confidence inside", "value"] == pytest.approx((0.65 + 10 * 0.5) / 11)
    assert found.loc["median confidence inside", "value"] == pytest.approx((0.6 + 10 * 0.5) / 11)
    assert found.loc["90% quantile of the confidence inside", "value"] == pytest.approx((0.84 + 10 * 0.5) / 11)
    assert found.loc["mean confidence inside", ["images", "patients"]].tolist() == [11, 11]
    assert found.loc["mean confidence outside", ["value", "images"]].tolist() == [0, 12]


def test_each_loss_stands_beside_the_map_that_is_best_for_it_without_an_image():
    found = compared()
    inside = found.xs("mean confidence inside", level="measure")
    assert inside.loc[[MSE, L1, COSINE], "floor"].tolist() == [pytest.approx(0.4), 0, pytest.approx(0.4)]
    assert inside.loc[[MSE, L1], "floor_name"].tolist() == ["mean training mask", "median training mask"]
    change = inside.loc[f"{L1} - {MSE}"]
    assert change[["value", "floor", "difference"]].tolist() == pytest.approx([-0.4, -0.4, 0])
    assert change["p"] < 0.05 and change["p_floor"] > 0.5, "as much less confident as without an image"
    often = np.where(TARGETS[0] > 0, 0.6, 0.1)  # the median mask marks the cells that more than half have
    found = compared(**{L1: [maps(0.2, shares=often)] * 2})
    assert found.loc[(L1, "mean confidence inside"), "floor"] == 1


def test_draws_are_compared_in_pairs_and_sizes_with_the_masks_of_their_own_images():
    fewer = [maps(0.5, shares=SHARES / 2, images=(580,)), maps(0.4, shares=SHARES / 4, images=(580,))]
    row = compared(**{FEWER: fewer}).loc[(f"{MSE} - {FEWER}", F1)]
    scores = [variants.Compared({}, TARGETS, np.arange(12), QUICK).each(F1, [each.cells])[0].value for each in
              (maps(0.6), *fewer)]  # fmt: skip
    assert row["value"] == pytest.approx(scores[0] - (scores[1] + scores[2]) / 2)
    assert row["floor"] > 0 and row["note"] == "2 trainings each, on 670 and 580 images"
    assert compared().loc[(f"{MSE} - {COSINE}", F1), "floor_name"] == ""
    assert np.isnan(compared().loc[(f"{MSE} - {COSINE}", F1), "floor"])


def test_an_interval_over_draws_holds_their_spread_and_that_of_the_patients():
    draw = np.random.default_rng(0).normal(0, 0.03, 4000)
    alike = over_draws([Estimate(0.1, 0.1 + draw)] * 3, 1000, 0.95)
    assert (alike.mean, alike.high - alike.low) == (pytest.approx(0.1), pytest.approx(2 * 1.96 * 0.03, rel=0.05))
    apart = over_draws([Estimate(value, value + draw) for value in (0.05, 0.1, 0.15)], 1000, 0.95)
    error = np.sqrt(0.03**2 + 0.05**2 / 3)
    assert apart.mean == pytest.approx(0.1) and apart.high - apart.low > 2 * 1.96 * error
    assert alike.p < 0.01 < apart.p
    still = over_draws([Estimate(0.1, np.full(9, 0.1))] * 2, 1000, 0.95)
    assert (still.low, still.high, still.p) == (0.1, 0.1, 0)
    none = over_draws([Estimate(np.nan, draw), Estimate(0.1, draw)], 1000, 0.95)
    assert np.isnan([none.mean, none.low, none.p]).all()


def test_two_draws_have_few_degrees_of_freedom():
    none = np.zeros(50)
    two, many = (
        over_draws([Estimate(value, value + none) for value in [0.1, 0.2] * count], 1000, 0.95) for count in (1, 8)
    )
    assert two.low == pytest.approx(0.15 - 12.706 * 0.05, abs=1e-3) and many.low > 0.1


def written_split(path, images, box):
    table = pd.DataFrame({"image": images, "patient": range(len(images)), "labels": "Mass", "digest": "d"})
    table.assign(boxes=box).to_csv(path, index=False)
    return path


def test_the_table_is_written_from_the_jobs_own_files(tmp_path):
    box, images = "Mass 0.000 0.000 128.000 128.000", [f"{n:08d}_000.png" for n in range(12)]
    train, fewer, test = (
        written_split(tmp_path / f"{name}.csv", images[:count], box)
        for name, count in (("train", 10), ("fewer", 7), ("test", 12))
    )
    for variant in (MSE, L1, COSINE, FEWER):
        confidence = np.full((12, 16, 16), 0.2 if variant == L1 else 0.6, np.float32)
        np.savez(tmp_path / f"{variant}.npz", images=np.array(images[::-1]), confidence=confidence)
    job = SimpleNamespace(
        input=SimpleNamespace(
            predictions=[f"{tmp_path}/{variant}.npz" for variant in (MSE, L1, COSINE, FEWER) for _ in range(2)],
            fewer=[str(fewer)] * 2, train=[str(train)], test=[str(test)],
        ),
        params=SimpleNamespace(draws=[1, 2], variants=(MSE, L1, COSINE, FEWER)),
    )  # fmt: skip
    variants.write(
        trainings=variants.Training.of(job), settings=Evaluation(bootstrap=100), seed=0, table=tmp_path / "table.csv",
        tell=lambda text: None,
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "table.csv").set_index(["subject", "measure"])
    assert list(pd.read_csv(tmp_path / "table.csv").columns) == variants.VARIANT_COLUMNS
    assert found.loc[(f"{L1} - {MSE}", "mean confidence outside"), "value"] == pytest.approx(-0.4)
    assert found.loc[(f"{MSE} - {FEWER}", F1), "note"] == "2 trainings each, on 10 and 7 images"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"paper": {"gridcnn": {"variants": {"draws": 1}}}}, "one training tells nothing of the spread"),
        ({"sound": {"gridcnn": {"variants": {"draws": 2}}}}, "variants need head dense or convolution"),
        ({"sound": {"gridcnn": {"head": "dense", "loss": "mse", "decisive": False, "test_time_flip": False,
                                "variants": {"draws": 2}}}}, "the ledger compares under the protocol paper alone"),
    ],
)  # fmt: skip
def test_a_comparison_that_cannot_be_made_is_refused(given, words):
    with pytest.raises(Exception, match=words):
        load_settings(given)
