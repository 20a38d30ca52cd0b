"""The training loop: it learns, is deterministic, keeps what it is told to, stops on nonsense and goes on after a kill."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from four_images import CPU, ROUNDED, Stopping, four_images, train

from cxr.classifiers.fit import sigmoid_objective, sigmoid_scores, softmax_objective
from cxr.classifiers.networks import Classifier
from cxr.errors import InputError, Interrupted
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule
from cxr.training.batches import Stream
from cxr.training.checkpoint import Keeper
from cxr.training.loop import Validation, fit, follow, judge
from cxr.training.runs import plain


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


@pytest.mark.parametrize("device", [CPU, ROUNDED])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_model_overfits_four_images(tell, kind, device):
    objective = softmax_objective() if kind == "softmax" else sigmoid_objective(np.full(15, 0.1), balanced=False)
    schedule = Schedule(epochs=1, steps=60, batch=4, optimizer="adam", learning_rate=3e-3)
    network, outcome = train(tell, objective, schedule, device=device)
    names, read, targets = four_images()
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():  # batch statistics, as four images say little about the running ones
        from cxr.training.batches import as_input

        confidence = objective.predict(network(as_input(read(names), CPU.torch))).numpy()
    assert (confidence.argmax(1) == targets.argmax(1)).all()
    assert outcome.facts["steps"] == 60


@pytest.mark.parametrize("device", [CPU, ROUNDED])
def test_the_same_seed_gives_the_same_model(tell, device):
    schedule = Schedule(epochs=2, steps=3, batch=2)
    objective = sigmoid_objective(np.full(15, 0.1), balanced=True)
    runs = [train(tell, objective, schedule, seed, device=device) for seed in (1, 1, 2)]
    states = [network.state_dict()["backbone.fc.weight"] for network, _ in runs]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert runs[0][1].history["train_loss"].tolist() == runs[1][1].history["train_loss"].tolist()


def test_keep_best_returns_the_weights_of_the_best_epoch(tell):
    """The second of four: what a training of two epochs ends with, to the last bit."""
    schedule = Schedule(epochs=4, steps=1, batch=4, learning_rate=0.05)
    objective = sigmoid_objective(np.full(15, 0.1), balanced=False)
    scores = iter([0.1, 0.9, 0.3, 0.2])
    best = schedule.model_copy(update={"keep": "best"})
    network, outcome = train(tell, objective, best, scores=lambda *_: {"accuracy": next(scores)})
    two, _ = train(tell, objective, schedule.model_copy(update={"epochs": 2}))
    four, _ = train(tell, objective, schedule)
    assert outcome.facts["kept_epoch"] == 2 and outcome.facts["epochs"] == 4
    same = [torch.equal(tensor, two.state_dict()[name]) for name, tensor in network.state_dict().items()]
    assert all(same)
    assert not torch.equal(network.backbone.fc.weight, four.backbone.fc.weight)


@pytest.mark.parametrize("chance", [None, 2, 3, 5, 8])  # a step and an epoch's end are two chances
def test_early_stopping_ends_so_many_epochs_after_the_best_interrupted_or_not(tell, tmp_path, chance):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    options = {"scores": lambda *_: {"accuracy": next(scores)}}
    objective = sigmoid_objective(np.full(15, 0.1), balanced=False)
    schedule = Schedule(epochs=9, steps=1, batch=4, keep="best", patience=2)
    if chance:
        with pytest.raises(Interrupted):
            train(
                tell, objective, schedule, keeper=Stopping(tmp_path / "state", "key", 0, tell, chance=chance), **options
            )
    _, outcome = train(tell, objective, schedule, keeper=Keeper(tmp_path / "state", "key", 1e9, tell), **options)
    assert outcome.history["validation_accuracy"].tolist() == [0.1, 0.3, 0.2, 0.3], "equal is no better"
    assert outcome.facts["epochs"] == outcome.facts["steps"] == 4
    assert outcome.facts["kept_epoch"] == 2
    assert "stopped early: 2 epochs without a better accuracy" in (tmp_path / "log.txt").read_text()


def test_stopping_early_and_keeping_the_last_epoch_do_not_go_together():
    with pytest.raises(ValueError, match="keep: best"):
        Schedule(patience=3)


def test_a_loss_that_is_not_finite_stops_the_job_and_says_where(tell):
    schedule = Schedule(epochs=3, steps=20, batch=4, optimizer="sgd", learning_rate=10.0)
    broken = sigmoid_objective(np.full(15, 0.1), balanced=False)
    exploding = type(broken)(lambda o, t: broken.loss(o * 1e20, t) * 1e30, broken.measure, broken.predict)
    with pytest.raises(InputError, match="not finite by step"):
        train(tell, exploding, schedule)


def test_a_weight_that_is_not_finite_after_the_last_step_stops_the_job(tell):
    """The loss of the step that breaks it was finite."""
    sound = sigmoid_objective(np.full(15, 0.1), balanced=False)
    broken = type(sound)(  # the gradient of a root at 0
        lambda o, t: sound.loss(o, t) + (o * 0).square().sum().sqrt(), sound.measure, sound.predict
    )
    with pytest.raises(InputError, match="a weight, was not finite by step 1"):
        train(tell, broken, Schedule(epochs=1, steps=1, batch=4))


def test_a_balanced_loss_still_predicts_probabilities():
    """With the best constant logit of the weighted loss, the prediction is the prevalence."""
    share = np.full(15, 0.1)
    objective = sigmoid_objective(share, balanced=True)
    logit = torch.zeros(1, 15, requires_grad=True)
    targets = torch.zeros(10, 15)
    targets[0] = 1
    optimizer = torch.optim.SGD([logit], lr=5.0)
    for _ in range(400):
        optimizer.zero_grad()
        objective.loss(logit.expand(10, 15), targets).backward()
        optimizer.step()
    assert torch.allclose(objective.predict(logit.detach()), torch.tensor(0.1), atol=1e-3)


def test_softmax_loss_is_keras_categorical_cross_entropy_on_multi_hot_targets():
    outputs = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    targets = torch.tensor([[1.0, 0.0, 1.0]])
    assert softmax_objective().loss(outputs, targets).item() == pytest.approx(-np.log(0.5) - np.log(0.2), rel=1e-5)


def test_a_running_mean_of_weights_by_hand():
    mean, network = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1)
    network.weight.data[:], network.running_mean[:], network.num_batches_tracked[...] = 3, 10, 7
    follow(mean, network, 0.9)
    assert mean.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 3)
    assert mean.running_mean.item() == pytest.approx(1)
    assert mean.num_batches_tracked == 7


def test_the_running_mean_is_what_is_judged_and_kept(tell):
    objective = sigmoid_objective(np.full(15, 0.1), balanced=False)
    plain_weights = Schedule(epochs=2, steps=3, batch=4, learning_rate=0.05)
    same, _ = train(tell, objective, plain_weights.model_copy(update={"average": 1e-9}))
    last, _ = train(tell, objective, plain_weights)
    mean, outcome = train(tell, objective, plain_weights.model_copy(update={"average": 0.9}))
    name = "backbone.fc.weight"
    assert torch.allclose(same.state_dict()[name], last.state_dict()[name], atol=1e-6)
    assert not torch.allclose(mean.state_dict()[name], last.state_dict()[name], atol=1e-3)
    names, read, targets = four_images()
    _, loss = judge(mean, names, read, objective, CPU, targets)
    assert loss == pytest.approx(outcome.history["validation_loss"].iloc[-1], rel=1e-5)


class Number(torch.nn.Module):
    """A network of one number."""

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))


class Descent:
    """A goal whose gradient is 1 in every step, so that Adam moves the number by the learning rate.

    losses: what the epochs' validation losses are told to be. What the loop did is written down: the number before each
    step, and whether the network was in training mode. What is measured of step n is n.
    """

    at_once = 4

    def __init__(self, losses=()):
        self.losses, self.before, self.learning, self.judging = iter(losses), [], [], []

    def learn(self, network, inputs, targets, device):
        self.before.append(network.value.item())
        self.learning.append(network.training)
        return network.value * 1, torch.tensor(float(len(self.before)))

    def judge(self, network, inputs, targets, device):
        self.judging.append(network.training)
        return network.value.expand(len(inputs)), next(self.losses, 0.0)


def descended(tell, schedule, goal=None, better=("accuracy", True), images=4, keeper=None):
    """Train the number; return it, the goal and the outcome."""
    names = [f"{number}.png" for number in range(images)]
    targets = np.zeros(images, np.float32)

    def read(wanted):
        return np.zeros((len(wanted), 2, 2), np.uint8)

    network, goal = Number(), goal or Descent()
    stream = Stream(names, read, targets, Augment(), schedule.batch, 0, CPU.torch)
    validation = Validation(names, read, targets, lambda *_: {"accuracy": 0.5}, better)
    outcome = fit(network, stream, goal, validation, schedule, plain(0, CPU, tell, keeper))
    return network.value.item(), goal, outcome


@pytest.mark.parametrize("decay", ["constant", "cosine"])
def test_every_step_moves_by_the_learning_rate_of_the_schedule(tell, decay):
    """Of 40 steps a cosine schedule warms up in two, to half and to all of the rate, and ends one step before 0."""
    schedule = Schedule(epochs=2, steps=20, batch=4, learning_rate=0.01, decay=decay)
    value, goal, outcome = descended(tell, schedule)
    moved = -np.diff([*goal.before, value]) / 0.01
    falling = np.cos(np.arange(38) * np.pi / 2 / 38) ** 2
    expected = np.ones(40) if decay == "constant" else [0.5, 1, *falling]
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-9)
    following = 0.01 * np.array([1, 1] if decay == "constant" else [falling[18], 0])
    np.testing.assert_allclose(outcome.history["learning_rate"], following, atol=1e-9)


@pytest.mark.parametrize(("keep", "steps"), [("last", 24), ("best", 12)])
def test_the_running_mean_of_a_training_forgets_its_first_steps_faster(tell, keep, steps):
    """By hand from the number's path: the decay of step n is n / (n + 10), but 0.5 at most, from step 10 on."""
    schedule = Schedule(epochs=2, steps=12, batch=4, learning_rate=0.01, average=0.5, keep=keep)
    value, goal, _ = descended(tell, schedule, Descent([1, 2]), ("loss", False))
    path = [*goal.before[1:], 24 * -0.01]
    mean = 0.0
    for step, now in enumerate(path[:steps], 1):
        decay = step / (step + 10) if step < 10 else 0.5
        mean = decay * mean + (1 - decay) * now
    assert value == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(("better", "kept"), [(("loss", False), 2), (("loss", True), 3)])
