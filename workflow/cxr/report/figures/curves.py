"""Learning curves of the report: validation scores beside the floor on the same images, and the kept weights' test scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxr.report.figures.charts import SERIES
from cxr.report.figures.style import BLUE, GREY, INK, VERMILION, WIDTH, png_bytes, quiet, styled


@dataclass(frozen=True)
class Panel:
    """A panel of learning curves. name: of the history's columns train_<name> and validation_<name>. title: for readers.
    floor: image-free score on the validation images; test: score of the kept weights on the test images; NaN: none. marks: epochs
    that get a dotted line, if they were trained."""

    name: str
    title: str
    floor: float = np.nan
    test: float = np.nan
    marks: tuple[int, ...] = ()


def learning_curves(history: pd.DataFrame, rows: Sequence[Sequence[Panel]], kept: Sequence[int] = ()) -> bytes:
    """Draw training and validation curves (the paper's figures 3, 4, 6, 7 and 10).

    history: columns epoch, step, train_<name>, validation_<name>. If a column fold holds several folds, each is a thin line
    and their mean a thick one. rows: panels, at most three in a row. The floor is a dashed line. kept: the epoch whose weights
    were kept, of each fold; the test score is a diamond at their mean, with a bar from the first to the last.
    Raises ValueError without a panel.
    """
    if not any(rows):
        raise ValueError("there is no panel of a learning curve")
    with styled():
        figure = Figure(figsize=(WIDTH, 2.6 * len(rows) + 0.1), layout="constrained")
        axes = figure.subplots(len(rows), max(2, *map(len, rows)), squeeze=False)
        across = _across(history)
        for row, places in zip(rows, axes, strict=True):
            for panel, ax in zip(row, places, strict=False):
                _draw(ax, history, across, panel, kept)
            for ax in places[len(row) :]:
                ax.remove()
        return png_bytes(figure)


def compared_curves(histories: Mapping[str, pd.DataFrame], columns: Mapping[str, str]) -> bytes:
    """Draw the curves of several jobs over each other, one panel per column (the paper's figure 4).

    histories: title of the job → history. columns: history column → title of the panel.
    """
    with styled():
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
            quiet(ax, title)
        return png_bytes(figure)


def curve_names(history: pd.DataFrame) -> list[str]:
    """Return the names of a history's curves, loss first: <name> of its train_<name> and validation_<name> columns."""
    found = []
    for column in history.columns:
        prefix, _, name = column.partition("_")
        if prefix in ("train", "validation") and name not in found and history[column].notna().any():
            found.append(name)
    return sorted(found, key=lambda name: (name != "loss", found.index(name)))


def _across(history: pd.DataFrame) -> str:
    again = history.duplicated([name for name in ("fold", "epoch") if name in history])
    return "step" if again.any() else "epoch"


def _kept_at(history: pd.DataFrame, across: str, kept: Sequence[int]) -> np.ndarray:
    """Return where the kept epochs lie on the axis; the last epoch if none is known."""
    last = history.groupby("epoch")[across].max()
    return last.reindex(kept).dropna().to_numpy(float) if len(kept) else last.to_numpy(float)[-1:]


def _draw(ax: Axes, history: pd.DataFrame, across: str, panel: Panel, kept: Sequence[int]) -> None:
    ends = []
    for role, colour, marker in (("train", BLUE, "o"), ("validation", VERMILION, "s")):
        column = f"{role}_{panel.name}"
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
    if np.isfinite(panel.test):
        places = _kept_at(history, across, kept)
        ax.hlines(panel.test, places.min(), places.max(), color=INK, linewidth=1.1, zorder=4)
        ax.plot([places.mean()], [panel.test], color=INK, marker="D", markersize=5, linestyle="", zorder=5)
        ends.append((last, panel.test, f"◆ test {panel.test:.3f}", INK))
    if np.isfinite(panel.floor):
        first = min(float(history[across].min()), last - 0.5)  # a single epoch has no width
        ax.hlines(panel.floor, first, last, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        ends.append((last, panel.floor, f"floor {panel.floor:.3f}", GREY))
    _label_ends(ax, ends)
    _mark(ax, history.groupby("epoch")[across].max().reindex(panel.marks).dropna())
    ax.set_xlabel(across)
    quiet(ax, panel.title)


def _mark(ax: Axes, places: pd.Series) -> None:
    """Draw a dotted line at each epoch (index), at its place on the axis (value), with the epoch's number above."""
    for epoch, place in places.items():
        ax.axvline(place, color=INK, linewidth=0.9, linestyle=":", zorder=1)
        ax.annotate(
            f"{epoch}",
            (place, 1),
            (2, -2),
            ax.get_xaxis_transform(),
            "offset points",
            color=INK,
            fontsize=7.5,
            va="top",
        )


def _label_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Label lines at their right ends; labels that would overlap are moved apart."""
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
    ticks = np.unique(np.round(MaxNLocator(5, integer=True).tick_values(left, last)))  # fractions for a single epoch
    ax.set_xticks([tick for tick in ticks if left <= tick <= last])
    ax.spines["bottom"].set_bounds(left, last)
    for (_, _, text, colour), height in zip(order, heights, strict=True):
        ax.text(edge, height, text, color=colour, fontsize=8.2, va="center", ha="left")
