"""The rules of the ledger: what a measurement beside its floor makes of a claim of the paper."""

import math

import pytest

from cxr.report import rulings
from cxr.report.rulings import EXPLAINED, NOT_REPRODUCED, REPRODUCED, UNCHECKED, Measurement

NAN = math.nan


def measured(value, low, high, floor=NAN, floor_low=NAN, floor_high=NAN, patients=60, **more):
    return Measurement(
        value, low, high, floor, floor_low, floor_high, "a constant", images=80, patients=patients, **more
    )


def verdict(found, rule):
    return rulings.ruled(found, rule)[0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (measured(0.55, 0.52, 0.58, 0.45, 0.43, 0.47, told=True), REPRODUCED),
        (measured(0.55, 0.52, 0.58, 0.56, 0.53, 0.59), EXPLAINED),  # the floor is as good
        (measured(0.70, 0.67, 0.73, 0.56, 0.53, 0.59, told=True), EXPLAINED),  # ours being better changes nothing
        (measured(0.55, 0.52, 0.58, 0.546, 0.52, 0.57), EXPLAINED),  # as good but for half a unit of the last digit
        (measured(0.40, 0.37, 0.43, 0.53, 0.50, 0.56), EXPLAINED),  # the floor's interval holds the number
        (measured(0.55, 0.52, 0.58, 0.53, 0.50, 0.56, told=True), REPRODUCED),  # and yet ours can be told from it
        (measured(0.40, 0.37, 0.43, 0.45, 0.43, 0.47), NOT_REPRODUCED),
        (measured(0.70, 0.67, 0.73, 0.45, 0.43, 0.47, told=True), NOT_REPRODUCED),
        (measured(0.55, 0.40, 0.70, 0.45, 0.41, 0.49), UNCHECKED),  # too wide to tell the number from the floor
        (measured(0.55, 0.52, 0.58, 0.45, 0.43, 0.47, patients=9, told=True), UNCHECKED),
        (measured(0.55, NAN, NAN, 0.45, 0.43, 0.47, told=True), UNCHECKED),
        (measured(NAN, NAN, NAN), UNCHECKED),
        ("It did not run.", UNCHECKED),
    ],
)
def test_a_printed_number_is_explained_by_its_floor_before_it_is_reproduced(found, expected):
    assert verdict(found, rulings.reached(0.55, 0.005)) == expected


def test_of_a_loss_the_floor_is_as_good_where_it_is_lower():
    rule = rulings.reached(0.24, 0.005, higher=False)
    assert verdict(measured(0.24, 0.23, 0.25, 0.22, 0.21, 0.23), rule) == EXPLAINED
    assert verdict(measured(0.24, 0.23, 0.25, 0.30, 0.29, 0.31, told=True), rule) == REPRODUCED
    assert verdict(measured(0.28, 0.27, 0.29, 0.30, 0.29, 0.31, told=True), rule) == NOT_REPRODUCED


def test_why_says_on_which_side_ours_and_the_floor_lie():
    rule = rulings.reached(0.55, 0.005)
    assert rulings.ruled(measured(0.40, 0.37, 0.43, 0.45, 0.43, 0.47), rule)[1] == "Ours is lower; so is the floor."
    assert rulings.ruled(measured(0.7, 0.67, 0.73, 0.45, 0.43, 0.47), rule)[1] == "Ours is higher."
    assert rulings.ruled("It did not run.", rule)[1] == "It did not run."
    assert rulings.ruled(measured(0.5, 0.4, 0.6, patients=9), rule)[1] == "Fewer than 10 patients tell of it: 9."


BEYOND, WITHIN = {"difference_low": 0.01, "difference_high": 0.05}, {"difference_low": -0.01, "difference_high": 0.05}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (measured(0.06, 0.04, 0.08, apart=True), REPRODUCED),  # without a floor
        (measured(0.06, 0.04, 0.08, 0.03, 0.02, 0.04, apart=True, told=True, **BEYOND), REPRODUCED),
        (measured(0.06, 0.04, 0.08, 0.03, 0.02, 0.04, apart=True, told=False, **BEYOND), EXPLAINED),  # by its p-value
        (measured(0.06, 0.04, 0.08, 0.05, 0.02, 0.08, apart=True, told=True, **WITHIN), EXPLAINED),
        (measured(0.06, -0.01, 0.13), UNCHECKED),  # the interval holds 0 and what is printed
        (measured(0.06, 0.01, 0.11, apart=False), UNCHECKED),
        (measured(0.01, -0.01, 0.03), NOT_REPRODUCED),  # it holds 0, and leaves out what is printed
        (measured(-0.06, -0.08, -0.04, apart=True), NOT_REPRODUCED),
    ],
)
def test_an_increase_must_be_told_from_0_and_from_the_floors_own(found, expected):
    assert verdict(found, rulings.increased(0.05)) == expected


