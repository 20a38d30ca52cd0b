"""A classifier on the images that it predicted, beside what image-free predictors say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.labels import to_matrix
from cxr.metrics.classification import aligned_probabilities, check_same_order
from cxr.metrics.guesses import Guess
from cxr.metrics.ladder import Ladder


@dataclass(frozen=True)
class Tested:
    """A classifier on some images: probabilities (N, 15), split table, and what image-free predictors say of them."""

    name: str
    probabilities: np.ndarray
    truth: pd.DataFrame
    ladder: Ladder

    @classmethod
    def read(cls, name: str, predictions: Path, split: Path, floors: Path) -> "Tested":
        """Read what a classifier and the image-free predictors say of a split. Raises InputError if the files differ in images."""
        truth, ladder = splits.read_split(split), Ladder.load(floors)
        check_same_order(ladder.images, truth, "floors", name)
        return cls(name, aligned_probabilities(pd.read_csv(predictions), truth, name), truth, ladder)

    def of(self, images: Sequence[str]) -> "Tested":
        """Return the same on some of the images, in their order."""
        at = pd.Index(self.truth["image"]).get_indexer(images)
        guesses = {name: picked(guess, at) for name, guess in self.ladder.guesses.items()}
        ladder = Ladder(tuple(images), guesses, self.ladder.rungs, self.ladder.scores)
        return Tested(self.name, self.probabilities[at], self.truth.iloc[at].reset_index(drop=True), ladder)

    @property
    def guess(self) -> Guess:
        return Guess.of_model(self.probabilities)

    @property
    def targets(self) -> np.ndarray:
        return to_matrix(self.truth["labels"]).astype(np.float64)


def picked(guess: Guess, at: np.ndarray) -> Guess:
    """Return what a guess says of the images at these places."""
    return Guess(guess.probabilities[at], guess.first[at], guess.finding[at], guess.sets[at])


def in_both(first: Tested, second: Tested) -> list[str]:
    """Return the images that both predicted, in the order of the first."""
    known = set(second.truth["image"])
    return [image for image in first.truth["image"] if image in known]
