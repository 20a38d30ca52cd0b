"""Splits as laws: what never crosses, what never moves, and exact counts; the real tables' facts."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.boxes import parse_box_text
from cxr.data.box_list import BOX_COLUMNS, read_box_table
from cxr.data.label_list import read_label_table
from cxr.data.splits import (
    BOX_SPLIT_COLUMNS,
    ROLES,
    SPLIT_COLUMNS,
    box_folds,
    box_split,
    classification_split,
    inspect_image_list,
    leakage,
    place,
    read_image_list,
    read_split,
    role_counts,
    write_split,
)
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS, LABELS
from cxr.settings import Split

RULES = ("image", "patient", "official")
PLACES = [0.620711, 0.321121]


def records_of(patients: int, seed: int = 1) -> pd.DataFrame:
    """Patients with one to six images each, named as in the release."""
    rng = np.random.default_rng(seed)
    rows = [(patient, follow_up) for patient in range(1, patients + 1) for follow_up in range(rng.integers(1, 7))]
    table = pd.DataFrame(rows, columns=["patient", "follow_up"])
    table["image"] = [f"{patient:08d}_{follow_up:03d}.png" for patient, follow_up in rows]
    table["labels"] = rng.choice(LABELS, len(rows))
    table["digest"] = [f"{place(0, image):.16f}"[2:] for image in table["image"]]
    return table


def boxes_of(records: pd.DataFrame, seed: int = 2) -> pd.DataFrame:
    """One to three boxes on most images, labels unequally frequent."""
    rng = np.random.default_rng(seed)
    frequency = np.arange(8, 0, -1) / 36
    rows = [
        (image, rng.choice(BOXED_FINDINGS, p=frequency), *(corner := rng.integers(0, 500, 2)), *(corner + 100))
        for image in records["image"][rng.random(len(records)) < 0.8]
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
    ]
    return pd.DataFrame(rows, columns=BOX_COLUMNS).astype(dict.fromkeys(BOX_COLUMNS[2:], float))


def official_lists(records: pd.DataFrame) -> dict[str, set[str]]:
    tested = records["patient"] % 4 == 0
    return {"official_train": set(records["image"][~tested]), "official_test": set(records["image"][tested])}


def split(
    records: pd.DataFrame, rule: str, size: int = 0, seed: int = 0, *, lists: dict | None = None, **more
) -> dict[str, pd.DataFrame]:
    official = official_lists(records) | (lists or {}) if rule == "official" else {}
    draw = more.pop("draw", 0)
    settings = Split(**{"rule": rule, "validation": 0.1, "test": 0.1} | more)
    return classification_split(records, settings, size=size, seed=seed, draw=draw, **official)


def images(parts: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    return {role: rows["image"].tolist() for role, rows in parts.items()}


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return records_of(400)


# places


def test_places_are_fixed_for_ever():
    # a change of these numbers would move every image of every user between the roles
    assert place(0, "a") == place(0, "a") != place(1, "a")
    assert [round(place(0, name), 6) for name in ("role/00000001_000.png", "order/1")] == PLACES


def test_places_are_uniform_and_independent_of_each_other():
    places = np.array([[place(seed, f"n/{name}") for name in range(4000)] for seed in (0, 1)])
    assert places.min() >= 0
    assert places.max() < 1
    for each in places:
        counts = np.histogram(each, bins=10, range=(0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi square of 9 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(places)[0, 1]) < 0.05


# laws of the classification split


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [0, 100])
def test_shuffled_input_gives_the_same_split(records, rule, size):
    shuffled = records.sample(frac=1, random_state=3).reset_index(drop=True)
    one, other = split(records, rule, size), split(shuffled, rule, size)
    for role in ROLES:
        pd.testing.assert_frame_equal(one[role], other[role])


@pytest.mark.parametrize("rule", RULES)
def test_without_a_size_every_image_has_one_role(records, rule):
    parts = split(records, rule)
    assert list(parts) == list(ROLES)
    assert sorted(image for each in images(parts).values() for image in each) == sorted(records["image"])
    assert all(rows.columns.tolist() == SPLIT_COLUMNS for rows in parts.values())
    joined = pd.concat(parts.values()).merge(records, on=SPLIT_COLUMNS)
    assert len(joined) == len(records)


@pytest.mark.parametrize("rule", ["patient", "official"])
def test_patients_never_cross(records, rule):
    for seed in range(3):
        for size in (0, 50):
            assert leakage(split(records, rule, size, seed))["patients_shared"].tolist() == [0, 0, 0]


def test_patients_cross_under_the_papers_rule_and_the_leakage_table_says_so(records):
    table = leakage(split(records, "image"))
    assert table["images_shared"].tolist() == [0, 0, 0]
    assert (table["patients_shared"] > 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_further_draw_is_independent_nested_and_judged_on_the_same_images(records, rule):
    first, second = (images(split(records, rule, 200, draw=draw)) for draw in (0, 1))
    assert (first["validation"], first["test"]) == (second["validation"], second["test"])
    everything = images(split(records, rule))
    pool = len(everything["train"])
    assert set(second["train"]) <= set(everything["train"])
    count = len(first["train"])
    expected = count**2 / pool  # shared by two independent draws
    assert abs(len(set(first["train"]) & set(second["train"])) - expected) < 4 * expected**0.5
    smaller, larger = (images(split(records, rule, size, draw=1))["train"] for size in (100, 300))
    assert smaller == second["train"][: len(smaller)] and second["train"] == larger[:count]
    if rule != "image":
        patients = split(records, rule, 200, draw=1)["train"]["patient"]
        assert patients.is_unique, "one image per patient, while there are enough"


@pytest.mark.parametrize("rule", RULES)
def test_sizes_nest(records, rule):
    sizes = [10, 11, 12, 13, 14, 15, 16, 40, 100, 101, 250, 0]
    for smaller, larger in pairwise(sizes):
        small, large = images(split(records, rule, smaller)), images(split(records, rule, larger))
        for role in ROLES:
            assert large[role][: len(small[role])] == small[role]


@pytest.mark.parametrize("rule", RULES)
def test_new_images_never_move_old_ones(rule):
    old, new = records_of(300), records_of(400)
    new = new.sample(frac=1, random_state=5)
    assert set(old["image"]) < set(new["image"])
    before, after = images(split(old, rule)), images(split(new, rule))
    for role in ROLES:
        stayed = [image for image in after[role] if image in set(old["image"])]
        assert stayed == before[role]


def test_another_seed_gives_another_split(records):
    for rule in ("image", "patient"):
        assert set(images(split(records, rule, seed=0))["test"]) != set(images(split(records, rule, seed=1))["test"])


def test_a_set_of_size_s_holds_s_images_in_the_papers_shares(records):
    for size in (10, 50, 100, 500, 1000):
        parts = split(records, "image", size)
        assert [len(parts[role]) for role in ROLES] == [size * 8 // 10, size // 10, size // 10]


def test_validation_and_test_are_the_same_for_every_size(records):
    whole, small = split(records, "patient"), split(records, "patient", 20)
    assert len(small["train"]) == 20
    for role in ("validation", "test"):
        pd.testing.assert_frame_equal(whole[role], small[role])


def test_shares_are_met_roughly():
    many = records_of(3000)
    parts = split(many, "patient", validation=0.1, test=0.3)
    patients = {role: rows["patient"].nunique() for role, rows in parts.items()}
    assert sum(patients.values()) == 3000
    assert abs(patients["validation"] - 300) < 55  # more than three standard deviations
    assert abs(patients["test"] - 900) < 85
    parts = split(many, "image", validation=0.3, test=0.1)
    assert abs(len(parts["validation"]) / len(many) - 0.3) < 0.02 and abs(len(parts["test"]) / len(many) - 0.1) < 0.02
    parts = split(many, "official", validation=0.2)
    rest = [parts[role]["patient"].nunique() for role in ("train", "validation")]
    assert abs(rest[1] / sum(rest) - 0.2) < 0.03, "of the patients who are not in the test list"


@pytest.mark.parametrize("rule", ["patient", "official"])
@pytest.mark.parametrize("size", [0, 40])
def test_one_image_of_every_patient_comes_before_the_second_of_any(records, rule, size):
    for role, rows in split(records, rule, size).items():
        turns = rows.groupby("patient").cumcount()
        assert turns.is_monotonic_increasing, role
        assert size or turns.max() > 0, role
        first = rows["patient"].drop_duplicates().tolist()
        for _, turn in rows.groupby(turns):
            assert turn["patient"].tolist() == [patient for patient in first if patient in set(turn["patient"])], role


def test_the_order_of_patients_and_their_images_by_hand():
    # in hash order of seed 0: patients 3, 1, 2; of patient 1 the images 002, 000, 001
    train = [("00000001_000.png", 1), ("00000001_001.png", 1), ("00000001_002.png", 1), ("00000002_000.png", 2)]
    rows = [*train, ("00000003_000.png", 3), ("held_out.png", 93), ("tested.png", 98)]
    table = pd.DataFrame(rows, columns=["image", "patient"]).assign(labels="Mass", digest="0")
    lists = {"official_train": None, "official_test": {"tested.png"}}
    assert images(split(table, "official", validation=0.2, lists=lists)) == {
        "train": ["00000003_000.png", "00000001_002.png", "00000002_000.png", "00000001_000.png", "00000001_001.png"],
        "validation": ["held_out.png"],
        "test": ["tested.png"],
    }


@pytest.mark.parametrize("rule", ["patient", "official"])
def test_further_images_of_known_patients_move_no_image_to_another_role(records, rule):
    before = images(split(records.sample(frac=0.6, random_state=6), rule))
    after = images(split(records, rule))
    assert all(set(before[role]) < set(after[role]) for role in ROLES)


def test_images_of_a_patient_stand_apart_under_the_papers_rule(records):
    rows = split(records, "image", 300)["train"]
    assert (rows["patient"] == rows["patient"].shift()).mean() < 0.05
    assert not rows.groupby("patient").cumcount().is_monotonic_increasing


@pytest.mark.parametrize("rule", RULES)
def test_at_most_so_many(records, rule):
    whole = images(split(records, rule))
    capped = images(split(records, rule, max_validation=7, max_test=5))
    assert capped == {"train": whole["train"], "validation": whole["validation"][:7], "test": whole["test"][:5]}
    assert images(split(records, rule, max_validation=10**6, max_test=10**6)) == whole


def test_the_official_test_list_is_the_test_set(records):
    lists = official_lists(records)
    more = {"official_test": lists["official_test"] | {"99999999_000.png"}}
    parts = split(records, "official", lists=more)
    assert set(parts["test"]["image"]) == lists["official_test"]
    without_train_list = split(records, "official", lists={"official_train": None})
    assert images(without_train_list) == images(split(records, "official"))


def test_role_counts_by_hand():
    assert role_counts(100, 0.1, 0.1) == {"train": 80, "validation": 10, "test": 10}
    assert role_counts(750, 0.1, 0.1) == {"train": 600, "validation": 75, "test": 75}
    assert role_counts(200, 0.15, 0.05) == {"train": 160, "validation": 30, "test": 10}


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.15, 0.25), (0.013, 0.4), (1 / 3, 1 / 3)])
def test_role_counts_sum_up_stay_near_the_shares_and_never_shrink(validation, test):
    shares = {"train": 1 - validation - test, "validation": validation, "test": test}
    previous = dict.fromkeys(ROLES, 0)
    for size in range(1, 300):
        counts = role_counts(size, validation, test)
        assert sum(counts.values()) == size
        assert all(abs(counts[role] - shares[role] * size) < 1 for role in ROLES)
        assert all(counts[role] >= previous[role] for role in ROLES)
        previous = counts


# trouble with the classification split


def test_a_size_larger_than_the_data_says_how_many_there_are(records):
    available = len(split(records, "patient")["train"])
    split(records, "patient", available)
    with pytest.raises(InputError, match=f"size {available + 1} .*the largest possible size is {available}$"):
        split(records, "patient", available + 1)


def test_the_largest_size_of_the_papers_rule_is_the_one_it_names(records):
    with pytest.raises(InputError, match=r"size 100000 .*the largest possible size is (\d+)$") as error:
        split(records, "image", 100_000)
    largest = int(str(error.value).rsplit(" ", 1)[1])
    whole = {role: len(rows) for role, rows in split(records, "image").items()}
    counts = {role: len(rows) for role, rows in split(records, "image", largest).items()}
    assert sum(counts.values()) == largest
    assert any(counts[role] == whole[role] for role in ROLES)
    with pytest.raises(InputError, match=rf"\(\d+ available\).*the largest possible size is {largest}$"):
        split(records, "image", largest + 1)


def test_a_size_whose_share_is_no_image_stops(records):
    with pytest.raises(InputError, match=r"size 10 leaves validation without an image .*0\.02"):
        split(records, "image", 10, validation=0.02)


@pytest.mark.parametrize("rule", ["image", "patient"])
def test_a_role_without_images_stops(rule):
    with pytest.raises(InputError, match=r"gets no image .*1 patients"):
        split(records_of(1).head(1), rule)


def test_official_lists_that_do_not_fit_stop(records):
    lists = official_lists(records)
    with pytest.raises(InputError, match=r"data\.test_list"):
        split(records, "official", lists={"official_test": None})
    torn = {"official_train": lists["official_train"] - {"00000001_000.png"}}
    with pytest.raises(InputError, match=r"1 usable images are in neither official list .*00000001_000\.png"):
        split(records, "official", lists=torn)
    crossing = {"official_test": lists["official_test"] | {"00000001_000.png"}}
    with pytest.raises(InputError, match=r"1 patients are in both official lists \(the first: 1\)"):
        split(records, "official", lists=crossing)


# the box split


def split_boxes(
    boxes: pd.DataFrame, records: pd.DataFrame, group: str, validation: float = 0.1, test: float = 0.2, seed: int = 0
) -> dict[str, pd.DataFrame]:
    return box_split(boxes, records, seed=seed, validation=validation, test=test, group=group)


@pytest.fixture(scope="module")
def boxes(records: pd.DataFrame) -> pd.DataFrame:
    return boxes_of(records)


@pytest.mark.parametrize("group", ["image", "patient"])
def test_every_boxed_image_has_one_role_and_all_its_boxes(records, boxes, group):
    parts = split_boxes(boxes, records, group)
    assert all(rows.columns.tolist() == BOX_SPLIT_COLUMNS for rows in parts.values())
    together = pd.concat(parts.values()).set_index("image")
    assert together.index.is_unique
    assert set(together.index) == set(boxes["image"])
    read_back = [(image, *box) for image, text in together["boxes"].items() for box in parse_box_text(text)]
    assert sorted(read_back) == sorted(boxes[BOX_COLUMNS].itertuples(index=False, name=None))
    for image, labels in together["labels"].items():
        drawn = set(boxes.loc[boxes["image"] == image, "label"])
        assert labels == "|".join(label for label in LABELS if label in drawn)


def test_boxed_patients_never_cross(records, boxes):
    for seed in range(3):
        assert leakage(split_boxes(boxes, records, "patient", seed=seed))["patients_shared"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("group", ["image", "patient"])
def test_box_split_of_shuffled_input_is_the_same(records, boxes, group):
    one = split_boxes(boxes, records, group)
    other = split_boxes(boxes.sample(frac=1, random_state=1), records.sample(frac=1, random_state=2), group)
    for role in ROLES:
        pd.testing.assert_frame_equal(one[role], other[role])


@pytest.mark.parametrize("group", ["image", "patient"])
def test_new_images_in_the_folder_never_move_boxed_ones(records, boxes, group):
    fewer = records.sample(frac=0.4, random_state=4)
    before, after = images(split_boxes(boxes, fewer, group)), images(split_boxes(boxes, records, group))
    for role in ROLES:
        assert before[role] == [image for image in after[role] if image in set(fewer["image"])]


def test_each_label_is_shared_out_by_its_quota(records):
    one_box_each = boxes_of(records).drop_duplicates("image")
    parts = split_boxes(one_box_each, records, "image")
    total = len(one_box_each)
    assert [len(parts[role]) for role in ("validation", "test")] == [round(0.1 * total), round(0.2 * total)]
    for label, count in one_box_each["label"].value_counts().items():
        for role, share in (("validation", 0.1), ("test", 0.2)):
            assert abs((parts[role]["labels"] == label).sum() - share * count) < 1


def test_patients_shares_are_near_the_quota_in_images(records, boxes):
    parts = split_boxes(boxes, records, "patient")
    total = boxes["image"].nunique()
    half_a_patient = 3  # images, of six at most
    for role, share in (("validation", 0.1), ("test", 0.2)):
        assert abs(len(parts[role]) - share * total) <= 8 * half_a_patient


def test_an_image_counts_for_the_rarest_of_its_labels():
    # ten images with Mass, of which two also have Nodule: half of those two, and of the other eight, are tested
    names = [f"{patient:08d}_000.png" for patient in range(10)]
    drawn = [(name, "Mass") for name in names] + [(name, "Nodule") for name in names[:2]]
    boxes = pd.DataFrame([(*row, 0.0, 0.0, 9.0, 9.0) for row in drawn], columns=BOX_COLUMNS)
    usable = pd.DataFrame({"image": names, "patient": range(10), "digest": "0"})
    for seed in range(4):
        tested = split_boxes(boxes, usable, "image", validation=0.2, test=0.5, seed=seed)["test"]
        assert len(tested) == 5
        assert (tested["labels"] == "Mass|Nodule").sum() == 1


def test_without_validation_the_test_images_serve(records, boxes):
    parts = split_boxes(boxes, records, "image", validation=0.0)
    pd.testing.assert_frame_equal(parts["validation"], parts["test"])
    shared = leakage(parts).set_index(["role_a", "role_b"])["images_shared"]
    assert shared["validation", "test"] == len(parts["test"])
    assert shared["train", "test"] == 0


def test_trouble_with_the_box_split(records, boxes):
    with pytest.raises(InputError, match=r"train gets no usable boxed image \(0 of the box list's"):
        split_boxes(boxes, records.assign(image="x" + records["image"]), "image")
    odd = boxes.assign(image="x" + boxes["image"])
    with pytest.raises(InputError, match=r"'x0000.*box_group"):
        split_boxes(odd, records.assign(image="x" + records["image"]), "patient")
    with pytest.raises(InputError, match=r"belongs to patient .* in the label table"):
        split_boxes(boxes, records.assign(patient=records["patient"] + 1), "patient")


# folds of the boxed images


def folded(
    boxes: pd.DataFrame,
    records: pd.DataFrame,
    folds: int,
    group: str = "patient",
    validation: float = 0.1,
    seed: int = 0,
) -> list[dict[str, pd.DataFrame]]:
    return box_folds(boxes, records, folds=folds, seed=seed, validation=validation, test=0.2, group=group)


@pytest.mark.parametrize("group", ["image", "patient"])
@pytest.mark.parametrize("folds", [2, 5])
def test_every_boxed_image_is_tested_once_and_has_one_role_a_fold(records, boxes, folds, group):
    parts = folded(boxes, records, folds, group)
    everything = sorted(set(boxes["image"]))
    assert sorted(image for fold in parts for image in fold["test"]["image"]) == everything
    for fold in parts:
        assert sorted(pd.concat(fold.values())["image"]) == everything


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_patients_never_cross_within_a_fold_nor_between_the_tests_of_two(records, boxes, folds):
    for seed in range(3):
        parts = folded(boxes, records, folds, seed=seed)
        for fold in parts:
            assert leakage(fold)["patients_shared"].tolist() == [0, 0, 0]
        assert leakage({str(at): fold["test"] for at, fold in enumerate(parts)})["patients_shared"].sum() == 0


def test_folds_of_shuffled_input_are_the_same(records, boxes):
    one = folded(boxes, records, 5)
    other = folded(boxes.sample(frac=1, random_state=1), records.sample(frac=1, random_state=2), 5)
    for mine, theirs in zip(one, other, strict=True):
        for role in ROLES:
            pd.testing.assert_frame_equal(mine[role], theirs[role])


def test_new_images_in_the_folder_move_no_fold(records, boxes):
    fewer = records.sample(frac=0.5, random_state=4)
    for before, after in zip(folded(boxes, fewer, 5), folded(boxes, records, 5), strict=True):
        for role in ROLES:
            kept = after[role]["image"].isin(set(fewer["image"]))
            assert before[role]["image"].tolist() == after[role]["image"][kept].tolist()


def test_folds_hold_even_shares_of_every_label(records, boxes):
    parts = folded(boxes, records, 5)
    most = 6  # images of a patient
    sizes = [len(fold["test"]) for fold in parts]
    assert max(sizes) - min(sizes) <= most
    for label in BOXED_FINDINGS:
        held = [
            fold["test"]["labels"].str.split("|").apply(lambda labels, label=label: label in labels) for fold in parts
        ]
        counts = [int(has.sum()) for has in held]
        assert max(counts) - min(counts) <= max(2 * most, 0.25 * sum(counts)), label
    for fold in parts:
        assert abs(len(fold["validation"]) - 0.1 * boxes["image"].nunique()) <= 8 * most / 2


@pytest.mark.parametrize("group", ["image", "patient"])
def test_the_validation_images_of_folds_are_drawn_in_an_order_of_each_folds_own(records, boxes, group):
    """So two folds share as many as chance has it, (1/8)² of the images that neither tests; in one order nearly all."""
    folds = folded(boxes, records, 5, group)
    for one, other in combinations(folds, 2):
        tested = {*one["test"]["image"], *other["test"]["image"]}
        first, second = ({*fold["validation"]["image"]} - tested for fold in (one, other))
        assert len(first & second) < 0.35 * min(len(first), len(second))


def test_the_validation_images_of_a_fold_are_not_those_that_the_order_of_the_tests_would_take_first(records):
    """Of a single label, whose images are dealt to the folds in turn, so that the order of the tests can be read off."""
    same = boxes_of(records).drop_duplicates("image").assign(label="Mass")
    folds = folded(same, records, 2, "image", validation=0.2)
    place = {image: at for fold in folds for at, image in enumerate(fold["test"]["image"])}
    for fold in folds:
        ranks = np.array([place[image] for image in fold["validation"]["image"]]) / (len(place) / 2)
        assert 0.35 < ranks.mean() < 0.65 and ranks.max() > 0.9, "from the whole order, not its beginning"


def test_one_fold_is_the_box_split(records, boxes):
    (one,) = folded(boxes, records, 1)
    for role, rows in split_boxes(boxes, records, "patient").items():
        pd.testing.assert_frame_equal(one[role], rows)


def few_boxes(patients: int, rare: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One image a patient; the first `rare` of them have a Nodule, the others a Mass."""
    names = [f"{patient:08d}_000.png" for patient in range(patients)]
    rows = [(name, "Nodule" if at < rare else "Mass", 0.0, 0.0, 99.0, 99.0) for at, name in enumerate(names)]
    usable = pd.DataFrame({"image": names, "patient": range(patients), "digest": "0"})
    return pd.DataFrame(rows, columns=BOX_COLUMNS), usable


