"""Faults in the middle of a run: one more plain command goes on, and ends with the numbers of an undisturbed run."""

import os
import random
import shutil
import signal
import subprocess
import time

import kill_runs
import psutil
import pytest

TARGET = "results/tiny/metrics/sound/gridcnn.csv"
STATE = "results/tiny/state/gridcnn/sound_fold0"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with images and splits, where nothing is trained."""
    folder = tmp_path_factory.mktemp("prepared")
    assert kill_runs.start(folder, folder / "log", "data").wait() == 0, (folder / "log").read_text()[-3000:]
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The metric table of a run without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed") / "work"
    shutil.copytree(prepared, folder)
    run(folder)
    return (folder / TARGET).read_bytes()


@pytest.fixture
def work(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "work")
    return tmp_path / "work"


def run(folder):
    """One plain command; return what it wrote to the terminal."""
    log = folder / "again"
    code = kill_runs.start(folder, log, TARGET).wait()
    assert code == 0, log.read_text()[-5000:]
    return log.read_text()


def run_until_trained_a_while(folder):
    engine = kill_runs.start(folder, folder / "log", TARGET)
    while not (folder / STATE).exists():
        assert engine.poll() is None, (folder / "log").read_text()[-3000:]
        time.sleep(0.01)
    return engine


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("job", signal.SIGKILL),
        ("job", signal.SIGTERM),
        ("engine", signal.SIGKILL),
        ("everything", signal.SIGKILL),
        ("everything", signal.SIGINT),
    ],
)
def test_one_plain_command_goes_on_after_a_kill(work, undisturbed, victim, number):
    engine = run_until_trained_a_while(work)
    assert kill_runs.strike(engine, victim, number, random.Random(0)) != "nothing: no job was running"
    assert engine.wait(60) != 0
    if victim == "engine":
        orphans = [process for process in psutil.process_iter() if is_job_of(process, work)]
        assert orphans, "the job of a killed engine runs on"
    text = run(work)
    assert "going on after step" in text
    assert ("an earlier run left behind" in text) == (victim == "engine")
    assert (work / TARGET).read_bytes() == undisturbed
    assert not [path for path in (work / "results/tiny/state").rglob("*") if path.is_file()]
    assert not [process for process in psutil.process_iter() if is_job_of(process, work)]


def is_job_of(process, folder):
    try:
        return any(str(folder / ".snakemake/scripts") in word for word in process.cmdline())
    except psutil.Error:
        return False


def test_a_full_disk_is_named_and_afterwards_the_run_goes_on(prepared, tmp_path, undisturbed):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        free = shutil.disk_usage(folder).free
        (folder / "filler").write_bytes(bytes(free - 300_000))
        code = kill_runs.start(folder, tmp_path / "log", TARGET).wait()
        text = (tmp_path / "log").read_text()
        assert code != 0
        assert "the training state could not be saved (No space left on device); training goes on" in text
        assert "error: no room left on the disk" in text, text[-3000:]
        (folder / "filler").unlink()
        run(folder)
        assert (folder / TARGET).read_bytes() == undisturbed
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_cache_file_truncated_behind_our_back_is_mended_on_the_way(work, undisturbed):
    (shard,) = (work / "results/tiny/cache/64").glob("*.u8")
    os.truncate(shard, shard.stat().st_size // 3)
    assert "are lost from the image cache: decoding them again" in run(work)
    assert (work / TARGET).read_bytes() == undisturbed


def test_a_second_run_on_the_same_results_is_refused_and_harms_nothing(work, undisturbed):
    engine = run_until_trained_a_while(work)
    second = kill_runs.start(work, work / "second", TARGET)
    assert second.wait(60) != 0
    assert "Error: another run is working on results/tiny (process" in (work / "second").read_text()
    assert "Traceback" not in (work / "second").read_text()
    assert engine.wait(120) == 0
    assert (work / TARGET).read_bytes() == undisturbed
