from types import SimpleNamespace

import pandas as pd
import pytest
from validity_rows import of_detector, table

from cxr.experiments import BY_NAME
from cxr.report.figures import charts
from cxr.report.sections import validity

KEY = ("sound", "baseline_sigmoid")


def section(rows: pd.DataFrame, name: str = "baseline_sigmoid"):
    inputs = SimpleNamespace(validity=rows, experiments_of=lambda name: [("paper", name), ("sound", name)])
    return validity.section(inputs, BY_NAME[name])


def test_every_number_stands_beside_its_sample_and_its_floor():
    (part,) = section(table())["parts"]
    assert part["title"] == "Protocol sound", "the paper protocol has no rows"
    pooled, *findings = part["calibration"]
    assert pooled["pooled"] and len(findings) == 14
    for each in [*part["calibration"], *part["groups"]]:
        assert all(each[name] for name in ("images", "patients", "positives", "fewest"))
    assert all(cell["floor"] == "0.300" and cell["interval"] for cell in pooled["cells"])
    assert "14,000 pairs of 1,000 images of 321 patients" in part["figure"]["caption"]


def test_findings_without_interval_and_groups_without_a_number_are_named():
    (part,) = section(table())["parts"]
    assert any(note.endswith(": Hernia.") for note in part["notes"])
    unknown = next(each for each in part["groups"] if each["name"] == "unknown")
    assert not unknown["defined"] and unknown["images"] == "77"
    assert next(each for each in part["groups"] if each["gap"])["value"] == "0.040"


def test_operating_points_stand_with_both_rates_and_findings_without_one_are_named():
    (part,) = section(table())["parts"]
    assert [row["label"] for row in part["points"]] == ["Mean", "Mass", "Nodule"]
    for row in part["points"]:
        assert len(row["cells"]) == 4 and row["positives"] == "812" and row["images"] == "1,000"
        assert all(cell["value"] == "0.400" and cell["interval"] and cell["floor"] == "0.300" for cell in row["cells"])
    assert part["without_point"].startswith("Atelectasis (3 in test); ") and "Mass" not in part["without_point"]


def test_of_a_detector_there_are_the_groups_alone():
    found = section(pd.concat([table(), of_detector()]), "gridcnn")
    (part,) = found["parts"]
    assert not found["classifier"] and part["measure"] == "F1 of areas" and [*map(len, part["groups"])]
    assert part["calibration"] == part["points"] == [] and part["figure"] is None and part["without_point"] == ""


def test_a_softmax_has_a_reason_and_what_was_not_measured_nothing():
    assert section(table(), "baseline_softmax") == {"reason": validity.SOFTMAX, "parts": [], "classifier": True}
    assert section(table(), "gridcnn") is None
    assert section(table().iloc[:0]) is None


@pytest.mark.parametrize("bins", [10, 1])
def test_the_reliability_figure_is_drawn_also_of_a_single_bin(bins):
    rows = table()
    rows = rows[(rows["part"] == "bins") & rows["group"].isin([str(at + 1) for at in range(bins)])]
    assert charts.reliability_chart(rows).startswith(b"\x89PNG")
