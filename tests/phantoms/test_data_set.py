import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxr.boxes import FRAME
from cxr.errors import InputError
from cxr.labels import BOX_ALIASES, BOXED_FINDINGS, FINDINGS, NO_FINDING, SEPARATOR
from cxr.phantoms import data_set
from cxr.phantoms.anatomy import Pose, geometry_of, pose_of
from cxr.phantoms.film import add_kept
from cxr.phantoms.plan import Phantom, plan

TINY = {"patients": 6, "images": 12, "boxed": 4, "size": 256, "seed": 3}
LABEL_COLUMNS = [
    *["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"],
    *["OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"],
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    data_set.write_data_set(root, **TINY, workers=1)
    return root


@pytest.fixture(scope="module")
def default() -> list[Phantom]:
    return plan(patients=260, images=720, boxed=260, seed=1)


def inside(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    x, y, w, h = (round(value * len(pixels) / FRAME) for value in box)
    return pixels[y : y + h, x : x + w].astype(float)


def centre(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x + w / 4, y + h / 4, w / 2, h / 2


# ---------------------------------------------------------------- layout


def test_label_table_has_the_columns_of_the_release(tiny: Path) -> None:
    table = pd.read_csv(tiny / "Data_Entry_2017_v2020.csv")
    assert list(table.columns) == LABEL_COLUMNS
    assert len(table) == 12
    assert table["Patient ID"].nunique() == 6
    expected = [f"{p:08d}_{f:03d}.png" for p, f in zip(table["Patient ID"], table["Follow-up #"], strict=True)]
    assert table["Image Index"].tolist() == expected
    assert set(table["Patient Gender"]) <= {"M", "F"} and set(table["View Position"]) <= {"PA", "AP"}
    for labels in table["Finding Labels"].str.split(SEPARATOR, regex=False):
        assert labels == [NO_FINDING] or set(labels) <= set(FINDINGS)


def test_box_list_is_spelt_as_in_the_release(tiny: Path) -> None:
    header, *rows = (tiny / "BBox_List_2017.csv").read_text().splitlines()
    assert header == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    assert rows and all(row.count(",") == 5 for row in rows)
    written = {BOX_ALIASES.get(label, label) for label in BOXED_FINDINGS} - {"Infiltration"} | {"Infiltrate"}
    assert {row.split(",")[1] for row in rows} <= written


def test_infiltration_is_written_as_infiltrate(default: list[Phantom]) -> None:
    phantom = next(p for p in default if p.boxed == ("Infiltration",))
    rows = data_set._box_rows([phantom], [{"Infiltration": [(1.0, 2.5, 3.0, 4.0)]}])
    assert rows == [f"{phantom.name},Infiltrate,1,2.5,3,4"]


def test_headers_equal_those_of_the_release(tiny: Path, nih_sample: Path) -> None:
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        with (nih_sample / name).open() as real, (tiny / name).open() as generated:
            assert generated.readline() == real.readline()


def test_boxes_lie_in_the_frame_and_name_labelled_findings(tiny: Path) -> None:
    labels = pd.read_csv(tiny / "Data_Entry_2017_v2020.csv", index_col="Image Index")["Finding Labels"]
    rows = [row.split(",") for row in (tiny / "BBox_List_2017.csv").read_text().splitlines()[1:]]
    assert len({row[0] for row in rows}) == TINY["boxed"]
    for name, written, *numbers in rows:
        x, y, w, h = map(float, numbers)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 1024 and y + h <= 1024
        assert BOX_ALIASES.get(written, written) in labels[name].split(SEPARATOR)


def test_lists_partition_the_images_by_patient(tiny: Path) -> None:
    names = pd.read_csv(tiny / "Data_Entry_2017_v2020.csv")["Image Index"].tolist()
    train, test = ((tiny / f"{name}_list.txt").read_text().split() for name in ("train_val", "test"))
    assert sorted(train + test) == names
    assert not {name[:8] for name in train} & {name[:8] for name in test}
    boxed = {row.split(",")[0] for row in (tiny / "BBox_List_2017.csv").read_text().splitlines()[1:]}
    assert boxed <= set(test)


def test_every_image_lies_in_one_of_two_archives(tiny: Path) -> None:
    files = sorted(tiny.glob("images_*/images/*.png"))
    assert [path.name for path in files] == pd.read_csv(tiny / "Data_Entry_2017_v2020.csv")["Image Index"].tolist()
    assert {path.parent.parent.name for path in files} == {"images_001", "images_002"}
    for path in files:
        with Image.open(path) as picture:
            assert picture.size == (256, 256) and picture.mode in ("L", "RGBA")


def test_number_of_workers_changes_no_byte(tiny: Path, tmp_path: Path) -> None:
    seen = []
    data_set.write_data_set(tmp_path, **TINY, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]
    files = sorted(path.relative_to(tiny) for path in tiny.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 16
    for path in files:
        assert (tiny / path).read_bytes() == (tmp_path / path).read_bytes(), path


# ---------------------------------------------------------------- plan


def test_default_plan_supports_every_label(default: list[Phantom]) -> None:
    findings = Counter(finding for phantom in default for finding in phantom.findings)
    boxes = Counter(finding for phantom in default for finding in phantom.boxed)
    assert set(findings) == set(FINDINGS) and min(findings.values()) >= 15
    assert set(boxes) == set(BOXED_FINDINGS) and min(boxes.values()) >= 25
    healthy = sum(not phantom.findings for phantom in default) / len(default)
    assert 0.35 < healthy < 0.55


def test_default_plan_puts_boxed_patients_in_the_test_list(default: list[Phantom]) -> None:
    assert len(default) == 720 and len({phantom.patient for phantom in default}) == 260
    assert sum(bool(phantom.boxed) for phantom in default) == 260
    assert all(phantom.test for phantom in default if phantom.boxed)
    assert {p.patient for p in default if p.test}.isdisjoint(p.patient for p in default if not p.test)
    assert 0.43 < np.mean([phantom.test for phantom in default]) < 0.52
    assert any(phantom.test and not phantom.findings for phantom in default)
    for test in (True, False):
        assert {finding for p in default if p.test is test for finding in p.findings} == set(FINDINGS)
    assert any(set(phantom.boxed) < set(phantom.findings) for phantom in default if phantom.boxed)


def test_follow_ups_are_numbered_from_zero_and_people_do_not_change_sex(default: list[Phantom]) -> None:
    for patient in {phantom.patient for phantom in default}:
        visits = [phantom for phantom in default if phantom.patient == patient]
        assert [visit.follow_up for visit in visits] == list(range(len(visits)))
        assert len({visit.sex for visit in visits}) == 1
        assert [visit.age for visit in visits] == sorted(visit.age for visit in visits)


def test_seed_decides_the_plan(default: list[Phantom]) -> None:
    numbers = {"patients": 260, "images": 720, "boxed": 260}
    assert plan(**numbers, seed=1) == default
    assert plan(**numbers, seed=2) != default


@pytest.mark.parametrize(
    ("patients", "images", "boxed"), [(10, 9, 2), (1, 20, 2), (10, 20, 13)], ids=["images", "patients", "boxed"]
)
def test_numbers_that_do_not_fit_are_refused(patients: int, images: int, boxed: int) -> None:
    with pytest.raises(InputError, match="phantoms"):
        plan(patients=patients, images=images, boxed=boxed, seed=0)


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("finding", ["Nodule", "Mass"])
@pytest.mark.parametrize("patient", [1, 2, 3])
def test_round_opacity_brightens_its_box_and_nothing_else(finding: str, patient: int) -> None:
    healthy = Phantom(patient, 0, 50, "F", "PA")
    before, none = data_set.draw(healthy, size=256, seed=0)
    after, boxes = data_set.draw(replace(healthy, findings=(finding,)), size=256, seed=0)
    assert none == {} and list(boxes) == [finding]
    for box in boxes[finding]:
        assert inside(after, centre(box)).mean() > inside(before, centre(box)).mean() + 5
    far = np.ones(before.shape, dtype=bool)
    for x, y, w, h in boxes[finding]:
        x0, y0, x1, y1 = (int(value / 4) for value in (x - 30, y - 30, x + w + 30, y + h + 30))
        far[max(y0, 0) : y1, max(x0, 0) : x1] = False
    assert np.array_equal(before[far], after[far])


def test_pneumothorax_darkens_the_rim_of_one_lung() -> None:
    healthy = Phantom(4, 0, 30, "M", "PA")
    before, _ = data_set.draw(healthy, size=256, seed=0)
    after, boxes = data_set.draw(replace(healthy, findings=("Pneumothorax",)), size=256, seed=0)
    change = inside(after, boxes["Pneumothorax"][0]) - inside(before, boxes["Pneumothorax"][0])
    assert (change < -8).mean() > 0.05


def test_effusion_whitens_the_base() -> None:
    healthy = Phantom(4, 0, 30, "M", "PA")
    before, _ = data_set.draw(healthy, size=256, seed=0)
    after, boxes = data_set.draw(replace(healthy, findings=("Effusion",)), size=256, seed=0)
    x, y, w, h = boxes["Effusion"][0]
    assert y + h > 0.6 * FRAME
    assert inside(after, (x, y, w, h)).mean() > inside(before, (x, y, w, h)).mean() + 5


def test_cardiomegaly_widens_the_heart() -> None:
    for patient in (1, 2, 3):
        healthy = Phantom(patient, 0, 60, "M", "PA")
        large = replace(healthy, findings=("Cardiomegaly",))
        normal, enlarged = geometry_of(healthy, 0), geometry_of(large, 0)
        assert sum(enlarged.heart) > 0.5 * 2 * enlarged.half_width > sum(normal.heart)
        _, boxes = data_set.draw(large, size=64, seed=0)
        width = boxes["Cardiomegaly"][0][2] / FRAME
        assert width > 0.85 * sum(enlarged.heart) * pose_of(large, 0).scale > 0.85 * sum(normal.heart)


def test_every_finding_changes_the_picture() -> None:
    healthy = Phantom(7, 1, 55, "F", "AP")
    before, _ = data_set.draw(healthy, size=64, seed=5)
    for finding in FINDINGS:
        after, boxes = data_set.draw(replace(healthy, findings=(finding,)), size=64, seed=5)
        assert np.abs(after.astype(int) - before).max() > 5, finding
        assert bool(boxes) == (finding in BOXED_FINDINGS)


def test_boxes_do_not_depend_on_the_size_drawn() -> None:
    phantom = Phantom(9, 2, 40, "M", "AP", ("Atelectasis", "Effusion"))
    (small, few), (large, many) = (data_set.draw(phantom, size=size, seed=1) for size in (64, 300))
    assert small.shape == (64, 64) and large.shape == (300, 300) and small.dtype == large.dtype == np.uint8
    assert few == many


def test_anatomy_is_stable_over_follow_ups() -> None:
    def picture(patient: int, follow_up: int) -> np.ndarray:
        pixels, _ = data_set.draw(Phantom(patient, follow_up, 50, "M", "PA"), size=64, seed=0)
        return (pixels - pixels.mean()) / pixels.std()

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).mean())

    visits = {(p, f): picture(p, f) for p in (1, 2, 3) for f in (0, 1)}
    same = np.mean([distance(visits[p, 0], visits[p, 1]) for p in (1, 2, 3)])
    other = np.mean([distance(visits[p, 0], visits[q, 1]) for p in (1, 2, 3) for q in (1, 2, 3) if p != q])
    assert 0 < same < other


def test_marks_stay_with_the_patient_and_do_not_depend_on_the_findings() -> None:
    def kept(patient: int, follow_up: int, findings: tuple[str, ...] = ()) -> np.ndarray:
        attenuation = np.zeros((512, 512), np.float32)
        scene = SimpleNamespace(pose=Pose(0.0, 1.0, (0.0, 0.0)))
        add_kept(Phantom(patient, follow_up, 50, "M", "PA", findings), scene, attenuation, 0)
        return attenuation

    first = [kept(patient, 0) for patient in range(1, 40)]
    assert 0.5 < np.mean([marks.any() for marks in first]) < 0.95
    for patient, marks in enumerate(first, 1):
        np.testing.assert_array_equal(marks, kept(patient, 3, ("Mass",)))
    assert len({marks.tobytes() for marks in first if marks.any()}) == sum(marks.any() for marks in first)


def test_lungs_are_dark_between_bright_mediastinum_and_abdomen() -> None:
    pixels, _ = data_set.draw(Phantom(2, 0, 50, "M", "PA"), size=256, seed=0)
    lungs = np.r_[pixels[90:130, 60:80].ravel(), pixels[90:130, 180:200].ravel()].mean()
    assert pixels[150:170, 120:136].mean() > lungs + 60
    assert pixels[225:240, 100:150].mean() > lungs + 60


def test_the_plan_is_the_same_in_every_process(repository):
    """Python orders a set of texts differently in every process; random numbers must not be drawn in that order."""
    script = "from cxr.phantoms.plan import plan; print(plan(patients=260, images=720, boxed=260, seed=0))"
    plans = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": str(repository / "workflow"), "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in range(4)
    }
    assert len(plans) == 1
