"""The inputs of a report: everything that the runs wrote, and look-ups that its sections share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from cxr import experiments
from cxr.experiments import Job
from cxr.metrics.validity_rows import COLUMNS

SOURCE: Job = ("source", "source_weights", "")  # the source weights' facts and history


@dataclass(frozen=True)
class ReportInputs:
    """What the runs wrote, read into memory. Keys (protocol, experiment) are those of the metric table.

    settings: the resolved settings (cxr.settings.Settings as plain values).
    summary: counts of the data, as ``label_list.preflight_summary`` returns them.
    rejected: columns table, reason, count.
    leakage: columns protocol, split (a size, "all" or "boxes_fold<number>") and those of ``splits.LEAKAGE_COLUMNS``.
    metrics: metric tables of all protocols and experiments (``metrics.table.METRIC_COLUMNS``).
    validity: validity tables of the classifiers with sigmoid outputs and of the detectors (``metrics.validity_rows.COLUMNS``).
    grids: protocol → layers, size, accuracy, majority_accuracy, auroc, ... (``metrics.grid.write_grid``).
    spreads: protocol → what the grid's scores spread by (``metrics.spread.SPREAD_COLUMNS``).
    repeats: protocol → test scores of the chosen pairs over their trainings (``metrics.repeats.REPEAT_COLUMNS``).
    selected: protocol → (layers, size) pairs, best first; ties: protocol → how many other pairs gain the same as each.
    histories, facts: of each training job; those of the source weights have the key SOURCE.
    skipped: why an experiment did not run.
    froc: FROC curves of the detectors of boxes (``metrics.detection.FROC_COLUMNS``).
    sheets, failures: PNG of test images with truth and predictions, evenly sampled and the worst; maps: PNG of predicted
    cells above the truth. examples: PNG of some images of the data, or None.
    validation: page of the external validation that the configuration names, beside this one; "": none.
    leakage_experiment: table of the leakage experiment (``metrics.leakage.COLUMNS``), or None.
    chances: protocol → lead of the grid's best pair beside chance (``metrics.chance.CHANCE_COLUMNS``).
    claims: of the protocol `paper`, differences that the paper claims (``metrics.claims.CLAIM_COLUMNS``, and those of
    ``metrics.variants.VARIANT_COLUMNS`` where the grid CNN's variants run), or None.
    transfer_gains: protocol → transfer beside training from scratch (``metrics.transfer_gain.GAIN_COLUMNS``).
    comparisons: protocol → table of ``report.collapse.write``, for protocols with a comparison.
    """

    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    rejected: pd.DataFrame
    leakage: pd.DataFrame
    metrics: pd.DataFrame
    grids: Mapping[str, pd.DataFrame]
    selected: Mapping[str, Sequence[tuple[int, int]]]
    histories: Mapping[Job, pd.DataFrame]
    facts: Mapping[Job, Mapping[str, Any]]
    skipped: Mapping[tuple[str, str], str]
    froc: pd.DataFrame
    sheets: Mapping[tuple[str, str], bytes]
    failures: Mapping[tuple[str, str], bytes]
    maps: Mapping[tuple[str, str], bytes]
    examples: bytes | None = None
    comparisons: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    ties: Mapping[str, Sequence[int]] = field(default_factory=dict)
    spreads: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    repeats: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    validation: str = ""
    validity: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    leakage_experiment: pd.DataFrame | None = None
    chances: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    claims: pd.DataFrame | None = None
    transfer_gains: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def protocols(self) -> list[str]:
        return list(self.settings["protocols"])

    def folds(self, protocol: str) -> int:
        return self.settings[protocol]["split"]["box_folds"]

    def of_folds(self, values: Mapping[Job, Any], protocol: str, experiment: str) -> list[Any]:
        """Return the values of an experiment's jobs, in the order of their folds."""
        found = {job[2]: value for job, value in values.items() if job[:2] == (protocol, experiment)}
        return [found[fold] for fold in sorted(found, key=lambda fold: int(fold or 0))]

    @property
    def most_pairs(self) -> int:
        """Largest number of transfer pairs that a protocol chose."""
        return max([len(pairs) for pairs in self.selected.values()], default=0)

    def ranks(self, family: str) -> range:
        """Return the ranks of an experiment's rows, from 0: one per transfer pair, a single one for any other experiment."""
        return range(self.most_pairs if family == "transfer" else 1)

    def experiment_of(self, protocol: str, family: str, rank: int) -> str | None:
        """Return the name of an experiment under a protocol; for transfer, that of its pair of this rank, or None."""
        if family != "transfer":
            return family
        pairs = list(self.selected.get(protocol, ()))
        return "transfer_c{}_s{}".format(*pairs[rank]) if rank < len(pairs) else None

    def experiments_of(self, family: str) -> list[tuple[str, str]]:
        """Return (protocol, experiment) of one experiment, pairs in the order of their rank."""
        found = list(self.metrics[["protocol", "experiment"]].drop_duplicates().itertuples(index=False, name=None))

        def order(key: tuple[str, str]) -> tuple[int, int, str]:
            pairs = list(self.selected.get(key[0], ()))
            pair = experiments.pair(key[1])
            rank = pairs.index(pair) if pair in pairs else len(pairs)
            return (self.protocols.index(key[0]) if key[0] in self.protocols else 99, rank, key[1])

        return sorted([key for key in found if experiments.family(key[1]) == family], key=order)

    def metric(self, protocol: str, experiment: str, metric: str, label: str) -> dict[str, Any] | None:
        """Return the row of the metric table, or None."""
        table = self.metrics
        chosen = table[
            (table["protocol"] == protocol)
            & (table["experiment"] == experiment)
            & (table["metric"] == metric)
            & (table["label"] == label)
        ]
        return None if chosen.empty else {str(key): value for key, value in chosen.iloc[0].items()}

    def tested(self, protocol: str) -> str:
        """Say how the boxed images were tested: ``5 folds by patient, 606 images tested once``."""
        split = self.settings[protocol]["split"]
        mine = self.metrics[
            (self.metrics["protocol"] == protocol)
            & (self.metrics["metric"] == "images_with_prediction")
            & (self.metrics["label"] == "all")
        ]
        images = f", {int(mine['support'].iloc[0]):,} images tested once" if len(mine) else ""
        if split["box_folds"] == 1:
            return f"a single split by {split['box_group']}{images}"
        return f"{split['box_folds']} folds by {split['box_group']}{images}"

    @property
    def source_name(self) -> str:
        """What the source weights are, for readers."""
        facts = self.facts.get(SOURCE, {})
        kind = self.settings["source"]["kind"]
        words = {
            "random": "random weights: nothing was transferred",
            "textures": f"pre-trained here on {facts.get('pretrained_on', 'generated textures')}",
            "imagenet": "torchvision's ImageNet weights",
            "file": "a file given by the user",
        }
        given = (
            f" (file {facts['file']}, SHA-256 {str(facts.get('file_sha256', ''))[:12]})" if facts.get("file") else ""
        )
        return words[kind] + given
