"""The best of several trained models, by the validation scores in their files."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxr.errors import InputError
from cxr.metrics.names import metric_name
from cxr.runtime.checksums import sha256_of


@dataclass(frozen=True)
class Champion:
    """A chosen model: experiment (its folder in the results), files, and the validation score of its kept weights."""

    experiment: str
    model: Path
    metric: str
    score: float
    facts: dict[str, Any]
    candidates: dict[str, float]

    def provenance(self) -> dict[str, Any]:
        """Return what a reader needs to find the model again."""
        return {
            "experiment": self.experiment,
            "chosen_by": f"validation {metric_name(self.metric)}",
            "score": None if math.isnan(self.score) else round(self.score, 6),
            "candidates": {
                name: None if math.isnan(score) else round(score, 6) for name, score in self.candidates.items()
            },
            "model_sha256": sha256_of(self.model),
            "key": self.facts.get("key"),
            "code": self.facts.get("code"),
            "trained": self.facts.get("started"),
        }


def choose(models: Sequence[Path], results: Path, metric: str) -> Champion:
    """Choose the model whose kept epoch has the highest validation metric: the first of equals, undefined ones last.

    history.csv and facts.json lie beside each model, below the run's `results`. Raises InputError if one lacks what is needed.
    """
    scores, facts = {}, {}
    for model in models:
        name = model.parent.relative_to(results).as_posix()
        try:
            facts[name] = json.loads((model.parent / "facts.json").read_text(encoding="utf-8"))
            history = pd.read_csv(model.parent / "history.csv").set_index("epoch")
            scores[name] = float(history.loc[facts[name]["kept_epoch"], f"validation_{metric}"])
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{model.parent}: its history or facts cannot be read ({error}); train it again") from None
    best = max(scores, key=lambda name: -math.inf if math.isnan(scores[name]) else scores[name])
    return Champion(best, dict(zip(scores, models, strict=True))[best], metric, scores[best], facts[best], scores)
