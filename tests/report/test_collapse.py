"""The comparison of what collapses: verdicts from predictions made by hand, one law a test."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from lxml import html
from running import executed, planned, snakemake

from cxr.data import splits
from cxr.labels import LABELS
from cxr.metrics import evaluation
from cxr.metrics.judging import BETTER, SAME, TOO_FEW, UNDEFINED, WORSE
from cxr.report import collapse
from cxr.report.sections import collapse as collapse_section
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

NO_FINDING = LABELS.index("No Finding")
SEEN = {"input_spread": 0.5, "input_deviation": 2.0, "logit_spread": 0.25, "mode_gap": 0.125}


def truth(count=420):
    """Images of as many patients; every third has a finding, which one goes round: 10 patients have each."""
    labels = [LABELS[number // 3 % 14] if number % 3 == 0 else "No Finding" for number in range(count)]
    return pd.DataFrame(
        {
            "image": [f"{number:08d}_000.png" for number in range(count)],
            "patient": range(count),
            "labels": labels,
            "digest": "d",
        }
    )


def constant(table):
    """The majority classifier: the same of every image."""
    return np.tile(np.where(np.arange(15) == NO_FINDING, 0.7, 0.05), (len(table), 1))


def knowing(table, low, high):
    """Probabilities that are high for the labels an image has and low for others."""
    return np.stack([np.where([label == name for name in LABELS], high, low) for label in table["labels"]])


def blind(table, seed=0):
    """Probabilities on both sides of 0.5 that have nothing to do with the images."""
    return np.random.default_rng(seed).random((len(table), 15))


@pytest.fixture
def compare(tmp_path):
    """A function from named predictions to the comparison's table, through the files of the workflow."""

    def run(models, taught=None):
        table = truth()
        split, train = tmp_path / "split.csv", tmp_path / "train.csv"
        splits.write_split(table, split)
        others = table.assign(
            image=[f"{number:08d}_000.png" for number in table.index + 1000], patient=table.index + 1000
        )
        splits.write_split(others if taught is None else others.assign(labels=taught), train)
        known = {"train": train}
        for role, images in (("train", others), ("validation", table), ("test", table)):
            known[f"{role}_metadata"] = tmp_path / f"{role}_metadata.csv"
            unknown = images[["image", "patient"]].assign(follow_up=0, age="", sex="", view="")
            splits.write_split(unknown, known[f"{role}_metadata"])
        with Journal(tmp_path / "log", "floors") as tell:
            ladders = {"ladder": tmp_path / "floors.npz", "validation_ladder": tmp_path / "validation.npz"}
            evaluation.write_ladder(**known, seed=0, **ladders, tell=tell)
        compared = []
        for number, probabilities in enumerate(models):
            folder = tmp_path / str(number)
            folder.mkdir()
            files = {kind: folder / f"{kind}.csv" for kind in ("predictions", "facts", "scores")}
            columns = pd.DataFrame(probabilities, columns=list(LABELS))
            pd.concat([table[["image", "patient"]], columns], axis=1).to_csv(files["predictions"], index=False)
            facts = {"added_layer": {"before": SEEN, "after": SEEN | {"input_spread": 0.75, "input_deviation": 9.0}}}
            facts |= {"steps": 500, "settings": {"optimizer": "adam", "learning_rate": 0.001}}
            files["facts"].write_text(json.dumps(facts))
            evaluation.write_classifier(
                experiment=("paper", str(number)), activation="sigmoid", predictions=files["predictions"],
                floors=tmp_path / "floors.npz", test_split=split, settings=Evaluation(bootstrap=200), seed=0, table=files["scores"],
            )  # fmt: skip
            job = ("softmax", ("eval", "batch", "keras")[number], 4, 60)
            compared.append(collapse.Compared(job, **files, train=train, test=split))
        with Journal(tmp_path / "log", "compare") as tell:
            collapse.write(compared=compared, table=tmp_path / "table.csv", picture=tmp_path / "picture.png", tell=tell)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        return pd.read_csv(tmp_path / "table.csv")

    return run


