"""A job's log: every message is one line, and nothing in it hides or moves what stands around it."""

import errno

import pytest

from cxr.errors import Done, InputError
from cxr.runtime.journal import Journal, visible


def lines_of(folder, *messages):
    with Journal(folder / "logs/job.log", "job") as tell:
        for message in messages:
            tell(message)
    return (folder / "logs/job.log").read_bytes().decode("utf-8").split("\n")[:-1]


HIDING = {
    "newline": ("a\nerror: b", r"a\nerror: b"),
    "return": ("good\rbad ", r"good\rbad "),
    "tab": ("a\tb", r"a\tb"),
    "colour": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "bell and null": ("\a\0", r"\x07\x00"),
    "delete": ("\x7f", r"\x7f"),
    "C1 controls": ("\x9b31m\x85", r"\x9b31m\x85"),
    "other ends of lines": ("a\u2028b\u2029c\vd\fe", r"a\u2028b\u2029c\x0bd\x0ce"),
    "turned direction": ("gnp\u202excod.png\u2066\u200f", r"gnp\u202excod.png\u2066\u200f"),
    "no width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "no UTF-8": ("\udcff.png", r"\xff.png"),
    "half a pair": ("\ud83d", r"\ud83d"),
    "tags": ("\U000e0041", r"\U000e0041"),
}


@pytest.mark.parametrize("name", HIDING)
def test_what_hides_in_a_message_is_shown_and_the_message_stays_one_line(tmp_path, capsys, name):
    message, shown = HIDING[name]
    (line,) = lines_of(tmp_path, f"file {message} is bad")
    assert line.endswith(f" s  file {shown} is bad")
    assert capsys.readouterr().err == f"[job] {line}\n"


def test_texts_of_all_languages_stay_as_they_are(tmp_path):
    text = "Rüdiger’s 胸部 صدر 🫁 … 5 × 3 \\n C:\\x1b"
    assert visible(text) == text
    assert lines_of(tmp_path, text)[0].endswith(f" s  {text}")


def test_an_error_is_one_line_whatever_names_it_holds(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"), Journal(tmp_path / "log", "job"):
        raise InputError("a\n    0.0 s  all is well: no such file")
    (line,) = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(r"error: a\n    0.0 s  all is well: no such file")
    with pytest.raises(SystemExit, match="1"), Journal(tmp_path / "log", "job"):
        raise OSError(errno.ENOSPC, "No space left on device", "results/\x1b[2J")
    assert r"no room left on the disk of results/\x1b[2J;" in (tmp_path / "log").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="two"), Journal(tmp_path / "log", "job"):
        raise ValueError("one\ntwo")
    (line,) = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(r"failed: ValueError: one\ntwo")


def test_a_job_with_nothing_left_to_do_ends_well_and_says_why(tmp_path):
    with pytest.raises(SystemExit, match="0"), Journal(tmp_path / "log", "job"):
        raise Done("nothing\nto do")
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith(" s  nothing\\nto do\n")


def test_a_log_is_not_written_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/job.log").symlink_to(tmp_path / "precious")
    assert len(lines_of(tmp_path, "hello")) == 1
    assert (tmp_path / "precious").read_text() == "mine"
