"""Stored outputs of a ResNet's frozen stages, computed once for all pairs (c, s) of a grid and read by its jobs.

Which augmented picture of an image a step sees depends on (seed, image, visit) alone, and visits count from 0 in every
set: so the union over all sizes needs each image up to its highest visit in any of them.

A store lies beside its description `store.json`, in a folder named by a key of all that a row depends on (source weights,
augmentation, seed, code …): `rows.csv` says which picture of which image has which place (image, digest, visit; -1 for the
image as it is, which is only judged) and which stages hold it, and `<stage>.bin` has one row of raw numbers a place, in
the arithmetic of training, so that reading them back changes no bit. What is stored is kept: further sizes, depths or
images, and a run that goes on after an interruption, compute the pictures that are missing and no others.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.datasets import as_input, augmented, batches_of_one_size, draws, normalised, on_device, positions
from cxr.device import Device
from cxr.errors import InputError
from cxr.journal import Journal, Progress
from cxr.networks import frozen_stages, run_stages, stages
from cxr.resnets import ResNet
from cxr.runs import Run
from cxr.settings import Augment, Schedule

TYPES = {"bfloat16": (torch.bfloat16, np.uint16), "float32": (torch.float32, np.float32)}
KEY = ["image", "digest", "visit"]
AS_IT_IS = -1  # the visit of an image that is judged, not augmented


def visits_needed(sets: Iterable[Sequence[str]], schedule: Schedule, seed: int) -> pd.DataFrame:
    """Return image, visits: how often each image of any training set is seen at most, in name order."""
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
    return pd.DataFrame({"image": sorted(most), "visits": [most[name] for name in sorted(most)]})


def choose_stages(
    network: ResNet, depths: Sequence[int], rows: int, side: int, bytes_each: int, budget: float, tell: Journal
) -> dict[str, tuple[int, ...]]:
    """Return the stages to store → shape of one row: those that save the grid's jobs the most within the budget.

    A stage is worth storing where some c's frozen part ends; a job starts from the last stored stage of its frozen part.
    rows: training and judged rows. budget: GB. What the jobs have to compute themselves is told.
    """
    ends = [frozen[-1] for frozen in (frozen_stages(network, layers) for layers in depths) if frozen]
    shapes, work = _outputs(network, side)
    order = list(shapes)
    wanted = sorted(set(ends), key=order.index)
    sizes = {name: rows * math.prod(shapes[name]) * bytes_each / 1e9 for name in wanted}

    def left(chosen: Sequence[str]) -> float:
        """What the jobs multiply in their frozen parts, a picture of each."""
        starts = [max((work[name] for name in chosen if work[name] <= work[end]), default=0) for end in ends]
        return sum(work[end] - start for end, start in zip(ends, starts, strict=True))

    subsets = [subset for count in range(len(wanted) + 1) for subset in combinations(wanted, count)]
    affordable = [subset for subset in subsets if sum(sizes[name] for name in subset) <= budget]
    chosen = min(affordable, key=lambda subset: (left(subset), sum(sizes[name] for name in subset)))
    for name in chosen:
        tell(f"{name}: {rows} rows of {'×'.join(map(str, shapes[name]))}, {sizes[name]:.2f} GB")
    if left(chosen):
        tell(
            f"a budget of {budget:.1f} GB (storing {', '.join(wanted)} takes {sum(sizes.values()):.1f}): the frozen layers "
            f"behind these are computed by the jobs themselves, {left(chosen) / left(()):.0%} of what they would be without"
        )
    return {name: shapes[name] for name in chosen}


@torch.no_grad()
def _outputs(network: ResNet, side: int) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return for every stage the shape of its output for one picture, and the multiplications of all stages up to it."""
    shapes, work = {}, {}
    total = 0

    def count(convolution: nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * convolution.weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.Conv2d)]
    hidden, after = torch.zeros(1, 3, side, side), None
    for name, _ in stages(network):
        hidden, after = run_stages(network, hidden, after, name), name
        total += 1  # pooling multiplies nothing, and yet comes later
        shapes[name], work[name] = tuple(hidden.shape[1:]), total
    for hook in hooks:
        hook.remove()
    return shapes, work


def wanted_rows(
    train_sets: Mapping[str, Sequence[str]],
    fixed: Sequence[str],
    digests: Mapping[str, str],
    schedule: Schedule,
    seed: int,
) -> pd.DataFrame:
    """Return image, digest, visit of every picture that a grid needs; visit ``AS_IT_IS`` for images that are judged."""
    table = visits_needed(train_sets.values(), schedule, seed)
    repeated = np.repeat(table["image"].to_numpy(dtype=object), table["visits"])
    visits = np.concatenate([np.arange(count) for count in table["visits"]])
    rows = pd.DataFrame(
        {
            "image": np.append(repeated, np.array(fixed, dtype=object)),
            "visit": np.append(visits, np.full(len(fixed), AS_IT_IS)),
        }
    )
    rows.insert(1, "digest", rows["image"].map(digests))
    return rows


