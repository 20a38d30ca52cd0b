import math
import re
from dataclasses import replace

import leakage_rows
import numpy as np
import pandas as pd
import pytest
import transfer_gain_rows
import validity_rows
from lxml import html
from matplotlib.figure import Figure

from cxr.experiments import BY_NAME, EXPERIMENTS, family
from cxr.labels import BOXED_FINDINGS, LABELS
from cxr.metrics import judging
from cxr.metrics import names as metric_names
from cxr.metrics.repeats import REPEAT_COLUMNS
from cxr.metrics.spread import SOURCES, SPREAD_COLUMNS
from cxr.metrics.transfer_gain import SCRATCH
from cxr.report import inputs as report_inputs
from cxr.report import ledger, paper, render, samples, verdicts
from cxr.report.figures import style
from cxr.report.rows import pair_name
from cxr.report.sections import curves
from cxr.settings import DEFAULTS

PROTOCOLS = ("paper", "sound")
REPEATS = {"paper": 1, "sound": 5}
FOLDS = {name: DEFAULTS.model_dump()[name]["split"]["box_folds"] for name in PROTOCOLS}
SELECTED = {"paper": [(2, 500), (19, 300)], "sound": [(3, 500), (1, 100)]}
CLASSIFIERS = {"paper": 0.02, "sound": 0.24}  # how far AUROCs lie above 0.5
ROLES = (("train", "validation"), ("train", "test"), ("validation", "test"))


RUNGS = ("constant", "metadata", "history")


def judge(row):
    """Give a metric row the verdict that the metrics room would give it."""
    return row | {"verdict": judging.verdict(row | {"judged": metric_names.judged(row["metric"], row["label"])}, 0.95)}


def metric(
    protocol,
    experiment,
    name,
    label,
    value,
    floor,
    *,
    spread=0.02,
    higher=1,
    support=80,
    floor_name="a constant",
    p_holm=0.001,
    patients=60,
):
    gap = value - floor
    row = {
        "protocol": protocol,
        "experiment": experiment,
        "metric": name,
        "label": label,
        "value": value,
        "low": value - spread,
        "high": value + spread,
        "floor": floor,
        "floor_low": floor - spread / 2,
        "floor_high": floor + spread / 2,
        "floor_name": "" if math.isnan(floor) else floor_name,
        "difference": gap,
        "difference_low": gap - spread,
        "difference_high": gap + spread,
        "higher_is_better": higher,
        "support": support,
        "patients": patients,
        "p": p_holm / 2,
        "p_holm": p_holm,
        **dict.fromkeys(RUNGS, math.nan),
        "note": "",
    }
    return judge(row)


def classifier(protocol, experiment, draw):
    gain = CLASSIFIERS[protocol]
    loss, prior = (2.41, 2.43) if experiment == "baseline_softmax" else (0.231 - gain / 5, 0.233)
    rows = []
    for label in ("", "findings" if experiment == "baseline_softmax" else "mean14"):
        rows += [
            metric(protocol, experiment, "loss", label, loss, prior, higher=0, floor_name="training prior"),
            metric(
                protocol,
                experiment,
                "accuracy",
                label,
                0.913 + gain / 9,
                0.912,
                spread=0.005,
                floor_name="majority of each label",
            ),
        ]
    for name, floor in (("auroc", 0.5), ("auprc", 0.11)):
        for label in (*LABELS, "mean14", "mean15"):
            support = 80 if label.startswith("mean") else int(draw.integers(1, 40))
            missing = label == "Hernia"
            value = math.nan if missing else floor + gain + float(draw.normal(0, 0.04))
            spread = 0.02 if label.startswith("mean") else 0.09
            row = metric(
                protocol, experiment, name, label, value, math.nan if missing else floor, spread=spread, support=support
            )
            rows.append(
                row | {"support": 0, "patients": 0, "floor_name": "any constant", "note": "undefined: no image"}
                if missing
                else row
            )
    for label in LABELS:
        majority = float(label == "No Finding")
        rows.append(metric(protocol, experiment, "label_sensitivity", label, abs(majority - gain), majority, support=9))
    return rows


def detector(protocol, experiment, gain):
    rows = []
    for label in ("all", *paper.LARGE):
        for ending in ("", "_weighted", "_pixels", "_weighted_pixels"):
            for name, floor in (("precision", 0.183), ("recall", 0.182), ("f1", 0.331)):
                rows.append(
                    metric(protocol, experiment, name + ending, label, floor + gain, floor, spread=0.04, support=37)
                )
    if experiment == "gridcnn":
        rows.append(
            metric(protocol, experiment, "mse", "all", 0.065 - gain / 9, 0.065, spread=0.003, higher=0, support=37)
        )
    else:
        foreign = experiment == "yolo_off_the_shelf"
        for label in ("all", *BOXED_FINDINGS):
            for name in ("map50", "iou_hit_0.25", "centre_hit"):
                tiny = (name, label) == ("map50", "Mass")
                value = math.nan if foreign else 3.2e-05 if tiny else 0.05 + gain
                rows.append(metric(protocol, experiment, name, label, value, 0.05, support=12))
        rows.append(metric(protocol, experiment, "map50_any", "all", 0.04 + gain, 0.05, support=41))
    return [*rows, metric(protocol, experiment, "images_with_prediction", "all", 0.4, math.nan, support=37)]


def history(epochs, names, level):
    steps = np.arange(1, epochs + 1)
    table = {"epoch": steps, "step": steps * 20, "seconds": steps * 3.5, "learning_rate": 1e-3}
    for role, shift in (("train", -0.02), ("validation", 0.02)):
        table[f"{role}_loss"] = level + shift + 0.4 * level * np.exp(-steps / 4)
    for name in names:
        table[f"validation_{name}"] = 0.9 - 0.3 * np.exp(-steps / 5)
    return pd.DataFrame(table)


