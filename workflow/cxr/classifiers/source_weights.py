"""Source weights of transfer learning: random, pre-trained here on generated textures, from ImageNet, or from a file."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cxr.classifiers import transfer
from cxr.classifiers.networks import Classifier
from cxr.errors import InputError
from cxr.phantoms import textures
from cxr.runtime import checksums
from cxr.settings import Augment, Source
from cxr.training import weights
from cxr.training.batches import Stream
from cxr.training.loop import Objective, Validation, fit
from cxr.training.runs import Run
from cxr.training.tensors import write_tensors

IMAGENET = {"resnet50": "ResNet50_Weights", "resnet18": "ResNet18_Weights"}  # of torchvision.models
VALIDATION_SHARE = 0.1
AUGMENT = Augment(horizontal_flip=0.5, vertical_flip=0.5, rotation=20, zoom=0.2, brightness=0.2)


def prepare(
    *,
    settings: Source,
    network: str,
    image_size: int,
    run: Run,
    model: Path,
    fingerprint: Path,
    history: Path,
    facts: Path,
) -> None:
    """Write the source weights (a ResNet state dict), their SHA-256, history (empty unless trained here) and facts."""
    own: dict[str, Any] = {"network": network, "kind": settings.kind}
    history.write_text("epoch,step,seconds,learning_rate,train_loss,validation_loss\n", encoding="utf-8")
    if settings.kind == "textures":
        own |= pretrain(settings, network, image_size, run, model, history)
    elif settings.kind == "random":
        transfer.write_random_source(model, network, run.seed)
    elif settings.kind == "imagenet" and not settings.file:
        write_tensors(from_hub(network), model)
    else:
        given = weights.verify(Path(settings.file), settings.sha256, "source weights (source.file)")
        transfer.load_source(given, network)
        shutil.copyfile(given, model)
        own |= {"file": given.name, "file_sha256": checksums.sha256_of(given)}
    own["sha256"] = checksums.sha256_of(model)
    run.tell(f"source weights: {settings.kind}, sha256 {own['sha256'][:12]}")
    fingerprint.write_text(own["sha256"] + "\n", encoding="utf-8")
    facts.write_text(json.dumps(own | run.facts(), indent=1), encoding="utf-8")


def from_hub(network: str) -> dict[str, torch.Tensor]:
    """Return torchvision's ImageNet weights, checked against the hash in their file name.

    Raises InputError, saying what to download and where to put it, if the network has none or the hub cannot be reached.
    """
    if network not in IMAGENET:
        raise InputError(
            f"network.name = {network} has no ImageNet weights (these exist for {', '.join(IMAGENET)}); set source.kind to "
            "textures, random or file"
        )
    from torchvision import models  # slow to import (seconds), and only needed here

    entry = getattr(models, IMAGENET[network]).IMAGENET1K_V1
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError) as error:
        raise InputError(
            f"ImageNet weights of {network} could not be downloaded ({error}). Download {entry.url.rsplit('/', 1)[1]} "
            f"({entry}, listed in torchvision's model documentation) on another machine, and name the copy in source.file"
        ) from None


def pretrain(
    settings: Source,
    network: str,
    image_size: int,
    run: Run,
    model: Path,
    history: Path,
) -> dict[str, Any]:
    """Train the network to tell generated textures apart; write its weights and history, return facts."""
    torch.manual_seed(run.seed)
    pixels, classes = textures.draw(settings.images, image_size, run.seed)
    run.tell(f"drew {len(pixels)} textures of {textures.N_CLASSES} classes at {image_size} px")
    held_out = round(len(pixels) * VALIDATION_SHARE)
    names = [f"texture-{number}" for number in range(len(pixels))]

    def read(wanted: Sequence[str]) -> np.ndarray:
        return pixels[[int(name.removeprefix("texture-")) for name in wanted]]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets)

    objective = Objective(loss, loss, lambda outputs: outputs.softmax(1))
    schedule = settings.training
    stream = Stream(names[held_out:], read, classes[held_out:], AUGMENT, schedule.batch, run.seed, run.device.torch)
    validation = Validation(names[:held_out], read, classes[:held_out], _accuracy, ("accuracy", True))
    classifier: nn.Module = Classifier(network, textures.N_CLASSES)
    outcome = fit(classifier, stream, objective, validation, schedule, run)
    write_tensors(classifier.backbone.cpu().state_dict(), model)
    outcome.history.to_csv(history, index=False)
    return {"pretrained_on": f"{len(pixels)} generated textures of {textures.N_CLASSES} classes", **outcome.facts}


def _accuracy(confidences: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    return {"accuracy": float((confidences.argmax(1) == classes).mean())}
