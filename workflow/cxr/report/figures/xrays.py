"""Figures that show radiographs, each returned as PNG bytes: with boxes, with cells, as examples."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxr.boxes import FRAME
from cxr.report.figures.style import BLUE, FAINT, GREEN, GREY, LIGHT_GREEN, ORANGE, WIDTH, png_bytes, styled


def detection_sheet(
    pixels: np.ndarray,
    truth: Sequence[Sequence[tuple[str, float, float, float, float]]],
    titles: Sequence[str],
    boxes: Sequence[Sequence[tuple[str, float, float, float, float, float]]] | None = None,
    cells: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
    columns: int = 4,
    notes: Sequence[str] | None = None,
) -> bytes:
    """Draw test images with their true boxes and what was predicted (the paper's figures 2, 8 and 9).

    pixels: (N, S, S) uint8. truth: for each image (label, x0, y0, x1, y1) in the 1024 frame, solid green.
    boxes: for each image (label, confidence, x0, y0, x1, y1) in the 1024 frame, dashed orange; those below the
    image's threshold are left out. cells: (N, 16, 16) float in [0, 1], orange with the confidence as opacity; cells that
    reach the image's threshold are outlined. titles, thresholds: one per image; thresholds None: 0.5 for all. notes: a line
    at the bottom of each image, "" for none.
    """
    thresholds = [0.5] * len(pixels) if thresholds is None else list(thresholds)
    count = len(pixels)
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    side = WIDTH / columns
    titles = [_wrapped(title, columns) for title in titles]
    head = 0.1 + 0.14 * max(title.count("\n") + 1 for title in titles)  # inches of title above an image
    with styled():
        figure = Figure(figsize=(WIDTH, rows * (side + head) + 0.3))
        for index in range(count):
            ax = _panel(figure, index, columns, side, head)
            _xray(ax, pixels[index])
            if cells is not None:
                _cell_overlay(ax, cells[index], thresholds[index])
            kept = [] if boxes is None else [box for box in boxes[index] if box[1] >= thresholds[index]]
            for label, confidence, *corners in kept:
                _box(ax, corners, ORANGE, (0, (4, 2)), f"{label} {certainty(confidence)}", below=True)
            for label, *corners in truth[index]:
                _box(ax, corners, LIGHT_GREEN, "-", label.replace("_", " "))
            ax.set_title(titles[index], fontsize=7.8, fontweight="normal", pad=3)
            if notes and notes[index]:
                _note(ax, notes[index])
        _sheet_legend(figure, boxes is not None, cells is not None, thresholds)
        return png_bytes(figure, dpi=120)


@dataclass(frozen=True)
class CellExample:
    """One image to explain cells with. pixels: (S, S) uint8. truth: its boxes (label, x0, y0, x1, y1) in the 1024 frame.
    predicted, target: (16, 16) in [0, 1], row = y. title: its name."""

    pixels: np.ndarray
    truth: Sequence[tuple[str, float, float, float, float]]
    predicted: np.ndarray
    target: np.ndarray
    title: str


def cell_maps(predicted: np.ndarray, target: np.ndarray, titles: Sequence[str], example: CellExample) -> bytes:
    """Draw predicted cells above target cells (the paper's figures 8 and 9), and one image with both (its figure 2).

    predicted, target: (N, 16, 16) float in [0, 1], row = y. titles: (N,). Each predicted map is scaled to its own highest
    confidence, which is written above it; weak maps would otherwise be blank.
    """
    count, columns = len(predicted), max(len(predicted), 4)
    with styled():
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
        _xray(panels[0], example.pixels)
        for label, *corners in example.truth:
            _box(panels[0], corners, LIGHT_GREEN, "-", label.replace("_", " "))
        wanted = example.target.astype(float)
        _cell_grid(panels[1], wanted)
        for panel, cells in ((panels[2], wanted), (panels[3], example.predicted)):
            _xray(panel, example.pixels)
            _cell_overlay(panel, cells, 0.5)
        headings = (f"{example.title}, its boxes", "Target cells", "Target on the image", "Predicted confidence")
        for panel, heading in zip(panels, headings, strict=True):
            panel.set_title(heading, fontweight="normal", fontsize=8)
        return png_bytes(figure, dpi=120)


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
    """Draw one new image, unmarked and with predicted boxes and cells, and its most probable findings beside it.

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
    with styled():
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
            f"Left: image as read. Right: {drawn} of at least {thresholds[0]:.2f} (green); cells by "
            f"confidence (orange), outlined from {thresholds[1]:.2f}."
        )
        for line, text in enumerate([legend, *notes]):
            place = (foot - 0.14 - 0.16 * line) / total[1]
            short = textwrap.shorten(text, width=int(total[0] * 17), placeholder=" …")
            figure.text(left / total[0], place, short, ha="left", va="top", fontsize=7, color=GREY)
        return png_bytes(figure)


def _probabilities(ax: Axes, findings: Sequence[tuple[str, float]]) -> None:
    for place, (label, probability) in enumerate(findings):
        ax.barh(place, 1, height=0.22, color=FAINT)
        ax.barh(place, probability, height=0.22, color=BLUE)
        ax.text(0, place - 0.2, label.replace("_", " "), fontsize=8.5, ha="left", va="bottom")
        ax.text(1, place - 0.2, f"{probability:.2f}", fontsize=8.5, ha="right", va="bottom")
    ax.set_xlim(0, 1)
    ax.set_ylim(len(findings) - 0.6, -0.75)
    ax.axis("off")


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
    with styled():
        figure = Figure(figsize=(WIDTH, rows * (side + head)))
        for index in range(len(pixels)):
            ax = _panel(figure, index, columns, side, head)
            _xray(ax, pixels[index])
            for label, *corners in truth[index] if truth is not None else ():
                _box(ax, corners, LIGHT_GREEN, "-", label.replace("_", " "))
            ax.set_title(titles[index], fontsize=7.8, fontweight="normal", pad=3)
        return png_bytes(figure, dpi=120)


def _panel(figure: Figure, index: int, columns: int, side: float, head: float) -> Axes:
    """Add the axes of an image: square, in reading order, ``head`` inches of title above it."""
    row, column = divmod(index, columns)
    height = figure.get_figheight()
    bottom = height - (row + 1) * (side + head) + 0.03
    inner = side - 0.06
    return figure.add_axes(((column * side + 0.03) / WIDTH, bottom / height, inner / WIDTH, inner / height))


def _wrapped(title: str, columns: int) -> str:
    """Break a title to the width of its column; text beyond two lines is cut."""
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
    """Draw a box with its text; the text stays within the window (the visible part of the frame)."""
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


def certainty(confidence: float) -> str:
    """Write a confidence: two digits, and one significant digit below 0.01, so that only 0 is written as such."""
    return f"{confidence:.2f}" if confidence >= 0.0095 or confidence == 0 else f"{confidence:.1g}"


def _note(ax: Axes, text: str) -> None:
    """Write a line at the bottom of an image."""
    ax.text(
        6, FRAME - 8, text, fontsize=6.4, color="white", va="bottom",
        bbox={"facecolor": "black", "alpha": 0.7, "edgecolor": "none", "pad": 0.8},
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
    ends = list(dict.fromkeys(map(certainty, (min(thresholds), max(thresholds)))))
    least = f"at least {'–'.join(ends)}{' (by fold)' if len(ends) > 1 else ''}"
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=GREEN, linewidth=1.5, label="truth")]
    if boxes:
        text = f"predicted, confidence {least}"
        handles.append(Rectangle((0, 0), 1, 1, fill=False, edgecolor=ORANGE, linestyle="--", linewidth=1.5, label=text))
    if cells:
        text = f"predicted cell: opacity is confidence, outlined if {least}"
        handles.append(Rectangle((0, 0), 1, 1, facecolor=ORANGE, alpha=0.7, label=text))
    figure.legend(handles=handles, loc="lower left", ncols=3, bbox_to_anchor=(0, 0), fontsize=8, borderaxespad=0.2)