def facts(experiment, **more):
    return {
        "network": "resnet10",
        "seed": 7,
        "device": "cpu (x86_64, 2 threads)",
        "precision": "bfloat16 autocast",
        "training_images": 403,
        "validation_images": 55,
        "validation": {"images": 55, "patients": 21, "positives": 34, "floors": {}},
        "epochs": 8,
        "kept_epoch": 6,
        "seconds": 92.4,
        "images_per_second": 71.3,
        "peak_memory_mb": 812,
        "parameters": 1_234_567,
        "trained_parameters": 98_765,
        "settings": {"optimizer": "adamw", "job": experiment},
        "torch": "2.15.0",
        **more,
    }


def grid(layers, sizes, draw, repeats=1):
    """A grid of pairs; with repeats, those of fewer than three layers can be told from the best."""
    rows = []
    for c in layers:
        for s in sizes:
            majority = 0.91 + float(draw.normal(0, 0.01))
            rows.append(
                {
                    "layers": c,
                    "size": s,
                    "accuracy": majority + float(draw.normal(0.002, 0.008)),
                    "majority_accuracy": majority,
                    "auroc": 0.5 + float(draw.normal(0.05, 0.05)),
                    "auroc_labels": 13,
                    "validation_images": s // 10,
                    "validation_patients": s // 20,
                    "validation_positives": s // 5,
                    "training_images": s * 8 // 10,
                    "seconds": 12.5,
                    "repeats": repeats,
                    "gain_sd": 0.004 if repeats > 1 else np.nan,
                    "auroc_sd": 0.02 if repeats > 1 else np.nan,
                    "p_behind": np.nan if repeats == 1 else 0.001 if c < 3 else 0.4,
                }
            )
    return pd.DataFrame(rows)


