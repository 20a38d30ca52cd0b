"""A folder of new images among which lies everything that a folder can hold: what is an image is prepared, the rest named."""

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicoms import RAMP, deflate_more, stating, write
from odd_files import bind_socket
from png_files import blank
from png_files import png as png_file
from pydicom import uid

from cxr.data import folder, image_files
from cxr.data.formats import decode
from cxr.errors import InputError
from cxr.inference import destination, new_images, overlays, prepare
from cxr.runtime.journal import Journal

GOOD = {"a good $x^{2}$ one.png", "R\\xf6ntgen\\r.png", "below.png/ramp"}
REJECTED = {  # name as it is spelled → reason, a part of the detail
    "aged.png": ("missing", ""),
    "below.png": ("a folder, not an image file", "the image files in it are used"),
    "bomb.dcm": ("longer than 20,000 px", "32767x65535"),
    "circle.png": ("not a regular file", "a circular link"),
    "cut.png": ("truncated", "ends after"),
    "deflated.dcm": ("larger than 400 MB when inflated", "export the image again"),
    "device.png": ("not a regular file", "a device"),
    "empty.png": ("zero bytes", ""),
    "film.dcm": ("more than one frame", "export the one that you need to a file of its own"),
    "forbidden.png": ("unreadable", "Permission denied"),
    "giant.dcm": ("larger than 400 MB", "it has 107,374,182,400 bytes"),
    "giant.png": ("larger than 400 MB", "it has 107,374,182,400 bytes"),
    "growing.png": ("changed while it was read", "run again when it is written"),
    "icon.png": ("smaller than 64 px", "8x8"),
    "large.png": ("more than 89 megapixels", "13000x13000; shrink it"),
    "locked": ("unreadable", "cannot read this folder (Permission denied)"),
    "lost.png": ("not a regular file", "a broken link"),
    "notes.txt": ("neither PNG, JPEG nor DICOM", "by the first bytes"),
    "pipe.png": ("not a regular file", "a named pipe"),
    "random.dcm": ("not a regular file", "a device"),
    "socket.png": ("not a regular file", "a socket"),
    "spelled\\n.png": ("its name reads the same as another file's", "rename one of them"),
    "stream.jpg": ("longer than 20,000 px", "30000x30000"),
    "to pipe.png": ("not a regular file", "a named pipe"),
    "wide.png": ("longer than 20,000 px", "890000x200; crop it to the part that you need"),
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory) -> dict[str, bytes]:
    """Files that are small and claim to be huge."""
    path = tmp_path_factory.mktemp("bombs") / "deflated.dcm"
    write(path, RAMP, syntax=uid.DeflatedExplicitVRLittleEndian)
    deflate_more(path, [bytes(1 << 20)] * 400)
    jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\0\x40\0\x40\x01\x01\x11\0\xff\xd9"
    return {
        path.name: path.read_bytes(),
        "large.png": blank(13_000, 13_000),
        "wide.png": blank(890_000, 200),
        "stream.jpg": stating(jpeg, b"\xff\xc0", 30_000, 30_000),
    }


@pytest.fixture
def new(tmp_path, bombs, monkeypatch) -> Path:
    """The folder: three images, and one of each kind of what is none."""
    root = tmp_path / "new"
    for name in ("below.png", "locked"):
        (root / name).mkdir(parents=True)
    grey = png_file(RAMP % 256, 8, 0)
    for name in (b"a good $x^{2}$ one.png", b"R\xf6ntgen\r.png", b"spelled\n.png", b"forbidden.png", b"growing.png"):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(grey)
    write(root / "below.png/ramp", RAMP)
    for name in ("aged.png", "locked/unseen.png", "spelled\\n.png"):
        (root / name).write_bytes(grey)
    rle = struct.pack("<16L", 2, 64, 66, *[0] * 13) + bytes(4)
    write(root / "bomb.dcm", RAMP, syntax=uid.RLELossless, stream=rle, Rows=65535, Columns=32767)
    (root / "cut.png").write_bytes(grey[:-20])
    for name, data in bombs.items():
        (root / name).write_bytes(data)
    write(root / "film.dcm", np.concatenate([RAMP, RAMP]), NumberOfFrames=2, Rows=64)
    for name in ("giant.dcm", "giant.png"):
        with (root / name).open("wb") as file:
            file.write(grey)
            file.truncate(100 << 30)
    (root / "empty.png").touch()
    (root / "icon.png").write_bytes(png_file(RAMP[:8, :8] % 256, 8, 0))
    (root / "notes.txt").write_text("no image")
    os.mkfifo(root / "pipe.png")
    for name, target in (
        ("circle.png", "circle.png"),
        ("device.png", "/dev/zero"),
        ("random.dcm", "/dev/urandom"),
        ("lost.png", "gone"),
        ("to pipe.png", "pipe.png"),
    ):
        (root / name).symlink_to(target)
    bind_socket(root, "socket.png")
    _happening_meanwhile(root, monkeypatch)
    return root


