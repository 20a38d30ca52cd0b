import os
from pathlib import Path

from cxr.report import sheets
from cxr.runtime import jobs

with jobs.opened(snakemake, "sheet", os.environ) as (tell, out):
    sheets.write_detections(
        predictions=[Path(path) for path in snakemake.input.predictions],
        thresholds=Path(snakemake.input.thresholds),
        test_splits=[Path(path) for path in snakemake.input.test],
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        box_size=snakemake.params.box_size,
        outputs=sheets.DetectionSheets(**out),
        tell=tell,
    )
