"""A made-up table of the leakage experiment."""

import numpy as np
import pandas as pd

from cxr.metrics import leakage
from cxr.metrics.judging import BETTER, SAME, TOO_FEW


def table(
    predictors=("network", "constant", "metadata", "history"), repeats: int = 3, fewest: int = 12
) -> pd.DataFrame:
    """A made-up table; the network's AUROC is 0.8 and 0.7 on shared images, 0.72 in both arms on the others."""
    rows = []
    for predictor in predictors:
        values = {"shared": {"image": 0.8, "patient": 0.7}, "unshared": {"image": 0.72, "patient": 0.72}}
        for cells in values.values():
            cells["image − patient"] = cells["image"] - cells["patient"]
        values["shared − unshared"] = {arm: values["shared"][arm] - values["unshared"][arm] for arm in values["shared"]}
        for subset, cells in values.items():
            for arm, value in cells.items():
                judged = (BETTER if value > 0.05 else SAME) if fewest >= 10 else TOO_FEW
                rows.append(
                    {"predictor": predictor, "subset": subset, "arm": arm, "value": value, "low": value - 0.02}
                    | {"high": value + 0.02, "spread": 0.01 if repeats > 1 else np.nan, "repeats": repeats}
                    | {
                        "images": 400,
                        "patients": 120,
                        "positives": 90,
                        "fewest": fewest,
                        "p": 0.01,
                        "labels": "Mass|Pleural_Thickening",
                    }
                    | {"verdict": judged if arm == "image − patient" else "", "left_out": "Hernia"}
                )
    return pd.DataFrame(rows, columns=leakage.COLUMNS)
