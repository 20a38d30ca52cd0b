"""The ledger: what became of each claim of the paper, by this run's data under the protocol `paper`.

Each claim names where the paper makes it, its words, what is measured here, and the rule that judges it (``cxr.report.rulings``);
docs/paper.md lists the rules. All numbers come from the run's tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from cxr.boxes import VISIBLE
from cxr.experiments import TITLES, family
from cxr.labels import NO_FINDING
from cxr.metrics.chance import ACCURACIES, CHANCE_COLUMNS, WHOLE_GRID
from cxr.metrics.claims import SWITCHED
from cxr.metrics.variants import COSINE, F1, FEWER, L1, MSE
from cxr.report import paper
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.rulings import (
    EXPLAINED,
    NAN,
    NOT_REPRODUCED,
    REPRODUCED,
    Measurement,
    Rule,
    Ruling,
    all_or_none,
    by_chance,
    came_back,
    counted,
    equal,
    increased,
    not_run,
    of_share,
    reached,
    ruled,
    wilson,
)  # fmt: skip
from cxr.report.verdicts import number, signed
from cxr.settings import PAPER_SIZES

PROTOCOL = "paper"
LEDGER_COLUMNS = [
    "experiment", "section", "claim", "measured", "paper", "value", "low", "high", "floor", "floor_low", "floor_high", "floor_name",
    "images", "patients", "note", "verdict", "why", "conditions",
]  # fmt: skip
Found = Measurement | str  # a measurement, or why there is none
ACCURACY_NAMES = dict(zip(ACCURACIES, ("over 15 labels", "of the highest output", f"of “{NO_FINDING}”"), strict=True))
SHOWN = "validation_images_with_prediction"  # a column of the history
OTHER_YOLO = "ultralytics' YOLO, not YOLOv2"
NOT_RUN = "This configuration does not run it."
LEADS = {
    pair: paper.number(f"transfer_c{pair[0]}_s{pair[1]}", "validation_gain", "").value for pair in paper.TRANSFER_PAIRS
}


@dataclass(frozen=True)
class Claim:
    """A claim. about: experiment (or data) whose conditions count. section: of the paper. words: its own, short. measured: what
    stands beside them. paper: what it prints. find: returns the measurement from a run. rule: judges it."""

    about: str
    section: str
    words: str
    measured: str
    paper: str
    find: Callable[[ReportInputs], Found]
    rule: Rule


# Where the measurements come from


def of_metric(experiment: str, metric: str, label: str) -> Callable[[ReportInputs], Found]:
    def find(inputs: ReportInputs) -> Found:
        row = inputs.metric(PROTOCOL, experiment, metric, label)
        if row is None:
            reason = inputs.skipped.get((PROTOCOL, experiment))
            return f"{TITLES[family(experiment)]} did not run: {reason}." if reason else "The run has no such number."
        return Measurement.of_metric(row)

    return find


def first_of(*finds: tuple[str, Callable[[ReportInputs], Found]]) -> Callable[[ReportInputs], Found]:
    """Return what takes the first measurement that there is, with its note; without one, the reason of the first."""

    def find(inputs: ReportInputs) -> Found:
        found = [(note, each(inputs)) for note, each in finds]
        note, chosen = next((pair for pair in found if not isinstance(pair[1], str)), found[0])
        return chosen if isinstance(chosen, str) else replace(chosen, note=note or chosen.note)

    return find


def of_yolo(kind: str, metric: str) -> Callable[[ReportInputs], Found]:
    """Return what looks a number of YOLOv2 up, or where it did not run that of the network that stands in; kind: off_the_shelf or
    finetuned."""
    own, stand_in = (of_metric(f"{name}_{kind}", metric, "all") for name in ("yolov2", "yolo"))
    return first_of(("", own), (OTHER_YOLO, stand_in))


def of_course(inputs: ReportInputs) -> Found:
    """Return the share of validation images with a prediction after epoch 20, and how many had one early and in the end.

    Early is the best of the first epochs, the end is the last epoch; all folds together. Of YOLOv2, or where it did not run of the
    network that stands in.
    """
    for name, note in (("yolov2_finetuned", ""), ("yolo_finetuned", OTHER_YOLO)):
        histories, facts = (inputs.of_folds(of, PROTOCOL, name) for of in (inputs.histories, inputs.facts))
        if histories and all(SHOWN in history for history in histories):
            return _course(histories, [each["validation"] for each in facts], note)
    return "The run has no such number."


def _course(histories: Sequence[pd.DataFrame], validation: Sequence[Mapping[str, Any]], note: str) -> Found:
    epochs = min(map(len, histories))
    if epochs <= paper.GONE_AT:
        return f"The training has {epochs} epochs; the claim is about epoch {paper.GONE_AT} and what follows."
    images, patients = (sum(each[name] for each in validation) for name in ("images", "patients"))
    shares = zip(histories, validation, strict=True)
    counts = sum(each["images"] * history[SHOWN].to_numpy()[:epochs] for history, each in shares).round().astype(int)
    early, low, last = int(counts[: paper.FIRST].max()), int(counts[paper.GONE_AT - 1]), int(counts[-1])
    told = f"{early} in the first {paper.FIRST} epochs, {low} after epoch {paper.GONE_AT}, {last} after epoch {epochs}"
    return Measurement(
        low / images, *wilson(low, images), images=images, patients=patients, course=(early, low, last),
        note="; ".join(filter(None, (note, told))),
    )  # fmt: skip


def of_claim(subject: str, measure: str, rank: int = -1) -> Callable[[ReportInputs], Found]:
    """Return what looks a row of the claims' table up; rank: of the pair whose name stands for ``{pair}`` in the subject."""

    def find(inputs: ReportInputs) -> Found:
        pair = inputs.experiment_of(PROTOCOL, "transfer", rank) if rank >= 0 else ""
        if pair is None:
            return "The grid chose fewer pairs than the paper."
        if inputs.claims is None:
            return "The run has no such number."
        table = inputs.claims
        rows = table[(table["subject"] == subject.format(pair=pair)) & (table["measure"] == measure)]
        level = 1 - inputs.settings["evaluation"]["confidence"]
        return Measurement.of_claim(rows.iloc[0].to_dict(), level) if len(rows) else "The run has no such number."

    return find


