"""What `make explain` tells: rules, numbers and reasons, from the real Snakemake's dry run."""

import inspect

import pytest
from running import snakemake
from snakemake.jobs import Reason

from runner import explain


def told(repository, folder, *arguments, config=None):
    code, output = snakemake(repository, folder, "--dry-run", *arguments, config=config)
    assert code == 0, output
    return explain.summary(output)


def row(text, rule):
    return next(line for line in text.splitlines() if line.split()[1:2] == [rule])


def test_nothing_to_do_is_said(repository, finished):
    assert told(repository, finished).startswith("nothing to do")


def test_a_changed_setting_is_named_as_the_reason_and_what_follows_too(repository, finished):
    text = told(repository, finished, config=["paper={gridcnn: {loss: l1}}"])
    assert row(text, "gridcnn").split(maxsplit=2) == ["1", "gridcnn", "changed settings or code"]
    assert "remade before it: results/tiny/gridcnn/paper/fold0/predictions.npz" in row(text, "metrics_gridcnn")
    assert "baseline" not in text.replace("metrics_baseline", "")


def test_a_first_run_lists_everything(repository, tmp_path):
    text = told(repository, tmp_path)
    assert row(text, "transfer").split()[0] == "7"
    assert "never made, or deleted" in row(text, "phantoms")


@pytest.mark.parametrize("reason", ["Forced execution", "Set of input files has changed since last execution"])
def test_every_reason_has_words(reason):
    assert explain.KINDS[reason] in explain.summary(f"rule gridcnn:\n    output: a\n    reason: {reason}\n")


PLAN = """\
Building DAG of jobs...
rule splits:
    output: results/splits.csv
    jobid: 4
    reason: Missing output files: results/splits.csv
    resources: mem_mb=1000

localrule all:
    input: results/report.html
    jobid: 0
    reason: Input files updated by another job: results/report.html

group job pairs (jobs in lexicogr. order):
    rule transfer:
        output: results/c0_s100/model.pt
        jobid: 7
        reason: Params have changed since last execution: before: <nothing exclusive> now: 3; Updated input files: b.csv, a.csv

    rule transfer:
        output: results/c1_s100/model.pt
        jobid: 8
        reason: Updated input files: a.csv, d.csv

checkpoint images:
    output: results/images.csv
    jobid: 2
    reason: Software environment definition has changed since last execution

checkpoint records:
    output: results/records.csv
    jobid: 3
    reason: Forced execution

rule report:
    output: results/report.html
    jobid: 1
"""


def test_jobs_are_counted_by_rule_with_every_reason_and_the_first_files():
    """In the order of the plan, also those that share a job of a cluster."""
    heading, *rows = explain.summary(PLAN).splitlines()
    assert heading.split() == ["jobs", "rule", "why"]
    assert [line.split(maxsplit=2) for line in rows] == [
        ["1", "splits", "never made, or deleted results/splits.csv"],
        ["2", "transfer", "changed settings or code; changed content of a.csv, b.csv and 1 more"],
        ["1", "images", "changed software environment"],
        ["1", "records", "forced by --forcerun, or left unfinished by a killed run"],
        ["1", "report", "requested"],
    ]


def test_reasons_are_those_that_snakemake_gives():
    """In the words of the installed version: a reason that it calls otherwise would not be told."""
    text = inspect.getsource(Reason.__str__)
    assert {kind for kind in explain.KINDS if kind not in text} == set()
