import os

from cxr.inference import detections
from cxr.inference import files as prediction_files
from cxr.training import runs

with runs.of_job(snakemake, "predict boxes", os.environ) as (run, out):
    detections.boxes(
        image_size=snakemake.params.image_size,
        inputs=prediction_files.Inputs.of(snakemake),
        outputs=prediction_files.Outputs(**out),
        run=run,
    )
