"""Charts of the report: each function draws one and returns it as PNG bytes.

Colours are those of Okabe and Ito (distinct to colour-blind readers); each chart also distinguishes its series by marker,
dash or a direct label. Nothing here depends on the time or a display, so equal input gives equal bytes.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from cxr.labels import LABELS
from cxr.report.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILION,
    WIDTH,
    png_bytes,
    quiet,
    styled,
)

SERIES = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "D"), (PURPLE, "^"), (ORANGE, "v"), (GREY, "P"))
COLLAPSE_COLOURS = {"collapsed": VERMILION, "guesses": GREY, "ranks only": ORANGE, "learned": BLUE}
PALE = "#B4BAC4"
VERDICT_COLOURS = {
    "better": BLUE, "indistinguishable": GREY, "worse": VERMILION, "too_few": GREY, "undefined": GREY, "descriptive": PALE
}  # fmt: skip
VERDICT_WORDS = {"too_few": "too few patients", "descriptive": "not judged"}
RUNG_MARKS = {"constant": ("s", GREY), "metadata": ("D", ORANGE), "history": ("^", PURPLE)}
DIVERGING = LinearSegmentedColormap.from_list("below-above", [VERMILION, "#F4C7AB", "#F7F7F7", "#A9CCE3", BLUE])


def grid_heatmap(
    grid: pd.DataFrame,
    value: str,
    selected: Sequence[tuple[int, int]] = (),
    title: str = "",
    legend: str = "",
    reach: float | None = None,
) -> bytes:
    """Draw a value over the transfer grid, colours centred on zero (the paper's figure 5).

    grid: columns layers, size and ``value`` (already relative to the floor); missing or NaN pairs are hatched.
    selected: (layers, size) pairs to outline. reach: value at which the colours end, on either side of zero; None: the
    largest one.
    """
    table = grid.pivot_table(index="layers", columns="size", values=value, dropna=False, sort=True)
    table = table.reindex(index=sorted(grid["layers"].unique()), columns=sorted(grid["size"].unique()))
    values = table.to_numpy(dtype=float)
    rows, columns = values.shape
    finite = values[np.isfinite(values)]
    if reach is None:
        reach = max(float(np.abs(finite).max()) if finite.size else 0.0, 1e-3)
    cell = float(np.clip((WIDTH - 1.9) / columns, 0.4, 1.35))
    height = float(np.clip(cell * 0.5, 0.27, 0.6))
    with styled():
        figure = Figure(figsize=(cell * columns + 1.9, height * rows + 1.15), layout="constrained")
        ax = figure.subplots()
        norm = TwoSlopeNorm(0, -reach, reach)
        image = ax.imshow(
            np.ma.masked_invalid(values), cmap=DIVERGING, norm=norm, aspect="auto", interpolation="nearest"
        )
        font = 9.5 if columns <= 8 else 7.6
        for row, column in np.ndindex(rows, columns):
            shown = values[row, column]
            if np.isfinite(shown):
                dark = np.dot(DIVERGING(norm(shown))[:3], (0.3, 0.59, 0.11)) < 0.55
                ax.text(
                    column, row, _signed(shown), ha="center", va="center", fontsize=font, color="white" if dark else INK
                )
            else:
                ax.add_patch(
                    Rectangle(
                        (column - 0.5, row - 0.5), 1, 1, facecolor="white", hatch="////", edgecolor="#D1D5DB", lw=0
                    )
                )
        for layers, size in selected:
            if layers in table.index and size in table.columns:
                corner = (table.columns.get_loc(size) - 0.5, table.index.get_loc(layers) - 0.5)
                ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=2.2, zorder=3, clip_on=False))
        ax.set_xticks(range(columns), [str(size) for size in table.columns])
        ax.set_yticks(range(rows), [str(layers) for layers in table.index])
        ax.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.2)
        ax.tick_params(which="both", length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("images s")
        ax.set_ylabel("trainable layers c")
        ax.set_title(title)
        bar = figure.colorbar(image, ax=ax, shrink=min(1.0, 2.6 / (height * rows)), aspect=16, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=7.5)
        bar.set_ticks([-reach, 0, reach], labels=[_signed(-reach), "0", _signed(reach)])
        for text in bar.ax.get_yticklabels():
            text.set_fontfamily(STYLE["font.family"])
        bar.set_label(legend, fontsize=8)
        return png_bytes(figure)


def interval_chart(rows: pd.DataFrame) -> bytes:
    """Draw values beside their floors, and the paired differences, as a forest plot with a panel for each metric.

    rows: columns panel (name of the metric), name, series, value, low, high, floor, floor_low, floor_high, difference,
    difference_low, difference_high, verdict (a key of VERDICT_COLOURS). Each panel has axes of its own. Rows of one panel
    and name share a place; their series differ in marker. Drawn from top to bottom; rows without a value are left out.
    Raises ValueError if no row has a value.
    """
    rows = rows[rows["value"].notna()].reset_index(drop=True)
    if rows.empty:
        raise ValueError("no row has a value")
    series = list(dict.fromkeys(rows["series"]))
    lanes = rows.groupby("panel", sort=False)["name"].nunique()
    lane = 0.12 + 0.12 * len(series)  # inches
    heights = lane * lanes.to_numpy() + 0.46
    with styled():
        figure = Figure(figsize=(WIDTH, heights.sum() + 0.45), layout="constrained")
        figure.get_layout_engine().set(hspace=0.02)
        axes = figure.subplots(len(lanes), 2, squeeze=False, width_ratios=[3, 2], height_ratios=heights)
        for (left, right), panel in zip(axes, lanes.index, strict=True):
            _forest_panel(left, right, rows[rows["panel"] == panel].reset_index(drop=True), series)
            quiet(left, panel, grid="x")
            quiet(right, "minus floor", grid="x")
        handles = [
            Line2D([], [], color=INK, marker=SERIES[number % len(SERIES)][1], linestyle="", markersize=5, label=name)
            for number, name in enumerate(series)
        ]
        handles.append(
            Line2D([], [], color=GREY, marker="D", markerfacecolor="white", linestyle="", markersize=4.4, label="floor")
        )
        handles += [Line2D([], [], color=colour, linewidth=2.4, label=words) for colour, words in _verdict_words(rows)]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.4, columnspacing=1.1
        )
        return png_bytes(figure)


def _verdict_words(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the colours of the verdicts that occur, each with the words of all verdicts drawn in it."""
    found: dict[str, list[str]] = {}
    for verdict, colour in VERDICT_COLOURS.items():
        if (rows["verdict"] == verdict).any() and verdict != "undefined":
            found.setdefault(colour, []).append(VERDICT_WORDS.get(verdict, verdict))
    return [(colour, " or ".join(words)) for colour, words in found.items()]


def _forest_panel(left: Axes, right: Axes, rows: pd.DataFrame, series: Sequence[str]) -> None:
    """Draw the rows of one metric: on the left values and floors, on the right the differences."""
    names = list(dict.fromkeys(rows["name"]))
    lane = 0.7 / len(series)
    places = (
        len(names) - 1 - rows["name"].map(names.index) + 0.35 - lane * (rows["series"].map(series.index) + 0.5)
    ).to_numpy(dtype=float)
    _whiskers(left, rows, "floor", places - 0.22 * lane, GREY, "D", face="white")
    for (number, name), verdict in itertools.product(enumerate(series), VERDICT_COLOURS):
        chosen = ((rows["series"] == name) & (rows["verdict"] == verdict)).to_numpy()
        if chosen.any():
            marker, colour = SERIES[number % len(SERIES)][1], VERDICT_COLOURS[verdict]
            _whiskers(left, rows[chosen], "value", places[chosen] + 0.22 * lane, colour, marker)
            _whiskers(right, rows[chosen], "difference", places[chosen], colour, marker)
    right.axvline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    left.set_yticks(range(len(names)), names[::-1])
    right.set_yticks([])
    for ax in (left, right):
        ax.set_ylim(-0.55, len(names) - 0.45)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        edges = np.arange(len(names) - 1) + 0.5
        ax.hlines(edges, 0, 1, transform=ax.get_yaxis_transform(), color=FAINT, linewidth=0.6)


def collapse_chart(jobs: pd.DataFrame) -> bytes:
    """Draw input and output of each compared model's added layer, and the model's scores.

    jobs: columns of ``collapse.write``'s table. One lane per job, jobs of one pair (c, s) below each other. Spreads have
    logarithmic axes; a spread of 0 is drawn at the left edge.
    """
    pairs = list(dict.fromkeys(jobs[["layers", "size"]].itertuples(index=False, name=None)))
    jobs = jobs.reset_index(drop=True)
    places = np.empty(len(jobs))
    names, ticks, height = [], [], 0.0
    for layers, size in pairs:
        height -= 0.9
        names.append((height + 0.05, f"c = {layers}, s = {size:,}"))
        for index in jobs.index[(jobs["layers"] == layers) & (jobs["size"] == size)]:
            height -= 1
            places[index] = height + 0.25
            ticks.append((height + 0.25, f"{jobs.at[index, 'head_input']}, {jobs.at[index, 'frozen_batchnorm']}"))
    colours = jobs["verdict"].map(COLLAPSE_COLOURS).to_numpy()
    aurocs = jobs[["auroc", "auroc_low", "auroc_high"]].set_axis(["value", "low", "high"], axis=1)
    with styled():
        figure = Figure(figsize=(WIDTH, -0.19 * height + 1.0), layout="constrained")
        given, made, worth = figure.subplots(1, 3, sharey=True)
        _change(given, jobs["input_spread_before"], jobs["input_spread_after"], places, colours)
        quiet(given, "Spread of the layer's input", grid="x")
        _logarithmic(made, [jobs["logit_spread_after"], jobs["mode_gap_after"]])
        made.scatter(
            _shown(made, jobs["mode_gap_after"]),
            places,
            marker="x",
            s=26,
            color=INK,
            linewidths=1.1,
            zorder=4,
            clip_on=False,
        )
        made.scatter(
            _shown(made, jobs["logit_spread_after"]), places, marker="o", s=26, color=colours, zorder=3, clip_on=False
        )
        quiet(made, "Spread of its logits", grid="x")
        for index, place in enumerate(places):
            _whiskers(worth, aurocs.loc[[index]], "value", np.array([place]), colours[index], "o")
        worth.scatter(jobs["auroc_floor"], places, marker="D", s=16, facecolor="white", edgecolor=GREY, zorder=2)
        worth.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        quiet(worth, "AUROC, mean of 14", grid="x")
        given.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
        given.set_ylim(height - 0.5, -0.2)
        for ax in (given, made, worth):
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
        for place, name in names:
            given.text(
                0, place, name, transform=given.get_yaxis_transform(), fontsize=8.5, fontweight="bold", va="center"
            )
        handles = [
            Line2D([], [], color=colour, marker="o", linestyle="", markersize=5, label=name)
            for name, colour in COLLAPSE_COLOURS.items()
            if (jobs["verdict"] == name).any()
        ]
        handles += [
            Line2D([], [], color=GREY, marker="|", linestyle="", markersize=8, label="before training"),
            Line2D([], [], color=INK, marker="x", linestyle="", markersize=5, label="training mode minus testing mode"),
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.3, columnspacing=1.1
        )
        return png_bytes(figure)


def ladder_chart(rows: pd.DataFrame) -> bytes:
    """Draw a model's scores above those of the image-free predictors of each rung, one panel per score.

    rows: columns panel (title), series (name of the lane), value, low, high, verdict, and one per rung: constant, metadata,
    history (NaN where there is none). Lanes from top to bottom in the order of their series. Raises ValueError without a row.
    """
    if rows.empty:
        raise ValueError("no row has rungs")
    panels, lanes = list(dict.fromkeys(rows["panel"])), list(dict.fromkeys(rows["series"]))
    with styled():
        figure = Figure(figsize=(WIDTH, 0.52 * len(lanes) + 1.1), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, panel in zip(axes, panels, strict=True):
            mine = rows[rows["panel"] == panel]
            places = (len(lanes) - 1 - mine["series"].map(lanes.index)).to_numpy(dtype=float)
            for rung, (marker, colour) in RUNG_MARKS.items():
                ax.scatter(mine[rung], places - 0.2, marker=marker, s=30, facecolor="white", edgecolor=colour, zorder=3)
            for place, (_, row) in zip(places, mine.iterrows(), strict=True):
                rungs = row[[*RUNG_MARKS]].to_numpy(dtype=float)
                ax.hlines(place - 0.2, np.nanmin(rungs), np.nanmax(rungs), color=FAINT, linewidth=2.2, zorder=1)
                colour = VERDICT_COLOURS.get(row["verdict"], GREY)
                _whiskers(ax, row.to_frame().T, "value", np.array([place + 0.15]), colour, "o")
            quiet(ax, panel, grid="x")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.xaxis.set_major_locator(MaxNLocator(4))
        axes[0].set_yticks(range(len(lanes)), lanes[::-1])
        axes[0].set_ylim(-0.6, len(lanes) - 0.4)
        handles = [Line2D([], [], color=INK, marker="o", linestyle="-", markersize=5, label="ours")]
        handles += [
            Line2D(
                [], [], color=colour, marker=marker, markerfacecolor="white", linestyle="", markersize=5.5, label=rung
            )
            for rung, (marker, colour) in RUNG_MARKS.items()
            if rows[rung].notna().any()
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.4)
        return png_bytes(figure)


def spread_chart(rows: pd.DataFrame) -> bytes:
    """Draw standard deviations by source over the number of images, with intervals, one panel per score.

    rows: columns panel (title), size, source, sd, low, high (NaN: no interval). An interval that reaches beyond five times
    the largest standard deviation is cut there. Raises ValueError without a row.
    """
    if rows.empty:
        raise ValueError("no row has a standard deviation")
    panels, sizes = list(dict.fromkeys(rows["panel"])), sorted(rows["size"].unique())
    sources = list(dict.fromkeys(rows["source"]))
    with styled():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots(1, max(len(panels), 2), squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=False):
            for index, (source, (colour, marker)) in enumerate(zip(sources, SERIES, strict=False)):
                mine = rows[(rows["panel"] == panel) & (rows["source"] == source)]
                places = mine["size"].map(sizes.index) + 0.14 * (index - (len(sources) - 1) / 2)
                ax.vlines(places, mine["low"], mine["high"], color=colour, linewidth=1.4)
                ax.scatter(places, mine["sd"], color=colour, marker=marker, s=26, zorder=3, label=source, clip_on=False)
            ax.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
            ax.set_xlabel("images s")
            mine = rows[rows["panel"] == panel]
            highest = max(mine["sd"].max(), min(5 * mine["sd"].max(), mine["high"].max()))
            ax.set_ylim(0, 1.05 * highest or None)
            quiet(ax, panel)
        for ax in axes[len(panels) :]:
            ax.remove()
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names), handletextpad=0.3)
        return png_bytes(figure)