def of_variants(first: str, second: str, measure: str) -> Callable[[ReportInputs], Found]:
    """Return what looks up by how much two variants of the grid CNN differ (``cxr.metrics.variants``)."""
    look_up = of_claim(f"{first} - {second}", measure)
    return lambda inputs: look_up(inputs) if inputs.settings[PROTOCOL]["gridcnn"]["variants"]["draws"] else NOT_RUN


def of_summary(count: Callable[[Mapping[str, Any]], float], patients: bool = False) -> Callable[[ReportInputs], Found]:
    """Return what reads a count of the tables, which no sample makes uncertain."""

    def find(inputs: ReportInputs) -> Found:
        summary = inputs.summary
        if inputs.settings["data"]["source"] != "nih":
            return "Generated images have no such tables."
        people = summary["table_patients"] if patients else summary["usable_patients"]
        return Measurement(count(summary), images=summary["table_rows"], patients=people)

    return find


def of_lead(metric: str, scope: str) -> Callable[[ReportInputs], Found]:
    """Return what looks up the lead of the best pair of a size (or of ``WHOLE_GRID``) in one of ``chance.ACCURACIES``.

    Its floor is chance. A size has more validation images than smaller ones, so chance gives each another lead.
    """

    def find(inputs: ReportInputs) -> Found:
        row = _by_chance(inputs, metric, scope)
        if row is None:
            return f"The grid has no size s = {int(scope):,}." if scope != WHOLE_GRID else "The run has no grid."
        told = row["p"] < round(1 - inputs.settings["evaluation"]["confidence"], 12)
        chance = f"chance: the best of {row['pairs']} majority classifiers, up to {number(row['high'])}"
        sizes = {name: int(row[f"validation_{name}"]) for name in ("images", "patients")}
        note = pair_name((row["layers"], row["size"]))
        return Measurement(
            row["best"],
            floor=row["chance"],
            floor_high=row["high"],
            floor_name=chance,
            told=bool(told),
            note=note,
            **sizes,
        )

    return find


