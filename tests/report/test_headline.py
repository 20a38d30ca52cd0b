"""The report's headline: which number of which experiment stands where, what is said of it, and what is counted."""

import math

import pandas as pd
import pytest

from cxr.experiments import EXPERIMENTS
from cxr.metrics import judging
from cxr.metrics.names import judged
from cxr.report import headline, render
from cxr.report import inputs as report_inputs
from cxr.report import rows as report_rows
from cxr.report.sections import data
from cxr.settings import DEFAULTS

PROTOCOLS = ("paper", "sound")
SELECTED = {"paper": [(7, 300), (2, 500)], "sound": [(1, 100)]}  # best first, which is no order of names or numbers


def row(protocol, experiment, metric, label, value, floor=0.5, gap=(0.01, 0.03), higher=1, p_holm=0.001, patients=60):
    """A metric row; gap: the interval of the difference. All numbers differ, so that none can stand in another's place."""
    ends = {"low": value - 0.01, "high": value + 0.02, "floor_low": floor - 0.03, "floor_high": floor + 0.04}
    difference = {"difference": sum(gap) / 2, "difference_low": gap[0], "difference_high": gap[1]}
    names = {
        "protocol": protocol,
        "experiment": experiment,
        "metric": metric,
        "label": label,
        "floor_name": "a constant",
    }
    found = names | {"value": value, "floor": floor} | ends | difference | {
        "higher_is_better": higher, "support": 70, "patients": patients, "p": p_holm / 2, "p_holm": p_holm, "note": "",
        "constant": floor, "metadata": math.nan, "history": math.nan,
    }  # fmt: skip
    return found | {"verdict": judging.verdict(found | {"judged": judged(metric, label)}, 0.95)}


ROWS = [
    row("paper", "baseline_softmax", "accuracy", "findings", 0.21, p_holm=0.2),  # indistinguishable, by its p-value
    row("paper", "baseline_sigmoid", "loss", "", 0.33, higher=0, gap=(0.01, 0.03)),  # not judged: with No Finding
    row("paper", "baseline_sigmoid", "loss", "mean14", 0.31, higher=0, gap=(0.01, 0.03)),  # worse
    row("paper", "baseline_sigmoid", "accuracy", "", 0.92, floor=0.9),  # not judged: with No Finding
    row("paper", "baseline_sigmoid", "accuracy", "mean14", 0.91, floor=0.9, gap=(-0.01, 0.03)),  # indistinguishable
    row("paper", "baseline_sigmoid", "auroc", "mean14", 0.61),  # better
    row("paper", "transfer_c7_s300", "accuracy", "mean14", 0.73),  # better
    row("paper", "transfer_c2_s500", "accuracy", "mean14", 0.22, gap=(-0.03, -0.01)),  # worse
    row("paper", "transfer_c7_s300", "label_sensitivity", "No Finding", 0.95),  # not judged
    row("sound", "baseline_sigmoid", "auroc", "mean14", 0.64, patients=9),  # too few patients
    row("sound", "transfer_c1_s100", "accuracy", "mean14", 0.11, gap=(math.nan, math.nan)),  # undefined
    row("paper", "gridcnn", "f1_weighted", "all", 0.25, gap=(-0.3, -0.2)),  # worse
    row("paper", "gridcnn", "f1_weighted", "large_both", 0.35),  # better
    row("sound", "gridcnn", "f1_weighted", "all", 0.45),  # better
    row("sound", "yolo_finetuned", "images_with_prediction", "all", 0.4, floor=math.nan, gap=(math.nan, math.nan)),
    row("sound", "baseline_sigmoid", "auroc", "mean15", 0.99),  # no headline number
]
COUNTS = ("table_rows", "table_patients", "usable_patients", "listed_boxed_images")
SHARED = [  # protocol, split, role_a, role_b, patients_shared, patients_a, patients_b
    ("paper", "100", "train", "validation", 50, 90, 60),
    ("paper", "100", "train", "test", 4, 90, 10),
    ("paper", "500", "train", "test", 9, 300, 45),
    ("paper", "500", "validation", "test", 30, 50, 45),
    ("paper", "boxes_fold0", "train", "test", 0, 70, 20),
    ("sound", "100", "train", "validation", 3, 80, 10),
    ("sound", "100", "train", "test", 0, 80, 20),
]


def make_inputs(**more):
    columns = ["protocol", "split", "role_a", "role_b", "patients_shared", "patients_a", "patients_b"]
    given = {
        "settings": DEFAULTS.model_dump(), "summary": {}, "rejected": pd.DataFrame(), "metrics": pd.DataFrame(ROWS),
        "leakage": pd.DataFrame(SHARED, columns=columns).assign(images_shared=0), "grids": {}, "selected": SELECTED,
        "histories": {}, "facts": {}, "skipped": {("sound", "yolo_off_the_shelf"): "no weights"}, "sheets": {},
        "failures": {}, "maps": {}, "froc": pd.DataFrame(columns=["protocol", "experiment"]),
    }  # fmt: skip
    return report_inputs.ReportInputs(**given | more)


