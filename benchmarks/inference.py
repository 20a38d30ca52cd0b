"""The cost of predicting in float32 and in batches of one size: ours and the usual loop, in turn, in one run.

The usual loop predicts in the arithmetic of training and in batches of 64, the last one smaller. Prints both rates, and how
much a prediction changes when the image is predicted alone; then the cost of one epoch of the grid with its validation in
either arithmetic. Usage: PYTHONPATH=workflow python benchmarks/inference.py [--images 96] [--precision auto]
"""

import argparse
import time
from collections.abc import Callable

import lines
import numpy as np
import torch

from cxr.classifiers.fit import sigmoid_objective
from cxr.classifiers.networks import Classifier
from cxr.training.batches import as_input
from cxr.training.device import Device, choose
from cxr.training.loop import Objective, infer, judge

SIDE = 224
BATCH = 64
ROUNDS = 3
STEPS, TRAINED = 100, 32  # an epoch of the paper's grid: steps, and images per step
VALIDATED = (100, 1_000, 8_600)  # numbers of images; the last is a tenth of the release's training list


@torch.no_grad()
def usual(
    network: torch.nn.Module, names: list[str], read: Callable, objective: Objective, device: Device
) -> np.ndarray:
    """Predict as most programs do."""
    network.eval()
    found = []
    for start in range(0, len(names), BATCH):
        with device.autocast():
            outputs = network(as_input(read(names[start : start + BATCH]), device.torch))
        found.append(objective.predict(outputs.float()).cpu().numpy())
    return np.concatenate(found)


def rate(function: Callable, count: int) -> float:
    began = time.perf_counter()
    function()
    return count / (time.perf_counter() - began)


def step_seconds(network: torch.nn.Module, objective: Objective, device: Device) -> float:
    """Return the time of a training step of the whole network, the median of three."""
    network.train()
    images = torch.rand(TRAINED, 1, SIDE, SIDE, device=device.torch)
    targets = torch.zeros(TRAINED, 15, device=device.torch)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        optimizer.zero_grad()
        loss, _ = objective.learn(network, images, targets, device)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    lines.option(parser)
    options = parser.parse_args()
    device = choose(options.precision, options.threads)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    pixels = {f"{n}": random.integers(0, 255, (SIDE, SIDE), dtype=np.uint8) for n in range(options.images)}
    names = list(pixels)

    def read(wanted: list[str]) -> np.ndarray:
        return np.stack([pixels[name] for name in wanted])

    network = Classifier("resnet50", 15).to(device.torch)
    if device.torch.type == "cpu":
        network.to(memory_format=torch.channels_last)
    objective = sigmoid_objective(np.full(15, 0.1), balanced=False)
    targets = np.zeros((len(names), 15), np.float32)
    ours_rates, theirs_rates, judging_rates = [], [], []
    usual(network, names[:BATCH], read, objective, device)
    for _ in range(ROUNDS):
        ours_rates.append(rate(lambda: infer(network, names, read, objective, device), len(names)))
        theirs_rates.append(rate(lambda: usual(network, names, read, objective, device), len(names)))
        judging_rates.append(rate(lambda: judge(network, names, read, objective, device, targets), len(names)))
    ours, theirs, judging = map(float, map(np.median, (ours_rates, theirs_rates, judging_rates)))
    moved = {
        "ours": np.abs(
            infer(network, names[:3], read, objective, device) - infer(network, names, read, objective, device)[:3]
        ),
        "theirs": np.abs(
            usual(network, names[:3], read, objective, device) - usual(network, names, read, objective, device)[:3]
        ),
    }
    print(f"ResNet50 at {SIDE} px, {len(names)} images, {device.facts()['device']}, {device.facts()['precision']}")
    print(f"predicting: ours {ours:.1f} images/s, usual loop {theirs:.1f}, ratio {ours / theirs:.2f}")
    print(f"a prediction moves by at most {moved['ours'].max():.1e} (ours), {moved['theirs'].max():.1e} (usual loop)")
    step = step_seconds(network, objective, device)
    for count in VALIDATED:
        training = STEPS * step
        print(
            f"an epoch of {STEPS} steps of {TRAINED} ({training:.0f} s) and {count} validation images: "
            f"{training + count / judging:.0f} s judged as trained, {training + count / ours:.0f} s in float32, "
            f"{(training + count / ours) / (training + count / judging):.2f} times"
        )
    lines.add(options.lines, "predicting, ResNet50", "images/s", ours, theirs, "arithmetic of training", ours / theirs)


if __name__ == "__main__":
    main()