def test_the_majority_classifier_has_collapsed_and_has_no_spread(compare):
    (row,) = compare([constant(truth())]).to_dict("records")
    assert row["verdict"] == collapse.COLLAPSED
    assert (row["unlike_majority"], row["auroc"], row["accuracy_difference"]) == (0, 0.5, 0)
    assert (row["auroc_floor"], row["auroc_verdict"]) == (0.5, SAME)
    assert row["probability_spread"] == pytest.approx(0, abs=1e-12)
    assert (row["input_spread_before"], row["input_spread_after"], row["mode_gap_after"]) == (0.5, 0.75, 0.125)


def test_a_model_that_ranks_below_the_threshold_has_not_collapsed_though_its_accuracy_is_the_majoritys(compare):
    # No Finding above 0.5 everywhere, every finding below: the majority's decisions, in an order that knows everything.
    found = knowing(truth(), 0.1, 0.4)
    found[:, NO_FINDING] += 0.45
    (row,) = compare([found]).to_dict("records")
    assert row["verdict"] == collapse.HIDDEN
    assert row["unlike_majority"] == 0 and row["accuracy_difference"] == 0 and row["auroc"] == 1
    assert row["auroc_verdict"] == BETTER


def test_right_decisions_are_learned_and_random_ones_are_guesses(compare):
    learned, guesses = compare([knowing(truth(), 0.1, 0.9), blind(truth())]).to_dict("records")
    assert learned["verdict"] == collapse.LEARNED and learned["accuracy"] == 1
    # Of the 15 decisions on an image with a finding, the truth has two that the majority has not.
    assert learned["unlike_majority"] == pytest.approx(2 / 15 / 3)
    assert guesses["verdict"] == collapse.GUESSING and guesses["accuracy_difference_high"] < 0
    assert guesses["unlike_majority"] == pytest.approx(0.5, abs=0.05)


def test_the_majority_is_that_of_the_training_images(compare):
    """Taught on images that all have a Mass, the majority says Mass of every image; a model that says so has collapsed."""
    mass = np.tile(np.where(np.arange(15) == LABELS.index("Mass"), 0.7, 0.05), (len(truth()), 1))
    like, unlike = compare([mass, constant(truth())], taught="Mass").to_dict("records")
    assert (like["verdict"], like["unlike_majority"], like["accuracy_difference"]) == (collapse.COLLAPSED, 0, 0)
    assert unlike["unlike_majority"] == pytest.approx(2 / 15, abs=1e-6) and unlike["accuracy_difference"] > 0


def test_reach_is_steps_times_rate_times_what_the_layer_was_given_before_training():
    run = {"steps": 500, "settings": {"optimizer": "adamw", "learning_rate": 0.002}}
    run |= {"added_layer": {"before": {"input_deviation": 0.4}, "after": {"input_deviation": 7.0}}}
    assert collapse.reach(run) == pytest.approx(0.4)
    assert np.isnan(collapse.reach(run | {"settings": {"optimizer": "sgd", "learning_rate": 0.002}}))


@pytest.mark.parametrize(
    ("unlike", "ranks", "expected"),
    [
        (0.001, SAME, collapse.COLLAPSED),
        (0.0011, SAME, collapse.GUESSING),
        (0.001, BETTER, collapse.HIDDEN),
        (0.0011, BETTER, collapse.LEARNED),
        (0.0, UNDEFINED, collapse.COLLAPSED),
        (0.0, TOO_FEW, collapse.COLLAPSED),
        (0.0, WORSE, collapse.COLLAPSED),
        (0.0011, TOO_FEW, collapse.GUESSING),
        (0.0011, WORSE, collapse.GUESSING),
    ],
)
def test_the_verdict_turns_at_one_decision_in_a_thousand_and_at_the_floor(unlike, ranks, expected):
    row = {"unlike_majority": unlike, "auroc_verdict": ranks}
    assert collapse.verdict(row | {"auroc_low": 0.6, "accuracy_verdict": BETTER}) == expected
    assert collapse.verdict(row | {"auroc_low": 0.4, "accuracy_verdict": SAME}) == expected


def test_decisions_by_hand():
    probabilities = np.full((2, 15), 0.2)
    probabilities[:, NO_FINDING] = (0.6, 0.4)
    majority = np.eye(15, dtype=np.uint8)[NO_FINDING]
    found = collapse.decisions(probabilities, majority)
    assert found["unlike_majority"] == pytest.approx(1 / 30)
    assert found["probability_spread"] == pytest.approx(0.1 / 15)


