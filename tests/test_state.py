"""The state file of a training run: whole or absent, its own run's or refused, gone when done."""

import os
import subprocess

import pytest
import torch

from cxr.errors import Interrupted
from cxr.journal import Journal
from cxr.state import Keeper


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


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"not json\n123", b"[]\n", None])
def test_a_damaged_state_is_refused(tell, tmp_path, damage):
    path = tmp_path / "state"
    Keeper(path, "key", 0, tell).save({"step": 3})
    content = path.read_bytes()
    path.write_bytes(content[:-7] + b"x" + content[-6:] if damage is None else damage)
    assert Keeper(path, "key", 0, tell).load() is None
    assert "damaged" in log(tell)


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
        with pytest.raises(Interrupted, match=r"stopped by SIGTERM.*the same command goes on"):
            keeper.save({"step": 5})
    keeper.clear()
    assert Keeper(tmp_path / "state", "key", 0, tell).load()["step"] == 5
