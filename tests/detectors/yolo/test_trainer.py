"""ultralytics behind its fence: trains, predicts, writes only where told, calls nobody, refuses foreign weights."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from yolo_squares import CPU, FINDINGS, LONGER, NOTHING_KEPT, SMALL, Squares, judge, predict, squares, tune, written

from cxr.boxes import FRAME, PREDICTION_COLUMNS, iou
from cxr.detectors.yolo import experiments, labels
from cxr.detectors.yolo import trainer as detector
from cxr.errors import InputError, Interrupted
from cxr.labels import BOXED_FINDINGS
from cxr.settings import DEFAULTS, Yolo
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.runs import Run, plain


@pytest.fixture(scope="module")
def data() -> Squares:
    return squares(8)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory, data: Squares) -> Path:
    return written(tmp_path_factory.mktemp("yolo") / "data", data)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, data_set: Path) -> detector.Tuned:
    return tune(data_set, tmp_path_factory.mktemp("first") / "run")


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
    assert history["validation_images_with_prediction"].between(0, 1).all()
    assert tuned.facts["training_images"] == 8
    assert tuned.facts["parameters"] == tuned.facts["trained_parameters"] > 1e5
    assert json.loads(json.dumps(tuned.facts))["settings"] == SMALL.received()


def test_stated_settings_are_used(tuned: detector.Tuned) -> None:
    used = yaml.safe_load((tuned.weights.parents[1] / "args.yaml").read_text())
    assert (used["optimizer"], used["lr0"], used["batch"], used["imgsz"]) == ("AdamW", 0.01, 4, 64)
    assert (used["mosaic"], used["fliplr"], used["flipud"], used["amp"]) == (0.5, 0.0, 0.0, False)
    assert tuned.history["learning_rate"].iloc[0] == pytest.approx(0.01)


def test_data_are_left_as_they_were(data_set: Path, tuned: detector.Tuned) -> None:
    assert {path.suffix for path in data_set.rglob("*.*")} == {".png", ".txt", ".yaml"}


def test_same_seed_same_weights(tmp_path: Path, data_set: Path, tuned: detector.Tuned) -> None:
    again, other = tune(data_set, tmp_path / "again"), tune(data_set, tmp_path / "other", seed=2)
    assert torch.equal(tensors(again.weights), tensors(tuned.weights))
    assert not torch.equal(tensors(other.weights), tensors(tuned.weights))
    columns = ["train_loss", "validation_loss"]
    pd.testing.assert_frame_equal(again.history[columns], tuned.history[columns])


def tensors(path: Path) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in detector._load(path).state_dict().values()])


def assert_same(one: detector.Tuned, other: detector.Tuned) -> None:
    assert torch.equal(tensors(one.weights), tensors(other.weights))
    pd.testing.assert_frame_equal(
        one.history.drop(columns="seconds"), other.history.drop(columns="seconds"), check_exact=True
    )
    varying = ("seconds", "images_per_second", "peak_memory_mb")
    assert {k: v for k, v in one.facts.items() if k not in varying} == {
        k: v for k, v in other.facts.items() if k not in varying
    }


class Stopping(Keeper):
    """Is asked to stop when training looks for the n-th time whether it is."""

    def __init__(self, path: Path, at: int) -> None:
        super().__init__(path, "key", 1e9, lambda text: None)
        self.left = at

    def due(self) -> bool:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().due()


@pytest.fixture(scope="module")
def ten_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("ten") / "data", squares(10))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ten_set: Path) -> detector.Tuned:
    return tune(ten_set, tmp_path_factory.mktemp("whole") / "run", LONGER)


# Each epoch asks 4 times whether to stop: after its 3 steps, and after its validation. The first row's stops meet all
# of the four, the warm-up, the best epoch, the end of mosaics and the end of the training. YOLO26's loss has a state.
@pytest.mark.parametrize(
    ("architecture", "optimizer", "bfloat16", "epochs", "stops"),
    [
        ("yolo-nano.yaml", "SGD", False, 8, (2, 4, 5, 4, 8, 1, 3, 5)),
        ("yolo-nano.yaml", "AdamW", True, 8, (5, 14)),
        ("yolo26n.yaml", "SGD", False, 4, (9,)),
    ],
)
def test_resumed_equals_uninterrupted(
    tmp_path: Path,
    ten_set: Path,
    architecture: str,
    optimizer: str,
    bfloat16: bool,
    epochs: int,
    stops: Sequence[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detector._Trainer, "validate", judge)
    settings = LONGER.model_copy(update={"optimizer": optimizer, "epochs": epochs})
    changes = {"architecture": architecture, "device": Device(torch.device("cpu"), bfloat16)}
    once = tune(ten_set, tmp_path / "once", settings, **changes)
    assert once.facts["kept_epoch"] == {8: 6, 4: 4}[epochs]
    for at in stops:
        with pytest.raises(Interrupted, match="SIGTERM"):
            tune(ten_set, tmp_path / "often", settings, keeper=Stopping(tmp_path / "state", at), **changes)
    told: list[str] = []
    keeper = Keeper(tmp_path / "state", "key", 1e9, told.append)
    often = tune(ten_set, tmp_path / "often", settings, keeper=keeper, tell=told.append, **changes)
    full, rest = divmod(sum(stops), 4)
    assert any(f"going on after step {full * 3 + rest} of {epochs * 3}" in text for text in told)
    assert_same(often, once)
    assert often.history["seconds"].is_monotonic_increasing
    assert (tmp_path / "state").exists()


STOPPED = """
import os, signal, sys
from pathlib import Path
import yolo_squares as tests
from cxr.training.checkpoint import Keeper
class Dying(Keeper):
    calls = 0
    def due(self):
        self.calls += 1
        if self.calls == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.calls == 6
