"""Stored outputs of a ResNet's frozen stages, computed once for all pairs (c, s) of a grid and read by its jobs.

The augmented picture of an image that a step sees depends only on (seed, image, visit), and visits count from 0 in every
set. So all sizes together need each image up to its highest visit in any of them.

A store lies beside its description `store.json`, in a folder named by a key of everything that a row depends on (source
weights, augmentation, seed, code …). `rows.csv` says which picture each place holds (image, digest, visit; -1 for the
unaugmented image, which is only judged) and, for each stage, the checksum of its row. `<stage>.bin` has one row of raw
numbers per place, in the arithmetic of training, so reading them back changes no bit. Stored rows are kept: further
sizes, depths or images, and a run resumed after an interruption, compute only the pictures that are missing.

Readers find damage: a job compares each row with its checksum when it first reads it. The job that fills the store checks
only the files' sizes: reading tens of GB again would find nothing that readers do not find later. The reader strikes
damaged rows from `rows.csv` and removes `store.json`, so that the next run computes just these rows.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.classifiers.networks import frozen_stages, run_stages, stages
from cxr.data.image_store import ImageStore
from cxr.errors import InputError
from cxr.runtime import checksums, locks
from cxr.runtime.checksums import NONE
from cxr.runtime.journal import Journal, Progress
from cxr.runtime.replacing import replacing
from cxr.settings import Augment, Schedule
from cxr.training.batches import as_input, augmented, batches_of_one_size, draws, normalised, on_device, positions
from cxr.training.device import Device
from cxr.training.resnet import ResNet
from cxr.training.runs import Run

TYPES = {"bfloat16": (torch.bfloat16, np.uint16), "float32": (torch.float32, np.float32)}
KEY = ["image", "digest", "visit"]
TABLE = "rows.csv"
FORMAT = "a checksum a row"  # of the table; a store with another version has another key and is not read
AS_IT_IS = -1  # visit number of an image that is judged unaugmented


@dataclass(frozen=True)
class GridImages:
    """The images of a grid. train: for each training set its names in the split's order, and the number of the repeat that
    orders them. judged: names. digests: name → hash of its pixels."""

    train: Sequence[tuple[Sequence[str], int]]
    judged: Sequence[str]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Grid:
    """What the pairs of a grid share: their depths c, how they train, and the room for their features in GB."""

    depths: Sequence[int]
    schedule: Schedule
    augment: Augment
    budget: float


def visits_needed(sets: Iterable[tuple[Sequence[str], int]], schedule: Schedule, seed: int) -> pd.DataFrame:
    """Return image, visits: the most times any training set (names, repeat) sees each image, in name order."""
    most: dict[str, int] = {}
    for names, repeat in sets:
        steps = (schedule.steps or math.ceil(len(names) / schedule.batch)) * schedule.epochs
        passes = steps * schedule.batch // len(names)
        counts = np.full(len(names), passes)
        for step in range(passes * len(names) // schedule.batch, steps):  # the last pass, if it is cut short
            indices, visits = positions(len(names), schedule.batch, step, seed + repeat)
            counts[indices[visits == passes]] = passes + 1
        for name, count in zip(names, counts.tolist(), strict=True):
            most[name] = max(most.get(name, 0), count)
    return pd.DataFrame({"image": sorted(most), "visits": [most[name] for name in sorted(most)]})


def choose_stages(
    network: ResNet, depths: Sequence[int], rows: int, side: int, bytes_each: int, budget: float, tell: Journal
) -> dict[str, tuple[int, ...]]:
    """Return the stages to store → shape of one row: those that save the grid's jobs most work within the budget.

    Only stages where the frozen part of some c ends are worth storing; a job starts from the last stored stage of its
    frozen part. rows: training and judged rows. budget: GB. The log says what the jobs have to compute themselves.
    """
    ends = [frozen[-1] for frozen in (frozen_stages(network, layers) for layers in depths) if frozen]
    shapes, work = _outputs(network, side)
    order = list(shapes)
    wanted = sorted(set(ends), key=order.index)
    sizes = {name: rows * math.prod(shapes[name]) * bytes_each / 1e9 for name in wanted}

    def left(chosen: Sequence[str]) -> float:
        """Return the multiplications in the frozen parts of all jobs, for one picture each."""
        starts = [max((work[name] for name in chosen if work[name] <= work[end]), default=0) for end in ends]
        return sum(work[end] - start for end, start in zip(ends, starts, strict=True))

    subsets = [subset for count in range(len(wanted) + 1) for subset in combinations(wanted, count)]
    affordable = [subset for subset in subsets if sum(sizes[name] for name in subset) <= budget]
    chosen = min(affordable, key=lambda subset: (left(subset), sum(sizes[name] for name in subset)))
    for name in chosen:
        tell(f"{name}: {rows} rows of {'×'.join(map(str, shapes[name]))}, {sizes[name]:.2f} GB")
    if left(chosen):
        tell(
            f"the budget of {budget:.1f} GB does not hold all stages ({', '.join(wanted)}: {sum(sizes.values()):.1f} GB): the "
            f"jobs compute the other frozen layers themselves, {left(chosen) / left(()):.0%} of the work without stored stages"
        )
    return {name: shapes[name] for name in chosen}


@torch.no_grad()
def _outputs(network: ResNet, side: int) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return for each stage its output shape for one picture, and the multiplications of all stages up to it."""
    shapes, work = {}, {}
    total = 0

    def count(convolution: nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * convolution.weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.Conv2d)]
    hidden, after = torch.zeros(1, 3, side, side), None
    for name, _ in stages(network):
        hidden, after = run_stages(network, hidden, after, name), name
        total += 1  # pooling multiplies nothing, but comes later
        shapes[name], work[name] = tuple(hidden.shape[1:]), total
    for hook in hooks:
        hook.remove()
    return shapes, work