def test_the_reports_sentences_count_what_the_table_holds(compare):
    table = compare([constant(truth()), knowing(truth(), 0.1, 0.9), constant(truth())])
    first, *others = collapse_section.sentences(table)
    assert first.startswith("Outcomes of 3 models: 2 “collapsed” (") and ", 1 “learned” (" in first
    assert others == [
        "Collapsed, by frozen batch norm: eval 1 of 1, batch 0 of 1, keras 1 of 1.",
        "Spread of the added layer's input between images, relative to its length: before training 0.5 (softmax); after "
        "training 0.75 (softmax).",
        "In its training steps, the added layer alone can move the images' logits apart by about 1 (softmax).",
        "Spread of the logits between images after training: 0.25 (softmax).",
        "Gap between training and testing mode of the same image's logit, as a multiple of that spread: 0.5 (eval), 0.5 "
        "(batch), 0.5 (keras).",
    ]


def test_numbers_are_written_with_two_digits():
    assert [collapse_section.brief(value) for value in (0.484, 15.94, 5e-5, 0.0, 123.4, np.nan)] == [
        "0.48", "16", "< 0.001", "0", "120", "–"
    ]  # fmt: skip


CONFIG = [
    "paper={transfer: {comparison: {layers: [4], sizes: [40], head_input: [softmax, features], "
    "frozen_batchnorm: [eval, keras]}}}"
]


def test_without_a_configured_comparison_there_is_nothing_to_collapse(repository, finished):
    code, output = snakemake(repository, finished, "--", "collapse")
    assert code != 0 and "transfer.comparison" in output and "config/collapse.yaml" in output
    assert "Traceback" not in output
    assert not (finished / "results/tiny/comparison").exists()
    page = html.parse(str(finished / "results/tiny/report.html")).getroot()
    assert not page.xpath("//h2[@id='collapse']") and not page.xpath("//a[@href='#collapse']")


def test_the_target_collapse_asks_for_nothing_but_the_comparison(repository, tmp_path):
    jobs = planned(repository, tmp_path, "--", "collapse", config=CONFIG)
    data = {"phantoms": 1, "images": 1, "records": 1, "source_weights": 1, "features_comparison": 1}
    assert jobs == data | {"ladder": 1, "transfer_variant": 4, "metrics_variant": 4, "compare": 1, "collapse": 1}


def test_a_configured_comparison_joins_a_finished_study(repository, finished, tmp_path):
    """Only the comparison's jobs and the report run; each variant differs from the protocol in its two choices alone."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    ran = executed(repository, folder, config=CONFIG)
    assert ran == {"features_comparison": 1, "transfer_variant": 4, "metrics_variant": 4, "compare": 1} | {
        "settings": 1, "report": 1
    }  # fmt: skip
    results = folder / "results/tiny"
    table = pd.read_csv(results / "comparison/paper/comparison.csv")
    assert table[["head_input", "frozen_batchnorm"]].to_numpy().tolist() == [
        ["softmax", "eval"], ["softmax", "keras"], ["features", "eval"], ["features", "keras"]
    ]  # fmt: skip
    assert table.notna().all().all() and set(table["verdict"]) <= set(collapse_section.VERDICTS)
    of_grid = json.loads((results / "transfer/paper/c4_s40/facts.json").read_text())
    for row in table.itertuples():
        facts = json.loads(
            (results / f"comparison/paper/{row.head_input}_{row.frozen_batchnorm}/c4_s40/facts.json").read_text()
        )
        assert (facts["head_input"], facts["frozen_batchnorm"]) == (row.head_input, row.frozen_batchnorm)
        assert facts["starts_from"] == ("layer3.0" if row.frozen_batchnorm == "eval" else "images")
        for same in ("settings", "seed", "training_images", "steps", "trainable_layers"):
            assert facts[same] == of_grid[same], same
        assert "added_layer" in facts and "added_layer" not in of_grid
    page = html.parse(str(results / "report.html")).getroot()
    section = page.get_element_by_id("collapse")
    rows = section.xpath("following-sibling::div[1]//tbody/tr[td]")
    shown = [(row.xpath("th")[0].text, row.xpath("td")[0].text, row.xpath("td//span")[0].text) for row in rows]
    assert shown == list(table[["head_input", "frozen_batchnorm", "verdict"]].itertuples(index=False, name=None))
    assert planned(repository, folder, config=CONFIG) == {}