@pytest.mark.parametrize("rare", [1, 3])
def test_a_label_with_fewer_patients_than_folds_is_tested_in_as_many_folds_as_it_has(rare):
    boxes, usable = few_boxes(30, rare)
    parts = folded(boxes, usable, 5, validation=0.2)
    assert sum((fold["test"]["labels"] == "Nodule").any() for fold in parts) == rare
    assert [len(fold["test"]) for fold in parts] == [6] * 5


def test_trouble_with_the_folds(records, boxes):
    with pytest.raises(InputError, match=r"box_folds = 5 is more than the 4 patients with boxes"):
        folded(*few_boxes(4), 5)
    with pytest.raises(InputError, match=r"box_folds = 5 needs validation images"):
        folded(boxes, records, 5, validation=0)
    absent = records[~records["image"].isin(folded(boxes, records, 5)[3]["test"]["image"])]
    with pytest.raises(InputError, match=r"box fold 3: test gets no usable boxed image"):
        folded(boxes, absent, 5)


def test_five_folds_of_the_real_list(real):
    records, boxes = real
    parts = folded(boxes, records, 5)
    assert sum(len(fold["test"]) for fold in parts) == 880
    assert all(174 <= len(fold["test"]) <= 178 for fold in parts)
    for fold in parts:
        assert leakage(fold)["patients_shared"].tolist() == [0, 0, 0]
        tested = fold["test"]["labels"].str.get_dummies("|").sum()
        assert set(tested.index) == set(BOXED_FINDINGS)


