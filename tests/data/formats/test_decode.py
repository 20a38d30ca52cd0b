"""How pictures are made smaller: every network sees the result, so another filter would be another study."""

import numpy as np
import pytest

from cxr.data.formats import decode


@pytest.mark.parametrize("turned", [False, True])
def test_where_the_side_does_not_divide_pixels_whose_centres_lie_under_a_new_one_are_averaged(turned):
    """5 to 3: new pixels end at 1 2/3 and 3 1/3, so the old centres 0.5 … 4.5 fall to them as 2, 1 and 2."""
    columns = np.tile(np.array([10, 30, 200, 0, 60], np.uint8), (5, 1))
    found = decode.shrink(columns.T.copy() if turned else columns, 3)
    assert (found.T if turned else found).tolist() == [[20, 200, 30]] * 3


def test_any_picture_is_shrunk_to_the_means_of_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    owner = np.floor((np.arange(100) + 0.5) * 33 / 100).astype(int)
    sums, counts = np.zeros((33, 33)), np.zeros((33, 33))
    np.add.at(sums, (owner[:, None], owner[None, :]), pixels)
    np.add.at(counts, (owner[:, None], owner[None, :]), 1)
    assert abs(decode.shrink(pixels, 33) - sums / counts).max() <= 1, "rounded once a direction"


def test_enlarging_is_bilinear():
    pixels = np.tile(np.array([0, 100], np.uint8), (2, 1))
    assert decode.shrink(pixels, 4).tolist() == [[0, 25, 75, 100]] * 4
