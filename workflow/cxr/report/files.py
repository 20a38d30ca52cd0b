"""The report's files: reads the runs' results, writes the page and its tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cxr import experiments
from cxr.data import csv_cells
from cxr.report import inputs as report_inputs
from cxr.report import render
from cxr.runtime.jobs import Job
from cxr.runtime.journal import Journal


@dataclass(frozen=True)
class Sources:
    """The files that a report is made from.

    metrics, validity: <protocol>/<experiment>.csv. facts: of each job, in the order of the jobs. histories: <any
    folder>/history.csv beside the facts they belong to. grids, spreads, chances, repeats, selected, comparisons, froc, sheets,
    failures (<detector>_failures) and maps (<detector>_maps): below <protocol>/. claims: paper.csv and, where it
    runs, paper_variants.csv; or none. transfer_gains: <protocol>.csv. leakage_experiment: its table, or none.
    """

    settings: Path
    summary: Path
    rejected: Path
    leakage: Sequence[Path]
    metrics: Sequence[Path]
    validity: Sequence[Path]
    facts: Sequence[Path]
    histories: Sequence[Path]
    source_facts: Path
    source_history: Path
    grids: Sequence[Path]
    spreads: Sequence[Path]
    chances: Sequence[Path]
    claims: Sequence[Path]
    transfer_gains: Sequence[Path]
    repeats: Sequence[Path]
    selected: Sequence[Path]
    comparisons: Sequence[Path]
    sheets: Sequence[Path]
    failures: Sequence[Path]
    maps: Sequence[Path]
    froc: Sequence[Path]
    examples: Path
    leakage_experiment: Sequence[Path]

    @classmethod
    def of(cls, job: Job) -> "Sources":
        """Return those of a workflow's job; those of the long transfer runs, which are known later, come last."""
        given = job.input
        alone = (
            "leakage",
            "leakage_experiment",
            "grids",
            "spreads",
            "chances",
            "claims",
            "transfer_gains",
            "repeats",
            "selected",
            "comparisons",
            "sheets",
            "failures",
            "maps",
            "froc",
        )
        both = ("metrics", "validity", "facts", "histories")
        source_facts, source_history = map(Path, given.source)
        return cls(
            **{name: Path(given[name]) for name in ("settings", "summary", "rejected", "examples")},
            **{name: [Path(path) for path in given[name]] for name in alone},
            **{name: [Path(path) for path in [*given[name], *given[f"long_{name}"]]] for name in both},
            source_facts=source_facts,
            source_history=source_history,
        )


