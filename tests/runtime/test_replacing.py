"""A file is replaced as a whole or not at all."""

import os

import pytest

from cxr.runtime.replacing import replacing


def test_what_is_written_takes_the_files_name(tmp_path):
    path = tmp_path / "file"
    for content in ("one", "two"):
        with replacing(path) as file:
            file.write(content)
            assert path.exists() == (content == "two"), "until then the former content is there"
        assert path.read_text() == content
    with replacing(path, binary=True) as file:
        file.write(b"\xff")
    assert path.read_bytes() == b"\xff" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_former_content_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("former")
    with pytest.raises(error), replacing(path) as file:
        file.write("half")
        raise error
    assert path.read_text() == "former" and os.listdir(tmp_path) == ["file"]


def test_what_lies_in_the_place_of_the_new_file_is_removed_and_never_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "file.new").symlink_to(tmp_path / "precious")
    with replacing(tmp_path / "file") as file:
        file.write("new")
    assert (tmp_path / "precious").read_text() == "mine" and (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch, durable):
    calls, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda number: calls.append("flushed"))
    monkeypatch.setattr(os, "replace", lambda source, target: (calls.append("named"), replace(source, target)))
    with replacing(tmp_path / "file", durable=durable) as file:
        file.write("new")
    assert calls == (["flushed", "named"] if durable else ["named"])