def _happening_meanwhile(root: Path, monkeypatch) -> None:
    """Let a file vanish, one grow while it is read, and one file and one folder be forbidden, to root too."""
    plain_open, plain_scan, plain_status = os.open, os.scandir, os.fstat
    opened = {}

    def open_one(path, *arguments, **options):
        if path == str(root / "forbidden.png"):
            raise PermissionError(13, "Permission denied", path)
        if path == str(root / "aged.png"):
            os.unlink(path)
        descriptor = plain_open(path, *arguments, **options)
        opened[descriptor] = path
        return descriptor

    def status(descriptor):
        found = plain_status(descriptor)
        if opened.get(descriptor) == str(root / "growing.png"):
            with (root / "growing.png").open("ab") as file:
                file.write(b"more")
        return found

    def scan(path):
        if str(path) == str(root / "locked"):
            raise PermissionError(13, "Permission denied", path)
        return plain_scan(path)

    monkeypatch.setattr(prepare.regular.os, "open", open_one)
    monkeypatch.setattr(prepare.regular.os, "fstat", status)
    monkeypatch.setattr(folder.os, "scandir", scan)


def prepared_from(root: Path, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Prepare a folder; return the table of images and that of what was rejected."""
    out.mkdir(exist_ok=True)
    with Journal(out / "log.txt", "test") as tell:
        prepare.prepare(
            folder=root,
            bits=0,
            sides=[(64, out / "64.u8")],
            index=out / "images.csv",
            rejected=out / "rejected.csv",
            note=out / "folder.txt",
            tell=tell,
        )
    rejected = pd.read_csv(out / "rejected.csv", keep_default_na=False)
    return new_images.read_index(out / "images.csv"), rejected


def test_each_odd_file_is_set_aside_with_its_reason_and_the_others_go_on(new, tmp_path):
    table, rejected = prepared_from(new, tmp_path / "out")
    assert set(table["image"]) == {*GOOD, "spelled\\n.png"}
    assert rejected["image"].tolist() == sorted(REJECTED)
    for row in rejected.itertuples():
        reason, detail = REJECTED[row.image]
        assert row.reason == reason and detail in row.detail, row
    pixels = new_images.Pixels(tmp_path / "out/64.u8", table, 64).read(["a good $x^{2}$ one.png"])[0]
    np.testing.assert_array_equal(pixels, RAMP % 256)


def test_looking_for_changes_opens_none_of_them(new):
    before = folder.fingerprint(new, "")
    assert folder.fingerprint(new, "") == before
    (new / "icon.png").write_bytes(b"")
    assert folder.fingerprint(new, "") != before


def test_the_same_files_in_a_study_are_set_aside_too(new):
    """Those that are no image files are known by their kind; what is in them is known when they are decoded."""
    (new / "locked").rename(new / "open")
    found, rejected = image_files.find_images(new)
    assert dict(zip(rejected["item"], rejected["detail"], strict=True)) == {
        "below.png": "",
        "circle.png": "a circular link",
        "device.png": "a device",
        "lost.png": "a broken link",
        "pipe.png": "a named pipe",
        "socket.png": "a socket",
        "to pipe.png": "a named pipe",
    }
    reasons = {}
    for name in ("giant.png", "large.png", "wide.png", "forbidden.png", "growing.png", "aged.png", "empty.png"):
        assert found[name] == [name]
        with pytest.raises(decode.UnusableImage) as raised:
            decode.decode(new / name)
        reasons[name] = raised.value.reason
    assert reasons == {name: REJECTED[name][0] for name in reasons}


def test_a_folder_of_a_study_that_cannot_be_read_stops_it_since_nobody_knows_what_is_missing(new):
    with pytest.raises(InputError, match=r"locked: cannot read this folder \(Permission denied\)"):
        image_files.find_images(new)
    with pytest.raises(InputError, match=r"locked: cannot read this folder"):
        folder.fingerprint(new)


def test_a_folder_that_vanishes_while_it_is_walked_through_was_not_there(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"x")
    found = []
    for path, _ in folder.walk(tmp_path, ".png"):
        found.append(path)
        (tmp_path / "b/x.png").unlink(missing_ok=True)
        (tmp_path / "b").exists() and (tmp_path / "b").rmdir()
    assert found == ["a/x.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("pipe.png", "a named pipe"), ("device.png", "a link to /dev/zero, which is not a folder"),
     ("circle.png", "a link to circle.png, which is not a folder"), ("empty.png", "a file"), ("none", "no such folder")],
)  # fmt: skip
def test_what_is_given_instead_of_a_folder_is_named(new, tmp_path, name, words):
    with pytest.raises(InputError, match=f"{name}: {words}; expected the folder that holds the images"):
        list(folder.walk(new / name, ""))
    destination.require_own(new / name, tmp_path / "predictions/folder.txt", "predict")


# ---- whose predictions they are


@pytest.fixture
def note(tmp_path) -> Path:
    """The note of what was predicted of the folder `first`."""
    for name in ("first", "second", "predictions/new/pixels"):
        (tmp_path / name).mkdir(parents=True)
    path = tmp_path / "predictions/new/folder.txt"
    destination.write_note(tmp_path / "first", path)
    (path.parent / "classes.csv").write_text("image\n")
    return path


def test_predictions_are_those_of_the_folder_that_the_note_names(note, tmp_path):
    destination.require_own(tmp_path / "first", note, "predict")
    (tmp_path / "link").symlink_to("first")
    destination.require_own(tmp_path / "link", note, "predict")
    with pytest.raises(InputError, match=r"of another folder, .*first, not of .*second: choose another name"):
        destination.require_own(tmp_path / "second", note, "predict")


def test_where_the_note_is_lost_nothing_is_replaced(note, tmp_path):
    note.unlink()
    for name in ("first", "second"):
        with pytest.raises(InputError) as raised:
            destination.require_own(tmp_path / name, note, "predict")
        text = str(raised.value)
        assert f"{note.parent} holds predictions" in text and "predict.name" in text
        assert f"If they belong to {tmp_path / name}, write that: echo {tmp_path / name} > {note}" in text
    subprocess.run(["bash", "-c", f"echo {tmp_path / 'first'} > {note}"], check=True)
    destination.require_own(tmp_path / "first", note, "predict")


def test_what_a_killed_job_leaves_is_no_prediction(note, tmp_path):
    note.unlink()
    (note.parent / "classes.csv").rename(note.parent / "pixels/.part-classifiers.u8")
    (note.parent / ".images.csv.sha256").write_text("")
    destination.require_own(tmp_path / "second", note, "predict")
    destination.require_own(tmp_path / "second", tmp_path / "predictions/other/folder.txt", "predict")


@pytest.mark.parametrize("kind", ["a link", "a named pipe", "a folder", "larger than"])
def test_a_note_that_is_none_is_not_believed(note, tmp_path, kind):
    own = note.read_bytes()
    note.unlink()
    if kind == "a link":
        (tmp_path / "elsewhere").write_bytes(own)
        note.symlink_to(tmp_path / "elsewhere")
    elif kind == "a named pipe":
        os.mkfifo(note)
    elif kind == "a folder":
        note.mkdir()
    else:
        with note.open("wb") as file:
            file.truncate(100 << 30)
    with pytest.raises(InputError) as raised:
        destination.require_own(tmp_path / "first", note, "predict")
    assert f"{note} should name the folder" in str(raised.value) and kind in str(raised.value)
    assert "predict.name" in str(raised.value)


# ---- pictures of them


def test_no_two_images_have_one_picture_however_folders_are_called():
    names = ["x", "x.png/x", "x.png~/x", "x.png~~/x", "a/x", "a/x.png/y", "a/x.png~/y"]
    files = [overlays.file_name(name) for name in names]
    folders = {str(parent) for file in files for parent in Path(file).parents}
    assert len(set(files)) == len(names) and not folders & set(files)
    assert overlays.file_name("below/a.png") == "below/a.png.png", "others are as they were"
