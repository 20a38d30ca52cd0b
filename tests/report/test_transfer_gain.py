"""The section on the title's question: sentences by the verdicts, tables with samples, and the figure."""

from types import SimpleNamespace

import numpy as np
import pytest
from transfer_gain_rows import study

from cxr.metrics.judging import BETTER, SAME, TOO_FEW, UNDEFINED, WORSE
from cxr.metrics.transfer_gain import AGAINST, BEYOND, FLOOR, SCRATCH, VALIDATION
from cxr.report.sections import transfer_gain


def section_of(table):
    return transfer_gain.sections(SimpleNamespace(protocols=["paper", "sound"], transfer_gains={"sound": table}))[0]


def test_the_answer_names_both_comparisons_and_what_the_floors_explain():
    told = section_of(study({SCRATCH: BETTER, FLOOR: BETTER, BEYOND: SAME}))["answer"].replace("\u00a0", " ")
    assert told == (
        "By the mean AUROC of the findings, transfer (c = 3, s = 500, 500 training images) is better than training from scratch "
        "(9,000 training images), +0.050 [0.030, 0.070]; their floors differ by +0.010, and beyond that the difference cannot be "
        "told from chance, +0.040 [0.020, 0.060]; it is better than not looking at the image, +0.150 [0.130, 0.170]."
    )


@pytest.mark.parametrize(("verdict", "words"), [(WORSE, "is worse than"), (SAME, "cannot be told from")])
def test_a_verdict_has_its_words(verdict, words):
    told = section_of(study({SCRATCH: verdict, FLOOR: verdict}))["answer"]
    assert f"{words} training from scratch" in told and f"{words} not looking" in told
    assert ("their floors differ" in told) == (verdict == WORSE)


@pytest.mark.parametrize("verdict", [TOO_FEW, UNDEFINED])
def test_without_enough_patients_there_is_no_answer(verdict):
    section = section_of(study(dict.fromkeys(AGAINST, verdict), patients=9, left_out=700))
    assert section["answer"].startswith("No verdict: 9 patients tell of the mean AUROC")
    assert "better" not in section["answer"] and "worse" not in section["answer"]
    assert "Both predicted 1,000 test images; 700 of them are left out" in section["sample"]


@pytest.mark.parametrize(
    ("curve", "told"),
    [
        ((WORSE, SAME, BETTER), "From s = 500 on it is not worse."),
        ((WORSE, TOO_FEW, WORSE), "At the largest s with a verdict it is still worse."),
        ((SAME, WORSE, SAME), "From s = 2,000 on it is not worse."),
        ((SAME, BETTER, TOO_FEW), "At no s with a verdict is it worse."),
        ((TOO_FEW, UNDEFINED, TOO_FEW), "So it is not known which s is enough."),
    ],
)
def test_over_s_it_is_told_from_where_on_transfer_is_not_worse(curve, told):
    found = section_of(study({}, curve))["over_sizes"]
    assert told in found and "training from scratch on 9,000 images" in found


def test_numbers_that_are_undefined_are_drawn_and_written_as_such():
    table = study(dict.fromkeys(AGAINST, UNDEFINED), (UNDEFINED,) * 3)
    empty = [
        "value",
        "low",
        "high",
        "floor",
        "floor_low",
        "floor_high",
        "difference",
        "difference_low",
        "difference_high",
    ]
    section = section_of(table.assign(**dict.fromkeys(empty, np.nan)))
    assert section["figure"] is None and section["means"][0][2][0]["transfer"] == "–"
    partly = table.copy()
    partly.loc[partly["role"] == VALIDATION, empty] = np.nan
    assert section_of(partly)["figure"]["source"].startswith("data:image/png")