def placed(stored: pd.DataFrame, wanted: pd.DataFrame, stages: Sequence[str]) -> pd.DataFrame:
    """Give every wanted picture a place: its old one where it has one, else one that is free now, else a new one.

    stored, and the result: a row a place, with the columns of ``KEY`` and, for each stage, whether it is stored there; a
    place that is free has no image. A stage that `stored` does not know is nowhere.
    """
    known = stored[KEY].copy()
    known[list(stages)] = stored.reindex(columns=list(stages), fill_value=False).to_numpy(dtype=bool)
    old = pd.MultiIndex.from_frame(known[KEY])
    asked = pd.MultiIndex.from_frame(wanted[KEY])
    known.loc[~old.isin(asked), KEY] = ["", "", AS_IT_IS]
    known.loc[~old.isin(asked), list(stages)] = False
    fresh = wanted[~asked.isin(old)]
    free = np.flatnonzero(known["image"] == "")[: len(fresh)]
    known.loc[free, KEY] = fresh[KEY].iloc[: len(free)].to_numpy()
    added = fresh[KEY].iloc[len(free) :].assign(**dict.fromkeys(stages, False))
    return pd.concat([known, added], ignore_index=True).astype({"visit": np.int64, **dict.fromkeys(stages, bool)})


def compute(
    network: ResNet,
    *,
    depths: Sequence[int],
    train_sets: Mapping[str, Sequence[str]],
    fixed: Sequence[str],
    digests: Mapping[str, str],
    read: Callable[[Sequence[str]], np.ndarray],
    side: int,
    schedule: Schedule,
    augment: Augment,
    belongs_to: str,
    budget: float,
    store: Path,
    run: Run,
) -> None:
    """Bring the store of a grid up to date and describe it in the file `store`.

    train_sets: size → image names in the split's order; fixed: images that are judged; digests: image → hash of its
    pixels. belongs_to: a text that names network, source weights and code. Interrupted, it keeps what is stored.
    """
    device, tell = run.device, run.tell
    wanted = wanted_rows(train_sets, fixed, digests, schedule, run.seed)
    pictures = len(wanted) - len(fixed)
    passes = sum((schedule.steps or math.ceil(len(names) / schedule.batch)) for names in train_sets.values())
    alone = passes * schedule.epochs * schedule.batch * len(depths)
    tell(f"{pictures} pictures serve the {alone} that {len(depths) * len(train_sets)} pairs see")
    kind = "bfloat16" if device.bfloat16 else "float32"
    network.eval()
    shapes = choose_stages(network, depths, len(wanted), side, TYPES[kind][1]().itemsize, budget, tell)
    key = _key(belongs_to, side, schedule.batch, augment.model_dump_json(), run.seed, kind)
    folder = store.parent / key
    _keep_only(folder)
    table = folder / "rows.csv"
    stored = _read_rows(table) if table.exists() else pd.DataFrame(columns=KEY)
    rows = placed(stored, wanted, list(shapes))
    _write_rows(rows, table)  # before any place that was another picture's is written to
    numbers_of = {name: _open(folder / f"{name}.bin", kind, len(rows), shape) for name, shape in shapes.items()}
    for other in folder.glob("*.bin"):
        if other.stem not in shapes:
            other.unlink()
    network.to(device.torch)
    if device.torch.type == "cpu":
        network.to(memory_format=torch.channels_last)
    has = rows[list(shapes)].to_numpy(copy=True)
    missing = np.flatnonzero((rows["image"] != "").to_numpy() & ~has.all(axis=1))
    if len(missing) < len(wanted):
        tell(f"{len(wanted) - len(missing)} pictures are stored already")

    def save() -> None:
        for numbers in numbers_of.values():
            numbers.flush()
        rows[list(shapes)] = has
        _write_rows(rows, table)

    images, visits = rows["image"].to_numpy(dtype=object), rows["visit"].to_numpy()
    progress = Progress(tell, "pictures")
    done = 0
    with run.keeper.listening():
        # One kind after the other: training sees augmented pictures, judging plain ones, and a batch is of one kind.
        for part in (missing[visits[missing] != AS_IT_IS], missing[visits[missing] == AS_IT_IS]):
            for filled, count in batches_of_one_size(part, schedule.batch):  # of as many as in training
                here = np.array(filled)
                inputs = as_input(read(images[here].tolist()), device.torch)
                if visits[here[0]] != AS_IT_IS:
                    drawn = [
                        draws(name, int(visit), run.seed)
                        for name, visit in zip(images[here], visits[here], strict=True)
                    ]
                    inputs = augmented(inputs, augment, np.stack(drawn))
                for stage, hidden in _stages_of(network, inputs, list(shapes), device):
                    numbers_of[stage][here[:count]] = _numbers(hidden[:count], kind)
                has[here[:count]] = True
                done += count
                progress(done, len(missing))
                if run.keeper.due():
                    save()
                    run.keeper.save({})
    save()
    content = {"key": key, "type": kind, "stages": {name: list(shape) for name, shape in shapes.items()}}
    store.write_text(json.dumps({**content, "rows": len(rows), "pictures": len(wanted)}), encoding="utf-8")


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _keep_only(folder: Path) -> None:
    """Make the folder, and remove the stores beside it: they belong to other weights, settings or code."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder and (other / "rows.csv").exists():
            shutil.rmtree(other)


def _read_rows(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"image": "str", "digest": "str", "visit": np.int64}, keep_default_na=False)


def _write_rows(rows: pd.DataFrame, path: Path) -> None:
    new = path.with_name(path.name + ".new")
    rows.to_csv(new, index=False)
    os.replace(new, path)


def _open(path: Path, kind: str, rows: int, shape: Sequence[int]) -> np.memmap:
    """Open a stage's numbers for writing; the file grows to so many rows, and what it holds stays."""
    numbers = TYPES[kind][1]
    with path.open("ab") as file:
        file.truncate(max(1, rows) * math.prod(shape) * numbers().itemsize)
    return np.memmap(path, numbers, "r+", shape=(max(1, rows), *shape))


