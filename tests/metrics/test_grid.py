"""The choice of the best pairs of the grid: which ones, by which score, from files written by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from cxr.data import splits
from cxr.labels import LABELS, to_matrix
from cxr.metrics import grid as selection

JUDGED = ["Mass", "Mass", "Mass", "No Finding"]  # labels of the four validation images: 60 decisions


def split(path, labels):
    names = [f"{number:08d}_000.png" for number in range(len(labels))]
    table = {"image": names, "patient": range(len(labels)), "labels": labels, "digest": "d"}
    splits.write_split(pd.DataFrame(table), path)
    return path


def deciding(wrong, labels=JUDGED):
    """Probabilities that decide rightly but for so many decisions of the last image."""
    truth = to_matrix(labels).astype(float)
    truth[-1, :wrong] = 1 - truth[-1, :wrong]
    return 0.1 + 0.8 * truth


@pytest.fixture
def select(tmp_path):
    """A function from {(layers, size[, draw, seed]): (training labels, validation labels, probabilities)} to the two tables."""

    def run(pairs, by="accuracy", count=2):
        trainings = []
        for number, (key, (train, judged, probabilities)) in enumerate(pairs.items()):
            layers, size, draw, seed = (*key, 0, 0)[:4]
            folder = tmp_path / str(number)
            folder.mkdir()
            files = [folder / f"{kind}.csv" for kind in ("predictions", "facts", "train", "validation")]
            split(files[2], train)
            split(files[3], judged)
            images = pd.read_csv(folder / "validation.csv")["image"]
            table = pd.DataFrame(probabilities, columns=list(LABELS)).assign(image=images, patient=0)
            table[::-1].to_csv(files[0], index=False)  # in an order of its own
            files[1].write_text(json.dumps({"training_images": len(train), "seconds": number}), encoding="utf-8")
            trainings.append(selection.Training(layers, size, draw, seed, *files))
        outputs = {name: tmp_path / f"{name}.csv" for name in ("trainings", "grid", "selected", "spread", "chance")}
        selection.write_grid(
            trainings, select_by=by, select=count, confidence=0.95, outputs=selection.Outputs(**outputs)
        )
        selected = pd.read_csv(tmp_path / "selected.csv")[["layers", "size", "rank"]]
        return pd.read_csv(tmp_path / "grid.csv"), selected.to_numpy().tolist()

    return run


def test_the_pairs_that_gain_most_over_their_own_majority_are_selected_best_first(select):
    grid, selected = select(
        {
            (0, 40): (["Mass"], JUDGED, deciding(2)),  # 58 of 60 right, as its majority classifier
            (1, 40): (["No Finding"], JUDGED, deciding(4)),  # 56, two more than its majority classifier
            (2, 40): (["Mass", "No Finding"], JUDGED, deciding(3)),  # 57, one more
        }
    )
    assert selected == [[1, 40, 1], [2, 40, 2]]
    assert (grid["accuracy"] * 60).tolist() == pytest.approx([58, 56, 57], abs=0.001)
    assert (grid["majority_accuracy"] * 60).tolist() == pytest.approx([58, 54, 56], abs=0.001)
    assert grid[["layers", "validation_images", "training_images", "seconds"]].to_numpy().tolist() == [
        [0, 4, 1, 0], [1, 4, 1, 1], [2, 4, 2, 2]
    ]  # fmt: skip


def test_of_equal_pairs_the_one_with_more_images_then_fewer_layers_comes_first(select):
    same = (["No Finding"], JUDGED, deciding(1))
    _, selected = select(dict.fromkeys(((2, 20), (1, 20), (3, 60), (0, 40)), same), count=4)
    assert selected == [[3, 60, 1], [0, 40, 2], [1, 20, 3], [2, 20, 4]]


def test_a_pair_is_as_good_as_the_mean_of_its_draws_and_another_seed_alone_does_not_count(select, tmp_path):
    one = ["No Finding"]  # 54 of the 60 decisions right
    grid, selected = select(
        {
            (0, 40): (one, JUDGED, deciding(3)),
            (0, 40, 1, 1): (one, JUDGED, deciding(1)),
            (0, 40, 0, 1): (one, JUDGED, deciding(9)),
            (1, 40): (one, JUDGED, deciding(0)),
            (1, 40, 1, 1): (one, JUDGED, deciding(6)),
            (1, 40, 0, 1): (one, JUDGED, deciding(0)),
        },
        count=1,
    )
    assert selected == [[0, 40, 1]]
    assert (grid["accuracy"] * 60).tolist() == pytest.approx([58, 57], abs=0.001)
    assert (grid["gain_sd"] * 60).tolist() == pytest.approx([2**0.5, 18**0.5], abs=0.001)
    assert grid["repeats"].tolist() == [2, 2]
    assert (grid["behind"] * 60).tolist() == pytest.approx([0, 1], abs=0.001)
    assert grid["behind_low"].iloc[1] < 0 < grid["behind_high"].iloc[1]
    trainings = pd.read_csv(tmp_path / "trainings.csv")
    assert trainings[["layers", "draw", "seed"]].to_numpy().tolist() == [
        [0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 1]
    ]  # fmt: skip
    assert (trainings["gain"] * 60).tolist() == pytest.approx([3, -3, 5, 6, 6, 0], abs=0.001)
    spread = pd.read_csv(tmp_path / "spread.csv")
    gain = spread[spread["metric"] == "gain"].set_index("source")["sd"] * 60
    seed = (36 / 2 + 0) / 2  # mean over the depths of the variances of 3, 9 and of 0, 0 wrong decisions
    training = (2 + 18) / 2
    assert gain[["seed", "training", "images drawn"]].tolist() == pytest.approx(
        [seed**0.5, training**0.5, (training - seed) ** 0.5], rel=1e-4
    )


def test_one_training_says_nothing_of_the_spread_by_training(select, tmp_path):
    grid, _ = select({(0, 40): (["Mass"], JUDGED, deciding(2)), (1, 40): (["Mass"], JUDGED, deciding(3))})
    assert grid[["behind", "behind_low", "p_behind", "gain_sd"]].isna().all(axis=None)
    assert set(pd.read_csv(tmp_path / "spread.csv")["source"]) == {"patients"}


def test_ties_are_counted_over_the_whole_grid(select, tmp_path):
    same, better = (["No Finding"], JUDGED, deciding(2)), (["No Finding"], JUDGED, deciding(1))
    select({(2, 20): same, (1, 20): same, (3, 60): better, (0, 40): same}, count=2)
    assert pd.read_csv(tmp_path / "selected.csv").to_dict("list") == {
        "layers": [3, 0], "size": [60, 40], "rank": [1, 2], "ties": [0, 2]
    }  # fmt: skip


def test_undefined_gains_are_no_ties(select, tmp_path):
    alike = ["Mass"] * 4
    undefined = (["Mass"], alike, deciding(0, alike))
    select({(0, 40): undefined, (1, 40): undefined}, "auroc")
    assert pd.read_csv(tmp_path / "selected.csv")["ties"].tolist() == [0, 0]


def test_gains_of_as_many_decisions_are_equal_whatever_the_majority(select):
    # 44 of 45 right instead of 43, and 43 instead of 42: as floating point numbers the second difference is the larger
    assert 43 / 45 - 42 / 45 > 44 / 45 - 43 / 45
    judged = ["Mass", "Mass", "No Finding"]
    _, selected = select(
        {
            (0, 40): (["Mass"], judged, deciding(1, judged)),
            (1, 40): (["Mass", "No Finding"], judged, deciding(2, judged)),
        }
    )
    assert selected == [[0, 40, 1], [1, 40, 2]]


def test_no_more_pairs_are_selected_than_there_are(select):
    _, selected = select({(3, 20): (["Mass"], JUDGED, deciding(0))}, count=5)
    assert selected == [[3, 20, 1]]


def test_a_probability_of_exactly_one_half_is_a_no_as_in_the_metrics(select):
    grid, _ = select({(0, 20): (["Mass"], ["No Finding"], np.full((1, 15), 0.5))})
    assert grid["accuracy"].tolist() == pytest.approx([14 / 15], abs=1e-5)


def ranked(mass):
    """Probabilities of the four images by their confidence of Mass; No Finding is certain of nothing."""
    table = np.zeros((4, 15))
    table[:, LABELS.index("Mass")] = mass
    table[:, LABELS.index("No Finding")] = 0.3
    return table


def test_by_auroc_the_best_ranking_wins_whatever_it_decides(select):
    worse, better = ranked([0.9, 0.9, 0.2, 0.3]), ranked([0.13, 0.12, 0.11, 0.1])
    grid, selected = select({(0, 40): (["No Finding"], JUDGED, worse), (5, 40): (["Mass"], JUDGED, better)}, "auroc")
    assert selected == [[5, 40, 1], [0, 40, 2]]
    assert grid["accuracy"].is_monotonic_decreasing, "by accuracy the other pair would have won"
    # Mass: two of three pairs of images in order, and all of them; No Finding is tied; the other labels are undefined
    assert grid["auroc"].tolist() == pytest.approx([(2 / 3 + 1 / 2) / 2, (1 + 1 / 2) / 2], abs=1e-5)
    assert grid["auroc_labels"].tolist() == [2, 2]


def test_a_pair_whose_auroc_is_undefined_is_selected_last(select):
    alike = ["Mass"] * 4  # all images alike: nothing to rank
    grid, selected = select(
        {(0, 40): (["Mass"], alike, deciding(0, alike)), (1, 40): (["Mass"], JUDGED, ranked([0, 0, 0, 1]))}, "auroc"
    )
    assert selected == [[1, 40, 1], [0, 40, 2]]
    assert np.isnan(grid["auroc"]).tolist() == [True, False] and grid["auroc_labels"].tolist() == [0, 2]


def test_three_accuracies_stand_beside_those_of_the_majority_classifier(select, tmp_path):
    certain = ranked([0.9, 0.1, 0.9, 0.1])  # No Finding has 0.3 everywhere
    grid, _ = select({(0, 40): (["No Finding"], JUDGED, certain), (1, 40): (["Mass"], JUDGED, certain)})
    assert grid["categorical_accuracy"].tolist() == [0.75, 0.75]  # the second image's highest output is No Finding
    assert grid["majority_categorical_accuracy"].tolist() == [0.25, 0.75]
    assert grid["no_finding_accuracy"].tolist() == [0.75, 0.75]  # a no for all four
    assert grid["majority_no_finding_accuracy"].tolist() == [0.25, 0.75]
    chance = pd.read_csv(tmp_path / "chance.csv").set_index(["scope", "metric"])
    assert chance.loc[("grid", "categorical_accuracy"), ["best", "layers", "size"]].tolist() == [0.5, 0, 40]
    assert chance.loc[("40", "no_finding_accuracy"), ["pairs", "validation_images"]].tolist() == [2, 4]
    assert np.isfinite(chance.drop(columns=["layers"])).all(axis=None)


def test_categorical_accuracy_counts_the_first_label_alone(select):
    both = ["Effusion|Mass"] * 2 + ["No Finding"] * 2  # Effusion comes before Mass in the order of the labels
    grid, _ = select({(0, 40): (["Mass"], both, ranked([0.9, 0.9, 0.1, 0.1]))})
    assert grid["categorical_accuracy"].tolist() == [0.5] and grid["majority_categorical_accuracy"].tolist() == [0]