def _by_chance(inputs: ReportInputs, metric: str, scope: str) -> Mapping[str, Any] | None:
    table = inputs.chances.get(PROTOCOL, pd.DataFrame(columns=CHANCE_COLUMNS))
    rows = table[(table["scope"] == scope) & (table["metric"] == metric)]
    return rows.iloc[0].to_dict() if len(rows) else None


def of_pairs(inputs: ReportInputs) -> Found:
    """Return how many of the paper's two pairs the grid chose too; a text where they are not among its pairs."""
    grid, chosen = inputs.grids.get(PROTOCOL), inputs.selected.get(PROTOCOL, ())
    if grid is None or not {*paper.TRANSFER_PAIRS} <= {*zip(grid["layers"], grid["size"], strict=True)}:
        return "The grid does not hold both of the paper's pairs."
    shared = len({*map(tuple, chosen)} & {*paper.TRANSFER_PAIRS})
    best = of_lead("accuracy", WHOLE_GRID)(inputs)
    if isinstance(best, str):
        return best
    ours = "; ".join(map(pair_name, chosen))
    return Measurement(shared, told=best.told, images=best.images, patients=best.patients, note=ours)


def same_pairs(found: Measurement) -> Ruling:
    """Judge the choice of pairs: where the best pair's lead is within chance, which pair is the best is chance too."""
    if found.value == len(paper.TRANSFER_PAIRS):
        return REPRODUCED, "The grid chose the same pairs."
    if not found.told:
        return EXPLAINED, "The best pair leads by no more than chance gives; so chance chose it."
    return NOT_REPRODUCED, f"The grid chose {found.note}."


def of_depth(inputs: ReportInputs) -> Found:
    """Return the gain in validation AUROC from the fewest to the most trained layers, mean over the sizes."""
    grid = inputs.grids.get(PROTOCOL)
    if grid is None:
        return "The run has no grid."
    by_depth = grid.set_index(["size", "layers"])["auroc"].unstack()
    gains = (by_depth[by_depth.columns[-1]] - by_depth[by_depth.columns[0]]).dropna()
    if gains.empty:
        return "The validation AUROC is undefined."
    low, high = gains.min(), gains.max()
    images, patients = (int(grid[name].max()) for name in ("validation_images", "validation_patients"))
    return Measurement(gains.mean(), low, high, images=images, patients=patients)


# The claims, in the order of the paper

LARGE = {
    "large_both": "w > 384 and h > 256",
    "large_either": "w > 384 and h > 256, or turned",
    "large_area": "w × h > 384 × 256",
}


def _data() -> Iterator[Claim]:
    yield Claim(
        "data", "§1", "“110K frontal x-ray images”", "rows of the label table", "110,000",
        of_summary(lambda summary: summary["table_rows"]), counted(110_000, 10_000),
    )  # fmt: skip
    yield Claim(
        "data", "§1", "“from 30K unique patients”", "patients of the label table", "30,000",
        of_summary(lambda summary: summary["table_patients"], patients=True), counted(30_000, 10_000),
    )  # fmt: skip
    for where, words, printed in (
        ("§1", "“Only 893 images were labeled with a bounding box”", 893),
        ("§2.3", "“contains 881 images with … diseased area segmentation”", 881),
    ):
        yield Claim(
            "data", where, words, "images of the box list", str(printed),
            of_summary(lambda summary: summary["listed_boxed_images"]), counted(printed, 1),
        )  # fmt: skip
    yield Claim(
        "data", "§2.3.3", "“our dataset only contains 8 labels”", "findings in the box list", "8",
        of_summary(lambda summary: sum(count > 0 for count in summary["box_labels"].values())), counted(8, 1),
    )  # fmt: skip
    yield Claim(
        "data", "§3.2", "“no_finding makes up the majority of the data”", "share of the usable images", "> 0.5",
        of_summary(lambda summary: summary["labels"][NO_FINDING] / max(summary["usable_images"], 1)), _majority,
    )  # fmt: skip


