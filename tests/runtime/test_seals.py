"""What a job wrote is what the next one reads, or somebody hears of it."""

import os
import subprocess
from types import SimpleNamespace

import pytest

from cxr.errors import InputError
from cxr.runtime import jobs, seals
from cxr.runtime.outputs import whole

KEPT = {"table.csv": b"image,label\n", "odd \\x41 name.csv": b"1", "empty": b""}


@pytest.fixture
def results(tmp_path):
    """A folder of results: three files, and a folder with two."""
    folder = tmp_path / "results"
    folder.mkdir()
    with whole([(name, str(folder / name)) for name in KEPT] + [("splits", str(folder / "splits"))]) as out:
        for name, content in KEPT.items():
            out[name].write_bytes(content)
        (out["splits"] / "40").mkdir(parents=True)
        (out["splits"] / "40/train.csv").write_text("image\na.png\n")
        (out["splits"] / "leakage.csv").write_text("none\n")
    return folder


def files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def test_what_was_written_is_taken(results):
    for path in files(results):
        assert seals.verified(path, results) == seals.sha256_of(path)


def test_the_seals_are_those_of_sha256sum(results):
    for seal in results.glob(".*.sha256"):
        subprocess.run(["sha256sum", "--check", "--strict", "--status", seal.name], cwd=results, check=True)
    assert len(list(results.glob(".*.sha256"))) == 4


def spoilt(path, how):
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:half],
            "zeroed": content[:half] + bytes(len(content) - half),
            "flipped": bytes([content[0] ^ 1]) + content[1:],
            "longer": content + b"\n",
            "emptied": b"",
        }[how]
    )


@pytest.mark.parametrize("how", ["cut", "zeroed", "flipped", "longer", "emptied"])
@pytest.mark.parametrize("name", ["table.csv", "splits/40/train.csv"])
def test_a_damaged_file_is_refused_by_name_with_the_command_to_type(results, name, how):
    spoilt(results / name, how)
    with pytest.raises(seals.Damaged, match="damaged") as error:
        seals.verified(results / name, results)
    output, seal = results / name.split("/")[0], results / f".{name.split('/')[0]}.sha256"
    assert str(results / name) in str(error.value)
    subprocess.run(str(error.value).split("again: ")[1], shell=True, check=True)
    assert not output.exists() and not seal.exists()


@pytest.mark.parametrize("how", ["gone", "unreadable", "cut"])
def test_a_file_without_a_seal_is_refused_too(results, how):
    seal = seals.place(results / "table.csv")
    {"gone": seal.unlink, "unreadable": lambda: seal.write_bytes(b"\xff\xfe"), "cut": lambda: seal.write_text("12ab")}[
        how
    ]()
    with pytest.raises(seals.Damaged, match="no SHA-256 was recorded"):
        seals.verified(results / "table.csv", results)


def test_marks_that_the_engine_makes_and_what_lies_outside_the_results_have_no_seal(results, tmp_path):
    (results / "bundle.done").touch()
    (tmp_path / "labels.csv").write_text("a user's table")
    for path in (results / "bundle.done", tmp_path / "labels.csv"):
        assert seals.verified(path, results) == seals.sha256_of(path)


def test_what_took_training_is_said_to_have(results):
    (results / "facts.json").write_text("{}")
    spoilt(results / "table.csv", "cut")
    with pytest.raises(seals.Damaged, match="Training made it: restore a copy"):
        seals.verified(results / "table.csv", results)


def test_a_file_that_is_gone_from_a_folder_is_damage_and_a_whole_output_that_is_gone_is_not(results):
    assert [seals.damaged(seal) for seal in results.glob(".*.sha256")] == [[]] * 4
    (results / "splits/leakage.csv").unlink()
    (results / "table.csv").unlink()
    assert seals.damaged(seals.place(results / "splits")) == [results / "splits/leakage.csv"]
    assert seals.damaged(seals.place(results / "table.csv")) == []


def test_what_is_set_aside_can_be_looked_at_and_is_made_again(results):
    assert seals.set_aside(results / "splits").name == "splits.damaged"
    assert (results / "splits.damaged/40/train.csv").exists() and not (results / "splits").exists()
    assert not seals.place(results / "splits").exists()
    with whole([("splits", str(results / "splits"))]) as out:
        out["splits"].mkdir()
    seals.set_aside(results / "splits")
    assert not any((results / "splits.damaged").iterdir())


def test_outputs_are_on_the_disk_before_they_take_their_name(tmp_path, monkeypatch):
    """Order of the calls: flushed, renamed, and only then sealed; without a seal in between, a kill leaves none that lies."""
    calls = []
    flush, replace = os.fsync, os.replace

    def fsync(number):
        calls.append(("flushed", os.readlink(f"/proc/self/fd/{number}")))
        flush(number)

    def replaced(source, target):
        calls.append(("named", str(target), seals.place(target).exists()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    place = tmp_path / "model.pt"
    for _ in range(2):
        calls.clear()
        with whole([("model", str(place))]) as out:
            out["model"].write_text("weights")
        assert calls[:2] == [("flushed", str(tmp_path / ".part-model.pt")), ("named", str(place), False)]
        assert [call[0] for call in calls[2:]] == ["flushed", "named"]


def test_a_job_reads_nothing_that_is_damaged(results, tmp_path):
    job = SimpleNamespace(
        log=[tmp_path / "log"], input=[results / "table.csv"], output={"page": str(results / "page.html")}
    )
    with jobs.opened(job, "report", {jobs.RESULTS: str(results)}) as (_, out):
        out["page"].write_text("a page")
    spoilt(results / "table.csv", "flipped")
    with (
        pytest.raises(SystemExit) as end,
        jobs.opened(job, "report", {jobs.RESULTS: str(results)}) as (_, out),
    ):
        out["page"].write_text("another page")
    assert end.value.code == 1 and "damaged" in (tmp_path / "log").read_text()
    assert (results / "page.html").read_text() == "a page"


def test_a_training_reads_nothing_that_is_damaged(results):
    runs = pytest.importorskip("cxr.training.runs")
    params = {"code": "1", "common": {"seed": 0}}
    key = runs.identify(params, {"train": str(results / "table.csv")}, results)["key"]
    assert runs.identify(params, {"train": str(results / "table.csv"), "index": []}, results)["key"] == key
    for name in ("train", "index"):  # one that counts for the key, one that does not
        spoilt(results / "table.csv", "flipped")
        with pytest.raises(InputError, match="damaged"):
            runs.identify(params, {name: str(results / "table.csv")}, results)
        spoilt(results / "table.csv", "flipped")