@pytest.fixture(scope="module")
def inputs():
    return make_inputs()


@pytest.fixture(scope="module")
def table(inputs):
    return headline.table(inputs)


def test_every_measured_number_stands_in_its_row_with_its_floor_and_both_intervals(table):
    shown = table.set_index(["protocol", "experiment", "metric", "label"])
    names = ["value", "low", "high", "floor", "floor_low", "floor_high", "support", "patients", "p_holm"]
    for expected in ROWS[:-1]:
        found = shown.loc[tuple(expected[name] for name in ("protocol", "experiment", "metric", "label"))]
        assert found[names].tolist() == pytest.approx([expected[name] for name in names], nan_ok=True)
        assert found["floor_name"] == "a constant"
    assert ("sound", "baseline_sigmoid", "auroc", "mean15") not in shown.index
    assert table["value"].notna().sum() == len(ROWS) - 1, "and no other number stands there"


def test_the_verdict_is_that_of_the_difference_and_only_of_what_is_judged(table):
    shown = table.set_index(["protocol", "experiment", "metric", "label"])["verdict"]
    assert [shown["paper", "baseline_sigmoid", metric, label] for metric, label in (
        ("loss", "mean14"), ("accuracy", "mean14"), ("auroc", "mean14"), ("loss", ""), ("accuracy", "")
    )] == ["worse", "indistinguishable", "better", "descriptive", "descriptive"]  # fmt: skip
    assert shown["paper", "baseline_softmax", "accuracy", "findings"] == "indistinguishable"
    assert shown["paper", "transfer_c2_s500", "accuracy", "mean14"] == "worse"
    assert shown["sound", "baseline_sigmoid", "auroc", "mean14"] == "too_few"
    assert shown["paper", "transfer_c7_s300", "label_sensitivity", "No Finding"] == "descriptive"
    assert shown["sound", "transfer_c1_s100", "accuracy", "mean14"] == "undefined"
    assert shown["sound", "gridcnn", "mse", "all"] == "not measured"
    assert shown["sound", "yolo_finetuned", "images_with_prediction", "all"] == "descriptive"


def test_the_pairs_stand_in_the_order_of_their_choice(inputs, table):
    accuracies = table[(table["metric"] == "accuracy") & table["experiment"].str.startswith("transfer")]
    accuracies = accuracies[accuracies["label"] == "mean14"]
    assert accuracies[["protocol", "experiment"]].to_numpy().tolist() == [
        ["paper", "transfer_c7_s300"], ["sound", "transfer_c1_s100"], ["paper", "transfer_c2_s500"], ["sound", "transfer"]
    ]  # fmt: skip
    assert inputs.experiment_of("paper", "transfer", 1) == "transfer_c2_s500"
    assert inputs.experiment_of("sound", "transfer", 1) is None and inputs.most_pairs == 2
    assert [name for _, name in inputs.experiments_of("transfer")] == [
        "transfer_c7_s300", "transfer_c2_s500", "transfer_c1_s100"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "rank", "metric", "label", "printed"),
    [
        ("baseline_sigmoid", 0, "loss", "", "0.24"),
        ("baseline_sigmoid", 0, "accuracy", "", "0.92"),
        ("gridcnn", 0, "f1_weighted", "all", "0.1909"),
        ("gridcnn", 0, "f1_weighted", "large_both", "0.2471"),
        ("gridcnn", 0, "f1_weighted", "large_area", "0.2471"),
        ("transfer", 0, "validation_gain", "", "0.0659"),
        ("transfer", 1, "validation_gain", "", "0.0633"),
        ("transfer", 1, "accuracy", "", "majority classifier ± 0.01"),
    ],
)
def test_the_papers_number_is_of_the_same_metric_label_and_rank(inputs, family, rank, metric, label, printed):
    assert report_rows.in_paper(report_rows.make_row(inputs, family, rank, metric, label))["value"] == printed


def test_where_the_paper_prints_nothing_nothing_stands_beside_ours(inputs):
    for family, rank, metric, label in (
        ("baseline_sigmoid", 0, "auroc", ""),
        ("baseline_sigmoid", 0, "accuracy", "mean14"),
        ("transfer", 0, "accuracy", "mean14"),
        ("transfer", 2, "accuracy", ""),
        ("gridcnn", 0, "map50", ""),
    ):
        assert report_rows.in_paper(report_rows.make_row(inputs, family, rank, metric, label)) is None


def told(inputs):
    return dict(headline.lines(inputs, headline.numbers(inputs)))


def test_the_first_line_counts_verdicts_over_all_protocols(inputs):
    assert told(inputs)["In all"] == (
        "11 headline numbers against their floors (the best predictors that never look at an image): 4 better, "
        "2 indistinguishable, 3 worse, 1 not judged for want of 10 patients, 1 undefined. “Better” and “worse” mean that the "
        "paired difference can be told from chance."
    )