def _majority(found: Measurement) -> Ruling:
    return (REPRODUCED, "As counted.") if found.value > 0.5 else (NOT_REPRODUCED, "As counted.")


def _baselines() -> Iterator[Claim]:
    for experiment, metric, words, half in (
        ("baseline_softmax", "loss", "“improved from 2.43 …”", 0.005),
        ("baseline_softmax", "accuracy", "“… from a meager 55%”", 0.005),
        ("baseline_sigmoid", "loss", "“… to 0.24”", 0.005),
        ("baseline_sigmoid", "accuracy", "“the accuracy … went up to 92%”", 0.005),
    ):
        entry = paper.number(experiment, metric, "")
        kind = "categorical" if experiment == "baseline_softmax" else "binary"
        yield Claim(
            experiment, entry.where, words, f"{kind} {metric}, {experiment.partition('_')[2]} baseline, test images",
            entry.printed, of_metric(experiment, metric, ""), reached(entry.value, half, higher=metric == "accuracy"),
        )  # fmt: skip
    words = "“a significantly better out-of-the-box performance when we switched to the multi-label setting”"
    for measure, printed, higher in (
        ("accuracy as printed", 0.92 - 0.55, True),
        ("loss as printed", 0.24 - 2.43, False),
    ):
        yield Claim(
            "baseline_sigmoid", "§3.1", words, f"{measure}: the sigmoid's binary minus the softmax's categorical",
            signed(printed), of_claim(SWITCHED, measure), increased(printed, higher),
        )  # fmt: skip
    for measure, higher in (
        ("binary accuracy", True),
        ("categorical accuracy", True),
        ("binary loss", False),
        ("categorical loss", False),
    ):
        yield Claim(
            "baseline_sigmoid", "§3.1", words, f"{measure} of both: the sigmoid's minus the softmax's", "better",
            of_claim(SWITCHED, measure), increased(NAN, higher),
        )  # fmt: skip


def _transfer() -> Iterator[Claim]:
    words = "“slightly outperformed a simple majority classifier (by about 6.59% and 6.33%)”"
    for (_, size), lead in LEADS.items():
        for metric, name in ACCURACY_NAMES.items():
            yield Claim(
                "transfer", "§3.2", words, f"lead of the best pair with s = {size:,} on its validation images, accuracy {name}",
                f"{lead:.2%}", of_lead(metric, str(size)), by_chance(lead),
            )  # fmt: skip
    yield Claim(
        "transfer", "§3.2", "“We chose (2, 5000) and (19, 3000)”", "pairs of the paper among ours", "2",
        of_pairs, same_pairs,
    )  # fmt: skip
    for rank, (layers, size) in enumerate(paper.TRANSFER_PAIRS):
        which = f"{('best', 'second')[rank]} pair"
        for measure in ("binary accuracy", "categorical accuracy"):
            yield Claim(
                "transfer", "§3.2", "“converged to almost exactly … the simple majority classifier (within 0.01)”",
                f"{which}, long run, {measure} on test images minus the majority's ({pair_name((layers, size))} in the paper)",
                "0 ± 0.01", of_claim("{pair} - majority", measure, rank), equal(0.01),
            )  # fmt: skip
        for measure, share, words in (
            ("No Finding found", 1, "“correctly classifies 100% of the no_finding labels”"),
            ("findings found", 0, "“incorrectly classifies all other labels”"),
        ):
            yield Claim(
                "transfer", "§3.2", words, f"{which}: {measure}, share of the labels, at 0.5", str(share),
                of_claim("{pair}", measure, rank), all_or_none(share),
            )  # fmt: skip
    for measure in ("binary accuracy", "AUROC"):
        yield Claim(
            "transfer", "Abstract", "“the baseline model … dramatically outperformed the transfer classification model”",
            f"{measure}{', mean of the findings' if measure == 'AUROC' else ''}: sigmoid baseline minus best pair, on the "
            "pair's test images", "better", of_claim("baseline_sigmoid - {pair}", measure, 0), increased(NAN),
        )  # fmt: skip
    yield Claim(
        "transfer", "§4", "“early convolutional layers are important”",
        "validation AUROC at the largest c minus that at the smallest, mean [range] over the sizes", "",
        of_depth,
        not_run("No pair of the paper's grid trains an early layer: c = 19 ends in the last stage, and all pairs share the rest."),
    )  # fmt: skip


