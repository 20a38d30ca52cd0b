"""YOLO by ultralytics: off the shelf and fine-tuned. The only module that imports it.

Everything ultralytics would do on its own is switched off: it reaches for no network (update check, fonts, AMP test
model, usage statistics, experiment trackers), writes nothing into the home folder, installs nothing, and runs nothing a
weights file could smuggle in. Every training setting that changes a result is stated here; ``optimizer=auto``, for one,
would ignore the learning rate.
"""

import contextlib
import io
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cxr.boxes import FRAME
from cxr.device import Device
from cxr.errors import InputError
from cxr.settings import Yolo

# ultralytics takes these from the environment while it is imported, before any code could tell it otherwise. Its
# settings file goes to a folder of this process alone: neither the user's settings nor parallel jobs can reach a run.
_OWN = tempfile.TemporaryDirectory(prefix="cxr-detector-")
_threads = os.environ.get("OMP_NUM_THREADS")
os.environ.update(
    YOLO_CONFIG_DIR=_OWN.name,
    YOLO_OFFLINE="true",  # no look-up of hosts, no update check, no usage statistics
    YOLO_AUTOINSTALL="false",
    YOLO_VERBOSE="false",  # no progress bars in logs
    ULTRALYTICS_SAFE_LOAD="true",  # weights files are data, not code
    ULTRALYTICS_API_KEY="",
)

import ultralytics  # noqa: E402
from ultralytics.data import utils as data_utils  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, guess_model_task, load_checkpoint, yaml_model_load  # noqa: E402
from ultralytics.utils import LOGGER, SETTINGS  # noqa: E402
from ultralytics.utils.nms import non_max_suppression  # noqa: E402
from ultralytics.utils.torch_utils import intersect_dicts, strip_optimizer  # noqa: E402

if _threads is None:
    os.environ.pop("OMP_NUM_THREADS", None)  # ultralytics set it to 1 for everything that follows
LOGGER.setLevel("WARNING")
LOGGER.addFilter(lambda record: "cache='ram'" not in record.getMessage())  # warns of chance; a test shows there is none
SETTINGS.update(dict.fromkeys(("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"), False))
data_utils.check_font = lambda font: None  # nothing is drawn, so no font need be fetched

OWN_ARCHITECTURES = Path(__file__).parent
OVERLAP = 0.7  # boxes of a class that overlap by more (IoU) are one detection
COLUMNS = ["image", "label", "confidence", "x0", "y0", "x1", "y1"]


@dataclass(frozen=True)
class Tuned:
    """A finished training run: its weights file, the history (one row an epoch) and the run facts."""

    weights: Path
    history: pd.DataFrame
    facts: dict[str, Any]


