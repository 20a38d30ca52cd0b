"""The transfer grid, ours against a plain PyTorch program and against the same program tuned: same pairs, same batches.

    PYTHONPATH=workflow python benchmarks/grid.py [--steps 4] [--batch 16] [--at-once 2]

ours: the frozen layers once for all pairs, then one process per pair that trains the tail on their stored output; all pairs.
tuned: one process per pair, cached pixels, bfloat16 and channels-last if the processor has them, the whole network.
plain: one process per pair, PNG decoding in a DataLoader with two workers, float32, the framework's defaults.
Of tuned and plain only some pairs are trained, with the middle depth of each quarter, and the sums scaled up to all pairs.
All use phantoms at 1024 px, ResNet50 at 224 px, 5 epochs, the paper's 20 depths. Jobs run one per core at a time, or on a
GPU one at a time (--at-once; plain always one at a time). The time of the paper's whole grid is extrapolated from the time
of a picture and of a start. On a GPU use the paper's steps: --steps 100 --batch 32.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lines

DEPTHS, SIZES = range(20), (24, 48, 96)  # all of ours
TIMED_DEPTHS, TIMED_SIZES = (2, 7, 12, 17), (24, 96)  # of theirs
VALIDATION, SIDE, EPOCHS, SEED = 8, 224, 5, 0
PAPER = {"pairs": 260, "pictures": 16_000, "different": 68_000}  # pictures of a pair; different pictures of all pairs
INDEXED = 112_120  # images of the release: every job that reads the index pays for all its rows


def prepare(folder: Path) -> None:
    """Draw the phantoms, cache them, write one split file per size, and random source weights."""
    import pandas as pd

    from cxr.classifiers import transfer
    from cxr.data import image_cache as data_image_cache
    from cxr.data import image_files as data_image_files
    from cxr.data import label_list, splits
    from cxr.phantoms import data_set

    root = folder / "data"
    data_set.write_data_set(
        root, patients=60, images=max(SIZES) + VALIDATION, boxed=20, size=1024, seed=SEED, workers=2
    )
    table, _ = label_list.read_label_table(root / "Data_Entry_2017_v2020.csv")
    paths = {name: found[0] for name, found in data_image_files.find_images(root)[0].items()}
    index = data_image_cache.update_store(
        root, paths, [], data_image_cache.ImageCache(folder / "store", SIDE, SIDE), workers=2, progress=lambda *_: None
    )
    others = pd.concat([index.head(1)] * (INDEXED - len(index)), ignore_index=True)
    others["image"] = [f"other_{number}.png" for number in range(len(others))]
    pd.concat([index, others]).to_csv(folder / "index.csv", index=False)
    table = table.merge(index[["image", "digest"]], on="image")[splits.SPLIT_COLUMNS]
    splits.write_split(table.tail(VALIDATION), folder / "validation.csv")
    for size in SIZES:
        splits.write_split(table.head(size), folder / f"{size}.csv")
    pd.Series(paths).to_json(folder / "paths.json")
    transfer.write_random_source(folder / "source.pt", "resnet50", SEED)


def settings(steps: int, batch: int):
    from cxr.settings import SOUND

    schedule = SOUND.transfer.training.model_copy(update={"epochs": EPOCHS, "steps": steps, "batch": batch})
    return schedule, SOUND.augment


def run_features(folder: Path, steps: int, batch: int) -> None:
    from cxr.classifiers import frozen_features, transfer
    from cxr.runtime.journal import Journal
    from cxr.training.device import choose
    from cxr.training.runs import plain

    schedule, augment = settings(steps, batch)
    with Journal(folder / "features.log", "features") as tell:
        transfer.write_features(
            inputs=transfer.GridFiles(
                [(folder / f"{size}.csv", 0) for size in SIZES], [folder / "validation.csv"],
                folder / "index.csv", folder / "store", SIDE,
            ),
            source_weights=folder / "source.pt", network="resnet50",
            grid=frozen_features.Grid(DEPTHS, schedule, augment, 50), code="",
            store_file=folder / "features/store.json", run=plain(SEED, choose("auto", 2), tell),
        )  # fmt: skip


def run_pair(folder: Path, way: str, layers: int, size: int, steps: int, batch: int) -> None:
    from cxr.classifiers import fit, transfer
    from cxr.runtime.journal import Journal
    from cxr.training.device import choose
    from cxr.training.runs import plain

    schedule, augment = settings(steps, batch)
    out = folder / way / f"c{layers}_s{size}"
    out.mkdir(parents=True)
    with Journal(out / "log", way) as tell:
        transfer.train(
            inputs=fit.Inputs(
                folder / f"{size}.csv", folder / "validation.csv", folder / "validation.csv", folder / "index.csv",
                folder / "store", SIDE, augment
            ),
            outputs=fit.Outputs(
                **{name: out / name for name in ("model", "predictions", "history", "facts")}
            ),
            start=transfer.Start(
                folder / "source.pt", folder / "features/store.json" if way == "ours" else None, "training"
            ),
            architecture=transfer.Architecture("resnet50", layers, "features", "eval"),
            training=fit.Training(schedule, True, "auroc"), probed=0, run=plain(SEED, choose("auto", 1), tell),
        )  # fmt: skip


def run_plain(folder: Path, layers: int, size: int, steps: int, batch: int) -> None:
    """What a user would write with torchvision; only the order of images and their augmentation are ours."""
    import numpy as np
    import pandas as pd
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.models import resnet50

    from cxr.classifiers.networks import parametered_layers
    from cxr.labels import to_matrix
    from cxr.training.batches import augmented, draws, normalised, positions

    schedule, augment = settings(steps, batch)
    paths = json.loads((folder / "paths.json").read_text())
    table, judged = (pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in (size, "validation"))
    names, targets = table["image"].tolist(), to_matrix(table["labels"]).astype(np.float32)

    def picture(name):
        with Image.open(folder / "data" / paths[name]) as image:
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).copy()).float()[None] / 255

    class Training(Dataset):
        def __len__(self):
            return steps * EPOCHS * batch

        def __getitem__(self, number):
            indices, visits = positions(len(names), batch, number // batch, SEED)
            index, visit = indices[number % batch], int(visits[number % batch])
            image = augmented(picture(names[index])[None], augment, draws(names[index], visit, SEED)[None])[0]
            return image, targets[index]

    class Judged(Dataset):
        def __len__(self):
            return len(judged)

        def __getitem__(self, number):
            return picture(judged["image"][number]), number

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    network = resnet50(num_classes=1000)
    network.load_state_dict(torch.load(folder / "source.pt"))
    parametered = parametered_layers(network)
    network.requires_grad_(False)
    for _, module in parametered[len(parametered) - layers :]:
        module.requires_grad_(True)
    network.fc = torch.nn.Linear(2048, 15)
    network.to(device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    loss = torch.nn.BCEWithLogitsLoss()
    for number, (images, wanted) in enumerate(DataLoader(Training(), batch, num_workers=2), start=1):
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        optimizer.zero_grad()
        loss(network(normalised(images.to(device))), wanted.to(device)).backward()
        optimizer.step()
        if number % steps == 0:
            network.eval()
            with torch.no_grad():
                for images, _ in DataLoader(Judged(), 64, num_workers=2):
                    network(normalised(images.to(device))).sigmoid().cpu()


def multiplications(folder: Path, pictures: int) -> float:
    """Return the tuned program's multiplications for all pairs, forwards and backwards, as a multiple of ours."""
    import torch
    from steps import classifier
    from torch.utils.flop_counter import FlopCounterMode

    def counted(layers: int, after: str | None, shape: list[int]) -> int:
        with FlopCounterMode(display=False) as counter:
            classifier(layers).train().tail(torch.zeros(2, *shape), after).sum().backward()
        return counter.get_total_flops()

    stored = json.loads((folder / "features/store.json").read_text())
    image = [3, SIDE, SIDE]
    with torch.device("meta"):  # only shapes, no numbers
        with torch.no_grad(), FlopCounterMode(display=False) as shared:
            classifier(0).train().tail(torch.zeros(2, *image), None)
        ours, theirs = stored["pictures"] * shared.get_total_flops(), 0
        for layers in DEPTHS:
            after = next(stage for stage in reversed(classifier(layers).shared) if stage in stored["stages"])
            ours += len(SIZES) * pictures * counted(layers, after, stored["stages"][after])
            theirs += len(SIZES) * pictures * counted(layers, None, image)
    return theirs / ours


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a set of processes, and the largest memory of any of them in MiB."""

    wall: float
    cpu: float
    memory: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory))

    def scaled(self, factor: float) -> "Cost":
        return Cost(self.wall * factor, self.cpu * factor, self.memory)


def run(command: list[str]) -> resource.struct_rusage:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return used


def timed(commands: list[list[str]], at_once: int) -> Cost:
    """Run processes, at most `at_once` at the same time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        used = list(pool.map(run, commands))
    wall = time.perf_counter() - began
    return Cost(wall, sum(one.ru_utime + one.ru_stime for one in used), max(one.ru_maxrss for one in used) / 2**10)