def wanted_rows(images: GridImages, schedule: Schedule, seed: int) -> pd.DataFrame:
    """Return image, digest, visit of every picture that a grid needs; visit ``AS_IT_IS`` for judged images."""
    table = visits_needed(images.train, schedule, seed)
    repeated = np.repeat(table["image"].to_numpy(dtype=object), table["visits"])
    visits = np.concatenate([np.arange(count) for count in table["visits"]])
    rows = pd.DataFrame(
        {
            "image": np.append(repeated, np.array(images.judged, dtype=object)),
            "visit": np.append(visits, np.full(len(images.judged), AS_IT_IS)),
        }
    )
    rows.insert(1, "digest", rows["image"].map(images.digests))
    return rows


def placed(stored: pd.DataFrame, wanted: pd.DataFrame, stages: Sequence[str]) -> pd.DataFrame:
    """Give every wanted picture a place: its old one if it has one, else a free one, else a new one.

    stored, and the result: one row per place, with the columns of ``KEY`` and, for each stage, the checksum of the row
    stored there, or ``NONE``. A free place has no image. A stage without a column in `stored` has no rows stored.
    """
    known = stored[KEY].copy()
    known[list(stages)] = stored.reindex(columns=list(stages), fill_value=NONE).to_numpy(dtype=object)
    old = pd.MultiIndex.from_frame(known[KEY])
    asked = pd.MultiIndex.from_frame(wanted[KEY])
    known.loc[~old.isin(asked), KEY] = ["", "", AS_IT_IS]
    known.loc[~old.isin(asked), list(stages)] = NONE
    fresh = wanted[~asked.isin(old)]
    free = np.flatnonzero(known["image"] == "")[: len(fresh)]
    known.loc[free, KEY] = fresh[KEY].iloc[: len(free)].to_numpy()
    added = fresh[KEY].iloc[len(free) :].assign(**dict.fromkeys(stages, NONE))
    return pd.concat([known, added], ignore_index=True).astype({"visit": np.int64, **dict.fromkeys(stages, "str")})


