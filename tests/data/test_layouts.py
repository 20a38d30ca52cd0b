"""The layouts in which the release comes: NIH's own, Kaggle's, Hugging Face's."""

import subprocess
import sys

import pytest

from cxr.data import layouts
from cxr.errors import InputError

TABLES = ["Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_nihs_own_layout(tmp_path):
    touch(tmp_path, *TABLES, "images/images_001.tar.gz")
    assert [layouts.table(tmp_path, name) for name in TABLES] == TABLES
    assert layouts.archive(tmp_path, "images_001") == tmp_path / "images/images_001.tar.gz"
    assert layouts.archive(tmp_path, "images_002") is None
    assert layouts.unpacked(tmp_path, "images_001") is None and layouts.flat(tmp_path) is None
    touch(tmp_path, "images/00000001_000.png")
    assert layouts.flat(tmp_path) == tmp_path / "images"


def test_kaggles_layout(tmp_path):
    touch(tmp_path, "Data_Entry_2017.csv", *TABLES[1:], "images_001/images/00000001_000.png")
    assert [layouts.table(tmp_path, name) for name in TABLES] == ["Data_Entry_2017.csv", *TABLES[1:]]
    assert layouts.unpacked(tmp_path, "images_001") == tmp_path / "images_001"
    assert layouts.unpacked(tmp_path, "images_002") is None and layouts.flat(tmp_path) is None


def test_hugging_faces_layout(tmp_path):
    touch(tmp_path, *(f"data/{name}" for name in TABLES), "data/images/images_001.zip")
    assert [layouts.table(tmp_path, name) for name in TABLES] == [f"data/{name}" for name in TABLES]
    assert layouts.archive(tmp_path, "images_001") == tmp_path / "data/images/images_001.zip"
    touch(tmp_path, "data/images/images_001/images/00000001_000.png")
    assert layouts.unpacked(tmp_path, "images_001") == tmp_path / "data/images/images_001"


def test_explicit_settings_win(tmp_path):
    touch(tmp_path, "data/BBox_List_2017.csv", "Data_Entry_2017.csv", "mine/Data_Entry_2017_v2020.csv")
    for given in ("mine/Data_Entry_2017_v2020.csv", "./BBox_List_2017.csv", "/elsewhere/test_list.txt", "my.csv", ""):
        assert layouts.table(tmp_path, given) == given
    touch(tmp_path, "data/Data_Entry_2017_v2020.csv")  # the name that was asked for wins over the other official one
    assert layouts.table(tmp_path, "Data_Entry_2017_v2020.csv") == "data/Data_Entry_2017_v2020.csv"
    assert layouts.table(tmp_path, "Data_Entry_2017.csv") == "Data_Entry_2017.csv"


def test_what_is_nowhere_keeps_its_name(tmp_path):
    assert layouts.table(tmp_path / "missing", "test_list.txt") == "test_list.txt"
    assert layouts.archive(tmp_path / "missing", "images_001") is None


def test_packed_images_are_told_unless_images_lie_anywhere(tmp_path):
    layouts.require_unpacked(tmp_path)
    touch(tmp_path, "data/images/images_001.zip", "data/images/images_002.zip")
    (tmp_path / "data/circle").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"still packed \(data/images/images_001\.zip, data/images/images_002\.zip\)"):
        layouts.require_unpacked(tmp_path)
    touch(tmp_path, "some/where/deep/00000001_000.PNG")
    layouts.require_unpacked(tmp_path)


def test_no_folder_of_images_is_walked_through(tmp_path, monkeypatch):
    """Known places only: the number of files asked for does not grow with the number of files there."""
    touch(tmp_path, *TABLES[:1], *(f"images_001/images/{number:08d}_000.png" for number in range(300)))
    asked = []
    plain = layouts.os.path.isfile
    monkeypatch.setattr(layouts.os.path, "isfile", lambda path: asked.append(path) or plain(path))
    monkeypatch.setattr(layouts.os, "scandir", lambda path: pytest.fail(f"{path} was listed"))
    for name in TABLES:
        layouts.table(tmp_path, name)
    assert len(asked) <= 10


def dry_run(repository, folder, root):
    lists = "train_val_list: train_val_list.txt, test_list: test_list.txt"
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", folder]
    command += ["--cores", "1", "--dry-run", "--configfile", repository / "tests/tiny.yaml"]
    command += ["--config", "name=real", f"data={{source: nih, root: {root}, {lists}}}", "--", "preflight"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=repository, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_workflow_reads_a_foreign_layout_with_the_official_settings(repository, tmp_path):
    data = touch(
        tmp_path / "data", "Data_Entry_2017.csv", *(f"data/{name}" for name in TABLES[1:]), "a/00000001_000.png"
    )
    code, output = dry_run(repository, tmp_path, data)
    assert code == 0, output[-3000:]
    for name in ("Data_Entry_2017.csv", "data/BBox_List_2017.csv", "data/train_val_list.txt", "data/test_list.txt"):
        assert f"{data}/{name}" in output


def test_the_workflow_says_that_images_are_packed(repository, tmp_path):
    data = touch(tmp_path / "data", *(f"data/{name}" for name in TABLES), "data/images/images_001.zip")
    code, output = dry_run(repository, tmp_path, data)
    assert code != 0 and "still packed (data/images/images_001.zip)" in output and "target `download`" in output
    assert "Traceback" not in output
