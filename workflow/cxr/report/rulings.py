"""The rules by which the ledger judges a claim of the paper: from a measurement beside its floor to a verdict and its reason.

Four verdicts. *Explained by the floor* comes before *reproduced*: a number that needs no image says nothing about a network.
*Reproduced* needs data that carry it: the claim lies within our interval, and ours can be told from the floor. What
fewer than `judging.FEWEST` patients tell of is *not checkable*, and so is what our interval is too wide for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy import stats

from cxr.metrics.judging import BETTER, DESCRIPTIVE, FEWEST
from cxr.report.verdicts import interval, number, signed

REPRODUCED, EXPLAINED, NOT_REPRODUCED, UNCHECKED = (
    "reproduced", "explained by the floor", "not reproduced", "not checkable"
)  # fmt: skip
NAN = float("nan")
Ruling = tuple[str, str]  # verdict, reason


@dataclass(frozen=True)
class Measurement:
    """Ours and the floor, each with its interval; NaN where undefined. difference_low, difference_high: of ours minus the floor.
    told: whether ours can be told from the floor, on the good side; apart: from 0. images, patients: behind the number. note: what
    else a reader must know. course: of a number that is followed, how many of the images early, at its claimed low, in the end."""

    value: float
    low: float = NAN
    high: float = NAN
    floor: float = NAN
    floor_low: float = NAN
    floor_high: float = NAN
    floor_name: str = ""
    difference_low: float = NAN
    difference_high: float = NAN
    told: bool = False
    apart: bool = False
    images: int = 0
    patients: int = 0
    note: str = ""
    course: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of_metric(cls, row: Mapping[str, Any]) -> "Measurement":
        """Read a row of the metric table. A number without a verdict is told from its floor by the interval of the difference."""
        ends = float(row["difference_low"]), float(row["difference_high"])
        told = row["verdict"] == BETTER
        if row["verdict"] == DESCRIPTIVE:
            told = ends[0] > 0 if row["higher_is_better"] else ends[1] < 0
        return cls(**_copied(row), told=told, images=int(row["support"]), patients=int(row["patients"]))

    @classmethod
    def of_claim(cls, row: Mapping[str, Any], level: float) -> "Measurement":
        """Read a row of ``cxr.metrics.claims``. level: below which a p-value tells a difference, beside its interval."""
        apart, told = (bool(row[name] < round(level, 12)) for name in ("p", "p_floor"))
        sizes = {name: int(row[name]) for name in ("images", "patients")}
        return cls(**_copied(row), told=told, apart=apart, note=str(row.get("note") or ""), **sizes)


def _copied(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("value", "low", "high", "floor", "floor_low", "floor_high", "difference_low", "difference_high")
    return {name: float(row[name]) for name in names} | {"floor_name": str(row["floor_name"] or "")}


Rule = Callable[[Measurement], Ruling]


def ruled(found: Measurement | str, rule: Rule) -> Ruling:
    """Judge a measurement; a text says why there is none."""
    if isinstance(found, str):
        return UNCHECKED, found
    if not math.isfinite(found.value):
        return UNCHECKED, "The number is undefined."
    if found.patients < FEWEST:
        return UNCHECKED, f"Fewer than {FEWEST} patients tell of it: {found.patients}."
    return rule(found)


def _needs_interval(rule: Rule) -> Rule:
    def checked(found: Measurement) -> Ruling:
        if not math.isfinite(found.low) or not math.isfinite(found.high):
            return UNCHECKED, "The interval is undefined."
        return rule(found)

    return checked


def reached(printed: float, half: float, higher: bool = True) -> Rule:
    """Judge a printed number. half: half a unit of its last digit. higher: whether more is better.

    Explained where the floor is as good as the number. Else reproduced where our interval holds it and ours can be told
    from the floor. Else explained where the floor's interval holds it. Else not reproduced where our interval does not.
    """

    def rule(found: Measurement) -> Ruling:
        ours = found.low - half <= printed <= found.high + half
        side = "Ours agrees with it" if ours else "Ours is lower" if found.value < printed else "Ours is higher"
        as_good = found.floor >= printed - half if higher else found.floor <= printed + half
        if as_good:
            return EXPLAINED, f"The floor is as good as the number. {side}."
        if ours and found.told:
            return REPRODUCED, "Our interval holds the number, and ours can be told from the floor."
        if found.floor_low - half <= printed <= found.floor_high + half:
            return EXPLAINED, f"The floor's interval holds the number. {side}."
        if not ours:
            return NOT_REPRODUCED, f"{side}; so is the floor." if _same_side(found, printed) else f"{side}."
        return UNCHECKED, "Our interval holds the number, but ours cannot be told from the floor: too few images."

    return _needs_interval(rule)


def _same_side(found: Measurement, printed: float) -> bool:
    return (found.value < printed) == (found.floor < printed) if math.isfinite(found.floor) else False


def of_share(count: int, total: int, confidence: float = 0.95) -> Rule:
    """Judge a printed share of images, by its own interval (Wilson) and ours; it has no floor."""
    low, high = wilson(count, total, confidence)

    def rule(found: Measurement) -> Ruling:
        theirs = f"{count} of {total} is {number(count / total)} {interval(low, high)}"
        if found.low <= high and low <= found.high:
            return REPRODUCED, f"{theirs}, and the intervals overlap."
        return NOT_REPRODUCED, f"{theirs}; ours is {'higher' if found.value > count / total else 'lower'}."

    return _needs_interval(rule)


GONE = 0.05  # predictions have disappeared where at most this share of the images has one


def wilson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share of images."""
    ends = stats.binomtest(count, total).proportion_ci(confidence, "wilson")
    return ends.low, ends.high


