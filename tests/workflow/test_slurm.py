"""The workflow through a real SLURM: one node with made-up GPUs, started for these tests, stopped after them.

What a cluster can do to a job is done to the jobs of a small workflow that is run with the real profile.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is not installed")

QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--max-status-checks-per-second", "10"]
SITE = Path("/etc/slurm/slurm.conf")


@dataclass(frozen=True)
class Rig:
    """A running SLURM; called, it runs one of its commands. controller: the process that answers them."""

    controller: int

    def __call__(self, *words):
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def slurm(repository):
    """A SLURM of one node with 16 CPUs and 2 GPUs."""
    scripts = repository.parent / "shared/slurm"
    if not (scripts / "slurm-up").exists():
        pytest.skip("no SLURM to start beside the repository (../shared/slurm)")
    if os.getuid() != 0:
        pytest.skip("starting a SLURM needs root")
    if SITE.exists():
        pytest.skip(f"this machine has a SLURM already ({SITE})")
    # Not tmp_path: too long for the path of a socket.
    folder = Path(tempfile.gettempdir()) / f"slurm-{secrets.token_hex(4)}"
    settings = {
        "DIR": str(folder),
        "CPUS": "16",
        "MEM_MB": "64000",
        "GPUS": "2",
        "PORT": str(20000 + os.getpid() % 20000),
    }
    environment = os.environ | {f"SLURM_RIG_{name}": value for name, value in settings.items()}
    try:
        up = subprocess.run([scripts / "slurm-up"], env=environment, capture_output=True, text=True, timeout=300)
        if up.returncode != 0:
            pytest.skip(f"SLURM does not start: {up.stderr.strip().splitlines()[-1]}")

        rig = Rig(int((folder / "run/slurmctld.pid").read_text().split()[0]))
        for partition in ("main", "gpu"):
            rig("scontrol", "update", f"PartitionName={partition}", "MaxTime=UNLIMITED")
        yield rig
    finally:
        subprocess.run([scripts / "slurm-down", "--purge"], env=environment, capture_output=True, timeout=300)


def command_line(repository, folder, *arguments, snakefile=None):
    """Snakemake in a folder, with the profile as it is but for the time between two looks at the queue."""
    snakefile = snakefile or repository / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--directory", folder]
    command += ["--workflow-profile", repository / "profiles/slurm", *QUICK, *arguments]
    return list(map(str, command))


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(repository, folder, *arguments, snakefile=None, timeout=900):
    command = command_line(repository, folder, *arguments, snakefile=snakefile)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=repository, env=environment(), check=False
    )
    return done.returncode, done.stdout + done.stderr


def tiny(repository):
    """The tiny study; two rules ask for more threads than this node has."""
    return ["--configfile", repository / "tests/tiny.yaml", "--set-threads", "phantoms=1", "images=1"]


JOBS = """
import sys
import tempfile

sys.path.insert(0, {package!r})
from runner import slurm_jobs

NAMES = config["names"].split(",")

onstart:
    slurm_jobs.take_over(Path("results"), workflow.scheduler._executor.run_uuid, print)
    slurm_jobs.keep_in_sight(workflow.scheduler._executor)

rule all:
    input: expand("results/{{name}}.txt", name=NAMES)

rule job:
    output: "results/{{name}}.txt"
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 100 * attempt,
        runtime=lambda wildcards, attempt: 1 if (wildcards.name, attempt) == ("limit", 1) else 10 * attempt,
    script: "job.py"
"""
# The first attempt waits for what happens to it; the next one ends at once.
JOB = """
import os, time
name, first = snakemake.wildcards.name, not os.path.exists(f"seen_{snakemake.wildcards.name}")
open(f"seen_{name}", "a").close()
with open("trace.txt", "a") as file:
    words = [name, os.environ["SLURM_JOB_ID"], os.getpid(), snakemake.resources.mem_mb, os.environ["CUDA_VISIBLE_DEVICES"]]
    print(*words, file=file, flush=True)
time.sleep(600 if first and not name.startswith("short") else 3)
with open(snakemake.output[0], "w") as file:
    file.write("done")