# leakage, files


def test_leakage_by_hand():
    def role(*rows: tuple[str, int]) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=["image", "patient"])

    table = leakage(
        {"train": role(("a", 1), ("b", 1), ("c", 2)), "validation": role(("d", 2)), "test": role(("d", 2), ("e", 3))}
    )
    assert table.to_numpy().tolist() == [
        ["train", "validation", 0, 1, 2, 1],
        ["train", "test", 0, 1, 2, 2],
        ["validation", "test", 1, 1, 1, 2],
    ]


def test_files_round_trip_and_are_stable(tmp_path, records, boxes):
    digits = records.assign(digest="0000000000000012")  # must come back as text, not as a number
    digits.loc[0, "digest"] = "12345678e1234567"
    for parts in (split(digits, "patient"), split_boxes(boxes, digits, "patient")):
        for role, rows in parts.items():
            path = tmp_path / "new" / f"{role}.csv"
            write_split(rows, path)
            content = path.read_bytes()
            pd.testing.assert_frame_equal(read_split(path), rows)
            write_split(read_split(path), path)
            assert path.read_bytes() == content
            assert b"\r" not in content


@pytest.mark.parametrize("content", ["", "image,patient\na.png,1\n", "image,patient,labels,digest\na.png,x,Mass,0\n"])
def test_what_is_no_split_file_stops(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.csv: is not a split file"):
        read_split(path)
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_split(tmp_path / "absent.csv")


def test_image_lists_with_blank_lines_and_carriage_returns(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n b.png \n\nc.png")
    assert read_image_list(path) == {"a.png", "b.png", "c.png"}
    path.write_bytes(b"\n \r\n")
    with pytest.raises(InputError, match=r"list\.txt: is empty"):
        read_image_list(path)
    with pytest.raises(InputError, match=r"absent\.txt"):
        read_image_list(tmp_path / "absent.txt")


LISTS = {  # how people save an official list, and a word of the note on it ("": none is due)
    "a\nb\n": "'a' (row 1) stands for a.png",
    "images/a.png\r\nimages\\b.PNG\r\n": "image names with a folder, another ending or none: 2",
    "Image Index\na.png\nb.png\n": "",
    ",Image Index\n0,a.png\n1,b.png\n": "",
    ",0\n0,a.png\n1,b.png\n": "",
    "0,a.png\n1,b.png\n": "",
    "1;a.png\n2;b.png\n": "",
    '"a.png"\n"b.png"\n': "",
    "a.png,\nb.png,\n": "",
    "a.png 0 1 0\nb.png 1 0 0\n": "",  # as with the labels of a known re-implementation
    "Image Index,split,fold\na.png,test,3\nb.png,test,4\n": "",
}


@pytest.mark.parametrize("content", LISTS)
def test_image_lists_as_people_save_them(tmp_path, content):
    path = tmp_path / "list.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(content.encode(encoding))
        names, notes = inspect_image_list(path)
        assert names == read_image_list(path) == {"a.png", "b.png"}
        assert any(LISTS[content] in note for note in notes) if LISTS[content] else not notes
    path.write_bytes(content.encode("utf-16"))
    names, notes = inspect_image_list(path)
    assert names == {"a.png", "b.png"}
    assert notes[0] == "list.txt: is UTF-16, not UTF-8, and was read as such"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a.png\nb.png,c.png\n", "line 2 should hold one image name, but holds 'b.png' and 'c.png'"),
        (b"Image Index,fold\na.png,1\n,2\n", "line 3 should hold one image name, but holds none"),
        (b"R\xf6.png\n", "in row 1 is uncertain.*save the table as UTF-8"),
        (b"PK\x03\x04abc", "is not a text file but an Excel workbook or a zip archive"),
        (b"<!DOCTYPE html><html>", "is not a text file but a web page; download the file itself"),
        (b"a.png\n\x00\x01\x02", "is not a text file .line 2"),
    ],
)
def test_what_is_no_image_list_stops(tmp_path, content, said):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_image_list(path)
    assert str(path) in str(error.value)