def compute(
    network: ResNet,
    *,
    images: GridImages,
    pixels: ImageStore,
    grid: Grid,
    belongs_to: str,
    store: Path,
    run: Run,
) -> None:
    """Bring the store of a grid up to date and describe it in the file `store`.

    pixels: those of the images, at the side at which the network reads them. belongs_to: text naming network, source
    weights and code. An interruption loses no stored row.
    """
    device, tell, schedule, side = run.device, run.tell, grid.schedule, pixels.side
    wanted = wanted_rows(images, schedule, run.seed)
    pictures = len(wanted) - len(images.judged)
    passes = sum((schedule.steps or math.ceil(len(names) / schedule.batch)) for names, _ in images.train)
    alone = passes * schedule.epochs * schedule.batch
    tell(
        f"{pictures} stored pictures replace the {alone} that {len(images.train)} trainings of one depth would compute"
    )
    kind = "bfloat16" if device.bfloat16 else "float32"
    network.eval()
    shapes = choose_stages(network, grid.depths, len(wanted), side, TYPES[kind][1]().itemsize, grid.budget, tell)
    key = _key(FORMAT, belongs_to, side, schedule.batch, grid.augment.model_dump_json(), run.seed, kind)
    filling = Filling(store.parent / key, kind, shapes, wanted, tell)
    network.to(device.torch)
    if device.torch.type == "cpu":
        network.to(memory_format=torch.channels_last)
    missing = filling.missing()
    if len(missing) < len(wanted):
        tell(f"{len(wanted) - len(missing)} pictures are stored already")
    names, _, visits = filling.keys.T
    progress = Progress(tell, "pictures")
    done = 0
    with run.keeper.listening():
        # Augmented pictures (training), then plain ones (judging): a batch holds only one kind.
        for part in (missing[visits[missing] != AS_IT_IS], missing[visits[missing] == AS_IT_IS]):
            for filled, count in batches_of_one_size(part, schedule.batch):  # as large as in training
                here = np.array(filled)
                inputs = as_input(pixels.read(names[here].tolist()), device.torch)
                if visits[here[0]] != AS_IT_IS:
                    drawn = [
                        draws(name, int(visit), run.seed) for name, visit in zip(names[here], visits[here], strict=True)
                    ]
                    inputs = augmented(inputs, grid.augment, np.stack(drawn))
                for stage, hidden in _stages_of(network, inputs, list(shapes), device):
                    filling.write(stage, here[:count], _numbers(hidden[:count], kind))
                done += count
                progress(done, len(missing))
                if run.keeper.due():
                    filling.save()
                    run.keeper.save({})
    filling.save()
    content = {"key": key, "type": kind, "stages": {name: list(shape) for name, shape in shapes.items()}}
    store.write_text(json.dumps({**content, "rows": len(names), "pictures": len(wanted)}), encoding="utf-8")


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _keep_only(folder: Path) -> None:
    """Make the folder and remove the stores beside it, which belong to other weights, settings or code."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder and (other / TABLE).exists():
            shutil.rmtree(other)


class Filling:
    """A store being filled: its table, always written after the numbers it describes, and the files of its stages.

    Numbers are written to the files, not through memory maps: with those a full disk would kill the process without a
    message. Every method raises InputError if the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        shapes: Mapping[str, tuple[int, ...]],
        wanted: pd.DataFrame,
        tell: Callable[[str], None],
    ):
        self.folder, self.kind, self.shapes, self.tell = folder, kind, shapes, tell
        self.bytes = {name: math.prod(shape) * TYPES[kind][1]().itemsize for name, shape in shapes.items()}
        self.needed = len(wanted) * sum(self.bytes.values())
        self.written: set[str] = set()
        with self._disk():
            _keep_only(folder)
            self.rows = placed(self._held(), wanted, list(shapes))
            self.keys = self.rows[KEY].to_numpy(dtype=object)
            self.sums = {name: self.rows[name].to_numpy(dtype=object, copy=True) for name in shapes}
            _write_rows(self.rows, folder / TABLE)  # before writing to any place that held another picture
            for other in folder.glob("*.bin"):
                if other.stem not in shapes:
                    other.unlink()
            self.needed = len(self.rows) * sum(self.bytes.values())
            for name in shapes:
                reserve(self.path(name), max(1, len(self.rows)) * self.bytes[name])

    def path(self, stage: str) -> Path:
        return self.folder / f"{stage}.bin"

    def missing(self) -> np.ndarray:
        """Return, in order, the places of pictures that are missing in some stage."""
        lacking = np.any([sums == NONE for sums in self.sums.values()], axis=0)
        return np.flatnonzero((self.keys[:, 0] != "") & lacking)

    def write(self, stage: str, places: np.ndarray, numbers: np.ndarray) -> None:
        """Write rows (N, ...) of a stage to their places, ascending; rows already stored there stay."""
        with self._disk(), self.path(stage).open("r+b") as file:
            for place, row in zip(places.tolist(), numbers, strict=True):
                if self.sums[stage][place] == NONE:
                    file.seek(place * self.bytes[stage])
                    file.write(np.ascontiguousarray(row))
                    self.sums[stage][place] = checksums.of_row(row, owner(*self.keys[place]))
        self.written.add(stage)

    def save(self) -> None:
        """Flush the written rows to the disk, then replace the table."""
        with self._disk():
            for stage in self.written:
                with self.path(stage).open("rb") as file:
                    os.fsync(file.fileno())
            self.written.clear()
            _write_rows(self.rows.assign(**self.sums), self.folder / TABLE)

    def _held(self) -> pd.DataFrame:
        """Return the legible part of the table, without rows beyond the end of a truncated file."""
        table = self.folder / TABLE
        rows = _legible(table, self.tell) if table.exists() else pd.DataFrame(columns=KEY)
        for stage in self.shapes.keys() & rows.columns:
            path = self.path(stage)
            held = path.stat().st_size // self.bytes[stage] if path.exists() else 0
            lost = (rows[stage] != NONE) & (rows.index >= held)
            if lost.any():
                self.tell(
                    f"{path}: holds {held} rows, but {TABLE} names {len(rows)}; lost rows, computed again: {lost.sum()}"
                )
                rows.loc[lost, stage] = NONE
        return rows

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            free = shutil.disk_usage(next(place for place in self.folder.parents if place.exists())).free
            raise InputError(
                f"{self.folder}: cannot write the shared features here ({error.strerror or error}); they take "
                f"{self.needed / 1e6:,.1f} MB in all, {free / 1e6:,.1f} MB are free on this disk. Make room, or lower "
                "transfer.features_gb; what was stored before is kept"
            ) from None


