"""The splits of the leakage experiment: who may have an image where."""

import re

import numpy as np
import pandas as pd
import pytest

from cxr.data import leakage_splits, splits
from cxr.data.leakage_splits import Design
from cxr.runtime.journal import Journal

DESIGN = Design(size=60, held_out=0.2, test=0.3)


def records(patients=range(150), images: int = 4) -> pd.DataFrame:
    names = [(patient, number) for patient in patients for number in range(images)]
    return pd.DataFrame(
        {
            "image": [f"{patient:08d}_{number:03d}.png" for patient, number in names],
            "patient": [patient for patient, _ in names],
            "labels": "No Finding",
            "digest": "d",
            "follow_up": [number for _, number in names],
            "age": 50.0,
            "sex": "F",
            "view": "PA",
        }
    )


@pytest.fixture
def written(tmp_path):
    """A function that writes the splits of some records and returns their folder."""

    def run(table: pd.DataFrame, design: Design = DESIGN, repeats: int = 2, seed: int = 1, name: str = "splits"):
        table.to_csv(tmp_path / "records.csv", index=False)
        with Journal(tmp_path / "log", "splits") as tell:
            leakage_splits.write_all(
                records=tmp_path / "records.csv",
                design=design,
                repeats=repeats,
                seed=seed,
                folder=tmp_path / name,
                tell=tell,
            )
        return tmp_path / name

    return run


def test_no_patient_of_a_test_image_is_in_the_training_set_of_the_other_half(written):
    folder = written(records())
    for repeat in ("0", "1"):
        test = splits.read_split(folder / repeat / "test.csv")
        half = leakage_splits.read_halves(folder / repeat / "test.csv")
        assert set(half) == {"a", "b"} and 0.38 < len(test) / 600 < 0.5  # 1 - 0.8 · 0.7
        trained = {}
        for mine, other in (("a", "b"), ("b", "a")):
            train = splits.read_split(folder / repeat / f"train_{mine}.csv")
            assert len(train) == DESIGN.size and not set(train["image"]) & set(test["image"])
            assert not set(train["patient"]) & set(test["patient"][half == other])
            assert test["patient"][half == mine].isin(train["patient"]).mean() > 0.2  # and many in that of their own
            validation = splits.read_split(folder / repeat / f"validation_{mine}.csv")
            assert len(validation) and not set(validation["image"]) & {*train["image"], *test["image"]}
            trained[mine] = set(train["patient"]) | set(validation["patient"])
        assert not trained["a"] & trained["b"]


def test_held_out_patients_are_tested_with_all_of_their_images():
    table = records(range(400))
    without = leakage_splits.assigned(table, Design(60, 0, 0.3), 1).set_index("image")
    found = leakage_splits.assigned(table, DESIGN, 1).set_index("image").loc[without.index]
    moved = found["role"] != without["role"]
    assert (found["half"] == without["half"]).all() and (found["role"][moved] == "test").all()
    tested = (found["role"] == "test").groupby(found["patient"]).all()
    assert 0.13 < tested.mean() < 0.27 and moved.groupby(found["patient"]).any().sum() <= tested.sum()


def test_a_repeat_is_the_experiment_with_the_next_seed(written):
    folder, later = written(records()), written(records(), repeats=1, seed=2, name="later")
    names = {"test.csv", "test_images.csv", "test_metadata.csv"}
    names |= {f"{kind}_{half}.csv" for kind in ("train", "train_metadata", "validation") for half in "ab"}
    for path in (folder / "1").iterdir():
        assert path.read_bytes() == (later / "0" / path.name).read_bytes()
        assert path.read_bytes() != (folder / "0" / path.name).read_bytes()
        names.remove(path.name)
    assert not names


def test_the_splits_depend_on_the_seed_and_not_on_the_order_of_the_records(written):
    first = written(records())
    again = written(records().sample(frac=1, random_state=0), name="again")
    for path in first.rglob("*.csv"):
        assert path.read_bytes() == (again / path.relative_to(first)).read_bytes(), path
    other = written(records(), seed=2, name="other")
    assert (other / "0/test.csv").read_bytes() != (first / "0/test.csv").read_bytes()


def test_added_images_move_no_other_image(tmp_path):
    few = leakage_splits.assigned(records(), DESIGN, 1).set_index("image")
    many = leakage_splits.assigned(records(range(400), 6), DESIGN, 1).set_index("image").loc[few.index]
    np.testing.assert_array_equal(few[["half", "role"]], many[["half", "role"]])


def test_too_many_training_images_are_refused_with_the_largest_size(written, capsys):
    with pytest.raises(SystemExit):
        written(records(), Design(500, 0.2, 0.3), repeats=1)
    found = re.search(r"leakage.size = 500 is larger .* set leakage.size to at most (\d+)", capsys.readouterr().err)
    written(records(), Design(int(found[1]), 0.2, 0.3), repeats=1)
    with pytest.raises(SystemExit):
        written(records(), Design(int(found[1]) + 1, 0.2, 0.3), repeats=1)


def test_a_half_without_test_or_validation_images_is_refused(written, capsys):
    with pytest.raises(SystemExit):
        written(records(range(4), 1), Design(10, 0.2, 0.3))
    assert re.search("a half of the patients gets no (test|validation) image", capsys.readouterr().err)