# the real tables


@pytest.fixture(scope="module")
def real(nih_sample: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    records, _ = read_label_table(nih_sample / "Data_Entry_2017_v2020.csv")
    boxes, _ = read_box_table(nih_sample / "BBox_List_2017.csv", set(records["image"]))
    return records.assign(digest="0"), boxes


def test_real_patients_are_the_first_eight_digits_of_the_name(real):
    records, _ = real
    assert (records["image"].str[:8].astype(int) == records["patient"]).all()


def test_real_official_lists(real, nih_sample):
    records, boxes = real
    train, test = read_image_list(nih_sample / "train_val_list.txt"), read_image_list(nih_sample / "test_list.txt")
    assert (len(train), len(test)) == (86_524, 25_596)
    assert train | test == set(records["image"])
    assert set(boxes["image"]) <= test
    parts = split(records, "official", lists={"official_train": train, "official_test": test})
    assert len(parts["test"]) == 25_596
    assert len(parts["train"]) + len(parts["validation"]) == 86_524
    assert leakage(parts)["patients_shared"].tolist() == [0, 0, 0]
    parts = split(records, "official", 100, lists={"official_train": train, "official_test": test})
    assert parts["train"]["patient"].nunique() == 100


def test_a_box_split_of_the_real_list_without_validation_images(real):
    records, boxes = real
    for seed in range(3):
        parts = split_boxes(boxes, records, "image", validation=0.0, test=0.1318, seed=seed)
        assert {role: len(rows) for role, rows in parts.items()} == {"train": 764, "validation": 116, "test": 116}
        assert leakage(parts)["images_shared"].tolist() == [0, 0, 116]


def test_the_papers_sizes_of_the_real_table(real):
    records, _ = real
    parts = split(records, "image", 5000)
    assert [len(parts[role]) for role in ROLES] == [4000, 500, 500]
    assert leakage(parts)["images_shared"].tolist() == [0, 0, 0]
