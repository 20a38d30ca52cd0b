"""The splits' files: what is asked for by name arrives under that name, and no file holds what its reader must not see."""

import pandas as pd
import pytest

from cxr.data import split_files, splits
from cxr.errors import InputError
from cxr.runtime.journal import Journal
from cxr.settings import Split

RULE = Split(
    rule="patient",
    validation=0.3,
    test=0.15,
    max_validation=9,
    max_test=7,
    box_validation=0.25,
    box_test=0.1,
    box_folds=2,
)


class Study:
    """Eighty patients of one to three images, half of them boxed, and the files that the splits are made of."""

    def __init__(self, folder):
        rows = [(patient, number) for patient in range(1, 81) for number in range(1 + patient % 3)]
        self.records = pd.DataFrame(rows, columns=["patient", "number"])
        self.records["image"] = [f"{patient:08d}_{number:03d}.png" for patient, number in rows]
        self.records["labels"] = ["Mass|Nodule" if patient % 2 else "No Finding" for patient, _ in rows]
        self.records["digest"] = [f"{at:016x}" for at in range(len(rows))]
        self.records["follow_up"] = self.records["number"]
        self.records["age"] = [float(patient) if patient % 3 else "" for patient, _ in rows]
        self.records["sex"] = ["M" if patient % 2 else "" for patient, _ in rows]
        self.records["view"] = ["AP" if number else "PA" for _, number in rows]
        self.boxed = self.records.loc[self.records["patient"] % 2 == 1, "image"].tolist()
        self.folder, self.tested = folder, set(self.records.loc[self.records["patient"] <= 20, "image"])
        self.records.drop(columns="number").to_csv(folder / "records.csv", index=False)
        boxes = [
            "Image Index,Finding Label,Bbox [x,y,w,h],,,",
            *(f"{image},Mass,600,700,300,200" for image in self.boxed),
        ]
        (folder / "boxes.csv").write_text("\n".join(boxes), encoding="utf-8")
        (folder / "train_val.txt").write_text("\n".join(set(self.records["image"]) - self.tested), encoding="utf-8")
        (folder / "test.txt").write_text("\n".join(self.tested), encoding="utf-8")

    def write(self, rule=RULE, sizes=("20", "all"), draws=(), seed=3, lists=("train_val.txt", "test.txt")):
        with Journal(self.folder / "log", "splits") as tell:
            split_files.write_all(
                records=self.folder / "records.csv", box_table=self.folder / "boxes.csv",
                lists=[self.folder / name for name in lists], sizes=sizes, draws=draws, seed=seed, rule=rule,
                folder=self.folder / "splits", tell=tell,
            )  # fmt: skip

    def read(self, split):
        return {role: splits.read_split(self.folder / "splits" / split / f"{role}.csv") for role in splits.ROLES}


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for role, table in expected.items():
        assert found[role].to_dict("list") == table.to_dict("list"), role


@pytest.mark.parametrize(("split", "size"), [("20", 20), ("all", 0)])
def test_every_setting_of_the_classification_split_counts_as_what_it_is(study, split, size):
    study.write()
    expected = splits.classification_split(
        study.records,
        Split(rule="patient", validation=0.3, test=0.15, max_validation=9, max_test=7),
        size=size,
        seed=3,
    )
    assert_same(study.read(split), expected)
    assert [len(expected[role]) for role in ("validation", "test")] == [9, 7], "both limits are reached"


def test_the_first_list_is_for_training_and_validation_and_the_second_for_the_test(study):
    study.write(Split(rule="official", validation=0.3))
    found = study.read("all")
    assert set(found["test"]["image"]) == study.tested
    assert not study.tested & {*found["train"]["image"], *found["validation"]["image"]}


def test_the_folds_of_the_boxed_images_are_numbered_from_0_with_the_settings_that_begin_with_box(study):
    study.write()
    boxes = pd.DataFrame({"image": study.boxed, "label": "Mass"}).assign(x0=600.0, y0=700.0, x1=900.0, y1=900.0)
    expected = splits.box_folds(
        boxes, study.records, folds=2, seed=3, validation=0.25, test=0.1, group=RULE.box_group
    )  # fmt: skip
    for number, roles in enumerate(expected):
        assert_same(study.read(f"boxes_fold{number}"), roles)
    assert sorted(path.name for path in (study.folder / "splits").iterdir()) == [
        "20",
        "all",
        "boxes_fold0",
        "boxes_fold1",
    ]