def owner(image: str, digest: str, visit: int) -> str:
    """Return a text that identifies the picture of a row; it goes into the row's checksum."""
    return f"{image}\0{digest}\0{visit}"


def reserve(path: Path, size: int) -> None:
    """Give a file its size in bytes and reserve disk space for all of it; its content stays.

    If the file system cannot reserve space, the file only grows, and a full disk is noticed on writing. Raises OSError
    if there is no space; the file then keeps its former size.
    """
    with path.open("ab") as file:
        before = os.fstat(file.fileno()).st_size
        try:
            if size > before and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), before, size - before)
        except OSError as error:
            file.truncate(before)
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        file.truncate(size)


def _legible(path: Path, tell: Callable[[str], None]) -> pd.DataFrame:
    """Read a table that may be damaged, and report damage: illegible places are free, illegible checksums unrecorded."""
    try:
        rows = pd.read_csv(path, dtype="str", keep_default_na=False)
        sound = rows[KEY].notna().all(axis=1) & rows["visit"].str.fullmatch(r"-1|\d+", na=False)
    except (ValueError, KeyError) as error:
        tell(f"{path}: damaged ({error}) and not used; everything is computed again")
        return pd.DataFrame(columns=KEY)
    stages = rows.columns.drop(KEY)
    if not sound.all():
        tell(f"{path}: {(~sound).sum()} rows do not name their image; they are computed again")
        rows.loc[~sound, KEY] = ["", "", str(AS_IT_IS)]
        rows.loc[~sound, stages] = NONE
    for stage in stages:
        damaged = ~rows[stage].str.fullmatch(checksums.FORM, na=False)
        if damaged.any():
            tell(f"{path}: {damaged.sum()} rows of {stage} have no legible checksum; they are computed again")
            rows.loc[damaged, stage] = NONE
    return rows.astype({"visit": np.int64})


