"""What `make explain` tells: rules, numbers and reasons, from the real Snakemake's dry run."""

import pytest
from running import snakemake

import explain


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
    assert "made anew before it: results/tiny/gridcnn/paper/fold0/predictions.npz" in row(text, "metrics_gridcnn")
    assert "baseline" not in text.replace("metrics_baseline", "")


def test_a_first_run_lists_everything(repository, tmp_path):
    text = told(repository, tmp_path)
    assert row(text, "transfer").split()[0] == "5"
    assert "never made, or deleted" in row(text, "phantoms")


@pytest.mark.parametrize("reason", ["Forced execution", "Set of input files has changed since last execution"])
def test_every_reason_has_words(reason):
    assert explain.KINDS[reason] in explain.summary(f"rule gridcnn:\n    output: a\n    reason: {reason}\n")
