"""Precision, recall and F1 of areas: which images count in which average, and which threshold is the best."""

import numpy as np
import pytest

from cxr.metrics import areas
from cxr.metrics.areas import AreaScores, area_estimates, best_cut, binarise, cell_scores
from cxr.metrics.bootstrap import bootstrap_weights


def cells(*values: float) -> np.ndarray:
    """An image's cells: these first, all others 0."""
    found = np.zeros(256)
    found[: len(values)] = values
    return found.reshape(16, 16)


def f1_at(confidence: np.ndarray, target: np.ndarray, cut: float) -> float:
    """The paper's F1, image by image: an empty prediction has precision 0, an image without target no recall."""
    precision, recall = [], []
    for image, wanted in zip(confidence, target, strict=True):
        named = image >= cut
        precision.append((named & wanted).sum() / named.sum() if named.any() else 0)
        if wanted.any():
            recall.append((named & wanted).sum() / wanted.sum())
    total = np.mean(precision) + np.mean(recall)
    return float(2 * np.mean(precision) * np.mean(recall) / total) if total else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_best_cut_is_the_best_of_all_confidences_that_occur(seed: int) -> None:
    draw = np.random.default_rng(seed)
    target = draw.random((9, 16, 16)) < 0.1
    target[: 2 * seed] = False
    confidence = np.clip(0.25 * target + draw.choice([0.1, 0.2, 0.4, 0.5, 0.6], target.shape), 0, 1)
    occurring = np.unique(confidence)
    scores = [f1_at(confidence, target, cut) for cut in occurring]
    assert best_cut(confidence, target.astype(float)) == occurring[np.argmax(scores)]
    assert len({round(score, 9) for score in scores}) == len(scores), "no two are equally good"


def test_recall_is_over_the_images_with_a_target_when_a_cut_is_chosen() -> None:
    # Two images, the second empty. From 0.9 on: P = 1/2, R = 1/4, F1 = 1/3; from 0.5 on, 4 of 15 cells: P = 2/15, R = 1,
    # F1 = 0.235. With recall over both images: 0.2 and 0.211
    confidence = np.stack([cells(0.9, *[0.5] * 14), cells()])
    target = np.stack([cells(1, 1, 1, 1), cells()])
    assert f1_at(confidence, target > 0, 0.9) == pytest.approx(1 / 3)
    assert f1_at(confidence, target > 0, 0.5) == pytest.approx(4 / 17)
    assert best_cut(confidence, target) == 0.9


def test_an_empty_prediction_has_precision_0_when_a_cut_is_chosen() -> None:
    # At 0.9 the second image has no prediction: P = 1/2, R = 1/2; at 0.3 P = (1/2 + 1)/2, R = 1. Left out, 0.9 had P = 1
    confidence = np.stack([cells(0.9, 0.3), cells(0.3)])
    target = np.stack([cells(1), cells(1)])
    assert f1_at(confidence, target > 0, 0.3) > f1_at(confidence, target > 0, 0.9) == 0.5
    assert best_cut(confidence, target) == 0.3


def test_of_equally_good_cuts_the_highest_is_taken_and_1_where_none_is_right() -> None:
    # x right at 0.8: P = 1, R = 1/2, F1 = 2/3; at 0.4 both cells and two wrong ones: P = 1/2, R = 1, F1 = 2/3
    confidence, target = cells(0.8, 0.4, 0.4, 0.4)[None], cells(1, 1)[None]
    assert (
        f1_at(confidence, target > 0, 0.8) == pytest.approx(f1_at(confidence, target > 0, 0.4)) == pytest.approx(2 / 3)
    )
    assert best_cut(confidence, target) == 0.8
    assert best_cut(cells(0, 0, 0.4)[None], target) == 1
    assert best_cut(np.zeros((2, 16, 16)), np.zeros((2, 16, 16))) == 1


def test_a_cell_counts_from_the_threshold_on_and_never_without_any_confidence() -> None:
    marked = binarise(cells(0.5, 0.4999, 0.6), 0.5).ravel()
    assert marked[:4].tolist() == [1, 0, 1, 0] and marked.dtype == np.float64
    assert binarise(cells(0.1), 0.0).sum() == 1
    each = binarise(np.stack([cells(0.5), cells(0.5)]), np.array([0.4, 0.6])[:, None, None])
    assert each.sum(axis=(1, 2)).tolist() == [1, 0], "a threshold an image"


def test_what_is_chosen_on_confidences_marks_the_cells_it_was_chosen_for() -> None:
    confidence, target = cells(0.7, 0.7, 0.2)[None], cells(1, 1)[None]
    marked = binarise(confidence, best_cut(confidence, target))
    np.testing.assert_array_equal(marked, target)


def test_at_most_200_cuts_are_tried_the_lowest_and_highest_confidence_among_them(monkeypatch) -> None:
    confidence = (np.arange(1, 257) / 256).reshape(1, 16, 16)
    everything = np.ones((1, 16, 16))
    highest = (confidence >= 1).astype(float)
    monkeypatch.setattr(areas, "CANDIDATES", 3)
    assert best_cut(confidence, everything) == 1 / 256
    assert best_cut(confidence, highest) == 1


def test_estimates_by_hand_over_the_images_that_count() -> None:
    target = np.stack([cells(1, 1), cells(1), cells(), cells(1)])
    predicted = np.stack([cells(1, 0, 1), cells(), cells(1), cells(1)])
    scores = cell_scores(target, predicted)
    counted = np.array([True, True, True, False])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 5], [0, 0, 3, 0]], dtype=np.uint16)
    precision, recall, f1 = area_estimates(scores, counted, weights)
    assert precision.value == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert recall.value == pytest.approx((1 / 2 + 0) / 2)
    assert f1.value == pytest.approx(2 * (1 / 6) * (1 / 4) / (1 / 6 + 1 / 4))
    np.testing.assert_allclose(precision.samples, [1 / 6, (2 * 1 / 2) / 3, 0])
    np.testing.assert_allclose(recall.samples, [1 / 4, 1 / 2, np.nan], equal_nan=True)
    np.testing.assert_allclose(f1.samples, [0.2, 0.4, np.nan], equal_nan=True)


def test_f1_is_made_of_the_averages_not_averaged_over_images() -> None:
    target, predicted = np.stack([cells(1, 1), cells(1, 1)]), np.stack([cells(1), cells(1, 1, 1, 1)])
    _, _, f1 = area_estimates(cell_scores(target, predicted), np.ones(2, bool), bootstrap_weights(np.arange(2), 3, 0))
    assert f1.value == pytest.approx(0.75), "the mean of the images' own would be 2/3"


def test_shares_of_cells_and_confidences_multiply() -> None:
    scores = cell_scores(cells(0.5, 1.0)[None], cells(0.8, 0.2, 1.0))  # one map for all images
    assert scores.precision == pytest.approx([(0.5 * 0.8 + 0.2) / 2.0])
    assert scores.recall == pytest.approx([(0.5 * 0.8 + 0.2) / 1.5])


def test_nothing_predicted_and_nothing_to_find() -> None:
    scores = AreaScores.of(np.zeros(2), np.array([0, 1]), np.array([1, 0]))
    assert scores.precision.tolist() == [0, 0] and scores.empty.tolist() == [True, False]
    assert np.isnan(scores.recall).tolist() == [False, True]