"""


@pytest.fixture
def jobs(repository, tmp_path):
    """A folder with a workflow of jobs that wait to be disturbed."""
    (tmp_path / "Snakefile").write_text(JOBS.format(package=str(repository / "workflow")))
    (tmp_path / "job.py").write_text(JOB)
    return tmp_path


def trace(folder):
    """(name, SLURM job, process, MB, GPU) of every attempt so far."""
    path = folder / "trace.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return pd.DataFrame([line.split(" ") for line in lines], columns=["name", "job", "process", "memory", "gpu"])


def begin(repository, folder, *names):
    """Start Snakemake on jobs of these names and wait until each runs."""
    command = command_line(repository, folder, "--config", f"names={','.join(names)}", snakefile=folder / "Snakefile")
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=repository, env=environment())
    wait_for(lambda: set(trace(folder)["name"]) >= set(names), folder)
    return process


def wait_for(condition, folder, timeout=120):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, (folder / "log.txt").read_text()[-4000:]
        time.sleep(0.2)


def ended(process, folder, timeout=300):
    try:
        code = process.wait(timeout)
    finally:
        process.kill()
    return code, (folder / "log.txt").read_text()


def test_a_bundle_is_one_job_with_one_gpu_and_260_pairs_are_26_jobs(repository, tmp_path):
    """Needs no SLURM: a dry run knows the jobs."""
    sizes, layers = list(range(30, 95, 5)), list(range(20))
    code, output = run(
        repository,
        tmp_path,
        *tiny(repository),
        "--config",
        f"paper={{transfer: {{sizes: {sizes}, layers: {layers}}}}}",
        "sound={transfer: {layers: [2], sizes: [20]}}",
        "--dry-run",
    )
    assert code == 0, output[-3000:]
    groups = re.split(r"Group job pairs", output)[1:]
    pairs = [len(re.findall(r"rule transfer:", group.partition("\n[")[0])) for group in groups]
    paper = [number for number in pairs if number > 1]
    assert sum(paper) == 260 and len(paper) <= 26 and max(paper) <= 10


@pytest.mark.long
def test_cancelled_and_killed_jobs_run_again_with_more_memory_two_gpus_two_at_once(repository, slurm, jobs):
    process = begin(repository, jobs, "cancelled", "killed")
    seen = trace(jobs).set_index("name")
    assert set(seen["gpu"]) == {"0", "1"} and set(seen["memory"]) == {"100"}
    slurm("scancel", seen["job"]["cancelled"])
    os.kill(int(seen["process"]["killed"]), signal.SIGKILL)  # as an out-of-memory kill does
    code, output = ended(process, jobs)
    assert code == 0, output[-4000:]
    assert sorted(zip(trace(jobs)["name"], trace(jobs)["memory"], strict=True)) == [
        *[("cancelled", "100"), ("cancelled", "200")],
        *[("killed", "100"), ("killed", "200")],
    ]


def test_after_a_killed_snakemake_one_command_goes_on_without_duplicates(repository, slurm, jobs):
    process = begin(repository, jobs, "one", "two")
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = slurm("squeue", "--noheader", "--format=%A").split()
    assert len(left) == 2, "jobs outlive Snakemake"
    code, output = run(repository, jobs, "--config", "names=one,two", snakefile=jobs / "Snakefile")
    assert code == 0 and "cancelling 2 SLURM jobs" in output, output[-4000:]
    states = slurm("squeue", "--noheader", "--states=all", "--format=%A %T")
    assert all(f"{job} CANCELLED" in states for job in left)
    attempts = trace(jobs)
    assert len(attempts) == 4 and attempts["job"].nunique() == 4


def test_an_interrupted_snakemake_takes_its_jobs_along(repository, slurm, jobs):
    process = begin(repository, jobs, "one")
    process.send_signal(signal.SIGINT)
    code, _ = ended(process, jobs, timeout=60)
    assert code != 0
    wait_for(lambda: not slurm("squeue", "--noheader").strip(), jobs, timeout=120)


def test_apostrophes_in_the_names_of_folders_reach_the_jobs(repository, slurm, tmp_path):
    root, folder = tmp_path / "o'brien's lab", tmp_path / "it's here"
    (root / "images").mkdir(parents=True)
    folder.mkdir()
    names = [f"0000000{number}_000.png" for number in range(8)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    header += "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    rows = [f"{name},Mass,0,{number},57,M,PA,2000,2000,0.1,0.1," for number, name in enumerate(names)]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]))
    (root / "BBox_List_2017.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{names[0]},Mass,100,200,300,400,,,\n"
    )
    (root / "train_val_list.txt").write_text("\n".join(names[:4]))
    (root / "test_list.txt").write_text("\n".join(names[4:]))
    given = f"data={{source: nih, root: {json.dumps(str(root))}, train_val_list: train_val_list.txt, test_list: test_list.txt}}"
    options = ["--configfile", repository / "tests/tiny.yaml", "--config", given, "--", "preflight"]
    command = command_line(repository, folder, *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads((folder / "results/tiny/data/summary.json").read_text())["usable_images"] == 8


def test_a_folder_that_no_job_could_be_given_is_refused(repository, slurm, tmp_path):
    (folder := tmp_path / "of $HOME").mkdir()
    command = command_line(repository, folder, "--configfile", repository / "tests/tiny.yaml", "--", "preflight")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0 and "cannot be passed to a SLURM job" in done.stderr
    assert not slurm("squeue", "--noheader").strip()


@pytest.mark.long
def test_time_limit_requeue_and_a_drained_node(repository, slurm, jobs):
    process = begin(repository, jobs, "limit", "requeued")
    node = slurm("sinfo", "--noheader", "--format=%N").split()[0]
    slurm("scontrol", "requeue", trace(jobs).set_index("name")["job"]["requeued"])
    slurm("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    time.sleep(10)
    assert len(trace(jobs)) == 2, "nothing starts on a drained node, and nothing fails for it"
    slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
    code, output = ended(process, jobs, timeout=400)
    assert code == 0, output[-4000:]
    attempts = trace(jobs).groupby("name")
    assert list(attempts.get_group("limit")["memory"]) == ["100", "200"], "timed out, submitted again with more"
    assert attempts.get_group("requeued")["job"].nunique() == 1, "started again by SLURM as the same job"


@pytest.mark.long
def test_a_controller_that_is_away_for_a_while_ends_no_run(repository, slurm, jobs):
    """Unanswered queries made the executor forget its jobs: the run waited for ever."""
    process = begin(repository, jobs, "short")
    os.kill(slurm.controller, signal.SIGSTOP)
    try:
        time.sleep(40)
    finally:
        os.kill(slurm.controller, signal.SIGCONT)
    code, output = ended(process, jobs)
    assert code == 0 and len(trace(jobs)) == 1, output[-4000:]


@pytest.mark.long
def test_at_most_as_many_gpu_jobs_at_once_as_gpus(repository, slurm, jobs):
    names = [f"short{number}" for number in range(6)]
    command = command_line(repository, jobs, "--config", f"names={','.join(names)}", snakefile=jobs / "Snakefile")
    with (jobs / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=repository, env=environment())
    most = 0
    while process.poll() is None:
        most = max(most, len(slurm("squeue", "--noheader", "--states=running").splitlines()))
        time.sleep(0.3)
    assert process.returncode == 0 and most == 2


@pytest.fixture(scope="module")
def studied(repository, slurm, tmp_path_factory):
    """The tiny study, run through SLURM; Snakemake is killed on the way, and started again."""
    folder = tmp_path_factory.mktemp("study")
    command = command_line(repository, folder, *tiny(repository))
    log = folder / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=repository, env=environment())
    wait_for(lambda: list(folder.glob("results/tiny/transfer/*/c*/predictions.csv")), folder, timeout=300)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, output = run(repository, folder, *tiny(repository))
    assert code == 0, output[-6000:]
    return folder


@pytest.mark.long
def test_the_tiny_study_through_slurm_equals_a_local_run(studied, finished):
    tables = sorted(path.relative_to(finished) for path in finished.glob("results/tiny/metrics/*/*.csv"))
    assert len(tables) >= 10
    for table in tables:
        pd.testing.assert_frame_equal(pd.read_csv(studied / table), pd.read_csv(finished / table))


@pytest.mark.long
def test_only_training_asks_for_a_gpu_and_a_second_run_finds_nothing_to_do(repository, slurm, studied):
    detail = [dict(re.findall(r"(\w+)=(\S+)", job)) for job in slurm("scontrol", "show", "job").split("\n\n")]
    detail = [job for job in detail if job.get("WorkDir") == str(studied)]
    training = (
        "baseline",
        "features",
        "transfer",
        "gridcnn",
        "yolo_finetuned",
        "yolov2",
        "torchvision_detector",
        "source_weights",
        "pairs",
    )
    for job in detail:
        rule = job["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
        asked = int(re.search(r"gpu[^=]*[:=](\d+)", job.get("TresPerJob", "gpu:0"))[1])
        assert asked == (1 if rule.startswith(training) else 0), job["Comment"]
    code, output = run(repository, studied, *tiny(repository), "--dry-run")
    assert code == 0 and "Nothing to be done" in output, output[-3000:]


@pytest.mark.long
def test_a_failed_pair_costs_no_finished_pair(repository, slurm, finished, tmp_path):
    """One pair of a bundle fails; the others' results stay, and the next run trains that pair alone."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    config = ["--config", "paper={transfer: {sizes: [40, 60, 70], layers: [0, 2, 4, 6]}}", "--", "grid"]
    blocked = folder / "results/tiny/state/transfer/paper_c4_s70"
    blocked.mkdir(parents=True)  # a folder where the state of that training is to be a file
    code, output = run(repository, folder, *tiny(repository), "--retries", "0", *config)
    assert code != 0
    done = {path.parent.name for path in folder.glob("results/tiny/transfer/paper/c*_s70/facts.json")}
    assert "c4_s70" not in done
    blocked.rmdir()
    code, output = run(repository, folder, *tiny(repository), *config)
    assert code == 0, output[-4000:]
    trained = set(re.findall(r"rule transfer:.*?wildcards: protocol=paper, layers=(\d+), size=70", output, re.S))
    assert {f"c{layers}_s70" for layers in trained}.isdisjoint(done)