def spread(sizes, repeats):
    rows = [
        (size, metric, source, 0.001 * (1 + at), *bounds, 2 * repeats, size // 20)
        for size in sizes
        for metric in ("gain", "auroc")
        for at, source in enumerate(SOURCES)
        for bounds in [(np.nan, np.nan) if source == "patients" else (0.0005, 0.009)]
        if repeats > 1 or source == "patients"
    ]
    return pd.DataFrame(rows, columns=SPREAD_COLUMNS)


def repeats(pair, count):
    numbers = [("auroc", "mean14", 0.644, "better"), ("loss", "findings", 0.21, "indistinguishable")]
    rows = [
        ("sound", pair, metric, label, count, value, 0.0123, value - 0.02, 0.02, 0.004, 0.036, 400, 41, verdict)
        for metric, label, value, verdict in numbers
    ]
    return pd.DataFrame(rows, columns=REPEAT_COLUMNS)


def make_inputs(layers=(1, 2, 3, 19), sizes=(100, 300, 500)):
    draw = np.random.default_rng(3)
    experiments = {
        protocol: ["baseline_softmax", "baseline_sigmoid", *(f"transfer_c{c}_s{s}" for c, s in SELECTED[protocol])]
        for protocol in PROTOCOLS
    }
    rows, histories, runs = [], {}, {}
    for protocol, names in experiments.items():
        for name in names:
            rows += classifier(protocol, name, draw)
            curves = ("accuracy", "auroc", "loss_findings", "accuracy_findings", "auroc_findings")
            histories[protocol, name, ""] = history(9, curves, 2.4 if "softmax" in name else 0.23)
            runs[protocol, name, ""] = facts(name)
        for name, gain in (("yolo_finetuned", 0.06), ("gridcnn", -0.01 if protocol == "paper" else 0.2)):
            rows += detector(protocol, name, gain)
            for fold in range(FOLDS[protocol]):
                history_of_fold = history(20, ("map50",) if "yolo" in name else ("f1",), 0.06 + 0.01 * fold)
                histories[protocol, name, str(fold)] = history_of_fold
                runs[protocol, name, str(fold)] = facts(name, training_images=403 + fold)
    rows += detector("sound", "yolo_off_the_shelf", -0.1)
    runs["sound", "yolo_off_the_shelf", "0"] = {
        "weights": "yolo11n.pt",
        "weights_sha256": "ab" * 32,
        "trained_parameters": 0,
    }
    histories[report_inputs.SOURCE] = history(4, ("accuracy",), 1.2)
    runs[report_inputs.SOURCE] = {
        "network": "resnet10",
        "kind": "textures",
        "pretrained_on": "4000 generated textures",
        "training_images": 3600,
        "validation_images": 400,
        "seed": 7,
    }
    shared = [
        {
            "protocol": protocol,
            "split": split,
            "role_a": a,
            "role_b": b,
            "images_shared": 0,
            "patients_shared": 7 if protocol == "paper" and not str(split).startswith("boxes") else 0,
            "patients_a": 200,
            "patients_b": 41,
        }
        for protocol in PROTOCOLS
        for split in (100, 500, "all", *(f"boxes_fold{fold}" for fold in range(FOLDS[protocol])))
        for a, b in ROLES
    ]
    settings = DEFAULTS.model_dump()
    settings["data"]["source"] = "phantoms"
    settings["source"]["kind"] = "textures"
    return report_inputs.ReportInputs(
        settings=settings,
        summary={
            "table_rows": 726,
            "table_patients": 260,
            "usable_images": 720,
            "usable_patients": 258,
            "age_unknown": 2,
            "labels": {label: 400 if label == "No Finding" else 31 for label in LABELS},
            "views": {"PA": 500, "AP": 220},
            "sexes": {"F": 300, "M": 420},
            "listed_boxes": 300,
            "listed_boxed_images": 260,
            "boxes": 298,
            "boxed_images": 259,
            "box_labels": dict.fromkeys(BOXED_FINDINGS, 36),
            "rejected": [],
            "notes": ["All 16-bit images are read at 12 bits <here>."],
        },
        rejected=pd.DataFrame({"table": ["images"], "reason": ["truncated <file>"], "count": [1234]}),
        leakage=pd.DataFrame(shared),
        metrics=pd.DataFrame(rows),
        grids={protocol: grid(layers, sizes, draw, REPEATS[protocol]) for protocol in PROTOCOLS},
        repeats={"sound": repeats("c3_s500", 5)},
        spreads={protocol: spread(sizes, REPEATS[protocol]) for protocol in PROTOCOLS},
        selected=SELECTED,
        histories=histories,
        facts=runs,
        skipped={("paper", "yolo_off_the_shelf"): "no COCO weights: set paper.yolo.pretrained"},
        froc=pd.DataFrame(
            {
                "protocol": "sound",
                "experiment": "yolo_finetuned",
                "label": "all",
                "false_positives_per_image": [0.125, 1.0, 8.0],
                **dict(zip(("low", "value", "high", "floor"), (0.2, 0.3, 0.4, 0.1), strict=True)),
                "floor_name": "a box",
            }
        ),
        sheets={("sound", "gridcnn"): b"\x89PNG sheet"},
        failures={("sound", "gridcnn"): b"\x89PNG failures"},
        maps={("sound", "gridcnn"): b"\x89PNG maps"},
        examples=b"\x89PNG examples",
    )


@pytest.fixture(scope="module")
def inputs():
    return make_inputs()


@pytest.fixture(scope="module")
def page(inputs):
    return render.build(inputs)


@pytest.fixture(scope="module")
def tree(page):
    return html.document_fromstring(page)


def text_of(element):
    return " ".join(element.text_content().split())


def test_every_metric_row_is_on_the_page_with_value_interval_and_floor(inputs, tree):
    shown = {
        (cells[0], cells[1], cells[2], cells[3]): cells
        for row in tree.xpath("//details[contains(summary, 'numbers of this experiment')]//tbody/tr")
        for cells in [[text_of(cell) for cell in row]]
    }
    assert len(inputs.metrics) > 400
    for row in inputs.metrics.to_dict("records"):
        key = (
            row["protocol"],
            row["experiment"],
            metric_names.metric_name(row["metric"]),
            metric_names.label_name(row["label"]),
        )
        cells = shown[key]
        if math.isnan(row["value"]):
            assert cells[4] == f"undefined (support {row['support']})"
        else:
            value = "0.000" if row["value"] == 3.2e-05 else f"{row['value']:.3f}"
            assert cells[4] == f"{value} [{row['low']:.3f}, {row['high']:.3f}]".replace("-", "−")
            floor = "no floor" if math.isnan(row["floor"]) else f"{row['floor']:.3f} ["
            assert cells[5].startswith(floor)


def test_page_loads_nothing(tree, page):
    loaded = tree.xpath("//@src | //link/@href | //@srcset | //@data | //@poster")
    assert len(loaded) > 20 and all(address.startswith("data:") for address in loaded)
    assert all(address.startswith("#") for address in tree.xpath("//a/@href"))
    assert not tree.xpath("//script") and "@import" not in page and "url(" not in page


def test_page_is_well_formed_and_every_link_has_its_target(tree):
    names = tree.xpath("//@id")
    assert len(names) == len(set(names))
    assert {address.removeprefix("#") for address in tree.xpath("//a/@href")} <= set(names)
    assert {each.name for each in EXPERIMENTS} <= set(names)
    assert all(image.get("alt") for image in tree.xpath("//img"))
    for table in tree.xpath("//table"):
        widths = {
            sum(int(cell.get("colspan", 1)) for cell in row.xpath("th | td"))
            for row in table.xpath("tbody/tr | thead/tr[last()]")
            if row.getparent().tag == "tbody"
        }
        assert len(widths) == 1, (text_of(table)[:80], widths)


def test_skipped_experiment_shows_its_reason_where_it_would_stand(tree):
    section = tree.get_element_by_id("yolo_off_the_shelf")
    following = section.xpath("following-sibling::p[@class='skipped'][1]")[0]
    assert text_of(following) == "Not run under paper. no COCO weights: set paper.yolo.pretrained"
    assert "did not run under paper" in text_of(tree.xpath("//dl[@class='lines']")[0])


def compared(verdicts):
    row = {
        "layers": 4,
        "size": 600,
        "test_images": 120,
        "test_patients": 44,
        "test_positives": 77,
        "unlike_majority": 0.0125,
        "probability_spread": 0.01,
        "reach": 0.2,
    }
    row |= {f"auroc{end}": value for end, value in (("", 0.61), ("_low", 0.55), ("_high", 0.67), ("_floor", 0.5))}
    row |= {"auroc_difference": 0.11, "auroc_verdict": "better"}
    row |= {"accuracy_difference": -0.002, "accuracy_difference_low": -0.004, "accuracy_difference_high": 0.001}
    row |= {f"{name}_{when}": 0.25 for when in ("before", "after") for name in ("input_spread", "input_deviation")}
    row |= {f"{name}_{when}": 0.5 for when in ("before", "after") for name in ("logit_spread", "mode_gap")}
    choices = zip(("softmax", "features"), ("keras", "eval"), verdicts, strict=True)
    return pd.DataFrame(
        [row | {"head_input": head, "frozen_batchnorm": norm, "verdict": kind} for head, norm, kind in choices]
    )


def test_compared_choices_have_a_section_only_where_there_are_some(inputs, tree):
    assert not tree.xpath("//h2[@id='collapse'] | //a[@href='#collapse']")
    page = html.document_fromstring(
        render.build(replace(inputs, comparisons={"paper": compared(("collapsed", "learned"))}))
    )
    rows = page.xpath("//h2[@id='collapse']/following-sibling::div[1]//tbody/tr[td]")
    shown = [[text_of(cell) for cell in row] for row in rows]
    numbers = ["0.610 [0.550, 0.670]", "−0.002 [−0.004, 0.001]", "1.25%", "0.25 → 0.25", "0.2", "0.5", "0.5"]
    assert shown == [["softmax", "keras", "collapsed", *numbers], ["features", "eval", "learned", *numbers]]
    assert page.xpath("//img[@alt='Which choices collapse, protocol paper']")


def test_text_from_the_data_is_escaped(page):
    assert "truncated &lt;file&gt;" in page and "truncated <file>" not in page


def test_equal_inputs_give_an_equal_page(page):
    assert render.build(make_inputs()) == page


def test_count_of_the_first_line_is_the_count_of_the_headline_table(inputs, tree):
    chips = [text_of(chip)[2:] for chip in tree.xpath("//h2[@id='headline']/following-sibling::div[1]//span")]
    better = chips.count("better")
    judged = better + chips.count("indistinguishable") + chips.count("worse")
    first = text_of(tree.xpath("//dl[@class='lines']/div[1]/dd")[0])
    assert first.startswith(f"{judged} headline numbers against their floors") and f": {better} better, " in first
    assert 0 < better < judged


SMALL = {  # what is changed of the rows (protocol, experiment, metric, label) of a small study
    ("sound", "baseline_sigmoid", "auroc", "mean14"): {"patients": 14, "constant": 0.5, "metadata": 0.62},
    ("sound", "transfer_c3_s500", "auroc", "mean14"): {"patients": 9},
    ("sound", "gridcnn", "f1_weighted", "all"): {"patients": 19},
    ("sound", "baseline_sigmoid", "accuracy", "mean14"): {"p_holm": 0.051},
}


@pytest.fixture(scope="module")
def small(inputs):
    """A study of which some numbers rest on few patients."""
    rows = [
        judge(row | SMALL.get((row["protocol"], row["experiment"], row["metric"], row["label"]), {}))
        for row in inputs.metrics.to_dict("records")
    ]
    return html.document_fromstring(render.build(replace(inputs, metrics=pd.DataFrame(rows))))


def headline_cells(tree, title, name):
    """The texts of a headline row: the paper's number, then value, floor and verdict of each protocol."""
    (found,) = (
        [text_of(cell) for cell in row.xpath("td")]
        for body in tree.xpath("//h2[@id='headline']/following-sibling::div[1]//tbody")
        for row in body.xpath("tr[td]")
        if text_of(body.xpath("tr[@class='group']")[0]).startswith(title) and text_of(row.xpath("th")[0]) == name
    )
    return found


AUROC = "AUROC, mean of the 14 findings"


def test_the_sample_stands_beside_each_headline_number(tree):
    for title, name in (("Baseline ResNet, sigmoid", AUROC), ("Transfer, 1st pair", AUROC)):
        for value in headline_cells(tree, title, name)[1::3]:
            assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] ?n = 80", value)
    assert headline_cells(tree, "Grid CNN", "F1, weighted")[4].endswith("n = 37")


