"""The report's section on one experiment: its numbers, overall and by label, and its figures."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from cxr.experiments import Experiment, family, pair
from cxr.labels import LABELS
from cxr.metrics.guesses import AMONG_FINDINGS
from cxr.metrics.names import ANY_CLASS, IN_PIXELS, label_name, metric_name, of, parts
from cxr.report import paper, samples
from cxr.report.figures import charts, style
from cxr.report.inputs import SOURCE, ReportInputs
from cxr.report.rows import SUBSETS, Row, groups, make_row, pair_name, rank_name
from cxr.report.sections import curves, spread, validity
from cxr.report.sheets import MOST_BOXES
from cxr.report.verdicts import cell_texts, number, signed

OVERALL = ("", "all", "mean8", "mean14", "findings", "mean15", *paper.LARGE)  # labels that are not one finding
LADDERS = {  # numbers that are drawn above their rungs, and how their panel's title ends
    ("auroc", "mean14"): ", mean of 14",
    ("loss", "mean14"): ", 14 findings",
    ("loss", "findings"): ", among findings",
    ("accuracy", "mean14"): ", 14 findings",
    ("accuracy", "findings"): ", among findings",
}


def section(inputs: ReportInputs, about: Experiment) -> dict[str, Any]:
    """Return the page's content on one experiment."""
    names = inputs.experiments_of(about.name)
    rows = inputs.metrics[inputs.metrics["experiment"].isin([name for _, name in names])]
    return {
        "about": about,
        "groups": groups(inputs, _comparison(inputs, about, rows), by_subset=True),
        "skipped": [(key[0], reason) for key, reason in inputs.skipped.items() if family(key[1]) == about.name],
        "chosen": _chosen(inputs) if about.name == "transfer" else [],
        "spreads": spread.sections(inputs) if about.name == "transfer" else [],
        "weights": _weights_notes(inputs, about),
        "label_tables": list(_label_tables(inputs, about)),
        "figures": [
            *_ladders(inputs, about),
            *_heatmaps(inputs, about),
            *curves.figures(inputs, about),
            *_pictures(inputs, about),
        ],
        "validity": validity.section(inputs, about),
        "everything": [
            {
                "protocol": row["protocol"],
                "experiment": row["experiment"],
                "metric": metric_name(row["metric"]),
                "label": label_name(row["label"]),
                **(cell_texts(row) or {}),
            }
            for row in rows.to_dict("records")
        ],
    }


def _comparison(inputs: ReportInputs, about: Experiment, rows: pd.DataFrame) -> list[Row]:
    """Return the table paper / ours / floor: all overall numbers except those in pixels (which are among all numbers)."""
    overall = rows[rows["label"].isin(OVERALL)]
    kinds = list(overall[["metric", "label"]].drop_duplicates().itertuples(index=False, name=None))
    any_class = {metric for metric, _ in kinds if ANY_CLASS in parts(metric).endings}
    kinds = [
        (metric, label)
        for metric, label in kinds
        if IN_PIXELS not in parts(metric).endings
        and ((levels := of(metric).shown) is None or parts(metric).level in levels)
        and (not about.names_findings or metric not in any_class)
        and (about.names_findings or metric + ANY_CLASS not in any_class)
    ]
    if about.name == "transfer" and not rows.empty:
        kinds.append(("label_sensitivity", "No Finding"))
    subsets = list(SUBSETS)
    kinds.sort(key=lambda kind: subsets.index(kind[1]) if kind[1] in subsets else -1)
    return [
        make_row(inputs, about.name, rank, metric, label)
        for rank in inputs.ranks(about.name)
        for metric, label in kinds
    ]


def _label_tables(inputs: ReportInputs, about: Experiment) -> Iterator[dict[str, Any]]:
    """Yield one table per pair (or a single one): each label with its support and, per protocol, its scores."""
    for rank in inputs.ranks(about.name):
        names = {protocol: inputs.experiment_of(protocol, about.name, rank) for protocol in inputs.protocols}
        known = {protocol: name for protocol, name in names.items() if name is not None}
        keys = pd.MultiIndex.from_tuples([*known.items()], names=["protocol", "experiment"]) if known else None
        if keys is None:
            continue
        mine = inputs.metrics[pd.MultiIndex.from_frame(inputs.metrics[["protocol", "experiment"]]).isin(keys)]
        offered = mine[mine["label"].isin(LABELS)]["metric"].unique()
        shown = [metric for metric in ("auroc", "auprc", "f1", "map50", "froc_1", "centre_hit") if metric in offered]
        if not shown or mine[mine["label"].isin(LABELS) & mine["metric"].isin(shown)]["value"].isna().all():
            continue
        present = [label for label in (*LABELS, "mean8", "mean14", "mean15", "all") if label in set(mine["label"])]
        rows = []
        for label in present:
            cells = {
                protocol: [
                    cell_texts(inputs.metric(protocol, name, metric, label))
                    if name is not None and (metric, label) != ("f1", "all")  # not the mean over the findings
                    else None
                    for metric in shown
                ]
                for protocol, name in names.items()
            }
            if any(cell for each in cells.values() for cell in each):
                rows.append({"label": label_name(label), "mean": label in OVERALL, "cells": cells})
        pairs = [
            f"{protocol}: c = {chosen[0]}, s = {chosen[1]:,}"
            for protocol, name in known.items()
            if (chosen := pair(name))
        ]
        yield {
            "title": f"{rank_name(rank)} pair ({'; '.join(pairs)})" if about.name == "transfer" else "",
            "metrics": [metric_name(metric) for metric in shown],
            "open": rank == 0,
            "rows": rows,
        }


