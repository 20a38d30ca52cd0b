"""What every job that predicts new images reads and writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.inference import champion
from cxr.inference.champion import Champion
from cxr.runtime.jobs import Job
from cxr.training.runs import Run


@dataclass(frozen=True)
class Candidates:
    """Trained models of one kind, below a run's `results`; the best of them predicts."""

    models: Sequence[Path]
    results: Path

    @classmethod
    def of(cls, job: Job) -> "Candidates":
        """Return those of a workflow's job."""
        return cls([Path(path) for path in job.input.models], Path(job.params.results))

    def best(self, metric: str, run: Run) -> Champion:
        """Choose the model with the best validation metric (``champion.choose``)."""
        chosen = champion.choose(self.models, self.results, metric)
        run.tell(
            f"{chosen.experiment}, the best by validation {metric} ({chosen.score:.4f}) of {len(self.models)} models"
        )
        return chosen


@dataclass(frozen=True)
class Outputs:
    """The predictions, and facts about the model that made them."""

    predictions: Path
    facts: Path

    def write_facts(self, chosen: Champion, run: Run) -> None:
        """Write which model predicted, how it was chosen, and in which run."""
        self.facts.write_text(json.dumps(chosen.provenance() | {"run": run.facts()}, indent=1), encoding="utf-8")