def test_a_difference_that_few_patients_tell_of_says_how_few(tree, small):
    name, found = "only 14 patients", headline_cells(small, "Baseline ResNet, sigmoid", AUROC)
    assert found[6].startswith(f"▲ better {name}") and "patients" not in found[3]
    assert headline_cells(small, "Grid CNN", "F1, weighted")[6].startswith("▲ better only 19 patients")
    section = small.get_element_by_id("detection").xpath("following-sibling::h3[2]/following-sibling::div[1]")[0]
    assert text_of(section).count("▲ better only 19 patients") == 1
    (shown,) = [text for text in map(text_of, small.xpath("//tr[@class='mean']/td")) if "only" in text]
    assert shown.endswith(f"better ({name})")
    assert "only " not in text_of(tree.xpath("//h2[@id='headline']/following-sibling::div[1]")[0])


def test_what_too_few_patients_tell_of_is_not_judged_and_not_counted_as_better(tree, small):
    assert headline_cells(tree, "Transfer, 1st pair", AUROC)[6].startswith("▲ better")
    assert headline_cells(small, "Transfer, 1st pair", AUROC)[6].startswith("· too few patients")
    first = [text_of(each.xpath("//dl[@class='lines']/div[1]/dd")[0]) for each in (tree, small)]
    before, after = (re.search(r"^(\d+) headline .*: (\d+) better, (\d+) indist", each).groups() for each in first)
    assert before[0] == after[0], "all numbers are counted"
    # One lost its patients, and one has a p-value above 0.05 though its interval excludes 0.
    assert (int(before[1]) - int(after[1]), int(after[2]) - int(before[2])) == (2, 1)
    assert "1 not judged for want of 10 patients" in first[1] and "for want of" not in first[0]


def test_the_rungs_of_a_ladder_stand_beside_the_floor(tree, small):
    assert headline_cells(small, "Baseline ResNet, sigmoid", AUROC)[5].endswith("constant 0.500, metadata 0.620")
    assert not [text for text in headline_cells(tree, "Baseline ResNet, sigmoid", AUROC) if "metadata" in text]
    rows = small.xpath("//details[contains(summary, 'numbers of this experiment')]//tbody/tr")
    told = [[text_of(cell) for cell in row] for row in rows]
    (row,) = (cells for cells in told if "constant 0.500, metadata 0.620" in cells[-1])
    assert row[:4] == ["sound", "baseline_sigmoid", "AUROC", "mean of the 14 findings"] and row[-3:-1] == ["80", "14"]


def test_paper_number_stands_beside_ours(tree):
    bodies = tree.xpath("//h2[@id='headline']/following-sibling::div[1]//tbody")
    printed = {
        (text_of(body.xpath("tr[@class='group']")[0]), text_of(row.xpath("th")[0])): text_of(row.xpath("td")[0])
        for body in bodies
        for row in body.xpath("tr[td]")
    }
    pairs = "in the paper: c = 2, s = 5,000; protocol paper: c = 2, s = 500; protocol sound: c = 3, s = 500"
    assert printed[f"Transfer, 1st pair{pairs}", "Accuracy"] == "majority classifier ± 0.01 §3.2"
    assert printed["Grid CNN, 18 convolutions", "F1, weighted"] == "0.1909 “19.09%”, §3.3.3"
    assert printed["Grid CNN, 18 convolutions", "Mean squared error lower is better"].startswith("0.06 ")


