"""Files that are none, never end or change meanwhile: each reader says so in a sentence and waits for nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from odd_files import bind_socket
from png_files import blank, orientation

from cxr.data import box_list, label_list, splits
from cxr.data.formats import png
from cxr.errors import InputError
from cxr.runtime import checksums, regular
from cxr.training import weights

MOST = 1000  # bytes
ODD = {  # file name → reason, a part of the detail
    "pipe": ("not a regular file", "a named pipe"),
    "zero": ("not a regular file", "a device"),
    "random": ("not a regular file", "a device"),
    "socket": ("not a regular file", "a socket"),
    "folder": ("not a regular file", "a folder"),
    "to pipe": ("not a regular file", "a named pipe"),
    "giant": ("larger than", "107,374,182,400 bytes"),
}
LOST = ("gone", "nowhere", "circle")  # not there, a link to what is not there, a link that leads to itself


@pytest.fixture
def odd(tmp_path) -> Path:
    """A folder with a file of every kind that is none to read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "random").symlink_to("/dev/urandom")
    bind_socket(tmp_path, "socket")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to pipe").symlink_to("pipe")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(100 << 30)
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_regular_file_of_a_bounded_size_is_named_not_read(odd, name):
    with pytest.raises(regular.Irregular) as raised:
        regular.content(odd / name, MOST)
    reason, detail = ODD[name]
    assert raised.value.reason.startswith(reason) and detail in raised.value.detail


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_there_is_an_error_of_the_system(odd, name):
    with pytest.raises(OSError):
        regular.content(odd / name, MOST)


def test_what_is_there_is_said_in_words(odd):
    said = {name: regular.kind(odd / name) for name in (*ODD, *LOST)}
    assert [said[name] for name in LOST] == [
        "no such file or directory",
        "a broken link",
        "a circular link",
    ]
    assert said["giant"] == "a file" and said["pipe"] == "a named pipe"


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * MOST)
    assert regular.content(tmp_path / "a", MOST) == b"x" * MOST
    (tmp_path / "a").write_bytes(b"x" * (MOST + 1))
    with pytest.raises(regular.Irregular, match=r"it has 1,001 bytes"):
        regular.content(tmp_path / "a", MOST)
    (tmp_path / "a").write_bytes(b"")
    assert regular.content(tmp_path / "a", MOST) == b""


@pytest.mark.parametrize("now", [b"", b"much longer than it was before"])
def test_a_file_that_changes_while_it_is_open_is_not_taken_for_whole(tmp_path, now):
    (tmp_path / "a").write_bytes(b"as it was")
    with pytest.raises(regular.Irregular, match="changed while it was read"), regular.opened(tmp_path / "a", MOST):
        (tmp_path / "a").write_bytes(now)


def test_a_file_that_becomes_a_pipe_between_a_look_and_opening_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"as it was")
    plain = os.stat

    def stat(path, **options):
        found = plain(path, **options)
        if Path(path) == tmp_path / "a":
            os.unlink(path)
            os.mkfifo(path)
        return found

    plain_open = os.open

    def open_at_once(path, flags):
        assert flags & os.O_NONBLOCK, "it would wait for a writer"
        return plain_open(path, flags)

    monkeypatch.setattr(regular.os, "stat", stat)
    monkeypatch.setattr(regular.os, "open", open_at_once)
    with pytest.raises(regular.Irregular, match="not a regular file"):
        regular.content(tmp_path / "a", MOST)


def test_a_picture_that_is_cut_off_while_its_chunks_are_read_ends_no_process(repository, tmp_path):
    """From a map of a file that has been cut off, a process that reads is killed by a signal."""
    path = tmp_path / "a.png"
    path.write_bytes(blank(100, 100, chunks=[orientation(3), (b"juNk", bytes(1 << 20))]))
    code = (
        "import sys; from cxr.data.formats import png; from pathlib import Path\n"
        "path = Path(sys.argv[1]); plain = png._orientation\n"
        "def cut(block):\n    path.write_bytes(b'')\n    return plain(block)\n"
        "png._orientation = cut\n"
        "try:\n    png.facts_of(path)\nexcept ValueError as error:\n    print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository / "workflow")}
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "changed while it was read" in done.stdout


def test_chunks_without_end_are_given_up(tmp_path, monkeypatch):
    """A sparse file is an endless row of chunks of no bytes."""
    monkeypatch.setattr(png, "MOST_CHUNKS", 1000)
    (tmp_path / "a.png").write_bytes(blank(100, 100)[:33] + bytes(12 * 1001))
    with pytest.raises(ValueError, match="more than 1,000 chunks"):
        png.facts_of(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(blank(100, 100) + bytes(12 * 1001))
    assert png.facts_of(tmp_path / "a.png").width == 100, "what stands behind the end is none of them"


# ---- those who read


@pytest.mark.parametrize("name", [*ODD, *LOST])
@pytest.mark.parametrize(
    "read",
    [label_list.inspect_label_table, lambda path: box_list.inspect_box_table(path, None), splits.inspect_image_list],
    ids=["label table", "box list", "official list"],
)
def test_a_table_that_cannot_be_read_stops_with_a_sentence(odd, read, name):
    with pytest.raises(InputError) as raised:
        read(odd / name)
    text = str(raised.value)
    assert text.startswith(f"{odd / name}: ") and "; expected " in text
    assert all(part in text for part in ODD.get(name, ()))


@pytest.mark.parametrize("name", [*ODD, *LOST])
def test_weights_that_cannot_be_read_stop_with_a_sentence(odd, name):
    with pytest.raises(InputError) as raised:
        weights.verify(odd / name, "0" * 64, "toy weights")
    text = str(raised.value)
    assert text.startswith("toy weights: ") and str(odd / name) in text and "or name another file" in text
    assert ODD.get(name, ("", "does not exist"))[1].replace("a folder", "a directory") in text


@pytest.mark.parametrize("name", [name for name in ODD if name != "giant"])
def test_of_what_is_no_file_there_is_no_checksum(odd, name):
    with pytest.raises(InputError, match="not a regular file"):
        checksums.sha256_of(odd / name)