def _detection() -> Iterator[Claim]:
    yield Claim(
        "yolov2_off_the_shelf", "§3.3.1", "“an f1 measure of approximately 15%”", "F1 in cells, test images", "≈ 15%",
        of_yolo("off_the_shelf", "f1"), reached(0.15, 0.005),
    )  # fmt: skip
    yield Claim(
        "yolov2_finetuned", "§3.3.2", "“only 24 out of 129 test images had any predicted diseased locations”",
        "share of test images with a box at the threshold", "24 of 129",
        of_yolo("finetuned", "images_with_prediction"), of_share(24, 129),
    )  # fmt: skip
    yield Claim(
        "yolov2_finetuned", "§3.3.2", "“disappear after continuing to train for 20 epochs … re-appears after another 50”",
        f"share of validation images with a box of confidence {VISIBLE:g} or more after epoch {paper.GONE_AT}", "0",
        of_course, came_back,
    )  # fmt: skip
    yield Claim(
        "gridcnn", "§3.3.3", "“the training and validation loss drop from 0.24 to 0.06”",
        "mean squared error on test images (a constant 0.5 has 0.25)", "0.06",
        of_metric("gridcnn", "mse", "all"), reached(0.06, 0.005, higher=False),
    )  # fmt: skip
    yield Claim(
        "gridcnn", "§3.3.3", "“The recall one-hot encoding ŷ is 100%”", "recall at the threshold (the whole image has 1)",
        "100%", _recall, reached(1.0, 0.005),
    )  # fmt: skip
    kinds = {"precision": ("precision", "Precision"), "recall": ("recall", "Recall"), "f1": ("f1 measure", "F1")}
    for metric, (words, name) in kinds.items():
        entry = paper.number("gridcnn", f"{metric}_weighted", "all")
        yield Claim(
            "gridcnn", "§3.3.3", f"all disease sizes: “{words} … {entry.printed}”", f"{name}, weighted by confidence",
            entry.printed, of_metric("gridcnn", f"{metric}_weighted", "all"), reached(entry.value, 0.00005),
        )  # fmt: skip
    for metric, (words, name) in kinds.items():
        for reading, meaning in LARGE.items():
            entry = paper.number("gridcnn", f"{metric}_weighted", reading)
            yield Claim(
                "gridcnn", "§3.3.3", f"larger disease areas: “{words} … {entry.printed}”",
                f"{name}, weighted by confidence, boxes with {meaning}", entry.printed,
                of_metric("gridcnn", f"{metric}_weighted", reading), reached(entry.value, 0.00005),
            )  # fmt: skip
    for reading, meaning in LARGE.items():
        yield Claim(
            "gridcnn", "§3.3.3", "“an increase in the f1 measure by 5% for a larger diseased area”",
            f"F1 on images with such a box ({meaning}) minus F1 on all", "0.05",
            of_claim("gridcnn", f"f1_weighted, {reading} - all"), increased(0.05),
        )  # fmt: skip
    yield from _variants()
    yield Claim(
        "gridcnn", "§4", "“object detection tasks reported better results with their … baseline”",
        "F1 in cells: grid CNN minus fine-tuned YOLO, same test images", "better",
        first_of(
            ("", of_claim("gridcnn - yolov2_finetuned", "f1")), (OTHER_YOLO, of_claim("gridcnn - yolo_finetuned", "f1"))
        ),
        increased(NAN),
    )  # fmt: skip