def _chosen(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the pairs chosen on validation, beside the paper's."""
    rows = []
    for rank in range(inputs.most_pairs):
        printed = None
        if rank < len(paper.TRANSFER_PAIRS):
            layers, size = paper.TRANSFER_PAIRS[rank]
            entry = paper.number(f"transfer_c{layers}_s{size}", "validation_gain", "")
            printed = {"pair": pair_name((layers, size)), "gain": signed(entry.value) if entry else ""}
        cells = {}
        for protocol in inputs.protocols:
            pairs = list(inputs.selected.get(protocol, ()))
            grid = inputs.grids.get(protocol)
            if rank >= len(pairs) or grid is None:
                continue
            row = grid[(grid["layers"] == pairs[rank][0]) & (grid["size"] == pairs[rank][1])].iloc[0]
            cells[protocol] = {
                "pair": pair_name(pairs[rank]),
                "ties": _ties(inputs, protocol, rank),
                "gain": signed(row["accuracy"] - row["majority_accuracy"]) or "undefined",
                "auroc": number(row["auroc"]) or "undefined",
                "images": f"{int(row['validation_images']):,}" if "validation_images" in row else "",
            }
        rows.append({"rank": rank_name(rank), "paper": printed, "cells": cells})
    return rows


def _ties(inputs: ReportInputs, protocol: str, rank: int) -> str:
    """Say how many other pairs of the grid gain the same as a chosen one; empty: none."""
    count = dict(enumerate(inputs.ties.get(protocol, ()))).get(rank, 0)
    return f"tied with {count} other pair{'s' if count > 1 else ''}" if count else ""


def _jobs(grid: pd.DataFrame) -> str:
    repeats = int(grid["repeats"].max())
    return "one job per cell" if repeats == 1 else f"mean of {repeats} jobs per cell"


def _weights_notes(inputs: ReportInputs, about: Experiment) -> list[str]:
    """Say which file given weights came from and whether a checksum confirms it, or that there were none."""
    notes = []
    for (protocol, experiment, fold), facts in inputs.facts.items():
        if fold in ("", "0") and family(experiment) == about.name and facts.get("weights_sha256"):
            vouched = _vouched(facts, inputs.settings[protocol][about.section]["sha256"])
            name = facts.get("from") or facts.get("weights") or "a file"
            notes.append(f"{protocol}: starts from {name}, SHA-256 {facts['weights_sha256']}, {vouched}.")
        if fold == "0" and family(experiment) == about.name and facts.get("from") == "scratch":
            setting = f"{protocol}.{about.section}.pretrained"
            notes.append(
                f"{protocol}: no weights were given ({setting} is empty), so all of it was trained from scratch."
            )
    if about.name == "transfer" and SOURCE in inputs.facts:
        notes.append(f"Source weights: {inputs.source_name}.")
    if about.name == "gridcnn":
        notes += [
            f"{protocol}: the grid CNN starts from weights pre-trained here on {facts['pretrained_on']}."
            for (protocol, experiment, fold), facts in inputs.facts.items()
            if experiment == "gridcnn" and fold == "0" and "pretrained_on" in facts
        ]
    return notes


def _vouched(facts: Mapping[str, Any], checked: str) -> str:
    """Return what is known about a weights file. checked: the checksum in the settings, or ""."""
    if published := facts.get("weights_published"):
        return f"which is the checksum of the published {published}"
    if checked:
        return "which equals the checksum in the settings"
    return (
        "given by the user and not checked against a published checksum; this workflow does not know whether they are the "
        "official weights"
    )


def _ladders(inputs: ReportInputs, about: Experiment) -> Iterator[dict[str, str]]:
    """Draw the numbers that have a verdict above the rungs of their floor, for all protocols and pairs of an experiment."""
    rows = []
    for protocol, experiment in inputs.experiments_of(about.name):
        chosen = pair(experiment)
        name = f"{protocol}, {pair_name(chosen)}" if chosen else protocol
        for metric, label in LADDERS:
            row = inputs.metric(protocol, experiment, metric, label)
            if row is not None and pd.notna(row["constant"]) and pd.notna(row["value"]):
                rows.append({**row, "panel": metric_name(metric) + LADDERS[metric, label], "series": name})
    if rows:
        images = samples.listed(inputs, [(row["protocol"], row["experiment"]) for row in rows])
        few = any(row["label"] == AMONG_FINDINGS for row in rows)
        among = " (“among findings”: those with a finding, see the table)" if few else ""
        yield style.embedded(
            charts.ladder_chart(pd.DataFrame(rows)),
            f"{about.title} above the rungs of its floor",
            "Ours, with its interval, above what the image-free predictors of each rung score on the same test images: the best "
            "constant; age, sex, view and follow-up number (metadata); these and the labels of the patient's training images "
            "(history). Blue: better than the floor; orange: worse; grey: indistinguishable, or too few patients. For the loss, "
            "lower is better. The floor is the rung that is best on the training images, not on these. "
            f"Test images: {images}{among}.",
        )


LEAST_REACH = 0.05  # of the grid's colours: smaller differences look pale


def _heatmaps(inputs: ReportInputs, about: Experiment) -> Iterator[dict[str, str]]:
    """Draw the grid of each protocol by both metrics; the colours of a metric mean the same under each protocol."""
    if about.name != "transfer":
        return
    gains = {(protocol, name): _gain(grid, name) for protocol, grid in inputs.grids.items() for name in GAINS}
    for protocol, grid in inputs.grids.items():
        by = inputs.settings[protocol]["transfer"]["select_by"]
        pairs = list(inputs.selected.get(protocol, ()))
        for name in sorted(GAINS, key=lambda name: name != by):
            words, meaning = GAINS[name]
            reach = max(LEAST_REACH, *(gains[other, name].abs().max() for other in inputs.grids))
            role = "This metric chose the outlined pairs" if name == by else "The other metric chose the outlined pairs"
            tied = f" The best pair is {ties}." if name == by and (ties := _ties(inputs, protocol, 0)) else ""
            yield style.embedded(
                charts.grid_heatmap(
                    grid.assign(gain=gains[protocol, name]), "gain", pairs, words, "above floor", float(reach)
                ),
                f"Grid of trainable layers and images, {words}, protocol {protocol}",
                f"Protocol {protocol}: {words} on validation, {meaning}; {_jobs(grid)} (the paper's figure 5). "
                f"n = {samples.of_grid(grid)}. {role}.{tied} The colours end at ±{number(float(reach))} under every protocol. "
                f"No intervals are drawn, because the best of {len(grid)} noisy cells looks better than it is.",
            )


GAINS = {  # by metric of the grid: title, and what it is over
    "accuracy": ("Accuracy minus majority's", "over all 15 labels, “No Finding” among them"),
    "auroc": ("Mean AUROC minus 0.5", "over those of the 15 labels that have one, “No Finding” among them"),
}


def _gain(grid: pd.DataFrame, name: str) -> pd.Series:
    return grid["accuracy"] - grid["majority_accuracy"] if name == "accuracy" else grid["auroc"] - 0.5


def _pictures(inputs: ReportInputs, about: Experiment) -> Iterator[dict[str, str]]:
    figures_8_and_9 = (
        "The upper rows are laid out as the paper's figures 8 and 9, the lowest as its figure 2"
        if about.name == "gridcnn"
        else ""
    )
    for protocol, experiment in inputs.experiments_of(about.name):
        key = (protocol, experiment)
        folds = inputs.tested(protocol)
        sample = f" All test images: {found}." if (found := samples.of_test(inputs, *key)) else ""
        few = (
            f" On an image, the {MOST_BOXES} most confident boxes are drawn, and those that find a true box; below it stands "
            "how many are not, and how confident these are."
            if about.kind == "boxes"
            else ""
        )
        if key in inputs.maps and about.name == "gridcnn":
            yield style.embedded(
                inputs.maps[key],
                f"Predicted cells above the truth, protocol {protocol}",
                f"Protocol {protocol}: test images at even intervals from {folds}. Top: predicted confidence of 16 × 16 cells, "
                "each map scaled to its own highest value. Below it: the ground truth, empty where boxes cover no cell by more "
                "than half. Lowest row: the first image with a target, its target cells, and target and prediction on top of "
                f"the image. {figures_8_and_9}. The paper's own pictures are not shown, because ours are of other images."
                f"{sample}",
            )
        if key in inputs.sheets:
            yield style.embedded(
                inputs.sheets[key],
                f"Test images with truth and predictions, protocol {protocol}",
                f"Protocol {protocol}: test images at even intervals from {folds}, not selected by their result.{few}{sample}",
            )
        if key in inputs.failures:
            yield style.embedded(
                inputs.failures[key],
                f"Worst misses and most confident false positives, protocol {protocol}",
                f"Protocol {protocol}, worst failures. Upper row: the true boxes that were missed, or found with the "
                "lowest confidence; of equal ones, the largest. Missed: no prediction reaches the threshold there. Lower row: the "
                "most confident predictions where no true box is. The release does not have a box for every finding, so some of "
                f"these may be true. Predictions below the threshold are not drawn.{few}{sample}",
            )
