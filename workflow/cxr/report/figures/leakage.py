"""The figure of the leakage experiment."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cxr.metrics.leakage import ARMS_DIFFER, IMAGE, PATIENT, SHARED, SUBSETS_DIFFER, UNSHARED
from cxr.report.figures.style import BLUE, GREY, INK, PURPLE, VERMILION, WIDTH, png_bytes, quiet, styled

ARMS = {IMAGE: (VERMILION, "o", 0.14), PATIENT: (BLUE, "s", -0.14)}  # colour, marker, place above the lane's middle
SUBSETS = (SHARED, UNSHARED, SUBSETS_DIFFER)


def leakage_chart(table: pd.DataFrame, names: dict[str, str]) -> bytes:
    """Draw the mean AUROC of both arms on both subsets, and beside it the arms' differences, with intervals.

    table: `metrics.leakage.COLUMNS`. names: predictor → its name, in the order of the lanes.
    """
    lanes = [(predictor, subset) for predictor in names for subset in SUBSETS]
    places = {lane: -float(number) - 0.7 * (number // len(SUBSETS)) for number, lane in enumerate(lanes)}
    with styled():
        figure = Figure(figsize=(WIDTH, 0.27 * len(lanes) + 0.5 * len(names) + 0.9), layout="constrained")
        areas, differences = figure.subplots(1, 2, sharey=True)
        for row in table[table["predictor"].isin(names)].itertuples():
            place = places[row.predictor, row.subset]
            if row.arm in ARMS and row.subset != SUBSETS_DIFFER:
                colour, marker, above = ARMS[row.arm]
                _estimate(areas, row, place + above, colour, marker)
            elif row.arm == ARMS_DIFFER:
                whole = row.subset == SUBSETS_DIFFER
                _estimate(differences, row, place, PURPLE if whole else GREY, "D" if whole else "o")
        areas.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        differences.axvline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        quiet(areas, "Mean AUROC", grid="x")
        quiet(differences, "Image − patient", grid="x")
        for ax in (areas, differences):
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.xaxis.set_major_locator(MaxNLocator(5))
        areas.set_yticks([*places.values()], [subset for _, subset in places])
        areas.set_ylim(min(places.values()) - 0.6, 1.1)
        for predictor, name in names.items():
            place, where = places[predictor, SHARED] + 0.65, areas.get_yaxis_transform()
            title = areas.text(-0.3, place, name, transform=where, fontsize=8.5, fontweight="bold", va="center")
            title.set_in_layout(False)  # it may reach beyond its panel
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=5, label=f"arm “{arm}”")
            for arm, (colour, marker, _) in ARMS.items()
        ]
        handles.append(
            Line2D([], [], color=PURPLE, marker="D", markersize=5, label="what recognising patients is worth")
        )
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handletextpad=0.4)
        return png_bytes(figure)


def _estimate(ax: Axes, row: object, place: float, colour: str, marker: str) -> None:
    if np.isfinite(row.low) and np.isfinite(row.high):
        ax.hlines(place, row.low, row.high, color=colour, linewidth=1.6)
    ax.plot([row.value], [place], color=colour, marker=marker, markersize=5, linestyle="")
