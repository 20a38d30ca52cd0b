"""The training loop of every network that is trained here."""

import copy
import inspect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxr.errors import InputError
from cxr.settings import Schedule
from cxr.training.batches import Ahead, Stream, as_input, batches_of_one_size
from cxr.training.device import Device
from cxr.training.runs import Run

AT_ONCE = 16  # images judged at a time: fewer are slower, more are no faster on a CPU, and the last batch is padded
WARM_UP = 0.05  # share of the steps in which the learning rate of a cosine schedule rises
EARLY = 10  # a running mean of weights forgets faster in the first steps: its decay is step / (step + this) at most


class Goal(Protocol):
    """What a network minimises and how it is judged.

    learn: (network in training mode, inputs, targets, device) → the scalar to minimise, and the value to report, without
    a gradient. judge: (network in evaluation mode, inputs, targets or None, device) → predictions (N, ...), and the
    reported scalar (NaN without targets); with fewer targets than inputs, it covers the first inputs. at_once: images
    judged at a time.
    """

    at_once: int

    def learn(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, device: Device
    ) -> tuple[torch.Tensor, torch.Tensor]: ...

    def judge(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None, device: Device
    ) -> tuple[torch.Tensor, float]: ...


@dataclass(frozen=True)
class Objective:
    """The goal of a network whose loss follows from its outputs.

    loss: (outputs, targets) → scalar to minimise. measure: the same without re-weighting, as reported.
    predict: outputs → confidences in [0, 1].
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    predict: Callable[[torch.Tensor], torch.Tensor]
    at_once: int = AT_ONCE

    def learn(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, device: Device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = _outputs(network, inputs, device)
        return self.loss(outputs, targets), self.measure(outputs.detach(), targets)

    def judge(
        self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None, device: Device
    ) -> tuple[torch.Tensor, float]:
        outputs = _outputs(network, inputs, device)
        measured = math.nan if targets is None else self.measure(outputs[: len(targets)], targets).item()
        # In float64, because the last bit of a float32 sigmoid depends on the position in the batch.
        return self.predict(outputs.double()).float(), measured


def _outputs(network: nn.Module, inputs: torch.Tensor, device: Device) -> torch.Tensor:
    with device.autocast():
        outputs = network(inputs)
    return outputs.float()


def whole_network(network: nn.Module) -> nn.Module:
    """Return the network itself, the part that reads whole images."""
    return network


@dataclass(frozen=True)
class Validation:
    """Images judged after every epoch: pixels (N, S, S) uint8 by name, targets (N, ...) float32.

    scores: (confidences, targets) as arrays → metrics by name. better: the metric that picks the best epoch, and
    whether higher is better. part: from the network to the part that takes what `read` returns.
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], np.ndarray]
    targets: np.ndarray
    scores: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    better: tuple[str, bool]
    part: Callable[[nn.Module], nn.Module] = whole_network


@dataclass
class Outcome:
    """A finished training: history (one row per epoch; schema in docs/files.md) and facts about it."""

    history: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)


def fit(
    network: nn.Module,
    stream: Stream,
    objective: Goal,
    validation: Validation,
    schedule: Schedule,
    run: Run,
) -> Outcome:
    """Train the network in place, from the run's saved state where there is one, and leave it with the weights that
    `schedule.keep` names.

    A resumed training ends with the weights of an uninterrupted one: on a CPU, bit for bit.
    Raises InputError, naming the step, when a loss is not finite, and Interrupted when the run was asked to stop.
    """
    training = _Training(network, stream, objective, validation, schedule, run)
    with run.keeper.listening():
        training.resume()
        while not training.ended():
            training.epoch()
    return training.finish()