def auroc_chart(metrics: pd.DataFrame, names: Mapping[str, str], labels: Sequence[str] = LABELS) -> bytes:
    """Draw the AUROC of each label, with intervals, for several classifiers.

    metrics: columns experiment, label, value, low, high, floor. names: experiment → name in the legend, in drawing order.
    A label whose AUROC is undefined has an empty place.
    """
    with styled():
        step = 0.8 / max(len(names), 3)
        figure = Figure(figsize=(WIDTH, max(0.09 * len(names) + 0.12, 0.3) * len(labels) + 1.0), layout="constrained")
        ax = figure.subplots()
        place = {label: float(len(labels) - 1 - index) for index, label in enumerate(labels)}
        for index, ((experiment, name), (colour, marker)) in enumerate(zip(names.items(), SERIES, strict=False)):
            chosen = metrics[(metrics["experiment"] == experiment) & metrics["label"].isin(place)]
            height = chosen["label"].map(place).to_numpy(dtype=float) + ((len(names) - 1) / 2 - index) * step
            _whiskers(ax, chosen, "value", height, colour, marker)
            ax.scatter(
                chosen["floor"], height, marker="D", s=13, facecolor="white", edgecolor=colour, linewidth=0.8, zorder=2,
                clip_on=False,
            )  # fmt: skip
            ax.plot([], [], color=colour, marker=marker, linestyle="", markersize=5, label=name)
        ax.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.annotate("any constant: 0.5", (0.5, len(labels) - 0.45), fontsize=8, color=INK, ha="center", va="bottom")
        for edge in range(len(labels) - 1):
            ax.axhline(edge + 0.5, color=FAINT, linewidth=0.6, zorder=0)
        ax.set_yticks(list(place.values()), [label.replace("_", " ") for label in place])
        ax.set_ylim(-0.6, len(labels) - 0.4)
        low = float(np.nanmin([0.45, *metrics["low"].dropna(), *metrics["value"].dropna()]))
        ax.set_xlim(max(0.0, low - 0.02), 1.005)
        ax.set_xlabel("AUROC")
        quiet(ax, "", grid="x")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=min(len(names), 4), handletextpad=0.2, columnspacing=1.4)
        return png_bytes(figure)


