"""Is transfer better than training from scratch, and than not looking at an image?

A pair (c, s) stands beside the baseline with sigmoid outputs on images that both predicted. Images of patients that one of the
two was trained on are left out: under a split by image a network can recognise them. All scores of a comparison are estimated
on the same bootstrap samples of patients. Verdicts as in the metric tables (`judging`).
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr.data import splits
from cxr.labels import FINDINGS, LABELS
from cxr.metrics import judging
from cxr.metrics.bootstrap import Estimate, Resampling, bootstrap_weights, mean_of, minus, weighted_ratios
from cxr.metrics.classification import Scored, mean_labels, ranking_note, support_of
from cxr.metrics.guesses import SIGMOID, Guess, areas, columns
from cxr.metrics.table import METRIC_COLUMNS, Row, can_be_judged, metric_row, metric_table
from cxr.metrics.tested import Tested, in_both
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal
from cxr.settings import Evaluation

TEST, VALIDATION = "test", "validation"  # images of a comparison: of the long runs, of the grid
SCRATCH, FLOOR, BEYOND = "scratch", "floor", "beyond floors"
AGAINST = (SCRATCH, FLOOR, BEYOND)
MEAN = "mean14"
RANKINGS = ("auroc", "auprc")
MEASURES = ("auroc", "accuracy", "loss", "auprc")
SAMPLE = ["images", "image_patients", "positives", "shared", "left_out", "trained", "scratch_trained"]
GAIN_COLUMNS = ["role", "against", *METRIC_COLUMNS, *SAMPLE]
BASELINE = "baseline_sigmoid"


@dataclass(frozen=True)
class Network:
    """A network and its image-free predictors on a role's images, and the patient of each of its training images."""

    tested: Tested
    trained: np.ndarray

    @classmethod
    def read(cls, name: str, predictions: Path, split: Path, floors: Path, train: Path) -> "Network":
        trained = splits.read_split(train)["patient"].to_numpy()
        return cls(Tested.read(name, predictions, split, floors), trained)


@dataclass(frozen=True)
class Compared:
    """A pair and the baseline on N images, each with its ladder; targets and patients are the same for both.

    sample: columns ``SAMPLE``. shared: images that both predicted; left_out: those of them whose patient one of the two was
    trained on; trained, scratch_trained: numbers of training images.
    """

    pair: Tested
    baseline: Tested
    sample: dict[str, int]

    @classmethod
    def of(cls, pair: Network, baseline: Network) -> "Compared":
        shared = in_both(pair.tested, baseline.tested)
        both = pair.tested.of(shared)
        known = np.union1d(pair.trained, baseline.trained)
        images = both.truth.loc[~both.truth["patient"].isin(known), "image"].tolist()
        sides = [each.tested.of(images) for each in (pair, baseline)]
        sample = {
            "images": len(images),
            "image_patients": sides[0].truth["patient"].nunique(),
            "positives": int(sides[0].targets[:, : len(FINDINGS)].sum()),
            "shared": len(shared),
            "left_out": len(shared) - len(images),
            "trained": len(pair.trained),
            "scratch_trained": len(baseline.trained),
        }
        return cls(*sides, sample)


Score = Callable[
    [int, str], Estimate
]  # side (0: the pair, 1: the baseline), and its network "" or an image-free predictor


def scorer(sides: Sequence[Tested], scored: Scored) -> Callable[[str, str], Score]:
    """Return what scores every predictor: metric, label → `Score`. Each predictor is scored once.

    label: ``MEAN`` or a finding. AUROC and AUPRC are means over the labels that enough patients have
    (`classification.mean_labels`), accuracy and loss over all findings. Without an image they are NaN.
    """

    def said(side: int, name: str) -> Guess:
        return sides[side].ladder.guesses[name] if name else sides[side].guess

    @functools.cache
    def ranked(side: int, name: str, at: int) -> tuple[Estimate, Estimate]:
        return areas(said(side, name), scored.targets, at, scored.weights)

    @functools.cache
    def averaged(side: int, name: str) -> dict[tuple[str, str], Estimate]:
        wanted = [each for each in columns(said(side, name), scored.targets, SIGMOID) if each.metric in MEASURES]
        numerators = np.stack([each.numerator for each in wanted], axis=1)
        denominators = np.stack([each.denominator for each in wanted], axis=1)
        found = weighted_ratios(numerators, denominators, scored.weights)
        return {(each.metric, each.label): value for each, value in zip(wanted, found, strict=True)}

    def score(metric: str, label: str, side: int, name: str) -> Estimate:
        if metric not in RANKINGS:
            return averaged(side, name)[metric, label]
        found = [ranked(side, name, at)[RANKINGS.index(metric)] for at in labels_of(label, scored)]
        return mean_of(found) if found else Estimate(np.nan, np.full(len(scored.weights), np.nan))

    return lambda metric, label: functools.partial(score, metric, label)


def labels_of(label: str, scored: Scored) -> list[int]:
    """Return the indices of the labels that an area is over; none where it is undefined."""
    if label == MEAN:
        return mean_labels(scored.fewer, len(FINDINGS))
    at = LABELS.index(label)
    return [at] if scored.fewer[at] else []


