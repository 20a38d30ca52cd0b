"""Claiming a GPU, with made-up ones: each job its own, never more than the slots, none lost to a kill."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxr import gpus
from cxr.journal import Journal


@pytest.fixture
def made_up(tmp_path):
    """A function that puts an nvidia-smi listing so many GPUs on the path of an environment."""

    def make(count):
        tool = tmp_path / "bin/nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        lines = "\n".join(f"GPU {number}: Made-up (UUID: GPU-{tmp_path.name}-{number})" for number in range(count))
        tool.write_text(f"#!/bin/sh\ncat <<END\n{lines}\nEND\n")
        tool.chmod(0o755)
        (tmp_path / "tmp").mkdir(exist_ok=True)
        hidden = {"CUDA_VISIBLE_DEVICES", "TMPDIR"}
        plain = {name: value for name, value in os.environ.items() if name not in hidden}
        return plain | {
            "PYTHONPATH": str(Path(gpus.__file__).parents[1]),
            "PATH": f"{tool.parent}:{os.environ['PATH']}",
            "TMPDIR": str(tmp_path / "tmp"),
        }

    return make


JOB = """
import json, os, sys, time
from cxr import gpus
from cxr.journal import Journal
with Journal(sys.argv[1], "job") as tell, gpus.claimed(os.environ, int(sys.argv[2]), tell) as gpu:
    began = time.time()
    time.sleep(float(sys.argv[3]))
    print(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], began, time.time()]))
"""


def start(environment, folder, number, slots, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder / f"{number}.log"), str(slots), str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize(("count", "slots", "jobs"), [(1, 1, 3), (2, 1, 6), (2, 2, 8), (8, 1, 10)])
def test_jobs_spread_over_the_gpus_and_never_exceed_the_slots(made_up, tmp_path, count, slots, jobs):
    environment = made_up(count)
    running = [start(environment, tmp_path, number, slots, 0.6) for number in range(jobs)]
    held = [json.loads(job.communicate()[0]) for job in running]
    assert {gpu for gpu, _, _ in held} == {str(number) for number in range(count)}
    for gpu, began, _ in held:
        at_once = [1 for other, b, e in held if other == gpu and b <= began < e]
        assert len(at_once) <= slots


def test_a_killed_jobs_gpu_is_free_again(made_up, tmp_path):
    environment = made_up(1)
    killed = start(environment, tmp_path, 0, 1, 60)
    while "GPU 0" not in (tmp_path / "0.log").read_text() if (tmp_path / "0.log").exists() else True:
        time.sleep(0.05)
    waiting = start(environment, tmp_path, 1, 1, 0)
    time.sleep(1)
    assert waiting.poll() is None and "all 1 GPUs are taken" in (tmp_path / "1.log").read_text()
    killed.kill()
    assert json.loads(waiting.communicate(timeout=20)[0])[0] == "0"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("1", ["1"]), ("2,0", ["2", "0"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("GPU-abc", ["GPU-abc"])],
)
def test_cuda_visible_devices_is_respected(made_up, visible, expected):
    found = gpus.find(made_up(3) | {"CUDA_VISIBLE_DEVICES": visible})
    assert [gpu.id for gpu in found] == expected


def test_a_number_and_all_its_names_lock_the_same_gpu(made_up):
    environment = made_up(2)
    uuid = gpus.find(environment)[1].key
    assert gpus.find(environment | {"CUDA_VISIBLE_DEVICES": "1"})[0].key == uuid
    assert gpus.find(environment | {"CUDA_VISIBLE_DEVICES": uuid})[0].key == uuid


def test_without_nvidia_smi_the_cpu_is_used_and_the_log_says_so(tmp_path):
    environment = {"PATH": str(tmp_path)}
    with Journal(tmp_path / "log", "job") as tell, gpus.claimed(environment, 1, tell) as gpu:
        assert gpu is None and "CUDA_VISIBLE_DEVICES" not in environment
    assert "no GPU found: training on the CPU" in (tmp_path / "log").read_text()
