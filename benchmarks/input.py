"""Reading training images: our cache beside torchvision and torchxrayvision decoding PNG files; the input cost of a step.

    PYTHONPATH=workflow python benchmarks/input.py [--images 128] [--data FOLDER] [--pairs 8] [--block 1]

Same images, 224 px, batches of 32, two cores: ours in the training process, theirs in a DataLoader with two persistent
workers, started before the clock. All files are in the page cache; a disk would slow both down, theirs more because they
read more bytes. Then baseline training (ResNet50, the workflow's own loop): in turn a block of steps from the cache and a
block on one random batch already on the device. Install torchxrayvision from benchmarks/requirements.txt.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import lines
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from cxr.classifiers.fit import sigmoid_objective, sigmoid_scores
from cxr.classifiers.networks import Classifier
from cxr.data import image_cache, image_files, image_store
from cxr.phantoms import data_set
from cxr.settings import SOUND, Augment, Schedule
from cxr.training.batches import Stream
from cxr.training.device import Device, choose
from cxr.training.loop import Validation, fit
from cxr.training.runs import plain

SIDE, BATCH, WORKERS, ROUNDS, WARM = 224, 32, 2, 3, 1
LABELS = 15
LIMIT = 40.0  # seconds after which no further pair of blocks starts
OURS = 1.0  # seconds per round for which our faster side is measured
INSTALL = "not installed: python -m pip install --no-deps -r benchmarks/requirements.txt"


# ---- images per second


def loaders(folder: Path) -> dict[str, DataLoader | str]:
    """Return the loaders that users write, by name, or a text that says why one cannot be measured; PNG files: folder/all."""
    steps = [v2.Grayscale(), v2.Resize((SIDE, SIDE)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    sources = {
        "ImageFolder, Pillow": ImageFolder(str(folder), v2.Compose(steps)),
        "ImageFolder, decode_image": ImageFolder(
            str(folder), v2.Compose(steps[1:]), loader=partial(decode_image, mode=ImageReadMode.GRAY)
        ),
    }
    load = partial(DataLoader, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    found: dict[str, DataLoader | str] = {name: load(source) for name, source in sources.items()}
    for engine in ("skimage", "cv2"):
        try:
            found[f"NIH_Dataset, {engine}"] = load(nih_dataset(folder / "all", engine))
        except ImportError as error:
            found[f"NIH_Dataset, {engine}"] = f"{INSTALL} ({error})"
    return found


def nih_dataset(folder: Path, engine: str):
    """Return torchxrayvision's data set of all images of a folder: every view, every image of a patient."""
    import torchxrayvision as xrv

    names = sorted(path.name for path in folder.iterdir())
    rows = {"Image Index": names, "Finding Labels": "No Finding", "Patient ID": range(len(names)), "Patient Age": 50}
    table = folder.parent.parent / "xrv.csv"
    pd.DataFrame({**rows, "Patient Sex": "F", "View Position": "PA"}).to_csv(table, index=False)
    transform = v2.Compose([xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(SIDE, engine)])
    return xrv.datasets.NIH_Dataset(str(folder), str(table), transform=transform, unique_patients=False)


def images_of(batch) -> torch.Tensor:
    return batch["img"] if isinstance(batch, dict) else batch[0]


def rate_of_loader(loader: DataLoader) -> float:
    return rate(images_of(batch) for batch in loader)


def rate_of_stream(stream: Stream) -> float:
    def batches():
        began, step = time.perf_counter(), 0
        while time.perf_counter() - began < OURS:
            yield stream(step)[0]
            step += 1

    return rate(batches())


