"""A file that processes share: nothing else is opened in its place; its lock is left by no kill."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxr.errors import InputError
from cxr.runtime import locks

HOLDER = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from cxr.runtime import locks
file = open(sys.argv[2], "a+")
assert locks.take(file)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_lock_dies_with_its_process_however_it_ends(repository, tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    package = str(repository / "workflow")
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


def opened(path, mode="a+"):
    return open(path, mode, opener=locks.cautiously)


@pytest.mark.parametrize("mode", ["w", "a+", "r", "r+"])
@pytest.mark.parametrize("leads", ["somewhere", "nowhere"])
def test_a_link_is_not_followed(tmp_path, mode, leads):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    if leads == "somewhere":
        target.write_text("of the user")
    with pytest.raises(InputError, match=r"link: this is a link, and it is not followed; remove it and run again"):
        opened(link, mode)
    assert target.read_text() == "of the user" if leads == "somewhere" else not target.exists()


def a_pipe(path):
    os.mkfifo(path)


def a_socket(path):
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)


@pytest.mark.parametrize("make", [a_pipe, a_socket, Path.mkdir])
@pytest.mark.parametrize("mode", ["w", "a+", "r", "r+"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path, monkeypatch, make, mode):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")
    with pytest.raises(InputError, match=r"file: this (is not a regular file|file cannot be opened)"):
        opened(tmp_path / "file", mode)


@pytest.fixture
def owned(monkeypatch):
    """A function that makes up the owners of open files and of folders."""
    stat, fstat = Path.stat, os.fstat

    def of(found, owner):
        return os.stat_result((*found[:4], owner, *found[5:]))

    def make(file, folder):
        monkeypatch.setattr(os, "fstat", lambda number: of(fstat(number), file))
        monkeypatch.setattr(Path, "stat", lambda path, **more: of(stat(path, **more), folder))

    return make


def test_a_file_of_another_user_is_refused_before_it_is_emptied(tmp_path, owned):
    (tmp_path / "file").write_text("theirs")
    owned(file=os.geteuid() + 1, folder=os.geteuid())
    with pytest.raises(InputError, match=rf"file: this file belongs to another user \(number {os.geteuid() + 1}\)"):
        opened(tmp_path / "file", "w")
    assert (tmp_path / "file").read_text() == "theirs"


def test_where_a_file_system_shows_one_owner_for_everything_files_are_opened(tmp_path, owned):
    owned(file=os.geteuid() + 1, folder=os.geteuid() + 1)
    opened(tmp_path / "file").close()


def test_a_file_that_may_not_be_written_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("permission bits do not bind root")
    (tmp_path / "file").touch(0o444)
    with pytest.raises(InputError, match=r"file: this file cannot be opened \(Permission denied\)"):
        opened(tmp_path / "file")


def test_an_own_file_is_opened_as_ever(tmp_path):
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "file", "r")
    with opened(tmp_path / "file", "a+") as file:
        file.write("one")
    with opened(tmp_path / "file", "a+") as file:
        file.write("two")
    assert (tmp_path / "file").read_text() == "onetwo"
    with opened(tmp_path / "file", "w") as file:
        file.write("three")
    assert opened(tmp_path / "file", "r").read() == "three"


def test_no_program_that_is_started_later_inherits_a_file(tmp_path):
    with opened(tmp_path / "file") as file:
        assert not os.get_inheritable(file.fileno())


def test_without_locks_an_attempt_says_so(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with opened(tmp_path / "file") as file, pytest.raises(OSError, match="no locks here"):
        locks.attempt(file)
