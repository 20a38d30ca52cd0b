"""The training loop: one for every network that is trained here."""

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.datasets import Stream, as_input
from cxr.device import Device
from cxr.errors import InputError
from cxr.journal import Journal
from cxr.settings import Schedule

WARM_UP = 0.05  # share of the steps over which a cosine schedule's learning rate rises


@dataclass(frozen=True)
class Objective:
    """What a network is trained on and judged by.

    loss: (outputs, targets) → scalar that is minimised. measure: the same without re-weighting, as reported.
    predict: outputs → confidences in [0, 1].
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    predict: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Validation:
    """Images judged after every epoch: pixels (N, S, S) uint8 by name, targets (N, ...) float32.

    scores: (confidences, targets) as arrays → metrics by name. better: the metric that picks the best epoch, and
    whether more of it is better.
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], np.ndarray]
    targets: np.ndarray
    scores: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    better: tuple[str, bool]


@dataclass
class Outcome:
    """A finished training: history (one row an epoch; schema in docs/files.md) and facts about the run."""

    history: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)


def fit(
    network: nn.Module,
    stream: Stream,
    objective: Objective,
    validation: Validation,
    schedule: Schedule,
    device: Device,
    tell: Journal,
) -> Outcome:
    """Train the network in place and leave it with the weights that `schedule.keep` names.

    Raises InputError when a loss is not finite, saying in which step.
    """
    network.to(device.torch)
    if device.torch.type == "cpu":
        network.to(memory_format=torch.channels_last)
    steps = schedule.steps or math.ceil(len(stream.names) / schedule.batch)
    total = steps * schedule.epochs
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = _optimizer(parameters, schedule)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _decay(schedule, step, total))
    rows: list[dict[str, float]] = []
    best_score, best_state, best_epoch = -math.inf, None, 0
    began = told = time.monotonic()
    tell(
        f"{len(stream.names)} training and {len(validation.names)} validation images, {schedule.epochs} epochs of "
        f"{steps} steps of {schedule.batch}, {sum(p.numel() for p in parameters):,} trained parameters, "
        f"{device.facts()['device']}, {device.facts()['precision']}"
    )
    for epoch in range(1, schedule.epochs + 1):
        network.train()
        losses = torch.zeros((), device=device.torch)
        for step in range((epoch - 1) * steps, epoch * steps):
            inputs, targets = stream(step)
            optimizer.zero_grad(set_to_none=True)
            with device.autocast():
                outputs = network(inputs)
            outputs = outputs.float()
            loss = objective.loss(outputs, targets)
            loss.backward()
            optimizer.step()
            rate.step()
            losses += objective.measure(outputs.detach(), targets)
            now = time.monotonic()
            if now - told > 5 or step % 50 == 0:
                if not torch.isfinite(loss):
                    raise _not_finite(step, rate.get_last_lr()[0])
                if now - told > 5:
                    told = now
                    done = step + 1
                    speed = done * schedule.batch / (now - began)
                    left = (total - done) * (now - began) / done
                    tell(
                        f"epoch {epoch}/{schedule.epochs} step {done}/{total}: loss {loss.item():.4f}, "
                        f"{speed:.0f} images/s, {left:.0f} s left"
                    )
        train_loss = losses.item() / steps
        if not math.isfinite(train_loss):
            raise _not_finite(epoch * steps - 1, rate.get_last_lr()[0])
        confidences, validation_loss = infer(
            network, validation.names, validation.read, objective, device, validation.targets
        )
        scores = validation.scores(confidences, validation.targets)
        rows.append(
            {
                "epoch": epoch,
                "step": epoch * steps,
                "seconds": round(time.monotonic() - began, 2),
                "learning_rate": rate.get_last_lr()[0],
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                **{f"validation_{name}": score for name, score in scores.items()},
            }
        )
        figures = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        tell(
            f"epoch {epoch}/{schedule.epochs}: train loss {train_loss:.4f}, validation loss {validation_loss:.4f}, {figures}"
        )
        name, more = validation.better
        score = {**scores, "loss": validation_loss}[name] * (1 if more else -1)
        if schedule.keep == "best" and (score > best_score or best_state is None):
            best_score, best_epoch = score, epoch
            best_state = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
    if best_state is not None:
        network.load_state_dict(best_state)
        tell(f"kept the weights of epoch {best_epoch}, the best by {validation.better[0]}")
    seconds = time.monotonic() - began
    facts = {
        "training_images": len(stream.names),
        "validation_images": len(validation.names),
        "epochs": schedule.epochs,
        "steps": total,
        "kept_epoch": best_epoch or schedule.epochs,
        "seconds": round(seconds, 2),
        "images_per_second": round(total * schedule.batch / seconds, 1),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trained_parameters": sum(parameter.numel() for parameter in parameters),
        **device.facts(),
        **versions(),
    }
    return Outcome(pd.DataFrame(rows), facts)


@torch.no_grad()
def infer(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    objective: Objective,
    device: Device,
    targets: np.ndarray | None = None,
    batch: int = 64,
) -> tuple[np.ndarray, float]:
    """Return confidences (N, ...) float32 for the named images, and the mean measure against targets (NaN without)."""
    network.to(device.torch).eval()
    parts, total = [], 0.0
    for start in range(0, len(names), batch):
        here = names[start : start + batch]
        with device.autocast():
            outputs = network(as_input(read(here), device.torch))
        outputs = outputs.float()
        parts.append(objective.predict(outputs).cpu().numpy())
        if targets is not None:
            wanted = torch.from_numpy(targets[start : start + batch]).to(device.torch)
            total += objective.measure(outputs, wanted).item() * len(here)
    return np.concatenate(parts), total / len(names) if targets is not None else math.nan


def versions() -> dict[str, str]:
    """Return the versions a result depends on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def _optimizer(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    extra = {"momentum": 0.9, "nesterov": True} if schedule.optimizer == "sgd" else {}
    return kinds[schedule.optimizer](parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, **extra)


def _decay(schedule: Schedule, step: int, total: int) -> float:
    if schedule.decay == "constant":
        return 1.0
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _not_finite(step: int, rate: float) -> InputError:
    return InputError(
        f"the loss was not finite by step {step + 1} (learning rate {rate:.2g}); lower the learning rate of this "
        "experiment, or set machine.precision to float32"
    )