def _variants() -> Iterator[Claim]:
    for meaning, printed in (("9 points", 0.09), ("9% of 17.5%", 0.1909 - 0.1909 / 1.09)):
        yield Claim(
            "gridcnn", "§3.3.3", "“an increase in the f1 measure by 9% with only 90 more training images”",
            f"F1, weighted by confidence, on all training images minus that on fewer; read as {meaning}", signed(printed),
            of_variants(MSE, FEWER, F1), increased(printed),
        )  # fmt: skip
    for place in ("inside", "outside"):
        for summary in ("mean", "90% quantile of the"):
            yield Claim(
                "gridcnn", "§2.3.4", "“trained with L1 loss tends to predict much less confidently”",
                f"{summary} confidence {place} true boxes, L1 minus mean squared error", "lower",
                of_variants(L1, MSE, f"{summary} confidence {place}"), increased(NAN, higher=False),
            )  # fmt: skip
    for variant, name in ((L1, "L1"), (COSINE, "cosine proximity")):
        yield Claim(
            "gridcnn", "§2.3.4",
            "“cosine_proximity, mean_squared_error, and L1_loss were evaluated … mean squared error was used”",
            f"F1, weighted by confidence: mean squared error minus {name}", "better", of_variants(MSE, variant, F1),
            increased(NAN),
        )  # fmt: skip


def _recall(inputs: ReportInputs) -> Found:
    """Return the grid CNN's recall beside that of the whole image, which is 1 wherever there is a target."""
    found = of_metric("gridcnn", "recall", "all")(inputs)
    if isinstance(found, str):
        return found
    return Measurement(
        found.value, found.low, found.high, 1.0, 1.0, 1.0, "whole image", images=found.images, patients=found.patients
    )


CLAIMS = (*_data(), *_baselines(), *_transfer(), *_detection())


# Under which conditions

CONDITIONS: dict[
    str, tuple[str, Any]
] = {  # what a condition belongs to: (setting, what the paper says, or Keras' default)
    "data.source": ("", "nih"),
    "network.name": ("baseline transfer", "resnet50"),
    "images.size": ("baseline transfer", 224),
    "source.kind": ("transfer", "imagenet"),
    "paper.split.rule": ("baseline transfer", "image"),
    "paper.baseline.size": ("baseline", 0),
    "paper.transfer.layers": ("transfer", list(range(20))),
    "paper.transfer.sizes": ("transfer", PAPER_SIZES),
    "paper.transfer.head_input": ("transfer", "softmax"),
    "paper.transfer.frozen_batchnorm": ("transfer", "keras"),
    "paper.transfer.head_init": ("transfer", "glorot"),
    "paper.transfer.select_by": ("transfer", "accuracy"),
    "paper.transfer.training.epochs": ("transfer", 5),
    "paper.transfer.training.steps": ("transfer", 100),
    "paper.transfer.long.epochs": ("transfer", 100),
    "paper.transfer.long.steps": ("transfer", 100),
    "paper.yolov2.enabled": ("yolov2_off_the_shelf yolov2_finetuned", True),
    "paper.yolov2.network": ("yolov2_off_the_shelf yolov2_finetuned", "yolov2"),
    "paper.yolov2.cfg": ("yolov2_off_the_shelf yolov2_finetuned", ""),
    "paper.yolov2.training.epochs": ("yolov2_finetuned", 40),
    "paper.yolov2.training.batch": ("yolov2_finetuned", 16),
    "paper.gridcnn.image_size": ("gridcnn", 1024),
    "paper.gridcnn.loss": ("gridcnn", "mse"),
    "paper.gridcnn.training.epochs": ("gridcnn", 5),
    "paper.gridcnn.training.batch": ("gridcnn", 1),
    "paper.gridcnn.training.learning_rate": ("gridcnn", 0.005),
}