def test_less_may_be_better(tell, better, kept):
    schedule = Schedule(epochs=4, steps=1, batch=4, learning_rate=0.01, keep="best")
    value, _, outcome = descended(tell, schedule, Descent([0.5, 0.2, 0.9, 0.3]), better)
    assert outcome.facts["kept_epoch"] == kept
    assert value == pytest.approx(-0.01 * kept, rel=1e-5)
    assert outcome.history["validation_loss"].tolist() == [0.5, 0.2, 0.9, 0.3]


def test_an_epochs_training_loss_is_the_mean_of_what_its_own_steps_measured(tell):
    _, _, outcome = descended(tell, Schedule(epochs=3, steps=4, batch=4))
    assert outcome.history["train_loss"].tolist() == [2.5, 6.5, 10.5]
    assert outcome.history["step"].tolist() == [4, 8, 12]


def test_without_a_number_of_steps_an_epoch_sees_every_image(tell):
    _, goal, outcome = descended(tell, Schedule(epochs=2, steps=0, batch=2), images=5)
    assert len(goal.before) == outcome.facts["steps"] == 6


def test_a_network_learns_in_training_mode_and_is_judged_in_evaluation_mode(tell):
    _, goal, _ = descended(tell, Schedule(epochs=3, steps=2, batch=4))
    assert goal.learning == [True] * 6 and goal.judging == [False] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_what_a_cluster_sends_ahead_of_its_limit_stops_a_training_at_its_next_step(tell, tmp_path, number):
    """By default SIGUSR1 would end the process, and all since the last saved state with it; afterwards it may again."""
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    goal = Descent()

    def learn(*arguments):
        if len(goal.before) == 2:
            os.kill(os.getpid(), number)
        return Descent.learn(goal, *arguments)

    def before(number, frame):  # a handler of the test's own: uncaught, the signal would end all tests
        pass

    goal.learn = learn
    former = signal.signal(number, before)
    try:
        with pytest.raises(Interrupted, match=number.name):
            descended(tell, Schedule(epochs=2, steps=4, batch=4), goal, keeper=keeper)
        assert signal.getsignal(number) == before
    finally:
        signal.signal(number, former)
    assert len(goal.before) == 3
    assert Keeper(tmp_path / "state", "key", 1e9, tell).load()["step"] == 3


