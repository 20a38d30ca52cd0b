"""The report's inputs: what each file of the runs becomes, and under which name."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from cxr.metrics.table import METRIC_COLUMNS
from cxr.report import files as reporting
from cxr.report import inputs as report_inputs
from cxr.runtime.journal import Journal

JOBS = [  # in no order of their names
    ("sound", "gridcnn", "1"),
    ("sound", "gridcnn", "0"),
    ("paper", "baseline_sigmoid", ""),
    ("paper", "transfer_c2_s500", ""),
]


def written(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    """The arguments of `reporting.write`: files below folders as the workflow lays them out, each with a content of its own."""
    jobs = [tmp_path / "jobs" / "_".join(filter(None, job)) for job in JOBS]
    text = "role_a,role_b,images_shared,patients_shared,patients_a,patients_b\ntrain,test,0,{},9,5\n"
    empty_metric = dict.fromkeys(METRIC_COLUMNS, "")
    return {
        "settings": written(tmp_path / "settings.yaml", "name: tiny\nseed: 3\n"),
        "summary": written(tmp_path / "summary.json", json.dumps({"usable_images": 7})),
        "rejected": written(
            tmp_path / "rejected.csv",
            "table,row,item,reason,detail\nimages,,b.png,truncated,\nlabels,3,a.png,duplicate row,\nimages,,c.png,truncated,\n",
        ),
        "leakage": [
            written(tmp_path / f"splits/{protocol}/{split}/leakage.csv", text.format(shared))
            for protocol, split, shared in (("paper", "40", 5), ("sound", "40", 0), ("sound", "boxes_fold0", 2))
        ],
        "metrics": [
            written(
                tmp_path / f"metrics/{protocol}/{experiment}.csv",
                pd.DataFrame(
                    [empty_metric | {"protocol": protocol, "experiment": experiment, "metric": "loss", "value": value}]
                ).to_csv(index=False),
            )
            for protocol, experiment, value in (("paper", "baseline_sigmoid", 0.25), ("sound", "gridcnn", 0.5))
        ],
        "validity": [
            written(tmp_path / "validity/paper/baseline_sigmoid.csv", "protocol,group,note,value\npaper,1,,0.5\n"),
            written(tmp_path / "validity/sound/transfer_c1_s100.csv", "protocol,group,note,value\nsound,,few,\n"),
        ],
        "facts": [written(folder / "facts.json", json.dumps({"of": folder.name})) for folder in jobs],
        "histories": [
            written(folder / "history.csv", f"epoch,validation_f1\n1,{at}\n")
            for at, folder in reversed(list(enumerate(jobs)))
            if folder.name != "paper_transfer_c2_s500"
        ],
        "source_facts": written(tmp_path / "source/facts.json", json.dumps({"of": "source"})),
        "source_history": written(tmp_path / "source/history.csv", "epoch,validation_accuracy\n1,9\n"),
        "grids": [
            written(tmp_path / f"transfer/{protocol}/grid.csv", f"layers,size,accuracy\n{layers},500,0.5\n")
            for protocol, layers in (("sound", 1), ("paper", 2))
        ],
        "spreads": [written(tmp_path / "transfer/sound/spread.csv", "size,metric,source,sd\n500,gain,seed,0.01\n")],
        "chances": [
            written(
                tmp_path / "transfer/paper/chance.csv", "scope,metric,best\n500,accuracy,0.01\ngrid,accuracy,0.02\n"
            )
        ],
        "claims": [written(tmp_path / "ledger/paper.csv", "subject,measure,value,floor_name\ngridcnn,f1,0.25,\n")],
        "transfer_gains": [
            written(tmp_path / "transfer_gain/sound.csv", "role,label,floor_name,note,value\ntest,mean14,,,0.5\n")
        ],
        "repeats": [
            written(tmp_path / "transfer_long/sound/repeats.csv", "pair,metric,label,repeats\nc1_s100,auroc,,3\n")
        ],
        "selected": [
            written(tmp_path / "transfer/paper/selected.csv", "layers,size,rank,ties\n7,300,1,0\n2,500,2,6\n"),
            written(tmp_path / "transfer/sound/selected.csv", "layers,size,rank,ties\n1,100,1,3\n"),
        ],
        "comparisons": [written(tmp_path / "comparison/paper/comparison.csv", "layers,verdict\n4,learned\n")],
        "sheets": [written(tmp_path / f"sheets/{name}/gridcnn.png", f"{name} sheet") for name in ("paper", "sound")],
        "failures": [written(tmp_path / "sheets/sound/gridcnn_failures.png", "failures")],
        "maps": [written(tmp_path / "sheets/sound/gridcnn_maps.png", "maps")],
        "froc": [
            written(
                tmp_path / "froc/sound/gridcnn.csv", "protocol,label,false_positives_per_image,value,low,high,floor\n"
            ),
            written(
                tmp_path / "froc/sound/yolo_finetuned.csv",
                "protocol,label,false_positives_per_image,value,low,high,floor\nsound,all,1,0.5,0.25,0.75,0.125\n",
            ),
        ],
        "examples": written(tmp_path / "examples.png", "examples"),
        "leakage_experiment": [
            written(tmp_path / "leakage/leakage.csv", "predictor,value,verdict,labels,left_out\nnetwork,0.5,,Mass,\n")
        ],
        "jobs": JOBS,
        "skipped": {("paper", "yolo_off_the_shelf"): "no weights"},
        "page": tmp_path / "report.html",
        "tables": tmp_path / "tables",
    }


@pytest.fixture
def gathered(files, monkeypatch, tmp_path):
    """What the report is built from."""
    seen = []
    fake = SimpleNamespace(
        build=lambda inputs: seen.append(inputs) or "the page ≈",
        tables=lambda inputs: {"one": pd.DataFrame({"a": [1]}), "two": pd.DataFrame({"b": [2]})},
    )
    monkeypatch.setattr(reporting, "render", fake)
    with Journal(tmp_path / "log", "report") as tell:
        own = {name: files[name] for name in ("jobs", "skipped", "page", "tables")}
        sources = {name: value for name, value in files.items() if name not in own}
        reporting.write(sources=reporting.Sources(**sources), **own, validation="validations/x/report.html", tell=tell)
    return seen[0]


def test_each_job_has_its_own_facts_and_history_whatever_the_order_of_the_files(gathered):
    assert {job: facts["of"] for job, facts in gathered.facts.items()} == {
        job: "_".join(filter(None, job)) for job in JOBS
    } | {report_inputs.SOURCE: "source"}
    curves = {job: history.iloc[0, 1] for job, history in gathered.histories.items()}
    assert curves == {JOBS[0]: 0, JOBS[1]: 1, JOBS[2]: 2, report_inputs.SOURCE: 9}
    assert [facts["of"] for facts in gathered.of_folds(gathered.facts, "sound", "gridcnn")] == [
        "sound_gridcnn_0", "sound_gridcnn_1"
    ]  # fmt: skip


def test_the_page_of_a_validation_is_handed_on(gathered):
    assert gathered.validation == "validations/x/report.html"


def test_tables_are_known_by_the_protocol_of_their_folder(gathered):
    assert {name: grid["layers"].tolist() for name, grid in gathered.grids.items()} == {"sound": [1], "paper": [2]}
    assert gathered.selected == {"paper": [(7, 300), (2, 500)], "sound": [(1, 100)]}, "best first"
    assert gathered.ties == {"paper": [0, 6], "sound": [3]}
    assert gathered.leakage[["protocol", "split", "patients_shared"]].to_numpy().tolist() == [
        ["paper", "40", 5], ["sound", "40", 0], ["sound", "boxes_fold0", 2]
    ]  # fmt: skip
    assert gathered.comparisons["paper"]["verdict"].tolist() == ["learned"]
    assert gathered.leakage_experiment[["verdict", "labels", "left_out"]].to_numpy().tolist() == [["", "Mass", ""]]
    assert gathered.metric("sound", "gridcnn", "loss", "")["value"] == 0.5
    assert gathered.metric("paper", "baseline_sigmoid", "loss", "")["value"] == 0.25
    assert gathered.metric("paper", "gridcnn", "loss", "") is None
    assert gathered.froc["value"].tolist() == [0.5], "also beside a table without a row"


def test_pictures_are_known_by_protocol_and_detector(gathered):
    assert gathered.sheets == {("paper", "gridcnn"): b"paper sheet", ("sound", "gridcnn"): b"sound sheet"}
    assert gathered.failures == {("sound", "gridcnn"): b"failures"} and gathered.maps == {("sound", "gridcnn"): b"maps"}
    assert gathered.examples == b"examples"


def test_what_was_set_aside_is_counted_by_table_and_reason(gathered):
    assert gathered.rejected.to_numpy().tolist() == [["images", "truncated", 2], ["labels", "duplicate row", 1]]
    assert gathered.settings == {"name": "tiny", "seed": 3} and gathered.summary == {"usable_images": 7}
    assert gathered.skipped == {("paper", "yolo_off_the_shelf"): "no weights"}


def test_page_and_tables_are_written(gathered, files):
    assert files["page"].read_text(encoding="utf-8") == "the page ≈"
    assert sorted(path.name for path in files["tables"].iterdir()) == ["one.csv", "two.csv"]
    assert (files["tables"] / "two.csv").read_text(encoding="utf-8") == "b\n2\n"


def test_long_runs_are_named_after_their_metrics_and_follow_the_jobs_known_before():
    found = reporting.as_jobs(
        [["sound", "gridcnn", "0"]], ["results/x/metrics/paper/transfer_c2_s500.csv", "m/sound/transfer_c1_s100.csv"]
    )
    assert found == [("sound", "gridcnn", "0"), ("paper", "transfer_c2_s500", ""), ("sound", "transfer_c1_s100", "")]
    assert reporting.as_skipped([["paper", "x", "why"]]) == {("paper", "x"): "why"}


def test_sizes_of_the_table_of_chance_are_texts_and_claims_are_those_of_the_paper(gathered):
    assert gathered.chances["paper"]["scope"].tolist() == ["500", "grid"]
    assert gathered.claims.to_dict("records") == [
        {"subject": "gridcnn", "measure": "f1", "value": 0.25, "floor_name": ""}
    ]
