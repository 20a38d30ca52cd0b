"""The choice of a trained model goes by the validation score of the weights that were kept, from files alone."""

import json

import pandas as pd
import pytest

from cxr.champion import choose
from cxr.errors import InputError


def model(folder, scores, kept):
    folder.mkdir(parents=True)
    epochs = range(1, len(scores) + 1)
    pd.DataFrame({"epoch": epochs, "validation_auroc": scores}).to_csv(folder / "history.csv", index=False)
    (folder / "facts.json").write_text(json.dumps({"kept_epoch": kept, "key": folder.name, "code": "c"}))
    (folder / "model.pt").write_bytes(folder.name.encode())
    return folder / "model.pt"


def test_the_kept_epoch_counts_not_the_best_one_and_an_undefined_score_comes_last(tmp_path):
    models = [
        model(tmp_path / "baseline/sound/sigmoid", [None, None], 2),
        model(tmp_path / "transfer_long/sound/c1_s20", [0.9, 0.6], 2),
        model(tmp_path / "transfer_long/sound/c2_s20", [0.5, 0.7], 2),
    ]
    chosen = choose(models, tmp_path, "auroc")
    assert (chosen.experiment, chosen.score, chosen.model) == ("transfer_long/sound/c2_s20", 0.7, models[2])
    told = chosen.provenance()
    assert told["candidates"] == {
        "baseline/sound/sigmoid": None, "transfer_long/sound/c1_s20": 0.6, "transfer_long/sound/c2_s20": 0.7
    }  # fmt: skip
    assert told["key"] == "c2_s20" and len(told["model_sha256"]) == 64
    assert choose(models[:1], tmp_path, "auroc").experiment == "baseline/sound/sigmoid"


def test_files_that_do_not_say_it_are_an_error(tmp_path):
    broken = model(tmp_path / "gridcnn/sound", [0.5], 3)
    with pytest.raises(InputError, match="its history or facts cannot be read"):
        choose([broken], tmp_path, "auroc")