def _write_rows(rows: pd.DataFrame, path: Path) -> None:
    with replacing(path, newline="") as file:
        rows.to_csv(file, index=False)


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
class Store:
    """A store as the file `file` describes it. kind: of its numbers (``TYPES``); shapes: stage → shape of one row; count:
    number of rows in its table."""

    file: Path
    folder: Path
    kind: str
    shapes: Mapping[str, Sequence[int]]
    count: int

    def path(self, stage: str) -> Path:
        return self.folder / f"{stage}.bin"

    def numbers(self, stage: str) -> np.ndarray:
        """Return all complete rows of a stage, (N, ...), as a memory map; none if there is no file."""
        path, shape, numbers = self.path(stage), self.shapes[stage], TYPES[self.kind][1]
        held = path.stat().st_size // (math.prod(shape) * numbers().itemsize) if path.exists() else 0
        return np.memmap(path, numbers, "r", shape=(held, *shape)) if held else np.empty((0, *shape), numbers)

    def table(self, stages: Sequence[str]) -> pd.DataFrame:
        """Return the table with the columns of ``KEY`` and of these stages. Raises InputError if it is damaged."""
        path = self.folder / TABLE
        types = {"image": "str", "digest": "str", "visit": np.int64, **dict.fromkeys(stages, "str")}
        try:
            rows = pd.read_csv(path, dtype=types, usecols=list(types), keep_default_na=False)
            if len(rows) != self.count:
                raise ValueError(f"it has {len(rows)} rows, {self.count} were written")
        except (FileNotFoundError, ValueError) as error:
            raise unreadable(self.file, path, error) from None
        return rows

    def strike(self, stage: str, damaged: Collection[int]) -> InputError:
        """Strike damaged rows of a stage from the table, remove the description, and return the error that says so.

        It compares all rows of all stages with their checksums, so that one more run repairs everything. If the table
        already records the damage, another job has done this.
        """
        told = len(damaged)
        with open(self.folder / "lock", "a", encoding="utf-8", opener=locks.cautiously) as file:
            locks.take(file, wait=True)
            rows = self.table(list(self.shapes))
            new = [place for place in damaged if rows.at[place, stage] != NONE]
            if new:
                found = {name: self._damaged(rows, name) for name in self.shapes}
                found[stage] |= set(new)
                for name, places in found.items():
                    rows.loc[sorted(places), name] = NONE
                _write_rows(rows, self.folder / TABLE)
                told = len(found[stage])
            self.file.unlink(missing_ok=True)
        return InputError(
            f"{self.path(stage)}: {told} of {self.count} rows do not match their checksums; they are removed from {TABLE}. "
            "Run the same command again: it computes only these rows"
        )

    def _damaged(self, rows: pd.DataFrame, stage: str) -> set[int]:
        """Return the places of a stage whose row is missing or differs from the table's checksum."""
        numbers = self.numbers(stage)
        held = rows.index[rows[stage] != NONE]
        keys, sums = rows[KEY].to_numpy(dtype=object), rows[stage]
        return {
            place
            for place in held.tolist()
            if place >= len(numbers) or checksums.of_row(numbers[place], owner(*keys[place])) != sums.iat[place]
        }


def unreadable(store: Path, what: Path, error: Exception) -> InputError:
    """Remove the description of a damaged store, so that the next run repairs it; return the error that says so."""
    store.unlink(missing_ok=True)
    return InputError(
        f"{what}: not readable as stored features ({error}). Run the same command again: it computes what is lost and keeps "
        "the rest"
    )