def write(
    *,
    sources: Sources,
    jobs: Sequence[experiments.Job],
    skipped: Mapping[experiments.Key, str],
    validation: str,
    page: Path,
    tables: Path,
    tell: Journal,
) -> None:
    """Build the page and the tables (CSV). jobs: those of the facts, in their order. validation: page to link to, or ""."""
    folders = dict(zip([path.parent for path in sources.facts], jobs, strict=True))
    inputs = report_inputs.ReportInputs(
        settings=yaml.safe_load(sources.settings.read_text(encoding="utf-8")),
        summary=json.loads(sources.summary.read_text(encoding="utf-8")),
        rejected=_rejected_counts(csv_cells.restored(pd.read_csv(sources.rejected, keep_default_na=False))),
        leakage=pd.concat(
            [pd.read_csv(path).assign(protocol=path.parts[-3], split=path.parts[-2]) for path in sources.leakage]
        ).drop_duplicates(ignore_index=True),
        metrics=pd.concat([read_metrics(path) for path in sources.metrics], ignore_index=True),
        validity=pd.concat([read_validity(path) for path in sources.validity], ignore_index=True),
        grids={path.parent.name: pd.read_csv(path) for path in sources.grids},
        spreads={path.parent.name: pd.read_csv(path) for path in sources.spreads},
        chances={path.parent.name: pd.read_csv(path, dtype={"scope": "str"}) for path in sources.chances},
        claims=_read_claims(sources.claims),
        transfer_gains={path.stem: read_metrics(path) for path in sources.transfer_gains},
        repeats={path.parent.name: pd.read_csv(path) for path in sources.repeats},
        selected={path.parent.name: _pairs(path) for path in sources.selected},
        ties={path.parent.name: pd.read_csv(path)["ties"].tolist() for path in sources.selected},
        histories={folders[path.parent]: pd.read_csv(path) for path in sources.histories}
        | {report_inputs.SOURCE: pd.read_csv(sources.source_history)},
        facts={job: json.loads(path.read_text(encoding="utf-8")) for job, path in zip(jobs, sources.facts, strict=True)}
        | {report_inputs.SOURCE: json.loads(sources.source_facts.read_text(encoding="utf-8"))},
        skipped=dict(skipped),
        validation=validation,
        sheets={(path.parent.name, path.stem): path.read_bytes() for path in sources.sheets},
        failures={
            (path.parent.name, path.stem.removesuffix("_failures")): path.read_bytes() for path in sources.failures
        },
        maps={(path.parent.name, path.stem.removesuffix("_maps")): path.read_bytes() for path in sources.maps},
        froc=pd.concat([_curve(path) for path in sources.froc], ignore_index=True),
        examples=sources.examples.read_bytes(),
        comparisons={path.parent.name: pd.read_csv(path) for path in sources.comparisons},
        leakage_experiment=next(map(_read_leakage, sources.leakage_experiment), None),
    )
    page.write_text(render.build(inputs), encoding="utf-8")
    tables.mkdir(parents=True, exist_ok=True)
    for name, table in render.tables(inputs).items():
        csv_cells.write(table, tables / f"{name}.csv")
    tell(f"{len(inputs.metrics)} metric rows of {len(sources.metrics)} experiments")


def read_metrics(path: Path) -> pd.DataFrame:
    text = {"label": "str", "floor_name": "str", "note": "str"}
    return pd.read_csv(path, dtype=text).fillna(dict.fromkeys(text, ""))


def read_validity(path: Path) -> pd.DataFrame:
    text = dict.fromkeys(("label", "comparison", "group", "floor_name", "note"), "str")
    return pd.read_csv(path, dtype=text).fillna(dict.fromkeys(text, ""))


def _read_leakage(path: Path) -> pd.DataFrame:
    text = dict.fromkeys(("labels", "left_out", "verdict"), "str")
    return pd.read_csv(path, dtype=text).fillna(dict.fromkeys(text, ""))


def _read_claims(paths: Sequence[Path]) -> pd.DataFrame | None:
    text = dict.fromkeys(("floor_name", "note"), "str")
    tables = [pd.read_csv(path, dtype=text) for path in paths]
    return pd.concat(tables, ignore_index=True).fillna(dict.fromkeys(text, "")) if tables else None


def _curve(path: Path) -> pd.DataFrame:
    numbers = ("false_positives_per_image", "value", "low", "high", "floor")
    return pd.read_csv(path, dtype=dict.fromkeys(numbers, "float64"))  # even without rows


def _pairs(path: Path) -> list[tuple[int, int]]:
    return list(pd.read_csv(path)[["layers", "size"]].itertuples(index=False, name=None))


def _rejected_counts(rejected: pd.DataFrame) -> pd.DataFrame:
    return rejected.groupby(["table", "reason"], sort=True).size().reset_index(name="count")


def as_jobs(known: Sequence[Sequence[str]], long_metrics: Sequence[str]) -> list[experiments.Job]:
    """Name the jobs in the order of their facts: [protocol, experiment, fold] rows, then the long transfer runs."""
    return [(p, e, f) for p, e, f in known] + [(Path(path).parent.name, Path(path).stem, "") for path in long_metrics]


def as_skipped(rows: Sequence[Sequence[Any]]) -> dict[experiments.Key, str]:
    """Turn [protocol, experiment, reason] rows into the mapping `write` takes."""
    return {(protocol, experiment): reason for protocol, experiment, reason in rows}
