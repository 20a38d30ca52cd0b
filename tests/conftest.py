"""What the tests share: where real data lie, if they are here, and a finished run of the whole workflow."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from running import snakemake

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# Started in the background by a script, this process would ignore SIGINT, and so would all that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Each test draws the same numbers from torch, whatever ran before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def nih_sample() -> Path:
    """A sample of real NIH files (tables whole, some images); tests that need it are skipped where it is absent."""
    path = SHARED / "nih-sample"
    if not path.is_dir():
        pytest.skip("no real NIH sample beside the repository (../shared/nih-sample)")
    return path


@pytest.fixture(scope="session")
def coco_weights() -> Path:
    """A YOLO weights file with the COCO classes; tests that need it are skipped where it is absent."""
    found = sorted((SHARED / "weights").glob("*.pt"))
    if not found:
        pytest.skip("no COCO weights beside the repository (../shared/weights)")
    return found[0]


@pytest.fixture(scope="session")
def finished(repository, tmp_path_factory):
    """A folder in which the whole tiny study has been run on generated phantoms.

    Where tests run in several processes, one runs the study and the others wait and take a copy.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _finish(repository, tmp_path_factory.mktemp("finished"))
    shared = tmp_path_factory.getbasetemp().parent
    with FileLock(shared / "lock"):
        if not (shared / "finished").exists():
            _finish(repository, shared / "running").rename(shared / "finished")
    return shutil.copytree(shared / "finished", tmp_path_factory.mktemp("copy") / "finished", symlinks=True)


def _finish(repository, folder):
    code, output = snakemake(repository, folder)
    assert code == 0, output[-6000:]
    return folder