def training_processes(folder):
    """The training scripts of pairs that run in a folder now: process number → pair, from the log that it writes."""
    found = {}
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(folder)) and word.endswith(".transfer.py") for word in words):
            with contextlib.suppress(psutil.Error, StopIteration):
                script = next(word for word in words if word.endswith(".transfer.py"))
                found[process.info["pid"]] = re.search(r"paper/(c\d+_s\d+)/model", Path(script).read_text("latin-1"))[1]
    return found


@pytest.mark.long
def test_a_bundle_whose_member_is_killed_goes_on_in_the_same_run(repository, slurm, finished, tmp_path):
    """One plain command: the bundle is submitted again, and what its other members finished stays."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    pairs = "paper={transfer: {sizes: [40, 60, 70], layers: [0, 2, 4, 6], training: {epochs: 2, steps: 40}}}"
    command = command_line(repository, folder, *tiny(repository), "--config", pairs, "--", "grid")

    def began(size):
        """When the training of each finished pair of a bundle began; files get new times when their bundle ends."""
        paths = folder.glob(f"results/tiny/transfer/paper/c*_s{size}/facts.json")
        facts = {path.parent.name: json.loads(path.read_text()) for path in paths}
        return {pair: content["started"] for pair, content in facts.items() if content["steps"] == 80}

    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=repository, env=environment())

    def under_way():
        """Pair → process of a bundle's member that trains while another is finished."""
        members = {pair: number for number, pair in training_processes(folder).items() if pair.endswith("_s70")}
        return {pair: number for pair, number in members.items() if began(70) and pair not in began(70)}

    wait_for(under_way, folder, timeout=900)
    killed, before = under_way(), began(70)
    os.kill(next(iter(killed.values())), signal.SIGKILL)
    code, output = ended(process, folder, timeout=900)
    assert code == 0, output[-4000:]
    assert "Trying to restart" in output, "the bundle was submitted again"
    after = began(70)
    assert len(after) == 4 and before.items() <= after.items() and not killed.keys() & before.keys()
    assert not list(folder.glob("results/tiny/state/**/*.finished"))
