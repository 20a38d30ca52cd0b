"""The report's section on what recognising patients is worth."""

import pytest
from leakage_rows import table

from cxr.metrics.judging import BETTER, SAME
from cxr.report.sections import leakage


def test_sentences_state_the_worth_its_parts_and_what_the_labels_alone_are_worth():
    worth, split, history = leakage.section(table())["sentences"]
    assert "is worth +0.100 [0.080, 0.120] of mean AUROC" in worth
    assert "+0.100 [0.080, 0.120] on shared images, and 0.000 [−0.020, 0.020] on unshared ones" in worth
    assert "an image-level split reports 0.800, and a patient-level split 0.700" in split
    assert "+0.100 [0.080, 0.120]" in history
    assert len(leakage.section(table(["network", "metadata"]))["sentences"]) == 2


def test_the_table_has_three_rows_of_each_predictor_and_no_constant():
    found = leakage.section(table())
    assert [words for words, _ in found["groups"]] == [*leakage.PREDICTORS.values()]
    shared, unshared, whole = found["groups"][0][1]
    assert shared["arms"] == [("0.800", "[0.780, 0.820]"), ("0.700", "[0.680, 0.720]")] and shared["spread"] == "0.010"
    assert whole["whole"] and whole["verdict"] == BETTER and unshared["verdict"] == SAME
    assert found["figure"]["source"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("fewest", "words"), [(12, "with fewer than 10 patients"), (3, "of which no test image tells")]
)
def test_the_note_names_the_findings_and_those_left_out(fewest, words):
    note = leakage.section(table(fewest=fewest))["note"]
    assert note.startswith("Mean over 2 findings: Mass, Pleural Thickening; left out, ") and note.endswith(": Hernia.")
    assert words in note


def test_without_the_experiment_there_is_no_section_and_with_one_repeat_no_spread():
    assert leakage.section(None) is None
    assert not leakage.section(table(repeats=1))["repeated"] and leakage.section(table())["repeated"]
