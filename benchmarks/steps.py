"""One training step of a pair (c, s), as done here and in other ways: what pays and what does not.

    PYTHONPATH=workflow python benchmarks/steps.py [--layers 9 19] [--batch 32] [--rounds 5]

ResNet50 at 224 px on random numbers. The ways take turns, so that other work on the machine affects all of them. On a CPU
a job has one thread, and times are CPU times.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import lines
import numpy as np
import torch

from cxr.classifiers.fit import sigmoid_objective
from cxr.classifiers.networks import SOURCE_CLASSES, Tail, TransferClassifier, run_stages
from cxr.labels import LABELS
from cxr.training.batches import normalised
from cxr.training.device import Device, choose
from cxr.training.resnet import resnet

SIDE = 224


@dataclass
class Way:
    """How to take a step: from the output of the stage `after`, or from images (None)."""

    device: Device
    after: str | None
    layout: torch.memory_format = torch.channels_last
    compiled: bool = False
    threads: int = 1


class Step:
    """A step that can be repeated. `once`: time of the first, which may compile."""

    def __init__(self, layers: int, batch: int, way: Way):
        torch.manual_seed(0)
        self.way = way
        device = way.device.torch
        model = classifier(layers)
        pictures = torch.rand(batch, 1, SIDE, SIDE)
        if way.after:
            with torch.no_grad():
                pictures = run_stages(model.backbone.eval(), normalised(pictures), None, way.after)
        if way.after and way.device.bfloat16:
            pictures = pictures.bfloat16()
        if pictures.ndim == 4:
            pictures = pictures.contiguous(memory_format=way.layout)
        self.inputs = pictures.to(device)
        network = (Tail(model, way.after) if way.after else model).to(device)
        self.network = network.to(memory_format=way.layout).train()
        if way.compiled:
            self.network = torch.compile(self.network)
        self.targets = (torch.rand(batch, len(LABELS)) < 0.1).float().to(device)
        self.goal = sigmoid_objective(np.full(len(LABELS), 0.1), balanced=True)
        self.optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
        self.once = self.take()

    def take(self) -> float:
        """Take a step; return its CPU seconds over all threads, or its wall seconds on a GPU."""
        torch.set_num_threads(self.way.threads)
        on_gpu = self.way.device.torch.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        began = clock()
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.goal.learn(self.network, self.inputs, self.targets, self.way.device)
        loss.backward()
        self.optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - began


def classifier(layers: int) -> TransferClassifier:
    """Return a pair's network; its frozen batch norm has the source's statistics."""
    return TransferClassifier(resnet("resnet50", SOURCE_CLASSES), layers, len(LABELS), "features", "eval")


def ways(layers: int, device: Device) -> dict[str, Way]:
    """Return ours and the other ways to take a step, named by their difference."""
    ours = partial(Way, device, classifier(layers).shared[-1])
    result = {
        "ours": ours(),
        "channels first": ours(layout=torch.contiguous_format),
        "torch.compile": ours(compiled=True),
        "from layer3's output": Way(device, "layer3.5"),
        "the whole network": Way(device, None),
    }
    if device.bfloat16:  # without hardware for it, bfloat16 is emulated and takes minutes
        result["float32"] = Way(Device(device.torch, False), ours().after)
    cores = os.cpu_count() or 1
    if device.torch.type == "cpu" and cores > 1:
        result[f"{cores} threads, jobs in turn"] = ours(threads=cores)
    return result


def compare(layers: int, batch: int, rounds: int, device: Device, add: Callable[..., None]) -> None:
    steps = {name: Step(layers, batch, way) for name, way in ways(layers, device).items()}
    taken = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(step.take())
    ours = float(np.median(taken["ours"]))
    print(f"c = {layers}, from {steps['ours'].way.after}, batch {batch}: seconds of a step, medians of {rounds}")
    for name, seconds in taken.items():
        theirs = float(np.median(seconds))
        first = f"   the first {steps[name].once:.1f}" if steps[name].way.compiled else ""
        print(f"{name:28}{theirs:>9.4f}{theirs / ours:>8.2f}{first}")
        if name != "ours":
            add(f"a step, c = {layers}", "s", ours, theirs, name, theirs / ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[9, 19])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    lines.option(parser)
    options = parser.parse_args()
    for layers in options.layers:
        compare(layers, options.batch, options.rounds, choose("auto", 1), partial(lines.add, options.lines))


if __name__ == "__main__":
    main()
