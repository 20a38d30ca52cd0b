"""YOLO by ultralytics: off the shelf and fine-tuned. The only module that imports it.

Everything ultralytics would do on its own is switched off: it uses no network (update check, fonts, AMP test model, usage
statistics, experiment trackers), writes nothing into the home folder, installs nothing, and runs no code from a weights
file or a ``data.yaml``. Functions that could still do so are replaced (``FENCED``), and this module, not a file, describes
the data set to it. Every training setting that changes a result is stated here; ``optimizer=auto``, for example, would
ignore the learning rate.
"""

import contextlib
import io
import math
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cxr.boxes import CORNERS, FRAME, PREDICTION_COLUMNS, VISIBLE
from cxr.detectors.yolo.labels import DataSet
from cxr.errors import InputError
from cxr.settings import Yolo
from cxr.training.batches import batches_of_one_size
from cxr.training.runs import Run

# ultralytics reads these from the environment on import, before code can change them. Its settings file goes to a folder
# of this process only, so neither the user's settings nor parallel jobs affect a run.
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
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, guess_model_task, load_checkpoint, yaml_model_load  # noqa: E402
from ultralytics.utils import LOGGER, SETTINGS  # noqa: E402
from ultralytics.utils.nms import non_max_suppression  # noqa: E402
from ultralytics.utils.torch_utils import intersect_dicts, strip_optimizer  # noqa: E402

if _threads is None:
    os.environ.pop("OMP_NUM_THREADS", None)  # ultralytics set it to 1 for the whole process
LOGGER.setLevel("WARNING")
LOGGER.addFilter(lambda record: "cache='ram'" not in record.getMessage())  # warns of chance; a test shows none
SETTINGS.update(dict.fromkeys(("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"), False))
tasks.SAFE_LOAD = True  # somebody imported ultralytics earlier, with another environment

# Functions that use the network, install packages, start processes or run code they are given, by module.
FENCED = {
    "ultralytics.utils.downloads": (
        "download", "get_github_assets", "get_google_drive_file_info", "is_url", "safe_download",
    ),
    "ultralytics.utils.uploads": ("safe_upload",),
    "ultralytics.utils.events": ("_post",),
    "ultralytics.utils.dist": ("generate_ddp_command",),
    "ultralytics.utils.checks": (
        "check_amp", "check_apt_requirements", "check_font", "check_latest_pypi_version", "check_pip_update_available",
        "check_requirements", "resolve_platform_uri",
    ),
    "ultralytics.data.utils": (  # they read a data.yaml and run what it gives as `download`
        "check_cls_dataset", "check_det_dataset", "convert_ndjson_to_yolo_if_needed",
    ),
}  # fmt: skip


def _fence() -> None:
    """Replace the functions that ultralytics must not call, in every module of it that imported them."""
    for name, functions in FENCED.items():
        for function in functions:
            _replace(name, function, _refusing(f"{name}.{function}"))
    _replace("ultralytics.utils.downloads", "attempt_download_asset", _file_as_it_is)
    _replace("ultralytics.data.utils", "load_dataset_cache_file", _no_label_cache)
    _replace("ultralytics.data.utils", "save_dataset_cache_file", _save_no_label_cache)
    _replace("ultralytics.utils.callbacks.base", "add_integration_callbacks", lambda instance: None)
    import_module("ultralytics.nn.modules.block").TorchVision.__init__ = _refusing("a layer TorchVision")  # its weights


def _replace(module: str, name: str, by: Callable[..., Any]) -> None:
    original = getattr(import_module(module), name)
    for each in [found for key, found in sys.modules.items() if key.partition(".")[0] == "ultralytics"]:
        for attribute, value in list(vars(each).items()):
            if value is original:
                setattr(each, attribute, by)


def _refusing(what: str) -> Callable[..., Any]:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise InputError(
            f"ultralytics tried to use {what}, which could fetch something from a network, install a package or run code "
            "from a file; no job may do that. Set yolo.pretrained to a weights file and yolo.architecture to an "
            "architecture that need nothing else"
        )

    return refuse