def rate(batches: Iterable[torch.Tensor]) -> float:
    began, count = time.perf_counter(), 0
    for batch in batches:
        assert batch.shape[1:] == (1, SIDE, SIDE) and batch.dtype == torch.float32
        count += len(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return count / (time.perf_counter() - began)


def compare_rates(plain_stream: Stream, augmented_stream: Stream, folder: Path, built: float, to: Path | None) -> None:
    theirs = loaders(folder)
    measures: dict[str, Callable[[], float]] = {
        "ours: cache": partial(rate_of_stream, plain_stream),
        "ours: cache, augmented": partial(rate_of_stream, augmented_stream),
        **{name: partial(rate_of_loader, loader) for name, loader in theirs.items() if not isinstance(loader, str)},
    }
    for measure in measures.values():
        measure()  # starts the workers
    rates = pd.DataFrame([{name: measure() for name, measure in measures.items()} for _ in range(ROUNDS)])
    ratios = rates.rdiv(rates["ours: cache"], axis=0).median()
    print(f"{'median of ' + str(ROUNDS) + ' rounds':30}{'images/s':>10}{'cache / this':>14}")
    for name, value in rates.median().items():
        print(f"{name:30}{value:>10.0f}{ratios[name]:>14.1f}")
    for name, why in theirs.items():
        if isinstance(why, str):
            print(f"{name:30}  {why}")
    count, medians = len(plain_stream.names), rates.median()
    for name in theirs:
        if name in medians:
            for what in ("ours: cache", "ours: cache, augmented"):
                ratio = (rates[what] / rates[name]).median()
                title = what.replace("ours: cache", "images into training")
                lines.add(to, title, "images/s", medians[what], medians[name], name, ratio)
    others = {name: count / medians[name] for name in theirs if name in medians}
    name = min(others, key=others.get)
    epochs = built / (others[name] - count / medians["ours: cache"])
    print(
        f"the cache was built once, in {built:.1f} s: it has paid after {epochs:.1f} epochs of the fastest other ({name})"
    )


# ---- training steps per second


class Enough(Exception):
    """Raised by a stream to end a training that has been measured long enough."""


class Alternating:
    """A stream of blocks of steps, in turn from the cache and from one fixed batch; stamps: start of each block."""

    def __init__(self, stream: Stream, pairs: int, block: int, device: Device):
        self.stream, self.names, self.device = stream, stream.names, device
        self.pairs, self.block = pairs, block
        draw = torch.Generator().manual_seed(0)
        shapes = (BATCH, 1, SIDE, SIDE), (BATCH, LABELS)
        self.fixed = tuple(torch.rand(shape, generator=draw).to(device.torch) for shape in shapes)
        self.stamps: list[float] = []
        self.spent, self.began = 0.0, time.perf_counter()

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        number, within = divmod(step - WARM, self.block)
        if step >= WARM and within == 0:
            if self.device.torch.type == "cuda":
                torch.cuda.synchronize()
            self.stamps.append(time.perf_counter())
            late = self.stamps[-1] - self.began > LIMIT
            if number == 2 * self.pairs or (late and number and number % 2 == 0):
                raise Enough
        if number % 2:
            return self.fixed
        began = time.perf_counter()
        batch = self.stream(step)
        self.spent += (time.perf_counter() - began) * (step >= WARM)
        return batch


def quiet(line: str) -> None:
    """Discard the training's log."""


def compare_steps(stream: Stream, pairs: int, block: int, device: Device, to: Path | None) -> None:
    """Train a ResNet50 with the workflow's loop, until the stream ends it."""
    source = Alternating(stream, pairs, block, device)
    validation = Validation(
        stream.names[:2], stream.read, np.zeros((2, LABELS), np.float32), sigmoid_scores, ("loss", False)
    )
    schedule = Schedule(
        epochs=1, steps=WARM + 2 * pairs * block + 1, batch=BATCH, optimizer="adamw", learning_rate=1e-3
    )
    torch.manual_seed(0)
    objective = sigmoid_objective(np.full(LABELS, 0.1), balanced=True)
    with suppress(Enough):
        fit(Classifier("resnet50", LABELS), source, objective, validation, schedule, plain(0, device, quiet))
    rates = block / np.diff(source.stamps)
    cache, fixed = rates[0::2], rates[1::2]
    precision = device.facts()["precision"]
    print(f"ResNet50, {precision}, {device.facts()['device']}: {len(cache)} times {block} steps of each, in turn")
    print(f"{'':30}{'steps/s':>10}{'images/s':>10}{'share of the fixed batch':>26}")
    print(f"{'a fixed batch, median':30}{np.median(fixed):>10.2f}{np.median(fixed) * BATCH:>10.1f}{'':>26}")
    print(
        f"{'cache, augmented, median':30}{np.median(cache):>10.2f}{np.median(cache) * BATCH:>10.1f}"
        f"{np.median(cache / fixed):>26.1%}"
    )
    share = np.median(cache / fixed)
    lines.add(
        to, "baseline steps from the cache", "steps/s", np.median(cache), np.median(fixed), "a fixed batch", share
    )
    low, high = np.min(cache / fixed), np.max(cache / fixed)
    took = source.spent / (len(cache) * block)
    print(
        f"reading and augmenting a batch took {took * 1e3:.1f} ms of a step's {1e3 / np.median(cache):.0f} ms; "
        f"shares of the pairs: {low:.0%} to {high:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128, help="phantoms of 1024 px that are drawn")
    parser.add_argument("--data", type=Path, help="a folder of PNG files, at any depth, in place of phantoms")
    parser.add_argument("--pairs", type=int, default=8, help="blocks of training steps of each kind, at most")
    parser.add_argument("--block", type=int, default=1, help="training steps a block; on a GPU some 50")
    lines.option(parser)
    options = parser.parse_args()
    device = choose("auto", WORKERS)
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), options.data or Path(name) / "data"
        if options.data is None:
            count = options.images
            data_set.write_data_set(
                root, patients=count // 2, images=count, boxed=0, size=1024, seed=0, workers=WORKERS
            )
        paths = {name: found[0] for name, found in image_files.find_images(root)[0].items()}
        (folder / "png" / "all").mkdir(parents=True)
        began = time.perf_counter()
        index = image_cache.update_store(
            root,
            paths,
            [],
            image_cache.ImageCache(folder / "store", SIDE, SIDE),
            workers=WORKERS,
            progress=lambda *_: None,
        )
        built = time.perf_counter() - began
        index = index[index["status"] == image_store.OK]
        for image, path in zip(index["image"], index["path"], strict=True):
            (folder / "png" / "all" / image).symlink_to((root / path).absolute())
        store = image_store.open_store(folder / "store", index, SIDE, "all", print)
        names = index["image"].tolist()
        targets = (np.random.default_rng(0).random((len(names), LABELS)) < 0.1).astype(np.float32)
        streams = [
            Stream(names, store.read, targets, augment, BATCH, 0, device.torch)
            for augment in (Augment(), SOUND.augment)
        ]
        kind = "PNG files of the folder" if options.data else "phantoms"
        print(f"{len(names)} {kind}, {index['width'].median():.0f} px, to {SIDE} px in batches of {BATCH}")
        compare_rates(*streams, folder / "png", built, options.lines)
        print()
        compare_steps(streams[1], options.pairs, options.block, device, options.lines)


if __name__ == "__main__":
    main()