def froc_chart(curves: pd.DataFrame, names: Mapping[str, str], boxes: Mapping[str, int] | None = None) -> bytes:
    """Draw FROC curves of detectors on the same images with their floor: one panel for all boxes and one per finding.

    curves: columns experiment, label ("all" or a finding), false_positives_per_image, value, low, high, floor. names:
    experiment → name in the legend, in drawing order. boxes: label → number of true boxes, for the titles. Raises ValueError
    if there is no curve.
    """
    labels = [label for label in ("all", *LABELS) if (curves["label"] == label).any()]
    if not labels:
        raise ValueError("there is no FROC curve")
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    with styled():
        figure = Figure(figsize=(WIDTH, 2.1 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax in axes[len(labels) :]:
            ax.remove()
        for ax, label in zip(axes, labels, strict=False):
            for experiment, (colour, _) in zip(names, SERIES, strict=False):
                mine = curves[(curves["label"] == label) & (curves["experiment"] == experiment)]
                x = mine["false_positives_per_image"]
                ax.fill_between(x, mine["low"], mine["high"], color=colour, alpha=0.18, linewidth=0)
                ax.plot(x, mine["value"], color=colour, linewidth=1.6)
                ax.plot(x, mine["floor"], color=GREY, linewidth=1.1, linestyle=(0, (4, 2)))
            ax.set_xscale("log", base=2)
            ax.set_xticks([0.125, 0.5, 2, 8], ["1/8", "1/2", "2", "8"])
            ax.set_ylim(-0.02, 1.02)
            number = f", {boxes[label]:,} boxes" if boxes and label in boxes else ""
            quiet(ax, ("any finding" if label == "all" else label.replace("_", " ")) + number)
        figure.supxlabel("false positives per image", fontsize=9)
        figure.supylabel("share of true boxes found", fontsize=9)
        handles = [
            Line2D([], [], color=colour, linewidth=2, label=name)
            for name, (colour, _) in zip(names.values(), SERIES, strict=False)
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (4, 2)), label="floor"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        return png_bytes(figure)


def reliability_chart(bins: pd.DataFrame) -> bytes:
    """Draw the observed share of positives against the predicted probability, of a model and of its floor.

    bins: columns metric (predicted and observed, and the floor's floor_predicted and floor_observed), group (number of the
    bin), value, low, high. On the right the same, enlarged to the lowest nine bins of the model, where most cases are.
    """
    curves = {before: _bin_curve(bins, before) for before in ("", "floor_")}
    model = curves[""]
    near = max(1.15 * float(model.iloc[:-1].max(axis=None)), 0.05) if len(model) > 1 else 1.0
    with styled():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for ax, edge, title in zip(panels, (1.0, near), ("All bins", "Without the highest bin"), strict=True):
            ax.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
            for before, colour, marker, face in (("floor_", GREY, "D", "white"), ("", BLUE, "o", BLUE)):
                curve = curves[before]
                ax.vlines(curve["predicted"], curve["low"], curve["high"], color=colour, linewidth=1.4)
                ax.plot(
                    curve["predicted"], curve["observed"], color=colour, marker=marker, markerfacecolor=face,
                    markersize=4.6, linewidth=1, label="floor" if before else "model",
                )  # fmt: skip
            ax.set_xlim(-0.03 * edge, 1.03 * edge)  # a bin at 0 is drawn whole
            ax.set_ylim(-0.03 * edge, 1.03 * edge)
            ax.set_xlabel("mean predicted probability")
            quiet(ax, title)
        panels[0].set_ylabel("share with the finding")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return png_bytes(figure)


def _bin_curve(bins: pd.DataFrame, before: str) -> pd.DataFrame:
    """The bins of one predictor, lowest first: predicted, observed, and the interval of observed."""
    predicted, observed = (
        bins[bins["metric"] == f"{before}{name}"].set_index("group") for name in ("predicted", "observed")
    )
    found = observed.assign(predicted=predicted["value"], observed=observed["value"])
    return found.sort_values("predicted")[["predicted", "observed", "low", "high"]]


def _whiskers(
    ax: Axes, rows: pd.DataFrame, column: str, place: np.ndarray, colour: str, marker: str, face: str | None = None
) -> None:
    """Draw a point and its interval for each row; without an interval, only the point."""
    ends = ("low", "high") if column == "value" else (f"{column}_low", f"{column}_high")
    ax.hlines(place, rows[ends[0]], rows[ends[1]], color=colour, linewidth=1.7 if face is None else 1.1)
    ax.plot(
        rows[column], place, linestyle="", marker=marker, markersize=5 if face is None else 4.4,
        color=colour, markerfacecolor=face or colour, zorder=3, clip_on=False,
    )  # fmt: skip


def _change(ax: Axes, before: pd.Series, after: pd.Series, places: np.ndarray, colours: np.ndarray) -> None:
    """Draw a number before (stroke) and after training (point) on a logarithmic axis, joined by a line."""
    _logarithmic(ax, [before, after])
    start, end = _shown(ax, before), _shown(ax, after)
    ax.hlines(places, np.minimum(start, end), np.maximum(start, end), color=FAINT, linewidth=2.2, zorder=1)
    ax.scatter(start, places, marker="|", s=60, color=GREY, zorder=2, clip_on=False)
    ax.scatter(end, places, marker="o", s=26, color=colours, zorder=3, clip_on=False)


def _logarithmic(ax: Axes, values: Sequence[pd.Series]) -> None:
    """Set a logarithmic scale that holds the positive values, with a margin on either side."""
    positive = np.concatenate([series.to_numpy(dtype=float) for series in values])
    positive = positive[positive > 0]
    low, high = (positive.min() / 2, positive.max() * 2) if positive.size else (0.1, 1.0)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1,), numticks=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _shown(ax: Axes, values: pd.Series) -> np.ndarray:
    """Return values for a logarithmic axis: those not above its left edge are moved to it, NaN stays NaN."""
    return np.maximum(values.to_numpy(dtype=float), ax.get_xlim()[0])


def _signed(value: float) -> str:
    value = round(float(value), 3) + 0.0  # no negative zero
    return f"{value:+.3f}".replace("0.", ".").replace("-", "−") if value else "0"