def _file_as_it_is(file: str | Path, *arguments: Any, **options: Any) -> str:
    """Return the path of a weights file; ultralytics itself would try other names and then the internet."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such weights file")
    return str(file)


def _no_label_cache(path: Path) -> None:
    """Refuse ultralytics' label cache: a pickle, trusted as long as names, sizes and times of the files agree."""
    raise FileNotFoundError(f"{path}: caches of labels are neither written nor read")


def _save_no_label_cache(prefix: str, path: Path, content: dict[str, Any], version: str) -> None:
    content["version"] = version  # all that callers expect of it


_fence()

OWN_ARCHITECTURES = Path(__file__).parent
OVERLAP = 0.7  # boxes of a class with a higher IoU are one detection
OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "unable to find an engine")


@dataclass(frozen=True)
class Tuned:
    """A finished training run: its weights file, the history (one row per epoch) and the run facts."""

    weights: Path
    history: pd.DataFrame
    facts: dict[str, Any]


def fine_tune(
    *,
    data: DataSet,
    weights: Path | None,
    architecture: str,
    run_folder: Path,
    settings: Yolo,
    run: Run,
) -> Tuned:
    """Train a YOLO on a data set that matches its manifest (``labels.mend``).

    data: has the roles train and validation; its ``data.yaml`` is not read. weights: checkpoint to start from (its own
    architecture then counts; a head for another number of classes is replaced), or None to train `architecture` from
    scratch: a name ultralytics knows (yolo11n.yaml), our ``yolo-nano.yaml``, or a path. run.threads: of the CPU; on a GPU,
    of the loader. run.keeper: keeps the state of an unfinished training, between any two steps. A training resumed from it
    ends with the weights and the history (except the seconds) of an uninterrupted one: on a CPU, bit for bit.

    Leaves ``weights/last.pt`` and ``weights/best.pt`` (best mAP50-95 on validation) in run_folder; ``settings.keep``
    says which one counts. The history has the columns epoch, step, seconds, learning_rate, train_loss, validation_loss
    (both box + class + distance), their parts, validation_map50, validation_map50_95, validation_precision,
    validation_recall and validation_images_with_prediction (share of images with a box of confidence ``VISIBLE`` or more).

    Raises InputError for unusable weights, architecture or data, a batch that does not fit into memory, and a loss that
    is not finite, saying where; Interrupted when asked to stop.
    """
    if weights is None:
        model = _architecture(architecture)
    else:
        _load(weights)
        model = str(weights)
    saved = run.keeper.load()
    shutil.rmtree(run_folder / "weights", ignore_errors=True)  # leftovers of an earlier attempt
    files = {"model": model, "data": str(data.folder.resolve() / "data.yaml"), "pretrained": weights is not None}
    places = {"project": str(run_folder.resolve().parent), "name": run_folder.name, "exist_ok": True}
    trainer = _Trainer(
        files | places | _overrides(settings, weights, run),
        images=data,
        transfer_from=weights,
        run=run,
        saved=saved,
    )
    try:
        with run.keeper.listening():
            trainer.train()
    except RuntimeError as error:
        if not any(sign in str(error) for sign in OUT_OF_MEMORY):
            raise
        raise InputError(
            f"yolo.batch = {settings.batch} images of yolo.image_size = {settings.image_size} pixels do not fit into "
            f"the memory of {run.device.torch}; lower one of them"
        ) from None
    parameters = list(trainer.model.parameters())
    images = len(trainer.train_loader.dataset)
    facts = {
        "seed": run.seed,
        "training_images": images,
        "validation_images": len(trainer.test_loader.dataset),
        "epochs": settings.epochs,
        "steps": trainer.steps_done,
        "kept_epoch": trainer.foremost["epoch"] if settings.keep == "best" else settings.epochs,
        "seconds": round(trainer.seconds(), 2),
        "images_per_second": round(images * settings.epochs / trainer.rows[-1]["seconds"], 1),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "transferred_tensors": trainer.transferred,
        "tensors": len(trainer.model.state_dict()),
        "weights": "" if weights is None else weights.name,
        "architecture": architecture if weights is None else Path(trainer.model.yaml.get("yaml_file", "")).name,
        "settings": settings.received(),
        **run.device.facts(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
    }
    return Tuned(trainer.best if settings.keep == "best" else trainer.last, pd.DataFrame(trainer.rows), facts)


def predict(
    *,
    weights: Path,
    names: Sequence[str],
    pixels: Callable[[Sequence[str]], np.ndarray],
    image_size: int,
    run: Run,
    confidence: float = 0.001,
    max_boxes: int = 100,
    batch: int = 16,
) -> pd.DataFrame:
    """Detect boxes on images with a YOLO checkpoint, off the shelf or tuned.

    names: image names; pixels: names → (N, S, S) uint8. image_size: side in pixels at which the network reads them.
    Boxes below `confidence` are left out; at most `max_boxes` per image are kept. Returns the detection predictions:
    image, label (the checkpoint's own class names), confidence in [0, 1], x0, y0, x1, y1 in the 1024 frame; images in
    the order given, boxes by falling confidence. Runs in float32; the boxes of an image do not depend on the other images.

    Raises InputError if the file is not a YOLO detector.
    """
    model = _load(weights).fuse(verbose=False).to(run.device.torch)
    classes = model.names
    found = []
    began = time.perf_counter()
    for part, count in batches_of_one_size(names, batch):
        grey = torch.from_numpy(np.ascontiguousarray(pixels(part))).to(run.device.torch)[:, None].float() / 255
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
                max_time_img=float("inf"),  # the default silently drops boxes on a slow machine
            )
        for name, rows in zip(part[:count], detections[:count], strict=True):
            for x0, y0, x1, y1, score, index, *_ in rows.cpu().double().tolist():
                corners = (min(max(corner * FRAME / image_size, 0.0), FRAME) for corner in (x0, y0, x1, y1))
                found.append((name, classes[int(index)], score, *corners))
    seconds = time.perf_counter() - began
    run.tell(f"{len(names)} images, {len(found)} boxes, {len(names) / seconds:.1f} images/s")
    table = pd.DataFrame(found, columns=PREDICTION_COLUMNS)
    order = pd.Series({name: position for position, name in enumerate(names)})
    table["position"] = table["image"].map(order).astype(int)
    table = table.sort_values(["position", "confidence", "label", *CORNERS], ascending=[True, False, *[True] * 5])
    return table[PREDICTION_COLUMNS].reset_index(drop=True)


