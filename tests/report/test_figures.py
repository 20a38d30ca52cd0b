import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cxr.report.figures import charts, curves, xrays
from cxr.report.figures.curves import Panel

ORANGE, GREEN = (0xE6, 0x9F, 0x00), (0x39, 0xD9, 0x8A)
BLUE, VERMILION, INK, GREY = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x1F, 0x29, 0x33), (0x6B, 0x72, 0x80)


def decoded(picture):
    assert picture.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def count(picture, colour, tolerance=6):
    """Pixels that have a colour, to rounding."""
    return int((np.abs(decoded(picture) - colour).max(axis=-1) <= tolerance).sum())


@pytest.fixture
def history():
    epochs = np.arange(1, 6)
    return pd.DataFrame(
        {
            "epoch": epochs,
            "step": epochs * 10,
            "seconds": epochs * 1.0,
            "train_loss": 1 / epochs,
            "validation_loss": 1.2 / epochs,
            "validation_auroc": np.nan,
            "validation_accuracy": 1 - 0.5 / epochs,
        }
    )


def square_grid():
    rows = [(c, s, 0.01 * (c - 1) * s / 100) for c in (0, 1, 2) for s in (100, 200, 300)]
    return pd.DataFrame(rows, columns=["layers", "size", "gain"])


def forest(verdict="better", value=0.8, series="paper"):
    row = {
        "panel": "AUROC",
        "name": "baseline",
        "series": series,
        "value": value,
        "low": 0.7,
        "high": 0.9,
        "verdict": verdict,
    }
    floor = {"floor": 0.5, "floor_low": 0.5, "floor_high": 0.5}
    return row | floor | {"difference": 0.3, "difference_low": 0.2, "difference_high": 0.4}


LOSS = Panel("loss", "Loss")


def drawn_loss(history, kept=(), **more):
    return curves.learning_curves(history, [[Panel("loss", "Loss", **more)]], kept)


def middle(picture, colour):
    """Mean row and column of the pixels that have a colour."""
    return np.argwhere(np.abs(decoded(picture) - colour).max(axis=-1) <= 6).mean(axis=0)


def test_curves_leave_out_what_was_never_measured(history):
    assert curves.curve_names(history) == ["loss", "accuracy"]
    assert curves.curve_names(history.drop(columns="validation_loss")) == ["loss", "accuracy"]


def test_curves_without_a_panel_are_an_error(history):
    with pytest.raises(ValueError, match="no panel"):
        curves.learning_curves(history, [[], []])


def test_floor_is_a_line_and_the_test_value_a_mark(history):
    bare, floored, tested = drawn_loss(history), drawn_loss(history, floor=0.6), drawn_loss(history, test=0.6)
    assert count(floored, GREY) > count(bare, GREY) + 200
    assert count(tested, INK) > count(bare, INK) + 20
    assert drawn_loss(history, floor=float("nan"), test=float("nan")) == bare


def test_epochs_that_the_paper_names_are_lines_where_they_were_trained(history):
    bare, two, beyond = (drawn_loss(history, marks=marks) for marks in ((), (2, 4), (70,)))
    assert beyond == bare
    changed = np.argwhere((decoded(two) != decoded(bare)).any(axis=-1))[:, 1]
    assert np.median(changed[changed < np.median(changed)]) < np.median(changed[changed >= np.median(changed)]) - 20


def marked(history, kept, test=0.6):
    """Columns of the pixels that the test value's mark adds: of the left part, without the labels at the right end."""
    one, other = (decoded(drawn_loss(history, kept, test=test, floor=0.6)) for kept in (kept, [1]))
    changed = np.argwhere((one != other).any(axis=-1))
    return changed[:, 1]


@pytest.mark.parametrize("across", ["epoch", "step"])
def test_the_test_value_stands_at_the_kept_epoch(history, across):
    """The mark moves right by equal steps as the kept epoch does: it is not at the last epoch whatever was kept."""
    if across == "step":
        extra = history.iloc[1:].assign(step=history["step"].iloc[1:] - 5)
        history = pd.concat([history, extra]).sort_values("step", ignore_index=True)
    right = [marked(history, [epoch]).max() for epoch in (2, 3, 5)]
    assert right[0] < right[1] < right[2]
    assert (right[2] - right[1]) == pytest.approx(2 * (right[1] - right[0]), abs=4)
    assert drawn_loss(history, [], test=0.6) == drawn_loss(history, [5], test=0.6), "the last one, if none is known"