def test_a_number_of_too_few_patients_is_counted_but_not_as_better():
    found = [told(make_inputs(metrics=pd.DataFrame([row("sound", "baseline_sigmoid", "auroc", "mean14", 0.64, patients=many)])))
             for many in (9, 10)]  # fmt: skip
    few, enough = (each["In all"].split("): ")[1].split(". ")[0] for each in found)
    assert few == "0 better, 0 indistinguishable, 0 worse, 1 not judged for want of 10 patients"
    assert enough == "1 better, 0 indistinguishable, 0 worse"


def test_each_protocols_line_names_what_is_better_and_worse(inputs):
    assert told(inputs)["Protocol paper"] == (
        "3 of 8 better than the floor: sigmoid baseline (AUROC); transfer, 1st pair (Accuracy of the findings); "
        "grid CNN (F1 weighted, large). "
        "2 of 8 indistinguishable from the floor: softmax baseline (Accuracy of the findings); "
        "sigmoid baseline (Accuracy of the findings). "
        "3 of 8 worse than the floor: sigmoid baseline (Loss of the findings); "
        "transfer, 2nd pair (Accuracy of the findings); grid CNN (F1 weighted)."
    )
    assert told(inputs)["Protocol sound"] == (
        "1 of 3 better than the floor: grid CNN (F1 weighted). "
        "1 of 3 not judged for want of 10 patients: sigmoid baseline (AUROC). "
        "1 of 3 undefined: transfer, 1st pair (Accuracy of the findings)."
    )


def test_the_forest_plot_has_losses_and_errors_and_each_metric_its_own_panel(inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr(headline.charts, "interval_chart", lambda rows: drawn.append(rows) or b"")
    figure = headline.chart(inputs, headline.numbers(inputs))
    lanes = {panel: list(dict.fromkeys(mine["name"])) for panel, mine in drawn[0].groupby("panel", sort=False)}
    assert lanes == {
        "Accuracy of a softmax": ["softmax baseline, findings"],
        "Loss of sigmoid outputs (lower is better)": [
            "sigmoid baseline, with “No Finding”", "sigmoid baseline, findings"
        ],
        "Accuracy of sigmoid outputs": [
            "sigmoid baseline, with “No Finding”", "sigmoid baseline, findings",
            "transfer, 1st pair, findings", "transfer, 2nd pair, findings",
        ],
        "AUROC": ["sigmoid baseline"],
        "F1, weighted": ["grid CNN", "grid CNN, large boxes"],
    }  # fmt: skip
    pale = drawn[0][drawn[0]["verdict"] == judging.DESCRIPTIVE]["name"]
    assert list(pale) == ["sigmoid baseline, with “No Finding”"] * 2, "what the page does not judge has no verdict here"
    assert "sigmoid baseline: 70 images of 60 patients" in figure["caption"]


def test_leakage_is_that_between_training_and_test_and_the_worst_is_the_largest_share(inputs):
    assert told(inputs)["Patients"] == (
        "Under paper, training and test share patients in 2 of 3 splits; at worst 4 of 10 test patients (s = 100). "
        "Under sound, training and test share no patient in any split (1 checked)."
    )


def test_what_is_missing_is_counted_but_for_what_was_skipped(inputs):
    rows = headline.numbers(inputs)
    empty = sum(cell is None for each in rows for cell in each.cells.values())
    skipped = sum(each.family == "yolo_off_the_shelf" for each in rows)
    assert told(inputs)["Not shown"] == (
        f"YOLO off the shelf did not run under sound: no weights. Headline numbers without a measurement: {empty - skipped}."
    )


def test_the_headline_is_the_papers_experiments_with_one_row_a_pair(inputs):
    rows = headline.numbers(inputs)
    transfer = [(each.rank, each.metric, each.label) for each in rows if each.family == "transfer"]
    wanted = [("accuracy", ""), ("accuracy", "mean14"), ("auroc", "mean14"), ("label_sensitivity", "No Finding")]
    assert transfer == [(rank, *number) for rank in (0, 1) for number in wanted]
    assert {each.family for each in rows} == {each.name for each in EXPERIMENTS}
    without = headline.numbers(make_inputs(selected={}))
    assert not [each for each in without if each.family == "transfer"]


def test_selected_ranks_in_the_grids_table_are_those_of_the_choice():
    grid = pd.DataFrame({"layers": [2, 2, 7, 7], "size": [300, 500, 300, 500], "accuracy": 0.9, "auroc": float("nan")})
    empty = pd.DataFrame({"table": [], "reason": [], "count": []})
    inputs = make_inputs(
        grids={"paper": grid},
        rejected=empty,
        summary={"usable_images": 0, "labels": {"No Finding": 0}, "box_labels": {}} | dict.fromkeys(COUNTS, 0),
    )
    found = render.tables(inputs)["grid_paper"]
    assert found["selected_rank"].tolist() == [pd.NA, 2, 1, pd.NA]


def test_label_counts_are_shares_of_the_images_not_of_the_labels():
    summary = {"usable_images": 200, "labels": {"Mass": 30, "No Finding": 190}, "box_labels": {"Mass": 12}}
    assert data.label_counts(make_inputs(summary=summary)).to_numpy().tolist() == [
        ["Mass", 30, 0.15, 12], ["No Finding", 190, 0.95, 0]
    ]  # fmt: skip
