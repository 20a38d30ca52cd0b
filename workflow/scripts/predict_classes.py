import os
from pathlib import Path

from cxr import prediction, prediction_files, runs

with runs.of_job(snakemake, "predict classes", os.environ) as (run, out):
    prediction.classes(
        source_weights=Path(snakemake.input.source),
        metric=snakemake.params.metric,
        inputs=prediction_files.Inputs.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
