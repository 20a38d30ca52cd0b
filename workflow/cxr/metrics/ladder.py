"""The image-free label predictors of one split: what each says of the test images, and which of them is a score's floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.metrics.guesses import Guess

CONSTANT = "constant"
RUNGS = (CONSTANT, "metadata", "history")
PARTS = ("probabilities", "first", "finding", "sets")


@dataclass(frozen=True)
class Ladder:
    """What every candidate says of the test images, and how well it did in the cross-validation.

    images: names of the N test images. guesses: candidate -> `Guess` of them, in their order. rungs: candidate -> one of
    `RUNGS`, the lowest first. scores: metric, label and a column per candidate, out of fold on the training images; metrics
    of a softmax output have "softmax_" before their name.
    """

    images: tuple[str, ...]
    guesses: dict[str, Guess]
    rungs: dict[str, str]
    scores: pd.DataFrame

    @cached_property
    def _scores(self) -> dict[tuple[str, str], dict[str, float]]:
        return {(row["metric"], row["label"]): row for row in self.scores.to_dict("records")}

    def score(self, name: str, metric: str, label: str) -> float:
        """Return a candidate's cross-validated score; NaN where it has none."""
        return self._scores.get((metric, label), {}).get(name, np.nan)

    def floor(self, metric: str, label: str) -> str:
        """Return the candidate with the best cross-validated score; of equals, the one on the lower rung.

        Where no candidate has a score, for want of positives, it is the constant.
        """
        return self._best([*self.rungs], metric, label)

    def reached(self) -> list[str]:
        """Return the rungs that the split has, the lowest first."""
        return [rung for rung in RUNGS if rung in self.rungs.values()]

    def of_rung(self, rung: str, metric: str, label: str) -> str | None:
        """Return the rung's candidate with the best cross-validated score; None where the split has no such rung."""
        names = [name for name in self.rungs if self.rungs[name] == rung]
        return self._best(names, metric, label) if names else None

    def _best(self, names: Sequence[str], metric: str, label: str) -> str:
        return best(names, metric, {name: self.score(name, metric, label) for name in names})

    def save(self, path: Path) -> None:
        """Write the ladder as NPZ."""
        arrays = {"images": np.array(self.images, dtype=str), "names": np.array([*self.rungs])}
        arrays |= {"rungs": np.array([*self.rungs.values()]), "keys": self.scores[["metric", "label"]].to_numpy(str)}
        arrays["scores"] = self.scores[[*self.rungs]].to_numpy(np.float64)
        for number, name in enumerate(self.rungs):
            arrays |= {f"{part}_{number}": getattr(self.guesses[name], part) for part in PARTS}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Ladder":
        """Read what `save` wrote."""
        with np.load(path) as file:
            names = [str(name) for name in file["names"]]
            guesses = {name: Guess(*(file[f"{part}_{number}"] for part in PARTS)) for number, name in enumerate(names)}
            scores = pd.DataFrame(file["keys"], columns=["metric", "label"])
            scores[names] = file["scores"]
            rungs = dict(zip(names, map(str, file["rungs"]), strict=True))
            return cls(tuple(map(str, file["images"])), guesses, rungs, scores)


def best(names: Sequence[str], metric: str, scores: Mapping[str, float]) -> str:
    """Return the candidate with the best score, the first of equals; the first one where none has a score."""
    known = [name for name in names if np.isfinite(scores[name])] or [*names][:1]
    return (min if metric.endswith("loss") else max)(known, key=lambda name: scores[name])
