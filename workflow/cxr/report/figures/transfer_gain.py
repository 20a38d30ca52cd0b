"""The figure of the title's question: transfer minus training from scratch by finding, and both over s."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from cxr.metrics.judging import BETTER, SAME, WORSE
from cxr.metrics.names import label_name
from cxr.metrics.transfer_gain import BEYOND, FLOOR, SCRATCH
from cxr.report.figures.charts import PALE, SERIES, VERDICT_COLOURS
from cxr.report.figures.style import BLUE, GREY, INK, VERMILION, WIDTH, png_bytes, quiet, styled


def gain_chart(labels: pd.DataFrame, sizes: pd.DataFrame) -> bytes:
    """Draw the paired difference of each finding beside that of the floors, and the mean over s.

    labels: rows against ``SCRATCH`` and ``BEYOND``, one of each per finding. sizes: rows against ``SCRATCH`` and ``FLOOR``, with
    columns layers and size. Both have the columns of ``metrics.transfer_gain``. Findings without a number have an empty lane.
    """
    with styled():
        figure = Figure(figsize=(WIDTH, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[5, 4])
        _findings(left, labels)
        _sizes(right, sizes)
        words = ((BLUE, "better"), (GREY, "indistinguishable"), (VERMILION, "worse"), (PALE, "no verdict"))
        handles = [Line2D([], [], color=colour, marker="o", markersize=5, label=name) for colour, name in words]
        handles.append(
            Line2D(
                [], [], color=GREY, marker="D", markerfacecolor="white", linestyle="", markersize=4.4, label="floors"
            )
        )
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.4)
        return png_bytes(figure)


def _colour(verdict: str) -> str:
    return VERDICT_COLOURS[verdict] if verdict in (BETTER, SAME, WORSE) else PALE


def _findings(ax: Axes, labels: pd.DataFrame) -> None:
    scratch, beyond = (labels[labels["against"] == each] for each in (SCRATCH, BEYOND))
    floors = beyond.set_index("label")["floor"]
    for place, row in enumerate(scratch.itertuples()):
        ax.hlines(-place, row.difference_low, row.difference_high, color=_colour(row.verdict), linewidth=1.6)
        ax.plot([row.difference], [-place], color=_colour(row.verdict), marker="o", markersize=5, linestyle="")
        ax.plot(
            [floors[row.label]], [-place], color=GREY, marker="D", markerfacecolor="white", markersize=4.2, linestyle=""
        )
    ax.axvline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    names = [f"{label_name(row.label)} ({int(row.support)})" for row in scratch.itertuples()]
    ax.set_yticks([-place for place in range(len(names))], names)
    ax.set_ylim(0.6 - len(names), 0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("AUROC, transfer − training from scratch")
    quiet(ax, "By finding (positive images)", grid="x")


def _sizes(ax: Axes, sizes: pd.DataFrame) -> None:
    known = sizes[sizes["value"].notna()].sort_values("size")
    scratch = known[known["against"] == SCRATCH]
    depths = list(dict.fromkeys(sizes["layers"]))
    for (colour, marker), (number, depth) in zip(SERIES, enumerate(depths), strict=False):
        mine, shift = scratch[scratch["layers"] == depth], 1 + 0.03 * number
        x = mine["size"] * shift
        ax.plot(x, mine["value"], color=colour, linewidth=1.4, label=f"transfer, c = {depth}")
        ax.vlines(x, mine["low"], mine["high"], color=colour, linewidth=1.1)
        for at, row in zip(x, mine.itertuples(), strict=True):
            pale = row.verdict not in (BETTER, SAME, WORSE)
            ax.plot(
                [at],
                [row.value],
                color=colour,
                marker=marker,
                markersize=5,
                markerfacecolor="white" if pale else colour,
            )
        if not number:
            ax.plot(
                mine["size"],
                mine["floor"],
                color=INK,
                linestyle=(0, (5, 3)),
                marker="_",
                linewidth=1.4,
                label="from scratch",
            )
            floor = known[(known["against"] == FLOOR) & (known["layers"] == depth)]
            ax.plot(
                floor["size"],
                floor["floor"],
                color=GREY,
                linestyle=":",
                marker=".",
                linewidth=1.4,
                label="floor of transfer",
            )
    if len(known):
        ax.set_xscale("log")
        ticks = sorted(set(known["size"]))
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=0 if len(ticks) < 5 else 60)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handletextpad=0.5, columnspacing=1.0)
    else:
        ax.text(0.5, 0.5, "no image left to compare", transform=ax.transAxes, ha="center")
    ax.set_xlabel("images s")
    quiet(ax, "Mean AUROC over s")
