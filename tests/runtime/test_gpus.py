"""Claiming a GPU, with made-up ones: each job its own, never more than the slots, none lost to a kill, none unclaimed."""

import ast
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import made_up_nvml
import pynvml
import pytest
import torch
from made_up_nvml import board

from cxr.errors import InputError
from cxr.runtime import gpus
from cxr.runtime.journal import Journal
from cxr.training import runs
from cxr.training.device import Device

PACKAGE = Path(gpus.__file__).parents[2]
PLAIN = ["GPU-1111aaaa-0000", "GPU-1111bbbb-0000", "GPU-2222cccc-0000"]
SPLIT = [
    board(PLAIN[0], [("MIG-aaaa-1", 1, 0), None, ("MIG-abbb-2", 2, 0)]),
    board(PLAIN[1], [None, None]),
    board(PLAIN[2]),
]


@pytest.fixture
def machine(monkeypatch):
    """A function that makes up the GPUs of this process's machine."""

    def make(boards):
        for name in dir(pynvml):  # to be undone at the end of the test
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(pynvml, name))
        made_up_nvml.install(boards)

    return make


@pytest.fixture
def made_up(tmp_path):
    """A function that returns an environment in which processes find so many GPUs; nvidia-smi fails there."""

    def make(count):
        for name in ("bin", "tmp", "site"):
            (tmp_path / name).mkdir(exist_ok=True)
        tool = tmp_path / "bin/nvidia-smi"
        tool.write_text("#!/bin/sh\necho Failed to initialize NVML: Driver/library version mismatch\nexit 18\n")
        tool.chmod(0o755)
        plain = {name: value for name, value in os.environ.items() if name not in (gpus.VISIBLE, gpus.ORDER)}
        boards = [board(f"GPU-{number}") for number in range(count)]
        added = made_up_nvml.environment(boards, tmp_path / "site")
        added["PYTHONPATH"] += f"{os.pathsep}{PACKAGE}"
        return plain | added | {"PATH": f"{tool.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}

    return make


JOB = """
import json, os, sys, time
from cxr.runtime import gpus
from cxr.runtime.journal import Journal
with Journal(sys.argv[1], "job") as tell, gpus.claimed(os.environ, int(sys.argv[2]), tell) as gpu:
    began = time.time()
    if sys.argv[4:]:
        child = os.fork()  # as a loader's worker
        print(child, flush=True) if child else None
    time.sleep(float(sys.argv[3]))
    print(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], began, time.time()]))
"""


def start(environment, folder, number, slots, seconds, *more):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder / f"{number}.log"), str(slots), str(seconds), *more],
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
    assert {gpu for gpu, _, _ in held} == {f"GPU-{number}" for number in range(count)}
    for gpu, began, _ in held:
        at_once = [1 for other, b, e in held if other == gpu and b <= began < e]
        assert len(at_once) <= slots


@pytest.mark.parametrize("more", [(), ("with a child",)])
def test_a_killed_jobs_gpu_is_free_again_also_while_a_child_of_it_lives(made_up, tmp_path, more):
    environment = made_up(1)
    killed = start(environment, tmp_path, 0, 1, 60, *more)
    child = int(killed.stdout.readline()) if more else None
    while "GPU 0 (GPU-0)" not in (tmp_path / "0.log").read_text() if (tmp_path / "0.log").exists() else True:
        time.sleep(0.05)
    waiting = start(environment, tmp_path, 1, 1, 0)
    while "all 1 GPUs are taken" not in (tmp_path / "1.log").read_text() if (tmp_path / "1.log").exists() else True:
        time.sleep(0.05)
    time.sleep(0.6)
    assert waiting.poll() is None
    killed.kill()
    try:
        assert json.loads(waiting.communicate(timeout=20)[0])[0] == "GPU-0"
    finally:
        if child:
            os.kill(child, 9)


def found(visible, **more):
    """The ids found under a value of CUDA_VISIBLE_DEVICES (None: unset), and what was told."""
    told = []
    environment = more if visible is None else more | {gpus.VISIBLE: visible}
    return [gpu.id for gpu in gpus.find(environment, told.append)], "\n".join(told)


