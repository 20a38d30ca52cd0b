"""Damaged results, lost records and moved results, on a whole finished study, by the real Snakemake."""

import re
import shutil
import subprocess

import pytest
from running import executed, planned, snakemake

from cxr.runtime import seals
from runner import engine, integrity

RESULTS = "results/tiny"
DEEPER = ["paper={transfer: {layers: [0, 4, 6]}}"]
OTHER = ["evaluation={bootstrap: 101}"]


@pytest.fixture
def work(finished, tmp_path):
    """A copy of the finished study to damage."""
    return shutil.copytree(finished, tmp_path / "work", symlinks=True)


def zero_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def test_everything_that_a_job_reads_is_sealed(finished):
    """But the marks of bundles, which Snakemake makes, and the settings a report shows: those are sealed, too."""
    names = {path.name for path in (finished / RESULTS).rglob("*.csv") if "voc" not in path.parts}
    assert {"records.csv", "predictions.csv", "history.csv", "grid.csv"} <= names
    for path in (finished / RESULTS).rglob("*"):
        if path.name in (
            "model.pt",
            "facts.json",
            "history.csv",
            "predictions.csv",
            "predictions.npz",
            "settings.yaml",
        ):
            assert seals.verified(path, finished / RESULTS)
    assert not [seal for seal in (finished / RESULTS).rglob(".*.sha256") if seals.damaged(seal)]


def test_a_damaged_split_is_made_again_and_nothing_is_trained(repository, work):
    split = work / RESULTS / "splits/paper/40/train.csv"
    whole = split.read_bytes()
    split.write_bytes(whole[: len(whole) // 2])
    code, output = snakemake(repository, work, "--dry-run")
    assert code == 0 and f"{RESULTS}/splits/paper does not match its recorded SHA-256" in output
    assert split.stat().st_size == len(whole) // 2  # a dry run changes nothing
    target = f"{RESULTS}/metrics/paper/baseline_sigmoid.csv"
    assert executed(repository, work, "--", target) == {"splits": 1}
    assert split.read_bytes() == whole
    assert (work / RESULTS / "splits/paper.damaged/40/train.csv").stat().st_size == len(whole) // 2
    assert executed(repository, work, "--", target, config=OTHER) == {"metrics_baseline": 1}


@pytest.mark.parametrize("gone", ["splits/paper", "data/records.csv"])
def test_a_changed_setting_is_seen_where_what_a_checkpoint_made_is_gone(repository, work, gone):
    """By itself Snakemake says "nothing to be done"."""
    path = work / RESULTS / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    target = f"{RESULTS}/metrics/paper/baseline_sigmoid.csv"
    ran = executed(repository, work, "--", target, config=OTHER)
    assert ran == {"records" if path.suffix else "splits": 1, "metrics_baseline": 1}


def test_a_damaged_report_is_made_again(repository, work):
    page = work / RESULTS / "report.html"
    zero_half(page)
    assert executed(repository, work) == {"report": 1}
    assert seals.verified(page, work / RESULTS)


def test_damaged_predictions_are_refused_by_name_and_the_command_that_is_named_trains_them_again(repository, work):
    folder = f"{RESULTS}/baseline/paper/sigmoid"
    zero_half(work / folder / "predictions.csv")
    target = f"{RESULTS}/metrics/paper/baseline_sigmoid.csv"
    former = (work / target).read_bytes()
    code, output = snakemake(repository, work, "--", target, config=OTHER)
    said = re.search(r"error: (.*)", output)
    assert code == 1 and said and f"{folder}/predictions.csv: damaged" in said[1] and "Training made it" in said[1]
    assert (work / target).read_bytes() == former
    subprocess.run(said[1].split("same command again: ")[1], shell=True, check=True, cwd=work)
    assert executed(repository, work, "--", target, config=OTHER) == {"baseline": 1, "metrics_baseline": 1}


def test_new_images_are_not_predicted_by_a_damaged_model(repository, work):
    model = f"{RESULTS}/baseline/sound/sigmoid/model.pt"
    zero_half(work / model)
    new = work / "new"
    new.mkdir()
    shutil.copy(next((work / RESULTS / "phantoms").rglob("*.png")), new)
    predict = [f"predict={{folder: {new}}}"]
    code, output = snakemake(repository, work, "--", f"{RESULTS}/predictions/new/classes.csv", config=predict)
    assert code == 1 and f"{model}: damaged" in output
    assert not (work / RESULTS / "predictions/new/classes.csv").exists()


def test_changed_settings_and_a_further_depth_are_seen_without_the_folder_of_snakemake(repository, work):
    shutil.rmtree(work / ".snakemake")
    assert planned(repository, work) == {}
    deeper = planned(repository, work, config=DEEPER)
    assert deeper["transfer"] == 2 and deeper["select"] == 1
    other = planned(repository, work, config=OTHER)
    assert other["metrics_baseline"] == 4 and not {"transfer", "baseline", "gridcnn"} & other.keys()


def test_results_that_nobody_has_a_record_of_stop_the_run_until_they_are_taken_as_they_are(repository, work):
    shutil.rmtree(work / ".snakemake")
    shutil.rmtree(work / RESULTS / engine.RECORDS)
    code, output = snakemake(repository, work, config=OTHER)
    assert code == 1 and "no record of how" in output and "nothing was run" in output
    assert "evaluation.bootstrap (then 100, now 101)" in output
    code, output = snakemake(repository, work, "--dry-run", config=OTHER)
    assert code == 0 and "no record of how" in output
    code, output = snakemake(repository, work, "--touch", "--forceall")
    assert code == 0, output[-3000:]
    assert planned(repository, work) == {}


def test_moved_results_are_up_to_date_wherever_they_are(repository, finished, tmp_path):
    """Copied without the folder of Snakemake and without their times, as README says they may be."""
    shutil.copytree(finished / RESULTS, tmp_path / RESULTS, copy_function=shutil.copyfile)
    assert planned(repository, tmp_path) == {}
    assert planned(repository, tmp_path, config=OTHER)["metrics_baseline"] == 4


def test_an_older_copy_of_results_is_not_taken_for_the_newer_one(repository, work, tmp_path):
    """Snakemake's own record is the newer run's; the one that came with the results is theirs."""
    shutil.copytree(work / RESULTS, tmp_path / "backup", symlinks=True)
    target = f"{RESULTS}/metrics/paper/baseline_sigmoid.csv"
    executed(repository, work, "--", target, config=OTHER)
    shutil.rmtree(work / RESULTS)
    shutil.copytree(tmp_path / "backup", work / RESULTS, symlinks=True)
    assert planned(repository, work, "--", target, config=OTHER) == {"metrics_baseline": 1}


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    for content in ("", "{", "[]", '{"file": "x"}', '{"record": 1}'):
        (tmp_path / "record.json").write_text(content)
        assert engine._record(tmp_path / "record.json") is None
    assert engine._record(tmp_path / "absent.json") is None and engine._record(None) is None


def test_differences_of_settings_are_named_by_their_whole_path():
    former = {"seed": 0, "sound": {"yolo": {"epochs": 3}, "gone": 1}}
    now = {"seed": 0, "sound": {"yolo": {"epochs": 4}}, "new": [1]}
    found = list(integrity._differences(former, now, ""))
    assert found == ["sound.yolo.epochs (then 3, now 4)", "sound.gone (then 1, now None)", "new (then None, now [1])"]