@pytest.mark.parametrize(("optimizer", "device"), [("sgd", CPU), ("adamw", CPU), ("adamw", ROUNDED)])
@pytest.mark.parametrize(("keep", "average"), [("best", 0), ("last", 0), ("best", 0.8), ("last", 0.8)])
@pytest.mark.parametrize("chances", [[1], [3], [4], [7], [2, 2, 5]])  # 3 steps and an epoch's end are 4 chances
def test_an_interrupted_training_ends_with_the_same_model_bit_for_bit(
    tell, tmp_path, optimizer, device, keep, average, chances
):
    cosine = {"optimizer": optimizer, "learning_rate": 0.01, "decay": "cosine"}
    schedule = Schedule(epochs=3, steps=3, batch=3, keep=keep, average=average, **cosine)
    objective = sigmoid_objective(np.full(15, 0.1), balanced=True)
    augment = Augment(horizontal_flip=0.5, rotation=10, brightness=0.2)
    whole, expected = train(tell, objective, schedule, augment=augment, device=device)
    for number, chance in enumerate(chances):
        keeper = Stopping(tmp_path / "state", "key", 0, tell, chance=chance)
        with pytest.raises(Interrupted, match="SIGTERM"):
            train(tell, objective, schedule, augment=augment, keeper=keeper, device=device)
        assert keeper.resumed == number
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    resumed, outcome = train(tell, objective, schedule, augment=augment, keeper=keeper, device=device)
    assert keeper.resumed == len(chances)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    timeless = [table.history.drop(columns="seconds") for table in (expected, outcome)]
    assert timeless[0].equals(timeless[1])
    assert outcome.facts["kept_epoch"] == expected.facts["kept_epoch"]