def compare(
    protocol: str, role: str, compared: Compared, labels: Sequence[str], resampling: Resampling
) -> pd.DataFrame:
    """Compare a pair with the baseline, with its floor, and its gain over the baseline with that of their floors.

    labels: ``MEAN`` and findings. Returns ``GAIN_COLUMNS``; value, floor and difference are by `against`:

    - ``SCRATCH``: the pair, the baseline, the pair minus the baseline.
    - ``FLOOR``: the pair, its floor, the pair minus its floor.
    - ``BEYOND``: the pair minus the baseline, the floor of the pair minus that of the baseline, and the difference of these two:
      what the images give beyond what the two label tables give. Each floor is fitted on the training images of its network.

    Holm's correction is over the labels of a metric in each of the three. Without an image every number is NaN.
    """
    sides = (compared.pair, compared.baseline)
    patients = sides[0].truth["patient"].to_numpy()
    weights = bootstrap_weights(patients, resampling.samples, resampling.seed)
    scored = Scored.of(sides[0].truth, sides[0].ladder, weights)
    of = scorer(sides, scored)
    rows = [
        _rows(sides, (metric, label), of(metric, label), scored, resampling.confidence)
        for metric in MEASURES
        for label in labels
    ]
    tables = [
        metric_table(protocol, sides[0].name, [each[against] for each in rows], resampling.confidence)
        for against in AGAINST
    ]
    named = [table.assign(against=against) for table, against in zip(tables, AGAINST, strict=True)]
    return pd.concat(named, ignore_index=True).assign(role=role, **compared.sample)[GAIN_COLUMNS]


def _rows(
    sides: Sequence[Tested], number: tuple[str, str], score: Score, scored: Scored, confidence: float
) -> dict[str, Row]:
    """Return a number's row for each of ``AGAINST``; number: metric and label."""
    ladders = [side.ladder for side in sides]
    names = [ladder.floor(*number) for ladder in ladders]
    ours, scratch, *floors = score(0, ""), score(1, ""), *(score(side, name) for side, name in enumerate(names))
    rungs = {
        rung: [score(side, ladder.of_rung(rung, *number)) for side, ladder in enumerate(ladders)]
        for rung in ladders[0].reached()
        if rung in ladders[1].reached()
    }
    judgeable = [can_be_judged(number[0], ladder.rungs[name]) for ladder, name in zip(ladders, names, strict=True)]
    told = {"confidence": confidence, **_sample(*number, scored)}
    own = {"judgeable": judgeable[0], "rungs": {rung: each[0] for rung, each in rungs.items()}}
    both = {"judgeable": all(judgeable), "rungs": {rung: minus(*each) for rung, each in rungs.items()}}
    gains = minus(ours, scratch), minus(*floors)
    return {
        SCRATCH: metric_row(*number, ours, scratch, sides[1].name, **told),
        FLOOR: metric_row(*number, ours, floors[0], names[0], **told, **own),
        BEYOND: metric_row(*number, *gains, " minus ".join(names), **told, **both),
    }


def _sample(metric: str, label: str, scored: Scored) -> dict[str, Any]:
    """Say on how many images and patients a number stands, as the metric tables do."""
    at = labels_of(label, scored)
    ranking = metric in RANKINGS
    parts = [scored.patients]
    if label != MEAN:
        parts = scored.parts(LABELS.index(label))
    elif ranking:
        parts = [part for each in at for part in scored.parts(each)]
    note = ranking_note(label, at, scored) if ranking else ""
    return {"support": support_of(label, scored), "note": note, **judging.telling(*parts)}


@dataclass(frozen=True)
class Inputs:
    """The files of a protocol. Each network: name, predictions, split that it predicted, floors there, training split.

    baselines: role → that of the sigmoid baseline. long: chosen pairs on test images. grid: the chosen depths c at every
    size s, first draw, on validation images.
    """

    baselines: dict[str, tuple[str, Path, Path, Path, Path]]
    long: Sequence[tuple[str, Path, Path, Path, Path]]
    grid: Sequence[tuple[str, Path, Path, Path, Path]]

    @classmethod
    def of(cls, job: Job) -> "Inputs":
        """Return those of a workflow's job; the files of pairs are in the order of its params `pairs` and `curve`."""
        given, kinds = job.input, ("predictions", "split", "floors", "train")

        def networks(names: Sequence[str], of: str) -> list[tuple[str, Path, Path, Path, Path]]:
            files = zip(names, *(given[f"{of}_{kind}"] for kind in kinds), strict=True)
            return [(name, *map(Path, paths)) for name, *paths in files]

        baselines = {
            role: (
                BASELINE,
                *(Path(given[f"baseline_{role}_{kind}"]) for kind in kinds[:-1]),
                Path(given.baseline_train),
            )
            for role in (TEST, VALIDATION)
        }
        pairs, curve = ([f"transfer_{pair}" for pair in job.params[name]] for name in ("pairs", "curve"))
        return cls(baselines, networks(pairs, "long"), networks(curve, "grid"))


def write(*, inputs: Inputs, protocol: str, settings: Evaluation, seed: int, table: Path, tell: Journal) -> None:
    """Write the comparisons, columns ``GAIN_COLUMNS``: long runs on test images label by label, then the grid's means."""
    resampling = Resampling(settings.bootstrap, settings.confidence, seed)
    parts = []
    for role, networks, labels in (
        (TEST, inputs.long, (MEAN, *FINDINGS)),
        (VALIDATION, inputs.grid, (MEAN,)),
    ):
        baseline = Network.read(*inputs.baselines[role])
        for files in networks:
            compared = Compared.of(Network.read(*files), baseline)
            tell(
                f"{files[0]}, {role}: {compared.sample['shared']} images in both, {compared.sample['left_out']} left out for "
                f"their patients, {compared.sample['images']} of {compared.sample['image_patients']} patients compared"
            )
            parts.append(compare(protocol, role, compared, labels, resampling))
    pd.concat(parts, ignore_index=True).to_csv(table, index=False, float_format="%.6g")
