"""The report's section on the title's question: is transfer better than training from scratch, and than not looking?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxr.experiments import pair
from cxr.labels import FINDINGS
from cxr.metrics.judging import BETTER, FEWEST, SAME, TOO_FEW, UNDEFINED, WORSE
from cxr.metrics.names import label_name, metric_name
from cxr.metrics.transfer_gain import AGAINST, BEYOND, FLOOR, MEAN, MEASURES, SCRATCH, TEST, VALIDATION
from cxr.report import samples
from cxr.report.figures import style
from cxr.report.figures.transfer_gain import gain_chart
from cxr.report.inputs import ReportInputs
from cxr.report.rows import pair_name
from cxr.report.verdicts import cell_texts, interval, number, signed

HEADLINE = "auroc"
JUDGED = (BETTER, SAME, WORSE)
WORDS = {
    BETTER: "is better than",
    SAME: "cannot be told from",
    WORSE: "is worse than",
    TOO_FEW: "has no verdict against",
    UNDEFINED: "has no verdict against",
}
CAPTION = (
    "Left: transfer minus training from scratch, AUROC of each finding on the test images of the best pair, with intervals; "
    "hollow diamonds: the same difference of their floors. Right: mean AUROC of the findings over s, on the validation images "
    "of the grid; dashed: training from scratch on the same images; dotted: the floor of transfer. Pale or hollow marks have "
    "no verdict."
)


def sections(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the page's content on each protocol: the answer, what was compared, two tables and a figure."""
    return [
        {"protocol": protocol, **_section(inputs.transfer_gains[protocol], protocol)}
        for protocol in inputs.protocols
        if protocol in inputs.transfer_gains and len(inputs.transfer_gains[protocol])
    ]


def _section(table: pd.DataFrame, protocol: str) -> dict[str, Any]:
    tested, curve = (table[table["role"] == role] for role in (TEST, VALIDATION))
    pairs = list(dict.fromkeys(tested["experiment"]))
    best = tested[tested["experiment"] == pairs[0]]
    return {
        "answer": answer(best),
        "sample": _sample(best),
        "over_sizes": over_sizes(curve, pairs[0]),
        "means": [_group(tested, name) for name in pairs],
        "labels": [
            (metric_name(metric), "", [_row(best, metric, label, label_name(label)) for label in FINDINGS])
            for metric in ("auroc", "auprc")
        ],
        "sizes": [_row(each, HEADLINE, MEAN, "") for _, each in curve.groupby("experiment", sort=False)],
        "best": _pair_name(pairs[0]),
        "figure": _figure(best, curve, protocol),
    }


def _of(table: pd.DataFrame, against: str, metric: str = HEADLINE, label: str = MEAN) -> dict[str, Any]:
    found = table[(table["against"] == against) & (table["metric"] == metric) & (table["label"] == label)]
    return {str(name): value for name, value in found.iloc[0].items()}


def answer(best: pd.DataFrame) -> str:
    """Answer the question in a sentence, by the mean AUROC of the best pair; best: its rows on the test images."""
    scratch, floor, beyond = (_of(best, against) for against in AGAINST)
    if scratch["verdict"] not in JUDGED:
        count = int(scratch["patients"])
        return (
            f"No verdict: {count} {'patient tells' if count == 1 else 'patients tell'} of the mean AUROC of the findings on the "
            f"images that are left, and a verdict needs {FEWEST}."
        )
    learned = f"training from scratch ({int(scratch['scratch_trained']):,} training images)"
    transfer = f"transfer ({_pair_name(scratch['experiment'])}, {int(scratch['trained']):,} training images)"
    parts = [f"By the mean AUROC of the findings, {transfer} {WORDS[scratch['verdict']]} {learned}{_told(scratch)}"]
    if scratch["verdict"] in (BETTER, WORSE):
        parts.append(
            f"their floors differ by {signed(beyond['floor']) or 'an undefined amount'}, and beyond that the difference "
            f"{_beyond(beyond['verdict'])}{_told(beyond)}"
        )
    parts.append(f"it {WORDS[floor['verdict']]} not looking at the image{_told(floor)}")
    return "; ".join(parts) + "."


def _beyond(verdict: str) -> str:
    return {
        BETTER: "is a gain",
        WORSE: "is a loss",
        SAME: "cannot be told from chance",
    }.get(verdict, "has no verdict")


def _told(row: Mapping[str, Any]) -> str:
    if row["verdict"] not in JUDGED:
        return ""
    return f", {signed(row['difference']) or '0'} {interval(row['difference_low'], row['difference_high'])}".rstrip()


def _sample(best: pd.DataFrame) -> str:
    """Say which test images were compared, and how many were left out."""
    row = best.iloc[0]
    told = samples.told(*(f"{int(row[name]):,}" for name in ("images", "image_patients", "positives")))
    if not row["left_out"]:
        return f"Compared on {told}: all test images that both predicted; neither was trained on any of their patients."
    return (
        f"Compared on {told}. Both predicted {int(row['shared']):,} test images; {int(row['left_out']):,} of them are left out, "
        "because the transfer network or the baseline was trained on other images of their patients."
    )


