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
    """A function from {(layers, size): (training labels, validation labels, probabilities)} to the two tables."""

    def run(pairs, by="accuracy", count=2):
        paths = {kind: [] for kind in ("predictions", "facts", "train", "validation")}
        for number, (train, judged, probabilities) in enumerate(pairs.values()):
            folder = tmp_path / str(number)
            folder.mkdir()
            paths["train"].append(split(folder / "train.csv", train))
            paths["validation"].append(split(folder / "validation.csv", judged))
            images = pd.read_csv(folder / "validation.csv")["image"]
            table = pd.DataFrame(probabilities, columns=list(LABELS)).assign(image=images, patient=0)
            paths["predictions"].append(folder / "predictions.csv")
            table[::-1].to_csv(paths["predictions"][-1], index=False)  # in an order of its own
            paths["facts"].append(folder / "facts.json")
            paths["facts"][-1].write_text(
                json.dumps({"training_images": len(train), "seconds": number}), encoding="utf-8"
            )
        selection.write_grid(
            pairs=list(pairs), predictions=paths["predictions"], facts=paths["facts"], train_splits=paths["train"],
            validation_splits=paths["validation"], select_by=by, select=count, grid=tmp_path / "grid.csv",
            selected=tmp_path / "selected.csv",
        )  # fmt: skip
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
