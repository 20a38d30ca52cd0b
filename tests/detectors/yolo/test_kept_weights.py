"""Which weights a YOLO training leaves: those of the epoch that its settings name, and of no other."""

import pytest
from yolo_squares import SMALL, judge, squares, tune, written

from cxr.detectors.yolo import trainer as detector

FITNESS = [0.1, 0.5, 0.2]  # the best epoch is neither the first nor the last


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return written(tmp_path_factory.mktemp("yolo"), squares(4))


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 3)])
def test_the_weights_are_those_that_were_judged_in_the_kept_epoch(data, tmp_path, monkeypatch, keep, kept):
    judged = []

    def validate(trainer):
        judged.append({name: tensor.clone().float() for name, tensor in trainer.ema.ema.state_dict().items()})
        return judge(trainer, FITNESS)

    monkeypatch.setattr(detector._Trainer, "validate", validate)
    tuned = tune(data, tmp_path / "run", SMALL.model_copy(update={"epochs": 3, "keep": keep, "mosaic": 0.0}))
    found = detector._load(tuned.weights).state_dict()
    assert tuned.facts["kept_epoch"] == kept and len(judged) == 3

    def distance(epoch):
        return sum((found[name].float() - judged[epoch - 1][name]).abs().sum().item() for name in found)

    others = [distance(epoch) for epoch in (1, 2, 3) if epoch != kept]
    assert distance(kept) < 0.1 * min(others), "but for rounding to 16 bits"
