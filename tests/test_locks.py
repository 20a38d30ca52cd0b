"""A lock on a file: one process at a time, none left by a kill, none where a file system knows none."""

import errno
import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxr import locks

HOLDER = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from cxr import locks
file = open(sys.argv[2], "a+")
assert locks.take(file)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_lock_dies_with_its_process_however_it_ends(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    package = str(Path(locks.__file__).parents[1])
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, package, str(path)], stdout=subprocess.PIPE, text=True)
    child = int(holder.stdout.readline())
    with path.open("a+") as file:
        assert not locks.take(file)
        holder.kill()
        began = time.monotonic()
        assert locks.take(file, wait=True) and time.monotonic() - began < 10
        with path.open("a+") as other:  # held by this process now
            assert not locks.take(other)
    with path.open("a+") as file:
        assert locks.take(file)
    subprocess.run(["kill", str(child)], check=True)  # which was alive all the while
    assert path.read_text() == "content" and [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("trouble", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_a_file_system_knows_no_locks_the_work_goes_on_and_leaves_no_marker(tmp_path, monkeypatch, trouble):
    def refuse(*_):
        raise OSError(trouble, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for wait in (False, True):
        with (tmp_path / "file").open("a+") as file:
            assert locks.take(file, wait)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