def described(store: Path) -> Store:
    """Read the description of a store. Raises InputError if it is damaged or missing."""
    try:
        plan = json.loads(store.read_text(encoding="utf-8"))
        return Store(store, store.parent / plan["key"], plan["type"], plan["stages"], plan["rows"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise unreadable(store, store, error) from None
    except OSError as error:
        raise InputError(f"{store}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class Features:
    """One stage of a store, open for reading.

    numbers: (N, ...); rows: the table (``KEY``, `stage`), one row per place. sound: places whose checksums this process
    has verified.
    """

    store: Store
    stage: str
    numbers: np.ndarray
    rows: pd.DataFrame
    sound: set[int] = field(default_factory=set)

    def places(self, names: Sequence[str]) -> np.ndarray:
        """Return where visits 0, 1, … of these images lie: (N, visits) int64, -1 where the store lacks one."""
        mine = self._held[(self._held["visit"] != AS_IT_IS) & self._held["image"].isin(set(names))]
        found = np.full((len(names), int(mine["visit"].max()) + 1 if len(mine) else 1), -1)
        index = pd.Series(np.arange(len(names)), index=list(names))
        found[index[mine["image"]].to_numpy(), mine["visit"]] = mine.index
        return found

    def of_fixed(self, names: Sequence[str]) -> torch.Tensor:
        """Return the stage's output for unaugmented images, (N, ...)."""
        return self.at(self._fixed.reindex(list(names), fill_value=-1).to_numpy())

    def at(self, places: np.ndarray) -> torch.Tensor:
        """Return what is stored at these places, (N, ...).

        Raises InputError if one of them is -1, or if its content is not what was written; the next run computes it.
        """
        if (places < 0).any():
            self.store.file.unlink(missing_ok=True)
            raise InputError(
                f"{self.store.path(self.stage)}: a picture of this split is not among the stored features. Run the same "
                "command again: it computes what is missing"
            )
        taken = self.numbers[places]  # a copy: the verified numbers are the ones used
        damaged = self._damaged(places, taken)
        if damaged:
            raise self.store.strike(self.stage, damaged)
        bfloat16 = self.store.kind == "bfloat16"
        numbers = torch.from_numpy(taken.view(np.int16) if bfloat16 else taken)
        hidden = numbers.view(torch.bfloat16) if bfloat16 else numbers
        return hidden.contiguous(memory_format=torch.channels_last) if hidden.ndim == 4 else hidden

    def _damaged(self, places: np.ndarray, taken: np.ndarray) -> set[int]:
        """Return the places whose rows are not as written; compares only rows not compared before."""
        damaged = set()
        for place, row in zip(places.tolist(), taken, strict=True):
            if place not in self.sound:
                same = checksums.of_row(row, owner(*self._keys[place])) == self._sums[place]
                (self.sound if same else damaged).add(place)
        return damaged

    @cached_property
    def _held(self) -> pd.DataFrame:
        return self.rows[(self.rows[self.stage] != NONE) & (self.rows["image"] != "")]

    @cached_property
    def _fixed(self) -> pd.Series:
        judged = self._held[self._held["visit"] == AS_IT_IS]
        return pd.Series(judged.index, index=judged["image"])

    @cached_property
    def _sums(self) -> list[str]:
        return self.rows[self.stage].tolist()

    @cached_property
    def _keys(self) -> list[tuple[str, str, int]]:
        return list(self.rows[KEY].itertuples(index=False, name=None))


def open_nearest(store: Path, frozen: Sequence[str], device: Device) -> tuple[str, Features] | None:
    """Open the last of these stages that the store described by the file `store` has; None if it has none of them or
    was made in other arithmetic.

    Raises InputError if the store is damaged; the next run repairs it.
    """
    found = described(store)
    stage = next((name for name in reversed(frozen) if name in found.shapes), None)
    if stage is None or found.kind != ("bfloat16" if device.bfloat16 else "float32"):
        return None
    rows, numbers = found.table([stage]), found.numbers(stage)
    if len(numbers) < len(rows):
        raise found.strike(stage, range(len(numbers), len(rows)))
    return stage, Features(found, stage, numbers, rows)


class FeatureStream:
    """Training batches of a set from stored features: the same images, visits and targets as `batches.Stream`."""

    def __init__(
        self,
        names: Sequence[str],
        features: Features,
        targets: np.ndarray,
        batch: int,
        seed: int,
        device: torch.device,
        repeat: int = 0,
    ):
        self.names, self.features, self.targets = names, features, targets
        self.batch, self.seed, self.device, self.repeat = batch, seed, device, repeat
        self.places = features.places(names)

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        indices, visits = positions(len(self.names), self.batch, step, self.seed + self.repeat)
        beyond = visits >= self.places.shape[1]
        places = np.where(beyond, -1, self.places[indices, np.where(beyond, 0, visits)])
        hidden = self.features.at(places)
        return on_device(hidden, self.device), on_device(torch.from_numpy(self.targets[indices]), self.device)