def test_the_test_value_of_folds_stands_at_the_mean_of_their_kept_epochs_with_a_bar(history):
    folds = pd.concat([history.assign(fold=0), history.assign(fold=1)], ignore_index=True)
    apart, equal = (decoded(drawn_loss(folds, kept, test=0.6)) for kept in ([2, 4], [3, 3]))
    bar = np.argwhere((apart != equal).any(axis=-1))
    assert np.ptp(bar[:, 0]) <= 4 and np.ptp(bar[:, 1]) > 40, "only a horizontal bar is added"


def test_epochs_are_counted_in_whole_numbers(history):
    axes = Figure().subplots()
    axes.plot([1], [0.5])
    curves._label_ends(axes, [(1.0, 0.5, "validation", "k")])
    assert axes.get_xticks().tolist() == [1]


def test_a_single_epoch_has_a_floor_too(history):
    one = history.iloc[:1]
    assert count(drawn_loss(one, floor=1.1), GREY) > count(drawn_loss(one), GREY) + 150


def test_panels_of_a_second_row_stand_below_the_first(history):
    one = decoded(curves.learning_curves(history, [[LOSS]]))
    two = decoded(curves.learning_curves(history, [[LOSS], [LOSS, Panel("accuracy", "Accuracy"), LOSS]]))
    assert two.shape[0] > 1.8 * one.shape[0] and two.shape[1] == one.shape[1]


def test_curves_are_as_wide_as_the_page_shows_them(history):
    width = decoded(drawn_loss(history)).shape[1]
    assert 1000 <= width <= 1400


def test_compared_curves_draw_every_job_that_has_the_column(history):
    both = {"softmax": history, "sigmoid": history.assign(validation_loss=history["validation_loss"] / 5)}
    picture = curves.compared_curves(both, {"validation_loss": "loss"})
    assert count(picture, BLUE) > 100 and count(picture, VERMILION) > 100
    without = both | {"sigmoid": history.drop(columns="validation_loss")}
    assert count(curves.compared_curves(without, {"validation_loss": "loss"}), VERMILION) == 0


def test_heatmap_colours_say_which_side_of_the_floor():
    grid = square_grid()
    better = charts.grid_heatmap(grid.assign(gain=0.02), "gain")
    worse = charts.grid_heatmap(grid.assign(gain=-0.02), "gain")
    assert count(better, BLUE) > 100 * count(better, VERMILION, 2) > 0
    assert count(worse, VERMILION) > 100 * count(worse, BLUE, 2) > 0


def test_a_heatmap_is_as_saturated_as_the_common_scale_says():
    """The same grid, on a scale that another protocol's grid needs: no cell has the full colour any more."""
    grid = square_grid().assign(gain=0.005)
    assert count(charts.grid_heatmap(grid, "gain"), BLUE) > 10 * count(
        charts.grid_heatmap(grid, "gain", reach=0.2), BLUE
    )


def test_heatmap_outlines_the_selected_pairs_and_no_unknown_one():
    grid = square_grid()
    none, one = charts.grid_heatmap(grid, "gain"), charts.grid_heatmap(grid, "gain", [(2, 300)])
    assert count(one, INK) > count(none, INK) + 1000
    assert charts.grid_heatmap(grid, "gain", [(7, 300)]) == none


def test_heatmap_does_not_depend_on_the_order_of_rows_and_bears_gaps():
    grid = square_grid()
    assert charts.grid_heatmap(grid, "gain") == charts.grid_heatmap(grid.sample(frac=1, random_state=1), "gain")
    missing_row = charts.grid_heatmap(grid.drop(index=4), "gain")
    undefined = charts.grid_heatmap(grid.assign(gain=grid["gain"].where(grid.index != 4)), "gain")
    assert missing_row == undefined != charts.grid_heatmap(grid, "gain")


def test_heatmap_of_the_papers_grid_fits_the_page():
    sizes = [100, 200, 300, 400, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000]
    grid = pd.DataFrame([(c, s, 0.001 * c) for c in range(20) for s in sizes], columns=["layers", "size", "gain"])
    height, width, _ = decoded(charts.grid_heatmap(grid, "gain")).shape
    assert 1000 <= width <= 1400 and height < 1.3 * width