@pytest.mark.parametrize(
    ("visible", "expected", "words"),
    [
        (None, [0, 1, 2], ""),
        ("1", [1], ""),
        ("2,0", [2, 0], ""),
        (" 0 , +1,02", [0, 1, 2], ""),
        ("", [], ""),
        ("-1", [], ""),
        ("NoDevFiles", [], ""),
        ("0,-1,1", [0], ""),
        ("0,,1", [0], ""),
        ("0,7,1", [0], "'7' does not name exactly one usable GPU"),
        ("all", [], "'all' does not name exactly one usable GPU"),
        ("0,1,0", [], "'0' is named twice"),
        ("0,GPU-1111a", [], "'GPU-1111a' is named twice"),
        (PLAIN[1], [1], ""),
        ("GPU-2,GPU-1111b", [2, 1], ""),
        ("GPU-1111", [], "'GPU-1111' does not name exactly one usable GPU"),
        ("GPU-9", [], "'GPU-9' does not name exactly one usable GPU"),
        ("1111aaaa", [], "'1111aaaa' does not name exactly one usable GPU"),
        ("MIG-1", [], "'MIG-1' does not name exactly one usable GPU"),
    ],
)
def test_cuda_visible_devices_means_what_it_means_to_cuda(machine, visible, expected, words):
    machine([board(uuid) for uuid in PLAIN])
    ids, told = found(visible)
    assert ids == [PLAIN[number] for number in expected]
    assert words in told if words else not told


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["MIG-aaaa-1", "MIG-abbb-2", PLAIN[2]]),
        ("0", ["MIG-aaaa-1", "MIG-abbb-2"]),
        ("GPU-1111a", ["MIG-aaaa-1", "MIG-abbb-2"]),
        ("2,0", [PLAIN[2], "MIG-aaaa-1", "MIG-abbb-2"]),
        ("1", []),
        ("MIG-abbb-2", ["MIG-abbb-2"]),
        ("MIG-ab,MIG-aa", ["MIG-abbb-2", "MIG-aaaa-1"]),
        ("MIG-a", []),
        (f"MIG-{PLAIN[0]}/2/0", ["MIG-abbb-2"]),
        (f"MIG-{PLAIN[0]}/1/0,MIG-abbb-2", ["MIG-aaaa-1", "MIG-abbb-2"]),
        (f"MIG-{PLAIN[0]}/1/0,MIG-aaaa-1", []),
        (f"MIG-{PLAIN[0]}/3/0", []),
    ],
)
def test_instances_of_a_gpu_in_mig_mode_count_one_by_one(machine, visible, expected):
    machine(SPLIT)
    ids, told = found(visible)
    assert ids == expected
    assert f"GPU 1 ({PLAIN[1]}) is in MIG mode and has no instance" in told


def test_gpus_of_others_do_not_count_and_a_lost_one_is_told(machine):
    machine([board("", error="NVMLError_NoPermission"), board(PLAIN[0]), board(PLAIN[1])])
    assert found(None) == (PLAIN[:2], "")
    assert found("1") == ([PLAIN[1]], "")  # as CUDA numbers them in such a job
    machine([board(PLAIN[0]), board("", error="NVMLError_GpuIsLost")])
    assert found(None) == ([PLAIN[0]], "GPU 1 is left out (GPU is lost)")


@pytest.mark.parametrize(
    ("visible", "expected", "words"),
    [
        (None, [], "fails (RM has detected an NVML/RM version mismatch): no GPU is used, and CUDA is hidden"),
        ("1,00", ["1", "0"], "is used as it is"),
        ("GPU-1111", ["GPU-1111"], "is used as it is"),
        ("MIG-GPU-1/2/0", ["MIG-GPU-1/2/0"], "is used as it is"),
        ("0,all", ["0"], "'all' does not name exactly one usable GPU"),
        ("1,+1", [], "'+1' is named twice"),
        ("", [], ""),
        ("-1", [], ""),
        ("NoDevFiles", [], ""),
    ],
)
def test_where_nvml_fails_only_gpus_that_are_named_are_used(machine, visible, expected, words):
    machine("NVMLError_LibRmVersionMismatch")
    ids, told = found(visible)
    assert ids == expected
    assert words in told if words else not told


