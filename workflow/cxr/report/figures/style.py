"""The style that all figures share, and their PNG bytes."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#AA4499", "#6B7280"
LIGHT_GREEN = "#39D98A"  # truth on a dark image
INK, FAINT = "#1F2933", "#E5E7EB"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a $ in a file name is a plain $
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
WIDTH, DPI = 7.8, 150  # inches; shown at about 100 px per inch, so 9 pt appears as 12 to 13 px


@contextmanager
def styled() -> Iterator[None]:
    """Draw with matplotlib's defaults and STYLE, ignoring the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def quiet(ax: Axes, title: str, grid: str = "y") -> None:
    ax.grid(axis=grid, color=FAINT, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_title(title)


def png_bytes(figure: Figure, dpi: int = DPI) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def embedded(picture: bytes, alt: str, caption: str) -> dict[str, str]:
    """Prepare a PNG for embedding in a page."""
    return {"source": "data:image/png;base64," + base64.b64encode(picture).decode(), "alt": alt, "caption": caption}