def test_a_single_split_of_the_boxed_images_takes_their_own_share_of_the_test(study):
    study.write(RULE.model_copy(update={"box_folds": 1, "box_group": "image"}))
    sizes = {role: len(table) for role, table in study.read("boxes_fold0").items()}
    count = len(study.boxed)
    assert (sizes["validation"], sizes["test"]) == (round(0.25 * count), round(0.1 * count))


def test_lists_of_images_say_nothing_of_labels_and_boxes(study):
    study.write()
    for split in ("20", "all", "boxes_fold0", "boxes_fold1"):
        for role, table in study.read(split).items():
            path = study.folder / "splits" / split / f"{role}_images.csv"
            assert pd.read_csv(path, nrows=0).columns.tolist() == ["image", "patient", "digest"]
            assert splits.read_images(path).to_dict("list") == table[["image", "patient", "digest"]].to_dict("list")


def test_the_metadata_of_images_are_those_of_the_records_and_hold_no_label(study):
    study.write()
    for split in ("20", "boxes_fold1"):
        for role, table in study.read(split).items():
            path = study.folder / "splits" / split / f"{role}_metadata.csv"
            assert path.exists() == (split == "20" or role == "test")
            if not path.exists():
                continue
            found = splits.read_metadata(path)
            assert list(found) == ["image", "patient", "follow_up", "age", "sex", "view"]
            assert found["image"].tolist() == table["image"].tolist()
            expected = study.records.set_index("image").loc[table["image"]]
            assert found["sex"].tolist() == expected["sex"].tolist()
            assert found["view"].tolist() == expected["view"].tolist()
            assert found["follow_up"].tolist() == expected["number"].tolist()
            assert found["age"].fillna(-1).tolist() == [-1 if age == "" else age for age in expected["age"]]
    with pytest.raises(InputError, match="is not a split's metadata"):
        splits.read_metadata(study.folder / "splits/20/train.csv")


def test_the_labels_of_the_boxed_training_images_are_all_those_of_the_records(study):
    study.write()
    for fold in (0, 1):
        train = study.read(f"boxes_fold{fold}")["train"]
        named = splits.read_split(study.folder / "splits" / f"boxes_fold{fold}" / "train_labels.csv")
        assert set(train["labels"]) == {"Mass"} and set(named["labels"]) == {"Mass|Nodule"}
        assert named[["image", "patient", "digest"]].equals(train[["image", "patient", "digest"]])


def test_what_roles_share_is_counted_for_every_split_and_told(study):
    study.write(Split(rule="image", validation=0.3, test=0.2, box_folds=1, box_validation=0, box_test=0.2))
    for split in ("20", "all", "boxes_fold0"):
        expected = splits.leakage(study.read(split))
        assert pd.read_csv(study.folder / "splits" / split / "leakage.csv").equals(expected), split
    shared = pd.read_csv(study.folder / "splits/all/leakage.csv").set_index(["role_a", "role_b"])
    assert (shared["patients_shared"] > 0).all() and (shared["images_shared"] == 0).all()
    boxed = pd.read_csv(study.folder / "splits/boxes_fold0/leakage.csv").set_index(["role_a", "role_b"])
    assert boxed.loc[("validation", "test"), "images_shared"] > 0, "the test images serve for validation, and it shows"
    found = study.read("all")
    assert f"all: images (patients): train {len(found['train'])} ({found['train']['patient'].nunique()}), " in (
        study.folder / "log"
    ).read_text(encoding="utf-8")


def test_another_seed_splits_otherwise(study):
    study.write()
    before = study.read("all")
    study.write(seed=4)
    assert set(study.read("all")["test"]["image"]) != set(before["test"]["image"])


def test_a_further_draw_has_other_training_images_of_the_same_role_and_no_files_of_its_own_for_the_rest(study):
    study.write(draws=[(20, 1), (20, 2)])
    pool = set(study.read("all")["train"]["image"])
    trains = [
        splits.read_split(study.folder / "splits" / name / "train.csv")["image"].tolist()
        for name in ("20", "20_r1", "20_r2")
    ]
    assert all(len(each) == 20 and set(each) <= pool for each in trains)
    assert len({frozenset(each) for each in trains}) == 3
    assert sorted(path.name for path in (study.folder / "splits" / "20_r1").iterdir()) == [
        "leakage.csv", "train.csv", "train_images.csv", "train_metadata.csv"
    ]  # fmt: skip
    before = [(study.folder / "splits" / "20" / f"{role}.csv").read_bytes() for role in splits.ROLES]
    study.write(draws=[])
    assert [(study.folder / "splits" / "20" / f"{role}.csv").read_bytes() for role in splits.ROLES] == before
