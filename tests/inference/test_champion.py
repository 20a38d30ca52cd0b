"""The choice of a trained model goes by the validation score of the weights that were kept, from files alone."""

import hashlib
import json

import pandas as pd
import pytest

from cxr.errors import InputError
from cxr.inference.champion import choose


def model(folder, scores, kept):
    folder.mkdir(parents=True)
    epochs = range(1, len(scores) + 1)
    pd.DataFrame({"epoch": epochs, "validation_auroc": scores}).to_csv(folder / "history.csv", index=False)
    (folder / "facts.json").write_text(json.dumps({"kept_epoch": kept, "key": folder.name, "code": "c"}))
    (folder / "model.pt").write_bytes(folder.name.encode())
    return folder / "model.pt"


def test_the_kept_epoch_counts_not_the_best_or_last_one_and_an_undefined_score_comes_last(tmp_path):
    """By the first, the best or the last epoch another model would be chosen."""
    models = [
        model(tmp_path / "baseline/sound/sigmoid", [0.8, None, 0.6], 2),
        model(tmp_path / "transfer_long/sound/c1_s20", [0.9, 0.6, 0.8], 2),
        model(tmp_path / "transfer_long/sound/c2_s20", [0.5, 0.7, 0.4], 2),
        model(tmp_path / "transfer_long/sound/c3_s20", [0.5, 0.7, 0.6], 3),
    ]
    chosen = choose(models, tmp_path, "auroc")
    assert (chosen.experiment, chosen.score, chosen.model) == ("transfer_long/sound/c2_s20", 0.7, models[2])
    told = chosen.provenance()
    assert told["candidates"] == {
        "baseline/sound/sigmoid": None, "transfer_long/sound/c1_s20": 0.6, "transfer_long/sound/c2_s20": 0.7,
        "transfer_long/sound/c3_s20": 0.6,
    }  # fmt: skip
    assert told["key"] == "c2_s20" and told["model_sha256"] == hashlib.sha256(b"c2_s20").hexdigest()
    assert choose(models[:1], tmp_path, "auroc").experiment == "baseline/sound/sigmoid"


def test_the_first_of_equals_is_chosen_and_its_own_facts_are_told(tmp_path):
    models = [model(tmp_path / name, [0.2, score], 2) for name, score in (("a", 0.5), ("b", 0.7), ("c", 0.7))]
    chosen = choose(models, tmp_path, "auroc")
    assert (chosen.experiment, chosen.model, chosen.facts["key"]) == ("b", models[1], "b")
    assert chosen.provenance() | {"model_sha256": ""} == {
        "experiment": "b", "chosen_by": "validation AUROC", "score": 0.7, "candidates": {"a": 0.5, "b": 0.7, "c": 0.7},
        "model_sha256": "", "key": "b", "code": "c", "trained": None,
    }  # fmt: skip


def test_the_metric_asked_for_counts(tmp_path):
    models = [model(tmp_path / name, [0.5], 1) for name in ("a", "b")]
    for path, loss in zip(models, (0.1, 0.3), strict=True):
        table = pd.read_csv(path.parent / "history.csv").assign(validation_f1=loss)
        table.to_csv(path.parent / "history.csv", index=False)
    assert choose(models, tmp_path, "f1").experiment == "b" and choose(models, tmp_path, "auroc").experiment == "a"


def test_files_that_do_not_say_it_are_an_error(tmp_path):
    broken = model(tmp_path / "gridcnn/sound", [0.5], 3)
    with pytest.raises(InputError, match="its history or facts cannot be read"):
        choose([broken], tmp_path, "auroc")