def over_sizes(curve: pd.DataFrame, best: str) -> str:
    """Say at which sizes s transfer reaches the baseline, at the depth c of the best pair; curve: rows of the grid."""
    depth = _pair(best)[0]
    rows = [_of(each, SCRATCH) for name, each in curve.groupby("experiment", sort=False) if _pair(name)[0] == depth]
    rows.sort(key=_size)
    trained = samples.span(row["scratch_trained"] for row in rows)
    return (
        f"Over s, at c = {depth} on the grid's validation images, transfer against training from scratch on {trained} images is "
        f"{_by_verdict(rows)}. {_catching_up(rows)} The baseline was trained on one number of images alone, so the run cannot "
        "say how training from scratch grows with s. Both chose their epoch on these images, and the grid its depth c."
    )


def _by_verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for kind, words in ((BETTER, "better"), (SAME, "indistinguishable"), (WORSE, "worse")):
        sizes = [f"{_size(row):,}" for row in rows if row["verdict"] == kind]
        if sizes:
            told.append(f"{words} at s = {', '.join(sizes)}")
    unjudged = sum(row["verdict"] not in JUDGED for row in rows)
    if unjudged == len(rows):
        return "without a verdict at every size, for want of patients"
    if unjudged:
        told.append(f"without a verdict at {unjudged} of {len(rows)} sizes, for want of patients")
    return "; ".join(told)


def _catching_up(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say from which size on transfer is not worse; rows: by size."""
    judged = [row for row in rows if row["verdict"] in JUDGED]
    if not judged:
        return "So it is not known which s is enough."
    worse = [number for number, row in enumerate(judged) if row["verdict"] == WORSE]
    after = judged[worse[-1] + 1 :] if worse else judged
    if not after:
        return "At the largest s with a verdict it is still worse."
    return f"From s = {_size(after[0]):,} on it is not worse." if worse else "At no s with a verdict is it worse."


def _size(row: Mapping[str, Any]) -> int:
    return _pair(row["experiment"])[1]


def _pair(experiment: str) -> tuple[int, int]:
    return pair(experiment) or (0, 0)


def _pair_name(experiment: str) -> str:
    return pair_name(_pair(experiment))


def _group(tested: pd.DataFrame, experiment: str) -> tuple[str, str, list[dict[str, Any]]]:
    """Return a pair's name, its sample, and a row per number."""
    mine = tested[tested["experiment"] == experiment]
    row = mine.iloc[0]
    told = samples.told(*(f"{int(row[name]):,}" for name in ("images", "image_patients", "positives")))
    note = f"{int(row['trained']):,} training images; tested on {told}"
    return _pair_name(experiment), note, [_row(mine, metric, MEAN, metric_name(metric)) for metric in MEASURES]


def _row(rows: pd.DataFrame, metric: str, label: str, name: str) -> dict[str, Any]:
    """Return a number of one pair for the page; rows: of that pair and one role."""
    scratch, floor, beyond = (_of(rows, against, metric, label) for against in AGAINST)
    return {
        "pair": _pair_name(scratch["experiment"]),
        "name": name,
        "lower": not scratch["higher_is_better"],
        "transfer": number(scratch["value"]) or "–",
        "scratch": number(scratch["floor"]) or "–",
        "differences": [cell_texts(each) for each in (scratch, beyond, floor)],
        "floors": signed(beyond["floor"]) or "–",
        "floors_interval": interval(beyond["floor_low"], beyond["floor_high"]),
        "patients": f"{int(scratch['patients']):,}",
        "support": f"{int(scratch['support']):,}",
        "trained": f"{int(scratch['trained']):,}",
        "counts": [f"{int(scratch[each]):,}" for each in ("images", "image_patients", "positives", "left_out")],
    }


def _figure(best: pd.DataFrame, curve: pd.DataFrame, protocol: str) -> dict[str, str] | None:
    mine = best[(best["metric"] == HEADLINE) & best["label"].isin(FINDINGS)]
    over = curve[curve["metric"] == HEADLINE]
    over = over.assign(
        layers=[_pair(name)[0] for name in over["experiment"]], size=[_pair(name)[1] for name in over["experiment"]]
    )
    if not mine["value"].notna().any() and not over["value"].notna().any():
        return None
    on = [
        f"{role}: {samples.told(*(samples.span(rows[name]) for name in ('images', 'image_patients', 'positives')))}"
        for role, rows in (("Test", best), ("validation", curve))
    ]
    return style.embedded(
        gain_chart(
            pd.concat([mine[mine["against"] == SCRATCH], mine[mine["against"] == BEYOND]]),
            pd.concat([over[over["against"] == SCRATCH], over[over["against"] == FLOOR]]),
        ),
        f"Transfer and training from scratch, protocol {protocol}",
        f"Protocol {protocol}. {CAPTION} {'; '.join(on)}.",
    )
