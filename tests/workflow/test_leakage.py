"""The leakage experiment as a whole, by the real Snakemake."""

import pandas as pd
import pytest
from running import executed, planned

from cxr.metrics import leakage

SETTINGS = "leakage={enabled: true, size: 12, repeats: 2, layers: 2, training: {epochs: 1, steps: 2}}"
TARGET = ("--", "leakage")
JOBS = {"leakage_splits": 1, "leakage_network": 4, "leakage_floors": 4, "metrics_leakage": 1, "leakage": 1}


def test_a_study_without_the_experiment_plans_none_of_its_jobs(repository, finished):
    assert not [rule for rule in planned(repository, finished, "--forceall") if "leakage" in rule]


def test_the_experiment_runs_by_itself_and_again_only_what_a_setting_touches(repository, tmp_path):
    ran = executed(repository, tmp_path, *TARGET, config=[SETTINGS])
    assert ran == JOBS | {"phantoms": 1, "images": 1, "records": 1, "source_weights": 1}
    found = pd.read_csv(tmp_path / "results/tiny/leakage/leakage.csv")
    assert [*found.columns] == leakage.COLUMNS and len(found) == 36 and set(found["repeats"]) == {2}
    assert found.loc[found["predictor"] == "network", "value"].notna().all()
    assert planned(repository, tmp_path, *TARGET, config=[SETTINGS]) == {}
    longer = SETTINGS.replace("steps: 2", "steps: 3")
    assert planned(repository, tmp_path, *TARGET, config=[longer]) == {
        **{"leakage_network": 4, "metrics_leakage": 1, "leakage": 1}
    }
    more = planned(repository, tmp_path, *TARGET, config=["evaluation={bootstrap: 120}", SETTINGS])
    assert more == {"metrics_leakage": 1, "leakage": 1}
    whole = planned(repository, tmp_path, config=[SETTINGS])
    assert whole["report"] == 1 and not [rule for rule in whole if "leakage" in rule]


@pytest.mark.parametrize("config", ["leakage={training: {keep: best}}"])
def test_no_epoch_is_chosen_by_validation_images(repository, tmp_path, config):
    with pytest.raises(AssertionError, match="keep must be last"):
        planned(repository, tmp_path, *TARGET, config=[config])
