"""Another workflow that imports this one with Snakemake's `module` statement, as docs/architecture.md shows it."""

import csv
import json
import os
import re
import subprocess
import sys

import pytest

PATH = "/path/to/this/repository/Snakefile"
SETTINGS = {  # the smallest data set that the settings allow
    "name": "mine",
    "data": {"source": "phantoms"},
    "phantoms": {"patients": 10, "images": 20, "boxed": 8, "size": 128},
    "images": {"size": 32, "box_size": 64},
    "network": {"name": "resnet10"},
    "source": {"kind": "textures"},
    "protocols": ["sound"],
    "paper": {"yolo": {"image_size": 64}, "gridcnn": {"image_size": 64}},
    "sound": {"yolo": {"image_size": 64}, "torchvision_detector": {"image_size": 64}, "gridcnn": {"image_size": 64}},
}


@pytest.fixture
def elsewhere(repository, tmp_path):
    """A folder that has the page's Snakefile, with this repository's path in it, and a configuration of its own."""
    page = (repository / "docs/architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^    configfile: "config\.yaml"\n(?:    .*\n|\n)*', page, re.M)
    assert example.count(PATH) == 1
    text = re.sub("^    ", "", example, flags=re.M).replace(PATH, str(repository / "Snakefile"))
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(json.dumps({"chest": SETTINGS, "own": 1}), encoding="utf-8")
    return tmp_path


def run(repository, folder, *arguments):
    profile = repository / "profiles/default"
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", profile, "--cores", "2", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=900, cwd=folder, env=environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout + done.stderr


def test_all_rules_can_be_planned_under_other_names(repository, elsewhere):
    table = run(repository, elsewhere, "--dry-run", "--", "chest_all").partition("Job stats:")[2].partition("\n\n")[0]
    planned = set(re.findall(r"^(\w+)\s+\d+$", table, re.M)) - {"total"}
    assert {"chest_phantoms", "chest_records", "chest_transfer", "chest_gridcnn", "chest_report"} <= planned
    assert all(name.startswith("chest_") for name in planned)
    assert not (elsewhere / "results").exists(), "planning writes no results"


def test_a_rule_of_the_other_workflow_reads_what_ours_wrote(repository, elsewhere):
    run(repository, elsewhere)
    results = elsewhere / "results/mine"
    with open(results / "data/records.csv", encoding="utf-8", newline="") as file:
        patients = {row["patient"] for row in csv.DictReader(file)}
    assert len(patients) == 10
    assert set((elsewhere / "patients.txt").read_text().split()) == patients
    assert (results / ".cxr-lock").exists(), "the handler that the other workflow calls has locked the results"
    assert "Nothing to be done" in run(repository, elsewhere, "--dry-run")
