"""The report: one self-contained HTML page that puts every number beside the paper's and beside its image-free floor.

The page needs no network and no script: figures are embedded, styles inline. It contains no time stamp, so equal
inputs give an equal page. Its statements are computed from the metric tables; a sentence that cannot be computed is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from cxr.experiments import EXPERIMENTS, pair
from cxr.metrics.names import glossary
from cxr.report import headline, paper, samples
from cxr.report import ledger as claims
from cxr.report.figures import charts as figures
from cxr.report.figures import style
from cxr.report.inputs import ReportInputs
from cxr.report.rows import groups, pair_name
from cxr.report.sections import collapse, data, detectors, experiments, leakage, ledger, runs, transfer_gain
from cxr.report.verdicts import VERDICTS, interval, number, signed

TEMPLATES = Path(__file__).parent


def environment() -> jinja2.Environment:
    """Return what renders a page: templates of this folder, and the functions that all of them use."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(VERDICTS=VERDICTS, number=number, interval=interval, signed=signed)
    return found


def build(inputs: ReportInputs) -> str:
    """Return the page as HTML."""
    pages = environment()
    pages.globals.update(protocols=inputs.protocols, brief=collapse.brief)
    numbers = headline.numbers(inputs)
    return pages.get_template("template.html.j2").render(
        title="Transfer learning on chest X-rays, every number beside its image-free floor",
        settings=inputs.settings,
        validation=inputs.validation,
        phantoms=inputs.settings["data"]["source"] == "phantoms",
        evaluation=inputs.settings["evaluation"],
        lines=headline.lines(inputs, numbers),
        headline=groups(inputs, numbers),
        headline_chart=headline.chart(inputs, numbers),
        transfer_gains=transfer_gain.sections(inputs),
        ledger=ledger.section(inputs, claims.table(inputs)),
        detection=detectors.section(inputs),
        experiments=[experiments.section(inputs, each) for each in EXPERIMENTS],
        comparisons=_comparisons(inputs),
        classifiers=_auroc_charts(inputs),
        leakage=leakage.section(inputs.leakage_experiment),
        data=data.section(inputs),
        runs=runs.section(inputs),
        configuration=runs.settings_rows(inputs),
        glossary=glossary(inputs.metrics["metric"].unique()),
    )


def tables(inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    """Return the page's tables by name, to be written as CSV."""
    found = {
        "metrics": inputs.metrics,
        "validity": inputs.validity,
        "headline": headline.table(inputs),
        "ledger": claims.table(inputs),
        "paper": pd.DataFrame([vars(number) for number in paper.NUMBERS]),
        "leakage": inputs.leakage,
        "rejected": inputs.rejected,
        "labels": data.label_counts(inputs),
        "skipped": pd.DataFrame(
            [(*key, reason) for key, reason in inputs.skipped.items()], columns=["protocol", "experiment", "reason"]
        ),
        "runs": pd.DataFrame(
            [
                {"protocol": key[0], "experiment": key[1], "fold": key[2]}
                | {name: value for name, value in facts.items() if not isinstance(value, Mapping | list)}
                for key, facts in inputs.facts.items()
            ]
        ),
    }
    if inputs.leakage_experiment is not None:
        found["leakage_experiment"] = inputs.leakage_experiment
    found |= {f"comparison_{protocol}": table for protocol, table in inputs.comparisons.items()}
    found |= {f"transfer_gain_{protocol}": table for protocol, table in inputs.transfer_gains.items()}
    found |= {f"chance_{protocol}": table for protocol, table in inputs.chances.items()}
    for protocol, grid in inputs.grids.items():
        chosen = [(row.layers, row.size) for row in grid[["layers", "size"]].itertuples(index=False)]
        pairs = list(inputs.selected.get(protocol, ()))
        ranks = [pairs.index(pair) + 1 if pair in pairs else pd.NA for pair in chosen]
        found[f"grid_{protocol}"] = grid.assign(selected_rank=pd.array(ranks, dtype="Int64"))
    return found


def _comparisons(inputs: ReportInputs) -> list[dict[str, Any]]:
    return [
        {
            **section,
            "figure": style.embedded(
                section["picture"],
                f"Which choices collapse, protocol {section['protocol']}",
                section["caption"],
            ),
        }
        for section in collapse.sections(inputs.comparisons)
    ]


def _auroc_charts(inputs: ReportInputs) -> list[dict[str, str]]:
    charts = []
    for protocol in inputs.protocols:
        names = {}
        for each in (each for each in EXPERIMENTS if each.kind == "classifier"):
            for where, experiment in inputs.experiments_of(each.name):
                chosen = pair(experiment)
                if where == protocol:
                    names[experiment] = f"transfer, {pair_name(chosen)}" if chosen else each.short
        names = dict(list(names.items())[:5])
        rows = inputs.metrics[(inputs.metrics["protocol"] == protocol) & (inputs.metrics["metric"] == "auroc")]
        if names and rows["value"].notna().any():
            charts.append(
                style.embedded(
                    figures.auroc_chart(rows, names),
                    f"AUROC by label, protocol {protocol}",
                    f"Protocol {protocol}: AUROC by label on each classifier's own test images, with intervals; hollow diamonds: "
                    "the floor of each. Dashed: 0.5, what any constant has. Where a mark is missing, no test image has the label "
                    "and AUROC is undefined. Verdicts and numbers of patients are in the tables. Test images: "
                    f"{samples.listed(inputs, [(protocol, name) for name in names])}.",
                )
            )
    return charts