def test_of_losses_a_decrease_is_better():
    lower = measured(-2.2, -2.4, -2.0, -2.3, -2.5, -2.1, apart=True, difference_low=-0.1, difference_high=0.3)
    assert verdict(lower, rulings.increased(-2.19, higher=False)) == EXPLAINED
    assert verdict(measured(-2.2, -2.4, -2.0, apart=True), rulings.increased(NAN, higher=False)) == REPRODUCED
    assert verdict(measured(0.2, 0.1, 0.3, apart=True), rulings.increased(NAN, higher=False)) == NOT_REPRODUCED
    assert verdict(measured(-0.2, -0.5, 0.1), rulings.increased(NAN, higher=False)) == UNCHECKED


def test_equal_to_the_majority_means_that_the_whole_interval_lies_within_a_hundredth():
    rule = rulings.equal(0.01)
    assert verdict(measured(0.0, 0.0, 0.0), rule) == REPRODUCED
    assert verdict(measured(0.003, -0.004, 0.01), rule) == REPRODUCED
    assert verdict(measured(0.003, -0.004, 0.011), rule) == UNCHECKED
    assert verdict(measured(0.03, 0.02, 0.04), rule) == NOT_REPRODUCED
    assert verdict(measured(-0.03, -0.04, -0.02), rule) == NOT_REPRODUCED


def test_all_and_none_allow_half_a_percent():
    assert verdict(measured(1.0, 0.996, 1.0, 1.0), rulings.all_or_none(1)) == REPRODUCED
    assert verdict(measured(0.9, 0.85, 0.95), rulings.all_or_none(1)) == NOT_REPRODUCED
    assert verdict(measured(0.99, 0.97, 1.0), rulings.all_or_none(1)) == UNCHECKED
    assert verdict(measured(0.0, 0.0, 0.0), rulings.all_or_none(0)) == REPRODUCED
    assert verdict(measured(0.1, 0.05, 0.15), rulings.all_or_none(0)) == NOT_REPRODUCED


def test_a_share_of_images_is_compared_by_both_intervals():
    rule = rulings.of_share(24, 129)  # 0.186 [0.128, 0.262]
    assert verdict(measured(0.30, 0.26, 0.34), rule) == REPRODUCED
    assert rulings.ruled(measured(0.30, 0.27, 0.34), rule) == (
        NOT_REPRODUCED, "24 of 129 is 0.186 [0.128, 0.262]; ours is higher."
    )  # fmt: skip


def test_counts_are_compared_as_they_are_rounded():
    assert verdict(Measurement(112_120, patients=30_805), rulings.counted(110_000, 10_000)) == REPRODUCED
    assert verdict(Measurement(30_805, patients=30_805), rulings.counted(30_000, 10_000)) == REPRODUCED
    assert verdict(Measurement(880, patients=726), rulings.counted(893, 1)) == NOT_REPRODUCED
    assert verdict(Measurement(880, patients=726), rulings.counted(881, 1)) == NOT_REPRODUCED


def test_a_lead_within_chance_is_explained_by_it_and_what_is_beyond_is_named():
    rule = rulings.by_chance(0.0659)
    assert verdict(measured(0.02, NAN, NAN, 0.058, NAN, 0.095), rule) == EXPLAINED
    words = rulings.ruled(measured(0.004, NAN, NAN, 0.011, NAN, 0.018), rule)
    assert words[0] == NOT_REPRODUCED and "+0.048 of the paper's lead is beyond chance: unexplained" in words[1]
    assert verdict(measured(0.07, NAN, NAN, 0.011, NAN, 0.018, told=True), rule) == REPRODUCED
    assert verdict(measured(0.07, NAN, NAN, 0.011, NAN, 0.018, told=False), rule) == NOT_REPRODUCED


def test_a_number_without_a_verdict_is_told_from_its_floor_by_the_interval_of_the_difference():
    row = dict.fromkeys(("value", "low", "high", "floor", "floor_low", "floor_high"), 0.5) | {
        "floor_name": "a constant", "support": 80, "patients": 60, "difference_low": 0.01, "difference_high": 0.03,
        "verdict": "descriptive", "higher_is_better": 1,
    }  # fmt: skip
    assert Measurement.of_metric(row).told
    assert not Measurement.of_metric(row | {"higher_is_better": 0}).told
    assert Measurement.of_metric(row | {"higher_is_better": 0, "difference_low": -0.3, "difference_high": -0.1}).told
    assert not Measurement.of_metric(row | {"verdict": "indistinguishable"}).told
    assert Measurement.of_metric(row | {"verdict": "better", "difference_low": NAN, "difference_high": NAN}).told


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ((40, 0, 24), REPRODUCED),
        ((40, 4, 24), REPRODUCED),  # 4 of 81 are 4.9%
        ((40, 5, 24), NOT_REPRODUCED),  # they do not disappear
        ((0, 0, 24), NOT_REPRODUCED),  # nothing to disappear
        ((40, 0, 0), NOT_REPRODUCED),  # they do not come back
        ((40, 1, 1), NOT_REPRODUCED),
        ((40, 0, 3), UNCHECKED),  # 3 of 81 and none of 81 are not told apart
        ((3, 0, 24), UNCHECKED),
    ],
)
def test_predictions_disappear_and_come_back_where_wilsons_intervals_tell_it(course, expected):
    found = Measurement(course[1] / 81, *rulings.wilson(course[1], 81), images=81, patients=75, course=course)
    assert verdict(found, rulings.came_back) == expected
