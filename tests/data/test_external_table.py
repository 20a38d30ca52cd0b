"""Label tables of other data sets: what their columns are, which labels are known, and which image a row is of."""

import math

import pandas as pd
import pytest

from cxr.data import external_names, external_table
from cxr.errors import InputError
from cxr.labels import LABELS


@pytest.fixture
def read(tmp_path):
    """A function from the text of a table, and names, to its content."""

    def run(text, names=None, **more):
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        return external_table.read_external(tmp_path / "labels.csv", names or {}, **more)

    return run


def test_a_column_for_each_label_says_yes_no_or_nothing(read):
    found = read(
        "image,patient,Age,Sex,Edema,Mass,No Finding\na.png,p7,60,F,1,0,0\nb.png,p7,61,F,,-1,1.0\nc.png,p2,,M,0,nan,0\n"
    )
    assert found.labels == ("Mass", "Edema", "No Finding") and found.metadata == ("age", "sex")
    cases = found.cases
    assert cases["image"].tolist() == ["a.png", "b.png", "c.png"] and cases["patient"].tolist() == [-1, -1, -2]
    assert cases["Edema"].fillna(9).tolist() == [1, 9, 0] and cases["Mass"].fillna(9).tolist() == [0, 9, 9]
    assert cases["Hernia"].isna().all() and cases["sex"].tolist() == ["F", "F", "M"]
    assert cases["age"].fillna(-1).tolist() == [60, 61, -1] and cases["view"].tolist() == [""] * 3
    assert list(cases) == external_table.CASE_COLUMNS


def test_nihs_form_tells_the_findings_that_some_image_has(read):
    found = read(
        "Image Index,Patient ID,Finding Labels,View Position\na.png,1,Mass|Effusion,PA\nb.png,2,No Finding,AP\n"
    )
    assert found.labels == ("Effusion", "Mass", "No Finding")
    assert found.cases[["Effusion", "Mass", "No Finding"]].to_numpy().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert found.cases["Nodule"].isna().all(), "no image has one: this data set may not look for nodules"


def test_names_map_columns_and_labels_and_say_what_is_not_used(read, tmp_path):
    (tmp_path / "names.yaml").write_text(
        "Path: image\nsubject: patient\nPleural Effusion: effusion\nFracture:\nAP/PA: view\n", encoding="utf-8"
    )
    names = external_names.read_names(tmp_path / "names.yaml")
    assert names == {
        "Path": "image",
        "subject": "patient",
        "Pleural Effusion": "Effusion",
        "Fracture": "",
        "AP/PA": "view",
    }
    found = read("Path,subject,Pleural Effusion,Fracture,AP/PA\na,1,1,x,AP\nb,2,0,y,PA\n", names)
    assert found.labels == ("Effusion",) and found.cases["view"].tolist() == ["AP", "PA"]
    assert "labels.csv: columns that are not used: Fracture" in found.notes
    (tmp_path / "names.csv").write_text("Lung Mass,Mass\nOther,\n", encoding="utf-8")
    listed = read(
        "image,patient,labels\na,1,Lung Mass|Other\nb,2,Other\n", external_names.read_names(tmp_path / "names.csv")
    )
    assert listed.labels == ("Mass",) and listed.cases["Mass"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["chexpert", "mimic", "vindr"])
