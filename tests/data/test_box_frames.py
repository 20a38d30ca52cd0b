"""Box lists in another frame or form: by hand, over generated lists, and over the release's own list."""

from collections.abc import Callable

import numpy as np
import pytest

from cxr.data.box_frames import (
    CENTRES,
    CORNERS,
    FRAME,
    LIKE_CENTRES,
    LIKE_CORNERS,
    MEDIAN_END,
    TALL_HEARTS,
    WITHIN,
    Verdict,
    in_shares,
    judge,
)
from cxr.data.box_list import read_box_table


def lungs(count: int, seed: int = 0) -> np.ndarray:
    """Boxes (N, 4) as x, y, w, h with their middle in either lung, as a reader would draw them."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(60, 480, (count, 2))
    middle = np.stack([rng.choice([300, 724], count) + rng.normal(0, 40, count), rng.uniform(260, 780, count)], axis=1)
    corner = np.clip(middle - size / 2, 5, FRAME - 5 - size)
    return np.concatenate([corner, size], axis=1)


def verdict(boxes: np.ndarray, label: str = "Mass") -> Verdict:
    return judge(boxes, [f"{at:08d}_000.png" for at in range(len(boxes))], [label] * len(boxes))


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def centres(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


OTHERS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], list[str]]] = {  # how to spoil a list: what is said of it
    "shares": (lambda boxes: boxes / FRAME, ["within 0..1", "multiply all four numbers by 1024"]),
    "shares, corners": (lambda boxes: corners(boxes) / FRAME, ["within 0..1", "by 1024", CORNERS]),
    "shares, middles": (lambda boxes: centres(boxes) / FRAME, ["within 0..1", "by 1024", CENTRES]),
    "percents": (lambda boxes: boxes / FRAME * 100, ["in percent", "by 1024 / 100 = 10.24"]),
    "224": (lambda boxes: boxes * 224 / FRAME, ["about 224 pixels", "by 1024 / 224 = 4.5714"]),
    "256": (lambda boxes: boxes / 4, ["about 256 pixels", "by 1024 / 256 = 4 "]),
    "512": (lambda boxes: boxes / 2, ["about 512 pixels", "by 1024 / 512 = 2 "]),
    "640": (lambda boxes: boxes * 0.625, ["about 640 pixels", "by 1024 / 640 = 1.6 "]),
    "corners": (corners, [CORNERS]),
    "corners in 512": (lambda boxes: corners(boxes) / 2, ["about 512 pixels", "= 2 ", CORNERS]),
    "middles": (centres, [CENTRES]),
    "middles in 512": (lambda boxes: centres(boxes) / 2, ["about 512 pixels (1024 / 512 = 2)", CENTRES]),
    "2048": (lambda boxes: boxes * 2, ["end outside the 1024 frame", "drawn on larger images", "1024 / the width"]),
    "2500 x 2048": (lambda boxes: boxes * [2.44, 2, 2.44, 2], ["drawn on larger images", "1024 / the height"]),
    "1280": (lambda boxes: boxes * 1.25, ["drawn on larger images"]),
}


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("count", [60, 300])
def test_a_list_in_another_frame_or_form_says_which(how, count):
    spoil, said = OTHERS[how]
    for seed in range(5):
        boxes = lungs(count, seed)
        assert verdict(boxes).problem == ""
        problem = verdict(spoil(boxes)).problem
        assert all(words in problem for words in said), problem
        assert (CORNERS in problem) == (CORNERS in said)
        assert CENTRES in problem or CENTRES not in said


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 12, 20, 40, 100])
def test_generated_lists_of_any_length_pass(count):
    for seed in range(200):
        assert verdict(lungs(count, seed)).problem == ""


def test_a_few_spoilt_rows_do_not_hide_the_frame():
    boxes = lungs(100) / 2
    boxes[7] = [900, 900, 100, 100]
    boxes[8] = [np.nan, 1, 1, 1]
    boxes[9] = [10, 10, 0, -5]
    assert "about 512 pixels" in verdict(boxes).problem


def test_many_boxes_in_a_corner_beside_many_others_are_only_doubtful():
    boxes = np.concatenate(
        [np.repeat([[100.0, 300, 90, 90]], 60, axis=0), np.repeat([[880.0, 400, 90, 90]], 3, axis=0)]
    )
    found = verdict(boxes)
    assert found.problem == ""
    assert "60 of 63 boxes end within 390 of 1024 pixels" in found.doubts[0]


def test_a_few_spoilt_rows_do_not_spoil_the_list():
    boxes = lungs(100)
    boxes[7] = [0.5, 0.5, 0.1, 0.1]
    boxes[8] = [2000, 2000, 100, 100]
    boxes[9] = np.inf
    assert verdict(boxes) == Verdict("", ("1 of 98 boxes end outside the 1024 frame",))
    assert verdict(np.full((3, 4), np.nan)) == Verdict()
    assert verdict(np.zeros((0, 4))) == Verdict()


def test_by_hand_which_boxes_are_shares():
    boxes = [
        [0.2, 0.3, 0.1, 0.1],
        [0, 0, 1, 0.5],
        [0, 0, 1, 1],
        [1, 1, 1, 1],
        [0.5, 0.5, 30, 0.5],
        [0.9, 0.9, 0.2, 1.2],
    ]
    assert in_shares(np.array(boxes)).tolist() == [True, True, False, False, False, False]


def test_when_a_list_is_only_doubtful():
    """Up to 448 lie at most 19 % of a label's boxes: 0.19^2 = 0.04, 0.19^3 = 0.007, 0.19^8 = 2e-6, 0.19^9 = 3e-7."""
    box = np.array([[150.0, 340, 290, 100]])  # ends at 440
    assert verdict(np.repeat(box, 2, axis=0)) == Verdict()
    for count in (3, 8):
        found = verdict(np.repeat(box, count, axis=0))
        assert found.problem == ""
        assert f"all {count} boxes end within 440 of 1024 pixels" in found.doubts[0]
    assert "all 9 boxes end within 440 of 1024 pixels" in verdict(np.repeat(box, 9, axis=0)).problem