def test_leakage_is_told_by_protocol(tree):
    told = text_of(tree.xpath("//dl[@class='lines']")[0])
    assert "Under paper, training and test share patients in 3 of 4 splits; at worst 7 of 41 test patients" in told
    assert "Under sound, training and test share no patient in any split (8 checked)." in told


def test_detectors_stand_side_by_side_with_floor_difference_and_folds(tree):
    heading = tree.get_element_by_id("detection")
    titles = [text_of(each) for each in heading.xpath("following-sibling::h3")[:2]]
    assert titles == [
        "Protocol paper: a single split by image, 37 images tested once",
        "Protocol sound: 5 folds by patient, 37 images tested once",
    ]
    table = heading.xpath("following-sibling::h3[2]/following-sibling::div[1]/table")[0]
    heads = [text_of(cell) for cell in table.xpath("thead/tr/th")]
    assert heads == ["Metric", "YOLO off the shelf", "YOLO fine-tuned", "Grid CNN, 18 convolutions"]
    rows = {text_of(row[0]): [text_of(cell) for cell in row[1:]] for row in table.xpath("tbody/tr")}
    assert rows["F1, weighted"][2].startswith(
        "0.531 [0.491, 0.571] ▲ betterfloor 0.331 [0.311, 0.351], difference +0.200"
    )
    assert rows["Mean squared error"][:2] == ["–", "–"]


def test_the_grid_cnn_and_the_mean_mask_are_compared_in_words(tree):
    told = [
        text_of(each) for each in tree.get_element_by_id("detection").xpath("following-sibling::p[@class='blind']")
    ][:2]
    assert "Under paper, the grid CNN's F1, weighted by confidence, is 0.321" in told[0]
    assert "indistinguishable from the floor" in told[0]
    assert "Under sound" in told[1] and "above the floor" in told[1]


def test_folds_are_named_where_the_jobs_are(tree, page):
    text = text_of(tree)
    assert "gridcnn, fold 5 of 5" in text and "boxed images, fold 5" in text
    assert "403–407" in text, "training images of the folds"
    assert "Thin lines: the 5 folds; thick line: their mean." in page


def test_data_provider_or_phantoms_are_named(inputs, page):
    assert "Generated phantoms: the numbers say nothing about patients" in page and "NIH Clinical Center" not in page
    settings = {**inputs.settings, "data": {**inputs.settings["data"], "source": "nih"}}
    real = render.build(replace(inputs, settings=settings))
    assert "NIH Clinical Center" in real and "Generated phantoms" not in real


def test_what_was_read_otherwise_than_it_stands_is_told(page):
    assert "All 16-bit images are read at 12 bits &lt;here&gt;." in page


def test_what_all_jobs_share_is_said_once(tree):
    runs = tree.get_element_by_id("runs")
    common = text_of(runs.xpath("following-sibling::p[1]")[0])
    assert "torch 2.15.0" in common and "device cpu (x86_64, 2 threads)" in common
    headings = [text_of(cell) for cell in runs.xpath("following-sibling::div[1]//thead//th")]
    assert "Device" not in headings and "Trained parameters" in headings


def test_weights_of_the_user_are_named_with_their_checksum(page):
    assert re.search(r"yolo11n\.pt, SHA-256 (ab){32}, given by the user and not checked", page)


def test_a_run_with_one_protocol_and_nothing_but_floors_still_reports(inputs):
    alone = replace(
        inputs,
        settings={**inputs.settings, "protocols": ["sound"]},
        metrics=inputs.metrics[inputs.metrics["experiment"] == "gridcnn"].query("protocol == 'sound'"),
        grids={},
        selected={},
        histories={},
        facts={},
        leakage=inputs.leakage.query("protocol == 'sound'"),
        rejected=inputs.rejected.iloc[:0],
        sheets={},
        examples=None,
    )
    tree = html.document_fromstring(render.build(alone))
    assert "Nothing was set aside." in text_of(tree)
    assert "Protocol paper" not in text_of(tree.xpath("//h2[@id='headline']/following-sibling::div[1]")[0])


def test_tables_hold_every_metric_row_and_the_selected_ranks(inputs):
    tables = render.tables(inputs)
    assert len(tables["metrics"]) == len(inputs.metrics)
    grid_table = tables["grid_paper"].dropna(subset="selected_rank").set_index("selected_rank")
    assert [tuple(grid_table.loc[rank, ["layers", "size"]].astype(int)) for rank in (1, 2)] == SELECTED["paper"]
    assert set(tables["headline"]["verdict"]) <= {*verdicts.VERDICTS, "not measured"}


def test_numbers_are_written_one_way():
    assert [verdicts.number(value) for value in (0.7134, -0.02, 2.5, 12.34, 1234.5, -0.00003, 0, math.nan)] == [
        "0.713", "−0.020", "2.500", "12.3", "1,234", "0.000", "0.000", ""
    ]  # fmt: skip
    assert verdicts.interval(0.66, 0.75) == "[0.660, 0.750]" and verdicts.interval(math.nan, 0.75) == ""


def test_every_paper_number_belongs_to_an_experiment_and_is_found_by_a_metric_row():
    for entry in paper.NUMBERS:
        assert family(entry.experiment) in BY_NAME and entry.reading and entry.where
        label = paper.LARGE[0] if entry.label == "large" else entry.label
        assert paper.number(entry.experiment, entry.metric, label) is entry
    assert paper.number("transfer_c1_s77", "accuracy", "").printed == "majority classifier ± 0.01"
    assert paper.number("gridcnn", "auroc", "") is None


