"""The steps of docs/adding-a-detector.md and docs/adding-a-metric.md, applied to a copy: both are found in the report."""

import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from lxml import html
from run_mutants import copied
from running import executed

NEW = re.compile(r"New file `([^`]+)`:")
BEFORE = re.compile(r"In `([^`]+)`, before `([^`]+)`:")
STEP = re.compile(r"^ *((?:New file|In) `.*?:)\n\n( *)```python\n(.*?)^\2```$", re.M | re.S)
MOST = {"adding-a-detector.md": 12, "adding-a-metric.md": 5}


def applied(document, copy):
    """Apply the steps of a document to a copy of the repository; return the files that they touch."""
    touched = set()
    for where, indent, block in STEP.findall(document.read_text(encoding="utf-8")):
        text = "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        if new := NEW.fullmatch(where):
            path = copy / new[1]
            assert not path.exists()
            path.write_text(text, encoding="utf-8")
        else:
            name, anchor = BEFORE.fullmatch(where).groups()
            path, anchor = copy / name, anchor.replace("\\n", "\n")
            before = path.read_text(encoding="utf-8")
            assert before.count(anchor) == 1, f"{name}: {anchor!r} stands there {before.count(anchor)} times"
            path.write_text(before.replace(anchor, text + anchor), encoding="utf-8")
        touched.add(path)
    return touched


@pytest.fixture(scope="module")
def extended(repository, tmp_path_factory):
    """A copy of the repository in which both documents were followed, and for each the number of files touched."""
    copy = copied(repository, tmp_path_factory.mktemp("extended") / "repository")
    counts = {}
    for name in MOST:
        touched = applied(repository / "docs" / name, copy)
        former = {path: path.read_bytes() for path in (copy / "config").iterdir() if path.is_file()}
        environment = os.environ | {"PYTHONPATH": str(copy / "workflow")}
        subprocess.run(
            [sys.executable, "-m", "cxr.settings_reference", "config"], cwd=copy, env=environment, check=True
        )
        counts[name] = len(touched) + sum(path.read_bytes() != content for path, content in former.items())
    return copy, counts


def test_few_files_are_touched(extended):
    _, counts = extended
    assert counts["adding-a-detector.md"] == 8 and counts["adding-a-metric.md"] == 2
    assert all(counts[name] <= most for name, most in MOST.items())


def test_what_was_added_is_in_the_report_and_nothing_was_trained_for_it(extended, finished, tmp_path):
    copy, _ = extended
    shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True)
    ran = executed(copy, tmp_path)
    assert ran.pop("median_box") == 3
    judging = ("metrics_", "sheet_", "validity_", "long_repeats", "claims", "transfer_gain")
    assert {rule for rule in ran if not rule.startswith(judging)} == {"settings", "report"}
    results = tmp_path / "results/tiny"
    page = html.parse(str(results / "report.html"))
    assert [each.text_content().partition(" paper")[0] for each in page.xpath("//h2[@id='median_box']")] == [
        "Median box"
    ]
    assert "Cell accuracy" in page.getroot().text_content()
    metrics = pd.read_csv(results / "tables/metrics.csv")
    accuracy = metrics[metrics["metric"] == "cell_accuracy"].set_index(["protocol", "experiment"])
    detectors = {("paper", name) for name in ("yolo_finetuned", "median_box", "gridcnn")}
    detectors |= {("sound", name) for name in ("yolo_finetuned", "torchvision_detector", "median_box", "gridcnn")}
    assert set(accuracy.index) == detectors
    shown = ["value", "low", "high", "floor", "floor_low", "floor_high", "support"]
    assert accuracy[shown].notna().all().all() and (accuracy["floor"] >= accuracy["value"] - 0.2).all()
    own = metrics[
        (metrics["experiment"] == "median_box") & (metrics["metric"] == "map50") & (metrics["label"] == "all")
    ]
    assert len(own) == 2 and own["floor"].notna().all()