kind = {"dying": Dying, "stopped": Keeper}[sys.argv[1]]
keeper = kind(Path("state"), "key", 1e9, print)
tell = lambda text: print(text, flush=True)
tests.tune(Path(sys.argv[2]), Path("run"), tests.LONGER, keeper=keeper, tell=tell)
"""


def test_killed_and_stopped_processes_lose_nothing(
    tmp_path: Path, ten_set: Path, whole: detector.Tuned, repository: Path
) -> None:
    (tmp_path / "run/weights").mkdir(parents=True)
    for leftover in ("best.pt", "last.pt"):
        (tmp_path / "run/weights" / leftover).write_bytes(b"of an earlier attempt")
    paths = os.pathsep.join([str(repository / "workflow"), str(repository / "tests/support")])

    def start(kind: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", STOPPED, kind, str(ten_set)],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    killed = start("dying")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    stopped = start("stopped")
    told = next(line for line in stopped.stdout if "going on" in line)
    assert told.startswith("going on after step 5 of 24")  # the sixth look: before it, one epoch's 3 + 1 and 1
    stopped.terminate()
    _, errors = stopped.communicate(timeout=120)
    assert "Interrupted: stopped by SIGTERM" in errors
    keeper = Keeper(tmp_path / "state", "key", 1e9, print)
    assert 5 < keeper.load()["steps_done"] < 24
    assert_same(tune(ten_set, tmp_path / "run", LONGER, keeper=keeper), whole)


def test_state_of_another_training_is_not_taken_up(tmp_path: Path, ten_set: Path, whole: detector.Tuned) -> None:
    with pytest.raises(Interrupted):
        tune(ten_set, tmp_path / "run", LONGER, seed=2, keeper=Stopping(tmp_path / "state", 3))
    told: list[str] = []
    keeper = Keeper(tmp_path / "state", "another key", 1e9, told.append)
    assert_same(tune(ten_set, tmp_path / "run", LONGER, keeper=keeper), whole)
    assert "belongs to other settings" in told[0]


def test_memory_and_workers_change_nothing(
    tmp_path: Path, ten_set: Path, whole: detector.Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.data.base import BaseDataset

    def short_of_memory(dataset: BaseDataset) -> bool:
        dataset.cache = None
        return False

    original = detector._Trainer.get_dataloader

    def pooled(*arguments: object, **options: object) -> object:
        loader = original(*arguments, **options)
        loader.num_workers = loader.prefetch_factor = 2
        return loader

    class Shared(Keeper):
        """A cluster's request to stop reaches every process of the job."""

        calls, reached = 0, 0

        def due(self) -> bool:
            self.calls += 1
            if self.calls == 6:
                workers = multiprocessing.active_children()
                self.reached = len(workers)
                for worker in workers:
                    worker.terminate()
            return False

    monkeypatch.setattr(BaseDataset, "check_cache_ram", short_of_memory)
    monkeypatch.setattr(detector._Trainer, "get_dataloader", pooled)
    with pytest.raises(Interrupted) as stopped:
        tune(ten_set, tmp_path / "run", LONGER, keeper=Stopping(tmp_path / "state", 17))
    assert stopped.tb is not None  # which holds all that was in use
    assert multiprocessing.active_children() == []
    keeper = Shared(tmp_path / "state", "key", 0, print)
    assert_same(tune(ten_set, tmp_path / "run", LONGER, keeper=keeper), whole)
    assert keeper.reached == 4
    assert multiprocessing.active_children() == []