PROGRAM = """
import sys, time, torch, numpy as np
from pathlib import Path
sys.path[:0] = [{tests!r}, {package!r}]
import four_images as t
from cxr.classifiers.fit import sigmoid_objective
from cxr.runtime.journal import Journal
from cxr.settings import Schedule
from cxr.training.checkpoint import Keeper
schedule = Schedule(epochs=2, steps=80, batch=4, optimizer="adamw", learning_rate=0.001)
with Journal({folder!r} + "/log.txt", "test") as tell:
    keeper = Keeper(Path({folder!r}) / "state", "key", 0.05, tell)
    network, outcome = t.train(tell, sigmoid_objective(np.full(15, 0.1), balanced=True), schedule, keeper=keeper)
    torch.save(network.state_dict(), {folder!r} + "/model.pt")
    keeper.clear()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_a_state_from_which_the_next_ends_with_the_same_model(repository, tmp_path, number):
    def start(folder):
        folder.mkdir(exist_ok=True)
        paths = {"tests": str(repository / "tests/support"), "package": str(repository / "workflow")}
        code = PROGRAM.format(**paths, folder=str(folder))
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    state = tmp_path / "killed/state"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() != 0
    assert state.exists() and not (tmp_path / "killed/model.pt").exists()
    assert start(tmp_path / "killed").wait() == 0
    assert "going on after step" in (tmp_path / "killed/log.txt").read_text()
    assert not state.exists()
    one, other = (torch.load(tmp_path / name / "model.pt") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimisers_step_as_pytorchs_own_and_import_no_compiler(repository, optimizer):
    """In a process of its own: what one import of torch's compiler brings stays."""
    script = f"""
        import sys, torch
        from torch import nn
        from cxr.settings import Schedule
        from cxr.training.loop import _optimizer

        def trained(make):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))
            optimizer = make(list(network.parameters()))
            rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            for step in range(5):
                optimizer.zero_grad(set_to_none=True)
                network(torch.randn(4, 5)).square().mean().backward()
                optimizer.step()
                rate.step()
                optimizer.load_state_dict(optimizer.state_dict())
            return [parameter.detach() for parameter in network.parameters()]

        schedule = Schedule(optimizer="{optimizer}", learning_rate=0.1, weight_decay=0.01)
        ours = trained(lambda parameters: _optimizer(parameters, schedule))
        assert "torch._dynamo" not in sys.modules
        kind = {{"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}}["{optimizer}"]
        extra = {{"momentum": 0.9, "nesterov": True}} if "{optimizer}" == "sgd" else {{}}
        theirs = trained(lambda parameters: kind(parameters, lr=0.1, weight_decay=0.01, **extra))
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
        assert all(parameter.requires_grad is False for parameter in ours)
    """
    package = repository / "workflow"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_validation_can_be_judged_by_a_part_of_the_network(tell):
    """Stored features of the frozen part save its passes over the validation images, epoch by epoch."""
    objective = softmax_objective()
    schedule = Schedule(epochs=2, steps=3, batch=4)
    names, read, targets = four_images()

    def history(judge):
        torch.manual_seed(0)
        network = Classifier("resnet10", 15)
        part, reads = judge
        validation = Validation(names, reads, targets, sigmoid_scores, ("accuracy", True), part)
        stream = Stream(names, read, targets, Augment(), schedule.batch, 0, CPU.torch)
        return fit(network, stream, objective, validation, schedule, plain(0, CPU, tell)).history

    all_of_it = history((lambda network: network, read))
    head = history((lambda network: network.backbone.fc, lambda chosen: torch.ones(len(chosen), 192)))
    assert all_of_it["train_loss"].tolist() == head["train_loss"].tolist(), "training is the same"
    assert all_of_it["validation_loss"].tolist() != head["validation_loss"].tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", {"backbone.fc.weight": torch.zeros(1)}),
        ("optimizer", {}),
        ("random", None),
        ("step", None),
        ("best", None),
    ],
)
def test_a_state_that_does_not_fit_is_as_good_as_none(tell, tmp_path, name, value):
    """None: it lacks this part."""
    schedule = Schedule(epochs=2, steps=2, batch=3, average=0.8)
    objective = sigmoid_objective(np.full(15, 0.1), balanced=True)
    whole, _ = train(tell, objective, schedule)
    with pytest.raises(Interrupted):
        train(tell, objective, schedule, keeper=Stopping(tmp_path / "state", "key", 0, tell, chance=3))
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    content = keeper.load()
    del content[name]
    keeper.save(content if value is None else content | {name: value})
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    again, _ = train(tell, objective, schedule, keeper=keeper)
    assert keeper.resumed == 0 and "training starts from the beginning" in (tmp_path / "log.txt").read_text()
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in whole.state_dict().items())
