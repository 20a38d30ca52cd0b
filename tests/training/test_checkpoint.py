"""The state file of a training run: whole or absent, its own run's or refused, gone when done."""

import errno
import hashlib
import io
import json
import os
import subprocess

import pytest
import torch

from cxr.errors import Interrupted
from cxr.runtime.journal import Journal
from cxr.training import checkpoint
from cxr.training.checkpoint import Keeper


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


def log(tell):
    return tell.path.read_text()


def test_what_was_saved_is_loaded_and_removed_when_done(tell, tmp_path):
    keeper = Keeper(tmp_path / "run/state", "key", 0, tell)
    assert keeper.load() is None
    keeper.save({"step": 3, "weights": {"w": torch.arange(4.0)}, "rows": [{"loss": 0.5}]})
    again = Keeper(tmp_path / "run/state", "key", 0, tell)
    content = again.load()
    assert content["step"] == 3 and content["weights"]["w"].tolist() == [0, 1, 2, 3]
    assert again.resumed == 1
    again.clear()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_state_of_other_settings_or_data_is_refused(tell, tmp_path):
    Keeper(tmp_path / "state", "key", 0, tell).save({"step": 3})
    assert Keeper(tmp_path / "state", "another", 0, tell).load() is None
    assert "belongs to other settings, data or code" in log(tell)


def with_head(path, body, **more):
    """Write a file whose checksum is right."""
    head = {"key": "key", "resumed": 0, "torch": torch.__version__, "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(json.dumps(head | more).encode() + b"\n" + body)


def saved_by_torch(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def moved_behind_a_link(path):
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def folder_in_its_place(path):
    path.unlink()
    path.mkdir()


def without_the_rights_to_read_it(path):
    if os.geteuid() == 0:
        pytest.skip("permission bits do not bind root")
    path.chmod(0)


DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), "it is damaged"),
    "a head alone": (lambda path: path.write_bytes(b"{}\n"), "it is damaged"),
    "no head": (lambda path: path.write_bytes(b"not json\n123"), "it is damaged"),
    "another head": (lambda path: path.write_bytes(b"[]\n"), "it is damaged"),
    "a head without an end": (lambda path: path.write_bytes(b"[" * 100_000), "it is damaged"),
    "a changed byte": (
        lambda path: path.write_bytes(path.read_bytes()[:-7] + b"x" + path.read_bytes()[-6:]),
        "damaged",
    ),
    "cut": (lambda path: os.truncate(path, path.stat().st_size - 1), "it is damaged"),
    "not counted": (lambda path: with_head(path, saved_by_torch({}), resumed="often"), "it is damaged"),
    "not of torch": (lambda path: with_head(path, b"anything"), ""),
    "not a state": (lambda path: with_head(path, saved_by_torch([1])), "it is damaged"),
    "with code": (lambda path: with_head(path, saved_by_torch({"step": io.BytesIO})), ""),
    "of another version": (lambda path: with_head(path, saved_by_torch({}), torch="1.0"), "saved by PyTorch 1.0, and"),
    "a link": (moved_behind_a_link, "it is not followed"),
    "a folder": (folder_in_its_place, "not a regular file"),
    "not readable": (without_the_rights_to_read_it, "Permission denied"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_file_that_cannot_be_used_is_as_good_as_none_and_the_log_says_why(tell, tmp_path, damage):
    path = tmp_path / "state"
    Keeper(path, "key", 0, tell).save({"step": 3})
    change, words = DAMAGES[damage]
    change(path)
    keeper = Keeper(path, "key", 0, tell)
    assert keeper.load() is None and keeper.resumed == 0
    assert f"{path}: this training state is not used, and training starts from the beginning: " in log(tell)
    assert words in log(tell).splitlines()[-1]
    keeper.save({"step": 5})  # and after the next save there is one again
    if damage != "a folder":
        assert Keeper(path, "key", 0, tell).load()["step"] == 5
    keeper.clear()


def test_a_state_file_that_the_disk_cannot_give_back_is_as_good_as_none(tell, tmp_path, monkeypatch):
    path = tmp_path / "state"
    Keeper(path, "key", 0, tell).save({"step": 3})

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoint, "open", fail, raising=False)
    assert Keeper(path, "key", 0, tell).load() is None
    assert "training starts from the beginning: Input/output error" in log(tell)


def test_content_that_does_not_fit_counts_as_no_attempt_before(tell, tmp_path):
    Keeper(tmp_path / "state", "key", 0, tell).save({"step": 3})
    keeper = Keeper(tmp_path / "state", "key", 0, tell)
    assert keeper.load() and keeper.resumed == 1
    keeper.refuse(RuntimeError("size mismatch for w\nand for b"))
    assert keeper.resumed == 0
    assert log(tell).endswith("training starts from the beginning: size mismatch for w\n")


def test_a_state_that_cannot_be_removed_fails_no_job_whose_results_are_written(tell, tmp_path):
    (tmp_path / "state").mkdir()
    Keeper(tmp_path / "state", "key", 0, tell).clear()
    assert "this training state could not be removed" in log(tell)


def test_a_link_in_the_place_of_the_next_state_is_not_followed(tell, tmp_path):
    (tmp_path / "own").write_text("of the user")
    (tmp_path / "state.new").symlink_to(tmp_path / "own")
    (tmp_path / "state").symlink_to(tmp_path / "own")
    Keeper(tmp_path / "state", "key", 0, tell).save({"step": 3})
    assert (tmp_path / "own").read_text() == "of the user"
    assert Keeper(tmp_path / "state", "key", 0, tell).load()["step"] == 3


def test_what_a_kill_left_half_written_is_removed_in_the_end(tell, tmp_path):
    (tmp_path / "state.new").write_bytes(b"half")
    Keeper(tmp_path / "state", "key", 0, tell).clear()
    assert list(tmp_path.glob("state*")) == []


def test_a_run_asked_to_stop_that_cannot_save_says_so(tell, tmp_path):
    (tmp_path / "state").mkdir()
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    with keeper.listening():
        os.kill(os.getpid(), 15)
        with pytest.raises(
            Interrupted, match=r"stopped by SIGTERM, and the training state could not be saved \(Is a dir"
        ):
            keeper.save({"step": 5})


def test_saving_is_due_after_the_interval_and_less_often_where_it_is_slow(tell, tmp_path):
    keeper = Keeper(tmp_path / "state", "key", 1000, tell)
    assert not keeper.due()
    keeper.last -= 1001
    assert keeper.due()
    keeper.spent = 30  # seconds: at 1% of the time, one save in 3000
    assert not keeper.due()
    keeper.last -= 2000
    assert keeper.due()
    assert not Keeper(None, "key", 0, tell).due()


def test_a_full_disk_costs_the_state_and_not_the_run(tell, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        keeper = Keeper(folder / "state", "key", 0, tell)
        keeper.save({"step": 1})
        keeper.save({"step": 2, "weights": torch.zeros(1_000_000)})
        assert "could not be saved (No space left on device); training goes on" in log(tell)
        assert Keeper(folder / "state", "key", 0, tell).load()["step"] == 1
        assert os.listdir(folder) == ["state"]
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_run_asked_to_stop_saves_and_keeps_its_state(tell, tmp_path):
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    with keeper.listening():
        os.kill(os.getpid(), 15)
        assert keeper.due()
        with pytest.raises(Interrupted, match=r"stopped by SIGTERM.*the same command continues"):
            keeper.save({"step": 5})
    keeper.clear()
    assert Keeper(tmp_path / "state", "key", 0, tell).load()["step"] == 5