def test_the_names_that_come_with_the_workflow_can_be_read(repository, name):
    names = external_names.read_names(repository / f"config/names/{name}.yaml")
    assert set(names.values()) & set(LABELS) and "" in names.values()
    assert len([ours for ours in names.values() if ours]) == len({ours for ours in names.values() if ours})


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("image,patient,Lung Opacity,Mass\na,1,1,0\n", {}, "column 'Lung Opacity' is none of the 15 labels"),
        ("image,patient,Lung Opacity,Mass\na,1,1,0\n", {}, "'Lung Opacity:' if it is not to be used"),
        ("image,patient,labels\na,1,Mass\nb,1,Gout\n", {}, "row 3: label 'Gout' is none of the 15 labels"),
        ("image,patient,Mass\na,1,0\nb,2,yes\n", {}, "row 3, column 'Mass': 'yes' is not 1, 0, -1 or empty"),
        ("image,Mass\na,1\n", {}, "has no column 'patient'; the header is 'image,Mass'"),
        ("image,Mass\na,1\n", {}, "validate.one_image_per_patient"),
        ("patient,Mass\na,1\n", {}, "has no column 'image'"),
        ("image,patient\na,1\n", {}, "has no labels"),
        ("image,patient,Mass\na,1,\n", {}, "tells no finding of any image"),
        ("image,patient,Mass,labels\na,1,1,Mass\n", {}, "has labels twice"),
        ("image,patient,Mass,Lesion\na,1,1,0\n", {"Lesion": "Mass"}, "the columns 'Mass' and 'Lesion' are both Mass"),
        ("image,patient,Mass\na,1,0\na,2,1\n", {}, "image 'a' has two rows, 2 and 3"),
        ("image,patient,Mass\na,,0\n", {}, "row 2 has no patient"),
        ("image,patient,labels\na,1,Mass|No Finding\n", {}, "row 2: 'Mass|No Finding' has No Finding beside a finding"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(read, tmp_path, text, names, words):
    with pytest.raises(InputError) as error:
        read(text, names)
    assert words in str(error.value) and str(tmp_path / "labels.csv") in str(error.value)


def test_without_patients_every_image_is_one_where_the_configuration_says_so(read):
    found = read("image,Mass\na,1\nb,0\n", one_image_per_patient=True)
    assert found.cases["patient"].tolist() == [-1, -2]


def test_a_name_that_is_none_of_ours_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "names.yaml").write_text("Opacity: Infiltrations\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"names.yaml: 'Opacity: Infiltrations'.*the nearest is 'Infiltration'"):
        external_names.read_names(tmp_path / "names.yaml")
    (tmp_path / "names.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no names"):
        external_names.read_names(tmp_path / "names.yaml")


def cases(*images):
    return pd.DataFrame({"image": images, "Mass": range(len(images))}, index=range(2, len(images) + 2))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", "a.png"), ("a", "a.png"), ("a.jpg", "a.png"), ("set/valid/p1/view.jpg", "p1/view.jpg"),
        ("view3.dcm", "p2/view3.dcm"), ("p2\\view3", "p2/view3.dcm"), ("set/a.png", "a.png"),
    ],
)  # fmt: skip
def test_a_row_is_of_the_image_whose_path_ends_with_its_name_or_the_other_way_round(tmp_path, name, image):
    images = ["a.png", "p1/view.jpg", "p2/view.jpg", "p2/view3.dcm"]
    (found,) = external_table.matched(tmp_path, cases(name), images)["image"]
    assert found == image


def test_images_that_the_folder_lacks_are_left_out_and_no_other_stands_for_them(tmp_path):
    found = external_table.matched(tmp_path, cases("p1/view.jpg", "p9/view.jpg"), ["p1/view.jpg"])
    assert found["image"].tolist() == ["p1/view.jpg"] and found["Mass"].tolist() == [0]


def test_doubtful_images_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"row 2: 'view' could be p1/view\.jpg or p2/view\.jpg"):
        external_table.matched(tmp_path, cases("view"), ["p1/view.jpg", "p2/view.jpg"])
    with pytest.raises(InputError, match=r"rows 2 and 3 are both of the image 'a\.png'"):
        external_table.matched(tmp_path, cases("a", "a.png"), ["a.png"])
    with pytest.raises(InputError, match="none of its 1 images is in the folder; the table names 'b'"):
        external_table.matched(tmp_path, cases("b"), ["a.png"])


def test_the_release_own_table_is_read_as_the_study_reads_it(nih_sample):
    found = external_table.read_external(nih_sample / "Data_Entry_2017_v2020.csv", {})
    assert len(found.cases) == 112_120 and found.cases["patient"].nunique() == 30_805 and found.labels == LABELS
    images = sorted(path.relative_to(nih_sample / "full").as_posix() for path in (nih_sample / "full").rglob("*.png"))
    named = external_table.matched(nih_sample, found.cases, images)
    assert sorted(named["image"]) == images and not math.isnan(named["Mass"].sum())
