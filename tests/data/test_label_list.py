"""The label table in both official forms, spoilt tables, and the join with the image files."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.data.box_list import read_box_table
from cxr.data.label_list import (
    RECORD_COLUMNS,
    format_summary,
    inspect_label_table,
    join_images,
    preflight_summary,
    read_label_table,
)
from cxr.errors import InputError
from cxr.labels import LABELS

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
    row("a.png", "Infiltrates"): ("label outside the 15", "'Infiltrates'; nearest known label: 'Infiltration'"),
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
    assert rejected["detail"].iloc[1] == "Mass, patient 1; row 15 (b.png): Nodule, patient 1"
    assert rejected["detail"].iloc[6] == "Mass, patient 2; row 20 (e.png): Mass, patient 1"
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


# tables as people save them

PLAIN = [
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000002_010.png,No Finding,10,2,8,F,AP,2500,2048,0.168,0.168",
    "00000013_005.png,Infiltration|Pleural_Thickening,5,13,60,M,AP,3056,2544,0.139,0.139",
]
EXPECTED = [
    ["00000001_000.png", 1, "Cardiomegaly", 0, 57.0, "M", "PA", 2682, 2749, 0.143],
    ["00000002_010.png", 2, "No Finding", 10, 8.0, "F", "AP", 2500, 2048, 0.168],
    ["00000013_005.png", 13, "Infiltration|Pleural_Thickening", 5, 60.0, "M", "AP", 3056, 2544, 0.139],
]


def changed(column: int, change) -> str:
    """The plain table with one column's values changed; values with a comma are quoted."""
    rows = [line.split(",") for line in PLAIN]
    for fields in rows:
        fields[column] = change(fields[column])
    lines = [",".join(f'"{field}"' if "," in field else field for field in fields) for fields in rows]
    return "\n".join([V2020, *lines])