@pytest.mark.parametrize("trouble", ["NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded"])
def test_a_machine_without_a_driver_is_not_told_of_nvml(machine, monkeypatch, tmp_path, trouble):
    machine(trouble)
    monkeypatch.setattr(gpus, "DRIVER", (tmp_path / "absent",))
    assert found(None) == ([], "")
    monkeypatch.setattr(gpus, "DRIVER", (tmp_path / "absent", tmp_path))  # a container without NVML, but with CUDA
    assert "CUDA is hidden" in found(None)[1]


@pytest.mark.parametrize("boards", ["NVMLError_LibRmVersionMismatch", "NVMLError_LibraryNotFound", [], [board("", [])]])
def test_a_gpu_that_is_not_found_is_hidden_from_the_job(machine, tmp_path, boards):
    machine(boards)
    environment = {}
    with Journal(tmp_path / "log", "job") as tell, gpus.claimed(environment, 1, tell) as gpu:
        assert gpu is None and environment == {gpus.VISIBLE: ""}
    assert "no GPU found: training on the CPU" in (tmp_path / "log").read_text()


def claim(environment, tmp_path, monkeypatch):
    """Claim a GPU with the lock folder below tmp_path; return its id and the names of the locks that lie there after."""
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    with Journal(tmp_path / "log", "job") as tell, gpus.claimed(environment, 1, tell) as gpu:
        return gpu.id, [path.name for path in tmp_path.glob("cxr-gpus-*/*")]


def test_a_number_and_all_its_names_lock_the_same_gpu(machine, tmp_path, monkeypatch):
    machine(SPLIT)
    for visible in ("MIG-aaaa-1", "MIG-aa", "0", f"MIG-{PLAIN[0]}/1/0"):
        environment = {gpus.VISIBLE: visible}
        assert claim(environment, tmp_path, monkeypatch) == ("MIG-aaaa-1", ["MIG-aaaa-1-0.lock"])
        assert environment[gpus.VISIBLE] == "MIG-aaaa-1"


def test_a_number_that_no_uuid_is_known_for_counts_by_pci_bus(machine, tmp_path, monkeypatch):
    """NVML's order, and by default not CUDA's: with the order fixed a number is one GPU in all jobs."""
    machine("NVMLError_LibRmVersionMismatch")
    environment = {gpus.VISIBLE: "1,0"}
    assert claim(environment, tmp_path, monkeypatch) == ("1", ["1-0.lock"])
    assert environment == {gpus.VISIBLE: "1", gpus.ORDER: "PCI_BUS_ID"}
    environment = {gpus.VISIBLE: "MIG-GPU-1/2/0"}
    assert claim(environment, tmp_path, monkeypatch)[0] == "MIG-GPU-1/2/0"


@pytest.mark.parametrize("trouble", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_in_the_temporary_folder_no_gpu_is_used_unlocked(machine, tmp_path, monkeypatch, trouble):
    machine([board(PLAIN[0])])

    def refuse(*_):
        raise OSError(trouble, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        InputError, match=rf"{PLAIN[0]}-0\.lock: the lock of a GPU cannot be taken \(no locks here\).*TMPDIR"
    ):
        gpus._try(tmp_path / "cxr-gpus" / f"{PLAIN[0]}-0.lock")


def refusal(tmp_path, monkeypatch):
    """What a job says that can claim no GPU."""
    with pytest.raises(SystemExit):
        claim({}, tmp_path, monkeypatch)
    return (tmp_path / "log").read_text()


def a_link(folder):
    (folder.parent / "target").mkdir(0o700)
    folder.symlink_to(folder.parent / "target")


def open_to_others(folder):
    folder.mkdir()
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_link, "need a folder of this name, but this is not a folder; remove it; or set TMPDIR"),
        (Path.touch, "need a folder of this name, but this is not a folder; remove it; or set TMPDIR"),
        (open_to_others, "other users have access to the GPU locks (mode 755); chmod 700"),
    ],
)
def test_the_folder_of_the_locks_has_to_be_this_users_alone(machine, tmp_path, monkeypatch, make, words):
    machine([board(PLAIN[0])])
    make(tmp_path / f"cxr-gpus-{os.getuid()}")
    assert words in refusal(tmp_path, monkeypatch)
    assert not list(tmp_path.rglob("*.lock"))