@torch.no_grad()
def _stages_of(
    network: ResNet, images: torch.Tensor, wanted: Sequence[str], device: Device
) -> Iterable[tuple[str, torch.Tensor]]:
    """Return the outputs of the wanted stages, each computed from the one before it."""
    order = [name for name, _ in stages(network) if name in wanted]
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
    """One stage of a store, open for reading. rows: image and visit of each place of `numbers`."""

    numbers: np.ndarray
    rows: pd.DataFrame
    kind: str
    path: Path

    def places(self, names: Sequence[str]) -> np.ndarray:
        """Return where visits 0, 1, … of these images lie: (N, visits) int64, -1 where the store has none."""
        mine = self.rows[(self.rows["visit"] != AS_IT_IS) & self.rows["image"].isin(set(names))]
        found = np.full((len(names), int(mine["visit"].max()) + 1 if len(mine) else 1), -1)
        index = pd.Series(np.arange(len(names)), index=list(names))
        found[index[mine["image"]].to_numpy(), mine["visit"]] = mine.index
        return found

    def of_fixed(self, names: Sequence[str]) -> torch.Tensor:
        """Return what the stage made of images as they are, (N, ...)."""
        return self.at(self._fixed.reindex(list(names), fill_value=-1).to_numpy())

    @cached_property
    def _fixed(self) -> pd.Series:
        judged = self.rows[self.rows["visit"] == AS_IT_IS]
        return pd.Series(judged.index, index=judged["image"])

    def at(self, places: np.ndarray) -> torch.Tensor:
        """Return what is stored at these places, (N, ...). Raises InputError where one of them is -1."""
        if (places < 0).any():
            raise InputError(
                f"{self.path}: a picture of this split is not among the stored features; delete {self.path.parent.parent} "
                "and run again"
            )
        numbers = torch.from_numpy(
            np.ascontiguousarray(self.numbers[places].view(np.int16 if self.kind == "bfloat16" else self.numbers.dtype))
        )
        hidden = numbers.view(torch.bfloat16) if self.kind == "bfloat16" else numbers
        return hidden.contiguous(memory_format=torch.channels_last) if hidden.ndim == 4 else hidden


def open_nearest(store: Path, frozen: Sequence[str], device: Device) -> tuple[str, Features] | None:
    """Open the last of these stages that the store described by the file `store` has; None where it has none of them or
    was made in other arithmetic.

    Raises InputError where the store is damaged.
    """
    try:
        plan = json.loads(store.read_text(encoding="utf-8"))
        stage = next((name for name in reversed(frozen) if name in plan["stages"]), None)
        if stage is None or plan["type"] != ("bfloat16" if device.bfloat16 else "float32"):
            return None
        folder = store.parent / plan["key"]
        rows = _read_rows(folder / "rows.csv")
        path = folder / f"{stage}.bin"
        shape = (max(1, len(rows)), *plan["stages"][stage])
        numbers = np.memmap(path, TYPES[plan["type"]][1], "r", shape=shape)
        rows = rows.loc[rows[stage] & (rows["image"] != ""), ["image", "visit"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{store}: not readable as stored features ({error}); delete {store.parent} and run again"
        ) from None
    return stage, Features(numbers, rows, plan["type"], path)


class FeatureStream:
    """Training batches of a set, from stored features: the same images, visits and targets as `datasets.Stream`."""

    def __init__(
        self,
        names: Sequence[str],
        features: Features,
        targets: np.ndarray,
        batch: int,
        seed: int,
        device: torch.device,
    ):
        self.names, self.features, self.targets = names, features, targets
        self.batch, self.seed, self.device = batch, seed, device
        self.places = features.places(names)

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        indices, visits = positions(len(self.names), self.batch, step, self.seed)
        beyond = visits >= self.places.shape[1]
        places = np.where(beyond, -1, self.places[indices, np.where(beyond, 0, visits)])
        hidden = self.features.at(places)
        return on_device(hidden, self.device), on_device(torch.from_numpy(self.targets[indices]), self.device)