WHOLE = "\n".join([V2020, *PLAIN])
COLUMNS = V2020.split(",")
R_HEADER = ",".join(f'"{name.translate(str.maketrans(" [-#]", "....."))}"' for name in COLUMNS)
KAGGLE_SAMPLE = WHOLE.replace("[Width,Height]", "Width,OriginalImageHeight").replace(
    "[x,y]", "_x,OriginalImagePixelSpacing_y"
)
AS_SAVED = {  # what people did to it: the file, and a word of the note on it ("": none is due)
    "an index column": ("," + V2020 + "".join(f"\n{i},{line}" for i, line in enumerate(PLAIN)), ""),
    "row names of R": (R_HEADER + "".join(f'\n"{i}",{line}' for i, line in enumerate(PLAIN, 7)), ""),
    "columns backwards": ("\n".join(",".join(line.split(",")[::-1]) for line in [V2020, *PLAIN]), ""),
    "more columns": ("\n".join([V2020 + ",fold", *(line + ",train" for line in PLAIN)]), ""),
    "an unnamed column in between": (
        "\n".join([V2020.replace(",", ",,", 1), *(line.replace(",", ",x,", 1) for line in PLAIN)]),
        "",
    ),
    "semicolons": (WHOLE.replace(",", ";"), "semicolons"),
    "semicolons, decimal commas": (WHOLE.replace(",", ";").replace(".1", ",1"), "decimal comma"),
    "a line for Excel": ("sep=;\r\n" + WHOLE.replace(",", ";").replace("\n", "\r\n"), "semicolons"),
    "tabs": (WHOLE.replace(",", "\t"), "tabs"),
    "quoted": ("\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in WHOLE.split("\n")), ""),
    "two names in one": (WHOLE.replace("OriginalImage[Width,Height]", '"OriginalImage[Width,Height]"'), ""),
    "all combined names quoted": (re.sub(r"(\w+\[\w+,\w+\])", r'"\1"', WHOLE), ""),
    "a blank before quotes": (changed(4, lambda age: f"{age},0").replace(',"', ', "'), "'57,0' (row 2) as 57 years"),
    "blanks at the ends": (WHOLE.replace("\n", "  \n\n \n"), ""),
    "commas at the ends": (WHOLE.replace("\n", ",,\n"), ""),
    "Macintosh lines": (WHOLE.replace("\n", "\r"), ""),
    "Windows lines": (WHOLE.replace("\n", "\r\n") + "\r\n\x1a", ""),
    "Kaggle's sample": (KAGGLE_SAMPLE, ""),
    "other names": (
        "\n".join(["image_id,labels,follow_up,patient_id,age,gender,view,width,height,pixel_spacing_x,_", *PLAIN]),
        "age as Patient Age",
    ),
    "folders": (changed(0, lambda name: f"images_001/images/{name}"), "folder"),
    "folders of Windows": (changed(0, lambda name: rf"D:\x\images\{name}"), "folder"),
    "no ending": (changed(0, lambda name: name[:-4]), "ending"),
    "another ending": (changed(0, lambda name: name[:-4] + ".jpeg"), "ending"),
    "capitals": (changed(0, lambda name: name[:-4] + ".PNG"), "ending"),
    "ages as floats": (changed(4, lambda age: f"{age}.0"), "'57.0' (row 2) as 57 years"),
    "ages with a decimal comma": (changed(4, lambda age: f"{age},0"), "'57,0' (row 2) as 57 years"),
    "ages with their unit": (changed(4, lambda age: f"{age:>03}Y"), ""),
    "ages in words": (changed(4, lambda age: f"{age} years"), "'57 years'"),
    "ages in months": (changed(4, lambda age: f"{int(age) * 12}M"), ""),
    "sexes in words": (changed(5, {"M": "male", "F": "Female"}.get), "'male' (row 2) as M"),
    "sexes as man and woman": (changed(5, {"M": "Man", "F": "WOMAN"}.get), "'Man'"),
    "small letters": (changed(5, str.lower).replace("PA", "pa"), ""),
    "views in words": (changed(6, {"PA": "Postero-Anterior", "AP": "anteroposterior"}.get), "'Postero-Anterior' (row 2)"),
    "views with more": (changed(6, {"PA": "PA erect", "AP": "AP (supine)"}.get), "'PA erect'"),
    "patients as floats": (changed(3, lambda patient: f"{patient}.0"), ""),
    "patients with zeros": (changed(3, lambda patient: f"{patient:>08}"), ""),
    "blanks between labels": (changed(1, lambda labels: labels.replace("|", " | ")), ""),
    "commas between labels": (changed(1, lambda labels: labels.replace("|", ", ")), "labels read from another spelling"),
    "printed lists of labels": (changed(1, lambda labels: str(labels.split("|"))), "labels read from another spelling"),
    "labels in small letters": (changed(1, lambda labels: labels.lower().replace("_", " ")), "labels read from another spelling"),
    "Infiltrate": (changed(1, lambda labels: labels.replace("Infiltration", "Infiltrate")), "labels read from another spelling"),
}  # fmt: skip


@pytest.mark.parametrize("what", AS_SAVED)
def test_a_table_gives_the_same_records_however_it_was_saved(tmp_path, what):
    content, note = AS_SAVED[what]
    assert content != WHOLE
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    table = inspect_label_table(path)
    assert table.records.to_numpy().tolist() == EXPECTED
    assert table.rejected.empty
    assert any(note in said for said in table.notes) if note else not table.notes
    assert all(said.startswith("t.csv: ") for said in table.notes)


def test_the_official_tables_need_no_note(tmp_path):
    old = write(
        tmp_path / "t.csv", V2017, *(line + "," for line in changed(4, lambda age: f"{age:>03}Y").split("\n")[1:])
    )
    for path in (write(tmp_path / "new.csv", V2020, *PLAIN), old):
        table = inspect_label_table(path)
        assert (table.records.to_numpy().tolist(), table.notes) == (EXPECTED, ())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes(WHOLE.encode(encoding))
    table = inspect_label_table(path)
    assert table.records.to_numpy().tolist() == EXPECTED
    assert [said[: len("t.csv: is UTF-16")] for said in table.notes] == (
        [] if encoding == "utf-8-sig" else [f"t.csv: is {encoding[:6].upper()}"]
    )


def test_bytes_of_latin_1_matter_only_where_they_are_used(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(WHOLE.replace("\n", ",Müller\n").replace("y],Müller", "y],reader").encode("latin-1"))
    table = inspect_label_table(path)
    assert table.records.to_numpy().tolist() == EXPECTED
    assert "line 2 holds the byte 0xfc" in table.notes[0]
    path.write_bytes(changed(0, lambda name: f"Rö{name}").encode("latin-1"))
    with pytest.raises(
        InputError, match=r"the name of an image in row 2.*'Rö00000001_000.png'.*save the table as UTF-8"
    ):
        inspect_label_table(path)
    path.write_bytes(changed(0, lambda name: f"Rö{name}").encode("utf-8"))
    assert inspect_label_table(path).records["image"].iloc[0] == "Rö00000001_000.png"


def test_rows_whose_names_become_one_are_one_image(tmp_path):
    lines = [row("x/a.png", "Mass"), row("a.jpg", "mass"), row("x/b.png", "Mass"), row("b", "Nodule")]
    table = inspect_label_table(write(tmp_path / "t.csv", V2020, *sound_rows(4), *lines))
    assert table.records["image"].tolist()[4:] == ["a.png"]
    assert table.rejected[["row", "item", "reason", "detail"]].to_numpy().tolist() == [
        [7, "a.png", "duplicate row", "an earlier row says the same about this image"],
        [8, "b.png", "rows for one image contradict each other", "Mass, patient 1; row 9 (b): Nodule, patient 1"],
        [9, "b.png", "rows for one image contradict each other", "Nodule, patient 1; row 8 (x/b.png): Mass, patient 1"],
    ]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (4, "adult", r"3 of 3 patient ages cannot be read; the first is 'adult' in row 2\. Write years as 57"),
        (4, "1957", "the first is '1957' in row 2.*none above 120"),
        (5, "1", "3 of 3 sexes cannot be read; the first is '1' in row 2.*M or F.*0 and 1"),
        (6, "frontal", "3 of 3 views cannot be read; the first is 'frontal' in row 2.*PA or AP"),
    ],
)
def test_a_column_that_cannot_be_read_stops(tmp_path, column, value, said):
    path = write(tmp_path / "t.csv", changed(column, lambda _: value))
    with pytest.raises(InputError, match=said) as error:
        read_label_table(path)
    assert str(path) in str(error.value)
    assert "leave unknown cells empty" in str(error.value)
    for absent in ("", "nan", "N/A"):  # what is not known is no error
        assert len(read_label_table(write(tmp_path / "t.csv", changed(column, lambda _: absent)))[0]) == 3  # noqa: B023


