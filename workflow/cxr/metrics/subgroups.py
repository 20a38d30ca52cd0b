"""Scores of groups of the test images, and the gap between them: by sex, by age and by view.

The mean AUROC of the groups of a comparison is over the same findings, those that enough patients of every group have and
lack.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, minus
from cxr.metrics.classification import fewer_patients
from cxr.metrics.guesses import Guess, mean_areas

AGE_BANDS = {"under 40": (0, 40), "40 to 59": (40, 60), "60 and over": (60, np.inf)}  # years, end exclusive
UNKNOWN = "unknown"
GAP = "gap"


def groups(metadata: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Return comparison → group → images of it, (N,) bool. metadata: sex, age (years) and view, of `splits.read_metadata`.

    Images of which the value is not known are a group `UNKNOWN`, where there are any.
    """
    age = metadata["age"].to_numpy(np.float64)
    found = {
        "sex": {name: (metadata["sex"] == name).to_numpy() for name in ("M", "F")},
        "age": {name: (age >= low) & (age < high) for name, (low, high) in AGE_BANDS.items()},
        "view": {name: (metadata["view"] == name).to_numpy() for name in ("PA", "AP")},
    }
    for each in found.values():
        rest = ~np.any([*each.values()], axis=0)
        each |= {UNKNOWN: rest} if rest.any() else {}
    return found


@dataclass(frozen=True)
class Group:
    """A group's score beside that of the floor, or the gap between two groups.

    fewest: of an AUROC, patients with or without one of the findings, the fewest; else the patients.
    """

    name: str
    members: np.ndarray
    score: Estimate
    floor: Estimate
    fewest: int
    floor_name: str = ""
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Groups scored in the same way, and those that are too small to be compared.

    findings: those that an AUROC is over, indices of ``FINDINGS``.
    """

    findings: Sequence[int]
    compared: Sequence[Group]
    too_small: Sequence[str]

    def extremes(self) -> tuple[Group, Group] | None:
        """Return the groups with the largest and the smallest score; None without two groups that have one."""
        ranked = sorted(
            (each for each in self.compared if np.isfinite(each.score.value)), key=lambda it: it.score.value
        )
        return (ranked[-1], ranked[0]) if len(ranked) > 1 else None

    def gap(self) -> list[Group]:
        """Return by how much the largest group exceeds the smallest, as a group of both; none without two groups."""
        if not (extremes := self.extremes()):
            return []
        high, low = extremes
        names = dict.fromkeys([high.floor_name, low.floor_name])
        told = {"floor_name": " minus ".join(names), "note": f"{high.name} minus {low.name}"}
        return [Group(GAP, high.members | low.members, *gap(high, low), min(high.fewest, low.fewest), **told)]


def gap(high: Group, low: Group) -> tuple[Estimate, Estimate]:
    """Return by how much the score of one group exceeds that of another: of the model, and of the floor."""
    return minus(high.score, low.score), minus(high.floor, low.floor)


def left_out(group: str, why: str) -> str:
    """Say why a group is not compared."""
    return f"not compared: {'the table does not say which group' if group == UNKNOWN else why}"


def compare(
    members: dict[str, np.ndarray],
    model: np.ndarray,
    floor: np.ndarray,
    targets: np.ndarray,
    patients: np.ndarray,
    weights: np.ndarray,
) -> Comparison:
    """Score groups of images. members: group → (N,) bool. model, floor: their probabilities, (N, 15). targets: (N, 15).

    A group is compared if it has a finding that at least `judging.FEWEST` of its patients have and as many lack.
    weights: (B, N), one draw of patients for all groups, so that their differences are paired.
    """
    fewer = {
        name: fewer_patients(targets[mine], patients[mine])[: len(FINDINGS)]
        for name, mine in members.items()
        if mine.any()
    }
    enough = {name: each >= judging.FEWEST for name, each in fewer.items() if name != UNKNOWN}
    enough = {name: each for name, each in enough.items() if each.any()}
    shared = np.flatnonzero(np.all([*enough.values()], axis=0)) if enough else np.array([], np.int64)
    compared = [
        Group(
            name,
            members[name],
            *(_mean_auroc(said, members[name], targets, shared, weights) for said in (model, floor)),
            int(fewer[name][shared].min()) if len(shared) else 0,
        )
        for name in enough
    ]
    return Comparison(shared.tolist(), compared, [name for name in members if name not in enough])


def _mean_auroc(
    said: np.ndarray, members: np.ndarray, targets: np.ndarray, findings: np.ndarray, weights: np.ndarray
) -> Estimate:
    weights = weights[:, members]
    return mean_areas(Guess.of_model(said[members]), targets[members], findings, weights)[0]