def test_the_boxes_of_one_patient_count_once():
    box = np.repeat([[150.0, 340, 290, 100]], 30, axis=0)
    assert judge(box, [f"00000007_{at:03d}.png" for at in range(30)], ["Mass"] * 30) == Verdict()
    assert judge(box, ["a.png"] * 30, ["Mass"] * 30) == Verdict()
    assert judge(box, [f"a_{at}.png" for at in range(30)], ["Mass"] * 30).problem


def test_corners_that_stay_in_the_frame_are_doubtful_until_there_are_many():
    """With w > x and h > y are at most 45 % of a label's boxes: 0.45^6 = 0.008, 0.45^17 = 1.3e-6, 0.45^18 = 6e-7."""
    box = np.array([[350.0, 380, 600, 610]])
    assert verdict(np.repeat(box, 5, axis=0)) == Verdict()
    for count in (6, 17):
        found = verdict(np.repeat(box, count, axis=0))
        assert found.problem == ""
        assert f"all {count} boxes have w > x and h > y" in found.doubts[0]
    assert CORNERS in verdict(np.repeat(box, 18, axis=0)).problem


def test_few_boxes_far_outside_give_middles_away():
    boxes = np.repeat([[300.0, 500, 60, 60], [820, 400, 60, 60]], 18, axis=0)
    far = np.repeat(
        [[900.0, 500, 240, 100]], 4, axis=0
    )  # to 1140 as a corner, to 1020 as a middle: a tenth of the list
    found = verdict(np.concatenate([boxes, far])).problem
    assert "4 of 40 boxes end outside the 1024 frame" in found
    assert CENTRES in found
    assert "larger" not in found
    assert verdict(np.concatenate([boxes, far[:2]])).problem == ""


def test_middles_that_barely_leave_the_frame_are_doubtful():
    boxes = np.concatenate([lungs(30), [[940.0, 500, 120, 100]]])
    middles = centres(boxes)
    middles = middles[(middles[:, :2] + middles[:, 2:]).max(axis=1) < FRAME]
    found = verdict(np.concatenate([middles, [[950, 500, 120, 100]]]))
    assert found.problem == ""
    assert "none would if x and y were the boxes' middle" in found.doubts[-1]


def test_hearts_that_are_taller_than_wide_are_doubtful():
    heart = np.array([[380.0, 480, 420, 320], [400, 500, 400, 330]])
    wide, tall = np.repeat(heart, 4, axis=0), np.repeat(heart[:, [1, 0, 3, 2]], 4, axis=0)
    assert not verdict(wide, "Cardiomegaly").doubts
    assert not any("taller" in doubt for doubt in verdict(tall).doubts)
    assert "8 of the 8 Cardiomegaly boxes are taller than wide" in verdict(tall, "Cardiomegaly").doubts[0]


# the release's list


@pytest.fixture(scope="module")
def real(nih_sample):
    boxes, _ = read_box_table(nih_sample / "BBox_List_2017.csv", None)
    sizes = np.stack([boxes["x0"], boxes["y0"], boxes["x1"] - boxes["x0"], boxes["y1"] - boxes["y0"]], axis=1)
    return sizes, boxes["image"].to_numpy(dtype=object), boxes["label"].to_numpy(dtype=object)


def test_the_numbers_here_are_those_of_the_list(real):
    sizes, _, labels = real
    ends = (sizes[:, :2] + sizes[:, 2:]).max(axis=1)
    like_corners = (sizes[:, 2:] > sizes[:, :2]).all(axis=1)
    of_label = [labels == label for label in set(labels)]
    for side, share in WITHIN.items():
        assert 0 <= share - max((ends[each] <= side).mean() for each in of_label) <= 0.011
    assert max(like_corners[each].mean() for each in of_label) == pytest.approx(LIKE_CORNERS, abs=0.01)
    assert (sizes[:, :2] >= sizes[:, 2:] / 2).all(axis=1).mean() == pytest.approx(LIKE_CENTRES, abs=0.01)
    hearts = labels == "Cardiomegaly"
    assert (sizes[hearts, 3] >= sizes[hearts, 2]).mean() == pytest.approx(TALL_HEARTS, abs=0.01)
    assert np.median(ends) == pytest.approx(MEDIAN_END, abs=1)


def test_the_whole_list_is_in_its_frame(real):
    assert judge(*real) == Verdict()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 12, 20, 40, 100, 300])
def test_no_part_of_the_list_is_stopped_and_few_are_doubted(real, count):
    sizes, images, labels = real
    rng = np.random.default_rng(count)
    doubted = 0
    for label in (None, *sorted(set(labels))):
        of_label = np.arange(len(labels)) if label is None else np.flatnonzero(labels == label)
        for _ in range(40):
            part = rng.choice(of_label, min(count, len(of_label)), replace=False)
            found = judge(sizes[part], images[part], labels[part])
            assert found.problem == ""
            doubted += bool(found.doubts)
    assert doubted <= 11  # 3 % of 360


@pytest.mark.parametrize("how", OTHERS)
def test_the_list_in_another_frame_or_form_says_which(real, how):
    sizes, images, labels = real
    spoil, said = OTHERS[how]
    for part in (np.arange(len(sizes)), np.random.default_rng(1).choice(len(sizes), 150, replace=False)):
        problem = judge(spoil(sizes[part]), images[part], labels[part]).problem
        assert all(words in problem for words in said), problem