def whole_grid(tails: Path, pairs: int, wall: float, shared: float, pictures: int, at_once: int) -> float:
    """Return the hours of the paper's grid. tails: folder of the pairs' facts; wall: seconds of all pairs; shared: seconds
    per different picture in the features; pictures: number per pair here."""
    trained = sum(json.loads(path.read_text())["seconds"] for path in tails.glob("*/facts"))
    start = wall * at_once / pairs - trained / pairs
    pair = start + PAPER["pictures"] * trained / pairs / pictures
    return (PAPER["different"] * shared + PAPER["pairs"] * pair / at_once) / 3600


class Utilisation:
    """Mean utilisation of the first GPU, in percent, while the block runs; None without nvidia-smi."""

    def __enter__(self) -> "Utilisation":
        self.process, self.mean = None, None
        if shutil.which("nvidia-smi"):
            asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "--loop=1"]
            self.process = subprocess.Popen(["nvidia-smi", *asked], stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            read = [float(line) for line in self.process.communicate()[0].split() if line.isdecimal()]
            self.mean = sum(read) / len(read) if read else None


def difference(folder: Path) -> float:
    """Return the largest difference between ours and the tuned program in any epoch's validation loss."""
    import pandas as pd

    found = 0.0
    for path in (folder / "tuned").glob("*/history"):
        one, other = (pd.read_csv(folder / way / path.parent.name / "history") for way in ("ours", "tuned"))
        found = max(found, float((one["validation_loss"] - other["validation_loss"]).abs().max()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="steps an epoch")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--at-once", type=int, help="jobs at a time")
    lines.option(parser)
    parser.add_argument("--job", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        way, *pair = options.job
        arguments = [*map(int, pair), options.steps, options.batch]
        if way == "features":
            run_features(options.folder, *arguments)
        elif way == "plain":
            run_plain(options.folder, *arguments)
        else:
            run_pair(options.folder, way, *arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        compare(Path(name), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Run the three programs, print their times, and add the lines of the common table."""
    base = [sys.executable, __file__, "--steps", str(options.steps), "--batch", str(options.batch)]
    base += ["--folder", str(folder), "--job"]
    pairs = [[str(layers), str(size)] for layers in DEPTHS for size in SIZES]
    timed_pairs = [[str(layers), str(size)] for layers in TIMED_DEPTHS for size in TIMED_SIZES]
    factor, pictures = len(pairs) / len(timed_pairs), EPOCHS * options.steps * options.batch
    at_once = options.at_once or (1 if shutil.which("nvidia-smi") else os.cpu_count() or 1)
    with Utilisation() as of_features:
        shared = timed([[*base, "features"]], 1)
    with Utilisation() as of_tails:
        tails = timed([[*base, "ours", *pair] for pair in pairs], at_once)
    some = timed([[*base, "tuned", *pair] for pair in timed_pairs], at_once)
    plain = timed([[*base, "plain", *pair] for pair in timed_pairs], 1).scaled(factor)
    ours, tuned = shared + tails, some.scaled(factor)
    print(
        f"{len(pairs)} pairs (c 0 to {max(DEPTHS)}, s {SIZES}), {EPOCHS} epochs of {options.steps} steps of {options.batch}: "
        f"{len(pairs) * pictures} training pictures; {VALIDATION} images judged an epoch; an index of {INDEXED} images; of tuned "
        f"and plain {len(timed_pairs)} pairs (c {TIMED_DEPTHS}, s {TIMED_SIZES}), times {factor:g}"
    )
    print(f"{'':8}{'wall, s':>10}{'CPU, s':>10}{'peak, MiB':>12}{'wall / ours':>14}")
    for label, cost in (("ours", ours), ("tuned", tuned), ("plain", plain)):
        print(f"{label:8}{cost.wall:>10.1f}{cost.cpu:>10.1f}{cost.memory:>12.0f}{cost.wall / ours.wall:>14.1f}")
    print(f"tuned multiplies {multiplications(folder, pictures):.1f} times as much as ours")
    different = json.loads((folder / "features/store.json").read_text())["pictures"]
    print(
        f"of ours, the shared features of {different} pictures took {shared.wall:.1f} s and {shared.memory:.0f} MiB, a pair "
        f"{tails.memory:.0f} MiB"
    )
    if of_features.mean is not None and of_tails.mean is not None:
        print(f"the GPU was busy {of_features.mean:.0f}% of the features' time, {of_tails.mean:.0f}% of the pairs'")
    ours_h = whole_grid(folder / "ours", len(pairs), tails.wall, shared.wall / different, pictures, at_once)
    tuned_h = whole_grid(folder / "tuned", len(timed_pairs), some.wall, 0, pictures, at_once)
    print(f"the paper's {PAPER['pairs']} pairs would take {ours_h:.1f} h, tuned {tuned_h:.1f} h")
    print(f"largest difference of a validation loss, ours to tuned: {difference(folder):.2e}")
    for whose, cost in (("the same program, tuned", tuned), ("a plain PyTorch program", plain)):
        what = f"the grid, {len(pairs)} pairs of {pictures} pictures"
        lines.add(options.lines, f"{what}, wall", "s", ours.wall, cost.wall, whose, cost.wall / ours.wall)
        lines.add(options.lines, f"{what}, CPU", "s", ours.cpu, cost.cpu, whose, cost.cpu / ours.cpu)
        ratio = cost.memory / tails.memory
        lines.add(options.lines, "the grid, memory of a pair", "MiB", tails.memory, cost.memory, whose, ratio)
    what = f"the paper's {PAPER['pairs']} pairs, from these"
    lines.add(options.lines, what, "h", ours_h, tuned_h, "the same program, tuned", tuned_h / ours_h)


if __name__ == "__main__":
    main()
