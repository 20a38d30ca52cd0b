"""The cost of saving the training state: the same training with and without saving, and one save by itself.

    PYTHONPATH=workflow python benchmarks/checkpoint.py [--steps 60] [--interval 5]

A ResNet50 with AdamW, trained whole (the largest state of the workflow), on random images; the two runs alternate.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import lines
import numpy as np
import torch

from cxr.classifiers.fit import sigmoid_objective, sigmoid_scores
from cxr.classifiers.networks import Classifier
from cxr.runtime.journal import Journal
from cxr.settings import DEFAULTS, Augment, Schedule
from cxr.training.batches import Stream
from cxr.training.checkpoint import SHARE, Keeper
from cxr.training.device import choose
from cxr.training.loop import Validation, fit
from cxr.training.runs import plain

SIDE = 64
ROUNDS = 2


class Counting(Keeper):
    """A keeper that adds up the cost of its saves."""

    total, saves, size = 0.0, 0, 0

    def save(self, content):
        super().save(content)
        self.total += self.spent
        self.saves += 1
        self.size = self.path.stat().st_size


def train(steps: int, keeper: Keeper, tell: Journal) -> float:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    pixels = {f"{number}": random.integers(0, 255, (SIDE, SIDE), dtype=np.uint8) for number in range(64)}
    names = list(pixels)

    def read(wanted):
        return np.stack([pixels[name] for name in wanted])

    targets = (random.random((len(names), 15)) < 0.1).astype(np.float32)
    device = choose("auto", 1)
    schedule = Schedule(epochs=1, steps=steps, batch=32, optimizer="adamw", learning_rate=1e-3)
    stream = Stream(names, read, targets, Augment(), schedule.batch, 0, device.torch)
    validation = Validation(names[:32], read, targets[:32], sigmoid_scores, ("accuracy", True))
    began = time.perf_counter()
    fit(
        Classifier("resnet50", 15),
        stream,
        sigmoid_objective(np.full(15, 0.1), balanced=True),
        validation,
        schedule,
        plain(0, device, tell, keeper),
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between saves; 0: the 1%% rule alone")
    lines.option(parser)
    options = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "log", "benchmark") as tell:
        without, beside, spent, saves, size = [], [], 0.0, 0, 0
        for _ in range(ROUNDS):
            without.append(train(options.steps, Keeper(None, "", 0, tell), tell))
            keeper = Counting(Path(name) / "state", "key", options.interval, tell)
            beside.append(train(options.steps, keeper, tell))
            spent, saves, size = spent + keeper.total, saves + keeper.saves, keeper.size
        interval = DEFAULTS.machine.checkpoint
        each = spent / max(saves, 1)
        print(f"{'':34}{'with states':>14}{'without':>14}{'ratio':>8}")
        print(f"{'training, s (best of ' + str(ROUNDS) + ')':34}{min(beside):>14.1f}{min(without):>14.1f}"
              f"{min(beside) / min(without):>8.3f}")  # fmt: skip
        ratio = min(without) / min(beside)
        lines.add(options.lines, "training with saved states", "s", min(beside), min(without), "saving nothing", ratio)
        print(f"one state: {size / 1e6:.0f} MB, {each:.2f} s; {saves} saves took {spent / sum(beside):.2%} of the time")
        print(
            f"at the default of {interval:.0f} s between states: {each / max(interval, each / SHARE):.2%} of the time"
        )


if __name__ == "__main__":
    main()