def test_heatmap_of_nothing_but_zeros_is_no_error():
    assert decoded(charts.grid_heatmap(square_grid().assign(gain=0.0), "gain")).std() > 0
    assert decoded(charts.grid_heatmap(square_grid().assign(gain=np.nan), "gain")).std() > 0


def test_signed_numbers():
    assert [charts._signed(value) for value in (0.0123, -0.0004, -0.25, 1.5)] == ["+.012", "0", "−.250", "+1.500"]


@pytest.mark.parametrize(("verdict", "colour"), [("better", BLUE), ("worse", VERMILION)])
def test_forest_plot_takes_the_colour_of_the_verdict(verdict, colour):
    others = {BLUE, VERMILION} - {colour}
    picture = charts.interval_chart(pd.DataFrame([forest(verdict)]))
    assert count(picture, colour) > 100 and all(count(picture, other) == 0 for other in others)


@pytest.mark.parametrize("end", ["", "_low", "_high"])
@pytest.mark.parametrize("name", ["value", "floor", "difference"])
def test_every_number_of_the_forest_plot_is_drawn(name, end):
    """Each moves the picture when it alone changes, within the span of the others, so that no axis moves with it."""
    wide = forest() | {"name": "wide", "low": 0.0, "floor_low": 0.0, "difference_low": -1.0, "difference_high": 1.0}
    column = "low" if (name, end) == ("value", "_low") else "high" if (name, end) == ("value", "_high") else name + end
    row = forest() | {"floor_low": 0.42, "floor_high": 0.58}
    one, other = (charts.interval_chart(pd.DataFrame([wide, row | {column: row[column] + by}])) for by in (0.0, 0.04))
    assert decoded(one).shape == decoded(other).shape and one != other


