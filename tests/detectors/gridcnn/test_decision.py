"""What a cell is worth: the cells above a threshold are those that promise most."""

from itertools import combinations

import numpy as np
import pytest

from cxr.detectors.gridcnn.decision import BALANCE, SHARPNESS, worth


def weight(value):
    """The weight of recall from which on a cell of this worth is named."""
    return BALANCE * (1 / value - 1) ** (1 / SHARPNESS)


def promised(confidence, cells, weight):
    return confidence[cells].mean() + weight * confidence[cells].sum() / confidence.sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_cells_above_a_threshold_are_the_best_of_all_subsets(seed):
    random = np.random.default_rng(seed)
    confidence = random.uniform(0, 1, (1, 2, 4)) ** 3
    valued = worth(confidence)[0].ravel()
    plain = confidence[0].ravel()
    for chosen in (0.2, 0.45, 0.6, 1.0, 1.7):
        named = np.flatnonzero(valued >= 1 / (1 + (chosen / BALANCE) ** SHARPNESS))
        best = max(
            promised(plain, list(subset), chosen) for count in range(1, 9) for subset in combinations(range(8), count)
        )
        assert promised(plain, named, chosen) == pytest.approx(best, rel=1e-9)


def test_by_hand():
    # P of 1, 2 cells: 0.8, 0.5; R: 0.8, 1: the second comes in at w = 0.3 / 0.2
    valued = worth(np.array([[[0.2, 0.8]]]))[0, 0]
    assert valued[1] == 1
    assert weight(valued[0]) == pytest.approx(1.5)


def test_of_images_with_the_same_shape_the_fainter_names_as_many_cells_or_more():
    confidence = np.random.default_rng(0).uniform(0, 1, (1, 16, 16)) ** 4
    strong, faint = worth(np.concatenate([confidence, confidence / 3]))
    assert (faint >= strong).all() and (faint > strong).any(), "recall counts more where precision is out of reach"


def test_a_map_without_contrast_is_named_whole_and_one_of_nothing_by_one_cell():
    assert (worth(np.full((1, 16, 16), 0.3)) == 1).all()
    nothing = worth(np.zeros((1, 16, 16)))
    assert np.isfinite(nothing).all() and nothing.max() == 1


def test_images_are_judged_one_by_one():
    confidence = np.random.default_rng(1).uniform(0, 1, (3, 16, 16))
    np.testing.assert_array_equal(worth(confidence)[1], worth(confidence[1:2])[0])
