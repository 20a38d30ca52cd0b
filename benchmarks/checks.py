"""The cost of comparing stored data with their checksums: each read with and without the checks, in turn.

    PYTHONPATH=workflow python benchmarks/checks.py [--layers 1 2 7 13 19] [--steps 20] [--images 512] [--rounds 5]

Features: the rows that a pair's steps read, in that order, from a store of random numbers with ResNet50's shapes at 224 px;
every row is read for the first time, as in a pair's training. Images: batches of the image cache. Model file: its SHA-256.
Each cost is a share of a pair of the paper: the start of its process, and 500 steps. Times are CPU times (except GPU
steps), those of reads the minimum over all rounds. The files are in the page cache; from a disk, reading takes longer but
comparing does not.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import lines
import numpy as np
import torch
from PIL import Image
from steps import SIDE, Step, Way, classifier
from table import machine

from cxr.classifiers import frozen_features
from cxr.data import image_cache, image_store
from cxr.labels import LABELS
from cxr.runtime import checksums
from cxr.runtime.journal import Journal
from cxr.settings import Schedule
from cxr.training.device import Device, choose
from cxr.training.loop import trained_state
from cxr.training.tensors import write_tensors

SET = 100  # images of the smallest pair
PAIR = 500  # steps of a pair in the paper
FLAGS = ("sse4_2", "pclmulqdq", "avx2", "avx512f", "sha_ni", "avx512_bf16", "amx_bf16")
KINDS = {
    "XXH3": checksums.of_row,
    "CRC-32": zlib.crc32,
    "SHA-256": lambda row: hashlib.sha256(row).digest(),
    "BLAKE2b": lambda row: hashlib.blake2b(row).digest(),
}


@dataclass(frozen=True)
class Cost:
    """Seconds of one step's reads with and without the checks, and of the step itself."""

    checked: float
    plain: float
    step: float

    def pair(self, start: float) -> tuple[float, float]:
        """Return the seconds of a pair with and without the checks."""
        return tuple(start + PAIR * (self.step + reading) for reading in (self.checked, self.plain))


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def in_turn(checked: Callable[[], object], plain: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Run two functions in turn; return the minimum seconds of each."""
    taken = [(seconds(checked), seconds(plain)) for _ in range(rounds)]
    return tuple(np.min(taken, axis=0).tolist())


def start_of_a_pair() -> float:
    """Return the seconds that a job needs for its imports."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "from cxr.classifiers import transfer"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def step_of(layers: int, batch: int, device: Device, after: str | None) -> float:
    step = Step(layers, batch, Way(device, after))
    return float(np.median([step.take() for _ in range(3)]))


def filled(
    folder: Path, stage: str, shape: tuple[int, ...], rows, device: Device, tell: Journal
) -> frozen_features.Features:
    """Fill a store of one stage with random numbers."""
    kind = "bfloat16" if device.bfloat16 else "float32"
    filling = frozen_features.Filling(folder, kind, {stage: shape}, rows, tell)
    some = torch.randn(64, *shape)
    numbers = some.bfloat16().view(torch.int16).numpy().view(np.uint16) if device.bfloat16 else some.numpy()
    for place in filling.missing().tolist():
        filling.write(stage, np.array([place]), numbers[[place % len(numbers)]])
    filling.save()
    store = frozen_features.Store(folder / "store.json", folder, kind, {stage: shape}, len(filling.rows))
    return frozen_features.Features(store, stage, store.numbers(stage), store.table([stage]))


def of_features(folder: Path, layers: int, steps: int, batch: int, rounds: int, device: Device, tell: Journal) -> Cost:
    names = [f"{number:08d}_000.png" for number in range(SET)]
    schedule = Schedule(epochs=1, steps=steps, batch=batch)
    rows = frozen_features.wanted_rows(
        frozen_features.GridImages([(names, 0)], [], dict.fromkeys(names, "0123456789abcdef")), schedule, 0
    )
    network = classifier(layers)
    shapes = frozen_features.choose_stages(network.backbone, [layers], len(rows), SIDE, 4, 1e3, tell)
    ((stage, shape),) = shapes.items()
    found = filled(folder / f"c{layers}", stage, shape, rows, device, tell)
    targets = np.zeros((SET, len(LABELS)), np.float32)

    def read(sound: set[int]) -> None:
        stream = frozen_features.FeatureStream(names, replace(found, sound=sound), targets, batch, 0, device.torch)
        for step in range(steps):
            stream(step)

    everything = set(range(len(found.rows)))
    read(set())
    checked, plain = in_turn(lambda: read(set()), lambda: read(everything), rounds)
    size = found.numbers[0].nbytes
    print(f"features, c = {layers}: {len(rows)} rows of {stage}, {size:,} bytes each, {steps} steps of {batch}")
    return Cost(checked / steps, plain / steps, step_of(layers, batch, device, stage))


def of_images(folder: Path, count: int, batch: int, rounds: int, device: Device) -> Cost:
    random = np.random.default_rng(0)
    names = [f"{number:08d}_000.png" for number in range(count)]
    for name in names:
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / name, compress_level=0)
    paths = dict(zip(names, names, strict=True))
    index = image_cache.update_store(
        folder, paths, [], image_cache.ImageCache(folder / "store", SIDE, SIDE), workers=2, progress=lambda *_: None
    )

    def read(sound: bool) -> None:
        store = image_store.open_store(folder / "store", index, SIDE, "all", print)
        store.sound[:] = sound
        for start in range(0, count, batch):
            store.read(names[start : start + batch])

    read(False)
    checked, plain = in_turn(lambda: read(False), lambda: read(True), rounds)
    print(
        f"images: {count} rows of {SIDE**2:,} bytes, in batches of {batch}; the step is one of the whole network, c = 19"
    )
    batches = -(-count // batch)
    return Cost(checked / batches, plain / batches, step_of(19, batch, device, None))


def of_model(folder: Path, layers: int, rounds: int) -> tuple[int, float]:
    """Return the size of a pair's model file, and the seconds of its SHA-256."""
    path = folder / "model.pt"
    write_tensors({"state_dict": trained_state(classifier(layers))}, path)
    return path.stat().st_size, min(seconds(lambda: checksums.sha256_of(path)) for _ in range(rounds))


def flags() -> str:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    has = set(next((line.partition(":")[2] for line in info.splitlines() if line.startswith("flags")), "").split())
    return " ".join(flag for flag in FLAGS if flag in has) or "unknown"


def kinds(rounds: int) -> None:
    """Print the time of a row's checksum alone, for each kind of checksum."""
    print(f"{'microseconds of a row':24}" + "".join(f"{name:>12}" for name in KINDS))
    for size in (4_096, SIDE**2, 200_704, 401_408):
        rows = np.random.default_rng(0).integers(0, 256, (20_000_000 // size, size), dtype=np.uint8)
        taken = [min(seconds(partial(each, kind, rows)) for _ in range(rounds)) for kind in KINDS.values()]
        print(f"{size:>16,} bytes  " + "".join(f"{1e6 * one / len(rows):>12.1f}" for one in taken))


def each(kind: Callable[[np.ndarray], object], rows: np.ndarray) -> None:
    for row in rows:
        kind(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 7, 13, 19])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    lines.option(parser)
    options = parser.parse_args()
    device = choose("auto", 1)
    add = partial(lines.add, options.lines)
    print(f"{machine()}; flags {flags()}; {os.cpu_count()} cores, one thread")
    kinds(options.rounds)
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "log", "benchmark") as tell:
        folder = Path(name)
        costs = {
            f"features, c = {layers}": of_features(
                folder, layers, options.steps, options.batch, options.rounds, device, tell
            )
            for layers in options.layers
        }
        (folder / "images").mkdir()
        costs["images"] = of_images(folder / "images", options.images, options.batch, options.rounds, device)
        start = min(start_of_a_pair() for _ in range(3))
        print(f"a process starts in {start:.1f} s; a pair: that and {PAIR} steps")
        print(
            f"{'reading for a step, ms':24}{'checked':>10}{'unchecked':>12}{'ratio':>8}{'the step':>10}{'of a pair':>12}"
        )
        for what, cost in costs.items():
            ours, theirs = cost.pair(start)
            times = f"{1e3 * cost.checked:>10.2f}{1e3 * cost.plain:>12.2f}{cost.checked / cost.plain:>8.2f}"
            print(f"{what:24}{times}{1e3 * cost.step:>10.1f}{ours / theirs - 1:>12.2%}")
            add(f"a pair, rows checked: {what}", "s", ours, theirs, "nothing compared", theirs / ours)
        for layers in options.layers:
            size, taken = of_model(folder, layers, options.rounds)
            share = taken / costs[f"features, c = {layers}"].pair(start)[1]
            print(
                f"SHA-256 of a model of c = {layers}: {size / 1e6:.1f} MB, {1e3 * taken:.1f} ms, {share:.2%} of a pair"
            )


if __name__ == "__main__":
    main()