def test_ties_are_told_beside_the_chosen_pair_and_below_the_grid_that_chose_it(inputs):
    found = render.experiments.section(replace(inputs, ties={"paper": [6, 1], "sound": [0, 0]}), BY_NAME["transfer"])
    assert [row["cells"]["paper"]["ties"] for row in found["chosen"]] == [
        "tied with 6 other pairs",
        "tied with 1 other pair",
    ]
    assert [row["cells"]["sound"]["ties"] for row in found["chosen"]] == ["", ""]
    captions = [figure["caption"] for figure in found["figures"][:4]]
    assert ["The best pair is tied with 6 other pairs." in caption for caption in captions] == [
        True,
        False,
        False,
        False,
    ]
    counts = "n = 10 to 50 images of 5 to 25 patients, 20 to 100 positive image–finding pairs."
    assert all(counts in caption for caption in captions)


def test_the_spread_of_a_grid_is_told_beside_the_pairs_that_can_be_told_from_the_best(inputs, tree):
    paper, sound = render.experiments.section(inputs, BY_NAME["transfer"])["spreads"]
    assert paper["figure"] is None and "trained once" in paper["sentences"][0]
    assert "transfer.repeats" in paper["sentences"][0] and "25 validation patients" in paper["sentences"][0]
    first, second = sound["sentences"]
    assert "5 times" in first and "25 validation patients" in first
    pairs = inputs.grids["sound"]
    best = SELECTED["sound"][0]
    behind = pairs[(pairs["p_behind"] < 0.05) & ~((pairs["layers"] == best[0]) & (pairs["size"] == best[1]))]
    assert f"{len(behind)} of the {len(pairs) - 1} other pairs are behind it" in second
    assert f"{pair_name(best)}, has a mean AUROC of 0." in second
    (table,) = tree.xpath("//h3[.='Spread of the grid, protocol sound']/following::table[1]")
    row = [" ".join(cell.text_content().split()) for cell in table.xpath("tbody/tr[1]/*")]
    assert row[:2] == ["100", "0.001 [0.0005, 0.009] 10 trainings"] and row[4] == "0.004 5 patients"


def test_the_chosen_pairs_stand_with_mean_and_spread_of_their_trainings_beside_the_floor(tree):
    (table,) = tree.xpath("//h3[.='Spread of the grid, protocol sound']/following::table[2]")
    rows = [[" ".join(cell.text_content().split()) for cell in row.xpath("*")] for row in table.xpath("tbody/tr")]
    assert [row[2:6] for row in rows] == [["0.644", "0.012", "5", "0.624"], ["0.210", "0.012", "5", "0.190"]]
    assert (
        rows[0][6].startswith("+0.020 [0.004, 0.036]")
        and rows[0][6].endswith("better")
        and rows[0][7:] == ["400", "41"]
    )


def test_a_grid_of_equal_pairs_says_that_the_choice_is_arbitrary(inputs):
    grids = {"sound": inputs.grids["sound"].assign(p_behind=0.3)}
    (sound,) = render.experiments.section(replace(inputs, grids=grids), BY_NAME["transfer"])["spreads"]
    assert "None of the 11 other pairs can be told from it" in sound["sentences"][1]


def test_validity_stands_in_the_section_of_its_classifier_with_its_sample_sizes(inputs):
    tree = html.fromstring(render.build(replace(inputs, validity=validity_rows.table())))
    (heading,) = tree.xpath("//h3[@id='baseline_sigmoid-validity']")
    group = next(row for row in tree.xpath("//tr[th]") if [text_of(each) for each in row.xpath("./th")] == ["sex", "F"])
    cells = [text_of(cell) for cell in group.xpath("./td")]
    assert cells[:3] == ["1,000", "321", "43"] and cells[3].startswith("0.750 [0.730, 0.770]")
    assert heading.xpath("following::h4")[0].text_content() == "Protocol sound"
    assert "outputs sum to 1" in text_of(tree.xpath("//h3[@id='baseline_softmax-validity']/following-sibling::p")[0])
    points = heading.xpath("following::table[contains(@class, 'points')]")[0]
    assert [text_of(each) for each in points.xpath(".//tbody/tr/th")] == ["Mean", "Mass", "Nodule"]
    assert text_of(points.xpath(".//tbody/tr[2]/td")[4]).startswith("0.400 [0.380, 0.420] floor 0.300")


def test_a_validation_that_the_configuration_names_is_linked_and_none_otherwise(inputs):
    tree = html.fromstring(render.build(replace(inputs, validation="validations/other/report.html")))
    assert tree.xpath("//h2[@id='validation']/following-sibling::p[1]/a/@href") == ["validations/other/report.html"]
    assert not html.fromstring(render.build(inputs)).xpath("//*[@id='validation']")


def test_the_groups_of_a_detector_stand_in_its_section(inputs):
    rows = pd.concat([validity_rows.table(), validity_rows.of_detector()], ignore_index=True)
    tree = html.fromstring(render.build(replace(inputs, validity=rows)))
    (heading,) = tree.xpath("//h3[@id='gridcnn-validity']")
    table = heading.xpath("following::table")[0]
    assert "F1 of areas" in text_of(table.xpath(".//thead")[0]) and len(table.xpath(".//tbody/tr")) == 3


def test_what_recognising_patients_is_worth_has_a_section_and_a_table_where_it_was_measured(inputs, page):
    measured = replace(inputs, leakage_experiment=leakage_rows.table())
    tree = html.document_fromstring(render.build(measured))
    (heading,) = tree.xpath("//h2[@id='recognised']")
    assert tree.xpath("//nav//a[@href='#recognised']") and 'id="recognised"' not in page
    rows = heading.xpath("following::table")[0].xpath(".//tr[td]")
    assert [text_of(row.xpath("./th")[0]) for row in rows[:3]] == ["shared", "unshared", "shared minus unshared"]
    assert text_of(rows[2]).endswith("0.010▲ better") and len(rows) == 9
    assert "leakage_experiment" in render.tables(measured) and "leakage_experiment" not in render.tables(inputs)


UNPATIENTED = ("Pre-training curves",)  # figures of generated textures


