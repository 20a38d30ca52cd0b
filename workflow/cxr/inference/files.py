"""Inputs and outputs of all jobs that predict new images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxr.inference import champion, new_images
from cxr.inference.champion import Champion
from cxr.inference.new_images import Pixels
from cxr.runtime.jobs import Job
from cxr.training.runs import Run


@dataclass(frozen=True)
class Inputs:
    """Trained models to choose from, below a run's `results`, and the prepared new images (`prepare`): their table, and
    their pixels `side` wide."""

    models: Sequence[Path]
    results: Path
    index: Path
    pixels: Path
    side: int

    @classmethod
    def of(cls, job: Job) -> "Inputs":
        """Return those of a workflow's job."""
        return cls(
            [Path(path) for path in job.input.models],
            Path(job.params.results),
            Path(job.input.table),
            Path(job.input.pixels),
            job.params.side,
        )

    def best(self, metric: str, run: Run) -> Champion:
        """Choose the model with the best validation metric (``champion.choose``)."""
        chosen = champion.choose(self.models, self.results, metric)
        run.tell(
            f"{chosen.experiment}, the best by validation {metric} ({chosen.score:.4f}) of {len(self.models)} models"
        )
        return chosen

    def images(self) -> tuple[pd.DataFrame, Pixels]:
        """Return the table of the new images and their pixels."""
        table = new_images.read_index(self.index)
        return table, Pixels(self.pixels, table, self.side)


@dataclass(frozen=True)
class Outputs:
    """The predictions, and facts about the model that made them."""

    predictions: Path
    facts: Path

    def write_facts(self, chosen: Champion, run: Run) -> None:
        """Write which model predicted, how it was chosen, and in which run."""
        self.facts.write_text(json.dumps(chosen.provenance() | {"run": run.facts()}, indent=1), encoding="utf-8")
