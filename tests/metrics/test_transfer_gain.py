"""Transfer against training from scratch and against its floor, from predictions made by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from cxr.labels import FINDINGS, LABELS, to_matrix
from cxr.metrics import judging, tested
from cxr.metrics import transfer_gain as gain
from cxr.metrics.bootstrap import Resampling
from cxr.metrics.classification import classification_table
from cxr.metrics.constants import fit_classification
from cxr.metrics.guesses import Guess
from cxr.metrics.image_free import guess_constant
from cxr.metrics.ladder import CONSTANT, Ladder
from cxr.settings import DEFAULTS

QUICK = Resampling(samples=200, confidence=0.95, seed=0)
PAIR = "transfer_c2_s100"
LABELLED = ["No Finding"] * 30 + ["Mass"] * 20 + ["Nodule|Mass"] * 20
TOLD = "metadata, told"  # an image-free predictor that tells Mass


def at(label):
    return LABELS.index(label)


def network(name, probabilities, labels=LABELLED, *, first=0, trained=(), said=None, images_each=1):
    """A network on images of patients from `first` on. said: what an image-free predictor on the rung of metadata says."""
    images = [f"{first + number:08d}_000.png" for number in range(len(labels))]
    patients = [first + number // images_each for number in range(len(labels))]
    truth = pd.DataFrame({"image": images, "patient": patients, "labels": labels, "digest": "d"})
    guesses = {CONSTANT: guess_constant(fit_classification(to_matrix(LABELLED)), len(labels))}
    rungs, scores = {CONSTANT: CONSTANT}, pd.DataFrame(columns=["metric", "label", CONSTANT])
    if said is not None:
        guesses[TOLD], rungs[TOLD] = Guess.of_model(said), "metadata"
        keys = [(metric, label) for metric in gain.RANKINGS for label in ("mean14", *FINDINGS)]
        scores = pd.DataFrame(keys, columns=["metric", "label"]).assign(**{CONSTANT: 0.5, TOLD: 0.6})
    ladder = Ladder(tuple(images), guesses, rungs, scores)
    return gain.Network(tested.Tested(name, np.asarray(probabilities, float), truth, ladder), np.array(trained, int))


def random(seed, towards=0.0, labels=LABELLED):
    """Probabilities at random, moved towards the truth."""
    draw = np.random.default_rng(seed).uniform(0.05, 0.95, (len(labels), len(LABELS)))
    return draw * (1 - towards) + to_matrix(labels) * towards


def compared(pair, baseline, labels=("mean14", *FINDINGS)):
    table = gain.compare("sound", "test", gain.Compared.of(pair, baseline), labels, QUICK)
    return table.set_index(["against", "metric", "label"]).sort_index()


OURS, SCRATCH = random(1, 0.5), random(2, 0.1)


@pytest.fixture(scope="module")
def table():
    return compared(network(PAIR, OURS), network(gain.BASELINE, SCRATCH))


def test_differences_to_the_baseline_are_those_of_scikit_learn(table):
    truth = to_matrix(LABELLED)
    for metric, peer in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        found = [
            peer(truth[:, at(label)], OURS[:, at(label)]) - peer(truth[:, at(label)], SCRATCH[:, at(label)])
            for label in ("Mass", "Nodule")
        ]
        rows = table.loc[(gain.SCRATCH, metric)]["difference"]
        assert rows[["Mass", "Nodule"]].tolist() == pytest.approx(found)
        assert rows["mean14"] == pytest.approx(np.mean(found)), "the labels that no image has are left out"
    losses = [
        np.mean([log_loss(truth[:, label], said[:, label], labels=[0, 1]) for label in range(14)])
        for said in (OURS, SCRATCH)
    ]
    assert table.loc[(gain.SCRATCH, "loss", "mean14"), ["value", "floor"]].tolist() == pytest.approx(losses)
    right = [((said[:, :14] > 0.5) == truth[:, :14]).mean() for said in (OURS, SCRATCH)]
    row = table.loc[(gain.SCRATCH, "accuracy", "mean14")]
    assert row[["value", "floor", "difference"]].tolist() == pytest.approx([*right, right[0] - right[1]])


def test_against_its_floor_a_pair_has_the_rows_of_its_metric_table(table):
    pair = network(PAIR, OURS).tested
    predictions = pd.DataFrame(OURS, columns=list(LABELS)).assign(image=pair.truth["image"])
    known = classification_table(
        "sound", PAIR, predictions, pair.truth, pair.ladder, activation="sigmoid", resampling=QUICK
    ).set_index(["metric", "label"])
    mine = table.loc[gain.FLOOR]
    wanted = ["value", "low", "high", "floor", "difference", "difference_low", "p", "patients", "note"]
    pd.testing.assert_frame_equal(
        mine[wanted], known.loc[mine.index, wanted], check_dtype=False, check_index_type=False
    )


def test_two_equal_networks_gain_nothing_and_their_floors_neither():
    found = compared(network(PAIR, OURS), network(gain.BASELINE, OURS))
    for against in (gain.SCRATCH, gain.BEYOND):
        rows = found.loc[against].loc[("auroc", ["mean14", "Mass"]), :]
        assert (rows[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
        assert (rows["verdict"] == judging.SAME).all()


def test_a_gain_that_the_floors_have_too_is_none_beyond_them():
    """The pair says what its image-free predictor says, and the baseline what its own says."""
    found = compared(network(PAIR, OURS, said=OURS), network(gain.BASELINE, SCRATCH, said=SCRATCH))
    scratch, beyond = (found.loc[(against, "auroc", "mean14")] for against in (gain.SCRATCH, gain.BEYOND))
    assert scratch["verdict"] == judging.BETTER and beyond["value"] == pytest.approx(scratch["difference"])
    assert beyond["floor"] == pytest.approx(scratch["difference"]) and beyond["difference"] == pytest.approx(0)
    assert beyond["verdict"] == judging.SAME and beyond["floor_name"] == f"{TOLD} minus {TOLD}"
    assert found.loc[(gain.FLOOR, "auroc", "mean14"), "difference"] == pytest.approx(0)


def test_a_gain_beyond_the_floors_is_the_difference_of_the_differences():
    found = compared(network(PAIR, OURS, said=random(3, 0.2)), network(gain.BASELINE, SCRATCH, said=random(4)))
    truth = to_matrix(LABELLED)[:, at("Mass")]
    ours, scratch, *floors = (
        roc_auc_score(truth, said[:, at("Mass")]) for said in (OURS, SCRATCH, random(3, 0.2), random(4))
    )
    row = found.loc[(gain.BEYOND, "auroc", "Mass")]
    assert row[["value", "floor", "difference"]].tolist() == pytest.approx(
        [ours - scratch, floors[0] - floors[1], ours - scratch - floors[0] + floors[1]]
    )


def test_p_values_are_corrected_over_the_labels_within_each_comparison(table):
    for against in (gain.SCRATCH, gain.FLOOR):
        rows = table.loc[(against, "auroc")]
        raw = rows.loc[["Mass", "Nodule"], "p"]
        assert rows.loc[["Mass", "Nodule"], "p_holm"].tolist() == pytest.approx(judging.holm(raw.to_list()).tolist())
        assert rows.loc["mean14", "p_holm"] == rows.loc["mean14", "p"]


def test_images_of_patients_that_one_of_the_two_was_trained_on_are_left_out():
    """Two images a patient, 35 patients; the pair knows patients 0 to 4, the baseline 4 to 9 and one that is not tested."""
    pair = network(PAIR, OURS, trained=[0, 1, 2, 3, 4], images_each=2)
    baseline = network(gain.BASELINE, SCRATCH, trained=[4, 4, 5, 6, 7, 8, 9, 99], images_each=2)
    found = gain.Compared.of(pair, baseline)
    assert found.sample == {
        "images": 50, "image_patients": 25, "positives": 60, "shared": 70, "left_out": 20, "trained": 5, "scratch_trained": 8
    }  # fmt: skip
    assert found.pair.truth["patient"].min() == 10
    assert (found.baseline.probabilities == SCRATCH[20:]).all() and (found.pair.probabilities == OURS[20:]).all()


def test_only_images_that_both_predicted_are_compared_each_with_its_own_answer():
    pair = network(PAIR, OURS[20:50], LABELLED[20:50], first=20)
    found = gain.Compared.of(pair, network(gain.BASELINE, SCRATCH))
    assert (found.sample["shared"], found.sample["left_out"], found.sample["images"]) == (30, 0, 30)
    assert (found.baseline.probabilities == SCRATCH[20:50]).all()
    assert (found.baseline.ladder.guesses[CONSTANT].probabilities.shape) == (30, 15)


@pytest.mark.parametrize("known", [range(70), range(62)])
def test_with_too_few_patients_left_there_is_no_verdict(known):
    found = compared(network(PAIR, OURS), network(gain.BASELINE, SCRATCH, trained=known))
    assert (found["images"] == 70 - len(known)).all() and (found["left_out"] == len(known)).all()
    assert set(found["verdict"]) <= {judging.TOO_FEW, judging.UNDEFINED, judging.DESCRIPTIVE}
    if len(known) == 70:
        assert found["value"].isna().all() and set(found["verdict"]) <= {judging.UNDEFINED, judging.DESCRIPTIVE}


def test_the_table_has_the_long_runs_label_by_label_and_the_means_of_the_grid(tmp_path):
    names = {"test": 0, "validation": 1000}

    def saved(name, folder, probabilities, role):
        each = network(name, probabilities, first=names[role])
        place = tmp_path / folder
        place.mkdir()
        files = [place / file for file in ("predictions.csv", "split.csv", "floors.npz", "train.csv")]
        truth = each.tested.truth
        pd.DataFrame(probabilities, columns=list(LABELS)).assign(image=truth["image"]).to_csv(files[0], index=False)
        truth.to_csv(files[1], index=False)
        each.tested.ladder.save(files[2])
        truth.assign(patient=5000 + np.arange(len(truth))).to_csv(files[3], index=False)
        return (name, *files)

    baselines = {role: saved(gain.BASELINE, f"baseline_{role}", SCRATCH, role) for role in names}
    long = [saved(PAIR, "long", OURS, "test")]
    grid = [saved(f"transfer_c2_s{size}", f"s{size}", random(size, 0.3), "validation") for size in (50, 100)]
    told = []
    gain.write(
        inputs=gain.Inputs(baselines, long, grid), protocol="sound", seed=0, table=tmp_path / "table.csv", tell=told.append,
        settings=DEFAULTS.evaluation.model_copy(update={"bootstrap": 50}),
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "table.csv")
    assert list(found.columns) == gain.GAIN_COLUMNS
    counts = found.groupby(["role", "experiment"]).size().to_dict()
    assert counts == {
        ("test", PAIR): 3 * 4 * 15, ("validation", "transfer_c2_s50"): 12, ("validation", "transfer_c2_s100"): 12
    }  # fmt: skip
    assert told[0] == f"{PAIR}, test: 70 images in both, 0 left out for their patients, 70 of 70 patients compared"


def test_the_files_of_a_job_are_taken_in_the_order_of_its_pairs():
    kinds = ("predictions", "split", "floors")
    given = {f"baseline_{role}_{kind}": f"b/{role}/{kind}" for role in ("test", "validation") for kind in kinds}
    given |= {"baseline_train": "b/train"} | {
        f"{of}_{kind}": [f"{of}/{n}/{kind}" for n in range(2)] for of in ("long", "grid") for kind in (*kinds, "train")
    }

    class Given(dict):
        __getattr__ = dict.__getitem__

    job = SimpleNamespace(input=Given(given), params={"pairs": ["c1_s1", "c2_s2"], "curve": ["c1_s1", "c1_s2"]})
    found = gain.Inputs.of(job)
    assert [str(part) for part in found.baselines["validation"]] == [
        "baseline_sigmoid", "b/validation/predictions", "b/validation/split", "b/validation/floors", "b/train"
    ]  # fmt: skip
    assert [str(part) for part in found.grid[1]] == [
        "transfer_c1_s2", "grid/1/predictions", "grid/1/split", "grid/1/floors", "grid/1/train"
    ]  # fmt: skip
