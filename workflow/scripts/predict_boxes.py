import os

from cxr import box_prediction, prediction_files, runs

with runs.of_job(snakemake, "predict boxes", os.environ) as (run, out):
    box_prediction.boxes(
        image_size=snakemake.params.image_size,
        inputs=prediction_files.Inputs.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