def came_back(found: Measurement) -> Ruling:
    """Judge a claim that predictions are visible early, disappear, and come back: the course of the measurement.

    Reproduced where at most ``GONE`` of the images have a prediction at the low, and more have one both early and in the end, told
    by Wilson's intervals that do not overlap. What is only seen in overlapping intervals is not checkable.
    """
    early, low, last = found.course
    before, then, after = (wilson(count, found.images) for count in found.course)
    if not early:
        return NOT_REPRODUCED, "No image has a prediction in the first epochs."
    if low / found.images > GONE:
        return NOT_REPRODUCED, f"They do not disappear: {low} of {found.images} images have one."
    if before[0] <= then[1]:
        return UNCHECKED, "That they disappear cannot be told on these images."
    if after[0] > then[1]:
        return REPRODUCED, "They are visible, disappear and come back; the intervals do not overlap."
    if last <= low:
        return NOT_REPRODUCED, "They disappear, and do not come back."
    return UNCHECKED, "They disappear; that they come back cannot be told on these images."


def increased(printed: float, higher: bool = True) -> Rule:
    """Judge a claim that one number is better than another. The measurement is the difference; higher: whether it should be
    positive. printed: the difference that the paper prints, NaN if it prints none.

    Reproduced where the difference can be told from 0 in the claimed direction and from that of the image-free predictors, where
    these have one; explained where theirs is as large or ours cannot be told from it. A difference that cannot be told from 0
    is not reproduced where the interval leaves out what the paper prints, and not checkable otherwise.
    """
    sign = 1 if higher else -1

    def rule(found: Measurement) -> Ruling:
        low, high = sorted((sign * found.low, sign * found.high))
        size = (
            "" if math.isnan(printed) else f" The paper's {signed(printed)} is {_within(found, printed)} our interval."
        )
        if high < 0:
            return NOT_REPRODUCED, f"The difference has the other sign.{size}"
        if low <= 0 or not found.apart:
            if math.isfinite(printed) and not found.low <= printed <= found.high:
                return NOT_REPRODUCED, f"No difference can be told.{size}"
            return UNCHECKED, f"No difference can be told on these images.{size}"
        above = min(sign * found.difference_low, sign * found.difference_high) > 0 and found.told
        if math.isfinite(found.floor) and not above:
            return EXPLAINED, f"Image-free predictors differ by {signed(found.floor)} themselves.{size}"
        return (
            REPRODUCED,
            f"The difference can be told from 0{' and from the floor' * math.isfinite(found.floor)}.{size}",
        )

    return _needs_interval(rule)


def _within(found: Measurement, printed: float) -> str:
    return "within" if found.low <= printed <= found.high else "outside"


def equal(within: float) -> Rule:
    """Judge a claim that a difference is 0, but for `within`."""

    def rule(found: Measurement) -> Ruling:
        if -within <= found.low and found.high <= within:
            return REPRODUCED, f"The whole interval lies within ±{within:g}."
        if found.low > within or found.high < -within:
            return NOT_REPRODUCED, f"The whole interval lies outside ±{within:g}."
        return UNCHECKED, f"The interval reaches beyond ±{within:g}: too few images, or a difference."

    return _needs_interval(rule)


def all_or_none(share: Literal[0, 1]) -> Rule:
    """Judge a claim that all, or none, of the cases are so; half a percent counts as all."""

    def rule(found: Measurement) -> Ruling:
        nearest, farthest = (found.high, found.low) if share else (found.low, found.high)
        if abs(farthest - share) <= 0.005:
            return (
                REPRODUCED,
                "As in the paper, like the majority classifier." if found.floor == share else "As printed.",
            )
        if abs(nearest - share) > 0.005:
            return NOT_REPRODUCED, "Ours is another share."
        return UNCHECKED, "The interval is too wide."

    return _needs_interval(rule)


def counted(printed: float, unit: float) -> Rule:
    """Judge a printed count, rounded to a unit."""

    def rule(found: Measurement) -> Ruling:
        if abs(found.value - printed) <= unit / 2:
            return REPRODUCED, "As counted." if unit == 1 else "As counted, rounded."
        return NOT_REPRODUCED, f"The tables hold {found.value:,.0f}."

    return rule


def by_chance(printed: float) -> Rule:
    """Judge the lead of the best pair of a grid; the floor is what chance gives the best of as many majority classifiers
    (``cxr.metrics.chance``), its floor_high the upper end of the interval. told: whether ours is beyond chance."""

    def rule(found: Measurement) -> Ruling:
        if printed <= found.floor_high:
            return EXPLAINED, f"Chance gives the best pair up to {signed(found.floor_high)}."
        rest = signed(printed - found.floor_high)
        if found.value >= printed - 0.00005 and found.told:
            return REPRODUCED, f"Our best pair leads as far, {rest} beyond chance."
        return (
            NOT_REPRODUCED,
            f"Our best pair does not lead as far; {rest} of the paper's lead is beyond chance: unexplained.",
        )

    return rule


def not_run(why: str) -> Rule:
    """Say that a claim is not checked, whatever is measured beside it."""
    return lambda _: (UNCHECKED, why)
