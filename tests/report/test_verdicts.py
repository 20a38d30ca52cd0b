"""How a number stands on the page: its digits, its interval, and the verdict on its difference to the floor."""

import math

import pytest

from cxr.report import verdicts
from cxr.report.verdicts import cell_texts, number, signed

ROW = {
    "value": 0.71, "low": 0.66, "high": 0.75, "floor": 0.5, "floor_low": 0.45, "floor_high": 0.56, "floor_name": "a constant",
    "difference": 0.21, "difference_low": 0.15, "difference_high": 0.27, "higher_is_better": 1, "support": 1234, "note": "n",
}  # fmt: skip


def test_a_cell_says_of_value_floor_and_difference_each_its_own():
    assert cell_texts(ROW) == {
        "value": "0.710", "defined": True, "interval": "[0.660, 0.750]", "floor": "0.500", "floor_interval": "[0.450, 0.560]",
        "floor_name": "a constant", "difference": "+0.210", "difference_interval": "[0.150, 0.270]",
        "verdict": verdicts.BETTER, "support": "1,234", "note": "n", "lower": False,
    }  # fmt: skip
    assert cell_texts(ROW | {"higher_is_better": 0})["verdict"] == verdicts.WORSE
    assert cell_texts(ROW | {"higher_is_better": 0})["lower"] is True
    assert cell_texts(ROW, judged=False)["verdict"] == verdicts.DESCRIPTIVE
    assert cell_texts(None) is None


def test_an_undefined_value_says_so_with_its_support_and_has_no_verdict():
    nothing = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high"), math.nan)
    found = cell_texts(ROW | nothing | {"support": 0})
    assert (found["value"], found["defined"], found["interval"]) == ("undefined (support 0)", False, "")
    assert found["verdict"] == verdicts.UNDEFINED and found["floor"] == "0.500"


def test_a_number_without_a_floor_says_so():
    bare = dict.fromkeys(
        ("floor", "floor_low", "floor_high", "difference", "difference_low", "difference_high"), math.nan
    )
    assert cell_texts(ROW | bare | {"floor_name": ""})["floor"] == "no floor"
    assert cell_texts(ROW | bare)["floor"] == "undefined"
    assert cell_texts(ROW | bare)["verdict"] == verdicts.UNDEFINED


@pytest.mark.parametrize(("low", "high"), [(0, 0.1), (-0.1, 0), (0, 0), (-0.1, 0.1)])
@pytest.mark.parametrize("higher", [0, 1])
def test_an_interval_that_touches_zero_tells_nothing(low, high, higher):
    found = verdicts.verdict(ROW | {"difference_low": low, "difference_high": high, "higher_is_better": higher})
    assert found == verdicts.SAME


def test_signs_are_written_of_what_is_not_zero_on_the_page():
    assert [signed(value) for value in (0.21, -0.21, 0.0001, -0.0001, 0, math.nan)] == [
        "+0.210", "−0.210", "0.000", "0.000", "0.000", ""
    ]  # fmt: skip


def test_digits_by_size():
    assert [number(value) for value in (9.9994, 10, 99.94, 100, -12.34, 12345.6, None, math.inf)] == [
        "9.999", "10.0", "99.9", "100", "−12.3", "12,346", "", ""
    ]  # fmt: skip
