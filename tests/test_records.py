"""The label table in both official forms, spoilt tables, and the join with the image files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.boxes import read_box_table
from cxr.errors import InputError
from cxr.labels import LABELS
from cxr.records import RECORD_COLUMNS, format_summary, join_images, preflight_summary, read_label_table

V2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
V2017 = V2020 + ","


def row(image: str = "00000001_000.png", labels: str = "Mass", patient: object = 1, age: str = "57") -> str:
    return f"{image},{labels},0,{patient},{age},M,PA,2682,2749,0.143,0.143"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sound_rows(count: int) -> list[str]:
    return [row(f"{patient:08d}_000.png", "No Finding", patient) for patient in range(100, 100 + count)]


def records_of(*rows: tuple[str, int, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["image", "patient", "labels"])
    filler = {"follow_up": 0, "age": 50.0, "sex": "F", "view": "AP", "width": 1024, "height": 1024, "spacing": 0.1}
    return table.assign(**filler)[RECORD_COLUMNS]


def index_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    index = pd.DataFrame(rows, columns=["image", "path", "status"])
    return index.assign(
        shard=0, row=0, width=1024, height=1024, mode="L", digest=[f"{i:016x}" for i in range(len(rows))]
    )


# both official forms


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (V2017, "00000002_003.png,Mass|Effusion,3,2,058Y,F,AP,2500,2048,0.168,0.169,"),
        (V2020, "00000002_003.png,Effusion|Mass,3,2,58,F,AP,2500,2048,0.168,0.169"),
        (V2020.replace("Gender", "Sex"), "00000002_003.png,Mass|Effusion,3,2,58,F,AP,2500,2048,0.168,0.169"),
        ("\ufeff" + V2020 + "\r", " 00000002_003.png , Mass | Effusion ,3, 2,058Y ,f,ap,2500,2048,0.168,0.169\r"),
    ],
)
def test_both_official_headers_give_the_same_record(tmp_path, header, line):
    records, rejected = read_label_table(write(tmp_path / "t.csv", header, line))
    assert records.columns.tolist() == RECORD_COLUMNS
    assert records.iloc[0].tolist() == ["00000002_003.png", 2, "Effusion|Mass", 3, 58.0, "F", "AP", 2500, 2048, 0.168]
    assert rejected.empty


def test_ages_in_years_months_and_days(tmp_path):
    ages = {"058Y": 58, "57": 57, "012M": 1, "006M": 0.5, "003D": 3 / 365.25, "120": 120}
    absurd = ["414Y", "121", "", "old", "-3"]
    lines = [row(f"{at:08d}_000.png", age=age) for at, age in enumerate([*ages, *absurd])]
    records, rejected = read_label_table(write(tmp_path / "t.csv", V2020, *lines))
    np.testing.assert_allclose(records["age"], [*ages.values(), *[np.nan] * len(absurd)])
    assert rejected.empty


def test_unknown_sex_and_view_are_kept_as_unknown(tmp_path):
    records, _ = read_label_table(write(tmp_path / "t.csv", V2020, row().replace(",M,PA,", ",O,LL,")))
    assert records[["sex", "view"]].iloc[0].tolist() == ["", ""]


# rows set aside

SPOILT = {
    row("a.png", "Infiltrate"): ("label outside the 15", "'Infiltrate'; nearest known label: 'Infiltration'"),
    row("b.png", "Mass|Zebra"): ("label outside the 15", "'Zebra'"),
    row("c.png", ""): ("label outside the 15", "''"),
    row("d.png", "No Finding|Mass"): ("No Finding beside a finding", "No Finding|Mass"),
    row("e.png", patient="seven"): ("not a number", "Patient ID = 'seven'"),
    row("f.png", patient="1.5"): ("not a number", "Patient ID = '1.5'"),
    row("g.png", patient="nan"): ("not a number", "Patient ID = 'nan'"),
    row("h.png", patient="9" * 30): ("not a number", "Patient ID = '" + "9" * 30 + "'"),
    row(""): ("no image name", ""),
    row("i.png") + ",surplus": ("too many fields", "'surplus'"),
    "j.png,Mass,0,1,57,M,PA,2682": ("not a number", "Height] = '', OriginalImagePixelSpacing[x = ''"),
}


def test_each_kind_of_trouble_is_set_aside_with_its_reason(tmp_path):
    sound = sound_rows(len(SPOILT))
    records, rejected = read_label_table(write(tmp_path / "table.csv", V2020, *sound, "", *SPOILT))
    assert len(records) == len(sound)
    assert rejected["reason"].tolist() == [reason for reason, _ in SPOILT.values()]
    assert rejected["row"].tolist() == list(range(len(sound) + 3, len(sound) + 3 + len(SPOILT)))
    assert set(rejected["table"]) == {"table.csv"}
    assert rejected["detail"].tolist() == [detail for _, detail in SPOILT.values()]


def test_of_repeated_rows_the_first_counts_and_of_contradicting_ones_none(tmp_path):
    lines = [
        row("a.png", "Mass"),
        row("a.png", "Mass"),
        row("b.png", "Mass"),
        row("b.png", "Nodule"),
        row("c.png", "Mass|Nodule"),
        row("c.png", "Nodule|Mass"),  # the same, said otherwise
        row("d.png", "Zebra"),
        row("d.png", "Mass"),  # the only sound one
        row("e.png", patient=1),
        row("e.png", patient=2),
    ]
    records, rejected = read_label_table(write(tmp_path / "t.csv", V2020, *sound_rows(10), *lines))
    assert records["image"].tolist()[10:] == ["a.png", "c.png", "d.png"]
    contradiction = "rows for one image contradict each other"
    assert rejected[["row", "reason"]].to_numpy().tolist() == [
        [13, "duplicate row"],
        [14, contradiction],
        [15, contradiction],
        [17, "duplicate row"],
        [18, "label outside the 15"],
        [20, contradiction],
        [21, contradiction],
    ]


# tables that stop a run


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        (V2020 + "\n", "no rows"),
        ("Path,Sex,Age,Frontal/Lateral\np.jpg,F,68,Frontal\n", "'Image Index', 'Finding Labels'.*Path,Sex,Age,Frontal"),
        (V2020.replace("Patient ID,", "") + "\n" + row() + "\n", "column 'Patient ID' is missing.*Image Index,Finding"),
        (
            V2020 + "\n" + row("a.png", "Zebra") + "\n" + row("b.png", "Ma s") + "\n" + row() + "\n",
            "2 of 3.*row 2 .*Zebra.*'Mass'",
        ),
    ],
)
def test_what_is_no_label_table_stops(tmp_path, content, said):
    path = tmp_path / "Data_Entry.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_label_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_box_list_is_no_label_table(tmp_path):
    path = write(tmp_path / "b.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", "a.png,Mass,1,2,3,4")
    with pytest.raises(InputError, match="'Finding Labels'"):
        read_label_table(path)


# the join with the image files


def test_usable_are_the_records_with_a_sound_file():
    records = records_of(("c.png", 2, "Mass"), ("a.png", 1, "No Finding"), ("b.png", 1, "Mass"), ("d.png", 3, "Edema"))
    index = index_of(
        ("a.png", "x/a.png", "ok"),
        ("b.png", "x/b.png", "truncated"),
        ("c.png", "y/c.png", "ok"),
        ("c.png", "x/c.png", "ok"),
        ("stray.png", "stray.png", "ok"),
    )
    usable, rejected = join_images(records, index, table="data/table.csv", root="data")
    assert usable["image"].tolist() == ["c.png", "a.png"]
    assert usable["digest"].tolist() == [f"{3:016x}", f"{0:016x}"]  # of two files the first by path
    assert usable.columns.tolist() == [*RECORD_COLUMNS, "digest"]
    assert rejected[["table", "item", "reason"]].to_numpy().tolist() == [
        ["images", "x/b.png", "truncated"],
        ["images", "stray.png", "not in the label table"],
        ["images", "y/c.png", "second file of the same image"],
        ["table.csv", "d.png", "no image file"],
    ]
    assert rejected["row"].isna().all()


def test_the_order_of_the_index_does_not_matter():
    records = records_of(("a.png", 1, "Mass"), ("b.png", 1, "Mass"))
    index = index_of(("a.png", "y/a.png", "ok"), ("b.png", "b.png", "ok"), ("a.png", "x/a.png", "ok"))
    one = join_images(records, index, table="t.csv", root=".")
    other = join_images(records, index[::-1].reset_index(drop=True), table="t.csv", root=".")
    for left, right in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(left, right)


def test_a_sound_second_file_saves_an_image():
    records = records_of(("a.png", 1, "Mass"))
    index = index_of(("a.png", "x/a.png", "truncated"), ("a.png", "y/a.png", "ok"))
    usable, rejected = join_images(records, index, table="t.csv", root=".")
    assert usable["image"].tolist() == ["a.png"]
    assert rejected["item"].tolist() == ["x/a.png"]


@pytest.mark.parametrize(
    "index", [index_of(), index_of(("z.png", "z.png", "ok")), index_of(("a.png", "a.png", "empty"))]
)
def test_no_usable_image_stops(index):
    with pytest.raises(InputError, match=r"labels\.csv.*some/root"):
        join_images(records_of(("a.png", 1, "Mass")), index, table="labels.csv", root="some/root")


def test_rejected_rows_survive_the_file(tmp_path):
    _, rejected = read_label_table(write(tmp_path / "t.csv", V2020, *sound_rows(2), row("a.png", "Zebra")))
    records = records_of(("a.png", 1, "Mass"), ("b.png", 1, "Mass"))
    _, without = join_images(records, index_of(("a.png", "a.png", "ok")), table="t.csv", root=".")
    pd.concat([rejected, without]).to_csv(tmp_path / "rejected.csv", index=False)
    lines = (tmp_path / "rejected.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "table,row,item,reason,detail",
        "t.csv,4,a.png,label outside the 15,'Zebra'",
        "t.csv,,b.png,no image file,",
    ]


# the summary


def test_summary_counts_by_hand():
    records = records_of(
        ("a.png", 1, "Mass|Edema"), ("b.png", 1, "No Finding"), ("c.png", 2, "Mass"), ("d.png", 3, "Mass")
    )
    records.loc[1, ["sex", "view", "age"]] = ["", "PA", np.nan]
    index = index_of(*((f"{name}.png", f"{name}.png", "ok") for name in "abc"), ("e.png", "e.png", "truncated"))
    usable, rejected = join_images(records, index, table="t.csv", root=".")
    corners = {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 9.0}
    boxes = pd.DataFrame({"image": ["a.png", "a.png", "d.png"], "label": ["Mass", "Mass", "Mass"]}).assign(**corners)
    summary = preflight_summary(records, usable, boxes, rejected)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["table_rows"] == 4
    assert summary["table_patients"] == 3
    assert summary["usable_images"] == 3
    assert summary["usable_patients"] == 2
    assert summary["age_unknown"] == 1
    assert list(summary["labels"]) == list(LABELS)
    assert {label: count for label, count in summary["labels"].items() if count} == {
        "Mass": 2,
        "Edema": 1,
        "No Finding": 1,
    }
    assert summary["views"] == {"PA": 1, "AP": 2}
    assert summary["sexes"] == {"F": 2, "unknown": 1}
    assert (summary["listed_boxes"], summary["listed_boxed_images"]) == (3, 2)
    assert (summary["boxes"], summary["boxed_images"], summary["box_labels"]) == (2, 1, {"Mass": 2})
    assert summary["rejected"] == [
        {"table": "images", "reason": "truncated", "count": 1},
        {"table": "t.csv", "reason": "no image file", "count": 1},
    ]
    text = format_summary(summary)
    assert "3 images of 2 patients" in text
    assert "t.csv: no image file" in text
    assert all(label in text for label in LABELS)


# the real table


def test_the_real_table_whole(nih_sample):
    records, rejected = read_label_table(nih_sample / "Data_Entry_2017_v2020.csv")
    boxes, box_rejected = read_box_table(nih_sample / "BBox_List_2017.csv", set(records["image"]))
    assert len(records) == records["image"].nunique() == 112_120
    assert records["patient"].nunique() == 30_805
    assert rejected.empty
    assert box_rejected.empty
    assert len(boxes) == 984
    assert (records["labels"] == "No Finding").sum() == 60_361
    assert records["labels"].str.split("|").explode().isin(LABELS).all()
    assert records["age"].between(0, 95).all()
    assert records.dtypes.astype(str).tolist() == [
        *["str", "int64", "str", "int64", "float64", "str", "str", "int64", "int64", "float64"]
    ]


def test_the_real_sample_joins_with_its_files(nih_sample):
    records, _ = read_label_table(nih_sample / "Data_Entry_2017_v2020.csv")
    files = sorted((nih_sample / "half").glob("*.png"))
    usable, rejected = join_images(
        records, index_of(*((file.name, f"half/{file.name}", "ok") for file in files)), table="t.csv", root="half"
    )
    assert len(usable) == len(files) == 936
    assert rejected.groupby("reason").size().to_dict() == {"no image file": 112_120 - 936}