class _Training:
    """A training in progress; `state` returns all that changes from step to step."""

    def __init__(
        self,
        network: nn.Module,
        stream: Stream,
        objective: Goal,
        validation: Validation,
        schedule: Schedule,
        run: Run,
    ):
        self.network, self.objective = network, objective
        self.stream = Ahead(stream) if run.device.torch.type == "cuda" else stream  # a CPU has no spare time
        self.validation, self.schedule, self.run, self.device = validation, schedule, run, run.device
        self.images = len(stream.names)
        network.to(self.device.torch)
        if self.device.torch.type == "cpu":
            network.to(memory_format=torch.channels_last)
        self.steps = schedule.steps or math.ceil(self.images / schedule.batch)
        self.total = self.steps * schedule.epochs
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(self.parameters, schedule)
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: _decay(schedule, step, self.total))
        self.judged = copy.deepcopy(network) if schedule.average else network
        self.step = 0
        self.losses = torch.zeros((), device=self.device.torch)  # sum over the steps of this epoch
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"score": -math.inf, "epoch": 0, "network": None}
        self.elapsed = 0.0  # seconds of former attempts
        self.first = 0  # first step of this attempt
        self.began = self.told = time.monotonic()
        run.tell(
            f"{self.images} training and {len(validation.names)} validation images, {schedule.epochs} epochs of "
            f"{self.steps} steps of {schedule.batch}, {sum(p.numel() for p in self.parameters):,} trained parameters, "
            f"{self.device.facts()['device']}, {self.device.facts()['precision']}"
        )

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "network": trained_state(self.network),
            "averaged": trained_state(self.judged) if self.schedule.average else None,
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "losses": self.losses,
            "rows": self.rows,
            "best": self.best,
            "seconds": self.seconds(),
            "random": torch.get_rng_state(),
        }

    def resume(self) -> None:
        saved = self.run.keeper.load()
        if saved is None:
            return
        fresh = copy.deepcopy(self.state())
        try:
            self.take_up(saved)
        except Exception as error:  # complete and of this run, and still does not fit
            self.take_up(fresh)
            self.run.keeper.refuse(error)
            return
        self.run.tell(f"going on after step {self.step} of {self.total}, from the state of an earlier attempt")

    def take_up(self, saved: dict[str, Any]) -> None:
        """Restore what `state` returned; an exception may leave it half restored."""
        self.network.load_state_dict(saved["network"], strict=False)
        if self.schedule.average:
            self.judged.load_state_dict(saved["averaged"], strict=False)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rate.load_state_dict(saved["rate"])
        torch.set_rng_state(saved["random"])
        self.losses = saved["losses"].to(self.device.torch)
        self.step = self.first = saved["step"]
        self.rows, self.best, self.elapsed = saved["rows"], saved["best"], saved["seconds"]

    def ended(self) -> bool:
        waited = len(self.rows) - self.best["epoch"]
        return len(self.rows) >= self.schedule.epochs or 0 < self.schedule.patience <= waited

    def seconds(self) -> float:
        return self.elapsed + time.monotonic() - self.began

    def epoch(self) -> None:
        """Take the remaining steps of the current epoch, then judge the network on the validation images."""
        self.network.train()
        number = len(self.rows) + 1
        while self.step < number * self.steps:
            loss = self.take_step()
            now = time.monotonic()
            if now - self.told > 5 or self.step % 50 == 1:
                if not torch.isfinite(loss):
                    raise _not_finite(self.step, self.rate.get_last_lr()[0])
                if now - self.told > 5:
                    self.told = now
                    self.tell_step(number, loss)
            self.save_if_due()
        train_loss = self.losses.item() / self.steps
        if not math.isfinite(train_loss) or not all(weights.isfinite().all() for weights in self.parameters):
            raise _not_finite(self.step, self.rate.get_last_lr()[0])
        self.judge(number, train_loss)
        self.losses.zero_()
        self.save_if_due()

    def take_step(self) -> torch.Tensor:
        inputs, targets = self.stream(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss, measured = self.objective.learn(self.network, inputs, targets, self.device)
        loss.backward()
        self.optimizer.step()
        self.rate.step()
        self.losses += measured
        self.step += 1
        if self.schedule.average:
            follow(self.judged, self.network, min(self.schedule.average, self.step / (self.step + EARLY)))
        return loss

    def judge(self, number: int, train_loss: float) -> None:
        """Add the epoch's row to the history and remember its weights if they are the best so far."""
        judged = self.validation
        confidences, validation_loss = judge(
            judged.part(self.judged), judged.names, judged.read, self.objective, self.device, judged.targets
        )
        scores = judged.scores(confidences, judged.targets)
        self.rows.append(
            {
                "epoch": number,
                "step": self.step,
                "seconds": round(self.seconds(), 2),
                "learning_rate": self.rate.get_last_lr()[0],
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                **{f"validation_{name}": score for name, score in scores.items()},
            }
        )
        figures = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        self.run.tell(
            f"epoch {number}/{self.schedule.epochs}: train loss {train_loss:.4f}, "
            f"validation loss {validation_loss:.4f}, {figures}"
        )
        name, more = judged.better
        score = {**scores, "loss": validation_loss}[name] * (1 if more else -1)
        if self.schedule.keep == "best" and (score > self.best["score"] or self.best["network"] is None):
            weights = {key: tensor.clone() for key, tensor in trained_state(self.judged).items()}
            self.best = {"score": float(score), "epoch": number, "network": weights}

    def save_if_due(self) -> None:
        if self.run.keeper.due():
            self.run.keeper.save(self.state())

    def tell_step(self, epoch: int, loss: torch.Tensor) -> None:
        speed = (self.step - self.first) / (time.monotonic() - self.began)
        self.run.tell(
            f"epoch {epoch}/{self.schedule.epochs} step {self.step}/{self.total}: loss {loss.item():.4f}, "
            f"{speed * self.schedule.batch:.0f} images/s, {(self.total - self.step) / speed:.0f} s left"
        )

    def finish(self) -> Outcome:
        if self.schedule.average:
            self.network.load_state_dict(self.judged.state_dict())
        if self.best["network"] is not None:
            self.network.load_state_dict(self.best["network"], strict=False)
            self.run.tell(f"kept the weights of epoch {self.best['epoch']}, the best by {self.validation.better[0]}")
        if len(self.rows) < self.schedule.epochs:
            self.run.tell(
                f"stopped early: {self.schedule.patience} epochs without a better {self.validation.better[0]}"
            )
        seconds = self.seconds()
        facts = {
            "training_images": self.images,
            "validation_images": len(self.validation.names),
            "epochs": len(self.rows),
            "steps": self.step,
            "kept_epoch": self.best["epoch"] or len(self.rows),
            "seconds": round(seconds, 2),
            "images_per_second": round(self.step * self.schedule.batch / seconds, 1),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "trained_parameters": sum(parameter.numel() for parameter in self.parameters),
        }
        return Outcome(pd.DataFrame(self.rows), facts)


@torch.no_grad()
def follow(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Move a running mean of a network's weights and batch-norm statistics towards them by 1 - decay, in place."""
    for kept, now in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def infer(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    objective: Goal,
    device: Device,
) -> np.ndarray:
    """Return confidences (N, ...) float32 for the named images.

    An image's prediction does not depend on the others: it is computed in float32, in batches of one size.
    """
    return _told(network, names, read, objective, device.exact(), None)[0]


def judge(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    objective: Goal,
    device: Device,
    targets: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return confidences (N, ...) float32 for the named images and the mean measure against targets.

    Runs in the arithmetic of training, because it runs after every epoch; for choosing an epoch, not for reporting.
    """
    return _told(network, names, read, objective, device, targets)


@torch.no_grad()
def _told(
    network: nn.Module,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray],
    objective: Goal,
    device: Device,
    targets: np.ndarray | None,
) -> tuple[np.ndarray, float]:
    network.to(device.torch).eval()
    parts, total = [], 0.0
    for here, count in batches_of_one_size(names, objective.at_once):
        start = objective.at_once * len(parts)
        wanted = None if targets is None else torch.from_numpy(targets[start : start + count]).to(device.torch)
        inputs = as_input(read(here), device.torch)
        if not device.bfloat16:
            inputs = inputs.float()  # stored features may be in bfloat16
        predictions, measured = objective.judge(network, inputs, wanted, device)
        parts.append(predictions[:count].cpu().numpy())
        total += measured * count
    return np.concatenate(parts), total / len(names)


def trained_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return what training may have changed: trained parameters and all batch-norm statistics, on the CPU."""
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: tensor.detach().cpu() for name, tensor in network.state_dict().items() if name not in frozen}


def _optimizer(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    kind = _without_compiler(kinds[schedule.optimizer])
    extra = {"momentum": 0.9, "nesterov": True} if schedule.optimizer == "sgd" else {}
    return kind(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, **extra)


def _without_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Return the optimiser without the decorators that import PyTorch's compiler: half of a short job's start-up time.

    They matter only for compiled networks; the one around `step` also switches gradients off, which is kept.
    """
    names = ("step", "zero_grad", "add_param_group", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain["step"] = torch.no_grad()(plain["step"])
    return type(kind.__name__, (kind,), plain)


def _decay(schedule: Schedule, step: int, total: int) -> float:
    if schedule.decay == "constant":
        return 1.0
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _not_finite(step: int, rate: float) -> InputError:
    return InputError(
        f"the loss, or a weight, was not finite by step {step} (learning rate {rate:.2g}); lower the learning rate of this "
        "experiment, or set machine.precision to float32"
    )
