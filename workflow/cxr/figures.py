"""Figures of the report: every function draws one and returns it as PNG bytes.

Colours are those of Okabe and Ito (distinct to colour-blind readers); every chart also tells its series apart by marker,
dash or a direct label. Nothing here depends on time or on a display, so equal input gives equal bytes.
"""

import base64
import io
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from cxr.boxes import FRAME
from cxr.labels import LABELS

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#AA4499", "#6B7280"
LIGHT_GREEN = "#39D98A"  # truth on a dark image
INK, FAINT = "#1F2933", "#E5E7EB"
SERIES = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "D"), (PURPLE, "^"), (ORANGE, "v"), (GREY, "P"))
COLLAPSE_COLOURS = {"collapsed": VERMILION, "guesses": GREY, "ranks only": ORANGE, "learned": BLUE}
VERDICT_COLOURS = {"better": BLUE, "indistinguishable": GREY, "worse": VERMILION, "undefined": GREY}
DIVERGING = LinearSegmentedColormap.from_list("below-above", [VERMILION, "#F4C7AB", "#F7F7F7", "#A9CCE3", BLUE])
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a $ in a file's name is a $
    "text.color": INK,
    "axes.edgecolor": "#9CA3AF",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#4B5563",
    "ytick.color": "#4B5563",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
WIDTH, DPI = 7.8, 150  # inches; shown at about 100 px an inch, so 9 pt reads as 12 to 13 px


