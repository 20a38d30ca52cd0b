"""`snakemake floors`: what the tables alone tell, from a folder that holds no image."""

import numpy as np
import pandas as pd
import pytest
from running import snakemake

from cxr.metrics import box_floor_table, floor_table, floors, ladder

CONFIG = [
    "name=alone",
    "protocols=[paper,sound]",
    "evaluation={bootstrap: 100}",
    "paper={transfer: {sizes: [300]}}",
    "sound={split: {rule: patient}, transfer: {sizes: [300]}}",
]


@pytest.fixture
def tables(tmp_path):
    """The release's tables for 900 images of 300 patients; Mass goes by the patient, Effusion by the view."""
    draw = np.random.default_rng(0)
    patients, root = np.repeat(np.arange(1, 301), 3), tmp_path / "tables"
    views = draw.choice(["PA", "AP"], 900)
    masses = (draw.random(300) < 0.3)[patients - 1]
    effusions = draw.random(900) < np.where(views == "AP", 0.6, 0.1)
    names = [["Effusion"] * bool(e) + ["Mass"] * bool(m) for e, m in zip(effusions, masses, strict=True)]
    table = pd.DataFrame(
        {
            "Image Index": [f"{patient:08d}_{at % 3:03d}.png" for at, patient in enumerate(patients)],
            "Finding Labels": ["|".join(each) or "No Finding" for each in names],
            "Follow-up #": np.arange(900) % 3,
            "Patient ID": patients,
            "Patient Age": draw.integers(20, 80, 900),
            "Patient Gender": draw.choice(["M", "F"], 900),
            "View Position": views,
            "OriginalImage[Width": 2048,
            "Height]": 2048,
            "OriginalImagePixelSpacing[x": 0.14,
            "y]": 0.14,
        }
    )
    root.mkdir()
    table.to_csv(root / "Data_Entry_2017_v2020.csv", index=False)
    places = draw.integers(480, 560, (80, 2))
    boxes = [
        f"{at + 1:08d}_000.png,{'Mass' if at % 2 else 'Nodule'},{x},{y},400,300" for at, (x, y) in enumerate(places)
    ]
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes]
    (root / "BBox_List_2017.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


def test_the_tables_alone_give_the_ladder_of_every_split(repository, tmp_path, tables):
    code, output = snakemake(
        repository, tmp_path, "--", "floors", config=[*CONFIG, f"data={{source: nih, root: {tables}}}"]
    )
    assert code == 0, output[-6000:]
    found = pd.read_csv(tmp_path / "results/alone/floors/labels.csv")
    assert [*found.columns] == floor_table.COLUMNS
    assert set(found["protocol"]) == {"paper", "sound"}
    assert (found.groupby(["protocol", "size", "metric", "label"], dropna=False)["floor"].sum() == 1).all()
    assert found[["low", "value", "high"]].notna().all(axis=None)
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    by_image = found[(found["protocol"] == "paper") & (found["size"] == "300")]
    by_patient = found[(found["protocol"] == "sound") & (found["size"] == "300")]
    assert set(by_image["rung"]) == set(ladder.RUNGS) and set(by_patient["rung"]) == {"constant", "metadata"}
    assert (by_image["shared_patients"] > 0).all() and (by_patient["shared_patients"] == 0).all()
    assert by_image["train_images"].unique().tolist() == [240] and by_patient["train_images"].unique().tolist() == [300]
    area = by_image[(by_image["metric"] == "auroc")].set_index("rung")
    assert area.loc["constant", "value"] == 0.5 and area.loc["history", "floor"] == 1
    assert (area["labels"] == 2).all()
    boxed = pd.read_csv(tmp_path / "results/alone/floors/boxes.csv")
    assert [*boxed.columns] == box_floor_table.COLUMNS
    values = boxed.set_index(["protocol", "metric", "label", "predictor"])["value"]
    for protocol, count in (("paper", 12), ("sound", 80)):
        mine = boxed[boxed["protocol"] == protocol]
        assert set(mine["images"]) == {count} == set(mine["patients"]) and mine["value"].notna().all()
        assert values[protocol, "f1", "all", "mean training mask, cut, of each view"] > 0.7
        assert values[protocol, "froc_mean", "all", floors.COVERING_BOXES] > 0.7  # one box overlaps all of a finding's
    assert (tmp_path / "results/alone/floors/boxes.txt").read_text(encoding="utf-8") in output
    text = (tmp_path / "results/alone/floors/labels.txt").read_text(encoding="utf-8")
    assert text in output  # printed as it is kept
    assert f"{area.loc['history', 'value']:.4f}" in text and "240 training images" in text
    assert not (tmp_path / "results/alone/data").exists()  # no image was looked for
