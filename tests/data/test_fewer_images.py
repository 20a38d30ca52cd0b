"""Fewer training images: how many are left out, and which."""

import pandas as pd
import pytest

from cxr.data import fewer_images, splits
from cxr.errors import InputError

SPLIT = pd.DataFrame({"image": [f"{n:08d}_000.png" for n in range(50)], "patient": 1, "labels": "Mass", "digest": "d"})


def test_so_many_are_left_out_and_the_others_keep_their_order():
    kept = fewer_images.draw(SPLIT, 9, seed=1)
    assert len(kept) == 41 and kept["image"].is_monotonic_increasing and kept["image"].isin(SPLIT["image"]).all()
    shuffled = fewer_images.draw(SPLIT.sample(frac=1, random_state=0), 9, seed=1)
    assert set(shuffled["image"]) == set(kept["image"])
    assert set(fewer_images.draw(SPLIT, 9, seed=2)["image"]) != set(kept["image"]), "another draw, other images"
    assert set(kept["image"]) < set(fewer_images.draw(SPLIT, 8, seed=1)["image"])


def test_a_draw_is_written_as_a_split_and_one_that_leaves_nothing_is_refused(tmp_path):
    splits.write_split(SPLIT, tmp_path / "train.csv")
    told = []
    fewer_images.write(train=tmp_path / "train.csv", left_out=9, seed=1, fewer=tmp_path / "fewer.csv", tell=told.append)
    assert splits.read_split(tmp_path / "fewer.csv").equals(fewer_images.draw(SPLIT, 9, seed=1))
    assert told == ["41 of 50 training images"]
    with pytest.raises(InputError, match=r"gridcnn\.variants\.fewer = 50 leaves none of 50"):
        fewer_images.draw(SPLIT, 50, seed=1)
