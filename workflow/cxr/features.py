"""Stored outputs of a ResNet's frozen stages, computed once for all pairs (c, s) of a grid and read by its jobs.

Which augmented picture of an image a step sees depends on (seed, image, visit) alone, and visits count from 0 in every
set: so the union over all sizes needs each image up to its highest visit in any of them. A store is a folder with
`plan.json`, `images.csv` (image, offset, visits), and for each stage `<stage>.train` (a row a visit) and
`<stage>.fixed` (a row an image that is only judged, not augmented): raw numbers in the arithmetic of training, so that
reading them back changes no bit.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cxr.datasets import as_input, augmented, draws, normalised, positions
from cxr.device import Device
from cxr.errors import InputError
from cxr.journal import Journal, Progress
from cxr.networks import frozen_stages, run_stages
from cxr.resnets import ResNet
from cxr.settings import Augment, Schedule

TYPES = {"bfloat16": (torch.bfloat16, np.uint16), "float32": (torch.float32, np.float32)}


def visits_needed(sets: Iterable[Sequence[str]], schedule: Schedule, seed: int) -> pd.DataFrame:
    """Return image, offset, visits: how often each image of any training set is seen at most, in name order.

    offset: the row of its visit 0 where all rows lie one after another.
    """
    most: dict[str, int] = {}
    for names in sets:
        steps = (schedule.steps or math.ceil(len(names) / schedule.batch)) * schedule.epochs
        passes = steps * schedule.batch // len(names)
        counts = np.full(len(names), passes)
        for step in range(passes * len(names) // schedule.batch, steps):  # the last pass, where it is cut short
            indices, visits = positions(len(names), schedule.batch, step, seed)
            counts[indices[visits == passes]] = passes + 1
        for name, count in zip(names, counts.tolist(), strict=True):
            most[name] = max(most.get(name, 0), count)
    visits = np.array([most[name] for name in sorted(most)], dtype=np.int64)
    return pd.DataFrame({"image": sorted(most), "offset": np.cumsum(visits) - visits, "visits": visits})


def choose_stages(
    network: ResNet, depths: Sequence[int], rows: int, side: int, bytes_each: int, budget: float, tell: Journal
) -> dict[str, tuple[int, ...]]:
    """Return the stages to store → shape of one row: where each c's frozen part ends, smallest first, within budget.

    rows: training and judged rows. budget: GB. What does not fit is told; its jobs run their frozen part themselves.
    """
    wanted = {frozen_stages(network, layers)[-1] for layers in depths}
    with torch.no_grad():
        picture = torch.zeros(1, 3, side, side)
        shapes = {name: tuple(run_stages(network, picture, None, name).shape[1:]) for name in wanted}
    chosen: dict[str, tuple[int, ...]] = {}
    used = 0.0
    for name, shape in sorted(shapes.items(), key=lambda item: math.prod(item[1])):
        size = rows * math.prod(shape) * bytes_each / 1e9
        if used + size > budget:
            tell(
                f"{name}: {size:.1f} GB more than the budget of {budget:.1f} GB leaves: its pairs compute it themselves"
            )
            continue
        chosen[name] = shape
        used += size
        tell(f"{name}: {rows} rows of {'×'.join(map(str, shape))}, {size:.2f} GB")
    return chosen


def compute(
    network: ResNet,
    *,
    depths: Sequence[int],
    train_sets: Mapping[str, Sequence[str]],
    fixed: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    side: int,
    schedule: Schedule,
    augment: Augment,
    seed: int,
    device: Device,
    budget: float,
    folder: Path,
    tell: Journal,
) -> None:
    """Write the store of a grid. train_sets: size → image names in the split's order; fixed: images that are judged."""
    table = visits_needed(train_sets.values(), schedule, seed)
    rows = int(table["visits"].sum())
    passes = sum((schedule.steps or math.ceil(len(names) / schedule.batch)) for names in train_sets.values())
    alone = passes * schedule.epochs * schedule.batch * len(depths)
    tell(f"{rows} pictures of {len(table)} images serve the {alone} that {len(depths) * len(train_sets)} pairs see")
    kind = "bfloat16" if device.bfloat16 else "float32"
    network.eval()
    shapes = choose_stages(network, depths, rows + len(fixed), side, TYPES[kind][1]().itemsize, budget, tell)
    folder.mkdir(parents=True, exist_ok=True)
    network.to(device.torch)
    if device.torch.type == "cpu":
        network.to(memory_format=torch.channels_last)
    images = np.repeat(table["image"].to_numpy(), table["visits"])
    visits = np.arange(rows) - np.repeat(table["offset"].to_numpy(), table["visits"])
    progress = Progress(tell, "pictures")
    for part, names, numbers in (("train", images, visits), ("fixed", np.array(fixed, dtype=object), None)):
        stores = {
            stage: np.memmap(folder / f"{stage}.{part}", TYPES[kind][1], "w+", shape=(max(1, len(names)), *shape))
            for stage, shape in shapes.items()
        }
        for start in range(0, len(names), schedule.batch):
            # As many together as in training, the last ones padded: kernels, and so roundings, depend on the shape.
            rows_here = np.minimum(np.arange(start, start + schedule.batch), len(names) - 1)
            count = min(schedule.batch, len(names) - start)
            here = names[rows_here].tolist()
            inputs = as_input(read(here), device.torch)
            if numbers is not None:
                there = zip(here, numbers[rows_here], strict=True)
                inputs = augmented(inputs, augment, np.stack([draws(name, int(visit), seed) for name, visit in there]))
            for stage, hidden in _stages_of(network, inputs, list(shapes), device):
                stores[stage][start : start + count] = _numbers(hidden[:count], kind)
            progress(start + count, len(names))
        for store in stores.values():
            store.flush()
    table.to_csv(folder / "images.csv", index=False)
    plan = {"type": kind, "stages": shapes, "fixed": list(fixed), "seed": seed}
    (folder / "plan.json").write_text(json.dumps(plan))