def fine_tune(
    *,
    data_yaml: Path,
    weights: Path | None,
    architecture: str,
    run_folder: Path,
    settings: Yolo,
    seed: int,
    device: Device,
    threads: int,
    progress: Callable[[str], None],
) -> Tuned:
    """Train a YOLO on a data set of ``yolo_labels.write_data_set``.

    weights: checkpoint to start from (its own architecture then counts; a head for another number of classes is
    replaced), or None to train `architecture` from scratch: a name ultralytics knows (yolo11n.yaml), our
    ``yolo-nano.yaml``, or a path. threads: of the CPU; on a GPU, of the loader.

    Leaves ``weights/last.pt`` and ``weights/best.pt`` (best mAP50-95 on validation) in run_folder; ``settings.keep``
    says which one counts. The history has the columns epoch, step, seconds, learning_rate, train_loss, validation_loss
    (both box + class + distance), their parts, validation_map50, validation_map50_95, validation_precision and
    validation_recall.

    Raises InputError for unusable weights, architecture or data, where the batch does not fit into memory, and for a
    loss that is not finite, saying where.
    """
    if weights is None:
        model = _architecture(architecture)
    else:
        _load(weights)
        model = str(weights)
    if not data_yaml.is_file():
        raise InputError(f"{data_yaml}: no such file; the rule that writes the YOLO data set has to run first")
    _forget_label_caches(data_yaml.parent)
    watch = _Watch(settings, progress)
    began = time.perf_counter()
    files = {"model": model, "data": str(data_yaml.resolve()), "pretrained": weights is not None}
    places = {"project": str(run_folder.resolve().parent), "name": run_folder.name, "exist_ok": True}
    trainer = _Trainer(overrides=files | places | _overrides(settings, weights, seed, device, threads))
    trainer.add_callback("on_pretrain_routine_end", lambda _: torch.set_num_threads(threads))
    for event in ("on_train_start", "on_train_batch_end", "on_train_epoch_end", "on_fit_epoch_end"):
        trainer.add_callback(event, getattr(watch, event))
    trainer.transfer_from = weights
    trainer.progress = progress
    trainer.cpu_bfloat16 = device.bfloat16 and device.torch.type == "cpu"
    try:
        trainer.train()
    finally:
        _forget_label_caches(data_yaml.parent)
    parameters = list(trainer.model.parameters())
    images = len(trainer.train_loader.dataset)
    facts = {
        "seed": seed,
        "training_images": images,
        "validation_images": len(trainer.test_loader.dataset),
        "epochs": settings.epochs,
        "steps": watch.step,
        "kept_epoch": watch.best_epoch if settings.keep == "best" else settings.epochs,
        "seconds": round(time.perf_counter() - began, 2),
        "images_per_second": round(images * settings.epochs / watch.rows[-1]["seconds"], 1),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "transferred_tensors": trainer.transferred,
        "tensors": len(trainer.model.state_dict()),
        "weights": "" if weights is None else weights.name,
        "architecture": architecture if weights is None else Path(trainer.model.yaml.get("yaml_file", "")).name,
        "settings": settings.model_dump(),
        **device.facts(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
    }
    return Tuned(trainer.best if settings.keep == "best" else trainer.last, watch.history, facts)


def predict(
    *,
    weights: Path,
    names: Sequence[str],
    pixels: Callable[[Sequence[str]], np.ndarray],
    image_size: int,
    device: Device,
    progress: Callable[[str], None],
    confidence: float = 0.001,
    max_boxes: int = 100,
    batch: int = 16,
) -> pd.DataFrame:
    """Detect boxes on images with a YOLO checkpoint, off the shelf or tuned.

    names: image names; pixels: names → (N, S, S) uint8. image_size: side in pixels at which the network reads them.
    Boxes below `confidence` are left out, at most `max_boxes` an image are kept. Returns the detection predictions:
    image, label (the checkpoint's own class names), confidence in [0, 1], x0, y0, x1, y1 in the 1024 frame; images in
    the order given, boxes by falling confidence.

    Raises InputError if the file is no YOLO detector.
    """
    model = _load(weights).fuse(verbose=False).to(device.torch)
    classes = model.names
    found = []
    began = time.perf_counter()
    for start in range(0, len(names), batch):
        part = list(names[start : start + batch])
        grey = torch.from_numpy(np.ascontiguousarray(pixels(part))).to(device.torch)[:, None].float() / 255
        if grey.shape[-1] != image_size:
            grey = torch.nn.functional.interpolate(
                grey, size=(image_size, image_size), mode="bilinear", align_corners=False
            )
        with torch.inference_mode():
            detections = non_max_suppression(
                model(grey.expand(-1, 3, -1, -1)),
                conf_thres=confidence,
                iou_thres=OVERLAP,
                max_det=max_boxes,
                nc=len(classes),
                end2end=getattr(model, "end2end", False),
                max_time_img=float("inf"),  # by default a slow machine silently loses boxes
            )
        for name, rows in zip(part, detections, strict=True):
            for x0, y0, x1, y1, score, index, *_ in rows.cpu().double().tolist():
                corners = (min(max(corner * FRAME / image_size, 0.0), FRAME) for corner in (x0, y0, x1, y1))
                found.append((name, classes[int(index)], score, *corners))
    seconds = time.perf_counter() - began
    progress(f"{len(names)} images, {len(found)} boxes, {len(names) / seconds:.1f} images/s")
    table = pd.DataFrame(found, columns=COLUMNS)
    order = pd.Series({name: position for position, name in enumerate(names)})
    table["position"] = table["image"].map(order).astype(int)
    table = table.sort_values(
        ["position", "confidence", "label", "x0", "y0", "x1", "y1"], ascending=[True, False, *[True] * 5]
    )
    return table[COLUMNS].reset_index(drop=True)


class _Trainer(DetectionTrainer):
    """ultralytics' trainer, less its final validation, plus checks of what it would pass over."""

    transfer_from: Path | None
    transferred = 0
    progress: Callable[[str], None]
    cpu_bfloat16: bool

    def get_model(
        self, cfg: Any = None, weights: torch.nn.Module | None = None, verbose: bool = True
    ) -> DetectionModel:
        model = super().get_model(cfg, None, verbose=False)
        model.to(memory_format=torch.channels_last)  # ultralytics does so on CUDA alone; on CPUs it is 1.3 times faster
        if weights is not None:
            model.load(weights, verbose=False)
            self.transferred = len(intersect_dicts(weights.float().state_dict(), model.state_dict()))
            self.progress(
                f"{self.transferred} of {len(model.state_dict())} tensors transferred from {self.transfer_from}"
            )
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # progress bars
            dataset = super().build_dataset(img_path, mode, batch)
        there = {str(path) for path in Path(img_path).glob("*.png")}
        unreadable = sorted(there - set(dataset.im_files))
        if unreadable:
            raise InputError(
                f"{unreadable[0]}: the image or its label file is damaged ({len(unreadable)} such in {img_path}); "
                "delete the YOLO data set and run its rule again"
            )
        return dataset

    def preprocess_batch(self, batch: dict) -> dict:
        if self.cpu_bfloat16:
            # ultralytics knows bfloat16 on GPUs only. This runs inside its idle autocast context, whose end undoes it.
            torch.set_autocast_dtype("cpu", torch.bfloat16)
            torch.set_autocast_enabled("cpu", True)
        return super().preprocess_batch(batch)

    def final_eval(self) -> None:
        for path in (self.last, self.best):
            strip_optimizer(path)


class _Watch:
    """Callbacks of a training run: checks, progress and history."""

    def __init__(self, settings: Yolo, progress: Callable[[str], None]) -> None:
        self.settings, self.progress = settings, progress
        self.rows: list[dict[str, float]] = []
        self.step = self.best_epoch = 0
        self.began = self.said = time.perf_counter()

    @property
    def history(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def on_train_start(self, trainer: DetectionTrainer) -> None:
        self.began = self.said = time.perf_counter()
        count = len(trainer.train_loader.dataset)
        self.progress(f"{count} training images, {len(trainer.train_loader)} steps an epoch, {trainer.epochs} epochs")

    def on_train_batch_end(self, trainer: DetectionTrainer) -> None:
        self.step += 1
        if not torch.isfinite(trainer.loss):
            raise InputError(
                f"the loss was not finite in step {self.step} (epoch {trainer.epoch + 1}); lower yolo.learning_rate, "
                "or set machine.precision to float32"
            )
        if time.perf_counter() - self.said > 30:
            self._say(trainer, "")

    def on_train_epoch_end(self, trainer: DetectionTrainer) -> None:
        if trainer.batch_size != self.settings.batch:
            raise InputError(
                f"yolo.batch = {self.settings.batch} images of yolo.image_size = {self.settings.image_size} pixels do "
                f"not fit into the memory of {trainer.device}; lower one of them"
            )

    def on_fit_epoch_end(self, trainer: DetectionTrainer) -> None:
        train = {f"train_{name.removesuffix('_loss')}_loss": float(value) for name, value in trainer.tloss.items()}
        validation = {
            f"validation_{name.removeprefix('val/').removesuffix('_loss')}_loss": float(value)
            for name, value in trainer.metrics.items()
            if name.startswith("val/")
        }
        scores = {
            name.split("/")[1].removesuffix("(B)"): float(value)
            for name, value in trainer.metrics.items()
            if "(B)" in name
        }
        self.rows.append(
            {
                "epoch": trainer.epoch + 1,
                "step": self.step,
                "seconds": time.perf_counter() - self.began,
                "learning_rate": max(group["lr"] for group in trainer.optimizer.param_groups),
                "train_loss": sum(train.values()),
                "validation_loss": sum(validation.values()),
                "validation_map50": scores["mAP50"],
                "validation_map50_95": scores["mAP50-95"],
                "validation_precision": scores["precision"],
                "validation_recall": scores["recall"],
                **train,
                **validation,
            }
        )
        row = self.rows[-1]
        if trainer.fitness == trainer.best_fitness:  # what ultralytics writes best.pt by
            self.best_epoch = row["epoch"]
        self._say(trainer, f", validation loss {row['validation_loss']:.3f}, mAP50 {row['validation_map50']:.3f}")

    def _say(self, trainer: DetectionTrainer, more: str) -> None:
        self.said = time.perf_counter()
        elapsed = self.said - self.began
        steps = len(trainer.train_loader) * trainer.epochs
        rate = self.step * self.settings.batch / elapsed
        loss = sum(float(value) for value in trainer.tloss.values())
        self.progress(
            f"epoch {trainer.epoch + 1}/{trainer.epochs} step {self.step}/{steps}: loss {loss:.3f}{more}, "
            f"{rate:.1f} images/s, {elapsed / self.step * (steps - self.step):.0f} s left"
        )


def _overrides(settings: Yolo, weights: Path | None, seed: int, device: Device, threads: int) -> dict[str, Any]:
    """Everything that makes a run what it is, in ultralytics' words, whatever its defaults are."""
    on_cpu = device.torch.type == "cpu"
    adam = settings.optimizer != "SGD"
    return {
        "task": "detect",
        "mode": "train",
        "cls_remap": False,
        "resume": False,
        "epochs": settings.epochs,
        "time": None,
        "patience": 0,
        "batch": settings.batch,
        "nbs": settings.batch,  # one optimiser step a batch; by default gradients gather up to 64 images
        "imgsz": settings.image_size,
        "multi_scale": 0.0,
        "rect": False,
        "fraction": 1.0,
        "single_cls": False,
        "classes": None,
        "cache": "ram",
        "workers": 0 if on_cpu else max(1, min(8, threads)),
        "device": str(device.torch),
        "amp": "bf16" if device.bfloat16 and not on_cpu else False,  # True would fetch a model to test with
        "compile": False,
        "deterministic": True,
        "seed": seed,
        "optimizer": settings.optimizer,
        "lr0": settings.learning_rate,
        "lrf": 0.01,
        "cos_lr": True,
        "momentum": 0.9 if adam else 0.937,
        "weight_decay": 0.0005,
        "warmup_epochs": min(3.0, settings.epochs / 10),
        "warmup_momentum": 0.8,
        "warmup_bias_lr": 0.0 if adam else 0.1,  # Adam's steps do not scale with the gradient
        "freeze": settings.freeze if weights is not None and settings.freeze else None,
        "dropout": 0.0,
        "box": 7.5,
        "cls": 0.5,
        "cls_pw": 0.0,
        "dfl": 1.5,
        "mosaic": settings.mosaic,
        "close_mosaic": min(10, settings.epochs // 4) if settings.mosaic else 0,
        "fliplr": settings.horizontal_flip,
        "flipud": settings.vertical_flip,
        "degrees": settings.rotation,
        "translate": settings.shift,
        "scale": settings.zoom,
        "shear": 0.0,
        "perspective": 0.0,
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        "hsv_v": 0.2,  # brightness; the images are grey
        "bgr": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "copy_paste": 0.0,
        "auto_augment": None,
        "erasing": 0.0,
        "val": True,
        "split": "val",
        "conf": 0.001,
        "iou": OVERLAP,
        "max_det": 100,
        "save": True,
        "save_period": -1,
        "save_json": False,
        "plots": False,
        "profile": False,
        "verbose": False,
    }


def _architecture(name: str) -> str:
    own = OWN_ARCHITECTURES / name
    path = str(own) if own.is_file() else name
    try:
        if "://" in name:
            raise FileNotFoundError  # an address would be fetched
        task = guess_model_task(yaml_model_load(path))
    except (FileNotFoundError, AssertionError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"yolo.architecture = '{name}': neither a name ultralytics knows (yolo11n.yaml, …), nor yolo-nano.yaml, "
            f"nor the path of such a file ({type(error).__name__})"
        ) from None
    if task != "detect":
        raise InputError(f"yolo.architecture = '{name}' is made for the task '{task}', not for detecting boxes")
    return path


def _load(path: Path) -> DetectionModel:
    """Load a checkpoint as a float32 model; raises InputError unless it is an ultralytics detector."""
    expected = "expected a YOLO detection checkpoint of ultralytics (a .pt file such as yolo11n.pt, trained for boxes)"
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; {expected}")
    try:
        model, _ = load_checkpoint(path)
    except Exception as error:  # whatever a foreign pickle makes it trip over
        reason = str(error).strip().splitlines() or [""]
        raise InputError(f"{path}: not usable ({type(error).__name__}: {reason[0]}); {expected}") from None
    task = guess_model_task(getattr(model, "yaml", model))  # what it says of itself may be a default
    if not isinstance(model, DetectionModel) or task != "detect":
        raise InputError(f"{path}: holds a model for the task '{task}'; {expected}")
    return model


def _forget_label_caches(folder: Path) -> None:
    """ultralytics keeps labels beside the data and takes them for valid as long as names and sizes of files agree."""
    for path in (folder / "labels").glob("*.cache"):
        path.unlink()
