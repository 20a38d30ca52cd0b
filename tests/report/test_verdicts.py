"""How a number stands on the page: its digits, its interval, the verdict on it, and the size of the sample behind it."""

import math

import pytest

from cxr.metrics import judging
from cxr.report.verdicts import VERDICTS, cell_texts, number, signed

ROW = {
    "value": 0.71, "low": 0.66, "high": 0.75, "floor": 0.5, "floor_low": 0.45, "floor_high": 0.56, "floor_name": "a constant",
    "difference": 0.21, "difference_low": 0.15, "difference_high": 0.27, "higher_is_better": 1, "support": 1234, "note": "n",
    "patients": 1056, "p_holm": 0.001, "verdict": judging.BETTER, "constant": 0.5, "metadata": 0.62, "history": math.nan,
}  # fmt: skip


def test_a_cell_says_of_value_floor_and_difference_each_its_own():
    assert cell_texts(ROW) == {
        "value": "0.710", "defined": True, "interval": "[0.660, 0.750]", "floor": "0.500", "floor_interval": "[0.450, 0.560]",
        "floor_name": "a constant", "rungs": "constant 0.500, metadata 0.620", "difference": "+0.210",
        "difference_interval": "[0.150, 0.270]", "verdict": judging.BETTER, "few": "", "support": "1,234", "patients": "1,056",
        "note": "n", "lower": False,
    }  # fmt: skip
    assert cell_texts(ROW | {"higher_is_better": 0})["lower"] is True
    assert cell_texts(None) is None


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_verdict_is_the_tables_and_no_second_one_is_made_of_the_interval(verdict):
    assert cell_texts(ROW | {"verdict": verdict})["verdict"] == verdict


def test_every_verdict_has_its_words():
    assert set(VERDICTS) == {
        judging.BETTER, judging.SAME, judging.WORSE, judging.UNDEFINED, judging.DESCRIPTIVE, judging.TOO_FEW
    }  # fmt: skip
    assert len({words for _, words in VERDICTS.values()}) == len(VERDICTS)
    assert VERDICTS[judging.TOO_FEW][1] == "too few patients" and VERDICTS[judging.DESCRIPTIVE][1] == "not judged"


@pytest.mark.parametrize(
    ("verdict", "patients", "few"),
    [
        (judging.BETTER, 14, "only 14 patients"),
        (judging.WORSE, 14, "only 14 patients"),
        (judging.BETTER, judging.FEW - 1, "only 19 patients"),
        (judging.BETTER, judging.FEW, ""),
        (judging.SAME, 14, ""),
        (judging.TOO_FEW, 9, ""),
        (judging.DESCRIPTIVE, 9, ""),
        (judging.UNDEFINED, math.nan, ""),
    ],
)
def test_few_patients_are_told_beside_a_difference_that_was_called(verdict, patients, few):
    found = cell_texts(ROW | {"verdict": verdict, "patients": patients})
    assert found["few"] == few and found["patients"] == ("" if math.isnan(patients) else str(patients))


def test_an_undefined_value_says_so_with_its_support_and_has_no_verdict():
    nothing = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high"), math.nan)
    row = ROW | nothing | {"support": 0, "patients": 0}
    found = cell_texts(row | {"verdict": judging.verdict(row | {"judged": True}, 0.95)})
    assert (found["value"], found["defined"], found["interval"]) == ("undefined (support 0)", False, "")
    assert found["verdict"] == judging.UNDEFINED and found["floor"] == "0.500"
    assert (found["support"], found["patients"], found["few"]) == ("0", "0", "")


def test_a_number_without_a_floor_says_so():
    bare = dict.fromkeys(
        ("floor", "floor_low", "floor_high", "difference", "difference_low", "difference_high"), math.nan
    )
    assert cell_texts(ROW | bare | {"floor_name": ""})["floor"] == "no floor"
    assert cell_texts(ROW | bare)["floor"] == "undefined"
    assert cell_texts(ROW | bare)["difference"] == ""


def test_a_ladder_is_told_from_its_second_rung_on():
    rungs = {"constant": 0.5, "metadata": 0.62, "history": 0.7}
    assert cell_texts(ROW | rungs)["rungs"] == "constant 0.500, metadata 0.620, with history 0.700"
    assert cell_texts(ROW | dict.fromkeys(rungs, math.nan))["rungs"] == ""
    assert cell_texts(ROW | dict.fromkeys(rungs, math.nan) | {"constant": 0.5})["rungs"] == "", "it is the floor itself"


def test_signs_are_written_of_what_is_not_zero_on_the_page():
    assert [signed(value) for value in (0.21, -0.21, 0.0001, -0.0001, 0, math.nan)] == [
        "+0.210", "−0.210", "0.000", "0.000", "0.000", ""
    ]  # fmt: skip


def test_digits_by_size():
    assert [number(value) for value in (9.9994, 10, 99.94, 100, -12.34, 12345.6, None, math.inf)] == [
        "9.999", "10.0", "99.9", "100", "−12.3", "12,346", "", ""
    ]  # fmt: skip