class Batches:
    """Our batches in the shape of ultralytics' loader: one epoch at a time."""

    num_workers = 0

    def __init__(self, trainer: detector._Trainer) -> None:
        self.dataset, self.length = trainer.train_loader.dataset, len(trainer.train_loader)
        self.opened = trainer._batches()
        self.batches = self.opened.__enter__()

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, object]]:
        return (next(self.batches) for _ in range(self.length))

    def reset(self) -> None:
        pass


@pytest.mark.parametrize(("architecture", "optimizer"), [("yolo-nano.yaml", "SGD"), ("yolo26n.yaml", "AdamW")])
def test_loop_takes_the_steps_of_ultralytics(
    tmp_path: Path, ten_set: Path, architecture: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    finished = []

    class Theirs(detector._Trainer):
        def _setup_train(self) -> None:
            super()._setup_train()
            torch.set_num_threads(self.threads)
            self.train_loader = Batches(self)

        def final_eval(self) -> None:
            finished.append(self)
            raise InterruptedError

        _do_train = DetectionTrainer._do_train

    settings = LONGER.model_copy(update={"epochs": 4, "optimizer": optimizer, "keep": "last"})
    ours = tune(ten_set, tmp_path / "ours", settings, architecture=architecture)
    monkeypatch.setattr(detector, "_Trainer", Theirs)
    with pytest.raises(InterruptedError):
        tune(ten_set, tmp_path / "theirs", settings, architecture=architecture)
    theirs = finished[0].ema.ema.half().state_dict()
    assert all(
        torch.equal(tensor.half(), theirs[name]) for name, tensor in detector._load(ours.weights).state_dict().items()
        if tensor.is_floating_point()
    )  # fmt: skip
    table = pd.read_csv(finished[0].csv)
    for column in ("val/box_loss", "val/cls_loss", "metrics/mAP50(B)", "train/box_loss"):
        kind, name = column.removesuffix("(B)").split("/")
        own = f"validation_{name.lower()}" if kind != "train" else f"train_{name}"
        assert ours.history[own].to_numpy() == pytest.approx(table[column].to_numpy(), abs=1e-5)


def test_memory_that_is_full_is_named(tmp_path: Path, data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(trainer: detector._Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(detector._Trainer, "optimizer_step", full)
    with pytest.raises(InputError, match=r"yolo\.batch = 4 images of yolo\.image_size = 64 pixels do not fit"):
        tune(data_set, tmp_path / "run")


def test_bfloat16_changes_training_and_nothing_after_it(tmp_path: Path, data_set: Path, tuned: detector.Tuned) -> None:
    rounded = tune(data_set, tmp_path / "run", device=Device(torch.device("cpu"), bfloat16=True))
    assert rounded.facts["precision"].startswith("bfloat16")
    exact, other = tuned.history["train_loss"], rounded.history["train_loss"]
    assert (exact != other).all()
    assert other[0] == pytest.approx(exact[0], rel=0.05)  # differences grow from step to step
    assert not torch.is_autocast_enabled("cpu")


def test_boxes_of_an_image_do_not_depend_on_the_others(data: Squares, tuned: detector.Tuned) -> None:
    names = data.split["image"].tolist()
    together = predict(tuned.weights, data, batch=3)
    for name in (names[0], names[-1]):
        alone = predict(tuned.weights, data, names=[name], batch=3)
        assert len(alone) and together[together["image"] == name].reset_index(drop=True).equals(alone)


def test_data_set_may_move(
    tmp_path: Path, data: Squares, tuned: detector.Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "here" / "images", data)
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    moved = tune(Path("there/images"), Path("run"))
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
    backwards = predict(tuned.weights, data, confidence=1e-4, names=names[::-1])
    for name in names:
        theirs, ours = (each[each["image"] == name].reset_index(drop=True) for each in (backwards, table))
        assert theirs.equals(ours)


def test_no_boxes_is_an_empty_table(data: Squares, tuned: detector.Tuned) -> None:
    table = predict(tuned.weights, data, confidence=0.99)
    assert table.empty
    assert list(table.columns) == PREDICTION_COLUMNS


def test_resnet_weights_are_refused(tmp_path: Path, data: Squares, data_set: Path) -> None:
    path = tmp_path / "resnet50.pt"
    torch.save({"layer4.0.conv1.weight": torch.zeros(3, 3), "fc.weight": torch.zeros(2, 2)}, path)
    for call in (lambda: predict(path, data), lambda: tune(data_set, tmp_path / "run", weights=path)):
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
def test_unknown_architecture_is_refused(tmp_path: Path, data_set: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"yolo\.architecture"):
        tune(data_set, tmp_path / "run", architecture=name)


def test_damaged_data_stop_the_training(tmp_path: Path, data: Squares) -> None:
    data_set = written(tmp_path / "data", data)
    label = tmp_path / "data/labels/train/00000003_000.txt"
    label.write_text(label.read_text().replace("0.", "7."))
    with pytest.raises(
        InputError, match=r"00000003_000\.png: the image or its label file is missing, damaged .*\(1 such"
    ):
        tune(data_set, tmp_path / "run")


def test_a_picture_too_few_or_too_many_stops_the_training(tmp_path: Path, data: Squares) -> None:
    data_set = written(tmp_path / "data", data)
    for change in (
        lambda: (data_set / "images/train/00000005_000.png").rename(data_set / "images/train/00000006_001.png"),
        lambda: (data_set / "images/train/00000006_001.png").unlink(),
    ):
        change()
        with pytest.raises(InputError, match=r"00000005_000\.png: the image or its label file is missing"):
            tune(data_set, tmp_path / "run")


def test_the_data_set_is_compared_with_its_manifest_before_a_training(
    tmp_path: Path, data: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five of its pictures deleted, the labels of the others emptied: what is trained on is whole again."""
    folder = tmp_path / "data"
    split = {"train": data.split, "validation": data.split}
    tables = labels.write_data_set(split, data.pixels, folder, BOXED_FINDINGS)
    pd.concat([table.assign(role=role) for role, table in tables.items()]).to_csv(tmp_path / "data.csv", index=False)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    for path in sorted(folder.glob("images/train/*"))[:5]:
        path.unlink()
    for path in folder.glob("labels/train/*"):
        path.write_bytes(b"")
    seen, told = [], []

    class Reached(Exception):
        pass

    def trained(*, data: labels.DataSet, **rest: object) -> None:
        seen.append({path: path.read_bytes() for path in data.folder.rglob("*.*")})
        raise Reached

    class Images:
        def pixels(self, run: Run) -> Squares:
            return Squares(data.pictures, data.split)

    monkeypatch.setattr(Squares, "read", Squares.pixels, raising=False)
    monkeypatch.setattr(detector, "fine_tune", trained)
    with pytest.raises(Reached):
        experiments.fine_tune(
            data=folder, manifest=tmp_path / "data.csv", settings=SMALL, run_folder=tmp_path / "run", inputs=Images(),
            outputs=None, run=Run(1, CPU, NOTHING_KEPT, told.append),
        )  # fmt: skip
    assert seen == [before]
    assert "13 files were missing or damaged and were written again" in told[0]


def test_loss_that_is_not_finite_stops(tmp_path: Path, data_set: Path) -> None:
    with pytest.raises(InputError, match=r"not finite in step \d+ \(epoch \d+\); lower yolo\.learning_rate"):
        tune(
            data_set,
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
import os, socket, subprocess, sys
from pathlib import Path
def refuse(*arguments, **options):
    Path(sys.argv[1]).touch()
    raise OSError("no network and no other program in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import torch
import yolo_squares as tests
subprocess.Popen.__init__ = os.system = refuse  # importing torch asks ldconfig
"""
TRAINED = """
data = tests.squares(8)
folder = tests.written(Path("data"), data)
(folder / "data.yaml").write_text(tests.HOSTILE.format(sprung=sys.argv[1]))
tuned = tests.tune(folder, Path("run"))
tests.predict(tuned.weights, data)
"""


def fenced(tmp_path: Path, repository: Path, script: str) -> tuple[Path, Path, Path]:
    """Run a script in a process that may reach nobody; fail where it tried to; return its home, work, temporary folder."""
    home, work, temporary = tmp_path / "home", tmp_path / "work", tmp_path / "tmp"
    for folder in (home, work, temporary):
        folder.mkdir()
    paths = os.pathsep.join([str(repository / "workflow"), str(repository / "tests/support")])
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": paths,
        "ULTRALYTICS_API_KEY": "ul_" + "0" * 40, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", FENCED + script, str(tmp_path / "called")],
        cwd=work,
        env=environment,
        check=True,
        timeout=300,
    )
    assert not (tmp_path / "called").exists()
    return home, work, temporary


def test_home_and_network_are_left_alone(tmp_path: Path, repository: Path) -> None:
    """Nor does a data.yaml count that was put there: it would have a program run, and other pictures taken."""
    home, work, temporary = fenced(tmp_path, repository, TRAINED)
    assert list(home.rglob("*")) == []
    assert {path.name for path in work.iterdir()} == {"data", "data.csv", "run"}
    assert list(temporary.glob("cxr-*")) == []


LURED = """
import numpy as np
from ultralytics.nn.modules.block import TorchVision
from ultralytics.nn.tasks import DetectionModel
from cxr.detectors.yolo import trainer as detector
from cxr.errors import InputError

class Lure:
    def __init__(self, kind, *arguments):
        self.made = kind, arguments
    def __reduce__(self):
        return self.made

def refused(call, words):
    try:
        call()
    except InputError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)

data = tests.squares(2)
lures = [
    (TorchVision, "alexnet", "ultralytics tried to use a layer TorchVision"),
    (DetectionModel, "https://127.0.0.1/yolo11n.yaml", "not usable"),
    (DetectionModel, "ul://127.0.0.1/a/b/c.yaml", "not usable"),
]
for number, (kind, argument, words) in enumerate(lures):
    torch.save({"model": Lure(kind, argument)}, f"lure{number}.pt")
    refused(lambda: tests.predict(Path(f"lure{number}.pt"), data), words)
for name in ("yolov5n.pt", "https:/127.0.0.1/yolo11n.pt"):
    refused(lambda: tests.predict(Path(name), data), "no such weights file")
folder = tests.written(Path("data"), data)
own = (detector.OWN_ARCHITECTURES / "yolo-nano.yaml").read_text()
Path("foreign.yaml").write_text(own.replace("backbone:", "backbone:\\n  - [-1, 1, TorchVision, [3, alexnet]]", 1))
refused(lambda: tests.tune(folder, Path("run"), architecture="foreign.yaml"), "a layer TorchVision")
"""


def test_nothing_that_weights_or_an_architecture_ask_for_is_fetched(tmp_path: Path, repository: Path) -> None:
    fenced(tmp_path, repository, LURED)


def test_a_weights_file_is_taken_as_it_is_named(tmp_path: Path, data: Squares, tuned: detector.Tuned) -> None:
    """ultralytics would look for yolov5nu.pt instead, and leaves apostrophes out; then it asks the internet."""
    folder = tmp_path / "o'neil"
    folder.mkdir()
    for name in ("yolov5n.pt", "it's mine.pt"):
        (folder / name).write_bytes(tuned.weights.read_bytes())
        pd.testing.assert_frame_equal(predict(folder / name, data), predict(tuned.weights, data))
    assert {path.name for path in folder.iterdir()} == {"yolov5n.pt", "it's mine.pt"}


def test_what_could_fetch_install_or_run_is_replaced_wherever_it_was_imported_to() -> None:
    open_ones = [
        f"{key}.{name}"
        for key, module in sys.modules.items() if key.partition(".")[0] == "ultralytics"
        for name, value in vars(module).items()
        if getattr(value, "__name__", "") in detector.FENCED.get(getattr(value, "__module__", ""), ())
    ]  # fmt: skip
    assert open_ones == []
    for module, names in detector.FENCED.items():
        for name in names:
            with pytest.raises(InputError, match=f"{module}.{name}"):
                getattr(sys.modules[module], name)("anything", unzip=True)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_no_model_is_fetched_to_try_the_precision_with(bfloat16: bool) -> None:
    """ultralytics' amp=True downloads one on a GPU."""
    overrides = detector._overrides(SMALL, None, plain(1, Device(torch.device("cuda"), bfloat16), print))
    assert overrides["amp"] == ("bf16" if bfloat16 else False)


def test_a_label_cache_is_neither_read_nor_written(tmp_path: Path, data: Squares, tuned: detector.Tuned) -> None:
    """Also where it appears after the data set was compared with its manifest; it is a pickle."""
    data_set = written(tmp_path / "data", data)

    class Planting(Keeper):
        def load(self) -> None:
            for role in ("train", "validation"):
                with (data_set / f"labels/{role}.cache").open("wb") as file:
                    np.save(file, np.array({"labels": Trap(str(tmp_path / "sprung"))}, dtype=object))

    again = tune(data_set, tmp_path / "run", keeper=Planting(None, "", 0, print))
    assert not (tmp_path / "sprung").exists()
    assert torch.equal(tensors(again.weights), tensors(tuned.weights))
    for path in data_set.glob("labels/*.cache"):
        path.unlink()
    tune(data_set, tmp_path / "run")
    assert not list(data_set.rglob("*.cache"))


def test_off_the_shelf_weights_predict_coco_classes(coco_weights: Path, data: Squares) -> None:
    table = predict(coco_weights, data, confidence=1e-3, image_size=320)
    names = set(detector._load(coco_weights).names.values())
    assert len(names) == 80
    assert len(table) > 0
    assert set(table["label"]) <= names


def test_fine_tuning_transfers_all_but_the_class_outputs(
    tmp_path: Path, coco_weights: Path, data_set: Path, data: Squares
) -> None:
    told: list[str] = []
    settings = Yolo(image_size=64, epochs=1, batch=4, freeze=10, keep="best")
    tuned = tune(data_set, tmp_path / "run", settings, weights=coco_weights, tell=told.append)
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


def test_a_negative_number_of_frozen_modules_leaves_the_last_ones_to_train(tmp_path: Path, ten_set: Path) -> None:
    source = tune(ten_set, tmp_path / "source", SMALL).weights
    settings = SMALL.model_copy(update={"freeze": -1, "epochs": 1})
    tuned = tune(ten_set, tmp_path / "run", settings, weights=source)
    before, after = (detector._load(path) for path in (source, tuned.weights))
    head = sum(each.numel() for each in before.model[-1].parameters() if each.shape[:2] != (1, 16))  # not the DFL's
    assert tuned.facts["trained_parameters"] == head < 0.5 * tuned.facts["parameters"]
    last = f"model.{len(before.model) - 1}."
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    changed = {name for (name, one), other in pairs if not torch.allclose(one, other, atol=1e-3)}
    assert changed and all(name.startswith(last) for name in changed)


def test_under_paper_a_sixth_of_yolo11n_is_trained() -> None:
    """The detection head: the paper adjusted only the final layers. Freezing ten modules left 57%."""
    settings = DEFAULTS.paper.yolo
    assert (settings.architecture, settings.freeze, settings.mosaic) == ("yolo11n.yaml", -1, 0)
    network = detector.DetectionModel(settings.architecture, nc=8, verbose=False)
    whole, head, after_ten = (
        sum(each.numel() for each in part.parameters()) for part in (network, network.model[-1], network.model[10:])
    )
    assert (round(head / whole, 3), round(after_ten / whole, 2)) == (0.167, 0.57)


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


@pytest.mark.parametrize("name", ["model", "ema", "optimizer", "seconds"])
def test_a_state_that_does_not_fit_is_as_good_as_none(
    tmp_path: Path, ten_set: Path, whole: detector.Tuned, name: str
) -> None:
    with pytest.raises(Interrupted):
        tune(ten_set, tmp_path / "run", LONGER, keeper=Stopping(tmp_path / "state", 3))
    keeper = Keeper(tmp_path / "state", "key", 1e9, print)
    keeper.save({key: value for key, value in keeper.load().items() if key != name})
    told: list[str] = []
    keeper = Keeper(tmp_path / "state", "key", 1e9, told.append)
    assert_same(tune(ten_set, tmp_path / "run", LONGER, keeper=keeper), whole)
    assert keeper.resumed == 0 and f"training starts from the beginning: '{name}'" in "\n".join(told)