def test_a_folder_of_another_user_is_refused(machine, tmp_path, monkeypatch):
    machine([board(PLAIN[0])])
    (tmp_path / f"cxr-gpus-{os.getuid()}").mkdir(0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert re.search(
        rf"belongs to another user \(number {owner}\).*set TMPDIR to a folder", refusal(tmp_path, monkeypatch)
    )


def test_the_folder_that_a_job_makes_for_the_locks_is_closed_to_others(machine, tmp_path, monkeypatch):
    machine([board(PLAIN[0])])
    former = os.umask(0)
    try:
        claim({}, tmp_path, monkeypatch)
    finally:
        os.umask(former)
    assert (tmp_path / f"cxr-gpus-{os.getuid()}").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", [Path.symlink_to, Path.hardlink_to])
def test_a_file_in_the_place_of_a_lock_is_never_written(machine, tmp_path, monkeypatch, place):
    machine([board(PLAIN[0])])
    folder, own = tmp_path / f"cxr-gpus-{os.getuid()}", tmp_path / "own"
    folder.mkdir(0o700)
    own.write_text("of the user")
    place(folder / f"{PLAIN[0]}-0.lock", own)
    if place is Path.symlink_to:
        assert "0.lock: this is a link, and it is not followed" in refusal(tmp_path, monkeypatch)
    else:
        claim({}, tmp_path, monkeypatch)
    assert own.read_text() == "of the user"


def test_a_lock_removed_while_a_job_waits_for_it_guards_nothing(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "lock"
    attempt = gpus.locks.attempt

    def removed_meanwhile(file):
        path.unlink()
        return attempt(file)

    with monkeypatch.context() as patched:
        patched.setattr(gpus.locks, "attempt", removed_meanwhile)
        assert gpus._try(path) is None
    with gpus._try(path):
        assert gpus._try(path) is None
    gpus._try(path).close()


STARTED = {
    "params": {"common": {"seed": 1, "precision": "float32"}, "code": "c", "state": "state"},
    "inputs": {},
    "threads": 1,
}


@pytest.mark.parametrize(("boards", "visible"), [([board(PLAIN[0])], PLAIN[0]), ("NVMLError_LibRmVersionMismatch", "")])
def test_what_a_job_may_use_is_set_before_cuda_is_asked(machine, tmp_path, monkeypatch, boards, visible):
    """And where PyTorch sees a GPU all the same, the job ends rather than use one that it has not claimed."""
    machine(boards)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    environment = {"CXR_GPU_SLOTS": "1", "CXR_CHECKPOINT": "60", "CXR_RESULTS": "."}
    asked = []

    def choose(*_):
        asked.append(environment[gpus.VISIBLE])
        return Device(torch.device("cuda", 0), False)

    monkeypatch.setattr(runs, "choose", choose)
    monkeypatch.chdir(tmp_path)

    def begin():
        with runs.started(**STARTED, environment=environment, tell=Journal(tmp_path / "log", "job")) as run:
            return run.device.torch.type

    if visible:
        assert begin() == "cuda"
    else:
        with pytest.raises(InputError, match="PyTorch sees a GPU although CUDA is hidden"):
            begin()
    assert asked == [visible]


def test_no_module_of_a_job_asks_for_cuda_while_it_is_imported(repository):
    """CUDA reads CUDA_VISIBLE_DEVICES once, at the first question: it has to come after the claim."""
    scripts = [path for path in (repository / "workflow/scripts").glob("*.py") if "runs." in path.read_text()]
    modules = {
        f"{node.module}.{alias.name}"
        for path in scripts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("cxr.")
        for alias in node.names
        if (PACKAGE / node.module.replace(".", "/") / f"{alias.name}.py").exists()
    }
    assert {
        "cxr.detectors.yolo.experiments",
        "cxr.detectors.torchvision_detector",
        "cxr.classifiers.transfer",
    } <= modules
    program = (
        "import importlib, torch\ndef asked(*_): raise SystemExit('CUDA was asked')\n"
        "torch._C._cuda_getDeviceCount = torch._C._cuda_init = asked\n"
        f"for name in {sorted(modules)}: importlib.import_module(name)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
