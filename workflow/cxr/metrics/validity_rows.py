"""The rows of a validity table: a number beside its floor, with intervals, and the sample behind it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.labels import to_matrix
from cxr.metrics.bootstrap import Estimate, minus
from cxr.metrics.classification import aligned_probabilities, check_same_order, fewer_patients
from cxr.metrics.ladder import CONSTANT, Ladder

CALIBRATION, BINS, OPERATING, SUBGROUPS = "calibration", "bins", "operating", "subgroups"  # parts of the table
POOLED = "mean14"  # the 14 findings together
COLUMNS = [
    *("protocol", "experiment", "part", "metric", "label", "comparison", "group"),
    *("value", "low", "high", "floor", "floor_low", "floor_high", "floor_name"),
    *("difference", "difference_low", "difference_high", "cases", "positives", "images", "patients", "fewest", "note"),
]
Row = dict[str, object]


def row(part: str, metric: str, label: str, score: Estimate, floor: Estimate, confidence: float, **more: object) -> Row:
    """Write an estimate and its floor as a row, less protocol and experiment; more: other columns."""
    difference = minus(score, floor)
    found: Row = {"part": part, "metric": metric, "label": label, "comparison": "", "group": "", "note": ""}
    for name, estimate in (("", score), ("floor", floor), ("difference", difference)):
        low, high = estimate.interval(confidence)
        found |= {name or "value": estimate.value, f"{name}_low".strip("_"): low, f"{name}_high".strip("_"): high}
    return found | more


def nothing(samples: int) -> Estimate:
    """Return an undefined estimate."""
    return Estimate(np.nan, np.full(samples, np.nan))


def floor_name(name: str, constant: str) -> str:
    """Return a candidate's name for readers; constant: what the constant is called."""
    return constant if name == CONSTANT else name


@dataclass(frozen=True)
class Said:
    """The images of a role. predictions: a classifier's. truth: their split. ladder: what image-free predictors say of them."""

    predictions: pd.DataFrame
    truth: pd.DataFrame
    ladder: Ladder


@dataclass(frozen=True)
class Images:
    """The same, checked, as arrays: probabilities and targets (N, 15), patients (N,)."""

    probabilities: np.ndarray
    targets: np.ndarray
    patients: np.ndarray
    ladder: Ladder

    @classmethod
    def of(cls, said: Said, who: str) -> "Images":
        """Raises InputError where the files are of different images; who: names them."""
        probabilities = aligned_probabilities(said.predictions, said.truth, who)
        check_same_order(said.ladder.images, said.truth, "floors", who)
        targets = to_matrix(said.truth["labels"]).astype(np.float64)
        return cls(probabilities, targets, said.truth["patient"].to_numpy(), said.ladder)


@dataclass(frozen=True)
class Tested(Images):
    """What is scored: also the metadata of the N images, and bootstrap weights (B, N)."""

    metadata: pd.DataFrame
    weights: np.ndarray
    confidence: float


def sizes(scored: Images, images: np.ndarray, findings: list[int]) -> Row:
    """Return the sample of some images, (N,) bool, and findings (indices): the columns from cases to fewest."""
    targets, patients = scored.targets[images], scored.patients[images]
    fewest = int(fewer_patients(targets, patients)[findings].min()) if len(findings) and len(targets) else 0
    return {
        "cases": int(images.sum()) * len(findings),
        "positives": int(targets[:, findings].sum()),
        "images": int(images.sum()),
        "patients": len(np.unique(patients)),
        "fewest": fewest,
    }
