"""Tables of transfer beside training from scratch, for tests of the report."""

import numpy as np
import pandas as pd

from cxr.labels import FINDINGS
from cxr.metrics.judging import BETTER, SAME, WORSE
from cxr.metrics.transfer_gain import AGAINST, BEYOND, FLOOR, GAIN_COLUMNS, MEAN, MEASURES, SCRATCH, TEST, VALIDATION


def rows(role, experiment, labels, verdicts, *, patients=60, left_out=0, size=500):
    """Rows of a pair: value 0.7, baseline 0.65, floors 0.55 and 0.54. verdicts: by what it is compared with."""
    numbers = {SCRATCH: (0.7, 0.65), FLOOR: (0.7, 0.55), BEYOND: (0.05, 0.01)}
    found = []
    for against, metric, label in ((a, m, each) for a in AGAINST for m in MEASURES for each in labels):
        value, floor = numbers[against]
        found.append(
            {
                "role": role, "against": against, "protocol": "sound", "experiment": experiment, "metric": metric, "label": label,
                "value": value, "low": value - 0.02, "high": value + 0.02, "floor": floor, "floor_low": floor - 0.01,
                "floor_high": floor + 0.01, "floor_name": "x", "difference": value - floor,
                "difference_low": value - floor - 0.02, "difference_high": value - floor + 0.02,
                "higher_is_better": int(metric != "loss"), "support": 40, "patients": patients, "effective": 50.0, "p": 0.01,
                "p_holm": 0.01, "verdict": verdicts.get(against, SAME), "constant": 0.5, "metadata": np.nan, "history": np.nan,
                "note": "", "images": 300, "image_patients": 120, "positives": 410, "shared": 300 + left_out,
                "left_out": left_out, "trained": size, "scratch_trained": 9000,
            }
        )  # fmt: skip
    return pd.DataFrame(found)[GAIN_COLUMNS]


def study(verdicts, curve=(WORSE, SAME, BETTER), **options):
    """A best pair (3, 500) on test images, and a curve over three sizes at its depth."""
    over = [
        rows(VALIDATION, f"transfer_c3_s{size}", [MEAN], {SCRATCH: verdict}, size=size)
        for size, verdict in zip((100, 500, 2000), curve, strict=True)
    ]
    return pd.concat([rows(TEST, "transfer_c3_s500", [MEAN, *FINDINGS], verdicts, **options), *over], ignore_index=True)
