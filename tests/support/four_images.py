"""A classifier that is trained on four images, and a keeper that stops it."""

import signal

import numpy as np
import torch

from cxr.classifiers.fit import sigmoid_scores
from cxr.classifiers.networks import Classifier
from cxr.settings import Augment
from cxr.training.batches import Stream
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.loop import Validation, fit
from cxr.training.runs import plain

CPU, ROUNDED = (Device(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))  # without instructions: emulated


def four_images():
    random = np.random.default_rng(0)
    pixels = {f"{number}.png": random.integers(0, 255, (32, 32), dtype=np.uint8) for number in range(4)}
    targets = np.zeros((4, 15), np.float32)
    targets[np.arange(4), [0, 3, 7, 14]] = 1
    return list(pixels), lambda names: np.stack([pixels[name] for name in names]), targets


def train(tell, objective, schedule, seed=0, keeper=None, augment=None, scores=sigmoid_scores, device=CPU):
    torch.manual_seed(seed)
    names, read, targets = four_images()
    network = Classifier("resnet10", 15)
    stream = Stream(names, read, targets, augment or Augment(), schedule.batch, seed, CPU.torch)
    validation = Validation(names, read, targets, scores, ("accuracy", True))
    outcome = fit(network, stream, objective, validation, schedule, plain(seed, device, tell, keeper))
    return network, outcome


class Stopping(Keeper):
    """A keeper that is asked to stop at its n-th chance to save, as a signal would ask."""

    def __init__(self, *arguments, chance):
        super().__init__(*arguments)
        self.chances = chance

    def due(self):
        self.chances -= 1
        if self.chances == 0:
            self.asked = signal.SIGTERM
        return super().due()
