"""What the classifiers share: losses, what is measured and predicted, and the scores that choose an epoch, by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxr.classifiers import fit
from cxr.classifiers.fit import sigmoid_objective, sigmoid_scores, softmax_objective, softmax_scores
from cxr.labels import LABELS


def test_a_balanced_loss_weights_positives_by_negatives_per_positive():
    """Undecided about everything, a positive of a label that one image in five has costs as much as four negatives."""
    objective = sigmoid_objective(np.full(15, 0.2), balanced=True)
    targets = torch.zeros(1, 15)
    targets[0, :3] = 1
    assert objective.loss(torch.zeros(1, 15), targets).item() == pytest.approx(np.log(2) * (3 * 4 + 12) / 15)
    plain = sigmoid_objective(np.full(15, 0.2), balanced=False)
    assert plain.loss(torch.zeros(1, 15), targets).item() == pytest.approx(np.log(2))


def test_no_positive_weighs_more_than_fifty_negatives():
    share = np.array([0.0, *[0.5] * 14])
    objective = sigmoid_objective(share, balanced=True)
    targets = torch.zeros(1, 15)
    targets[0, 0] = 1
    assert objective.loss(torch.zeros(1, 15), targets).item() == pytest.approx(np.log(2) * (50 + 14) / 15)
    assert objective.predict(torch.full((1, 15), float(np.log(50))))[0, 0].item() == pytest.approx(0.5)


@pytest.mark.parametrize("balanced", [False, True])
def test_what_is_measured_is_the_cross_entropy_of_what_is_predicted(balanced):
    torch.manual_seed(0)
    outputs, targets = torch.randn(4, 15), (torch.rand(4, 15) < 0.3).float()
    objective = sigmoid_objective(np.linspace(0.05, 0.6, 15), balanced)
    right = torch.where(targets > 0, objective.predict(outputs), 1 - objective.predict(outputs))
    assert objective.measure(outputs, targets).item() == pytest.approx(-right.log().mean().item(), rel=1e-5)
    assert (objective.loss(outputs, targets) > objective.measure(outputs, targets)).item() == balanced


def test_a_softmax_predicts_shares_of_each_image():
    outputs = torch.log(torch.tensor([[1.0, 2.0, 1.0], [6.0, 1.0, 1.0]]))
    expected = torch.tensor([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]])
    assert torch.allclose(softmax_objective().predict(outputs), expected)


def test_scores_by_hand():
    confidences = np.array([[0.6, 0.3, 0.1], [0.5, 0.7, 0.2], [0.4, 0.8, 0.3]])
    targets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    # Of nine decisions, two are wrong: 0.5 is no positive, and 0.7 is one.
    assert sigmoid_scores(confidences, targets) == {"accuracy": pytest.approx(7 / 9), "auroc": 1.0}
    assert softmax_scores(confidences, targets) == {"accuracy": pytest.approx(2 / 3), "auroc": 1.0}
    both = np.array([[1, 0, 1]], np.float32)
    assert softmax_scores(np.array([[0.1, 0.2, 0.7]]), both)["accuracy"] == 0, (
        "the first label in order is the right one"
    )


def test_mean_auroc_is_over_the_labels_that_have_one():
    targets = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    confidences = np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.5], [0.5, 0.1, 0.9]])
    expected = (
        1 + 0.5
    ) / 2  # both others below the first label's image, one of two below the third's; the second has none
    assert fit.mean_auroc(confidences, targets) == pytest.approx(expected)
    assert np.isnan(fit.mean_auroc(confidences, np.zeros((3, 3))))


def test_a_table_of_predictions_has_the_labels_in_their_order():
    images = pd.DataFrame({"image": ["b.png", "a.png"], "patient": [2, 1], "digest": ["x", "y"]})
    confidences = np.arange(30.0).reshape(2, 15)
    table = fit.predictions_table(images, confidences)
    assert table.columns.tolist() == ["image", "patient", *LABELS]
    assert table[["image", "patient"]].to_numpy().tolist() == [["b.png", 2], ["a.png", 1]]
    assert (table[list(LABELS)].to_numpy() == confidences).all()
