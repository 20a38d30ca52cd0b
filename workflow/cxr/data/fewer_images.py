"""Fewer training images than a split has: what a network gains by the last few of them."""

from pathlib import Path

import pandas as pd

from cxr.data import splits
from cxr.errors import InputError
from cxr.runtime.journal import Journal


def draw(split: pd.DataFrame, left_out: int, seed: int) -> pd.DataFrame:
    """Return a split without `left_out` images drawn at random, in its order; another seed leaves out others.

    split: columns of ``splits.read_split``. Raises InputError where no image would be left.
    """
    if left_out >= len(split):
        raise InputError(
            f"gridcnn.variants.fewer = {left_out} leaves none of {len(split)} boxed training images; lower it"
        )
    places = split["image"].map(lambda image: splits.place(seed, f"fewer images/{image}"))
    return split[places.rank(method="first") > left_out].reset_index(drop=True)


def write(*, train: Path, left_out: int, seed: int, fewer: Path, tell: Journal) -> None:
    """Write `draw` of a training split."""
    known = splits.read_split(train)
    kept = draw(known, left_out, seed)
    splits.write_split(kept, fewer)
    tell(f"{len(kept)} of {len(known)} training images")