def test_every_figure_says_on_how_many_images_patients_and_positives_it_stands(inputs):
    """A walk over all kinds of figures: those of a whole report with every part that may be switched on."""
    rows = pd.concat([validity_rows.table(), validity_rows.of_detector()], ignore_index=True)
    pictures = {("sound", name): b"\x89PNG" for name in ("gridcnn", "yolo_finetuned")}
    whole = replace(
        inputs,
        validity=rows,
        comparisons={"paper": compared(("collapsed", "learned"))},
        leakage_experiment=leakage_rows.table(),
        sheets=pictures,
        failures=pictures,
    )
    figures = html.document_fromstring(render.build(whole)).xpath("//figure")
    told = [(figure.xpath("img/@alt")[0], text_of(figure.xpath("figcaption")[0])) for figure in figures]
    assert len(told) > 30
    number = r"\d[\d,]*( to \d[\d,]*)?"
    for name, caption in told:
        assert re.search(rf"{number} (validation )?images", caption), (name, caption)
        if name in UNPATIENTED:
            assert "they have no patients, positives" in caption
            continue
        assert re.search(rf"{number} images of {number} patients", caption), (name, caption)
        assert re.search(rf"{number} (positive|true boxes|of them positive|pairs are positive)", caption), (
            name,
            caption,
        )
        assert "unknown number" not in caption, (name, caption)


def test_the_sample_of_a_figure_is_that_of_its_own_experiment_and_protocol(inputs):
    positives = int(
        inputs.metrics.query("protocol == 'sound' and experiment == 'baseline_sigmoid' and metric == 'auroc'")
        .query("label in @LABELS and label != 'No Finding'")["support"]
        .sum()
    )
    sample = f"80 images of 60 patients, {positives} positive image–finding pairs"
    assert samples.of_test(inputs, "sound", "baseline_sigmoid") == sample
    assert (
        samples.of_test(inputs, "sound", "gridcnn") == "37 images of 60 patients, 37 of them positive (a diseased cell)"
    )
    assert samples.of_test(inputs, "paper", "yolo_off_the_shelf") == "", "it did not run"
    boxes = [metric("sound", "yolo_finetuned", "froc_1_any", "all", 0.5, 0.4, support=296)]
    more = replace(inputs, metrics=pd.concat([inputs.metrics, pd.DataFrame(boxes)], ignore_index=True))
    assert samples.of_test(more, "sound", "gridcnn").endswith("296 true boxes")
    assert not samples.of_test(more, "paper", "gridcnn").endswith("296 true boxes")
    folds = [{"validation": {"images": images, "patients": 9, "boxes": 40}} for images in (30, 31)]
    assert samples.told("1", "1", "1") == "1 image of 1 patient, 1 positive image–finding pair"
    assert samples.of_validation(folds) == "30 to 31 images of 9 patients, 40 true boxes"


def test_curves_stand_beside_the_floor_of_the_validation_images_and_the_test_score_of_the_findings(inputs):
    about, key = BY_NAME["baseline_sigmoid"], ("sound", "baseline_sigmoid")
    floors = {"loss": 0.26, "accuracy": 0.87, "auroc": 0.5, "auroc_findings": 0.5, "accuracy_findings": 0.91}
    facts = [{"validation": {"floors": floors}}]
    upper, lower = curves.panels(inputs, about, key, inputs.histories[*key, ""], facts)
    assert [panel.title for panel in upper] == ["Loss, with “No Finding”", "Accuracy, with “No Finding”"]
    assert [panel.title for panel in lower] == ["Loss, findings", "Accuracy, findings", "AUROC, findings"]
    assert [panel.floor for panel in upper] == [0.26, 0.87], "not the floor of the test images, 0.233 and 0.912"
    assert math.isnan(lower[0].floor) and [panel.floor for panel in lower[1:]] == [0.91, 0.5]
    tests = [inputs.metric(*key, *kind)["value"] for kind in (("accuracy", "mean14"), ("auroc", "mean14"))]
    assert [panel.test for panel in lower[1:]] == tests
    assert inputs.metric(*key, "auroc", "mean15")["value"] != tests[1]


def test_the_papers_epochs_are_marked_where_it_tells_of_predictions_by_epoch(inputs):
    trained = history(45, ("map50", "images_with_prediction"), 0.1)
    for protocol, name, marks in (
        ("paper", "yolov2_finetuned", (20, 40)), ("paper", "yolo_finetuned", (20, 40)),
        ("sound", "yolo_finetuned", ()), ("paper", "torchvision_detector", ()),
    ):  # fmt: skip
        (row,) = curves.panels(inputs, BY_NAME[name], (protocol, name), trained, [{}])
        assert [panel.marks for panel in row] == [(), (), marks], (protocol, name)
        assert ("Dotted: epochs 20, 40;" in curves._legend(BY_NAME[name], [row], 1)) == bool(marks)
    assert row[-1].title == "Images with a prediction"


def test_the_floor_of_folds_is_the_mean_of_theirs(inputs):
    about, key = BY_NAME["gridcnn"], ("sound", "gridcnn")
    facts = [{"validation": {"floors": {"f1": value}}} for value in (0.2, 0.4)]
    ((_, f1),) = curves.panels(inputs, about, key, inputs.histories[*key, "0"], facts)
    assert f1.floor == pytest.approx(0.3) and f1.title == "F1, best of nine cuts"


def test_a_grid_has_one_scale_of_colours_per_metric_whatever_the_protocol(inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        render.experiments.charts, "grid_heatmap", lambda *given: drawn.append(given) or style.png_bytes(Figure())
    )
    weak = inputs.grids["paper"].assign(accuracy=lambda grid: grid["majority_accuracy"] + 0.005, auroc=0.51)
    strong = weak.assign(accuracy=weak["majority_accuracy"] - 0.2, auroc=0.52)
    grids = {"paper": weak, "sound": strong}
    [*render.experiments._heatmaps(replace(inputs, grids=grids), BY_NAME["transfer"])]
    reach = {(given[3], float(given[0]["gain"].iloc[0]) > 0): given[5] for given in drawn}
    assert reach["Accuracy minus majority's", True] == reach["Accuracy minus majority's", False] == pytest.approx(0.2)
    assert [given[5] for given in drawn if "AUROC" in given[3]] == [0.05, 0.05], "small differences stay pale"