@torch.no_grad()
def _stages_of(
    network: ResNet, images: torch.Tensor, wanted: Sequence[str], device: Device
) -> Iterable[tuple[str, torch.Tensor]]:
    """Return the outputs of the wanted stages, each computed from the one before it."""
    order = sorted(wanted, key=lambda name: (name == "pooled", name))  # stem < layer1.0 < … < pooled
    found = []
    hidden, after = normalised(images), None
    with device.autocast():
        for name in order:
            hidden, after = run_stages(network, hidden, after, name), name
            found.append((name, hidden))
    return found


def _numbers(hidden: torch.Tensor, kind: str) -> np.ndarray:
    dense = hidden.to(TYPES[kind][0]).contiguous().cpu()
    return dense.view(torch.int16).numpy().view(np.uint16) if kind == "bfloat16" else dense.numpy()


@dataclass(frozen=True)
class Features:
    """One stage of a store, open for reading."""

    train: np.ndarray
    fixed: np.ndarray
    offsets: pd.Series
    places: Mapping[str, int]
    kind: str

    def of_visits(self, names: Sequence[str], visits: np.ndarray) -> torch.Tensor:
        """Return what the stage made of these visits of these images, (N, ...)."""
        return self._tensor(self.train, self.offsets[list(names)].to_numpy() + visits)

    def of_fixed(self, names: Sequence[str]) -> torch.Tensor:
        """Return what the stage made of images as they are, (N, ...)."""
        return self._tensor(self.fixed, np.array([self.places[name] for name in names], dtype=np.int64))

    def _tensor(self, store: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        numbers = torch.from_numpy(
            np.ascontiguousarray(store[rows].view(np.int16 if self.kind == "bfloat16" else store.dtype))
        )
        hidden = numbers.view(torch.bfloat16) if self.kind == "bfloat16" else numbers
        return hidden.contiguous(memory_format=torch.channels_last) if hidden.ndim == 4 else hidden


def open_stage(folder: Path, stage: str, device: Device) -> Features | None:
    """Open a stage of a store; None where the store lacks it or was made in other arithmetic.

    Raises InputError where the store is damaged.
    """
    try:
        plan = json.loads((folder / "plan.json").read_text())
        table = pd.read_csv(folder / "images.csv", dtype={"image": "str"})
        if stage not in plan["stages"] or plan["type"] != ("bfloat16" if device.bfloat16 else "float32"):
            return None
        shape, kind = plan["stages"][stage], TYPES[plan["type"]][1]
        lengths = {"train": int(table["visits"].sum()), "fixed": max(1, len(plan["fixed"]))}
        stores = {
            part: np.memmap(folder / f"{stage}.{part}", kind, "r", shape=(length, *shape))
            for part, length in lengths.items()
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder}: not readable as stored features ({error}); delete this folder and run again"
        ) from None
    places = {name: row for row, name in enumerate(plan["fixed"])}
    return Features(stores["train"], stores["fixed"], table.set_index("image")["offset"], places, plan["type"])


@dataclass(frozen=True)
class FeatureStream:
    """Training batches of a set, from stored features: the same images, visits and targets as `datasets.Stream`."""

    names: Sequence[str]
    features: Features
    targets: np.ndarray
    batch: int
    seed: int
    device: torch.device

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        indices, visits = positions(len(self.names), self.batch, step, self.seed)
        hidden = self.features.of_visits([self.names[index] for index in indices], visits)
        return hidden.to(self.device), torch.from_numpy(self.targets[indices]).to(self.device)
