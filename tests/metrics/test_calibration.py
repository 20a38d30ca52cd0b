import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from cxr.metrics import calibration
from cxr.metrics.bootstrap import bootstrap_weights

NONE = np.empty((0, 3000), np.uint16)


def drawn(slope: float = 1.0, intercept: float = 0.0, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and targets (N, 1) whose true log-odds are intercept + slope × those predicted."""
    draw = np.random.default_rng(4)
    logits = draw.normal(-1.5, 1.2, (count, 1))
    return expit(logits), (draw.random((count, 1)) < expit(intercept + slope * logits)).astype(float)


def test_the_brier_score_is_that_of_scikit_learn_also_in_a_resample():
    probabilities, targets = drawn()
    weights = bootstrap_weights(np.arange(3000) // 3, 3, 0)
    found = calibration.brier(probabilities, targets, weights)
    assert found.value == pytest.approx(brier_score_loss(targets[:, 0], probabilities[:, 0]))
    expected = [brier_score_loss(targets[:, 0], probabilities[:, 0], sample_weight=each) for each in weights]
    np.testing.assert_allclose(found.samples, expected)


@pytest.mark.parametrize("ties", [False, True])
def test_the_bins_are_those_of_scikit_learns_quantiles(ties):
    probabilities, targets = drawn()
    probabilities = probabilities.round(1) if ties else probabilities
    predicted, observed = calibration.Bins.of(probabilities, targets, NONE).means()
    expected = calibration_curve(targets[:, 0], probabilities[:, 0], n_bins=10, strategy="quantile")
    for mine, theirs in zip((observed, predicted), expected, strict=True):
        np.testing.assert_allclose([each.value for each in mine if np.isfinite(each.value)], theirs)


def test_the_decomposition_by_hand_and_its_sum():
    # two bins with ties: 0.2 (one of four positive) and 0.6 (three of four); base rate 1/2
    probabilities, targets = np.repeat([[0.2], [0.6]], 4, axis=0), np.array([[0, 0, 0, 1, 0, 1, 1, 1]]).T.astype(float)
    parts = calibration.Bins.of(probabilities, targets, NONE[:, :8]).murphy()
    values = {name: each.value for name, each in parts.items()}
    assert values == pytest.approx({"reliability": (0.05**2 + 0.15**2) / 2, "resolution": 0.25**2, "uncertainty": 0.25})
    brier = calibration.brier(probabilities, targets, NONE[:, :8]).value
    assert brier == pytest.approx(values["reliability"] - values["resolution"] + values["uncertainty"])


def test_slope_and_intercept_are_those_of_two_other_fits():
    probabilities, targets = drawn(slope=0.6, intercept=0.5)
    truth, logits = targets[:, 0], logit(probabilities[:, 0])
    slope, intercept = calibration.slope_and_intercept(probabilities, targets, NONE)
    other = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], truth).coef_[0, 0]
    assert slope.value == pytest.approx(other, rel=1e-4)

    def cost(constant: np.ndarray) -> float:
        return float(np.logaddexp(0, logits + constant).sum() - truth @ (logits + constant))

    assert intercept.value == pytest.approx(minimize(cost, np.zeros(1)).x[0], abs=1e-4)
    assert slope.value == pytest.approx(0.6, abs=0.1), "not the intercept"


def test_probabilities_that_are_right_have_slope_1_and_intercept_0_within_their_intervals():
    probabilities, targets = drawn()
    weights = bootstrap_weights(np.arange(3000), 300, 0)
    slope, intercept = calibration.slope_and_intercept(probabilities, targets, weights)
    assert len(slope.samples) == len(intercept.samples) == calibration.REFITS
    for estimate, right in ((slope, 1), (intercept, 0)):
        low, high = estimate.interval(0.99)
        assert low < right < high < low + 0.5


def test_a_resample_is_the_fit_on_the_images_that_it_draws():
    probabilities, targets = drawn(count=300)
    weights = bootstrap_weights(np.arange(300) // 3, 1, 1)
    again = np.repeat(np.arange(300), weights[0])
    drawn_again = calibration.slope_and_intercept(probabilities[again], targets[again], NONE[:, :0])
    for mine, theirs in zip(calibration.slope_and_intercept(probabilities, targets, weights), drawn_again, strict=True):
        assert mine.samples[0] == pytest.approx(theirs.value, abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "truth", "intercept"),
    [([0, 1, 2], [0, 0, 0], False), ([1, 1, 1], [0, 1, 1], True), ([0, 1, 2], [0, 0, 1], True), ([0, 1], [1, 0], True)],
)
def test_an_undefined_slope_is_nan(logits, truth, intercept):
    given = np.array(logits, float), np.array(truth, bool), np.ones(len(truth))
    assert np.isnan(calibration.fit_slope(*given))
    assert np.isfinite(calibration.fit_intercept(*given)) == intercept


def test_probabilities_of_0_and_1_count_as_clipped():
    slope, intercept = calibration.slope_and_intercept(
        np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0.0], [1.0], [1.0], [0.0]]), NONE[:, :4]
    )
    assert slope.value == pytest.approx(0, abs=1e-6) and intercept.value == pytest.approx(0, abs=1e-6)