def test_readers_see_the_fields_names_of_metrics(inputs, tree):
    """No name of a column stands on the page, but where everything that jobs recorded is listed as it is."""
    columns = re.compile(r"\b(map50\w*|f1_\w+|auroc\w*_\w+|froc_\w+|iou_hit\w*|mean14|mean15|mean8)\b")
    for part in tree.xpath("//h2 | //h3 | //h4 | //p | //li | //dd | //dt | //figcaption | //th | //td[not(code)]"):
        if not part.xpath("ancestor::details[contains(summary, 'recorded')]"):
            assert not columns.search(text_of(part)), text_of(part)
    assert "mAP at IoU 0.5" in text_of(tree)
    for kind in curves.ROWS.values():
        for name, metric_of, _, _ in (panel for row in kind for panel in row):
            assert metric_names.metric_name(metric_of)[0].isupper() or metric_of == "map50", name


def test_no_row_that_is_not_judged_has_a_verdict(inputs, tree):
    """The rule of the page against all numbers, the tables and the headline: what it says is not judged bears no verdict."""
    tables = render.tables(inputs)
    for name in ("metrics", "headline"):
        table = tables[name][tables[name]["verdict"] != "not measured"]
        judged = [metric_names.judged(*pair) for pair in table[["metric", "label"]].itertuples(index=False, name=None)]
        assert 0 < sum(judged) < len(table)
        assert set(table["verdict"][[not each for each in judged]]) == {judging.DESCRIPTIVE}, name
    for row in inputs.metrics.to_dict("records"):
        if not metric_names.judged(row["metric"], row["label"]):
            assert verdicts.cell_texts(row)["verdict"] == judging.DESCRIPTIVE
    rows = tree.xpath("//details[contains(summary, 'numbers of this experiment')]//tbody/tr")
    unjudged = {metric_names.metric_name(name) for name in ("precision", "recall", "iou_hit_0.25", "label_sensitivity")}
    told = [[text_of(cell) for cell in row] for row in rows]
    mine = [cells for cells in told if cells[2] in unjudged or (cells[2] in ("Loss", "Accuracy") and not cells[3])]
    assert len(mine) > 50 and {cells[8] for cells in mine} == {"· not judged"}


def test_means_stand_with_and_without_no_finding_and_the_verdict_is_on_those_without(tree):
    body = tree.xpath("//h3[@id='baseline_sigmoid-numbers'] | //h2[@id='headline']/following-sibling::div[1]")[0]
    rows = {text_of(row.xpath("th")[0]): text_of(row) for row in body.xpath(".//tr[td]")}
    for name in ("Loss", "Accuracy"):
        whole, findings = (
            next(text for title, text in rows.items() if re.fullmatch(f"{name}{words}( lower is better)?", title))
            for words in ("", ", mean of the 14 findings")
        )
        assert "not judged" in whole and "not judged" not in findings


def test_the_scores_of_a_protocol_stand_in_one_lane_above_their_rungs_whatever_their_images(inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        render.experiments.charts, "ladder_chart", lambda rows: drawn.append(rows) or style.png_bytes(Figure())
    )
    numbers = [("auroc", "mean14", 64), ("loss", "findings", 37)]
    rows = [
        metric(protocol, "baseline_softmax", name, label, 0.6, 0.5, support=support)
        | {"constant": 0.5, "metadata": 0.5}
        for protocol in PROTOCOLS
        for name, label, support in numbers
    ]
    (figure,) = render.experiments._ladders(
        replace(inputs, metrics=pd.DataFrame(rows).assign(history=math.nan)), BY_NAME["baseline_softmax"]
    )
    assert drawn[0]["series"].tolist() == ["paper", "paper", "sound", "sound"]
    assert "Test images: " in figure["caption"]


def test_the_page_shows_each_claim_of_the_ledger_with_words_reason_and_verdict(inputs, tree):
    table = ledger.table(inputs)
    (body,) = tree.xpath("//table[contains(@class, 'ledger')]")
    assert len(body.xpath(".//tr[td]")) == len(table)
    text = text_of(body)
    for row in table.to_dict("records"):
        assert all(text_of(html.fromstring(f"<p>{row[name]}</p>")) in text for name in ("claim", "measured", "why"))
    told = text_of(tree.xpath("//h2[@id='ledger']/following-sibling::p[1]")[0])
    for verdict, count in table["verdict"].value_counts().items():
        assert f"{count} {verdict}" in told
    assert "data.source" in text_of(tree.xpath("//h2[@id='ledger']/following-sibling::p[@class='banner']")[0])
    assert render.tables(inputs)["ledger"].equals(table)


def test_the_page_shows_answer_samples_and_every_finding():
    inputs = replace(make_inputs(), transfer_gains={"sound": transfer_gain_rows.study({SCRATCH: judging.BETTER})})
    page = html.fromstring(render.build(inputs))
    heading = page.xpath("//h2[@id='question']")[0]
    assert page.xpath("//h2/@id").index("question") < page.xpath("//h2/@id").index("headline")
    text = page.text_content()
    assert heading.text_content() == "Is transfer better than training from scratch, and than not looking?"
    assert "500 training images; tested on 300 images of 120 patients, 410 positive image–finding pairs" in text
    assert "Test: 300 images of 120 patients" in text
    tables = heading.xpath("following-sibling::details")[1]
    assert len(tables.xpath(".//tbody/tr[not(@class)]")) == 2 * 14
    assert "transfer_gain_sound" in render.tables(inputs)


def test_without_the_comparison_the_page_has_no_such_section():
    assert 'id="question"' not in render.build(make_inputs())