def test_a_few_values_that_cannot_be_read_are_said_with_the_first(tmp_path):
    lines = [line.replace(",57,M,", f",{age},{sex},") for line, age, sex in zip(
        sound_rows(5), ["57", "old", "414Y", "3", "4"], ["M", "1", "F", "O", ""], strict=True
    )]  # fmt: skip
    table = inspect_label_table(write(tmp_path / "t.csv", V2020, *lines))
    np.testing.assert_array_equal(table.records["age"], [57, np.nan, np.nan, 3, 4])
    assert table.records["sex"].tolist() == ["M", "", "F", "", ""]
    ages, sexes = table.notes
    assert ages.startswith(
        "t.csv: 2 of 5 patient ages cannot be read; the first is 'old' in row 3; they count as unknown"
    )
    assert sexes.startswith("t.csv: 1 of 4 sexes cannot be read; the first is '1' in row 3")


def test_ages_scaled_to_one_stop(tmp_path):
    lines = [line.replace(",57,", f",0.{at}5,") for at, line in enumerate(sound_rows(10))]
    with pytest.raises(InputError, match=r"no patient age is above 1 \(the first is '0.05' in row 2\)"):
        read_label_table(write(tmp_path / "t.csv", V2020, *lines))


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
    with pytest.raises(
        InputError, match=r"'Follow-up #', 'Patient ID'.*header found is 'Image Index,Finding Label,Bbox"
    ):
        read_label_table(path)


def test_a_long_header_is_shown_whole(tmp_path):
    header = ",".join(f"column {number}" for number in range(200))
    with pytest.raises(InputError, match=r"column 199'$"):
        read_label_table(write(tmp_path / "b.csv", header, "1"))


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


def test_names_that_do_not_meet_are_shown_side_by_side():
    records = records_of(("x_a.png", 1, "Mass"))
    with pytest.raises(InputError, match=r"the table's first image is x_a\.png, the first file images/a\.png"):
        join_images(records, index_of(("a.png", "images/a.png", "ok")), table="labels.csv", root="some/root")


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
