"""The ledger: every claim has a row, from the run's own numbers under the protocol paper."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxr.labels import BOXED_FINDINGS
from cxr.metrics.chance import ACCURACIES, CHANCE_COLUMNS
from cxr.metrics.claims import CLAIM_COLUMNS
from cxr.metrics.table import METRIC_COLUMNS
from cxr.report import inputs as report_inputs
from cxr.report import ledger, rulings
from cxr.report.sections import ledger as section
from cxr.settings import DEFAULTS

PAIR = "transfer_c2_s500"
SUMMARY = {
    "table_rows": 726, "table_patients": 260, "usable_images": 720, "usable_patients": 258, "listed_boxed_images": 260,
    "labels": {"No Finding": 400}, "box_labels": dict.fromkeys(BOXED_FINDINGS, 36),
}  # fmt: skip


def metric(experiment, name, label, value, floor, **more):
    """A metric row of 60 patients, told from its floor."""
    ends = {"low": value - 0.02, "high": value + 0.02, "floor_low": floor - 0.02, "floor_high": floor + 0.02}
    return dict.fromkeys(METRIC_COLUMNS, "") | ends | {
        "protocol": "paper", "experiment": experiment, "metric": name, "label": label, "value": value, "floor": floor,
        "floor_name": "a constant", "difference_low": 0.01, "difference_high": 0.03, "higher_is_better": 1, "support": 80,
        "patients": 60, "verdict": "better", **more,
    }  # fmt: skip


def study(**more):
    settings = DEFAULTS.model_dump()
    settings["data"]["source"], settings["source"]["kind"] = "phantoms", "textures"
    grid = pd.DataFrame(
        {"layers": [1, 2, 3] * 2, "size": [100] * 3 + [500] * 3, "auroc": [0.5, 0.5, 0.6, 0.5, 0.5, 0.7]}
    )
    grid = grid.assign(validation_images=50, validation_patients=48)
    rows = [
        metric("baseline_softmax", "accuracy", "", 0.54, 0.45),
        metric("baseline_sigmoid", "accuracy", "", 0.92, 0.921),
        metric("yolo_finetuned", "images_with_prediction", "all", 0.6, np.nan),
        metric("gridcnn", "recall", "all", 0.3, 0.4),
    ]
    empty = pd.DataFrame()
    given = {
        "settings": settings, "summary": SUMMARY, "rejected": empty, "leakage": empty, "metrics": pd.DataFrame(rows),
        "grids": {"paper": grid}, "selected": {"paper": [(2, 500)]}, "histories": {}, "facts": {},
        "skipped": {("paper", "yolov2_off_the_shelf"): "no weights"}, "froc": empty, "sheets": {}, "failures": {}, "maps": {},
    }  # fmt: skip
    return report_inputs.ReportInputs(**given | more)


def claimed(subject, measure, value, low, high, **more):
    return dict.fromkeys(CLAIM_COLUMNS, np.nan) | {
        "subject": subject, "measure": measure, "value": value, "low": low, "high": high, "floor_name": "", "p": 0.001,
        "p_floor": 0.001, "images": 80, "patients": 60, **more,
    }  # fmt: skip


def chance(best, p):
    """A table of chance in which the best pair leads by `best`: in accuracy over 15 labels beyond chance, else within."""
    highs = dict(zip(ACCURACIES, (0.018, 0.095, 0.095), strict=True))
    rows = [
        {
            "scope": scope, "metric": metric, "pairs": 12, "best": best, "layers": 2, "size": 500, "chance": high * scale / 2,
            "high": high * scale, "highest": high, "p": p, "draws": 1000, "validation_images": 50, "validation_patients": 48,
        }
        for scope, scale in (("grid", 5), ("5000", 1))
        for metric, high in highs.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=CHANCE_COLUMNS)


@pytest.fixture(scope="module")
def inputs():
    rows = [
        claimed("sigmoid - softmax", "accuracy as printed", 0.38, 0.35, 0.41, floor=0.383, floor_low=0.35, floor_high=0.42,
                difference_low=-0.01, difference_high=0.01, p_floor=0.8),
        claimed("sigmoid - softmax", "binary accuracy", 0.02, 0.01, 0.03),
        claimed(f"{PAIR} - majority", "binary accuracy", 0.001, -0.002, 0.004),
        claimed(PAIR, "No Finding found", 1, 1, 1, floor=1),
        claimed(PAIR, "findings found", 0.2, 0.1, 0.3, floor=0),
        claimed("gridcnn", "f1_weighted, large_both - all", 0.06, 0.04, 0.08, floor=0.12, floor_low=0.1, floor_high=0.14,
                difference_low=-0.1, difference_high=-0.02),
        claimed(f"baseline_sigmoid - {PAIR}", "AUROC", 0.1, 0.05, 0.15, floor=0.01, floor_low=0, floor_high=0.02,
                difference_low=0.03, difference_high=0.14),
    ]  # fmt: skip
    return study(claims=pd.DataFrame(rows, columns=CLAIM_COLUMNS), chances={"paper": chance(0.03, 0.002)})


@pytest.fixture(scope="module")
def table(inputs):
    return ledger.table(inputs)


def of(table, words, measured=""):
    found = table[
        table["claim"].str.contains(words, regex=False) & table["measured"].str.contains(measured, regex=False)
    ]
    assert len(found) == 1, found[["claim", "measured"]]
    return found.iloc[0]


def test_every_row_has_a_verdict_and_a_reason_and_no_claim_stands_twice(table):
    verdicts = {rulings.REPRODUCED, rulings.EXPLAINED, rulings.NOT_REPRODUCED, rulings.UNCHECKED}
    assert set(table["verdict"]) == verdicts and table["why"].str.len().min() > 0
    assert not table.duplicated(["claim", "measured"]).any()
    assert list(table.columns) == ledger.LEDGER_COLUMNS


def test_the_claims_that_must_be_there_are_there(table):
    words = (
        "110K",
        "30K",
        "893",
        "881",
        "2.43",
        "55%",
        "0.24",
        "92%",
        "6.59%",
        "(2, 5000)",
        "within 0.01",
        "100% of the",
    )
    more = "all other", "outperformed", "15%", "24 out of 129", "100%", "17.27%", "21.32%", "19.09%", "25.42%", "24.04%"
    rest = "24.71%", "by 5%", "0.24 to 0.06", "early", "only 90 more", "L1 loss", "cosine", "disappear"
    for each in (*words, *more, *rest):
        assert table["claim"].str.contains(each, regex=False).any(), each


def test_two_accuracies_are_two_quantities(table):
    assert of(table, "switched", "accuracy as printed")["verdict"] == rulings.EXPLAINED
    assert of(table, "switched", "binary accuracy of both")["verdict"] == rulings.REPRODUCED
    assert of(table, "switched", "categorical accuracy of both")["why"] == "The run has no such number."


def test_the_chosen_pairs_are_judged_by_their_rank(table):
    best = of(table, "within 0.01", "best pair, long run, binary accuracy")
    assert (best["verdict"], best["images"], best["patients"]) == (rulings.REPRODUCED, 80, 60)
    assert of(table, "100% of the no_finding", "best pair")["verdict"] == rulings.REPRODUCED
    assert of(table, "all other labels", "best pair")["verdict"] == rulings.NOT_REPRODUCED
    assert of(table, "within 0.01", "second pair, long run, binary accuracy")["verdict"] == rulings.UNCHECKED
    assert of(table, "dramatically", "AUROC")["verdict"] == rulings.REPRODUCED


def test_a_gain_on_large_boxes_that_the_mean_mask_has_too_is_explained_by_it(table):
    row = of(table, "by 5%", "(w > 384 and h > 256)")
    assert row["verdict"] == rulings.EXPLAINED and "+0.120" in row["why"] and "within our interval" in row["why"]


def test_the_papers_lead_stands_beside_chance_at_its_own_size_in_three_readings(table, inputs):
    over_15, first, none = (
        of(table, "6.59%", f"s = 5,000 on its validation images, accuracy {name}")
        for name in ("over 15 labels", "of the highest output", "of “No Finding”")
    )
    assert [row["verdict"] for row in (over_15, first, none)] == [
        rulings.NOT_REPRODUCED, rulings.EXPLAINED, rulings.EXPLAINED
    ]  # fmt: skip
    assert (over_15["value"], over_15["floor_high"], over_15["patients"]) == (0.03, 0.018, 48)
    assert (
        of(table, "6.59%", "s = 3,000 on its validation images, accuracy over")["why"]
        == "The grid has no size s = 3,000."
    )
    assert ledger.unexplained(inputs) == (
        "What the paper's leads have beyond 97.5% of the simulations: of 6.59% at s = 5,000, 4.8 points in accuracy over 15 "
        "labels, 0.0 points in accuracy of the highest output, 0.0 points in accuracy of “No Finding”."
    )
    assert [(each["scope"], each["paper"]) for each in ledger.leads(inputs)[::3]] == [
        ("whole grid", None),
        ("s = 5,000", 0.0659),
    ]
    assert ledger.unexplained(replace(inputs, chances={})) == ""


def test_pairs_that_the_grid_does_not_hold_are_not_judged_and_within_chance_any_pair_is_chances(inputs):
    assert "does not hold both" in of(ledger.table(inputs), "(2, 5000)")["why"]
    grid = inputs.grids["paper"].copy()
    grid.loc[:1, ["layers", "size"]] = [(2, 5000), (19, 3000)]
    for best, p, chosen, expected in (
        (0.03, 0.002, [(2, 5000), (19, 3000)], rulings.REPRODUCED),
        (0.03, 0.002, [(1, 100), (19, 3000)], rulings.NOT_REPRODUCED),
        (0.03, 0.2, [(1, 100), (19, 3000)], rulings.EXPLAINED),
    ):
        changed = replace(inputs, grids={"paper": grid}, selected={"paper": chosen}, chances={"paper": chance(best, p)})
        row = of(ledger.table(changed), "(2, 5000)")
        assert row["verdict"] == expected
        assert row["note"].startswith(f"c = {chosen[0][0]},".replace(" = ", "\u00a0=\u00a0"))


def test_numbers_of_the_metric_tables_are_judged_and_what_did_not_run_says_why(table):
    assert of(table, "55%")["verdict"] == rulings.REPRODUCED
    assert of(table, "92%")["verdict"] == rulings.EXPLAINED
    assert of(table, "24 out of 129")["verdict"] == rulings.NOT_REPRODUCED
    assert of(table, "100%", "recall")[["floor", "floor_name", "verdict"]].tolist() == [
        1,
        "whole image",
        rulings.EXPLAINED,
    ]
    assert of(table, "15%")["why"] == "YOLOv2 off the shelf did not run: no weights."


def test_where_another_yolo_stands_in_for_yolov2_the_row_says_so(inputs, table):
    row = of(table, "24 out of 129")
    assert (row["value"], row["note"]) == (0.6, ledger.OTHER_YOLO)
    assert "paper.yolov2.enabled" in row["conditions"] and "paper.yolov2.pretrained" in row["conditions"]
    own = pd.concat(
        [inputs.metrics, pd.DataFrame([metric("yolov2_finetuned", "images_with_prediction", "all", 0.2, np.nan)])]
    )
    row = of(ledger.table(replace(inputs, metrics=own)), "24 out of 129")
    assert row["value"] == 0.2 and row["note"] == ""
    assert of(table, "only 90 more", "9 points")["why"] == "This configuration does not run it."
    depth = of(table, "early")
    assert depth[["value", "low", "high", "images", "verdict"]].tolist() == [
        pytest.approx(0.15), pytest.approx(0.1), pytest.approx(0.2), 50, rulings.UNCHECKED
    ]  # fmt: skip


def test_variants_of_the_grid_cnn_are_judged_where_the_configuration_runs_them(inputs):
    rows = [
        claimed("mse_all - mse_fewer", "f1_weighted", 0.02, -0.01, 0.05, floor=0.001, floor_low=0, floor_high=0.002,
                difference_low=-0.011, difference_high=0.049, p=0.2, note="5 trainings each, on 670 and 580 images"),
        claimed("l1_all - mse_all", "mean confidence inside", -0.3, -0.4, -0.2, floor=-0.25, floor_low=-0.3, floor_high=-0.2,
                difference_low=-0.1, difference_high=0.01, p_floor=0.1),
        claimed("l1_all - mse_all", "mean confidence outside", -0.05, -0.06, -0.04, floor=-0.01, floor_low=-0.02,
                floor_high=0, difference_low=-0.05, difference_high=-0.03),
        claimed("mse_all - cosine_all", "f1_weighted", 0.05, 0.02, 0.08),
    ]  # fmt: skip
    unset = replace(
        inputs, claims=pd.concat([inputs.claims, pd.DataFrame(rows)], ignore_index=True).fillna({"note": ""})
    )
    settings = DEFAULTS.model_dump()
    settings["paper"]["gridcnn"]["variants"]["draws"] = 5
    table = ledger.table(replace(unset, settings=settings, summary=SUMMARY))
    for measured, expected in (("9 points", rulings.NOT_REPRODUCED), ("9% of 17.5%", rulings.UNCHECKED)):
        row = of(table, "only 90 more", measured)
        assert (row["verdict"], row["note"]) == (expected, "5 trainings each, on 670 and 580 images"), measured
    assert of(table, "only 90 more", "9% of 17.5%")["paper"] == "+0.016"
    assert of(table, "L1 loss tends", "mean confidence inside")["verdict"] == rulings.EXPLAINED
    assert of(table, "L1 loss tends", "mean confidence outside")["verdict"] == rulings.REPRODUCED
    assert of(table, "cosine_proximity", "minus cosine")["verdict"] == rulings.REPRODUCED
    assert of(table, "cosine_proximity", "minus L1")["why"] == "The run has no such number."
    assert (ledger.table(unset)["why"] == ledger.NOT_RUN).sum() == 8, "without draws"


def followed(shares):
    return pd.DataFrame({"epoch": range(1, len(shares) + 1), ledger.SHOWN: shares})


def test_the_course_of_the_predictions_is_read_from_the_history(inputs):
    shares = np.zeros(40)
    shares[[1, 9, 20, 39]] = 0.5, 0.9, 0.2, 0.3
    facts = {"validation": {"images": 80, "patients": 70}}

    def row(name, shares):
        job = ("paper", name, "0")
        return of(ledger.table(replace(inputs, histories={job: followed(shares)}, facts={job: facts})), "20 epochs")

    found = row("yolov2_finetuned", shares)
    assert found[["value", "images", "patients", "verdict"]].tolist() == [0, 80, 70, rulings.REPRODUCED]
    assert found["note"] == "40 in the first 5 epochs, 0 after epoch 20, 24 after epoch 40" and found["high"] > 0.04
    assert row("yolo_finetuned", shares)["note"].startswith(f"{ledger.OTHER_YOLO}; 40 in the first")
    assert row("yolov2_finetuned", shares[:20])["why"].startswith(
        "The training has 20 epochs; the claim is about epoch 20"
    )
    assert row("yolov2_finetuned", shares[::-1])["verdict"] == rulings.NOT_REPRODUCED
    assert of(ledger.table(inputs), "20 epochs")["why"] == "The run has no such number."


def test_phantoms_say_nothing_of_the_tables_and_the_release_does(inputs, table):
    assert (table[table["experiment"] == "data"]["verdict"] == rulings.UNCHECKED).all()
    release = {"table_rows": 112_120, "table_patients": 30_805, "listed_boxed_images": 880, "usable_images": 112_120}
    labels = inputs.summary["labels"] | {"No Finding": 60_361}
    settings = inputs.settings | {"data": inputs.settings["data"] | {"source": "nih"}}
    real = ledger.table(replace(inputs, settings=settings, summary=inputs.summary | release | {"labels": labels}))
    for words, expected in (
        ("110K", rulings.REPRODUCED), ("30K", rulings.REPRODUCED), ("893", rulings.NOT_REPRODUCED),
        ("881", rulings.NOT_REPRODUCED), ("8 labels", rulings.REPRODUCED), ("majority of the data", rulings.REPRODUCED),
    ):  # fmt: skip
        assert of(real, words)["verdict"] == expected, words


def test_settings_that_are_not_the_papers_are_named_where_they_count(inputs, table):
    assert of(table, "55%")["conditions"] == "data.source"
    assert (
        of(table, "6.59%", "s = 5,000 on its validation images, accuracy over 15")["conditions"]
        == "data.source; source.kind"
    )
    settings = DEFAULTS.model_dump()
    assert (
        ledger.conditions(replace(inputs, settings=settings, summary=inputs.summary | {"table_rows": 720}), "transfer")
        == []
    )
    settings["paper"]["gridcnn"]["training"]["epochs"] = 2
    few = replace(inputs, settings=settings, summary=inputs.summary | {"table_rows": 112_120})
    assert ledger.conditions(few, "gridcnn") == ["720 of 112,120 images", "paper.gridcnn.training.epochs"]
    assert ledger.conditions(few, "transfer") == ["720 of 112,120 images"]


def test_without_the_protocol_paper_nothing_is_checked(inputs):
    settings = inputs.settings | {"protocols": ["sound"]}
    found = ledger.table(replace(inputs, settings=settings, claims=None))
    assert (found["verdict"] == rulings.UNCHECKED).all()
    assert set(found[found["experiment"] != "data"]["why"]) >= {"The protocol paper did not run."}


def test_counts_have_no_decimals():
    assert [section._number(value) for value in (880.0, 1.0, 0.5, np.nan)] == ["880", "1.000", "0.500", ""]
