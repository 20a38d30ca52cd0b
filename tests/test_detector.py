"""ultralytics behind its fence: trains, predicts, writes only where told, calls nobody, refuses foreign weights."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cxr import detector, yolo_labels
from cxr.boxes import FRAME, format_box_text, iou
from cxr.device import Device
from cxr.errors import InputError
from cxr.settings import Yolo

CPU = Device(torch.device("cpu"), bfloat16=False)
FINDINGS = ("Mass", "Nodule")
SMALL = Yolo(image_size=64, epochs=2, batch=4, optimizer="AdamW", learning_rate=0.01, mosaic=0.5, keep="last")


@dataclass(frozen=True)
class Squares:
    """Dark noise with one bright square an image: large ones are masses, small ones nodules."""

    pictures: dict[str, np.ndarray]
    split: pd.DataFrame

    def pixels(self, names: Sequence[str]) -> np.ndarray:
        return np.stack([self.pictures[name] for name in names])


def squares(count: int, side: int = 64) -> Squares:
    rng = np.random.default_rng(0)
    pictures, rows = {}, []
    for number in range(count):
        name, label, width = f"{number:08d}_000.png", FINDINGS[number % 2], side // 2 - (number % 2) * side // 4
        picture = rng.integers(0, 60, (side, side)).astype(np.uint8)
        x, y = rng.integers(0, side - width, 2)
        picture[y : y + width, x : x + width] = 230
        pictures[name] = picture
        box = tuple(float(corner) * FRAME / side for corner in (x, y, x + width, y + width))
        rows.append((name, format_box_text([(label, *box)])))
    return Squares(pictures, pd.DataFrame(rows, columns=["image", "boxes"]))


def written(folder: Path, data: Squares) -> Path:
    splits = dict.fromkeys(("train", "validation"), data.split)
    yolo_labels.write_data_set(splits, data.pixels, folder, FINDINGS)
    return folder / "data.yaml"


def tune(data_yaml: Path, run_folder: Path, settings: Yolo = SMALL, **changes: object) -> detector.Tuned:
    arguments = {"weights": None, "architecture": "yolo-nano.yaml", "seed": 1, "device": CPU, **changes}
    return detector.fine_tune(
        data_yaml=data_yaml,
        run_folder=run_folder,
        settings=settings,
        threads=1,
        **{"progress": lambda text: None, **arguments},
    )


def predict(weights: Path, data: Squares, **changes: object) -> pd.DataFrame:
    arguments = {"names": data.split["image"].tolist(), "image_size": 64, "progress": lambda text: None, **changes}
    return detector.predict(weights=weights, pixels=data.pixels, device=CPU, **arguments)


@pytest.fixture(scope="module")
def data() -> Squares:
    return squares(8)


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory, data: Squares) -> Path:
    return written(tmp_path_factory.mktemp("yolo"), data)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, data_yaml: Path) -> detector.Tuned:
    return tune(data_yaml, tmp_path_factory.mktemp("first") / "run")


def test_training_leaves_weights_history_and_facts(tuned: detector.Tuned) -> None:
    assert tuned.weights.name == "last.pt"
    assert {path.name for path in tuned.weights.parent.iterdir()} == {"last.pt", "best.pt"}
    history = tuned.history
    assert list(history.columns[:7]) == [
        "epoch", "step", "seconds", "learning_rate", "train_loss", "validation_loss", "validation_map50",
    ]  # fmt: skip
    assert history["epoch"].tolist() == [1, 2]
    assert history["step"].tolist() == [2, 4]
    parts = history[[column for column in history if column.startswith("train_") and column != "train_loss"]]
    assert parts.shape[1] == 3
    assert parts.sum(axis=1).to_numpy() == pytest.approx(history["train_loss"].to_numpy())
    assert np.isfinite(history.to_numpy(dtype=float)).all()
    assert tuned.facts["training_images"] == 8
    assert tuned.facts["parameters"] == tuned.facts["trained_parameters"] > 1e5
    assert json.loads(json.dumps(tuned.facts))["settings"] == SMALL.model_dump()


def test_stated_settings_are_used(tuned: detector.Tuned) -> None:
    used = yaml.safe_load((tuned.weights.parents[1] / "args.yaml").read_text())
    assert (used["optimizer"], used["lr0"], used["batch"], used["imgsz"]) == ("AdamW", 0.01, 4, 64)
    assert (used["mosaic"], used["fliplr"], used["flipud"], used["amp"]) == (0.5, 0.0, 0.0, False)
    assert tuned.history["learning_rate"].iloc[0] == pytest.approx(0.01)


def test_data_are_left_as_they_were(data_yaml: Path, tuned: detector.Tuned) -> None:
    assert {path.suffix for path in data_yaml.parent.rglob("*.*")} == {".png", ".txt", ".yaml"}


def test_same_seed_same_weights(tmp_path: Path, data_yaml: Path, tuned: detector.Tuned) -> None:
    def tensors(path: Path) -> torch.Tensor:
        return torch.cat([tensor.flatten() for tensor in detector._load(path).state_dict().values()])

    again, other = tune(data_yaml, tmp_path / "again"), tune(data_yaml, tmp_path / "other", seed=2)
    assert torch.equal(tensors(again.weights), tensors(tuned.weights))
    assert not torch.equal(tensors(other.weights), tensors(tuned.weights))
    columns = ["train_loss", "validation_loss"]
    pd.testing.assert_frame_equal(again.history[columns], tuned.history[columns])


def test_bfloat16_changes_training_and_nothing_after_it(tmp_path: Path, data_yaml: Path, tuned: detector.Tuned) -> None:
    rounded = tune(data_yaml, tmp_path / "run", device=Device(torch.device("cpu"), bfloat16=True))
    assert rounded.facts["precision"].startswith("bfloat16")
    exact, other = tuned.history["train_loss"], rounded.history["train_loss"]
    assert (exact != other).all()
    assert other.to_numpy() == pytest.approx(exact.to_numpy(), rel=0.05)
    assert not torch.is_autocast_enabled("cpu")


def test_data_set_may_move(
    tmp_path: Path, data: Squares, tuned: detector.Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "here" / "images", data)
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    moved = tune(Path("there/images/data.yaml"), Path("run"))
    assert moved.weights == tmp_path / "run/weights/last.pt"
    assert moved.history["train_loss"].tolist() == tuned.history["train_loss"].tolist()


def test_predictions_are_a_table_in_the_frame(data: Squares, tuned: detector.Tuned) -> None:
    table = predict(tuned.weights, data, confidence=1e-4)
    assert list(table.columns) == ["image", "label", "confidence", "x0", "y0", "x1", "y1"]
    assert len(table) > 0
    assert set(table["label"]) <= set(FINDINGS)
    assert table[["x0", "y0"]].min().min() >= 0
    assert FRAME / 2 < table[["x1", "y1"]].max().max() <= FRAME
    assert table["confidence"].between(1e-4, 1).all()
    names = data.split["image"].tolist()
    positions = table["image"].map(names.index)
    assert positions.is_monotonic_increasing
    assert all(group["confidence"].is_monotonic_decreasing for _, group in table.groupby("image"))
    backwards = predict(tuned.weights, data, confidence=1e-4, names=names[::-1], batch=3)
    for name in names:
        columns = ["confidence", "x0", "y0", "x1", "y1"]
        np.testing.assert_allclose(
            backwards.loc[backwards["image"] == name, columns], table.loc[table["image"] == name, columns], atol=0.01
        )


def test_no_boxes_is_an_empty_table(data: Squares, tuned: detector.Tuned) -> None:
    table = predict(tuned.weights, data, confidence=0.99)
    assert table.empty
    assert list(table.columns) == detector.COLUMNS


def test_resnet_weights_are_refused(tmp_path: Path, data: Squares, data_yaml: Path) -> None:
    path = tmp_path / "resnet50.pt"
    torch.save({"layer4.0.conv1.weight": torch.zeros(3, 3), "fc.weight": torch.zeros(2, 2)}, path)
    for call in (lambda: predict(path, data), lambda: tune(data_yaml, tmp_path / "run", weights=path)):
        with pytest.raises(InputError, match=r"resnet50\.pt: not usable.*expected a YOLO detection checkpoint"):
            call()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "half"])
def test_damaged_weights_are_refused(
    tmp_path: Path, data: Squares, tuned: detector.Tuned, content: bytes | str
) -> None:
    path = tmp_path / "yolo.pt"
    path.write_bytes(tuned.weights.read_bytes()[:100_000] if content == "half" else content)
    with pytest.raises(InputError, match=r"yolo\.pt: not usable"):
        predict(path, data)


def test_code_in_weights_does_not_run(tmp_path: Path, data: Squares) -> None:
    path = tmp_path / "yolo.pt"
    torch.save({"model": Trap(str(tmp_path / "sprung"))}, path)
    with pytest.raises(InputError, match=r"yolo\.pt: not usable"):
        predict(path, data)
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def test_missing_weights_are_not_looked_for_elsewhere(data: Squares) -> None:
    with pytest.raises(InputError, match=r"yolo11n\.pt: no such weights file"):
        predict(Path("yolo11n.pt"), data)


def test_classifier_is_refused(tmp_path: Path, data: Squares) -> None:
    from ultralytics.nn.tasks import ClassificationModel

    path = tmp_path / "yolo11n-cls.pt"
    torch.save({"model": ClassificationModel("yolo11n-cls.yaml", nc=2, verbose=False)}, path)
    with pytest.raises(InputError, match=r"yolo11n-cls\.pt: holds a model for the task 'classify'"):
        predict(path, data)


@pytest.mark.parametrize(
    "name", ["yolo-huge.yaml", "yolo11n-cls.yaml", "yolo11n.pt", "https://example.org/yolo.yaml", ""]
)
def test_unknown_architecture_is_refused(tmp_path: Path, data_yaml: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"yolo\.architecture"):
        tune(data_yaml, tmp_path / "run", architecture=name)


def test_damaged_data_stop_the_training(tmp_path: Path, data: Squares) -> None:
    data_yaml = written(tmp_path / "data", data)
    label = tmp_path / "data/labels/train/00000003_000.txt"
    label.write_text(label.read_text().replace("0.", "7."))
    with pytest.raises(InputError, match=r"00000003_000\.png: the image or its label file is damaged \(1 such"):
        tune(data_yaml, tmp_path / "run")


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.yaml: no such file"):
        tune(tmp_path / "data.yaml", tmp_path / "run")


def test_loss_that_is_not_finite_stops(tmp_path: Path, data_yaml: Path) -> None:
    with pytest.raises(InputError, match=r"not finite in step \d+ \(epoch \d+\); lower yolo\.learning_rate"):
        tune(
            data_yaml,
            tmp_path / "run",
            Yolo(image_size=64, epochs=3, batch=2, learning_rate=1),
            weights=poisoned(tmp_path),
        )


def poisoned(folder: Path) -> Path:
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(str(detector.OWN_ARCHITECTURES / "yolo-nano.yaml"), nc=2, verbose=False)
    next(model.parameters()).data.fill_(float("nan"))
    torch.save({"model": model}, folder / "poisoned.pt")
    return folder / "poisoned.pt"


FENCED = """
import socket, sys
from pathlib import Path
def refuse(*arguments, **options):
    Path(sys.argv[1]).touch()
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import torch
import test_detector as tests
data = tests.squares(8)
tuned = tests.tune(tests.written(Path("data"), data), Path("run"))
tests.predict(tuned.weights, data)
"""


def test_home_and_network_are_left_alone(tmp_path: Path, repository: Path) -> None:
    home, work, temporary = tmp_path / "home", tmp_path / "work", tmp_path / "tmp"
    for folder in (home, work, temporary):
        folder.mkdir()
    paths = os.pathsep.join([str(repository / "workflow"), str(repository / "tests")])
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": paths,
        "ULTRALYTICS_API_KEY": "ul_" + "0" * 40, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", FENCED, str(tmp_path / "called")], cwd=work, env=environment, check=True, timeout=300
    )
    assert not (tmp_path / "called").exists()
    assert list(home.rglob("*")) == []
    assert {path.name for path in work.iterdir()} == {"data", "run"}
    assert list(temporary.glob("cxr-*")) == []


def test_off_the_shelf_weights_predict_coco_classes(coco_weights: Path, data: Squares) -> None:
    table = predict(coco_weights, data, confidence=1e-3, image_size=320)
    names = set(detector._load(coco_weights).names.values())
    assert len(names) == 80
    assert len(table) > 0
    assert set(table["label"]) <= names


def test_fine_tuning_transfers_all_but_the_class_outputs(
    tmp_path: Path, coco_weights: Path, data_yaml: Path, data: Squares
) -> None:
    told: list[str] = []
    settings = Yolo(image_size=64, epochs=1, batch=4, freeze=10, keep="best")
    tuned = tune(data_yaml, tmp_path / "run", settings, weights=coco_weights, progress=told.append)
    source = detector._load(coco_weights)
    assert tuned.weights.name == "best.pt"
    assert tuned.facts["tensors"] == len(source.state_dict())
    assert tuned.facts["transferred_tensors"] == len(source.state_dict()) - 6  # weight and bias of three class outputs
    assert any(f"{tuned.facts['transferred_tensors']} of" in text for text in told)
    assert 0 < tuned.facts["trained_parameters"] < 0.6 * tuned.facts["parameters"]
    model = detector._load(tuned.weights)
    assert list(model.names.values()) == list(FINDINGS)
    frozen, changed = "model.5.conv.weight", "model.22.cv1.conv.weight"
    assert torch.allclose(model.state_dict()[frozen], source.state_dict()[frozen], atol=1e-3)
    assert not torch.equal(model.state_dict()[changed], source.state_dict()[changed])
    assert set(predict(tuned.weights, data, confidence=1e-4)["label"]) <= set(FINDINGS)


@pytest.mark.long
def test_learns_to_find_squares(tmp_path: Path) -> None:
    data = squares(40, side=128)
    settings = Yolo(image_size=128, epochs=60, batch=8, optimizer="AdamW", learning_rate=5e-3, keep="best")
    tuned = tune(written(tmp_path / "data", data), tmp_path / "run", settings)
    assert tuned.history["validation_map50"].max() > 0.9
    table = predict(tuned.weights, data, image_size=128)
    first = table.groupby("image").first()
    overlaps = []
    for image, text in zip(data.split["image"], data.split["boxes"], strict=True):
        label, *box = text.split()
        found = first.loc[image]
        assert found["label"] == label
        overlaps.append(iou([[float(corner) for corner in box]], [found[["x0", "y0", "x1", "y1"]].tolist()])[0, 0])
    assert np.mean(overlaps) > 0.8