def learning_curves(
    history: pd.DataFrame,
    floors: Mapping[str, tuple[float, str]],
    tests: Mapping[str, float] | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """Draw training and validation curves (the paper's figures 3, 4, 6, 7 and 10).

    history: contract columns epoch, step, train_<name>, validation_<name>; a panel for every <name> that has a finite value.
    With a column fold that holds several, each fold is a thin line and their mean the thick one.
    floors: <name> → (value, name of the image-free predictor), a dashed line.
    tests: <name> → value on the test images, a diamond at the right edge.
    names: which curves to draw, a panel each; None: all of them.
    Raises ValueError for a history without a curve.
    """
    tests = tests or {}
    names = curve_names(history) if names is None else list(names)
    if not names:
        raise ValueError("the history has no train_ or validation_ column with a finite value")
    with _style():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots(1, max(len(names), 2), squeeze=False)[0]
        across = _across(history)
        for ax, name in zip(axes, names, strict=False):
            _curve_panel(ax, history, across, name, floors.get(name), tests.get(name))
        for ax in axes[len(names) :]:
            ax.remove()
        return _png(figure)


def compared_curves(histories: Mapping[str, pd.DataFrame], columns: Mapping[str, str]) -> bytes:
    """Draw one column of several jobs over each other, a panel a column (the paper's figure 4).

    histories: title of the job → history. columns: history column → title of the panel.
    """
    with _style():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots(1, len(columns), squeeze=False)[0]
        for ax, (column, title) in zip(axes, columns.items(), strict=True):
            ends = []
            for (name, history), (colour, marker) in zip(histories.items(), SERIES, strict=False):
                if column not in history or not history[column].notna().any():
                    continue
                across = _across(history)
                known = history[column].notna()
                x, y = history.loc[known, across], history.loc[known, column]
                ax.plot(x, y, color=colour, marker=marker if len(x) <= 12 else "", markersize=4, linewidth=1.6)
                ends.append((float(x.iloc[-1]), float(y.iloc[-1]), name, colour))
                ax.set_xlabel(across)
            _label_ends(ax, ends)
            _quiet(ax, title)
        return _png(figure)


def grid_heatmap(
    grid: pd.DataFrame, value: str, selected: Sequence[tuple[int, int]] = (), title: str = "", legend: str = ""
) -> bytes:
    """Draw a value over the transfer grid, colours centred on zero (the paper's figure 5).

    grid: columns layers, size and ``value`` (already relative to the floor); missing or NaN pairs are drawn hatched.
    selected: (layers, size) pairs to outline.
    """
    table = grid.pivot_table(index="layers", columns="size", values=value, dropna=False, sort=True)
    table = table.reindex(index=sorted(grid["layers"].unique()), columns=sorted(grid["size"].unique()))
    values = table.to_numpy(dtype=float)
    rows, columns = values.shape
    finite = values[np.isfinite(values)]
    reach = max(float(np.abs(finite).max()) if finite.size else 0.0, 1e-3)
    cell = float(np.clip((WIDTH - 1.9) / columns, 0.4, 1.35))
    height = float(np.clip(cell * 0.5, 0.27, 0.6))
    with _style():
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
        return _png(figure)


def interval_chart(rows: pd.DataFrame) -> bytes:
    """Draw values beside their floors, and the paired differences, as a forest plot.

    rows: columns name, series, value, low, high, floor, floor_low, floor_high, difference, difference_low, difference_high,
    verdict (a key of VERDICT_COLOURS). Rows of one name share a place, told apart by the marker of their series. Drawn from
    top to bottom; rows without a value are left out. Raises ValueError where no row has a value.
    """
    rows = rows[rows["value"].notna()].reset_index(drop=True)
    if rows.empty:
        raise ValueError("no row has a value")
    names, series = list(dict.fromkeys(rows["name"])), list(dict.fromkeys(rows["series"]))
    lane = 0.7 / len(series)
    places = (
        len(names) - 1 - rows["name"].map(names.index) + 0.35 - lane * (rows["series"].map(series.index) + 0.5)
    ).to_numpy(dtype=float)
    with _style():
        figure = Figure(figsize=(WIDTH, (0.12 + 0.15 * len(series)) * len(names) + 1.0), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        _whiskers(left, rows, "floor", places - 0.22 * lane, GREY, "D", face="white")
        for (number, name), verdict in itertools.product(enumerate(series), VERDICT_COLOURS):
            chosen = ((rows["series"] == name) & (rows["verdict"] == verdict)).to_numpy()
            marker, colour = SERIES[number % len(SERIES)][1], VERDICT_COLOURS[verdict]
            _whiskers(left, rows[chosen], "value", places[chosen] + 0.22 * lane, colour, marker)
            _whiskers(right, rows[chosen], "difference", places[chosen], colour, marker)
        right.axvline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        left.set_yticks(range(len(names)), names[::-1])
        left.set_ylim(-0.55, len(names) - 0.45)
        _quiet(left, "Value and floor", grid="x")
        _quiet(right, "Value minus floor", grid="x")
        for ax in (left, right):
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.hlines(
                np.arange(len(names) - 1) + 0.5, 0, 1, transform=ax.get_yaxis_transform(), color=FAINT, linewidth=0.6
            )
        handles = [
            Line2D([], [], color=INK, marker=SERIES[number % len(SERIES)][1], linestyle="", markersize=5, label=name)
            for number, name in enumerate(series)
        ]
        handles.append(
            Line2D([], [], color=GREY, marker="D", markerfacecolor="white", linestyle="", markersize=4.4, label="floor")
        )
        handles += [
            Line2D([], [], color=VERDICT_COLOURS[verdict], linewidth=2.4, label=verdict)
            for verdict in VERDICT_COLOURS
            if (rows["verdict"] == verdict).any() and verdict != "undefined"
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.4, columnspacing=1.3
        )
        return _png(figure)


def collapse_chart(jobs: pd.DataFrame) -> bytes:
    """Draw what the added layer of each compared model is given, what it makes of it, and what that is worth.

    jobs: columns of ``comparison.write``'s table. A lane a job, jobs of one pair (c, s) under each other. Spreads are
    drawn on logarithmic axes; a spread of 0 is drawn at the left edge.
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
    with _style():
        figure = Figure(figsize=(WIDTH, -0.19 * height + 1.0), layout="constrained")
        given, made, worth = figure.subplots(1, 3, sharey=True)
        _change(given, jobs["input_spread_before"], jobs["input_spread_after"], places, colours)
        _quiet(given, "Given: spread of its input", grid="x")
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
        made.scatter(_shown(made, jobs["logit_spread_after"]), places, marker="o", s=26, color=colours, zorder=3)
        _quiet(made, "Made: spread of the logits", grid="x")
        for index, place in enumerate(places):
            _whiskers(worth, aurocs.loc[[index]], "value", np.array([place]), colours[index], "o")
        worth.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        _quiet(worth, "Worth: AUROC, mean of 14", grid="x")
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
        return _png(figure)


def auroc_chart(metrics: pd.DataFrame, names: Mapping[str, str], labels: Sequence[str] = LABELS) -> bytes:
    """Draw AUROC by label with intervals for several classifiers.

    metrics: columns experiment, label, value, low, high. names: experiment → name in the legend, in drawing order.
    A label whose AUROC is undefined has an empty place.
    """
    with _style():
        step = 0.8 / max(len(names), 3)
        figure = Figure(figsize=(WIDTH, max(0.09 * len(names) + 0.12, 0.3) * len(labels) + 1.0), layout="constrained")
        ax = figure.subplots()
        place = {label: float(len(labels) - 1 - index) for index, label in enumerate(labels)}
        for index, ((experiment, name), (colour, marker)) in enumerate(zip(names.items(), SERIES, strict=False)):
            chosen = metrics[(metrics["experiment"] == experiment) & metrics["label"].isin(place)]
            height = chosen["label"].map(place).to_numpy(dtype=float) + ((len(names) - 1) / 2 - index) * step
            _whiskers(ax, chosen, "value", height, colour, marker)
            ax.plot([], [], color=colour, marker=marker, linestyle="", markersize=5, label=name)
        ax.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.annotate("image-free: 0.5", (0.5, len(labels) - 0.45), fontsize=8, color=INK, ha="center", va="bottom")
        for edge in range(len(labels) - 1):
            ax.axhline(edge + 0.5, color=FAINT, linewidth=0.6, zorder=0)
        ax.set_yticks(list(place.values()), [label.replace("_", " ") for label in place])
        ax.set_ylim(-0.6, len(labels) - 0.4)
        low = float(np.nanmin([0.45, *metrics["low"].dropna(), *metrics["value"].dropna()]))
        ax.set_xlim(max(0.0, low - 0.02), 1.005)
        ax.set_xlabel("AUROC")
        _quiet(ax, "", grid="x")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=min(len(names), 4), handletextpad=0.2, columnspacing=1.4)
        return _png(figure)


def detection_sheet(
    pixels: np.ndarray,
    truth: Sequence[Sequence[tuple[str, float, float, float, float]]],
    titles: Sequence[str],
    boxes: Sequence[Sequence[tuple[str, float, float, float, float, float]]] | None = None,
    cells: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
    columns: int = 4,
) -> bytes:
    """Draw test images with their true boxes and what was predicted (the paper's figures 2, 8 and 9).

    pixels: (N, S, S) uint8. truth: for each image (label, x0, y0, x1, y1) in the 1024 frame, solid green.
    boxes: for each image (label, confidence, x0, y0, x1, y1) in the 1024 frame, dashed orange, those below the
    image's threshold left out. cells: (N, 16, 16) float in [0, 1], orange with the confidence as opacity, cells that reach
    the image's threshold outlined. titles, thresholds: one an image; None: 0.5 for all.
    """
    thresholds = [0.5] * len(pixels) if thresholds is None else list(thresholds)
    count = len(pixels)
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    side = WIDTH / columns
    titles = [_wrapped(title, columns) for title in titles]
    head = 0.1 + 0.14 * max(title.count("\n") + 1 for title in titles)  # inches of title above an image
    with _style():
        figure = Figure(figsize=(WIDTH, rows * (side + head) + 0.3))
        for index in range(count):
            ax = _panel(figure, index, columns, side, head)
            _xray(ax, pixels[index])
            if cells is not None:
                _cell_overlay(ax, cells[index], thresholds[index])
            kept = [] if boxes is None else [box for box in boxes[index] if box[1] >= thresholds[index]]
            for label, confidence, *corners in kept:
                _box(ax, corners, ORANGE, (0, (4, 2)), f"{label} {confidence:.2f}", below=True)
            for label, *corners in truth[index]:
                _box(ax, corners, LIGHT_GREEN, "-", label.replace("_", " "))
            ax.set_title(titles[index], fontsize=7.8, fontweight="normal", pad=3)
        _sheet_legend(figure, boxes is not None, cells is not None, thresholds)
        return _png(figure, dpi=120)


def cell_maps(
    predicted: np.ndarray,
    target: np.ndarray,
    titles: Sequence[str],
    pixels: np.ndarray,
    truth: Sequence[tuple[str, float, float, float, float]],
) -> bytes:
    """Draw predicted cells above target cells (the paper's figures 8 and 9), and the first image with both (its figure 2).

    predicted, target: (N, 16, 16) float in [0, 1], row = y. titles: (N,). pixels: (S, S) uint8 of the first image, truth: its
    boxes (label, x0, y0, x1, y1) in the 1024 frame. Each predicted map is scaled to its own highest confidence, which stands
    above it: weak maps would be blank else.
    """
    count, columns = len(predicted), max(len(predicted), 4)
    with _style():
        heights = (2 * WIDTH / columns + 0.55, 2.4)
        figure = Figure(figsize=(WIDTH, sum(heights)))
        upper, lower = figure.subfigures(2, 1, height_ratios=heights)
        axes = upper.subplots(2, columns, squeeze=False)
        for ax in axes[:, count:].ravel():
            ax.remove()
        upper.subplots_adjust(left=0.06, right=0.995, bottom=0.02, top=0.84, wspace=0.08, hspace=0.08)
        for column in range(count):
            highest = float(predicted[column].max())
            _cell_grid(axes[0, column], predicted[column] / (highest or 1.0))
            axes[0, column].set_title(f"{titles[column]}\nhighest {highest:.2f}", fontsize=7, fontweight="normal")
            _cell_grid(axes[1, column], target[column].astype(float))
        axes[0, 0].set_ylabel("predicted")
        axes[1, 0].set_ylabel("truth")
        panels = lower.subplots(1, 4)
        lower.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.9, wspace=0.05)
        _xray(panels[0], pixels)
        for label, *corners in truth:
            _box(panels[0], corners, LIGHT_GREEN, "-", label.replace("_", " "))
        _cell_grid(panels[1], target[0].astype(float))
        for panel, cells in ((panels[2], target[0].astype(float)), (panels[3], predicted[0])):
            _xray(panel, pixels)
            _cell_overlay(panel, cells, 0.5)
        headings = ("Image and its boxes", "Target cells", "Target on the image", "Predicted confidence")
        for panel, heading in zip(panels, headings, strict=True):
            panel.set_title(heading, fontweight="normal")
        return _png(figure, dpi=120)


def prediction_overlay(
    pixels: np.ndarray,
    *,
    window: tuple[float, float, float, float],
    boxes: Sequence[tuple[str, float, float, float, float, float]],
    cells: np.ndarray,
    thresholds: tuple[float, float],
    findings: Sequence[tuple[str, float]],
    title: str,
    notes: Sequence[str],
) -> bytes:
    """Draw one new image: as it is, with predicted boxes and cells, and its most probable findings beside it.

    pixels: (S, S) uint8, squared. window: x0, y0, x1, y1 of the image itself, shares of the side; margins are not shown.
    boxes: (label, confidence, x0, y0, x1, y1) in the 1024 frame. cells: (16, 16) in [0, 1]. thresholds: of boxes, of cells.
    findings: (label, probability). notes: lines of the footer.
    """
    across, down = window[2] - window[0], window[3] - window[1]
    side = 3.3 / max(across, down)  # inches of the squared image
    wide, high = side * across, side * down
    left, head, foot = 0.1, 0.34, 0.36 + 0.16 * len(notes)
    right = max(2.2, 7.5 - 2 * wide)  # room for the footer
    shown = tuple(edge * FRAME for edge in window)
    total = (left + 2 * wide + 0.1 + right, head + max(high, 2.1) + foot)
    with _style():
        figure = Figure(figsize=total)
        for number in range(2):
            corner = (left + number * (wide + 0.1), total[1] - head - high)
            ax = figure.add_axes((corner[0] / total[0], corner[1] / total[1], wide / total[0], high / total[1]))
            _xray(ax, pixels)
            if number:
                _cell_overlay(ax, cells, thresholds[1])
                for label, confidence, *corners in boxes:
                    _box(ax, corners, LIGHT_GREEN, "-", f"{label.replace('_', ' ')} {confidence:.2f}", True, shown)
            ax.set_xlim(shown[0], shown[2])
            ax.set_ylim(shown[3], shown[1])
        figure.text(left / total[0], 1 - 0.12 / total[1], title, ha="left", va="top", fontsize=9.5, fontweight="bold")
        start = (left + 2 * wide + 0.3) / total[0]
        ax = figure.add_axes((start, 1 - (head + 1.9) / total[1], 1.8 / total[0], 1.9 / total[1]))
        _probabilities(ax, findings)
        drawn = {0: "no box", 1: "the most certain box"}.get(len(boxes), f"the {len(boxes)} most certain boxes")
        legend = (
            f"Left: the image as read. Right: {drawn} from {thresholds[0]:.2f} on (green); cells by "
            f"confidence (orange), outlined from {thresholds[1]:.2f}."
        )
        for line, text in enumerate([legend, *notes]):
            place = (foot - 0.14 - 0.16 * line) / total[1]
            short = textwrap.shorten(text, width=int(total[0] * 17), placeholder=" …")
            figure.text(left / total[0], place, short, ha="left", va="top", fontsize=7, color=GREY)
        return _png(figure)


def _probabilities(ax: Axes, findings: Sequence[tuple[str, float]]) -> None:
    for place, (label, probability) in enumerate(findings):
        ax.barh(place, 1, height=0.22, color=FAINT)
        ax.barh(place, probability, height=0.22, color=BLUE)
        ax.text(0, place - 0.2, label.replace("_", " "), fontsize=8.5, ha="left", va="bottom")
        ax.text(1, place - 0.2, f"{probability:.2f}", fontsize=8.5, ha="right", va="bottom")
    ax.set_xlim(0, 1)
    ax.set_ylim(len(findings) - 0.6, -0.75)
    ax.axis("off")


def froc_chart(curves: pd.DataFrame, names: Mapping[str, str]) -> bytes:
    """Draw FROC curves of detectors on the same images with their floor: a panel for all boxes and one a finding.

    curves: columns experiment, label ("all" or a finding), false_positives_per_image, value, low, high, floor. names:
    experiment → name in the legend, in drawing order. Raises ValueError where there is no curve.
    """
    labels = [label for label in ("all", *LABELS) if (curves["label"] == label).any()]
    if not labels:
        raise ValueError("there is no FROC curve")
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    with _style():
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
            _quiet(ax, "any finding" if label == "all" else label.replace("_", " "))
        figure.supxlabel("false positives an image", fontsize=9)
        figure.supylabel("share of true boxes found", fontsize=9)
        handles = [
            Line2D([], [], color=colour, linewidth=2, label=name)
            for name, (colour, _) in zip(names.values(), SERIES, strict=False)
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (4, 2)), label="floor"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        return _png(figure)


def example_images(
    pixels: np.ndarray,
    titles: Sequence[str],
    truth: Sequence[Sequence[tuple[str, float, float, float, float]]] | None = None,
    columns: int = 4,
) -> bytes:
    """Draw images of the data set with their labels as titles.

    pixels: (N, S, S) uint8. truth: for each image (label, x0, y0, x1, y1) in the 1024 frame, or None for no boxes.
    """
    columns = max(1, min(columns, len(pixels)))
    rows = -(-len(pixels) // columns)
    titles = [_wrapped(title, columns) for title in titles]
    side = WIDTH / columns
    head = 0.1 + 0.14 * max(title.count("\n") + 1 for title in titles)  # inches of title above an image
    with _style():
        figure = Figure(figsize=(WIDTH, rows * (side + head)))
        for index in range(len(pixels)):
            ax = _panel(figure, index, columns, side, head)
            _xray(ax, pixels[index])
            for label, *corners in truth[index] if truth is not None else ():
                _box(ax, corners, LIGHT_GREEN, "-", label.replace("_", " "))
            ax.set_title(titles[index], fontsize=7.8, fontweight="normal", pad=3)
        return _png(figure, dpi=120)


def curve_names(history: pd.DataFrame) -> list[str]:
    """Return what a history has curves of, loss first: the <name> of its train_<name> and validation_<name> columns."""
    found = []
    for column in history.columns:
        prefix, _, name = column.partition("_")
        if prefix in ("train", "validation") and name not in found and history[column].notna().any():
            found.append(name)
    return sorted(found, key=lambda name: (name != "loss", found.index(name)))


def _across(history: pd.DataFrame) -> str:
    again = history.duplicated([name for name in ("fold", "epoch") if name in history])
    return "step" if again.any() else "epoch"


def _curve_panel(
    ax: Axes, history: pd.DataFrame, across: str, name: str, floor: tuple[float, str] | None, test: float | None
) -> None:
    ends = []
    for role, colour, marker in (("train", BLUE, "o"), ("validation", VERMILION, "s")):
        column = f"{role}_{name}"
        if column in history and history[column].notna().any():
            known = history[history[column].notna()]
            if "fold" in known and known["fold"].nunique() > 1:
                for _, fold in known.groupby("fold"):
                    ax.plot(fold[across], fold[column], color=colour, linewidth=0.7, alpha=0.45)
            mean = known.groupby(across)[column].mean()
            ax.plot(
                mean.index, mean, color=colour, marker=marker if len(mean) <= 12 else "", markersize=3.6, linewidth=1.6
            )
            ends.append((float(mean.index[-1]), float(mean.iloc[-1]), role, colour))
    last = max(end[0] for end in ends)
    if test is not None and np.isfinite(test):
        ax.plot([last], [test], color=INK, marker="D", markersize=5, linestyle="", zorder=4)
        ends.append((last, test, f"test {test:.3f}", INK))
    if floor is not None and np.isfinite(floor[0]):
        ax.hlines(floor[0], history[across].min(), last, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        ends.append((last, floor[0], f"floor {floor[0]:.3f}", GREY))
    _label_ends(ax, ends)
    ax.set_xlabel(across)
    _quiet(ax, name.replace("_", " ").replace("auroc", "AUROC"))


def _label_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at their right ends, moved apart where they would overlap."""
    if not ends:
        return
    low, high = ax.get_ylim()
    values = [end[1] for end in ends]
    low, high = min(low, *values), max(high, *values)
    margin = 0.06 * (high - low or 1)
    low, high = low - margin, high + margin
    ax.set_ylim(low, high)
    gap = 0.085 * (high - low)
    order = sorted(ends, key=lambda end: end[1])
    heights = np.array([end[1] for end in order], dtype=float)
    for _ in range(100):
        lacking = np.clip(gap - np.diff(heights), 0, None) / 2
        heights[:-1] -= lacking
        heights[1:] += lacking
    heights += max(0.0, low + gap / 2 - heights[0])
    left, right = ax.get_xlim()
    last = max(end[0] for end in ends)
    edge = last + 0.05 * (right - left)
    ax.set_xlim(left, edge + 0.36 * (right - left))
    ax.set_xticks([tick for tick in MaxNLocator(5, integer=True).tick_values(left, last) if left <= tick <= last])
    ax.spines["bottom"].set_bounds(left, last)
    for (_, _, text, colour), height in zip(order, heights, strict=True):
        ax.text(edge, height, text, color=colour, fontsize=8.2, va="center", ha="left")


def _whiskers(
    ax: Axes, rows: pd.DataFrame, column: str, place: np.ndarray, colour: str, marker: str, face: str | None = None
) -> None:
    """Draw a point and its interval for each row; a missing interval leaves the bare point."""
    ends = ("low", "high") if column == "value" else (f"{column}_low", f"{column}_high")
    ax.hlines(place, rows[ends[0]], rows[ends[1]], color=colour, linewidth=1.7 if face is None else 1.1)
    ax.plot(
        rows[column], place, linestyle="", marker=marker, markersize=5 if face is None else 4.4,
        color=colour, markerfacecolor=face or colour, zorder=3,
    )  # fmt: skip


def _change(ax: Axes, before: pd.Series, after: pd.Series, places: np.ndarray, colours: np.ndarray) -> None:
    """Draw a number before (a stroke) and after training (a point) on a logarithmic axis, joined by a line."""
    _logarithmic(ax, [before, after])
    start, end = _shown(ax, before), _shown(ax, after)
    ax.hlines(places, np.minimum(start, end), np.maximum(start, end), color=FAINT, linewidth=2.2, zorder=1)
    ax.scatter(start, places, marker="|", s=60, color=GREY, zorder=2)
    ax.scatter(end, places, marker="o", s=26, color=colours, zorder=3)


def _logarithmic(ax: Axes, values: Sequence[pd.Series]) -> None:
    """Give an axis a logarithmic scale that holds the positive values, and a margin on either side."""
    positive = np.concatenate([series.to_numpy(dtype=float) for series in values])
    positive = positive[positive > 0]
    low, high = (positive.min() / 2, positive.max() * 2) if positive.size else (0.1, 1.0)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1,), numticks=5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _shown(ax: Axes, values: pd.Series) -> np.ndarray:
    """Values for a logarithmic axis; what is not above its left edge is drawn on it, NaN not at all."""
    return np.maximum(values.to_numpy(dtype=float), ax.get_xlim()[0])


@contextmanager
def _style() -> Iterator[None]:
    """Draw with matplotlib's defaults and STYLE, whatever a user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _quiet(ax: Axes, title: str, grid: str = "y") -> None:
    ax.grid(axis=grid, color=FAINT, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_title(title)


def _signed(value: float) -> str:
    value = round(float(value), 3) + 0.0  # no negative zero
    return f"{value:+.3f}".replace("0.", ".").replace("-", "−") if value else "0"


def _panel(figure: Figure, index: int, columns: int, side: float, head: float) -> Axes:
    """Add the axes of an image: square, in reading order, ``head`` inches of title above it."""
    row, column = divmod(index, columns)
    height = figure.get_figheight()
    bottom = height - (row + 1) * (side + head) + 0.03
    inner = side - 0.06
    return figure.add_axes(((column * side + 0.03) / WIDTH, bottom / height, inner / WIDTH, inner / height))


def _wrapped(title: str, columns: int) -> str:
    """Break a title to the width of its column; what does not fit two lines is cut."""
    return "\n".join(textwrap.wrap(title, width=124 // columns, max_lines=2, placeholder=" …"))


def _xray(ax: Axes, pixels: np.ndarray) -> None:
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, FRAME, FRAME, 0), interpolation="antialiased")
    ax.set_xlim(0, FRAME)
    ax.set_ylim(FRAME, 0)
    ax.set_axis_off()


def _box(
    ax: Axes,
    corners: Sequence[float],
    colour: str,
    dash: object,
    text: str,
    below: bool = False,
    window: tuple[float, float, float, float] = (0, 0, FRAME, FRAME),
) -> None:
    """Draw a box with its text, which stays within the window (the part of the frame that is shown)."""
    x0, y0, x1, y1 = corners
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.5, linestyle=dash))
    inside = y1 > window[3] - 70 if below else y0 < window[1] + 70
    height = (y1 - 8 if inside else y1 + 8) if below else (y0 + 8 if inside else y0 - 8)
    align = "top" if below is not inside else "bottom"
    rightwards = x0 < window[2] - 0.38 * FRAME
    ax.text(
        max(x0, window[0] + 6) if rightwards else min(x1, window[2] - 6), height, text, fontsize=6.4, color=colour, va=align,
        ha="left" if rightwards else "right", clip_on=True,
        bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _cell_overlay(ax: Axes, cells: np.ndarray, threshold: float) -> None:
    side = cells.shape[0]
    overlay = np.zeros((*cells.shape, 4))
    overlay[..., :3] = matplotlib.colors.to_rgb(ORANGE)
    overlay[..., 3] = 0.75 * np.clip(cells, 0, 1)
    ax.imshow(overlay, extent=(0, FRAME, FRAME, 0), interpolation="nearest")
    step = FRAME / side
    for row, column in np.argwhere((cells >= threshold) & (cells > 0)):
        corner = (column * step, row * step)
        ax.add_patch(Rectangle(corner, step, step, fill=False, edgecolor=ORANGE, linewidth=0.6))


def _cell_grid(ax: Axes, cells: np.ndarray) -> None:
    side = cells.shape[0]
    colours = LinearSegmentedColormap.from_list("cells", ["#FFFFFF", ORANGE])
    ax.imshow(cells, cmap=colours, vmin=0, vmax=1, extent=(0, side, side, 0), interpolation="nearest")
    ax.set_xticks(range(side + 1), [""] * (side + 1))
    ax.set_yticks(range(side + 1), [""] * (side + 1))
    ax.grid(color="#D1D5DB", linewidth=0.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)


def _sheet_legend(figure: Figure, boxes: bool, cells: bool, thresholds: Sequence[float]) -> None:
    ends = list(dict.fromkeys(f"{end:.2f}" for end in (min(thresholds), max(thresholds))))
    least = f"at least {'–'.join(ends)}{' (by fold)' if len(ends) > 1 else ''}"
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=GREEN, linewidth=1.5, label="truth")]
    if boxes:
        text = f"predicted, confidence {least}"
        handles.append(Rectangle((0, 0), 1, 1, fill=False, edgecolor=ORANGE, linestyle="--", linewidth=1.5, label=text))
    if cells:
        text = f"predicted cell, opacity is confidence, outlined where {least}"
        handles.append(Rectangle((0, 0), 1, 1, facecolor=ORANGE, alpha=0.7, label=text))
    figure.legend(handles=handles, loc="lower left", ncols=3, bbox_to_anchor=(0, 0), fontsize=8, borderaxespad=0.2)


def _png(figure: Figure, dpi: int = DPI) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def embedded(picture: bytes, alt: str, caption: str) -> dict[str, str]:
    """Prepare a PNG for a page that holds it itself."""
    return {"source": "data:image/png;base64," + base64.b64encode(picture).decode(), "alt": alt, "caption": caption}