def conditions(inputs: ReportInputs, about: str) -> list[str]:
    """Name the settings of a run that are not the paper's, of those that count for an experiment (or the data)."""
    found = []
    for path, (belongs, wanted) in CONDITIONS.items():
        mine = not belongs or about.partition("_")[0] in belongs.split() or about in belongs.split()
        value: Any = inputs.settings
        for key in path.split("."):
            value = value[key]
        if mine and value != wanted:
            found.append(path)
    if about.startswith("yolov2") and not inputs.settings[PROTOCOL]["yolov2"]["pretrained"]:
        found.append("paper.yolov2.pretrained")
    summary = inputs.summary
    if inputs.settings["data"]["source"] == "nih" and summary["usable_images"] < 0.99 * summary["table_rows"]:
        found.insert(0, f"{summary['usable_images']:,} of {summary['table_rows']:,} images")
    return found


def table(inputs: ReportInputs) -> pd.DataFrame:
    """Return the ledger, a row per claim; columns ``LEDGER_COLUMNS``."""
    rows = []
    for claim in CLAIMS:
        found: Found = "The protocol paper did not run."
        if PROTOCOL in inputs.protocols or claim.about == "data":
            found = claim.find(inputs)
        verdict, why = ruled(found, claim.rule)
        numbers = {} if isinstance(found, str) else vars(found)
        rows.append(
            {
                **{name: numbers.get(name) for name in LEDGER_COLUMNS},
                "experiment": claim.about,
                "section": claim.section,
                "claim": claim.words,
                "measured": claim.measured,
                "paper": claim.paper,
                "verdict": verdict,
                "why": why,
                "conditions": "; ".join(conditions(inputs, claim.about)),
            }
        )
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


def leads(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the lead of the best pair of the grid, and of each size of the paper's pairs, in three readings of accuracy.

    scope, accuracy, row (of the table of chance), paper: its lead, None for the whole grid; rest: what of it is beyond chance.
    """
    printed = {WHOLE_GRID: None} | {str(size): lead for (_, size), lead in LEADS.items()}
    return [
        {
            "scope": "whole grid" if scope == WHOLE_GRID else f"s = {int(scope):,}",
            "accuracy": name,
            "row": row,
            "paper": lead,
            "rest": None if lead is None else max(lead - row["high"], 0.0),
        }
        for scope, lead in printed.items()
        for metric, name in ACCURACY_NAMES.items()
        if (row := _by_chance(inputs, metric, scope)) is not None
    ]


def unexplained(inputs: ReportInputs) -> str:
    """Say what of the paper's leads chance does not explain; "" where the grid has none of their sizes."""
    found: dict[str, list[str]] = {}
    for each in leads(inputs):
        if each["paper"] is not None:
            size = f"{each['paper']:.2%} at {each['scope']}"
            found.setdefault(size, []).append(f"{100 * each['rest']:.1f} points in accuracy {each['accuracy']}")
    told = "; ".join(f"of {size}, {', '.join(parts)}" for size, parts in found.items())
    confidence = inputs.settings["evaluation"]["confidence"]
    upper = f"{(1 + confidence) / 2:.1%} of the simulations"
    return f"What the paper's leads have beyond {upper}: {told}." if found else ""
