import os

from cxr import prediction, prediction_files, runs

with runs.of_job(snakemake, "predict cells", os.environ) as (run, out):
    prediction.cells(
        inputs=prediction_files.Inputs.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