class _Trainer(DetectionTrainer):
    """ultralytics' trainer with a loop that can stop and resume between any two steps.

    The loop takes the same steps as ultralytics' own (a test compares them, bit for bit). It omits what ``_overrides``
    switches off and what would make a run depend on chance or its past: smaller batches when memory is short, a return to
    the last checkpoint after a loss that is not finite. Weights are written once, at the end.

    Learning rate and momentum depend only on the step; order and augmentation of the images on seed, epoch and image
    (``_order``, ``_Views``). `state` returns everything that changes from step to step.
    """

    def __init__(
        self,
        overrides: dict[str, Any],
        *,
        images: DataSet,
        transfer_from: Path | None,
        run: Run,
        saved: dict[str, Any] | None,
    ) -> None:
        self.images = images
        super().__init__(overrides=overrides)
        self.transfer_from, self.arithmetic, self.threads = transfer_from, run.device, run.threads
        self.progress, self.keeper, self.saved = run.tell, run.keeper, saved
        self.transferred = 0
        self.steps_done = 0
        self.rows: list[dict[str, float]] = []  # the history: one row per epoch, added after its validation
        self.foremost: dict[str, Any] = {}  # epoch, metrics and weights of the best epoch
        self.elapsed = 0.0  # seconds of earlier attempts
        self.began = self.told = time.perf_counter()

    def get_dataset(self) -> dict[str, Any]:
        """Describe the data set; ultralytics itself would read ``data.yaml`` and do what it says."""
        folder, findings = self.images.folder.resolve(), self.images.findings
        roles = {"train": str(folder / "images/train"), "val": str(folder / "images/validation")}
        return {**roles, "path": folder, "names": dict(enumerate(findings)), "nc": len(findings), "channels": 3}

    def get_model(
        self, cfg: Any = None, weights: torch.nn.Module | None = None, verbose: bool = True
    ) -> DetectionModel:
        model = super().get_model(cfg, None, verbose=False)
        model.to(memory_format=torch.channels_last)  # ultralytics does so on CUDA alone; on CPUs it is 1.3 times faster
        if self.args.freeze and self.args.freeze < 0:
            self.args.freeze += len(model.model)  # counted from the end
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
        expected = {str(Path(img_path) / path.name) for path in self.images.pictures(Path(img_path).name)}
        wrong = sorted(expected ^ set(dataset.im_files))
        if wrong:
            raise InputError(
                f"{wrong[0]}: the image or its label file is missing, damaged or not in the data set's manifest ({len(wrong)} "
                f"such in {img_path}); run the same command again: it checks all of them"
            )
        return dataset

    def get_validator(self) -> "_Validator":
        return _Validator(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)

    def seconds(self) -> float:
        return self.elapsed + time.perf_counter() - self.began

    def state(self) -> dict[str, Any]:
        return {
            "steps_done": self.steps_done,
            "model": self.model.state_dict(),
            "ema": self.ema.ema.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "losses": self.tloss,
            "rows": self.rows,
            "metrics": self.metrics,
            "fitness": self.fitness,
            "foremost": self.foremost,
            "seconds": self.seconds(),
        }

    def _do_train(self) -> None:
        self._setup_train()
        torch.set_num_threads(self.threads)
        self.began = self.told = time.perf_counter()
        steps = len(self.train_loader)
        self.progress(f"{len(self.train_loader.dataset)} training images, {steps} steps an epoch, {self.epochs} epochs")
        self.model.criterion = self.model.init_criterion()
        self._resume()
        with self._batches() as batches:
            while len(self.rows) < self.epochs:
                self.epoch = len(self.rows)
                self._model_train()
                while self.steps_done < (self.epoch + 1) * steps:
                    self._step(next(batches))
                    self._keep_state()
                self._end_epoch()
                self._keep_state()
        self._write_weights()

    def _resume(self) -> None:
        if self.saved is None:
            return
        saved, self.saved = self.saved, None
        fresh = deepcopy(self.state())
        try:
            self._take_up(saved)
        except Exception as error:  # it belongs to this run and is complete, yet does not fit
            self._take_up(fresh)
            self.keeper.refuse(error)
            return
        self.loss = torch.zeros(())  # `validate` reads it, although a detector is judged by scores
        for _ in self.rows:
            self._age_criterion()
        self.progress(
            f"going on after step {self.steps_done} of {len(self.train_loader) * self.epochs}, from the state of an "
            "earlier attempt"
        )

    def _take_up(self, saved: dict[str, Any]) -> None:
        """Restore what `state` returned; after an exception only part of it may be restored."""
        self.model.load_state_dict(saved["model"])
        self.ema.ema.load_state_dict(saved["ema"])
        self.ema.updates = saved["ema_updates"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.steps_done, self.rows, self.foremost = saved["steps_done"], saved["rows"], saved["foremost"]
        self.metrics, self.fitness, self.best_fitness = saved["metrics"], saved["fitness"], self.foremost.get("fitness")
        self.elapsed = saved["seconds"]
        if (
            saved["losses"] is not None
        ):  # last: nothing after it can fail, and a fresh start has no states to replace them with
            self.loss_items = self.tloss = {name: loss.to(self.device) for name, loss in saved["losses"].items()}

    def _keep_state(self) -> None:
        if self.keeper.due():
            self.keeper.save(self.state())

    @contextlib.contextmanager
    def _batches(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Yield an iterator over the remaining batches, up to the end of the last epoch."""
        plan = self.train_loader
        closing = self.epochs - self.args.close_mosaic
        loader = torch.utils.data.DataLoader(
            _Views(plan.dataset, self.args, closing),
            batch_sampler=_order(self.args.seed, len(plan.dataset), plan.batch_size, self.epochs, self.steps_done),
            num_workers=plan.num_workers,
            prefetch_factor=plan.prefetch_factor,
            pin_memory=plan.pin_memory,
            collate_fn=plan.collate_fn,
            worker_init_fn=_ignore_sigterm,
        )
        self.test_loader.worker_init_fn = _ignore_sigterm
        batches = iter(loader)
        try:
            yield batches
        finally:  # the workers ignore SIGTERM and must be ended explicitly
            if loader.num_workers:
                batches._shutdown_workers()
            self.test_loader.close()

    def _step(self, batch: dict[str, Any]) -> None:
        _seed(self.args.seed, self.steps_done)  # so that random layers (none here) draw the same again
        number = self.steps_done - self.epoch * len(self.train_loader)
        self._set_rates()
        with self.arithmetic.autocast():
            loss, self.loss_items = self.model(self.preprocess_batch(batch))
            self.loss = loss.sum()
        self.loss.backward()
        self.optimizer_step()
        self.steps_done += 1
        if not torch.isfinite(self.loss):
            raise InputError(
                f"the loss was not finite in step {self.steps_done} (epoch {self.epoch + 1}); lower "
                "yolo.learning_rate, or set machine.precision to float32"
            )
        self.tloss = {
            name: (self.tloss[name] * number + loss) / (number + 1) if number else loss
            for name, loss in self.loss_items.items()
        }
        if time.perf_counter() - self.told > 30:
            self._say("")

    def _set_rates(self) -> None:
        """Set learning rate and momentum: cosine from epoch to epoch, rising (biases' rate: falling) at the start."""
        warm_up = self._get_warmup_iterations(len(self.train_loader))

        def rise(start: float, end: float) -> float:
            return float(np.interp(self.steps_done, [0, warm_up], [start, end])) if warm_up else end

        for group in self.optimizer.param_groups:
            start = self.args.warmup_bias_lr if group["param_group"] == "bias" else 0.0
            group["lr"] = rise(start, group["initial_lr"] * self.lf(self.epoch))
            if "momentum" in group:
                group["momentum"] = rise(self.args.warmup_momentum, self.args.momentum)

    def _age_criterion(self) -> None:
        if hasattr(self.model.criterion, "update"):  # some losses change their weights every epoch
            self.model.criterion.update()

    def _end_epoch(self) -> None:
        self._age_criterion()
        self._clear_memory(0.5)
        self.metrics, self.fitness = self.validate()
        if self.fitness == self.best_fitness:
            self.foremost = {
                "epoch": self.epoch + 1,
                "fitness": self.fitness,
                "metrics": self.metrics,
                "ema": self._weights(),
            }
        train = {f"train_{name.removesuffix('_loss')}_loss": float(value) for name, value in self.tloss.items()}
        validation = {
            f"validation_{name.removeprefix('val/').removesuffix('_loss')}_loss": float(value)
            for name, value in self.metrics.items()
            if name.startswith("val/")
        }
        scores = {
            name.split("/")[1].removesuffix("(B)"): float(value)
            for name, value in self.metrics.items()
            if "(B)" in name
        }
        row = {
            "epoch": self.epoch + 1,
            "step": self.steps_done,
            "seconds": self.seconds(),
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            "train_loss": sum(train.values()),
            "validation_loss": sum(validation.values()),
            "validation_map50": scores["mAP50"],
            "validation_map50_95": scores["mAP50-95"],
            "validation_precision": scores["precision"],
            "validation_recall": scores["recall"],
            "validation_images_with_prediction": self.validator.shown / len(self.test_loader.dataset),
            **train,
            **validation,
        }
        self.rows.append(row)
        self._say(f", validation loss {row['validation_loss']:.3f}, mAP50 {row['validation_map50']:.3f}")

    def _write_weights(self) -> None:
        """Write ultralytics' checkpoints of the best and of the last epoch."""
        self.best_fitness = math.nan  # makes save_model write best.pt along with last.pt
        last = {"epoch": self.epochs, "fitness": self.fitness, "metrics": self.metrics, "ema": self._weights()}
        for path, epoch in ((self.best, self.foremost), (self.last, last)):
            self.ema.ema.load_state_dict(epoch["ema"])
            self.epoch, self.metrics, self.fitness = epoch["epoch"] - 1, epoch["metrics"], epoch["fitness"]
            self.save_model()
            strip_optimizer(self.last)
            self.last.replace(path)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.ema.ema.state_dict().items()}

    def _say(self, more: str) -> None:
        self.told = time.perf_counter()
        seconds = self.seconds()
        steps = len(self.train_loader) * self.epochs
        rate = self.steps_done * self.batch_size / seconds
        loss = sum(float(value) for value in self.tloss.values())
        self.progress(
            f"epoch {self.epoch + 1}/{self.epochs} step {self.steps_done}/{steps}: loss {loss:.3f}{more}, "
            f"{rate:.1f} images/s, {seconds / self.steps_done * (steps - self.steps_done):.0f} s left"
        )


class _Validator(DetectionValidator):
    """ultralytics' validator, which also counts the images with a box of confidence ``VISIBLE`` or more: `shown`."""

    def init_metrics(self, model: torch.nn.Module) -> None:
        super().init_metrics(model)
        self.shown = 0

    def update_metrics(self, preds: list[dict[str, torch.Tensor]], batch: dict[str, Any]) -> None:
        self.shown += sum(bool((each["conf"] >= VISIBLE).any()) for each in preds)
        super().update_metrics(preds, batch)


class _Views(torch.utils.data.Dataset):
    """Training images by (epoch, index): the augmentation is the same in every process and attempt.

    There is no mosaic from epoch `closing` on.
    """

    def __init__(self, images: Any, arguments: Any, closing: int) -> None:
        self.images, self.arguments, self.closing = images, arguments, closing
        self.closed = False
        for transform in _parts(images.transforms):
            if hasattr(transform, "buffer_enabled"):  # when memory is short, mosaics would use recently drawn images
                transform.buffer_enabled = False

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        if epoch >= self.closing and not self.closed:
            self.images.close_mosaic(copy(self.arguments))
            self.closed = True
        _seed(self.arguments.seed, epoch, index)
        return self.images[index]


def _order(seed: int, images: int, batch: int, epochs: int, done: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the keys of each batch after the first `done`: each epoch has all images, in its own order."""
    steps = math.ceil(images / batch)
    for epoch in range(done // steps, epochs):
        order = np.random.default_rng((seed, epoch)).permutation(images).tolist()
        for step in range(max(0, done - epoch * steps), steps):
            yield [(epoch, index) for index in order[step * batch : (step + 1) * batch]]


def _seed(*key: int) -> None:
    number = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def _parts(transform: Any) -> Iterator[Any]:
    yield transform
    for part in getattr(transform, "transforms", ()):
        yield from _parts(part)


def _ignore_sigterm(worker: int) -> None:
    """Let the loader's processes run until the state is saved: a cluster sends SIGTERM to all processes of a job."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _overrides(settings: Yolo, weights: Path | None, run: Run) -> dict[str, Any]:
    """Return every setting that affects a run, by ultralytics' names, independent of its defaults."""
    on_cpu = run.device.torch.type == "cpu"
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
        "nbs": settings.batch,  # one optimiser step per batch; the default accumulates gradients over up to 64 images
        "imgsz": settings.image_size,
        "multi_scale": 0.0,
        "rect": False,
        "fraction": 1.0,
        "single_cls": False,
        "classes": None,
        "cache": "ram",
        "workers": 0 if on_cpu else max(1, min(8, run.threads)),
        "device": str(run.device.torch),
        "amp": "bf16" if run.device.bfloat16 and not on_cpu else False,  # True would download a test model
        "compile": False,
        "deterministic": True,
        "seed": run.seed,
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
            raise FileNotFoundError  # ultralytics would download an address
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
    if not tasks._SafeLoad.SUPPORTED:
        raise InputError(
            f"PyTorch {torch.__version__} runs code that a weights file holds; install the version in requirements.lock"
        )
    try:
        model, _ = load_checkpoint(path)
    except Exception as error:  # a foreign pickle can raise anything
        reason = str(error).strip().splitlines() or [""]
        raise InputError(f"{path}: not usable ({type(error).__name__}: {reason[0]}); {expected}") from None
    task = guess_model_task(getattr(model, "yaml", model))  # its own record may be a default
    if not isinstance(model, DetectionModel) or task != "detect":
        raise InputError(f"{path}: holds a model for the task '{task}'; {expected}")
    return model
