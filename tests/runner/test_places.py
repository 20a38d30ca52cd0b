"""What is wrong with the places of results and tables is told before anything runs."""

import os

import pytest

from cxr.errors import InputError
from cxr.settings import Data
from runner import engine, places


def test_results_may_be_new_or_there(tmp_path):
    places.require_results(tmp_path / "results/tiny")
    (tmp_path / "results/tiny").mkdir(parents=True)
    places.require_results(tmp_path / "results/tiny")


@pytest.mark.parametrize("place", ["results", "results/tiny"])
def test_a_file_or_a_link_to_nothing_in_the_place_of_results_is_named(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(InputError, match=f"^{place} is a file: make that a folder, or remove {place}; nothing was run"):
        places.require_results(places.Path("results/tiny"))
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=f"^{place} is a link to nowhere, which is not a folder"):
        places.require_results(places.Path("results/tiny"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=rf"cannot be written \({tmp_path} is read-only for this user\)"):
        places.require_results(tmp_path / "results/tiny")


def test_phantoms_have_the_official_tables_and_a_study_its_own(tmp_path):
    official = {name: table for name, (table, _) in places.TABLES.items()}
    assert places.tables(Data(source="phantoms", label_table="mine.csv"), "phantoms") == official
    (tmp_path / "data").mkdir()
    (tmp_path / "data/BBox_List_2017.csv").write_text("")
    found = places.tables(Data(label_table="mine.csv", root=str(tmp_path)), str(tmp_path))
    assert found == {
        "labels": "mine.csv",
        "boxes": os.path.join("data", "BBox_List_2017.csv"),
        "train_val": "",
        "test": "",
    }


@pytest.mark.parametrize(("path", "refused"), [("/data/{name}/a", True), ("/data/{a", False), ("/data/CXR8", False)])
def test_what_snakemake_would_take_for_a_pattern_is_refused(path, refused):
    if refused:
        with pytest.raises(InputError, match=r"Snakemake takes text in braces for a wildcard.*ln -s"):
            places.require_no_braces(["/plain", path])
    else:
        places.require_no_braces(["/plain", path])


def test_a_users_mistake_ends_the_run_with_its_message_alone():
    def refuse(word):
        raise InputError(f"{word} is missing")

    with pytest.raises(SystemExit, match=r"^Error: data.root is missing$"):
        engine.or_exit(refuse, "data.root")
    assert engine.or_exit(max, 1, 2) == 2