def test_each_metric_of_the_forest_plot_has_axes_of_its_own():
    """A metric of another size stands below and changes nothing above: intervals do not vanish beside it."""
    small = forest() | {"panel": "Accuracy"}
    large = forest() | {"panel": "Loss"} | {name: 100 * forest()[name] for name in ("value", "low", "high")}
    small = decoded(charts.interval_chart(pd.DataFrame([small, small | {"panel": "AUROC"}])))
    both = decoded(charts.interval_chart(pd.DataFrame([forest() | {"panel": "Accuracy"}, large])))
    assert both.shape == small.shape
    upper = slice(60, both.shape[0] // 2)
    blue = [np.argwhere(np.abs(picture[upper] - BLUE).max(axis=-1) <= 6)[:, 1] for picture in (small, both)]
    assert np.ptp(blue[1]) == pytest.approx(np.ptp(blue[0]), rel=0.05)


def test_verdicts_of_one_colour_share_a_place_in_the_legend():
    rows = pd.DataFrame([forest(kind) for kind in ("better", "indistinguishable", "too_few", "undefined")])
    words = [words for _, words in charts._verdict_words(rows)]
    assert words == ["better", "indistinguishable or too few patients"]


def test_a_number_that_is_not_judged_is_drawn_pale():
    picture = charts.interval_chart(pd.DataFrame([forest("descriptive")]))
    assert count(picture, (0xB4, 0xBA, 0xC4)) > 100 and count(picture, BLUE) == count(picture, VERMILION) == 0


def test_a_mark_at_the_edge_of_its_axes_is_drawn_whole():
    """AUROC 1 lies at the right edge: its mark has as many pixels as one in the middle."""
    ends = {"low": np.nan, "high": np.nan, "floor": np.nan}
    marks = [
        count(charts.auroc_chart(pd.DataFrame([{"experiment": "a", "label": "Mass", "value": at} | ends]), {"a": "b"},
                                 ("Mass",)), BLUE)
        for at in (0.8, 1.0)
    ]  # fmt: skip
    assert marks[1] == pytest.approx(marks[0], rel=0.1)


def bins(values):
    rows = [
        {"metric": f"{before}{name}", "group": str(at + 1), "value": value, "low": np.nan, "high": np.nan}
        for at, value in enumerate(values)
        for before in ("", "floor_")
        for name in ("predicted", "observed")
    ]
    return pd.DataFrame(rows)


def test_a_bin_of_a_reliability_figure_at_zero_is_drawn_whole():
    marks = [count(charts.reliability_chart(bins([low, 0.9])), BLUE) for low in (0.0, 0.01)]
    assert marks[0] > 0.9 * marks[1]


def test_forest_plot_leaves_out_undefined_values_and_refuses_to_be_empty():
    one = pd.DataFrame([forest()])
    two = pd.DataFrame([forest(), forest("undefined", float("nan"), "sound")])
    assert charts.interval_chart(one) == charts.interval_chart(two)
    with pytest.raises(ValueError, match="no row has a value"):
        charts.interval_chart(two.iloc[1:])


def test_auroc_chart_leaves_the_place_of_an_undefined_label_empty():
    ends = {"value": [0.8, 0.7], "low": [0.7, 0.6], "high": [0.9, 0.8], "floor": [0.62, 0.58]}
    rows = pd.DataFrame({"experiment": "a", "label": ["Mass", "Hernia"], **ends})
    gap = rows.assign(**{name: rows[name].where(rows["label"] == "Mass") for name in ends})
    labels = ("Mass", "Hernia")
    full, empty = (charts.auroc_chart(each, {"a": "baseline"}, labels) for each in (rows, gap))
    assert decoded(full).shape == decoded(empty).shape
    assert count(full, BLUE) > count(empty, BLUE) > 0


def test_auroc_chart_draws_each_labels_floor_in_its_place():
    ends = {"value": [0.8, 0.7], "low": [0.7, 0.6], "high": [0.9, 0.8], "floor": [0.62, np.nan]}
    rows = pd.DataFrame({"experiment": "a", "label": ["Mass", "Hernia"], **ends})
    pictures = [
        decoded(charts.auroc_chart(rows.assign(floor=floors), {"a": "baseline"}, ("Mass", "Hernia")))
        for floors in ([0.62, np.nan], [np.nan, 0.62], [0.56, np.nan], [np.nan, np.nan])
    ]
    first, second, lower = (np.argwhere((each != pictures[3]).any(axis=-1)) for each in pictures[:3])
    assert len(first) and len(second) and len(lower), "a floor is drawn"
    assert lower[:, 1].mean() < first[:, 1].mean() - 5 and abs(lower[:, 0].mean() - first[:, 0].mean()) < 2
    assert np.ptp(first[:, 0]) < 40 and np.ptp(first[:, 1]) < 40, "and nothing but a marker"
    assert abs(first[:, 1].mean() - second[:, 1].mean()) < 2, "equal floors stand one above the other"
    assert abs(first[:, 0].mean() - second[:, 0].mean()) > 20


def test_detection_sheet_draws_truth_green_and_only_predictions_at_the_threshold():
    pixels = np.full((2, 64, 64), 90, dtype=np.uint8)
    truth = [[("Mass", 100, 100, 400, 400)], []]
    boxes = [[("Mass", 0.6, 120, 500, 420, 900), ("Nodule", 0.2, 600, 600, 900, 900)], []]
    at = {
        cut: xrays.detection_sheet(pixels, truth, ["a", "b"], boxes=boxes, thresholds=[cut] * 2)
        for cut in (0.1, 0.5, 0.9)
    }
    assert count(at[0.1], ORANGE) > count(at[0.5], ORANGE) > count(at[0.9], ORANGE)
    assert all(count(picture, GREEN) > 100 for picture in at.values())
    assert count(xrays.detection_sheet(pixels, [[], []], ["a", "b"], boxes=boxes), GREEN) == 0


def test_box_lies_where_it_was_drawn_whatever_the_size_of_the_image():
    corner = [("Mass", 512, 0, 1024, 512)]  # the upper right quarter of the frame
    for side in (32, 128):
        pixels = np.zeros((1, side, side), dtype=np.uint8)
        shown = decoded(xrays.detection_sheet(pixels, [corner], [""], boxes=[[]], columns=1))
        green = np.argwhere(np.abs(shown - GREEN).max(axis=-1) <= 6)
        black = np.argwhere(shown.max(axis=-1) <= 6)
        (top, left), (bottom, right) = black.min(axis=0), black.max(axis=0)
        middle = ((top + bottom) / 2, (left + right) / 2)
        assert abs(green[:, 0].max() - middle[0]) < 6 and abs(green[:, 1].min() - middle[1]) < 6


def test_cell_overlay_is_as_opaque_as_it_is_confident():
    pixels = np.zeros((1, 64, 64), dtype=np.uint8)
    red = []
    for confidence in (0.2, 0.4):
        sheet = xrays.detection_sheet(pixels, [[]], [""], cells=np.full((1, 16, 16), confidence), columns=1)
        shown = decoded(sheet)
        red.append(shown[shown.shape[0] // 2, shown.shape[1] // 2, 0])
    assert red == pytest.approx([0.75 * 0.2 * 0xE6, 0.75 * 0.4 * 0xE6], abs=2)


def cell_example(cell=None):
    """A black image without a box; cell: (row, column) of its only target cell."""
    target = np.zeros((16, 16))
    if cell:
        target[cell] = 1
    return xrays.CellExample(np.zeros((64, 64), np.uint8), [], np.zeros((16, 16)), target, "b.png")


def test_the_example_is_drawn_with_its_own_target_below_the_maps():
    nothing = np.zeros((1, 16, 16))
    maps = [xrays.cell_maps(nothing, nothing, ["a.png"], cell_example(cell)) for cell in (None, (3, 3))]
    assert count(maps[0], ORANGE) == 0 and count(maps[1], ORANGE) > 50
    rows = np.argwhere((decoded(maps[0]) != decoded(maps[1])).any(axis=-1))[:, 0]
    assert rows.min() > 0.6 * decoded(maps[0]).shape[0]


def test_a_note_stands_at_the_bottom_of_its_image_alone():
    pixels = np.full((2, 64, 64), 90, dtype=np.uint8)
    bare, noted = (
        decoded(xrays.detection_sheet(pixels, [[], []], ["a", "b"], boxes=[[], []], columns=2, notes=notes))
        for notes in (None, ["", "68 more at 0.25–0.31, not drawn"])
    )
    changed = np.argwhere((bare != noted).any(axis=-1))
    assert changed[:, 1].min() > bare.shape[1] // 2 and changed[:, 0].min() > 0.8 * bare.shape[0]


def test_cell_maps_show_row_as_y_prediction_above_truth():
    lower_left = np.zeros((1, 16, 16))
    lower_left[0, 15, 0] = 1
    nothing = np.zeros((1, 16, 16))

    def places(predicted, target):
        shown = decoded(xrays.cell_maps(predicted, target, ["a.png"], cell_example()))
        upper = shown[: int(shown.shape[0] * 0.66)]  # without the image below
        rows, columns = np.nonzero(np.abs(upper - ORANGE).max(axis=-1) <= 6)
        return rows.min() / len(upper), rows.max() / len(upper), columns.max() / upper.shape[1]

    above, below = places(lower_left, nothing), places(nothing, lower_left)
    assert 0.4 < above[0] < above[1] < below[0] and below[0] > 0.85
    assert above[2] < 0.15 and below[2] < 0.15


def test_a_weak_map_is_scaled_to_its_own_highest_cell():
    weak = np.full((1, 16, 16), 0.001)
    weak[0, 3, 3] = 0.01
    picture = xrays.cell_maps(weak, np.zeros((1, 16, 16)), ["a.png"], cell_example())
    assert count(picture, ORANGE) > 50


def froc_rows(label="all", experiment="yolo_finetuned", value=0.5):
    rates = np.geomspace(1 / 16, 16, 9)
    table = pd.DataFrame({"false_positives_per_image": rates, "value": value, "low": value - 0.1, "high": value + 0.1})
    return table.assign(label=label, experiment=experiment, floor=0.2)


def test_froc_has_a_panel_for_all_boxes_and_each_finding_drawn():
    names = {"yolo_finetuned": "YOLO"}
    one = charts.froc_chart(froc_rows(), names)
    four = charts.froc_chart(pd.concat([froc_rows(label) for label in ("all", "Mass", "Nodule", "Effusion")]), names)
    assert count(one, BLUE) > 100 and decoded(four).shape[0] > decoded(one).shape[0] + 100
    two = charts.froc_chart(pd.concat([froc_rows(), froc_rows(experiment="other", value=0.8)]), names | {"other": "B"})
    assert count(two, VERMILION) > 100 and not count(one, VERMILION)
    counted = charts.froc_chart(froc_rows(), names, {"all": 296})
    assert counted != one, "the number of boxes stands in the title"
    with pytest.raises(ValueError, match="no FROC"):
        charts.froc_chart(froc_rows().iloc[:0], names)


@pytest.mark.parametrize("column", ["value", "low", "high", "floor"])
def test_every_number_of_the_froc_is_drawn(column):
    rows = froc_rows()
    moved = rows.assign(**{column: rows[column] + 0.03})
    assert charts.froc_chart(rows, {"yolo_finetuned": "YOLO"}) != charts.froc_chart(moved, {"yolo_finetuned": "YOLO"})


def test_examples_fill_as_many_rows_as_needed():
    pixels = np.full((5, 32, 32), 128, dtype=np.uint8)
    four, five = (decoded(xrays.example_images(pixels[:n], ["t"] * n)).shape for n in (4, 5))
    assert four[1] == five[1] and five[0] == pytest.approx(2 * four[0], abs=4)


def test_equal_input_gives_equal_bytes(history):
    assert drawn_loss(history, [3], floor=0.5) == drawn_loss(history.copy(), [3], floor=0.5)


RUNGS = {
    "panel": "AUROC", "series": "paper", "value": 0.6, "low": 0.55, "high": 0.65, "verdict": "better",
    "constant": 0.5, "metadata": 0.58, "history": 0.63,
}  # fmt: skip


@pytest.mark.parametrize("name", ["value", "low", "high", "constant", "metadata", "history"])
def test_every_number_of_the_ladder_is_drawn(name):
    wide = RUNGS | {"series": "wide", "low": 0.3, "high": 0.9, "constant": 0.3, "history": 0.9}
    one, other = (charts.ladder_chart(pd.DataFrame([wide, RUNGS | {name: RUNGS[name] + by}])) for by in (0.0, 0.02))
    assert decoded(one).shape == decoded(other).shape and one != other


@pytest.mark.parametrize(("verdict", "colour"), [("better", BLUE), ("worse", VERMILION)])
def test_the_ladder_takes_the_colour_of_the_verdict(verdict, colour):
    others = {BLUE, VERMILION} - {colour}
    picture = charts.ladder_chart(pd.DataFrame([RUNGS | {"verdict": verdict}]))
    assert count(picture, colour) > 40 and all(count(picture, other) == 0 for other in others)


def test_a_ladder_without_a_rung_leaves_its_place_empty():
    short = charts.ladder_chart(pd.DataFrame([RUNGS | {"history": float("nan")}]))
    assert short != charts.ladder_chart(pd.DataFrame([RUNGS]))
    with pytest.raises(ValueError, match="no row"):
        charts.ladder_chart(pd.DataFrame([RUNGS]).iloc[:0])


def compared(**more):
    """A row of the comparison's table; AUROC 0.6, its floor at 0.5, or as given."""
    row = {"layers": 4, "size": 600, "head_input": "softmax", "frozen_batchnorm": "eval", "verdict": "learned"}
    row |= {"auroc": 0.6, "auroc_low": 0.4, "auroc_high": 0.8, "auroc_floor": 0.5, "logit_spread_after": 0.3}
    row |= {"input_spread_before": 0.2, "input_spread_after": 0.4, "mode_gap_after": 0.1}
    return row | more


def test_the_hollow_mark_of_the_comparison_stands_at_the_floor_in_its_models_lane():
    """A moved floor moves a mark in its own lane of the right panel, by as much as a moved AUROC moves the point."""
    first, second = compared(), compared(head_input="features")

    def changed(which, name, value):
        rows = [dict(first), dict(second)]
        rows[which][name] = value
        pictures = [decoded(charts.collapse_chart(pd.DataFrame(each))) for each in ([first, second], rows)]
        return np.argwhere((pictures[0] != pictures[1]).any(axis=-1))

    upper, lower = changed(0, "auroc_floor", 0.7), changed(1, "auroc_floor", 0.7)
    width = decoded(charts.collapse_chart(pd.DataFrame([first, second]))).shape[1]
    assert upper[:, 1].min() > 0.6 * width, "in the panel of the AUROC"
    assert np.ptp(upper[:, 0]) < 30 and np.ptp(lower[:, 0]) < 30, "a mark, and nothing else"
    assert lower[:, 0].mean() > upper[:, 0].mean() + 15, "each in its model's lane"
    point = changed(0, "auroc", 0.7)
    assert abs(point[:, 0].mean() - upper[:, 0].mean()) < 4, "in the lane of its point"
    assert point[:, 1].max() == pytest.approx(upper[:, 1].max(), abs=6), "on the axis of the point"
